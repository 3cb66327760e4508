"""The batch transport: bookkeeping alone, in Faust without a broker, and on the embedded broker."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Self

import faust
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from faust import streams as faust_streams
from faust.transport.drivers import aiokafka as driver
from faust.types.tuples import TP, ConsumerMessage
from hypothesis import given, settings
from hypothesis import strategies as st
from mode import Service
from mode.utils.futures import notify

from streams.transport import Batch, BatchConsumer, BatchTransport, Ranges, RawBatch, record_bytes, split

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata

    from streams.embedded import Embedded

TOPIC = "chat.world"
FOUR = tuple(TP(TOPIC, p) for p in range(4))


# -- ranges


def test_nothing_is_committable_before_something_is_done() -> None:
    ranges = Ranges()
    ranges.fetched(0, 9)
    assert ranges.committable() is None


def test_a_range_done_out_of_order_waits_for_the_one_before_it() -> None:
    ranges = Ranges()
    first, second = ranges.fetched(0, 9), ranges.fetched(10, 14)
    second.done = True
    assert ranges.committable() is None
    first.done = True
    assert ranges.committable() == 15
    assert len(ranges) == 0


def test_offsets_missing_between_ranges_do_not_hold_the_commit_back() -> None:
    ranges = Ranges()
    for first, last in ((5, 9), (20, 20), (1000, 1003)):
        ranges.fetched(first, last).done = True
    assert ranges.committable() == 1004


def test_asking_twice_gives_the_same_answer() -> None:
    ranges = Ranges()
    ranges.fetched(0, 9).done = True
    assert ranges.committable() == ranges.committable() == 10


def test_after_a_seek_back_what_is_read_again_counts_and_the_first_reading_does_not() -> None:
    ranges = Ranges()
    ranges.fetched(0, 9).done = True
    stale = ranges.fetched(10, 19)
    again = ranges.fetched(10, 14)
    assert ranges.committable() == 10
    again.done = True
    assert ranges.committable() == 15
    stale.done = True
    assert ranges.committable() == 15


def test_a_commit_never_passes_the_start_of_an_overlapping_range_in_work() -> None:
    ranges = Ranges()
    ranges.fetched(100, 149).done = True
    ranges.fetched(130, 180)
    assert ranges.committable() == 130


def record(tp: TP, offset: int, value: bytes = b"x", **more: Any) -> ConsumerRecord:
    fields: dict[str, Any] = {"timestamp": 1_700_000_000_000, "timestamp_type": 0, "key": b"k", "checksum": None}
    fields |= {"serialized_key_size": 1, "serialized_value_size": len(value), "headers": ()} | more
    return ConsumerRecord(topic=tp.topic, partition=tp.partition, offset=offset, value=value, **fields)


@given(sizes=st.lists(st.integers(0, 40), min_size=1), most=st.integers(1, 7), room=st.integers(1, 60))
def test_a_split_fetch_keeps_every_record_in_order_and_within_both_bounds(
    sizes: list[int], most: int, room: int
) -> None:
    records = [record(FOUR[0], at, b"x" * size) for at, size in enumerate(sizes)]
    parts = list(split(records, most, room))
    assert [r for part in parts for r in part] == records
    for part in parts:
        assert 1 <= len(part) <= most
        assert len(part) == 1 or sum(map(record_bytes, part)) <= room


def test_headers_count_as_bytes_a_sender_chose() -> None:
    assert record_bytes(record(FOUR[0], 0, b"abc", headers=(("name", b"12345"), ("n", None)))) == 3 + 1 + 9 + 1


# -- the consumer inside Faust, reading from an object instead of a broker


class Log(Service):
    """Stands where Faust's Kafka thread stands: partitions, positions and the group's committed offsets."""

    def __init__(self, offsets: Mapping[TP, Iterable[int]], at_once: int = 50) -> None:
        super().__init__()
        self.records = {tp: [record(tp, o, b"%d" % o) for o in each] for tp, each in offsets.items()}
        self.assigned = set(self.records)
        self.position = dict.fromkeys(self.records, 0)
        self.committed: dict[TP, int] = {}
        self.at_once = at_once
        self.refuse_commits = False
        self.stalls = 0
        self.on_commit: Callable[[TP, int], None] = lambda tp, offset: None  # noqa: ARG005

    async def getmany(self, active: set[TP], timeout: float) -> dict[TP, list[ConsumerRecord]]:  # noqa: ASYNC109  Faust's signature
        found: dict[Any, list[ConsumerRecord]] = {}
        for tp in self.assigned & active:
            if fresh := [r for r in self.records[tp] if r.offset >= self.position[tp]][: self.at_once]:
                found[TopicPartition(*tp)] = fresh
                self.position[tp] = fresh[-1].offset + 1
        self.stalls += not found and timeout > 0.5 and self.position != self.ends()
        await asyncio.sleep(0 if found else min(timeout, 0.001))
        return found

    async def commit(self, offsets: Mapping[TP, int]) -> bool:
        await asyncio.sleep(0)
        if self.refuse_commits:
            return False
        for tp, offset in offsets.items():
            self.on_commit(tp, offset)
            self.committed[tp] = offset
        return True

    async def seek_to_committed(self) -> dict[TP, int | None]:
        self.rewind()
        return {tp: self.committed.get(tp) for tp in self.assigned}

    def rewind(self) -> None:
        self.position = {tp: self.committed.get(tp, 0) for tp in self.records}

    def assignment(self) -> set[TP]:
        return set(self.assigned)

    def highwater(self, tp: TP) -> int:
        return self.records[tp][-1].offset + 1 if self.records[tp] else 0

    def ends(self) -> dict[TP, int]:
        return {tp: self.highwater(tp) for tp in self.records}


class LoglessConsumer(BatchConsumer):
    """A batch consumer whose thread is a `Log`; it remembers how long it slept."""

    def __init__(self, log: Log, *args: Any, **kwargs: Any) -> None:
        self.log_of_records = log
        self.slept: list[float] = []
        super().__init__(*args, **kwargs)

    def _new_consumer_thread(self) -> Any:
        return self.log_of_records

    async def sleep(self, n: Any, **kwargs: Any) -> None:
        self.slept.append(n)
        await super().sleep(n, **kwargs)


def make_app(**more: Any) -> Any:
    app = faust.App(
        "qingliu-test",
        broker="kafka://127.0.0.1:1",
        web_enabled=False,
        topic_disable_leader=True,
        stream_buffer_maxsize=16,
        **more,
    )
    app.transport = BatchTransport(app.conf.broker, app, max_records=10)
    app.finalize()
    return app


async def nothing(*_: object, **__: object) -> None:
    """A callback that has nothing to do."""


class Silent:
    """A producer with nothing to flush."""

    buffer = SimpleNamespace(wait_until_ebb=nothing)
    flush = staticmethod(nothing)
    stop = staticmethod(nothing)


class Worker:
    """A Faust app with one agent on a `Log`, rebalanced by hand through Faust's own steps."""

    def __init__(self, log: Log, body: Callable[[Any], Awaitable[None]], **more: Any) -> None:
        self.log = log
        self.app = make_app(**more)
        self.app._producer = Silent()
        self.consumer = LoglessConsumer(
            log,
            self.app.transport,
            callback=self.app.topics.on_message,
            on_partitions_revoked=self.app._on_partitions_revoked,
            on_partitions_assigned=self.app._on_partitions_assigned,
        )
        self.app.consumer = self.consumer
        self.agent: Any = self.app.agent(self.app.topic(TOPIC, schema=RawBatch()), name="moderate")(body)

    async def __aenter__(self) -> Self:
        await self.agent.start()
        await self.app.topics._update_indices()
        notify(self.app.topics._subscription_done)
        await self.assign(set(self.log.records), 1)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.app._fetcher.stop()
        await self.agent.stop()

    async def revoke(self) -> None:
        self.app.on_rebalance_start()
        await self.consumer.on_partitions_revoked(self.log.assignment())

    async def assign(self, assigned: set[TP], generation: int) -> None:
        self.log.assigned = assigned
        self.log.rewind()
        self.app.consumer_generation_id = generation
        await self.consumer.on_partitions_assigned(assigned, generation)
        self.app.tables.recovery.signal_recovery_start.clear()  # its task does, which does not run here
        await self.app.tables.recovery._resume_streams(generation)


