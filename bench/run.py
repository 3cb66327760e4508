"""`qingliu bench`: parts one after the other, each in interleaved rounds, with progress on stderr.

What fails is told at once and kept as missing; the rest goes on.
"""

from __future__ import annotations

import importlib
import logging
import time
from contextlib import ExitStack
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

import structlog
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench.machine import commit, machine
from bench.part import NotMeasured, bare, spelled, spread, unit
from bench.result import Result, ratios
from console.show import printer
from console.words import say
from moderation.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.progress import TaskID

    from bench.part import Part, Scale, Step

#: The parts in order, and how many seconds the rounds of each may take in a quick run; the first is always whole. What
#: has none is left out of a quick run, unless it is named.
PARTS: Final = {
    "engine": 25.0,
    "stream": 70.0,
    "startup": 20.0,
    "reload": 15.0,
    "backtest": 15.0,
    "latency": 35.0,
    "memory": 30.0,
    "growth": 25.0,
    "life": 10.0,
    "scale": 25.0,
    "peers": 20.0,
    "transport": 0.0,
}
#: No step of a quick run begins later, so that it ends within five minutes even on a machine that others use.
QUICK_S: Final = 240.0


def chosen(only: Sequence[str], scale: Scale) -> list[str]:
    """Return the parts to run. Raises SettingsError for one that there is not."""
    named = [name for said in only for name in said.split(",") if name]
    there = [name for name in PARTS if name != "peers" or find_spec("bench.peers")]
    if unknown := sorted(set(named) - set(there)):
        names = ", ".join(there)
        raise SettingsError(
            say(f"没有 {', '.join(unknown)} 这部分；有 {names}", f"no part {', '.join(unknown)}: there are {names}")
        )
    return [name for name in there if (name in named if named else PARTS[name] or scale != "quick")]


def run(scale: Scale, only: Sequence[str]) -> Result:
    """Measure. Raises SettingsError where the embedded servers are not installed, or for an unknown part."""
    parts = chosen(only, scale)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    about, at = machine(), time.strftime("%Y-%m-%dT%H:%M:%S%z")
    with _bar() as bar:
        measuring = Measuring(scale, bar)
        for name in parts:
            measuring.part(name)
    figures = {name: spread(values) for name, values in measuring.rounds.items()}
    took = time.monotonic() - measuring.began
    return Result(scale, at, took, commit(), about, figures, ratios(measuring.rounds), measuring.missing)


def _bar() -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    err = printer(stderr=True)
    return Progress(*columns, console=err, disable=not err.is_terminal)


class Measuring:
    """One run as it goes on: by figure what each round gave, by step why it could not be measured."""

    def __init__(self, scale: Scale, bar: Progress) -> None:
        self._scale: Scale = scale
        self._bar = bar
        self.began = time.monotonic()
        self.rounds: dict[str, list[float]] = {}
        self.missing: dict[str, str] = {}

    def part(self, name: str) -> None:
        """Run one part. Raises SettingsError where the embedded servers are not installed."""
        if self._late():
            self._miss(name, say("五分钟快用完了", "the five minutes are nearly over"))
            return
        job = self._bar.add_task(name, total=None)
        try:
            with ExitStack() as stack:
                self._through(name, importlib.import_module(f"bench.parts.{name}").part(self._scale, stack), job)
        except SettingsError:
            raise
        except Exception as exc:  # noqa: BLE001  its servers, as they start or end: the next part has others
            self._miss(name, f"{type(exc).__name__}: {exc}")
        self._bar.update(job, description=name, total=self._bar.tasks[job].completed)

    def _through(self, name: str, part: Part, job: TaskID) -> None:
        """Measure round by round; a step that failed once is not tried again."""
        self._bar.update(job, total=len(part.steps) * part.rounds)
        for _ in self._rounds(name, part):
            for step, measure in part.steps.items():
                self._bar.update(job, description=f"{name}: {step}")
                if f"{name}: {step}" not in self.missing:
                    self._step(f"{name}: {step}", measure)
                self._bar.advance(job)

    def _rounds(self, name: str, part: Part) -> Iterator[int]:
        """Yield one round after the other; in a quick run only the first and what else there is time for."""
        began = time.monotonic()
        for number in range(part.rounds):
            each = (time.monotonic() - began) / max(1, number)
            if number and self._scale == "quick" and (number + 1) * each > PARTS[name]:
                return
            yield number

    def _late(self) -> bool:
        return self._scale == "quick" and time.monotonic() - self.began > QUICK_S

    def _step(self, step: str, measure: Step) -> None:
        if self._late():
            self._miss(step, say("五分钟快用完了", "the five minutes are nearly over"))
            return
        try:
            figures = measure()
        except NotMeasured as exc:
            self._miss(step, str(exc))
            return
        except Exception as exc:  # noqa: BLE001  a benchmark that stops at the first surprise tells less
            self._miss(step, f"{type(exc).__name__}: {exc}")
            return
        for figure, value in figures.items():
            self.rounds.setdefault(f"{step.partition(':')[0]}.{figure}", []).append(float(value))
        told = [f"{bare(figure)} {spelled(value, unit(figure))}" for figure, value in figures.items()]
        self._say(f"{step}: {', '.join(told[:4])}")

    def _miss(self, step: str, why: str) -> None:
        self.missing[step] = f"{why:.300}"
        self._say(f"{step}: {why}")

    def _say(self, line: str) -> None:
        self._bar.console.print(line, soft_wrap=True)
