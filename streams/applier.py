"""The reference consumer: what a game server does with `moderation.enforcement`. docs/game-server.md tells it in words.

`Applier` decides, and calls the game; it has no I/O and no clock. `run` is the loop around it. Kafka delivers at least
once, and a replay delivers again what is long over, so in this order:

1. an id that was applied is not applied again;
2. whom the game does not know is reported, not guessed;
3. an automatic action is void after `deliver_before`; any mute or ban is over after `until`;
4. an automatic action is void if a later one of the same source partition was applied to the account (the fence);
5. a human outranks it: what was said before a human undid an action against that player is forgiven, and no automatic
   revert lifts what a human imposed.

What 1, 4 and 5 need is `Memory`. It must live as long as the sanctions do, so keep both in one place: a server that
restarts with its sanctions and without its memory forgets what humans forgave.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from contextlib import AsyncExitStack
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol, TypeVar

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError
from msgspec import Struct

from moderation.actions import Ack, Action, Scope, Source, Target
from moderation.events import Channel, Id

if TYPE_CHECKING:
    from collections.abc import Callable

    from streams.settings import Topics

T = TypeVar("T")
Status = Literal["applied", "rejected", "already", "unknown_target"]
Visibility = Literal["all", "self_only"]

#: Entries remembered of each kind, the oldest go first. 200 000 ids and as many fences are 73 MB (2026-11-21).
#: An id must be known for as long as its action may still come: `deliver_before` is minutes after the event, and
#: 200 000 are ten minutes of 300 actions a second.
REMEMBERED: Final = 200_000
#: Records applied between two commits: what is delivered again after a crash.
BATCH: Final = 500
#: How long the broker may hold a fetch that finds nothing. The embedded one looks again only after half of it: with
#: aiokafka's 500 an action took 138 ms at the median, with 20 it takes 5 (2026-11-21). Apache Kafka answers at once.
FETCH_WAIT_MS: Final = 20

#: What a target must name for a ban of each scope.
_BANNED: Final[dict[object, Callable[[Target], object]]] = {
    "account": lambda target: target.account_id,
    "device": lambda target: target.device_id,
    "guild": lambda target: target.guild_id,
    "channel_package": lambda target: target.channel_package,
}


class GameServer(Protocol):
    """What an applier asks of the game. Every call may be repeated; raising means: not done, deliver it again.

    Sanctions are told apart by the id of their action: a player may be under several, and each is lifted alone.
    """

    def knows(self, account_id: str) -> bool:
        """Tell whether there is such an account."""

    def mute(self, action_id: str, target: Target, scope: Scope, until: int | None, visibility: Visibility) -> None:
        """Silence the account in the channels of `scope` until then (ms; None = for good).

        `self_only`: the player goes on seeing their own messages, nobody else does.
        """

    def ban(self, action_id: str, target: Target, scope: Scope, until: int | None) -> None:
        """Lock the account, its device, its guild or its channel package out until then (ms; None = for good)."""

    def lift(self, target: Target, action_id: str) -> None:
        """End the mute or ban that this action imposed, if it is in force."""

    def retract(self, target: Target, message_ids: tuple[str, ...]) -> None:
        """Take messages down, named by the `event_id` they were published with."""

    def restore(self, target: Target, message_ids: tuple[str, ...]) -> None:
        """Show messages again that were taken down by mistake, if they are still there."""


class Memory(Struct):
    """What an applier must remember; plain data, so that it can be stored beside the sanctions.

    `settled`: action_id -> who ordered it, "" where it was undone. `fences`: "account topic partition"
    -> offset of the newest cause applied. `pardons`: account -> ms up to which what they said is forgiven.
    """

    settled: dict[str, Literal["auto", "manual", ""]] = {}
    fences: dict[str, int] = {}
    pardons: dict[str, int] = {}


class Applier:
    """Applies actions to a game. Memory is bounded by `remembered` entries of each kind; a call costs a few µs."""

    def __init__(self, game: GameServer, memory: Memory | None = None, *, remembered: int = REMEMBERED) -> None:
        self.game = game
        self.memory = memory or Memory()
        self._remembered = remembered

    def apply(self, action: Action, now_ms: int) -> Ack:
        """Apply an action if it is still to be applied, and say what became of it.

        Whatever the game raises passes through, and nothing is remembered: apply the same action again.
        """
        status = self._status(action, now_ms)
        if status == "applied":
            self._order(action)
            self._remember(action)
        return Ack(action.action_id, status, now_ms, action.target.account_id)

    def _status(self, action: Action, now_ms: int) -> Status:
        if action.action_id in self.memory.settled:
            return "already"
        if not self.game.knows(action.target.account_id):
            return "unknown_target"
        void = self._over(action, now_ms) or self._outranked(action) or not _makes_sense(action)
        return "rejected" if void else "applied"

    def _over(self, action: Action, now_ms: int) -> bool:
        if action.action != "revert" and action.until is not None and action.until <= now_ms:
            return True
        late = action.deliver_before is not None and action.deliver_before < now_ms
        return action.mode == "auto" and (late or self._overtaken(action))

    def _overtaken(self, action: Action) -> bool:
        """Older than the fence. The actions of one event share its offset, so an equal offset passes."""
        fence = self.memory.fences.get(_fence(action.target.account_id, action.source)) if action.source else None
        return fence is not None and action.source is not None and action.source.offset < fence

    def _outranked(self, action: Action) -> bool:
        if action.mode == "manual":
            return False
        forgiven = _said_at(action) <= self.memory.pardons.get(action.target.account_id, 0)
        return forgiven or self.memory.settled.get(action.reverts or "") == "manual"

    def _order(self, action: Action) -> None:
        if action.action == "mute":
            self.game.mute(action.action_id, action.target, action.scope, action.until, action.visibility)
        elif action.action == "ban":
            self.game.ban(action.action_id, action.target, action.scope, action.until)
        else:
            self._revert(action)

    def _revert(self, action: Action) -> None:
        """Take a message down, or undo what `reverts` names. A strike is Qingliu's own: there is nothing to do."""
        if action.scope == "message":
            move = self.game.restore if action.reverts else self.game.retract
            move(action.target, action.target.message_ids)
        if action.reverts and action.scope in ("mute", "ban"):
            self.game.lift(action.target, action.reverts)

    def _remember(self, action: Action) -> None:
        account, memory = action.target.account_id, self.memory
        self._keep(memory.settled, action.action_id, action.mode)
        if action.reverts:
            self._keep(memory.settled, action.reverts, "")
        if action.mode == "auto" and action.source:
            self._keep(memory.fences, _fence(account, action.source), action.source.offset)
        if action.mode == "manual" and (action.reverts or action.scope == "strike"):
            self._keep(memory.pardons, account, max(action.created_at, memory.pardons.get(account, 0)))

    def _keep(self, table: dict[str, Any], key: str, value: Any) -> None:
        table.pop(key, None)
        table[key] = value
        _forget(table, self._remembered)