async def until(condition: Callable[[], object], within: float = 10) -> None:
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110  what it waits for happens in Faust's objects, which set no event
            await asyncio.sleep(0.001)


def run(story: Awaitable[None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await story

    asyncio.run(bounded())


def test_every_record_reaches_the_agent_in_order_and_acknowledged_batches_are_committed() -> None:
    async def story() -> None:
        seen: dict[TP, list[int]] = {tp: [] for tp in FOUR}

        async def body(stream: Any) -> None:
            async for event in stream.noack().events():
                assert isinstance(event.message, Batch)
                seen[event.message.tp] += [r.offset for r in event.value]
                event.ack()

        offsets = {tp: [o for o in range(300) if o % 7 != tp.partition] for tp in FOUR}
        log = Log(offsets)
        async with Worker(log, body) as worker:
            await until(lambda: seen == offsets)
            await worker.consumer.commit()
            assert log.committed == log.ends()

    run(story())


@pytest.mark.parametrize("others", [[], [FOUR[1]]], ids=["alone", "beside an idle one"])
def test_a_hot_partition_is_neither_stalled_nor_buffered_without_bound(others: list[TP]) -> None:
    async def story() -> None:
        deepest, done = 0, 0

        async def body(stream: Any) -> None:
            nonlocal deepest, done
            async for event in stream.noack().events():
                deepest = max(deepest, stream.channel.queue.qsize())
                done += len(event.value)
                event.ack()
                await asyncio.sleep(0.001)  # slower than the fetches

        log = Log({FOUR[0]: range(3000), **{tp: [] for tp in others}}, at_once=200)
        async with Worker(log, body) as worker:
            await until(lambda: done == 3000)
            assert deepest <= 16
            assert deepest >= 12, "the buffer was never under pressure, so this proves nothing"
            assert log.stalls == 0
            assert max(worker.consumer.slept) < 0.5

    run(story())


def test_a_commit_the_broker_refused_is_tried_again() -> None:
    async def story() -> None:
        done = asyncio.Event()

        async def body(stream: Any) -> None:
            async for event in stream.noack().events():
                event.ack()
                done.set()

        log = Log({FOUR[0]: range(5)})
        log.refuse_commits = True
        async with Worker(log, body) as worker:
            await done.wait()
            assert not await worker.consumer.commit()
            assert log.committed == {}
            log.refuse_commits = False
            assert await worker.consumer.commit()
            assert log.committed == log.ends()

    run(story())


def test_the_batch_in_hand_at_a_rebalance_is_finished_and_committed() -> None:
    async def story() -> None:
        taken, release = asyncio.Event(), asyncio.Event()

        async def body(stream: Any) -> None:
            async for event in stream.noack().events():
                taken.set()
                await release.wait()
                event.ack()

        log = Log({FOUR[0]: range(100)})
        async with Worker(log, body) as worker:
            await taken.wait()
            revoking = asyncio.create_task(worker.revoke())
            await until(lambda: not worker.consumer.flow_active)
            assert log.committed == {}
            release.set()
            await revoking
            assert log.committed == {FOUR[0]: 10}, "one batch of ten was in hand, the queue was not"

    run(story())


def test_an_abandoned_batch_lets_the_rebalance_go_on_and_is_read_again_whatever_its_old_owner_says() -> None:
    async def story() -> None:
        held: list[Any] = []
        seen: list[int] = []

        async def body(stream: Any) -> None:
            async for event in stream.noack().events():
                if not held:
                    held.append(event)
                    continue
                seen.extend(r.offset for r in event.value)
                event.ack()

        log = Log({FOUR[0]: range(30)})
        async with Worker(log, body) as worker:
            await until(lambda: len(seen) == 20)
            await worker.consumer.commit()
            assert log.committed == {}, "the first batch is not done"
            worker.consumer.abandon(held[0].message)
            await worker.revoke()
            await worker.assign({FOUR[0]}, 2)
            assert not held[0].ack()
            await until(lambda: len(seen) == 20 + 30)
            await worker.consumer.commit()
            assert log.committed == log.ends()

    run(story())


def test_a_stream_that_acknowledges_by_itself_fails_instead_of_standing_still() -> None:
    async def story() -> None:
        errors: list[str] = []

        async def body(stream: Any) -> None:
            try:
                async for _ in stream:
                    pass
            except RuntimeError as error:
                errors.append(str(error))
                await asyncio.Event().wait()

        async with Worker(Log({FOUR[0]: range(5)}), body):
            await until(lambda: errors)
        assert "stream.noack().events()" in errors[0]

    run(story())


def test_commit_every_counts_records() -> None:
    async def story() -> None:
        async def body(stream: Any) -> None:
            async for event in stream.noack().events():
                event.ack()

        log = Log({FOUR[0]: range(100)})
        async with Worker(log, body, broker_commit_every=60):
            await until(lambda: log.committed.get(FOUR[0], 0) >= 60)

    run(story())


def test_a_fetch_that_a_rebalance_overtook_is_read_again() -> None:
    async def story() -> None:
        log = Log({FOUR[0]: range(20)})
        consumer = bare_consumer(log)
        consumer.app.consumer_generation_id = 1
        pull = asyncio.ensure_future(pull_all(consumer))
        await asyncio.sleep(0)  # it has asked the log, and the log yields once before it answers
        consumer.app.consumer_generation_id = 2
        assert await pull == []
        assert [b.offset for b in await pull_all(consumer)] == [9, 19]

    run(story())


def test_records_the_broker_makes_us_read_again_are_not_dropped() -> None:
    async def story() -> None:
        seen: list[int] = []

        async def body(stream: Any) -> None:
            async for event in stream.noack().events():
                seen.extend(r.offset for r in event.value)
                event.ack()

        log = Log({FOUR[0]: range(30)})
        async with Worker(log, body):
            await until(lambda: len(seen) == 30)
            log.position[FOUR[0]] = 0  # as after an offset out of range
            await until(lambda: len(seen) == 60)

    run(story())


def test_nothing_is_committed_for_a_partition_that_was_taken_away() -> None:
    async def story() -> None:
        commits: list[int] = []
        log = Log({FOUR[0]: range(10)})
        log.on_commit = lambda _, offset: commits.append(offset)
        consumer = bare_consumer(log)
        for batch in await pull_all(consumer):
            consumer.ack(batch)
        await consumer.on_partitions_revoked({FOUR[0]})
        await consumer.commit()
        assert commits == []

    run(story())


def test_what_was_fetched_amid_a_rebalance_does_not_block_the_partition_afterwards() -> None:
    async def story() -> None:
        log = Log({FOUR[0]: range(40)}, at_once=20)
        consumer = bare_consumer(log)
        await consumer.on_partitions_revoked({FOUR[0]})
        pull = asyncio.ensure_future(pull_all(consumer))
        consumer._set_active_tps({FOUR[0]})
        await asyncio.sleep(0)
        consumer.stop_flow()
        assert await pull == []
        log.committed[FOUR[0]] = 15  # another worker went on meanwhile
        await consumer.on_partitions_assigned({FOUR[0]}, 0)
        await consumer.perform_seek()
        consumer.resume_flow()
        while batches := await pull_all(consumer):
            for batch in batches:
                consumer.ack(batch)
        await consumer.commit()
        assert log.committed == log.ends()

    run(story())


def test_a_partition_under_pressure_starts_afresh_after_a_rebalance() -> None:
    async def story() -> None:
        consumer = bare_consumer(Log({FOUR[0]: range(10)}))
        consumer.on_buffer_full(FOUR[0])
        await consumer.on_partitions_assigned({FOUR[0]}, 0)
        assert not consumer._buffered_partitions
        assert len(await pull_all(consumer)) == 1

    run(story())


def bare_consumer(log: Log) -> LoglessConsumer:
    app = make_app()
    app._producer = Silent()
    consumer = LoglessConsumer(
        log, app.transport, callback=nothing, on_partitions_revoked=nothing, on_partitions_assigned=nothing
    )
    consumer._set_active_tps(log.assignment())
    consumer.resume_flow()
    return consumer


async def pull_all(consumer: BatchConsumer) -> list[Batch]:
    return [batch async for _, batch in consumer.getmany(0.0)]


Step = tuple[str, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["fetch", "ack", "ack", "commit", "fail", "seek", "lose", "rebalance"]), st.integers(0, 50)
    ),
    max_size=60,
)


