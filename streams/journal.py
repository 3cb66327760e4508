"""The audit log on disk: a directory of segments, each a file of lines of one chain; written here, and nowhere else.

What is promised: `add` returns when the lines are on the disk. How far Kafka was read is in the chain itself, so after
a crash nothing is told twice or left out: a line that was torn by it is cut off, for nobody was told that it was there.
A directory has one writer, by a lock. Files are for their owner alone: they hold private text.
"""

from __future__ import annotations

import fcntl
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Protocol, Self

from moderation.audit import Lost, Opened, Places, Role, entry_of, recorded
from moderation.chain import START, Broken, before, follow, seal
from moderation.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from msgspec import Struct

    from moderation.record import Record

#: A segment ends at so many bytes, or with the day (UTC) by the auditor's clock. Resuming reads one segment.
SEGMENT_BYTES: Final = 64 * 2**20
_MARK: Final = "audit-"


class Disk(Protocol):
    """What a journal does to the disk. Each call returns when it cannot be lost any more."""

    def append(self, path: Path, data: bytes) -> None:
        """Add to a file, made if it is not there."""

    def cut(self, path: Path, size: int) -> None:
        """Make a file so many bytes long."""


class RealDisk:
    """Files with mode 0600, written and synchronised; a new one's directory, too."""

    def append(self, path: Path, data: bytes) -> None:
        """See `Disk`."""
        new = not path.exists()
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "wb", buffering=0) as file:
            left = memoryview(data)
            while left:
                left = left[file.write(left) :]
            os.fsync(file.fileno())
        if new:
            _synchronise(path.parent)

    def cut(self, path: Path, size: int) -> None:
        """See `Disk`."""
        with path.open("rb+") as file:
            file.truncate(size)
            os.fsync(file.fileno())


def _synchronise(directory: Path) -> None:
    number = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def segments(directory: Path) -> list[Path]:
    """Return the segments of an audit log in order. Raises SettingsError where there is none."""
    found = sorted(directory.glob(f"{_MARK}*.jsonl"))
    if not found:
        raise SettingsError(f"{directory} holds no audit log: qingliu audit record {directory}")
    return found


def lines_of(path: Path) -> tuple[list[bytes], int]:
    """Return the whole lines of a segment, and how many bytes of a torn one follow them."""
    *lines, torn = path.read_bytes().split(b"\n")
    return lines, len(torn)


class Journal:
    """An audit log that is being written. Use it as a context: it holds the directory's lock meanwhile."""

    def __init__(
        self,
        directory: Path,
        cluster: str,
        roles: Mapping[str, Role],
        key: bytes | None = None,
        *,
        now_ms: Callable[[], int],
        disk: Disk | None = None,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        self._directory, self._cluster, self._roles, self._key = directory, cluster, roles, key
        self._now_ms, self._disk, self._most = now_ms, disk or RealDisk(), segment_bytes
        self.head, self.places = START, Places()
        self._number = self._size = 0
        self._day, self._opened, self._pending = "", START.hash, bytearray()

    def __enter__(self) -> Self:
        """Take up the chain where it ends. Raises SettingsError: another writer, cluster or key, or a broken end."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._resume()
        except BaseException as exc:
            os.close(self._lock)
            if isinstance(exc, BlockingIOError):
                raise SettingsError(f"{self._directory}: another auditor writes here") from None
            raise
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._lock)

    def add(self, records: Iterable[Record]) -> int:
        """Tell of records, those of a partition in their order; return, once all is on the disk, how many were new."""
        new = 0
        for record in records:
            if record.offset >= self.places.get((record.topic, record.partition), 0):
                self._turn()
                self._write(recorded(self.head.seq + 1, self._roles[record.topic], record))
                new += 1
        self._flush()
        return new

    def lost(self, topic: str, partition: int, until: int) -> None:
        """Tell that records before `until` were deleted before they were read."""
        self._turn()
        self._write(Lost(self.head.seq + 1, topic, partition, self.places.get((topic, partition), 0), until))
        self._flush()

    # --- writing

    def _turn(self) -> None:
        """Open the next segment where this one is full or of yesterday."""
        now = self._now_ms()
        if self._number and self._size + len(self._pending) < self._most and self._day >= _day(now):
            return
        self._flush()
        self._number, self._size, self._day = self._number + 1, 0, max(self._day, _day(now))
        self._write(Opened(self.head.seq + 1, self._number, now, self._cluster, self._opened, self.places.sorted()))
        self._opened = self.head.hash

    def _write(self, entry: Opened | Struct) -> None:
        line, self.head = seal(self.head, entry, self._key)
        self.places.pass_over(entry)  # type: ignore[arg-type]
        self._pending += line + b"\n"

    def _flush(self) -> None:
        if self._pending:
            self._disk.append(self._path(self._number), bytes(self._pending))
            self._size += len(self._pending)
            self._pending.clear()

    def _path(self, number: int) -> Path:
        return self._directory / f"{_MARK}{number:06}.jsonl"

    # --- taking up

    def _resume(self) -> None:
        for path in sorted(self._directory.glob(f"{_MARK}*.jsonl"), reverse=True):
            lines, torn = lines_of(path)
            if torn:
                self._disk.cut(path, path.stat().st_size - torn)
            if lines:  # else its very first line was torn: it is begun again
                self._take_up(path, lines)
                return

    def _take_up(self, path: Path, lines: list[bytes]) -> None:
        try:
            opened, sealed = self._follow(lines)
        except Broken as exc:
            raise SettingsError(f"{path} is broken ({exc}): qingliu audit verify {self._directory}") from None
        if opened.cluster != self._cluster:
            raise SettingsError(
                f"{self._directory} tells of Kafka {opened.cluster}, this is {self._cluster}: take another"
            )
        if sealed and not self._key:
            raise SettingsError(f"{self._directory} is under a key: set QINGLIU_AUDIT_KEY")
        self._number, self._size = opened.segment, sum(map(len, lines)) + len(lines)
        self._day = _day(opened.at)

    def _follow(self, lines: list[bytes]) -> tuple[Opened, bool]:
        """Follow a segment to its end; the auditor goes on from there."""
        head, sealed = before(lines[0]), False
        opened = opened_of(lines[0])
        self.places.update({(place.topic, place.partition): place.next for place in opened.places})
        for number, line in enumerate(lines):
            link = follow(head, line, self._key)
            self.places.pass_over(entry_of(link.entry))
            head, sealed = link.head, link.sealed
            if not number:
                self._opened = head.hash
        self.head = head
        return opened, sealed


def opened_of(line: bytes) -> Opened:
    """Read the first line of a segment. Raises Broken where it opens none."""
    entry = entry_of(follow(before(line), line).entry)
    if not isinstance(entry, Opened):
        raise Broken("misplaced")
    return entry


def _day(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d}"
