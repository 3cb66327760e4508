"""Backtest: one recording through two rule sets at once, and what differs. In bounded memory, the same every time.

lines ─┬─▶ Replay of the old rules ─▶ noticed ─┐
       └─▶ Replay of the new rules ─▶ noticed ─┴─▶ Comparison: counts, who, samples ─▶ Report
"""

from __future__ import annotations

import asyncio
import multiprocessing
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from console import replay
from console.comparison import Comparison
from console.replay import Batch, Replay, Summary

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from console.findings import Report
    from console.survey import Survey
    from streams.bundle import Layers


T = TypeVar("T")
#: Batches that are handed out before they are compared.
AHEAD: Final = 4


class Side(Protocol):
    """One rule set's replay, here or in another process."""

    async def begin(self) -> None:
        """Make its rules. Raises RuleSetRejected."""

    async def batch(self, lines: Sequence[bytes]) -> Batch:
        """Judge lines in order."""

    async def summary(self) -> Summary:
        """Sum up."""


class _Here:
    def __init__(self, layers: Layers, *, promoted: bool = False, survey: Survey | None = None) -> None:
        self._begin = partial(Replay, layers, promoted=promoted, survey=survey)

        self._turn = asyncio.Lock()

    async def begin(self) -> None:
        self._replay = self._begin()

    async def batch(self, lines: Sequence[bytes]) -> Batch:
        async with self._turn:
            return await self._replay.batch(lines)

    async def summary(self) -> Summary:
        return self._replay.summary()


class _Apart:
    def __init__(self, layers: Layers, stack: AsyncExitStack, *, promoted: bool = False) -> None:
        self._pool = stack.enter_context(ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")))
        self._begin = layers, promoted

    async def begin(self) -> None:
        await self._do(replay.begin, *self._begin)

    async def batch(self, lines: Sequence[bytes]) -> Batch:
        return await self._do(replay.judge, lines)

    async def summary(self) -> Summary:
        return await self._do(replay.summary)

    def _do(self, what: Callable[..., T], *given: object) -> Awaitable[T]:
        return asyncio.get_running_loop().run_in_executor(self._pool, what, *given)


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
    comparison = Comparison()
    async with AsyncExitStack() as stack:
        sides: tuple[Side, Side] = (
            (_Apart(old, stack), _Apart(new, stack, promoted=promoted))
            if processes > 1 and survey is None
            else (_Here(old, survey=survey), _Here(new, promoted=promoted))
        )
        await asyncio.gather(*(side.begin() for side in sides))
        done = 0
        async for lines, judged in _under_way(recording, sides):
            before, after = await judged
            comparison.add(lines, before, after)
            done += len(lines)
            told(done)
        old_summary, new_summary = [await side.summary() for side in sides]
    return comparison.report(old_summary, new_summary)


async def _under_way(
    recording: AsyncIterator[list[bytes]], sides: tuple[Side, Side]
) -> AsyncIterator[tuple[list[bytes], Awaitable[list[Batch]]]]:
    """Yield each batch and what both are to make of it; a few are handed out ahead, so that neither side waits."""
    ahead: deque[tuple[list[bytes], Awaitable[list[Batch]]]] = deque()
    async for lines in recording:
        ahead.append((lines, asyncio.gather(*(side.batch(lines) for side in sides))))
        if len(ahead) > AHEAD:
            yield ahead.popleft()
    while ahead:
        yield ahead.popleft()
