"""Bad input: the sixty kinds in data/hostile, and what nobody thought of. Only declared errors, and in bounded time."""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct

from moderation.actions import BanCommand, Case, MuteCommand, RevertCommand, Target
from moderation.errors import DeadReason, EventError
from moderation.events import ChatEvent, decode_event
from moderation.fold import GAP, HEAD, JOINT, TAIL, fold, fold_all
from moderation.match import automaton
from moderation.moderator import Moderator
from moderation.order import decode_command
from tests.small_rules import TS, disguised_rules, event, rules
from tests.test_pipeline import SPAM, TOPICS, Desk, Record, record

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from moderation.ruleset import RuleSet

DATA: Final = Path(__file__).parent / "data" / "hostile"
LARGEST_FILE: Final = 64 * 1024
#: What takes microseconds takes this long only if it hangs. CPU time of this process: a busy box does not count.
GUARD_S: Final = 2.0


class Hostile(Struct, frozen=True, forbid_unknown_fields=True):
    """A line of the index; its head says what the fields mean."""

    name: str
    expect: str = ""
    parts: tuple[tuple[str, int], ...] | None = None
    key: str = "a1"
    no_key: bool = False
    verdict: str | None = None
    truncated: bool | None = None
    differs: str = ""
    why: str = ""
    xfail: str = ""
    todo: str = ""

    @property
    def number(self) -> int:
        return int(self.name.partition("-")[0])

    @property
    def dead(self) -> bool:
        return self.expect.startswith("dead:")

    def record(self, offset: int = 0) -> Record:
        return Record(offset, None if self.no_key else self.key.encode(), self._value())

    def _value(self) -> bytes | None:
        if self.parts is None:
            return (DATA / f"{self.name}.bin").read_bytes()
        return b"".join(text.encode() * times for text, times in self.parts) if self.parts else None


class Index(Struct, frozen=True, forbid_unknown_fields=True):
    """The index."""

    case: tuple[Hostile, ...]


INDEX: Final = msgspec.toml.decode((DATA / "index.toml").read_bytes(), type=Index).case
SOUND: Final = tuple(one for one in INDEX if not (one.todo or one.xfail))


def param(one: Hostile) -> Any:
    """An entry as a parameter: a known defect must fail, and what is still to do says so."""
    marks: list[pytest.MarkDecorator] = []
    if one.xfail:
        marks.append(pytest.mark.xfail(strict=True, reason=one.xfail))
    if one.todo:
        marks.append(pytest.mark.skip(reason=one.todo))
    return pytest.param(one, id=one.name, marks=marks)


@contextmanager
def bounded() -> Iterator[None]:
    started = time.process_time()
    yield
    assert time.process_time() - started < GUARD_S


class Became(NamedTuple):
    """What a record became; None for what a dead one has not."""

    outcome: str
    verdict: str | None = None
    truncated: bool | None = None


def became(one: Record) -> Became:
    try:
        chat = decode_event(one.value, one.key)
    except EventError as exc:
        return Became(f"dead:{exc.reason}")
    [finding] = Moderator(disguised_rules()).judge([chat])
    return Became("judged", finding.verdict, fold(chat.text).truncated)


# -- the sixty


@pytest.mark.parametrize("one", [param(one) for one in INDEX])
def test_each_becomes_what_the_index_says(one: Hostile) -> None:
    with bounded():
        found = became(one.record())
    assert found.outcome == one.expect
    assert one.verdict in (None, found.verdict)
    assert one.truncated in (None, found.truncated)
    desk = Desk()
    with bounded():
        desk.chat(one.record())
    assert sum(desk.outcomes().values()) == 1
    readable(desk)


def readable(desk: Desk) -> None:
    """What we send must be what we publish: each consumer can decode it."""
    desk.post.actions()
    for letter in desk.post.of(TOPICS.cases):
        msgspec.json.decode(letter.value or b"", type=Case)


