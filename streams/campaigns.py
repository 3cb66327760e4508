"""Campaigns as they are remembered: which key belongs to which, who is in, what was said, who was made due by what.

Two implementations of one contract, as in streams/ledger.py; tests/test_campaigns.py holds both to the same answers.
Sighting takes two round trips, whatever the number of sightings: what is known of their keys; then their places, each
written by one script. A third lists the campaigns that somebody joined. Each step may be repeated. Two workers that see
a key for the first time within one round trip may each begin a campaign; the key stays with one of them.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import msgspec

from moderation.campaign import Campaign, Joined, Known, Mark, Member, Placed, Sighting, campaign_id, place
from moderation.errors import StoreUnavailable
from streams.store import SIGHT, Store

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from moderation.policy import CampaignPolicy
    from streams.store import Command

#: Pieces of evidence kept of one member: one voice must not fill the file.
PIECES: Final = 5
#: Keys that are known for each piece of evidence, at most, where memory is bounded.
KEYS_EACH: Final = 2
#: Campaigns that can be listed; those nobody joined for longest go first.
LISTED: Final = 10_000
#: Handles that every worker knows as bad, and as allowed; of more, those whose mark ends first are for campaigns only.
MARKED: Final = 5000
_DAY_MS: Final = 86_400_000
#: A bad handle is forgotten when nobody has dropped it for so long; an allowed one practically never.
BAD_TTL_MS: Final = 180 * _DAY_MS
ALLOWED_TTL_MS: Final = 3650 * _DAY_MS
#: A device ties for minutes of event time; the clock may run behind it when a backlog is worked off.
_DEVICE_TTL_MS: Final = _DAY_MS


class Marked(NamedTuple):
    """The keys of the handles that humans know: bad ones and harmless ones."""

    bad: frozenset[str] = frozenset()
    allowed: frozenset[str] = frozenset()


class Campaigns(Protocol):
    """What is remembered of campaigns. Every method may raise StoreUnavailable; none raises anything else."""

    async def sight(self, sightings: Sequence[Sighting], policy: CampaignPolicy) -> list[Joined | None]:
        """Note sightings in the order given, each event once: one answer each, None where it is no campaign (yet)."""

    async def mark_bad(self, key: str, now: int) -> None:
        """Make whoever drops this handle (see `campaign.handle_key`) a member at once. `now` ms."""

    async def allow_handle(self, key: str, now: int) -> None:
        """Let nobody join by this handle any more. Those who are in stay in. `now` ms."""

    async def unmark(self, key: str) -> None:
        """Take a mark back."""

    async def marked(self, now: int) -> Marked:
        """Return the handles that are marked at `now` (ms), at most `MARKED` of each kind: those marked last."""

    async def find(self, campaign_id: str) -> Campaign | None:
        """Return a campaign with its members and evidence, reached or not."""

    async def newest(self, most: int) -> list[Campaign]:
        """Return campaigns that were reached, those somebody joined last first."""


@dataclass(slots=True)
class _Member:
    first: int
    last: int
    device: str | None
    pieces: int = 0
    by: str = ""
    at: int = 0
    upto: int = 0
    bad: bool = False


@dataclass(slots=True)
class _Body:
    """One campaign in memory; `reached` is (event, at), `evidence` in order of arrival."""

    reached: tuple[str, int] | None = None
    members: dict[str, _Member] = field(default_factory=dict)
    evidence: dict[str, Sighting] = field(default_factory=dict)


class MemoryCampaigns:
    """Campaigns that die with the process, so use it for files, not for a game.

    It forgets none, unless `most` is given, pieces of evidence in all: then those seen longest ago, counted in
    `forgotten`, and of the keys the first ones. A piece takes about 1.7 KiB (2026-11-22).
    """

    def __init__(self, most: int | None = None) -> None:
        self.forgotten = 0
        self._most = most
        self._pieces = 0
        self._known: OrderedDict[str, Known] = OrderedDict()
        #: By id, the one seen last at the end.
        self._bodies: OrderedDict[str, _Body] = OrderedDict()
        self._joined: dict[str, int] = {}

    async def sight(self, sightings: Sequence[Sighting], policy: CampaignPolicy) -> list[Joined | None]:
        """See `Campaigns`."""
        return [self._sight(one, policy) for one in sightings]

    async def mark_bad(self, key: str, now: int) -> None:  # noqa: ARG002  no mark grows old here
        """See `Campaigns`."""
        self._mark(key, "bad")

    async def allow_handle(self, key: str, now: int) -> None:  # noqa: ARG002
        """See `Campaigns`."""
        self._mark(key, "allowed")

    async def unmark(self, key: str) -> None:
        """See `Campaigns`."""
        self._mark(key, None)

    async def marked(self, now: int) -> Marked:  # noqa: ARG002
        """See `Campaigns`."""
        kinds = ("bad", "allowed")
        return Marked(*(frozenset(key for key, fact in self._known.items() if fact.mark == kind) for kind in kinds))

    async def find(self, campaign_id: str) -> Campaign | None:
        """See `Campaigns`."""
        if campaign_id not in self._bodies:
            return None
        body = self._bodies[campaign_id]
        members = [Member(name, one.first, one.last, one.at) for name, one in body.members.items()]
        return _campaign(campaign_id, body.reached[1] if body.reached else 0, members, body.evidence.values())

    async def newest(self, most: int) -> list[Campaign]:
        """See `Campaigns`."""
        ids = sorted(self._joined, key=lambda one: (self._joined[one], one), reverse=True)[:most]
        return [found for one in ids if (found := await self.find(one))]

    def _mark(self, key: str, mark: Mark | None) -> None:
        self._known[key] = self._known.get(key, Known())._replace(mark=mark)

    def _sight(self, seen: Sighting, policy: CampaignPolicy) -> Joined | None:
        placed = place(seen, self._known)
        if placed is None:
            return None
        self._known |= placed.ties
        body = self._bodies.setdefault(placed.campaign_id, _Body())
        self._bodies.move_to_end(placed.campaign_id)
        before = len(body.evidence)
        joined = _joined(placed, self._note(seen, placed, policy, body))
        self._forget(len(body.evidence) - before)
        if joined and joined.due:
            self._joined[placed.campaign_id] = max(self._joined.get(placed.campaign_id, 0), seen.ts)
        return joined

    def _forget(self, more: int) -> None:
        """Make room, where memory is bounded, for `more` pieces that the campaign seen last has got."""
        if self._most is None:
            return
        self._pieces += more
        while self._pieces > self._most and len(self._bodies) > 1:
            first, body = self._bodies.popitem(last=False)
            self._pieces -= len(body.evidence)
            self._joined.pop(first, None)
            self.forgotten += 1
        while len(self._known) > KEYS_EACH * self._most:
            self._known.popitem(last=False)

    @staticmethod
    def _note(seen: Sighting, placed: Placed, policy: CampaignPolicy, body: _Body) -> _Answer | None:
        """Do what lua/sight.lua does."""
        now, one = seen.evidence.when.judged, body.members.get(seen.account_id)
        if one is None:
            if len(body.members) >= policy.members:
                return (now, bool(placed.bad), [seen]) if body.reached else None
            one = _Member(seen.ts, seen.ts, seen.device)
        one.first, one.last = min(one.first, seen.ts), max(one.last, seen.ts)
        one.device = seen.device or one.device
        more = one.pieces < PIECES and len(body.evidence) - len(body.members) < policy.evidence
        if (one.pieces == 0 or more) and seen.event_id not in body.evidence:
            body.evidence[seen.event_id] = seen
            one.pieces += 1
        due = [] if body.reached and one.by else [one]
        body.members[seen.account_id] = one
        if not body.reached:
            if not _reached(seen, placed, policy, body.members.values()):
                return None
            body.reached, due = (seen.event_id, now), list(body.members.values())
        for each in due:
            each.by, each.at, each.upto, each.bad = seen.event_id, now, len(body.evidence), bool(placed.bad)
        if one.by != seen.event_id:
            return ()
        if body.reached[0] != seen.event_id:
            kept = body.evidence[seen.event_id]
            return one.at, one.bad, [kept if kept.account_id == seen.account_id else seen]
        pieces = [
            piece
            for number, piece in enumerate(body.evidence.values(), 1)
            if (its := body.members[piece.account_id]).by == seen.event_id and number <= its.upto
        ]
        return one.at, one.bad, pieces


#: When and whether for a bad handle, and the evidence of who is due; () where nobody is.
_Answer = tuple[()] | tuple[int, bool, "Sequence[Sighting]"]


def _joined(placed: Placed, answer: _Answer | None) -> Joined | None:
    if answer is None:
        return None
    if not answer:
        return Joined(placed.campaign_id)
    at, bad, due = answer
    return Joined(placed.campaign_id, tuple(due), at, bad)


def _reached(seen: Sighting, placed: Placed, policy: CampaignPolicy, members: Iterable[_Member]) -> bool:
    everyone = list(members)
    near = [one for one in everyone if abs(seen.ts - one.last) <= policy.window_s * 1000]
    on_device = sum(one.device == seen.device for one in near) if seen.device else 0
    return (
        bool(placed.bad)
        or len(near) >= policy.accounts
        or on_device >= policy.accounts_on_device
        or len(everyone) >= policy.accounts_ever
    )


def _campaign(campaign_id: str, reached: int, members: Iterable[Member], evidence: Iterable[Sighting]) -> Campaign:
    return Campaign(
        campaign_id,
        reached,
        tuple(sorted(members, key=lambda one: (one.first, one.account_id))),
        tuple(sorted(evidence, key=lambda one: (one.ts, one.event_id))),
    )


_sighting: Final = msgspec.json.Decoder(Sighting)


class RedisCampaigns:
    """Campaigns in Redis. All keys of a campaign share the hash tag {campaign_id}; ties and marks have their own."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def sight(self, sightings: Sequence[Sighting], policy: CampaignPolicy) -> list[Joined | None]:
        """See `Campaigns`."""
        known = await self._known(sightings)
        places: list[Placed | None] = []
        commands: list[Command] = []
        for seen in sightings:
            placed = place(seen, known)
            places.append(placed)
            if placed:
                known |= placed.ties
                commands += (self._noted(seen, placed, policy), *self._ties(seen, placed, policy))
        told = zip(commands, await self._store.ask(commands), strict=True)
        answers = iter([answer for command, answer in told if command[0] == "EVALSHA"])
        joined = [_joined(placed, _read(next(answers))) if placed else None for placed in places]
        await self._list((one.campaign_id, s.ts) for one, s in zip(joined, sightings, strict=True) if one and one.due)
        return joined

    async def mark_bad(self, key: str, now: int) -> None:
        """See `Campaigns`."""
        await self._mark(key, "bad", now + BAD_TTL_MS, BAD_TTL_MS)

    async def allow_handle(self, key: str, now: int) -> None:
        """See `Campaigns`."""
        await self._mark(key, "allowed", now + ALLOWED_TTL_MS, ALLOWED_TTL_MS)

    async def unmark(self, key: str) -> None:
        """See `Campaigns`."""
        lists: list[Command] = [("ZREM", self._handles(mark), key) for mark in ("bad", "allowed")]
        await self._store.ask([("DEL", self._of(key, "mark")), *lists])

    async def marked(self, now: int) -> Marked:
        """See `Campaigns`."""
        found = await self._store.ask(
            ("ZRANGEBYSCORE", self._handles(mark), f"({now}", "+inf") for mark in ("bad", "allowed")
        )
        return Marked(*(frozenset(key.decode() for key in keys) for keys in found))

    async def find(self, campaign_id: str) -> Campaign | None:
        """See `Campaigns`."""
        found = await self._load([campaign_id])
        return found[0] if found else None

    async def newest(self, most: int) -> list[Campaign]:
        """See `Campaigns`; two round trips."""
        [ids] = await self._store.ask([("ZREVRANGE", self._listed, 0, most - 1)])
        return await self._load([one.decode() for one in ids])

    @property
    def _listed(self) -> str:
        return self._store.key("campaigns", "joined")

    async def _mark(self, key: str, mark: Mark, until: int, ttl: int) -> None:
        other = "allowed" if mark == "bad" else "bad"
        listed = self._handles(mark)
        await self._store.ask(
            [
                ("SET", self._of(key, "mark"), mark, "PX", ttl),
                ("ZREM", self._handles(other), key),
                ("ZADD", listed, until, key),
                ("ZREMRANGEBYRANK", listed, 0, -MARKED - 1),
                ("PEXPIRE", listed, ttl),
            ]
        )

    def _handles(self, mark: str) -> str:
        return self._store.key("handles", mark)

    def _of(self, key: str, what: str) -> str:
        """Name what is remembered of a key. Its digest is the tag: a handle may hold any character."""
        return self._store.key(campaign_id(key), what)

    async def _known(self, sightings: Sequence[Sighting]) -> dict[str, Known]:
        keys = list(dict.fromkeys(key for seen in sightings for key in (*seen.keys, seen.device) if key))
        answers = await self._store.ask(("MGET", self._of(key, "tie"), self._of(key, "mark")) for key in keys)
        return {key: _fact(*answer) for key, answer in zip(keys, answers, strict=True) if any(answer)}

    def _ties(self, seen: Sighting, placed: Placed, policy: CampaignPolicy) -> Iterator[Command]:
        ttl = 1000 * (policy.kept_bad_s if placed.bad else policy.kept_s)
        for key, fact in placed.ties.items():
            lasts = _DEVICE_TTL_MS if key == seen.device else ttl
            yield ("SET", self._of(key, "tie"), f"{fact.campaign} {fact.ts}", "PX", lasts)
        for key in placed.bad:
            yield ("PEXPIRE", self._of(key, "mark"), BAD_TTL_MS)
            yield ("ZADD", self._handles("bad"), "XX", "GT", seen.ts + BAD_TTL_MS, key)
            yield ("PEXPIRE", self._handles("bad"), BAD_TTL_MS)

    def _noted(self, seen: Sighting, placed: Placed, policy: CampaignPolicy) -> Command:
        keys = [self._store.key(placed.campaign_id, part) for part in ("campaign", "members", "evidence")]
        return SIGHT.call(
            keys,
            seen.event_id,
            seen.account_id,
            seen.device or "-",
            seen.ts,
            seen.evidence.when.judged,
            int(bool(placed.bad)),
            msgspec.json.encode(seen),
            " ".join(map(str, _limits(policy, (policy.kept_bad_s if placed.bad else policy.kept_s) * 1000))),
        )

    async def _list(self, joined: Iterable[tuple[str, int]]) -> None:
        listed = self._listed
        added: list[Command] = [("ZADD", listed, "GT", ts, one) for one, ts in joined]
        if added:
            bounds: list[Command] = [("ZREMRANGEBYRANK", listed, 0, -LISTED - 1), ("PEXPIRE", listed, BAD_TTL_MS)]
            await self._store.ask(added + bounds)

    async def _load(self, ids: Sequence[str]) -> list[Campaign]:
        answers = await self._store.ask(
            command
            for one in ids
            for command in (
                ("HGET", self._store.key(one, "campaign"), "reached"),
                ("HGETALL", self._store.key(one, "members")),
                ("HGETALL", self._store.key(one, "evidence")),
            )
        )
        parts = zip(ids, answers[::3], answers[1::3], answers[2::3], strict=True)
        return [_shown(one, reached, m, e) for one, reached, m, e in parts if m]


