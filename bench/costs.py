"""What one message costs: processor time of a worker, of the store and of the broker, operations, bytes. In a minute.

    python -m bench.costs [--messages 6000] [--json]

A real `qingliu worker` with the shipped rules on the embedded pair, generated chat with 5 % of it abuse. Processor time
is what the kernel booked for each process; operations and bytes are what the store counted. Two loads, many small
batches and few full ones, tell a batch's costs from a message's; a trickle tells how long a message takes where nothing
has to wait. Neighbours on the machine only ever add to processor time, by half and more: full batches are measured
three times, and the cheapest counts. `python -m bench.simulation` calculates with these.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import statistics
import tempfile
import time
from contextlib import AsyncExitStack
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import aiohttp
import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from prometheus_client.parser import text_string_to_metric_families
from redis.asyncio import Redis

from bench.faults.crew import Crew
from bench.lines import endless, mix
from bench.part import RULES
from console.traffic import rebase
from moderation.moderator import Moderator
from streams import garbage
from streams.embedded import Embedded
from streams.rules import load_rules
from streams.settings import Settings
from streams.topics import create_topics

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from bench.faults.crew import Worker
    from moderation.events import ChatEvent

PREFIX: Final = "costs."
PARTITIONS: Final = 6
#: Messages a second and seconds: a trickle, where every batch is one message, and small batches.
TRICKLE: Final = (20.0, 8.0)
SMALL: Final = (400.0, 10.0)
#: Messages judged one by one, for how much they differ.
SINGLES: Final = 2_000
WITHIN_S: Final = 120.0
#: Full batches: so many rounds of so many messages.
ROUNDS: Final = 3
MESSAGES: Final = 6_000


class Costs(NamedTuple):
    """Of one message where not said otherwise; seconds of processor time, and bytes."""

    worker_s: float
    worker_batch_s: float
    #: Standard deviation of a message's cost, by the mean of it.
    spread: float
    #: Of batches, those that ask the store, per message in them: 1 − (1 − share) ** messages.
    asking_share: float
    store_s: float
    store_ops: float
    store_bytes: float
    broker_s: float
    in_bytes: float
    out_bytes: float
    out_records: float
    #: From the event to its acknowledged effect where nothing waits, by the clock.
    rest_s: float
    #: From one batch of a partition to the next while the worker has time, by the clock.
    fetch_s: float
    #: For checking a model: a rate, and what was seen at it, messages a batch and the age of its oldest.
    check_rate: float
    check_batch: float
    check_age_s: float


class Seen(NamedTuple):
    """The counters at one moment."""

    worker_s: float
    store_s: float
    broker_s: float
    ops: float
    bytes: float
    records: float
    batches: float
    asked: float
    age_sum: float
    age_count: float

    def since(self, before: Seen) -> Seen:
        """Return the difference."""
        return Seen(*(now - then for now, then in zip(self, before, strict=True)))


async def measure(messages: int) -> Costs:
    """Measure on a pair of embedded servers."""
    async with AsyncExitStack() as stack:
        pair = await stack.enter_async_context(Embedded())
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="qingliu-")))
        settings = Settings.load({"topic_prefix": PREFIX, "partitions": PARTITIONS}, env_file=None)
        await create_topics(settings, pair.kafka)
        crew = Crew(_environment(pair, home), home)
        stack.push_async_callback(crew.end)
        worker = await crew.join()
        servers = pair.kafka.removeprefix("kafka://")
        producer = await stack.enter_async_context(
            AIOKafkaProducer(bootstrap_servers=servers, linger_ms=2, max_batch_size=1 << 19)
        )
        store = await stack.enter_async_context(Redis.from_url(pair.redis))
        bench = _Bench(pair, worker, producer, store, settings.topics.world)
        trickle = await bench.run(*TRICKLE)
        small = await bench.run(*SMALL)
        rounds = [await bench.run(float("inf"), messages) for _ in range(ROUNDS)]
        full = min(rounds, key=lambda seen: seen.worker_s / seen.records)
        out_bytes, out_records = await _said(servers, settings)
        sent = len(bench.sent_bytes)
        return _costs(trickle, small, full, spread())._replace(
            in_bytes=sum(bench.sent_bytes) / sent, out_bytes=out_bytes / sent, out_records=out_records / sent
        )


def _costs(trickle: Seen, small: Seen, full: Seen, spread_: float) -> Costs:
    """Take a batch's costs and a message's apart: two loads, two unknowns."""
    per_batch = (small.worker_s / small.records - full.worker_s / full.records) / (
        small.batches / small.records - full.batches / full.records
    )
    asking = small.asked / (full.asked / full.batches)  # of full batches each asks, and most more than once
    return Costs(
        worker_s=(full.worker_s - per_batch * full.batches) / full.records,
        worker_batch_s=per_batch,
        spread=spread_,
        asking_share=1 - (1 - min(0.999, asking / small.batches)) ** (small.batches / small.records),
        store_s=full.store_s / full.records,
        store_ops=full.ops / full.records,
        store_bytes=full.bytes / full.records,
        broker_s=full.broker_s / full.records,
        in_bytes=0.0,
        out_bytes=0.0,
        out_records=0.0,
        rest_s=trickle.age_sum / trickle.age_count,
        fetch_s=SMALL[1] * PARTITIONS / small.batches,
        check_rate=SMALL[0],
        check_batch=small.records / small.batches,
        check_age_s=small.age_sum / small.age_count,
    )


class _Bench:
    def __init__(self, pair: Embedded, worker: Worker, producer: AIOKafkaProducer, store: Redis, topic: str) -> None:
        self._pair, self._worker, self._producer, self._store, self._topic = pair, worker, producer, store, topic
        self._events = endless()
        self.sent_bytes: list[int] = []

    async def run(self, rate: float, most: float) -> Seen:
        """Send at a rate for `most` seconds, or `most` messages at once; return what it took until all were judged."""
        count = int(most if math.isinf(rate) else rate * most)
        events = list(rebase(islice(self._events, count), time.time_ns() // 1_000_000))
        before = await self._seen()
        began, sending = time.monotonic(), []
        for n, event in enumerate(events):
            if (wait := began + n / rate - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            sending.append(await self._send(event, now=math.isfinite(rate)))
        await asyncio.gather(*sending)
        async with asyncio.timeout(WITHIN_S):
            while (await self._seen()).records - before.records < count:  # noqa: ASYNC110  another process counts
                await asyncio.sleep(0.2)
        return (await self._seen()).since(before)

    async def _send(self, event: ChatEvent, *, now: bool) -> Awaitable[object]:
        """Hand over a record; what is returned waits until the broker has it.

        What is sent at once keeps its times: people who say everything in one moment would be floods.
        """
        event = msgspec.structs.replace(event, ts=time.time_ns() // 1_000_000) if now else event
        key, value = event.sender.account_id.encode(), msgspec.json.encode(event)
        self.sent_bytes.append(len(value) + len(key))
        sent: Awaitable[object] = await self._producer.send(self._topic, value, key=key)
        return sent

    async def _seen(self) -> Seen:
        async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{self._worker.port}/metrics") as page:
            families = text_string_to_metric_families(await page.text())
            found = {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}
        info = await self._store.info()
        return Seen(
            worker_s=busy(self._worker.process.pid),
            store_s=busy(self._pair.store_pid),
            broker_s=busy(self._pair.broker_pid),
            ops=info["total_commands_processed"],
            bytes=info["total_net_input_bytes"] + info["total_net_output_bytes"],
            records=sum(value for key, value in found.items() if key[0] == "qingliu_outcomes_total"),
            batches=found["qingliu_batch_seconds_count",],
            asked=found["qingliu_store_seconds_count",],
            age_sum=found["qingliu_event_age_seconds_sum",],
            age_count=found["qingliu_event_age_seconds_count",],
        )


def busy(pid: int) -> float:
    """Return the processor time a process has had, in seconds (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def spread() -> float:
    """Return how much messages differ: the standard deviation of what judging one costs, by its mean."""
    moderator = Moderator(load_rules([RULES]))
    garbage.settle()  # as a worker does: a collection is no message's cost
    took = []
    for event in mix(SINGLES, seed=8):
        began = time.thread_time()
        moderator.judge([event])
        took.append(time.thread_time() - began)
    took = took[SINGLES // 10 :]  # what is made at the first use is made
    return statistics.pstdev(took) / statistics.fmean(took)


async def _said(servers: str, settings: Settings) -> tuple[float, float]:
    """Return bytes and records of all that workers said."""
    size, count, topics = 0, 0, settings.topics
    async with AIOKafkaConsumer(
        topics.enforcement, topics.cases, topics.dead_letters,
        bootstrap_servers=servers, group_id=None, auto_offset_reset="earliest",
    ) as reader:  # fmt: skip
        while batches := (await reader.getmany(timeout_ms=2000)).values():
            for record in (one for batch in batches for one in batch):
                size, count = size + len(record.value or b"") + len(record.key or b""), count + 1
    return float(size), float(count)


def _environment(pair: Embedded, home: Path) -> dict[str, str]:
    return {
        "TMPDIR": str(home),
        "QINGLIU_KAFKA": pair.kafka,
        "QINGLIU_REDIS": pair.redis,
        "QINGLIU_TOPIC_PREFIX": PREFIX,
        "QINGLIU_GROUP_ID": "costs",
        "QINGLIU_RULES": str(RULES),
        "QINGLIU_SESSION_TIMEOUT_S": "4",
        "QINGLIU_HEARTBEAT_S": "1",
        "QINGLIU_LOG_LEVEL": "error",
    }


def main() -> None:
    """Measure; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--messages", type=int, default=MESSAGES, help="of a round of full batches")
    parser.add_argument("--json", action="store_true", help="only the JSON line")
    args = parser.parse_args()
    found = asyncio.run(measure(args.messages))
    if not args.json:
        for name, value in found._asdict().items():
            print(f"{name:<16}{value * 1e6:>12,.1f} µs" if name.endswith("_s") else f"{name:<16}{value:>12,.3f}")
    print(json.dumps(found._asdict()))


if __name__ == "__main__":
    main()
