"""Contact handles: QQ, group, phone, WeChat and YY numbers, ids and links, however they are dressed up.

The theory. A number or an id is nobody's contact until something says so: a cue word near it, or that somebody took
pains to hide it. A player id, a room, a pair of coordinates or a hit point count looks just the same, so the nearest
word decides, and a word of the game outweighs a farther cue. Precision comes before recall.

The order of work on the folded text: links; the words that mean something (cues); ids beside their cues; numerals,
judged by the words near them. What is taken once is not read twice. All words are data (rules/handles.yaml); what a
valid number looks like is code.

Not found, on purpose: names of sellers where nothing says search, numbers one must work out, pictures.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import re2
from msgspec.structs import replace

from moderation.actions import Field, Handle
from moderation.conditions import TEXT
from moderation.contacts import PHONE, Contacts
from moderation.cues import Found, HandleGrammar, Vocabulary, any_of, free
from moderation.fold import JOINT, View
from moderation.ids import Ids
from moderation.joined import Gate
from moderation.links import Links
from moderation.numerals import LONGEST, Numerals

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from moderation.fold import Folded

__all__ = ["HandleFinder", "HandleGrammar", "aliases"]

#: A number that may have noise behind it is also known by its first digits.
_WEAK: Final = (9, 10)
_HAN: Final = re.compile(r"[\u4e00-\u9fff]")
#: In a shorter text a quarter is chance.
_QUARTER: Final = 8
#: No more of one are chance, though they be half of the Han.
_FEW: Final = 3
#: One sign or code between single characters, again and again: 1=6=1=9=7=4=1, 9[微笑]5[微笑]3…, 7&nbsp;8&nbsp;….
_STREWN: Final = re.compile(
    r"(\[[^\[\]\n]{1,12}\]|&[a-z]{2,6};|/:[a-z]{2,8}|#[a-z]|\.{3}|[^\w\s.,:]|_)[a-z0-9._](?:\1[a-z0-9._]){5,}"
)
#: Where the gates of numbers and links, which bear a few signs between two characters, would not see what is strewn.
_STREWN_GATE: Final = (
    rf"[\];>][a-z0-9][\[&<][^\];>{JOINT}]{{1,24}}[\];>][a-z0-9][\[&<]|/:[a-z]{{2,8}}[0-9]/:"
    r"|[*#|丶、…=~+_^\\-]\.[*#|丶、…=~+_^\\-][a-z]"
)
#: Markup of games: <u>60</u>93, [color=red]微[/color], #R金#n30#cff0000. What holds a link is not taken out.
_TAGS: Final = "b|i|u|s|p|br|a|c|em|img|url|font|size|color|span|strong|center|quad"
_MARKUP: Final = re.compile(
    rf"</?[a-z][^<>.:\n]{{0,40}}>|\[/?(?:{_TAGS})(?:=[^\[\].\n]{{0,24}})?\]|#c[0-9a-f]{{6}}|#[a-z](?![a-z])"
)


#: Colour codes may stand right before a letter where there are many: #R加#G微#B信#W fuchi.
_COLOUR: Final = re.compile("#[bcgknoprwy]", re.IGNORECASE)
_COLOURFUL: Final = 3
#: Shown from right to left until it is taken back.
_TURNED: Final = re.compile("\u202e([^\u202c\n]*)")


def aliases(handle: Handle) -> tuple[str, ...]:
    """Return the keys under which a handle is counted, the canonical `type:value` first.

    `num:` links the same digits under different cues. Eleven digits that are no phone may be a number with noise
    behind it: their first nine and ten are weak aliases.

    >>> aliases(Handle("qq", "284601395", (0, 9), "text"))
    ('qq:284601395', 'num:284601395')
    """
    value = handle.value
    keys = (f"{handle.type}:{value}",)
    if not (value.isascii() and value.isdigit()):
        return keys
    noisy = len(value) == LONGEST and handle.type != "tel" and not PHONE.fullmatch(value)
    return (*keys, f"num:{value}", *(f"num:{value[:n]}" for n in _WEAK if noisy))


class HandleFinder:
    """Finds contact handles in folded text. `allow` names official contacts, by type: those are never reported.

    An official number is official under whichever cue it stands. Building folds and compiles all words: milliseconds.
    In every folded message with a handle one of the `gates` matches, and in few others; a name may hold one beside an
    offer, too, wherever there are letters and digits enough for an id. None matches across
    U+FF28, so that many texts can be searched at once with that character between them.
    """

    def __init__(self, grammar: HandleGrammar, allow: Mapping[str, Collection[str]] = MappingProxyType({})) -> None:
        self._official = frozenset(v.casefold() for values in allow.values() for v in values)
        self._links = Links(grammar)
        self._words, self._ids = _told(grammar)
        #: In a name what is offered says that a number beside it is where it is to be had.
        self._named = _told(
            replace(grammar, cues=grammar.cues | {"wx": (*grammar.cues.get("wx", ()), *grammar.name_cues)})
        )
        self._numerals = Numerals(grammar)
        self._contacts = Contacts(grammar)
        self._backwards = re.compile(any_of(grammar.reversing)).search
        gates = (self._numerals.gate, self._links.gate, self._ids.gate, any_of(grammar.reversing), _STREWN_GATE)
        #: In one pattern they cost five times as much: its automaton has too many states.
        self.gates = tuple(Gate(re2.compile(gate, _options())) for gate in gates)

    def may_contain(self, text: str) -> bool:
        """Say whether `find` needs to look at a folded text at all: False is certain, True is not."""
        encoded = text.encode()
        return any(gate.first(encoded, 0) >= 0 for gate in self.gates)

    def find(self, folded: Folded, field: Field = "text") -> tuple[Handle, ...]:
        """Return the handles of a field in the order they stand there, each type and value once."""
        found: dict[tuple[str, str], Handle] = {}
        for view in self._readings(folded):
            for start, end, type_, value in self._find(view, field):
                if value and value not in self._official and (type_, value) not in found:
                    span = view.span(start, end)
                    plain = value in view.raw[slice(*span)].casefold()
                    found[type_, value] = Handle(type_, value, span, field, not plain)
            if found:
                break
        return tuple(sorted(found.values(), key=lambda h: h.span))

    def _readings(self, folded: Folded) -> Iterator[View]:
        """Yield the text as shown, without what is strewn over it; as a last resort backwards, or without a filler."""
        text, view = folded.text, folded.plain
        if "\u202e" in view.raw:
            view = _as_shown(view)
        if "#" in text and len(_COLOUR.findall(view.raw)) >= _COLOURFUL:
            view = _without(_COLOUR, view)
        if ("<" in text or "[" in text or "#" in text) and _MARKUP.search(view.text):
            view = _without(_MARKUP, view)
        if strewn := _STREWN.search(view.text):
            yield _without(re.compile(re.escape(strewn[1])), view)
        yield view
        if self._backwards(text):
            order = range(len(view.text))[::-1]
            yield _picked(order, view)
        if filler := _filler(view.text):
            yield _without(re.compile(re.escape(filler)), view)

    def _find(self, view: View, field: Field) -> list[Found]:
        text = view.text
        words, ids = (self._words, self._ids) if field in TEXT else self._named
        found = self._links.find(text)
        marks = free(words.marks(text), found)
        found += free(ids.find(text, marks), found)
        numbers = free(self._numerals.find(view), found)
        return found + list(self._contacts.accept(text, numbers, marks)) if numbers else found


def _told(grammar: HandleGrammar) -> tuple[Vocabulary, Ids]:
    words = Vocabulary(grammar)
    return words, Ids(grammar, words)


def _as_shown(view: View) -> View:
    """Return a view in which what is shown from right to left is turned round."""
    order, starts = list(range(len(view.text))), [start for start, _ in view.spans]
    for turned in _TURNED.finditer(view.raw):
        first, end = (bisect_left(starts, at) for at in turned.span(1))
        order[first:end] = reversed(order[first:end])
    return _picked(order, view)


def _without(pattern: re.Pattern[str], view: View) -> View:
    """Return a view without what a pattern matches."""
    return _picked(list(_kept(pattern, view.text)), view)


def _picked(places: Sequence[int], view: View) -> View:
    """Return a view of the characters at some places."""
    text = "".join([view.text[at] for at in places])
    return View(view.name, text, view.raw, lambda: [*map(view.spans.__getitem__, places)])


def _kept(pattern: re.Pattern[str], text: str) -> Iterator[int]:
    at = 0
    for gone in pattern.finditer(text):
        yield from range(at, gone.start())
        at = gone.end()
    yield from range(at, len(text))


def _filler(text: str) -> str:
    """Return the Han that makes up a quarter of a text, or half of its Han, strewn between the others, or ""."""
    again = len(text) - len(set(text))
    if len(text) < _QUARTER or (again * 4 < len(text) - 4 and again < _FEW):  # none is there so often
        return ""
    han = _HAN.findall(text)
    char, count = Counter(han).most_common(1)[0] if han else ("", 0)
    often = count * 4 >= len(text) or (count > _FEW and count * 2 >= len(han))
    return char if often and char * 2 not in text else ""


def _options() -> re2.Options:
    options = re2.Options()
    options.log_errors = False
    options.never_capture = True
    options.max_mem = 64 << 20
    return options
