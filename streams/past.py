"""The past of a partition: what a worker that takes it over must have heard, to decide as the one before would have.

Windows are memory. So before the first batch of a partition that was another's, its records of the last WARM_MS before
that batch are read again and judged, and nothing is made of what is found: that was done when they came first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from streams.connection import connection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from moderation.record import Record
    from streams.settings import Settings

log = structlog.get_logger()

#: Messages belong together within this time (pieces.JOIN_MS); what rules count over longer is not all heard again.
WARM_MS: Final = 120_000
#: Records of a partition that are read again at most, a second or two of judging: the last ones before the batch.
WARM_MOST: Final = 20_000
#: A broker that says nothing for so long is not waited for: a batch with cold windows is better than none.
PATIENCE_MS: Final = 5_000


class Past(Protocol):
    """Where a partition's earlier records are."""

    def before(self, first: Record, known: int) -> AsyncIterator[Sequence[Record]]:
        """Yield the records before `first`, from offset `known` on; nothing where they cannot be had."""


class KafkaPast:
    """Reads with a consumer of its own, in no group, that commits nothing."""

    def __init__(self, settings: Settings, kafka: str) -> None:
        self._where = connection(settings, kafka)

    async def before(self, first: Record, known: int) -> AsyncIterator[Sequence[Record]]:
        """See `Past`."""
        place = TopicPartition(first.topic, first.partition)
        consumer = AIOKafkaConsumer(
            **self._where,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            request_timeout_ms=PATIENCE_MS,
        )
        try:
            await consumer.start()
            consumer.assign([place])
            consumer.seek(place, await _begin(consumer, place, first, known))
            while records := await _some(consumer, place, first.offset):
                yield records
        except (KafkaError, OSError) as exc:
            log.warning(
                "past not read: windows stay cold", topic=place.topic, partition=place.partition, error=repr(exc)
            )
        finally:
            await consumer.stop()


async def _begin(consumer: AIOKafkaConsumer, place: TopicPartition, first: Any, known: int) -> int:
    found = (await consumer.offsets_for_times({place: max(0, first.timestamp - WARM_MS)})).get(place)
    return max(known, int(first.offset) - WARM_MOST, int(found.offset) if found else 0)


async def _some(consumer: AIOKafkaConsumer, place: TopicPartition, end: int) -> list[Record]:
    if await consumer.position(place) >= end:
        return []
    records = (await consumer.getmany(place, timeout_ms=PATIENCE_MS, max_records=2_000)).get(place, [])
    return [record for record in records if record.offset < end]
