"""Campaigns, the pure part: who joins, by which key, in which campaign, and what becomes of the members."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.actions import Action, Handle, Hit
from moderation.campaign import (
    DUET_MS,
    MOST_KEYS,
    MOST_TEXT,
    Joined,
    Known,
    Sighting,
    campaign_id,
    handle_key,
    place,
    script,
    sighting,
)
from moderation.context import Bounds
from moderation.decide import Finding
from moderation.moderator import Moderator
from moderation.policy import CampaignPolicy
from moderation.sweep import Sweep, Swept, said
from tests.small_rules import TS, event, rules

if TYPE_CHECKING:
    from moderation.actions import Label, Verdict

POLICY = rules().policy
AD = "平价晶石大量出售需要的找我"
QQ = Handle("qq", "617390285", (0, 9))
MINUTE = 60_000


def hit(label: Label = "rmt", **other: Any) -> Hit:
    return Hit(**{"rule": "r1", "revision": "1", "label": label, "weight": 80, "because": "卖金", **other})


def found(  # what was found in one message
    text: str = AD,
    *,
    verdict: Verdict = "act",
    score: float = 80,
    hits: tuple[Hit, ...] = (hit(),),
    handles: tuple[Handle, ...] = (),
    label: Label | None = "rmt",
    over_budget: bool = False,
    quoting: bool = False,
    **said: Any,
) -> Finding:
    return Finding(event(text, **said), verdict, score, hits, handles, label, text, over_budget, quoting)


def seen(finding: Finding) -> Sighting | None:
    return sighting(finding, POLICY.bounds, TS + 5)


def sure(finding: Finding) -> Sighting:
    one = seen(finding)
    assert one
    return one


# --- who is sighted, by which keys -------------------------------------------------------------------------------


def test_a_finding_is_sighted_by_its_handles_and_its_text() -> None:
    one = sure(found(handles=(QQ, Handle("wx", "mao_mao", (0, 7)))))
    assert one.keys[:2] == ("num:617390285", "wx:mao_mao")
    assert one.keys[2].startswith("text:")
    assert one.suspect


@pytest.mark.parametrize("kind", ["qq", "qun", "tel", "wx", "yy"])
def test_the_same_digits_are_one_key_whatever_they_are_called(kind: str) -> None:
    assert handle_key(kind, "617390285") == "num:617390285"


def test_a_digit_of_another_script_is_no_number() -> None:
    assert handle_key("wx", "٣٤٥٦٧") == "wx:٣٤٥٦٧"


@pytest.mark.parametrize(
    "finding",
    [
        found(hits=(), verdict="allow", label=None),
        found(hits=(hit("flood"),), label="flood"),
        found(hits=(hit("abuse"),), label="abuse"),
        found(hits=(hit(status="shadow"),), verdict="allow", label=None),
        found("出金"),
        found(verdict="allow"),
        found(verdict="review", level=60, account_age_days=100),
        found(text_type="preset"),
        found(handles=(QQ,), text_type="item_link"),
        found("出金", handles=(Handle("qun", "617390285", (0, 9), field="guild"),)),
    ],
    ids=["chat", "flood", "abuse", "shadow", "short", "weak", "crowd", "preset", "item", "guild-name"],
)
def test_what_is_no_offer_of_the_player_is_not_sighted(finding: Finding) -> None:
    assert seen(finding) is None


def test_whoever_quotes_or_reports_is_not_sighted() -> None:
    assert seen(found(handles=(QQ,), quoting=True)) is None


@pytest.mark.parametrize("field", ["text", "window", "name", "signature"])
def test_a_handle_is_a_key_wherever_the_player_put_it(field: Any) -> None:
    assert sure(found("看我名字", handles=(Handle("qq", "617390285", (0, 9), field=field),))).keys == ("num:617390285",)


def test_a_handle_without_a_live_hit_is_sighted_but_not_suspect() -> None:
    friend = sure(found("加我 617390285", hits=(), verdict="allow", label=None, handles=(QQ,)))
    tried = sure(found("加我 617390285", hits=(hit(status="shadow"),), verdict="allow", label=None, handles=(QQ,)))
    weak = sure(found("加我 617390285", verdict="allow", label=None, handles=(QQ,)))
    assert [one.suspect for one in (friend, tried, weak)] == [False, False, True]


def test_a_message_of_forty_handles_has_few_keys() -> None:
    many = tuple(Handle("qq", f"6173902{n:02}", (0, 9)) for n in range(40))
    assert len(sure(found(handles=many)).keys) == MOST_KEYS + 1


def test_a_rule_over_its_budget_proves_nothing() -> None:
    assert sure(found(over_budget=True)).verdict == "review"


def test_a_huge_message_is_kept_in_part_with_spans_that_fit() -> None:
    long = sure(found("出" * 2000, hits=(hit(span=(3, 5)), hit(span=(600, 602))), handles=(QQ,)))
    what = long.evidence.what
    assert (len(what.text), len(what.folded), what.spans) == (MOST_TEXT, MOST_TEXT, ((3, 5),))


# --- when two texts are one --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("平价晶石大量出售找微 js_dapeng1 qw", "平价晶石，大量出售！找微 mao_2b ~~"),
        ("平价晶石大量出售找微 js_dapeng1 哇", "平价晶石大量出售找微 js_dapeng2 丶"),
        ("来我们区发展转会费五百现金日结", "来我们区 发展 转会费三千现金 日结"),
        ("来我们区发展转会费500现金日结", "来我们区发展转会费5000现金日结"),
        ("cheap gold fast delivery 100k whisper me", "cheap gold, fast delivery 500k whisper me"),
        ("cheap gold fast delivery whisper now qw", "cheap gold fast delivery whisper now zz!"),
    ],
)
def test_copies_of_a_text_are_one(one: str, other: str) -> None:
    assert script(one) == script(other) != ""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("来我们区发展转会费现金日结", "来我们帮发展转会费贡献日结"),
        ("平价晶石大量出售找我", "平价金币大量出售找我"),
    ],
)
def test_different_texts_are_not_one(one: str, other: str) -> None:
    assert script(one) != script(other)


@pytest.mark.parametrize(
    "text", ["", "666666666666666", "出金加我", "加薇 js_dapeng1", "cheap gold", "一二三四五六七八九十"]
)
def test_too_little_text_is_no_key(text: str) -> None:
    assert script(text) == ""


def test_handles_are_masked_where_they_stand() -> None:
    ids = [Handle("wx", "mao", (0, 3)), Handle("wx", "mao_mao", (0, 7))]
    assert script("cheap gold delivered daily by mao_mao", ids) == script("cheap gold delivered daily by mao", ids)


@given(st.text(max_size=600))
def test_masking_never_fails_and_leaves_letters_only(text: str) -> None:
    assert all(letter.isalnum() and not letter.isdecimal() for letter in script(text))


# --- which campaign ----------------------------------------------------------------------------------------------


def placed(one: Sighting, **known: Known) -> str | None:
    where = place(one, {key.replace("__", ":"): fact for key, fact in known.items()})
    return where.campaign_id if where else None


def test_the_first_sighting_of_a_key_begins_a_campaign_named_after_it() -> None:
    one = sure(found(handles=(QQ,)))
    where = place(one, {})
    assert where
    assert where.campaign_id == campaign_id("num:617390285")
    assert {key: fact.campaign for key, fact in where.ties.items()} == dict.fromkeys(one.keys, where.campaign_id)


def test_a_new_key_is_tied_to_the_campaign_of_one_that_has_one() -> None:
    one = sure(found(handles=(QQ, Handle("wx", "mao_mao", (0, 7)))))
    where = place(one, {"wx:mao_mao": Known("c1", TS)})
    assert where
    assert where.campaign_id == "c1"
    assert set(where.ties) == {"num:617390285", one.keys[2]}


def test_of_keys_of_two_campaigns_the_first_decides_and_neither_is_moved() -> None:
    one = sure(found("出", handles=(QQ, Handle("wx", "mao_mao", (0, 7)))))
    where = place(one, {"num:617390285": Known("c1", TS), "wx:mao_mao": Known("c2", TS)})
    assert where
    assert (where.campaign_id, where.ties) == ("c1", {})


def test_what_a_place_teaches_leads_there_again() -> None:
    one = sure(found(handles=(QQ,), account="a1"))
    where = place(one, {"num:617390285": Known("c1", TS)})
    assert where
    assert place(one, {"num:617390285": Known("c1", TS)} | where.ties) == msgspec.structs.replace(
        where, ties={key: fact for key, fact in where.ties.items() if key.startswith("device:")}
    )


def test_an_honest_handle_joins_only_if_it_is_bad() -> None:
    honest = sure(found("加我 617390285", hits=(), verdict="allow", label=None, handles=(QQ,)))
    assert placed(honest, num__617390285=Known("c1", TS)) is None
    assert placed(honest, num__617390285=Known("c1", TS, "bad")) == "c1"
    assert placed(honest, num__617390285=Known(mark="bad")) == campaign_id("num:617390285")


def test_an_allowed_handle_joins_nothing_and_shields_nobody() -> None:
    allowed = Known("c1", TS, "allowed")
    assert placed(sure(found(handles=(QQ,))), num__617390285=allowed) is None
    both = sure(found(handles=(QQ, Handle("wx", "mao_mao", (0, 7)))))
    assert placed(both, num__617390285=allowed) == campaign_id("wx:mao_mao")


def with_device(one: Sighting, device: str, ts: int) -> Sighting:
    when = msgspec.structs.replace(one.evidence.when, event=ts)
    evidence = msgspec.structs.replace(one.evidence, when=when)
    return msgspec.structs.replace(one, device_id=device, evidence=evidence)


@pytest.mark.parametrize(("later", "together"), [(DUET_MS, True), (DUET_MS + 1, False), (-DUET_MS, True)])
def test_a_duet_on_one_device_is_one_campaign_for_some_minutes(later: int, *, together: bool) -> None:
    talks = place(with_device(sure(found(AD)), "d 1", TS), {})
    assert talks
    drops = with_device(sure(found("1", handles=(QQ,), account="a2")), "d 1", TS + later)
    where = place(drops, talks.ties)
    assert where
    assert (where.campaign_id == talks.campaign_id) is together


def test_an_honest_handle_on_the_device_of_a_suspect_joins_nothing() -> None:
    talks = place(with_device(sure(found(AD)), "d1", TS), {})
    assert talks
    honest = sure(found("加我", hits=(), verdict="allow", label=None, handles=(QQ,), account="a2"))
    assert place(with_device(honest, "d1", TS), talks.ties) is None


def test_no_device_is_not_a_device_of_its_own() -> None:
    talks = place(sure(found(AD)), {})
    assert talks
    other = place(sure(found("1", handles=(QQ,), account="a2")), talks.ties)
    assert other
    assert other.campaign_id != talks.campaign_id


# --- what becomes of the members ---------------------------------------------------------------------------------

TIERS: dict[str, dict[str, Any]] = {
    "new": {"level": 1, "account_age_days": 1},
    "established": {"level": 60, "account_age_days": 100},
    "paying": {"level": 60, "vip": 2},
    "vip": {"level": 90, "vip": 9},
}


def swept(*due: Sighting, bad: bool = False, campaigns: CampaignPolicy | None = None) -> Swept:
    joined = Joined("c1", due, TS + 9, bad)
    policy = msgspec.structs.replace(POLICY, campaigns=campaigns or CampaignPolicy())
    return Sweep(policy, "h", joined, event("因", 99, at_s=7)).outcome()


def orders(actions: tuple[Action, ...]) -> list[tuple[str, str, int | None]]:
    return [(a.target.account_id, a.action, a.duration_s) for a in actions]


def test_who_proved_it_climbs_further_than_who_was_only_suspected() -> None:
    strong = sure(found(account="a1", **TIERS["new"]))
    weak = sure(found(account="a2", verdict="review", score=50, handles=(QQ,), **TIERS["new"]))
    assert orders(swept(strong, weak).actions) == [
        ("a1", "mute", 86_400),
        ("a2", "revert", None),
        ("a2", "mute", 3600),
    ]
    assert orders(swept(strong, campaigns=CampaignPolicy(step=1)).actions) == [("a1", "mute", 3600)]


@pytest.mark.parametrize(
    ("tier", "verdict", "bad", "acted", "asked"),
    [
        ("new", "act", False, True, None),
        ("new", "review", False, True, None),
        ("new", "allow", False, False, "low_confidence"),
        ("new", "allow", True, True, None),
        ("established", "act", False, True, None),
        ("established", "review", False, False, "low_confidence"),
        ("established", "review", True, True, None),
        ("established", "allow", True, False, "low_confidence"),
        ("paying", "act", False, True, None),
        ("paying", "review", False, False, "low_confidence"),
        ("vip", "act", False, False, "vip"),
        ("vip", "act", True, False, "vip"),
        ("vip", "allow", True, False, "vip"),
    ],
)
def test_a_member_is_acted_on_or_put_before_a_human(
    tier: str, verdict: Verdict, bad: bool, acted: bool, asked: str | None
) -> None:
    one = sure(found(verdict=verdict, label="rmt" if verdict != "allow" else None, handles=(QQ,), **TIERS[tier]))
    actions, cases = swept(one, bad=bad)
    assert bool(actions) is acted
    assert [case.why_human for case in cases] == ([asked] if asked else [])


@pytest.mark.parametrize(
    ("tier", "verdict", "acted"),
    [("new", "act", True), ("new", "review", False), ("established", "act", False), ("paying", "act", False)],
)
def test_a_text_that_a_crowd_says_is_for_a_human(tier: str, verdict: Verdict, acted: bool) -> None:
    actions, cases = swept(sure(found("火队拉人技能冷却十四秒", verdict=verdict, **TIERS[tier])))
    assert (bool(actions), [case.why_human for case in cases]) == (acted, [] if acted else ["low_confidence"])


def test_a_step_that_asks_for_a_human_does_both() -> None:
    one = sure(found(label="poaching", hits=(hit("poaching"),), handles=(QQ,), **TIERS["established"]))
    actions, cases = swept(one)
    assert [a.action for a in actions] == ["mute"]
    assert [(c.why_human, c.judgement.verdict) for c in cases] == [("policy", "act")]


def test_a_bare_bad_handle_counts_as_a_contact() -> None:
    one = sure(found("加我", hits=(), verdict="allow", label=None, handles=(QQ,), **TIERS["new"]))
    actions, _ = swept(one, bad=True)
    assert {(a.label, a.reason_code) for a in actions} == {("contact", "contact.retract"), ("contact", "contact.mute")}


def test_what_is_still_up_of_a_member_comes_down_and_it_is_punished_for_the_worst() -> None:
    pieces = [
        sure(found(number=1, verdict="review", score=90, **TIERS["new"])),
        sure(found(number=2, score=75, label="poaching", hits=(hit("poaching"),), **TIERS["new"])),
        sure(found(number=3, verdict="review", score=95, **TIERS["new"])),
    ]
    down, ban = swept(*pieces).actions
    assert down.target.message_ids == ("e1", "e3"), "e2 was enough alone: it came down at once"
    assert (ban.action, ban.event_id, ban.label, ban.evidence) == ("ban", "e2", "poaching", pieces[1].evidence)


def test_an_action_tells_its_campaign_and_climbs_no_ladder() -> None:
    one = sure(found(account="a1", handles=(QQ,), extra={"zone": 3}, **TIERS["new"]))
    for action in swept(one).actions:
        assert (action.campaign_id, action.created_at, action.mode) == ("c1", TS + 9, "auto")
        assert action.deliver_before == TS + 7000 + POLICY.void_after_s * 1000
        assert action.extra == {"zone": 3}
        assert action.evidence
        assert action.evidence.how.ladder == "", "or a revert would forget a strike that another action led to"


def test_an_action_id_depends_on_campaign_kind_and_account_alone() -> None:
    one = sure(found(number=1, account="a1", **TIERS["new"]))
    other = sure(found("来我们区发展转会费现金日结", number=2, account="a1", score=99, **TIERS["new"]))
    first, second = swept(one).actions, swept(other).actions
    assert [a.action_id for a in first] == [a.action_id for a in second]
    assert len({a.action_id for a in (*first, *swept(sure(found(account="a2", **TIERS["new"]))).actions)}) == 2


def test_a_case_holds_the_message_as_far_as_it_is_remembered() -> None:
    vip: dict[str, Any] = {"level": 90, "vip": 9, "name": "会长", "guild": "听雨阁"}
    original = found(number=4, account="a3", to={"account_id": "a9"}, **vip)
    [case] = swept(sure(original)).cases
    assert case.event == said(sure(original)) == original.event
    assert case.judgement.campaign_id == "c1"
    assert case.due_at == TS + 9 + POLICY.case_due_h * 3_600_000


def test_a_sweep_keeps_the_contracts() -> None:
    verdicts: tuple[Verdict, ...] = ("act", "review", "allow")
    due = [
        sure(found(number=10 * n + m, account=f"a{n}.{m}", verdict=verdict, handles=(QQ,), **fields))
        for n, verdict in enumerate(verdicts)
        for m, fields in enumerate(TIERS.values())
    ]
    for bad in (False, True):
        actions, cases = swept(*due, bad=bad)
        for made in (*actions, *cases):
            assert msgspec.json.decode(msgspec.json.encode(made), type=type(made)) == made
        assert {a.target.account_id for a in actions} | {c.event.sender.account_id for c in cases} == {
            one.account_id for one in due
        }
        assert not {a.target.account_id for a in actions} & {
            one.account_id for one in due if one.evidence.who.tier == "vip"
        }


def test_nobody_due_is_nothing_done() -> None:
    assert swept() == Swept((), ())


# --- with the engine ---------------------------------------------------------------------------------------------


def test_what_the_engine_finds_is_sighted() -> None:
    said = event("出金加q 617390285", account="a1", level=1)
    [finding] = Moderator(rules()).judge([said])
    one = sighting(finding, Bounds(), TS)
    assert one
    assert one.keys == ("num:617390285",)
    assert (one.verdict, one.suspect, one.evidence.who.tier) == ("act", True, "new")


def test_ordinary_chat_is_not_sighted() -> None:
    findings = Moderator(rules()).judge([event("今晚八点开团，来的密我", n) for n in range(3)])
    assert [sighting(f, Bounds(), TS) for f in findings] == [None] * 3


def test_an_official_handle_is_not_sighted() -> None:
    [finding] = Moderator(rules()).judge([event("官方q 800173905 有人吗")])
    assert sighting(finding, Bounds(), TS) is None
