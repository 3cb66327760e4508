"""A rule set: everything moderators decided, compiled for judging. Immutable, known by the hash of its content."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cached_property, partial
from hashlib import blake2b
from typing import Final

import msgspec
import re2
from msgspec import Struct

from moderation.conditions import Condition, Key, Pattern
from moderation.fold import fold
from moderation.handles import HandleFinder, HandleGrammar
from moderation.match import automaton
from moderation.policy import Policy
from moderation.rule import Rule
from moderation.segment import Segmenter

#: What has a meaning of its own in a pattern, but for |.
_SPECIAL: Final = re.compile(r"[][.^$*+?(){}\\]")
Search = Callable[[str, bytes], tuple[int, int] | None]

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
        self._clauses = tuple(rule.clauses() for rule in self.rules)
        self.always = tuple(rule for rule, clauses in zip(self.rules, self._clauses, strict=True) if not clauses)
        self._by_key = _index(self._clauses)
        regexes = {regex: None for rule in self.rules for one in _conditions(rule) for regex in _regexes(one)}
        self._patterns = {regex: _search(regex) for regex in regexes}

    @cached_property
    def by_id(self) -> Mapping[str, Rule]:
        """Return every rule by its id, also those that are draft or off."""
        return {rule.id: rule for rule in self.contents.rules}

    def candidates(self, keys: Collection[Key]) -> list[Rule]:
        """Return the rules that a message holding `keys` could satisfy, in file order, besides those in `always`."""
        seen = {i for key in keys for i in self._by_key.get(key, ())}
        return [self.rules[i] for i in sorted(seen) if not any(c.isdisjoint(keys) for c in self._clauses[i])]

    def pattern(self, regex: str) -> Search:
        """Return the search for a pattern: folded text, and the same in UTF-8, to the first span or None."""
        return self._patterns[regex]


def _search(regex: str) -> Search:
    """Make the search for a pattern. One that is nothing but words joined by | needs no regular expression."""
    words = regex.split("|")
    if not any(map(_SPECIAL.search, words)) and all(words):
        return partial(_first, words)
    return partial(_match, compile_pattern(regex))


def _first(words: Sequence[str], text: str, _: bytes) -> tuple[int, int] | None:
    found = [(text.index(word), word) for word in words if word in text]
    if not found:
        return None
    start, word = min(found, key=lambda one: one[0])
    return start, start + len(word)


def _match(pattern: re2._Regexp, _: str, encoded: bytes) -> tuple[int, int] | None:
    """Search bytes: RE2 works on them, and its wrapper would encode a text again for every pattern."""
    match = pattern.search(encoded)
    if match is None or match.end() == match.start():
        return None
    start = len(encoded[: match.start()].decode())
    return start, start + len(encoded[match.start() : match.end()].decode())


def _regexes(condition: Condition) -> Iterator[str]:
    if isinstance(condition, Pattern):
        yield condition.regex
    for part in getattr(condition, "parts", ()) or [c for c in (getattr(condition, "condition", None),) if c]:
        yield from _regexes(part)


def _conditions(rule: Rule) -> Iterator[Condition]:
    yield from ((rule.when,) if rule.when else ())
    yield from rule.unless
    yield from (boost.condition for boost in rule.boosts)


def _options() -> re2.Options:
    options = re2.Options()
    options.log_errors = False
    options.never_capture = True  # where, not what groups: a third of the time
    options.max_mem = 1 << 20
    return options


def compile_pattern(regex: str) -> re2._Regexp:
    """Compile with RE2, quietly, in bounded memory. Raises re2.error."""
    return re2.compile(regex, _options())


def _index(rules: Sequence[tuple[frozenset[Key], ...]]) -> dict[Key, list[int]]:
    """Sort rules by the rarest thing they need: the clause with the fewest keys stands for the rule."""
    by_key: dict[Key, list[int]] = {}
    for i, clauses in enumerate(rules):
        for key in min(clauses, key=len, default=()):
            by_key.setdefault(key, []).append(i)
    return by_key


def _digest(contents: Contents) -> str:
    plain = msgspec.to_builtins(contents, order="deterministic")
    for rule in plain["rules"]:
        for name in ("hits", "passes", "file", "line"):
            rule.pop(name, None)
    return blake2b(msgspec.json.encode(plain, order="deterministic"), digest_size=8).hexdigest()
