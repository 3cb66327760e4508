"""Rules tried the plain way: every rule, every part of it, each time anew. What plans leave out must change nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moderation.conditions import AllOf, AnyOf, Context, Guard, HandleOf, Lexicon, NoneOf, Pattern, Signal, pattern_key
from moderation.places import ANYWHERE, Found, tightest
from moderation.plan import Plan, Plans
from moderation.ruleindex import RuleIndex
from moderation.trial import Trial

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moderation.conditions import Condition
    from moderation.reading import Reading
    from moderation.ruleset import RuleSet


def exhaustive(under: RuleSet) -> RuleSet:
    """The rule set, with every rule and every part of it tried."""
    under.plans = PlainPlans()
    under.index = Everything(under)
    return under


class PlainPlans(Plans):
    """Plans that know no short cut."""

    def __init__(self) -> None: ...

    def of(self, condition: Condition) -> Plan:
        return Plan(lambda reading: bool(find(condition, reading)), lambda reading: find(condition, reading), -1)


class Everything(RuleIndex):
    """An index under which every rule is tried, whatever a message holds."""

    def __init__(self, under: RuleSet) -> None:
        self.__dict__.update(vars(under.index))
        always = {trial.rule.id for trial in self.always}
        trials = [Trial(rule, (), under.plans) for rule in under.rules]
        self.always = tuple(trial for trial in trials if trial.rule.id in always)
        self._others = [trial for trial in trials if trial.rule.id not in always]

    def candidates(self, reading: Reading) -> Sequence[Trial]:
        del reading
        return self._others


def find(condition: Condition, reading: Reading) -> list[Found]:
    """Return the places that satisfy a condition, as it is defined."""
    match condition:
        case Lexicon() | HandleOf() | Pattern():
            return leaf(condition, reading)
        case Guard():
            return find(condition.condition, reading)
        case AnyOf():
            return [found for part in condition.parts for found in find(part, reading)]
        case AllOf():
            return together(condition, [find(part, reading) for part in condition.parts], reading)
        case Signal():
            holds = reading.signal(condition.name)
        case Context():
            holds = reading.fact(condition.name)
        case NoneOf():
            holds = not any(find(part, reading) for part in condition.parts)
    return [ANYWHERE] if holds else []


def leaf(condition: Lexicon | HandleOf | Pattern, reading: Reading) -> list[Found]:
    texts, bits = reading.texts, reading.rules.bits
    fields = [field for field in condition.fields if field in texts]
    match condition:
        case Lexicon():
            named = [(bits[name], texts[field]) for name in sorted(condition.names) for field in fields]
            return [found for bit, text in named for found in text.terms(bit, reading.event.ts)]
        case Pattern():
            bit = bits[pattern_key(condition.regex)]
            return [found for field in fields for found in texts[field].pattern(bit)]
        case HandleOf():
            asked = [h for h in reading.handles if h.type in (condition.types or {h.type})]
            return [
                Found(*h.span, h.field, name="handle", text=f"{h.type}:{h.value}")
                for h in asked
                if h.field in condition.fields
            ]


def together(condition: AllOf, parts: list[list[Found]], reading: Reading) -> list[Found]:
    if not all(parts):
        return []
    hull = tightest([found for found in parts if ANYWHERE not in found])
    return [] if condition.within is not None and reading.wider(hull, condition.within) else [hull]
