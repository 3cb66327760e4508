"""What a replay shows of the words: nobody said them, others cover them; and what was said again and again."""

from __future__ import annotations

import asyncio
from io import StringIO
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from rich.console import Console

from console.recording import BATCH
from console.replay import Replay
from console.show_survey import shown
from console.survey import Candidate, Covered, Survey, Words
from moderation.rulefile import read
from tests.small_rules import LEXICONS, event, layer
from tests.test_backtest_cli import place as place  # noqa: PLC0414  a fixture
from tests.test_backtest_cli import report, run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from moderation.events import ChatEvent

SPAM = "出金加QQ 7381920465"


def surveyed(chat: Sequence[ChatEvent], lexicons: str = LEXICONS) -> Words:
    layers, survey = (layer(lexicons__all_yaml=lexicons),), Survey()
    lines = [msgspec.json.encode(one) for one in chat]
    replay = Replay(layers, survey=survey)
    for first in range(0, len(lines), BATCH):
        asyncio.run(replay.batch(lines[first : first + BATCH]))
    return survey.words(read(layers))


def whispered(text: str, number: int, account: str, **more: Any) -> ChatEvent:
    return event(text, number, account=account, at_s=number, to={"account_id": f"to-{account}"}, **more)


def test_terms_that_nobody_said_are_named_by_their_class() -> None:
    words = surveyed([event("出金", 1), event("替代练习场", 2)])
    assert "出金" not in words.silent["sell"]
    assert "代练" in words.silent["sell"]  # it stands there, but is no word


def test_a_word_that_a_longer_one_of_its_class_always_covers_is_needless() -> None:
    lexicons = LEXICONS.replace("[出金, 代练, 收元宝]", "[出金, 代练, 收元宝, 代练车]")
    always = surveyed([event("代练车 出金", n, account=f"a{n}") for n in range(3)], lexicons)
    assert always.covered == (Covered("sell", "代练", 3, "代练车"),)
    once = surveyed([event("代练车", 1), event("找代练", 2, account="b")], lexicons)
    assert once.covered == ()


def test_repeated_texts_with_a_handle_of_punished_accounts_may_have_been_missed() -> None:
    chat = [event(SPAM, 0, account="seller", level=3)]
    chat += [whispered(f"有事找我 QQ 7381920465 {n}", 10 + 700 * n, "a") for n in range(4)]
    chat += [whispered("找我 QQ 800000001", 20 + 700 * n, "b") for n in range(4)]  # nobody was punished with this one
    chat += [whispered("就说一次 QQ 7381920465", 30, "a")]
    [found] = surveyed(chat).candidates
    assert found == Candidate("有事找我 QQ 7381920465 0", 4, 1, ("qq:7381920465",))


def test_where_nobody_was_punished_nothing_was_missed() -> None:
    chat = [whispered("有事找我 QQ 7381920465", n, f"a{n}") for n in range(2)]
    assert surveyed(chat).candidates == ()


def test_what_is_remembered_is_bounded() -> None:
    survey = Survey(5)
    replay = Replay((layer(),), survey=survey)
    signs = [chr(0x4E00 + n) * 4 for n in range(40)]
    chat = [whispered(f"{said} QQ 73819{n:05}", n, f"a{n}") for n, said in enumerate(signs)]
    asyncio.run(replay.batch([msgspec.json.encode(one) for one in chat]))
    assert (len(survey._missed), len(survey._dropped)) == (5, 5)


def test_what_players_wrote_is_shown_with_what_hides_in_it() -> None:
    chat = [event(SPAM, 0, account="seller", level=3)]
    chat += [whispered("有\u202e事 QQ 7381920465", 700 * n, "a") for n in (1, 2)]
    page = StringIO()
    for part in shown(surveyed(chat)):
        Console(width=150, file=page).print(part)
    assert "有⟨U+202E⟩事" in page.getvalue()


@pytest.mark.usefixtures("place")
def test_the_report_of_a_recording_has_the_words_beside_the_rules() -> None:
    words = report("report", "--on", "chat.jsonl")["words"]
    assert "收元宝" in words["silent"]["sell"]
    assert "收元宝" in run("report", "--on", "chat.jsonl").stdout


def test_the_report_of_topics_wants_a_reason(place: Path) -> None:
    assert place.is_dir()
    assert "--why" in run("report", "--on", "kafka", "--since", "2026-11-21", code=2).stderr
