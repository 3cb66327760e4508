"""One contract, two memories of appeals; what humans answer and what comes of it; rules overturned too often."""

from __future__ import annotations

import asyncio
from contextlib import closing
from itertools import count
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis import Redis

from moderation import campaign
from moderation.actions import Action, AnswerAppealCommand, AppealCommand, Case, RuleRef, Target
from moderation.appeal import Answer, Appeal, Rate, answer, opened, overturned
from moderation.campaign import Joined
from moderation.decide import doubting, strike
from moderation.errors import StoreUnavailable
from moderation.policy import AppealPolicy
from moderation.sweep import Sweep
from streams.appeals import APPEAL_TTL_MS, COUNTED, LISTED, Appeals, MemoryAppeals, RedisAppeals, Waiting
from streams.bulletin import Bulletin
from streams.store import Store
from tests.small_rules import TS, event, rules
from tests.test_pipeline import SPAM, TOPICS, Desk, record

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from streams.embedded import Embedded

T = TypeVar("T")
HOUR = 3_600_000
DAY = 24 * HOUR
POLICY = AppealPolicy()
RULE = ("sell.contact", "11111111")
OTHER = ("contact.drop", "22222222")


class Run(Protocol):
    def __call__(self, coro: Coroutine[Any, Any, T]) -> T: ...


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    with asyncio.Runner() as runner:
        yield runner.run


_numbers = count()


@pytest.fixture
def prefix() -> str:
    return f"appeals{next(_numbers)}"


@pytest.fixture
def store(embedded: Embedded, run: Run, prefix: str) -> Iterator[Store]:
    made = Store(embedded.redis, prefix=prefix, timeout_s=5, rest_s=0.5)
    yield made
    run(made.close())


@pytest.fixture(params=["memory", "redis"])
def appeals(request: pytest.FixtureRequest) -> Appeals:
    return MemoryAppeals() if request.param == "memory" else RedisAppeals(request.getfixturevalue("store"))


# --- material ----------------------------------------------------------------------------------------------------


def action(number: int = 1, *refs: tuple[str, str], **fields: Any) -> Action:
    given: dict[str, Any] = {
        "action_id": f"m{number}",
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
        "event_id": f"e{number}",
        "rules": tuple(RuleRef(*ref, 80) for ref in refs or (RULE,)),
    }
    return Action(**(given | fields))


def appeal(number: int = 1, *refs: tuple[str, str], at: int = TS, by: str = "c1", **fields: Any) -> Appeal:
    return opened(AppealCommand(by, "cs", at, f"m{number}", "a1", "冤枉"), action(number, *refs, **fields), POLICY)


def said(granted: bool | None, *, at: int = TS + HOUR, by: str = "c9") -> Answer:
    return Answer(by, "gm-li", "看过了", at, granted)


async def closed(appeals: Appeals, number: int, *, granted: bool, at: int = TS + HOUR, refs: Any = (RULE,)) -> None:
    await appeals.open(appeal(number, *refs, at=at - HOUR))
    await appeals.answer(f"m{number}", said(granted, at=at, by=f"c{number}"))


# --- the contract ------------------------------------------------------------------------------------------------


def test_an_appeal_is_kept_as_it_was_opened_and_due_in_a_day(appeals: Appeals, run: Run) -> None:
    first = appeal()
    assert run(appeals.open(first)) == first
    assert run(appeals.find("m1")) == first
    assert (first.due_at, first.final_due, first.state) == (TS + 24 * HOUR, TS + 72 * HOUR, "open")
    assert run(appeals.find("m2")) is None


def test_the_first_appeal_against_an_action_stays(appeals: Appeals, run: Run) -> None:
    first = run(appeals.open(appeal()))
    assert run(appeals.open(appeal(at=TS + DAY, by="c2"))) == first
    assert [one.command_id for one in run(appeals.due(9))] == ["c1"]


