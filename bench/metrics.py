"""What counting costs: the share of a batch's processor time that goes into metrics, and the price of a scrape.

    .venv/bin/python -m bench.metrics

Generated chat with one line in twenty of abuse through a whole pipeline in memory, under the shipped rules.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
from prometheus_client import generate_latest

from bench.stream import ABUSE, PLAYERS, RATE, mix
from console.traffic import Traffic
from moderation.moderator import Moderator
from streams.health import Health
from streams.ledger import MemoryLedger
from streams.metrics import Metrics
from streams.pipeline import Pipeline
from streams.rules import load_rules
from streams.settings import Topics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moderation.record import Record
    from streams.outbox import Letter

RULES: Final = Path(__file__).parent.parent / "rules"
BATCHES, SIZE = 60, 500
#: As in deploy/prometheus/prometheus.yml.
SCRAPE_S = 10


class Chat:
    """A record as Kafka gives it."""

    topic = "chat.world"
    partition = 0
    headers = ()

    def __init__(self, offset: int, key: bytes, value: bytes, timestamp: int) -> None:
        self.offset, self.key, self.value, self.timestamp = offset, key, value, timestamp


class Nowhere:
    """An outbox that has sent everything at once."""

    async def send(self, letters: Sequence[Letter]) -> None:
        """Do nothing."""


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
    traffic = Traffic(7, players=PLAYERS, start_ms=time.time_ns() // 1_000_000, rate=RATE, spam_share=ABUSE)
    events = list(islice(mix(traffic), BATCHES * SIZE))
    records: list[Any] = [
        Chat(at, event.sender.account_id.encode(), msgspec.json.encode(event), event.ts)
        for at, event in enumerate(events)
    ]
    return [records[first : first + SIZE] for first in range(0, len(records), SIZE)]


async def main() -> None:
    """Run it and print one line for each figure."""
    metrics = Metrics()
    moderator, topics = Moderator(load_rules([RULES])), Topics.under("")
    pipeline = Timed(moderator, MemoryLedger(), Nowhere(), topics, metrics, Health())
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
