"""Messages per second from Kafka through one process: the worker beside what one would write instead.

All read the same topic of the embedded broker, filled beforehand. Only the worker also sends actions and cases, asks
for campaigns and writes the ledger.
"""

from __future__ import annotations

from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Final

from bench.apart import apart
from bench.consumers import CONSUMERS, Run
from bench.lines import today
from bench.pair import embedded
from bench.part import Part

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import ExitStack

    from bench.pair import Pair
    from bench.part import Figures, Scale

MESSAGES: Final = {"tiny": 600, "quick": 10_000, "full": 60_000}
ROUNDS: Final = {"tiny": 1, "quick": 2, "full": 5}
PREFIX: Final = "bench."
PARTITIONS: Final = 4
#: Stock Faust is much slower: it gets this share of the messages, or its runs would take minutes.
STOCK_SHARE: Final = 0.2
#: A run ends before the topic does: on the last records a fetch waits for partitions that have no more.
SHARE: Final = 0.9


def part(scale: Scale, stack: ExitStack) -> Part:
    """Decode and judge every message."""
    return reading(scale, stack, list(CONSUMERS), judge=True)


def reading(scale: Scale, stack: ExitStack, consumers: list[str], *, judge: bool) -> Part:
    """Let consumers read one topic, by turns, each in a process and a group of its own."""
    pair, groups = embedded(stack), map("bench-{}".format, count())
    pair.topics(PREFIX, PARTITIONS)
    pair.fill(f"{PREFIX}chat.world", today(MESSAGES[scale]))
    steps = {name: partial(_measured, pair, name, groups, MESSAGES[scale], judge=judge) for name in consumers}
    return Part(ROUNDS[scale], steps)


def _measured(pair: Pair, name: str, groups: Iterator[str], messages: int, *, judge: bool) -> Figures:
    wanted = int(messages * SHARE * (STOCK_SHARE if name == "stock_faust" else 1))
    run = Run(pair.kafka, pair.redis, PREFIX, next(groups), wanted, judge)
    figures = apart("bench.consumers:measured", name=name, run=run)
    return {f"{name}_{figure}": value for figure, value in figures.items()}
