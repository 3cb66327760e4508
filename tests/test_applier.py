"""The reference consumer, rule by rule; then what no redelivery may change; then the loop on a real broker."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from hypothesis import given
from hypothesis import strategies as st

from moderation.actions import (
    Ack,
    Action,
    Evidence,
    How,
    MuteCommand,
    RevertCommand,
    Source,
    Target,
    What,
    When,
    Where,
    Who,
    Why,
)
from moderation.order import sanction, undo
from streams.applier import Applier, InMemoryGame, Memory, now_ms, run
from streams.embedded import Embedded
from streams.settings import Topics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Sequence

T0 = 1_790_000_000_000
MINUTE = 60_000
P = "10086001"


def auto(action_id: str, **change: Any) -> Action:
    """An automatic mute of P in world chat for ten minutes, said at T0, to be delivered within ten."""
    said = change.pop("said", T0)
    fields: dict[str, Any] = {
        "action_id": action_id,
        "action": "mute",
        "target": Target(P),
        "scope": ("world",),
        "duration_s": 600,
        "until": T0 + 10 * MINUTE,
        "deliver_before": said + 10 * MINUTE,
        "created_at": said + 20,
        "reason_code": "spam_ad.mute",
        "reason_text": "发布广告",
        "mode": "auto",
        "ruleset": "r1",
        "evidence": evidence(said),
        "source": Source("chat.world", 0, 100),
        **change,
    }
    return Action(**fields)


def evidence(said: int) -> Evidence:
    return Evidence(
        Who(P), When(said, said + 20), Where("s1", "world"), What("加微信", "加微信"), Why("spam_ad", 90), How()
    )


def retract(action_id: str, *message_ids: str, **change: Any) -> Action:
    target = Target(P, message_ids=message_ids)
    return auto(action_id, action="revert", scope="message", target=target, duration_s=None, until=None, **change)


def revert(undone: Action, at: int) -> Action:
    """What a moderator's revert becomes, by the code that makes it."""
    return undo(RevertCommand("c1", "gm-07", "误伤", at, undone.action_id, P), undone, "r1")


def manual_mute(command_id: str, at: int, minutes: int = 60) -> Action:
    return sanction(MuteCommand(command_id, "gm-07", "辱骂", at, Target(P), minutes * 60), "r1")


def at(offset: int, **change: Any) -> dict[str, Any]:
    return {"source": Source(change.pop("topic", "chat.world"), change.pop("partition", 0), offset), **change}


class Served:
    """An applier, its game, and what it answered."""

    def __init__(self, accounts: frozenset[str] | None = None, memory: Memory | None = None, **options: Any) -> None:
        self.game = InMemoryGame(accounts)
        self.applier = Applier(self.game, memory, **options)

    def give(self, *actions: Action, now: int = T0 + 1_000) -> list[str]:
        return [self.applier.apply(action, now).status for action in actions]

    def muted(self, channel: Any = "world", now: int = T0 + 1_000) -> bool:
        return self.game.muted(P, channel, now) is not None


# --- one rule at a time


def test_an_automatic_mute_silences_its_channels_until_it_ends_by_itself() -> None:
    served = Served()
    assert served.applier.apply(auto("a"), T0 + 1_000) == Ack("a", "applied", T0 + 1_000, P)
    assert served.muted("world")
    assert not served.muted("guild")
    assert served.muted(now=T0 + 10 * MINUTE - 1)
    assert not served.muted(now=T0 + 10 * MINUTE)


def test_a_shadow_mute_says_that_only_the_player_sees_their_words() -> None:
    served = Served()
    served.give(auto("a", scope="all", visibility="self_only"))
    mute = served.game.muted(P, "guild", T0 + 1_000)
    assert mute is not None
    assert mute.visibility == "self_only"


def test_a_mute_for_all_to_see_hides_behind_no_shadow_mute() -> None:
    served = Served()
    served.give(auto("shadow", until=None, duration_s=None, visibility="self_only"), auto("open"))
    mute = served.game.muted(P, "world", T0 + 1_000)
    assert mute is not None
    assert mute.visibility == "all"