def test_none_of_the_sixty_is_missing_and_no_file_is_without_an_entry() -> None:
    assert {one.number for one in INDEX} == set(range(1, 61))
    named = {one.name for one in INDEX if one.parts is None and not one.todo}
    assert {path.stem for path in DATA.glob("*.bin")} == named
    assert max(path.stat().st_size for path in DATA.glob("*.bin")) <= LARGEST_FILE
    assert all(one.todo or one.expect == "judged" or one.expect[5:] in set(DeadReason) for one in INDEX)


def test_among_bad_records_each_good_one_is_judged_and_each_bad_one_is_one_dead_letter() -> None:
    desk = Desk()
    batch = [one.record(offset) for offset, one in enumerate(SOUND)]
    good = record(event(SPAM, 999, account="someone", level=3))
    mixed = [r for bad in batch for r in (bad, good._replace(offset=10_000 + bad.offset))]
    desk.chat(*mixed)
    letters = [dict(letter.headers) for letter in desk.post.of(TOPICS.dead_letters)]
    assert [(int(h["source-offset"]), f"dead:{h['reason'].decode()}") for h in letters] == [
        (offset, one.expect) for offset, one in enumerate(SOUND) if one.dead
    ]
    assert sum(desk.outcomes().values()) == len(mixed)
    assert {a.action for a in desk.post.actions() if a.target.account_id == "someone"} == {"revert", "mute"}


def test_a_dead_letter_keeps_every_byte_of_what_was_bad() -> None:
    dead = [one for one in SOUND if one.dead]
    desk = Desk()
    desk.chat(*(one.record(offset) for offset, one in enumerate(dead)))
    letters = desk.post.of(TOPICS.dead_letters)
    assert [letter.value for letter in letters] == [one.record().value for one in dead]
    assert [letter.key for letter in letters] == [one.record().key for one in dead]


def test_headers_send_nothing_anywhere_else() -> None:  # 47
    bait = (("Faust-Ag-ReplyTo", b"stolen"), ("Faust-Ag-CorrelationId", b"1"), ("\udcff", b"\xff"))
    plain = record(event(SPAM, level=3))
    desk = Desk()
    asyncio.run(desk.pipeline.chat([plain._replace(headers=bait)], lambda: True))
    assert {letter.topic for letter in desk.post.sent} == {TOPICS.enforcement}
    assert not any(name.startswith("Faust") for letter in desk.post.sent for name, _ in letter.headers)


def by_name(name: str) -> Hostile:
    return next(one for one in INDEX if one.name == name)


def test_what_is_said_of_a_message_of_last_month_is_void_before_it_is_sent() -> None:  # 50
    desk = Desk()
    desk.chat(by_name("50-thirty-days-old").record())
    assert [a.deliver_before is not None and a.deliver_before < desk.now for a in desk.post.actions()] == [True] * 2


def flood(*ahead: ChatEvent) -> list[str]:
    """The verdicts on a flood of one sender; before its last message stands what somebody else said."""
    moderator = Moderator(rules())
    said = [event("冲", n, at_s=n) for n in range(5)]
    return [f.verdict for f in moderator.judge([*said[:4], *ahead, said[4]]) if f.event.sender.account_id == "a1"]


def test_a_clock_that_is_ahead_wipes_nobody_elses_window() -> None:  # 51
    assert flood() == ["allow"] * 4 + ["act"]
    assert flood(event("你好", 100, at_s=3600, account="b1")) == flood()


def known_bare(*ahead: ChatEvent) -> str:
    """The verdict on a bare number that somebody was punished for a minute before."""
    moderator = Moderator(rules())
    said = [event(SPAM, 1, at_s=10, account="b2"), event("7381920465", 2, at_s=70, account="b3")]
    return moderator.judge([*ahead, *said])[-1].verdict


def test_a_clock_that_is_ahead_makes_nobody_forget_a_handle() -> None:  # 51
    assert known_bare() != "allow"
    assert known_bare(event(SPAM, 0, at_s=30 * 365 * 86_400, account="b1")) == known_bare()


