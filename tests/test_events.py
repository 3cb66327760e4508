"""Bytes to chat events: what is refused, with which reason, and what is not."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.errors import DeadReason, EventError
from moderation.events import MAX_RECORD_BYTES, MAX_TEXT, ChatEvent, decode_event

if TYPE_CHECKING:
    from collections.abc import Sequence

TS = 1_750_000_000_000
BASE: dict[str, Any] = {
    "event_id": "e1",
    "ts": TS,
    "server_id": "s1",
    "channel": "world",
    "sender": {"account_id": "a1"},
    "text": "你好",
}
KEY = b"a1"


def raw(**changes: Any) -> bytes:
    return json.dumps({**BASE, **changes}, ensure_ascii=False).encode()


def with_text(bytes_in_quotes: bytes) -> bytes:
    return raw(text="@").replace(b'"@"', b'"' + bytes_in_quotes + b'"')


def without(name: str) -> bytes:
    return json.dumps({k: v for k, v in BASE.items() if k != name}).encode()


def padded(size: int) -> bytes:
    body = raw(extra={"pad": ""})
    return body.replace(b'"pad": ""', b'"pad": "' + b"x" * (size - len(body)) + b'"')


R = DeadReason
WRONG: tuple[Any, ...] = (True, [], 1.5, None)
REFUSED = [
    ("nothing", b"", R.EMPTY),
    ("a tombstone", None, R.TOMBSTONE),
    ("not UTF-8", b"\xff\xfe\x00", R.NOT_UTF8),
    ("UTF-16 with a mark", raw().decode().encode("utf-16"), R.NOT_UTF8),
    ("a UTF-8 mark", b"\xef\xbb\xbf" + raw(), R.NOT_JSON),
    ("an overlong slash", with_text(b"\xc0\xaf"), R.NOT_UTF8),
    ("a lone surrogate", with_text(b"\\ud800"), R.BAD_TEXT),
    ("surrogates the wrong way round", with_text(b"\\udc00\\ud800"), R.BAD_TEXT),
    ("GBK", json.dumps({**BASE, "text": "加微信"}, ensure_ascii=False).encode("gbk"), R.NOT_UTF8),
    ("cut off", raw()[:-2], R.NOT_JSON),
    ("garbage behind", raw() + b"x", R.NOT_JSON),
    ("two objects", raw() * 2, R.NOT_JSON),
    ("an array", b"[1]", R.SCHEMA),
    ("a number", b"17", R.SCHEMA),
    ("null", b"null", R.SCHEMA),
    ("NaN", raw().replace(str(TS).encode(), b"NaN"), R.NOT_JSON),
    ("Infinity", raw().replace(str(TS).encode(), b"Infinity"), R.NOT_JSON),
    ("1e999", raw().replace(str(TS).encode(), b"1e999"), R.SCHEMA),
    ("5000 digits", raw().replace(str(TS).encode(), b"9" * 5000), R.SCHEMA),
    ("a key twice", raw().replace(b'"ts"', b'"event_id": "e2", "ts"'), R.DUPLICATE_KEY),
    ("an account twice", raw().replace(b'"account_id"', b'"account_id": "a2", "account_id"'), R.DUPLICATE_KEY),
    ("a vip twice", raw(sender={"account_id": "a1", "vip": 9}).replace(b'"vip"', b'"vip": 0, "vip"'), R.DUPLICATE_KEY),
    (
        "900 levels in a field we ignore",
        raw().replace(b"{", b'{"x": ' + b"[" * 900 + b"]" * 900 + b", ", 1),
        R.TOO_DEEP,
    ),
    ("7000 levels", raw().replace(b"{", b'{"x": ' + b"[" * 7000 + b"]" * 7000 + b", ", 1), R.TOO_DEEP),
    ("10 MB", with_text(b"x" * 10_000_000), R.TOO_LARGE),
    ("a byte too many", padded(MAX_RECORD_BYTES + 1), R.TOO_LARGE),
    ("a text too long", raw(text="字" * (MAX_TEXT + 1)), R.SCHEMA),
    ("an emoji as account", raw(sender={"account_id": "😀"}), R.SCHEMA),
    ("no account", raw(sender={"account_id": ""}), R.SCHEMA),
    ("a number as account", raw(sender={"account_id": 7}), R.SCHEMA),
    ("a glob as account", raw(sender={"account_id": "*"}), R.SCHEMA),
    ("an account with a space", raw(sender={"account_id": "a b"}), R.SCHEMA),
    ("a Redis command as account", raw(sender={"account_id": "a\r\nFLUSHALL"}), R.SCHEMA),
    ("an account that ends a line", raw(sender={"account_id": "a\n"}), R.SCHEMA),
    ("an account that breaks a hash tag", raw(sender={"account_id": "a}b"}), R.SCHEMA),
    ("an account of 10 kB", raw(sender={"account_id": "a" * 10_000}), R.SCHEMA),
    ("pickle", b"\x80\x04\x95\x0c\x00\x00\x00", R.NOT_UTF8),
    ("gzip", b"\x1f\x8b\x08\x00", R.NOT_UTF8),
    ("Avro's magic", b"\x00\x00\x00\x00\x01", R.NOT_JSON),
    ("Faust's class marker alone", b'{"__faust": {"ns": "x.Y"}}', R.SCHEMA),
    ("seconds", raw(ts=TS // 1000), R.SCHEMA),
    ("nanoseconds", raw(ts=TS * 1_000_000), R.SCHEMA),
    ("no time", raw(ts=0), R.SCHEMA),
    ("before time", raw(ts=-1), R.SCHEMA),
    ("a date", raw(ts="2025-06-15T15:06:40Z"), R.SCHEMA),
    ("a fraction", raw(ts=TS + 0.5), R.SCHEMA),
    ("an unknown channel", raw(channel="mail"), R.SCHEMA),
    *((f"no {name}", without(name), R.SCHEMA) for name in BASE),
    *((f"{name} as {type(wrong).__name__}", raw(**{name: wrong}), R.SCHEMA) for name in BASE for wrong in WRONG),
]


@pytest.mark.parametrize(("value", "reason"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_what_is_no_event_is_refused_with_its_reason(value: bytes | None, reason: DeadReason) -> None:
    with pytest.raises(EventError) as refused:
        decode_event(value, KEY)
    assert refused.value.reason is reason


ACCEPTED = [
    ("an empty text", raw(text="")),
    ("spaces", raw(text="   ")),
    ("control characters", raw(text="\x00\x07\x85")),
    ("a surrogate pair", with_text(b"\\ud83d\\ude00")),
    ("unknown fields", raw(schema_version=9, mood="good")),
    ("a text that quotes keys", raw(text='"event_id": "x", "text": "y", {{{{[[[[')),
    ("an extra with our names", raw(extra={"text": 1, "event_id": [2, {"ts": 3}]})),
    ("eight levels", raw(extra={"a": {"a": {"a": {"a": {"a": {"a": {}}}}}}})),
    ("full size", padded(MAX_RECORD_BYTES)),
    ("a long text", raw(text="字" * MAX_TEXT)),
    ("a format string", raw(text="{0.__class__} %s ${jndi:ldap://x} <img onerror=x>")),
]


@pytest.mark.parametrize("value", [case[1] for case in ACCEPTED], ids=[case[0] for case in ACCEPTED])
def test_what_is_odd_but_an_event_is_accepted(value: bytes) -> None:
    assert decode_event(value, KEY).event_id == "e1"


SENDER = {"account_id": "a1", "level": 3, "vip": 0, "guild_id": "g", "name": "甲", "total_recharge": 0.5}
RECIPIENT = {"account_id": "r1", "level": 4, "vip": 9, "guild_id": "h", "is_friend": False}
EVENT = {"event_id": "e1", "ts": TS, "server_id": "s1", "channel": "private", "text": "你好"}
NEEDED = {"account_id", *EVENT}


@given(st.data())
def test_no_name_may_stand_twice_in_one_object_wherever_it_stands(data: st.DataObject) -> None:
    """As a name with quotes in it would do where a game server joins strings: ","level":99,"x":"."""
    objects = {"event": EVENT, "sender": SENDER, "recipient": RECIPIENT}
    where = data.draw(st.sampled_from([*objects, "nowhere"]))
    chosen = {
        name: data.draw(st.permutations([(k, v) for k, v in one.items() if k in NEEDED or data.draw(st.booleans())]))
        for name, one in objects.items()
    }
    if where != "nowhere":
        twice, _ = data.draw(st.sampled_from(chosen[where]))
        chosen[where].insert(data.draw(st.integers(0, len(chosen[where]))), (twice, objects[where][twice]))
    parts = [*chosen["event"], ("sender", chosen["sender"]), ("recipient", chosen["recipient"])]
    value = _joined(data.draw(st.permutations(parts)), data.draw(st.sampled_from(("", " ", "\n", "\t "))))
    if where == "nowhere":
        assert decode_event(value.encode(), b"a1").text == "你好"
        return
    with pytest.raises(EventError) as refused:
        decode_event(value.encode(), b"a1")
    assert refused.value.reason == DeadReason.DUPLICATE_KEY


def _joined(pairs: Sequence[tuple[str, Any]], space: str) -> str:
    members = (
        f'"{name}"{space}:{_joined(value, space) if isinstance(value, list) else json.dumps(value)}'
        for name, value in pairs
    )
    return "{" + ",".join(members) + "}"


def test_the_key_must_be_the_sender() -> None:
    for key, reason in ((None, R.KEY_MISSING), (b"a2", R.KEY_MISMATCH), (b"a1 ", R.KEY_MISMATCH)):
        with pytest.raises(EventError) as refused:
            decode_event(raw(), key)
        assert refused.value.reason is reason
    assert decode_event(raw(), keyed=False).sender.account_id == "a1"


def test_leading_zeros_make_another_account() -> None:
    accounts = {decode_event(raw(sender={"account_id": a}), a.encode()).sender.account_id for a in ("7", "007")}
    assert accounts == {"7", "007"}


def test_age_comes_from_either_field_and_is_unknown_without() -> None:
    def event(**sender: Any) -> ChatEvent:
        return decode_event(raw(sender={"account_id": "a1", **sender}), KEY)

    assert event(account_age_days=2.5).age_days == 2.5
    assert event(account_created_at=TS - 86_400_000).age_days == 1
    assert event(account_created_at=TS + 86_400_000).age_days == 0
    assert event().age_days is None


@given(st.binary(max_size=300))
def test_any_bytes_are_an_event_or_an_event_error(value: bytes) -> None:
    with suppress(EventError):
        decode_event(value, KEY)


@given(st.data())
def test_an_event_with_bytes_changed_is_an_event_or_an_event_error(data: st.DataObject) -> None:
    value = bytearray(raw(sender={"account_id": "a1", "vip": 3, "name": "甲"}, extra={"a": [1, {"b": None}]}))
    for _ in range(data.draw(st.integers(1, 4))):
        value[data.draw(st.integers(0, len(value) - 1))] = data.draw(st.integers(0, 255))
    with suppress(EventError):
        decode_event(bytes(value), KEY)
