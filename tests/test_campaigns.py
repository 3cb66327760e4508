"""One contract, two memories of campaigns; what only one on a network can do wrong; and the file for the lawyers."""

from __future__ import annotations

import asyncio
import json
import random
import socket
from contextlib import closing
from itertools import count
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis import Redis

from console import campaigns as told
from console.proof import Checked, check_file
from moderation.actions import Evidence, How, What, When, Where, Who, Why
from moderation.campaign import DUET_MS, Joined, Sighting, campaign_id
from moderation.errors import SettingsError, StoreUnavailable
from moderation.policy import CampaignPolicy
from streams.campaigns import KEYS_EACH, LISTED, MARKED, PIECES, Campaigns, Marked, MemoryCampaigns, RedisCampaigns
from streams.ledger import MemoryLedger, RedisLedger
from streams.settings import Settings
from streams.store import Store

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Iterator, Sequence
    from pathlib import Path

    from moderation.actions import Verdict
    from moderation.campaign import Campaign
    from streams.embedded import Embedded
    from streams.store import Command
    from tests.valkey_cluster import Cluster

T = TypeVar("T")
T0 = 1_790_000_000_000
HOUR = 3_600_000
DAY = 24 * HOUR
POLICY = CampaignPolicy()
H1, H2, TEXT, OTHER = "num:617390285", "wx:mao_mao", "text:aa", "text:bb"


class Run(Protocol):
    def __call__(self, coro: Coroutine[Any, Any, T]) -> T: ...


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    with asyncio.Runner() as runner:
        yield runner.run


class Counted(Store):
    """A store that counts its round trips and remembers what it was asked."""

    def __init__(self, url: str, prefix: str) -> None:
        super().__init__(url, prefix=prefix, timeout_s=5, rest_s=0.5)
        self.trips = 0
        self.asked: list[Command] = []

    async def ask(self, commands: Iterable[Command]) -> list[Any]:
        batch = list(commands)
        self.trips += bool(batch)
        self.asked += batch
        return await super().ask(batch)


_numbers = count()


@pytest.fixture
def prefix() -> str:
    return f"camp{next(_numbers)}"


@pytest.fixture
def store(embedded: Embedded, run: Run, prefix: str) -> Iterator[Counted]:
    made = Counted(embedded.redis, prefix)
    yield made
    run(made.close())


@pytest.fixture
def redis(embedded: Embedded) -> Iterator[Redis]:
    with closing(Redis.from_url(embedded.redis, decode_responses=True)) as client:
        yield client


@pytest.fixture
def cluster_store(valkey_cluster: Cluster, run: Run, prefix: str) -> Iterator[Counted]:
    made = Counted(valkey_cluster.url, prefix)
    yield made
    run(made.close())


@pytest.fixture(params=["memory", "redis", "cluster"])
def campaigns(request: pytest.FixtureRequest) -> Campaigns:
    if request.param == "memory":
        return MemoryCampaigns()
    return RedisCampaigns(request.getfixturevalue("store" if request.param == "redis" else "cluster_store"))


# --- material ----------------------------------------------------------------------------------------------------


def seen(
    number: int,
    account: str,
    *keys: str,
    at: int = 0,
    device: str | None = None,
    verdict: Verdict = "review",
    suspect: bool = True,
    now: int | None = None,
    said: str = "平价晶石",
    server: str = "s1",
) -> Sighting:
    ts = T0 + at
    evidence = Evidence(
        Who(account, level=3, tier="new"),
        When(ts, ts + 5 if now is None else now),
        Where(server, "world"),
        What(said, said, ((0, 2),)),
        Why("rmt", 62.0, ("卖金",)),
        How(),
    )
    return Sighting(f"e{number}", keys or (H1,), evidence, verdict, suspect, device_id=device)


def due(joined: Joined | None) -> list[str] | None:
    """Who is due, in order; None where it is no campaign."""
    return None if joined is None else list(dict.fromkeys(one.account_id for one in joined.due))


def all_due(answers: Sequence[Joined | None]) -> list[list[str] | None]:
    return [due(answer) for answer in answers]


# --- when it is a campaign ---------------------------------------------------------------------------------------