@settings(max_examples=150)
@given(steps=STEPS)
def test_no_interleaving_commits_past_a_record_that_nobody_acknowledged(steps: list[Step]) -> None:
    run(interleave(steps))


async def interleave(steps: list[Step]) -> None:
    log = Log({tp: [o for o in range(200) if o % 5] for tp in FOUR[:2]}, at_once=13)
    done: dict[TP, set[int]] = {tp: set() for tp in log.records}

    def check(tp: TP, offset: int) -> None:
        assert not [r.offset for r in log.records[tp] if r.offset < offset and r.offset not in done[tp]]

    log.on_commit = check
    consumer = bare_consumer(log)
    hands: list[Batch] = []
    for step, n in steps:
        await STORY[step](consumer, hands, done, n)
    await rebalance(consumer, hands, done, 0)  # and nothing stays stuck: one more round commits the rest
    while fresh := await pull_all(consumer):
        for batch in fresh:
            acknowledge(consumer, batch, done)
    await consumer.commit()
    assert log.committed == log.ends()


def acknowledge(consumer: BatchConsumer, batch: Batch, done: dict[TP, set[int]]) -> None:
    if consumer.ack(batch):
        done[batch.tp].update(r.offset for r in batch.value)


async def fetch(consumer: LoglessConsumer, hands: list[Batch], _: object, __: int) -> None:
    hands += await pull_all(consumer)


