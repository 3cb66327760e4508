"""Faust's Kafka transport, one message per fetched batch instead of one per record.

Stock Faust starts three tasks for every record. Here `getmany` yields one `Batch` for what a fetch brought from one
partition; an agent reads `async for event in stream.noack().events()`, finds the records in `event.value`, and calls
`event.ack()` once their effects are durable.

Faust keeps a list of single acknowledged offsets. We keep `Ranges`: what was fetched, in order, and what of it is done.
A range enters when it is fetched, not when it is acknowledged, so a batch that gets lost anywhere between the fetch and
the agent holds the commit back instead of being passed over. Invariants, each with a test:

* the committed offset never passes the first record that was fetched and not acknowledged;
* an acknowledgement counts only in the generation of the group that fetched its batch;
* a commit that failed is tried again: nothing is taken for committed before the broker said so.

This file overrides private names of faust-streaming 0.15.3; tests/test_transport.py fails when one of them moves.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import faust
from faust import streams as faust_streams
from faust.transport.consumer import ensure_TP
from faust.transport.drivers import aiokafka as driver
from faust.types.tuples import TP, ConsumerMessage, ack_lock
from mode.utils.futures import maybe_async, notify

from moderation.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence

    from aiokafka import AIOKafkaConsumer, ConsumerRecord

#: Seconds until a partition whose buffer had been full is asked again. Faust 0.15.3 waits up to a second for the idle
#: partitions first, or sleeps one when all are full, which leaves a hot partition 12 batches a second.
PRESSURE_POLL: Final = 0.01


class Range:
    """Offsets `first` to `last` (inclusive) of one partition, fetched together. Gaps inside are not our concern."""

    __slots__ = ("done", "first", "last")

    def __init__(self, first: int, last: int) -> None:
        self.first = first
        self.last = last
        self.done = False


class Ranges:
    """What was fetched from one partition and is not yet committable, oldest first."""

    __slots__ = ("_done", "_open")

    def __init__(self) -> None:
        self._open: deque[Range] = deque()
        self._done: int | None = None

    def __len__(self) -> int:
        return len(self._open)

    def fetched(self, first: int, last: int) -> Range:
        """Note that these offsets were fetched. After a seek back, ranges that will be read again are forgotten."""
        while self._open and self._open[-1].first >= first:
            self._open.pop()
        self._open.append(Range(first, last))
        return self._open[-1]

    def committable(self) -> int | None:
        """Return the next offset to read if we stopped now, or None if nothing is done. Asking changes nothing."""
        while self._open and self._open[0].done:
            self._done = self._open.popleft().last + 1
        if self._done is None or not self._open:
            return self._done
        return min(self._done, self._open[0].first)


class Batch(ConsumerMessage):
    """Records of one partition in offset order. `value` lists them, `offset` is the last one's; there is no key."""

    __slots__ = ("range",)
    value: Sequence[ConsumerRecord]  # type: ignore[assignment]  # Faust only passes it through: see RawBatch

    def __init__(self, tp: TP, records: Sequence[ConsumerRecord], fetched: Range, generation: int) -> None:
        last = records[-1]
        super().__init__(
            tp.topic,
            tp.partition,
            fetched.last,
            timestamp=last.timestamp / 1000,
            timestamp_type=last.timestamp_type,
            headers=None,
            key=None,
            value=records,  # type: ignore[arg-type]
            checksum=None,
            tp=tp,
            generation_id=generation,
        )
        self.range = fetched


class RawBatch(faust.Schema):  # type: ignore[type-arg]
    """Hands a batch to the agent as it is: `app.topic(name, schema=RawBatch())`."""

    def loads_key(self, app: Any, message: Any, **_: Any) -> None:
        """Return None: records have keys, a batch has none."""

    def loads_value(self, app: Any, message: Any, **_: Any) -> Any:  # noqa: ARG002  Faust's signature
        """Return the batch's records."""
        return message.value


class _SingleOffsets(dict[TP, set[int]]):
    """Where a stream that acknowledges by itself notes offsets we never look at: it fails instead of standing still."""

    def __missing__(self, tp: TP) -> set[int]:
        raise RuntimeError(f"{tp}: batches are acknowledged by event.ack() on stream.noack().events(), nothing else")


