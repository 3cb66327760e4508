"""Messages per second from Kafka through one worker: stock Faust, our batch transport, a bare aiokafka loop.

All three read the same preloaded topic from the embedded broker, each run in a process and a consumer group of its own,
and call the same `work(value)` for every record. Rounds are interleaved, medians shown: compare the ratios, not the
figures, since machines differ and are noisy. The clock runs from the first record handled to the last, so neither
start-up nor the group's join counts.

    python bench/stream.py [--messages 100000] [--rounds 3] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import faust
import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from moderation.events import ChatEvent, Sender, decode_event
from streams.embedded import Embedded
from streams.transport import BatchTransport, RawBatch

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

TOPIC: Final = "bench.stream"
PARTITIONS: Final = 4
#: Stock Faust is more than ten times slower: it gets this share of the messages, or its runs would take a minute.
STOCK_SHARE: Final = 0.1
#: A run ends before the topic does: on the last records a fetch waits for partitions that have no more.
SHARE: Final = 0.9
LINES: Final = (
    "来个奶妈 打深渊 来的密我",
    "收强化石 两百一个 有的MMM",
    "今天国战几点开始啊",
    "哈哈哈哈你也太菜了吧",
    "出售+12武器 带价密 不急",
    "刚才那波团战打得漂亮",
    "有没有人一起做每日",
    "公会收人 活跃就行 福利多多",
    "代練上分 加薇❤信 abc12345 便宜",
    "我们区人太少了 想换个区玩",
)


def build_work() -> Callable[[bytes], object]:
    """Return what every variant does with one record: decode it. An engine's callable can take its place."""
    return lambda value: decode_event(value, keyed=False)


def events(distinct: int = 400) -> list[bytes]:
    """Return encoded chat events of about 330 bytes, the same ones every time."""
    dice = random.Random(7)  # noqa: S311  no secret
    return [msgspec.json.encode(event(n, dice)) for n in range(distinct)]


def event(n: int, dice: random.Random) -> ChatEvent:
    """Return one event with the fields a game server usually knows."""
    account = f"acc-{dice.randrange(10_000)}"
    sender = Sender(
        account_id=account,
        role_id=f"role-{n}",
        name=f"玩家{n}",
        level=dice.randrange(1, 120),
        vip=dice.randrange(10),
        account_age_days=dice.randrange(900),
        guild_id=f"g{dice.randrange(50)}",
        device_id=f"{dice.getrandbits(64):x}",
    )
    text = " ".join(dice.sample(LINES, dice.choice((1, 1, 1, 2))))
    return ChatEvent(f"ev-{n:08d}", 1_790_000_000_000 + n, "s1", "world", sender, text, client_version="3.14.0")


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
        for value in values:
            self.work(value)
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
        broker_session_timeout=2.0,
        broker_heartbeat_interval=0.5,
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


async def stock(url: str, group: str, wanted: int) -> float:
    """Run one agent as in Faust's manual, raw bytes."""
    app, clock = make_app(url, group), Clock(wanted)

    async def moderate(stream: Any) -> None:
        async for value in stream:
            clock.handle([value])

    app.agent(app.topic(TOPIC, value_type=bytes, value_serializer="raw"), name="moderate")(moderate)
    return await through(app, clock)


async def batch(url: str, group: str, wanted: int) -> float:
    """Run the same agent on our transport."""
    app, clock = make_app(url, group), Clock(wanted)
    app.conf.stream_buffer_maxsize = 16
    app.transport = BatchTransport(app.conf.broker, app)

    async def moderate(stream: Any) -> None:
        async for event in stream.noack().events():
            clock.handle([record.value for record in event.value])
            event.ack()

    app.agent(app.topic(TOPIC, schema=RawBatch()), name="moderate")(moderate)
    return await through(app, clock)


async def bare(url: str, group: str, wanted: int) -> float:
    """Run no Faust at all."""
    clock, servers = Clock(wanted), url.removeprefix("kafka://")
    async with AIOKafkaConsumer(
        TOPIC,
        bootstrap_servers=servers,
        group_id=group,
        auto_offset_reset="earliest",
        session_timeout_ms=2000,
        heartbeat_interval_ms=500,
        fetch_max_wait_ms=20,
    ) as consumer:
        while not clock.rate.done():
            for records in (await consumer.getmany(timeout_ms=1000, max_records=2000)).values():
                clock.handle([record.value for record in records])
        return clock.rate.result()


VARIANTS: Final[dict[str, Callable[[str, str, int], Coroutine[Any, Any, float]]]] = {
    "stock": stock,
    "batch": batch,
    "bare": bare,
}
NAMES: Final = {"stock": "stock Faust", "batch": "batch transport", "bare": "bare aiokafka"}


async def preload(servers: str, messages: int) -> None:
    """Fill the topic."""
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    await admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1)])
    await admin.close()
    values = events()
    async with AIOKafkaProducer(bootstrap_servers=servers, linger_ms=20, max_batch_size=1 << 19) as producer:
        for n in range(messages):
            await producer.send(TOPIC, values[n % len(values)], partition=n % PARTITIONS)
        await producer.flush()


def measure(variant: str, url: str, group: str, messages: int) -> float:
    """Return messages per second of one run in a fresh process."""
    wanted = int(messages * SHARE * (STOCK_SHARE if variant == "stock" else 1))
    command = [sys.executable, str(Path(__file__).resolve()), "--run", variant, url, group, str(wanted)]
    with tempfile.TemporaryDirectory() as here:  # Faust writes its data directory where it stands
        ended = subprocess.run(command, stdout=subprocess.PIPE, timeout=120, check=True, cwd=here)
    return float(json.loads(ended.stdout))


async def rounds(messages: int, count: int) -> dict[str, list[float]]:
    """Return the rates of every round by variant."""
    rates: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    async with Embedded() as pair:
        await preload(pair.kafka.removeprefix("kafka://"), messages)
        for n in range(count):
            for variant, seen in rates.items():
                seen.append(await asyncio.to_thread(measure, variant, pair.kafka, f"bench-{variant}-{n}", messages))
                print(f"{NAMES[variant]}: {seen[-1]:,.0f}/s", file=sys.stderr, flush=True)
    return rates


def table(medians: dict[str, float]) -> str:
    """Return the figures with their ratios for people."""
    lines = [f"{'':<16}{'messages/s':>12}{'x stock':>9}{'x bare':>9}"]
    for variant, rate in medians.items():
        stocks, bares = rate / medians["stock"], rate / medians["bare"]
        lines.append(f"{NAMES[variant]:<16}{rate:>12,.0f}{stocks:>9.2f}{bares:>9.2f}")
    return "\n".join(lines)


def main() -> None:
    """Run the benchmark, or one variant of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="only the JSON line")
    parser.add_argument("--run", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.run:
        variant, url, group, wanted = args.run
        print(asyncio.run(VARIANTS[variant](url, group, int(wanted))))
        return
    rates = asyncio.run(rounds(args.messages, args.rounds))
    medians = {variant: statistics.median(seen) for variant, seen in rates.items()}
    if not args.json:
        print(table(medians))
    ratios = {
        "batch_to_stock": medians["batch"] / medians["stock"],
        "batch_to_bare": medians["batch"] / medians["bare"],
    }
    print(json.dumps({"messages": args.messages, "medians": medians, "ratios": ratios, "rounds": rates}))


if __name__ == "__main__":
    main()