def test_a_permanent_ban_outlasts_a_timed_one() -> None:
    served = Served()
    served.give(
        auto("a", action="ban", scope="account"),
        auto("b", action="ban", scope="account", until=None, duration_s=None),
    )
    ban = served.game.banned(P, T0 + 1_000)
    assert ban is not None
    assert ban.until is None


def test_an_action_delivered_twice_is_applied_once() -> None:
    served = Served()
    assert served.give(auto("a"), auto("a")) == ["applied", "already"]


def test_actions_of_one_event_share_an_offset_and_all_apply() -> None:
    served = Served()
    assert (
        served.give(retract("a1", "e1"), auto("a2"), auto("a3", action="ban", scope="account"), retract("a4", "e0"))
        == ["applied"] * 4
    )
    assert set(served.game.retracted) == {"e0", "e1"}


def test_an_older_automatic_action_of_the_same_source_partition_is_rejected() -> None:
    served = Served()
    assert served.give(auto("new", **at(101)), auto("old", **at(100))) == ["applied", "rejected"]


@pytest.mark.parametrize("other", [at(1, topic="chat.private"), at(1, partition=7), {"target": Target("20001")}])
def test_another_topic_partition_or_account_has_its_own_fence(other: dict[str, Any]) -> None:
    served = Served()
    change = at(1) | other
    assert served.give(auto("new", **at(101)), auto("other", **change)) == ["applied", "applied"]


def test_an_action_that_was_not_applied_does_not_move_the_fence() -> None:
    served = Served()
    void = auto("void", **at(200), deliver_before=T0)
    assert served.give(void, auto("a", **at(100))) == ["rejected", "applied"]


def test_an_automatic_action_is_void_after_its_delivery_time() -> None:
    served = Served()
    assert served.give(auto("a"), now=T0 + 10 * MINUTE + 1) == ["rejected"]
    assert served.give(retract("b", "e1", deliver_before=T0 + 5), now=T0 + 6) == ["rejected"]
    assert served.give(retract("b", "e1", deliver_before=T0 + 5), now=T0 + 5) == ["applied"]


def test_a_sanction_that_is_over_is_not_imposed_whoever_ordered_it() -> None:
    served = Served()
    late = T0 + 60 * MINUTE
    assert served.give(auto("a", deliver_before=None), manual_mute("c1", T0), now=late) == ["rejected", "rejected"]
    assert served.give(manual_mute("c1", T0), now=late - 1) == ["applied"]


def test_what_is_undone_has_no_end_to_be_past() -> None:
    served = Served()
    undo_late = auto("lift", action="revert", scope="mute", reverts="a", deliver_before=None)
    assert served.give(auto("a"), now=T0) + served.give(undo_late, now=T0 + MINUTE * 60) == ["applied", "applied"]


def test_a_human_order_is_not_fenced_by_an_automatic_one() -> None:
    served = Served()
    old = msgspec.structs.replace(manual_mute("c1", T0), source=Source("chat.world", 0, 1))
    assert served.give(auto("a", **at(500)), old) == ["applied", "applied"]


def test_a_human_order_fences_no_automatic_one() -> None:
    served = Served()
    human = msgspec.structs.replace(manual_mute("c1", T0), source=Source("chat.world", 0, 500))
    assert served.give(human, auto("a", **at(100))) == ["applied", "applied"]


def test_a_player_the_game_does_not_know_is_reported() -> None:
    served = Served(frozenset())
    assert served.give(auto("a")) == ["unknown_target"]
    assert served.applier.memory == Memory()


def test_a_lifted_mute_leaves_the_other_one_in_force() -> None:
    served = Served()
    short, human = auto("a"), manual_mute("c1", T0)
    served.give(short, human, revert(short, T0 + 500))
    assert list(served.game.sanctions[P]) == [human.action_id]


