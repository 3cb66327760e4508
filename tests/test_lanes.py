"""Lanes: what waits goes on together, in order, and nothing of a partition overtakes what is in hand."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from faust.types.tuples import TP

from streams.lanes import IN_HAND, Lanes

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST = 10


def batch(partition: int, first: int, size: int = 1, generation: int = 1) -> Any:
    last = first + size - 1
    message = SimpleNamespace(
        tp=TP("chat", partition), offset=last, value=list(range(first, last + 1)),
        range=SimpleNamespace(first=first, last=last), generation_id=generation,
    )  # fmt: skip
    return SimpleNamespace(message=message)


class Hands:
    """Work that lasts until it is told to end; `calls` are the (partition, first offset) that each was given."""

    def __init__(self) -> None:
        self.calls: list[list[tuple[int, int]]] = []
        self.ends: list[asyncio.Event] = []
        self.lanes = Lanes(self.work, MOST)

    async def work(self, events: Sequence[Any]) -> None:
        self.calls.append([(e.message.tp.partition, e.message.range.first) for e in events])
        self.ends.append(asyncio.Event())
        await self.ends[-1].wait()

    async def put(self, *events: Any) -> None:
        for event in events:
            await self.lanes.put(event)
        await settle()

    async def end(self, call: int) -> None:
        self.ends[call].set()
        await settle()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def busy(*known: int) -> Hands:
    """Return hands that know some partitions, and have nothing to do."""
    hands = Hands()
    for partition in known:
        await hands.put(batch(partition, 0))
        await hands.end(-1)
    hands.calls.clear()
    hands.ends.clear()
    return hands


def test_what_comes_while_a_partition_is_in_hand_goes_on_together_when_it_is_done() -> None:
    async def story() -> None:
        hands = await busy(0)
        await hands.put(batch(0, 1), batch(0, 2), batch(0, 3, 5))
        assert hands.calls == [[(0, 1)]]
        await hands.end(0)
        assert hands.calls == [[(0, 1)], [(0, 2), (0, 3)]]

    asyncio.run(story())


def test_partitions_go_on_together_the_one_that_waits_longest_first() -> None:
    async def story() -> None:
        hands = await busy(0, 1, 2, 3)
        await hands.put(batch(0, 1), batch(1, 1), batch(3, 1), batch(2, 1), batch(3, 2))
        await hands.end(0)
        assert hands.calls == [[(0, 1)], [(1, 1)], [(3, 1), (3, 2), (2, 1)]]

    asyncio.run(story())


def test_no_more_records_go_on_together_than_a_batch_may_have() -> None:
    async def story() -> None:
        hands = await busy(0, 1, 2, 3)
        await hands.put(batch(0, 1), batch(1, 1), batch(2, 1, MOST - 1), batch(3, 1, 2), batch(2, MOST))
        await hands.end(0)
        assert hands.calls[2:] == [[(2, 1), (2, MOST)]]
        await hands.end(1)
        assert hands.calls[3:] == [[(3, 1)]]

    asyncio.run(story())


def test_a_partition_that_is_new_goes_alone_the_first_time_in_each_generation() -> None:
    async def story() -> None:
        hands = await busy(0, 1)
        await hands.put(batch(0, 1), batch(1, 1), batch(2, 1), batch(1, 2), batch(0, 2, generation=2), batch(2, 2))
        await hands.end(0)
        assert hands.calls[2:] == [[(2, 1), (2, 2)]]
        await hands.end(1)
        assert hands.calls[3:] == [[(1, 2)]]
        await hands.end(2)
        assert hands.calls[4:] == [[(0, 2)]]

    asyncio.run(story())


@pytest.mark.parametrize(
    "later", [batch(0, 5, generation=2), batch(0, 1, 3)], ids=["another generation", "read again after a seek back"]
)
def test_batches_that_do_not_belong_together_are_worked_on_one_after_the_other(later: Any) -> None:
    async def story() -> None:
        hands = await busy(0)
        await hands.put(batch(0, 1), batch(0, 2, 2), later)
        await hands.end(0)
        assert hands.calls[1:] == [[(0, 2)]]
        await hands.end(1)
        assert hands.calls[2:] == [[(0, later.message.range.first)]]

    asyncio.run(story())


def test_whoever_puts_into_a_full_lane_waits_until_it_is_taken() -> None:
    async def story() -> None:
        hands = await busy(0)
        await hands.put(batch(0, 1), batch(0, 2, MOST))
        more = asyncio.create_task(hands.lanes.put(batch(0, 99)))
        await settle()
        assert not more.done()
        await hands.end(0)
        assert more.done()
        await hands.end(1)
        assert hands.calls == [[(0, 1)], [(0, 2)], [(0, 99)]]

    asyncio.run(story())


def test_a_batch_larger_than_a_lane_goes_alone() -> None:
    async def story() -> None:
        hands = await busy(0)
        await hands.put(batch(0, 1, MOST * 3), batch(0, 99))
        assert hands.calls == [[(0, 1)]]

    asyncio.run(story())


def test_what_is_in_hand_ends_with_the_lanes_and_nothing_begins_any_more() -> None:
    async def story() -> None:
        hands = await busy(0)
        await hands.put(batch(0, 1), batch(0, 2))
        hands.lanes.end()
        await settle()
        assert hands.calls == [[(0, 1)]]

    asyncio.run(story())


def test_whatever_comes_when_each_partition_is_worked_on_whole_in_order_and_once_at_a_time() -> None:
    async def story(seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311  a seed, not a secret
        seen: defaultdict[int, list[int]] = defaultdict(list)
        in_hand: list[int] = []

        async def work(events: Sequence[Any]) -> None:
            mine = {event.message.tp.partition for event in events}
            assert mine.isdisjoint(in_hand)
            assert sum(len(event.message.value) for event in events) <= MOST
            in_hand.extend(mine)
            for event in events:
                seen[event.message.tp.partition] += event.message.value
            for _ in range(chance.randrange(5)):
                await asyncio.sleep(0)
                assert len(calls) <= IN_HAND
            for one in mine:
                in_hand.remove(one)

        lanes = Lanes(work, MOST)
        calls = lanes._calls
        nexts: defaultdict[int, int] = defaultdict(int)
        for _ in range(300):
            partition, size = chance.randrange(5), chance.randrange(1, 5)
            await lanes.put(batch(partition, nexts[partition], size))
            nexts[partition] += size
            if chance.random() < 0.3:
                await settle()
        for _ in range(200):
            await settle()
        assert {one: list(range(end)) for one, end in nexts.items()} == seen

    for seed in range(20):
        asyncio.run(story(seed))


def test_a_call_that_misses_its_end_brings_nothing_else_in_hand() -> None:
    class Deaf(Hands):
        async def work(self, events: Sequence[Any]) -> None:
            try:
                await super().work(events)
            except asyncio.CancelledError:
                return

    async def story() -> None:
        hands = Deaf()
        await hands.put(batch(0, 1), batch(0, 2), batch(1, 1))
        hands.lanes.end()
        await settle()
        assert hands.calls == [[(0, 1)], [(1, 1)]]

    asyncio.run(story())
