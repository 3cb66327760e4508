"""The auditor beside a worker, a game server and people: killed and resumed, it has told of everything, once."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from console.audit import examine, verify
from console.notes import rules_changed, viewed
from console.revert import order, publish
from moderation.actions import Ack, Action
from moderation.errors import SettingsError
from moderation.notes import RulesChange
from streams.auditor import auditing, roles
from streams.connection import connection
from streams.journal import Journal, segments
from streams.settings import Settings
from streams.topics import create_topics
from streams.worker import running
from tests.small_rules import event, rules

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from streams.embedded import Embedded

pytestmark = pytest.mark.servers
SPAM: Final = "出金加QQ 738190005"
ROOT: Final = Path(__file__).parent.parent
KILLS: Final = 3
_runs = count()


def settings_for(pair: Embedded) -> Settings:
    name = f"audit{next(_runs)}"
    return Settings.load(
        {
            "kafka": pair.kafka,
            "redis": pair.redis,
            "redis_prefix": name,
            "topic_prefix": f"{name}.",
            "group_id": name,
            "partitions": 2,
            "metrics_port": 0,
            "session_timeout_s": 4,
            "heartbeat_s": 1,
        },
        env_file=None,
    )


@asynccontextmanager
async def producing(settings: Settings) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(**connection(settings, settings.kafka or ""), acks="all")
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def read(settings: Settings, topic: str, least: int) -> list[Any]:
    """Return the records of a topic once there are so many."""
    where, out = connection(settings, settings.kafka or ""), list[Any]()
    async with (
        asyncio.timeout(60),
        AIOKafkaConsumer(topic, **where, auto_offset_reset="earliest", group_id=None) as consumer,
    ):
        while len(out) < least:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                out += records
    return out


async def traffic(settings: Settings, players: int) -> None:
    """Let a worker judge spam, a VIP's spam and poison; answer its actions; undo one; look at a campaign."""
    async with (
        running(settings, settings.kafka or "", str(settings.redis and settings.redis.get_secret_value()), rules()),
        producing(settings) as to,
    ):
        now = time.time_ns() // 1_000_000
        for number in range(players):
            vip = {"vip": 9} if number % 10 == 9 else {}
            one = event(SPAM, number, account=f"a{number}", level=3, **vip)
            one = msgspec.structs.replace(one, ts=now)
            await to.send(settings.topics.world, msgspec.json.encode(one), key=one.sender.account_id.encode())
        await to.send_and_wait(settings.topics.world, b"\xffprivate words", key=b"x")
        vips = players // 10
        actions = await read(settings, settings.topics.enforcement, 2 * (players - vips))
        await read(settings, settings.topics.cases, vips)
        await read(settings, settings.topics.dead_letters, 1)
        for record in actions:
            action = msgspec.json.decode(record.value, type=Action)
            ack = Ack(action.action_id, "applied", now, action.target.account_id)
            await to.send(settings.topics.acks, msgspec.json.encode(ack), key=record.key)
        await to.flush()
        undone = msgspec.json.decode(actions[0].value, type=Action)
        command = order(undone.action_id, undone.target.account_id, "gm", "申诉通过")
        await publish(settings, command)
        await read(settings, settings.topics.enforcement, len(actions) + 1)
    await viewed(settings, "campaigns show", ("c1",), operator="gm", why="工单 7")


async def answers(settings: Settings, many: int) -> None:
    """Let another game server answer so many actions."""
    async with producing(settings) as to:
        for number in range(many):
            ack = msgspec.json.encode(Ack(f"other-{number}", "applied", 1_790_000_000_000, "other"))
            await to.send(settings.topics.acks, ack, key=b"other")
        await to.flush()


