"""The accounting of the fault runs: a clean run is found clean, and each kind of harm done to its books is seen."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Final

import pytest
from msgspec.structs import replace

from bench.faults.accounting import (
    Answer,
    Book,
    Dead,
    Expected,
    Figures,
    Findings,
    Lane,
    Look,
    Order,
    Paper,
    Place,
    Sent,
    audit,
    refused,
    ways,
)
from bench.faults.buggy import KINDS, buggy
from bench.faults.chat import _BAD, astray, made, records
from bench.faults.crew import BUGS
from bench.faults.faults import FAULTS
from bench.faults.readback import generation_of, lag
from bench.faults.toxics import Proxy
from bench.faults.truth import aged, shares, swayed, truth
from moderation.errors import EventError
from moderation.events import decode_event
from streams.settings import Topics
from tests.small_rules import TS, event, rules

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

CHAT: Final = Lane("chat", 0)
CLEAN: Final = Expected("e0", "a0")
MUTED: Final = Expected("e1", "a1", frozenset({"mute1", "retract1"}))
ASKED: Final = Expected("e2", "a2", cases=frozenset({"case2"}))
AGAIN: Final = Expected("e4", "a1", frozenset({"retract4"}))
LOOSE: Final = Expected("e5", "a5", frozenset({"mute5"}), strict=False)


def sent(offset: int, event_id: str | None, value: bytes = b"{}") -> Sent:
    return Sent(Place(*CHAT, offset), event_id, value)


def order(at: int, name: str, account: str, event_id: str, cause: int, *, degraded: bool = False) -> Order:
    place, source = Place("actions", 0, at), Place(*CHAT, cause)
    return Order(place, name, account, event_id, name.rstrip("0123456789"), source, b'{"id":"%d"}' % cause, degraded)


def answer(at: int, name: str, status: str = "applied") -> Answer:
    return Answer(Place("acks", 0, at), name, status, 1000 + at)


CASE: Final = Paper(Place("cases", 0, 0), "case2", "a2", "e2", b"{}")
LETTER: Final = Dead(Place("dead", 0, 0), Place(*CHAT, 3), b"bad")
ORDERS: Final = (
    order(0, "retract1", "a1", "e1", 1),
    order(1, "mute1", "a1", "e1", 1),
    order(2, "retract4", "a1", "e4", 4),
    order(3, "mute5", "a5", "e5", 5),
)
BOOK: Final = Book(
    sent=(sent(0, "e0"), sent(1, "e1"), sent(2, "e2"), sent(3, None, b"bad"), sent(4, "e4"), sent(5, "e5")),
    expected={one.event_id: one for one in (CLEAN, MUTED, ASKED, AGAIN, LOOSE)},
    orders=ORDERS,
    papers=(CASE,),
    dead=(LETTER,),
    answers=tuple(answer(o.place.offset, o.action_id) for o in ORDERS),
    committed={CHAT: 6},
    looks=(Look({CHAT: 3}, {Lane("actions", 0): 2, Lane("cases", 0): 1}),),
    does={"a5": frozenset({"mute"})},
)


def test_a_clean_run_is_clean() -> None:
    figures, findings = audit(BOOK)
    assert figures == Figures(events=6, strict=4)
    assert figures.clean
    assert findings == Findings([], [], [], [], [], [])


def test_a_redelivered_batch_that_says_the_same_is_clean_and_counted() -> None:
    again = ORDERS[0]._replace(place=Place("actions", 0, 9))
    answers = (*BOOK.answers, answer(9, "retract1", "already"))
    figures, _ = audit(BOOK._replace(orders=(*ORDERS, again), answers=answers, papers=(CASE, CASE)))
    assert figures.clean
    assert figures.repeats == 5 / 4


def without(name: str) -> Book:
    return BOOK._replace(
        orders=tuple(o for o in ORDERS if o.action_id != name),
        papers=tuple(p for p in BOOK.papers if p.case_id != name),
    )


def swapped() -> Book:
    """The action of a later message comes first; nobody looked meanwhile."""
    places = {"retract4": 0, "retract1": 1, "mute1": 2, "mute5": 3}
    moved = (o._replace(place=o.place._replace(offset=places[o.action_id])) for o in ORDERS)
    return BOOK._replace(orders=tuple(moved), looks=())


def answered(name: str, *statuses: str) -> Book:
    rest = [a for a in BOOK.answers if a.action_id != name]
    return BOOK._replace(answers=(*rest, *(answer(20 + n, name, status) for n, status in enumerate(statuses))))


def more(one: Order) -> Book:
    told = {a.action_id for a in BOOK.answers}
    answers = () if one.action_id in told else (answer(30, one.action_id),)
    return BOOK._replace(orders=(*ORDERS, one), answers=(*BOOK.answers, *answers))


OTHER_BYTES: Final = ORDERS[0]._replace(place=Place("actions", 0, 9), value=b'{"id":"1","until":2}')


@pytest.mark.parametrize(
    ("book", "seen"),
    [
        pytest.param(without("mute1"), {"lost": ["mute1"], "ahead": ["e1"]}, id="an action is missing"),
        pytest.param(
            without("case2"), {"lost": ["case2"], "unaccounted": ["e2"], "ahead": ["e2"]}, id="a case is missing"
        ),
        pytest.param(answered("mute1"), {"lost": ["mute1"]}, id="an action was never answered"),
        pytest.param(answered("mute1", "rejected"), {"lost": ["mute1"]}, id="the game refused an action"),
        pytest.param(answered("mute1", "applied", "applied"), {"doubled": ["mute1"]}, id="applied twice"),
        pytest.param(more(OTHER_BYTES), {"doubled": ["retract1"]}, id="one id, two meanings"),
        pytest.param(more(order(9, "ban1", "a1", "e1", 1)), {"phantom": ["ban1"], "reordered": ["ban1"]}, id="a ban"),
        pytest.param(more(order(9, "mute0", "a0", "e0", 0)), {"phantom": ["mute0"]}, id="a clean message is punished"),
        pytest.param(more(order(9, "mute9", "a9", "e9", 9)), {"phantom": ["mute9"]}, id="nobody said that"),
        pytest.param(swapped(), {"reordered": ["retract1"]}, id="a later cause first"),
        pytest.param(BOOK._replace(committed={CHAT: 5}), {"unaccounted": ["e5"]}, id="one event was not committed"),
        pytest.param(BOOK._replace(committed={}), {"unaccounted": 6}, id="nothing was committed"),
        pytest.param(BOOK._replace(dead=()), {"unaccounted": ["('chat', 0, 3)"]}, id="a bad record vanished"),
        pytest.param(
            BOOK._replace(dead=(LETTER._replace(value=b"ba"),)),
            {"unaccounted": ["('chat', 0, 3)"]},
            id="a dead letter holds something else",
        ),
        pytest.param(
            BOOK._replace(dead=(LETTER, LETTER._replace(source=Place(*CHAT, 0)))),
            {"unaccounted": ["e0"]},
            id="a good record ended as a dead letter",
        ),
        pytest.param(
            BOOK._replace(looks=(Look({CHAT: 5}, {Lane("actions", 0): 2, Lane("cases", 0): 1}),)),
            {"ahead": ["e4"]},
            id="committed before it was said",
        ),
        pytest.param(
            BOOK._replace(looks=(Look({CHAT: 3}, {Lane("actions", 0): 2}),)), {"ahead": ["e2"]}, id="nor was the case"
        ),
    ],
)
def test_harm_is_seen(book: Book, seen: dict[str, list[str] | int]) -> None:
    figures, findings = audit(book)
    assert not figures.clean
    told = {name: names for name, names in findings._asdict().items() if names}
    assert {name: len(n) if isinstance(seen.get(name), int) else n for name, n in told.items()} == seen
    assert {name: getattr(figures, name) for name in told} == {name: len(names) for name, names in told.items()}


def test_the_fields_are_named_in_which_an_action_differs() -> None:
    assert ways(more(OTHER_BYTES)) == ["said in two ways: until 1"]
    assert ways(BOOK) == []


def test_it_is_said_why_the_game_put_actions_not_into_effect() -> None:
    assert refused(answered("mute1", "rejected")) == ["not put into effect: rejected 1"]
    assert refused(BOOK) == []


def test_what_windows_decide_is_a_figure_and_no_harm() -> None:
    gone = audit(without("mute5"))[0]
    assert (gone.windows, gone.clean) == (1, True)
    assert audit(more(order(9, "ban5", "a5", "e5", 5)))[0].windows == 1
    assert audit(BOOK)[0].windows == 0


def test_an_account_judged_without_history_is_excused_but_not_forgotten() -> None:
    degraded = Paper(Place("cases", 0, 1), "case1", "a1", "e1", b"{}", degraded=True)
    book = without("mute1")._replace(papers=(CASE, degraded))
    assert audit(book)[0] == Figures(events=6, strict=4, degraded=1)
    silent = book._replace(orders=book.orders[2:], answers=book.answers)
    assert audit(silent)[1].unaccounted == ["e4"]


def test_for_want_of_history_nobody_is_banned() -> None:
    """Who has two offences is dealt with as if the second were the first; a ban is no milder way to do it."""
    milder, banned = (
        without("retract4")._replace(orders=(*ORDERS[:2], order(2, name, "a1", "e4", 4), ORDERS[3]))
        for name in ("mute4", "ban4")
    )
    assert audit(milder)[1] == Findings([], ["retract4"], [], [], ["mute4"], [])
    assert audit(milder._replace(forgotten=True))[0] == Figures(events=6, strict=4, degraded=1)
    assert audit(banned._replace(forgotten=True))[1] == Findings([], [], [], [], ["ban4"], [])
    assert audit(banned._replace(forgotten=True, banned=frozenset({"a1"})))[0].clean


def test_a_bug_that_was_planted_makes_a_dead_letter_an_outcome_and_no_other_does() -> None:
    felled = LETTER._replace(place=Place("dead", 0, 1), source=Place(*CHAT, 2), reason="processing_error")
    book = BOOK._replace(papers=(), dead=(LETTER, felled), looks=())
    assert audit(book)[1].unaccounted == ["e2"]
    assert audit(book._replace(buggy=True))[0] == Figures(events=6, strict=4, degraded=1)
    refused = felled._replace(reason="schema")
    assert audit(book._replace(buggy=True, dead=(LETTER, refused)))[1].unaccounted == ["e2"]


def test_an_event_published_twice_may_name_either_place() -> None:
    def action(offset: int) -> bytes:
        return b'{"until":1,"source":{"topic":"chat","partition":0,"offset":%d}}' % offset

    one = ORDERS[2]._replace(value=action(4))
    two = ORDERS[2]._replace(place=Place("actions", 0, 9), value=action(6), source=Place(*CHAT, 6))
    twice = BOOK._replace(orders=(*ORDERS[:2], one, ORDERS[3], two), committed={CHAT: 7})
    assert audit(twice)[1].doubled == ["retract4"]
    assert audit(twice._replace(sent=(*BOOK.sent, sent(6, "e4"))))[0].clean


def test_a_case_written_twice_with_other_times_is_a_figure() -> None:
    later = CASE._replace(place=Place("cases", 0, 1), value=b'{"created_at":2}')
    figures, _ = audit(BOOK._replace(papers=(CASE, later)))
    assert (figures.rewritten, figures.clean) == (1, True)


def test_the_lag_counts_what_is_not_committed() -> None:
    assert lag({CHAT: 7, Lane("chat", 1): 2}, {CHAT: 5}) == 4
    assert lag({CHAT: 5}, {CHAT: 6}) == 0


def test_the_truth_holds_single_messages_strictly_and_the_rest_loosely() -> None:
    chat = [
        event("你好", 0, account="a0"),
        event("来我们区 现金", 1, at_s=1, account="a1"),
        *(event("啦啦啦", 2 + n, at_s=2 + n, account="flooder") for n in range(6)),
        event("出金加QQ 7381920465", 10, at_s=20, account="b1"),
        event("出金加QQ 7381920465", 11, at_s=21, account="b2"),
        event("来我们区 现金", 12, at_s=30, account="both"),
        event("来我们区 现金", 13, at_s=31, account="both", to={"account_id": "r1"}),
    ]
    known = asyncio.run(truth(rules(), chat))
    strict = {one.account for one in known.expected.values() if one.strict}
    assert strict == {"a0", "a1"}
    assert known.expected["e1"].actions or known.expected["e1"].cases
    assert not known.expected["e0"].actions
    assert {"flooder", "b1"} <= known.does.keys()
    every, checked = shares(known.expected)
    assert 0 < checked < every


def test_generated_chat_has_enough_to_check() -> None:
    chat = made(7, 2000, 500, TS)
    every, strict = shares(asyncio.run(truth(rules(), chat)).expected)
    assert strict > every / 3 > 10


def test_every_bad_record_is_one() -> None:
    for key, value in _BAD:
        with pytest.raises(EventError):
            decode_event(value, key)


def test_records_are_keyed_and_strewn_with_bad_ones() -> None:
    chat = made(7, 400, 500, TS)
    todo = records(chat, Topics.under(""), 0.25, 7, twice=True)
    good = [one for one in todo if one.event_id]
    assert len(good) == 800
    assert 150 < 2 * len(todo) - 1600 < 250
    for one in good:
        decode_event(one.value, one.key)


def test_some_clocks_are_an_hour_or_a_day_off_and_the_first_is_right() -> None:
    chat = made(7, 400, 500, TS)
    off = astray(chat, 0.25, 7)
    by = [after.ts - before.ts for before, after in zip(chat, off, strict=True)]
    assert off == astray(chat, 0.25, 7)
    assert by[0] == 0
    assert {abs(ms) for ms in by} == {0, 3_600_000, 86_400_000}
    assert 50 < sum(ms != 0 for ms in by) < 150


def test_a_message_that_says_it_is_an_hour_old_may_be_acted_on_in_vain() -> None:
    chat = [event("你好", n, account=f"a{n}") for n in range(2)]
    off = [replace(chat[0], ts=chat[0].ts - 3_600_000), replace(chat[1], ts=chat[1].ts + 3_600_000)]
    known = aged(asyncio.run(truth(rules(), chat)), chat, off)
    assert {name for name, one in known.expected.items() if one.late} == {"e0"}
    late = {**BOOK.expected, "e1": MUTED._replace(late=True)}
    assert audit(answered("mute1", "rejected")._replace(expected=late))[0].clean
    assert audit(without("mute1")._replace(expected=late))[1].lost == ["mute1"]


def test_what_wrong_clocks_change_for_others_is_said() -> None:
    chat = [event("来我们区 现金", n, at_s=n, account=f"a{n}") for n in range(3)]
    off = [chat[0], replace(chat[1], ts=chat[1].ts + 1), chat[2]]
    known = asyncio.run(truth(rules(), chat))
    free = known.expected | {"e2": Expected("e2", "a2")}
    said = swayed(chat, off, known, known._replace(expected=free))
    assert said.startswith("1 accounts have wrong clocks; of 2 messages of others that matter, 1 go free")
    assert said.endswith("and 0 more do")


def test_a_generation_is_read_from_the_brokers_own_notes() -> None:
    """Bytes as Kafka 4.1 wrote them for a group `faults` of one member, cut after what is read."""
    key = b"\0\2\0\x06faults"
    value = b"\0\3\0\x08consumer\0\0\0\x07\0\x05range"
    note = SimpleNamespace(key=key, value=value)
    assert generation_of(note, "faults") == 7
    assert generation_of(note, "others") is None
    assert generation_of(SimpleNamespace(key=key, value=None), "faults") is None
    assert generation_of(SimpleNamespace(key=b"\0\1\0\x06faults", value=value), "faults") is None


def test_a_bug_strikes_one_call_in_a_thousand_while_its_file_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    call = buggy(lambda: None, "judge")

    def often() -> None:
        for _ in range(100_000):
            call()

    often()
    for name, kind in KINDS.items():
        (tmp_path / BUGS).write_text(name)
        with pytest.raises(kind):
            often()


def test_bugs_are_planted_where_a_worker_looks_for_its_parts() -> None:
    code = "from bench.faults.buggy import infest; from streams import worker; infest(); print(worker.KafkaOutbox)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "BuggyOutbox" in told.stdout


def test_the_table_names_each_fault_once() -> None:
    ids = [fault.id for fault in FAULTS]
    assert len(set(ids)) == len(ids)
    assert all(fault.full for fault in FAULTS)


def through(
    story: Callable[[Proxy, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    heard: asyncio.Event | None = None,
) -> None:
    """Run `story` with a proxy before a server that echoes what it has `heard`, and a connection through it."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            if heard:
                heard.set()
            writer.write(data)
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        async with server, Proxy(server.sockets[0].getsockname()[1]) as proxy:
            reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
            await story(proxy, reader, writer)
            writer.close()

    asyncio.run(main())


