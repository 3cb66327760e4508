"""Messages per second from Kafka through one worker, with the shipped rules: ours beside stock Faust and a bare loop.

    worker   the real worker: chat in, actions, cases and dead letters out and acknowledged, ledger written
    batch    decode and judge on our batch transport, nothing sent
    bare     decode and judge in a bare aiokafka loop, nothing sent, nothing acknowledged
    stock    decode and judge in a stock Faust agent, nothing sent

All read the same preloaded topic of the embedded broker, each run in a process and a consumer group of its own. Rounds
are interleaved, medians shown: compare the ratios, not the figures, since machines differ and are noisy. The clock runs
from the first record handled to the last, so neither start-up nor the group's join counts.

With `--decode` nothing is judged, only decoded, and the worker is left out: what the transports alone can carry.

    python bench/stream.py [--messages 60000] [--rounds 3] [--decode] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import faust
import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from console.traffic import Traffic
from moderation.events import decode_event
from moderation.moderator import Moderator
from streams.embedded import Embedded
from streams.logs import log_json
from streams.metrics import OUTCOMES
from streams.rules import load_rules
from streams.settings import Settings
from streams.topics import create_topics
from streams.transport import BatchTransport, RawBatch
from streams.worker import running

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from moderation.events import ChatEvent

RULES: Final = Path(__file__).parent.parent / "rules"
PREFIX: Final = "bench."
TOPIC: Final = f"{PREFIX}chat.world"
PARTITIONS: Final = 4
DECODE_ONLY: Final = "--decode"
#: Stock Faust is much slower: it gets this share of the messages, or its runs would take minutes.
STOCK_SHARE: Final = 0.2
#: A run ends before the topic does: on the last records a fetch waits for partitions that have no more.
SHARE: Final = 0.9
#: Of the generator's lines that look like abuse and are none, one in so many is kept: then a tenth of the lines has a
#: rule worth trying, as in real chat (4 to 11 % in five sets of it, 2026-11-21), instead of a third.
TRAPS_KEPT: Final = 5
#: Of the generator's lines, so that after the thinning one line in twenty is abuse.
ABUSE: Final = 0.03
#: Generated players speak at 80 lines a second: about one a minute each, so that honest ones flood nothing.
PLAYERS: Final = 5000
RATE: Final = 80.0


def build_work() -> Callable[[list[bytes]], object]:
    """Return what the three variants without effects do with records: decode and judge them by the shipped rules."""
    if DECODE_ONLY in sys.argv:
        return lambda values: [decode_event(value, keyed=False) for value in values]
    moderator = Moderator(load_rules([RULES]))
    return lambda values: moderator.judge([decode_event(value, keyed=False) for value in values])


class Clock:
    """Calls `work` and stops the time of `wanted` calls."""

    def __init__(self, wanted: int) -> None:
        self.work = build_work()
        self.wanted = self.left = wanted
        self.began = 0.0
        self.rate: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    def handle(self, values: list[bytes]) -> None:
        """Do the work for some records."""
        if not self.began:
            self.began = time.perf_counter()
        self.work(values)
        self.left -= len(values)
        if self.left <= 0 and not self.rate.done():
            self.rate.set_result((self.wanted - self.left) / (time.perf_counter() - self.began))


def make_app(url: str, group: str) -> faust.App:
    """Return a Faust app with the settings both Faust variants share."""
    return faust.App(
        group,
        broker=url,
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        broker_session_timeout=4.0,
        broker_heartbeat_interval=1.0,
        broker_request_timeout=10.0,
        broker_max_poll_records=2000,
        consumer_auto_offset_reset="earliest",
    )


async def through(app: faust.App, clock: Clock) -> float:
    """Run an app until its clock has its figure."""
    await app.start()
    rate = await clock.rate
    await app.stop()
    return rate


async def stock(pair: tuple[str, str], group: str, wanted: int) -> float:
    """Run one agent as in Faust's manual, raw bytes."""
    app, clock = make_app(pair[0], group), Clock(wanted)

    async def moderate(stream: Any) -> None:
        async for value in stream:
            clock.handle([value])

    app.agent(app.topic(TOPIC, value_type=bytes, value_serializer="raw"), name="moderate")(moderate)
    return await through(app, clock)


async def batch(pair: tuple[str, str], group: str, wanted: int) -> float:
    """Run the same agent on our transport."""
    app, clock = make_app(pair[0], group), Clock(wanted)
    app.conf.stream_buffer_maxsize = 16
    app.transport = BatchTransport(app.conf.broker, app)

    async def moderate(stream: Any) -> None:
        async for event in stream.noack().events():
            clock.handle([record.value for record in event.value])
            event.ack()

    app.agent(app.topic(TOPIC, schema=RawBatch()), name="moderate")(moderate)
    return await through(app, clock)


async def bare(pair: tuple[str, str], group: str, wanted: int) -> float:
    """Run no Faust at all."""
    clock, servers = Clock(wanted), pair[0].removeprefix("kafka://")
    async with AIOKafkaConsumer(
        TOPIC,
        bootstrap_servers=servers,
        group_id=group,
        auto_offset_reset="earliest",
        session_timeout_ms=4000,
        heartbeat_interval_ms=1000,
        fetch_max_wait_ms=20,
    ) as consumer:
        while not clock.rate.done():
            for records in (await consumer.getmany(timeout_ms=1000, max_records=2000)).values():
                clock.handle([record.value for record in records])
        return clock.rate.result()


