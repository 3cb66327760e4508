"""From findings to outcomes: who is acted on when a campaign is reached, how often, and what without a ledger."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pytest
from hypothesis import given, settings

from console.judge import Judge
from moderation.actions import Action, Judgement
from moderation.errors import StoreUnavailable
from moderation.moderator import Moderator
from streams.campaigns import MemoryCampaigns
from streams.ledger import MemoryLedger
from streams.pipeline import Pipeline
from streams.verdicts import Pending, decided
from tests.small_rules import TS, chats, disguised_rules, event, rules
from tests.test_pipeline import TOPICS, Desk, record

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from moderation.campaign import Joined, Sighting
    from moderation.decide import Outcome
    from moderation.events import ChatEvent
    from moderation.policy import CampaignPolicy
    from moderation.standing import Standing, Strike

NEW: Final[dict[str, Any]] = {"level": 3}
OFFER: Final = "出金加QQ 7381920465"
#: Three accounts with one handle: alone worth a look each, together a campaign.
GANG: Final = tuple(event("加QQ 7381920465", n, at_s=10 * n, account=f"g{n}", **NEW) for n in range(3))


class Worker:
    """A moderator and a ledger that remember from one batch to the next."""

    def __init__(self, ledger: MemoryLedger | None = None) -> None:
        self.moderator = Moderator(rules())
        self.ledger = ledger or MemoryLedger()

    def decide(self, *chat: ChatEvent, later_ms: int = 0) -> list[Outcome]:
        pending = [Pending(f, f.event.ts + later_ms) for f in self.moderator.judge(chat)]
        return asyncio.run(decided(self.moderator, self.ledger, pending, self.ask))

    async def ask(self, question: Callable[[], Awaitable[Any]]) -> Any:
        """Give up at once where the ledger is away."""
        try:
            return await question()
        except StoreUnavailable:
            return None


class Silent(MemoryCampaigns):
    """Campaigns that nobody can reach."""

    async def sight(self, sightings: Sequence[Sighting], policy: CampaignPolicy) -> list[Joined | None]:
        raise StoreUnavailable(f"no store for {len(sightings)} sightings under {policy}")


class Forgetful(MemoryLedger):
    """A ledger that answers about strikes and not about campaigns."""

    def __init__(self) -> None:
        super().__init__()
        self.campaigns = Silent()


class Away(Forgetful):
    """A ledger that nobody can reach."""

    async def strike(self, strikes: Sequence[Strike]) -> list[Standing]:
        raise StoreUnavailable(f"no store for {len(strikes)} strikes")


def orders(outcome: Outcome) -> list[tuple[str, str]]:
    return [(action.target.account_id, action.action) for action in outcome.judgement.actions]


def ids(outcomes: Sequence[Outcome]) -> list[str]:
    return [action.action_id for outcome in outcomes for action in outcome.judgement.actions]


def unnamed(outcome: Outcome) -> list[Action]:
    """The actions without the campaign, which an early member's own ones do not name the first time."""
    return [msgspec.structs.replace(action, campaign_id=None) for action in outcome.judgement.actions]


# --- campaigns


def test_the_third_account_of_a_campaign_brings_the_earlier_two_down_with_it() -> None:
    first, second, third = Worker().decide(*GANG)
    assert [orders(one) for one in (first, second)] == [[], []]
    assert {account for account, _ in orders(third)} == {"g0", "g1", "g2"}
    assert sorted(orders(third)).count(("g0", "mute")) == 1
    assert {action.campaign_id for action in third.judgement.actions} == {third.judgement.campaign_id} != {None}


def test_members_are_acted_on_once_and_whoever_joins_later_at_once() -> None:
    worker = Worker()
    worker.decide(*GANG)
    [again, fourth] = worker.decide(
        event("加QQ 7381920465", 7, at_s=60, account="g0", **NEW),
        event("加QQ 7381920465", 8, at_s=61, account="g9", **NEW),
    )
    assert {account for account, _ in orders(again)} <= {"g0"}
    assert "mute" not in {kind for account, kind in orders(again) if account != "g0"}
    assert {account for account, _ in orders(fourth)} == {"g9"}


def test_campaigns_do_not_depend_on_how_events_are_cut_into_batches() -> None:
    one, other = Worker(), Worker()
    assert one.decide(*GANG) == [outcome for member in GANG for outcome in other.decide(member)]


def test_a_vip_in_a_campaign_gets_a_case_and_no_action() -> None:
    vip = event("加QQ 7381920465", 1, at_s=10, account="g1", level=90, vip=9)
    outcomes = Worker().decide(GANG[0], vip, GANG[2])
    assert {account for one in outcomes for account, _ in orders(one)} == {"g0", "g2"}
    cases = [(c.event.sender.account_id, c.why_human) for c in outcomes[2].cases]
    assert cases == [("g1", "vip")]


