"""What counting costs: the share of a batch's processor time that goes into metrics, and the price of a scrape.

    .venv/bin/python -m bench.metrics

Generated chat with one line in twenty of abuse through a whole pipeline in memory, under the shipped rules.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import TYPE_CHECKING, Any

from prometheus_client import generate_latest

from bench.lines import mix
from bench.part import RULES
from bench.records import TOPICS, Nowhere, records
from moderation.moderator import Moderator
from streams.health import Health
from streams.ledger import MemoryLedger
from streams.metrics import Metrics
from streams.pipeline import Pipeline
from streams.rules import load_rules

if TYPE_CHECKING:
    from moderation.record import Record

BATCHES, SIZE = 60, 500
#: As in deploy/prometheus/prometheus.yml.
SCRAPE_S = 10


class Timed(Pipeline):
    """A pipeline that knows how long it counted, in seconds of processor time."""

    counted = 0.0

    def _count(self, *args: Any) -> None:
        began = time.thread_time()
        super()._count(*args)
        self.counted += time.thread_time() - began

    def _count_batch(self, *args: Any) -> None:
        began = time.thread_time()
        super()._count_batch(*args)
        self.counted += time.thread_time() - began


def chat() -> list[list[Record]]:
    """Return batches of generated chat."""
    made: list[Any] = records(mix(BATCHES * SIZE))  # of a protocol that lists do not vary in
    return [made[first : first + SIZE] for first in range(0, len(made), SIZE)]


async def main() -> None:
    """Run it and print one line for each figure."""
    metrics = Metrics()
    moderator = Moderator(load_rules([RULES]))
    pipeline = Timed(moderator, MemoryLedger(), Nowhere(), TOPICS, metrics, Health())
    began = time.thread_time()
    for batch in chat():
        await pipeline.chat(batch, lambda: True)
    whole = time.thread_time() - began
    pages = []
    for _ in range(20):
        began = time.thread_time()
        page = generate_latest(metrics.registry)
        pages.append(time.thread_time() - began)
    scrape = statistics.median(pages)
    events = BATCHES * SIZE
    print(f"counting: {pipeline.counted / events * 1e6:.2f} µs of {whole / events * 1e6:.0f} µs an event")
    print(f"share of processor time: {pipeline.counted / whole:.2%}")
    print(f"a scrape: {scrape * 1000:.1f} ms, {len(page) // 1024} KiB, {len(page.splitlines())} lines; ", end="")
    print(f"{scrape / SCRAPE_S:.2%} of a core at one in {SCRAPE_S} s")


if __name__ == "__main__":
    asyncio.run(main())
