"""New rules into a worker that runs: from publishing to in force, and the longest that its loop stood still meanwhile.

The process is the worker's; a task in its loop looks at the clock every millisecond. What an idle loop stalls, on a
machine that others use, is measured beside it; of the longest stall the processor time of the process is told, too.
"""

from __future__ import annotations

import asyncio
import random
import time
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bench.apart import apart
from bench.consumers import settings_of
from bench.pair import embedded
from bench.part import RULES, Part
from streams.bundle import gather
from streams.publications import RedisPublications, following
from streams.worker import running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import ExitStack

    from bench.pair import Pair
    from bench.part import Figures, Scale
    from streams.bundle import Layers
    from streams.worker import Worker

TERMS: Final = {"tiny": 100, "quick": 50_000, "full": 50_000}
ROUNDS: Final = {"tiny": 1, "quick": 1, "full": 5}
IDLE_S: Final = 1.0
WITHIN_S: Final = 180.0
PREFIX: Final = "reload."


def part(scale: Scale, stack: ExitStack) -> Part:
    """Publish the shipped rules with so many terms more, into a new worker each time."""
    pair, names = embedded(stack), map("reload{}".format, count())
    pair.topics(PREFIX, 2)
    return Part(ROUNDS[scale], {f"{TERMS[scale]} terms": partial(_reloaded, pair, TERMS[scale], names)})


def _reloaded(pair: Pair, terms: int, names: Iterator[str]) -> Figures:
    figures = apart("bench.parts.reload:measured", kafka=pair.kafka, redis=pair.redis, name=next(names), terms=terms)
    return {name: float(value) for name, value in figures.items()}


async def measured(kafka: str, redis: str, name: str, terms: int) -> dict[str, float]:
    """Run a worker in this process and publish into it."""
    layers = (*gather([RULES]), {"bench/lexicons/more.yaml": lexicon(terms)})
    async with running(settings_of(PREFIX, name), kafka, redis) as worker:
        await worker.wait_ready()
        idle = await stalls(asyncio.sleep(IDLE_S))
        began = time.perf_counter()
        busy = await stalls(_published(redis, name, layers, worker))
        return {
            "live_s": time.perf_counter() - began,
            "stall_ms": busy.wall * 1000,
            "stall_cpu_ms": busy.processor * 1000,
            "idle_stall_ms": idle.wall * 1000,
        }


def lexicon(terms: int) -> bytes:
    """Return a lexicon file of so many made-up terms of four characters; no rule asks for them."""
    draw = random.Random(50)  # noqa: S311  the same every time
    words = {"".join(chr(0x4E00 + draw.randrange(8000)) for _ in range(4)) for _ in range(terms)}
    return ("bench_more:\n  说明: 只为测量\n  terms:\n" + "".join(f"    - {word}\n" for word in sorted(words))).encode()


async def _published(redis: str, prefix: str, layers: Layers, worker: Worker) -> None:
    await asyncio.to_thread(asyncio.run, _publish(redis, prefix, layers))  # packing is not the worker's to wait for
    async with asyncio.timeout(WITHIN_S):
        while worker.metrics.rules_revision._value.get() < 1:  # noqa: SLF001, ASYNC110  a gauge tells nobody
            await asyncio.sleep(0.005)


async def _publish(redis: str, prefix: str, layers: Layers) -> None:
    publications = RedisPublications(redis, prefix=prefix)
    await publications.publish(following(None, layers, "", "bench", "measured"), layers)
    await publications.close()


class Stall(NamedTuple):
    """The longest time that a loop gave nobody a turn, and what the process did meanwhile; seconds."""

    wall: float = 0.0
    processor: float = 0.0


async def stalls(deed: Any) -> Stall:
    """Do something, and return the longest stall until it was done."""
    doing, longest = asyncio.ensure_future(deed), Stall()
    while not doing.done():
        began = time.perf_counter(), time.process_time()
        await asyncio.sleep(0.001)
        gap = Stall(time.perf_counter() - began[0] - 0.001, time.process_time() - began[1])
        longest = max(longest, gap)
    await doing
    return longest
