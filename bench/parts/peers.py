"""Word filters that people use, on the same lines, each a process of its own: see bench/peers."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from bench.lines import mix
from bench.part import RULES, NotMeasured, Part
from bench.peers import ENTRANTS, listed, measure
from streams.rules import load_rules

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import ExitStack

    from bench.part import Figures, Scale
    from bench.peers import Entrant

MESSAGES: Final = {"tiny": 200, "quick": 6_000, "full": 20_000}
#: Of each of them, after as many to get warm.
SECONDS: Final = {"tiny": 0.01, "quick": 0.5, "full": 3.0}


def part(scale: Scale, stack: ExitStack) -> Part:  # noqa: ARG001  every part has it
    """Give each of them the lines of the engine's clean mix; they repeat themselves, so one round is enough."""
    texts, words = [event.text for event in mix(MESSAGES[scale])], listed(load_rules([RULES]))
    return Part(1, {one.name: partial(_measured, one, texts, words, SECONDS[scale]) for one in ENTRANTS})


def _measured(entrant: Entrant, texts: Sequence[str], words: Sequence[str], seconds: float) -> Figures:
    [ran] = measure(texts, words, seconds, entrants=[entrant])
    if ran.messages_per_s is None:
        raise NotMeasured(ran.note)
    name = "".join(char if char.isalnum() else "_" for char in ran.name.lower())
    return {f"{name}_per_s": ran.messages_per_s, f"{name}_found": float(ran.found or 0)}