async def ack(consumer: LoglessConsumer, hands: list[Batch], done: dict[TP, set[int]], n: int) -> None:
    if hands:
        acknowledge(consumer, hands.pop(n % len(hands)), done)


async def commit(consumer: LoglessConsumer, _: object, __: object, ___: int) -> None:
    await consumer.commit()


async def fail(consumer: LoglessConsumer, _: object, __: object, ___: int) -> None:
    consumer.log_of_records.refuse_commits = True
    await consumer.commit()
    consumer.log_of_records.refuse_commits = False


async def seek(consumer: LoglessConsumer, _: object, __: object, ___: int) -> None:
    await consumer.perform_seek()


async def lose(_: object, hands: list[Batch], __: object, n: int) -> None:
    """A batch vanishes between the fetch and the agent."""
    if hands:
        hands.pop(n % len(hands))


async def rebalance(consumer: LoglessConsumer, _: object, __: object, ___: int) -> None:
    """Batches stay in hand: a later acknowledgement of one is a zombie's."""
    await consumer.on_partitions_revoked(consumer.assignment())
    consumer.app.consumer_generation_id += 1
    await consumer.on_partitions_assigned(consumer.assignment(), consumer.app.consumer_generation_id)
    await consumer.perform_seek()


STORY = {
    "fetch": fetch, "ack": ack, "commit": commit, "fail": fail, "seek": seek, "lose": lose, "rebalance": rebalance,
}  # fmt: skip


