"""Everything the broker holds of a run, as the books want it; and how far the group has come."""

from __future__ import annotations

from contextlib import asynccontextmanager
from struct import unpack_from
from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from bench.faults.accounting import Answer, Dead, Lane, Look, Order, Paper, Place
from bench.faults.servers import OFFSETS
from bench.faults.truth import does
from moderation.actions import Ack, Action, Case

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from streams.settings import Topics

_action: Final = msgspec.json.Decoder(Action)
_case: Final = msgspec.json.Decoder(Case)
_ack: Final = msgspec.json.Decoder(Ack)
#: What the key of a note on a group begins with (GroupMetadataKey in Kafka's own messages); commits have 0 and 1.
_GROUP: Final = b"\0\2"


class Reader:
    """Reads a run's topics over a connection of its own; no group, nothing is committed."""

    def __init__(self, kafka: str, topics: Topics, partitions: int, group: str) -> None:
        self._kafka, self._topics, self._partitions, self._group = kafka, topics, partitions, group

    def lanes(self, *topics: str) -> list[TopicPartition]:
        """Return every partition of some topics."""
        return [TopicPartition(topic, n) for topic in topics for n in range(self._partitions)]

    async def committed(self, group: str | None = None, *topics: str) -> dict[Lane, int]:
        """Return a group's committed offsets: the workers' in the chat topics. Raises KafkaError, OSError."""
        async with self._admin() as admin:
            lanes = self.lanes(*(topics or (self._topics.world, self._topics.private)))
            told = await admin.list_consumer_group_offsets(group or self._group, partitions=lanes)
            return {Lane(tp.topic, tp.partition): max(0, one.offset) for tp, one in told.items()}

    @asynccontextmanager
    async def _admin(self) -> AsyncIterator[AIOKafkaAdminClient]:
        admin = AIOKafkaAdminClient(bootstrap_servers=self._kafka, request_timeout_ms=4000)
        await admin.start()
        try:
            yield admin
        finally:
            await admin.close()

    async def ends(self, *topics: str) -> dict[Lane, int]:
        """Return how far topics go."""
        async with AIOKafkaConsumer(bootstrap_servers=self._kafka) as consumer:
            return _by_lane(await consumer.end_offsets(self.lanes(*topics)))

    async def look(self) -> Look:
        """Say what is committed, and then what is there: in this order nothing can seem late that was not."""
        committed = await self.committed()
        there = [*await self._all(self._topics.enforcement), *await self._all(self._topics.cases)]
        ends: dict[Lane, int] = {}
        for place in map(_place, there):
            ends[place.lane] = max(ends.get(place.lane, 0), place.offset + 1)
        return Look(committed, ends)

    async def coordinator(self) -> int:
        """Return the id of the broker that coordinates the workers' group. Raises KafkaError, OSError."""
        async with self._admin() as admin:
            return int(await admin.find_coordinator(self._group))

    async def leader(self) -> int:
        """Return the id of the broker that leads the first partition of world chat. Raises KafkaError, OSError."""
        async with self._admin() as admin:
            [topic] = await admin.describe_topics([self._topics.world])
            return next(int(one["leader"]) for one in topic["partitions"] if one["partition"] == 0)

    async def in_sync(self) -> int:
        """Return how many replicas have all of the enforcement topic's worst partition. Raises KafkaError, OSError."""
        async with self._admin() as admin:
            [topic] = await admin.describe_topics([self._topics.enforcement])
            return min(len(one["isr"]) for one in topic["partitions"])

    async def generation(self) -> int:
        """Return how often the members of the workers' group were dealt partitions, as the broker noted it down."""
        every = await self._all("__consumer_offsets", OFFSETS)
        return max((n for one in every if (n := generation_of(one, self._group)) is not None), default=0)

    async def rewind(self) -> None:
        """Commit the beginning of the chat for the workers' group, which must have no member."""
        lanes = self.lanes(self._topics.world, self._topics.private)
        async with AIOKafkaConsumer(
            bootstrap_servers=self._kafka, group_id=self._group, enable_auto_commit=False
        ) as consumer:
            consumer.assign(lanes)
            await consumer.commit(dict.fromkeys(lanes, 0))

    async def orders(self) -> list[Order]:
        """Return all actions."""
        return [_order(record) for record in await self._all(self._topics.enforcement)]

    async def papers(self) -> list[Paper]:
        """Return all cases."""
        return [_paper(record) for record in await self._all(self._topics.cases)]

    async def dead(self) -> list[Dead]:
        """Return all dead letters."""
        return [_dead(record) for record in await self._all(self._topics.dead_letters)]

    async def answers(self) -> list[Answer]:
        """Return all acks."""
        return [_answer(record) for record in await self._all(self._topics.acks)]

    async def _all(self, topic: str, partitions: int | None = None) -> list[Any]:
        lanes = [TopicPartition(topic, n) for n in range(partitions or self._partitions)]
        async with AIOKafkaConsumer(bootstrap_servers=self._kafka, fetch_max_wait_ms=20) as consumer:
            consumer.assign(lanes)
            await consumer.seek_to_beginning(*lanes)
            ends = await consumer.end_offsets(lanes)
            records: list[Any] = []
            # Tansu's end is at times one short of its last record: read until there is nothing more
            while got := await consumer.getmany(timeout_ms=200) or await self._short(consumer, ends):
                records += [record for some in got.values() for record in some]
            return records

    @staticmethod
    async def _short(consumer: AIOKafkaConsumer, ends: Mapping[TopicPartition, int]) -> dict[Any, list[Any]]:
        """Wait longer for what must be there; give nothing where all was read."""
        for tp, end in ends.items():
            while await consumer.position(tp) < end:
                got: dict[Any, list[Any]] = await consumer.getmany(timeout_ms=1000)
                if got:
                    return got
        return {}


