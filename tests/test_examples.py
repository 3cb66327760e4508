"""Tests of rules that stand in a layer of their own, and granted appeals that become such tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from console.appeals import Filed
from console.examples import examples, new, text, write
from moderation.actions import Action, AppealCommand, RuleRef
from moderation.appeal import opened
from moderation.errors import RuleSetRejected, SettingsError
from moderation.moderator import Moderator
from moderation.policy import AppealPolicy
from moderation.rulefile import load
from moderation.ruletest import failures
from streams.rules import load_rules
from tests.small_rules import TS, event, layer, rules
from tests.test_pipeline import SPAM, Desk, record

if TYPE_CHECKING:
    from pathlib import Path

    from moderation.errors import RuleProblem
    from moderation.ruleset import RuleSet


def under(**files: str) -> RuleSet:
    """The small rules with a layer on top."""
    return load([layer(), {name.replace("_yaml", ".yaml"): raw.encode() for name, raw in files.items()}])


def refused(text: str) -> list[RuleProblem]:
    with pytest.raises(RuleSetRejected) as caught:
        under(examples_yaml=text)
    return list(caught.value.problems)


# --- a layer's examples


def test_a_layer_adds_tests_to_a_rule_it_does_not_own() -> None:
    found = under(examples_yaml="sell.contact:\n  pass:\n    - 你好\n    - {text: 出金, level: 3}\n").by_id[
        "sell.contact"
    ]
    assert [one.events[-1].text for one in found.passes] == ["占位", "你好", "出金"]
    assert found.passes[-1].events[0].sender.level == 3
    assert [one.events[-1].text for one in found.hits] == ["占位"]


def test_tests_change_neither_the_revision_nor_what_is_judged() -> None:
    more = under(examples_yaml="sell.contact:\n  hit: [出金加QQ 7381920465]\n")
    assert more.by_id["sell.contact"].revision == rules().by_id["sell.contact"].revision
    assert more.hash == rules().hash


def test_a_failing_test_is_told_with_its_own_place() -> None:
    [told] = [
        one for one in failures(under(examples_yaml=f"sell.contact:\n  pass:\n    - {SPAM}\n")) if one.wanted == "pass"
    ]
    assert str(told).startswith("examples.yaml:3 规则 sell.contact 不该命中却命中")


@pytest.mark.parametrize(
    ("written", "code", "line"),
    [
        ("sell.contract:\n  pass: [你好]\n", "E214", 1),
        ("sell.contact:\n  passes: [你好]\n", "E102", 2),
        ("sell.contact: [你好]\n", "E101", 1),
        ("- sell.contact\n", "E101", 1),
        ("sell.contact:\n  pass:\n    - {text: 你好, lvl: 3}\n", "E102", 3),
    ],
)
def test_what_is_wrong_with_examples_is_told_with_its_place(written: str, code: str, line: int) -> None:
    [problem] = refused(written)
    assert (problem.code, problem.line) == (code, line)


def test_an_unknown_rule_is_told_with_the_one_that_was_meant() -> None:
    assert "sell.contact" in refused("sell.contract:\n  pass: [你好]\n")[0].message


# --- from granted appeals


def granted(said: str = SPAM, number: int = 1, **fields: Any) -> Filed:
    """A message that was punished, and the appeal that was granted."""
    desk = Desk()
    desk.chat(record(event(said, number, **{"level": 3, **fields})))
    action = desk.post.actions()[-1]
    command = AppealCommand("c1", "cs", TS, action.action_id, action.target.account_id)
    return Filed(opened(command, action, AppealPolicy()), action)


def test_what_was_said_is_a_test_of_every_rule_that_hit() -> None:
    found = examples([granted()], rules().by_id)
    assert set(found) == {"sell.contact", "contact.drop"}
    assert found["sell.contact"] == [{"text": SPAM, "channel": "world", "level": 3}]


def test_where_and_to_whom_it_was_said_is_part_of_the_test() -> None:
    [one] = examples([granted("来我们区，转会费五百", to={"account_id": "r1"}, level=3)], ["poach.cash"])["poach.cash"]
    assert (one["channel"], one["to"]) == ("private", {"id": "r1"})


def test_a_name_that_was_why_is_part_of_the_test_and_another_is_not() -> None:
    named = granted("看我名字", name="加Q7381920465")
    action = named.action
    assert action
    assert action.evidence
    spanless = msgspec.structs.replace(
        action,
        evidence=msgspec.structs.replace(action.evidence, what=msgspec.structs.replace(action.evidence.what, spans=())),
    )
    assert examples([Filed(named.appeal, spanless)], ["name.carrier"])["name.carrier"][0]["name"] == "加Q7381920465"
    assert "name" not in examples([granted(name="张三")], ["sell.contact"])["sell.contact"][0]


def test_the_same_words_twice_are_one_test_and_unknown_rules_have_none() -> None:
    assert examples([granted(), granted(number=2)], ["sell.contact", "gone"]) == examples([granted()], ["sell.contact"])
    gone = Action(
        **{n: getattr(granted().action, n) for n in Action.__struct_fields__} | {"rules": (RuleRef("gone", "1"),)}
    )
    appeal = opened(AppealCommand("c1", "cs", TS, gone.action_id, "a1"), gone, AppealPolicy())
    assert examples([Filed(appeal, gone), Filed(appeal, None)], rules().by_id) == {}


HOSTILE = [
    '出金"加QQ 7381920465\\',
    "出金加QQ 7381920465 # {n: [x",
    "出金\u200b加QQ\u202e 7381920465",
    "出金加QQ 7381920465\n- !!python",
]


@pytest.mark.parametrize("said", HOSTILE)
def test_whatever_players_write_is_read_back_as_it_was_and_shown_with_nothing_hidden(said: str) -> None:
    found = examples([granted(said)], rules().by_id)
    written = text(found)
    assert all(char.isprintable() or char == "\n" for char in written)
    rule = under(examples_yaml=written).by_id["sell.contact"]
    assert rule.passes[-1].events[0].text == said.strip()
    assert "sell.contact" in {hit.rule for hit in Moderator(rules()).judge(rule.passes[-1].events)[0].hits}


# --- into a directory of rules


@pytest.fixture
def base(tmp_path: Path) -> Path:
    for name, content in layer().items():
        file = tmp_path / "base" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return tmp_path / "base"


def test_written_examples_are_loaded_with_the_layer_and_not_written_twice(base: Path, tmp_path: Path) -> None:
    site, found = tmp_path / "site", examples([granted()], rules().by_id)
    assert new(found, site) == found
    file = write(found, site, [base, site])
    assert new(found, site) == {}
    loaded = load_rules([base, site])
    assert loaded.by_id["sell.contact"].passes[-1].events[0].text == SPAM
    assert file.read_text("utf-8") == text(found)


def test_what_a_moderator_wrote_stays_as_it_is(base: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    mine = "# 我的\nsell.contact:   # 说明\n  pass:\n    - 你好   # 打招呼\n\nflood.same:\n  hit:\n    - 一\u3000二\n"
    (site / "examples.yaml").write_text(mine, "utf-8")
    write(examples([granted()], rules().by_id), site, [base, site])
    after = (site / "examples.yaml").read_text("utf-8").splitlines()
    assert [line for line in mine.splitlines() if line not in after] == []
    assert [one.events[-1].text for one in load_rules([base, site]).by_id["sell.contact"].passes] == [
        "占位",
        "你好",
        SPAM,
    ]


def test_a_layer_that_would_not_load_is_left_as_it_was(base: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    with pytest.raises(RuleSetRejected):
        write({"no.such-rule": [{"text": "你好"}]}, site, [base, site])
    assert not site.exists()


@pytest.mark.parametrize(
    "broken", ["- a\n", "sell.contact: 7\n", "a: [\n", "sell.contact: {pass: 7}\n", "a: &b {pass: []}\n"]
)
def test_a_file_that_cannot_be_read_is_refused_and_stays(base: Path, tmp_path: Path, broken: str) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "examples.yaml").write_text(broken, "utf-8")
    with pytest.raises((SettingsError, RuleSetRejected)):
        write(examples([granted()], rules().by_id), site, [base, site])
    assert (site / "examples.yaml").read_text("utf-8") == broken