def _limits(policy: CampaignPolicy, kept_ms: int) -> tuple[int, ...]:
    """Return what lua/sight.lua wants to know of the policy, in its order."""
    return (
        policy.accounts,
        policy.window_s * 1000,
        policy.accounts_on_device,
        policy.accounts_ever,
        policy.members,
        policy.evidence,
        PIECES,
        policy.watched_s * 1000,
        kept_ms,
    )


def _fact(tie: bytes | None, mark: bytes | None) -> Known:
    campaign, ts = tie.decode().split(" ") if tie else (None, 0)
    return Known(campaign, int(ts), {b"bad": "bad", b"allowed": "allowed"}.get(mark or b""))  # type: ignore[arg-type]  # Marks


def _read(answer: list[bytes] | None) -> _Answer | None:
    if not answer:
        return None if answer is None else ()
    return int(answer[0]), answer[1] == b"1", [_decode(json) for json in answer[2:]]


def _decode(json: bytes) -> Sighting:
    try:
        return _sighting.decode(json)
    except msgspec.DecodeError as exc:
        raise StoreUnavailable(f"the ledger holds evidence that this version cannot read: {exc}") from exc


def _shown(
    campaign_id: str, reached: bytes | None, members: dict[bytes, bytes], evidence: dict[bytes, bytes]
) -> Campaign:
    """Read a campaign as lua/sight.lua writes it."""
    people = []
    for name, entry in members.items():
        first, last, _, _, _, at, *_ = entry.split(b" ")
        people.append(Member(name.decode(), int(first), int(last), int(at)))
    pieces = [_decode(piece.split(b" ", 2)[2]) for piece in evidence.values()]
    return _campaign(campaign_id, int(reached.split(b" ")[1]) if reached else 0, people, pieces)