def _by_lane(offsets: Mapping[Any, int]) -> dict[Lane, int]:
    return {Lane(tp.topic, tp.partition): offset for tp, offset in offsets.items()}


def _place(record: Any) -> Place:
    return Place(record.topic, record.partition, record.offset)


def generation_of(record: Any, group: str) -> int | None:
    """Read Kafka's own note on a group: key and value begin with a version; then a name, and what kind of group."""
    if not record.value or record.key[:2] != _GROUP or _text(record.key, 2) != group:
        return None
    (generation,) = unpack_from(">i", record.value, 4 + len(_text(record.value, 2)))
    return int(generation)


def _text(noted: bytes, at: int) -> str:
    (size,) = unpack_from(">h", noted, at)
    return noted[at + 2 : at + 2 + size].decode()


def _order(record: Any) -> Order:
    action = _action.decode(record.value)
    source = Place(*(getattr(action.source, name) for name in Place._fields)) if action.source else None
    return Order(
        _place(record),
        action.action_id,
        action.target.account_id,
        action.event_id,
        does(action),
        source,
        record.value,
        action.degraded,
    )


def _paper(record: Any) -> Paper:
    case = _case.decode(record.value)
    account, event = case.event.sender.account_id, case.event.event_id
    return Paper(_place(record), case.case_id, account, event, record.value, case.why_human == "degraded")


def _dead(record: Any) -> Dead:
    said = dict(record.headers)
    source = Place(said["source-topic"].decode(), int(said["source-partition"]), int(said["source-offset"]))
    return Dead(_place(record), source, record.value, said["reason"].decode())


def _answer(record: Any) -> Answer:
    ack = _ack.decode(record.value)
    return Answer(_place(record), ack.action_id, ack.status, ack.ts)


def lag(ends: Mapping[Lane, int], committed: Mapping[Lane, int]) -> int:
    """Return how many records are not committed."""
    return sum(max(0, end - committed.get(lane, 0)) for lane, end in ends.items())
