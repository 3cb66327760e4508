"""Who reads chat from Kafka with the same engine: the worker, and what one would write instead. Each runs apart.

    worker           the real worker: actions, cases and dead letters out and acknowledged, ledger written
    batch_transport  an agent on our batch transport, nothing sent, all acknowledged
    bare_loop        an aiokafka loop, nothing sent, nothing acknowledged
    confluent_loop   a loop of confluent-kafka, the same as the aiokafka loop
    stock_faust      an agent as in Faust's manual, the same as on our transport

The clock runs from the first record handled to the last, so neither start-up nor the group's join counts.
"""

from __future__ import annotations

import asyncio
import re
import resource
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import faust
from aiokafka import AIOKafkaConsumer

from bench.part import RULES, NotMeasured
from moderation.events import decode_event
from moderation.moderator import Moderator
from streams.logs import log_json
from streams.metrics import OUTCOMES
from streams.rules import load_rules
from streams.settings import Settings
from streams.transport import BatchTransport, RawBatch
from streams.worker import running

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from prometheus_client import Counter

#: Of the embedded broker's groups: a join waits for half of it.
SESSION_S: Final = 4.0
MOST_RECORDS: Final = 2000
#: Nobody waits longer for records to come.
IDLE_S: Final = 60.0


class Run(NamedTuple):
    """What to read, and when to stop: after `wanted` records. `judge`: not only decode them."""

    kafka: str
    redis: str
    prefix: str
    group: str
    wanted: int
    judge: bool

    @property
    def topic(self) -> str:
        """The topic that was filled."""
        return f"{self.prefix}chat.world"

    @property
    def address(self) -> str:
        """Where the broker is."""
        return self.kafka.removeprefix("kafka://")


class Clock:
    """Does the work and stops the time of `wanted` records; `done` once `seconds` of wall and processor are known."""

    def __init__(self, run: Run) -> None:
        self._work = _judging() if run.judge else _decoding
        self.wanted = self.left = run.wanted
        self._began = (0.0, 0.0)
        self.seconds = (0.0, 0.0)
        self.done = asyncio.Event()

    def handle(self, values: Sequence[bytes]) -> None:
        """Do the work for some records."""
        if self.left == self.wanted:
            self._began = (time.perf_counter(), time.process_time())
        self._work(values)
        self.left -= len(values)
        if self.left <= 0 and not self.done.is_set():
            self.seconds = (time.perf_counter() - self._began[0], time.process_time() - self._began[1])
            self.done.set()

    def figures(self) -> dict[str, float]:
        """Return messages a second, and what one costs of the processor."""
        return _figures(self.wanted - self.left, *self.seconds)


def _figures(count: float, wall: float, processor: float) -> dict[str, float]:
    return {"per_s": count / wall, "cpu_us": processor / count * 1e6}


def _decoding(values: Sequence[bytes]) -> object:
    return [decode_event(value, keyed=False) for value in values]


def _judging() -> Callable[[Sequence[bytes]], object]:
    moderator = Moderator(load_rules([RULES]))
    return lambda values: moderator.judge([decode_event(value, keyed=False) for value in values])


def _app(run: Run) -> faust.App:
    return faust.App(
        run.group,
        broker=run.kafka,
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        broker_session_timeout=SESSION_S,
        broker_heartbeat_interval=SESSION_S / 4,
        broker_request_timeout=10.0,
        broker_max_poll_records=MOST_RECORDS,
        consumer_auto_offset_reset="earliest",
    )


async def _through(app: faust.App, clock: Clock) -> dict[str, float]:
    await app.start()
    await asyncio.wait_for(clock.done.wait(), IDLE_S * 5)
    await app.stop()
    return clock.figures()


async def stock_faust(run: Run) -> dict[str, float]:
    """Run one agent as in Faust's manual, raw bytes."""
    app, clock = _app(run), Clock(run)

    async def moderate(stream: Any) -> None:
        async for value in stream:
            clock.handle([value])

    app.agent(app.topic(run.topic, value_type=bytes, value_serializer="raw"), name="moderate")(moderate)
    return await _through(app, clock)


