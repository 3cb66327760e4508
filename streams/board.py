"""What the processes of one machine know of each other: a few numbers in memory that all of them share.

The arbiter makes it before it forks. Every number is written by one process at a time, as 8 aligned bytes, so that none
is ever read half written and there is no lock that a killed process could hold.
"""

from __future__ import annotations

import asyncio
import mmap
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

#: How often a process shows that its event loop runs. Seconds.
BEAT_EVERY_S: Final = 1.0
_PID, _BEAT, _UP, _CELLS = range(4)


class Seat:
    """The numbers of one process; `clock` is one that all processes of a machine share. Seconds."""

    def __init__(self, cells: memoryview[float], clock: Callable[[], float]) -> None:
        self._cells = cells
        self._clock = clock

    @property
    def pid(self) -> int:
        """Return the process that sits here; 0 is none."""
        return int(self._cells[_PID])

    @property
    def up(self) -> bool:
        """Tell whether it has come up: whether it had all that it needs to start."""
        return bool(self._cells[_UP])

    @property
    def silent_s(self) -> float:
        """Return how long it has not shown that it runs."""
        return self._clock() - self._cells[_BEAT]

    def clear(self) -> None:
        """Make room for a new process; the arbiter's to call, before it forks: what is shown then is the child's."""
        self._cells[_PID] = self._cells[_UP] = 0.0
        self.beat()

    def give(self, pid: int) -> None:
        """Tell which process sits here; the arbiter's to call."""
        self._cells[_PID] = float(pid)

    def beat(self) -> None:
        """Show that it runs."""
        self._cells[_BEAT] = self._clock()

    def come_up(self) -> None:
        """Show that it has started well."""
        self._cells[_UP] = 1.0

    async def keep_beating(self) -> None:
        """Show for ever that this event loop runs."""
        while True:
            self.beat()
            await asyncio.sleep(BEAT_EVERY_S)


class Board:
    """`workers` are the seats of worker processes; `arbiter` is the seat of who made the board."""

    def __init__(self, workers: int, clock: Callable[[], float] = time.monotonic) -> None:
        shared = memoryview(mmap.mmap(-1, 8 * (1 + _CELLS * (workers + 1)))).cast("d")
        self._restarts = shared[:1]
        seats = [Seat(shared[1 + _CELLS * n : 1 + _CELLS * (n + 1)], clock) for n in range(workers + 1)]
        self.arbiter, self.workers = seats[0], tuple(seats[1:])
        self.arbiter.beat()

    @property
    def restarts(self) -> int:
        """Return how many worker processes were started again."""
        return int(self._restarts[0])

    def count_restart(self) -> None:
        """Count one; the arbiter's to call."""
        self._restarts[0] += 1