def test_the_third_account_makes_all_three_due(campaigns: Campaigns, run: Run) -> None:
    three = [seen(n, f"a{n}", at=n) for n in range(3)]
    answers = run(campaigns.sight(three, POLICY))
    assert all_due(answers) == [None, None, ["a0", "a1", "a2"]]
    assert answers[2] == Joined(campaign_id(H1), tuple(three), T0 + 7, bad=False)


def test_it_does_not_matter_how_sightings_are_cut_into_batches(campaigns: Campaigns, run: Run) -> None:
    apart = [run(campaigns.sight([seen(n, f"a{n}", at=n)], POLICY))[0] for n in range(5)]
    assert all_due(apart) == [None, None, ["a0", "a1", "a2"], ["a3"], ["a4"]]


def test_one_account_alone_is_no_campaign(campaigns: Campaigns, run: Run) -> None:
    assert all_due(run(campaigns.sight([seen(n, "a1", at=n) for n in range(20)], POLICY))) == [None] * 20


def test_who_comes_later_is_due_at_once_and_only_once(campaigns: Campaigns, run: Run) -> None:
    run(campaigns.sight([seen(n, f"a{n}", at=n) for n in range(3)], POLICY))
    later = seen(7, "a7", at=9 * DAY)
    again = [seen(8, "a7", at=9 * DAY + 1), seen(9, "a1", at=9 * DAY + 2)]
    answers = run(campaigns.sight([later, *again], POLICY))
    assert answers[0] == Joined(campaign_id(H1), (later,), later.ts + 5, bad=False)
    assert answers[1:] == [Joined(campaign_id(H1))] * 2


