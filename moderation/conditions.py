"""Conditions: what a rule looks for, as a small tree, and how it is found in what was read of a message.

Every condition answers `find` with the places that satisfy it (none: not satisfied). A condition about the sender or
the channel has no place; it answers with `ANYWHERE`. And it answers `clauses` with what a message must hold for it to
be worth trying: at least one key of every set; no sets where that cannot be told beforehand.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple, get_args

from msgspec import Struct

from moderation.actions import Field
from moderation.context import CHANNELS_OF
from moderation.events import Channel

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from moderation.reading import Reading


class Found(NamedTuple):
    """A place in a field, in code points of its raw text; `name` is the lexicon class, `text` the words there."""

    start: int
    end: int
    field: Field
    view: str = "plain"
    name: str = ""
    text: str = ""
    parts: tuple[Found, ...] = ()

    def leaves(self) -> tuple[Found, ...]:
        """Return the single places this one was put together from."""
        return tuple(chain.from_iterable(p.leaves() for p in self.parts)) if self.parts else (self,)


ANYWHERE: Final = Found(-1, -1, "text")
Key = str
TEXT: Final[tuple[Field, ...]] = ("text", "window")


class Lexicon(Struct, frozen=True, tag=True):
    """A term of one of the classes `names` in one of `fields`."""

    names: frozenset[str]
    fields: tuple[Field, ...] = TEXT

    def find(self, reading: Reading) -> Sequence[Found]:
        here = reading.present(self.names)
        return [f for name in here for field in self.fields for f in reading.terms(name, field)] if here else ()

    def clauses(self) -> tuple[frozenset[Key], ...]:
        return (_keys(self.names, self.fields),)


class HandleOf(Struct, frozen=True, tag=True):
    """A contact handle of one of `types` (empty: any) in one of `fields`."""

    types: frozenset[str] = frozenset()
    fields: tuple[Field, ...] = TEXT

    def find(self, reading: Reading) -> Sequence[Found]:
        if not reading.handles:
            return ()
        return [
            Found(*h.span, h.field, name="handle", text=f"{h.type}:{h.value}")
            for h in reading.handles
            if h.field in self.fields and (not self.types or h.type in self.types)
        ]

    def clauses(self) -> tuple[frozenset[Key], ...]:
        return (_keys({HANDLE_KEY}, self.fields),)


class Pattern(Struct, frozen=True, tag=True):
    """An RE2 pattern on the folded text of one of `fields`."""

    regex: str
    fields: tuple[Field, ...] = ("text",)

    def find(self, reading: Reading) -> Sequence[Found]:
        return [f for field in self.fields for f in reading.pattern(self.regex, field)]

    def clauses(self) -> tuple[frozenset[Key], ...]:
        return (_keys({pattern_key(self.regex)}, self.fields),)


class Signal(Struct, frozen=True, tag=True):
    """A sign of disguise or noise in the raw text, by name."""

    name: str

    def find(self, reading: Reading) -> Sequence[Found]:
        return (ANYWHERE,) if reading.signal(self.name) else ()

    def clauses(self) -> tuple[frozenset[Key], ...]:
        if self.name == "obfuscated_handle":
            return (frozenset({HANDLE_KEY, CARRIED + HANDLE_KEY}),)
        return (frozenset({KEY_OF[self.name]}),) if self.name in KEY_OF else ()


class Context(Struct, frozen=True, tag=True):
    """A fact about sender, recipient or channel, by name."""

    name: str

    def find(self, reading: Reading) -> Sequence[Found]:
        return (ANYWHERE,) if reading.fact(self.name) else ()

    def clauses(self) -> tuple[frozenset[Key], ...]:
        if self.name == NEW:
            return (frozenset({NEW_KEY}),)
        return (frozenset(map(channel_key, CHANNELS_OF[self.name])),) if self.name in CHANNELS_OF else ()


class Guard(Struct, frozen=True, tag=True):
    """A condition that has a name of its own, in guards.yaml."""

    name: str
    condition: Condition

    def find(self, reading: Reading) -> Sequence[Found]:
        return reading.find(self.condition)

    def clauses(self) -> tuple[frozenset[Key], ...]:
        return self.condition.clauses()


class AnyOf(Struct, frozen=True, tag=True):
    """At least one part."""

    parts: tuple[Condition, ...]

    def find(self, reading: Reading) -> Sequence[Found]:
        return [f for part in self.parts for f in reading.find(part)]

    def clauses(self) -> tuple[frozenset[Key], ...]:
        """Whoever satisfies a part has a key of that part's first clause; a part without any lets everything by."""
        firsts = [part.clauses() for part in self.parts]
        return (frozenset().union(*(c[0] for c in firsts)),) if all(firsts) else ()


class NoneOf(Struct, frozen=True, tag=True):
    """No part at all."""

    parts: tuple[Condition, ...]

    def find(self, reading: Reading) -> Sequence[Found]:
        return () if any(holds(part, reading) for part in self.parts) else (ANYWHERE,)

    def clauses(self) -> tuple[frozenset[Key], ...]:
        return ()


