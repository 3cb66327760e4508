"""The ledger: what outlives a worker. Strikes with decay, sanctions in force, actions by id.

Campaigns, appeals and the bands of rules stand beside it, in files of their own.

Two implementations of one contract: `MemoryLedger` for one process, `RedisLedger` for a fleet; tests/test_ledger.py
holds both to the same answers. Every write may be repeated: a reply that got lost, a batch that is redelivered and a
second worker that judges the same event all change nothing.

Of a player at most `EVENTS_KEPT` events are remembered. When one more comes, the first to go is what has
decayed, then an event that was merged, then a reverted one, then a counted one; of equals, the oldest. So a flood of
merged events never lowers a step. A merged event that was dropped and is asked about again merges again, with the same
step; only its `at` is new. Steps stop growing at `EVENTS_KEPT` + 1, far beyond the last rung of any ladder.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol

import msgspec
from msgspec import Struct

from moderation.actions import Action
from moderation.standing import DECAY_MS, GRACE_MS, Standing, Strike
from streams.appeals import Appeals, MemoryAppeals, RedisAppeals
from streams.bands import Bands, MemoryBands, RedisBands
from streams.campaigns import Campaigns, MemoryCampaigns, RedisCampaigns
from streams.listing import Listed, Listing, MemoryListing, RedisListing, read_action
from streams.store import FORGIVE, RECORD, REVERT, STRIKE, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from streams.store import Command

EVENTS_KEPT: Final = 64
SANCTIONS_KEPT: Final = 64
_DAY_MS: Final = 86_400_000
#: A strike is remembered for a day longer than it counts, so that a late event finds what it should add up.
STRIKES_TTL_MS: Final = DECAY_MS + _DAY_MS
#: An action can be found and reverted for this long after its sanction has ended.
ACTION_TTL_MS: Final = 90 * _DAY_MS
#: A permanent sanction counts as ending after this: someone who never came back in a year does not appeal.
PERMANENT_MS: Final = 400 * _DAY_MS


class Reverted(Struct, frozen=True):
    """What a revert did. `action` is what was undone, None where the ledger does not know it (then nothing changed).

    `revert` is the one that counts: the first for that action. Whoever repeats a revert sends this one again.
    """

    action: Action | None
    revert: Action


class Ledger(Protocol):
    """What outlives a worker. Every method but `close` may raise StoreUnavailable; none raises anything else."""

    @property
    def campaigns(self) -> Campaigns:
        """What is remembered of campaigns, in the same place."""

    @property
    def appeals(self) -> Appeals:
        """What is remembered of appeals, likewise."""

    @property
    def bands(self) -> Bands:
        """How much rules hit, and which left their band, likewise."""

    @property
    def listing(self) -> Listing:
        """The actions by rule, campaign, server, label and time."""

    async def strike(self, strikes: Sequence[Strike]) -> list[Standing]:
        """Count offences in the order given, each event once: one standing per strike, in order."""

    async def record(self, actions: Sequence[Action]) -> None:
        """Keep actions by id; the first with an id stays."""

    async def find(self, action_id: str, account_id: str) -> Action | None:
        """Return an action as it was recorded, reverted or not."""

    async def live(self, account_id: str, now: int) -> list[Action]:
        """Return mutes and bans in force at `now` (ms) that were not reverted, the first to end first."""

    async def revert(self, action_id: str, revert: Action) -> Reverted:
        """Undo an action of `revert.target`: lift its sanction, forget its strike, and remember by which revert."""

    async def forgive(self, account_id: str) -> int:
        """Let a player's strikes count no more; return how many did."""

    async def ping(self) -> None:
        """Return if the ledger can be asked."""

    async def close(self) -> None:
        """Let go of connections."""


@dataclass(slots=True)
class _Event:
    ts: int
    standing: Standing
    kind: Literal["merged", "reverted", "counted"]

    def counts_on(self, ladder: str, ts: int | None = None) -> bool:
        in_time = ts is None or 0 < ts - self.ts <= DECAY_MS
        return self.kind == "counted" and self.standing.ladder == ladder and in_time

    def worth(self, ts: int) -> int:
        return 0 if ts - self.ts > DECAY_MS else 1 + ("merged", "reverted", "counted").index(self.kind)