def test_a_first_answer_leaves_the_final_one_due(appeals: Appeals, run: Run) -> None:
    run(appeals.open(appeal()))
    held = run(appeals.answer("m1", said(None)))
    assert held
    assert (held.state, held.due_at, held.first) == ("held", TS + 72 * HOUR, said(None))
    assert run(appeals.answer("m1", said(None, by="c8"))) == held
    assert run(appeals.due(9)) == [held]


@pytest.mark.parametrize(("granted", "state"), [(True, "granted"), (False, "denied")])
def test_a_final_answer_ends_it_for_good(appeals: Appeals, run: Run, granted: bool, state: str) -> None:
    run(appeals.open(appeal()))
    done = run(appeals.answer("m1", said(granted)))
    assert done
    assert (done.state, done.due_at, done.final) == (state, None, said(granted))
    for late in (said(not granted, by="c7"), said(None, by="c6"), said(granted)):
        assert run(appeals.answer("m1", late)) == done
    assert run(appeals.open(appeal())) == done
    assert (run(appeals.due(9)), run(appeals.waiting(TS))) == ([], Waiting(0, 0))


def test_an_answer_to_no_appeal_changes_nothing(appeals: Appeals, run: Run) -> None:
    assert run(appeals.answer("m1", said(True))) is None
    assert run(appeals.rates(0)) == []


def test_what_is_due_first_comes_first_and_what_is_overdue_can_be_asked_for(appeals: Appeals, run: Run) -> None:
    for number, at in ((1, 5 * HOUR), (2, 0), (3, 9 * HOUR)):
        run(appeals.open(appeal(number, at=TS + at)))
    run(appeals.answer("m2", said(None)))
    assert [one.action_id for one in run(appeals.due(9))] == ["m1", "m3", "m2"]
    assert [one.action_id for one in run(appeals.due(1))] == ["m1"]
    late = TS + 30 * HOUR
    assert [one.action_id for one in run(appeals.due(9, late))] == ["m1"]
    assert run(appeals.waiting(late)) == Waiting(3, 1)


def test_granted_appeals_are_listed_the_last_first(appeals: Appeals, run: Run) -> None:
    for number, granted in ((1, True), (2, False), (3, True)):
        run(closed(appeals, number, granted=granted, at=TS + number * HOUR))
    assert [one.action_id for one in run(appeals.granted(9))] == ["m3", "m1"]
    assert len(run(appeals.granted(1))) == 1


def test_rates_count_per_rule_and_revision_and_only_what_is_recent(appeals: Appeals, run: Run) -> None:
    run(closed(appeals, 1, granted=True, at=TS + DAY))
    run(closed(appeals, 2, granted=False, at=TS + 2 * DAY, refs=(RULE, OTHER)))
    run(closed(appeals, 3, granted=True, at=TS + DAY, refs=(("sell.contact", "33333333"),)))
    run(appeals.open(appeal(4, at=TS + 2 * DAY)))
    everything = [Rate(*OTHER, 1, 1, 0), Rate(*RULE, 3, 2, 1), Rate("sell.contact", "33333333", 1, 1, 1)]
    assert run(appeals.rates(TS - 1)) == everything
    assert run(appeals.rates(TS - 1, [RULE])) == [Rate(*RULE, 3, 2, 1)]
    assert run(appeals.rates(TS + DAY, [RULE])) == [Rate(*RULE, 2, 1, 0)]
    assert run(appeals.rates(TS + 9 * DAY, [RULE])) == [Rate(*RULE, 0, 0, 0)]


def test_two_actions_for_one_message_count_once(appeals: Appeals, run: Run) -> None:
    run(closed(appeals, 1, granted=True))
    run(appeals.open(appeal(2, event_id="e1", action="revert", scope="message")))
    run(appeals.answer("m2", said(True)))
    assert run(appeals.rates(0)) == [Rate(*RULE, 1, 1, 1)]


def test_a_revision_once_overturned_stays_so(appeals: Appeals, run: Run) -> None:
    assert run(appeals.overturned()) == frozenset()
    run(appeals.overturn([RULE], TS))
    run(appeals.overturn([RULE, OTHER], TS + DAY))
    run(appeals.overturn([], TS + DAY))
    assert run(appeals.overturned()) == {RULE, OTHER}


