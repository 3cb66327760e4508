"""Records whose header names are no UTF-8: Kafka takes them, and aiokafka (0.14) fails on them amid a fetch.

That would end a worker, and the next one, and every other, for as long as the record lies there: whoever can write to a
topic could stop moderation with one. So a batch that cannot be unpacked is unpacked again by aiokafka's own code in
Python, with U+FFFD for what is no character. Importing this file is enough; tests/test_unpack.py fails if the names of
aiokafka that it relies on move.
"""

from __future__ import annotations

import struct
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, SupportsIndex

from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords

if TYPE_CHECKING:
    from collections.abc import Iterator

#: A batch begins with its offset, 8 bytes, and how many bytes follow, 4.
_HEAD: Final = struct.Struct(">qi")


class _Forgiving(bytearray):
    """Bytes of which every piece can be decoded."""

    def __getitem__(self, at: SupportsIndex | slice) -> Any:
        found = super().__getitem__(at)
        return _Forgiving(found) if isinstance(found, bytearray) else found

    def decode(self, encoding: str = "utf-8", errors: str = "replace") -> str:  # noqa: ARG002  there is one way here
        return super().decode(encoding, "replace")


class _SlowBatch(_DefaultRecordBatchPy):  # type: ignore[misc]  # aiokafka is not typed
    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        self._buffer: bytearray = _Forgiving(self._buffer)


class _Batch:
    """A batch as aiokafka's C code unpacks it, and from where that fails, as its Python code does."""

    def __init__(self, fast: Any, data: memoryview) -> None:
        self._fast = fast
        self._data = data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fast, name)

    def __next__(self) -> Any:
        return next(self._fast)

    def __iter__(self) -> Iterator[Any]:
        done = 0
        try:
            for record in self._fast:
                yield record
                done += 1
        except UnicodeDecodeError:
            yield from islice(_SlowBatch(self._data), done, None)


class ForgivingRecords:
    """What one fetch brought of a partition, in place of aiokafka's MemoryRecords."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self._fast = MemoryRecords(data)
        self._at = 0
        self.has_next, self.size_in_bytes = self._fast.has_next, self._fast.size_in_bytes

    def next_batch(self) -> Any:
        """Return the next batch, None after the last."""
        batch = self._fast.next_batch()
        if batch is None:
            return None
        start, (_, length) = self._at, _HEAD.unpack_from(self._data, self._at)
        self._at += _HEAD.size + length
        return _Batch(batch, self._data[start : self._at])


fetcher.MemoryRecords = ForgivingRecords