def test_a_ban_is_lifted_by_the_id_of_its_action() -> None:
    served = Served()
    ban = auto("a", action="ban", scope="account")
    assert served.give(ban, revert(ban, T0 + 500)) == ["applied", "applied"]
    assert served.game.banned(P, T0 + 1_000) is None


def test_undoing_a_retraction_puts_the_message_back() -> None:
    served = Served()
    taken = retract("a", "e1", "e2")
    served.give(taken)
    assert set(served.game.retracted) == {"e1", "e2"}
    assert served.give(revert(taken, T0 + 500)) == ["applied"]
    assert not served.game.retracted


def test_a_revert_of_a_strike_is_acknowledged_and_changes_nothing_in_the_game() -> None:
    served = Served()
    strike = auto("a", action="revert", scope="strike", until=None, mode="manual", evidence=None)
    assert served.give(strike) == ["applied"]
    assert not served.game.sanctions


def test_a_revert_that_arrives_before_what_it_undoes_still_undoes_it() -> None:
    served = Served()
    mute = auto("a")
    assert served.give(revert(mute, T0 - MINUTE), mute) == ["applied", "already"]
    assert not served.muted()


@pytest.mark.parametrize("kind", ["mute", "ban", "message"])
def test_what_was_said_before_a_human_reverted_is_forgiven(kind: str) -> None:
    served = Served()
    first = {"mute": auto("m"), "ban": auto("b", action="ban", scope="account"), "message": retract("r", "e1")}[kind]
    pardon = revert(first, T0 + MINUTE)
    late = auto("late", said=T0 + MINUTE, **at(900, topic="chat.private"))
    later = auto("later", said=T0 + MINUTE + 1, **at(901, topic="chat.private"))
    assert served.give(first, pardon, late, later, now=T0 + 2 * MINUTE) == ["applied", "applied", "rejected", "applied"]


def test_an_older_revert_that_comes_late_takes_no_pardon_back() -> None:
    served = Served()
    first, second = auto("a"), auto("b")
    served.give(first, second, revert(first, T0 + 9 * MINUTE), revert(second, T0 + MINUTE))
    assert served.give(auto("late", said=T0 + 5 * MINUTE, **at(900)), now=T0 + 9 * MINUTE) == ["rejected"]


def test_a_human_mute_after_a_pardon_holds() -> None:
    served = Served()
    first = auto("a")
    assert served.give(first, revert(first, T0 + MINUTE), manual_mute("c2", T0 + 500)) == ["applied"] * 3


def test_a_human_who_takes_a_message_down_forgives_nothing() -> None:
    served = Served()
    taken = retract("a", "e1", mode="manual", created_at=T0 + MINUTE)
    assert served.give(taken, auto("b")) == ["applied", "applied"]


def test_an_automatic_revert_forgives_nothing() -> None:
    served = Served()
    lift = auto("lift", action="revert", scope="mute", until=None, reverts="a", created_at=T0 + MINUTE, **at(101))
    assert served.give(auto("a"), lift, auto("b", **at(102))) == ["applied"] * 3


def test_an_action_without_evidence_is_as_old_as_itself() -> None:
    served = Served()
    first = auto("a")
    served.give(first, revert(first, T0 + MINUTE))
    bare = {"evidence": None, **at(900)}
    assert served.give(auto("b", created_at=T0 + MINUTE, **bare)) == ["rejected"]
    assert served.give(auto("c", created_at=T0 + MINUTE + 1, **bare)) == ["applied"]


def test_no_automatic_revert_lifts_what_a_human_imposed() -> None:
    served = Served()
    human, machine = manual_mute("c1", T0), auto("a")
    lifts = [
        auto(f"lift-{n}", action="revert", scope="mute", until=None, reverts=undone.action_id, **at(200 + n))
        for n, undone in enumerate((human, machine))
    ]
    assert served.give(human, machine, *lifts) == ["applied", "applied", "rejected", "applied"]
    assert list(served.game.sanctions[P]) == [human.action_id]


