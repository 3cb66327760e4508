"""Reading a message: which terms, handles, signals and facts it and what its sender carries about hold."""

from __future__ import annotations

from itertools import islice, repeat
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from moderation.conditions import KEY_OF, TEXT
from moderation.context import FACTS
from moderation.pieces import together
from moderation.scan import LONG_RUN, MANY_LINES, Scanner, Text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from moderation.actions import Field, Handle
    from moderation.conditions import Condition
    from moderation.events import ChatEvent
    from moderation.fold import Signals
    from moderation.places import Found
    from moderation.ruleset import RuleSet

#: What a rule may name as a signal, besides the counts of moderation.fold.Signals.
SIGNALS: Final = (
    "disguised", "zero_width", "combining", "bidi", "enclosed", "mixed_digits", "mixed_script", "separators",
    "long_run", "newlines", "truncated", "obfuscated_handle", "id_like", "acrostic",
    "respelled",
)  # fmt: skip
#: Texts, names, guilds and signatures whose scan is remembered, those first met first to go: of generated chat nearly
#: half was said before.
MOST_KNOWN: Final[dict[Field, int]] = {"text": 20_000, "name": 30_000, "guild": 10_000, "signature": 10_000}
_CARRIED: Final[tuple[Field, ...]] = ("name", "guild", "signature")


_COUNTED: Final[dict[str, Callable[[Signals], bool]]] = {
    "long_run": lambda signals: signals.longest_run >= LONG_RUN,
    "newlines": lambda signals: signals.newlines >= MANY_LINES,
    "mixed_digits": lambda signals: signals.digit_scripts >= 2,
}


class Reading:
    """What was read of one event, over all its fields."""

    __slots__ = ("answers", "event", "handles", "mask", "rules", "texts")

    def __init__(self, rules: RuleSet, event: ChatEvent, texts: Mapping[Field, Text]) -> None:
        self.rules = rules
        self.event = event
        self.texts = texts
        #: What plans found out that more than one rule asks for.
        self.answers: dict[int, Any] = {}
        mask = rules.about(event)
        self.handles: tuple[Handle, ...] = ()
        for field, text in texts.items():
            mask |= text.mask if field in TEXT else text.mask << rules.carried
            if text.handles:
                self.handles += text.handles
        self.mask = mask

    @property
    def likely(self) -> int:
        """The bits of the mask but for those that a closer look at a text refuted."""
        likely = self.mask & self.rules.certain
        for field, text in self.texts.items():
            left = text.mask & ~text.refuted
            likely |= left if field in TEXT else left << self.rules.carried
        return likely

    def holds(self, clause: int) -> bool:
        """Tell whether the message holds one of these bits, looked at closely."""
        if clause & self.mask & self.rules.certain:
            return True
        for field, text in self.texts.items():
            if text.holds(clause if field in TEXT else clause >> self.rules.carried):
                return True
        return False

    def find(self, condition: Condition) -> Sequence[Found]:
        """Return the places that satisfy a condition."""
        return self.rules.plans.of(condition).find(self)

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
            case "respelled":
                return self.texts["text"].respelled
            case "obfuscated_handle":
                return any(h.obfuscated for h in self.handles)
            case _:
                return bool(_COUNTED[name](signals) if name in _COUNTED else getattr(signals, name))

    def fact(self, name: str) -> bool:
        """Tell whether a context holds."""
        return FACTS[name](self.event, self.rules.policy.bounds)


class Whole(NamedTuple):
    """Short messages put together, in the field "window"; that of the event begins at `own`."""

    text: Text
    own: int


class Reader:
    """Reads events under one rule set; remembers what repeats: texts, names, guilds and signatures.

    A `Text` depends on nothing but the rules and the raw text, so one that was read before serves again.
    """

    def __init__(self, rules: RuleSet) -> None:
        self._rules = rules
        self._scanner = Scanner(rules)
        self._known: dict[Field, dict[str, Text | None]] = {field: {} for field in MOST_KNOWN}

    def read(self, events: Sequence[ChatEvent]) -> list[Reading]:
        """Read the texts of at least one event, and whatever their senders carry about."""
        texts: list[dict[Field, Text]] = [{} for _ in events]
        carried = {field: [getattr(event.sender, field) for event in events] for field in _CARRIED}
        self._texts(texts, {"text": [event.text for event in events], **carried})
        return list(map(Reading, repeat(self._rules), events, texts))

    def _texts(self, of: Sequence[dict[Field, Text]], said: Mapping[Field, Sequence[str | None]]) -> None:
        self._learn(said)
        for field, raws in said.items():
            known = self._known[field]
            for texts, raw in zip(of, raws, strict=True):
                text = known[raw] if raw is not None else None
                if text is not None:
                    texts[field] = text
            _forget(known, MOST_KNOWN[field])

    def _learn(self, said: Mapping[Field, Sequence[str | None]]) -> None:
        """Scan what was not met of late: players say the same all day, and who floods says nothing else.

        All fields at once, since what a scan costs is for few texts mostly the same however many they are.
        """
        known = self._known
        every = ((field, raw) for field, raws in said.items() for raw in dict.fromkeys(raws))
        new = [(field, raw) for field, raw in every if raw is not None and raw not in known[field]]
        if new:
            fields, raws = zip(*new, strict=True)
            for text in self._scanner.scan(fields, raws):
                known[text.field][text.folded.raw] = self._telling(text)

    def _telling(self, text: Text) -> Text | None:
        """Return what is worth reading: a message, and what its sender carries about if some rule may ask for it."""
        open_ = self._rules.unsieved_carried
        return text if text.field in TEXT or text.mask & ~open_ or text.holds(open_) else None

    def whole(self, readings: Sequence[Reading], torn: Sequence[Sequence[str]]) -> list[Whole | None]:
        """Read events again with the messages before them, as one text: each with what may be torn apart, or nothing.

        None where nothing comes together that some rule looks for and that the message alone does not hold.
        """
        out: list[Whole | None] = [None] * len(readings)
        wholes = [(at, *together(parts)) for at, parts in enumerate(torn) if parts]
        if wholes:
            met = self._scanner.together([(text, own) for _, text, own in wholes])
            worth = [one for one, bits in zip(wholes, met, strict=True) if self._awakened(readings[one[0]], *bits)]
            texts = self._scanner.scan(repeat("window"), [text for _, text, _ in worth]) if worth else ()
            for (at, raw, own), text in zip(worth, texts, strict=True):
                out[at] = Whole(text, len(raw) - own)
        return out

    def _awakened(self, reading: Reading, every: int, late: int) -> bool:
        own = (late | reading.mask) & self._rules.meaning
        return bool(own) and self._rules.index.awakened(reading.mask, reading.mask | every, own)

    def renamed(self, reading: Reading, names: str) -> Reading:
        """Read the event again with the names its sender had as one name."""
        texts = dict(reading.texts)
        self._texts([texts], {"name": [names]})
        return Reading(self._rules, reading.event, texts)


def _forget(known: dict[str, Text | None], most: int) -> None:
    """Forget a sixteenth at once: what a dict's first key is takes 14 µs to find where others stood before it."""
    if len(known) > most:
        for raw in list(islice(known, len(known) - most + most // 16)):
            del known[raw]
