"""A rule set: everything moderators decided, compiled for judging. Immutable, known by the hash of its content."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import cached_property
from hashlib import blake2b
from typing import Final

import msgspec
import re2
from msgspec import Struct

from moderation.conditions import Condition, Key
from moderation.fold import fold
from moderation.handles import HandleFinder, HandleGrammar
from moderation.match import automaton
from moderation.policy import Policy
from moderation.rule import Rule
from moderation.segment import Segmenter

#: The class under which allowed phrases are matched; a term inside one of them is not seen.
ALLOWED: Final = "=allowed"


class Term(Struct, frozen=True):
    """A word of a lexicon class; `until_ms` is the first moment it no longer counts."""

    text: str
    lexicon: str
    until_ms: int | None = None


class Contents(Struct, frozen=True):
    """What the files of a rule set say, before it is compiled."""

    rules: tuple[Rule, ...]
    terms: tuple[Term, ...]
    guards: Mapping[str, Condition]
    policy: Policy
    grammar: HandleGrammar
    official: Mapping[str, tuple[str, ...]]
    phrases: tuple[str, ...]


class RuleSet:
    """Compiled `Contents`. Building takes tens of milliseconds to seconds (jieba's dictionary): do it off the loop."""

    def __init__(self, contents: Contents, *, plain: bool = False) -> None:
        self.contents = contents
        self.policy = contents.policy
        self.hash = _digest(contents)
        self.rules = tuple(r for r in contents.rules if r.status in ("live", "canary", "shadow"))
        entries = [*contents.terms, *(Term(p, ALLOWED) for p in contents.phrases)]
        self._words: dict[str, list[Term]] = {}
        for term in entries:
            folded = fold(term.text).text.strip()
            if folded:
                self._words.setdefault(folded, []).append(term)
        words = list(self._words)
        self.terms: tuple[tuple[Term, ...], ...] = tuple(tuple(self._words[w]) for w in words)
        self.keys: tuple[frozenset[Key], ...] = tuple(frozenset(t.lexicon for t in ts) for ts in self.terms)
        self.matcher = automaton(words, plain=plain)
        self.segmenter = Segmenter(words, plain=plain)
        self.finder = HandleFinder(contents.grammar, contents.official)
        self.always, self._by_key = _index(self.rules)

    @cached_property
    def by_id(self) -> Mapping[str, Rule]:
        """Return every rule by its id, also those that are draft or off."""
        return {rule.id: rule for rule in self.contents.rules}

    def candidates(self, keys: Collection[Key]) -> list[Rule]:
        """Return the rules that a message holding `keys` could satisfy, in file order, besides those in `always`."""
        seen = {i for key in keys for i in self._by_key.get(key, ())}
        return [self.rules[i] for i in sorted(seen) if all(not c.isdisjoint(keys) for c in self.rules[i].clauses())]

    def pattern(self, regex: str) -> re2._Regexp:
        """Return the compiled RE2 pattern; RE2 runs in linear time whatever the text."""
        compiled = self._patterns.get(regex)
        if compiled is None:
            compiled = self._patterns[regex] = compile_pattern(regex)
        return compiled

    @cached_property
    def _patterns(self) -> dict[str, re2._Regexp]:
        return {}


def compile_pattern(regex: str) -> re2._Regexp:
    """Compile with RE2, quietly, in at most 1 MiB. Raises re2.error."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 20
    return re2.compile(regex, options)


def _index(rules: Iterable[Rule]) -> tuple[tuple[Rule, ...], dict[Key, list[int]]]:
    """Sort rules by the rarest thing they need: the clause with the fewest keys stands for the rule."""
    always: list[Rule] = []
    by_key: dict[Key, list[int]] = {}
    for i, rule in enumerate(rules):
        clauses = rule.clauses()
        if not clauses:
            always.append(rule)
        for key in min(clauses, key=len, default=()):
            by_key.setdefault(key, []).append(i)
    return tuple(always), by_key


def _digest(contents: Contents) -> str:
    plain = msgspec.to_builtins(contents, order="deterministic")
    for rule in plain["rules"]:
        for name in ("hits", "passes", "file", "line"):
            rule.pop(name, None)
    return blake2b(msgspec.json.encode(plain, order="deterministic"), digest_size=8).hexdigest()