def test_a_proxy_hands_over_late_what_it_held_back() -> None:
    async def story(proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"one")
        assert await reader.readexactly(3) == b"one"
        proxy.silence()
        writer.write(b"two")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.readexactly(3), 0.2)
        proxy.speak()
        assert await asyncio.wait_for(reader.readexactly(3), 5) == b"two"

    through(story)


def test_a_proxy_can_pass_what_is_said_and_keep_the_answer() -> None:
    async def story(proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        proxy.deafen()
        writer.write(b"heard")
        await asyncio.wait_for(heard.wait(), 5)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.readexactly(5), 0.2)
        proxy.speak()
        assert await asyncio.wait_for(reader.readexactly(5), 5) == b"heard"

    heard = asyncio.Event()
    through(story, heard)


def test_a_proxy_is_as_slow_as_it_is_told() -> None:
    async def story(proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        proxy.delay_s = 0.1
        began = asyncio.get_running_loop().time()
        writer.write(b"slow")
        assert await reader.readexactly(4) == b"slow"
        assert asyncio.get_running_loop().time() - began >= 0.2

    through(story)


def test_a_proxy_resets_what_is_open() -> None:
    async def story(proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"one")
        assert await reader.readexactly(3) == b"one"
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.readexactly(1), 5)

    through(story)