async def worker(pair: tuple[str, str], group: str, wanted: int) -> float:
    """Run the real worker, and read from its own counters when it has finished how many records."""
    settings = Settings.load(
        {"topic_prefix": PREFIX, "group_id": group, "redis_prefix": group, "metrics_port": 0, "rules": str(RULES)}
        | {"session_timeout_s": 4.0, "heartbeat_s": 1.0, "log_level": "error"},
        env_file=None,
    )
    log_json("error")
    async with running(settings, *pair) as started:
        counters = [started.metrics.outcomes.labels(outcome) for outcome in OUTCOMES]

        def done() -> float:
            return float(sum(one._value.get() for one in counters))  # noqa: SLF001  its own thread-safe number

        first = await beyond(done, 0)
        last = await beyond(done, wanted)
        return (last[1] - first[1]) / (last[0] - first[0])


async def beyond(count: Callable[[], float], least: int) -> tuple[float, float]:
    """Wait until `count()` is past `least`; give the time and the count."""
    while count() <= least:  # noqa: ASYNC110  a counter tells nobody
        await asyncio.sleep(0.002)
    return time.perf_counter(), count()


VARIANTS: Final[dict[str, Callable[[tuple[str, str], str, int], Coroutine[Any, Any, float]]]] = {
    "stock": stock,
    "bare": bare,
    "batch": batch,
    "worker": worker,
}
NAMES: Final = {"stock": "stock Faust", "bare": "bare aiokafka", "batch": "batch transport", "worker": "the worker"}


async def preload(pair: Embedded, messages: int) -> None:
    """Fill the topic with generated chat, keyed by sender."""
    settings = Settings.load({"topic_prefix": PREFIX, "partitions": PARTITIONS}, env_file=None)
    await create_topics(settings, pair.kafka)
    now = time.time_ns() // 1_000_000
    traffic = Traffic(7, players=PLAYERS, start_ms=now, rate=RATE, spam_share=ABUSE)
    servers = pair.kafka.removeprefix("kafka://")
    async with AIOKafkaProducer(bootstrap_servers=servers, linger_ms=20, max_batch_size=1 << 19) as producer:
        for event in islice(mix(traffic), messages):
            await producer.send(TOPIC, msgspec.json.encode(event), key=event.sender.account_id.encode())
        await producer.flush()


def mix(traffic: Traffic) -> Iterator[ChatEvent]:
    """Thin out the traps of generated chat."""
    traps = 0
    for line in traffic:
        traps += line.kind.startswith("trap")
        if not line.kind.startswith("trap") or traps % TRAPS_KEPT == 0:
            yield line.event


def measure(variant: str, pair: Embedded, group: str, messages: int) -> tuple[float, float]:
    """Return messages per second and peak MiB of one run in a fresh process."""
    wanted = int(messages * SHARE * (STOCK_SHARE if variant == "stock" else 1))
    command = [sys.executable, str(Path(__file__).resolve()), *(flag for flag in sys.argv if flag == DECODE_ONLY)]
    command += ["--run", variant, pair.kafka, pair.redis, group]
    with tempfile.TemporaryDirectory() as here:  # Faust writes its data directory where it stands
        ended = subprocess.run([*command, str(wanted)], stdout=subprocess.PIPE, timeout=180, check=True, cwd=here)
    rate, mib = json.loads(ended.stdout)
    return float(rate), float(mib)


async def rounds(messages: int, count: int) -> dict[str, list[tuple[float, float]]]:
    """Return the figures of every round by variant."""
    seen: dict[str, list[tuple[float, float]]] = {
        variant: [] for variant in VARIANTS if variant != "worker" or DECODE_ONLY not in sys.argv
    }
    async with Embedded() as pair:
        await preload(pair, messages)
        for n in range(count):
            for variant, runs in seen.items():
                runs.append(await asyncio.to_thread(measure, variant, pair, f"bench-{variant}-{n}", messages))
                print(f"{NAMES[variant]}: {runs[-1][0]:,.0f}/s", file=sys.stderr, flush=True)
    return seen


def table(rates: dict[str, float], memory: dict[str, float]) -> str:
    """Return the figures with their ratios for people."""
    lines = [f"{'':<16}{'messages/s':>12}{'x stock':>9}{'x bare':>9}{'peak MiB':>10}"]
    for variant, rate in rates.items():
        stocks, bares = rate / rates["stock"], rate / rates["bare"]
        lines.append(f"{NAMES[variant]:<16}{rate:>12,.0f}{stocks:>9.2f}{bares:>9.2f}{memory[variant]:>10.0f}")
    return "\n".join(lines)


def main() -> None:
    """Run the benchmark, or one variant of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--messages", type=int, default=60_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(DECODE_ONLY, action="store_true", help="compare the transports alone")
    parser.add_argument("--json", action="store_true", help="only the JSON line")
    parser.add_argument("--run", nargs=5, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.run:
        variant, kafka, redis, group, wanted = args.run
        rate = asyncio.run(VARIANTS[variant]((kafka, redis), group, int(wanted)))
        print(json.dumps([rate, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
        return
    seen = asyncio.run(rounds(args.messages, args.rounds))
    rates = {variant: statistics.median(rate for rate, _ in runs) for variant, runs in seen.items()}
    memory = {variant: max(mib for _, mib in runs) for variant, runs in seen.items()}
    if not args.json:
        print(table(rates, memory))
    ratios = {
        f"{ours}_to_{theirs}": rates[ours] / rates[theirs]
        for ours in ("worker", "batch")
        for theirs in ("stock", "bare")
        if ours in rates
    }
    print(json.dumps({"messages": args.messages, "rates": rates, "ratios": ratios, "peak_mib": memory, "rounds": seen}))


if __name__ == "__main__":
    main()