@pytest.mark.parametrize(
    "change",
    [
        {"scope": ()},
        {"scope": "device"},
        {"scope": "message"},
        {"action": "ban", "scope": "all"},
        {"action": "ban", "scope": "device"},
        {"action": "ban", "scope": ("guild",)},
        {"action": "revert", "scope": "message", "until": None},
        {"action": "revert", "scope": "mute", "until": None},
        {"action": "revert", "scope": ("world",), "until": None, "reverts": "x"},
    ],
)
def test_an_order_that_does_not_say_what_to_do_to_whom_is_rejected(change: dict[str, Any]) -> None:
    served = Served()
    assert served.give(auto("a", **change)) == ["rejected"]
    assert served.applier.memory == Memory()


@pytest.mark.parametrize(
    ("scope", "target"), [("device", Target(P, device_id="d1")), ("guild", Target(P, guild_id="g1"))]
)
def test_a_ban_that_names_its_device_or_guild_is_applied(scope: tuple[Any, ...], target: Target) -> None:
    served = Served()
    assert served.give(auto("a", action="ban", scope=scope, target=target)) == ["applied"]


class Broken(InMemoryGame):
    """A game whose database is away for a while."""

    away = True

    def mute(self, *args: Any) -> None:
        if self.away:
            raise ConnectionError("the database is away")
        super().mute(*args)


def test_what_the_game_could_not_do_is_done_when_it_is_delivered_again() -> None:
    game = Broken()
    applier = Applier(game)
    with pytest.raises(ConnectionError):
        applier.apply(auto("a"), T0)
    game.away = False
    assert applier.apply(auto("a"), T0).status == "applied"


def test_memory_is_bounded_and_forgets_the_oldest_first() -> None:
    served = Served(remembered=100)
    for n in range(1_000):
        mute = auto(f"a{n}", target=Target(f"p{n}"), **at(n))
        served.give(mute, msgspec.structs.replace(revert(mute, T0), target=mute.target))
    memory = served.applier.memory
    assert max(len(memory.settled), len(memory.fences), len(memory.pardons)) <= 100
    assert "a999" in memory.settled
    assert "p999" in memory.pardons
    assert "a0" not in memory.settled


def test_the_fence_of_a_player_who_goes_on_offending_is_not_forgotten() -> None:
    served = Served(remembered=10)
    others = [auto(f"p{n}", target=Target(f"p{n}"), **at(n)) for n in range(10)]
    served.give(auto("first", **at(1)), *others[:9], auto("again", **at(100)), others[9])
    assert served.give(auto("late", **at(50))) == ["rejected"]


def test_the_game_in_memory_remembers_a_bounded_number_of_messages() -> None:
    game = InMemoryGame(remembered=10)
    for n in range(100):
        game.retract(Target(P), (f"e{n}",))
    assert len(game.retracted) <= 10
    assert "e99" in game.retracted


# --- whatever Kafka delivers

PLAYERS = ("p1", "p2")
times = st.integers(T0, T0 + 20)


@st.composite
def automatic(draw: st.DrawFn) -> Action:
    said = draw(times)
    account = draw(st.sampled_from(PLAYERS))
    source = Source(draw(st.sampled_from(("chat.world", "chat.private"))), 0, draw(st.integers(0, 5)))
    name = f"{account}-{source.topic}-{source.offset}"
    change: dict[str, Any] = {"source": source, "said": said, "deliver_before": draw(st.none() | times)}
    kind = draw(st.sampled_from(("mute", "ban", "retract")))
    if kind == "retract":
        change |= {"action": "revert", "scope": "message", "until": None}
    elif kind == "ban":
        change |= {"action": "ban", "scope": "account", "until": draw(st.none() | times)}
    else:
        change |= {"until": draw(st.none() | times)}
    return auto(f"{name}-{kind}", target=Target(account, message_ids=(name,)), **change)