class MemoryLedger:
    """A ledger that dies with the process, so use it for files, not for a game.

    It forgets no player, unless `most` is given: then whoever struck longest ago, and counts in `forgotten` how often.
    `evidence` bounds what it keeps of campaigns.
    """

    def __init__(self, most: int | None = None, evidence: int | None = None) -> None:
        self.campaigns = MemoryCampaigns(evidence)
        self.forgotten = 0
        self._most = most
        self.appeals = MemoryAppeals()
        self.bands = MemoryBands()
        #: By account, who struck last at the end.
        self._events: OrderedDict[str, dict[str, _Event]] = OrderedDict()
        self._actions: dict[tuple[str, str], Action] = {}
        self._reverts: dict[tuple[str, str], Action] = {}
        self.listing = MemoryListing(lambda: [Listed(a, self._reverts.get(key)) for key, a in self._actions.items()])
        self._live: defaultdict[str, list[Action]] = defaultdict(list)

    async def strike(self, strikes: Sequence[Strike]) -> list[Standing]:
        """See `Ledger`."""
        return [self._strike(s, self._remembered(s.account_id)) for s in strikes]

    def _remembered(self, account_id: str) -> dict[str, _Event]:
        events = self._events.setdefault(account_id, {})
        self._events.move_to_end(account_id)
        if self._most is not None and len(self._events) > self._most:
            self._events.popitem(last=False)
            self.forgotten += 1
        return events

    async def record(self, actions: Sequence[Action]) -> None:
        """See `Ledger`."""
        for action in actions:
            key = action.target.account_id, action.action_id
            if key not in self._actions:
                self._actions[key] = action
                if action.action != "revert":
                    live = self._live[action.target.account_id]
                    live.append(action)
                    live.sort(key=lambda one: (_until(one), one.action_id))
                    del live[:-SANCTIONS_KEPT]

    async def find(self, action_id: str, account_id: str) -> Action | None:
        """See `Ledger`."""
        return self._actions.get((account_id, action_id))

    async def live(self, account_id: str, now: int) -> list[Action]:
        """See `Ledger`."""
        return [action for action in self._live.get(account_id, ()) if _until(action) > now]

    async def revert(self, action_id: str, revert: Action) -> Reverted:
        """See `Ledger`."""
        account = revert.target.account_id
        action = self._actions.get((account, action_id))
        if action is None or (account, action_id) in self._reverts:
            return Reverted(action, self._reverts.get((account, action_id), revert))
        self._reverts[account, action_id] = revert
        self._live[account] = [one for one in self._live[account] if one.action_id != action_id]
        self._forget_strike(action)
        return Reverted(action, revert)

    async def forgive(self, account_id: str) -> int:
        """See `Ledger`."""
        counted = [event for event in self._events.get(account_id, {}).values() if event.kind == "counted"]
        for event in counted:
            event.kind = "reverted"
        return len(counted)

    async def ping(self) -> None:
        """See `Ledger`."""

    async def close(self) -> None:
        """See `Ledger`."""

    def _forget_strike(self, action: Action) -> None:
        event = self._events.get(action.target.account_id, {}).get(_strike_behind(action))
        if event and event.kind == "counted":
            event.kind = "reverted"

    @staticmethod
    def _strike(strike: Strike, events: dict[str, _Event]) -> Standing:
        """Do what lua/strike.lua does; a dict keeps the order of arrival."""
        if known := events.get(strike.event_id):
            return known.standing
        ts = strike.ts
        incident = min(
            (e for e in events.values() if e.counts_on(strike.ladder) and abs(ts - e.ts) <= GRACE_MS),
            key=lambda e: e.ts,
            default=None,
        )
        step = incident.standing.step if incident else 1 + sum(e.counts_on(strike.ladder, ts) for e in events.values())
        if len(events) >= EVENTS_KEPT:
            del events[min(events, key=lambda event_id: events[event_id].worth(ts))]
        standing = Standing(step, strike.now, incident is not None, strike.label, strike.ladder)
        events[strike.event_id] = _Event(ts, standing, "merged" if incident else "counted")
        return standing


