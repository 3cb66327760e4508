"""Scanning: many texts in one pass each of folding, matching and gates, so that ordinary chat costs next to nothing.

    raw texts ─ fold ─┬─ terms (Aho-Corasick) ──────────────┐
                      ├─ anything squeezed? ─ terms again ──┤
                      ├─ a number, an id, a link? ─ handles ┼─▶ Text: a mask of what may be in it, and where
                      └─ noise? disguise? ──────────────────┘

The texts of a batch are joined by a character that folded text never holds and searched as one. What a text holds is
told by bits, one for each lexicon class and kind of sign; offsets, jieba and signals are paid for later, by the few
texts that some rule asks about.
"""

from __future__ import annotations

import re
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, TypeVar

import re2
from xxhash import xxh3_64_intdigest

from moderation.conditions import DISGUISED_KEY, HANDLE_KEY, NOISE_KEY, Found, pattern_key
from moderation.fold import JOINT, Folded, View, fold_all, squeeze
from moderation.ruleset import ALLOWED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from moderation.actions import Field, Handle
    from moderation.ruleset import RuleSet, Term
    from moderation.segment import Words

#: So many times the same character, or so many lines, are noise.
LONG_RUN: Final = 12
MANY_LINES: Final = 5

_JOINT: Final = JOINT.encode()
#: Letters and digits as folded text has them; JOINT is none of them.
_W: Final = (
    r"0-9A-Za-z_\x{aa}-\x{1fff}\x{2c00}-\x{2fef}\x{3005}-\x{3007}\x{3021}-\x{3029}\x{3041}-\x{fdff}\x{10000}-\x{3ffff}"
)
#: Something stands between two single characters: only then is the view without separators worth a second pass.
_SPACED: Final = re2.compile(
    rf"(?:^|[^{_W}])[{_W}][^{_W}{JOINT}]{{1,3}}[{_W}](?:[^{_W}]|$)"
    rf"|[{_W}][^{_W}{JOINT}\s,。!?:;、…~()\[\]\"'《》【】][{_W}]"
)
_LINES: Final = re2.compile(rf"(?:\n[^\n{JOINT}]*){{{MANY_LINES}}}")
_RUN: Final = re.compile(rf"([^{JOINT}])\1{{{LONG_RUN - 1}}}", re.DOTALL)
#: What ordinary chat is made of, as it is typed; without anything else only separators and numerals can disguise it.
_ODD: Final = re2.compile(
    f"[^{JOINT} -~\\n\u4e00-\u9fff\u3000-\u3006\u3008-\u3020“”‘’…—·！（），：；？～￥\\x{{1f300}}-\\x{{1faff}}]"
)

_NOISE: Final = re.compile(r"[\x00-/:-@\[-`{-\x7f]+")
_DIGIT: Final = re.compile(r"[0-9]")
_TAIL: Final = "abcdefghijklmnopqrstuvwxyz0"


class Text:
    """One field as read: its folded text, and where the terms of each class stand.

    `mask` has a bit for every key of the rule set that the text may meet (RuleSet.bits); `fingerprint` is shared by
    texts that differ in digits, punctuation or a trailing scrap of letters.
    """

    __slots__ = (
        "_accepted", "_encoded", "_found", "_patterns", "_rules", "_words",
        "field", "fingerprint", "folded", "handles", "mask",
    )  # fmt: skip

    def __init__(self, rules: RuleSet, field: Field, folded: Folded, fingerprint: int) -> None:
        self._rules = rules
        self.field = field
        self.folded = folded
        self.fingerprint = fingerprint
        self.mask = 0
        self.handles: tuple[Handle, ...] = ()
        self._found: list[tuple[View, int, int, int]] | None = None

    def note(self, view: View, start: int, end: int, index: int) -> None:
        """Remember that the term of that index stands at `view.text[start:end]`."""
        if self._found is None:
            self._found = []
            self._accepted: dict[str, list[tuple[Found, int | None]]] = {}
            self._words: dict[str, Words] = {}
        self._found.append((view, start, end, index))

    def terms(self, lexicon: str, ts: int) -> Sequence[Found]:
        """Return where terms of a class stand, word by word, outside allowed phrases and before they expire."""
        if not self.mask & self._rules.bits.get(lexicon, 0):
            return ()
        accepted = self._accepted.get(lexicon)
        if accepted is None:
            accepted = self._accepted[lexicon] = self._accept(lexicon)
        allowed = () if lexicon == ALLOWED else self.terms(ALLOWED, ts)
        return [f for f, until in accepted if (until is None or ts < until) and not (allowed and _inside(f, allowed))]

    def seen(self) -> Iterator[tuple[View, int, int, Term]]:
        """Yield every term that stands in a view of the text, word or not."""
        for view, start, end, index in self._found or ():
            for term in self._rules.terms[index]:
                yield view, start, end, term

    def _accept(self, lexicon: str) -> list[tuple[Found, int | None]]:
        out: dict[tuple[int, int], tuple[Found, int | None]] = {}
        for view, start, end, term in self.seen():
            if term.lexicon == lexicon and self._words_of(view).hold(start, end):
                span = view.span(start, end)
                found = Found(*span, self.field, view.name, lexicon, self.folded.raw[slice(*span)])
                out.setdefault(span, (found, term.until_ms))
        return list(out.values())

    def _words_of(self, view: View) -> Words:
        words = self._words.get(view.name)
        if words is None:
            words = self._words[view.name] = self._rules.segmenter.on(view.text)
        return words

    def why_not(self, view: View, start: int, end: int, ts: int) -> str:
        """Say why a term seen at `view.text[start:end]` does not count."""
        if not self._words_of(view).hold(start, end):
            return "不成词"
        first, last = view.span(start, end)
        allowed = any(a.start <= first and last <= a.end for a in self.terms(ALLOWED, ts))
        return "白名单" if allowed else "已过期或重复"

    def pattern(self, regex: str) -> tuple[Found, ...]:
        """Return the first place of an RE2 pattern in the folded text."""
        bits = self._rules.bits.get(pattern_key(regex))
        if bits is not None and not self.mask & bits:
            return ()
        if not hasattr(self, "_patterns"):
            self._patterns: dict[str, tuple[Found, ...]] = {}
            self._encoded = self.folded.text.encode()
        found = self._patterns.get(regex)
        if found is None:
            found = self._patterns[regex] = self._search(regex)
        return found

    def _search(self, regex: str) -> tuple[Found, ...]:
        place = self._rules.pattern(regex)(self._encoded)
        if place is None:
            return ()
        span = self.folded.plain.span(*place)
        return (Found(*span, self.field, name="pattern", text=self.folded.raw[slice(*span)]),)


