"""Reading a message: which terms, handles, signals and facts it holds, field by field, each worked out at most once.

The order of work is the order of cost. Folding and one Aho-Corasick pass are paid by every message; offsets, jieba
windows, views and handles only by those in which something was found.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from moderation.conditions import HANDLE_KEY, NOISE_KEY, Found, Key
from moderation.context import FACTS
from moderation.fold import Folded, View, fold
from moderation.ruleset import ALLOWED, RuleSet

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from moderation.actions import Field, Handle
    from moderation.events import ChatEvent
    from moderation.ruleset import Term

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


class Text:
    """One field as read: its folded text, and where the terms of each class stand."""

    __slots__ = ("_accepted", "_rules", "_spots", "field", "folded", "handles", "keys")

    def __init__(self, rules: RuleSet, field: Field, raw: str) -> None:
        self.field = field
        self.folded: Folded = fold(raw)
        self._rules = rules
        self._accepted: dict[str, list[tuple[Found, int | None]]] = {}
        plain = self.folded.plain
        spots = [(plain, spot) for spot in rules.matcher.find(plain.text)]
        if _SPACED.search(plain.text):
            squeezed = self.folded.squeezed
            spots += [(squeezed, spot) for spot in rules.matcher.find(squeezed.text)]
        self._spots: list[tuple[View, tuple[int, int, int]]] = spots
        self.handles: tuple[Handle, ...] = ()
        if rules.finder.may_contain(plain.text):
            self.handles = rules.finder.find(self.folded, field)
        noisy = len(raw) >= LONG_RUN and (len(set(raw)) * 3 <= len(raw) or raw.count("\n") >= MANY_LINES)
        self.keys = self._keys(noisy=noisy) if spots or self.handles or noisy else _NO_KEYS

    def _keys(self, *, noisy: bool) -> frozenset[Key]:
        keys = {key for _, (_, _, term) in self._spots for key in self._rules.keys[term]}
        keys |= {HANDLE_KEY} if self.handles else set()
        return frozenset(keys | {NOISE_KEY} if noisy else keys)

    def terms(self, lexicon: str, ts: int) -> tuple[Found, ...]:
        """Return where terms of a class stand, word by word, outside allowed phrases and before they expire."""
        if lexicon not in self.keys:
            return ()
        accepted = self._accepted.get(lexicon)
        if accepted is None:
            accepted = self._accepted[lexicon] = self._accept(lexicon)
        allowed = () if lexicon == ALLOWED else self.terms(ALLOWED, ts)
        return tuple(f for f, until in accepted if (until is None or ts < until) and not _inside(f, allowed))

    def _accept(self, lexicon: str) -> list[tuple[Found, int | None]]:
        out: dict[tuple[int, int], tuple[Found, int | None]] = {}
        for view, (start, end, index) in self._spots:
            term = next((t for t in self._rules.terms[index] if t.lexicon == lexicon), None)
            if term is not None and self._rules.segmenter.on_boundary(view.text, start, end):
                span = view.span(start, end)
                found = Found(*span, self.field, view.name, lexicon, self.folded.raw[slice(*span)])
                out.setdefault(span, (found, term.until_ms))
        return list(out.values())

    def seen(self) -> Iterator[tuple[View, tuple[int, int], Term]]:
        """Yield every term that stands in the text, word or not: view, raw span, term. For explanations."""
        for view, (start, end, index) in self._spots:
            for term in self._rules.terms[index]:
                yield view, view.span(start, end), term

    def why_not(self, view: View, span: tuple[int, int], ts: int) -> str:
        """Say why a term seen at a raw span does not count."""
        for one, (start, end, _) in self._spots:
            if (
                one is view
                and view.span(start, end) == span
                and not self._rules.segmenter.on_boundary(view.text, start, end)
            ):
                return "不成词"
        allowed = any(a.start <= span[0] and span[1] <= a.end for a in self.terms(ALLOWED, ts))
        return "白名单" if allowed else "已过期或重复"


def _inside(found: Found, allowed: Sequence[Found]) -> bool:
    return any(a.start <= found.start and found.end <= a.end for a in allowed)


class Reading:
    """What was read of one event, over all its fields."""

    def __init__(self, rules: RuleSet, event: ChatEvent, texts: Mapping[Field, Text]) -> None:
        self.rules = rules
        self.event = event
        self.texts = texts
        self.keys: frozenset[Key] = _NO_KEYS.union(*(t.keys for t in texts.values()))
        self.handles: tuple[Handle, ...] = tuple(h for t in texts.values() for h in t.handles)

    def terms(self, lexicon: str, field: Field) -> Sequence[Found]:
        """Return the places of a lexicon class in a field."""
        text = self.texts.get(field)
        return text.terms(lexicon, self.event.ts) if text else ()

    def pattern(self, regex: str, field: Field) -> Sequence[Found]:
        """Return the first place of an RE2 pattern in the folded text of a field."""
        text = self.texts.get(field)
        found = self.rules.pattern(regex).search(text.folded.text) if text else None
        if text is None or found is None or found.start() == found.end():
            return ()
        span = text.folded.plain.span(found.start(), found.end())
        return (Found(*span, field, name="pattern", text=text.folded.raw[slice(*span)]),)

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
    """Reads events under one rule set; remembers names, guilds and signatures, which repeat from message to message."""

    def __init__(self, rules: RuleSet) -> None:
        self._rules = rules
        self._carried = lru_cache(maxsize=20_000)(self._carry)

    def read(self, event: ChatEvent) -> Reading:
        """Read the text and whatever the sender carries about."""
        texts: dict[Field, Text] = {"text": Text(self._rules, "text", event.text)}
        sender = event.sender
        for field, raw in (("name", sender.name), ("guild", sender.guild), ("signature", sender.signature)):
            carried = self._carried(field, raw) if raw else None
            if carried is not None:
                texts[field] = carried  # type: ignore[index]  # the three names above are fields
        return Reading(self._rules, event, texts)

    def joined(self, reading: Reading, parts: Sequence[str]) -> Reading:
        """Read the event again together with the messages before it, as one text in the field "window"."""
        whole = Text(self._rules, "window", " ".join(parts))
        return Reading(self._rules, reading.event, {**reading.texts, "window": whole})

    def _carry(self, field: Field, raw: str) -> Text | None:
        text = Text(self._rules, field, raw)
        return text if text.keys else None
