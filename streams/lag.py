"""How far a consumer group is behind, asked of the broker itself: not of the group's members, who may be dead or stuck.

Faust's own figures are of what a worker has fetched; a worker that stands still has no lag by them.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from moderation.errors import QingliuError
from streams.connection import connection

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping

    from streams.metrics import Catalogue
    from streams.settings import Settings

T = TypeVar("T")
Partition = tuple[str, int]

#: Offsets that a transaction may take for itself behind the last record: nobody commits those.
MARKERS: Final = 2
#: A broker that says nothing for so long counts as away.
PATIENCE_S: Final = 5.0


class BrokerAway(QingliuError):
    """The broker did not say in time what it was asked."""


class Position(NamedTuple):
    """Where a group stands in a partition: the next offset it would read, and the one that is written next."""

    committed: int
    end: int

    @property
    def lag(self) -> int:
        """Return how many offsets are not committed yet."""
        return max(0, self.end - self.committed)

    @property
    def waits(self) -> bool:
        """Tell whether records wait, for certain."""
        return self.lag > MARKERS


class Progress:
    """Since when each partition has had records waiting without moving on. Times are seconds of `clock`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[Partition, tuple[int, float]] = {}

    def stalled(self, positions: Mapping[Partition, Position]) -> dict[Partition, float]:
        """Take what a poll found; return seconds by partition, 0 where it moved or nothing waits."""
        now, before = self._clock(), self._seen
        self._seen = {
            place: (at.committed, before[place][1] if at.waits and before.get(place, (-1,))[0] == at.committed else now)
            for place, at in positions.items()
        }
        return {place: now - since for place, (_, since) in self._seen.items()}

    def forget(self) -> None:
        """Start anew: nobody can tell what moved while the broker was away."""
        self._seen = {}


class GroupLag:
    """Asks a broker over connections of its own where a group stands. After a failure they are new ones."""

    def __init__(self, settings: Settings, kafka: str) -> None:
        self._where = {**connection(settings, kafka), "request_timeout_ms": int(PATIENCE_S * 1000)}
        self._group = settings.group_id
        self._admin: AIOKafkaAdminClient | None = None
        self._reader: AIOKafkaConsumer | None = None

    async def partitions(self, topics: Collection[str]) -> frozenset[Partition]:
        """Return all partitions of those topics that there are. Raises BrokerAway."""

        async def ask(admin: AIOKafkaAdminClient, _: AIOKafkaConsumer) -> frozenset[Partition]:
            there = set(await admin.list_topics()).intersection(topics)
            found = await admin.describe_topics(sorted(there)) if there else []
            return frozenset((one["topic"], part["partition"]) for one in found for part in one["partitions"])

        return await self._asked(ask)

    async def positions(self, partitions: Collection[Partition]) -> dict[Partition, Position]:
        """Return where the group stands in each; none: is the broker there? Raises BrokerAway."""

        async def ask(admin: AIOKafkaAdminClient, reader: AIOKafkaConsumer) -> dict[Partition, Position]:
            places = [TopicPartition(*one) for one in partitions]
            if not places:
                await admin.list_topics()
                return {}
            committed = await admin.list_consumer_group_offsets(self._group, partitions=places)
            ends, starts = await reader.end_offsets(places), await reader.beginning_offsets(places)
            # nothing committed is -1; what retention has deleted nobody waits for
            return {(p.topic, p.partition): Position(max(committed[p].offset, starts[p]), ends[p]) for p in places}

        return await self._asked(ask)

    async def _asked(self, ask: Callable[[AIOKafkaAdminClient, AIOKafkaConsumer], Awaitable[T]]) -> T:
        try:
            async with asyncio.timeout(PATIENCE_S):
                if self._admin is None or self._reader is None:
                    self._admin = AIOKafkaAdminClient(**self._where)
                    self._reader = AIOKafkaConsumer(**self._where, group_id=None)
                    await self._admin.start()
                    await self._reader.start()
                return await ask(self._admin, self._reader)
        except (KafkaError, OSError) as exc:  # TimeoutError is an OSError
            await self.close()
            raise BrokerAway(repr(exc)) from exc

    async def close(self) -> None:
        """Let go of the connections; a broker that is away does not hold us."""
        for client in (self._admin, self._reader):
            if client is not None:
                with suppress(KafkaError, OSError):
                    async with asyncio.timeout(1):
                        await (client.close() if isinstance(client, AIOKafkaAdminClient) else client.stop())
        self._admin = self._reader = None


def tell(catalogue: Catalogue, positions: Mapping[Partition, Position], stalled: Mapping[Partition, float]) -> None:
    """Show what a poll found, and nothing else: what is not known any more is no figure."""
    catalogue.lag_records.clear()
    catalogue.stalled_seconds.clear()
    for place, at in positions.items():
        catalogue.lag_records.labels(*place).set(at.lag)
        catalogue.stalled_seconds.labels(*place).set(stalled[place])
