"""What a worker and its store keep when accounts, devices, names, texts and contacts are all made up, each seen once.

Hostile chat goes through a worker's own pipeline with the shipped rules and a ledger in a real Valkey, sent nowhere:
see bench.lines.invented. At every tenth of the way a sample: the worker's resident memory, the timelines it remembers,
the store's memory, keys and evictions, the series of our metrics, and what was sent.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog
from redis.asyncio import Redis

from bench.faults.servers import Server, ending
from bench.lines import invented
from bench.part import RULES
from bench.records import TOPICS, Nowhere, Record, records
from moderation.moderator import Moderator
from streams.embedded import find_servers, free_ports, resident_bytes
from streams.health import Health
from streams.ledger import RedisLedger
from streams.metrics import Metrics
from streams.pipeline import Pipeline
from streams.rules import load_rules

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

BATCH: Final = 500
#: Event time between two messages: 1 000 a second.
EVERY_MS: Final = 1


class Sample(NamedTuple):
    """What is kept after so many accounts; bytes."""

    accounts: int
    worker: int
    senders: int
    store: int
    keys: int
    evicted: int
    series: int
    letters: int
    per_s: float


def batches(accounts: int, started_ms: int) -> Iterator[list[Record]]:
    """Yield records, each of another account."""
    for first in range(0, accounts, BATCH):
        yield records(invented(n, started_ms + n * EVERY_MS) for n in range(first, min(first + BATCH, accounts)))


def store_server(home: Path, maxmemory: str | None) -> Server:
    """Start a Valkey without persistence; bounded, where asked, as docs/security.md says: volatile-ttl."""
    port, _ = free_ports()
    command = [find_servers()[1], "--bind", "127.0.0.1", "--port", str(port), "--dir", str(home), "--save", ""]
    bound = ["--maxmemory", maxmemory, "--maxmemory-policy", "volatile-ttl"] if maxmemory else []
    return Server([*command, *bound], port, home / "store.log")


async def flood(accounts: int, url: str) -> AsyncIterator[Sample]:
    """Judge, and yield a sample before the first account and at every tenth of the way."""
    moderator, metrics, outbox, now = Moderator(load_rules([RULES])), Metrics(), Nowhere(), time.time_ns() // 1_000_000
    ledger = RedisLedger(url, timeout_s=5)
    pipeline = Pipeline(moderator, ledger, outbox, TOPICS, metrics, Health(), now_ms=lambda: now)
    began, step = time.monotonic(), max(BATCH, accounts // 10 // BATCH * BATCH)
    done = 0
    async with Redis.from_url(url) as redis:

        async def sample() -> Sample:
            about, series = await redis.info(), sum(len(m.samples) for m in metrics.registry.collect())
            return Sample(
                done, resident_bytes(os.getpid()), len(moderator.windows), about["used_memory"], await redis.dbsize(),
                about["evicted_keys"], series, outbox.sent, done / (time.monotonic() - began),
            )  # fmt: skip

        yield await sample()
        for some in batches(accounts, now):
            await pipeline.chat(some, lambda: True)
            now, done = now + len(some) * EVERY_MS, done + len(some)
            if done % step == 0 or done == accounts:
                yield await sample()
    await ledger.close()


async def run(accounts: int, maxmemory: str | None) -> list[Sample]:
    """Flood a store of our own; return the samples, the first before anything was said."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with tempfile.TemporaryDirectory() as home, ending([store_server(Path(home), maxmemory)]) as [server]:
        await server.listening()
        return [one async for one in flood(accounts, f"redis://127.0.0.1:{server.port}")]