# -- what we rely on in Faust


PRIVATE = [
    (driver.Consumer, "getmany", ["timeout"]),
    (driver.Consumer, "ack", ["message"]),
    (driver.Consumer, "_filter_tps_with_pending_acks", ["topics"]),
    (driver.Consumer, "_new_offset", ["tp"]),
    (driver.Consumer, "_add_gap", ["tp", "offset_from", "offset_to"]),
    (driver.Consumer, "_commit_offsets", ["offsets", "start_new_transaction"]),
    (driver.Consumer, "_should_commit", ["tp", "offset"]),
    (driver.Consumer, "_wait_next_records", ["timeout"]),
    (driver.Consumer, "_get_active_partitions", []),
    (driver.Consumer, "_new_consumer_thread", []),
    (driver.Consumer, "on_partitions_revoked", ["revoked"]),
    (driver.Consumer, "on_partitions_assigned", ["assigned", "generation_id"]),
    (driver.Consumer, "perform_seek", []),
    (driver.AIOKafkaConsumerThread, "_create_worker_consumer", ["transport"]),
    (driver.AIOKafkaConsumerThread, "_serve", []),
    (driver.AIOKafkaConsumerThread, "_gather_remaining_tasks", []),
    (driver.AIOKafkaConsumerThread, "call_thread", ["fun", "args", "kwargs"]),
    (faust.Schema, "loads_key", ["app", "message", "loads", "serializer"]),
    (faust.Schema, "loads_value", ["app", "message", "loads", "serializer"]),
    (ConsumerMessage, "on_final_ack", ["consumer"]),
]


