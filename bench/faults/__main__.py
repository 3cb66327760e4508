"""Inject faults into real workers on real servers, and account for every event.

    python -m bench.faults [--quick] [--only F1,F5b] [--rate 1000] [--seconds 15] [--embedded] [--json] [--keep DIR]

Exits 0 if nothing was lost, doubled or reordered; the last line says so in one line.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench.faults.crew import FAKETIME
from bench.faults.faults import FAULTS, Fault
from bench.faults.scene import Plan, Result, Script, play, script
from bench.faults.servers import jars
from streams.rules import load_rules

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SEED: Final = 1000
RULES: Final = Path(__file__).parent.parent.parent / "rules"
#: A run that takes longer hangs, and has failed.
RUN_WITHIN_S: Final = 240.0
_WIDTHS: Final = (7, 7, 8, 5, 8, 10, 8, 6, 8, 9)
_COUNTS: Final = ("lost", "doubled", "reordered", "unaccounted", "phantom", "ahead")


class Ran(NamedTuple):
    """One fault that was run; `why` tells what went wrong with the run itself."""

    fault: Fault
    took_s: float
    result: Result | None
    why: str = ""


def chosen(args: argparse.Namespace, *, apache: bool) -> Iterator[Fault]:
    """Yield the faults to run, each as often as it is to be run."""
    only = set(args.only.split(",")) if args.only else None
    if unknown := (only or set()) - {fault.id for fault in FAULTS}:
        raise SystemExit(f"no such fault: {', '.join(sorted(unknown))}")
    for fault in FAULTS:
        times = (fault.quick if args.quick else fault.full) if only is None else 1
        can = (apache or not fault.apache) and (FAKETIME or fault.kind != "bad clock")
        if (only is None or fault.id in only) and can:
            yield from [fault] * times


async def run(fault: Fault, plan: Plan, home: Path, chat: Script) -> Ran:
    """Run one fault; whatever fails is told, and the next one is run."""
    began = time.monotonic()
    try:
        async with asyncio.timeout(RUN_WITHIN_S):
            result = await play(fault, plan, home, chat)
    except Exception as exc:  # noqa: BLE001  a harness that stops at the first surprise tells less
        return Ran(fault, time.monotonic() - began, None, f"{type(exc).__name__}: {exc}"[:300])
    return Ran(fault, time.monotonic() - began, result)


async def run_all(faults: Sequence[Fault], plan: Plan, home: Path) -> list[Ran]:
    """Run faults one after the other, each on fresh servers; the n-th time with other chat than before."""
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asyncio.current_task().cancel)  # type: ignore[union-attr]
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    ran: list[Ran] = []
    chats: dict[tuple[int, float], Script] = {}
    with Progress(*columns, console=Console(stderr=True)) as bar:
        job = bar.add_task("", total=len(faults))
        for number, fault in enumerate(faults):
            bar.update(job, description=f"{fault.id} {fault.name}")
            place = home / f"{number}-{fault.id}"
            await asyncio.to_thread(place.mkdir, parents=True)
            turn = sum(one.fault.id == fault.id for one in ran), fault.strays
            if turn not in chats:
                chats[turn] = await script(plan, SEED + turn[0], fault.strays)
            ran.append(await run(fault, plan, place, chats[turn]))
            bar.console.print(row(ran[-1]), highlight=False, soft_wrap=True)
            bar.advance(job)
    return ran


def row(ran: Ran) -> str:
    """Return a line of the table."""
    head = f"{ran.fault.id:<5}{ran.fault.name:<42}"
    if ran.result is None:
        return f"{head}FAILED {ran.why}"
    f = ran.result.figures
    cells = (
        f.events,
        f.strict,
        f.unaccounted,
        f.lost,
        f.doubled,
        f.reordered,
        f.phantom,
        f.ahead,
        f.windows,
        f.degraded,
    )
    counts = "".join(f"{n:>{width}}" for n, width in zip(cells, _WIDTHS, strict=True))
    soft = f"{f.rewritten:>10}{f.repeats:>8.3f}{ran.result.most_lag:>8}"
    return f"{head}{counts}{soft}{ran.result.recovery_s:>9.1f}{ran.took_s:>5.0f}"


def table(every: Sequence[Ran]) -> str:
    """Return the figures for people, with remarks below."""
    counts = "events strict unacctd lost doubled reordered phantom ahead windows degraded rewritten repeats"
    lines = [f"{'':<47} {counts} max lag recov.s   s", *map(row, every)]
    lines += [f"{one.fault.id}: {remark}" for one in every for remark in _remarks(one)]
    return "\n".join(lines)


def _remarks(ran: Ran) -> Iterator[str]:
    if ran.result:
        yield from ran.result.remarks
        for name, names in ran.result.findings._asdict().items():
            if names:
                yield f"{name}: {', '.join(names[:5])}{' …' if len(names) > 5 else ''}"


def last_line(every: Sequence[Ran]) -> str:
    """Return the result in one line; of controls only how many were caught."""
    figures = [one.result.figures for one in every if one.result and not one.fault.naive]
    sums = " ".join(f"{name} {sum(getattr(f, name) for f in figures)}" for name in _COUNTS)
    events, windows = sum(f.events for f in figures), sum(f.windows for f in figures)
    controls = [one for one in every if one.fault.naive]
    failed = "".join(f" failed {one.fault.id}" for one in every if not good(one))
    failed = f" controls {sum(map(good, controls))}/{len(controls)}{failed}"
    return f"faults {len(every) - len(controls)} events {events} {sums} window differences {windows}{failed}"


def good(ran: Ran) -> bool:
    """Tell whether it came out as it must: clean, or for a control not."""
    return ran.result is not None and ran.result.figures.clean != ran.fault.naive


def as_json(every: Sequence[Ran]) -> str:
    """Return everything for machines."""
    return json.dumps(
        [
            {"id": one.fault.id, "name": one.fault.name, "took_s": round(one.took_s, 1), "why": one.why}
            | ({} if one.result is None else _told(one.result))
            for one in every
        ]
    )


def _told(result: Result) -> dict[str, object]:
    figures = {name: getattr(result.figures, name) for name in result.figures.__struct_fields__}
    rest = {"recovery_s": round(result.recovery_s, 2), "most_lag": result.most_lag, "remarks": result.remarks}
    return {**figures, **rest, "findings": result.findings._asdict()}


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="bench.faults", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="each fault once, less than ten minutes in all")
    parser.add_argument("--only", help="ids of faults, with commas: F1,F5b")
    parser.add_argument("--rate", type=float, default=1000.0, help="events a second")
    parser.add_argument(
        "--seconds",
        type=float,
        default=0.0,
        help="of load per fault (15; not quick: 25); the longer, the fewer are strict",
    )
    parser.add_argument("--embedded", action="store_true", help="the embedded broker, even where Kafka can be had")
    parser.add_argument("--json", action="store_true", help="one JSON line instead of the table")
    parser.add_argument("--keep", type=Path, help="a directory for the logs of servers and workers")
    return parser.parse_args()


def main() -> int:
    """Run the faults asked for."""
    args = arguments()
    if FAKETIME is None:
        print("no libfaketime: no worker's clock jumps", file=sys.stderr)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL + 1)  # a broker that is away is what we are here for
    found = None if args.embedded else jars(lambda line: print(line, file=sys.stderr))
    seconds = args.seconds or (15.0 if args.quick or args.only else 25.0)
    plan = Plan(args.rate, seconds, found, load_rules([RULES]), RULES)
    faults = list(chosen(args, apache=found is not None))
    with tempfile.TemporaryDirectory(prefix="qingliu-faults-") as scratch:
        try:
            every = asyncio.run(run_all(faults, plan, args.keep or Path(scratch)))
        except (asyncio.CancelledError, KeyboardInterrupt):  # told to stop: everything was ended on the way here
            return 130
    print(as_json(every) if args.json else table(every))
    print(last_line(every))
    return 0 if all(map(good, every)) else 1


if __name__ == "__main__":
    sys.exit(main())
