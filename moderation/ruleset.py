"""A rule set: everything moderators decided, compiled for judging. Immutable, known by the hash of its content."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from hashlib import blake2b
from itertools import chain
from typing import Final, get_args

import msgspec
from msgspec import Struct

from moderation.alike import ACROSTIC, Alike, alike
from moderation.conditions import (
    CARRIED,
    CONTEXT_KEYS,
    DISGUISED_KEY,
    HANDLE_KEY,
    NEW_KEY,
    PATTERN,
    SIGN_KEYS,
    TEXT,
    Condition,
    Key,
    Pattern,
    channel_key,
    every,
    pattern_key,
)
from moderation.context import is_new
from moderation.events import Channel, ChatEvent
from moderation.fold import fold
from moderation.handles import HandleFinder, HandleGrammar
from moderation.match import automaton
from moderation.pattern import Search, compile_pattern
from moderation.plan import Plans
from moderation.policy import Policy
from moderation.rewrite import ways
from moderation.rule import Rule
from moderation.ruleindex import RuleIndex, Told
from moderation.segment import Segmenter

#: The class under which allowed phrases are matched; a term inside one of them is not seen.
ALLOWED: Final = "=allowed"
#: Of what clauses spell, so much must be terms to be no chance.
_MOST: Final = 0.6


class Term(Struct, frozen=True):
    """A word of a lexicon class; `until_ms` is the first moment it no longer counts.

    A `disguised` one is also looked for where it is not written but meant: see moderation.alike.
    """

    text: str
    lexicon: str
    until_ms: int | None = None
    disguised: bool = False


class Contents(Struct, frozen=True):
    """What the files of a rule set say, before it is compiled."""

    rules: tuple[Rule, ...]
    terms: tuple[Term, ...]
    guards: Mapping[str, Condition]
    policy: Policy
    grammar: HandleGrammar
    official: Mapping[str, tuple[str, ...]]
    phrases: tuple[str, ...]
    markup: tuple[str, ...] = ()
    emoji: Mapping[str, str] = {}
    #: The classes whose words hide the shorter ones within them.
    decoys: frozenset[str] = frozenset()


class RuleSet:
    """Compiled `Contents`. Building takes tens of milliseconds to seconds (jieba's dictionary): do it off the loop."""

    def __init__(self, contents: Contents, *, plain: bool = False) -> None:
        self.contents = contents
        self.policy = contents.policy
        self.hash = _digest(contents)
        self.rules = tuple(r for r in contents.rules if r.status in ("live", "canary", "shadow"))
        entries = [*contents.terms, *(Term(p, ALLOWED) for p in contents.phrases)]
        lexicon: dict[str, list[Term]] = {}
        for term in entries:
            folded = fold(term.text).text.strip()
            if folded:
                lexicon.setdefault(folded, []).append(term)
        asked = [*(one for rule in self.rules for one in rule.conditions), *contents.guards.values()]
        conditions = list({id(one): one for one in every(asked)}.values())
        shapes = [one for one in conditions if isinstance(one, Pattern)]
        patterns = {regex: Search(regex) for regex in dict.fromkeys(shape.regex for shape in shapes)}
        needs: dict[str, list[Key]] = {}
        for regex, search in patterns.items():
            for word in sorted(search.needs) if search.among is None else ():
                needs.setdefault(word, []).append(pattern_key(regex))
        words = [*lexicon, *(word for word in needs if word not in lexicon)]
        self.terms: tuple[tuple[Term, ...], ...] = tuple(tuple(lexicon.get(w, ())) for w in words)
        keys = [(*(t.lexicon for t in lexicon.get(w, ())), *needs.get(w, ())) for w in words]
        among = {pattern_key(regex): search.among for regex, search in patterns.items() if search.among}
        wanted = {key.removeprefix(CARRIED) for rule in self.rules for key in _shapes(rule)}
        among = {key: search for key, search in among.items() if key in wanted}
        classes = sorted({ALLOWED, *(t.lexicon for t in entries)})
        every_key = dict.fromkeys([*classes, *SIGN_KEYS, *CONTEXT_KEYS, *map(pattern_key, patterns)])
        #: The bit of each key in the mask of a text; what the sender carries about has the same, `carried` bits higher.
        #: Those of lexicon classes are in the order of their names.
        self.bits: Mapping[Key, int] = {key: 1 << n for n, key in enumerate(every_key)}
        self.carried = len(every_key)
        #: The same, wherever the key is met.
        self.everywhere: Mapping[Key, int] = {key: bit | bit << self.carried for key, bit in self.bits.items()}
        #: The bits that each word of the matcher sets.
        self.masks: tuple[int, ...] = tuple(map(self._mask, keys))
        #: Patterns that no word tells of are searched in all texts at once: their bits and searches.
        self.among = tuple((self.bits[key], search) for key, search in among.items())
        sieved = {*among, *chain.from_iterable(keys)}
        #: The bits of the other patterns, which may match anything, and of those that are for what a sender carries.
        self.unsieved = self._mask(key for shape in shapes if (key := pattern_key(shape.regex)) not in sieved)
        self.unsieved_carried = self.unsieved & self._mask(
            pattern_key(shape.regex) for shape in shapes if not set(shape.fields) <= set(TEXT)
        )
        #: What a text must be looked at closely for, by its bit: a word may be half of another one, and a word that a
        #: pattern needs is no match.
        self.class_of = {self.bits[name]: name for name in classes}
        self.allowed = self.bits[ALLOWED]
        #: The searches for the patterns of rules, by their bits.
        self.searches = {self.bits[pattern_key(regex)]: search for regex, search in patterns.items()}
        self.certain = self._mask((*SIGN_KEYS, *CONTEXT_KEYS, *(CARRIED + key for key in SIGN_KEYS)))
        self.matcher = automaton(words, plain=plain)
        hidden = _hidden(lexicon)
        self.alike = Alike(list(hidden), plain=plain)
        self.ways = ways("".join(hidden), contents.emoji, self._says, plain=plain)
        #: The game's own markup; its groups are what players see of it. None where the game has none.
        self.markup = compile_pattern("|".join(contents.markup), groups=True) if contents.markup else None
        #: The terms, and their bits, of each word that `alike` looks for.
        self.disguised = tuple((ts, self._mask(t.lexicon for t in ts)) for ts in hidden.values())
        #: The bits of what a message can be about: anything but shapes and noise.
        self.meaning = self._mask({HANDLE_KEY, DISGUISED_KEY, *(t.lexicon for t in entries)})
        #: The bits of what makes a weak likeness worth believing.
        self.telling = self._mask({HANDLE_KEY, DISGUISED_KEY, *(t.lexicon for ts in hidden.values() for t in ts)})
        self.segmenter = Segmenter(lexicon, _of(contents.decoys, lexicon), plain=plain)
        self.finder = HandleFinder(contents.grammar, contents.official)
        self._new = self.bits[NEW_KEY]
        self._said_in = {channel: self.bits[channel_key(channel)] for channel in get_args(Channel)}
        #: How conditions are told to hold, and found.
        self.plans = Plans(asked, self._mask, self.carried, self.policy.bounds)
        told = Told(
            self.certain,
            self.unsieved,
            self._mask(CONTEXT_KEYS),
            sum(self.everywhere[pattern_key(regex)] for regex in patterns),
        )
        #: Which rules are worth trying.
        self.index = RuleIndex(self.rules, self._mask, told, self.plans)

    @cached_property
    def by_id(self) -> Mapping[str, Rule]:
        """Return every rule by its id, also those that are draft or off."""
        return {rule.id: rule for rule in self.contents.rules}

    def about(self, event: ChatEvent) -> int:
        """Return the bits of where an event was said and by whom."""
        return self._said_in[event.channel] | (self._new if is_new(event, self.policy.bounds) else 0)

    def _says(self, text: str) -> bool:
        """Tell whether terms of two characters and more make up most of a text, as of no chance sequence."""
        matches = ((start, end) for start, end, index in self.matcher.find(text) if self.terms[index])
        covered = {at for start, end in matches if end - start > 1 for at in range(start, end)}
        return len(covered) >= max(ACROSTIC, _MOST * len(text))

    def _mask(self, keys: Iterable[Key]) -> int:
        mask = 0
        for key in keys:
            bare = key.removeprefix(CARRIED)
            mask |= self.bits[bare] << (self.carried if bare != key else 0)
        return mask


def _shapes(rule: Rule) -> Iterable[Key]:
    """Return the keys of a rule that has patterns in every clause: what else it looks for does not sieve it."""
    clauses = [clause for clause in rule.clauses() if clause.isdisjoint(CONTEXT_KEYS)]
    return chain.from_iterable(clauses) if all(map(_of_patterns, clauses)) else ()


def _of_patterns(clause: Iterable[Key]) -> bool:
    return any(key.removeprefix(CARRIED).startswith(PATTERN) for key in clause)


def _of(classes: Collection[str], lexicon: Mapping[str, Sequence[Term]]) -> Iterable[str]:
    """Return the words that are in one of these classes, whatever else they are in."""
    return (word for word, terms in lexicon.items() if any(term.lexicon in classes for term in terms))


def _hidden(lexicon: Mapping[str, Sequence[Term]]) -> dict[str, tuple[Term, ...]]:
    """Return the words to look for in disguise with their terms: of those of a class that sound alike, the first."""
    first: dict[tuple[str, str], str] = {}
    for word, terms in lexicon.items():
        for term in terms:
            if term.disguised:
                first.setdefault((term.lexicon, alike(word)), word)
    hidden: dict[str, tuple[Term, ...]] = {}
    for (name, _), word in first.items():
        hidden[word] = (*hidden.get(word, ()), *(t for t in lexicon[word] if t.lexicon == name))
    return hidden


def _digest(contents: Contents) -> str:
    plain = msgspec.to_builtins(contents, order="deterministic")
    for rule in plain["rules"]:
        for name in ("hits", "passes", "file", "line"):
            rule.pop(name, None)
    return blake2b(msgspec.json.encode(plain, order="deterministic"), digest_size=8).hexdigest()
