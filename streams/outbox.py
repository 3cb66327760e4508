"""The way out: letters to Kafka, as one record batch per partition, and back only when the broker has them.

One future per partition instead of one per letter: with a task, a future and a wait for each letter, sending what one
message in twenty earns cost as much as judging all twenty (2026-11-21).
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import structlog
from aiokafka.errors import KafkaError
from aiokafka.partitioner import DefaultPartitioner
from faust.exceptions import NotReady, ProducerSendError

from moderation.errors import QingliuError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import faust
    from aiokafka import AIOKafkaProducer
    from aiokafka.producer.message_accumulator import BatchBuilder

log = structlog.get_logger()

#: A value is cut to this, below the 1 MiB that brokers take by default: only a dead letter can be so large. Where one
#: was cut a header tells how many bytes it had.
LARGEST: Final = 900_000
CUT_FROM: Final = "cut-from"


class Letter(NamedTuple):
    """One record to be produced."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


class LettersNotSent(QingliuError):
    """The broker did not acknowledge `letters`: what caused them must not be acknowledged either."""

    def __init__(self, why: str, letters: Sequence[Letter]) -> None:
        super().__init__(why)
        self.letters = letters


class Outbox(Protocol):
    """Where letters go."""

    async def send(self, letters: Sequence[Letter]) -> None:
        """Return when the broker has acknowledged all; those of one key stay in order. Raises LettersNotSent."""


class KafkaOutbox:
    """Sends letters with the app's producer and waits until all in-sync replicas have them.

    `patience_s` is for finding out which partitions a topic has.
    """

    def __init__(self, app: faust.App, patience_s: float = 10.0) -> None:
        self._app = app
        self._patience_s = patience_s
        self._place = DefaultPartitioner()

    async def send(self, letters: Sequence[Letter]) -> None:
        """See `Outbox`. A letter with a key goes where every Kafka client would send it: by murmur2 of the key."""
        try:
            producer: AIOKafkaProducer = self._app.producer._ensure_producer()  # type: ignore[attr-defined]  # noqa: SLF001  Faust has no batches
            async with asyncio.timeout(self._patience_s):  # aiokafka would ask for a topic's partitions for ever
                lanes = await self._lanes(producer, letters)
        except (KafkaError, NotReady, OSError) as exc:  # TimeoutError is an OSError
            raise LettersNotSent(repr(exc), letters) from exc
        sent = [self._lane(producer, *place, lane) for place, lane in lanes.items()]
        unsent = [letter for left in await asyncio.gather(*sent) for letter in left]
        if unsent:
            raise LettersNotSent(f"{len(unsent)} of {len(letters)} records not acknowledged", unsent)

    async def _lanes(
        self, producer: AIOKafkaProducer, letters: Sequence[Letter]
    ) -> dict[tuple[str, int], list[Letter]]:
        lanes: defaultdict[tuple[str, int], list[Letter]] = defaultdict(list)
        partitions = {topic: sorted(await producer.partitions_for(topic)) for topic in {one.topic for one in letters}}
        for letter in letters:
            every = partitions[letter.topic]
            lanes[letter.topic, self._place(letter.key, every, every)].append(letter)
        return lanes

    async def _lane(
        self, producer: AIOKafkaProducer, topic: str, partition: int, letters: list[Letter]
    ) -> list[Letter]:
        """Send what is for one partition, batch after batch; return what was not acknowledged."""
        done = 0
        try:
            for batch, count in _batches(producer, letters):
                await (await producer.send_batch(batch, topic, partition=partition))
                done += count
        except (KafkaError, ProducerSendError, OSError) as exc:
            log.warning("not acknowledged", topic=topic, partition=partition, error=repr(exc))
        return letters[done:]


def _batches(producer: AIOKafkaProducer, letters: Sequence[Letter]) -> Iterator[tuple[BatchBuilder, int]]:
    """Fill record batches in order; a batch takes its first record however large it is."""
    batch, count = producer.create_batch(), 0
    for letter in letters:
        if not _append(batch, letter):
            yield batch, count
            batch, count = producer.create_batch(), 0
            _append(batch, letter)
        count += 1
    yield batch, count


def _append(batch: BatchBuilder, letter: Letter) -> bool:
    value, headers = letter.value, list(letter.headers)
    if value is not None and len(value) > LARGEST:
        value, headers = value[:LARGEST], [*headers, (CUT_FROM, str(len(value)).encode())]
    added = batch.append(timestamp=None, key=letter.key, value=value, headers=headers)
    return added is not None
