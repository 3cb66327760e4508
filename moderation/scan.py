"""Scanning: many texts in one pass each of folding, matching and gates, so that ordinary chat costs next to nothing.

    raw texts ─ fold ─┬─ terms (Aho-Corasick) ───────────────────┐
                      ├─ a number, an id, a link? ─ handles ─────┤
                      ├─ noise? disguise? ───────────────────────┼─▶ Text: a mask of what may be in it, and where
                      ├─ terms that are meant, not written ──────┤
                      └─ to be undone? ─ rewritten, terms again ─┘

The texts of a batch are joined by a character that folded text never holds and searched as one. What a text holds is
told by bits, one for each lexicon class and kind of sign; offsets, jieba and signals are paid for later, by the few
texts that some rule asks about.
"""

from __future__ import annotations

import re
from itertools import chain, repeat
from typing import TYPE_CHECKING, Final, TypeAlias

from msgspec import Struct
from xxhash import xxh3_64_intdigest

from moderation.conditions import (
    ACROSTIC_KEY,
    DISGUISED_KEY,
    HANDLE_KEY,
    NOISE_KEY,
    RESPELLED_KEY,
    RUN_KEY,
    TEXT,
)
from moderation.fold import CYCLE, HIDDEN, JOINT, LEAST_CYCLE, View, fold_all, squeeze
from moderation.joined import Gate, Joined
from moderation.places import Found
from moderation.rewrite import backwards
from moderation.ruleset import Term

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import re2

    from moderation.actions import Field, Handle, Span
    from moderation.alike import Spot
    from moderation.fold import Folded
    from moderation.pattern import Search
    from moderation.ruleset import RuleSet
    from moderation.segment import Words

#: So many times the same character, or so many lines, are noise.
LONG_RUN: Final = 12
MANY_LINES: Final = 5

#: What `fold.squeeze` drops, but for what RE2 takes for letters in it, and letters that are ornaments.
_ORNAMENTS: Final = r"_ー丨丶丿灬\x{1400}-\x{16ff}\x{a000}-\x{a4cf}"
_DROPPED: Final = rf"\pM\pP\pS\pZ\pC{_ORNAMENTS}"
_LETTER: Final = f"[^{_DROPPED}{JOINT}]"
#: Something stands between two single characters: only then is the view without separators worth a second pass.
_SPACED: Final = Gate(
    rf"(?:^|[{_DROPPED}{JOINT}]){_LETTER}[{_DROPPED}]{{1,3}}{_LETTER}(?:[{_DROPPED}{JOINT}]|$)"
    rf"|{_LETTER}(?:[^\pL\pN\s,。!?:;、…~()\[\]\"'《》【】]|[{_ORNAMENTS}]){{1,2}}{_LETTER}"
    rf"|\n{_LETTER}{{1,4}}\n"
)
_IDS: Final = Gate("[0-9a-z][-_0-9a-z]{3,18}[0-9a-z]")
_LINES: Final = Gate(rf"(?:\n[^\n{JOINT}]*){{{MANY_LINES}}}")
_RUN: Final = re.compile(rf"([^{JOINT}])\1{{{LONG_RUN - 1}}}", re.DOTALL)
#: What ordinary chat is made of, as it is typed; without anything else only separators and numerals can disguise it.
_ODD: Final = Gate(
    f"[^{JOINT} -~\\n\u4e00-\u9fff\u3000-\u3006\u3008-\u3020“”‘’…—·！（），：；？～￥\\x{{1f300}}-\\x{{1faff}}]"
)

_NOISE: Final = re.compile(r"[\x00-/:-@\[-`{-\x7f]+")
_DIGIT: Final = re.compile(r"[0-9]")
_TAIL: Final = "abcdefghijklmnopqrstuvwxyz0"


class Sighting(Struct, frozen=True):
    """A term at `view.text[start:end]`; `disguise` is how it is hidden there, nothing where it is as typed."""

    view: View
    start: int
    end: int
    term: Term
    disguise: str

    @property
    def name(self) -> str:
        """Return the name of the view, for people: the disguise says more."""
        return self.disguise or self.view.name


