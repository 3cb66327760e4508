"""The ledger on a Redis Cluster: one answer whatever happens to slots and nodes. Its contract: tests/test_ledger.py."""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec
import pytest
from redis.crc import key_slot

from moderation.actions import Action
from moderation.errors import StoreUnavailable
from streams.cluster import is_address
from streams.ledger import RedisLedger
from streams.settings import Settings, describe
from streams.topics import create_topics
from streams.worker import running
from tests.small_rules import rules
from tests.test_ledger import HOUR, T0, lift, mute, steps, strike
from tests.test_worker import SPAM, fresh_event, producer, publish, read, settings_for
from tests.valkey_cluster import Cluster, a_cluster

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from streams.embedded import Embedded

pytestmark = pytest.mark.servers


@pytest.fixture
def frail(tmp_path: Path) -> Iterator[Cluster]:
    """Give a cluster of this test's own, to be mistreated."""
    with a_cluster(tmp_path) as made:
        yield made


def slot_of(prefix: str, account: str) -> int:
    return int(key_slot(f"{prefix}:{{{account}}}:strikes".encode()))


def test_a_slot_that_moved_took_its_strikes_along_and_nobody_notices(valkey_cluster: Cluster) -> None:
    async def story() -> None:
        ledger = RedisLedger(valkey_cluster.url, prefix="moved", timeout_s=5, rest_s=math.inf)
        assert steps(await ledger.strike([strike("e1", T0)])) == [1]
        await asyncio.to_thread(valkey_cluster.move, slot_of("moved", "p1"))
        both = [strike("e2", T0 + HOUR), strike("e1", T0, account="p2")]
        assert steps(await ledger.strike(both)) == [2, 1]
        assert steps(await ledger.strike(both)) == [2, 1]
        action = mute("e2")
        await ledger.record([action])
        assert (await ledger.revert(action.action_id, lift(action))).action == action
        await ledger.close()

    asyncio.run(story())


def test_while_a_slot_moves_nothing_is_counted_twice_and_then_nothing_is_missing(valkey_cluster: Cluster) -> None:
    """redis-py says ASKING and what it asks on two connections, if it has two: then the store is away for a moment."""
    more = [strike(f"e{n}", T0 + n * HOUR) for n in range(1, 6)]

    async def story() -> None:
        ledger = RedisLedger(valkey_cluster.url, prefix="moving", timeout_s=5, rest_s=0)
        assert steps(await ledger.strike([strike("e0", T0)])) == [1]
        await asyncio.to_thread(valkey_cluster.move, slot_of("moving", "p1"), end=False)
        for _ in range(3):
            with suppress(StoreUnavailable):
                assert steps(await ledger.strike(more)) == [2, 3, 4, 5, 6]
        await asyncio.to_thread(valkey_cluster.move, slot_of("moving", "p1"), begin=False)
        assert steps(await ledger.strike(more)) == [2, 3, 4, 5, 6]
        await ledger.close()

    asyncio.run(story())


def test_a_node_that_is_down_is_an_unavailable_store_and_is_found_again(frail: Cluster) -> None:
    accounts = [f"p{n}" for n in range(30)]  # on all three nodes
    first = [strike(f"e-{one}", T0, account=one) for one in accounts]
    second = [strike(f"f-{one}", T0 + HOUR, account=one) for one in accounts]

    async def story() -> None:
        ledger = RedisLedger(frail.url, prefix="down", rest_s=0)
        assert steps(await ledger.strike(first)) == [1] * 30
        down = frail.holder(slot_of("down", "p1"))
        await asyncio.to_thread(frail.kill, down)
        began = time.monotonic()
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                await ledger.strike(second)
        assert time.monotonic() - began < 20, "no call waits for long"
        await asyncio.to_thread(frail.restart, down)
        await asyncio.to_thread(frail.wait_well)
        async with asyncio.timeout(30):
            while True:
                try:
                    answers = await ledger.strike(second)
                except StoreUnavailable:
                    await asyncio.sleep(0.1)
                else:
                    break
        assert steps(answers) == [2] * 30, "what half of them were told before is what they are told again"
        await ledger.close()

    asyncio.run(story())


def test_a_cluster_of_which_no_node_answers_is_an_unavailable_store() -> None:
    async def story() -> None:
        ledger = RedisLedger("redis+cluster://127.0.0.1:1,127.0.0.1:2")
        with pytest.raises(StoreUnavailable):
            await ledger.ping()
        await ledger.close()

    asyncio.run(story())


def test_a_worker_needs_no_more_than_the_address(embedded: Embedded, valkey_cluster: Cluster) -> None:
    async def story() -> None:
        settings = settings_for("cluster")
        await create_topics(settings, embedded.kafka)
        async with (
            running(settings, embedded.kafka, valkey_cluster.url, rules()) as worker,
            producer(embedded, settings) as to,
        ):
            await worker.wait_ready()
            chat = [fresh_event(SPAM, n, f"c{n}", level=3) for n in range(20)]
            await publish(to, settings.topics.world, chat)
            sent = await read(embedded, settings, settings.topics.enforcement, 40)
            actions = [msgspec.json.decode(one, type=Action) for one in sent]
            assert {one.target.account_id for one in actions if one.action == "mute"} == {f"c{n}" for n in range(20)}
            assert not any(one.degraded for one in actions)

    asyncio.run(story())


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("redis+cluster://a:7000", True),
        ("rediss+cluster://u:p@a:7000,b:7001,c/0?ssl_ca_certs=/ca.pem", True),
        ("redis+cluster://a:7000,,b", False),
        ("redis+cluster://", False),
        ("redis://a:6379/0", True),
        ("redis://a:7000,b:7001", False),
        ("http+cluster://a", False),
        ("unix://a", False),
    ],
)
def test_the_address_names_every_node_or_is_refused(url: str, good: bool) -> None:
    assert is_address(url) == good


def test_the_password_of_a_cluster_is_not_shown() -> None:
    settings = Settings.load({"redis": "rediss+cluster://u:hunter2@a:7000,b:7001/0?x=hunter2"}, env_file=None)
    [shown] = [one.value for one in describe(settings) if one.name == "QINGLIU_REDIS"]
    assert shown == "rediss+cluster://******@a:7000,b:7001/0?******"