@pytest.mark.parametrize(("first", "second"), [("52-again-a", "52-again-b"), ("53-other-body-a", "53-other-body-b")])
def test_one_event_id_is_punished_once(first: str, second: str) -> None:  # 52, 53
    once, twice = Desk(), Desk()
    once.chat(by_name(first).record())
    twice.chat(by_name(first).record(), by_name(second).record(1))
    assert {a.action_id for a in twice.post.actions()} == {a.action_id for a in once.post.actions()}


def test_who_is_banned_already_is_not_banned_by_what_was_still_on_its_way() -> None:  # 57
    poach = by_name("57-already-banned").record()
    again = (poach.value or b"").replace(b'"b1"', b'"b2"').replace(str(TS).encode(), str(TS + 1000).encode())
    desk = Desk()
    desk.chat(poach, poach._replace(offset=1, value=again))
    assert [(a.action, a.event_id) for a in desk.post.actions()] == [("revert", "b1"), ("ban", "b1"), ("revert", "b2")]


# -- what nobody thought of: decoding

ORDERS: Final = tuple(
    map(
        msgspec.json.encode,
        (
            MuteCommand("c1", "gm-li", "骂人", TS, Target("a1"), 600, ("world",)),
            BanCommand("c2", "gm-li", "卖金", TS, Target("a1"), None, "device"),
            RevertCommand("c3", "gm-li", "误判", TS, "0" * 32, "a1"),
        ),
    )
)
CHAT: Final = msgspec.json.encode(
    event(
        '加微信 a\\b"c',
        1,
        name="甲",
        level=3,
        total_recharge=1.5,
        to={"account_id": "r1"},
        extra={"a": [1, {"b": None}]},
    )
)
#: What breaks parsers: thrown in between the bytes of a valid record.
TOKENS: Final = (
    b"[", b"]", b"{", b"}", b'"', b",", b":", b"\\", b"\x00", b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xef\xbb\xbf",
    b"\\ud800", b"\\udc00", b"\\u0000", b"NaN", b"-Infinity", b"1e999", b"-0", b"9" * 400, b"9" * 5000, b"[" * 990,
    b'{"a":' * 990, b'"account_id":"a2",', b'"ts":1,', b'"sender":{},', b'"extra":{"\\u0061":[[[[[[[[]]]]]]]]},',
    b"null", b"true", b" " * 300, b"x" * 17_000,
)  # fmt: skip


@st.composite
def broken(draw: st.DrawFn, sources: Sequence[bytes]) -> bytes:
    """A valid record, or a hostile one, with a few bytes changed, cut out, said twice, or with a token thrown in."""
    value = draw(st.sampled_from(sources))
    for _ in range(draw(st.integers(1, 4))):
        first, last = sorted((draw(st.integers(0, len(value))), draw(st.integers(0, len(value)))))
        middle = draw(st.sampled_from((b"", value[first:last] * 2, *TOKENS)) | st.binary(max_size=3))
        value = value[:first] + middle + value[draw(st.sampled_from((first, last))) :]
    return value


FILES: Final = tuple(path.read_bytes() for path in sorted(DATA.glob("*.bin")) if 0 < path.stat().st_size < 4096)


@settings(max_examples=600)
@given(st.binary(max_size=300) | broken((CHAT,)) | broken(FILES), st.sampled_from((b"a1", None, b"", b"\xff")))
def test_any_bytes_are_an_event_or_an_event_error(value: bytes, key: bytes | None) -> None:
    with bounded(), suppress(EventError):
        chat = decode_event(value, key)
        assert chat.sender.account_id.encode() == key
        assert decode_event(value, keyed=False) == chat


@settings(max_examples=600)
@given(st.none() | st.binary(max_size=300) | broken(ORDERS), st.sampled_from((b"a1", None, b"", b"\xff")))
def test_any_bytes_are_a_command_or_an_event_error(value: bytes | None, key: bytes | None) -> None:
    with bounded(), suppress(EventError):
        assert isinstance(decode_command(value, key), MuteCommand | BanCommand | RevertCommand)


# -- what nobody thought of: reading