#: Characters before a piece in which a word may say that it is a contact.
_CUE: Final = 24

#: Readings that leave every character in its place, so that the words around tell something.
_AS_TYPED: Final = frozenset({"", "sound", "shape"})
#: Ways to write one word that nobody takes by chance for two words of a sentence.
RESPELLED: Final = frozenset({"sound", "shape", "pinyin", "parts", "reversed"})


class Text:
    """One field as read: its folded text, and where the terms of each class stand.

    `mask` has a bit for every key of the rule set that the text may meet (RuleSet.bits); `fingerprint` is shared by
    texts that differ in digits, punctuation or a trailing scrap of letters; `views` are what it was rewritten to, and
    `backwards` says that several terms stand there reversed.
    """

    __slots__ = (
        "_accepted", "_found", "_patterns", "_proven", "_rules", "_searched", "_sightings", "_words",
        "backwards", "field", "fingerprint", "folded", "handles", "mask", "refuted", "views",
    )  # fmt: skip

    def __init__(self, rules: RuleSet, field: Field, folded: Folded, fingerprint: int) -> None:
        self._rules = rules
        self.field = field
        self.folded = folded
        self.fingerprint = fingerprint
        self.mask = rules.unsieved if field in TEXT else rules.unsieved_carried
        self.refuted = self._proven = 0
        self.backwards = False
        self.views: tuple[View, ...] = ()
        self.handles: tuple[Handle, ...] = ()
        self._found: list[_Noted] = []
        self._sightings: dict[str, list[Sighting]] | None = None
        self._patterns: dict[int, tuple[Found, ...]] | None = None

    def note(self, view: View | None, start: int, end: int, terms: tuple[Term, ...], disguise: str = "") -> None:
        """Remember that terms stand at `start:end` of a view (None: of the folded text), or that they are meant there.

        Most is never asked for: nothing is made of it yet.
        """
        self._found.append((view, start, end, terms, disguise))

    def seen(self) -> Iterator[Sighting]:
        """Yield every term that stands in a view of the text or is meant there, word or not."""
        for view, start, end, terms, disguise in self._found:
            for term in terms:
                yield Sighting(view or self.folded.plain, start, end, term, disguise)

    def holds(self, keys: int) -> bool:
        """Tell whether one of the keys of the mask with these bits is met, looked at closely.

        A word must not be half of another one, and a pattern must match. Whether a word is allowed or has expired is
        not looked at.
        """
        keys &= self.mask
        if keys & self._proven:
            return True
        keys &= ~self.refuted
        rules = self._rules
        while keys:
            bit = keys & -keys
            keys ^= bit
            if self.pattern(bit) if bit in rules.searches else self._sure(bit):
                self._proven |= bit
                return True
            self.refuted |= bit
        return False

    def _sure(self, bit: int) -> bool:
        """Tell whether a term of the class with this bit is a word here; what is no class is so as the mask says."""
        return bit not in self._rules.class_of or any(map(self._holds, self._sighted(bit)))

    def terms(self, bit: int, ts: int) -> Sequence[Found]:
        """Return where terms of the class with this bit stand: words, outside allowed phrases, before they expire."""
        if not self.mask & bit:
            return ()
        sighted = self._sighted(bit)
        accepted = self._accepted.get(bit)
        if accepted is None:
            accepted = self._accepted[bit] = self._accept(bit, sighted)
        found, until = accepted
        return found if until is None else [f for f, end in zip(found, until, strict=True) if end is None or ts < end]

    def _accept(self, bit: int, sighted: Iterable[Sighting]) -> _Accepted:
        """Return the places of words outside allowed phrases, which never expire, one for each span."""
        lexicon, raw = self._rules.class_of[bit], self.folded.raw
        allowed = self.terms(self._rules.allowed, 0) if bit != self._rules.allowed else ()
        out: dict[Span, tuple[Found, int | None]] = {}
        for one in filter(self._holds, sighted):
            span = one.view.span(one.start, one.end)
            if span not in out:
                out[span] = Found(*span, self.field, one.name, lexicon, raw[slice(*span)]), one.term.until_ms
        kept = [pair for pair in out.values() if not (allowed and _inside(pair[0], allowed))]
        found, until = [f for f, _ in kept], [end for _, end in kept]
        return found, until if any(end is not None for end in until) else None

    def _sighted(self, bit: int) -> Sequence[Sighting]:
        """Return where terms of a class were sighted."""
        return self._by_class().get(self._rules.class_of[bit], ())

    def _by_class(self) -> Mapping[str, Sequence[Sighting]]:
        if self._sightings is None:
            self._sightings = self._sorted()
        return self._sightings

    def _sorted(self) -> dict[str, list[Sighting]]:
        """Sort what was noted by the classes of its terms: only now a rule asks for one."""
        self._accepted: dict[int, _Accepted] = {}
        self._words: dict[str, Words] = {}
        sightings: dict[str, list[Sighting]] = {}
        for one in self.seen():
            sightings.setdefault(one.term.lexicon, []).append(one)
        return sightings

    def _holds(self, one: Sighting) -> bool:
        """Tell whether what was sighted is a word; what only sounds or looks like one must not be a word of its own."""
        if one.disguise not in _AS_TYPED:
            return True
        words = self._words.get(one.view.name)
        if words is None:
            words = self._words[one.view.name] = self._rules.segmenter.on(one.view.text)
        if not words.hold(one.start, one.end):
            return False
        return not one.disguise or not self._rules.segmenter.is_word(one.view.text[one.start : one.end])

    @property
    def respelled(self) -> bool:
        """Whether two words or more, a third of what is said, are meant, not written.

        Chance makes a homophone of a word now and then; of ordinary chat it made rules act so on 5 of 32 000 lines
        (2026-11-22).
        """
        classes = self._by_class().values()
        meant = (
            one for one in chain(*classes) if one.disguise in RESPELLED and (len(one.term.text) > 2 or self._holds(one))
        )
        spans = sorted({one.view.span(one.start, one.end) for one in meant}, key=_apart)
        words = end = letters = 0
        for start, stop in spans:
            if start >= end:
                words, letters, end = words + 1, letters + self.folded.letters(start, stop), stop
        return words > 1 and letters * 3 >= self.folded.letters(0, len(self.folded.raw))

    def why_not(self, one: Sighting, ts: int) -> str:
        """Say why a term that was sighted does not count."""
        if not self._holds(one):
            return "不成词" if not one.disguise else "另有其词"
        first, last = one.view.span(one.start, one.end)
        allowed = any(a.start <= first and last <= a.end for a in self.terms(self._rules.allowed, ts))
        return "白名单" if allowed else "已过期或重复"

    def pattern(self, bit: int) -> tuple[Found, ...]:
        """Return the first place of an RE2 pattern in the folded text, else in what it was rewritten to."""
        if not self.mask & bit:
            return ()
        if self._patterns is None:
            self._patterns = {}
            self._searched = [(view, view.text.encode()) for view in (self.folded.plain, *self.views)]
        found = self._patterns.get(bit)
        if found is None:
            found = self._patterns[bit] = self._search(self._rules.searches[bit])
        return found

    def _search(self, search: Search) -> tuple[Found, ...]:
        for view, encoded in self._searched:
            place = search(encoded)
            if place is not None:
                span = view.span(*place)
                return (Found(*span, self.field, view.name, "pattern", self.folded.raw[slice(*span)]),)
        return ()


