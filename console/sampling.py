"""Numbers that stay small however long a recording is: a timeline, fair samples, shares with their intervals."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from math import sqrt
from typing import TYPE_CHECKING, Final

from console.findings import TIERS, Point, Rate, Sample

if TYPE_CHECKING:
    from collections.abc import Callable

#: Samples kept of a tier and a direction, drawn evenly from all there are.
SAMPLES: Final = 12
#: Points of the timeline at most; it gets coarser as the recording gets longer.
POINTS: Final = 180


def wilson(hits: int, of: int, z: float = 1.96) -> Rate:
    """Return a share with its 95 % interval after Wilson (1927), which holds for few and for extreme shares.

    >>> round(wilson(0, 10).high, 3)
    0.278
    """
    if not of:
        return Rate(0, 0, 0.0, 1.0)
    share, z2 = hits / of, z * z
    middle = (share + z2 / (2 * of)) / (1 + z2 / of)
    reach = z / (1 + z2 / of) * sqrt(share * (1 - share) / of + z2 / (4 * of * of))
    return Rate(hits, of, max(0.0, middle - reach), min(1.0, middle + reach))


class Timeline:
    """Counts by time in at most POINTS stretches: when there are more, each is made twice as wide."""

    def __init__(self) -> None:
        self.width_ms = 60_000
        self._points: defaultdict[int, list[int]] = defaultdict(lambda: [0, 0, 0])

    def add_events(self, minutes: dict[int, int]) -> None:
        """Count events by their minute since 1970."""
        for minute, count in minutes.items():
            self._at(minute * 60_000)[0] += count
            self._narrow()

    def add_acted(self, ts: int, side: int) -> None:
        """Count one that was acted on, of the old side (0) or the new one (1)."""
        self._at(ts)[1 + side] += 1

    def points(self) -> tuple[Point, ...]:
        """Return the stretches in which anything was said, in order."""
        return tuple(Point(at * self.width_ms, *counts) for at, counts in sorted(self._points.items()))

    def _at(self, ts: int) -> list[int]:
        return self._points[ts // self.width_ms]

    def _narrow(self) -> None:
        while len(self._points) > POINTS:
            self.width_ms *= 2
            old, self._points = self._points, defaultdict(lambda: [0, 0, 0])
            for at, counts in old.items():
                self._points[at // 2] = [a + b for a, b in zip(self._points[at // 2], counts, strict=True)]


class Reservoirs:
    """A fair sample of each kind, of SAMPLES at most (Vitter's algorithm R); seeded, so the same every time."""

    def __init__(self) -> None:
        self._random = random.Random(0)  # noqa: S311  a sample, not a secret
        self._seen: Counter[tuple[str, bool]] = Counter()
        self._kept: defaultdict[tuple[str, bool], list[Sample]] = defaultdict(list)

    def offer(self, kind: tuple[str, bool], make: Callable[[], Sample]) -> None:
        """Show one of a kind; it is made only if it is kept."""
        self._seen[kind] += 1
        kept = self._kept[kind]
        if len(kept) < SAMPLES:
            kept.append(make())
        elif (at := self._random.randrange(self._seen[kind])) < SAMPLES:
            kept[at] = make()

    def all(self) -> tuple[Sample, ...]:
        """Return the samples: the harder treated ones first, among them those who pay."""
        every = [sample for kept in self._kept.values() for sample in kept]
        return tuple(sorted(every, key=lambda s: (not s.newly, TIERS.index(s.tier), s.ts, s.event_id)))