_deeds = st.lists(
    st.tuples(
        st.sampled_from(["open", "hold", "grant", "deny"]), st.integers(1, 4), st.integers(0, 9), st.integers(1, 3)
    ),
    max_size=25,
)


async def _told(appeals: Appeals, deeds: list[tuple[str, int, int, int]]) -> list[Any]:
    out: list[Any] = []
    for deed, number, hours, by in deeds:
        at, refs = TS + hours * HOUR, (RULE, OTHER)[: 1 + number % 2]
        if deed == "open":
            out.append(await appeals.open(appeal(number, *refs, at=at, by=f"c{by}")))
        else:
            granted = {"hold": None, "grant": True, "deny": False}[deed]
            out.append(await appeals.answer(f"m{number}", said(granted, at=at, by=f"c{by}")))
    asked = await appeals.rates(TS + 4 * HOUR), await appeals.due(9), await appeals.granted(9)
    return [*out, *asked, await appeals.due(9, TS + 28 * HOUR), await appeals.waiting(TS + 28 * HOUR)]


@given(deeds=_deeds)
@settings(max_examples=80)
def test_both_agree_whatever_is_opened_and_answered(
    embedded: Embedded, run: Run, deeds: list[tuple[str, int, int, int]]
) -> None:
    store = Store(embedded.redis, prefix=f"appeals{next(_numbers)}", timeout_s=5, rest_s=0.5)
    try:
        told = run(_told(RedisAppeals(store), deeds))
    finally:
        run(store.close())
    assert run(_told(MemoryAppeals(), deeds)) == told


# --- only Redis --------------------------------------------------------------------------------------------------


def test_every_key_expires(store: Store, embedded: Embedded, run: Run, prefix: str) -> None:
    appeals = RedisAppeals(store)
    run(closed(appeals, 1, granted=True))
    run(appeals.open(appeal(2)))
    run(appeals.overturn([RULE], TS))
    with closing(Redis.from_url(embedded.redis, decode_responses=True)) as redis:
        days = {str(key).removeprefix(f"{prefix}:"): redis.pttl(key) / DAY for key in redis.keys(f"{prefix}:*")}
    rule = f"{{rule:{RULE[0]}}}:{RULE[1]}"
    lists = {"due": 180, "granted": 180, "counted": 91, "overturned": 3650}
    expected = {f"{{m{n}}}:appeal": APPEAL_TTL_MS / DAY for n in (1, 2)}
    expected |= {f"{{appeals}}:{name}": ttl for name, ttl in lists.items()}
    expected |= {f"{rule}:{what}": 91 for what in ("appealed", "answered", "overturned")}
    assert days == pytest.approx(expected, abs=0.02)


def test_lists_are_bounded(store: Store, run: Run) -> None:
    appeals = RedisAppeals(store)
    counted = store.key(f"rule:{RULE[0]}", RULE[1], "appealed")
    for key, most in ((store.key("appeals", "due"), LISTED), (counted, COUNTED)):
        for first in range(0, most + 10, 10_000):
            run(store.ask([("ZADD", key, *[part for n in range(10_000) for part in (1, f"x{first + n}")])]))
    run(appeals.open(appeal()))
    sizes = run(store.ask([("ZCARD", store.key("appeals", "due")), ("ZCARD", counted)]))
    assert sizes == [LISTED, COUNTED]
    assert [one.action_id for one in run(appeals.due(LISTED))] == ["m1"]


def test_an_appeal_of_a_later_version_is_a_store_that_cannot_be_asked(store: Store, run: Run) -> None:
    run(store.ask([("HSET", store.key("m1", "appeal"), "opened", '{"action_id": 7}')]))
    with pytest.raises(StoreUnavailable, match="this version"):
        run(RedisAppeals(store).find("m1"))


# --- when a rule is overturned too often -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answered", "granted", "down"), [(19, 19, False), (20, 1, False), (20, 2, True), (40, 2, False), (40, 3, True)]
)
def test_more_than_five_of_a_hundred_of_at_least_twenty_are_too_many(
    answered: int,
    granted: int,
    down: bool,
) -> None:
    rate = Rate(*RULE, answered + 5, answered, granted)
    assert overturned([rate], POLICY) == ((RULE,) if down else ())


