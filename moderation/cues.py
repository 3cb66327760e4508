"""The words that say what a number or an id near them is: cues, and words of the game. All of them are data.

One Aho-Corasick pass over the text without separators finds every word, however it was spread: 微.信, q q, V☆信.
"""

from __future__ import annotations

import re
from itertools import islice, product
from typing import TYPE_CHECKING, Annotated, Final, Literal, NamedTuple, Protocol, TypeVar

from msgspec import Meta, Struct

from moderation.fold import JOINT, fold
from moderation.match import automaton

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

Digits = Annotated[str, Meta(pattern="^[0-9]+$")]
Word = Annotated[str, Meta(min_length=1)]
Words = tuple[Word, ...]
Kind = Literal["cue", "contact", "same", "loose", "negative", "reversing", "nothing"]


class HandleGrammar(Struct, frozen=True, forbid_unknown_fields=True):
    """The words by which handles are told from other numbers; rules/handles.yaml explains each list to moderators.

    `digit_words`, `digit_syllables`, `homophones` and `lookalikes` map a digit to what stands for it.
    """

    cues: dict[str, Words]
    cue_tails: str
    sounded_cues: dict[str, tuple[Words, ...]]
    leet: dict[str, str]
    same_number: Words
    contact_cues: Words
    loose_cues: Words
    not_cues: Words
    negative_before: Words
    negative_after: Words
    measure_words: str
    fillers: str
    common_numbers: tuple[Digits, ...]
    service_numbers: tuple[Digits, ...]
    uid_lengths: tuple[Digits, ...]
    reversing: Words
    part_words: Words
    stripping: Words
    swapping: Words
    digit_words: dict[Digits, str]
    digit_syllables: dict[Digits, Words]
    homophones: dict[Digits, str]
    lookalikes: dict[Digits, str]
    tlds: Words
    word_tlds: Words
    spoken_tlds: dict[str, Words]
    dot_words: Words
    address_cues: Words
    path_hosts: Words
    harmless_hosts: Words
    search_words: Words
    id_stop_words: Words
    not_names: Words
    #: Those of senders, guilds and signatures; rule sets from before 2026-11-22 have none.
    name_cues: Words = ()


#: How far from a number its word may stand. A cue of one character is an everyday one: it must stand closer.
REACH: Final = 8
SHORT_REACH: Final = 5
#: What ends a phrase stays between the characters of a word; other signs, and spaces, may spread it.
_ENDS: Final = ",。!?:;…、\"'“”‘’=%#&$"
_SPREAD: Final = 2
#: A letter before a letter, each by itself: S E R V I C E holds no cue v.
_SPELT: Final = re.compile(r"(?<![a-z])[a-z] [a-z] ")
#: In a word of two scripts the Latin part stays in one piece: 加v xiaomi is no 加vx.
_PAIR: Final = re.compile("[a-z]{2,}")
#: 金票v_jinku_66
_LED: Final = re.compile("[\u4e00-\u9fff][vq]_[a-z0-9][a-z0-9_-]{4,}")
#: Shorter Latin words would become everyday ones.
_LEET: Final = 5
#: Spellings of one word: one of ten letters that all have a digit has a thousand.
_MOST_SPELLINGS: Final = 1024


class Mark(NamedTuple):
    """A word that says what a number near it is; `type` only for cues."""

    start: int
    end: int
    kind: Kind
    type: str

    @property
    def reach(self) -> int:
        """How many characters may stand between the word and a number."""
        return SHORT_REACH if self.single else REACH

    @property
    def single(self) -> bool:
        """Whether it is an everyday character, a word only by what follows it."""
        return self.end - self.start == 1


class Found(NamedTuple):
    """A place in the folded text that is spoken for: a handle, or, with an empty value, nothing that concerns us."""

    start: int
    end: int
    type: str
    value: str


class _Place(Protocol):
    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...


_P = TypeVar("_P", bound=_Place)


def free(places: Iterable[_P], found: Collection[Found]) -> list[_P]:
    """Keep the places that nothing found so far covers."""
    if not found:
        return list(places)
    taken = [(f.start, f.end) for f in found]
    return [p for p in places if all(p.end <= start or end <= p.start for start, end in taken)]


