"""Conditions: what a rule looks for, as a small tree; how it is found in a message, moderation.plan tells.

Every condition answers `clauses` with what a message must hold for it to be worth trying: at least one key of every
set; no sets where that cannot be told beforehand.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Final, get_args

from msgspec import Struct

from moderation.actions import Field
from moderation.context import CHANNELS_OF
from moderation.events import Channel

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Key = str
TEXT: Final[tuple[Field, ...]] = ("text", "window")


class Lexicon(Struct, frozen=True, tag=True):
    """A term of one of the classes `names` in one of `fields`."""

    names: frozenset[str]
    fields: tuple[Field, ...] = TEXT

    def clauses(self) -> tuple[frozenset[Key], ...]:
        return (_keys(self.names, self.fields),)


class HandleOf(Struct, frozen=True, tag=True):
    """A contact handle of one of `types` (empty: any) in one of `fields`."""

    types: frozenset[str] = frozenset()
    fields: tuple[Field, ...] = TEXT

    def clauses(self) -> tuple[frozenset[Key], ...]:
        return (_keys({HANDLE_KEY}, self.fields),)


class Pattern(Struct, frozen=True, tag=True):
    """An RE2 pattern on the folded text of one of `fields`."""

    regex: str
    fields: tuple[Field, ...] = ("text",)

    def clauses(self) -> tuple[frozenset[Key], ...]:
        return (_keys({pattern_key(self.regex)}, self.fields),)


class Signal(Struct, frozen=True, tag=True):
    """A sign of disguise or noise in the raw text, by name."""

    name: str

    def clauses(self) -> tuple[frozenset[Key], ...]:
        if self.name == "obfuscated_handle":
            return (frozenset({HANDLE_KEY, CARRIED + HANDLE_KEY}),)
        return (frozenset({KEY_OF[self.name]}),) if self.name in KEY_OF else ()


class Context(Struct, frozen=True, tag=True):
    """A fact about sender, recipient or channel, by name."""

    name: str

    def clauses(self) -> tuple[frozenset[Key], ...]:
        if self.name == NEW:
            return (frozenset({NEW_KEY}),)
        return (frozenset(map(channel_key, CHANNELS_OF[self.name])),) if self.name in CHANNELS_OF else ()


class Guard(Struct, frozen=True, tag=True):
    """A condition that has a name of its own, in guards.yaml."""

    name: str
    condition: Condition

    def clauses(self) -> tuple[frozenset[Key], ...]:
        return self.condition.clauses()


class AnyOf(Struct, frozen=True, tag=True):
    """At least one part."""

    parts: tuple[Condition, ...]

    def clauses(self) -> tuple[frozenset[Key], ...]:
        """Whoever satisfies a part has a key of that part's first clause; a part without any lets everything by."""
        firsts = [part.clauses() for part in self.parts]
        return (frozenset().union(*(c[0] for c in firsts)),) if all(firsts) else ()


class NoneOf(Struct, frozen=True, tag=True):
    """No part at all."""

    parts: tuple[Condition, ...]

    def clauses(self) -> tuple[frozenset[Key], ...]:
        return ()


class AllOf(Struct, frozen=True, tag=True):
    """Every part; with `within`, their places together span at most that many letters and digits of a field."""

    parts: tuple[Condition, ...]
    within: int | None = None

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


Condition = Lexicon | HandleOf | Pattern | Signal | Context | Guard | AnyOf | NoneOf | AllOf


#: Keys beside the lexicon classes: of messages with any handle, of disguised ones, and of monotonous ones.
HANDLE_KEY: Final = "=handle"
DISGUISED_KEY: Final = "=disguised"
NOISE_KEY: Final = "=noise"
#: Of messages with a run of letters and digits that may be a handle known from elsewhere.
RUN_KEY: Final = "=run"
#: Of messages whose clauses begin or end with the characters of a term.
ACROSTIC_KEY: Final = "=acrostic"
#: Of messages with a term that is meant, not written; the signal asks for more than one.
RESPELLED_KEY: Final = "=respelled"
SIGN_KEYS: Final = (HANDLE_KEY, DISGUISED_KEY, NOISE_KEY, RUN_KEY, ACROSTIC_KEY, RESPELLED_KEY)
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
    "respelled": RESPELLED_KEY,
}