def test_the_sender_is_sanctioned_once_though_both_its_message_and_its_campaign_call_for_it() -> None:
    sellers = [event(OFFER, n, at_s=10 * n, account=f"g{n}", **NEW) for n in range(3)]
    *_, third = Worker().decide(*sellers)
    mine = [kind for account, kind in orders(third) if account == "g2"]
    assert sorted(set(mine) - {"revert"}) == ["mute"]
    assert mine.count("mute") == 1


def test_ordinary_chat_has_one_outcome_each_and_no_campaign() -> None:
    outcomes = Worker().decide(*(event("今晚八点开团", n, at_s=n, account=f"a{n}") for n in range(5)))
    assert [(one.judgement.verdict, one.judgement.campaign_id, one.cases) for one in outcomes] == [
        ("allow", None, ())
    ] * 5


def test_nothing_to_decide_is_nothing_asked() -> None:
    assert Worker(Away()).decide() == []


# --- redelivery


@pytest.mark.parametrize("text", ["加QQ 7381920465", OFFER])
def test_a_redelivered_campaign_gets_the_same_action_ids(text: str) -> None:
    worker = Worker()
    gang = [msgspec.structs.replace(member, text=text) for member in GANG]
    first = worker.decide(*gang)
    again = worker.decide(*gang, later_ms=60_000)
    assert ids(first) == ids(again) != []
    assert list(map(unnamed, first)) == list(map(unnamed, again))


def test_the_last_of_a_campaign_redelivered_alone_brings_the_same_members() -> None:
    worker = Worker()
    *_, third = worker.decide(*GANG)
    [again] = worker.decide(GANG[2], later_ms=60_000)
    assert ids([third]) == ids([again])


# --- without a ledger


def test_without_a_ledger_there_is_no_campaign_and_whoever_had_a_strike_coming_is_decided_degraded() -> None:
    *_, third = Worker(Away()).decide(*GANG)
    assert third.judgement.campaign_id is None
    assert {account for account, _ in orders(third)} == {"g2"}
    [offer] = Worker(Away()).decide(event(OFFER, **NEW))
    assert [(action.action, action.degraded) for action in offer.judgement.actions] == [("revert", True)]
    assert [case.why_human for case in offer.cases] == ["degraded"]


def test_strikes_are_decided_with_history_though_campaigns_do_not_answer() -> None:
    [offer] = Worker(Forgetful()).decide(event(OFFER, **NEW))
    assert [(action.action, action.degraded) for action in offer.judgement.actions] == [
        ("revert", False),
        ("mute", False),
    ]


# --- the worker and the command line


def judged(chat: Sequence[ChatEvent], batch: int) -> list[Judgement]:
    """What `qingliu judge` writes."""
    judge = Judge(Moderator(disguised_rules()))
    lines = [msgspec.json.encode(one) for one in chat]
    out = b"".join(asyncio.run(judge.batch(lines[at : at + batch])).output for at in range(0, len(lines), batch))
    return [msgspec.json.decode(line, type=Judgement) for line in out.splitlines()]


class Room(Desk):
    """A pipeline whose clock is that of the events, so that its output can be compared with that of a file."""

    def __init__(self) -> None:
        super().__init__()
        self.moderator = Moderator(disguised_rules())
        self.pipeline = Pipeline(
            self.moderator, self.store, self.post, TOPICS, self.metrics, self.health, now_ms=lambda: self.now
        )

    def hear(self, chat: Sequence[ChatEvent]) -> list[Action]:
        for number, one in enumerate(chat):
            self.now = one.ts
            self.chat(record(one, number))
        return self.post.actions()


def bare(actions: Sequence[Action]) -> list[Action]:
    """Actions without where the event stood, which a file has not."""
    return [msgspec.structs.replace(action, source=None) for action in actions]


@pytest.mark.parametrize("batch", [1, 2, 100])
def test_the_worker_and_the_command_line_act_alike_on_a_campaign(batch: int) -> None:
    chat = (*GANG, event(OFFER, 7, at_s=50, account="g7", **NEW), event("你好", 8, at_s=51))
    written = [action for one in judged(chat, batch) for action in one.actions]
    assert bare(Room().hear(chat)) == written
    assert len({action.target.account_id for action in written}) == 4


@settings(max_examples=40)
@given(chats())
def test_the_worker_and_the_command_line_act_alike(chat: list[ChatEvent]) -> None:
    chat = [one for one in chat if _is_sent(one)]
    written = [action for one in judged(chat, 5) for action in one.actions]
    assert bare(Room().hear(chat)) == written


def _is_sent(one: ChatEvent) -> bool:
    """Tell whether an event can be written down at all: half a character cannot."""
    try:
        msgspec.json.encode(one)
    except UnicodeEncodeError:
        return False
    return True


def test_times_of_a_file_are_those_of_its_events() -> None:
    [one] = judged([event(OFFER, at_s=5, **NEW)], 1)
    assert {action.created_at for action in one.actions} == {TS + 5000}
