"""A run of the benchmark for people: the targets, then a table a part; in the terminal, or as Markdown for the docs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from bench.part import bare, spelled, unit
from bench.targets import outcomes
from console.show import visible
from console.words import say

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.console import RenderableType

    from bench.part import Spread
    from bench.result import Result
    from bench.targets import Outcome

_MET: Final = {True: "✓", False: "✗", None: "—"}
_STYLE: Final = {"✓": "green", "✗": "bold red"}


class Sheet(NamedTuple):
    """A table before it looks like anything."""

    title: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def sheets(result: Result) -> Iterator[Sheet]:
    """Yield the targets, the ratios, each part, and what is missing."""
    yield _targets(outcomes(result))
    if result.ratios:
        yield _figures(say("比值", "ratios"), result.ratios)
    for part in dict.fromkeys(name.partition(".")[0] for name in result.figures):
        yield _figures(part, result.part(part))
    if result.missing:
        yield Sheet(
            say("没有测到", "not measured"), (say("步骤", "step"), say("原因", "why")), [*result.missing.items()]
        )


def _targets(found: Sequence[Outcome]) -> Sheet:
    head = ("", say("目标", "target"), say("测得", "measured"), say("达到", "met"), say("命令", "command"))
    rows = [(one.what, one.target, one.measured, _MET[one.met], one.command) for one in found]
    return Sheet(say("目标", "targets"), head, rows)


def _figures(title: str, figures: Mapping[str, Spread]) -> Sheet:
    head = ("", say("中位数", "median"), say("最小", "least"), say("最大", "most"), say("轮", "rounds"))
    rows = [
        (bare(name), *(spelled(value, unit(name)) for value in (one.median, one.low, one.high)), str(one.rounds))
        for name, one in figures.items()
    ]
    return Sheet(title, head, rows)


def about(result: Result) -> str:
    """Say in one line what was measured on what."""
    on = result.machine
    return say(
        f"{result.at} · 提交 {result.commit or '?'} · {on.processor}，{on.cores} 核，{on.memory_gb:g} GB，开始时负载 "
        f"{on.load:g} · {on.python} · {result.scale}，{result.took_s:.0f} 秒。不同机器之间只比比值，别比绝对数",
        f"{result.at} · commit {result.commit or '?'} · {on.processor}, {on.cores} cores, {on.memory_gb:g} GB, load "
        f"{on.load:g} as it began · {on.python} · {result.scale}, {result.took_s:.0f} s. Between machines compare the "
        "ratios, not the figures",
    )


def shown(result: Result) -> RenderableType:
    """Show a run on a terminal."""
    return Group(*map(_table, sheets(result)), Text(about(result), "dim"))


def _table(sheet: Sheet) -> Table:
    table = Table(title=sheet.title, title_justify="left", box=box.SIMPLE_HEAD)
    for number, name in enumerate(sheet.head):
        table.add_column(name, justify="right" if 0 < number < 3 else "left", no_wrap=number > 0)
    for row in sheet.rows:
        table.add_row(*(Text(visible(cell), _STYLE.get(cell, "")) for cell in row))
    return table


def markdown(result: Result) -> str:
    """Return the same as Markdown."""
    return "\n\n".join((about(result), *map(_markdown, sheets(result))))


def _markdown(sheet: Sheet) -> str:
    rows = [sheet.head, tuple("---" for _ in sheet.head), *sheet.rows]
    lines = ("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)
    return "\n".join((f"**{sheet.title}**", "", *lines))
