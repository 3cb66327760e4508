"""The audit log on disk: one chain over all segments, whatever crashes, and whatever is done to it is found."""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from console.audit import head_of, verify
from moderation.chain import before, seal
from moderation.errors import SettingsError
from streams.journal import Journal, RealDisk, lines_of, segments
from tests.audit_records import ROLES, TOPICS, Record, records, written
from tests.small_rules import TS

if TYPE_CHECKING:
    from collections.abc import Callable

    from moderation.chain import Head

GUIDE: Final = (Path(__file__).parent.parent / "docs" / "audit.md").read_text("utf-8")
DAY: Final = 86_400_000
KEY: Final = b"sixteen or more bytes"
RECORDS: Final = [
    *records(written()),
    *(Record(TOPICS.acks, 1, 2 * number, value=b"\xff" * number) for number in range(30)),
]


def journal(where: Path, key: bytes | None = None, **more: Any) -> Journal:
    """Return a journal of small segments and a clock that stands still."""
    options: dict[str, Any] = {"now_ms": lambda: TS, "segment_bytes": 4_000} | more
    return Journal(where, "cluster", ROLES, key, **options)


def told(where: Path, key: bytes | None = None, records: list[Record] = RECORDS, step: int = 4, **more: Any) -> Head:
    with journal(where, key, **more) as writing:
        for at in range(0, len(records), step):
            writing.add(records[at : at + step])
        return writing.head


def content(where: Path) -> bytes:
    return b"".join(path.read_bytes() for path in segments(where))


# --- written


def test_what_is_told_is_there_once_in_order_over_many_segments(tmp_path: Path) -> None:
    head = told(tmp_path)
    report = verify(tmp_path)
    assert (report.flaw, report.head, report.first) == (None, head, 1)
    assert sum(report.kinds.values()) == len(RECORDS)
    assert report.entries == len(RECORDS) + report.segments
    assert report.segments > 3
    assert head_of(tmp_path) == head
    assert told(tmp_path) == head, "whoever tells it again adds nothing"


def test_only_their_owner_reads_the_files(tmp_path: Path) -> None:
    told(tmp_path / "log")
    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "log").iterdir()} == {0o600}


def test_a_day_ends_a_segment_and_a_clock_that_goes_back_none(tmp_path: Path) -> None:
    hours = iter([TS, TS, TS + DAY, TS, *[TS + 2 * DAY] * 99])
    told(tmp_path, step=10, records=RECORDS[:14], now_ms=lambda: next(hours), segment_bytes=2**30)
    assert verify(tmp_path).segments == 3


def test_two_auditors_do_not_write_one_log(tmp_path: Path) -> None:
    with journal(tmp_path), pytest.raises(SettingsError, match="another auditor"), journal(tmp_path):
        pass
    told(tmp_path)


def test_a_log_is_of_one_cluster_and_under_one_key(tmp_path: Path) -> None:
    told(tmp_path, KEY)
    with pytest.raises(SettingsError, match="another"), Journal(tmp_path, "other", ROLES, KEY, now_ms=lambda: TS):
        pass
    with pytest.raises(SettingsError, match="QINGLIU_AUDIT_KEY"), journal(tmp_path):
        pass
    with pytest.raises(SettingsError, match="unsealed"), journal(tmp_path, b"another key of some length"):
        pass


def test_a_broken_end_is_not_built_upon(tmp_path: Path) -> None:
    told(tmp_path)
    last = segments(tmp_path)[-1]
    last.write_bytes(last.read_bytes().replace(b"acks", b"axes", 1))
    with pytest.raises(SettingsError, match="qingliu audit verify"), journal(tmp_path):
        pass


def test_what_kafka_deleted_unread_is_told_as_lost(tmp_path: Path) -> None:
    with journal(tmp_path) as writing:
        writing.add([Record(TOPICS.acks, 0, 0)])
        writing.lost(TOPICS.acks, 0, 50)
        assert writing.add([Record(TOPICS.acks, 0, 49), Record(TOPICS.acks, 0, 50)]) == 1
    assert b'"entry":"lost","offset":1,"partition":0' in content(tmp_path)
    assert verify(tmp_path).flaw is None


