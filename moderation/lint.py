"""Advice about rule files that can be read: what will never match, matches far too much, or was forgotten.

Nothing here keeps a rule set from being used. What does is said by moderation.rulefile; rules in which something is
wrong are left out here. The words are in moderation.rulewords, under W….
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Final

from moderation.band import WHOLE
from moderation.conditions import AllOf, AnyOf, Guard, HandleOf, Lexicon, every
from moderation.document import nearest
from moderation.fold import fold
from moderation.implication import always_spared, covers, implies, nowhere
from moderation.moderator import QUOTING
from moderation.rulewords import problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from moderation.conditions import Condition
    from moderation.document import Node
    from moderation.errors import RuleProblem
    from moderation.rule import Count, Rule
    from moderation.rulefile import Draft
    from moderation.ruleset import Term

    #: How often a word occurs, as jieba's dictionary counts: 60.1 million words, newspapers and novels.
    Frequency = Callable[[str], int]

#: Of jieba's dictionary 110 words are that common, such as 可以 and 我们; of the 15 848 shipped terms none, the most
#: common being 公司 with 45 604 (2026-11-22).
COMMON: Final = 50_000
#: For a term that makes a rule hit all by itself.
COMMON_ALONE: Final = 1_000
_SLOT: Final = re.compile(r"\{(\w+)\}")


def advise(draft: Draft, now_ms: int, frequency: Frequency) -> tuple[RuleProblem, ...]:
    """Return all advice, in the order of files and lines. `now_ms` tells what has expired."""
    return tuple(sorted({*_Lint(draft, now_ms, frequency).advice()}))


class _Lint:
    """One look at a draft."""

    def __init__(self, draft: Draft, now_ms: int, frequency: Frequency) -> None:
        self._draft, self._now, self._frequency = draft, now_ms, frequency
        self._places = {id(rule): node for rule, node in draft.rules}
        sound = [(rule, node) for rule, node in draft.rules if not _touched(node, draft.problems)]
        #: The rules that say what was meant; of those of one id the one that is in force.
        self._rules = list({rule.id: rule for rule, _ in sound}.values())
        self._all = [rule for rule, _ in sound]
        alive = {term.lexicon for term, _ in draft.terms if term.until_ms is None or term.until_ms > now_ms}
        #: The classes of which no term is in force.
        self._empty = sorted({name for name, _ in draft.classes} - alive)

    def advice(self) -> Iterator[RuleProblem]:
        yield from self._terms()
        for rule in self._rules:
            if rule.status != "off":
                yield from self._times(rule)
                yield from self._reach(rule)
                yield from self._because(rule)
                yield from self._tests(rule)
        yield from self._overlaps()
        yield from self._counters()
        if not self._draft.problems:
            yield from self._unused()

    # --- terms

    def _terms(self) -> Iterator[RuleProblem]:
        seen: dict[tuple[str, str], Node] = {}
        alone = frozenset(self._alone())
        phrases = self._draft.contents.phrases if self._draft.contents else ()
        allowed = {fold(phrase).text.strip() for phrase in phrases}
        for term, node in self._draft.terms:
            folded = fold(term.text).text.strip()
            first = seen.setdefault((term.lexicon, folded), node)
            if first is not node:
                yield _at(node, "W101", word=term.text, file=first.file, line=first.line, folded=folded)
            if len(folded) == 1 and folded.isalnum():
                yield _at(node, "W102", word=term.text)
            elif all(unicodedata.category(char)[0] in "PZ" for char in folded):
                yield _at(node, "W102.signs", word=term.text)
            else:
                yield from self._common(term, folded, node, alone=term.lexicon in alone)
            if folded in allowed:
                yield _at(node, "W105", word=term.text)
            if term.until_ms is not None and term.until_ms <= self._now:
                yield _at(node, "W104", word=term.text)

    def _common(self, term: Term, folded: str, node: Node, *, alone: bool) -> Iterator[RuleProblem]:
        often = self._frequency(folded)
        if often >= COMMON:
            yield _at(node, "W103", word=term.text, often=often)
        elif alone and often >= COMMON_ALONE:
            yield _at(node, "W103.alone", word=term.text, often=often, name=term.lexicon)

    def _alone(self) -> Iterator[str]:
        """Yield the classes of which one term, whoever says it where, calls for a human at least."""
        labels = self._draft.contents.policy.labels if self._draft.contents else {}
        for rule in self._rules:
            everywhere = rule.count is None and not rule.context and rule.status != "off"
            if everywhere and rule.when and rule.label in labels and rule.score >= labels[rule.label].review:
                named = {name for one in every((rule.when,)) if isinstance(one, Lexicon) for name in one.names}
                yield from (name for name in named if implies(Lexicon(frozenset({name})), rule.when))

    # --- one rule

    def _times(self, rule: Rule) -> Iterator[RuleProblem]:
        if rule.band and rule.band.at_most_ppm >= WHOLE // 2:
            yield self._of(rule, "W213", "band", id=rule.id, percent=rule.band.at_most_ppm // 10_000)
        for when, key, field in (
            (rule.expires_ms, "W201", "expires"),
            (rule.review_ms, "W202", "review_by"),
        ):
            if when is not None and when <= self._now:
                yield self._of(rule, key, field, id=rule.id, owner=rule.owner or "?")
        for field, said in (("owner", rule.owner), ("说明", rule.note), ("because", rule.because)):
            if not said:
                yield self._of(rule, "W203", field, id=rule.id, field=field)

    def _reach(self, rule: Rule) -> Iterator[RuleProblem]:
        """Yield why a rule never hits, or never matters."""
        if rule.canary and rule.status == "canary" and not rule.canary.servers and not rule.canary.percent:
            yield self._of(rule, "W205.canary", "canary", id=rule.id)
        if rule.score + sum(max(0, boost.add) for boost in rule.boosts) == 0:
            yield self._of(rule, "W205.score", "score", id=rule.id)
        spared = always_spared(rule)
        if spared is not None:
            yield self._of(rule, "W205.spared", "unless", id=rule.id, by=_named(spared))
        elif nowhere(rule):
            yield self._of(rule, "W205.nowhere", "context", id=rule.id)
        for name in self._empty:
            if any(_asks_only(clause, name) for clause in _needed(rule)):
                yield self._of(rule, "W205.empty", "when", id=rule.id, name=name)

    def _because(self, rule: Rule) -> Iterator[RuleProblem]:
        asked = _asked(rule.conditions)
        for name in _SLOT.findall(rule.because):
            if name not in asked and not (name == "handle" and _asks_handle(rule)):
                options = asked | ({"handle"} if _asks_handle(rule) else set())
                yield self._of(rule, "W209", "because", nearest(name, options), id=rule.id, name=name)

    def _tests(self, rule: Rule) -> Iterator[RuleProblem]:
        hits = {example.events for example in rule.hits}
        tests = self._places[id(rule)].value["tests"].value
        for example in rule.passes:
            if example.events in hits:
                place = next(node for node in tests["pass"].value if node.line == example.line)
                yield _at(place, "W212", id=rule.id, text=f"{example.events[-1].text:.40}")

    # --- many rules

    def _overlaps(self) -> Iterator[RuleProblem]:
        for number, rule in enumerate(self._rules):
            for other in self._rules[:number]:
                if rule.label == other.label and rule.status == other.status and rule.count == other.count:
                    yield from self._overlap(rule, other)

    def _overlap(self, rule: Rule, other: Rule) -> Iterator[RuleProblem]:
        wide, narrow = covers(other, rule), covers(rule, other)
        place = self._places[id(other)]
        if wide and narrow:
            yield self._of(rule, "W206", "when", id=rule.id, other=other.id, file=place.file, line=place.line)
        elif wide and _points(rule) == _points(other):
            yield self._of(rule, "W207", "when", narrow=rule.id, wide=other.id)
        elif narrow and _points(rule) == _points(other):
            yield self._of(other, "W207", "when", narrow=other.id, wide=rule.id)

    def _counters(self) -> Iterator[RuleProblem]:
        """Yield counters that count one thing here, another there: within a set, or from one layer to the next."""
        first: dict[str, tuple[Rule, Count]] = {}
        for rule in self._all:
            if rule.count is None:
                continue
            before, count = first.setdefault(rule.count.counter, (rule, rule.count))
            if before is not rule and _meaning(count) != _meaning(rule.count):
                place, key = self._places[id(before)], "W208.layers" if before.id == rule.id else "W208"
                said = {"counter": count.counter, "other": before.id, "file": place.file, "line": place.line}
                yield self._of(rule, key, "count", was=_meaning(count), now=_meaning(rule.count), **said)

    def _unused(self) -> Iterator[RuleProblem]:
        guards = self._draft.contents.guards if self._draft.contents else {}
        asked = [one for rule in self._rules for one in rule.conditions]
        classes, named = _asked((*asked, *guards.values())), _guards((*asked, *guards.values()))
        for name, node in self._draft.classes:
            if name not in classes and name not in self._draft.decoys:
                yield _at(node, "W210", name=name)
        for name, node in self._draft.guards.items():
            if name not in named and name != QUOTING:
                yield _at(node, "W211", name=name)

    def _of(self, rule: Rule, key: str, field: str, near: str = "", /, **said: object) -> RuleProblem:
        """Word advice about a field of a rule, at that field if it is there."""
        node = self._places[id(rule)]
        return _at(node.keys.get(field, node), key, near, **said)


def _at(node: Node, key: str, near: str = "", /, **said: object) -> RuleProblem:
    return problem(node.file, node.line, node.column, key, near, **said)


def _touched(node: Node, problems: Iterable[RuleProblem]) -> bool:
    """Tell whether something is wrong within a node."""
    last = node.last_line
    return any(one.file == node.file and node.line <= one.line <= last for one in problems)


def _asked(conditions: Iterable[Condition]) -> set[str]:
    return {name for one in every(conditions) if isinstance(one, Lexicon) for name in one.names}


def _guards(conditions: Iterable[Condition]) -> set[str]:
    return {one.name for one in every(conditions) if isinstance(one, Guard)}


def _asks_handle(rule: Rule) -> bool:
    return any(isinstance(one, HandleOf) for one in every(rule.conditions))


def _needed(rule: Rule) -> Sequence[Condition]:
    """Return the parts that a message must hold, each."""
    when = rule.when
    return when.parts if isinstance(when, AllOf) else (when,) if when else ()


def _asks_only(condition: Condition, name: str) -> bool:
    """Tell whether a part of a rule looks for nothing but the terms of one class."""
    bare = condition.condition if isinstance(condition, Guard) else condition
    bare = bare.parts[0] if isinstance(bare, AnyOf) and len(bare.parts) == 1 else bare
    return isinstance(bare, Lexicon) and bare.names == {name}


def _points(rule: Rule) -> tuple[object, ...]:
    return rule.score, frozenset((id(boost.condition), boost.add) for boost in rule.boosts)


def _meaning(count: Count) -> str:
    return f"{count.by}/{count.distinct}"


def _named(condition: Condition) -> str:
    return getattr(condition, "name", "") or "、".join(sorted(_asked((condition,)))) or type(condition).__name__
