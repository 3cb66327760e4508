"""What a message costs the engine the longer it runs: one moderator, one endless chat, from the first to millions.

A point is the cost of the last slice before it: `messages_10000000_us`. It is lived once: ten million take a while.
"""

from __future__ import annotations

from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final

from bench.lines import endless
from bench.part import RULES, Part
from bench.parts.engine import as_a_worker, cost_us
from moderation.moderator import Moderator
from streams.rules import load_rules

if TYPE_CHECKING:
    from contextlib import ExitStack

    from bench.part import Figures, Scale
    from moderation.ruleset import RuleSet

POINTS: Final = {"tiny": (100, 300), "quick": (10_000, 50_000), "full": (50_000, 200_000, 1_000_000, 10_000_000)}
#: Messages that are judged between two looks at the clock.
SLICE: Final = {"tiny": 100, "quick": 10_000, "full": 50_000}


def part(scale: Scale, stack: ExitStack) -> Part:
    """Live until each point in turn."""
    life = Life(load_rules([RULES]), SLICE[scale])
    as_a_worker(stack)
    return Part(1, {f"{point} messages": partial(life.until, point) for point in POINTS[scale]})


class Life:
    """One moderator, and the chat it judges, `size` messages at a time."""

    def __init__(self, rules: RuleSet, size: int) -> None:
        self._moderator, self._chat, self._size = Moderator(rules), endless(), size
        self._judged = 0

    def until(self, messages: int) -> Figures:
        """Judge on until so many messages were judged in all, more than before."""
        cost = 0.0
        while self._judged < messages:
            events = list(islice(self._chat, min(self._size, messages - self._judged)))
            cost = cost_us(self._moderator.judge, events)
            self._judged += len(events)
        return {f"messages_{messages}_us": cost}
