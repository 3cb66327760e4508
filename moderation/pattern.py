r"""Patterns: RE2 searches in folded text, and the words without which none of them can match.

A pattern is for shapes (prices, ratios, discounts), not for word lists. Before RE2 is asked, the words that a pattern
needs are looked for with all terms in one pass: `\d+(元|块)` needs 元 or 块, so most messages never get to RE2.
"""

from __future__ import annotations

import re
from itertools import product
from re import _constants as op  # type: ignore[attr-defined]  # the parse tree of re has no public name
from re import _parser as parser  # type: ignore[attr-defined]
from typing import TYPE_CHECKING, Any, Final

import re2

from moderation.fold import JOINT
from moderation.joined import Gate, places

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: Digits, punctuation and the characters that stand in one message of real chat in thirty or more (2026-11-22).
_COMMON: Final = frozenset(
    "0123456789,.。?!~:;、的我了不你人一有个这么来没看都去也天上还要说到那会点吃想和他回吗出给现老发起明别呢打本问分只高今就是在"
    "们好大下过得能可以吧啊家里心开多小为时对自己什么怎样后前生年月日地学事做用把被很太真"
)
#: The automaton must fit: with 4 MiB the largest patterns fell back to another one, 40 times slower.
_MOST_BYTES: Final = 1 << 24
#: A need of more words than this sieves nothing worth the memory.
MOST_WORDS: Final = 64
_POSIX_CLASS: Final = re.compile(r"\[:\^?[a-z]+:\]")


def compile_pattern(regex: str, *, groups: bool = False) -> re2._Regexp:
    """Compile with RE2, quietly, in bounded memory; without `groups` it tells only where. Raises re2.error."""
    options = re2.Options()
    options.log_errors = False
    options.never_capture = not groups  # a third of the time
    options.max_mem = _MOST_BYTES
    return re2.compile(regex, options)


class Search:
    """The search for one pattern. `needs` are the words of which a text must hold one; empty where that is unknown."""

    def __init__(self, regex: str) -> None:
        self._places = places(compile_pattern(regex))
        self.needs = needs(regex)
        #: The search of many texts joined, for a pattern whose needs tell too little.
        told = self.needs and not _common(self.needs)
        self.among = None if told or not _selective(regex) else Gate(compile_pattern(_unanchored(regex)))

    def __call__(self, encoded: bytes) -> tuple[int, int] | None:
        """Return the first place in characters of a text given in UTF-8, None where it is empty or there is none.

        Bytes, since RE2 works on them, and its wrapper would encode a text again for every pattern.
        """
        [(start, end)] = self._places(encoded, 0, len(encoded))
        if start == end:  # -1 both where there is none
            return None
        before = len(encoded[:start].decode())
        return before, before + len(encoded[start:end].decode())


def needs(regex: str) -> frozenset[str]:
    """Return words of which every match of a pattern holds at least one; empty where there are none worth looking for.

    >>> sorted(needs("[0-9]+ ?(元|块钱?)"))
    ['元', '块']
    """
    tree = _tree(regex)
    if tree is None or tree.state.flags & (re.IGNORECASE | re.VERBOSE):
        return frozenset()
    return _best(_of_sequence(tree)) or frozenset()


def _tree(regex: str) -> Any:
    """Parse as re does; None for what RE2 reads differently, or alone."""
    if _POSIX_CLASS.search(regex):  # [[:digit:]] are no characters to RE2
        return None
    try:
        return parser.parse(regex)
    except re.error:
        return None


_Need = frozenset[str]


def _of_sequence(items: Iterable[Any]) -> Iterator[_Need]:
    """Yield what the parts of a sequence need: any one of these has to be met. Neighbouring letters are one word."""
    word: _Need = frozenset({""})
    for code, argument in items:
        letters = _letters(code, argument)
        if letters and len(letters) * len(word) <= MOST_WORDS:
            word = frozenset(map("".join, product(word, letters)))
            continue
        yield word
        word = letters or frozenset({""})
        if not letters:
            yield from _of_part(code, argument)
    yield word


def _letters(code: Any, argument: Any) -> _Need:
    """Return the few characters that may stand at one place; nothing where they are many."""
    if code is op.LITERAL:
        return frozenset({chr(argument)})
    if code is op.IN and all(kind in (op.LITERAL, op.RANGE) for kind, _ in argument):
        spans = [(value, value) if kind is op.LITERAL else value for kind, value in argument]
        if sum(last - first + 1 for first, last in spans) <= MOST_WORDS:
            return frozenset(chr(point) for first, last in spans for point in range(first, last + 1))
    return frozenset()


def _of_part(code: Any, argument: Any) -> Iterator[_Need]:
    if code is op.SUBPATTERN:
        _, added, _, inside = argument
        yield from () if added & re.IGNORECASE else _of_sequence(inside)
    elif code is op.BRANCH:
        branches = [_best(_of_sequence(branch)) for branch in argument[1]]
        if all(branches):
            yield frozenset().union(*(branch for branch in branches if branch))
    elif code in (op.MAX_REPEAT, op.MIN_REPEAT) and argument[0] > 0:
        yield from _of_sequence(argument[2])


def _best(needs_: Iterable[_Need]) -> _Need | None:
    """Return the need that sieves best: long words, then few of them; a single letter is in every English text."""
    good = [need for need in needs_ if len(need) <= MOST_WORDS and all(map(_tells, need))]
    return max(good, key=lambda need: (min(map(len, need)), not _common(need), -len(need)), default=None)


def _common(need: _Need) -> bool:
    """Tell whether a need is met by much of all chat: it tells too little."""
    return not _COMMON.isdisjoint(need)


def _tells(word: str) -> bool:
    return bool(word.strip()) and (len(word) > 1 or not (word.isascii() and word.isalpha()))


def _selective(regex: str) -> bool:
    """Tell whether a pattern names a character or a few; one that is all dots and wide ranges is met by most texts."""
    tree = _tree(regex)
    return tree is not None and any(_few(tree))


def _few(items: Iterable[Any]) -> Iterator[bool]:
    for code, argument in items:
        yield bool(_letters(code, argument))
        if code is op.SUBPATTERN or code in (op.MAX_REPEAT, op.MIN_REPEAT):
            yield from _few(argument[-1])
        elif code is op.BRANCH:
            yield all(any(_few(branch)) for branch in argument[1])


def _unanchored(regex: str) -> str:
    r"""Let ^ and $, \A and \z, also stand for what texts are joined by, which a match then holds."""
    out, in_class, escaped = list[str](), False, False
    for char in regex:
        if escaped:
            anchor = char in "Az" and not in_class
            out[-1:] = [f"(?:\\{char}|{JOINT})"] if anchor else ["\\" + char]
        else:
            anchor = char in "^$" and not in_class
            out.append(f"(?:{char}|{JOINT})" if anchor else char)
            in_class = char == "[" or (in_class and char != "]")
        escaped = char == "\\" and not escaped
    return "".join(out)
