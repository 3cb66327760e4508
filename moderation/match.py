"""Find every term in a text, in one pass, however many terms there are.

Two implementations with one order of results: daachorse (a Rust wheel) where it is installed, and the trie below.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

try:
    from daachorse import CharwiseDoubleArrayAhoCorasick
except ImportError:  # no wheel for this platform: the trie does the same, slower
    _FAST = False
else:
    _FAST = True

#: Start and end in code points of the searched text, end not included, and the index of the term.
Match: TypeAlias = tuple[int, int, int]

_SURROGATES: Final = dict.fromkeys(range(55296, 57344), "�")


class Automaton(Protocol):
    """A set of terms to look for. Immutable: threads may share it."""

    def find(self, text: str) -> list[Match]:
        """Return all matches, overlapping ones too: by end, then the longer first, then the smaller index.

        Linear in the text and the matches. A term given twice is reported under each of its indices. Lone surrogates
        are read as U+FFFD.
        """
        ...


def automaton(terms: Sequence[str], *, plain: bool = False) -> Automaton:
    """Build an automaton over terms as they are: fold them first. `plain` leaves daachorse alone.

    No terms match nothing. Raises ValueError for an empty term, which would match everywhere, and for a term with a
    lone surrogate, which folded text never has.
    """
    for index, term in enumerate(terms):
        _check(index, term)
    if plain or not _FAST or not terms:
        return _Trie(terms)
    return _DoubleArray(terms)


def _check(index: int, term: str) -> None:
    if not term:
        raise ValueError(f"term {index} is empty: it would match everywhere")
    try:
        term.encode()
    except UnicodeEncodeError:
        raise ValueError(f"term {index} has a lone surrogate: fold terms before matching") from None


class _DoubleArray:
    """daachorse, which refuses lone surrogates."""

    def __init__(self, terms: Sequence[str]) -> None:
        self._find = CharwiseDoubleArrayAhoCorasick(list(terms)).find_overlapping

    def find(self, text: str) -> list[Match]:
        try:
            return self._find(text)
        except UnicodeEncodeError:
            return self._find(text.translate(_SURROGATES))


class _Trie:
    """Aho-Corasick: a trie whose nodes know the longest proper suffix that is also in the trie.

    Node 0 is the root. `_ends` holds for each node the (length, index) of all terms that end there, longest first.
    """

    def __init__(self, terms: Sequence[str]) -> None:
        self._next: list[dict[str, int]] = [{}]
        self._ends: list[tuple[tuple[int, int], ...]] = [()]
        self._suffix = [0]
        for index, term in enumerate(terms):
            node = self._insert(term)
            self._ends[node] = (*self._ends[node], (len(term), index))
        self._link()

    def _insert(self, term: str) -> int:
        node = 0
        for char in term:
            node = self._next[node].setdefault(char, len(self._next))
            if node == len(self._next):
                self._next.append({})
                self._ends.append(())
                self._suffix.append(0)
        return node

    def _link(self) -> None:
        """Breadth first, so that a suffix, being shorter, is complete before it is needed."""
        queue = deque(self._next[0].values())
        while queue:
            node = queue.popleft()
            for char, child in self._next[node].items():
                self._suffix[child] = suffix = self._step(self._suffix[node], char)
                self._ends[child] += self._ends[suffix]
                queue.append(child)

    def _step(self, node: int, char: str) -> int:
        while node and char not in self._next[node]:
            node = self._suffix[node]
        return self._next[node].get(char, 0)

    def find(self, text: str) -> list[Match]:
        node = 0
        found: list[Match] = []
        for end, char in enumerate(text.translate(_SURROGATES), 1):
            node = self._step(node, char)
            found += [(end - length, end, index) for length, index in self._ends[node]]
        return found