def split(records: Sequence[ConsumerRecord], max_records: int, max_bytes: int) -> Iterator[Sequence[ConsumerRecord]]:
    """Cut one fetch into batches within both bounds; a record larger than `max_bytes` is a batch of its own."""
    start = size = 0
    for at, record in enumerate(records):
        grown = size + record_bytes(record)
        if at > start and (at - start == max_records or grown > max_bytes):
            yield records[start:at]
            start, grown = at, grown - size
        size = grown
    yield records[start:]


def record_bytes(record: ConsumerRecord) -> int:
    """Return the bytes a record's sender chose: value, key and headers."""
    size = len(record.value or b"") + len(record.key or b"")
    return size + sum(len(name) + len(value or b"") for name, value in record.headers) if record.headers else size


class _Task:
    """Stands for the thread that Faust would start: a task of the loop we are on."""

    def __init__(self, service: _OnLoop) -> None:
        self._service = service

    def start(self) -> None:
        self._running = asyncio.ensure_future(self._service._serve())  # noqa: SLF001  what a thread would run

    def stop(self) -> None:
        """Wait for nothing: who stops the service has waited for its end."""


class _OnLoop(driver.AIOKafkaConsumerThread):
    """Faust's consumer thread, without the thread, with our fetch wait (Faust fixes 1.5 s).

    A thread would take the interpreter from the loop and wait for it in turn, some ten times a fetch: at 2 800 messages
    a second half of the time from message to action (2026-11-22). On the loop a worker that stands still also lets go
    of its partitions, as it should. Commits only for a member of the group.
    """

    Worker = _Task  # type: ignore[assignment]

    async def call_thread(self, fun: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> Any:
        """Call it: there is no queue between us."""
        return await maybe_async(fun(*args, **kwargs))

    async def _gather_remaining_tasks(self) -> None:
        """Leave the loop's other tasks alone: they are not ours."""

    def _create_worker_consumer(self, transport: BatchTransport) -> AIOKafkaConsumer:  # type: ignore[override]
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = int(transport.fetch_wait * 1000)  # noqa: SLF001  read when it starts
        return consumer

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Refuse where the group has thrown us out, or has dealt anew and we do not know yet.

        aiokafka then commits as nobody, and a group without members takes that: its offsets went back to where a worker
        that was stopped had been (2026-11-22).
        """
        if self._ensure_consumer()._coordinator.generation != self.app.consumer_generation_id:  # noqa: SLF001
            return False
        return await super()._commit(offsets)


class BatchConsumer(driver.Consumer):
    """Faust's consumer, keeping books on ranges instead of offsets. Made by `BatchTransport` only."""

    transport: BatchTransport

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._ranges: dict[TP, Ranges] = {}
        self._acked_index = _SingleOffsets()

    def _new_consumer_thread(self) -> _OnLoop:
        return _OnLoop(self, loop=self.loop, thread_loop=self.loop, beacon=self.beacon)

    # -- fetching

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Batch]]:  # noqa: ASYNC109  Faust's signature
        """Yield what one fetch brings, partitions in turn. A fetch that a rebalance overtook is read again."""
        if self._buffered_partitions:
            timeout = PRESSURE_POLL
            if not self._get_active_partitions():
                await self.sleep(PRESSURE_POLL)
                return
        if not self.flow_active:
            await self.wait(self.can_resume_flow)  # type: ignore[arg-type]  # any event will do, Faust does it too
        generation = self.app.consumer_generation_id
        fetched, _ = await self._wait_next_records(timeout)
        if not fetched or self.should_stop:
            return
        if generation != self.app.consumer_generation_id:
            await self._rewind()
            return
        batches = {ensure_TP(tp): self._batches(ensure_TP(tp), records) for tp, records in fetched.items()}
        if not self.flow_active:
            await self._rewind()
            return
        for tp, batch in self.scheduler.iterate(batches):
            if not self.flow_active or generation != self.app.consumer_generation_id:
                return  # the ranges stay open, so nothing passes them; the rebalance reads them again
            self._read_offset[tp] = None  # or Faust drops what it thinks it has read, after a seek back
            self.app.monitor.track_tp_end_offset(tp, self.highwater(tp))
            yield tp, batch

    def _batches(self, tp: TP, records: Sequence[ConsumerRecord]) -> list[Batch]:
        ranges = self._ranges.setdefault(tp, Ranges())
        generation = self.app.consumer_generation_id
        return [
            Batch(tp, part, ranges.fetched(part[0].offset, part[-1].offset), generation)
            for part in split(records, self.transport.max_records, self.transport.max_bytes)
        ]

    async def _rewind(self) -> None:
        """Read again from the committed offsets. Amid a rebalance this may fail: its end seeks anyway."""
        try:
            await self.perform_seek()
        except Exception as exc:
            if self.flow_active:
                raise
            self.log.warning("no seek to the committed offsets during a rebalance: %r", exc)

    # -- acknowledging

    def ack(self, message: Batch) -> bool:  # type: ignore[override]
        """Note that every record of the batch is done. False if it was before, or belongs to an older generation."""
        with ack_lock:
            if message.acked:
                return False
            message.acked = True
            self.abandon(message)
            if message.generation_id != self.app.consumer_generation_id:
                return False
            message.range.done = True
            self._n_acked += len(message.value)
            return True

    def abandon(self, message: Batch) -> None:
        """Give a batch up without acknowledging it: a rebalance need not wait for it, its next owner reads it."""
        self._unacked_messages.discard(message)
        notify(self._waiting_for_ack)

    # -- committing

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        return (tp for tp in tuple(self._ranges) if topics is None or tp in topics or tp.topic in topics)

    def _new_offset(self, tp: TP) -> int | None:
        ranges = self._ranges.get(tp)
        return None if ranges is None else ranges.committable()

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Ignore it: offsets that were compacted away lie between ranges, not in them."""

    async def _commit_offsets(self, offsets: Mapping[TP, int], start_new_transaction: bool = True) -> bool:  # noqa: FBT001, FBT002  Faust's signature
        before = {tp: self._committed_offset[tp] for tp in offsets}
        committed = await super()._commit_offsets(offsets, start_new_transaction)
        if not committed:  # Faust advances its own idea all the same
            self._committed_offset.update(before)
        return committed

    # -- rebalancing

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Wait for the batches in hand and commit them; only then forget the partitions."""
        await super().on_partitions_revoked(revoked)
        self._forget(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Start with empty books: every partition is read from its committed offset."""
        self._forget(tuple(self._ranges))
        self._buffered_partitions.clear()
        await super().on_partitions_assigned(assigned, generation_id)

    def _forget(self, partitions: Iterable[TP]) -> None:
        for tp in partitions:
            self._ranges.pop(tp, None)


class BatchTransport(driver.Transport):
    """Set it before the app starts: `app.transport = BatchTransport(app.conf.broker, app)`.

    A batch has at most `max_records` records and `max_bytes` bytes of keys, values and headers (or one record). The
    setting `stream_buffer_maxsize` counts batches, so it bounds what is in memory: 16 are 16 MiB plus one fetch.

    `fetch_wait` is how long, in seconds, the broker may hold a fetch that finds nothing. aiokafka has one fetch in
    flight per broker, so a busy partition waits that long whenever the others are idle; Tansu looks for news only
    after half of it (0.72 s with Faust's 1.5 s, 5 ms with 0.02 s; median of 12, 2026-11-21).
    """

    Consumer = BatchConsumer

    def __init__(
        self,
        url: Any,
        app: faust.App,
        loop: Any = None,
        *,
        max_records: int = 500,
        max_bytes: int = 1 << 20,
        fetch_wait: float = 0.02,
    ) -> None:
        if getattr(faust_streams, "_CStreamIterator", None) is None:
            raise SettingsError(
                "Faust's compiled stream is missing and its Python one acknowledges messages it skips: "
                "unset NO_CYTHON, or install a faust-streaming wheel built for this platform"
            )
        super().__init__(url, app, loop)
        self.max_records = max_records
        self.max_bytes = max_bytes
        self.fetch_wait = fetch_wait