def test_a_rule_that_is_not_trusted_leaves_it_to_a_human() -> None:
    desk = Desk()
    [finding] = desk.moderator.judge([event(SPAM, level=3)])
    doubted = doubting(rules().policy, finding, frozenset({"sell.contact"}))
    assert (finding.verdict, doubted.verdict, doubted.sure, doubted.overturned) == ("act", "act", "review", True)
    assert strike(rules().policy, doubted, TS) is None
    outcome = desk.moderator.decide(doubted, TS)
    assert ([case.why_human for case in outcome.cases], outcome.judgement.actions) == (["overturned"], ())
    assert outcome.judgement.verdict == "review"


def test_where_the_others_are_enough_they_act_and_are_why() -> None:
    desk = Desk()
    chat = [event("出金加QQ 7381920465", n, at_s=n, account=f"a{n}", level=3) for n in range(3)]
    finding = desk.moderator.judge(chat)[-1]
    doubted = doubting(rules().policy, finding, frozenset({"sell.contact"}))
    assert {hit.rule for hit in finding.hits} >= {"sell.contact", "same.handle"}
    assert (doubted.verdict, doubted.sure, doubted.overturned) == ("act", "act", False)
    asked = strike(rules().policy, doubted, TS)
    assert asked
    [standing] = asyncio.run(desk.store.strike([asked]))
    acts = desk.moderator.decide(doubted, TS, standing).judgement.actions
    assert acts
    assert "sell.contact" not in {ref.id for one in acts for ref in one.rules}


def test_what_no_overturned_rule_has_a_part_in_is_left_as_it_is() -> None:
    [finding] = Desk().moderator.judge([event(SPAM, level=3)])
    assert doubting(rules().policy, finding, frozenset({"flood.same"})) is finding
    assert doubting(rules().policy, finding, frozenset()) is finding


def test_an_overturned_rule_brings_nobody_into_a_campaign() -> None:
    moderator = Desk().moderator
    [finding] = moderator.judge([event("加QQ 7381920465", level=3)])
    doubted = doubting(rules().policy, finding, frozenset({"contact.drop"}))
    before, after = moderator.sighting(finding, TS), moderator.sighting(doubted, TS)
    assert before
    assert after
    assert (before.suspect, before.verdict, after.suspect, after.verdict) == (True, "review", False, "allow")


def test_what_members_said_before_is_trusted_no_more_than_what_they_say_now() -> None:
    moderator, policy = Desk().moderator, rules().policy
    chat = [event(SPAM, n, at_s=60 * n, account=f"a{n}", level=3) for n in range(2)]
    due = tuple(one for finding in moderator.judge(chat) if (one := moderator.sighting(finding, TS)))
    joined = Joined("c1", due, TS)
    assert [one.verdict for one in due] == ["act", "act"]
    left = campaign.doubting(joined, frozenset({"sell.contact", "contact.drop"}), policy)
    assert [(one.verdict, one.suspect, one.rules) for one in left.due] == [("allow", False, ())] * 2
    less = campaign.doubting(joined, frozenset({"sell.contact"}), policy)
    assert [(one.verdict, one.suspect) for one in less.due] == [("review", True)] * 2
    assert campaign.doubting(joined, frozenset({"flood.same"}), policy) is joined
    swept = [Sweep(policy, "r", one, chat[-1]).outcome() for one in (joined, left)]
    assert [(bool(one.actions), len(one.cases)) for one in swept] == [(True, 0), (False, 2)]


# --- commands, and what becomes of them --------------------------------------------------------------------------


def spammed(desk: Desk, number: int = 1, *, at_s: float = 0) -> Action:
    """Have `a1` muted for spam; return the mute."""
    desk.chat(record(event(SPAM, number, at_s=at_s, level=3), number))
    return desk.post.actions()[-1]


