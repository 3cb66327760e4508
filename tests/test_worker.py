"""Whole workers on the embedded broker and store: chat in, actions out, through rebalances and a kill -9."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from moderation.actions import Action
from streams.connection import connection
from streams.settings import Settings
from streams.topics import create_topics
from streams.worker import EMBEDDED_SESSION_S, running
from tests.small_rules import event, layer, rules

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from moderation.events import ChatEvent
    from streams.embedded import Embedded

pytestmark = pytest.mark.servers
ROOT = Path(__file__).parent.parent
SPAM = "出金加QQ 7381920465"


def settings_for(test: str, **more: object) -> Settings:
    flags = {
        "topic_prefix": f"worker-{test}.",
        "group_id": f"worker-{test}",
        "redis_prefix": f"worker-{test}",
        "partitions": 4,
        "metrics_port": 0,
        "session_timeout_s": EMBEDDED_SESSION_S,
        "heartbeat_s": EMBEDDED_SESSION_S / 4,
        **more,
    }
    return Settings.load(flags, env_file=None)


@asynccontextmanager
async def producer(pair: Embedded, settings: Settings) -> AsyncIterator[AIOKafkaProducer]:
    async with AIOKafkaProducer(**connection(settings, pair.kafka)) as made:
        yield made


async def publish(to: AIOKafkaProducer, topic: str, events: Sequence[ChatEvent]) -> None:
    sent = [await to.send(topic, msgspec.json.encode(e), key=e.sender.account_id.encode()) for e in events]
    await asyncio.gather(*sent)


async def read(pair: Embedded, settings: Settings, topic: str, enough: int, within_s: float = 60) -> list[bytes]:
    """Read a topic from its beginning until `enough` records are there."""
    out: list[bytes] = []
    until = time.monotonic() + within_s
    where = connection(settings, pair.kafka)
    async with AIOKafkaConsumer(topic, **where, auto_offset_reset="earliest", group_id=None) as consumer:
        while len(out) < enough:
            assert time.monotonic() < until, f"{len(out)} of {enough} records on {topic} after {within_s} s"
            for records in (await consumer.getmany(timeout_ms=200)).values():
                out.extend(r.value or b"" for r in records)
    return out


async def drained(pair: Embedded, settings: Settings, topic: str, sent: int, within_s: float = 60) -> None:
    """Return once the group has committed `sent` records of `topic`."""
    parts = [TopicPartition(topic, p) for p in range(settings.partitions)]
    admin = AIOKafkaAdminClient(**connection(settings, pair.kafka))
    await admin.start()
    try:
        async with asyncio.timeout(within_s):
            while await committed(admin, settings.group_id, parts) < sent:  # noqa: ASYNC110  the broker tells nobody
                await asyncio.sleep(0.2)
    finally:
        await admin.close()


async def committed(admin: AIOKafkaAdminClient, group: str, parts: list[TopicPartition]) -> int:
    """Return how many records the group has committed; asked by partition, since the embedded broker lists none."""
    offsets = await admin.list_consumer_group_offsets(group, partitions=parts)
    return sum(max(0, found.offset) for found in offsets.values())


def fresh_event(text: str, number: int, account: str, **fields: Any) -> ChatEvent:
    return msgspec.structs.replace(event(text, number, account=account, **fields), ts=time.time_ns() // 1_000_000)


def test_chat_in_actions_out_and_bad_records_aside(embedded: Embedded) -> None:
    async def run() -> None:
        settings = settings_for("in-out")
        await create_topics(settings, embedded.kafka)
        async with (
            running(settings, embedded.kafka, embedded.redis, rules()) as worker,
            producer(embedded, settings) as to,
        ):
            await worker.wait_ready()
            topics = settings.topics
            await to.send_and_wait(topics.world, b"\xff", key=b"x")
            await publish(to, topics.world, [fresh_event(SPAM, 1, "a1", level=3), fresh_event("你好", 2, "a2")])
            private = fresh_event("来我们区，转会费五百", 3, "a3", level=3, to={"account_id": "r"})
            await publish(to, topics.private, [private])
            actions = [
                msgspec.json.decode(v, type=Action) for v in await read(embedded, settings, topics.enforcement, 4)
            ]
            assert {(a.target.account_id, a.action) for a in actions} == {
                ("a1", "revert"), ("a1", "mute"), ("a3", "revert"), ("a3", "ban"),
            }  # fmt: skip
            assert await read(embedded, settings, topics.dead_letters, 1) == [b"\xff"]
            await drained(embedded, settings, topics.world, 3)
            async with aiohttp.ClientSession(f"http://127.0.0.1:{worker.metrics_port}") as http:
                page = await (await http.get("/metrics")).text()
                ready = await http.get("/readyz")
            assert 'qingliu_outcomes_total{outcome="act"} 2.0' in page
            assert ready.status == 200

    asyncio.run(run())


def test_reading_a_whole_topic_again_changes_nothing(embedded: Embedded) -> None:
    async def run() -> None:
        settings = settings_for("again")
        await create_topics(settings, embedded.kafka)
        events = [fresh_event(f"出金加QQ 738192{4650 + n % 20}", n, f"a{n % 20}", level=3) for n in range(80)]
        async with producer(embedded, settings) as to:
            await publish(to, settings.topics.world, events)
        for group in ("worker-again", "worker-again-2"):  # a new group reads everything from the start
            chosen = settings_for("again", group_id=group)
            async with running(chosen, embedded.kafka, embedded.redis, rules()):
                await drained(embedded, chosen, settings.topics.world, len(events))
        once: dict[str, Action] = {}
        for value in await read(embedded, settings, settings.topics.enforcement, 2 * 100):
            a = msgspec.json.decode(value, type=Action)
            first = once.setdefault(a.action_id, a)
            assert (a.target, a.action, a.scope, a.until, a.label) == (
                first.target, first.action, first.scope, first.until, first.label,
            )  # fmt: skip
        assert len(once) == 100  # 80 messages taken down, 20 players muted once: each burst is one offence

    asyncio.run(run())


@asynccontextmanager
async def process(pair: Embedded, settings: Settings, rules_dir: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a worker as a process of its own."""
    env = {
        **os.environ,
        "QINGLIU_KAFKA": pair.kafka,
        "QINGLIU_REDIS": pair.redis,
        "QINGLIU_TOPIC_PREFIX": settings.topic_prefix,
        "QINGLIU_GROUP_ID": settings.group_id,
        "QINGLIU_REDIS_PREFIX": settings.redis_prefix,
        "QINGLIU_METRICS_PORT": "0",
        "QINGLIU_SESSION_TIMEOUT_S": str(EMBEDDED_SESSION_S),
        "QINGLIU_HEARTBEAT_S": str(EMBEDDED_SESSION_S / 4),
        "QINGLIU_RULES": str(rules_dir),
    }
    code = "import asyncio; from streams import logs, worker; from streams.settings import Settings;"
    code += "logs.log_json('error'); raise SystemExit(asyncio.run(worker.work(Settings.load())))"
    started = await asyncio.create_subprocess_exec(sys.executable, "-c", code, cwd=ROOT, env=env)
    try:
        yield started
    finally:
        if started.returncode is None:
            started.kill()
        await started.wait()


