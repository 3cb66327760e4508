"""Trials: rules compiled to be tried on messages, from whether one is worth it to what a hit says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from moderation.combination import WORD, words_for
from moderation.places import ANYWHERE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moderation.places import Found
    from moderation.plan import Plans
    from moderation.reading import Reading
    from moderation.rule import Rule

_SLOT: Final = re.compile(r"\{(\w+)\}")


class Trial:
    """A rule as it is tried on messages.

    `doubts` are its clauses that the mask of a message does not tell for certain, the cheap ones first. A clause is the
    bits of which a message must hold one.
    """

    __slots__ = ("_boosts", "_context", "_said", "_timed", "_unless", "_when", "doubts", "rule", "status")

    def __init__(self, rule: Rule, doubts: tuple[int, ...], plans: Plans) -> None:
        self.rule = rule
        self.doubts = doubts
        self.status = rule.status if rule.status in ("shadow", "canary") else "live"
        self._timed = rule.canary is not None or rule.starts_ms is not None or rule.expires_ms is not None
        self._context = [plans.of(one).holds for one in rule.context]
        self._when = plans.of(rule.when).find if rule.when else None
        self._unless = [(plan.bits, plan.holds) for plan in map(plans.of, rule.unless)]
        boosts = [(plans.of(boost.condition), boost.add) for boost in rule.boosts]
        self._boosts = [(plan.bits, plan.holds, add) for plan, add in boosts]
        #: What it says, and between that the names of classes whose words belong there.
        self._said = _SLOT.split(rule.because)

    def in_force(self, reading: Reading) -> bool:
        """Tell whether the rule applies to the event at all."""
        return not self._timed or self.rule.in_force(reading.event)

    def place(self, reading: Reading) -> Found | None:
        """Return where the rule's condition is met, if its context holds; guards and counts are still to come."""
        if not self.in_force(reading):
            return None
        for holds in self._context:
            if not holds(reading):
                return None
        for clause in self.doubts:
            if not reading.holds(clause):
                return None
        places = self._when(reading) if self._when else (ANYWHERE,)
        return places[0] if places else None

    def spared(self, reading: Reading) -> bool:
        """Tell whether a guard holds."""
        mask = reading.mask
        for bits, holds in self._unless:  # noqa: SIM110  twice as fast as any()
            if mask & bits and holds(reading):
                return True
        return False

    def points(self, reading: Reading) -> int:
        """Return what a hit weighs, with all that adds to it."""
        points, mask = self.rule.score, reading.mask
        for bits, holds, add in self._boosts:
            if mask & bits and holds(reading):
                points += add
        return points

    def because(self, leaves: Sequence[Found]) -> str:
        """Fill the template of the rule with the words found, one per class; where a class has none, with the first.

        Of a combination that is the first of its own words.
        """
        if len(self._said) == 1:
            return self._said[0]
        words: dict[str, str] = {}
        for leaf in leaves:
            words.setdefault(leaf.name, leaf.text)
        said = self._said.copy()
        said[1::2] = [words.get(name) or self._another(name, words) for name in said[1::2]]
        return "".join(said)

    def _another(self, name: str, words: dict[str, str]) -> str:
        combined = name not in words and any(one.startswith(WORD) for one in words)
        own = words_for(name, self.rule.conditions) if combined else ()
        return next((word for its, word in words.items() if its in own), next(iter(words.values()), ""))