@st.composite
def histories(draw: st.DrawFn) -> list[Action]:
    """Actions as a topic holds them: automatic ones, humans' mutes, and humans undoing any of these."""
    made: list[Action] = []
    for n in range(draw(st.integers(1, 12))):
        what = draw(st.sampled_from(("auto", "auto", "mute", "undo")))
        if what == "undo" and made:
            undone = draw(st.sampled_from(made))
            command = RevertCommand(f"u{n}", "gm", "误伤", draw(times), undone.action_id, undone.target.account_id)
            made.append(undo(command, undone, "r1"))
        elif what == "mute":
            target = Target(draw(st.sampled_from(PLAYERS)))
            made.append(
                sanction(MuteCommand(f"m{n}", "gm", "辱骂", draw(times), target, draw(st.integers(1, 5))), "r1")
            )
        else:
            made.append(draw(automatic()))
    return list({action.action_id: action for action in made}.values())


@st.composite
def redeliveries(draw: st.DrawFn) -> tuple[list[Action], list[int]]:
    """A history, and the order Kafka delivers it in: forward, with jumps back to what was not committed."""
    history = draw(histories())
    order: list[int] = []
    position = 0
    for _ in range(draw(st.integers(0, 6))):
        end = draw(st.integers(position, len(history)))
        order.extend(range(position, end))
        position = draw(st.integers(0, end))
    return history, [*order, *range(position, len(history))]


def deliver(history: Sequence[Action], order: Sequence[int], *, restart: Callable[[Memory], Memory]) -> InMemoryGame:
    """Deliver; the clock advances with the first delivery of each, as it would have without any other."""
    game, memory, newest = InMemoryGame(), Memory(), -1
    for index in order:
        newest = max(newest, index)
        memory = restart(memory)
        Applier(game, memory).apply(history[index], T0 + 2 * newest)
    return game


def state(game: InMemoryGame) -> Any:
    return {account: held for account, held in game.sanctions.items() if held}, set(game.retracted)


@given(redeliveries())
def test_any_redelivery_leaves_the_game_as_one_delivery_does(case: tuple[list[Action], list[int]]) -> None:
    history, order = case
    once = deliver(history, range(len(history)), restart=lambda memory: memory)
    assert state(deliver(history, order, restart=lambda memory: memory)) == state(once)


@given(redeliveries())
def test_a_memory_that_was_stored_and_read_again_is_the_same_memory(case: tuple[list[Action], list[int]]) -> None:
    history, order = case

    def stored(memory: Memory) -> Memory:
        return msgspec.json.decode(msgspec.json.encode(memory), type=Memory)

    assert state(deliver(history, order, restart=stored)) == state(
        deliver(history, range(len(history)), restart=lambda memory: memory)
    )


@given(histories(), st.data())
def test_no_order_of_delivery_breaks_a_rule(history: list[Action], data: st.DataObject) -> None:
    delivered = data.draw(st.lists(st.sampled_from(history), max_size=30))
    applier, now = Applier(InMemoryGame()), T0
    applied: list[Action] = []
    for action in delivered:
        now += data.draw(st.integers(0, 3))
        if applier.apply(action, now).status == "applied":
            assert all(allows(action, before) for before in applied)
            assert action.mode == "manual" or action.deliver_before is None or now <= action.deliver_before
            applied.append(action)


def allows(action: Action, before: Action) -> bool:
    """Whether `action` may be applied after `before` was: the rules, said once more and differently."""
    if action.action_id in (before.action_id, before.reverts):
        return False
    if action.mode == "manual" or action.target.account_id != before.target.account_id:
        return True
    if before.mode == "manual":
        return before.reverts is None or (
            action.evidence is not None and action.evidence.when.event > before.created_at
        )
    one, other = action.source, before.source
    assert one
    assert other
    return (one.topic, one.partition) != (other.topic, other.partition) or one.offset >= other.offset


# --- the loop, on a real broker

TOPICS = Topics.under("")
GROUP = "game"


