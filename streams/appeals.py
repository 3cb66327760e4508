"""Appeals as they are remembered: each by the id of its action, those that wait by when they are due, rates per rule.

Two implementations of one contract, as in streams/ledger.py; tests/test_appeals.py holds both to the same answers. Each
write may be repeated. An appeal is written first, then its places in the lists: a place may be missing for a moment, or
name an appeal that was answered meanwhile, and whoever reads a list looks at the appeals themselves.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import msgspec

from moderation.appeal import Answer, Appeal, Rate, standing
from moderation.errors import StoreUnavailable
from streams.store import ANSWER, Store

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from moderation.appeal import RuleKey
    from streams.store import Command

_DAY_MS: Final = 86_400_000
#: An appeal is kept for half a year after it was opened or last answered: complaints to a regulator come late.
APPEAL_TTL_MS: Final = 180 * _DAY_MS
#: Appeals are counted over 90 days at most; the longest a policy may ask for.
_RATES_TTL_MS: Final = 91 * _DAY_MS
#: A rule that was overturned is left to humans until it says something else, however long that takes.
_OVERTURNED_TTL_MS: Final = 3650 * _DAY_MS
#: Appeals that can be listed as open, and as granted: of more, those due or granted first are found by their id only.
LISTED: Final = 100_000
#: Messages counted for one revision of a rule, and revisions counted at all.
COUNTED: Final = 10_000


class Waiting(NamedTuple):
    """How many appeals wait for an answer, and for how many of these it is overdue."""

    open: int
    overdue: int


class Appeals(Protocol):
    """What is remembered of appeals. Every method may raise StoreUnavailable; none raises anything else."""

    async def open(self, appeal: Appeal) -> Appeal:
        """Keep an appeal, the first against its action; return the one that is kept, answered or not."""

    async def answer(self, action_id: str, answer: Answer) -> Appeal | None:
        """Give an appeal an answer, where it has no such one and no final one; return it as it is now."""

    async def find(self, action_id: str) -> Appeal | None:
        """Return the appeal against an action."""

    async def due(self, most: int, before: int | None = None) -> list[Appeal]:
        """Return appeals that wait for an answer, the first due (before that time, ms) first."""

    async def granted(self, most: int) -> list[Appeal]:
        """Return appeals that were granted, the last first."""

    async def waiting(self, now: int) -> Waiting:
        """Count the appeals that wait for an answer."""

    async def rates(self, since: int, rules: Sequence[RuleKey] | None = None) -> list[Rate]:
        """Return what became of appeals since then (ms, not included), for these rules or for all, by id and revision.

        Appeals count from when they were opened, answers from when they were final.
        """

    async def overturn(self, rules: Iterable[RuleKey], now: int) -> None:
        """Note that these revisions are no longer trusted to act by themselves."""

    async def overturned(self) -> frozenset[RuleKey]:
        """Return the revisions that are no longer trusted."""


class MemoryAppeals:
    """Appeals that die with the process. It forgets none, so use it for files, not for a game."""

    def __init__(self) -> None:
        self._appeals: dict[str, Appeal] = {}
        self._counted: defaultdict[tuple[str, RuleKey], dict[str, int]] = defaultdict(dict)
        self._overturned: set[RuleKey] = set()

    async def open(self, appeal: Appeal) -> Appeal:
        """See `Appeals`."""
        kept = self._appeals.setdefault(appeal.action_id, appeal)
        self._count(kept)
        return kept

    async def answer(self, action_id: str, answer: Answer) -> Appeal | None:
        """See `Appeals`."""
        one = self._appeals.get(action_id)
        if one is None:
            return None
        if one.final is None and answer.granted is not None:
            one = standing(one, one.first, answer)
        elif one.final is None and one.first is None:
            one = standing(one, answer, None)
        self._appeals[action_id] = one
        self._count(one)
        return one

    async def find(self, action_id: str) -> Appeal | None:
        """See `Appeals`."""
        return self._appeals.get(action_id)

    async def due(self, most: int, before: int | None = None) -> list[Appeal]:
        """See `Appeals`."""
        return _first_due(self._appeals.values(), before)[:most]

    async def granted(self, most: int) -> list[Appeal]:
        """See `Appeals`."""
        found = [one for one in self._appeals.values() if one.state == "granted"]
        return sorted(found, key=_granted_at, reverse=True)[:most]

    async def waiting(self, now: int) -> Waiting:
        """See `Appeals`."""
        return Waiting(len(_first_due(self._appeals.values())), len(_first_due(self._appeals.values(), now)))

    async def rates(self, since: int, rules: Sequence[RuleKey] | None = None) -> list[Rate]:
        """See `Appeals`."""
        keys = sorted({key for _, key in self._counted} if rules is None else rules)
        return [_rate(key, [self._number(what, key, since) for what in _COUNTS]) for key in keys]

    async def overturn(self, rules: Iterable[RuleKey], now: int) -> None:  # noqa: ARG002  nothing here grows old
        """See `Appeals`."""
        self._overturned |= set(rules)

    async def overturned(self) -> frozenset[RuleKey]:
        """See `Appeals`."""
        return frozenset(self._overturned)

    def _count(self, appeal: Appeal) -> None:
        for what, at in _counts(appeal):
            for rule in appeal.rules:
                self._counted[what, (rule.id, rule.revision)].setdefault(appeal.cause, at)

    def _number(self, what: str, key: RuleKey, since: int) -> int:
        return sum(at > since for at in self._counted[what, key].values())


class RedisAppeals:
    """Appeals in Redis. An appeal's hash tag is its action's id; the lists share {appeals}, a rule's counts {RULE}."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def open(self, appeal: Appeal) -> Appeal:
        """See `Appeals`; two round trips."""
        key = self._of(appeal.action_id)
        _, _, found = await self._store.ask(
            [
                ("HSETNX", key, "opened", msgspec.json.encode(appeal)),
                ("PEXPIRE", key, APPEAL_TTL_MS, "NX"),
                ("HMGET", key, *_PARTS),
            ]
        )
        return await self._listed(_read(found))

    async def answer(self, action_id: str, answer: Answer) -> Appeal | None:
        """See `Appeals`; two round trips."""
        which = "first" if answer.granted is None else "final"
        call = ANSWER.call([self._of(action_id)], which, msgspec.json.encode(answer), APPEAL_TTL_MS)
        [found] = await self._store.ask([call])
        return await self._listed(_read(found)) if found else None

    async def find(self, action_id: str) -> Appeal | None:
        """See `Appeals`."""
        found = await self._load([action_id])
        return found[0] if found else None

    async def due(self, most: int, before: int | None = None) -> list[Appeal]:
        """See `Appeals`; two round trips."""
        until = "+inf" if before is None else f"({before}"
        [ids] = await self._store.ask([("ZRANGEBYSCORE", self._list("due"), "-inf", until, "LIMIT", 0, most)])
        return _first_due(await self._load([one.decode() for one in ids]), before)

    async def granted(self, most: int) -> list[Appeal]:
        """See `Appeals`; two round trips."""
        [ids] = await self._store.ask([("ZREVRANGE", self._list("granted"), 0, most - 1)])
        return sorted(await self._load([one.decode() for one in ids]), key=_granted_at, reverse=True)

    async def waiting(self, now: int) -> Waiting:
        """See `Appeals`."""
        key = self._list("due")
        return Waiting(*await self._store.ask([("ZCARD", key), ("ZCOUNT", key, "-inf", f"({now}")]))

    async def rates(self, since: int, rules: Sequence[RuleKey] | None = None) -> list[Rate]:
        """See `Appeals`; one round trip where the rules are named, else two."""
        keys = sorted(await self._rules("counted") if rules is None else rules)
        told = await self._store.ask(
            ("ZCOUNT", self._counts(key, what), f"({since}", "+inf") for key in keys for what in _COUNTS
        )
        parts = zip(*(told[n :: len(_COUNTS)] for n in range(len(_COUNTS))), strict=True)
        return [_rate(key, numbers) for key, numbers in zip(keys, parts, strict=True)]

    async def overturn(self, rules: Iterable[RuleKey], now: int) -> None:
        """See `Appeals`."""
        key = self._list("overturned")
        named: list[str | int] = [part for rule in rules for part in (now, " ".join(rule))]
        if named:
            await self._store.ask([("ZADD", key, "NX", *named), *_bounds(key, COUNTED, _OVERTURNED_TTL_MS)])

    async def overturned(self) -> frozenset[RuleKey]:
        """See `Appeals`."""
        return await self._rules("overturned")

    async def _rules(self, name: str) -> frozenset[RuleKey]:
        [found] = await self._store.ask([("ZRANGE", self._list(name), 0, -1)])
        named = (one.decode().partition(" ") for one in found)
        return frozenset((rule, revision) for rule, _, revision in named)

    async def _load(self, ids: Sequence[str]) -> list[Appeal]:
        answers = await self._store.ask(("HMGET", self._of(one), *_PARTS) for one in ids)
        return [_read(found) for found in answers if found[0] is not None]

    async def _listed(self, appeal: Appeal) -> Appeal:
        """Put an appeal into the lists it belongs to, and out of the one it has left."""
        due, lists = self._list("due"), list(self._counted(appeal))
        if appeal.due_at is None:
            lists.append(("ZREM", due, appeal.action_id))
        else:
            lists += [("ZADD", due, appeal.due_at, appeal.action_id), *_bounds(due, LISTED, APPEAL_TTL_MS)]
        if appeal.state == "granted":
            granted = self._list("granted")
            lists += [
                ("ZADD", granted, _granted_at(appeal)[0], appeal.action_id), *_bounds(granted, LISTED, APPEAL_TTL_MS),
            ]  # fmt: skip
        await self._store.ask(lists)
        return appeal

    def _counted(self, appeal: Appeal) -> Iterator[Command]:
        counted = self._list("counted")
        for rule in appeal.rules:
            yield "ZADD", counted, "GT", appeal.opened_at, f"{rule.id} {rule.revision}"
            for what, at in _counts(appeal):
                key = self._counts((rule.id, rule.revision), what)
                yield "ZADD", key, "NX", at, appeal.cause
                yield from _bounds(key, COUNTED, _RATES_TTL_MS)
        yield from _bounds(counted, COUNTED, _RATES_TTL_MS)

    def _of(self, action_id: str) -> str:
        return self._store.key(action_id, "appeal")

    def _list(self, name: str) -> str:
        return self._store.key("appeals", name)

    def _counts(self, rule: RuleKey, what: str) -> str:
        return self._store.key(f"rule:{rule[0]}", rule[1], what)


