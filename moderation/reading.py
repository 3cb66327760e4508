"""Reading a message: which terms, handles, signals and facts it holds, field by field, each worked out at most once.

The order of work is the order of cost. Folding and one Aho-Corasick pass are paid by every message; offsets, jieba
windows, views and handles only by those in which something was found.
"""

from __future__ import annotations

import re
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Final

from moderation.conditions import HANDLE_KEY, NOISE_KEY, Condition, Found, Key
from moderation.context import FACTS
from moderation.fold import Folded, View, fold
from moderation.ruleset import ALLOWED, RuleSet
from moderation.windows import SHORT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from moderation.actions import Field, Handle
    from moderation.events import ChatEvent
    from moderation.ruleset import Term
    from moderation.segment import Words

_NO_KEYS: Final[frozenset[Key]] = frozenset()
#: Something stands between two single characters: only then is the view without separators worth a second pass.
_SPACED: Final = re.compile(r"(?:^|\W)\w\W{1,3}\w(?:\W|$)|\w[^\w\s,。!?:;、…~()\[\]\"'《》【】]\w")

#: What a rule may name as a signal, besides the counts of moderation.fold.Signals.
SIGNALS: Final = (
    "disguised", "zero_width", "combining", "bidi", "enclosed", "mixed_digits", "mixed_script", "separators",
    "long_run", "newlines", "truncated", "obfuscated_handle",
)  # fmt: skip
LONG_RUN: Final = 12
MANY_LINES: Final = 5


def _noisy(raw: str) -> bool:
    """Tell whether a text has a long run of one character, or many lines.

    A run of n has a part in every n-th place, so only what stands there can run.
    """
    return any(char * LONG_RUN in raw for char in raw[LONG_RUN - 1 :: LONG_RUN]) or raw.count("\n") >= MANY_LINES


class Text:
    """One field as read: its folded text, and where the terms of each class stand."""

    __slots__ = (
        "_accepted",
        "_encoded",
        "_patterns",
        "_rules",
        "_spots",
        "_words",
        "field",
        "folded",
        "handles",
        "keys",
    )

    def __init__(self, rules: RuleSet, field: Field, raw: str) -> None:
        self.field = field
        self.folded: Folded = fold(raw)
        self._rules = rules
        text = self.folded.text
        self._spots: dict[str, list[tuple[View, int, int, Term]]] = {}
        self.handles: tuple[Handle, ...] = ()
        self.keys = _NO_KEYS
        self._patterns: dict[str, tuple[Found, ...]] = {}
        self._encoded: bytes | None = None
        spots = rules.matcher.find(text)
        spaced = _SPACED.search(text)
        suspicious = rules.finder.may_contain(text)
        noisy = len(raw) >= LONG_RUN and _noisy(raw)
        if spots or spaced or suspicious or noisy:
            self._look(spots, spaced=spaced is not None, suspicious=suspicious, noisy=noisy)

    def _look(self, spots: list[tuple[int, int, int]], *, spaced: bool, suspicious: bool, noisy: bool) -> None:
        self._accepted: dict[str, list[tuple[Found, int | None]]] = {}
        self._words: dict[str, Words] = {}
        self._place(self.folded.plain, spots)
        if spaced:
            squeezed = self.folded.squeezed
            self._place(squeezed, self._rules.matcher.find(squeezed.text))
        if suspicious:
            self.handles = self._rules.finder.find(self.folded, self.field)
        keys = set(self._spots)
        if self.handles:
            keys.add(HANDLE_KEY)
        if noisy:
            keys.add(NOISE_KEY)
        self.keys = frozenset(keys)

    def _place(self, view: View, spots: list[tuple[int, int, int]]) -> None:
        terms = self._rules.terms
        for start, end, index in spots:
            for term in terms[index]:
                self._spots.setdefault(term.lexicon, []).append((view, start, end, term))

    def terms(self, lexicon: str, ts: int) -> Sequence[Found]:
        """Return where terms of a class stand, word by word, outside allowed phrases and before they expire."""
        if lexicon not in self._spots:
            return ()
        accepted = self._accepted.get(lexicon)
        if accepted is None:
            accepted = self._accepted[lexicon] = self._accept(lexicon)
        allowed = () if lexicon == ALLOWED else self.terms(ALLOWED, ts)
        return [f for f, until in accepted if (until is None or ts < until) and not (allowed and _inside(f, allowed))]

    def _words_of(self, view: View) -> Words:
        words = self._words.get(view.name)
        if words is None:
            words = self._words[view.name] = self._rules.segmenter.on(view.text)
        return words

    def _accept(self, lexicon: str) -> list[tuple[Found, int | None]]:
        out: dict[tuple[int, int], tuple[Found, int | None]] = {}
        for view, start, end, term in self._spots[lexicon]:
            if self._words_of(view).hold(start, end):
                span = view.span(start, end)
                found = Found(*span, self.field, view.name, lexicon, self.folded.raw[slice(*span)])
                out.setdefault(span, (found, term.until_ms))
        return list(out.values())

    def pattern(self, regex: str) -> tuple[Found, ...]:
        """Return the first place of an RE2 pattern in the folded text."""
        found = self._patterns.get(regex)
        if found is None:
            found = self._patterns[regex] = self._search(regex)
        return found

    def _search(self, regex: str) -> tuple[Found, ...]:
        if self._encoded is None:
            self._encoded = self.folded.text.encode()
        place = self._rules.pattern(regex)(self.folded.text, self._encoded)
        if place is None:
            return ()
        span = self.folded.plain.span(*place)
        return (Found(*span, self.field, name="pattern", text=self.folded.raw[slice(*span)]),)

    def seen(self) -> Iterator[tuple[View, tuple[int, int], Term]]:
        """Yield every term that stands in the text, word or not: view, raw span, term. For explanations."""
        for spots in self._spots.values():
            for view, start, end, term in spots:
                yield view, view.span(start, end), term

    def why_not(self, view: View, span: tuple[int, int], ts: int) -> str:
        """Say why a term seen at a raw span does not count."""
        for spots in self._spots.values():
            for one, start, end, _ in spots:
                if one is view and view.span(start, end) == span and not self._words_of(view).hold(start, end):
                    return "不成词"
        allowed = any(a.start <= span[0] and span[1] <= a.end for a in self.terms(ALLOWED, ts))
        return "白名单" if allowed else "已过期或重复"


