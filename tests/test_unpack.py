"""What Kafka takes and aiokafka cannot read must stop nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from aiokafka.record.memory_records import MemoryRecords

import streams.connection  # noqa: F401  every client of ours comes through there
from streams.unpack import ForgivingRecords

if TYPE_CHECKING:
    from collections.abc import Sequence

NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)
KEY, VALUE = b"a1", b"{}"


class Raw(str):
    """A header's name that is written as these bytes, as C and Java clients can."""

    __slots__ = ()

    def encode(self, *_: Any) -> bytes:
        return b"\xff\xfe" + bytes(len(self) - 2)


def batch(names: Sequence[str | None], first: int = 0, codec: int = NONE) -> bytes:
    """Return a record batch: one record for each name of a header, None for a record without."""
    builder = _DefaultRecordBatchBuilderPy(
        magic=2, compression_type=codec, is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=-1,
        batch_size=1 << 20,
    )  # fmt: skip
    for number, name in enumerate(names):
        headers = [] if name is None else [(name, b"v"), ("after", None)]
        builder.append(number, timestamp=7, key=KEY, value=VALUE, headers=headers)
    data = builder.build()
    data[0:8] = first.to_bytes(8, "big")
    return bytes(data)


def read(data: bytes, of: Any = ForgivingRecords) -> list[tuple[int, Any, Any, list[Any]]]:
    records, out = of(data), []
    while records.has_next():
        one = records.next_batch()
        assert one.validate_crc()
        out += [(r.offset, r.key, r.value, list(r.headers)) for r in one]
        assert one.next_offset == out[-1][0] + 1
    return out


@pytest.mark.parametrize("codec", [NONE, GZIP, SNAPPY, LZ4, ZSTD])
def test_a_header_that_is_no_text_costs_its_name_and_nothing_else(codec: int) -> None:
    data = batch(["good", None], 0, codec) + batch([None, Raw("xx"), "good", Raw("yyy")], 2, codec) + batch([None], 6)
    with pytest.raises(UnicodeDecodeError):
        read(data, MemoryRecords)
    found = read(data)
    assert [(offset, key, value) for offset, key, value, _ in found] == [(n, KEY, VALUE) for n in range(7)]
    names = [[name for name, _ in headers] for *_, headers in found]
    bad = ["\ufffd\ufffd", "after"]
    assert names == [["good", "after"], [], [], bad, ["good", "after"], ["\ufffd\ufffd\0", "after"], []]


def test_what_can_be_read_is_read_as_before() -> None:
    data = batch(["签名", None, "x" * 5000]) + batch([None] * 100, 3, ZSTD)
    assert read(data) == read(data, MemoryRecords)
    records = ForgivingRecords(data)
    assert records.size_in_bytes() == len(data)
    assert not ForgivingRecords(b"").has_next()
    assert ForgivingRecords(b"").next_batch() is None


def test_every_consumer_of_ours_reads_so() -> None:
    assert fetcher.MemoryRecords is ForgivingRecords