class RedisLedger:
    """The ledger in Redis 7+ or Valkey 8+: one round trip for `strike` and `record`, whatever their length.

    All keys of a player share the hash tag {account_id}. `url`, `timeout_s` and `rest_s` are as in `store.Store`.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "ql",
        timeout_s: float = 0.25,
        rest_s: float = 0.5,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = Store(url, prefix=prefix, timeout_s=timeout_s, rest_s=rest_s, clock=clock)
        self.campaigns = RedisCampaigns(self._store)
        self.appeals = RedisAppeals(self._store)
        self.bands = RedisBands(self._store)
        self.listing = RedisListing(self._store)

    async def strike(self, strikes: Sequence[Strike]) -> list[Standing]:
        """See `Ledger`."""
        limits = (DECAY_MS, GRACE_MS, EVENTS_KEPT, STRIKES_TTL_MS)
        answers = await self._store.ask(
            STRIKE.call([self._store.key(s.account_id, "strikes")], s.event_id, s.ts, s.now, *limits, s.label, s.ladder)
            for s in strikes
        )
        return [
            Standing(step, at, bool(merged), label.decode(), ladder.decode())
            for step, at, merged, label, ladder in answers
        ]

    async def record(self, actions: Sequence[Action]) -> None:
        """See `Ledger`."""
        await self._store.ask((*self.listing.added(actions), *map(self._recorded, actions)))

    async def find(self, action_id: str, account_id: str) -> Action | None:
        """See `Ledger`."""
        [found] = await self._store.ask([("HGET", self._store.key(account_id, "action", action_id), "action")])
        return None if found is None else read_action(found)

    async def live(self, account_id: str, now: int) -> list[Action]:
        """See `Ledger`; two round trips, one where nothing is in force."""
        [ids] = await self._store.ask([("ZRANGEBYSCORE", self._store.key(account_id, "live"), f"({now}", "+inf")])
        found = await self._store.ask(
            ("HGET", self._store.key(account_id, "action", one.decode()), "action") for one in ids
        )
        return [read_action(json) for json in found if json is not None]

    async def revert(self, action_id: str, revert: Action) -> Reverted:
        """See `Ledger`; two round trips."""
        account = revert.target.account_id
        action = await self.find(action_id, account)
        if action is None:
            return Reverted(None, revert)
        keys = [self._store.key(account, "action", action_id), self._store.key(account, "live")]
        event_id = _strike_behind(action)
        if event_id:
            keys.append(self._store.key(account, "strikes"))
        [first] = await self._store.ask([REVERT.call(keys, action_id, msgspec.json.encode(revert), event_id)])
        return Reverted(None, revert) if first is None else Reverted(action, read_action(first))

    async def forgive(self, account_id: str) -> int:
        """See `Ledger`."""
        [forgiven] = await self._store.ask([FORGIVE.call([self._store.key(account_id, "strikes")])])
        return int(forgiven)

    async def ping(self) -> None:
        """See `Ledger`."""
        await self._store.ask([("PING",)])

    async def close(self) -> None:
        """See `Ledger`."""
        await self._store.close()

    def _recorded(self, action: Action) -> Command:
        account, until = action.target.account_id, _until(action)
        score = "" if action.action == "revert" else "+inf" if until == math.inf else str(until)
        lasts = 0 if not score else PERMANENT_MS if action.until is None else max(0, action.until - action.created_at)
        keys = [self._store.key(account, "action", action.action_id), self._store.key(account, "live")]
        json = msgspec.json.encode(action)
        return RECORD.call(keys, action.action_id, json, score, SANCTIONS_KEPT, lasts + ACTION_TTL_MS)


def _until(action: Action) -> float:
    return math.inf if action.until is None else action.until


def _strike_behind(action: Action) -> str:
    """Return the event of the strike that led to `action`, nothing where it climbed no ladder."""
    how = action.evidence.how if action.evidence else None
    return action.event_id or "" if how and how.ladder else ""