def _inside(found: Found, allowed: Sequence[Found]) -> bool:
    return any(a.start <= found.start and found.end <= a.end for a in allowed)


class Reading:
    """What was read of one event, over all its fields."""

    __slots__ = ("_found", "event", "handles", "keys", "rules", "texts")

    def __init__(self, rules: RuleSet, event: ChatEvent, texts: Mapping[Field, Text]) -> None:
        self.rules = rules
        self.event = event
        self.texts = texts
        self._found: dict[int, Sequence[Found]] = {}
        text = texts["text"]
        self.keys: frozenset[Key] = text.keys
        self.handles: tuple[Handle, ...] = text.handles
        if len(texts) > 1:
            self.keys = _NO_KEYS.union(*(t.keys for t in texts.values()))
            self.handles = tuple(h for t in texts.values() for h in t.handles)

    def find(self, condition: Condition) -> Sequence[Found]:
        """Return the places that satisfy a condition that many rules share, worked out once."""
        found = self._found.get(id(condition))
        if found is None:
            found = self._found[id(condition)] = condition.find(self)
        return found

    def terms(self, lexicon: str, field: Field) -> Sequence[Found]:
        """Return the places of a lexicon class in a field."""
        text = self.texts.get(field)
        return text.terms(lexicon, self.event.ts) if text else ()

    def pattern(self, regex: str, field: Field) -> Sequence[Found]:
        """Return the first place of an RE2 pattern in the folded text of a field."""
        text = self.texts.get(field)
        return text.pattern(regex) if text else ()

    def signal(self, name: str) -> bool:
        """Tell whether a sign of disguise or noise is in the text."""
        text = self.texts["text"]
        signals = text.folded.signals
        match name:
            case "disguised":
                return signals.disguised
            case "long_run":
                return signals.longest_run >= LONG_RUN
            case "newlines":
                return signals.newlines >= MANY_LINES
            case "mixed_digits":
                return signals.digit_scripts >= 2
            case "obfuscated_handle":
                return any(h.obfuscated for h in self.handles)
            case _:
                return bool(getattr(signals, name))

    def fact(self, name: str) -> bool:
        """Tell whether a context holds."""
        return FACTS[name](self.event, self.rules.policy.bounds)


class Reader:
    """Reads events under one rule set; remembers what repeats: names, guilds, signatures, and short texts.

    A `Text` depends on nothing but the rules and the raw text, so one that was read before serves again.
    """

    def __init__(self, rules: RuleSet) -> None:
        self._rules = rules
        self._carried = lru_cache(maxsize=50_000)(self._carry)
        self._short = lru_cache(maxsize=20_000)(partial(Text, rules, "text"))

    def read(self, event: ChatEvent) -> Reading:
        """Read the text and whatever the sender carries about."""
        raw = event.text
        texts: dict[Field, Text] = {"text": self._short(raw) if len(raw) <= SHORT else Text(self._rules, "text", raw)}
        sender, carry = event.sender, self._carried
        if sender.name and (name := carry("name", sender.name)):
            texts["name"] = name
        if sender.guild and (guild := carry("guild", sender.guild)):
            texts["guild"] = guild
        if sender.signature and (signature := carry("signature", sender.signature)):
            texts["signature"] = signature
        return Reading(self._rules, event, texts)

    def joined(self, reading: Reading, parts: Sequence[str]) -> Reading:
        """Read the event again together with the messages before it, as one text in the field "window"."""
        whole = Text(self._rules, "window", " ".join(parts))
        return Reading(self._rules, reading.event, {**reading.texts, "window": whole})

    def _carry(self, field: Field, raw: str) -> Text | None:
        text = Text(self._rules, field, raw)
        return text if text.keys else None