def test_a_stranger_follows_it_by_the_lines_of_the_guide(tmp_path: Path) -> None:
    head = told(tmp_path, KEY)
    [code] = re.findall(r"^```python\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, input=content(tmp_path), capture_output=True, check=True)
    assert done.stdout.decode().strip() == head.hash
    changed = content(tmp_path).replace(b"acks", b"axes", 1)
    assert subprocess.run(command, input=changed, capture_output=True, check=False).returncode == 1
    first = lines_of(segments(tmp_path)[1])[0][0] + b"\n"
    assert "tail -c 67 | head -c 64" in GUIDE
    assert first[-67:][:64].decode() == before(first.strip()).hash


# --- crashes


class Crash(Exception):
    """The process is gone."""


class Failing(RealDisk):
    """A disk that takes `whole` writes, then part of one, and then the process is gone."""

    def __init__(self, whole: int, part: Callable[[bytes], int]) -> None:
        self._whole, self._part = whole, part

    def append(self, path: Path, data: bytes) -> None:
        if self._whole:
            self._whole -= 1
            super().append(path, data)
            return
        super().append(path, data[: self._part(data)])
        raise Crash


def test_a_crash_at_every_write_leaves_the_same_log_once_resumed(tmp_path: Path) -> None:
    told(tmp_path / "whole")
    expected = content(tmp_path / "whole")
    parts: list[Callable[[bytes], int]] = [
        lambda _: 0,
        lambda _: 1,
        lambda data: data.index(b"\n"),
        lambda data: data.index(b"\n") + 1,
        lambda data: len(data) - 1,
        len,
    ]
    crashes = 0
    for number, part in enumerate(parts):
        for whole in range(100):
            where = tmp_path / f"{number}-{whole}"
            try:
                told(where, disk=Failing(whole, part))
            except Crash:
                crashes += 1
            else:
                break
            told(where)
            assert content(where) == expected, (number, whole)
    assert crashes > 6 * 10


def test_a_crash_in_the_first_line_of_a_segment_loses_no_segment(tmp_path: Path) -> None:
    told(tmp_path)
    expected, last = content(tmp_path), segments(tmp_path)[-1]
    last.write_bytes(last.read_bytes()[:20])
    told(tmp_path)
    assert content(tmp_path) == expected


# --- whatever is done to it


def damaged(where: Path, source: Path) -> Path:
    if where.exists():
        shutil.rmtree(where)
    shutil.copytree(source, where)
    return where


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("audit") / "log"
    told(where, KEY)
    return where


def lines(where: Path) -> list[tuple[Path, int]]:
    return [(path, at) for path in segments(where) for at in range(len(lines_of(path)[0]))]


@given(data=st.data())
@settings(max_examples=60)
def test_any_alteration_is_found_where_it_is(log: Path, data: Any) -> None:
    path = data.draw(st.sampled_from(segments(log)))
    where = data.draw(st.integers(0, path.stat().st_size - 1))
    flip = data.draw(st.integers(1, 255))
    copy = damaged(log.parent / "altered", log)
    raw = bytearray(path.read_bytes())
    at = raw[:where].count(b"\n") + 1
    raw[where] ^= flip
    (copy / path.name).write_bytes(raw)
    flaw = verify(copy, KEY, head=head_of(log).hash).flaw
    assert flaw
    cut = path == segments(log)[-1] and where == path.stat().st_size - 1  # the last line feed: that line is torn
    assert flaw.kind == "head" if cut else (flaw.where, flaw.line) == (path.name, at)


@given(data=st.data())
@settings(max_examples=60)
def test_any_removal_swap_insertion_or_truncation_is_found(log: Path, data: Any) -> None:
    head, (path, at) = head_of(log).hash, data.draw(st.sampled_from(lines(log)))
    kept = path.read_bytes().split(b"\n")[:-1]
    other = data.draw(st.sampled_from([number for number in range(len(kept)) if number != at] or [at]))
    swapped = list(kept)
    swapped[at], swapped[other] = kept[other], kept[at]
    forged, _ = seal(before(kept[at]), {"seq": before(kept[at]).seq + 1}, b"a key that is not the real one")
    changes = {
        "removed": [*kept[:at], *kept[at + 1 :]],
        "doubled": [*kept[: at + 1], *kept[at:]],
        "forged": [*kept[:at], forged, *kept[at:]],
        "cut": kept[:at],
    }
    changes |= {"swapped": swapped} if swapped != kept else {}
    for what, now in changes.items():
        copy = damaged(log.parent / "changed", log)
        (copy / path.name).write_bytes(b"".join(line + b"\n" for line in now))
        assert verify(copy, KEY, head=head).flaw, what


def test_what_was_done_is_named(log: Path) -> None:
    first, *_, last = segments(log)
    kept = first.read_bytes().split(b"\n")[:-1]

    def found(*now: bytes, of: Path = first) -> tuple[str, int] | None:
        copy = damaged(log.parent / "named", log)
        (copy / of.name).write_bytes(b"".join(line + b"\n" for line in now))
        flaw = verify(copy, KEY).flaw
        return (flaw.kind, flaw.line) if flaw else None

    assert found(*kept) is None
    assert found(kept[0], *kept[2:]) == ("removed", 2)
    assert found(kept[0], kept[2], kept[1], *kept[3:]) == ("moved", 2)
    assert found(*kept[:2], kept[1], *kept[2:]) == ("inserted", 3)
    assert found(kept[0], kept[1].replace(b"qingliu", b"nobody1"), *kept[2:]) == ("altered", 2)
    assert found(*kept[1:]) == ("removed", 1)
    assert found(*last.read_bytes().split(b"\n")[:1], of=last) is None, "that only the kept head shows"


def test_a_segment_that_is_gone_is_found(log: Path) -> None:
    first, second, *_, last = segments(log)
    for gone, kind, base in ((second, "removed", ""), (last, "head", ""), (first, "base", "")):
        copy = damaged(log.parent / "gone", log)
        (copy / gone.name).unlink()
        flaw = verify(copy, KEY, head=head_of(log).hash, base=base).flaw
        assert flaw
        assert flaw.kind == kind


def test_segments_beyond_their_time_may_go_if_the_hash_they_end_with_is_kept(log: Path) -> None:
    copy = damaged(log.parent / "old", log)
    first, second, *_ = segments(copy)
    base = before(lines_of(second)[0][0]).hash
    first.unlink()
    report = verify(copy, KEY, base=base)
    assert report.flaw is None
    assert report.first > 1
    told(copy, KEY)
    assert verify(copy, KEY, base=base).head == report.head


def test_who_makes_the_chain_anew_without_the_key_is_found(log: Path, tmp_path: Path) -> None:
    told(tmp_path)
    assert verify(tmp_path).flaw is None
    forged = verify(tmp_path, KEY).flaw
    assert forged
    assert forged.kind == "unsealed"
    assert verify(log).flaw is None, "following it takes no key"


def test_a_chain_that_got_its_key_later_is_whole_and_its_end_stays_under_it(tmp_path: Path) -> None:
    told(tmp_path, None, RECORDS[:10])
    told(tmp_path, KEY)
    report = verify(tmp_path, KEY)
    assert report.flaw is None
    assert 0 < report.sealed < report.entries


def test_a_line_that_is_being_written_is_no_flaw(tmp_path: Path) -> None:
    told(tmp_path)
    with segments(tmp_path)[-1].open("ab") as file:
        file.write(b'{"entry":{')
    report = verify(tmp_path)
    assert (report.flaw, report.torn) == (None, 10)


def test_where_there_is_no_log_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="qingliu audit record"):
        verify(tmp_path)
