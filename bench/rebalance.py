"""What a rebalance costs: how long partitions stand still and what is judged again as workers come and go under load.

    python -m bench.rebalance [--rate 1000] [--broker embedded|apache] [--json]

Two workers with the shipped rules read generated chat, 5 % of it abuse. A third one joins; it leaves (SIGTERM); one is
killed, and started again a second later. One record in ten is a marker, which is no chat event: its dead letter tells
when it was judged and how often, whatever the metrics of those that are gone would have said.

    still     the longest time in which nothing of a partition was judged: in the middle of all partitions, and at worst
    age       how old a message was at most when its effect was there
    again     messages judged again, by the markers: ten for each

All of it between a change and the next one, starting a process included; a partition that has not moved when the
next one comes has stood still for so long at least. `quiet` is the time before the first, to compare.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import AsyncExitStack
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from bench.faults import servers
from bench.faults.crew import Crew
from bench.lines import endless
from console.traffic import rebase
from streams.settings import Settings
from streams.topics import create_topics

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.faults.servers import Server
    from moderation.events import ChatEvent

RULES: Final = Path(__file__).parent.parent / "rules"
PREFIX: Final = "rebalance."
PARTITIONS: Final = 12
SESSION_S: Final = 6.0
MARKED: Final = 10
MARK: Final = b"marker "
#: How long is looked after each change, and before the first. Seconds.
LOOK_S: Final = {"quiet": 8.0, "a worker joins": 12.0, "it leaves": 10.0, "one is killed": 30.0}
TICK_S: Final = 0.02
#: Of load, for changes that take longer than is looked. Seconds.
SPARE_S: Final = 20.0
DRAIN_WITHIN_S: Final = 60.0


class Marker(NamedTuple):
    """When and where one was sent."""

    at: float
    partition: int


class Cost(NamedTuple):
    """What a change cost. Seconds and messages."""

    still_median_s: float
    still_worst_s: float
    age_worst_s: float
    again: int


class Load:
    """Sends chat and markers at a steady rate until told to stop, or until `seconds` of it have been sent."""

    def __init__(self, producer: AIOKafkaProducer, topic: str, rate: float, seconds: float) -> None:
        self._producer, self._topic, self._rate = producer, topic, rate
        now = time.time_ns() // 1_000_000
        self._events = list(islice(endless(start_ms=now, rate=rate), int(rate * seconds)))
        self.markers: dict[int, Marker] = {}
        self.over = asyncio.Event()

    async def run(self) -> int:
        """Return how many records were sent and acknowledged."""
        events = rebase(self._events, time.time_ns() // 1_000_000)
        began, sending = time.time(), set()
        for number, event in enumerate(events):
            if number % max(1, int(self._rate * TICK_S)) == 0:
                await asyncio.sleep(max(0.0, began + number / self._rate - time.time()))
            if self.over.is_set():
                break
            sending.add(asyncio.create_task(self._send(number, event)))
        await asyncio.gather(*sending)
        return len(sending)

    async def _send(self, number: int, event: ChatEvent) -> None:
        at, marker = time.time(), number % MARKED == 0
        value = MARK + str(number).encode() if marker else msgspec.json.encode(event)
        told = await self._producer.send_and_wait(self._topic, value, key=event.sender.account_id.encode())
        if marker:
            self.markers[number] = Marker(at, told.partition)


async def measure(broker: str, rate: float, home: Path) -> dict[str, Cost]:
    """Run the story once against one broker."""
    async with AsyncExitStack() as stack:
        kafka, redis = await _servers(stack, broker, home)
        settings = _settings()
        topics = settings.topics
        await create_topics(settings, kafka)
        crew = Crew(_environment(kafka, redis, home), home)
        stack.push_async_callback(crew.end)
        where = kafka.removeprefix("kafka://")
        producer = await stack.enter_async_context(AIOKafkaProducer(bootstrap_servers=where, linger_ms=5))
        load = Load(producer, topics.world, rate, sum(LOOK_S.values()) + SPARE_S)
        await asyncio.gather(crew.join(), crew.join())
        running = asyncio.create_task(load.run())
        changes = await _story(crew)
        load.over.set()
        print(f"{broker}: {await running} records sent", file=sys.stderr)
        judged = await _judged(where, topics.dead_letters, load.markers)
        return costs(load.markers, judged, changes)


async def _story(crew: Crew) -> list[tuple[str, float]]:
    """Make the changes; return each with its time, and the end."""
    changes = []
    for name, seconds in LOOK_S.items():
        changes.append((name, time.time()))
        if name == "a worker joins":
            await crew.join()
        elif name == "it leaves":
            await crew.leave(crew.workers[-1])
        elif name == "one is killed":
            await crew.workers[0].kill()
            await asyncio.sleep(1.0)
            await crew.start(crew.workers[0])
        await asyncio.sleep(changes[-1][1] + seconds - time.time())
    return [*changes, ("end", time.time())]


async def _judged(servers_: str, topic: str, markers: Mapping[int, Marker]) -> list[tuple[int, float]]:
    """Return which markers were judged and when, in the order told, once all of them were."""
    found: list[tuple[int, float]] = []
    async with AIOKafkaConsumer(
        topic, bootstrap_servers=servers_, group_id=None, auto_offset_reset="earliest"
    ) as reader:
        async with asyncio.timeout(DRAIN_WITHIN_S):
            while {number for number, _ in found} != set(markers):
                found += await _read(reader)
        await asyncio.sleep(1.0)  # and what was said twice at the very end
        return found + await _read(reader)


async def _read(reader: AIOKafkaConsumer) -> list[tuple[int, float]]:
    batches = (await reader.getmany(timeout_ms=500)).values()
    records = [record for batch in batches for record in batch if record.value.startswith(MARK)]
    return [(int(record.value.removeprefix(MARK)), record.timestamp / 1000) for record in records]


def costs(
    markers: Mapping[int, Marker], judged: Sequence[tuple[int, float]], changes: Sequence[tuple[str, float]]
) -> dict[str, Cost]:
    """Return what each change cost, from when each marker was sent and judged."""
    first: dict[int, float] = {}
    again = []
    for number, at in judged:
        if first.setdefault(number, at) is not at:
            again.append(at)
    return {
        name: _cost({n: at for n, at in first.items() if since <= at < until}, markers, until, since)._replace(
            again=MARKED * sum(since <= at < until for at in again)
        )
        for (name, since), (_, until) in pairwise(changes)
    }


def _cost(first: Mapping[int, float], markers: Mapping[int, Marker], until: float, since: float) -> Cost:
    times: dict[int, list[float]] = defaultdict(lambda: [since, until])
    for number, at in first.items():
        times[markers[number].partition].append(at)
    still = [max(after - before for before, after in pairwise(sorted(one))) for one in times.values()]
    age = max(at - markers[number].at for number, at in first.items())
    return Cost(statistics.median(still), max(still), age, 0)


async def _servers(stack: AsyncExitStack, broker: str, home: Path) -> tuple[str, str]:
    jars = servers.jars(lambda line: print(line, file=sys.stderr)) if broker == "apache" else None
    if broker == "apache" and jars is None:
        raise SystemExit("Apache Kafka needs java and mvn; --broker embedded needs neither")
    ports = servers.broker_ports(apache=jars is not None)
    store = servers.valkey(home)
    made: list[Server] = (
        servers.kafka(home, jars, [ports], ports.proxied) if jars else [servers.tansu(home, ports.direct)]
    )
    for server in stack.enter_context(servers.ending([store, *made])):
        await server.listening()
    return f"kafka://127.0.0.1:{ports.direct}", f"redis://127.0.0.1:{store.port}/0"


def _settings() -> Settings:
    return Settings.load({"topic_prefix": PREFIX, "group_id": "rebalance", "partitions": PARTITIONS}, env_file=None)


def _environment(kafka: str, redis: str, home: Path) -> dict[str, str]:
    return {
        "TMPDIR": str(home),
        "QINGLIU_KAFKA": kafka,
        "QINGLIU_REDIS": redis,
        "QINGLIU_TOPIC_PREFIX": PREFIX,
        "QINGLIU_GROUP_ID": "rebalance",
        "QINGLIU_RULES": str(RULES),
        "QINGLIU_SESSION_TIMEOUT_S": str(SESSION_S),
        "QINGLIU_HEARTBEAT_S": str(SESSION_S / 3),
        "QINGLIU_DEAD_LETTER_SHARE": "1",
    }


def table(found: Mapping[str, Cost]) -> str:
    """Return the costs for people."""
    lines = [f"{'':<16}{'still, median':>15}{'still, worst':>14}{'age, worst':>12}{'again':>8}"]
    for name, cost in found.items():
        seconds = f"{cost.still_median_s:>13.2f} s{cost.still_worst_s:>12.2f} s{cost.age_worst_s:>10.2f} s"
        lines.append(f"{name:<16}{seconds}{cost.again:>8}")
    return "\n".join(lines)


def main() -> None:
    """Measure; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rate", type=float, default=1000, help="records a second")
    parser.add_argument("--broker", choices=("embedded", "apache"), help="only this one; else both")
    parser.add_argument("--json", action="store_true", help="only the JSON line")
    args = parser.parse_args()
    out: dict[str, Any] = {"rate": args.rate, "partitions": PARTITIONS, "session_s": SESSION_S}
    for broker in [args.broker] if args.broker else ["embedded", "apache"]:
        with tempfile.TemporaryDirectory(prefix="qingliu-") as home:
            found = asyncio.run(measure(broker, args.rate, Path(home)))
        if not args.json:
            print(f"\n{broker}\n{table(found)}")
        out[broker] = {name: cost._asdict() for name, cost in found.items()}
    print(json.dumps(out))


if __name__ == "__main__":
    main()
