"""The audit log as people check it: is it whole, is it the one whose head was kept, does it tell of all in Kafka.

The first thing that is wrong is told with its segment and line. Nothing that a player said is read out here.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter, defaultdict
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from msgspec import Struct
from msgspec.structs import replace

from console.broker import PATIENCE_MS, client, reached
from console.words import say
from moderation.audit import Entry, Opened, Places, Recorded, entry_of
from moderation.chain import START, Broken, FlawKind, Head, Link, before, follow
from moderation.errors import SettingsError
from streams.auditor import key_of, roles
from streams.journal import lines_of, segments
from streams.reading import partitions, read, spans

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path
    from typing import Any

    from streams.settings import Settings

SAYS: Final[dict[FlawKind, str]] = {
    "unreadable": say("不是链上的一行：被改过", "this is no line of a chain: it was altered"),
    "altered": say("内容与自己的哈希不符：被改过", "what it says does not fit its hash: it was altered"),
    "unsealed": say("没有封印，或是别的密钥的封印", "its seal is missing, or another key's"),
    "removed": say("此前有行被删掉", "lines before it were removed"),
    "moved": say("次序被调换", "lines stand in another order"),
    "inserted": say("这个序号前面已经有过：是插进来的", "its number was there before: it was inserted"),
    "remade": say(
        "上一行不是它所接的那一行：被换过", "the line before it is not the one it follows: that was replaced"
    ),
    "doubled": say("讲的是已经讲过的记录", "it tells of a record that was told of before"),
    "misplaced": say("段的开头不对", "the beginning of the segment is not what it should be"),
    "head": say("链上没有所给的指纹：尾部被截，或整条链是重做的", "the given head is not in it: cut off, or made anew"),
    "base": say("链不从第一条开始：更早的段不在这里", "it does not begin at entry 1: earlier segments are not here"),
    "missing": say("Kafka 有这条记录，链上没有", "Kafka has this record, the chain has not"),
    "invented": say("链上有这条记录，Kafka 没有", "the chain has this record, Kafka has not"),
    "different": say("链上的记录与 Kafka 的不是同样的字节", "the chain's record has other bytes than Kafka's"),
    "file": say("文件不在，或与清单不符", "a file is missing, or not as the manifest says"),
}


class Flaw(Struct, frozen=True, omit_defaults=True):
    """What is wrong: its kind, the file and line (from 1) or the place in Kafka, and in words."""

    kind: FlawKind
    where: str
    says: str
    line: int = 0


class Report(Struct, frozen=True, omit_defaults=True):
    """What was checked and found. `first` is the number of the first entry, `sealed` counts entries under a key.

    `torn`: bytes of a last line that is not whole: it is being written, or a crash cut it. `behind`: offsets in Kafka
    that the log does not tell of yet; None where Kafka was not asked.
    """

    entries: int
    segments: int
    first: int
    head: Head
    sealed: int
    kinds: dict[str, int]
    torn: int = 0
    compared: int | None = None
    behind: int | None = None
    flaw: Flaw | None = None


class Step(NamedTuple):
    """A line of the log that fits: where it stands, its bytes, the head it makes, and what it says."""

    path: Path
    number: int
    line: bytes
    link: Link
    entry: Entry


class Flawed(Exception):
    """A line does not fit."""

    def __init__(self, flaw: Flaw) -> None:
        super().__init__(flaw.says)
        self.flaw: Final = flaw


class Index:
    """What a log tells of each partition: offsets, and the SHA-256 of each record; 40 bytes a record."""

    def __init__(self) -> None:
        self.offsets: defaultdict[tuple[str, int], array[int]] = defaultdict(lambda: array("q"))
        self.digests: defaultdict[tuple[str, int], bytearray] = defaultdict(bytearray)

    def add(self, entry: Recorded) -> None:
        """Note a record."""
        place = entry.topic, entry.partition
        self.offsets[place].append(entry.offset)
        self.digests[place] += bytes.fromhex(entry.sha256)


class Walk:
    """Follows a log from its first line to its last. `head` and the rest are how far it came."""

    def __init__(self, key: bytes | None = None) -> None:
        self._key = key
        self.head, self.base, self.opened = START, START, START.hash
        self.places = Places()
        self.sealed = self.torn = self.segments = 0
        self._last_sealed = False

    def steps(self, paths: Sequence[Path]) -> Iterator[Step]:
        """Yield every line. Raises Flawed at the first that does not fit."""
        for path in paths:
            lines, self.torn = lines_of(path)
            for number, line in enumerate(lines, 1):
                try:
                    yield self._step(path, number, line)
                except Broken as exc:
                    raise Flawed(self._flaw(exc, path, number, lines)) from None
            if self.torn and path != paths[-1]:
                raise Flawed(flawed("unreadable", path.name, len(lines) + 1))
            self.segments += bool(lines)
        if self._key and self.head != self.base and not self._last_sealed:
            raise Flawed(flawed("unsealed", paths[-1].name, len(lines)))

    def _step(self, path: Path, number: int, line: bytes) -> Step:
        if not self.segments and number == 1:
            self._begin(line)
        link = follow(self.head, line, self._key)
        entry = entry_of(link.entry)
        if isinstance(entry, Opened) != (number == 1) or (isinstance(entry, Opened) and entry.opened != self.opened):
            raise Broken("misplaced")
        self.places.pass_over(entry)
        if self.sealed and not link.sealed:
            raise Broken("unsealed")
        self.opened = link.head.hash if number == 1 else self.opened
        self.head, self.sealed, self._last_sealed = link.head, self.sealed + link.sealed, link.sealed
        return Step(path, number, line, link, entry)

    def _begin(self, line: bytes) -> None:
        """Take the first line's word for what was before it: nothing, or segments that are not here any more."""
        self.base = self.head = before(line)
        entry = entry_of(follow(self.base, line, self._key).entry)
        if not isinstance(entry, Opened):
            raise Broken("removed", 1, self.base.seq + 1)
        if self.base.seq:
            self.opened = entry.opened
            self.places.update({(one.topic, one.partition): one.next for one in entry.places})
        else:
            self.head = START

    def _flaw(self, exc: Broken, path: Path, number: int, lines: Sequence[bytes]) -> Flaw:
        kind = exc.kind
        if kind == "removed" and any(_is(line, exc.expected) for line in lines[number:]):
            kind = "moved"
        told = f"{exc.expected}–{exc.found - 1}" if kind == "removed" else ""
        return flawed(kind, path.name, number, told)


