"""The engine on a small rule set: what hits, what is spared, what is counted, and what becomes of it."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moderation.actions import Source
from moderation.moderator import Moderator
from moderation.rulefile import load
from moderation.ruleset import RuleSet
from moderation.scan import fingerprint
from moderation.standing import Standing
from tests.small_rules import RULES, TS, chats, disguised_rules, event, layer, rules

if TYPE_CHECKING:
    from moderation.decide import Finding, Outcome
    from moderation.events import ChatEvent

POACH = "来我们区发展，转会费五百"


def judge(*events: ChatEvent) -> Finding:
    """Judge events in order with fresh windows; the last one's finding."""
    moderator = Moderator(rules())
    return moderator.judge(events)[-1]


def hits(*events: ChatEvent) -> set[str]:
    return {h.rule for h in judge(*events).hits}


def outcome(e: ChatEvent, step: int = 1, **how: Any) -> Outcome:
    moderator = Moderator(rules())
    [finding] = moderator.judge([e])
    standing = None if how.get("degraded") else told(finding, step, merged=how.pop("merged", False))
    return moderator.decide(finding, TS + 900, standing, **how)


def told(finding: Finding, step: int = 1, *, merged: bool = False) -> Standing:
    """What the ledger would say."""
    ladder = rules().policy.labels[finding.label].ladder if finding.label else ""
    return Standing(step, TS + 500, merged, finding.label or "", ladder)


def kinds(of: Outcome) -> list[tuple[str, Any, int | None]]:
    return [(a.action, a.scope, a.duration_s) for a in of.judgement.actions]


# -- conditions


def test_a_combination_hits_where_single_words_do_not() -> None:
    assert hits(event(POACH)) == {"poach.cash"}
    assert not hits(event("来我们区玩"))
    assert not hits(event("转会费五百"))


def test_words_too_far_apart_do_not_belong_together() -> None:
    assert not hits(event("来我们区看看，这里什么都有而且人多热闹，转会费五百"))


def test_a_word_inside_other_words_is_not_a_word() -> None:
    assert not hits(event("替代练习场的门票"), event("替代练习场的门票", 1, to={"account_id": "r"}))


def test_separators_and_disguises_do_not_hide_words_and_spans_are_those_of_the_raw_text() -> None:
    finding = judge(event("来 我 们 区，转\u200b會費五百"))
    [hit] = finding.hits
    assert hit.span is not None
    assert finding.event.text[slice(*hit.span)] == "来 我 们 区，转\u200b會費"
    assert hit.because == "用转\u200b會費引诱玩家来 我 们 区"


def test_a_guard_spares_who_reports() -> None:
    assert not hits(event(POACH + "，大家举报"))


def test_context_adds_points_and_a_guard_on_context_spares() -> None:
    to = {"account_id": "r", "guild_id": "g2"}
    assert judge(event(POACH)).score == 60
    assert judge(event(POACH, to=to, guild_id="g1")).score == 80
    assert not hits(event(POACH, to={**to, "guild_id": "g1"}, guild_id="g1"))
    assert judge(event(POACH, to={"account_id": "r", "is_friend": True})).score == 60


def test_an_expired_term_and_an_expired_rule_no_longer_count() -> None:
    text = "来我们区换夏日券"
    before, after = event(text, at_s=-5 * 86_400), event(text, 1, at_s=5 * 86_400)
    assert hits(before)
    assert not hits(after)
    assert (hits(before, after), hits(after, before)) == (set(), hits(before))  # a text that was read before, too
    assert not hits(event(POACH, at_s=6 * 365 * 86_400))


def test_an_allowed_phrase_and_an_official_contact_are_not_seen() -> None:
    assert not hits(event("换区补偿现金券今天到账，来我们区领"))
    assert not hits(event("客服QQ 800173905"))
    assert hits(event("客服QQ 800173906"))


