"""What the transports alone can carry: the same consumers as in the stream part, decoding and judging nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.consumers import CONSUMERS
from bench.parts.stream import reading

if TYPE_CHECKING:
    from contextlib import ExitStack

    from bench.part import Part, Scale


def part(scale: Scale, stack: ExitStack) -> Part:
    """Only decode every message; the worker does nothing without judging."""
    return reading(scale, stack, [name for name in CONSUMERS if name != "worker"], judge=False)
