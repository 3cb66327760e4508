"""A batch's way to durable effects, with a broker and a ledger that fail on command."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import pytest

from moderation.actions import Action, Case, MuteCommand, RevertCommand, Target
from moderation.errors import StoreUnavailable
from moderation.moderator import Moderator
from streams import canary
from streams.health import Health
from streams.ledger import MemoryLedger
from streams.metrics import Metrics
from streams.outbox import Letter, LettersNotSent
from streams.pipeline import Pipeline, Stale
from streams.settings import Topics
from tests.small_rules import TS, event, rules

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from moderation.decide import Finding
    from moderation.events import ChatEvent
    from moderation.signature import Signing
    from moderation.standing import Standing, Strike
    from streams.drain import DrainLimit

TOPICS = Topics.under("")
SPAM = "出金加QQ 7381920465"


class Record(NamedTuple):
    """A Kafka record."""

    offset: int
    key: bytes | None
    value: bytes | None
    topic: str = TOPICS.world
    partition: int = 0
    headers: tuple[tuple[str, bytes], ...] = ()
    timestamp: int = 0


def record(e: ChatEvent, offset: int = 0) -> Record:
    return Record(offset, e.sender.account_id.encode(), msgspec.json.encode(e))


class Post:
    """An outbox that keeps what was acknowledged and fails the next `failures` times."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.sent: list[Letter] = []

    async def send(self, letters: Sequence[Letter]) -> None:
        """Each time it fails it takes the first letter nevertheless."""
        await asyncio.sleep(0)
        if self.failures:
            self.failures -= 1
            self.sent += letters[:1]
            raise LettersNotSent("no broker", letters[1:])
        self.sent += letters

    def actions(self) -> list[Action]:
        return [msgspec.json.decode(one.value or b"", type=Action) for one in self.of(TOPICS.enforcement)]

    def of(self, topic: str) -> list[Letter]:
        return [one for one in self.sent if one.topic == topic]


class Store(MemoryLedger):
    """A ledger that can be away."""

    away = False

    async def strike(self, strikes: Sequence[Strike]) -> list[Standing]:
        if self.away:
            raise StoreUnavailable("no store")
        return await super().strike(strikes)

    async def record(self, actions: Sequence[Action]) -> None:
        if self.away:
            raise StoreUnavailable("no store")
        await super().record(actions)


