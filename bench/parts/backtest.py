"""Replaying recorded chat: lines a second of one rule set on one core, and the wait for two sets compared.

The first is what the engine does plus decoding, the ledger and what is kept for the report, by processor time; the
second a backtest as `qingliu rules backtest` runs it, from nothing to the report, a process for each set.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Final

from bench.lines import key_value, mix
from bench.part import RULES, Part
from bench.parts.engine import as_a_worker
from console import backtest
from console.recording import BATCH
from console.replay import Replay
from streams.bundle import gather

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from contextlib import ExitStack

    from bench.part import Figures, Scale
    from streams.bundle import Layers

LINES: Final = {"tiny": 200, "quick": 20_000, "full": 200_000}
ROUNDS: Final = {"tiny": 1, "quick": 2, "full": 3}


def part(scale: Scale, stack: ExitStack) -> Part:
    """Replay the clean mix under the shipped rules, and compare these with themselves on it."""
    layers, lines = gather([RULES]), [key_value(event)[1] for event in mix(LINES[scale])]
    as_a_worker(stack)
    return Part(
        ROUNDS[scale], {"replay": partial(_replayed, layers, lines), "backtest": partial(_compared, layers, lines)}
    )


def _replayed(layers: Layers, lines: Sequence[bytes]) -> Figures:
    one = Replay(layers)

    async def through() -> None:
        async for batch in _recording(lines):
            await one.batch(batch)

    began = time.thread_time()
    asyncio.run(through())
    us = (time.thread_time() - began) / len(lines) * 1e6
    return {"set_us": us, "set_per_s": 1e6 / us}


def _compared(layers: Layers, lines: Sequence[bytes]) -> Figures:
    began = time.perf_counter()
    asyncio.run(backtest.run(_recording(lines), layers, layers, processes=2))
    return {"backtest_s": time.perf_counter() - began}


async def _recording(lines: Sequence[bytes]) -> AsyncIterator[list[bytes]]:
    for first in range(0, len(lines), BATCH):
        yield list(lines[first : first + BATCH])
