"""Recordings: chat that was recorded, as JSON lines in a file or as the topics still hold it, a batch at a time.

A line is a chat event; beside it may stand what a human said of it: `label` (an offence, or clean, normal, none, 0), or
`should_act`. Both are read here and nowhere else.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiokafka import AIOKafkaConsumer
from msgspec import Struct

from console.broker import client, reached
from console.judge import batches
from moderation.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from aiokafka import TopicPartition

    from streams.settings import Settings

#: Lines judged at once: enough to be read together, few enough to be nothing in memory.
BATCH: Final = 2_000
#: What stands for an innocent message where `label` says so.
INNOCENT: Final = frozenset({"", "clean", "normal", "none", "0", "ok", "pass"})
FETCH: Final = 2_000
PATIENCE_MS: Final = 5_000


class _Marks(Struct):
    label: str | int | None = None
    should_act: bool | None = None


_marks: Final = msgspec.json.Decoder(_Marks)


def guilty(line: bytes) -> bool | None:
    """Tell what a human said of the message in a line; None where nothing was said."""
    if b'"label"' not in line and b'"should_act"' not in line:
        return None
    try:
        marks = _marks.decode(line)
    except msgspec.DecodeError:
        return None
    if marks.should_act is not None:
        return marks.should_act
    return None if marks.label is None else str(marks.label).strip().lower() not in INNOCENT


async def from_file(path: Path) -> AsyncIterator[list[bytes]]:
    """Yield the lines of a file, BATCH at a time. Raises SettingsError where it cannot be read."""
    try:
        with path.open("rb") as file:
            waiting: list[bytes] = []
            for lines in batches(file):
                waiting += (line for line in lines if line.strip())
                while len(waiting) >= BATCH:
                    yield waiting[:BATCH]
                    del waiting[:BATCH]
            if waiting:
                yield waiting
    except OSError as exc:
        raise SettingsError(f"{path}: {exc.strerror}") from exc


async def from_topics(settings: Settings, since: int, until: int) -> AsyncIterator[list[bytes]]:
    """Yield what both chat topics were sent from `since` to before `until` (ms), the earliest first.

    Between partitions the broker's times order it, and a worker may have seen it in another order.
    Raises SettingsError, Unreachable.
    """
    topics = settings.topics.world, settings.topics.private
    consumer = AIOKafkaConsumer(
        *topics, **client(settings), group_id=None, enable_auto_commit=False, request_timeout_ms=PATIENCE_MS
    )
    async with reached(settings, consumer):
        begin = await consumer.offsets_for_times(dict.fromkeys(consumer.assignment(), since))
        spans = [_Span(consumer, place, found.offset, until) for place, found in sorted(begin.items()) if found]
        while batch := await _merged(spans):
            yield batch


class _Span:
    """One partition's records until what is its end now, or until a time, read a piece at a time."""

    def __init__(self, consumer: AIOKafkaConsumer, place: TopicPartition, start: int, until: int) -> None:
        self._consumer, self._place, self._until, self._over = consumer, place, until, False
        consumer.seek(place, start)
        self._waiting: deque[Any] = deque()

    async def first(self) -> Any:
        """Return the first record that waits, None at the end."""
        while not (self._waiting or self._over):
            found = await self._consumer.getmany(self._place, timeout_ms=PATIENCE_MS, max_records=FETCH)
            records = found.get(self._place, [])
            self._waiting.extend(r for r in records if r.timestamp < self._until)
            # the end is what a fetch says: the embedded broker's end_offsets is short of a batch
            end = self._consumer.highwater(self._place) or 0
            self._over = len(self._waiting) < len(records) or await self._consumer.position(self._place) >= end
        return self._waiting[0] if self._waiting else None

    def pop(self) -> bytes:
        """Take the first record that waits."""
        return self._waiting.popleft().value or b""


async def _merged(spans: list[_Span]) -> list[bytes]:
    out: list[bytes] = []
    while len(out) < BATCH:
        heads = [(first.timestamp, n) for n, span in enumerate(spans) if (first := await span.first())]
        if not heads:
            break
        out.append(spans[min(heads)[1]].pop())
    return out