async def publish(kafka: str, *values: bytes | None) -> None:
    async with AIOKafkaProducer(bootstrap_servers=kafka) as producer:
        for value in values:
            await producer.send_and_wait(TOPICS.enforcement, value, P.encode(), partition=0)


async def acks(kafka: str, count: int, start: int = 0) -> list[tuple[bytes | None, Ack]]:
    """Wait for `count` acks from offset `start` on."""
    found: list[tuple[bytes | None, Ack]] = []
    async with AIOKafkaConsumer(bootstrap_servers=kafka) as consumer:
        consumer.assign([TopicPartition(TOPICS.acks, 0)])
        consumer.seek(TopicPartition(TOPICS.acks, 0), start)
        while len(found) < count:
            record = await consumer.getone()
            found.append((record.key, msgspec.json.decode(record.value, type=Ack)))
    return found


async def committed(kafka: str) -> int:
    async with AIOKafkaConsumer(bootstrap_servers=kafka, group_id=GROUP, enable_auto_commit=False) as consumer:
        tp = TopicPartition(TOPICS.enforcement, 0)
        consumer.assign([tp])
        return await consumer.committed(tp) or 0


@contextlib.asynccontextmanager
async def running(kafka: str, game: InMemoryGame, memory: Memory | None = None) -> AsyncIterator[asyncio.Task[None]]:
    """The loop, until the test has seen enough."""
    task = asyncio.create_task(run(kafka, TOPICS, Applier(game, memory), group_id=GROUP, session_timeout_s=2))
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, ConnectionError):
            await task


def fresh(action_id: str, **change: Any) -> Action:
    now = now_ms()
    return auto(action_id, said=now, until=now + 60 * MINUTE, **change)


async def create_topics(kafka: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, 1, 1) for name in (TOPICS.enforcement, TOPICS.acks)])
    finally:
        await admin.close()


def on_broker(story: Callable[[str], Coroutine[Any, Any, None]]) -> None:
    async def told() -> None:
        async with Embedded() as pair:
            kafka = pair.kafka.removeprefix("kafka://")
            await create_topics(kafka)
            await asyncio.wait_for(story(kafka), 60)

    asyncio.run(told())


@pytest.mark.servers
def test_the_loop_applies_acknowledges_then_commits_and_skips_what_is_no_action() -> None:
    async def story(kafka: str) -> None:
        game = InMemoryGame()
        later_version = b'{"action_id":"from-the-future","action":"kick","why":"a kind we do not know yet"}'
        good = [msgspec.json.encode(fresh(name, **at(n))) for n, name in enumerate(("a", "b"))]
        await publish(kafka, good[0], b"\xff", None, b'{"action_id":7}', later_version, good[0], good[1])
        async with running(kafka, game):
            told = await acks(kafka, 4)
            while await committed(kafka) < 7:  # noqa: ASYNC110  Kafka has no event for it
                await asyncio.sleep(0.05)
        assert [(key, ack.action_id, ack.status) for key, ack in told] == [
            (P.encode(), "a", "applied"),
            (None, "from-the-future", "rejected"),
            (P.encode(), "a", "already"),
            (P.encode(), "b", "applied"),
        ]
        assert set(game.sanctions[P]) == {"a", "b"}

    on_broker(story)


@pytest.mark.servers
def test_a_game_that_fails_gets_the_same_actions_again_after_a_restart() -> None:
    async def story(kafka: str) -> None:
        game, memory = Broken(), Memory()
        await publish(kafka, *(msgspec.json.encode(a) for a in (retract("r", "e1", said=now_ms()), fresh("m"))))
        async with running(kafka, game, memory) as task:
            with pytest.raises(ConnectionError):
                await asyncio.shield(task)
        assert await committed(kafka) == 0
        game.away = False
        async with running(kafka, game, memory):
            told = await acks(kafka, 2)
        assert [(ack.action_id, ack.status) for _, ack in told] == [("r", "already"), ("m", "applied")]

    on_broker(story)
