"""What follows from what: whether every message that holds one condition holds another.

Told from the shape of the conditions alone. Where it says yes it is so; where it says no it may still be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from moderation.conditions import AllOf, AnyOf, Context, Guard, HandleOf, Lexicon, NoneOf
from moderation.context import CHANNELS_OF, PUBLIC
from moderation.events import Channel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moderation.conditions import Condition
    from moderation.rule import Rule


def implies(one: Condition, other: Condition) -> bool:
    """Tell whether `one` holds only where `other` does.

    >>> implies(Context("world"), AnyOf((Context("public"), Context("new"))))
    True
    """
    one, other = _bare(one), _bare(other)
    if one == other:
        return True
    if isinstance(one, AnyOf):
        return all(implies(part, other) for part in one.parts)
    if isinstance(other, AnyOf):
        return any(implies(one, part) for part in other.parts) or _through_parts(one, other)
    if isinstance(other, AllOf):
        return _all(one, other)
    return _through_parts(one, other) or _leaf(one, other)


def requirement(rule: Rule) -> AllOf:
    """Return all that a message must hold for a rule, but for what spares it and how often it was said."""
    return AllOf((*((rule.when,) if rule.when else ()), *rule.context))


def always_spared(rule: Rule) -> Condition | None:
    """Return what spares every message that a rule could hit: an `unless`, or what it needs and refuses at once."""
    needed = requirement(rule)
    refused = [part for none in _flat(needed) if isinstance(none, NoneOf) for part in none.parts]
    return next((one for one in (*rule.unless, *refused) if implies(needed, one)), None)


def nowhere(rule: Rule) -> bool:
    """Tell whether a rule asks for two channels at once."""
    asked = (part.name for part in _flat(requirement(rule)) if isinstance(part, Context))
    left = frozenset(Channel.__args__)  # type: ignore[attr-defined]  # a Literal's values
    for name in asked:
        left &= CHANNELS_OF.get(name, left)
    return not left


def covers(wide: Rule, narrow: Rule) -> bool:
    """Tell whether `wide` hits whenever `narrow` does."""
    if wide.count is not None or (wide.starts_ms, wide.expires_ms, wide.canary) != (None, None, None):
        return False
    spared = all(any(implies(one, other) for other in narrow.unless) for one in wide.unless)
    return spared and implies(requirement(narrow), requirement(wide))


def _bare(condition: Condition) -> Condition:
    while isinstance(condition, Guard):
        condition = condition.condition
    if isinstance(condition, AllOf | AnyOf) and len(condition.parts) == 1:
        return _bare(condition.parts[0])
    return condition


def _flat(condition: Condition) -> Iterator[Condition]:
    """Yield what must hold at once."""
    condition = _bare(condition)
    if isinstance(condition, AllOf):
        for part in condition.parts:
            yield from _flat(part)
    else:
        yield condition


def _through_parts(one: Condition, other: Condition) -> bool:
    return isinstance(one, AllOf) and any(implies(part, other) for part in one.parts)


def _all(one: Condition, other: AllOf) -> bool:
    if other.within is not None:  # parts that are near each other: only the same ones, no further apart, will do
        same = isinstance(one, AllOf) and set(map(_bare, one.parts)) == set(map(_bare, other.parts))
        return (same and _nearer(one, other)) or _through_parts(one, other)
    return all(implies(one, part) for part in other.parts)


def _nearer(one: Condition, other: AllOf) -> bool:
    within = getattr(one, "within", None)
    return within is not None and other.within is not None and within <= other.within


def _leaf(one: Condition, other: Condition) -> bool:
    match one, other:
        case Lexicon(), Lexicon():
            return one.names <= other.names and set(one.fields) <= set(other.fields)
        case HandleOf(), HandleOf():
            types = not other.types or (bool(one.types) and one.types <= other.types)
            return types and set(one.fields) <= set(other.fields)
        case Context(), Context():
            return _within(one.name, other.name)
        case NoneOf(), NoneOf():
            return all(any(implies(part, mine) for mine in one.parts) for part in other.parts)
        case _:
            return False


def _within(one: str, other: str) -> bool:
    """Tell whether a channel fact holds only in channels where another one always holds."""
    certain = PUBLIC if other == "public" else frozenset({other} & CHANNELS_OF.keys() - {"not_friend", "stranger"})
    return one in CHANNELS_OF and CHANNELS_OF[one] <= certain
