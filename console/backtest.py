"""Backtest: one recording through two rule sets at once, and what differs. In bounded memory, the same every time.

lines ─┬─▶ Replay of the old rules ─▶ noticed ─┐
       └─▶ Replay of the new rules ─▶ noticed ─┴─▶ Comparison: counts, who, samples ─▶ Report
"""

from __future__ import annotations

import asyncio
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Protocol

from console import replay
from console.comparison import Comparison
from console.replay import Batch, Costs, Replay
from moderation.rulefile import read

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from console.findings import Report
    from console.survey import Survey
    from streams.bundle import Layers


class Side(Protocol):
    """One rule set's replay, here or in another process."""

    async def batch(self, lines: Sequence[bytes]) -> Batch:
        """Judge lines in order."""

    async def costs(self) -> Costs:
        """Return what it cost."""


class _Here:
    def __init__(self, layers: Layers, *, promoted: bool = False, survey: Survey | None = None) -> None:
        self._replay = Replay(layers, promoted=promoted, survey=survey)

    async def batch(self, lines: Sequence[bytes]) -> Batch:
        return await self._replay.batch(lines)

    async def costs(self) -> Costs:
        return self._replay.costs()


class _Apart:
    def __init__(self, layers: Layers, stack: AsyncExitStack, *, promoted: bool = False) -> None:
        spawn = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(1, mp_context=spawn, initializer=replay.begin, initargs=(layers, promoted))
        self._pool = stack.enter_context(pool)

    async def batch(self, lines: Sequence[bytes]) -> Batch:
        return await asyncio.get_running_loop().run_in_executor(self._pool, replay.judge, lines)

    async def costs(self) -> Costs:
        return await asyncio.get_running_loop().run_in_executor(self._pool, replay.costs)


async def run(
    recording: AsyncIterator[list[bytes]],
    old: Layers,
    new: Layers,
    *,
    promoted: bool = False,
    processes: int = 1,
    survey: Survey | None = None,
    told: Callable[[int], object] = lambda _: None,
) -> Report:
    """Replay a recording under both sets. `told` hears how many lines are done after each batch.

    `promoted`: the new set is judged by as if its shadow rules were live, which says what these would do. `survey` is
    shown what the old set read and decided; with it one process does both.

    Raises RuleSetRejected, and what reading the recording raises.
    """
    comparison = Comparison(read(old), read(new))
    async with AsyncExitStack() as stack:
        sides: tuple[Side, Side] = (
            (_Apart(old, stack), _Apart(new, stack, promoted=promoted))
            if processes > 1 and survey is None
            else (_Here(old, survey=survey), _Here(new, promoted=promoted))
        )
        done = 0
        async for lines in recording:
            before, after = await asyncio.gather(*(side.batch(lines) for side in sides))
            comparison.add(lines, before, after)
            done += len(lines)
            told(done)
        costs = [await side.costs() for side in sides]
    return comparison.report(costs[0], costs[1])