def test_a_handle_in_the_name_is_found_from_the_text() -> None:
    assert hits(event("看我名字", name="加Q7381920465")) == {"name.carrier"}
    assert not hits(event("看我名字", name="糖醋排骨"))


def test_context_restricts_a_rule_to_its_channels() -> None:
    assert "contact.drop" in hits(event("加QQ 7381920465"))
    assert "contact.drop" not in hits(event("加QQ 7381920465", to={"account_id": "r"}))


def test_shadow_weighs_nothing_and_drafts_do_not_run() -> None:
    finding = judge(event("出金了"))
    assert [(h.rule, h.status) for h in finding.hits] == [("shadow.sell", "shadow")]
    assert (finding.verdict, finding.score, finding.label) == ("allow", 0.0, None)


def test_a_rule_set_that_counts_nothing_judges_too() -> None:
    only = layer(rules_yaml=RULES.split("- id: contact.drop")[0])
    moderator = Moderator(load([only]))
    assert [h.rule for h in moderator.judge([event(POACH)])[0].hits] == ["poach.cash"]


def test_a_canary_is_in_force_only_in_its_trial() -> None:
    assert hits(event("xxxy", server_id="s9")) == {"canary.s9"}
    assert not hits(event("xxxy", server_id="s8"))


def test_evidence_adds_up_per_label_and_the_strongest_label_decides() -> None:
    finding = judge(event("出金加QQ 7381920465"))
    assert (finding.label, finding.score, finding.verdict) == ("rmt", 75.0, "act")
    assert {h.label for h in finding.hits} == {"rmt", "contact"}


# -- counting


def test_a_spray_needs_different_recipients_in_time() -> None:
    def said(n: int, to: str, at_s: float) -> ChatEvent:
        return event("出金吗", n, at_s=at_s, to={"account_id": to})

    assert "sell.spray" in hits(*(said(i, f"r{i}", i) for i in range(3)))
    assert "sell.spray" not in hits(*(said(i, "r0", i) for i in range(3)))
    assert "sell.spray" not in hits(*(said(i, f"r{i}", i * 400) for i in range(3)))


def test_a_redelivered_event_is_counted_once() -> None:
    once = [event("出金吗", i, at_s=i, to={"account_id": f"r{i}"}) for i in range(2)]
    assert "sell.spray" not in hits(*once, *once, *once)


def test_a_clients_retry_is_counted_once() -> None:
    retried = [event("哈哈哈", i, at_s=0.1 * i, client_msg_id="m1") for i in range(9)]
    assert not hits(*retried)


def test_flooding_is_the_same_text_again_and_again_whatever_its_tail() -> None:
    assert hits(*(event(f"收人收人快来吧{i}", i, at_s=i) for i in range(5))) == {"flood.same"}
    assert not hits(*(event(f"{'甲乙丙丁戊'[i]}说了一句话", i, at_s=i) for i in range(5)))
    assert not hits(*(event("收人收人", i, at_s=i * 30) for i in range(5)))


def test_a_count_with_a_context_counts_only_there() -> None:
    horn, world = {"channel": "horn"}, {"channel": "world"}
    assert "horn.often" in hits(*(event(f"第{i}句", i, at_s=i, **horn) for i in range(3)))
    assert "horn.often" not in hits(*(event(f"第{i}句", i, at_s=i, **(horn if i == 2 else world)) for i in range(3)))


def test_one_text_or_one_handle_from_many_accounts_is_found() -> None:
    assert "same.text" in hits(*(event(f"收元宝{i}了", i, at_s=i, account=f"a{i}") for i in range(3)))
    assert "same.text" not in hits(*(event(f"收元宝{i}了", i, at_s=i, account="a1") for i in range(3)))
    lines = ("加QQ 7381920465", "扣扣7381920465聊", "Q:七三八一九二零四六五")
    assert "same.handle" in hits(*(event(t, i, at_s=i, account=f"a{i}") for i, t in enumerate(lines)))


