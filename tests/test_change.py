"""What differs between two rule sets, and when it takes two people."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from moderation.change import RuleChange, TermChange, bans, change
from moderation.rulefile import read
from tests.small_rules import ALLOW, GUARDS, LEXICONS, RULES, layer, rules

if TYPE_CHECKING:
    from moderation.ruleset import Contents


def other(**files: str) -> Contents:
    return read([layer(**files)])


def to(**files: str) -> tuple[str, ...]:
    return change(rules().contents, other(**files)).can_ban


def test_a_set_does_not_differ_from_itself_nor_by_what_is_noted_for_people() -> None:
    assert not change(rules().contents, other())
    assert not change(rules().contents, other(rules_yaml=RULES.replace("hit: [占位]", "hit: [别的]")))


def test_rules_that_came_went_or_are_other_are_named() -> None:
    text = RULES.replace("id: sell.contact", "id: sell.new").replace("score: 60", "score: 61")
    assert change(rules().contents, other(rules_yaml=text)).rules == (
        RuleChange("poach.cash", "live", "live", ("score",)),
        RuleChange("sell.contact", "live", ""),
        RuleChange("sell.new", "", "live"),
    )


def test_terms_are_told_by_their_class() -> None:
    text = LEXICONS.replace("出金, 代练", "代练, 卖号").replace("until: 2025-06-15", "until: 2025-06-16")
    assert change(rules().contents, other(lexicons__all_yaml=text)).terms == (
        TermChange("cash", changed=("夏日券",)),
        TermChange("sell", added=("卖号",), removed=("出金",)),
    )


def test_a_rule_can_ban_if_its_ladder_can_and_it_is_in_force() -> None:
    by_id = rules().by_id
    assert bans(rules().contents, by_id["poach.cash"])
    assert not bans(rules().contents, by_id["flood.same"])
    shadow = other(rules_yaml=RULES.replace("status: live", "status: shadow", 1))
    assert not bans(shadow, shadow.rules[0])


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        ({"rules_yaml": RULES.replace("score: 60", "score: 61")}, ("poach.cash",)),  # the rule itself
        ({"rules_yaml": RULES.replace("status: live", "status: shadow", 1)}, ()),  # it bans nobody any more
        (
            {
                "rules_yaml": RULES.replace("一分钟内重复五次", "重复").replace(
                    "within: 60, at_least: 5", "within: 61, at_least: 5"
                )
            },
            (),
        ),  # no ban
        ({"lexicons__all_yaml": LEXICONS.replace("跳槽", "跳槽, 换会")}, ("poach.cash",)),  # a term it looks for
        ({"guards_yaml": GUARDS.replace("report", "look")}, ("poach.cash",)),  # a guard it names
        ({"allowlist_yaml": ALLOW.replace("换区补偿", "补偿")}, ("allowlist",)),
        ({"game_yaml": "own_names: [清流传]\nrival_names: [浊浪传]\nmarkup: ['<b>']\n"}, ("game",)),
    ],
)
def test_what_may_ban_whom_the_old_set_would_not_is_named(files: dict[str, str], wanted: tuple[str, ...]) -> None:
    assert to(**files) == wanted


def test_another_policy_takes_two_people() -> None:
    policy = layer()["policy.yaml"].decode()
    assert to(policy_yaml=policy.replace("case_due_h: 24", "case_due_h: 25")) == ("policy",)