class Vocabulary:
    """The words of a grammar. The first meaning a word is given counts: what is no cue goes before what is one."""

    def __init__(self, grammar: HandleGrammar) -> None:
        lists: list[tuple[Kind, str, Words]] = [
            ("nothing", "", grammar.not_cues),
            *(("cue", type_, words) for type_, words in grammar.cues.items()),
            *(("cue", type_, _sounded(groups)) for type_, groups in grammar.sounded_cues.items()),
            *(("cue", type_, _leet(words, grammar.leet)) for type_, words in grammar.cues.items()),
            ("same", "wx", grammar.same_number),
            ("negative", "", grammar.negative_before),
            ("contact", "", grammar.contact_cues),
            ("loose", "", grammar.loose_cues),
            ("reversing", "", grammar.reversing),
        ]
        folded = [(fold(word).text, kind, type_) for kind, type_, words in lists for word in words]
        signs = {c for text, _, _ in folded for c in text if not c.isalnum() and c not in " _.-/*~·|\\"}
        self._gaps = re.compile(rf"(?:[^\w{_class(signs)}{_ENDS}]|_)+(?![0-9])")
        meanings: dict[str, tuple[Kind, str]] = {}
        for text, kind, type_ in folded:
            meanings.setdefault(self._gaps.sub("", text), (kind, type_))
        self._words, self._meanings = list(meanings), list(meanings.values())
        self._matcher = automaton(self._words)
        self._pairs = [tuple(_PAIR.findall(word)) if not _PAIR.fullmatch(word) else () for word in self._words]
        #: Whether a word begins with a letter, does so and ends with one, ends with one.
        self._latin = [(is_letter(w[0]), is_letter(w[0]) and is_letter(w[-1]), is_letter(w[-1])) for w in self._words]

    def marks(self, text: str) -> list[Mark]:
        """Return the words of a text in order, without overlaps: where two overlap, the first, then the longer."""
        squeezed = self._gaps.sub("", text)
        found = self._matcher.find(squeezed)
        if len(squeezed) < len(text) and found:
            places = self._places(text)
            found = [(places[first], places[last - 1] + 1, index) for first, last, index in found]
        found.sort(key=lambda m: (m[0], -m[1]))
        marks, done = list[Mark](), 0
        for start, end, index in found:
            if start >= done and self._stands(text, start, end, index):
                marks.append(Mark(start, end, *self._meanings[index]))
                done = end
        return marks

    def of(self, types: Iterable[str]) -> list[str]:
        """Return the cues of some types, as they are matched."""
        wanted = frozenset(types)
        return [
            w for w, (kind, type_) in zip(self._words, self._meanings, strict=True) if kind == "cue" and type_ in wanted
        ]

    def _places(self, text: str) -> list[int]:
        places, at = list[int](), 0
        for gap in self._gaps.finditer(text):
            places.extend(range(at, gap.start()))
            at = gap.end()
        places.extend(range(at, len(text)))
        return places

    def _stands(self, text: str, start: int, end: int, index: int) -> bool:
        """Tell whether a word is not spread too far, nor part of a longer Latin word."""
        length = len(self._words[index])
        if end - start > length + _SPREAD * (length - 1):
            return False
        if any(pair not in text[start:end] for pair in self._pairs[index]):
            return False
        headed, lettered, tailed = self._latin[index]
        if (
            headed
            and start
            and (text[start - 1] == "_" or is_letter(text[start - 1]) or (start >= 2 and _SPELT.match(text, start - 2)))
        ):
            return False
        whole = lettered or (tailed and end - start > length)  # 薇 xiaochu is no 薇x
        if not whole or end == len(text) or _LED.match(text, start - 1):
            return True
        return not (text[end] == "_" or is_letter(text[end]))


def tails(grammar: HandleGrammar) -> re.Pattern[str]:
    """Return the pattern of what may stand between a cue of one character and its number or id."""
    return re.compile(rf"[^a-z\u4e00-\u9fff{grammar.cue_tails}]*(?:[{grammar.cue_tails}][^a-z\u4e00-\u9fff]*)*")


def _sounded(groups: Iterable[Words]) -> Words:
    """Make the words that sound alike: each group lists, syllable by syllable, the characters that may stand there."""
    return tuple("".join(chars) for group in groups for chars in product(*group))


def _leet(words: Words, table: dict[str, str]) -> Words:
    """Make the spellings of Latin words with digits for letters, of each the first few: w3ixin, wech4t."""
    latin = [w for w in words if len(w) >= _LEET and _PAIR.fullmatch(w)]
    return tuple(
        "".join(c) for w in latin for c in islice(product(*(c + table.get(c, "") for c in w)), _MOST_SPELLINGS)
    )


def is_letter(char: str) -> bool:
    """Tell whether a folded character is a Latin letter."""
    return "a" <= char <= "z"


def any_of(words: Iterable[str]) -> str:
    """Return a pattern for any of some words, folded, the longest first; for no words one that matches nothing."""
    return "|".join(re.escape(fold(w).text) for w in sorted(words, key=len, reverse=True)) or r"\b\B"


def _class(chars: Iterable[str]) -> str:
    return "".join(map(re.escape, sorted(chars)))


def spread(words: Iterable[str]) -> str:
    """Return an RE2 pattern for any of some words, also spread by separators."""
    return "|".join(f"[^a-z{JOINT}]{{0,{_SPREAD}}}".join(map(re.escape, word)) for word in words)


def chars_at(at: int, words: Iterable[str]) -> str:
    """Return the characters that stand at a place of some words, for a character class."""
    return _class({word[at] for word in words})


def ending(words: Iterable[str]) -> str:
    """Return an RE2 pattern that matches the last two characters of each of some words, and of few others."""
    words = list(words)
    return f"[{chars_at(-2, words)}][^a-z{JOINT}]{{0,{_SPREAD}}}[{chars_at(-1, words)}]"
