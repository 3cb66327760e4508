"""A worker that dies at any await, and one that takes over: together they do what one undisturbed worker does.

Broker and store are objects whose every call may be the last: before it has an effect, after half of it, or after all
of it when only the answer is lost. Each place is tried in turn until a run ends undisturbed.
"""

from __future__ import annotations

import asyncio
import inspect
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from moderation.actions import (
    AnswerAppealCommand,
    AppealCommand,
    MuteCommand,
    RevertCommand,
    RevertManyCommand,
    Target,
    Which,
)
from moderation.order import key_of
from tests.small_rules import TS, event, rules
from tests.test_pipeline import SPAM, TOPICS, Desk, Post, Record, Store, Tape, record

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from moderation.actions import Command
    from streams.outbox import Letter

#: What the mute rests on.
RULE = next((rule.id, rule.revision) for rule in rules().rules if rule.id == "sell.contact")
#: No run has as many awaits: more means that a crash changes nothing any more.
MOST_POINTS = 500


class Crash(BaseException):
    """The process is gone."""


class Fuse:
    """Lets so many points by, and crashes at the next."""

    def __init__(self, left: int) -> None:
        self.left = left

    def burn(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Crash


class FrailPost(Post):
    """A broker that may take nothing, half or all of what it is given before we are gone."""

    def __init__(self, sent: list[Letter], fuse: Fuse) -> None:
        super().__init__()
        self.sent, self._fuse = sent, fuse

    async def send(self, letters: Sequence[Letter]) -> None:
        half = len(letters) // 2
        for part in (letters[:half], letters[half:]):
            self._fuse.burn()
            await super().send(part)
        self._fuse.burn()


class Frail:
    """A store of which every call may be the last, before or after its effect."""

    def __init__(self, inner: Any, fuse: Fuse) -> None:
        self._inner, self._fuse = inner, fuse

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name in ("campaigns", "listing", "appeals"):
            return Frail(found, self._fuse)
        return self._frail(found) if inspect.iscoroutinefunction(found) else found

    def _frail(self, found: Any) -> Any:
        async def call(*args: Any, **more: Any) -> Any:
            self._fuse.burn()
            answer = await found(*args, **more)
            self._fuse.burn()
            return answer

        return call


class Broker(NamedTuple):
    """What outlives a worker: what was sent, and the store."""

    sent: list[Letter]
    store: Store

    def desk(self, fuse: Fuse, past: Sequence[Record] = ()) -> Desk:
        return Desk(FrailPost(self.sent, fuse), Frail(self.store, fuse), Tape(*past))  # type: ignore[arg-type]  # one that may die


def effects(broker: Broker) -> dict[tuple[str, bytes | None, str], bytes | None]:
    """What was sent, by topic, key and id; the same twice is the same. Other bytes under one id are an error."""
    seen: dict[tuple[str, bytes | None, str], bytes | None] = {}
    for letter in broker.sent:
        body = msgspec.json.decode(letter.value or b"") if letter.topic != TOPICS.dead_letters else {}
        name = str(
            body.get("action_id", "") + body.get("state", "")
            or body.get("case_id")
            or body.get("after")
            or dict(letter.headers)
        )
        assert seen.setdefault((letter.topic, letter.key, name), letter.value) == letter.value
    return seen


def order(broker: Broker, account: str) -> list[str]:
    """The actions on an account by when each came first."""
    bodies = [msgspec.json.decode(x.value or b"") for x in broker.sent if x.topic == TOPICS.enforcement]
    return list(dict.fromkeys(b["action_id"] for b in bodies if b["target"]["account_id"] == account))


FIRST = [
    record(event(text, n, at_s=n, account=account, **fields), n)
    for n, (text, account, fields) in enumerate(
        (
            ("出金加QQ", "a1", {"level": 3}),
            (SPAM, "a2", {"level": 3}),
            ("你好", "a3", {}),
            (SPAM, "a4", {"vip": 9}),
        )
    )
] + [Record(4, b"x", b"{}")]
SECOND = [
    record(event("7381920", 5, at_s=5, account="a1", level=3), 5),
    record(event(SPAM, 6, at_s=6, account="a5", level=3), 6),
    record(event("来我们区，转会费五百", 7, at_s=7, account="a6", level=3), 7),
    Record(8, b"a2", b"not json"),
    record(event(SPAM, 9, at_s=4000, account="a2", level=3), 9),
]


def crashes(work: Any) -> Iterator[Broker]:
    """Yield the broker after each way to crash in `work(desk maker)` and to do it again, and last without any."""
    for points in count():
        assert points < MOST_POINTS
        broker = Broker([], Store())
        fuse = Fuse(points)
        try:
            work(broker, fuse)
        except Crash:
            work(broker, Fuse(MOST_POINTS))
            yield broker
        else:
            yield broker
            return


def chat(broker: Broker, fuse: Fuse) -> None:
    """The first batch undisturbed and acknowledged; the second by a worker that never heard it."""
    if not broker.sent:
        broker.desk(Fuse(MOST_POINTS)).chat(*FIRST)
    broker.desk(fuse, FIRST).chat(*SECOND)


def undisturbed(work: Any) -> Broker:
    broker = Broker([], Store())
    work(broker, Fuse(MOST_POINTS))
    return broker


def test_wherever_a_worker_dies_over_a_batch_the_next_one_makes_up_for_it() -> None:
    whole = undisturbed(chat)
    ended = list(crashes(chat))
    assert len(ended) > 9, "two questions to the store, one way out, one record: before, between and after each"
    assert {len(effects(broker)) for broker in ended} == {len(effects(whole))}
    for broker in ended:
        assert effects(broker) == effects(whole)
        assert [order(broker, f"a{n}") for n in range(7)] == [order(whole, f"a{n}") for n in range(7)]
        for n in range(7):
            live = asyncio.run(broker.store.live(f"a{n}", TS + 5_000_000))
            assert live == asyncio.run(whole.store.live(f"a{n}", TS + 5_000_000))


def ordered(broker: Broker, fuse: Fuse) -> None:
    """Somebody was muted by a rule; then humans mute, undo that, answer an appeal, and undo the rule."""
    if not broker.sent:
        broker.desk(Fuse(MOST_POINTS)).chat(*FIRST)
    retracted, undone = broker.desk(Fuse(MOST_POINTS)).post.actions()[:2]
    appealed = retracted.action_id, retracted.target.account_id
    commands: tuple[Command, ...] = (
        MuteCommand("c1", "gm", "骂人", TS, Target("a3"), 600),
        RevertCommand("c2", "gm", "误判", TS + 7000, undone.action_id, undone.target.account_id),
        AppealCommand("c4", "portal", TS + 7000, *appealed, "冤枉"),
        AnswerAppealCommand("c5", "gm", "在看", TS + 7500, *appealed),
        AnswerAppealCommand("c6", "gm", "误判", TS + 8000, *appealed, granted=True),
        RevertManyCommand("c3", "gm", "规则错了", TS + 9000, Which(rule="sell.contact")),
    )
    desk = broker.desk(fuse)
    records = [
        Record(n, key_of(one).encode(), msgspec.json.encode(one), TOPICS.commands) for n, one in enumerate(commands)
    ]
    asyncio.run(desk.pipeline.commands(records, lambda: True))


def test_wherever_a_worker_dies_over_orders_the_next_one_carries_them_out() -> None:
    whole = undisturbed(ordered)
    ended = list(crashes(ordered))
    assert len(ended) > 40
    for broker in ended:
        assert effects(broker) == effects(whole)
        [rate] = asyncio.run(broker.store.appeals.rates(0, [RULE]))
        assert (rate.appealed, rate.answered, rate.overturned) == (1, 1, 1)
        assert asyncio.run(broker.store.live("a2", TS + 10_000)) == []
        assert len(asyncio.run(broker.store.live("a3", TS + 10_000))) == 1


def test_the_books_see_a_worker_that_acknowledges_too_early() -> None:
    def careless(broker: Broker, fuse: Fuse) -> None:
        if not broker.sent:
            chat(broker, fuse)

    whole = effects(undisturbed(chat))
    assert any(len(effects(broker)) < len(whole) for broker in crashes(careless))