def ask(about: Action, *, by: str = "c1", at: int = TS + HOUR, text: str = "我没有") -> AppealCommand:
    return AppealCommand(by, "cs-portal", at, about.action_id, about.target.account_id, text)


def reply_to(about: Action, granted: bool | None, *, by: str = "c9", at: int = TS + 2 * HOUR) -> AnswerAppealCommand:
    ids = about.action_id, about.target.account_id
    return AnswerAppealCommand(by, "gm-li", "看过了", at, *ids, granted)


def told(desk: Desk) -> list[Appeal]:
    return [msgspec.json.decode(one.value or b"", type=Appeal) for one in desk.post.of(TOPICS.appeals)]


def refused(desk: Desk) -> list[str]:
    return [dict(one.headers)["reason"].decode() for one in desk.post.of(TOPICS.dead_letters)]


def test_a_granted_appeal_undoes_the_action_as_a_revert_does() -> None:
    desk = Desk()
    mute = spammed(desk)
    desk.command(ask(mute), reply_to(mute, granted=True))
    lifted = desk.post.actions()[-1]
    assert (lifted.reverts, lifted.scope, lifted.operator, lifted.mode) == (mute.action_id, "mute", "gm-li", "manual")
    assert asyncio.run(desk.store.live("a1", TS + 3 * HOUR)) == []
    assert [(one.state, one.text) for one in told(desk)] == [("open", "我没有"), ("granted", "我没有")]
    assert told(desk)[-1].reply == "您的申诉已通过，处罚已解除。"
    order = [one.topic for one in desk.post.sent]
    assert order.index(TOPICS.appeals, order.index(TOPICS.appeals) + 1) == len(order) - 1, "the record comes last"
    assert spammed(desk, 2, at_s=4 * 3600).duration_s == mute.duration_s, "the ladder begins again"


def test_a_denied_appeal_leaves_the_action_and_is_on_record() -> None:
    desk = Desk()
    mute = spammed(desk)
    before = desk.post.actions()
    desk.command(ask(mute), reply_to(mute, None, by="c8"), reply_to(mute, granted=False))
    assert desk.post.actions() == before
    assert asyncio.run(desk.store.live("a1", TS + 60_000)) == [mute]
    assert [one.state for one in told(desk)] == ["open", "held", "denied"]
    last = told(desk)[-1]
    assert last.first
    assert last.final
    assert (last.first.command_id, last.final.reason) == ("c8", "看过了")


def test_commands_that_come_again_say_the_same_and_change_nothing() -> None:
    desk = Desk()
    mute = spammed(desk)
    orders = (ask(mute), reply_to(mute, None, by="c8"), reply_to(mute, granted=True))
    desk.command(*orders)
    appeals, actions = told(desk), desk.post.actions()
    desk.command(*orders)
    assert told(desk) == [*appeals, *appeals]
    assert desk.post.actions() == [*actions, actions[-1]]
    assert refused(desk) == []
    assert asyncio.run(desk.store.appeals.rates(0, [(r.id, r.revision) for r in mute.rules[:1]]))[0].answered == 1


def test_what_a_human_must_look_at_is_a_dead_letter_with_a_reason() -> None:
    desk = Desk()
    mute = spammed(desk)
    stranger = msgspec.structs.replace(reply_to(mute, granted=True), account_id="a2")
    desk.command(
        AppealCommand("c0", "cs", TS, "nothing", "a1"),
        reply_to(mute, granted=True),
        ask(mute),
        ask(mute, by="c2"),
        reply_to(mute, None, by="c3"),
        reply_to(mute, None, by="c4"),
        reply_to(mute, granted=False, by="c5"),
        reply_to(mute, granted=True, by="c6"),
        reply_to(mute, None, by="c7"),
    )
    desk.command(stranger, key=b"a2")
    assert refused(desk) == [
        "unknown_action", "unknown_appeal", "already_appealed", "already_answered", "already_answered",
        "already_answered", "unknown_appeal",
    ]  # fmt: skip
    assert [one.state for one in told(desk)] == ["open", "held", "denied"]
    assert desk.counted("commands_total", command="answer_appeal", status="already_answered") == 3


