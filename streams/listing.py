"""The listing: the ledger's actions in order of time, under rule, campaign, server and label, for mass reverts.

A list is one sorted set a day, so that what is old goes as a whole and nothing has to be trimmed. Listing comes before
recording: a place may name an action that was never recorded, but none is recorded without its places.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import msgspec
from msgspec import Struct

from moderation.actions import Action
from moderation.errors import DeadReason, EventError, StoreUnavailable
from moderation.revert import facets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from moderation.actions import Which
    from streams.store import Command, Store

DAY_MS: Final = 86_400_000
#: Days that an action stays listed; a later mass revert does not find it, a revert by its id does.
LISTED_DAYS: Final = 90


def span(which: Which, now: int) -> tuple[int, int]:
    """Return the times an order is about: from when, to before when (ms)."""
    until = now if which.until is None else which.until
    return max(which.since or 0, until - LISTED_DAYS * DAY_MS), until


class Listed(Struct, frozen=True):
    """An action, and the revert that undid it, if one did."""

    action: Action
    revert: Action | None = None


class Page(Struct, frozen=True):
    """Some of the actions under a facet, oldest first; `after` is where the next page begins, nothing at the end."""

    found: tuple[Listed, ...]
    after: str


class Listing(Protocol):
    """Actions by facet and time."""

    async def page(self, facet: str, since: int, until: int, after: str, most: int) -> Page:
        """Return at most `most` actions judged from `since` to before `until` (ms).

        A page may be empty and not the last. Raises StoreUnavailable, and EventError for a place that is none.
        """


class MemoryListing:
    """The listing of one process, made from its actions when asked."""

    def __init__(self, listed: Callable[[], Sequence[Listed]]) -> None:
        self._listed = listed

    async def page(self, facet: str, since: int, until: int, after: str, most: int) -> Page:
        """See `Listing`."""
        _, rank = _place(after, since)
        meant = (one for one in self._listed() if facet in facets(one.action))
        inside = sorted((one for one in meant if since <= one.action.created_at < until), key=_order)
        left = len(inside) > rank + most
        return Page(tuple(inside[rank : rank + most]), _named(0, rank + most) if left else "")


def _order(one: Listed) -> tuple[int, str]:
    return one.action.created_at, one.action.action_id


class RedisListing:
    """The listing in Redis: `PREFIX:{FACET}:listed:DAY`, a sorted set of "ACTION_ID ACCOUNT" by time of judging."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def added(self, actions: Sequence[Action]) -> Iterator[Command]:
        """Yield the commands that list actions: two for each list, however many of them are on it."""
        lists: dict[str, list[str | int]] = {}
        for action in actions:
            place = action.created_at, f"{action.action_id} {action.target.account_id}"
            for facet in facets(action):
                lists.setdefault(self._key(facet, action.created_at // DAY_MS), []).extend(place)
        for key, places in lists.items():
            yield "ZADD", key, *places
            yield "PEXPIRE", key, (LISTED_DAYS + 1) * DAY_MS

    async def page(self, facet: str, since: int, until: int, after: str, most: int) -> Page:
        """See `Listing`; two round trips, one where a day has nothing."""
        day, rank = _place(after, since)
        [places] = await self._store.ask(
            [("ZRANGEBYSCORE", self._key(facet, day), since, f"({until}", "LIMIT", rank, most)]
        )
        found = await self._store.ask(self._asked(place.decode()) for place in places)
        here = tuple(_listed(action, revert) for action, revert in found if action is not None)
        if len(places) == most:
            return Page(here, _named(day, rank + most))
        return Page(here, _named(day + 1, 0) if (day + 1) * DAY_MS < until else "")

    def _asked(self, place: str) -> Command:
        action_id, _, account = place.partition(" ")
        return "HMGET", self._store.key(account, "action", action_id), "action", "reverted"

    def _key(self, facet: str, day: int) -> str:
        return self._store.key(facet, "listed", str(day))


_action: Final = msgspec.json.Decoder(Action)


def read_action(json: bytes) -> Action:
    """Read an action as the ledger keeps it. Raises StoreUnavailable for one of a version after ours."""
    try:
        return _action.decode(json)
    except msgspec.DecodeError as exc:
        raise StoreUnavailable(f"the ledger holds an action that this version cannot read: {exc}") from exc


def _listed(action: bytes, revert: bytes | None) -> Listed:
    return Listed(read_action(action), None if revert is None else read_action(revert))


def _named(day: int, rank: int) -> str:
    return f"{day}:{rank}"


def _place(after: str, since: int) -> tuple[int, int]:
    if not after:
        return since // DAY_MS, 0
    day, _, rank = after.partition(":")
    if not (day.isdecimal() and rank.isdecimal() and after.isascii()):
        raise EventError(DeadReason.SCHEMA, f"{after!r} is no place in a list")
    return int(day), int(rank)
