"""The auditor: reads what was decided, ordered and answered as it comes, and has the journal tell of it.

It writes to no topic, is in no consumer group and commits nothing: how far it came is in the journal. Workers know
nothing of it, so it may be away for as long as Kafka keeps records; what was deleted meanwhile is told of as lost.
"""

from __future__ import annotations

import asyncio
import math
import signal
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, get_args

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import OffsetOutOfRangeError

from moderation.audit import Role
from moderation.errors import SettingsError
from streams.connection import connection
from streams.journal import Journal
from streams.reading import PATIENCE_MS, partitions, spans

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from moderation.chain import Head
    from streams.settings import Settings, Topics

log = structlog.get_logger()

#: Records told of between two synchronisations of the disk, at most; how long we wait for the first of them.
BATCH: Final = 2_000
WAIT_MS: Final = 500
#: How long nothing may come of what is there, until the broker counts as away.
SILENT_S: Final = 20.0
#: How often topics are asked for partitions that were added.
LOOK_EVERY_S: Final = 60.0


def roles(topics: Topics) -> dict[str, Role]:
    """Return the topics the auditor reads, and what their records are."""
    return {getattr(topics, role): role for role in get_args(Role)}


class Auditor:
    """Tails topics into a journal. Made by `auditing`."""

    def __init__(
        self, consumer: AIOKafkaConsumer, admin: AIOKafkaAdminClient, topics: Topics, journal: Journal
    ) -> None:
        self._consumer, self._admin, self._topics, self._journal = consumer, admin, roles(topics), journal
        self._assigned: list[TopicPartition] = []
        self._looked = -math.inf

    async def catch_up(self) -> int:
        """Tell of all that is there now; return how many records that was. Raises TimeoutError if nothing comes."""
        ends = {one: end for one, (_, end) in (await self._look()).items()}
        count, left, since = 0, -1, time.monotonic()
        while ends and time.monotonic() - since < SILENT_S:
            count += await self.step()
            at = {one: await self._consumer.position(one) for one in ends}
            ends = {one: end for one, end in ends.items() if at[one] < end}
            now = sum(ends[one] - at[one] for one in ends)
            left, since = now, since if now == left else time.monotonic()
        if ends:
            raise TimeoutError(f"nothing more came of {len(ends)} partitions within {SILENT_S:g} s")
        return count

    async def run(self, stop: asyncio.Event) -> int:
        """Tell of all that is there and comes, until told to stop; return how many records that was."""
        count = 0
        while not stop.is_set():
            if time.monotonic() - self._looked > LOOK_EVERY_S:
                await self._look_again()
            count += await self.step()
        return count

    async def step(self) -> int:
        """Tell of some records, if there are any within WAIT_MS; return how many were new."""
        try:
            found = await self._consumer.getmany(timeout_ms=WAIT_MS, max_records=BATCH)
        except OffsetOutOfRangeError as exc:
            await self._lost(exc.args[0])
            return 0
        records = [record for some in found.values() for record in some]
        return await asyncio.to_thread(self._journal.add, records) if records else 0

    def _next(self, one: TopicPartition) -> int:
        return self._journal.places.get((one.topic, one.partition), 0)

    async def _look_again(self) -> None:
        """Take up partitions that were added."""
        if await partitions(self._admin, self._topics) != self._assigned:
            await self._look()
        self._looked = time.monotonic()

    async def _look(self) -> dict[TopicPartition, tuple[int, int]]:
        """Find out which partitions there are and what is in them, and go to where the journal ends in each."""
        self._assigned = await partitions(self._admin, self._topics)
        there = await spans(self._consumer, self._assigned)
        for one, (first, end) in there.items():
            self._seek(one, first, end)
        return there

    def _seek(self, one: TopicPartition, first: int, end: int) -> None:
        following = self._next(one)
        if following > end:
            raise SettingsError(
                f"{one.topic} {one.partition} ends at {end}, the audit log at {following}: the topic was made anew; "
                "keep this log and begin another"
            )
        if 0 < following < first:
            log.error("deleted before it was read", topic=one.topic, partition=one.partition, first=following, to=first)
            self._journal.lost(one.topic, one.partition, first)
        self._consumer.seek(one, max(first, following))

    async def _lost(self, places: Sequence[TopicPartition]) -> None:
        """Kafka deleted what we were to read next, while we were reading."""
        await self._look()
        log.warning("out of range", places=[f"{one.topic} {one.partition}" for one in places])


@asynccontextmanager
async def auditing(
    settings: Settings, kafka: str, directory: Path, *, now_ms: Any = lambda: time.time_ns() // 1_000_000
) -> AsyncIterator[tuple[Auditor, Journal]]:
    """Give an auditor of a broker and its journal in `directory`. Raises SettingsError, KafkaError, OSError."""
    where = connection(settings, kafka)
    consumer = AIOKafkaConsumer(
        **where, group_id=None, enable_auto_commit=False, auto_offset_reset="none", request_timeout_ms=PATIENCE_MS
    )
    admin = AIOKafkaAdminClient(**where, request_timeout_ms=PATIENCE_MS)
    try:
        await admin.start()
        await consumer.start()
        cluster = (await admin.describe_cluster())["cluster_id"]
        with Journal(directory, cluster, roles(settings.topics), key_of(settings), now_ms=now_ms) as journal:
            yield Auditor(consumer, admin, settings.topics, journal), journal
    finally:
        await consumer.stop()
        await admin.close()


def key_of(settings: Settings) -> bytes | None:
    """Return the key that seals the audit log, None where it has none."""
    return settings.audit_key.get_secret_value().encode() if settings.audit_key else None


async def work(settings: Settings, directory: Path, *, once: bool) -> tuple[Head, int]:
    """Record until SIGTERM or SIGINT, or `once` what is there; return the head and how many records were new.

    Raises SettingsError, KafkaError, OSError: what was told until then is on the disk.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with auditing(settings, settings.kafka or "", directory) as (auditor, journal):
        log.info("auditor started", directory=str(directory), seq=journal.head.seq, hash=journal.head.hash)
        count = await auditor.catch_up() if once else await auditor.run(stop)
        return journal.head, count
