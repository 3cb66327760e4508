"""Stopping on SIGTERM or SIGINT, within the time given, whatever does not answer."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import structlog

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

log = structlog.get_logger()

#: sysexits.h: not done, try again.
EX_TEMPFAIL: Final = 75
#: A task that was told to end and has not is told again. Seconds.
AGAIN_S: Final = 0.5


class Stop:
    """`told` is set when a signal comes; `within_s` seconds later the process ends: what is not done comes again.

    The same happens when `lifeline`, a pipe's descriptor, comes to its end: whoever held the other one is gone.

    A thread keeps the time: whatever waits for a broker that is away, and wherever, holds nobody longer. With the
    broker dead a worker whose event loop kept it had not ended after 60 s (2026-11-22).
    """

    def __init__(self, within_s: float, lifeline: int | None = None) -> None:
        self.told = asyncio.Event()
        self._within_s = within_s
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.begin)
        if lifeline is not None:
            loop.add_reader(lifeline, self._orphaned, lifeline)

    def begin(self) -> None:
        """Begin to stop, for whatever reason; a second time changes nothing."""
        if not self.told.is_set():
            self.told.set()
            log.info("stopping: what is in hand is finished", within_s=self._within_s)
            limit = threading.Timer(self._within_s, self._leave)
            limit.daemon = True
            limit.start()

    def _orphaned(self, lifeline: int) -> None:
        asyncio.get_running_loop().remove_reader(lifeline)
        log.critical("the process that started us is gone")
        self.begin()

    def _leave(self) -> None:
        log.critical("not stopped in time: leaving; what was in hand comes again", within_s=self._within_s)
        os._exit(EX_TEMPFAIL)


class Rounds:
    """A task that goes round and round. `end` lets the round under way finish: a connection half made is never closed.

    `every_s` seconds lie between two rounds.
    """

    def __init__(self, round_: Callable[[], Awaitable[None]], every_s: float) -> None:
        self._over = asyncio.Event()
        self._round = round_
        self._every_s = every_s
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while not self._over.is_set():
            await self._round()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), self._every_s)

    async def end(self, within_s: float = 1.0) -> None:
        """Return when the round under way is done, or was cancelled after `within_s` seconds."""
        self._over.set()
        await asyncio.wait([self.task], timeout=within_s)
        await ended(self.task)


async def ended(task: asyncio.Task[None]) -> None:
    """Cancel a task, and return when it is over, whatever it met.

    One cancellation may be lost: `asyncio.wait_for` of Python 3.11 drops the one that comes as what it waits for is
    done, and redis-py sends by it. Of 160 workers that ended as they told the store what they run, 3 never did
    (2026-11-23).
    """
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=AGAIN_S)