#: What naive code falls over: invisible, combining, turning, swelling, private, broken, and every script's digits.
ODD: Final = (
    "\u0300\u0316\u0489\u20e3\ufe0f\u3099\u0e47\u202a\u202e\u2066\u2069\u200b\u200c\u200d\u2060\ufeff\u3164\u034f\u180e\u00ad"
    "\ufdfa\ufb03\u3300\u33ff\u2163\u2488\u00bd\u0130\u1e9e\u00df\ue000\uf8ff\U000f0000\U0010ffff\ufdd0\ufffe\uffff\ud800\udbff\udc00\udfff"
    f"{JOINT}{GAP}\uff26\x00\x1b\x7f\x85\u2028\t\r\n\U00020000\U0002a6d6\U00030000⼀⽔⻨龘丨灬\U000e0041\U000e0101"
    "٣۳߃३৩௩๓໓༣၃៣᠓𝟑𝟛③➌⒊㈢㊂三叁Ⅲ³₃３\U0001f1f6👨🏿1️⃣🅥Ⓠ①⓿"
)
#: What our own code looks for, so that odd characters come between.
TOLD: Final = (
    *"加微信出金卖代练群qvx扣738192046 .,@:/<>[]#{}()+*?|^$\\",
    "加微信",
    "出金加QQ 7381920465",
    "<color=",
    "http://a.b",
    "a@b.c",
    "一二三四五六七",
)
odd_text = st.lists(st.sampled_from((*ODD, *TOLD)), max_size=60).map("".join)
long_odd_text = st.builds(
    lambda parts, times: ("".join(parts) * times)[:2048],
    st.lists(st.sampled_from((*ODD, *TOLD)), max_size=9),
    st.integers(1, 2048),
)
hostile_text = odd_text | long_odd_text | st.text(st.characters(), max_size=80)


@settings(max_examples=300)
@given(hostile_text)
def test_any_text_folds_in_bounds_and_every_span_lies_inside_it(raw: str) -> None:
    with bounded():
        folded = fold(raw)
        views = (folded.plain, folded.squeezed)
        spans = [span for view in views for span in view.spans]
    assert len(folded.text) <= 4 * min(len(raw), HEAD + TAIL) + 1
    assert [len(view.spans) for view in views] == [len(view.text) for view in views]
    assert all(0 <= start < end <= len(raw) for start, end in spans)
    folded.text.encode()  # no half of a surrogate pair is left


@settings(max_examples=100)
@given(st.lists(hostile_text, min_size=1, max_size=6))
def test_texts_fold_together_as_they_fold_alone(raws: list[str]) -> None:
    assert [one.text for one in fold_all(raws)] == [fold(raw).text for raw in raws]


@settings(max_examples=150)
@given(st.lists(odd_text.map(lambda raw: fold(raw).text[:6]).filter(bool), max_size=12), hostile_text)
def test_both_matchers_find_the_same_in_any_text(terms: list[str], raw: str) -> None:
    with bounded():
        found = automaton(terms).find(raw), automaton(terms, plain=True).find(raw)
    assert found[0] == found[1]
    assert all(0 <= start < end <= len(raw) for start, end, _ in found[0])


@pytest.mark.parametrize("compiled", [rules, disguised_rules])
@settings(max_examples=120)
@given(st.lists(hostile_text, min_size=1, max_size=3), hostile_text, st.sampled_from((None, 1, 60)))
def test_any_chat_is_judged_whoever_says_it(compiled: Any, texts: list[str], name: str, level: int | None) -> None:
    made: RuleSet = compiled()
    carried = dict.fromkeys(("name", "guild", "signature", "guild_id", "device_id"), name[:60])
    chat = [event(text, n, at_s=n, level=level, **carried) for n, text in enumerate(texts)]
    moderator = Moderator(made)
    with bounded():
        findings = moderator.judge(chat)
    for one, finding in zip(chat, findings, strict=True):
        fields = {"text": one.text, **carried}
        for hit in finding.hits:
            start, end = hit.span or (0, 0)
            assert 0 <= start <= end <= len(fields.get(hit.field, one.text))