def test_split_messages_are_read_as_one() -> None:
    parts = [event(t, i, at_s=3 * i) for i, t in enumerate(("出金", "加扣", "7381", "920", "465"))]
    finding = judge(*parts)
    assert {"sell.contact", "contact.drop"} <= {h.rule for h in finding.hits}
    assert [(h.type, h.value, h.field) for h in finding.handles] == [("qq", "7381920465", "window")]


def test_a_message_after_the_pieces_is_not_blamed_for_them() -> None:
    parts = [event(t, i, at_s=3 * i) for i, t in enumerate(("出金加扣", "7381920", "465", "好的"))]
    assert not hits(*parts)


def test_a_long_run_of_one_character_is_noise() -> None:
    assert hits(event("哈" * 40)) == {"long.run"}
    assert not hits(event("哈哈哈哈哈"))


def test_the_fingerprint_masks_digits_and_a_tail() -> None:
    assert fingerprint("收元宝100找我abx1") == fingerprint("收元宝250,找我 qq7")
    assert fingerprint("收元宝") != fingerprint("卖元宝")


# -- deciding


def test_a_new_players_first_poaching_is_a_ban_with_its_message_taken_down() -> None:
    e = event(POACH, to={"account_id": "r"}, level=3)
    assert kinds(outcome(e)) == [("revert", "message", None), ("ban", "account", 7 * 86_400)]


def test_the_ladder_climbs_and_stays_at_its_top() -> None:
    e = event("出金加QQ 7381920465", level=3)
    muted = [[k[2] for k in kinds(outcome(e, step)) if k[0] != "revert"] for step in (1, 2, 3, 4, 9)]
    assert muted == [[3600], [86_400], [7 * 86_400], [None], [None]]


def test_a_merged_strike_only_takes_its_message_down() -> None:
    e = event("出金加QQ 7381920465", level=3)
    assert kinds(outcome(e, 2, merged=True)) == [("revert", "message", None)]


def test_a_vip_goes_to_a_human() -> None:
    moderator = Moderator(rules())
    [finding] = moderator.judge([event("出金加QQ 7381920465", vip=8)])
    assert moderator.strike(finding, TS) is None
    out = moderator.decide(finding, TS)
    assert (out.judgement.verdict, out.judgement.actions) == ("review", ())
    [case] = out.cases
    assert case.why_human == "vip"


def test_low_confidence_goes_to_a_human_with_what_the_ladder_would_do() -> None:
    out = outcome(event(POACH, level=3))
    assert (out.judgement.verdict, out.judgement.actions) == ("review", ())
    [case] = out.cases
    assert (case.why_human, case.suggested) == ("low_confidence", ("撤回消息", "封号 7天"))
    assert case.due_at - case.created_at == 24 * 3_600_000


def test_words_alone_must_weigh_more_against_a_settled_player_than_against_others() -> None:
    bars = msgspec.structs.replace(rules().policy.labels["rmt"], act_settled=95)
    policy = msgspec.structs.replace(rules().policy, labels={**rules().policy.labels, "rmt": bars})
    strict = RuleSet(msgspec.structs.replace(rules().contents, policy=policy))
    told: list[dict[str, Any]] = [{"level": 60}, {"account_age_days": 90}, {"level": 3}, {"account_age_days": 1}, {}]
    verdicts = [Moderator(strict).judge([event("zzzq", **known)])[0].verdict for known in told]
    assert verdicts == ["review", "review", "act", "act", "act"]
    [finding] = Moderator(strict).judge([event("出金加QQ 7381920465", level=60)])
    assert finding.verdict == "act"  # a contact is no mere word


def test_without_history_nobody_is_muted_or_banned() -> None:
    out = outcome(event("出金加QQ 7381920465", level=3), degraded=True)
    assert kinds(out) == [("revert", "message", None)]
    assert out.judgement.actions[0].degraded
    [case] = out.cases
    assert case.why_human == "degraded"