def _apart(span: Span) -> Span:
    """Sort by where places begin, the longer first."""
    return span[0], -span[1]


def _inside(found: Found, allowed: Sequence[Found]) -> bool:
    return any(a.start <= found.start and found.end <= a.end for a in allowed)


class Scanner:
    """Scans texts for everything a rule set may ask about. Keeps nothing between calls."""

    def __init__(self, rules: RuleSet) -> None:
        self._rules = rules
        self._bits = rules.bits
        self._markup = Gate(rules.markup) if rules.markup else None

    def scan(self, fields: Iterable[Field], raws: Sequence[str]) -> list[Text]:
        """Scan at least one raw text, each of a field; one `Text` each, in order."""
        typed = Joined.of_raw(raws)
        folds = fold_all(raws, self._shown(raws, typed))
        joined = Joined([folded.text for folded in folds])
        texts = list(map(Text, repeat(self._rules), fields, folds, _fingerprints(joined.text)))
        plain: list[_Of] = [(text, None) for text in texts]
        self._match(joined, plain)
        for gate in self._rules.finder.gates:
            self._handles([texts[at] for at in joined.holding_bytes(gate)])
        runs = [texts[at] for at in joined.holding_bytes(_IDS)]
        self._handles([text for text in runs if text.field not in TEXT])
        spaced = [texts[at] for at in joined.holding_bytes(_SPACED)]
        odd = [texts[at] for at in typed.holding_bytes(_ODD)]
        self._handles([text for text in odd if _RLO in text.folded.raw])
        self._signs(texts, joined, [*odd, *spaced], runs)
        weak = self._unmask(joined, plain)
        weak += self._rewrite(texts, joined, spaced, odd)
        self._believe(weak)
        return texts

    def _shown(self, raws: Sequence[str], typed: Joined) -> Sequence[str] | None:
        """Hide the game's own markup; None where there is none."""
        marked = list(typed.holding_bytes(self._markup)) if self._markup else []
        if not marked:
            return None
        shown = list(raws)
        for at in marked:
            shown[at] = _bare(self._rules.markup, raws[at])
        return shown

    def _handles(self, texts: Sequence[Text]) -> None:
        for text in texts:
            if not text.mask & self._bits[HANDLE_KEY]:
                text.handles = self._rules.finder.find(text.folded, text.field)
                text.mask |= self._bits[HANDLE_KEY] if text.handles else 0

    def _signs(self, texts: Sequence[Text], joined: Joined, odd: Sequence[Text], runs: Sequence[Text]) -> None:
        handled = (text for text in texts if text.mask & self._bits[HANDLE_KEY])
        for text in {*odd, *handled}:
            text.mask |= self._bits[DISGUISED_KEY] if text.folded.signals.disguised else 0
        cycles = (at for at, one in enumerate(joined.parts) if len(one) >= LEAST_CYCLE and CYCLE.search(one))
        for at in {*joined.holding(_RUN), *joined.holding_bytes(_LINES), *cycles}:
            texts[at].mask |= self._bits[NOISE_KEY]
        for text in runs:
            text.mask |= self._bits[RUN_KEY]

    def _rewrite(
        self, texts: Sequence[Text], joined: Joined, spaced: Sequence[Text], odd: Sequence[Text]
    ) -> list[_Meant]:
        """Read again, as whole texts, those that are written so that a reader must undo something.

        Return what is too weak to be noted.
        """
        found = [(text, text.folded.squeezed) for text in spaced]
        for way in self._rules.ways:
            seen = ((texts[at], way.rewrite(joined.parts[at])) for at in way.gate(joined))
            read = [(text, text.folded.rewritten(way.name, *one)) for text, one in seen if one]
            for text, _ in read if way.name in _ACROSTIC else ():
                text.mask |= self._bits[ACROSTIC_KEY]
            found += read
        turned = [t for t in odd if _RLO in t.folded.raw] + [t for t in texts if t.backwards]
        found += [(text, text.folded.rewritten("reversed", *backwards(text.folded.text))) for text in turned]
        if not found:
            return []
        for text, view in found:
            text.views = (*text.views, view)
        rewritten = Joined([view.text for _, view in found])
        self._match(rewritten, found)
        return self._unmask(rewritten, found)

    def together(self, wholes: Sequence[tuple[str, int]]) -> list[tuple[int, int]]:
        """Return for folded texts put together their bits, and those that the last piece has a part in.

        Each text comes with the length of its last piece. No cost of a full scan.
        """
        squeezed = Joined([squeeze(text) for text, _ in wholes], encoded=False)
        begins = [
            len(part) - len(squeeze(text[-own:])) for part, (text, own) in zip(squeezed.parts, wholes, strict=True)
        ]
        every, late = [self._rules.unsieved] * len(wholes), [0] * len(wholes)
        for at, _, end, index in squeezed.spread(self._rules.matcher.find(squeezed.text)):
            every[at] |= self._rules.masks[index]
            late[at] |= self._rules.masks[index] if end > begins[at] else 0
        # a handle that reaches into the last piece: whatever says so is no farther away than _CUE
        ends = Joined([text[-own - _CUE :] for text, own in wholes])
        for gate in self._rules.finder.gates:
            for at in ends.holding_bytes(gate):
                late[at] |= self._bits[HANDLE_KEY]
        return [(one | other, other) for one, other in zip(every, late, strict=True)]

    def _match(self, joined: Joined, of: Sequence[_Of]) -> None:
        masks, terms = self._rules.masks, self._rules.terms
        for at, start, end, index in joined.spread(self._rules.matcher.find(joined.text)):
            text, view = of[at]
            text.mask |= masks[index]
            if terms[index]:
                text.note(view, start, end, terms[index])
        for bit, gate in self._rules.among:
            for at in joined.holding_bytes(gate):
                of[at][0].mask |= bit

    def _unmask(self, joined: Joined, of: Sequence[_Of]) -> list[_Meant]:
        """Note disguised terms; return those that are weak, of one word only, and beside nothing else."""
        found: dict[int, list[Spot]] = {}
        for spot in self._rules.alike.find(joined):
            found.setdefault(spot.text, []).append(spot)
        weak = []
        for at, spots in found.items():
            meant = (*of[at], spots)
            if len({spot.term for spot in spots}) > 1 or not all(spot.weak for spot in spots):
                self._note(*meant)
            else:
                weak.append(meant)
        return weak

    def _believe(self, weak: Iterable[_Meant]) -> None:
        """Note weak ones of texts that hold something else that tells, in whatever view."""
        for text, view, spots in weak:
            if text.mask & self._rules.telling:
                self._note(text, view, spots)

    def _note(self, text: Text, view: View | None, spots: Sequence[Spot]) -> None:
        for spot in spots:
            terms, mask = self._rules.disguised[spot.term]
            text.mask |= mask | (self._bits[ACROSTIC_KEY] if spot.view in _ACROSTIC else 0)
            text.note(view, spot.start, spot.end, terms, spot.view)
        text.backwards |= len({spot.term for spot in spots if spot.view == "reversed"}) > 1
        if any(spot.view in RESPELLED for spot in spots):
            text.mask |= self._bits[RESPELLED_KEY]


