"""Hostile chat on a terminal: what could hide, reorder or control is seen, and marks stand where something matched."""

from __future__ import annotations

import unicodedata
from typing import Any, get_args, get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from console import words
from console.board import Board, Latency, Report, screen, summary
from console.show import MATCH, deed, explanation, marked, token, visible
from moderation.actions import Ack, Action, Case, Field, Label, RevertScope, Target, Verdict
from moderation.context import FACTS, Tier
from moderation.events import Channel
from moderation.explain import explain
from moderation.reading import SIGNALS
from tests.small_rules import TS, event, rules

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


def test_a_spared_message_is_explained_by_what_spared_it() -> None:
    said = event("有骗子说来我们区，转会费五百")
    assert "被放过：护栏 quoting" in printed(explanation(explain(rules(), said), said), width=120)


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


def test_a_summary_names_what_was_not_accounted_for() -> None:
    verdicts = {"allow": 8, "review": 1, "act": 1}
    report = Report(12, verdicts, {"mute": 1, "ban": 0, "revert": 1}, 0, 1, 1, 3.5, Latency(5, 50), reverted_seen=False)
    assert any(
        line.split() in (["unaccounted", "1"], ["没有着落", "1"]) for line in printed(summary(report)).splitlines()
    )
