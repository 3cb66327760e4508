"""Reading topics from one offset to another, outside any consumer group: nothing is committed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from aiokafka import TopicPartition

from moderation.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

    from aiokafka import AIOKafkaConsumer
    from aiokafka.admin import AIOKafkaAdminClient

#: How long a fetch may take before the broker counts as away.
PATIENCE_MS: Final = 5_000
#: Records that are handed on at a time; they are from one fetch, which is of about 1 MiB.
STEP: Final = 200


async def partitions(admin: AIOKafkaAdminClient, topics: Iterable[str]) -> list[TopicPartition]:
    """Return all partitions of topics, in order. Raises SettingsError where one is missing."""
    wanted = sorted(topics)
    there = await admin.list_topics()
    for topic in wanted:
        if topic not in there:  # to ask for it by name would make some brokers create it
            raise SettingsError(f"no topic {topic}: qingliu topics create")
    told = await admin.describe_topics(wanted)
    return sorted(TopicPartition(one["topic"], part["partition"]) for one in told for part in one["partitions"])


async def ends(consumer: AIOKafkaConsumer, firsts: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
    """Return where each partition ends now, as a fetch says: the embedded broker's end_offsets is short of a batch.

    `firsts`: where each begins. The consumer must be assigned to them, and stands elsewhere afterwards.
    """
    found: dict[TopicPartition, int] = await consumer.end_offsets(list(firsts))
    filled = [one for one, end in found.items() if end > firsts[one]]
    for one in filled:
        consumer.seek(one, found[one] - 1)
    for one in filled:
        await consumer.getmany(one, timeout_ms=PATIENCE_MS, max_records=1)
        found[one] = max(found[one], consumer.highwater(one) or 0)
    return found


async def spans(consumer: AIOKafkaConsumer, places: Sequence[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
    """Assign a consumer to partitions; return the first offset of each, and the one to stop before."""
    consumer.assign(places)
    firsts = await consumer.beginning_offsets(places)
    found = await ends(consumer, firsts)
    return {one: (firsts[one], found[one]) for one in places}


async def read(
    consumer: AIOKafkaConsumer, wanted: Mapping[TopicPartition, tuple[int, int]]
) -> AsyncIterator[tuple[list[Any], int]]:
    """Yield the records of spans, partition by partition, and how many offsets that was.

    Raises TimeoutError: aiokafka itself would wait for ever.
    """
    for one, (start, _) in wanted.items():
        consumer.seek(one, start)
    for one, (start, end) in wanted.items():
        at = start
        while at < end:
            records = await consumer.getmany(one, timeout_ms=PATIENCE_MS, max_records=STEP)
            async with asyncio.timeout(PATIENCE_MS / 1_000):
                before, at = at, await consumer.position(one)  # beyond what was deleted or is no record
            if at == before:
                raise TimeoutError(f"{one.partition}:{at} of {one.topic} was not answered")
            yield [record for record in records.get(one, ()) if record.offset < end], at - before