class Desk:
    """A pipeline and everything around it."""

    def __init__(
        self,
        post: Post | None = None,
        store: Store | None = None,
        past: Tape | None = None,
        drain: DrainLimit | None = None,
        signing: Signing | None = None,
    ) -> None:
        self.post = post or Post()
        self.store = store or Store()
        self.metrics = Metrics()
        self.health = Health()
        self.moderator = Moderator(rules())
        self.now, self.seconds = TS + 1000, 0.0
        self.pipeline = Pipeline(
            self.moderator, self.store, self.post, TOPICS, self.metrics, self.health,
            past=past, drain=drain, signing=signing, now_ms=lambda: self.now,
            clock=lambda: time.monotonic() + self.seconds,
        )  # fmt: skip

    def chat(self, *records: Record, fresh: bool = True) -> None:
        asyncio.run(self.pipeline.chat(records, lambda: fresh))

    def command(self, *commands: msgspec.Struct, key: bytes = b"a1") -> None:
        records = [Record(i, key, msgspec.json.encode(c), TOPICS.commands) for i, c in enumerate(commands)]
        asyncio.run(self.pipeline.commands(records, lambda: True))

    def counted(self, metric: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(f"qingliu_{metric}", labels or None) or 0.0

    def outcomes(self) -> dict[str, float]:
        names = ("allow", "review", "act", "dead_letter")
        return {n: v for n in names if (v := self.counted("outcomes_total", outcome=n))}


def test_every_record_has_exactly_one_outcome() -> None:
    desk = Desk()
    texts = ("你好", SPAM, "来我们区，转会费五百", "哈哈")
    good = [record(event(t, i, account=f"a{i}", level=3), i) for i, t in enumerate(texts)]
    desk.chat(*good, Record(4, b"x", b"not json"), Record(5, None, good[0].value))
    assert desk.outcomes() == {"allow": 2, "review": 1, "act": 1, "dead_letter": 2}
    assert [
        c.why_human for c in (msgspec.json.decode(x.value or b"", type=Case) for x in desk.post.of(TOPICS.cases))
    ] == ["low_confidence"]


def test_a_dead_letter_keeps_the_bytes_and_says_why_and_whence() -> None:
    desk = Desk()
    desk.chat(Record(17, b"k", b"\xff\x00", partition=3))
    [letter] = desk.post.of(TOPICS.dead_letters)
    assert (letter.key, letter.value) == (b"k", b"\xff\x00")
    headers = dict(letter.headers)
    assert headers["reason"] == b"not_utf8"
    assert (headers["source-topic"], headers["source-partition"], headers["source-offset"]) == (
        b"chat.world",
        b"3",
        b"17",
    )


def test_a_tombstone_becomes_a_dead_letter_without_a_value() -> None:
    desk = Desk()
    desk.chat(Record(0, None, None))
    [letter] = desk.post.of(TOPICS.dead_letters)
    assert (letter.key, letter.value, dict(letter.headers)["reason"]) == (None, None, b"tombstone")


class Broken(Moderator):
    """A moderator with a bug."""

    def judge(self, events: Sequence[ChatEvent]) -> list[Finding]:
        if any(event.text == "炸" for event in events):
            raise ZeroDivisionError
        return super().judge(events)


def test_a_bug_met_by_one_message_loses_neither_it_nor_the_next() -> None:
    desk = Desk()
    desk.pipeline.moderator = Broken(rules())
    desk.chat(record(event("炸")), record(event(SPAM, 1, level=3), 1))
    assert desk.outcomes() == {"act": 1, "dead_letter": 1}
    assert dict(desk.post.of(TOPICS.dead_letters)[0].headers)["reason"] == b"processing_error"


class Heavy(bytes):
    """A value that exhausts whoever reads it."""

    def count(self, *_: object) -> int:
        raise MemoryError


def test_a_bug_in_reading_one_record_is_a_dead_letter_too() -> None:
    desk = Desk()
    good = record(event(SPAM, level=3), 1)
    desk.chat(good._replace(offset=0, value=Heavy(good.value or b"")), good)
    assert desk.outcomes() == {"act": 1, "dead_letter": 1}
    assert dict(desk.post.of(TOPICS.dead_letters)[0].headers)["reason"] == b"processing_error"


def test_what_the_broker_refuses_is_sent_again_until_it_is_acknowledged_in_order() -> None:
    desk = Desk(Post(failures=3))
    desk.chat(record(event(SPAM, level=3)))
    assert [a.action for a in desk.post.actions()] == ["revert", "mute"]
    assert desk.counted("produce_retries_total") == 3


def test_a_batch_of_another_generation_is_left_alone() -> None:
    desk = Desk()
    with pytest.raises(Stale):
        desk.chat(record(event(SPAM, level=3)), fresh=False)
    assert not desk.post.sent


def test_a_broker_that_takes_nothing_is_away_until_it_takes_something_or_another_worker_asks_it() -> None:
    for then in ("taken", "left"):
        desk = Desk(Post(failures=1))
        seen: list[set[str]] = []

        def fresh(desk: Desk = desk, seen: list[set[str]] = seen, then: str = then) -> bool:
            seen.append(set(desk.health._away))
            return len(seen) == 1 or then == "taken"

        work = desk.pipeline.chat([record(event(SPAM, level=3))], fresh)
        if then == "left":
            with pytest.raises(Stale):
                asyncio.run(work)
        else:
            asyncio.run(work)
        assert "produce" not in seen[0]
        assert "produce" in seen[1]
        assert "produce" not in desk.health._away


def test_what_is_counted_tells_channels_apart_and_how_old_the_oldest_was() -> None:
    desk = Desk()
    desk.chat(
        record(event("你好", 0, account="a1", channel="guild"), 0),
        record(event("大家好", 1, account="a2"), 1),
        record(event(SPAM, 2, account="a3", level=3), 2),
    )
    assert desk.counted("verdicts_total", verdict="allow", label="none", channel="guild") == 1
    assert desk.counted("verdicts_total", verdict="allow", label="none", channel="world") == 1
    assert desk.counted("verdicts_total", verdict="act", label="rmt", channel="world") == 1
    assert desk.counted("received_total", topic="chat.world") == 3
    assert desk.counted("event_age_seconds_count") == 1
    assert desk.counted("store_seconds_count") > 0


def test_a_canary_is_judged_and_answered_like_anybody_and_not_kept() -> None:
    desk = Desk()
    desk.chat(
        record(event(SPAM, 0, account=canary.ACCOUNT, level=3), 0), record(event(SPAM, 1, account="a1", level=3), 1)
    )
    sent = {a.target.account_id: a for a in desk.post.actions()}
    assert sent.keys() == {canary.ACCOUNT, "a1"}
    assert asyncio.run(desk.store.find(sent["a1"].action_id, "a1"))
    assert asyncio.run(desk.store.find(sent[canary.ACCOUNT].action_id, canary.ACCOUNT)) is None


def test_a_redelivered_batch_says_the_same_again_and_climbs_no_ladder() -> None:
    desk = Desk()
    batch = [record(event(SPAM, i, at_s=i * 100, level=3), i) for i in range(3)]
    desk.chat(*batch)
    desk.now += 60_000
    desk.chat(*batch)
    values = [one.value for one in desk.post.of(TOPICS.enforcement)]
    assert values[: len(values) // 2] == values[len(values) // 2 :]
    assert [a.duration_s for a in desk.post.actions()[:6] if a.action != "revert"] == [3600, 86_400, 7 * 86_400]


def test_what_was_decided_is_in_the_ledger_when_the_batch_is_done() -> None:
    desk = Desk()
    desk.chat(record(event(SPAM, level=3)))
    for action in desk.post.actions():
        assert asyncio.run(desk.store.find(action.action_id, "a1")) == action


def test_without_a_ledger_messages_go_but_nobody_is_muted_and_it_is_said() -> None:
    desk = Desk()
    desk.store.away = True
    desk.pipeline._degraded = True  # as after the first patience has run out
    desk.chat(record(event(SPAM, level=3)))
    assert [(a.action, a.degraded) for a in desk.post.actions()] == [("revert", True)]
    assert desk.outcomes() == {"act": 1}
    assert len(desk.post.of(TOPICS.cases)) == 1
    desk.store.away = False
    desk.chat(record(event("你好", 1), 1))
    assert desk.counted("degraded") == 0
    [retract] = desk.post.actions()
    assert asyncio.run(desk.store.find(retract.action_id, "a1")) == retract  # what waited was written


class Numb(Store):
    """A ledger whose first answer comes while the worker is stopped for `stopped` seconds: it sees a timeout."""

    def __init__(self, stopped: float) -> None:
        super().__init__()
        self.desk = Desk(store=self)
        self.stopped, self.asked = stopped, 0

    async def strike(self, strikes: Sequence[Strike]) -> list[Standing]:
        self.asked += 1
        self.away = self.asked == 1 or self.stopped == 0
        self.desk.seconds += self.stopped if self.asked == 1 else 1
        return await super().strike(strikes)


def test_a_worker_that_was_stopped_asks_again_before_it_judges_without_a_ledger() -> None:
    numb = Numb(9.0)
    numb.desk.chat(record(event(SPAM, level=3)))
    assert numb.asked == 2
    assert [a.degraded for a in numb.desk.post.actions()] == [False, False]


def test_a_ledger_that_stays_away_is_waited_for_no_longer_than_patience_lasts() -> None:
    gone = Numb(0.0)
    gone.desk.chat(record(event(SPAM, level=3)))
    assert gone.asked <= 3
    assert [a.degraded for a in gone.desk.post.actions()] == [True]


def test_what_one_batch_could_not_record_another_does_not_forget() -> None:
    desk = Desk()
    batches = [[record(event(SPAM, n, account=f"a{n}", level=3), n)] for n in range(6)]

    async def run() -> None:
        desk.store.away = True
        desk.pipeline._degraded = True
        first = [asyncio.ensure_future(desk.pipeline.chat(batch, lambda: True)) for batch in batches[:3]]
        await asyncio.gather(*first)
        desk.store.away = False
        await asyncio.gather(*(desk.pipeline.chat(batch, lambda: True) for batch in batches[3:]))

    asyncio.run(run())
    for action in desk.post.actions():
        assert asyncio.run(desk.store.find(action.action_id, action.target.account_id)) == action


def mute(command_id: str = "c1") -> MuteCommand:
    return MuteCommand(command_id, "gm-li", "骂人", TS, Target("a1"), 600)


def test_a_human_mutes() -> None:
    desk = Desk()
    desk.command(mute())
    [action] = desk.post.actions()
    assert (action.action, action.mode, action.operator, action.until) == ("mute", "manual", "gm-li", TS + 600_000)
    assert action.deliver_before is None
    assert asyncio.run(desk.store.live("a1", TS)) == [action]


def test_a_granted_appeal_lifts_the_sanction_and_steps_the_ladder_down() -> None:
    desk = Desk()
    desk.chat(record(event(SPAM, level=3)))
    sanction = desk.post.actions()[-1]
    desk.command(RevertCommand("c2", "gm-li", "误判", TS + 5000, sanction.action_id, "a1"))
    lifted = desk.post.actions()[-1]
    assert (lifted.action, lifted.scope, lifted.reverts) == ("revert", "mute", sanction.action_id)
    assert asyncio.run(desk.store.live("a1", TS + 6000)) == []
    desk.chat(record(event(SPAM, 1, at_s=3600, level=3), 1))
    assert desk.post.actions()[-1].duration_s == 3600  # the first step again


def test_two_reverts_of_one_action_are_one() -> None:
    desk = Desk()
    desk.chat(record(event(SPAM, level=3)))
    sanction = desk.post.actions()[-1]
    for number in ("c2", "c3"):
        desk.command(RevertCommand(number, "gm-li", "误判", TS + 5000, sanction.action_id, "a1"))
    first, second = desk.post.actions()[-2:]
    assert first == second


def test_a_command_about_an_unknown_action_or_no_command_is_a_dead_letter() -> None:
    desk = Desk()
    desk.command(RevertCommand("c2", "gm-li", "误判", TS, "0" * 32, "a1"))
    desk.command(mute(), key=b"a2")
    asyncio.run(desk.pipeline.commands([Record(0, b"a1", b"{}", TOPICS.commands)], lambda: True))
    reasons = [dict(one.headers)["reason"] for one in desk.post.of(TOPICS.dead_letters)]
    assert reasons == [b"unknown_action", b"key_mismatch", b"schema"]
    assert not desk.post.actions()


def test_a_command_waits_for_the_ledger_instead_of_getting_lost() -> None:
    desk = Desk()

    async def run() -> None:
        desk.store.away = True
        doing = asyncio.ensure_future(
            desk.pipeline.commands([Record(0, b"a1", msgspec.json.encode(mute()), TOPICS.commands)], lambda: True)
        )
        while not desk.counted("produce_retries_total"):  # noqa: ASYNC110  a counter tells nobody
            await asyncio.sleep(0.01)
        assert not doing.done()
        desk.store.away = False
        await doing

    asyncio.run(run())
    assert len({a.action_id for a in desk.post.actions()}) == 1
    assert len(asyncio.run(desk.store.live("a1", TS))) == 1


# --- a partition that was another worker's


class Tape:
    """The past of all partitions: what was published there."""

    def __init__(self, *published: Record) -> None:
        self.published = published
        self.asked: list[tuple[int, int]] = []

    async def before(self, first: Any, known: int) -> AsyncIterator[list[Any]]:
        self.asked.append((known, first.offset))
        yield [one for one in self.published if known <= one.offset < first.offset]


TORN = [record(event(text, n, at_s=n, level=3), n) for n, text in enumerate(("出金加QQ", "你好", "7381920", "465"))]


def test_a_worker_that_takes_over_decides_as_the_one_before_would_have() -> None:
    one, other = Desk(), Desk(past=Tape(*TORN))
    one.chat(*TORN)
    other.chat(*TORN[3:])
    assert one.post.actions()[-1].event_id == other.post.actions()[-1].event_id == "e3"
    assert [a.action_id for a in one.post.actions() if a.event_id == "e3"] == [
        a.action_id for a in other.post.actions()
    ]
    cold = Desk()
    cold.chat(*TORN[3:])
    assert cold.post.actions() == []


def test_nothing_comes_of_what_is_heard_again() -> None:
    tape = Tape(record(event(SPAM, level=3)), Record(1, b"x", b"not json"))
    desk = Desk(past=tape)
    desk.chat(record(event("你好", 2), 2))
    assert (desk.post.sent, desk.outcomes()) == ([], {"allow": 1})
    assert asyncio.run(desk.store.live("a1", TS)) == []


def test_only_what_was_missed_is_heard_again() -> None:
    tape = Tape()
    desk = Desk(past=tape)
    for offset in (0, 1, 2, 5, 3, 100):  # from the start, in order, over a transaction's marker, again, after a gap
        desk.chat(record(event("你好", offset, at_s=offset), offset))
    assert tape.asked == [(4, 100)]


def test_a_clock_that_is_behind_the_broker_ends_no_mute_before_it_begins() -> None:
    desk = Desk()
    desk.now = TS - 3_600_000
    desk.chat(record(event(SPAM, level=3))._replace(timestamp=TS + 500))
    assert {action.created_at for action in desk.post.actions()} == {TS + 500}