def _inside(found: Found, allowed: Sequence[Found]) -> bool:
    return any(a.start <= found.start and found.end <= a.end for a in allowed)


class Scanner:
    """Scans texts for everything a rule set may ask about. Keeps nothing between calls."""

    def __init__(self, rules: RuleSet) -> None:
        self._rules = rules

    def scan(self, field: Field, raws: Sequence[str]) -> list[Text]:
        """Scan at least one raw text of a field; one `Text` each, in order."""
        folds = fold_all(raws)
        joined = JOINT.join([folded.text for folded in folds])
        encoded = joined.encode()
        texts = [Text(self._rules, field, *pair) for pair in zip(folds, _fingerprints(joined), strict=True)]
        self._match(joined, texts, _PLAIN)
        spaced = [texts[at] for at in _holding(_SPACED.search, encoded)]
        if spaced:
            self._match(JOINT.join([text.folded.squeezed.text for text in spaced]), spaced, _SQUEEZED)
        suspicious = [t for t in texts if self._rules.finder.may_contain(t.folded.text)]
        for text in suspicious:
            text.handles = self._rules.finder.find(text.folded, field)
            text.mask |= self._rules.bits[HANDLE_KEY] if text.handles else 0
        odd = [texts[at] for at in _holding(_ODD.search, JOINT.join(_unjoined(raws)).encode(errors="replace"))]
        for text in {*odd, *spaced, *suspicious}:
            text.mask |= self._rules.bits[DISGUISED_KEY] if text.folded.signals.disguised else 0
        for at in {*_holding(_RUN.search, joined), *_holding(_LINES.search, encoded)}:
            texts[at].mask |= self._rules.bits[NOISE_KEY]
        return texts

    def together(self, parts: Sequence[str], mask: int) -> int:
        """Return `mask` with the bits that folded texts may gain when they are read as one; no cost of a full scan."""
        joined = " ".join(parts)
        for _, _, index in self._rules.matcher.find(squeeze(joined)):
            mask |= self._rules.masks[index]
        return mask | (self._rules.bits[HANDLE_KEY] if self._rules.finder.may_contain(joined) else 0)

    def _match(self, joined: str, texts: Sequence[Text], view: Callable[[Folded], View]) -> None:
        """Find all terms in a view of texts, joined; matches come in the order of their ends."""
        masks, terms = self._rules.masks, self._rules.terms
        parts = joined.split(JOINT)
        at, begin, limit = 0, 0, len(parts[0])
        for start, end, index in self._rules.matcher.find(joined):
            while end > limit:
                at, begin = at + 1, limit + 1
                limit = begin + len(parts[at])
            text = texts[at]
            text.mask |= masks[index]
            if terms[index]:
                text.note(view(text.folded), start - begin, end - begin, index)


_PLAIN: Final = attrgetter("plain")
_SQUEEZED: Final = attrgetter("squeezed")
_Haystack = TypeVar("_Haystack", str, bytes)


def _holding(search: Callable[[_Haystack, int], Any], joined: _Haystack) -> Iterator[int]:
    """Yield the indexes of the joined texts in which a search finds something."""
    joint: Any = JOINT if isinstance(joined, str) else _JOINT
    at = last = 0
    while match := search(joined, last):
        at += joined.count(joint, last, match.end())
        yield at
        last = joined.find(joint, match.end())
        if last < 0:
            return
        at, last = at + 1, last + len(joint)


def _unjoined(raws: Sequence[str]) -> Sequence[str]:
    """Return raw texts in which nobody typed what they are joined by."""
    return [raw.replace(JOINT, JOINT.swapcase()) for raw in raws] if any(JOINT in raw for raw in raws) else raws


def fingerprint(folded: str) -> int:
    """Return a 64-bit key that texts share which differ in digits, punctuation or a trailing scrap of letters."""
    return next(_fingerprints(folded))


def _fingerprints(joined: str) -> Iterator[int]:
    for masked in _DIGIT.sub("0", _NOISE.sub("", joined)).split(JOINT):
        trimmed = masked.rstrip(_TAIL)
        yield xxh3_64_intdigest((trimmed if len(trimmed) >= 4 else masked).encode())
