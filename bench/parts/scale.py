"""Messages per second by partitions and workers: real worker processes, chat sent at once, timed from outside."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Final

from bench.drive import Drive
from bench.lines import today
from bench.pair import embedded
from bench.part import Part

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.part import Figures, Scale

MESSAGES: Final = {"tiny": 400, "quick": 8_000, "full": 60_000}
ROUNDS: Final = {"tiny": 1, "quick": 1, "full": 3}
#: Partitions of each topic, one worker; and workers, with as many partitions as the most.
PARTITIONS: Final = {"tiny": (1, 2), "quick": (1, 8), "full": (1, 2, 4, 8)}
WORKERS: Final = 2


def part(scale: Scale, _: ExitStack) -> Part:
    """Start servers and workers for each step, and end them after it: the broker grows slower with what it holds."""
    seeds = count(1000)
    steps = {
        f"{n} partitions": partial(_driven, f"partitions_{n}", n, 1, MESSAGES[scale], seeds) for n in PARTITIONS[scale]
    }
    most = max(PARTITIONS[scale])
    two = partial(_driven, f"workers_{WORKERS}", most, WORKERS, MESSAGES[scale], seeds)
    return Part(ROUNDS[scale], steps | {f"{WORKERS} workers": two})


def _driven(name: str, partitions: int, workers: int, messages: int, seeds: Iterator[int]) -> Figures:
    with ExitStack() as stack:
        drive = Drive(embedded(stack), stack, partitions=partitions, workers=workers)
        return {f"{name}_per_s": drive.say(today(messages, seed=next(seeds))).per_s}
