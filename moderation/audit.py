"""What the audit log says: one entry per record of Kafka, with who did what to whom, when, where, why and how.

An entry is a pure function of its number and its record, so whoever writes it again after a crash says the same. The
record is in it, whole: an action with its evidence is what ends in court. Of a dead letter only the reason and the hash
are kept: nobody was sanctioned for it, and nobody knows what it holds.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import msgspec
from msgspec import Struct

from moderation.actions import (
    Ack,
    Action,
    AppealCommand,
    BanCommand,
    Case,
    Command,
    MuteCommand,
    RevertManyCommand,
)
from moderation.appeal import Appeal
from moderation.chain import Broken
from moderation.notes import Note, View
from moderation.order import key_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from moderation.record import Record

Role = Literal["enforcement", "commands", "cases", "acks", "appeals", "dead_letters", "audit"]
Kind = Literal["action", "revert", "command", "case", "ack", "appeal", "dead_letter", "view", "rules", "unreadable"]
#: A record up to so many bytes is kept whole, more than any of ours has; of a longer one its size and hash.
KEPT_BYTES: Final = 256 * 1024
#: A summary is for finding and reading; what it cuts is in the record.
_CUT: Final = 512


class Told(Struct, frozen=True, omit_defaults=True):
    """A record in a line, by 5W1H, without chat text. `when` in ms; `ids`: all by which it belongs to others."""

    kind: Kind
    who: str = ""
    what: str = ""
    whom: str = ""
    when: int = 0
    where: str = ""
    why: str = ""
    how: str = ""
    ids: tuple[str, ...] = ()


class Place(Struct, frozen=True, order=True, array_like=True):
    """A partition, and the offset of the next record the chain is to tell of."""

    topic: str
    partition: int
    next: int


class Opened(Struct, frozen=True, tag_field="entry", tag="opened"):
    """A segment begins: which, when by the auditor's clock (ms), and how far each partition was told of.

    `opened` is the hash of the line that opened the segment before, so that a proof can pass over segments.
    """

    seq: int
    segment: int
    at: int
    cluster: str
    opened: str
    places: tuple[Place, ...]


class Recorded(Struct, frozen=True, omit_defaults=True, tag_field="entry", tag="record"):
    """A record of Kafka: where it stands, when it was written (ms, as Kafka says), its bytes and what they say.

    `size` None is a null value. `base64`: `key` and `record` are no UTF-8, and written so.
    """

    seq: int
    topic: str
    partition: int
    offset: int
    at: int
    sha256: str
    told: Told
    size: int | None = None
    key: str | None = None
    record: str | None = None
    base64: bool = False

    @property
    def value(self) -> bytes | None:
        """Return the record's bytes, None where they were not kept."""
        if self.record is None:
            return None
        return b64decode(self.record) if self.base64 else self.record.encode()


class Lost(Struct, frozen=True, tag_field="entry", tag="lost"):
    """Records from `offset` to before `until` were deleted from Kafka before the auditor came to them."""

    seq: int
    topic: str
    partition: int
    offset: int
    until: int


Entry = Opened | Recorded | Lost
_entries: Final = msgspec.json.Decoder(Entry)


class Places(dict[tuple[str, int], int]):
    """The next offset of each partition that a chain is to tell of."""

    def pass_over(self, entry: Entry) -> None:
        """Note what an entry tells of. Raises Broken where that was told of before, or is not what it was."""
        if isinstance(entry, Opened):
            if self.sorted() != entry.places:
                raise Broken("misplaced")
            return
        place = entry.topic, entry.partition
        if entry.offset < self.get(place, 0):
            raise Broken("doubled", self[place], entry.offset)
        self[place] = entry.until if isinstance(entry, Lost) else entry.offset + 1

    def sorted(self) -> tuple[Place, ...]:
        """Return all places in order."""
        return tuple(sorted(Place(*one, following) for one, following in self.items()))


def entry_of(body: bytes) -> Entry:
    """Read an entry. Raises Broken."""
    try:
        entry: Entry = _entries.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Broken("unreadable") from None
    return entry


def recorded(seq: int, role: Role, record: Record) -> Recorded:
    """Make the entry of a record, whatever its bytes are."""
    value = record.value or b""
    kept = role != "dead_letters" and record.value is not None and len(value) <= KEPT_BYTES
    texts = [record.key if role != "dead_letters" else None, value if kept else None]
    key, text, base64 = _written(texts)
    return Recorded(
        seq,
        record.topic,
        record.partition,
        record.offset,
        record.timestamp,
        sha256(value).hexdigest(),
        told(role, record),
        None if record.value is None else len(value),
        key,
        text,
        base64,
    )


def _written(texts: Iterable[bytes | None]) -> tuple[str | None, str | None, bool]:
    try:
        key, text = (None if one is None else one.decode() for one in texts)
    except UnicodeDecodeError:
        key, text = (None if one is None else b64encode(one).decode() for one in texts)
        return key, text, True
    return key, text, False


# --- 5W1H


def told(role: Role, record: Record) -> Told:
    """Say in a line what a record tells; `unreadable` where it is none of ours: the entry keeps its bytes anyway."""
    if role == "dead_letters":
        return _dead_letter(dict(record.headers))
    reader = _READERS[role]
    try:
        return reader.told(reader.decoder.decode(record.value or b""))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Told("unreadable")