@pytest.mark.parametrize(("gap", "one"), [(DAY // 2, True), (DAY // 2 + 1, False)])
def test_three_accounts_count_within_a_day(campaigns: Campaigns, run: Run, gap: int, *, one: bool) -> None:
    answers = run(campaigns.sight([seen(n, f"a{n}", at=n * gap) for n in range(3)], POLICY))
    assert (answers[-1] is not None) is one


def test_a_member_from_days_before_is_due_with_the_others(campaigns: Campaigns, run: Run) -> None:
    run(campaigns.sight([seen(0, "early")], POLICY))
    answers = run(campaigns.sight([seen(n, f"a{n}", at=3 * DAY + n) for n in range(1, 4)], POLICY))
    assert all_due(answers) == [None, None, ["early", "a1", "a2", "a3"]]


def test_a_slow_drip_is_a_campaign_at_the_tenth_account(campaigns: Campaigns, run: Run) -> None:
    answers = run(campaigns.sight([seen(n, f"a{n}", at=2 * n * DAY) for n in range(10)], POLICY))
    assert all_due(answers) == [None] * 9 + [[f"a{n}" for n in range(10)]]


def test_two_accounts_on_one_device_are_enough(campaigns: Campaigns, run: Run) -> None:
    two = [seen(1, "a1", device="d 1"), seen(2, "a2", at=1, device="d 1")]
    assert all_due(run(campaigns.sight(two, POLICY))) == [None, ["a1", "a2"]]


def test_two_accounts_of_unknown_or_different_devices_are_not(campaigns: Campaigns, run: Run) -> None:
    two = [seen(1, "a1"), seen(2, "a2", at=1), seen(3, "a3", OTHER, device="d1"), seen(4, "a4", OTHER, device="d2")]
    assert all_due(run(campaigns.sight(two, POLICY))) == [None] * 4


def test_a_duet_on_one_device_is_a_campaign(campaigns: Campaigns, run: Run) -> None:
    offers, drops = seen(1, "a1", TEXT, device="d1"), seen(2, "a2", H1, at=5000, device="d1")
    assert all_due(run(campaigns.sight([offers, drops], POLICY))) == [None, ["a1", "a2"]]
    late = [seen(3, "a3", OTHER, device="d2"), seen(4, "a4", H2, at=DUET_MS + 1, device="d2")]
    assert all_due(run(campaigns.sight(late, POLICY))) == [None, None]


def test_a_changing_handle_and_a_changing_text_are_followed(campaigns: Campaigns, run: Run) -> None:
    chain = [seen(1, "a1", H1, TEXT), seen(2, "a2", H2, TEXT, at=1), seen(3, "a3", H2, OTHER, at=2)]
    answers = run(campaigns.sight(chain, POLICY))
    assert all_due(answers) == [None, None, ["a1", "a2", "a3"]]
    assert answers[2]
    assert answers[2].campaign_id == campaign_id(H1)
    assert all_due(run(campaigns.sight([seen(4, "a4", OTHER, at=3)], POLICY))) == [["a4"]]


def test_other_handles_are_other_campaigns(campaigns: Campaigns, run: Run) -> None:
    apart = [seen(n, f"a{n}", f"num:{10000 + n}") for n in range(10)]
    assert all_due(run(campaigns.sight(apart, POLICY))) == [None] * 10


def test_a_late_event_counts_where_it_belongs(campaigns: Campaigns, run: Run) -> None:
    order = [seen(1, "a1"), seen(2, "a2", at=3 * DAY), seen(3, "a3", at=HOUR), seen(4, "a4", at=2 * HOUR)]
    assert all_due(run(campaigns.sight(order, POLICY))) == [None, None, None, ["a1", "a2", "a3", "a4"]]


def test_nothing_sighted_is_nothing_asked(campaigns: Campaigns, run: Run) -> None:
    assert run(campaigns.sight([], POLICY)) == []
    assert run(campaigns.newest(10)) == []
    assert run(campaigns.find("unknown")) is None


# --- marks -------------------------------------------------------------------------------------------------------


def test_a_bad_handle_makes_whoever_drops_it_due_at_once(campaigns: Campaigns, run: Run) -> None:
    run(campaigns.mark_bad(H1, T0))
    honest = seen(1, "a1", suspect=False, verdict="allow")
    assert run(campaigns.sight([honest], POLICY)) == [Joined(campaign_id(H1), (honest,), T0 + 5, bad=True)]
    run(campaigns.unmark(H1))
    assert run(campaigns.sight([seen(2, "a2", suspect=False)], POLICY)) == [None]


def test_those_before_the_mark_are_due_with_the_first_after_it(campaigns: Campaigns, run: Run) -> None:
    run(campaigns.sight([seen(1, "a1")], POLICY))
    run(campaigns.mark_bad(H1, T0))
    [joined] = run(campaigns.sight([seen(2, "a2", at=9)], POLICY))
    assert joined
    assert (due(joined), joined.bad) == (["a1", "a2"], True)


def test_whether_a_handle_was_bad_is_remembered_with_who_was_due(campaigns: Campaigns, run: Run) -> None:
    run(campaigns.mark_bad(H1, T0))
    first = run(campaigns.sight([seen(1, "a1", H1, TEXT)], POLICY))
    run(campaigns.unmark(H1))
    assert run(campaigns.sight([seen(1, "a1", H1, TEXT)], POLICY)) == first
    [plain] = run(campaigns.sight([seen(2, "a2", TEXT)], POLICY))
    assert plain
    assert not plain.bad


def test_an_honest_handle_joins_nothing(campaigns: Campaigns, run: Run) -> None:
    run(campaigns.sight([seen(n, f"a{n}", at=n) for n in range(3)], POLICY))
    assert run(campaigns.sight([seen(9, "friend", suspect=False, verdict="allow")], POLICY)) == [None]
    found = run(campaigns.find(campaign_id(H1)))
    assert found
    assert [member.account_id for member in found.members] == ["a0", "a1", "a2"]


def test_an_allowed_handle_joins_nothing_from_then_on(campaigns: Campaigns, run: Run) -> None:
    run(campaigns.sight([seen(1, "a1"), seen(2, "a2")], POLICY))
    run(campaigns.allow_handle(H1, T0))
    after = [seen(3, "a3", H1, TEXT), seen(4, "a4", H1, H2)]
    assert run(campaigns.sight(after, POLICY)) == [None, None]
    run(campaigns.unmark(H1))
    assert all_due(run(campaigns.sight([seen(5, "a5")], POLICY))) == [["a1", "a2", "a5"]]


def test_the_marks_of_handles_can_be_listed(campaigns: Campaigns, run: Run) -> None:
    run(campaigns.mark_bad(H1, T0))
    run(campaigns.allow_handle(H2, T0))
    run(campaigns.mark_bad("wx:both", T0))
    run(campaigns.allow_handle("wx:both", T0 + 1))
    assert run(campaigns.marked(T0 + 1)) == Marked(frozenset({H1}), frozenset({H2, "wx:both"}))
    run(campaigns.unmark(H2))
    run(campaigns.unmark(H1))
    assert run(campaigns.marked(T0 + 1)) == Marked(frozenset(), frozenset({"wx:both"}))


def test_a_bad_handle_is_listed_for_half_a_year_from_when_it_was_dropped_last(store: Counted, run: Run) -> None:
    campaigns = RedisCampaigns(store)
    run(campaigns.mark_bad(H1, T0))
    assert run(campaigns.marked(T0 + 180 * DAY)).bad == frozenset()
    run(campaigns.sight([seen(1, "a1", at=9 * DAY, suspect=False)], POLICY))
    assert run(campaigns.marked(T0 + 180 * DAY)).bad == {H1}


def test_of_too_many_marks_those_that_end_last_are_listed(store: Counted, run: Run) -> None:
    campaigns = RedisCampaigns(store)
    run(campaigns.mark_bad("num:1", T0))
    key = store.key("handles", "bad")
    run(store.ask([("ZADD", key, *[part for n in range(MARKED) for part in (T0 + 181 * DAY, f"x:{n}")])]))
    run(campaigns.mark_bad("num:2", T0 + 2 * DAY))
    bad = run(campaigns.marked(T0)).bad
    assert (len(bad), "num:1" in bad, "num:2" in bad) == (MARKED, False, True)


# --- again and again ---------------------------------------------------------------------------------------------


def test_a_redelivered_event_is_told_the_same(campaigns: Campaigns, run: Run) -> None:
    events = [seen(n, f"a{n}", at=n) for n in range(5)]
    first = run(campaigns.sight(events, POLICY))
    more = [seen(10 + n, f"a{n}", at=HOUR + n) for n in range(5)]
    run(campaigns.sight(more, POLICY))
    later = [msgspec.structs.replace(one, evidence=_judged(one, T0 + DAY)) for one in events]
    again = run(campaigns.sight(later, POLICY))
    assert again[2:] == first[2:]
    assert all_due(again) == [[], [], ["a0", "a1", "a2"], ["a3"], ["a4"]]


def _judged(one: Sighting, now: int) -> Evidence:
    return msgspec.structs.replace(one.evidence, when=When(one.ts, now))


def test_an_event_twice_in_one_batch_is_one_sighting(campaigns: Campaigns, run: Run) -> None:
    twice = [seen(1, "a1"), seen(1, "a1"), seen(2, "a2"), seen(2, "a2")]
    assert all_due(run(campaigns.sight(twice, POLICY))) == [None] * 4
    found = run(campaigns.find(campaign_id(H1)))
    assert found
    assert len(found.evidence) == 2


# --- bounds ------------------------------------------------------------------------------------------------------


def test_beyond_the_members_kept_everybody_is_still_due(campaigns: Campaigns, run: Run) -> None:
    few = CampaignPolicy(members=10)
    answers = run(campaigns.sight([seen(n, f"a{n}", at=n) for n in range(30)], few))
    assert all_due(answers)[3:] == [[f"a{n}"] for n in range(3, 30)]
    found = run(campaigns.find(campaign_id(H1)))
    assert found
    assert len(found.members) == 10


def test_one_voice_does_not_fill_the_file_and_every_member_is_in_it(campaigns: Campaigns, run: Run) -> None:
    little = CampaignPolicy(evidence=7)
    loud = [seen(1000 * a + n, f"a{a}", at=1000 * a + n) for a in range(6) for n in range(50)]
    run(campaigns.sight(loud, little))
    found = run(campaigns.find(campaign_id(H1)))
    assert found
    pieces = [one.account_id for one in found.evidence]
    assert set(pieces) == {f"a{n}" for n in range(6)}
    assert max(pieces.count(account) for account in pieces) == PIECES
    assert len(pieces) <= 6 + little.evidence


# --- looking at them ---------------------------------------------------------------------------------------------


def test_a_campaign_is_found_with_members_and_evidence_in_order(campaigns: Campaigns, run: Run) -> None:
    said = [
        seen(3, "a3", H1, at=30, device="d3", server="s2"),
        seen(1, "a1", H1, H2, at=10, device="d1"),
        seen(2, "a2", H2, TEXT, at=20, device="d1"),
        seen(4, "a1", H1, at=40),
    ]
    run(campaigns.sight(said, POLICY))
    found = run(campaigns.find(campaign_id(H1)))
    assert found
    assert [one.event_id for one in found.evidence] == ["e1", "e2", "e3", "e4"]
    assert [(m.account_id, m.first - T0, m.last - T0) for m in found.members] == [
        ("a1", 10, 40),
        ("a2", 20, 20),
        ("a3", 30, 30),
    ]
    assert {m.due_at for m in found.members} == {found.reached_at} == {T0 + 25}
    assert (found.first, found.last, found.label) == (T0 + 10, T0 + 40, "rmt")
    assert (found.handles, found.devices, found.servers) == ((H1, H2), ("d1", "d3"), ("s1", "s2"))


def test_only_what_was_reached_is_listed_the_latest_first(campaigns: Campaigns, run: Run) -> None:
    gangs = [seen(10 * g + n, f"a{g}.{n}", f"num:{g}{g}{g}{g}{g}", at=100 * g + n) for g in range(4) for n in range(3)]
    run(campaigns.sight([*gangs, seen(99, "alone", "num:99999")], POLICY))
    run(campaigns.sight([seen(100, "new", "num:11111", at=DAY)], POLICY))
    listed = [campaign_id(f"num:{g}") for g in ("11111", "33333", "22222")]
    assert [one.campaign_id for one in run(campaigns.newest(3))] == listed


# --- both say the same, whatever they are told -------------------------------------------------------------------

_KEYS = (H1, H2, TEXT, OTHER)
_sightings = st.builds(
    lambda number, account, keys, at, device, suspect: seen(
        number, account, *keys, at=at, device=device, suspect=suspect
    ),
    st.integers(0, 25),
    st.sampled_from([f"a{n}" for n in range(7)]),
    st.lists(st.sampled_from(_KEYS), min_size=1, max_size=3, unique=True),
    st.sampled_from([0, 1, DUET_MS, DUET_MS + 1, DAY, DAY + 1, 3 * DAY]),
    st.sampled_from([None, None, "d1", "d2"]),
    st.booleans(),
)
_marks = st.tuples(st.sampled_from(["mark_bad", "allow_handle"]), st.sampled_from(_KEYS[:2]), st.just(T0)) | st.tuples(
    st.just("unmark"), st.sampled_from(_KEYS[:2])
)
_calls = st.lists(st.lists(_sightings, max_size=8) | _marks, max_size=15)
_policies = st.sampled_from(
    [POLICY, CampaignPolicy(accounts=2), CampaignPolicy(accounts=4, accounts_ever=5, members=5, evidence=2)]
)


async def _tell(campaigns: Campaigns, calls: list[Any], policy: CampaignPolicy) -> list[Any]:
    answers: list[Any] = []
    for call in calls:
        if isinstance(call, list):
            answers.append(await campaigns.sight(call, policy))
        else:
            answers.append(await getattr(campaigns, call[0])(*call[1:]))
    found = [await campaigns.find(campaign_id(key)) for key in _KEYS]
    return [*answers, *found, await campaigns.newest(10), await campaigns.marked(T0)]


@given(calls=_calls, policy=_policies)
@settings(max_examples=150)
def test_both_agree_and_nobody_is_due_twice(
    embedded: Embedded, run: Run, calls: list[Any], policy: CampaignPolicy
) -> None:
    store = Counted(embedded.redis, f"camp{next(_numbers)}")
    try:
        told = run(_tell(RedisCampaigns(store), calls, policy))
    finally:
        run(store.close())
    assert run(_tell(MemoryCampaigns(), calls, policy)) == told
    if policy.members > 7:  # those who are not kept are due whenever they speak
        by: dict[tuple[str, str], str] = {}
        for call, answers in zip(calls, told, strict=False):
            for one, answer in zip(call, answers, strict=True) if isinstance(call, list) else ():
                for piece in answer.due if answer else ():
                    cause = by.setdefault((answer.campaign_id, piece.account_id), one.event_id)
                    assert cause == one.event_id


# --- only Redis --------------------------------------------------------------------------------------------------


def test_a_batch_takes_two_round_trips_and_a_third_when_somebody_is_due(store: Counted, run: Run) -> None:
    campaigns = RedisCampaigns(store)
    run(campaigns.sight([seen(n, f"a{n}", f"num:{10000 + n}", TEXT + str(n)) for n in range(300)], POLICY))
    assert store.trips == 2
    run(campaigns.sight([seen(300 + n, f"b{n}", H1) for n in range(3)], POLICY))
    assert store.trips == 5
    run(campaigns.sight([seen(400, "friend", H2, suspect=False)], POLICY))
    assert store.trips == 6
    run(campaigns.sight([], POLICY))
    assert store.trips == 6


def test_the_keys_of_one_command_live_on_one_node(store: Counted, run: Run) -> None:
    campaigns = RedisCampaigns(store)
    run(campaigns.mark_bad(H2, T0))
    run(campaigns.sight([seen(n, f"a{n}", H1, H2, TEXT, device="d1") for n in range(3)], POLICY))
    for command in store.asked:
        keys = [str(part) for part in command[1:] if str(part).startswith("camp")]
        assert len({key.partition("{")[2].partition("}")[0] for key in keys}) == 1, command


def test_every_key_expires(store: Counted, redis: Redis, run: Run, prefix: str) -> None:
    campaigns = RedisCampaigns(store)
    run(campaigns.sight([seen(n, f"a{n}", H1, device="d1") for n in range(3)], POLICY))
    run(campaigns.sight([seen(9, "a9", OTHER)], POLICY))
    run(campaigns.mark_bad(H2, T0))
    run(campaigns.allow_handle("wx:ours", T0))
    run(campaigns.sight([seen(10, "a10", H2)], POLICY))
    days = {str(key).removeprefix(f"{prefix}:"): redis.pttl(key) / DAY for key in redis.keys(f"{prefix}:*")}
    kept = {H1: 30, OTHER: 7, H2: 180}
    parts = ("campaign", "members", "evidence")
    expected = {f"{{{campaign_id(key)}}}:{part}": ttl for key, ttl in kept.items() for part in parts}
    del expected[f"{{{campaign_id(OTHER)}}}:campaign"]  # it is not reached
    expected |= {f"{{{campaign_id(key)}}}:tie": ttl for key, ttl in {H1: 30, OTHER: 30, H2: 180}.items()}
    expected |= {f"{{{campaign_id(H2)}}}:mark": 180, f"{{{campaign_id('wx:ours')}}}:mark": 3650}
    expected |= {f"{{{campaign_id(str(seen(0, 'a', device='d1').device))}}}:tie": 1, "{campaigns}:joined": 180}
    expected |= {"{handles}:bad": 180, "{handles}:allowed": 3650}
    assert days == pytest.approx(expected, abs=0.02)


def test_what_is_known_of_a_key_is_renewed_once_a_day(store: Counted, redis: Redis, run: Run, prefix: str) -> None:
    campaigns, tie = RedisCampaigns(store), f"{prefix}:{{{campaign_id(H2)}}}:tie"
    run(campaigns.sight([seen(1, "a1", H1), seen(2, "a1", H1, H2, at=1)], POLICY))
    redis.pexpire(tie, HOUR)
    run(campaigns.sight([seen(3, "a1", H2, at=DAY)], POLICY))
    assert redis.pttl(tie) <= HOUR
    run(campaigns.sight([seen(4, "a1", H2, at=DAY + 2)], POLICY))
    assert redis.pttl(tie) > 29 * DAY
    assert redis.get(tie) == f"{campaign_id(H1)} {T0 + DAY + 2}"


def test_a_thousand_accounts_on_one_handle_take_bounded_memory(
    store: Counted, redis: Redis, run: Run, prefix: str
) -> None:
    campaigns, long = RedisCampaigns(store), "出" * 512
    for start in range(0, 1500, 100):
        batch = [seen(start + n, f"a{start + n}", at=start + n, said=long) for n in range(100)]
        run(
            campaigns.sight(
                [*batch, *[seen(10_000 + start + n, f"a{start + n}", said=long) for n in range(100)]], POLICY
            )
        )
    keys = redis.keys(f"{prefix}:{{{campaign_id(H1)}}}:*")
    size = sum(redis.memory_usage(key, samples=0) or 0 for key in keys)
    assert redis.hlen(f"{prefix}:{{{campaign_id(H1)}}}:members") == POLICY.members
    assert redis.hlen(f"{prefix}:{{{campaign_id(H1)}}}:evidence") <= POLICY.members + POLICY.evidence
    assert size < 4 << 20


def test_the_list_is_bounded(store: Counted, redis: Redis, run: Run, prefix: str) -> None:
    redis.zadd(f"{prefix}:{{campaigns}}:joined", {f"c{n}": n for n in range(LISTED + 50)})
    run(RedisCampaigns(store).sight([seen(n, f"a{n}") for n in range(3)], POLICY))
    assert redis.zcard(f"{prefix}:{{campaigns}}:joined") == LISTED


@pytest.mark.parametrize("part", ["campaign", "members", "evidence"])
def test_a_store_that_dropped_a_key_is_no_obstacle(
    store: Counted, redis: Redis, run: Run, prefix: str, part: str
) -> None:
    campaigns = RedisCampaigns(store)
    events = [seen(n, f"a{n % 4}", at=n) for n in range(4 * PIECES + 4)]
    run(campaigns.sight(events, POLICY))
    redis.delete(f"{prefix}:{{{campaign_id(H1)}}}:{part}")
    run(campaigns.sight(events, POLICY))
    assert due(run(campaigns.sight([seen(99, "a99", at=99)], POLICY))[0]) == ["a99"]
    assert run(campaigns.find(campaign_id(H1)))


def test_a_listed_campaign_that_expired_is_not_shown(store: Counted, redis: Redis, run: Run, prefix: str) -> None:
    campaigns = RedisCampaigns(store)
    run(campaigns.sight([seen(10 * g + n, f"a{n}", f"num:1111{g}") for g in range(2) for n in range(3)], POLICY))
    redis.delete(*redis.keys(f"{prefix}:{{{campaign_id('num:11110')}}}:*"))
    assert [one.campaign_id for one in run(campaigns.newest(9))] == [campaign_id("num:11111")]


def test_scripts_are_loaded_again_when_the_store_forgot_them(store: Counted, redis: Redis, run: Run) -> None:
    campaigns = RedisCampaigns(store)
    answers = []
    for n in range(4):
        redis.script_flush()
        answers += run(campaigns.sight([seen(n, f"a{n}", at=n)], POLICY))
    assert all_due(answers) == [None, None, ["a0", "a1", "a2"], ["a3"]]


def test_workers_side_by_side_make_everybody_due_once(embedded: Embedded, run: Run, prefix: str) -> None:
    events = [seen(n, f"a{n % 40}", at=n) for n in range(120)]

    async def worker(number: int) -> list[Joined | None]:
        store, order = Counted(embedded.redis, prefix), random.Random(number)  # noqa: S311  a seed, not a secret
        mine, out = order.sample(events, len(events)), []
        for start in range(0, len(mine), 10):
            out += await RedisCampaigns(store).sight(mine[start : start + 10], POLICY)
        await store.close()
        return [dict(zip((one.event_id for one in mine), out, strict=True))[one.event_id] for one in events]

    async def all_workers() -> list[list[Joined | None]]:
        return list(await asyncio.gather(*[worker(n) for n in range(4)]))

    said = run(all_workers())
    causes: dict[str, set[str]] = {}
    for answers in said:
        for one, answer in zip(events, answers, strict=True):
            for account in due(answer) or ():
                causes.setdefault(account, set()).add(one.event_id)
    assert set(causes) == {f"a{n}" for n in range(40)}
    assert {len(events) for events in causes.values()} == {1}


def test_a_store_that_is_away_is_unavailable(run: Run) -> None:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        ledger = RedisLedger(f"redis://127.0.0.1:{probe.getsockname()[1]}")
        with pytest.raises(StoreUnavailable):
            run(ledger.campaigns.sight([seen(1, "a1")], POLICY))
        run(ledger.close())


def test_evidence_that_nobody_can_read_is_reported(store: Counted, redis: Redis, run: Run, prefix: str) -> None:
    campaigns = RedisCampaigns(store)
    run(campaigns.sight([seen(1, "a1")], POLICY))
    redis.hset(f"{prefix}:{{{campaign_id(H1)}}}:evidence", "e1", "1 a1 {}")
    with pytest.raises(StoreUnavailable, match="cannot read"):
        run(campaigns.find(campaign_id(H1)))


# --- for people --------------------------------------------------------------------------------------------------


@pytest.fixture
def gang(run: Run) -> Campaign:
    campaigns = MemoryLedger().campaigns
    hostile = "出金\n加q\u2028\u202e[red]=cmd|x\u200b"
    run(campaigns.sight([seen(n, f"a{n}", H1, TEXT, at=9 - n, said=f"{hostile}{n}") for n in range(4)], POLICY))
    found = run(campaigns.find(campaign_id(H1)))
    assert found
    return found


def test_an_export_is_in_order_complete_and_the_same_every_time(gang: Campaign, tmp_path: Path) -> None:
    lines, head = told.exported(gang)
    records = [json.loads(line)["entry"] for line in lines]
    kinds = ["campaign", *["member"] * 4, *["evidence"] * 4, "end"]
    assert [record["kind"] for record in records] == kinds
    assert [record["seq"] for record in records] == list(range(1, len(lines) + 1))
    assert [r["event_id"] for r in records if r["kind"] == "evidence"] == ["e3", "e2", "e1", "e0"]
    assert {"who", "when", "where", "what", "why", "how"} <= records[5].keys()
    assert records[5]["what"]["text"] == gang.evidence[0].evidence.what.text
    assert told.exported(gang) == (lines, head)
    assert checked(tmp_path, lines) == Checked(len(lines), head)
    assert not any(b"\n" in line for line in lines), "whatever a player said"


def checked(where: Path, lines: Sequence[bytes], head: str = "") -> Checked:
    file = where / "gang.jsonl"
    file.write_bytes(b"".join(line + b"\n" for line in lines))
    return check_file(file, head=head)


def test_whatever_is_changed_in_an_export_breaks_it(gang: Campaign, tmp_path: Path) -> None:
    lines, head = told.exported(gang)
    for at in range(len(lines)):
        dropped = lines[:at] + lines[at + 1 :]
        doubled = lines[: at + 1] + lines[at:]
        moved = [*dropped, lines[at]] if at < len(lines) - 1 else dropped
        changed = [*lines[:at], lines[at].replace(b"a", b"b", 1), *lines[at + 1 :]]
        for wrong in (dropped, doubled, moved, lines[:at], changed):
            assert checked(tmp_path, wrong).flaw, at
    assert checked(tmp_path, lines, head.hash).flaw is None
    assert checked(tmp_path, lines, "00" * 32).flaw, "who makes it anew is known by the head"


@pytest.mark.parametrize("line", [b"", b"[]", b"1", b"{", b'{"entry":{"seq":1}}', b"null"])
def test_what_is_no_export_is_broken_from_the_start(line: bytes, tmp_path: Path) -> None:
    flaw = checked(tmp_path, [line]).flaw
    assert flaw
    assert (flaw.kind, flaw.line) == ("unreadable", 1)


def printed(shown: Any) -> str:
    from console.show import printer  # noqa: PLC0415  only here is a terminal needed

    console = printer()
    console.width = 240
    with console.capture() as capture:
        console.print(shown)
    return str(capture.get())


def test_a_campaign_is_shown_with_everything_and_nothing_hidden(gang: Campaign) -> None:
    text = printed(told.dossier(gang))
    assert all(f"a{n}" in text for n in range(4))
    assert gang.campaign_id in text
    assert H1 in text
    assert "⟨U+202E⟩" in text
    assert "\u202e" not in text
    assert "[red]" in text


def test_the_list_shows_each_campaign_on_a_row(gang: Campaign) -> None:
    text = printed(told.listing([gang]))
    assert gang.campaign_id in text
    assert "线下交易" in text


def test_people_read_what_workers_wrote(embedded: Embedded, store: Counted, run: Run, prefix: str) -> None:
    run(RedisCampaigns(store).sight([seen(n, f"a{n}") for n in range(3)], POLICY))
    ours = Settings.load({"redis": embedded.redis, "redis_prefix": prefix}, env_file=None)
    [listed] = run(told.newest(ours, 20))
    assert run(told.find(ours, listed.campaign_id)) == listed
    assert run(told.find(ours, "unknown")) is None
    with pytest.raises(SettingsError, match="QINGLIU_REDIS"):
        run(told.newest(Settings.load(env_file=None), 20))


def test_bounded_campaigns_forget_the_ones_seen_longest_ago_with_their_keys_and_say_so(run: Run) -> None:
    most = 20
    memory = MemoryCampaigns(most)
    for number in range(40):
        run(memory.sight([seen(number, f"a{number}", f"wx:h{number}"), seen(100 + number, "a0", "wx:h0")], POLICY))
    kept = [body.evidence for body in memory._bodies.values()]
    assert sum(map(len, kept)) == memory._pieces <= most
    assert len(memory._known) <= KEYS_EACH * most
    assert memory.forgotten == 40 - len(kept)
    assert any("e0" in evidence for evidence in kept)