#: The parts of an appeal's hash.
_PARTS: Final = ("opened", "first", "final")
#: What is counted per revision of a rule, in the order of `Rate`.
_COUNTS: Final = ("appealed", "answered", "overturned")
_appeal: Final = msgspec.json.Decoder(Appeal)
_answer: Final = msgspec.json.Decoder(Answer)


def _bounds(key: str, most: int, ttl: int) -> tuple[Command, Command]:
    return ("ZREMRANGEBYRANK", key, 0, -most - 1), ("PEXPIRE", key, ttl)


def _counts(appeal: Appeal) -> Iterator[tuple[str, int]]:
    """Yield what an appeal counts as, and from when (ms)."""
    yield "appealed", appeal.opened_at
    if appeal.final:
        yield "answered", appeal.final.ts
        if appeal.final.granted:
            yield "overturned", appeal.final.ts


def _rate(rule: RuleKey, numbers: Iterable[int]) -> Rate:
    return Rate(*rule, *numbers)


def _first_due(appeals: Iterable[Appeal], before: int | None = None) -> list[Appeal]:
    waiting = [(one.due_at, one.action_id, one) for one in appeals if one.due_at is not None]
    return [one for due_at, _, one in sorted(waiting) if before is None or due_at < before]


def _granted_at(appeal: Appeal) -> tuple[int, str]:
    return appeal.final.ts if appeal.final else 0, appeal.action_id


def _read(parts: Sequence[bytes | None]) -> Appeal:
    opened, first, final = parts
    try:
        return standing(
            _appeal.decode(opened or b""), _answer.decode(first) if first else None,
            _answer.decode(final) if final else None,
        )  # fmt: skip
    except msgspec.DecodeError as exc:
        raise StoreUnavailable(f"the ledger holds an appeal that this version cannot read: {exc}") from exc