def _forget(table: dict[str, Any], most: int) -> None:
    """Drop the oldest eighth of a full table. One at a time, each would search past all that went before it."""
    if len(table) > most:
        for key in list(islice(table, most // 8 + 1)):
            del table[key]


def _fence(account_id: str, source: Source) -> str:
    return f"{account_id} {source.topic} {source.partition}"


def _said_at(action: Action) -> int:
    """When its cause was said; an action without evidence is as old as itself."""
    return action.evidence.when.event if action.evidence else action.created_at


def _makes_sense(action: Action) -> bool:
    """Tell whether it says what to do to whom; if not, it is rejected, not guessed at."""
    scope, target = action.scope, action.target
    if action.action == "mute":
        return scope == "all" or (isinstance(scope, tuple) and bool(scope))
    if action.action == "ban":
        return scope in _BANNED and bool(_BANNED[scope](target))
    undone = {"message": target.message_ids, "mute": action.reverts, "ban": action.reverts, "strike": True}
    return isinstance(scope, str) and bool(undone.get(scope))


# --- a game in memory


class Sanction(NamedTuple):
    """A mute or ban in force until then (ms; None = for good)."""

    kind: Literal["mute", "ban"]
    scope: Scope
    until: int | None
    visibility: Visibility = "all"

    def holds(self, now_ms: int) -> bool:
        """Tell whether it is in force."""
        return self.until is None or now_ms < self.until


class InMemoryGame:
    """A game that only keeps books: the demo and the tests apply actions to it. It forgets no sanction.

    `accounts` = those it knows, None = everyone. `retracted` holds at most `remembered` messages taken down last.
    """

    def __init__(self, accounts: frozenset[str] | None = None, *, remembered: int = REMEMBERED) -> None:
        self._accounts = accounts
        self._remembered = remembered
        self.sanctions: defaultdict[str, dict[str, Sanction]] = defaultdict(dict)
        self.retracted: dict[str, None] = {}

    def knows(self, account_id: str) -> bool:
        """See `GameServer`."""
        return self._accounts is None or account_id in self._accounts

    def mute(self, action_id: str, target: Target, scope: Scope, until: int | None, visibility: Visibility) -> None:
        """See `GameServer`."""
        self.sanctions[target.account_id][action_id] = Sanction("mute", scope, until, visibility)

    def ban(self, action_id: str, target: Target, scope: Scope, until: int | None) -> None:
        """See `GameServer`."""
        self.sanctions[target.account_id][action_id] = Sanction("ban", scope, until)

    def lift(self, target: Target, action_id: str) -> None:
        """See `GameServer`."""
        self.sanctions[target.account_id].pop(action_id, None)

    def retract(self, target: Target, message_ids: tuple[str, ...]) -> None:  # noqa: ARG002  the protocol's signature
        """See `GameServer`."""
        self.retracted |= dict.fromkeys(message_ids)
        _forget(self.retracted, self._remembered)

    def restore(self, target: Target, message_ids: tuple[str, ...]) -> None:  # noqa: ARG002  the protocol's signature
        """See `GameServer`."""
        for message_id in message_ids:
            self.retracted.pop(message_id, None)

    def muted(self, account_id: str, channel: Channel, now_ms: int) -> Sanction | None:
        """Return the mute that silences an account in a channel and ends last; one for all to see before others."""
        found = [
            s for s in self._live(account_id, now_ms) if s.kind == "mute" and (s.scope == "all" or channel in s.scope)
        ]
        return max(found, key=lambda s: (s.visibility == "all", s.until or 1 << 63), default=None)

    def banned(self, account_id: str, now_ms: int) -> Sanction | None:
        """Return the ban on an account, or on its device, guild or channel package, that ends last."""
        found = [s for s in self._live(account_id, now_ms) if s.kind == "ban"]
        return max(found, key=lambda s: s.until or 1 << 63, default=None)

    def _live(self, account_id: str, now_ms: int) -> list[Sanction]:
        return [s for s in self.sanctions.get(account_id, {}).values() if s.holds(now_ms)]


# --- the loop

_action: Final = msgspec.json.Decoder(Action)


class _Named(Struct):
    action_id: Id


_named: Final = msgspec.json.Decoder(_Named)
_log: Final = structlog.get_logger("applier")


def now_ms() -> int:
    """Return the time in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


async def run(
    bootstrap: str,
    topics: Topics,
    applier: Applier,
    *,
    group_id: str = "game-server",
    session_timeout_s: float = 20.0,
    **client: Any,
) -> None:
    """Apply actions until cancelled: apply, acknowledge, wait for the broker to have the acks, and only then commit.

    `client` goes to aiokafka's producer and consumer alike: TLS, SASL. What the game or Kafka raises ends it with
    nothing of the batch committed: whoever starts it again gets the same actions again. Game calls run on the event
    loop, so they must not block it for long; another server takes over what this one reads after `session_timeout_s`.
    """
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", **client)
    consumer = AIOKafkaConsumer(
        topics.enforcement,
        bootstrap_servers=bootstrap,
        group_id=group_id,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=FETCH_WAIT_MS,
        session_timeout_ms=int(session_timeout_s * 1000),
        heartbeat_interval_ms=int(session_timeout_s * 250),
        **client,
    )
    async with AsyncExitStack() as stack:
        stack.push_async_callback(producer.stop)
        stack.push_async_callback(consumer.stop)
        await producer.start()
        await consumer.start()
        while True:
            await _turn(consumer, producer, topics.acks, applier)


async def _turn(consumer: AIOKafkaConsumer, producer: AIOKafkaProducer, acks: str, applier: Applier) -> None:
    fetched: dict[TopicPartition, list[Any]] = await consumer.getmany(timeout_ms=500, max_records=BATCH)
    answers = [_answer(record, applier, now_ms()) for records in fetched.values() for record in records]
    sent = [await producer.send(acks, *_keyed(ack)) for ack in answers if ack]
    await asyncio.gather(*sent)
    if fetched:
        try:
            await consumer.commit({tp: records[-1].offset + 1 for tp, records in fetched.items()})
        except (
            CommitFailedError,
            IllegalStateError,
        ):  # a rebalance took the partition: its new owner gets these actions again
            _log.warning("commit_failed", partitions=[tp.partition for tp in fetched])


def _answer(record: Any, applier: Applier, now: int) -> Ack | None:
    """Apply one record. What cannot be read is skipped, and rejected if it has at least an id."""
    if action := _read(_action, record):
        return applier.apply(action, now)
    _log.error("not_an_action", partition=record.partition, offset=record.offset)
    named = _read(_named, record)
    return Ack(named.action_id, "rejected", now) if named else None


def _read(decoder: msgspec.json.Decoder[T], record: Any) -> T | None:
    try:
        return decoder.decode(record.value or b"")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _keyed(ack: Ack) -> tuple[bytes, bytes | None]:
    return msgspec.json.encode(ack), ack.account_id.encode() if ack.account_id else None
