"""What one rule set says that another does not, and whether that can mute or ban who was safe before.

Two contents go in, a `Change` comes out: no files, no dates; what is only noted for people is no change.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from msgspec import Struct

from moderation.conditions import Guard, Lexicon, every

if TYPE_CHECKING:
    from collections.abc import Iterable

    from moderation.rule import Rule
    from moderation.ruleset import Contents

#: In force: what such a rule says can punish.
_WEIGHS = ("live", "canary")
#: What is about a rule's place or for people, and changes no judgement.
_NOTES = frozenset({"file", "line", "revision", "hits", "passes"})


class RuleChange(Struct, frozen=True):
    """A rule that is other: its status before and after ("" where there is none), and which fields differ."""

    id: str
    before: str
    after: str
    fields: tuple[str, ...] = ()


class TermChange(Struct, frozen=True):
    """The terms of a lexicon class that came, that went, and that have other options."""

    lexicon: str
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


class Change(Struct, frozen=True):
    """All that differs. `other` names what else does: guards, policy, handles, allowlist, game.

    `can_ban` says in what a change may ban whom the old set would not have: then two people look at it.
    """

    rules: tuple[RuleChange, ...]
    terms: tuple[TermChange, ...]
    other: tuple[str, ...]
    can_ban: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.rules or self.terms or self.other)


def change(old: Contents, new: Contents) -> Change:
    """Compare two sets. What a rule rests on counts as its own: a term it looks for, a guard it names."""
    rules = tuple(_rules(old, new))
    terms = tuple(_terms(old, new))
    other = tuple(name for name, before, after in _others(old, new) if before != after)
    return Change(rules, terms, other, tuple(_can_ban(new, rules, terms, other)))


def bans(contents: Contents, rule: Rule) -> bool:
    """Tell whether a hit of this rule can lead to a ban without a human."""
    if rule.status not in _WEIGHS:
        return False
    ladder = contents.policy.ladders[contents.policy.labels[rule.label].ladder]
    return any(step.ban_s is not None for steps in ladder.steps.values() for step in steps)


def _rules(old: Contents, new: Contents) -> Iterable[RuleChange]:
    before, after = ({rule.id: rule for rule in contents.rules} for contents in (old, new))
    for name in sorted({*before, *after}):
        was, now = before.get(name), after.get(name)
        fields = _differing(was, now) if was and now else ()
        if fields or not (was and now):
            yield RuleChange(name, was.status if was else "", now.status if now else "", fields)


def _differing(was: Rule, now: Rule) -> tuple[str, ...]:
    names = (name for name in was.__struct_fields__ if name not in _NOTES)
    return tuple(name for name in names if getattr(was, name) != getattr(now, name))


def _terms(old: Contents, new: Contents) -> Iterable[TermChange]:
    before, after = ({(t.lexicon, t.text): t for t in contents.terms} for contents in (old, new))
    if before == after:
        return
    kinds = {
        "added": after.keys() - before.keys(),
        "removed": before.keys() - after.keys(),
        "changed": {key for key in before.keys() & after.keys() if before[key] != after[key]},
    }
    for lexicon in sorted({key[0] for keys in kinds.values() for key in keys}):
        yield TermChange(lexicon, **{kind: _of(lexicon, keys) for kind, keys in kinds.items()})


def _of(lexicon: str, keys: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    return tuple(sorted(text for name, text in keys if name == lexicon))


def _others(old: Contents, new: Contents) -> Iterable[tuple[str, object, object]]:
    yield from ((f"guard:{n}", old.guards.get(n), new.guards.get(n)) for n in sorted({*old.guards, *new.guards}))
    yield "policy", old.policy, new.policy
    yield "handles", old.grammar, new.grammar
    yield "allowlist", (old.official, Counter(old.phrases)), (new.official, Counter(new.phrases))
    yield "game", (old.markup, old.emoji), (new.markup, new.emoji)


def _can_ban(
    new: Contents, rules: Iterable[RuleChange], terms: Iterable[TermChange], other: tuple[str, ...]
) -> Iterable[str]:
    """Name what is behind each rule that can ban and is other; a rule that went cannot."""
    banning = [rule for rule in new.rules if bans(new, rule)]
    moved = {one.id for one in rules}
    lexicons, guards = {one.lexicon for one in terms}, {name.removeprefix("guard:") for name in other}
    for rule in banning:
        asked = list(every(rule.conditions))
        words = {name for one in asked if isinstance(one, Lexicon) for name in one.names}
        if rule.id in moved or words & lexicons or {one.name for one in asked if isinstance(one, Guard)} & guards:
            yield rule.id
    if banning:
        yield from (name for name in other if not name.startswith("guard:"))
