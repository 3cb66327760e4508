"""The books of one run: from what was sent and everything that was said, what is missing, double or out of order.

Pure: no server, no clock. What a game server may rely on is checked to the byte for *strict* accounts: those whose
outcomes depend on single messages alone (see truth.py). Of the others a worker may know less after a restart, since its
windows die with it; there only the figure `windows` counts accounts that were sanctioned otherwise.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
from msgspec import Struct

from moderation.errors import DeadReason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

#: What an applier says of an action whose effect is in the game.
IN_EFFECT: Final = frozenset({"applied", "already"})


class Lane(NamedTuple):
    """A partition."""

    topic: str
    partition: int


class Place(NamedTuple):
    """Where a record stands."""

    topic: str
    partition: int
    offset: int

    @property
    def lane(self) -> Lane:
        """Return its partition."""
        return Lane(self.topic, self.partition)


class Sent(NamedTuple):
    """A chat record the broker acknowledged; `event_id` is None where it is no chat event."""

    place: Place
    event_id: str | None
    value: bytes | None


class Order(NamedTuple):
    """An action, as it stands in the enforcement topic. `does` is what it does to the account, in a word or two."""

    place: Place
    action_id: str
    account: str
    event_id: str | None
    does: str
    source: Place | None
    value: bytes
    degraded: bool = False


class Paper(NamedTuple):
    """A case, as it stands in its topic."""

    place: Place
    case_id: str
    account: str
    event_id: str
    value: bytes
    degraded: bool = False


class Dead(NamedTuple):
    """A dead letter: what stood where."""

    place: Place
    source: Place
    value: bytes | None
    reason: str = ""


class Answer(NamedTuple):
    """What the game server said of an action."""

    place: Place
    action_id: str
    status: str
    ts: int


class Expected(NamedTuple):
    """What an uninterrupted run makes of an event: the ids of its actions and of its case.

    `late` = by its own time it is so old that the game rejects its actions.
    """

    event_id: str
    account: str
    actions: frozenset[str] = frozenset()
    cases: frozenset[str] = frozenset()
    strict: bool = True
    late: bool = False


class Look(NamedTuple):
    """A moment right after a kill: what was committed, and then how far each outgoing partition went."""

    committed: Mapping[Lane, int]
    ends: Mapping[Lane, int]


class Book(NamedTuple):
    """Everything known of a run. `committed` is of its end; `does` what the reference does to accounts not strict.

    `banned` = whom the reference bans. `buggy` = the worker was given bugs: a dead letter that says so is an outcome,
    too. `forgotten` = the store lost what it knew: an account with more than one offence may be dealt with as one with
    fewer.
    """

    sent: Sequence[Sent]
    expected: Mapping[str, Expected]
    orders: Sequence[Order] = ()
    papers: Sequence[Paper] = ()
    dead: Sequence[Dead] = ()
    answers: Sequence[Answer] = ()
    committed: Mapping[Lane, int] = {}
    looks: Sequence[Look] = ()
    does: Mapping[str, frozenset[str]] = {}
    banned: frozenset[str] = frozenset()
    buggy: bool = False
    forgotten: bool = False


class Figures(Struct, frozen=True):
    """The result. All but `events`, `strict`, `windows`, `degraded`, `rewritten` and `repeats` must be nought.

    `strict` = actions and cases checked to the byte; `windows` = accounts sanctioned otherwise than without faults,
    for want of windows; `degraded` = strict accounts judged while the store was away; `rewritten` = cases written
    twice with other bytes; `repeats` = actions written, by distinct ids.
    """

    events: int = 0
    strict: int = 0
    unaccounted: int = 0
    lost: int = 0
    doubled: int = 0
    reordered: int = 0
    phantom: int = 0
    ahead: int = 0
    windows: int = 0
    degraded: int = 0
    rewritten: int = 0
    repeats: float = 1.0

    @property
    def clean(self) -> bool:
        """Tell whether every invariant held."""
        return not any((self.unaccounted, self.lost, self.doubled, self.reordered, self.phantom, self.ahead))


class Findings(NamedTuple):
    """What is wrong, by name: ids of events, actions and cases, or places."""

    unaccounted: list[str]
    lost: list[str]
    doubled: list[str]
    reordered: list[str]
    phantom: list[str]
    ahead: list[str]


def audit(book: Book) -> tuple[Figures, Findings]:
    """Check every invariant of a run."""
    found = Findings(
        sorted(unaccounted(book)),
        sorted(lost(book)),
        sorted(doubled(book)),
        sorted(reordered(book)),
        sorted(phantoms(book)),
        sorted(ahead(book)),
    )
    checked = [one for one in _wanted(book) if one.strict]
    figures = Figures(
        events=len(book.sent),
        strict=sum(len(one.actions) + len(one.cases) for one in checked),
        **{name: len(names) for name, names in found._asdict().items()},
        windows=len(windows(book)),
        degraded=len(shaken(book) & {one.account for one in checked}),
        rewritten=len(_rewritten((p.case_id, p.value) for p in book.papers)),
        repeats=len(book.orders) / max(1, len({o.action_id for o in book.orders})),
    )
    return figures, found


# --- I1: accounted


def unaccounted(book: Book) -> set[str]:
    """Return records that were neither committed nor answered for, and good ones that ended as dead letters."""
    letters = {(one.source, one.value) for one in book.dead}
    felled = _felled(book)
    buried = {one.source for one in book.dead} - felled
    said = _said(book)
    return {
        one.event_id or str(tuple(one.place))
        for one in book.sent
        if one.place.offset >= book.committed.get(one.place.lane, 0)
        or (one.event_id is None and (one.place, one.value) not in letters)
        or (one.event_id is not None and one.place in buried)
        or (one.event_id is not None and one.place not in felled and _silent(book, one.event_id, said))
    }


def _felled(book: Book) -> set[Place]:
    """Return where good events stand that a bug we planted kept from being judged."""
    return {one.source for one in book.dead if book.buggy and one.reason == DeadReason.PROCESSING_ERROR}


def _silent(book: Book, event_id: str, said: set[str]) -> bool:
    wanted = book.expected.get(event_id)
    return wanted is not None and wanted.strict and bool(wanted.actions or wanted.cases) and event_id not in said


def _said(book: Book) -> set[str]:
    """Return the events about which anything was said."""
    return {o.event_id for o in book.orders if o.event_id} | {p.event_id for p in book.papers}


# --- I2, I3: every effect once, and no other


def lost(book: Book) -> set[str]:
    """Return ids of actions and cases that should be and are not, and of actions the game never put into effect.

    An account judged while the store was away gets cases instead: see `unaccounted` for those.
    """
    excused = shaken(book)
    there = {o.action_id for o in book.orders} | {p.case_id for p in book.papers}
    effective = {a.action_id for a in book.answers if a.status in IN_EFFECT}
    firm = [one for one in _wanted(book) if one.strict and one.account not in excused]
    missing = {name for one in firm for name in one.actions | one.cases if name not in there}
    return missing | {name for one in firm for name in one.actions if not one.late and name not in effective}


def doubled(book: Book) -> set[str]:
    """Return ids of actions that were said in two ways, or put into effect twice."""
    strict = _strict_accounts(book)
    again = _published_again(book)
    ways = _rewritten(
        (o.action_id, _without_source(o.value) if o.event_id in again else o.value)
        for o in book.orders
        if o.account in strict
    )
    times = Counter(name for name, _ in {(a.action_id, a.ts) for a in book.answers if a.status == "applied"})
    return ways | {name for name, count in times.items() if count > 1}


def ways(book: Book) -> list[str]:
    """Say in which fields the actions differ that were said in two ways, and how many of them."""
    values: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    names = doubled(book)
    for order in book.orders:
        if order.action_id in names:
            values[order.action_id].append(msgspec.json.decode(order.value))
    fields = Counter(field for said in values.values() for field in _differing(said))
    return [f"said in two ways: {', '.join(f'{name} {n}' for name, n in fields.most_common())}"] if fields else []


def refused(book: Book) -> list[str]:
    """Say why the game put actions not into effect, and how many."""
    why = Counter(answer.status for answer in book.answers if answer.status not in IN_EFFECT)
    return [f"not put into effect: {', '.join(f'{name} {n}' for name, n in why.most_common())}"] if why else []


def _differing(said: Sequence[dict[str, Any]]) -> Iterator[str]:
    for field in {name for one in said for name in one}:
        if any(one.get(field) != said[0].get(field) for one in said):
            yield field


def phantoms(book: Book) -> set[str]:
    """Return ids of actions and cases about strict events that an uninterrupted run does not know.

    Who is judged without history may be dealt with in another way, or for a later message, but nobody is banned whom
    the reference never bans.
    """
    excused = shaken(book)
    free = [o.account not in book.banned and o.does.startswith("ban") for o in book.orders]
    said = [
        (o.event_id, o.action_id, o.account in excused and not wrong)
        for o, wrong in zip(book.orders, free, strict=True)
    ]
    said += [(p.event_id, p.case_id, p.account in excused) for p in book.papers]
    return {name for event_id, name, mild in said if _unknown(book, event_id, name, excused=mild)}


def _unknown(book: Book, event_id: str | None, name: str, *, excused: bool) -> bool:
    wanted = book.expected.get(event_id or "")
    if wanted is None:
        return True
    clean = not (wanted.actions or wanted.cases)
    return wanted.strict and name not in wanted.actions | wanted.cases and (clean or not excused)


def _rewritten(said: Iterable[tuple[str, bytes]]) -> set[str]:
    ways: defaultdict[str, set[bytes]] = defaultdict(set)
    for name, value in said:
        ways[name].add(value)
    return {name for name, values in ways.items() if len(values) > 1}


def _published_again(book: Book) -> set[str | None]:
    """Return the events that stand in the chat more than once: their actions may name either place."""
    return {event_id for event_id, times in Counter(one.event_id for one in book.sent).items() if times > 1}


def _without_source(value: bytes) -> bytes:
    action: dict[str, Any] = msgspec.json.decode(value)
    action.pop("source", None)
    return msgspec.json.encode(action, order="deterministic")


# --- I4: order


def reordered(book: Book) -> set[str]:
    """Return ids of actions that came before one with an earlier cause, by account and chat partition."""
    strict = _strict_accounts(book)
    lanes: defaultdict[tuple[str, Lane], list[Order]] = defaultdict(list)
    for order in _firsts(book.orders):
        if order.source and order.account in strict:
            lanes[order.account, order.source.lane].append(order)
    return {late for orders in lanes.values() for late in _overtaken(orders)}


def _firsts(orders: Sequence[Order]) -> Iterator[Order]:
    seen: set[str] = set()
    for order in sorted(orders, key=lambda o: o.place):
        if order.action_id not in seen:
            seen.add(order.action_id)
            yield order


def _overtaken(orders: Sequence[Order]) -> Iterator[str]:
    for before, after in pairwise(orders):
        if before.source and after.source and after.source.offset < before.source.offset:
            yield after.action_id


# --- I6: commits


def ahead(book: Book) -> set[str]:
    """Return events that lay behind a commit while what they cause was not yet said, at any of the looks."""
    first: dict[str, Place] = {}
    said = [(o.place, o.action_id) for o in book.orders] + [(p.place, p.case_id) for p in book.papers]
    for place, name in sorted(said):
        first.setdefault(name, place)
    return {name for look in book.looks for name in _ahead(book, look, first)}


def _ahead(book: Book, look: Look, first: Mapping[str, Place]) -> Iterator[str]:
    excused = shaken(book)
    for one in book.sent:
        wanted = book.expected.get(one.event_id or "")
        done = one.place.offset < look.committed.get(one.place.lane, 0)
        if done and wanted and wanted.strict and wanted.account not in excused:
            places = (first.get(name) for name in wanted.actions | wanted.cases)
            if any(place is None or place.offset >= look.ends.get(place.lane, 0) for place in places):
                yield wanted.event_id


# --- what is not promised yet


def windows(book: Book) -> set[str]:
    """Return accounts, of those not strict, that were not sanctioned as without faults."""
    strict = _strict_accounts(book)
    done: defaultdict[str, set[str]] = defaultdict(set)
    for order in book.orders:
        if order.account not in strict:
            done[order.account].add(order.does)
    return {account for account in done.keys() | book.does.keys() if done[account] != book.does.get(account, set())}


def shaken(book: Book) -> set[str]:
    """Return accounts that were judged without history: nobody is muted then, and no strike is counted."""
    said = [*((o.account, o.degraded) for o in book.orders), *((p.account, p.degraded) for p in book.papers)]
    return {account for account, degraded in said if degraded} | _of_felled(book) | _with_history(book)


def _of_felled(book: Book) -> set[str]:
    felled = _felled(book)
    return {book.expected[one.event_id].account for one in book.sent if one.place in felled and one.event_id}


def _with_history(book: Book) -> set[str]:
    if not book.forgotten:
        return set()
    offences = Counter(one.account for one in _wanted(book) if one.actions or one.cases)
    return {account for account, count in offences.items() if count > 1}


def _wanted(book: Book) -> Iterator[Expected]:
    names = {one.event_id for one in book.sent if one.event_id}
    return (book.expected[name] for name in names if name in book.expected)


def _strict_accounts(book: Book) -> set[str]:
    return {one.account for one in book.expected.values() if one.strict}
