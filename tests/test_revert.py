"""Which actions a mass revert means, and which of them stand by themselves."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from moderation.actions import Action, Evidence, Handle, How, RuleRef, Target, What, When, Where, Which, Who, Why
from moderation.revert import covers, facets, justified, narrowest
from tests.small_rules import TS, rules

BAD, GOOD = "sell.alone", "sell.contact"
CONTACT = Handle("qq", "123456789", (0, 1))


def mute(*weights: tuple[str, int], **fields: Any) -> Action:
    """A mute that these rules led to, with the points they gave."""
    where = Evidence(
        Who("a1", tier="new"), When(TS, TS), Where("s1", "world"), What("x", "x"), Why("rmt", 90.0), How("spam", 1)
    )
    given: dict[str, Any] = {
        "action_id": "0" * 32,
        "action": "mute",
        "target": Target("a1"),
        "scope": "all",
        "duration_s": 60,
        "until": TS + 60_000,
        "deliver_before": None,
        "created_at": TS,
        "reason_code": "rmt.mute",
        "reason_text": "",
        "mode": "auto",
        "ruleset": "r",
        "label": "rmt",
        "evidence": where,
        "rules": tuple(RuleRef(rule, "11111111", weight) for rule, weight in weights),
    }
    return Action(**(given | fields))


def test_an_action_is_listed_under_all_that_may_be_asked_for() -> None:
    action = mute((BAD, 90), (GOOD, 20), campaign_id="c1")
    assert facets(action) == ("any", f"rule:{BAD}", f"rule:{GOOD}", "campaign:c1", "server:s1", "label:rmt")
    assert facets(mute(reverts="1" * 32)) == ()


@pytest.mark.parametrize(
    "which",
    [
        Which(rule=BAD),
        Which(rule=BAD, revision="11111111"),
        Which(server_id="s1", label="rmt"),
        Which(since=TS, until=TS + 1),
        Which(),
    ],
)
def test_what_is_meant_is_listed_where_it_is_looked_for(which: Which) -> None:
    action = mute((BAD, 90))
    assert covers(which, action)
    assert narrowest(which) in facets(action)


@pytest.mark.parametrize(
    "which",
    [
        Which(rule=GOOD),
        Which(rule=BAD, revision="22222222"),
        Which(server_id="s2"),
        Which(campaign_id="c1"),
        Which(since=TS + 1),
        Which(until=TS),
    ],
)
def test_what_is_not_meant_stays(which: Which) -> None:
    assert not covers(which, mute((BAD, 90)))


def test_what_other_live_rules_would_have_punished_alone_is_justified() -> None:
    under = rules()
    act = under.policy.labels["rmt"].act
    assert justified(Which(rule=BAD), mute((BAD, 90), (GOOD, act)), under)
    assert not justified(Which(rule=BAD), mute((BAD, 90), (GOOD, act - 1)), under)
    assert not justified(Which(rule=BAD), mute((BAD, 90), ("gone", 100)), under)
    assert not justified(Which(rule=BAD, revision="11111111"), mute((BAD, 90)), under)


@pytest.mark.parametrize(
    ("tier", "handles", "bar"),
    [("established", (), 90), ("vip", (), 90), ("", (), 90), ("new", (), 70), ("established", (CONTACT,), 70)],
)
def test_words_alone_justify_less_against_who_need_not_be_new(tier: str, handles: tuple[Handle, ...], bar: int) -> None:
    under = rules()
    label = under.policy.labels["rmt"]
    assert (label.act, label.act_settled) == (70, 90)
    known = mute().evidence
    assert known is not None
    seen = replace(known, who=Who("a1", tier=tier), what=What("x", "x", handles=handles))
    for weight in (bar - 1, bar):
        action = mute((BAD, 90), (GOOD, weight), evidence=seen)
        assert justified(Which(rule=BAD), action, under) is (weight == bar)


def test_nothing_is_justified_where_no_rule_is_blamed_nor_what_a_campaign_did() -> None:
    under = rules()
    assert not justified(Which(server_id="s1"), mute((GOOD, 100)), under)
    assert not justified(Which(rule=BAD), mute((GOOD, 100), campaign_id="c1"), under)
