"""What a part of the benchmark is: steps that are measured in turn, round by round, each giving named figures.

A figure's name ends in its unit: `_us`, `_ms`, `_s`, `_mb` (10⁶ bytes), `_per_s`; without one it is a count.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from msgspec import Struct

from moderation.errors import QingliuError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ROOT: Final = Path(__file__).parent.parent
RULES: Final = ROOT / "rules"
#: How much is measured: `tiny` only shows that a part works.
Scale: TypeAlias = Literal["tiny", "quick", "full"]
Figures: TypeAlias = "Mapping[str, float]"
Step: TypeAlias = "Callable[[], Figures]"
UNITS: Final = {"_per_s": "/s", "_us": "µs", "_ms": "ms", "_mb": "MB", "_s": "s"}


class NotMeasured(QingliuError):
    """A step could not be measured on this machine; the others go on."""


class Part(NamedTuple):
    """What is measured together. Each round runs every step once, so that what disturbs one disturbs all."""

    rounds: int
    steps: Mapping[str, Step]


class Spread(Struct, frozen=True):
    """What several rounds gave."""

    median: float
    low: float
    high: float
    rounds: int


def spread(values: Sequence[float]) -> Spread:
    """Return the median and the range of at least one value."""
    return Spread(statistics.median(values), min(values), max(values), len(values))


def unit(figure: str) -> str:
    """Return the unit of a figure, an empty string for a count.

    >>> unit("worker_per_s"), unit("clean_us"), unit("actions_at_50")
    ('/s', 'µs', '')
    """
    return next((shown for ending, shown in UNITS.items() if figure.endswith(ending)), "")


def bare(figure: str) -> str:
    """Return a figure's name without its unit, as people read it.

    >>> bare("stock_faust_per_s")
    'stock faust'
    """
    ending = next((one for one in UNITS if figure.endswith(one)), "")
    return figure.removesuffix(ending).replace("_", " ")


def spelled(value: float, in_unit: str = "") -> str:
    """Return a figure with as many digits as it deserves.

    >>> spelled(14235.7, "/s"), spelled(0.1234, "s"), spelled(3.0)
    ('14 236/s', '0.12 s', '3')
    """
    digits = 0 if abs(value) >= 100 or value == int(value) else 1 if abs(value) >= 10 else 2
    number = f"{value:,.{digits}f}".replace(",", " ")
    return f"{number}{in_unit}" if in_unit in ("", "/s") else f"{number} {in_unit}"
