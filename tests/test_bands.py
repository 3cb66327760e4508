"""A rule that hits more of the chat than its band allows: what is counted, when it is sure, what comes of it."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis

from console.statuschange import with_status
from moderation.actions import Case
from moderation.band import SPANS_S, WHOLE, Band, Fallen, Window, parse_share, windows
from moderation.errors import RuleSetRejected, StoreUnavailable
from moderation.moderator import Moderator
from moderation.rule import revision
from moderation.rulefile import load, read
from streams.bands import Bands, Figures, MemoryBands, RedisBands, Share, Spot
from streams.bulletin import Bulletin
from streams.rates import MOST_TOLD, MOST_WAITING, MOST_WINDOWS, Rates
from streams.store import Store
from streams.topics import create_topics
from streams.worker import running
from tests.small_rules import RULES, TS, event, layer, rules
from tests.test_pipeline import SPAM, TOPICS, Desk, record
from tests.test_worker import fresh_event, producer, publish, settings_for
from tests.test_worker import read as records

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from moderation.decide import Finding
    from moderation.ruleset import RuleSet
    from streams.embedded import Embedded

T = TypeVar("T")
_numbers = count()
WINDOW: Final = Window(600, TS - TS % 600_000)
SPOT: Final = Spot("sell.contact", "1", WINDOW)


class Run(Protocol):
    def __call__(self, coro: Coroutine[Any, Any, T]) -> T: ...


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    with asyncio.Runner() as runner:
        yield runner.run


@pytest.fixture
def store(embedded: Embedded, run: Run) -> Iterator[Store]:
    made = Store(embedded.redis, prefix=f"bands{next(_numbers)}", timeout_s=5, rest_s=0.5)
    yield made
    run(made.close())


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.servers)])
def bands(request: pytest.FixtureRequest) -> Bands:
    return MemoryBands() if request.param == "memory" else RedisBands(request.getfixturevalue("store"))


def share(part: str = "w1", window: Window = WINDOW, scope: str = "") -> Share:
    return Share(window, scope, part)


def fallen(rule: str = "sell.contact", *, start: int = WINDOW.start, **more: Any) -> Fallen:
    given: dict[str, Any] = {"revision": "1", "at": TS, "span_s": 600, "senders": 40, "messages": 500}
    return Fallen(rule=rule, start=start, at_most_ppm=20_000, **(given | more))


# --- the contract ------------------------------------------------------------------------------------------------


def test_accounts_count_once_and_what_workers_saw_adds_up(bands: Bands, run: Run) -> None:
    assert run(bands.count({SPOT: {"a1", "a2"}}, {share("w1"): 10})) == {SPOT: Figures(2, 10)}
    assert run(bands.count({SPOT: {"a2", "a3"}}, {share("w2"): 5})) == {SPOT: Figures(3, 15)}


def test_what_is_told_again_changes_nothing_and_a_share_is_all_that_a_worker_counted(bands: Bands, run: Run) -> None:
    for told in (10, 10, 12):
        found = run(bands.count({SPOT: {"a1"}}, {share(): told}))
        assert found == {SPOT: Figures(1, told)}


def test_windows_scopes_and_revisions_are_counted_apart(bands: Bands, run: Run) -> None:
    later, other = SPOT._replace(window=Window(600, WINDOW.start + 600_000)), SPOT._replace(revision="2")
    trial = SPOT._replace(scope="sell.contact", rule="trial")
    run(bands.count({SPOT: {"a1"}}, {share(): 10, share(scope="sell.contact"): 3}))
    found = run(bands.count({later: {"a1"}, other: {"a1", "a2"}, trial: {"a1"}}, {share(window=later.window): 7}))
    assert found == {later: Figures(1, 7), other: Figures(2, 10), trial: Figures(1, 3)}


def test_a_rule_falls_once_and_the_first_figures_stay(bands: Bands, run: Run) -> None:
    assert run(bands.fallen()) == []
    assert run(bands.fall(fallen()))
    assert not run(bands.fall(fallen(senders=99)))
    assert run(bands.fall(fallen("other")))
    assert run(bands.fallen()) == [fallen("other"), fallen()]


def test_who_was_lifted_falls_again_only_by_a_later_window(bands: Bands, run: Run) -> None:
    assert not run(bands.lift(("sell.contact", "1"), TS))
    run(bands.fall(fallen(start=TS + 1)))
    assert run(bands.lift(("sell.contact", "1"), TS + 60_000))
    assert run(bands.fallen()) == []
    assert not run(bands.fall(fallen(start=TS + 60_000)))
    assert run(bands.fall(fallen(start=TS + 60_001)))
    assert run(bands.fall(fallen(start=0, revision="2")))


@pytest.mark.servers
def test_every_key_expires(store: Store, embedded: Embedded, run: Run) -> None:
    made = RedisBands(store)
    run(made.count({SPOT: {"a1"}}, {share(): 1}))
    run(made.fall(fallen()))
    run(made.lift(("other", "1"), TS))
    with Redis.from_url(embedded.redis, decode_responses=True) as redis:
        keys = [str(key) for key in redis.keys(store.key("*").partition("{")[0] + "*")]
        assert len(keys) == 4
        assert all(int(redis.pttl(key)) > 0 for key in keys)


@pytest.mark.servers
def test_many_accounts_are_told_apart_well_enough(store: Store, run: Run) -> None:
    [found] = run(RedisBands(store).count({SPOT: {f"a{n}" for n in range(5_000)}}, {})).values()
    assert abs(found.senders - 5_000) < 250


@pytest.mark.servers
def test_a_fallen_rule_of_a_later_version_is_a_store_that_cannot_be_asked(store: Store, run: Run) -> None:
    run(store.ask([("HSET", store.key("bands", "fallen"), "a b", b'{"rule":1}')]))
    with pytest.raises(StoreUnavailable):
        run(RedisBands(store).fallen())


# --- when it is sure ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("senders", "messages", "left"),
    [
        (19, 19, False),  # too few to say anything
        (20, 100, True),
        (20, 500, False),  # 4 %, but it may be chance
        (200, 10_000, False),  # exactly the ceiling
        (250, 10_000, False),  # above it, not surely
        (270, 10_000, True),
        (30, 0, True),  # the messages are not told yet: as if these were all
    ],
)
def test_a_band_is_left_when_the_lower_bound_is_above_it(senders: int, messages: int, left: bool) -> None:
    assert Band(20_000, 20).left(senders, messages) is left


@given(st.integers(0, 10_000), st.integers(1, 100_000), st.integers(1, WHOLE))
def test_a_band_is_never_left_by_a_share_within_it(senders: int, messages: int, ppm: int) -> None:
    if senders * WHOLE <= ppm * messages:
        assert not Band(ppm, 2).left(senders, messages)


def test_all_is_a_ceiling_that_nothing_leaves() -> None:
    assert not Band(WHOLE).left(10_000, 10_000)


@given(st.integers(0, 1 << 42))
def test_an_event_lies_within_its_windows(ts: int) -> None:
    assert [one.span_s for one in windows(ts)] == list(SPANS_S)
    assert all(one.start <= ts < one.start + one.span_s * 1000 for one in windows(ts))


# --- as it stands in files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("said", "ppm"), [("0.2%", 2_000), ("5 %", 50_000), ("100%", WHOLE), ("0.0001％", 1)])
def test_a_share_is_read_as_it_is_written(said: str, ppm: int) -> None:
    assert parse_share(said) == ppm


@pytest.mark.parametrize("said", ["0%", "0.2", "101%", "100.1%", "-1%", "2/1000", "千分之二", "0.00001%", "%", ""])
def test_what_is_no_share_is_refused_with_its_place(said: str) -> None:
    text = RULES.replace("  budget: 3\n", f"  budget: 3\n  band: {{at_most: '{said}'}}\n")
    with pytest.raises(RuleSetRejected) as refused:
        read([layer(rules_yaml=text)])
    [problem] = refused.value.problems
    line = text.splitlines()[problem.line - 1]
    assert (problem.code, line[problem.column - 1 :]) == ("E110", f"'{said}'}}")


def banded(most: str = "5%", more: str = "") -> dict[str, bytes]:
    """Return the small rules; that on selling may hit no more than `most`, when five senders were hit."""
    band = f"  band: {{at_most: {most}, senders: 5}}\n{more}"
    return layer(rules_yaml=RULES.replace("  score: 75\n", f"  score: 75\n{band}"))


def test_a_rule_has_its_band_and_the_others_that_of_the_policy() -> None:
    contents = read([banded("0.2%")])
    by_id = {rule.id: rule for rule in contents.rules}
    assert by_id["sell.contact"].band == Band(2_000, 5)
    assert by_id["poach.cash"].band is None
    assert contents.policy.band == Band(20_000, 20)


def test_a_status_changed_in_a_file_leaves_the_band_as_it_was_written() -> None:
    before = banded("0.2%")
    after, _ = with_status((before,), "sell.contact", "shadow")
    was, now = (files["rules.yaml"].decode().splitlines() for files in (before, after[0]))
    assert [(a, b) for a, b in zip(was, now, strict=True) if a != b] == [("  status: live", "  status: shadow")]
    assert "  band: {at_most: 0.2%, senders: 5}" in now


def test_another_band_is_another_revision_and_none_leaves_the_name_as_it_was() -> None:
    plain, some, other = (rules(), load([banded("5%")]), load([banded("6%")]))
    names = [one.by_id["sell.contact"].revision for one in (plain, some, other)]
    assert len(set(names)) == 3
    poach = plain.by_id["poach.cash"]
    assert revision(poach) == poach.revision == some.by_id["poach.cash"].revision
    # as it was named before there were bands: what people said of this revision still holds
    assert poach.revision == "c858c4ea"


# --- one worker --------------------------------------------------------------------------------------------------


def found(
    ruleset: RuleSet, text: str, *accounts: str, at_s: float = 0, level: int = 30, **fields: Any
) -> list[Finding]:
    """Return what a fresh moderator finds in the same words of some accounts."""
    chat = [event(text, n, account=one, at_s=at_s, level=level, **fields) for n, one in enumerate(accounts)]
    return Moderator(ruleset).judge(chat)


def told(rates: Rates, bands: Bands, ruleset: RuleSet) -> set[str]:
    """Tell the store; return those rules that fell which are told apart here: what is said hits others as well."""
    fell = {one.rule for one in asyncio.run(rates.told(bands, ruleset, TS))}
    return fell & {"sell.contact", "shadow.sell", "canary.s9"}


def test_enough_senders_of_too_few_messages_take_a_rule_away_and_one_account_never_does() -> None:
    ruleset, memory = load([banded("5%")]), MemoryBands()
    rates = Rates()
    rates.heard(found(ruleset, SPAM, *["a1"] * 400), ruleset)
    assert told(rates, memory, ruleset) == set()
    rates.heard(found(ruleset, "你好", *(f"b{n}" for n in range(60))), ruleset)
    rates.heard(found(ruleset, SPAM, *(f"c{n}" for n in range(20))), ruleset)
    assert told(rates, memory, ruleset) == set()
    rates.heard(found(ruleset, SPAM, *(f"d{n}" for n in range(50))), ruleset)
    assert told(rates, memory, ruleset) == {"sell.contact"}
    one = next(one for one in asyncio.run(memory.fallen()) if one.rule == "sell.contact")
    assert (one.span_s, one.senders, one.messages, one.at_most_ppm) == (600, 71, 530, 50_000)


def test_a_raid_of_new_accounts_takes_no_rule_away() -> None:
    ruleset, memory, rates = load([banded("5%")]), MemoryBands(), Rates()
    rates.heard(found(ruleset, "你好", *(f"b{n}" for n in range(60))), ruleset)
    rates.heard(found(ruleset, SPAM, *(f"n{n}" for n in range(500)), level=1), ruleset)
    assert told(rates, memory, ruleset) == set()
    rates.heard(found(ruleset, SPAM, *(f"o{n}" for n in range(500))), ruleset)
    assert told(rates, memory, ruleset) == {"sell.contact"}


def test_two_workers_see_together_what_neither_sees_alone() -> None:
    ruleset, memory = load([banded("30%")]), MemoryBands()
    quiet = [found(ruleset, "你好", *(f"q{n}" for n in range(6))) for _ in range(2)]
    for worker, name in ((Rates(), "a"), (Rates(), "b")):
        worker.heard(quiet.pop(), ruleset)
        worker.heard(found(ruleset, SPAM, *(f"{name}{n}" for n in range(14))), ruleset)
        fell = told(worker, memory, ruleset)
        assert fell == ({"sell.contact"} if name == "b" else set())


def test_an_event_that_comes_again_hits_nobody_new() -> None:
    ruleset, memory = load([banded("5%")]), MemoryBands()
    for _ in range(3):
        rates = Rates()  # another worker, each time
        rates.heard(found(ruleset, SPAM, "a1", "a2", "a3", "a4"), ruleset)
        assert told(rates, memory, ruleset) == set()


def test_shadow_hits_are_no_hits() -> None:
    ruleset, memory = load([banded("5%")]), MemoryBands()
    rates = Rates()
    rates.heard(found(ruleset, "出金", *(f"a{n}" for n in range(40))), ruleset)
    assert told(rates, memory, ruleset) == set()


def test_a_rule_on_trial_is_held_against_the_messages_of_its_trial() -> None:
    ruleset, memory, rates = rules(), MemoryBands(), Rates()
    rates.heard(found(ruleset, "你好", *(f"a{n}" for n in range(4000))), ruleset)
    rates.heard(found(ruleset, "xxxy", *(f"b{n}" for n in range(30)), server_id="s9"), ruleset)
    assert told(rates, memory, ruleset) == {"canary.s9"}


def test_while_the_store_is_away_counts_wait_within_bounds() -> None:
    class Away(MemoryBands):
        away = True

        async def count(self, *args: Any) -> dict[Spot, Figures]:
            if self.away:
                raise StoreUnavailable("no store")
            return await super().count(*args)

    ruleset, memory, rates = load([banded("5%")]), Away(), Rates()
    [one] = found(ruleset, SPAM, "a1")
    flood = [
        msgspec.structs.replace(one, event=msgspec.structs.replace(one.event, sender=sender))
        for sender in (msgspec.structs.replace(one.event.sender, account_id=f"x{n}") for n in range(MOST_WAITING))
    ]
    rates.heard(flood, ruleset)
    for hour in range(MOST_WINDOWS):
        rates.heard(found(ruleset, "你好", "a1", at_s=3600.0 * hour), ruleset)
    with pytest.raises(StoreUnavailable):
        told(rates, memory, ruleset)
    memory.away = False
    before = -1
    while (heard := sum(map(len, memory._hit.values()))) > before:
        before = heard
        told(rates, memory, ruleset)
        assert sum(map(len, memory._hit.values())) - heard <= MOST_TOLD
    counted = memory._hit.values()
    assert heard > MOST_TOLD
    assert sum(map(len, counted)) <= MOST_WAITING
    assert len(memory._messages) <= MOST_WINDOWS


def test_a_revision_that_is_no_longer_in_force_does_not_fall() -> None:
    old, new, memory, rates = load([banded("5%")]), load([banded("6%")]), MemoryBands(), Rates()
    rates.heard(found(old, SPAM, *(f"a{n}" for n in range(40))), old)
    assert told(rates, memory, new) == set()


# --- what comes of it --------------------------------------------------------------------------------------------


def test_a_worker_leaves_a_rule_out_of_its_band_to_humans_until_somebody_trusts_it() -> None:
    desk = Desk()
    desk.pipeline.moderator.adopt(load([banded("5%")]))
    for n in range(40):
        desk.chat(record(event(SPAM, n, account=f"a{n}", level=30), n))
    before = len(desk.post.actions())
    assert before >= 40
    bulletin = desk.pipeline.bulletin
    asyncio.run(bulletin.read())
    assert "sell.contact" in desk.moderator.overturned
    assert desk.counted("rule_out_of_band", rule="sell.contact") == 1
    assert not desk.counted("rule_overturned", rule="sell.contact")
    assert "sell.contact" in {one.rule for one in (bulletin.fell.get_nowait() for _ in range(bulletin.fell.qsize()))}

    desk.chat(record(event(SPAM + "1", 50, account="late", level=30), 50))
    cases = [msgspec.json.decode(one.value or b"", type=Case) for one in desk.post.of(TOPICS.cases)]
    assert "late" not in {one.target.account_id for one in desk.post.actions()[before:]}
    assert [one.why_human for one in cases if one.event.sender.account_id == "late"] == ["overturned"]

    for one in asyncio.run(desk.store.bands.fallen()):
        asyncio.run(desk.store.bands.lift((one.rule, one.revision), one.start + 3_600_000))
    asyncio.run(bulletin.read())
    assert desk.moderator.overturned == frozenset()
    assert desk.counted("rule_out_of_band", rule="sell.contact") == 0


def test_a_store_that_does_not_let_workers_count_still_tells_them_the_rest() -> None:
    class Denied(MemoryBands):
        async def count(self, *args: Any) -> dict[Spot, Figures]:
            raise StoreUnavailable(f"no permission: {len(args)}")

    desk = Desk()
    key = desk.moderator.rules.by_id["sell.contact"]
    desk.store.bands = Denied()
    asyncio.run(desk.store.appeals.overturn([(key.id, key.revision)], TS))
    desk.chat(record(event("你好", 1)))
    with pytest.raises(StoreUnavailable):
        asyncio.run(desk.pipeline.bulletin.read())
    assert desk.moderator.overturned == {"sell.contact"}


def test_a_new_revision_acts_again() -> None:
    desk = Desk()
    first, second = load([banded("5%")]), load([banded("6%")])
    desk.moderator.adopt(first)
    key = first.by_id["sell.contact"]
    asyncio.run(desk.store.bands.fall(fallen(revision=key.revision)))
    bulletin = Bulletin(desk.moderator, desk.store, desk.metrics)
    for ruleset, down in ((first, frozenset({"sell.contact"})), (second, frozenset[str]())):
        desk.moderator.adopt(ruleset)
        asyncio.run(bulletin.read())
        assert desk.moderator.overturned == down


@pytest.mark.servers
def test_a_worker_notes_in_the_audit_log_which_rule_it_left_to_humans(embedded: Embedded) -> None:
    async def alone() -> None:
        settings, ruleset = settings_for("bands"), load([banded("5%")])
        await create_topics(settings, embedded.kafka)
        async with (
            running(settings, embedded.kafka, embedded.redis, ruleset) as worker,
            producer(embedded, settings) as to,
        ):
            await worker.wait_ready()
            chat = [fresh_event(SPAM, n, f"a{n}", level=30) for n in range(40)]
            await publish(to, settings.topics.world, chat)
            falls: dict[str, Any] = {}
            while "sell.contact" not in falls:
                read = await records(embedded, settings, settings.topics.audit, 2 + len(falls))
                notes = [one for one in map(msgspec.json.decode, read) if one["change"] == "left_to_humans"]
                falls = {one["rule"].partition("@")[0]: one for one in notes}
            note = falls["sell.contact"]
            assert note["rule"].endswith(ruleset.by_id["sell.contact"].revision)
            assert (note["operator"], note["ruleset"]) == ("qingliu", ruleset.hash)
            assert "of 5.00%" in note["reason"]
            assert worker.metrics.registry.get_sample_value("qingliu_rule_out_of_band", {"rule": "sell.contact"}) == 1

    asyncio.run(alone())