def _is(line: bytes, seq: int) -> bool:
    try:
        return before(line).seq + 1 == seq
    except Broken:
        return False


def flawed(kind: FlawKind, where: str, line: int = 0, more: str = "") -> Flaw:
    """Say what is wrong."""
    return Flaw(kind, where, SAYS[kind] + (f" {more}" if more else ""), line)


def verify(
    directory: Path, key: bytes | None = None, *, head: str = "", base: str = "", index: Index | None = None
) -> Report:
    """Check a log. `head`: a hash that must be in it; `base`: what its first line must follow if that is not entry 1.

    `index` is filled with what the log tells of. Raises SettingsError where there is no log.
    """
    walk, kinds, flaw = Walk(key), Counter[str](), None
    seen = not head
    try:
        for step in walk.steps(segments(directory)):
            seen = seen or step.link.head.hash == head
            if isinstance(step.entry, Recorded):
                kinds[step.entry.told.kind] += 1
                if index is not None:
                    index.add(step.entry)
    except Flawed as exc:
        flaw = exc.flaw
    if not flaw and walk.base != START and walk.base.hash != base:
        flaw = flawed("base", directory.name, 1)
    if not flaw and not seen:
        flaw = flawed("head", directory.name)
    entries = walk.head.seq - walk.base.seq
    return Report(
        entries,
        walk.segments,
        walk.base.seq + 1,
        walk.head,
        walk.sealed,
        dict(kinds.most_common()),
        walk.torn,
        flaw=flaw,
    )


def head_of(directory: Path) -> Head:
    """Return the head of a log from its last segment alone. Raises SettingsError where that is broken."""
    for path in reversed(segments(directory)):
        lines, _ = lines_of(path)
        if lines:
            try:
                return follow(before(lines[-1]), lines[-1]).head
            except Broken as exc:
                raise SettingsError(f"{path}:{len(lines)} {SAYS[exc.kind]}") from None
    raise SettingsError(f"{directory} holds no entry")


# --- beside Kafka


class Compared(NamedTuple):
    """How many records Kafka and the log both have, how far the log is behind, and the first thing that differs."""

    records: int
    behind: int
    flaw: Flaw | None


async def compare(settings: Settings, index: Index, places: Places) -> Compared:
    """Hold a log against what Kafka has now. Raises SettingsError, Unreachable."""
    consumer = AIOKafkaConsumer(**client(settings), request_timeout_ms=PATIENCE_MS, auto_offset_reset="earliest")
    admin = AIOKafkaAdminClient(**client(settings), request_timeout_ms=PATIENCE_MS)
    records = behind = 0
    async with reached(settings, consumer, admin):
        there = await spans(consumer, await partitions(admin, roles(settings.topics)))
        for one, (first, end) in there.items():
            place = (one.topic, one.partition)
            told = places.get(place, first)
            behind += max(0, end - told)
            ours = _Ours(index.offsets[place], index.digests[place], first)
            if first < min(end, told):
                async for some, _ in read(consumer, {one: (first, min(end, told))}):
                    records += len(some)
                    if kind := ours.differ(some):
                        return Compared(records, behind, flawed(kind, f"{one.topic} {one.partition}:{ours.at}"))
            if ours.left():
                return Compared(records, behind, flawed("invented", f"{one.topic} {one.partition}:{ours.at}"))
    return Compared(records, behind, None)


class _Ours:
    """What a log tells of one partition, from the first offset that Kafka still has. `at`: the offset looked at."""

    def __init__(self, offsets: array[int], digests: bytearray, first: int) -> None:
        self._offsets, self._digests = offsets, digests
        self._next = bisect_left(offsets, first)
        self.at = first

    def differ(self, records: Iterable[Any]) -> FlawKind | None:
        """Return how the next records of Kafka differ from the log's."""
        for record in records:
            self.at = record.offset
            if self._next == len(self._offsets) or self._offsets[self._next] > record.offset:
                return "missing"
            if self._offsets[self._next] < record.offset:
                self.at = self._offsets[self._next]
                return "invented"
            mine = self._digests[32 * self._next : 32 * self._next + 32]
            if sha256(record.value or b"").digest() != mine:
                return "different"
            self._next += 1
        return None

    def left(self) -> bool:
        """Tell whether the log tells of records that Kafka should have, and has not."""
        if self._next < len(self._offsets):
            self.at = self._offsets[self._next]
            return True
        return False


async def examine(
    settings: Settings, directory: Path, *, head: str = "", base: str = "", against_kafka: bool = False
) -> Report:
    """Check a log, and if asked hold it against Kafka. Raises SettingsError, Unreachable."""
    index = Index() if against_kafka else None
    report = verify(directory, key_of(settings), head=head, base=base, index=index)
    if index is None or report.flaw:
        return report
    places = Places({place: offsets[-1] + 1 for place, offsets in index.offsets.items()})
    compared = await compare(settings, index, places)
    return replace(report, compared=compared.records, behind=compared.behind, flaw=compared.flaw)
