"""Hostile chat on a terminal: what could hide, reorder or control is seen, and marks stand where something matched."""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from console import words
from console.board import Board, Latency, Report, screen, summary
from console.show import MATCH, deed, explanation, marked, token, visible
from console.words import say
from moderation.actions import Ack, Action, Case, Field, Label, RevertScope, Target, Verdict
from moderation.alike import DISGUISES
from moderation.context import FACTS, Tier
from moderation.events import Channel
from moderation.explain import explain
from moderation.reading import SIGNALS
from moderation.rulefile import load
from tests.small_rules import LEXICONS, TS, event, layer, rules

if TYPE_CHECKING:
    from moderation.ruleset import RuleSet

HOSTILE = "加\u200b微\u202e信 [red]abc[/red]\x1b[31m\r\n\x07:skull:"


def printed(what: object, *, width: int = 80, height: int = 24) -> str:
    console = Console(width=width, height=height, highlight=False, markup=False, emoji=False, color_system=None)
    with console.capture() as caught:
        console.print(what)
    return caught.get()


def actions_for(text: str, number: int = 0, **fields: Any) -> tuple[Action, ...]:
    return explain(rules(), event(text, number, **fields)).judgement.actions


def harmless(char: str) -> bool:
    return unicodedata.category(char) not in {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"}


@pytest.mark.parametrize(
    ("char", "shown"),
    [
        ("\x00", "␀"), ("\n", "␊"), ("\r", "␍"), ("\x1b", "␛"), ("\x7f", "␡"), ("\x9b", "⟨U+009B⟩"),
        ("\u200b", "⟨U+200B⟩"), ("\u2060", "⟨U+2060⟩"), ("\ufeff", "⟨U+FEFF⟩"), ("\u00ad", "⟨U+00AD⟩"),
        ("\u202e", "⟨U+202E⟩"), ("\u2066", "⟨U+2066⟩"), ("\u2028", "⟨U+2028⟩"), ("\u00a0", "⟨U+00A0⟩"),
        ("\u3164", "⟨U+3164⟩"), ("\u2800", "⟨U+2800⟩"), ("\ufe0f", "⟨U+FE0F⟩"), ("\U000e0041", "⟨U+E0041⟩"),
        ("\u0336", "⟨U+0336⟩"), ("\ue000", "⟨U+E000⟩"), ("\ud800", "⟨U+D800⟩"),
    ],
)  # fmt: skip
def test_what_hides_reorders_or_controls_is_a_token(char: str, shown: str) -> None:
    assert token(char) == shown


@pytest.mark.parametrize("text", ["来我们区 500/天", "ＱＱ　１２３", "héllo ß", "🀄💰", "ภาษาไทย", "한국어"])
def test_what_players_of_the_world_write_is_left_alone(text: str) -> None:
    assert visible(text) == text


@given(st.text())
def test_no_text_prints_anything_that_is_not_seen(text: str) -> None:
    assert all(map(harmless, visible(text)))


@given(st.text(min_size=1, max_size=40), st.data())
def test_a_mark_covers_exactly_the_span_of_the_raw_text(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text) + 3))
    shown = marked(text, [(start, end)])
    assert shown.plain == visible(text)
    under = "".join(shown.plain[s.start : s.end] for s in shown.spans if MATCH in str(s.style))
    assert under == visible(text[start:end])


def test_a_long_text_is_shown_from_just_before_its_first_mark() -> None:
    assert marked("好" * 100 + "加微信", [(100, 103)], around=3).plain == "…好好好加微信"


def test_markup_and_emoji_names_of_players_are_only_text() -> None:
    out = printed(marked(HOSTILE, [(0, 2)]))
    assert "[red]abc[/red]" in out
    assert ":skull:" in out
    assert "\x1b" not in out
    assert "\r" not in out


def test_everything_that_can_be_shown_has_a_word() -> None:
    whys = get_type_hints(Case)["why_human"]
    for named, values in (
        (words.LABELS, get_args(Label)), (words.VERDICTS, get_args(Verdict)), (words.TIERS, get_args(Tier)),
        (words.FIELDS, get_args(Field)), (words.WHY_HUMAN, get_args(whys)), (words.SIGNALS, SIGNALS),
        (words.FACTS, FACTS), (words.CHANNELS, ("all", *get_args(Channel))),
        (words.VIEWS, ("plain", *DISGUISES)),
    ):  # fmt: skip
        assert set(named) == set(values)
    assert set(words.UNDONE) == set(get_args(RevertScope))


