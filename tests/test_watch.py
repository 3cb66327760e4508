"""The worker's watch over itself, with a broker and a store that answer as told."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import pytest
from aiokafka import AIOKafkaProducer
from prometheus_client import generate_latest

from moderation.errors import StoreUnavailable
from streams.connection import connection
from streams.health import STALL_S, Health
from streams.lag import BrokerAway, GroupLag, Partition, Position, Progress
from streams.metrics import Metrics
from streams.stop import EX_TEMPFAIL
from streams.topics import create_topics
from streams.watch import Watch
from streams.worker import running
from tests.small_rules import rules
from tests.test_worker import drained, fresh_event, settings_for

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from streams.embedded import Embedded

WORLD, OTHER = ("chat.world", 0), ("chat.world", 1)


class Cluster:
    """A broker and a store; `at` is where the group stands, None while the broker is away."""

    def __init__(self, at: Mapping[Partition, Position] | None = None) -> None:
        self.at = at
        self.store_there = True

    async def positions(self, partitions: Collection[Partition]) -> Mapping[Partition, Position]:
        if self.at is None:
            raise BrokerAway("connection refused")
        return {place: at for place, at in self.at.items() if place in partitions}

    async def ping(self) -> None:
        if not self.store_there:
            raise StoreUnavailable("connection refused")


class Scene:
    """A watch over two partitions, with a clock that is moved by hand."""

    def __init__(self, at: Mapping[Partition, Position]) -> None:
        self.now = 1000.0
        self.cluster = Cluster(at)
        self.metrics = Metrics()
        self.health = Health(clock=lambda: self.now)
        self.health.rules_loaded("abc")
        self.health.assigned([WORLD, OTHER])
        self.left: list[int] = []
        self.watch = Watch(
            self.cluster, self.cluster, self.health, self.metrics,
            progress=Progress(lambda: self.now), leave=self.left.append,
        )  # fmt: skip

    def look(self, after_s: float = 0.0) -> None:
        self.now += after_s
        asyncio.run(self.watch.round())

    def page(self) -> str:
        return generate_latest(self.metrics.registry).decode()


def test_lag_is_what_is_not_committed_and_never_below_zero() -> None:
    assert Position(5, 12).lag == 7
    assert Position(12, 5).lag == 0


def test_what_a_transaction_left_behind_its_last_record_is_not_waited_for() -> None:
    assert not Position(10, 12).waits
    assert Position(10, 13).waits


def test_a_partition_that_moves_or_has_nothing_waiting_is_not_stalled() -> None:
    now = 0.0
    progress = Progress(lambda: now)
    for committed, end, stalled in (
        (0, 100, 0),
        (50, 150, 0),
        (50, 150, 10),
        (50, 160, 20),
        (51, 160, 0),
        (160, 160, 0),
    ):
        assert progress.stalled({WORLD: Position(committed, end)}) == {WORLD: stalled}
        now += 10


def test_one_stuck_partition_among_moving_ones_ends_the_process() -> None:
    scene = Scene({})
    for step in range(int(STALL_S / 10) + 2):
        assert scene.left == []
        scene.cluster.at = {WORLD: Position(7, 70 + step), OTHER: Position(step, step + 50)}
        scene.look(10)
    assert scene.left == [EX_TEMPFAIL]
    assert 'qingliu_stalled_seconds{partition="0",topic="chat.world"} 70.0' in scene.page()
    assert 'qingliu_stalled_seconds{partition="1",topic="chat.world"} 0.0' in scene.page()


def test_a_quiet_night_ends_nobody() -> None:
    scene = Scene({WORLD: Position(7, 7), OTHER: Position(0, 0)})
    for _ in range(10):
        scene.look(STALL_S)
    assert scene.left == []
    assert scene.health.alive()


@pytest.mark.parametrize("away", ["broker", "store"])
def test_an_outage_ends_nobody_neither_while_it_lasts_nor_when_it_is_over(away: str) -> None:
    stuck = {WORLD: Position(7, 700)}
    scene = Scene(stuck)
    scene.look()
    for _ in range(10):
        scene.cluster.at = None if away == "broker" else stuck
        scene.cluster.store_there = away == "broker"
        scene.look(STALL_S)
    scene.cluster.at, scene.cluster.store_there = stuck, True
    scene.look(1)
    assert scene.left == []
    for _ in range(10):
        scene.look(STALL_S / 5)
    assert scene.left, "what stands still with all of it there is held against it"


def test_what_is_not_known_is_no_figure() -> None:
    scene = Scene({WORLD: Position(7, 9), OTHER: Position(1, 2)})
    scene.look()
    assert 'qingliu_lag_records{partition="0",topic="chat.world"} 2.0' in scene.page()
    assert "qingliu_broker_up 1.0" in scene.page()
    scene.health.assigned([OTHER])
    scene.look()
    assert 'partition="0"' not in scene.page(), "another worker's partition"
    scene.cluster.at = None
    scene.look()
    assert "qingliu_lag_records{" not in scene.page()
    assert "qingliu_broker_up 0.0" in scene.page()
    assert "qingliu_store_up 1.0" in scene.page()


def test_a_store_that_is_away_is_seen_without_a_message_that_needs_it() -> None:
    scene = Scene({})
    scene.cluster.store_there = False
    scene.look()
    assert "qingliu_store_up 0.0" in scene.page()
    assert scene.health.ready()[0]


@pytest.mark.servers
def test_lag_of_a_real_broker(embedded: Embedded) -> None:
    async def story() -> None:
        settings = settings_for("lag")
        await create_topics(settings, embedded.kafka)
        topic = settings.topics.world
        lag = GroupLag(settings, embedded.kafka)
        everywhere = await lag.partitions([topic, "no.such.topic"])
        assert everywhere == {(topic, number) for number in range(settings.partitions)}
        assert {at.lag for at in (await lag.positions(everywhere)).values()} == {0}
        async with AIOKafkaProducer(**connection(settings, embedded.kafka)) as to:
            for n in range(10):  # one by one: this broker's end offset is of its last batch's first record
                event = fresh_event("你好", n, "a1")
                await to.send_and_wait(topic, msgspec.json.encode(event), key=b"a1")
        assert sum(at.lag for at in (await lag.positions(everywhere)).values()) == 10
        async with running(settings, embedded.kafka, embedded.redis, rules()) as worker:
            await drained(embedded, settings, topic, 10)
            assert sum(at.lag for at in (await lag.positions(everywhere)).values()) == 0
            async with asyncio.timeout(20):
                while "qingliu_broker_up 1.0" not in generate_latest(worker.metrics.registry).decode():  # noqa: ASYNC110  a page
                    await asyncio.sleep(0.1)
            assert worker.metrics.rebalances._value.get() >= 1
        await lag.close()

    asyncio.run(story())


def test_a_broker_that_is_not_there_is_away() -> None:
    async def story() -> None:
        lag = GroupLag(settings_for("nowhere"), "kafka://127.0.0.1:1")
        with pytest.raises(BrokerAway):
            await lag.positions([WORLD])

    asyncio.run(story())