def write_rules(to: Path) -> Path:
    for name, content in layer().items():
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        (to / name).write_bytes(content)
    return to


def test_nothing_is_lost_when_workers_come_and_one_is_killed_under_load(embedded: Embedded, tmp_path: Path) -> None:
    async def run() -> None:
        settings = settings_for("killed")
        topics = settings.topics
        await create_topics(settings, embedded.kafka)
        events = [fresh_event(SPAM if n % 10 == 0 else f"第{n}句", n, f"a{n}", level=3) for n in range(6000)]
        rules_dir = write_rules(tmp_path)
        async with producer(embedded, settings) as to, process(embedded, settings, rules_dir) as first:
            await publish(to, topics.world, events[:1500])
            await read(embedded, settings, topics.enforcement, 10)
            async with process(embedded, settings, rules_dir) as second:  # a rebalance under load
                for start in range(1500, 4500, 100):
                    await publish(to, topics.world, events[start : start + 100])
                    if start == 3000:
                        first.kill()
                    await asyncio.sleep(0)
                await publish(to, topics.world, [*events[4500:]])
                await to.send_and_wait(topics.world, b"poison", key=b"x")
                await drained(embedded, settings, topics.world, len(events) + 1)
                second.send_signal(signal.SIGTERM)
                async with asyncio.timeout(20):
                    assert await second.wait() == 0
        spam = {e.event_id for e in events[::10]}
        values = await read(embedded, settings, topics.enforcement, 2 * len(spam))
        actions = [msgspec.json.decode(v, type=Action) for v in values]
        assert {message for a in actions for message in a.target.message_ids} == spam
        muted = {a.action_id: a.target.account_id for a in actions if a.action == "mute"}
        assert set(muted.values()) == {e.sender.account_id for e in events[::10]}
        assert len(muted) <= len(spam) + 2, "once each; the first two of the campaign once more, when it was one"
        assert set(await read(embedded, settings, topics.dead_letters, 1)) == {b"poison"}

    asyncio.run(run())


def test_a_worker_that_takes_over_remembers_what_it_never_heard(embedded: Embedded) -> None:
    async def run() -> list[Action]:
        settings = settings_for("past")
        await create_topics(settings, embedded.kafka)
        parts = [fresh_event(text, n, "torn", level=3) for n, text in enumerate(("出金加QQ", "73", "81920"))]
        async with producer(embedded, settings) as to:
            for heard, said in ((2, parts[:2]), (3, parts[2:])):
                async with running(settings, embedded.kafka, embedded.redis, rules()) as worker:
                    await worker.wait_ready()
                    await publish(to, settings.topics.world, said)
                    await drained(embedded, settings, settings.topics.world, heard)
        return [
            msgspec.json.decode(v, type=Action) for v in await read(embedded, settings, settings.topics.enforcement, 2)
        ]

    assert {action.event_id for action in asyncio.run(run())} == {"e2"}
