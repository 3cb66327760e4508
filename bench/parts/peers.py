"""Word filters that people use, on the same lines, each a process of its own: see bench/peers."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

from bench.lines import mix
from bench.part import RULES, Part
from streams.rules import load_rules

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import ExitStack

    from bench.part import Figures, Scale

MESSAGES: Final = {"tiny": 200, "quick": 6_000, "full": 20_000}
#: Of each of them, after as many to get warm.
SECONDS: Final = {"tiny": 0.01, "quick": 0.5, "full": 3.0}


def part(scale: Scale, stack: ExitStack) -> Part:  # noqa: ARG001  every part has it
    """Give each of them the lines of the engine's clean mix; they repeat themselves, so one round is enough."""
    texts = [event.text for event in mix(MESSAGES[scale])]
    return Part(1, {"peers": lambda: _measured(texts, SECONDS[scale])})


def _measured(texts: Sequence[str], seconds: float) -> Figures:
    peers: Any = importlib.import_module("bench.peers")
    ran = [
        one
        for one in peers.measure(texts, peers.listed(load_rules([RULES])), seconds)
        if one.messages_per_s is not None
    ]
    return {f"{_slug(one.name)}_per_s": one.messages_per_s for one in ran} | {
        f"{_slug(one.name)}_found": one.found for one in ran
    }


def _slug(name: str) -> str:
    return "".join(char if char.isalnum() else "_" for char in name.lower())
