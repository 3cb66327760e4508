"""Terms that are not written but meant: by sound, by shape, in pinyin, reversed, as an acrostic.

    袋练 ─ sounds like ─▶ 代练     徽信 ─ looks like ─▶ 微信     dai lian ─▶ 代练     练代 ─▶ 代练

Only terms of classes that moderators marked (`disguised: true`) are looked for. One automaton holds the sounds of their
shapes, forwards and backwards; every way of reading ends in the same alphabet. Sound and shape are tried on all texts,
since it is one pass; each other reading only where its gate, searched in all texts at once, lets it.

A term of two characters sounds like ordinary words too often to be evidence by itself (0.04 % of chat lines a term,
2026-11-21): it is weak, and counts only beside something else.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from moderation.joined import Joined
from moderation.match import automaton
from moderation.rewrite import in_clauses
from moderation.sound import may_be_spelled, sound, soundings, spelled
from moderation.views import Seen, heads, shape, tails

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence


#: The ways a term may be hidden, as hits, explanations and policy.yaml name them.
DISGUISES: Final = (
    "squeezed", "sound", "shape", "reversed", "pinyin", "parts", "unfilled", "columns", "heads", "tails", "emoji",
)  # fmt: skip
#: The shortest term that an acrostic may spell, and the shortest that its sound alone identifies.
ACROSTIC: Final = 4
STRONG: Final = 3
#: What was typed and which terms it means is remembered of so many: players write the same words all day.
_MOST_MEANT: Final = 4096

# A point that is missing costs str.translate a KeyError, so every Han character is in the table.
_POINTS: Final = (*range(0x20, 0x7F), *range(0x4E00, 0xA000))
_ALIKE: Final[dict[int, str]] = {point: sound(shape(chr(point))) for point in _POINTS}


def alike(text: str) -> str:
    """Return folded text with each Han character replaced by the sound of what it looks like; the length stays."""
    return text.translate(_ALIKE)


class Spot(NamedTuple):
    """A term that is meant at `start:end` of a folded text, as seen in a view; `weak` if that alone proves nothing."""

    text: int
    view: str
    start: int
    end: int
    term: int
    weak: bool = False


class _Form(NamedTuple):
    term: int
    backwards: bool


class _Reading(NamedTuple):
    """A way of reading, and the shortest term that may be read so."""

    name: str
    view: Callable[[str], Seen | None]
    shortest: int = 2


class Alike:
    """Finds disguised terms. `terms` are folded; a spot's `term` is the index among them."""

    def __init__(self, terms: Sequence[str], *, plain: bool = False) -> None:
        self._terms = terms
        forms: dict[str, set[_Form]] = {}
        for index, term in enumerate(terms):
            for form in soundings(shape(term)) if len(term) > 1 else ():
                forms.setdefault(form, set()).add(_Form(index, backwards=False))
        for form, found in list(forms.items()):
            if form[::-1] not in forms:  # no palindrome, and nothing that is a term itself
                forms[form[::-1]] = {one._replace(backwards=True) for one in found}
        self._forms = [sorted(found) for found in forms.values()]
        self._find = automaton(list(forms), plain=plain).find
        self._remembered = lru_cache(_MOST_MEANT)(self._meant)
        #: Readings that only some texts are worth, under the gate that yields the indexes of those.
        self._readings: tuple[tuple[Callable[[Joined], Iterable[int]], tuple[_Reading, ...]], ...] = (
            (may_be_spelled, (_Reading("pinyin", spelled),)),
            (in_clauses, (_Reading("heads", heads, ACROSTIC), _Reading("tails", tails, ACROSTIC))),
        )

    def find(self, texts: Joined) -> Iterator[Spot]:
        """Find disguised terms in folded texts, those that stand there undisguised left out."""
        yield from self._by_likeness(texts)
        read = [
            (at, reading, seen)
            for gate, readings in self._readings
            for at in gate(texts)
            for reading in readings
            if (seen := reading.view(texts.parts[at]))
        ]
        if read:
            yield from self._read(read)

    def _by_likeness(self, texts: Joined) -> Iterator[Spot]:
        for at, start, end, index in texts.spread(self._find(alike(texts.text))):
            for view, term, weak in self._remembered(texts.parts[at][start:end], index):
                yield Spot(at, view, start, end, term, weak)

    def _meant(self, typed: str, sounding: int) -> Sequence[tuple[str, int, bool]]:
        """Return which terms are meant by what sounds like them: mostly none, since a term stands there as it is."""
        forms = (
            (_likeness(typed, self._terms[one.term], backwards=one.backwards), one) for one in self._forms[sounding]
        )
        return [(view, form.term, len(typed) < STRONG) for view, form in forms if view]

    def _read(self, read: Sequence[tuple[int, _Reading, Seen]]) -> Iterator[Spot]:
        joined = Joined([seen.text for _, _, seen in read], encoded=False)
        for n, start, end, index in joined.spread(self._find(alike(joined.text))):
            at, reading, seen = read[n]
            place = seen.place(start, end)
            typed = end - start == place[1] - place[0]  # nothing of it was spelled: a likeness, if anything
            if not typed and end - start >= reading.shortest:
                forms = (form for form in self._forms[index] if not form.backwards)
                yield from (Spot(at, reading.name, *place, form.term) for form in forms)


def _likeness(typed: str, term: str, *, backwards: bool) -> str:
    """Tell what makes `typed` a disguise of `term`; nothing where it is the term, or too vague."""
    if backwards:
        return "reversed" if len(term) > STRONG or typed[::-1] == term else ""  # respelled and turned round is rare
    return "" if typed == term else "shape" if shape(typed) == shape(term) else "sound"