def _action(one: Action) -> Told:
    evidence, length = one.evidence, f" {one.duration_s} s" if one.duration_s else ""
    scope = one.scope if isinstance(one.scope, str) else ",".join(one.scope)
    rules = " ".join(f"{rule.id}@{rule.revision}" for rule in one.rules)
    return Told(
        "revert" if one.action == "revert" else "action",
        one.operator or "qingliu",
        f"{one.action} {scope}{length}",
        one.target.account_id,
        one.created_at,
        _of(evidence.where.server_id, evidence.where.channel) if evidence else "",
        _of(one.operator_reason, one.label, rules),
        _of(one.mode, evidence and evidence.how.ladder, evidence and evidence.how.step, one.degraded and "degraded"),
        _ids(one.action_id, one.event_id, one.campaign_id, one.reverts),
    )


def _command(one: Command) -> Told:
    what = [type(one).__struct_config__.tag]
    ids = [one.command_id]
    if isinstance(one, RevertManyCommand):
        named = msgspec.to_builtins(one.which)
        what += [f"{name}={value}" for name, value in named.items()]
        ids += [one.which.campaign_id or ""]
    elif isinstance(one, MuteCommand | BanCommand):
        what += [one.scope if isinstance(one.scope, str) else ",".join(one.scope), f"{one.duration_s or 'permanent'}"]
    else:
        ids += [getattr(one, "action_id", "")]
    whom = "" if isinstance(one, RevertManyCommand) else key_of(one)
    why = "" if isinstance(one, AppealCommand) else one.reason
    return Told("command", one.operator, _of(*what), whom, one.ts, "", _of(why), "manual", _ids(*ids))


def _case(one: Case) -> Told:
    event, judgement = one.event, one.judgement
    rules = " ".join(f"{hit.rule}@{hit.revision}" for hit in judgement.hits)
    return Told(
        "case",
        "qingliu",
        _of("case", *one.suggested),
        event.sender.account_id,
        one.created_at,
        _of(event.server_id, event.channel),
        _of(one.why_human, judgement.label, rules),
        "auto",
        _ids(one.case_id, event.event_id, judgement.campaign_id),
    )


def _appeal(one: Appeal) -> Told:
    last = one.final or one.first
    by, when, why = (last.operator, last.ts, last.reason) if last else (one.operator, one.opened_at, "")
    what = _of("appeal", one.state)
    ids = _ids(one.action_id, one.event_id)
    return Told("appeal", by, what, one.account_id, when, "", _of(why, one.label), "manual", ids)


def _ack(one: Ack) -> Told:
    return Told("ack", "game server", one.status, one.account_id or "", one.ts, ids=_ids(one.action_id))


def _note(one: Note) -> Told:
    if isinstance(one, View):
        what = _of(one.command, *one.of)
        return Told("view", one.operator, what, "", one.ts, one.login, _of(one.reason), "manual", _ids(*one.of))
    replaced = one.before and f"before {one.before}"
    what = _of(one.change, one.rule, one.ruleset, replaced)
    return Told(
        "rules", one.operator, what, "", one.ts, one.login, _of(one.reason), "", _ids(one.rule, one.ruleset, one.before)
    )


def _dead_letter(headers: dict[str, bytes | None]) -> Told:
    names = ("reason", "source-topic", "source-partition", "source-offset")
    reason, *source = ((headers.get(name) or b"")[:_CUT].decode(errors="replace") for name in names)
    return Told("dead_letter", "qingliu", "dead letter", "", 0, _of(*source), _of(reason), "auto")


class _Reader(NamedTuple):
    decoder: msgspec.json.Decoder[Any]
    told: Callable[[Any], Told]


_READERS: Final = {
    "enforcement": _Reader(msgspec.json.Decoder(Action), _action),
    "commands": _Reader(msgspec.json.Decoder(Command), _command),
    "cases": _Reader(msgspec.json.Decoder(Case), _case),
    "acks": _Reader(msgspec.json.Decoder(Ack), _ack),
    "appeals": _Reader(msgspec.json.Decoder(Appeal), _appeal),
    "audit": _Reader(msgspec.json.Decoder(Note), _note),
}


def _of(*parts: object) -> str:
    return " ".join(str(part) for part in parts if part)[:_CUT]


def _ids(*ids: str | None) -> tuple[str, ...]:
    return tuple(one for one in ids if one)


# --- which entries belong together


class Wanted(Struct, frozen=True):
    """What an evidence pack is about: an account, a campaign, and a span of time (ms, `until` not included)."""

    account_id: str | None = None
    campaign_id: str | None = None
    since: int | None = None
    until: int | None = None

    def about(self, entry: Recorded) -> bool:
        """Tell whether a record itself is about what is wanted; where it says no time, Kafka's counts."""
        told, when = entry.told, entry.told.when or entry.at
        spoken = (self.since is None or when >= self.since) and (self.until is None or when < self.until)
        whose = self.account_id is None or self.account_id == told.whom or self.account_id in told.ids
        return spoken and whose and (self.campaign_id is None or self.campaign_id in told.ids)

    def names(self, told: Told) -> frozenset[str]:
        """Return the ids by which other records belong to this one: of an action, command or case its own."""
        return frozenset(told.ids[:1]) if told.kind in ("action", "revert", "command", "case") else frozenset()