def auditor(settings: Settings, where: Path, *more: str) -> subprocess.Popen[bytes]:
    env = {
        **os.environ,
        "QINGLIU_KAFKA": settings.kafka or "",
        "QINGLIU_TOPIC_PREFIX": settings.topic_prefix,
        "PYTHONPATH": str(ROOT),
    }
    command = "from console.cli import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", command, "audit", "record", str(where), *more],
        env=env,
        cwd=where.parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def test_killed_and_resumed_it_tells_of_everything_and_one_byte_changed_is_found(
    embedded: Embedded, tmp_path: Path
) -> None:
    settings, where = settings_for(embedded), tmp_path / "log"

    async def run() -> None:
        await create_topics(settings, embedded.kafka)
        working = asyncio.create_task(traffic(settings, 200))
        for _ in range(KILLS):
            await answers(settings, 500)
            one, before = auditor(settings, where), size(where)
            while size(where) <= before and one.poll() is None:  # noqa: ASYNC110  it is a file of another process
                await asyncio.sleep(0.05)
            assert one.poll() is None, one.stderr and one.stderr.read()
            one.kill()
            one.communicate()
        await working

    asyncio.run(run())
    assert auditor(settings, where, "--once").communicate()[1]
    report = asyncio.run(examine(settings, where, against_kafka=True))
    assert (report.flaw, report.behind, report.torn) == (None, 0, 0)
    assert report.compared == sum(report.kinds.values())
    kinds = report.kinds
    assert {kinds["case"], kinds["command"], kinds["dead_letter"], kinds["view"], kinds["rules"]} == {20, 1}
    assert min(kinds["action"], kinds["revert"] - 1) >= 180, "somebody may be banned by a campaign, too"
    assert kinds["ack"] >= 360 + KILLS * 500
    assert b"private words" not in b"".join(path.read_bytes() for path in segments(where))
    again = auditor(settings, where, "--once")
    again.communicate()
    assert again.returncode == 0
    assert verify(where, head=report.head.hash).head == report.head, "whoever asks again adds nothing"

    raw = bytearray(segments(where)[0].read_bytes())
    raw[len(raw) // 2] ^= 1
    segments(where)[0].write_bytes(raw)
    flaw = verify(where).flaw
    assert flaw
    assert flaw.line == raw[: len(raw) // 2].count(b"\n") + 1


def size(where: Path) -> int:
    return sum(path.stat().st_size for path in where.glob("*.jsonl"))


def test_a_log_that_is_whole_but_not_what_kafka_has_is_found(embedded: Embedded, tmp_path: Path) -> None:
    settings = settings_for(embedded)

    async def filled() -> list[Any]:
        await create_topics(settings, embedded.kafka)
        async with producing(settings) as to:
            for number in range(20):
                await to.send_and_wait(settings.topics.acks, b"%d" % number, key=b"a", partition=1)
        return await read(settings, settings.topics.acks, 20)

    records = asyncio.run(filled())
    of = roles(settings.topics)

    def found(name: str, told: list[Any]) -> tuple[str, str] | None:
        with Journal(tmp_path / name, "c", of, now_ms=lambda: 0) as journal:
            journal.add(told)
        report = asyncio.run(examine(settings, tmp_path / name, against_kafka=True))
        return (report.flaw.kind, report.flaw.where.split(":")[1]) if report.flaw else None

    class Other:
        """A record that Kafka never had."""

        def __init__(self, record: Any, **changed: Any) -> None:
            self.__dict__.update({name: getattr(record, name) for name in _NAMES} | changed)

    assert found("all", records) is None
    assert found("behind", records[:15]) is None
    assert found("gap", [*records[:7], *records[8:]]) == ("missing", "7")
    assert found("late", records[3:]) == ("missing", "0")
    assert found("other", [*records[:7], Other(records[7], value=b"x"), *records[8:]]) == ("different", "7")
    assert found("more", [*records, Other(records[0], offset=20), Other(records[0], offset=21)]) == ("invented", "20")


_NAMES: Final = ("topic", "partition", "offset", "timestamp", "key", "value", "headers")


def test_a_topic_that_was_made_anew_is_not_told_into_the_old_log(embedded: Embedded, tmp_path: Path) -> None:
    settings = settings_for(embedded)

    async def run() -> None:
        await create_topics(settings, embedded.kafka)
        async with auditing(settings, embedded.kafka, tmp_path) as (auditor, journal):
            journal.places[settings.topics.acks, 0] = 9
            with pytest.raises(SettingsError, match="made anew"):
                await auditor.catch_up()

    asyncio.run(run())


def test_a_partition_that_was_added_is_told_of(embedded: Embedded, tmp_path: Path) -> None:
    """Any that is there when topics are looked at is read from its beginning."""
    settings = settings_for(embedded)

    async def run() -> None:
        await create_topics(settings, embedded.kafka)
        async with producing(settings) as to, auditing(settings, embedded.kafka, tmp_path) as (auditor, journal):
            await to.send_and_wait(settings.topics.acks, b"1", partition=0)
            assert await auditor.catch_up() == 1
            await to.send_and_wait(settings.topics.acks, b"2", partition=1)
            assert await auditor.catch_up() == 1
            assert set(journal.places) == {(settings.topics.acks, 0), (settings.topics.acks, 1)}

    asyncio.run(run())


def test_where_a_topic_is_missing_that_is_said(embedded: Embedded, tmp_path: Path) -> None:
    done = auditor(settings_for(embedded), tmp_path / "log", "--once")
    said = (done.communicate()[1] or b"").decode()
    assert done.returncode == 2
    assert "qingliu topics create" in said


def test_a_view_and_a_change_of_rules_are_on_record(embedded: Embedded) -> None:
    settings = settings_for(embedded)

    async def run() -> list[Any]:
        await create_topics(settings, embedded.kafka)
        await viewed(settings, "dead-letters show", ("0:17",), operator=None, why="查错")
        await rules_changed(settings, "rolled_back", "r1", before="r2", operator="gm", reason="误伤")
        return await read(settings, settings.topics.audit, 2)

    one, other = asyncio.run(run())
    change = msgspec.json.decode(other.value, type=RulesChange)
    assert (change.change, change.ruleset, change.before, change.operator) == ("rolled_back", "r1", "r2", "gm")
    note = json.loads(one.value)
    assert (note["note"], note["command"], note["of"], note["reason"]) == (
        "view",
        "dead-letters show",
        ["0:17"],
        "查错",
    )
    assert one.key.decode() == note["login"]
    with pytest.raises(SettingsError, match="--why"):
        asyncio.run(viewed(settings, "x", (), operator=None, why=""))


def test_told_to_stop_it_says_how_far_it_came(embedded: Embedded, tmp_path: Path) -> None:
    settings, where = settings_for(embedded), tmp_path / "log"

    async def run() -> None:
        await create_topics(settings, embedded.kafka)
        await answers(settings, 10)
        one = auditor(settings, where)
        while size(where) == 0 and one.poll() is None:  # noqa: ASYNC110  it is a file of another process
            await asyncio.sleep(0.05)
        one.terminate()
        said = one.communicate()[1].decode()
        assert one.returncode == 0, said
        assert verify(where).head.hash in said

    asyncio.run(run())
