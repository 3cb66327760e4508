"""Terms that mean something only together: `A&B~C` in a lexicon is A and B in one message, and no C.

A combination belongs to its class like any term: a rule that asks for the class asks for its terms or one of these.
Its words are terms of classes of their own, named after them, so that the matcher knows nothing of combinations.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from moderation.conditions import AllOf, AnyOf, Lexicon, NoneOf, every
from moderation.fold import fold

if TYPE_CHECKING:
    from collections.abc import Iterable

    from moderation.actions import Field
    from moderation.conditions import Condition
    from moderation.ruleset import Term

MARKS: Final = re.compile("[&~]")
#: Stands before a word of a combination in the name of its class: no moderator may choose such a name.
WORD: Final = "&"
_PART: Final = re.compile("([&~])([^&~]*)")


class Combination(NamedTuple):
    """The terms that must all be there, and those of which none may."""

    needed: tuple[Term, ...]
    refused: tuple[Term, ...]

    @property
    def terms(self) -> tuple[Term, ...]:
        """Return all of its words, as terms."""
        return self.needed + self.refused

    def condition(self, fields: tuple[Field, ...]) -> AllOf:
        """Return what a message must hold in these fields."""
        refused = tuple(Lexicon(frozenset({term.lexicon}), fields) for term in self.refused)
        needed = tuple(Lexicon(frozenset({term.lexicon}), fields) for term in self.needed)
        return AllOf((*needed, NoneOf(refused)) if refused else needed)


def combine(term: Term) -> Combination:
    """Take a term like 现金&转会~官方 apart. Raises ValueError where a word is missing, or none must be there."""
    parts = [
        (mark, word.strip()) for mark, word in _PART.findall("&" + term.text if term.text[0] != "~" else term.text)
    ]
    needed = tuple(_of(term, word) for mark, word in parts if mark == "&")
    if not needed or not all(fold(word).text.strip() for _, word in parts):
        raise ValueError(term.text)
    return Combination(needed, tuple(_of(term, word) for mark, word in parts if mark == "~"))


def words_for(name: str, conditions: Iterable[Condition]) -> frozenset[str]:
    """Return the classes of the words of combinations, where conditions ask for the class `name` or one of these."""
    asked = (one.parts for one in every(conditions) if isinstance(one, AnyOf))
    combined = (parts[1:] for parts in asked if isinstance(parts[0], Lexicon) and name in parts[0].names)
    words = (part for parts in combined for one in parts if isinstance(one, AllOf) for part in one.parts)
    return frozenset(name for word in words if isinstance(word, Lexicon) for name in word.names)


def _of(whole: Term, word: str) -> Term:
    """Return the word as a term; the same word with the same options is of the same class in every combination."""
    options = "" if whole.until_ms is None else f"@{whole.until_ms}"
    return msgspec.structs.replace(whole, text=word, lexicon=f"{WORD}{word}{options}{'*' if whole.disguised else ''}")