def test_a_rule_past_its_budget_asks_a_human() -> None:
    moderator = Moderator(rules())
    findings = moderator.judge([event("zzzq", i, at_s=i, account=f"a{i}") for i in range(5)])
    assert [f.over_budget for f in findings] == [False, False, False, True, True]
    out = moderator.decide(findings[3], TS)
    [case] = out.cases
    assert case.why_human == "budget"
    assert moderator.strike(findings[3], TS) is None


def test_a_rule_that_people_overturned_draws_on_no_budget() -> None:
    moderator = Moderator(rules())
    moderator.overturned = frozenset(rule.id for rule in rules().rules)
    findings = moderator.judge([event("zzzq", i, at_s=i, account=f"a{i}") for i in range(5)])
    assert [(f.over_budget, f.overturned) for f in findings] == [(False, True)] * 5
    moderator.overturned = frozenset()
    assert not moderator.judge([event("zzzq", 9, at_s=9, account="a9")])[0].over_budget


def test_beyond_the_breaker_everything_asks_a_human_until_a_minute_is_over() -> None:
    contents = rules().contents
    policy = msgspec.structs.replace(contents.policy, breaker_per_minute=2)
    moderator = Moderator(RuleSet(msgspec.structs.replace(contents, policy=policy)))
    times = (0, 1, 2, 61, 62, 63)
    chat = [event("出金加QQ 7381920465", i, at_s=s, account=f"a{i}") for i, s in enumerate(times)]
    assert [f.over_budget for f in moderator.judge(chat)] == [False, False, True, False, False, True]


def test_an_action_says_everything_its_consumer_and_its_judge_need() -> None:
    e = event("出金加QQ 7381920465", level=3, name="甲", extra={"shard": 7})
    [retract, mute] = outcome(e, source=Source("chat.world", 4, 17)).judgement.actions
    assert retract.target.message_ids == ("e0",)
    assert mute.until == TS + 500 + 3_600_000  # from when it was first judged, not from now
    assert mute.deliver_before == TS + 600_000
    assert mute.source == Source("chat.world", 4, 17)
    assert mute.extra == {"shard": 7}
    assert mute.ruleset == rules().hash
    assert mute.evidence is not None
    assert mute.evidence.what.text == e.text
    assert mute.evidence.how.step == 1
    assert [r.id for r in mute.rules] == ["sell.contact", "contact.drop"]


def test_what_the_player_reads_names_no_rule_and_no_word() -> None:
    for action in outcome(event("出金加QQ 7381920465", level=3)).judgement.actions:
        assert "出金" not in action.reason_text
        assert "sell" not in action.reason_text + action.reason_code


def test_the_same_event_gets_the_same_bytes_again_and_other_events_other_ids() -> None:
    e = event("出金加QQ 7381920465", level=3)
    first, again = (msgspec.json.encode(outcome(e).judgement) for _ in range(2))
    assert first == again
    other = outcome(event("出金加QQ 7381920465", 1, level=3))
    ids = {a.action_id for a in (*outcome(e).judgement.actions, *other.judgement.actions)}
    assert len(ids) == 4


def test_a_redelivered_event_is_punished_for_what_it_was_punished_for_the_first_time() -> None:
    moderator = Moderator(rules())
    [finding] = moderator.judge([event("出金加QQ 7381920465", level=3)])
    first = moderator.decide(finding, TS, told(finding))
    crowd = msgspec.structs.replace(finding, label="contact", score=95.0)  # seen among many who dropped that handle
    again = moderator.decide(crowd, TS, told(finding))
    assert [(a.action_id, a.label, a.duration_s) for a in again.judgement.actions] == [
        (a.action_id, a.label, a.duration_s) for a in first.judgement.actions
    ]