def test_an_undoing_cannot_be_appealed() -> None:
    desk = Desk()
    mute = spammed(desk)
    desk.command(ask(mute), reply_to(mute, granted=True))
    desk.command(ask(desk.post.actions()[-1], by="c3"))
    assert refused(desk) == ["unknown_action"]


def test_words_of_a_player_are_bounded_and_the_limit_is_told() -> None:
    desk = Desk()
    desk.command(ask(spammed(desk), text="冤" * 1001))
    assert refused(desk) == ["schema"]
    assert told(desk) == []


def test_twenty_answers_with_two_granted_take_a_rule_from_the_workers_until_it_says_something_else() -> None:
    desk = Desk()
    bulletin = Bulletin(desk.moderator, desk.store, desk.metrics, now_ms=lambda: TS + DAY)
    for number in range(20):
        mute = spammed(desk, number, at_s=3600 * number)
        at = TS + (number + 1) * HOUR
        answered = reply_to(mute, granted=number < 2, by=f"d{number}", at=at)
        desk.command(ask(mute, by=f"c{number}", at=at), answered)
        asyncio.run(bulletin.read())
        down = desk.moderator.overturned
        assert ("sell.contact" in down) is (number == 19), number
    assert desk.counted("rule_overturned", rule="sell.contact") == 1
    assert desk.counted("appeals_open") == 0


def test_what_was_known_last_stays_while_the_store_is_away() -> None:
    class Away(MemoryAppeals):
        away = False

        async def overturned(self) -> frozenset[tuple[str, str]]:
            if self.away:
                raise StoreUnavailable("no store")
            return await super().overturned()

    desk = Desk()
    store = desk.store.appeals = Away()
    key = next((rule.id, rule.revision) for rule in rules().rules if rule.id == "sell.contact")
    bulletin = Bulletin(desk.moderator, desk.store, desk.metrics)
    asyncio.run(store.overturn([key, ("sell.contact", "00000000"), ("gone", "0")], TS))
    asyncio.run(bulletin.read())
    store.away = True
    with pytest.raises(StoreUnavailable):
        asyncio.run(bulletin.read())
    assert desk.moderator.overturned == {"sell.contact"}


@pytest.mark.parametrize("met", [StoreUnavailable("no store"), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "odd")])
def test_whatever_the_store_answers_is_counted_and_ends_nothing(met: Exception) -> None:
    class Odd(MemoryAppeals):
        async def overturned(self) -> frozenset[tuple[str, str]]:
            raise met

    desk = Desk()
    desk.store.appeals = Odd()
    asyncio.run(Bulletin(desk.moderator, desk.store, desk.metrics).look())
    assert desk.counted("store_errors_total") == 1


def test_a_new_revision_is_trusted_again() -> None:
    desk = Desk()
    bulletin = Bulletin(desk.moderator, desk.store, desk.metrics)
    asyncio.run(desk.store.appeals.overturn([("sell.contact", "00000000")], TS))
    asyncio.run(bulletin.read())
    assert desk.moderator.overturned == frozenset()


def test_a_worker_told_of_it_puts_what_it_would_have_acted_on_before_a_human() -> None:
    told_of = Desk()
    asyncio.run(told_of.store.appeals.overturn([(rule.id, rule.revision) for rule in rules().rules], TS))
    asyncio.run(told_of.pipeline.bulletin.read())
    told_of.chat(record(event(SPAM, level=3)))
    cases = [msgspec.json.decode(one.value or b"", type=Case) for one in told_of.post.of(TOPICS.cases)]
    assert [case.why_human for case in cases] == ["overturned"]
    assert told_of.post.actions() == []
    assert told_of.counted("cases_total", why="overturned") == 1


def test_an_answer_says_what_its_command_said() -> None:
    command = reply_to(action(), granted=True)
    assert answer(msgspec.structs.replace(command, reply="抱歉")) == Answer(
        "c9", "gm-li", "看过了", TS + 2 * HOUR, True, "抱歉"
    )
