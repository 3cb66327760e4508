"""From a message's time to its action in a game server's hands, at shares of the rate that the worker can hold.

That rate is measured first, closed loop: as much as it takes, through the same worker on the same machine, with the
sender and the broker on it, too.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final

from bench.drive import Drive, percentile
from bench.lines import endless
from bench.pair import embedded
from bench.part import Part

if TYPE_CHECKING:
    from bench.pair import Pair
    from bench.part import Figures, Scale

LOADS: Final = (25, 50, 75, 90)
CLOSED: Final = {"tiny": 400, "quick": 8_000, "full": 60_000}
#: The embedded broker looks through all record batches of a partition when it is asked for the last: with a sender
#: that lingers for 1 ms it is at its end after two minutes at 1,500/s (p50 78 ms in the first 20 s, 8.6 s in the last
#: of 140; 2026-11-22). So a round is short, and each has topics and a worker of its own.
SECONDS: Final = {"tiny": 0.2, "quick": 3.0, "full": 6.0}
ROUNDS: Final = {"tiny": 1, "quick": 1, "full": 3}
#: Messages at any load: one in twenty is acted on.
LEAST: Final = 200


def part(scale: Scale, stack: ExitStack) -> Part:
    """Drive one worker at a time."""
    run = Loads(embedded(stack), stack, scale)
    return Part(ROUNDS[scale], {"closed": run.closed} | {f"at {load} %": partial(run.open, load) for load in LOADS})


class Loads:
    """One worker under different loads, of one chat that goes on.

    Chat of the same minutes again and again would have each player say five times as much: 60 % dearer (2026-11-22).
    """

    def __init__(self, pair: Pair, stack: ExitStack, scale: Scale) -> None:
        self._pair, self._scale = pair, scale
        self._round = stack.enter_context(ExitStack())
        self._chat = endless(100, time.time_ns() // 1_000_000)
        self._per_s = 0.0

    def closed(self) -> Figures:
        """Send all there is at once: the rate that the loads are shares of."""
        self._round.close()
        self._drive = Drive(self._pair, self._round)
        self._per_s = self._drive.say(list(islice(self._chat, CLOSED[self._scale]))).per_s
        return {"closed_per_s": self._per_s}

    def open(self, load: int) -> Figures:
        """Send at `load` percent of the closed rate."""
        per_s = self._per_s * load / 100
        messages = max(LEAST, int(per_s * SECONDS[self._scale]))
        driven = self._drive.say(list(islice(self._chat, messages)), per_s)
        return {
            f"p50_at_{load}_ms": percentile(driven.latencies_ms, 0.5),
            f"p99_at_{load}_ms": percentile(driven.latencies_ms, 0.99),
            f"sender_late_at_{load}_ms": percentile(driven.late_ms, 0.99),
            f"actions_at_{load}": len(driven.latencies_ms),
        }