@pytest.mark.parametrize(
    ("environ", "zh"),
    [
        ({"LANG": "zh_CN.UTF-8"}, True), ({"LANG": "en_US.UTF-8"}, False), ({}, False),
        ({"LC_ALL": "C", "LANG": "zh_CN.UTF-8"}, False), ({"LC_ALL": "", "LC_MESSAGES": "zh_TW", "LANG": "C"}, True),
    ],
)  # fmt: skip
def test_the_locale_chooses_the_language(environ: dict[str, str], zh: bool) -> None:
    assert words.chinese(environ) is zh


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"action": "mute", "duration_s": 3600}, "禁言 1小时"),
        ({"action": "mute", "duration_s": 600, "scope": ("world", "horn")}, "禁言 10分钟 世界、喇叭"),
        ({"action": "mute", "duration_s": 600, "visibility": "self_only"}, "影子禁言 10分钟"),
        ({"action": "ban", "duration_s": None, "scope": "account"}, "封号 永久"),
        ({"action": "revert", "scope": "message"}, "撤回消息"),
        ({"action": "revert", "scope": "mute"}, "解除禁言"),
        ({"action": "revert", "scope": "ban"}, "解除封号"),
    ],
)
def test_an_action_is_said_in_the_words_of_a_moderator(changes: dict[str, object], said: str) -> None:
    plain = Action(
        "a1", "mute", Target("p1"), "all", None, None, None, TS, "x", "y", mode="auto", ruleset="r"
    )  # fmt: skip
    assert deed(msgspec.structs.replace(plain, **changes)) == said


def test_an_explanation_says_why_more_is_asked_against_a_settled_player() -> None:
    for text, level, told in (("zzzq", 60, True), ("zzzq", 3, False), ("出金加QQ 7381920465", 60, False)):
        said = event(text, level=level)
        assert ("act_settled" in printed(explanation(explain(rules(), said), said), width=120)) is told


def test_an_explanation_says_what_hit_what_was_dropped_and_what_nearly_hit() -> None:
    said = event("出金加QQ 738190005，举报替代练习", level=3, name="看我\u202e名字")
    out = printed(explanation(explain(rules(), said), said), width=120)
    for part in (
        "处罚",
        "撤回消息 + 禁言 1小时",
        "qq 738190005",
        "sell.contact",
        "替代",
        "看我⟨U+202E⟩名字",
        "新号",
        "contact.drop",
    ):
        assert part in out
    assert "不成词" in out
    assert "\u202e" not in out


def explained(text: str, *, disguised: bool = False, **fields: Any) -> str:
    """Return what a moderator reads; `disguised`: the terms of things to sell are also looked for in disguise."""
    said = event(text, **fields)
    return printed(explanation(explain(hiding() if disguised else rules(), said), said), width=160)


@cache
def hiding() -> RuleSet:
    lexicons = LEXICONS.replace("说明: 卖东西", "说明: 卖东西\n  disguised: true")
    return load([layer(lexicons__all_yaml=lexicons)])


def points(label: str, score: int, short: int = 0) -> str:
    """Return how the points of a label are said, `short` of being acted on."""
    return f"{label} {score} {say('分', 'points')}" + (
        f"，{say('离处罚差', 'short of act by')} {short}" if short else ""
    )


def row(shown: str, start: str) -> list[str]:
    """Return the cells of the first row that starts so."""
    line = next(line for line in shown.splitlines() if line.strip().startswith(start))
    return re.split(r"\s{2,}", line.strip())


def test_a_spared_message_is_explained_by_the_guard_and_its_words() -> None:
    shown = explained("有骗子说来我们区，转会费五百")
    assert "被放过：护栏 quoting「骗子」" in shown
    assert row(shown, "poach.cash")[1:] == ["2/2", "被放过：护栏 quoting「骗子」", points("拉人", 60, 10)]


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("袋炼找我QQ 738190005", "袋炼＝代练（谐音）"), ("dai lian QQ 738190005", "dai lian＝代练（拼音）"),
        ("亻弋练 QQ 738190005", "亻弋练＝代练（拆字）"), ("练代 QQ 738190005", "练代＝代练（倒写）"),
        ("代a练b QQ 738190005", "代a练＝代练（夹字）"),
    ],
)  # fmt: skip
def test_what_is_only_meant_is_told_with_its_disguise(text: str, read: str) -> None:
    assert row(explained(text, disguised=True), say("另读出", "read as"))[1].split("，") == [read]


def test_every_hit_says_what_made_its_points_and_what_a_disguise_cost() -> None:
    price = hiding().policy.disguises["sound"]
    shown = explained("袋炼找我QQ 738190005", disguised=True)
    assert row(shown, "sell.contact")[2] == str(75 - price)
    assert f" 75 -{price} 读法“谐音” " in shown
    boosted = explained("来我们区，转会费五百", to={"account_id": "p2", "is_friend": False})
    assert row(boosted, "poach.cash")[2] == "80"
    assert " 60 +20 情境“不是好友” " in boosted


def test_a_likeness_that_is_too_weak_alone_is_shown_as_such() -> None:
    shown = explained("袋炼", disguised=True)
    assert row(shown, "sell")[1:] == ["袋炼（谐音：代练）", "不算：单凭它太弱"]
    assert say("另读出", "read as") not in shown


