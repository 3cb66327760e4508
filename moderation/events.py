"""Chat events: what game servers publish, and the one way their bytes become a `ChatEvent`.

Every limit of the contract stands in the types below, so the published JSON Schema and the decoder cannot disagree.
Missing fields are `None` and mean "unknown", never "new" or "poor".
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from moderation.errors import DeadReason, EventError

MAX_RECORD_BYTES: Final = 16 * 1024
MAX_TEXT: Final = 2048
#: Brackets a sane event opens: itself, sender, recipient, and an `extra` of up to 8 levels.
MAX_DEPTH: Final = 8

Id = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=64,
        pattern=r"^[A-Za-z0-9_.:@#+=/|-]+$(?!\n)",  # Python's $ would let a line end by; elsewhere this adds nothing
        description="ASCII letters, digits and _.:@#+=/|- only; compared as it is, so 007 and 7 differ",
    ),
]
Name = Annotated[str, Meta(max_length=64)]
Millis = Annotated[
    int,
    Meta(ge=946_684_800_000, le=4_102_444_800_000, description="milliseconds since 1970 (seconds are refused)"),
]
Count = Annotated[int, Meta(ge=0, le=2**53)]
Amount = Annotated[float, Meta(ge=0, le=1e15)]
Channel = Literal["world", "private", "guild", "team", "trade", "horn", "nearby", "cross_server"]
TextType = Literal["text", "voice_asr", "preset", "item_link"]


class Sender(Struct, frozen=True, omit_defaults=True):
    """Who spoke. Only `account_id` is required."""

    account_id: Id
    role_id: Id | None = None
    name: Name | None = None
    level: Count | None = None
    vip: Count | None = None
    account_age_days: Amount | None = None
    account_created_at: Millis | None = None
    total_recharge: Amount | None = None
    guild_id: Name | None = None
    guild: Name | None = None
    guild_rank: Name | None = None
    signature: Annotated[str, Meta(max_length=256)] | None = None
    device_id: Name | None = None
    ip: Name | None = None


class Recipient(Struct, frozen=True, omit_defaults=True):
    """Who was spoken to, in private chat."""

    account_id: Id
    level: Count | None = None
    vip: Count | None = None
    guild_id: Name | None = None
    is_friend: bool | None = None


class ChatEvent(Struct, frozen=True, omit_defaults=True):
    """One chat message. The Kafka key of its record equals `sender.account_id`; unknown fields are ignored."""

    event_id: Id
    ts: Millis
    server_id: Name
    channel: Channel
    sender: Sender
    text: Annotated[str, Meta(max_length=MAX_TEXT, description="as typed; code points, not bytes")]
    recipient: Recipient | None = None
    text_type: TextType = "text"
    client_msg_id: Name | None = None
    game_id: Name | None = None
    lang: Name | None = None
    client_version: Name | None = None
    channel_package: Name | None = None
    extra: dict[str, Any] | None = None

    @property
    def age_days(self) -> float | None:
        """Age of the sender's account in days at the time of the event, or None where unknown."""
        if self.sender.account_age_days is not None:
            return self.sender.account_age_days
        created = self.sender.account_created_at
        return None if created is None else max(0.0, (self.ts - created) / 86_400_000)


_decoder: Final = msgspec.json.Decoder(ChatEvent)


def decode_event(value: bytes | None, key: bytes | None = None, *, keyed: bool = True) -> ChatEvent:
    """Decode one record. `keyed` demands that the record's key is the sender's account id.

    Raises EventError with a closed reason for every input that is not a chat event; nothing else.
    """
    if not value:
        raise EventError(DeadReason.TOMBSTONE if value is None else DeadReason.EMPTY)
    if len(value) > MAX_RECORD_BYTES:
        raise EventError(DeadReason.TOO_LARGE, f"{len(value)} bytes, at most {MAX_RECORD_BYTES}")
    if value.count(b"{") + value.count(b"[") > MAX_DEPTH or b"\\u00" in value or _names_twice(value):
        check_shape(value)
    event = _decode(value)
    if keyed:
        _check_key(key, event.sender.account_id)
    return event


def _decode(value: bytes) -> ChatEvent:
    try:
        return _decoder.decode(value)
    except msgspec.ValidationError as exc:
        raise EventError(DeadReason.SCHEMA, str(exc)) from None
    except UnicodeDecodeError as exc:
        raise EventError(DeadReason.NOT_UTF8, str(exc)) from None
    except RecursionError:
        raise EventError(DeadReason.TOO_DEEP) from None
    except msgspec.DecodeError as exc:
        raise EventError(_why_no_json(value), str(exc)) from None


def _why_no_json(value: bytes) -> DeadReason:
    """Msgspec calls a lone surrogate escape truncated input and UTF-16 malformed JSON: say what it is."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return DeadReason.NOT_UTF8
    try:
        json.dumps(json.loads(text), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return DeadReason.BAD_TEXT
    except (ValueError, RecursionError):
        return DeadReason.NOT_JSON
    return DeadReason.NOT_JSON


def _check_key(key: bytes | None, account_id: str) -> None:
    if key is None:
        raise EventError(DeadReason.KEY_MISSING, "the record's key must be sender.account_id")
    if key != account_id.encode():
        raise EventError(DeadReason.KEY_MISMATCH, "the record's key is not sender.account_id")


_NAMES: Final = re.compile(rb'"([a-z_]+)"[ \t\r\n]*:')
#: Names that both sender and recipient have.
_OF_BOTH: Final = frozenset((b"account_id", b"level", b"vip", b"guild_id"))


def _names_twice(value: bytes) -> bool:
    """Tell whether one of our names may stand twice in one object of a record; rather once too often.

    Sender and recipient are told apart by which of them begins last: what stands before that is not twice there, nor
    what stands after. 1.5 µs for world chat, 4 for private with all fields; `check_shape` takes 11 (2026-11-22).
    """
    names = _NAMES.findall(value)
    if len(set(names)) == len(names):
        return False
    if b"sender" not in names or b"recipient" not in names:
        return True
    cut = max(names.index(b"sender"), names.index(b"recipient"))
    before, after = set(names[:cut]), set(names[cut:])
    return len(before) + len(after) < len(names) or not before & after <= _OF_BOTH


def check_shape(value: bytes) -> None:
    """Refuse a key written twice in one object, and nesting deeper than MAX_DEPTH: both raise EventError.

    What is no JSON passes; the decoder says what is wrong with it. Numbers are not looked at, however long.
    """
    try:
        tree = json.loads(
            value.decode(errors="replace"), object_pairs_hook=_unique, parse_int=_number, parse_float=_number
        )
    except RecursionError:
        raise EventError(DeadReason.TOO_DEEP) from None
    except ValueError:
        return
    _check_depth(tree, MAX_DEPTH)


def _number(_: str) -> None:
    return None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise EventError(DeadReason.DUPLICATE_KEY, "an object names one key twice")
    return made


def _check_depth(tree: Any, left: int) -> None:
    if not isinstance(tree, dict | list):
        return
    if left == 0:
        raise EventError(DeadReason.TOO_DEEP, f"more than {MAX_DEPTH} levels")
    for child in tree.values() if isinstance(tree, dict) else tree:
        _check_depth(child, left - 1)
