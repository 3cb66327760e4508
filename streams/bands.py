"""How much each rule hits, over all workers, and which of them left their band: see moderation.band.

    workers ─ accounts that a rule hit, messages each of them saw ─▶ per window ─ surely too many? ─▶ fallen

Two implementations of one contract, as in streams/ledger.py; tests/test_bands.py holds both to the same answers. Every
write may be repeated: accounts are sets, and a worker says all the messages it counted, not how many more.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import msgspec

from moderation.band import Fallen, Window
from moderation.errors import StoreUnavailable
from streams.store import FALL, Store

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from moderation.appeal import RuleKey
    from streams.store import Command

#: Counts of a window are kept for so long after the last one came.
COUNTS_TTL_MS: Final = 2 * 3_600_000
#: A rule that fell is left to humans until it says something else or is lifted, however long that takes.
FALLEN_TTL_MS: Final = 3650 * 86_400_000


class Spot(NamedTuple):
    """What is counted of one revision of a rule: whom it hits in a window, of the messages in its `scope`."""

    rule: str
    revision: str
    window: Window
    scope: str = ""


class Share(NamedTuple):
    """A part of the messages of a window that nobody else counts: `part` is one worker's; `scope` is "" for all."""

    window: Window
    scope: str
    part: str


class Figures(NamedTuple):
    """What all workers told of a spot: distinct accounts hit, and messages."""

    senders: int
    messages: int


class Bands(Protocol):
    """What is known of rules and their bands. Every method may raise StoreUnavailable; none raises anything else."""

    async def count(self, hit: Mapping[Spot, Collection[str]], messages: Mapping[Share, int]) -> dict[Spot, Figures]:
        """Add accounts that were hit, take the messages of shares; return what is known of these spots by then."""

    async def fall(self, fallen: Fallen) -> bool:
        """Note that a rule left its band; False where that is known, or a human lifted it since the window began."""

    async def fallen(self) -> list[Fallen]:
        """Return the revisions that left their band and were not lifted."""

    async def lift(self, rule: RuleKey, now: int) -> bool:
        """Trust a revision again from windows on that begin after `now` (ms); False where it had not fallen."""


class MemoryBands:
    """Bands that die with the process. It forgets no window, so use it for files, not for a game."""

    def __init__(self) -> None:
        self._hit: defaultdict[Spot, set[str]] = defaultdict(set)
        self._messages: dict[Share, int] = {}
        self._fallen: dict[RuleKey, Fallen] = {}
        self._lifted: dict[RuleKey, int] = {}

    async def count(self, hit: Mapping[Spot, Collection[str]], messages: Mapping[Share, int]) -> dict[Spot, Figures]:
        """See `Bands`."""
        self._messages.update(messages)
        for spot, accounts in hit.items():
            self._hit[spot].update(accounts)
        return {spot: Figures(len(self._hit[spot]), self._of(spot)) for spot in hit}

    async def fall(self, fallen: Fallen) -> bool:
        """Do what lua/fall.lua does."""
        key = fallen.rule, fallen.revision
        if self._lifted.get(key, -1) >= fallen.start or key in self._fallen:
            return False
        self._fallen[key] = fallen
        return True

    async def fallen(self) -> list[Fallen]:
        """See `Bands`."""
        return sorted(self._fallen.values(), key=_by_rule)

    async def lift(self, rule: RuleKey, now: int) -> bool:
        """See `Bands`."""
        self._lifted[rule] = now
        return self._fallen.pop(rule, None) is not None

    def _of(self, spot: Spot) -> int:
        return sum(n for share, n in self._messages.items() if (share.window, share.scope) == (spot.window, spot.scope))


class RedisBands:
    """Bands in Redis: accounts are HyperLogLogs (12 KiB at most, off by 1 %), under {rule:RULE}; the rest {bands}."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def count(self, hit: Mapping[Spot, Collection[str]], messages: Mapping[Share, int]) -> dict[Spot, Figures]:
        """See `Bands`; one round trip."""
        told = list(self._told(hit, messages))
        seen = list(dict.fromkeys((spot.window, spot.scope) for spot in hit))
        asked: list[Command] = [("PFCOUNT", self._hit(spot)) for spot in hit]
        asked += [("HVALS", self._messages(*one)) for one in seen]
        answers = (await self._store.ask([*told, *asked]))[len(told) :]
        sums = {one: sum(map(int, counts)) for one, counts in zip(seen, answers[len(hit) :], strict=True)}
        return {
            spot: Figures(senders, sums[spot.window, spot.scope]) for spot, senders in zip(hit, answers, strict=False)
        }

    async def fall(self, fallen: Fallen) -> bool:
        """See `Bands`."""
        keys = [self._list("fallen"), self._list("lifted")]
        json = msgspec.json.encode(fallen)
        call = FALL.call(keys, _field((fallen.rule, fallen.revision)), json, fallen.start, FALLEN_TTL_MS)
        [fell] = await self._store.ask([call])
        return bool(fell)

    async def fallen(self) -> list[Fallen]:
        """See `Bands`."""
        [found] = await self._store.ask([("HVALS", self._list("fallen"))])
        return sorted(map(_read, found), key=_by_rule)

    async def lift(self, rule: RuleKey, now: int) -> bool:
        """See `Bands`."""
        field, lifted = _field(rule), self._list("lifted")
        noted = [("HSET", lifted, field, now), ("PEXPIRE", lifted, FALLEN_TTL_MS)]
        *_, gone = await self._store.ask([*noted, ("HDEL", self._list("fallen"), field)])
        return bool(gone)

    def _told(self, hit: Mapping[Spot, Collection[str]], messages: Mapping[Share, int]) -> Iterator[Command]:
        for spot, accounts in hit.items():
            yield ("PFADD", self._hit(spot), *accounts)
            yield "PEXPIRE", self._hit(spot), COUNTS_TTL_MS
        for share, count in messages.items():
            key = self._messages(share.window, share.scope)
            yield "HSET", key, share.part, count
            yield "PEXPIRE", key, COUNTS_TTL_MS

    def _hit(self, spot: Spot) -> str:
        return self._store.key(
            f"rule:{spot.rule}", spot.revision, "hit", str(spot.window.span_s), str(spot.window.start)
        )

    def _messages(self, window: Window, scope: str) -> str:
        return self._store.key("bands", "messages", str(window.span_s), str(window.start), scope)

    def _list(self, name: str) -> str:
        return self._store.key("bands", name)


def _field(rule: RuleKey) -> str:
    return " ".join(rule)


def _by_rule(one: Fallen) -> tuple[str, str]:
    return one.rule, one.revision


def _read(json: bytes) -> Fallen:
    try:
        return msgspec.json.decode(json, type=Fallen)
    except msgspec.DecodeError as exc:
        raise StoreUnavailable(f"the ledger holds a fallen rule that this version cannot read: {exc}") from exc