@pytest.mark.parametrize(
    ("text", "fields", "rule", "cells"),
    [
        ("来我们区", {}, "poach.cash", ["1/2", "缺 词库 cash", points("拉人", 60, 10)]),
        (
            f"来我们区{'吧' * 12}现金多", {}, "poach.cash",
            ["2/3", "缺 挨近：相距 18 字，要在 12 字以内", points("拉人", 60, 10)],
        ),
        (
            "出金", {"to": {"account_id": "p2"}}, "sell.spray",
            ["2/3", "缺 次数：10分钟内同一人 3 个收信人", points("线下交易", 80)],
        ),
        ("代练", {}, "sell.spray", ["1/2", "缺 情境“私聊频道”", points("线下交易", 80)]),
        ("看我名字", {}, "name.carrier", ["1/2", "缺 联系方式（在 name、guild、signature）", points("联系方式", 80)]),
    ],
)  # fmt: skip
def test_the_nearest_rules_say_what_was_missing_and_what_it_would_have_made(
    text: str, fields: dict[str, Any], rule: str, cells: list[str]
) -> None:
    assert row(explained(text, **fields), rule)[1:] == cells


def test_a_score_says_how_many_points_are_wanting() -> None:
    shown = explained("QQ 738190005")
    assert points("联系方式", 50, 20) + say("（转人工 40，处罚 70）", "（review 40，act 70）") in shown


def test_a_carried_or_disguised_handle_is_told_with_where_it_stands() -> None:
    shown = explained("看我名字", name="加QQ 738①90005")
    assert " ".join(row(shown, say("联系方式", "handles"))[1:]) == "qq 738190005（昵称，有伪装）"


def test_invisible_characters_are_seen_wherever_the_text_is_shown() -> None:
    shown = explained("出\u200b金加QQ 738190005")
    assert all(map(harmless, shown.replace("\n", "")))
    assert shown.count("出⟨U+200B⟩金") >= 3, "in the message, where it hit, and among the terms"
    assert "零宽字符" in shown


@given(
    st.lists(
        st.sampled_from(["来我们区", "现金", "代练", "袋炼", "亻弋练", "出金", "QQ 738190005", "骗子", "\u200b", "好"]),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from([{}, {"to": {"account_id": "p2", "is_friend": False}}, {"guild_id": "g", "level": 3}]),
)
def test_the_parts_of_a_hit_add_up_to_its_points(pieces: list[str], fields: dict[str, Any]) -> None:
    found = explain(hiding(), event("，".join(pieces), **fields))
    assert {hit.rule for hit in found.hits} == found.parts.keys()
    for hit in found.hits:
        assert min(100, max(0, sum(part.points for part in found.parts[hit.rule]))) == hit.weight


@pytest.mark.parametrize(("width", "height"), [(80, 24), (60, 10), (200, 50)])
def test_the_live_display_fits_its_terminal_whatever_players_say(width: int, height: int) -> None:
    board = Board()
    for number in range(70):
        for action in actions_for(
            f"出金加QQ 738190005 {HOSTILE * 9}", number, account=f"a{number}", name=HOSTILE, level=3
        ):
            board.applied(action, Ack(action.action_id, "applied", TS + 5, action.target.account_id))
    lines = printed(screen(board, "清流", width, height), width=width, height=height).splitlines()
    assert len(lines) <= height
    assert max(map(cell_len, lines)) <= width
    assert all(map(harmless, "".join(lines)))
    assert any("撤回+禁言1小时" in line for line in lines)


def test_the_report_keeps_the_last_places_of_latency() -> None:
    board = Board()
    for number, late in enumerate([5] * 98 + [50, 500]):
        action = actions_for("出金加QQ 738190005", number, level=3)[0]
        board.applied(action, Ack(action.action_id, "applied", TS + late))
    assert board.report().latency_ms == Latency(5, 50)


def test_an_earlier_member_of_a_campaign_is_not_late() -> None:
    board, action = Board(), actions_for("出金加QQ 738190005", level=3)[0]
    assert action.evidence is not None
    later = msgspec.structs.replace(action, created_at=action.evidence.when.judged + 60_000)
    board.applied(later, Ack(later.action_id, "applied", later.created_at + 7))
    assert board.report().latency_ms == Latency(7, 7)


def test_a_summary_names_what_was_not_accounted_for() -> None:
    verdicts = {"allow": 8, "review": 1, "act": 1}
    report = Report(12, verdicts, {"mute": 1, "ban": 0, "revert": 1}, 0, 1, 1, 3.5, Latency(5, 50), reverted_seen=False)
    assert any(
        line.split() in (["unaccounted", "1"], ["没有着落", "1"]) for line in printed(summary(report)).splitlines()
    )
