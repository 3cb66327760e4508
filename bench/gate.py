"""The regression gate: ratios within one process, of processor time, against floors that are committed here.

The yardstick is jieba on every message, code that is not ours: whatever of ours gets faster raises a ratio and lowers
none. It starts no server and compares nothing between machines or runs, so that a machine that others use does not fail
it: what slows one side of a ratio slows the other, since both take turns within each round.
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from rich import box
from rich.table import Table
from rich.text import Text

from bench.lines import mix, spam
from bench.part import RULES, spelled, spread
from bench.parts.engine import as_a_worker, cost_us, jieba_cut
from bench.records import pipeline_of, records
from console.words import say
from moderation.events import decode_event
from moderation.moderator import Moderator
from streams.rules import load_rules

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bench.records import Record
    from moderation.events import ChatEvent
    from moderation.ruleset import RuleSet

ROUNDS: Final = 5
MESSAGES: Final = 3_000
#: What must not get worse, as a speed divided by that of jieba on the clean mix. Each floor is three fifths of what was
#: seen in the worst of five runs, on two cores at a load of 7 to 8; raise them when the engine gets faster.
FLOORS: Final[dict[str, float]] = {
    "engine_vs_jieba_every_message": 0.13,
    "pipeline_vs_jieba_every_message": 0.12,
    "spam_vs_jieba_every_message": 0.026,
}


class Floor(Struct, frozen=True):
    """A ratio that was measured, and what it must not be below."""

    name: str
    measured: float
    floor: float

    @property
    def held(self) -> bool:
        """Tell whether it is not below."""
        return self.measured >= self.floor


def held(measured: Mapping[str, float] | None = None) -> list[Floor]:
    """Return every floor with what was measured, here and now unless it is given."""
    found = measured if measured is not None else measure()
    return [Floor(name, found[name], floor) for name, floor in FLOORS.items()]


def measure(rounds: int = ROUNDS, messages: int = MESSAGES) -> dict[str, float]:
    """Return the medians of the ratios of each round."""
    with ExitStack() as stack:
        sides = _sides(load_rules([RULES]), mix(messages), list(islice(spam(), messages // 4)))
        as_a_worker(stack)
        seen = [{name: side() for name, side in sides.items()} for _ in range(rounds)]
    ours = [name for name in sides if name != "jieba"]
    return {
        f"{name}_vs_jieba_every_message": spread([one["jieba"] / one[name] for one in seen]).median for name in ours
    }


def _sides(rules: RuleSet, clean: Sequence[ChatEvent], bad: Sequence[ChatEvent]) -> dict[str, Callable[[], float]]:
    """Return by name what costs so many µs a message; each with a moderator of its own, that knows nothing yet."""
    terms = frozenset(term.text for term in rules.contents.terms)
    cut = jieba_cut(terms, HMM=False)
    return {
        "engine": lambda: cost_us(partial(_engine, Moderator(rules)), records(clean)),
        "jieba": lambda: cost_us(lambda some: [not terms.isdisjoint(cut(one.text)) for one in some], clean),
        "pipeline": lambda: _pipeline_us(rules, records(clean)),
        "spam": lambda: cost_us(partial(_engine, Moderator(rules)), records(bad)),
    }


def _engine(moderator: Moderator, some: Sequence[Record]) -> object:
    return moderator.judge([decode_event(one.value, one.key) for one in some])


def _pipeline_us(rules: RuleSet, chat: Sequence[Record]) -> float:
    """Return what the same costs with everything around it that waits, counts and decides."""
    pipeline = pipeline_of(rules)
    with asyncio.Runner() as runner:
        return cost_us(lambda some: runner.run(pipeline.chat(some, lambda: True)), chat)


def table(floors: Sequence[Floor]) -> Table:
    """Show the floors on a terminal."""
    shown = Table("", say("测得", "measured"), say("下限", "floor"), "", box=box.SIMPLE_HEAD)
    for one in floors:
        told = Text(say("守住", "held"), "green") if one.held else Text(say("低于下限", "below"), "bold red")
        shown.add_row(one.name, spelled(one.measured), spelled(one.floor), told)
    return shown
