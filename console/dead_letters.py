"""Dead letters for people: what came and what mends it, one in full, and sending those that were mended back.

All of a letter is hostile: its bytes are from whoever could not write an event. It is printed through `visible`.
A letter whose own headers are missing or unreadable is malformed: it is listed and shown, and never sent.
"""

from __future__ import annotations

import asyncio
import codecs
import heapq
import re
import time
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from msgspec import Struct, field, structs
from rich.progress import Progress

from console import Unreachable
from console.broker import PATIENCE_MS, client, reached
from console.show import printer, visible
from console.words import say
from moderation.actions import Source
from moderation.errors import DeadReason, SettingsError
from streams.outbox import CUT_FROM
from streams.reading import partitions, read, spans

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
    from typing import Any, TypeAlias

    from aiokafka import TopicPartition

    from streams.settings import Settings

    Spans: TypeAlias = Mapping[TopicPartition, tuple[int, int]]

MALFORMED: Final = "malformed"
REPLAYED_FROM: Final = "replayed-from"
#: What a row shows of a key or value, in characters; what one letter in full shows of either, in bytes.
PREVIEW, IN_FULL = 60, 4096
SAMPLES: Final = 3
#: From so many letters on a terminal shows how far we are.
_LONG: Final = 5_000
_UNITS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
#: Workers write no longer headers than this.
_HEADER_BYTES: Final = 256

#: docs/game-server.md says the same at length.
ADVICE: Final[Mapping[str, str]] = {
    DeadReason.EMPTY: say("请发布事件本身，不要发空值", "publish the event, not an empty value"),
    DeadReason.TOMBSTONE: say("不要发 null；聊天主题不用删除", "publish no null: chat topics need no deleting"),
    DeadReason.TOO_LARGE: say("缩短 extra；正文截到 2048 字", "shorten extra; cut text at 2048 code points"),
    DeadReason.NOT_UTF8: say("改用 UTF-8 编码，不要 GBK、UTF-16", "encode as UTF-8, not GBK or UTF-16"),
    DeadReason.NOT_JSON: say("用 JSON 库生成，一条记录一个事件", "use a JSON library, one event per record"),
    DeadReason.TOO_DEEP: say("把 extra 摊平到 8 层以内", "flatten extra to at most 8 levels"),
    DeadReason.DUPLICATE_KEY: say("用 JSON 库生成，不要拼字符串", "use a JSON library instead of joining strings"),
    DeadReason.SCHEMA: say("按契约核对 detail 所说的字段", "check the field that detail names with the schema"),
    DeadReason.BAD_TEXT: say("按码点截断正文，别截断代理对", "cut text at code points, not inside a pair"),
    DeadReason.KEY_MISSING: say("消息键请设为 sender.account_id", "set the key to sender.account_id"),
    DeadReason.KEY_MISMATCH: say("消息键须等于 sender.account_id", "make the key equal sender.account_id"),
    DeadReason.PROCESSING_ERROR: say("是我们的错：请把位置告诉我们", "a fault of ours: tell us the place"),
    DeadReason.UNKNOWN_ACTION: say("核对命令的处罚编号和账号", "check the command's action_id and account_id"),
    DeadReason.UNKNOWN_APPEAL: say("核对申诉的处罚编号和账号", "check the appeal's action_id and account_id"),
    DeadReason.ALREADY_APPEALED: say("已有申诉，看 appeals show", "it was appealed before: see appeals show"),
    DeadReason.ALREADY_ANSWERED: say("已有答复，看 appeals show", "it was answered before: see appeals show"),
    MALFORMED: say("死信自己的头缺失或读不懂，查谁写了它", "its own headers are unreadable: find out who wrote it"),
}
REFUSALS: Final = {
    MALFORMED: say("死信自己的头缺失或读不懂", "its own headers are missing or unreadable"),
    "cut": say("太长，存下来的不完整", "too long: what was kept is not all of it"),
    "tombstone": say("值是 null，没有可重发的", "a null value: nothing to send"),
    "topic": say("来源不是聊天主题或命令主题", "its source is neither a chat topic nor the commands'"),
}