def test_action_ids_do_not_depend_on_the_rules() -> None:
    e = event("出金加QQ 7381920465", level=3)
    other = Moderator(load([layer(), {"rules.yaml": b"[]", "policy.yaml": b"case_due_h: 5"}]))
    assert other.rules.hash != rules().hash
    [finding] = other.judge([e])
    theirs = other.decide(finding, TS, told(finding)).judgement.actions
    assert [a.action_id for a in theirs] == [a.action_id for a in outcome(e).judgement.actions]


# -- whatever comes


@settings(max_examples=60)
@given(st.lists(st.text(max_size=60), min_size=1, max_size=12), st.sampled_from(["world", "private", "horn"]))
def test_any_texts_are_judged_and_spans_lie_inside_them(texts: list[str], channel: str) -> None:
    moderator = Moderator(rules())
    for number, text in enumerate(texts):
        [finding] = moderator.judge([event(text, number, at_s=number, channel=channel)])
        for span in [h.span for h in finding.hits if h.span] + [h.span for h in finding.handles]:
            assert 0 <= span[0] <= span[1] <= len(text)


@settings(max_examples=30)
@given(
    st.lists(st.sampled_from(["出金", "加Q", "7381920465", "738", "1920465", POACH, "哈哈", "看我名字"]), max_size=10)
)
def test_judging_is_a_function_of_what_was_said_before(texts: list[str]) -> None:
    events = [event(t, i, at_s=i, name="V信abc12345") for i, t in enumerate(texts)]
    one, other = Moderator(rules()), Moderator(rules())
    assert one.judge(events) == other.judge(events)


@settings(max_examples=120)
@given(chats(), st.lists(st.integers(1, 5), max_size=8))
def test_how_events_are_cut_into_batches_changes_nothing(chat: list[ChatEvent], sizes: list[int]) -> None:
    whole = Moderator(disguised_rules()).judge(chat)
    single, cut = Moderator(disguised_rules()), Moderator(disguised_rules())
    assert [single.judge([one])[0] for one in chat] == whole
    ends = [*accumulate(sizes), len(chat)]
    assert [f for at, end in pairwise((0, *ends)) for f in cut.judge(chat[at:end])] == whole


@settings(max_examples=120)
@given(chats())
def test_a_batch_that_comes_again_finds_nothing_it_did_not_find_before(chat: list[ChatEvent]) -> None:
    moderator = Moderator(disguised_rules())
    for first, again in zip(moderator.judge(chat), moderator.judge(chat), strict=True):
        assert {hit.rule for hit in again.hits} <= {hit.rule for hit in first.hits}
        assert {(h.type, h.value) for h in again.handles} <= {(h.type, h.value) for h in first.handles}


@settings(max_examples=60)
@given(chats(most=6, gaps_ms=(1, 800, 5000)))
def test_a_batch_of_moments_that_comes_again_finds_the_same(chat: list[ChatEvent]) -> None:
    moderator = Moderator(disguised_rules())
    first, again = moderator.judge(chat), moderator.judge(chat)
    assert [(f.verdict, f.label, f.score, f.handles) for f in first] == [
        (f.verdict, f.label, f.score, f.handles) for f in again
    ]


@pytest.mark.parametrize(
    "text", ["龘" * 512, "加" + "\u0301" * 500, "1" * 2048, "." * 2048, "加微信" * 600, "\ufdfa" * 512]
)
def test_hostile_texts_are_judged(text: str) -> None:
    assert judge(event(text[:2048])).verdict in ("allow", "review", "act")


def test_the_plain_engine_finds_what_the_fast_one_finds() -> None:
    plain, fast = Moderator(load([layer()], plain=True)), Moderator(rules())
    texts = (POACH, "出金加QQ 7381920465", "来 我 们 区 现 金", "替代练习场", "收元宝", "加微abc123def", "哈" * 20)
    for number, text in enumerate(texts):
        assert plain.judge([event(text, number)]) == fast.judge([event(text, number)])