#: A text, and which view of it is searched: None is the folded text itself.
_Of: TypeAlias = "tuple[Text, View | None]"
#: Terms that are meant in it.
_Meant: TypeAlias = "tuple[Text, View | None, list[Spot]]"
_Noted: TypeAlias = "tuple[View | None, int, int, tuple[Term, ...], str]"
#: Where terms of a class count, and until when each does; None where none of them expires.
_Accepted: TypeAlias = "tuple[Sequence[Found], Sequence[int | None] | None]"
_ACROSTIC: Final = frozenset({"heads", "tails"})
_RLO: Final = "\u202e"


def _bare(markup: re2._Regexp, raw: str) -> str:
    """Replace markup by as many HIDDEN, but for what its groups keep: the name of an item, the text of a link."""
    shown = list(raw)
    for match in markup.finditer(raw.encode(errors="replace").decode()):
        kept = {at for group in range(1, markup.groups + 1) for at in range(*match.span(group))}
        shown[match.start() : match.end()] = [
            raw[at] if at in kept else HIDDEN for at in range(match.start(), match.end())
        ]
    return "".join(shown)


def fingerprint(folded: str) -> int:
    """Return a 64-bit key that texts share which differ in digits, punctuation or a trailing scrap of letters."""
    return next(_fingerprints(folded))


def _fingerprints(joined: str) -> Iterator[int]:
    plain = _NOISE.sub("", joined)
    for text, masked in zip(plain.split(JOINT), _DIGIT.sub("0", plain).split(JOINT), strict=True):
        trimmed = masked.rstrip(_TAIL)
        telling = trimmed if len(trimmed) >= 4 else masked
        yield xxh3_64_intdigest((telling if telling.strip("0") else text).encode())  # 5, 4, 3 are not one text