class Place(NamedTuple):
    """Where a letter stands in the topic of dead letters."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}:{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Place:
        """Read "3:17". Raises SettingsError."""
        found = re.fullmatch(r"([0-9]{1,9}):([0-9]{1,18})", text)
        if not found:
            raise SettingsError(say("这不是位置，请写分区:偏移，如 3:17", "no place: write partition:offset, as 3:17"))
        return cls(int(found[1]), int(found[2]))


class Origin(NamedTuple):
    """What a worker wrote about a record; `cut_from`: how many bytes it had, where not all of them were kept."""

    reason: DeadReason
    detail: str
    source: Source
    cut_from: int | None


class Letter(NamedTuple):
    """A dead letter as it lies there. `ts` is in ms since 1970; a malformed one has no `origin`."""

    place: Place
    ts: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    origin: Origin | None

    @property
    def reason(self) -> str:
        """Return why it is here, one of ADVICE: the set is closed, whoever writes the headers."""
        return str(self.origin.reason) if self.origin else MALFORMED


class Wanted(NamedTuple):
    """Which letters are asked for: at `places` (empty: anywhere), of `reason` (None: any), from `since` (ms) on."""

    places: frozenset[Place] = frozenset()
    reason: str | None = None
    since: int | None = None

    def takes(self, letter: Letter) -> bool:
        """Tell whether a letter is asked for."""
        there = not self.places or letter.place in self.places
        return there and self.reason in (None, letter.reason) and (self.since is None or letter.ts >= self.since)


class Row(Struct, frozen=True):
    """A letter in short, safe to print; `refused`: why it cannot be sent again, one of REFUSALS, None where it can."""

    place: str
    ts: int
    reason: str
    detail: str
    source: Source | None
    key: str
    bytes: int | None
    preview: str
    refused: str | None


class Listed(NamedTuple):
    """How many letters there are per reason, and the newest of them, newest first."""

    counts: Counter[str]
    newest: list[Row]


class Replay(Struct):
    """What would be sent, or was: how many per reason and topic, how many cannot and why, the first few of all."""

    good: Counter[tuple[str, str]] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    samples: list[Row] = field(default_factory=list)
    missing: frozenset[Place] = frozenset()
    sent: int = 0


def wanted(places: Sequence[str] = (), reason: str | None = None, since: str | None = None) -> Wanted:
    """Read what was typed; `since` is a duration before now: 30s, 10m, 2h, 7d. Raises SettingsError."""
    if reason is not None and reason not in ADVICE:
        known = "、".join(map(str, ADVICE))
        raise SettingsError(say(f"没有这种原因，可写：{known}", f"no such reason; there are: {known}"))
    length = re.fullmatch(r"([0-9]{1,6})([smhd])", since) if since is not None else None
    if since is not None and not length:
        raise SettingsError(say("时长看不懂，可写：30s、10m、2h、7d", "no such duration; write 30s, 10m, 2h, 7d"))
    start = time.time_ns() // 1_000_000 - int(length[1]) * _UNITS[length[2]] if length else None
    return Wanted(frozenset(map(Place.parse, places)), reason, start)


async def newest(settings: Settings, which: Wanted, most: int, *, text: bool = True) -> Listed:
    """Count all letters asked for and keep the `most` newest, without `text` without what is in them.

    Raises SettingsError, Unreachable.
    """
    counts, kept = Counter[str](), list[tuple[int, Place, Row]]()
    async with _opened(settings, which) as batches:
        async for letters in batches:
            counts.update(one.reason for one in letters)
            rows = [(one.ts, one.place, row(settings, one, text=text)) for one in letters]
            kept = heapq.nlargest(most, [*kept, *rows], key=lambda r: r[:2])
    return Listed(counts, [each for _, _, each in kept])


async def find(settings: Settings, place: Place) -> Letter | None:
    """Return one letter, None if it is not there (any more). Raises SettingsError, Unreachable."""
    async with _opened(settings, Wanted(frozenset({place}))) as batches:
        return next(iter([one async for letters in batches for one in letters]), None)


async def replay(settings: Settings, which: Wanted, *, send: bool, text: bool = True) -> Replay:
    """Sort the letters asked for and, if `send`, publish those that can be, and return when the broker has them all.

    A letter goes out as it came, key and bytes, to its source topic; its one header is REPLAYED_FROM. Letters of one
    partition keep their order. What dies again meanwhile is not read. Without `text` samples show none. Raises
    SettingsError, Unreachable.
    """
    done, found = Replay(), set[Place]()
    where = client(settings)
    producer = AIOKafkaProducer(**where, acks="all", request_timeout_ms=PATIENCE_MS) if send else None
    try:
        async with _opened(settings, which, *filter(None, [producer])) as batches:
            async for letters in batches:
                found.update(one.place for one in letters)
                good = _sort(settings, letters, done, text=text)
                if producer:
                    done.sent += await _send(producer, good)
    except Unreachable as exc:  # of the last step some may have arrived, too
        raise Unreachable(f"{exc}; " + say(f"至少已发出 {done.sent} 条", f"at least {done.sent} were sent")) from exc
    done.missing = which.places - found
    return done


def _sort(settings: Settings, letters: Sequence[Letter], done: Replay, *, text: bool) -> list[tuple[str, Letter]]:
    """Return those that can be sent, each with its topic, and note all in `done`."""
    good = []
    for one in letters:
        why = refusal(settings, one)
        if one.origin is None or why:
            done.refused[why or MALFORMED] += 1
            continue
        good.append((one.origin.source.topic, one))
        done.good[one.reason, one.origin.source.topic] += 1
        if len(done.samples) < SAMPLES:
            done.samples.append(row(settings, one, text=text))
    return good


async def _send(producer: AIOKafkaProducer, letters: Iterable[tuple[str, Letter]]) -> int:
    sent = []
    for topic, one in letters:  # queued one after the other: so those of one key arrive in this order
        headers = [(REPLAYED_FROM, str(one.place).encode())]
        sent.append(await producer.send(topic, one.value, key=one.key, headers=headers))
    return len(await asyncio.gather(*sent))


def refusal(settings: Settings, letter: Letter) -> str | None:
    """Return why a letter cannot be sent again, one of REFUSALS; None if it can."""
    topics, origin = settings.topics, letter.origin
    if origin is None:
        return MALFORMED
    if origin.source.topic not in (topics.world, topics.private, topics.commands):
        return "topic"
    if letter.value is None:
        return "tombstone"
    return "cut" if origin.cut_from is not None else None


# --- reading


@asynccontextmanager
async def _opened(settings: Settings, which: Wanted, *others: Any) -> AsyncIterator[AsyncIterator[list[Letter]]]:
    """Yield the letters asked for that are there now, in their order per partition; start and stop `others`, too."""
    consumer = AIOKafkaConsumer(**client(settings), request_timeout_ms=PATIENCE_MS, auto_offset_reset="earliest")
    admin = AIOKafkaAdminClient(**client(settings), request_timeout_ms=PATIENCE_MS)
    async with reached(settings, consumer, admin, *others):
        there = await spans(consumer, await partitions(admin, [settings.topics.dead_letters]))
        asked = _narrowed(there, which.places)
        screen, total = printer(stderr=True), sum(end - start for start, end in asked.values())
        with Progress(console=screen, transient=True, disable=total < _LONG or not screen.is_terminal) as bar:
            yield _letters(consumer, asked, which, bar)


def _narrowed(there: Spans, places: Iterable[Place]) -> Spans:
    """Return what must be read of partitions to meet these places, and of those with nothing in them nothing."""
    if places:
        at = {one: [place.offset for place in places if place.partition == one.partition] for one in there}
        there = {
            one: (max(start, min(at[one])), min(end, max(at[one]) + 1))
            for one, (start, end) in there.items()
            if at[one]
        }
    return {one: span for one, span in there.items() if span[0] < span[1]}


async def _letters(
    consumer: AIOKafkaConsumer, asked: Spans, which: Wanted, bar: Progress
) -> AsyncIterator[list[Letter]]:
    task = bar.add_task(say("读死信", "dead letters"), total=sum(end - start for start, end in asked.values()))
    async for records, passed in read(consumer, asked):
        bar.advance(task, passed)
        yield [letter for letter in map(letter_of, records) if which.takes(letter)]


def letter_of(record: Any) -> Letter:
    """Read a record of aiokafka; whatever it holds, it is a letter."""
    headers = tuple(record.headers)
    place = Place(record.partition, record.offset)
    return Letter(place, record.timestamp, record.key, record.value, headers, _origin(dict(headers)))


def _origin(headers: Mapping[str, bytes | None]) -> Origin | None:
    """Read what a worker wrote, None where anything is missing. A detail may be cut within a character."""
    told = {name: (value or b"")[:_HEADER_BYTES].decode(errors="replace") for name, value in headers.items()}
    try:
        source = Source(told["source-topic"], _number(told["source-partition"]), _number(told["source-offset"]))
        cut_from = _number(told[CUT_FROM]) if CUT_FROM in told else None
        return Origin(DeadReason(told["reason"]), told["detail"], source, cut_from)
    except (KeyError, ValueError):
        return None


def _number(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,19}", text):  # int() reads more than a worker writes: spaces, signs, other digits
        raise ValueError(text)
    return int(text)


# --- on a terminal


def row(settings: Settings, one: Letter, *, text: bool = True) -> Row:
    """Return a letter in short, without `text` without what is in it."""
    detail, source = (visible(one.origin.detail), one.origin.source) if one.origin else ("", None)
    source = structs.replace(source, topic=visible(source.topic)) if source else None
    size, why = None if one.value is None else len(one.value), refusal(settings, one)
    preview = in_line(one.value) if text else say("（--why 才显示）", "(--why shows it)")
    return Row(str(one.place), one.ts, one.reason, detail, source, in_line(one.key), size, preview, why)


def in_line(raw: bytes | None) -> str:
    r"""Return at most PREVIEW characters, safe to print: bytes that are no UTF-8 as \xff, null as a dash."""
    if raw is None:
        return "—"
    shown = visible(raw[: 4 * PREVIEW].decode(errors="backslashreplace"))  # a character has at most 4 bytes
    return shown if len(shown) <= PREVIEW else shown[: PREVIEW - 1] + "…"


def in_full(raw: bytes | None, *, whole: bool = True) -> str:
    """Return the first IN_FULL bytes: as safe text if all is UTF-8, else as hex. Not `whole`: it may end anywhere."""
    if raw is None:
        return "—"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(raw, final=whole)
    except UnicodeDecodeError:
        return "\n".join(_hex(raw[:IN_FULL]))
    return visible(raw[:IN_FULL].decode(errors="ignore"))


def _hex(raw: bytes) -> Iterator[str]:
    for at in range(0, len(raw), 16):
        line = raw[at : at + 16]
        yield f"{at:04x}  {line.hex(' '):47}  {''.join(chr(b) if 32 <= b < 127 else '.' for b in line)}"
