"""What was said before changes how a message is read, and for whom, how long and how much of it."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moderation.actions import Handle
from moderation.moderator import Moderator
from moderation.recall import KNOWN_MS, MOST_KNOWN, MOST_NAMED, MOST_NAMES, RENAMED_MS, Recall
from moderation.rulefile import load
from tests.small_rules import GUARDS, event, layer, rules

if TYPE_CHECKING:
    from moderation.decide import Finding
    from moderation.events import ChatEvent
    from moderation.ruleset import RuleSet

NUMBER: Final = "7381920465"
OFFER: Final = f"出金加QQ {NUMBER}"
DAY_S: Final = KNOWN_MS / 1000


def judge(*chat: ChatEvent, under: RuleSet | None = None) -> list[Finding]:
    return Moderator(under or rules()).judge(chat)


def handles(*chat: ChatEvent, under: RuleSet | None = None) -> list[tuple[str, ...]]:
    """The handles of each message, by type and value."""
    return [tuple(f"{h.type}:{h.value}" for h in finding.handles) for finding in judge(*chat, under=under)]


# --- handles


@pytest.mark.parametrize("bare", [NUMBER, f"{NUMBER} 在吗", f"找 {NUMBER}", f"【{NUMBER}】"])
@pytest.mark.parametrize("account", ["a1", "b"])
def test_a_handle_that_got_a_verdict_is_recognised_bare_from_anybody(bare: str, account: str) -> None:
    assert handles(event(bare)) == [()]
    chat = event(OFFER, 0), event(bare, 1, at_s=60, account=account)
    assert handles(*chat)[1] == (f"qq:{NUMBER}",)
    assert "contact.drop" in {hit.rule for hit in judge(*chat)[1].hits}


def test_a_rule_that_people_overturned_teaches_no_handle() -> None:
    moderator = Moderator(rules())
    moderator.overturned = frozenset(rule.id for rule in rules().rules)
    assert [finding.handles for finding in moderator.judge([event(OFFER, 0), event(NUMBER, 1, at_s=60)])][1] == ()


def test_a_handle_a_human_marked_is_recognised_bare_by_a_worker_that_never_met_it() -> None:
    moderator = Moderator(rules())
    moderator.recall.told(["num:7381920465", "wx:mao_2b88"], [])
    chat = [event(f"找 {NUMBER}"), event("mao_2b88", 1), event("mao_2b889", 2)]
    found = [[(h.type, h.value) for h in finding.handles] for finding in moderator.judge(chat)]
    assert found == [[("qq", NUMBER)], [("wx", "mao_2b88")], []]
    moderator.recall.told([], [])
    assert [finding.handles for finding in moderator.judge([event(NUMBER, 3)])] == [()]


def test_a_handle_a_human_allowed_is_recognised_no_more_whatever_it_earned() -> None:
    moderator = Moderator(rules())
    offer, bare = event(OFFER, 0), event(NUMBER, 1, at_s=60, account="b")
    moderator.judge([offer])
    moderator.recall.told([f"num:{NUMBER}"], [f"num:{NUMBER}"])
    assert moderator.judge([bare])[0].handles == ()
    moderator.recall.told([], [])
    assert [h.value for h in moderator.judge([bare])[0].handles] == [NUMBER]


def test_a_recognised_handle_stands_where_it_was_typed() -> None:
    last = judge(event(OFFER), event("找 ７３８\u200b１９２０４６５", 1, at_s=1, account="b"))[1]
    [handle] = last.handles
    assert last.event.text[slice(*handle.span)] == "７３８\u200b１９２０４６５"


def test_an_id_is_recognised_as_a_whole_and_not_as_a_part_of_another() -> None:
    chat = event("出金加微信 mao_2b88"), event("mao_2b88", 1, at_s=1), event("mao_2b889", 2, at_s=2)
    assert handles(*chat) == [("wx:mao_2b88",), ("wx:mao_2b88",), ()]
    assert handles(event(OFFER), event(f"88{NUMBER}", 1, at_s=1))[1] == ()


@pytest.mark.parametrize(("after_s", "known"), [(0.001, True), (DAY_S, True), (DAY_S + 0.001, False), (-0.001, False)])
def test_a_handle_is_known_for_a_day_of_event_time_and_not_before_it(after_s: float, *, known: bool) -> None:
    assert bool(handles(event(OFFER), event(NUMBER, 1, at_s=after_s, account="b"))[1]) is known


def test_after_its_day_a_handle_is_learned_anew() -> None:
    again = [event(OFFER, n, at_s=n * (DAY_S + 1)) for n in range(2)]
    assert handles(*again, event(NUMBER, 9, at_s=2 * DAY_S, account="b"))[2]


def test_a_handle_without_a_verdict_is_not_learned() -> None:
    friend = event(f"扣扣{NUMBER}聊", to={"account_id": "r"})
    first, second = judge(friend, event(NUMBER, 1, at_s=1, account="b"))
    assert (first.verdict, bool(first.handles)) == ("allow", True)
    assert second.handles == ()


@cache
def with_reporters() -> RuleSet:
    return load([layer(guards_yaml=GUARDS + "reporting: {lexicon: report}\n")])


def test_a_handle_is_not_learned_from_whoever_reports_it() -> None:
    report = event(f"举报他 {OFFER}")
    [finding] = judge(report, under=with_reporters())
    assert (finding.verdict, finding.quoting) == ("act", True)
    assert handles(report, event(NUMBER, 1, at_s=1, account="b"), under=with_reporters())[1] == ()
    assert handles(event(OFFER), event(NUMBER, 1, at_s=1, account="b"), under=with_reporters())[1]


def test_a_known_handle_is_recognised_as_a_name_too() -> None:
    look = event("看我名字", 1, at_s=1, account="b", name=NUMBER)
    assert {hit.rule for hit in judge(event(OFFER), look)[1].hits} == {"name.carrier"}
    assert not judge(look)[0].hits


def test_the_memory_of_handles_is_bounded_and_the_longest_unseen_goes_first() -> None:
    recall = Recall()
    for number in range(MOST_KNOWN + 5):
        recall.learn([Handle("qq", str(10**9 + number), (0, 1))], number)
        recall.learn([Handle("qq", str(10**9), (0, 1))], number)
    assert len(recall._handles) == MOST_KNOWN
    assert str(10**9) in recall._handles, "it was seen all the time"
    assert str(10**9 + 1) not in recall._handles


# --- names


def renamed(*names: str, gap_s: float = 5, **fields: Any) -> Finding:
    """What is found in the last of some messages, each under another name."""
    chat = [event("看我名字", n, at_s=n * gap_s, name=name, **{"level": 3, **fields}) for n, name in enumerate(names)]
    return judge(*chat)[-1]


@pytest.mark.parametrize(
    "names",
    [
        ("加Q738", "1920465"),
        ("加Q", "7381", "920", "465"),
        ("加Q738", "加Q738", "1920465"),
        ("加Q738", "加Q1920", "加Q465"),
    ],
)
def test_a_number_spelled_by_renaming_is_read(names: tuple[str, ...]) -> None:
    finding = renamed(*names)
    assert {hit.rule for hit in finding.hits} == {"name.carrier"}
    assert [(h.value, h.field) for h in finding.handles] == [(NUMBER, "name")]


def test_names_are_read_as_one_only_of_new_accounts_and_within_minutes() -> None:
    assert not renamed("加Q738", "1920465", level=60).hits
    assert not renamed("加Q738", "1920465", level=None).hits
    assert renamed("加Q738", "1920465", gap_s=RENAMED_MS / 1000).hits
    assert not renamed("加Q738", "1920465", gap_s=RENAMED_MS / 1000 + 1).hits


def test_the_names_of_two_accounts_are_not_read_as_one() -> None:
    one = event("看我名字", 0, name="加Q738", level=3, account="a1")
    other = event("看我名字", 1, at_s=1, name="1920465", level=3, account="a2")
    assert not judge(one, other)[1].hits


def test_few_names_of_few_accounts_are_remembered() -> None:
    recall = Recall()
    for number in range(MOST_NAMED + 5):
        recall.names(event("a", account=f"a{number}", name="甲"))
    assert len(recall._names) == MOST_NAMED
    many = [recall.names(event("a", at_s=n, account="loud", name=chr(0x4E00 + n))) for n in range(30)]
    assert max(map(len, many)) == MOST_NAMES


@given(st.lists(st.tuples(st.sampled_from(("甲", "乙", "丙", None)), st.integers(1, 400)), max_size=12))
def test_a_redelivered_event_has_no_names_it_had_not_before(steps: list[tuple[str | None, int]]) -> None:
    at_s, chat = 0, []
    for number, (name, gap_s) in enumerate(steps):
        at_s += gap_s
        chat.append(event("a", number, at_s=at_s, name=name))
    recall = Recall()
    first = [recall.names(one) for one in chat]
    assert all(again in before for before, again in zip(first, map(recall.names, chat), strict=True))


# --- pieces of several accounts on one device


def torn(**fields: Any) -> list[set[str]]:
    """What hits in an offer torn over three accounts."""
    pieces = ("出金加扣", "7381920", "465")
    chat = [event(t, n, at_s=3 * n, account=f"a{n}", **fields) for n, t in enumerate(pieces)]
    return [{hit.rule for hit in finding.hits} for finding in judge(*chat)]


def test_pieces_of_new_accounts_on_one_device_come_together() -> None:
    assert "sell.contact" in torn(level=3, device_id="d1")[2]
    two = judge(
        event("出金加扣", 0, account="a1", level=3, device_id="d1"),
        event(NUMBER, 1, at_s=2, account="a2", level=3, device_id="d1"),
    )
    assert [(h.value, h.field) for h in two[1].handles] == [(NUMBER, "window")]


@pytest.mark.parametrize(
    "fields", [{"level": 60, "device_id": "d1"}, {"device_id": "d1"}, {"level": 3}, {"level": 3, "device_id": ""}]
)
def test_pieces_of_others_or_of_no_known_device_do_not(fields: dict[str, Any]) -> None:
    assert not any("sell.contact" in rules_ for rules_ in torn(**fields))


# --- columns over messages


def test_a_number_that_stands_upright_over_several_messages_is_read() -> None:
    rows = ("加QQ", "738", "192", "046")
    columns = ["\n".join(column) for column in zip(*(row.ljust(3) for row in rows), strict=True)]
    found = judge(*(event(text, n, at_s=2 * n) for n, text in enumerate(columns)))
    assert found[0].handles == ()
    assert [(h.type, h.value, h.field) for h in found[2].handles] == [("qq", "738192046", "window")]


@settings(max_examples=40)
@given(st.integers(10_000_000, 9_999_999_999).map(str).filter(lambda n: len(set(n)) > 4))
def test_whatever_number_is_torn_in_two_is_read_whole(number: str) -> None:
    whole = handles(event(f"加QQ {number}"))[0]
    chat = event("加QQ", 0), event(number[:4], 1, at_s=2), event(number[4:], 2, at_s=4)
    assert set(whole) <= set(handles(*chat)[2])
