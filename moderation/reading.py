"""Reading a message: which terms, handles, signals and facts it and what its sender carries about hold."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from moderation.conditions import KEY_OF, TEXT, Condition, Found
from moderation.context import FACTS
from moderation.scan import LONG_RUN, MANY_LINES, Scanner, Text
from moderation.windows import together

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from moderation.actions import Field, Handle
    from moderation.events import ChatEvent
    from moderation.fold import Signals
    from moderation.ruleset import RuleSet

#: What a rule may name as a signal, besides the counts of moderation.fold.Signals.
SIGNALS: Final = (
    "disguised", "zero_width", "combining", "bidi", "enclosed", "mixed_digits", "mixed_script", "separators",
    "long_run", "newlines", "truncated", "obfuscated_handle", "id_like", "acrostic",
)  # fmt: skip
#: Texts whose scan is remembered, those first said first to go: of generated chat nearly half was said before.
MOST_SAID: Final = 20_000
#: Names, guilds and signatures whose scan is remembered.
MOST_CARRIED: Final = 50_000


_COUNTED: Final[dict[str, Callable[[Signals], bool]]] = {
    "long_run": lambda signals: signals.longest_run >= LONG_RUN,
    "newlines": lambda signals: signals.newlines >= MANY_LINES,
    "mixed_digits": lambda signals: signals.digit_scripts >= 2,
}


class Reading:
    """What was read of one event, over all its fields."""

    __slots__ = ("_found", "event", "handles", "mask", "rules", "texts")

    def __init__(self, rules: RuleSet, event: ChatEvent, texts: Mapping[Field, Text]) -> None:
        self.rules = rules
        self.event = event
        self.texts = texts
        self._found: dict[int, Sequence[Found]] = {}
        self.mask = rules.about(event)
        self.handles: tuple[Handle, ...] = ()
        for field, text in texts.items():
            self.mask |= text.mask if field in TEXT else text.mask << rules.carried
            self.handles += text.handles

    def present(self, names: Iterable[str]) -> list[str]:
        """Return those of the names of lexicon classes that may be in the message, in order."""
        mask, bits = self.mask, self.rules.everywhere
        return sorted(name for name in names if mask & bits[name])

    def find(self, condition: Condition) -> Sequence[Found]:
        """Return the places that satisfy a condition, worked out once however many rules share it."""
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

    def wider(self, found: Found, most: int) -> bool:
        """Tell whether a place spans more letters and digits than `most`; separators and markup make nothing wider."""
        if found.end - found.start <= most:
            return False
        text = self.texts.get(found.field)
        return text is None or text.folded.letters(found.start, found.end) > most

    def signal(self, name: str) -> bool:
        """Tell whether a sign of disguise or noise is in the text."""
        signals = self.texts["text"].folded.signals
        if name in KEY_OF and not self.mask & self.rules.bits[KEY_OF[name]]:
            return False
        match name:
            case "id_like" | "acrostic":
                return True
            case "obfuscated_handle":
                return any(h.obfuscated for h in self.handles)
            case _:
                return bool(_COUNTED[name](signals) if name in _COUNTED else getattr(signals, name))

    def fact(self, name: str) -> bool:
        """Tell whether a context holds."""
        return FACTS[name](self.event, self.rules.policy.bounds)


class Reader:
    """Reads events under one rule set; remembers what repeats: texts, names, guilds and signatures.

    A `Text` depends on nothing but the rules and the raw text, so one that was read before serves again.
    """

    def __init__(self, rules: RuleSet) -> None:
        self._rules = rules
        self._scanner = Scanner(rules)
        self._said: dict[str, Text] = {}
        self._carried = lru_cache(maxsize=MOST_CARRIED)(self._carry)

    def read(self, events: Sequence[ChatEvent]) -> list[Reading]:
        """Read the texts of at least one event, and whatever their senders carry about."""
        texts = self._texts([event.text for event in events])
        return [
            Reading(self._rules, event, self._fields(event, text)) for event, text in zip(events, texts, strict=True)
        ]

    def _texts(self, raws: Sequence[str]) -> list[Text]:
        """Scan what was not said of late: players say the same all day, and who floods says nothing else."""
        known = self._said
        new = [raw for raw in dict.fromkeys(raws) if raw not in known]
        if new:
            known.update(zip(new, self._scanner.scan("text", new), strict=True))
        texts = [known[raw] for raw in raws]
        while len(known) > MOST_SAID:
            del known[next(iter(known))]
        return texts

    def joined(self, reading: Reading, parts: Sequence[str]) -> Reading | None:
        """Read the event again with the messages before it, as one text in the field "window".

        Returns None where nothing comes together that some rule looks for and that this message alone does not hold.
        """
        whole = together(parts)
        every, late = self._scanner.together(whole, len(parts[-1]))
        own = (late | reading.mask) & self._rules.meaning
        if not own or not self._rules.awakened(reading.mask, reading.mask | every, own):
            return None
        [window] = self._scanner.scan("window", [whole])
        return Reading(self._rules, reading.event, {**reading.texts, "window": window})

    def renamed(self, reading: Reading, names: str) -> Reading:
        """Read the event again with the names its sender had as one name."""
        name = self._carried("name", names)
        return Reading(self._rules, reading.event, {**reading.texts, "name": name}) if name else reading

    def _fields(self, event: ChatEvent, text: Text) -> dict[Field, Text]:
        texts: dict[Field, Text] = {"text": text}
        sender, carry = event.sender, self._carried
        if sender.name and (name := carry("name", sender.name)):
            texts["name"] = name
        if sender.guild and (guild := carry("guild", sender.guild)):
            texts["guild"] = guild
        if sender.signature and (signature := carry("signature", sender.signature)):
            texts["signature"] = signature
        return texts

    def _carry(self, field: Field, raw: str) -> Text | None:
        [text] = self._scanner.scan(field, [raw])
        return text if text.mask else None