async def batch_transport(run: Run) -> dict[str, float]:
    """Run the same agent on our transport."""
    app, clock = _app(run), Clock(run)
    app.conf.stream_buffer_maxsize = 16
    app.transport = BatchTransport(app.conf.broker, app)

    async def moderate(stream: Any) -> None:
        async for event in stream.noack().events():
            clock.handle([record.value for record in event.value])
            event.ack()

    app.agent(app.topic(run.topic, schema=RawBatch()), name="moderate")(moderate)
    return await _through(app, clock)


async def bare_loop(run: Run) -> dict[str, float]:
    """Run no Faust at all."""
    clock = Clock(run)
    async with AIOKafkaConsumer(
        run.topic,
        bootstrap_servers=run.address,
        group_id=run.group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        session_timeout_ms=int(SESSION_S * 1000),
        heartbeat_interval_ms=int(SESSION_S * 250),
        fetch_max_wait_ms=20,
    ) as consumer:
        while not clock.done.is_set():
            fetched = await consumer.getmany(timeout_ms=int(IDLE_S * 1000), max_records=MOST_RECORDS)
            for records in fetched.values():
                clock.handle([record.value for record in records])
    return clock.figures()


async def confluent_loop(run: Run) -> dict[str, float]:
    """Run the client on librdkafka, which fetches in threads of its own."""
    try:
        from confluent_kafka import Consumer  # noqa: PLC0415  a tool of development
    except ImportError:
        raise NotMeasured("confluent-kafka is not installed: make .venv/ready") from None
    clock = Clock(run)
    settings: dict[str, Any] = {
        "bootstrap.servers": run.address,
        "group.id": run.group,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "session.timeout.ms": int(SESSION_S * 1000),
        "heartbeat.interval.ms": int(SESSION_S * 250),
        "fetch.wait.max.ms": 20,
    }
    consumer = Consumer(settings)
    consumer.subscribe([run.topic])
    while not clock.done.is_set():
        fetched = consumer.consume(MOST_RECORDS, timeout=0.1)
        if values := [value for one in fetched if one.error() is None and (value := one.value()) is not None]:
            clock.handle(values)
    consumer.close()
    return clock.figures()


async def worker(run: Run) -> dict[str, float]:
    """Run the real worker, and read its own counters: from the first batch in hand to the last one done."""
    async with running(settings_of(run.prefix, run.group), run.kafka, run.redis) as started:
        metrics = started.metrics
        began = await _beyond([metrics.received.labels(run.topic)], 0)
        ended = await _beyond([metrics.outcomes.labels(outcome) for outcome in OUTCOMES], run.wanted)
    return _figures(ended[2], ended[0] - began[0], ended[1] - began[1])


def settings_of(prefix: str, group: str) -> Settings:
    """Return the settings of a worker in this process, on the shipped rules; it logs errors only from now on."""
    log_json("error")
    flags = {"topic_prefix": prefix, "group_id": group, "redis_prefix": group, "rules": str(RULES)}
    session = {"session_timeout_s": SESSION_S, "heartbeat_s": SESSION_S / 4, "metrics_port": 0}
    return Settings.load(flags | session | {"log_level": "error"}, env_file=None)


async def _beyond(counters: Sequence[Counter], least: int) -> tuple[float, float, float]:
    """Wait until counters together are past `least`; return the time, the processor's time, and the count."""
    async with asyncio.timeout(IDLE_S * 5):
        while (count := sum(one._value.get() for one in counters)) <= least:  # noqa: SLF001, ASYNC110  it tells nobody
            await asyncio.sleep(0.002)
    return time.perf_counter(), time.process_time(), count


CONSUMERS: Final[dict[str, Callable[[Run], Coroutine[Any, Any, dict[str, float]]]]] = {
    "worker": worker,
    "batch_transport": batch_transport,
    "bare_loop": bare_loop,
    "confluent_loop": confluent_loop,
    "stock_faust": stock_faust,
}


async def measured(name: str, run: Sequence[Any]) -> dict[str, float]:
    """Return what one of them does in this process: messages a second, µs of the processor for each, most memory."""
    figures = await CONSUMERS[name](Run(*run))
    return figures | {"peak_mb": _peak_bytes() / 1e6}


def _peak_bytes() -> int:
    """Return the most memory this process had. What getrusage says on Linux is at least what our parent had."""
    with suppress(OSError):
        return int(re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text("utf-8"))[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