class AllOf(Struct, frozen=True, tag=True):
    """Every part; with `within`, their places together span at most that many letters and digits of a field."""

    parts: tuple[Condition, ...]
    within: int | None = None

    def find(self, reading: Reading) -> Sequence[Found]:
        places: list[Sequence[Found]] = []
        for part in self.parts:
            found = reading.find(part)
            if not found:
                return ()
            if ANYWHERE not in found:
                places.append(found)
        hull = _tightest(places)
        if hull is None or (self.within is not None and reading.wider(hull, self.within)):
            return ()
        return (hull,)

    def clauses(self) -> tuple[frozenset[Key], ...]:
        return tuple(chain.from_iterable(part.clauses() for part in self.parts))


def every(conditions: Iterable[Condition]) -> Iterator[Condition]:
    """Yield conditions and all that they are made of."""
    for condition in conditions:
        yield condition
        if isinstance(condition, Guard):
            yield from every((condition.condition,))
        elif isinstance(condition, AnyOf | NoneOf | AllOf):
            yield from every(condition.parts)


def holds(condition: Condition, reading: Reading) -> bool:
    """Tell whether a condition is satisfied anywhere; cheaper than `find`, since the first place will do."""
    if isinstance(condition, AnyOf):
        return any(holds(part, reading) for part in condition.parts)
    return bool(reading.find(condition))


Condition = Lexicon | HandleOf | Pattern | Signal | Context | Guard | AnyOf | NoneOf | AllOf


#: Keys beside the lexicon classes: of messages with any handle, of disguised ones, and of monotonous ones.
HANDLE_KEY: Final = "=handle"
DISGUISED_KEY: Final = "=disguised"
NOISE_KEY: Final = "=noise"
#: Of messages with a run of letters and digits that may be a handle known from elsewhere.
RUN_KEY: Final = "=run"
#: Of messages whose clauses begin or end with the characters of a term.
ACROSTIC_KEY: Final = "=acrostic"
SIGN_KEYS: Final = (HANDLE_KEY, DISGUISED_KEY, NOISE_KEY, RUN_KEY, ACROSTIC_KEY)
#: Keys of where a message is said, and of senders who are new: a rule for others is not tried.
NEW: Final = "new"
NEW_KEY: Final = "#new"
#: Stands before the pattern in the key of messages in which it may match.
PATTERN: Final = "~"
#: Stands before the key of something in the sender's name, guild or signature.
CARRIED: Final = "@"


def channel_key(channel: str) -> Key:
    """Return the key of messages in a channel."""
    return f"#{channel}"


CONTEXT_KEYS: Final = (NEW_KEY, *map(channel_key, get_args(Channel)))


def pattern_key(regex: str) -> Key:
    """Return the key of messages that hold one of the words without which a pattern cannot match."""
    return f"{PATTERN}{regex}"


def _keys(names: Iterable[Key], fields: Iterable[Field]) -> frozenset[Key]:
    places = {"" if field in TEXT else CARRIED for field in fields}
    return frozenset(place + name for place in places for name in names)


#: The key of a message with a signal; those that are not here are counted for every message a rule asks about.
KEY_OF: Final = {
    "disguised": DISGUISED_KEY,
    "long_run": NOISE_KEY,
    "newlines": NOISE_KEY,
    "id_like": RUN_KEY,
    "acrostic": ACROSTIC_KEY,
}


def _tightest(places: list[Sequence[Found]]) -> Found | None:
    """Return the shortest stretch of one field that holds a place of each list; None if no field does.

    Places in different fields (a lure in the text, its handle in the name) belong together too: then the stretch is
    the text's part.
    """
    if not places:
        return ANYWHERE
    fields = {f.field for found in places for f in found}
    best: Found | None = None
    for field in sorted(fields, key=_FIELD_ORDER.__getitem__):
        here = [[f for f in found if f.field == field] for found in places]
        hull = _window(here, field) if all(here) else None
        if hull and (best is None or hull.end - hull.start < best.end - best.start):
            best = hull
    return best or _across(places)


def _window(lists: list[list[Found]], field: Field) -> Found:
    """Return the smallest window over sorted places that holds one of each list: advance whichever starts first."""
    queues = [iter(sorted(found)) for found in lists]
    chosen = [next(queue) for queue in queues]
    starts, ends = [(f.start, k) for k, f in enumerate(chosen)], [f.end for f in chosen]
    least, best = 1 << 62, chosen
    while True:
        start, first = min(starts)
        size = max(ends) - start
        if size < least:
            least, best = size, chosen.copy()
        found = next(queues[first], None)
        if found is None:
            return _hull(best, field)
        chosen[first], starts[first], ends[first] = found, (found.start, first), found.end


def _across(places: list[Sequence[Found]]) -> Found:
    chosen = tuple(min(found, key=lambda f: _FIELD_ORDER[f.field]) for found in places)
    field = min((f.field for f in chosen), key=_FIELD_ORDER.__getitem__)
    hull = _hull(tuple(f for f in chosen if f.field == field), field)
    return hull._replace(parts=chosen)


def _hull(chosen: Iterable[Found], field: Field) -> Found:
    parts = tuple(chosen)
    view = next((p.view for p in parts if p.view != "plain"), "plain")
    return Found(min(p.start for p in parts), max(p.end for p in parts), field, view, parts=parts)


_FIELD_ORDER: Final[dict[Field, int]] = {"text": 0, "window": 1, "name": 2, "guild": 3, "signature": 4}
