"""Plans: conditions compiled for one rule set, so that trying a rule is a few look-ups.

    Condition ─ Plans.of ─▶ Plan: holds(reading), find(reading)

Every plan answers `find` with the places that satisfy its condition (none: not satisfied). One about the sender or the
channel has no place; it answers with `ANYWHERE`. Whether a condition `holds` is told sooner: the first place will do.
What cannot be there, as the mask of a message tells, is not looked for; what several rules ask is answered once.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from moderation.conditions import (
    TEXT,
    AllOf,
    AnyOf,
    Condition,
    Context,
    Guard,
    HandleOf,
    Lexicon,
    NoneOf,
    Pattern,
    Signal,
    pattern_key,
)
from moderation.context import FACTS
from moderation.places import ANYWHERE, Found, tightest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from moderation.actions import Field
    from moderation.conditions import Key
    from moderation.context import Bounds
    from moderation.reading import Reading

    Find = Callable[[Reading], Sequence[Found]]
    Holds = Callable[[Reading], bool]

_A = TypeVar("_A")


class Plan(NamedTuple):
    """How a condition is told to hold and is found, and the bits of which a message must have one to be asked."""

    holds: Holds
    find: Find
    bits: int


class Plans:
    """The plans for conditions; those that are asked more than once remember what they found in a message.

    `bits` makes bits of keys; what the sender carries about has the same, `carried` bits higher. Facts need `bounds`.
    """

    def __init__(
        self, conditions: Iterable[Condition], bits: Callable[[Iterable[Key]], int], carried: int, bounds: Bounds
    ) -> None:
        self._bits = bits
        self._carried = carried
        self._bounds = bounds
        self._asked = _references(conditions)
        self._plans = dict[Condition, Plan]()

    def of(self, condition: Condition) -> Plan:
        """Return the plan for a condition."""
        plan = self._plans.get(condition)
        if plan is None:
            plan = self._plans[condition] = self._made(condition)
        return plan

    def _made(self, condition: Condition) -> Plan:
        needed = tuple(map(self._bits, condition.clauses()))
        holds, find = self._compiled(condition, needed)
        if self._asked[id(condition)] > 1 and not isinstance(condition, Context | Signal | Guard):
            holds, find = _once(len(self._plans), holds), _once(~len(self._plans), find)
        return Plan(holds, find, needed[0] if needed else -1)

    def _compiled(self, condition: Condition, needed: tuple[int, ...]) -> tuple[Holds, Find]:
        match condition:
            case Guard():
                return self.of(condition.condition)[:2]
            case AnyOf():
                return _any_of(self._several(condition.parts))
            case NoneOf():
                holds, _ = _any_of(self._several(condition.parts))
                return _fact(lambda reading: not holds(reading))
            case AllOf():
                return _all_of(self._several(condition.parts), needed, condition.within)
            case _:
                return self._leaf(condition)

    def _several(self, conditions: Iterable[Condition]) -> list[Plan]:
        return list(map(self.of, conditions))

    def _leaf(self, condition: Lexicon | HandleOf | Pattern | Signal | Context) -> tuple[Holds, Find]:
        match condition:
            case Lexicon():
                return _found(_lexicon(self._bits(condition.names), condition.fields, self._carried))
            case HandleOf():
                return _found(_handle(condition.types, condition.fields))
            case Pattern():
                return _found(_pattern(self._bits((pattern_key(condition.regex),)), condition.fields))
            case Signal():
                return _fact(lambda reading: reading.signal(condition.name))
            case Context():
                fact, bounds = FACTS[condition.name], self._bounds
                return _fact(lambda reading: fact(reading.event, bounds))


def _references(conditions: Iterable[Condition]) -> Counter[int]:
    """Count how often conditions and what they are made of are asked for, by their ids."""
    asked, left = Counter[int](), list(conditions)
    while left:
        one = left.pop()
        asked[id(one)] += 1
        if asked[id(one)] == 1:
            left += (one.condition,) if isinstance(one, Guard) else getattr(one, "parts", ())
    return asked


def _once(key: int, ask: Callable[[Reading], _A]) -> Callable[[Reading], _A]:
    """Ask once of a message, however many rules want to know."""

    def once(reading: Reading) -> _A:
        known = reading.answers
        answer: _A | None = known.get(key)
        if answer is None:
            answer = known[key] = ask(reading)
        return answer

    return once


def _fact(holds: Holds) -> tuple[Holds, Find]:
    return holds, lambda reading: (ANYWHERE,) if holds(reading) else ()


def _found(find: Find) -> tuple[Holds, Find]:
    return lambda reading: bool(find(reading)), find


def _lexicon(names: int, fields: Sequence[Field], carried: int) -> Find:
    """Classes are looked for in the order of their bits, which is that of their names."""
    shift = 0 if set(fields) <= set(TEXT) else carried

    def find(reading: Reading) -> Sequence[Found]:
        here = (reading.mask | reading.mask >> shift) & names
        found: list[Found] = []
        while here:
            bit = here & -here
            here ^= bit
            for field in fields:
                text = reading.texts.get(field)
                if text is not None:
                    found += text.terms(bit, reading.event.ts)
        return found

    return find


def _handle(types: frozenset[str], fields: Sequence[Field]) -> Find:
    """Find handles of these types; of any, if there are none."""

    def find(reading: Reading) -> Sequence[Found]:
        return [
            Found(*handle.span, handle.field, name="handle", text=f"{handle.type}:{handle.value}")
            for handle in reading.handles
            if handle.field in fields and (not types or handle.type in types)
        ]

    return find


def _pattern(bit: int, fields: Sequence[Field]) -> Find:
    def find(reading: Reading) -> Sequence[Found]:
        found: Sequence[Found] = ()
        for field in fields:
            text = reading.texts.get(field)
            if text is not None:
                found = (*found, *text.pattern(bit))
        return found

    return find


def _any_of(parts: Sequence[Plan]) -> tuple[Holds, Find]:
    """Try the parts of which the mask of a message has a bit of what they need."""
    either = [(part.bits, part.holds, part.find) for part in parts]

    def holds(reading: Reading) -> bool:
        mask = reading.mask
        for bits, part, _ in either:  # noqa: SIM110  twice as fast as any()
            if mask & bits and part(reading):
                return True
        return False

    def find(reading: Reading) -> Sequence[Found]:
        mask = reading.mask
        return [found for bits, _, part in either if mask & bits for found in part(reading)]

    return holds, find


def _all_of(parts: Sequence[Plan], needed: tuple[int, ...], within: int | None) -> tuple[Holds, Find]:
    find = _all_found([part.find for part in parts], needed, within)
    return (_all_hold([part.holds for part in parts], needed), find) if within is None else _found(find)


def _all_hold(parts: Sequence[Holds], needed: tuple[int, ...]) -> Holds:
    def holds(reading: Reading) -> bool:
        for bits in needed:
            if not reading.mask & bits:
                return False
        for part in parts:  # noqa: SIM110  twice as fast as all()
            if not part(reading):
                return False
        return True

    return holds


def _all_found(parts: Sequence[Find], needed: tuple[int, ...], within: int | None) -> Find:
    def find(reading: Reading) -> Sequence[Found]:
        for bits in needed:
            if not reading.mask & bits:
                return ()
        places = []
        for part in parts:
            found = part(reading)
            if not found:
                return ()
            if ANYWHERE not in found:
                places.append(found)
        hull = tightest(places)
        return () if within is not None and reading.wider(hull, within) else (hull,)

    return find