@pytest.mark.parametrize(("owner", "name", "arguments"), PRIVATE, ids=lambda v: v if isinstance(v, str) else "")
def test_faust_still_has_what_we_override_or_call(owner: type, name: str, arguments: list[str]) -> None:
    assert list(inspect.signature(getattr(owner, name)).parameters)[1:] == arguments


def test_faust_still_keeps_what_we_read_and_set() -> None:
    async def story() -> None:
        consumer = bare_consumer(Log({FOUR[0]: []}))
        held = vars(consumer)
        names = ["_acked_index", "_committed_offset", "_read_offset", "_unacked_messages", "_waiting_for_ack"]
        assert not [name for name in [*names, "_buffered_partitions", "scheduler"] if name not in held]
        assert isinstance(consumer._n_acked, int)

    run(story())


def test_the_compiled_stream_is_there() -> None:
    assert getattr(faust_streams, "_CStreamIterator", None) is not None


def test_without_the_compiled_stream_the_transport_refuses_to_start() -> None:
    code = "import faust; from streams.transport import BatchTransport; BatchTransport([], faust.App('x'))"
    ended = subprocess.run([sys.executable, "-c", code], env={"NO_CYTHON": "1"}, capture_output=True, check=False)
    assert b"SettingsError" in ended.stderr
    assert b"NO_CYTHON" in ended.stderr


class Cluster:
    """As much of a cluster as an assignor asks for."""

    def __init__(self, partitions: int) -> None:
        self.partitions = set(range(partitions))

    def partitions_for_topic(self, _: str) -> set[int]:
        return self.partitions


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_fausts_assignor_keeps_a_partition_of_both_chat_topics_on_one_worker(workers: int) -> None:
    async def story() -> None:
        assignor = make_app(table_standby_replicas=1).assignor
        both = {"chat.world", "chat.private"}
        members: dict[str, ConsumerProtocolMemberMetadata] = {f"w{n}": assignor.metadata(both) for n in range(workers)}
        owners: dict[int, list[str]] = {}
        for member, share in assignor.assign(Cluster(12), members).items():
            for _, partitions in share.assignment:
                for partition in partitions:
                    owners.setdefault(partition, []).append(member)
        assert sorted(owners) == list(range(12))
        assert all(len(each) == 2 and len(set(each)) == 1 for each in owners.values())
        assert len({each[0] for each in owners.values()}) == workers

    run(story())


@pytest.mark.parametrize(("standbys", "round_robin"), [(1, False), (0, True)])
def test_no_standby_replicas_would_switch_to_round_robin(standbys: int, round_robin: bool) -> None:
    async def story() -> None:
        app = make_app(table_standby_replicas=standbys)
        app._producer = Silent()
        thread = app.consumer._thread
        consumer = thread._create_worker_consumer(app.transport)
        assert (thread._assignor is RoundRobinPartitionAssignor) is round_robin
        assert consumer._fetch_max_wait_ms == 20
        await consumer.stop()

    run(story())


@pytest.mark.parametrize(("member", "commits"), [(3, True), (-1, False), (4, False)])
def test_only_a_member_of_the_group_commits_and_only_once_it_knows_its_generation(member: int, commits: bool) -> None:
    committed: list[object] = []

    async def commit(offsets: object) -> None:
        committed.append(offsets)

    async def story() -> None:
        app = make_app()
        app._producer = Silent()
        app.consumer_generation_id = 3
        thread = app.consumer._thread
        group = SimpleNamespace(generation=member)
        thread._consumer = SimpleNamespace(_coordinator=group, commit=commit, assignment=lambda: {FOUR[0]})
        assert await thread._commit({FOUR[0]: 5}) is commits
        assert len(committed) == commits

    run(story())


