"""A worker's watch over itself: is the broker there, is the store, does each partition move; else the process ends.

All of it is asked over connections of their own. A worker that stands still would not notice it by its own books, and
aiokafka has been seen not to come back after a broker's restart (its issue 1154): a process that is up proves nothing.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from moderation.errors import StoreUnavailable
from streams.lag import BrokerAway, Partition, Position, Progress, tell
from streams.stop import EX_TEMPFAIL

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from streams.health import Health, What
    from streams.metrics import Metrics

log = structlog.get_logger()

#: How often the broker and the store are asked, and the watchdog looks. Seconds.
EVERY_S: Final = 2.0


class Lag(Protocol):
    """Where a group stands."""

    async def positions(self, partitions: Collection[Partition]) -> Mapping[Partition, Position]:
        """Return where it stands in each. Raises BrokerAway."""


class Pinged(Protocol):
    """What answers while the store is there."""

    async def ping(self) -> None:
        """Return if it is. Raises StoreUnavailable."""


class Watch:
    """Tells `health` and `metrics` what it sees. `leave` ends the process."""

    def __init__(
        self,
        lag: Lag,
        store: Pinged,
        health: Health,
        metrics: Metrics,
        *,
        progress: Progress | None = None,
        leave: Callable[[int], object] = os._exit,
    ) -> None:
        self._lag = lag
        self._store = store
        self._health = health
        self._metrics = metrics
        self._progress = progress or Progress()
        self._leave = leave

    async def round(self) -> None:
        """Ask both, tell, and look."""
        await asyncio.gather(self.ask_broker(), self.ask_store())
        self.look()

    async def ask_broker(self) -> None:
        """Ask where the group stands in the partitions that this worker holds."""
        positions: Mapping[Partition, Position] = {}
        stalled: dict[Partition, float] = {}
        try:
            positions = await self._lag.positions(self._health.partitions)
        except BrokerAway as exc:
            log.debug("broker asked in vain", error=str(exc))
            self._progress.forget()
            self._note("broker", here=False)
        else:
            stalled = self._progress.stalled(positions)
            self._health.stalled_for(max(stalled.values(), default=0.0))
            self._note("broker", here=True)
        tell(self._metrics, positions, stalled)

    async def ask_store(self) -> None:
        """Ask whether the store is there."""
        try:
            await self._store.ping()
        except StoreUnavailable:
            self._note("store", here=False)
        else:
            self._note("store", here=True)

    def look(self) -> None:
        """End the process where only that can help; what is not acknowledged comes again, here or elsewhere."""
        if not self._health.alive():
            log.critical("a partition stands still: leaving", **self._health.ready()[1])
            self._leave(EX_TEMPFAIL)

    def _note(self, what: What, *, here: bool) -> None:
        gauge = self._metrics.broker_up if what == "broker" else self._metrics.store_up
        gauge.set(here)
        (self._health.back if here else self._health.away)(what)