def test_the_consumer_is_called_where_it_is_without_a_thread_or_a_queue_between() -> None:
    async def story() -> None:
        thread = make_app().consumer._thread
        assert thread.thread_loop is asyncio.get_running_loop()
        assert await thread.call_thread(threading.get_ident) == threading.get_ident()
        assert await thread.call_thread(asyncio.sleep, 0, "slept") == "slept"

    run(story())


# -- on a real broker: a worker is killed in the middle


RECORDS = 50_000


def worker_app(url: str, notes: Path) -> faust.App:
    """The worker of the test below, in a process of its own: it writes down what it did, then acknowledges."""
    app = faust.App(
        "killed", broker=url, web_enabled=False, topic_disable_leader=True, topic_allow_declare=False,
        broker_session_timeout=2.0, broker_heartbeat_interval=0.5, broker_request_timeout=10.0,
        broker_commit_interval=0.05, stream_buffer_maxsize=16,
    )  # fmt: skip
    app.transport = BatchTransport(app.conf.broker, app, max_records=100)

    async def moderate(stream: Any) -> None:
        with notes.open("a") as book:
            async for event in stream.noack().events():
                await asyncio.sleep(0.001)
                book.writelines(f"{r.partition} {r.offset}\n" for r in event.value)
                book.flush()
                event.ack()

    app.agent(app.topic("t", schema=RawBatch()), name="moderate")(moderate)
    return app


def read_notes(notes: Path) -> dict[int, set[int]]:
    seen: dict[int, set[int]] = {p: set() for p in range(4)}
    if notes.exists():
        for line in notes.read_text().rpartition("\n")[0].splitlines():
            partition, offset = line.split()
            seen[int(partition)].add(int(offset))
    return seen


async def filled(servers: str) -> AIOKafkaConsumer:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    await admin.create_topics([NewTopic("t", 4, 1)])
    await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=servers, linger_ms=20, max_batch_size=1 << 18) as producer:
        sent = [await producer.send("t", b"%d" % n, partition=n % 4) for n in range(RECORDS)]
        await asyncio.gather(*sent)
    onlooker = AIOKafkaConsumer(bootstrap_servers=servers, group_id="killed", enable_auto_commit=False)
    await onlooker.start()
    return onlooker


async def committed(onlooker: AIOKafkaConsumer) -> dict[int, int]:
    return {p: await onlooker.committed(TopicPartition("t", p)) or 0 for p in range(4)}


@pytest.mark.servers
def test_a_worker_killed_in_the_middle_loses_nothing_and_never_commits_ahead(
    embedded: Embedded, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"

    async def ahead(onlooker: AIOKafkaConsumer) -> dict[int, set[int]]:
        told = await committed(onlooker)  # asked before the notes are read: they may only be ahead of it
        seen = read_notes(notes)
        return {p: set(range(offset)) - seen[p] for p, offset in told.items() if set(range(offset)) - seen[p]}

    async def watch(onlooker: AIOKafkaConsumer, enough: int) -> None:
        async with asyncio.timeout(60):
            while sum(map(len, read_notes(notes).values())) < enough:
                assert await ahead(onlooker) == {}

    async def story() -> None:
        servers = embedded.kafka.removeprefix("kafka://")
        onlooker = await filled(servers)
        try:
            for enough in (RECORDS // 4, RECORDS // 2, RECORDS):
                worker = subprocess.Popen([sys.executable, __file__, embedded.kafka, str(notes)], cwd=tmp_path)  # noqa: ASYNC220
                try:
                    await watch(onlooker, enough)
                finally:
                    worker.kill()
                    worker.wait()
                assert await ahead(onlooker) == {}
            told = await committed(onlooker)
            assert sum(told.values()) > RECORDS // 2, "commits went on across the kills"
        finally:
            await onlooker.stop()

    asyncio.run(story())
    assert read_notes(notes) == {p: set(range(RECORDS // 4)) for p in range(4)}


if __name__ == "__main__":
    faust.Worker(
        worker_app(sys.argv[1], Path(sys.argv[2])), loglevel="WARNING", redirect_stdouts=False
    ).execute_from_commandline()
