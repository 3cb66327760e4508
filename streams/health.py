"""What a worker says of itself over HTTP: `/metrics`, `/livez`, `/readyz`. Faust's own page says OK whatever happens.

Live means that a restart would not help: the loop runs and work in hand moves. Neither a rebalance nor a broker that is
away makes a worker less alive; restarting the fleet would only add to the trouble. Ready means that it moderates: it
has partitions, a broker and a rule set. A ledger that is away leaves a worker ready, since stateless rules still work
and taking workers away helps nobody; it is said under `degraded`.
"""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from moderation.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

#: A rebalance or a leader election takes a few seconds; what takes longer is for on-call to see.
BROKER_PATIENCE_S: Final = 10.0
#: The longest a healthy batch takes is its retries; a worker that stood still for longer is stuck.
STALL_S: Final = 60.0


class Health:
    """The state of a worker. Whoever learns something tells it; times are seconds of `clock`."""

    def __init__(
        self,
        *,
        broker_patience_s: float = BROKER_PATIENCE_S,
        stall_s: float = STALL_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._broker_patience_s = broker_patience_s
        self._stall_s = stall_s
        self._partitions = 0
        self._ruleset: str | None = None
        self._revision = 0
        self._refused = ""
        self._store_degraded = False
        self._last_progress = clock()
        self._broker_away_since: float | None = clock()

    def assigned(self, partitions: int) -> None:
        """Tell how many partitions this worker holds now; 0 when they were revoked."""
        self._partitions = partitions
        self.progressed()
        if partitions:
            self.broker_answered()  # it is the broker that assigns

    def progressed(self) -> None:
        """Tell that a batch became durable, or that there was nothing to do."""
        self._last_progress = self._clock()

    def broker_answered(self) -> None:
        """Tell that the broker did what it was asked."""
        if self._broker_away_since is not None:
            self._broker_away_since = None
            self.progressed()

    def broker_failed(self) -> None:
        """Tell that the broker did not."""
        if self._broker_away_since is None:
            self._broker_away_since = self._clock()

    def rules_loaded(self, ruleset: str, revision: int = 0) -> None:
        """Tell the hash of the rule set in force, and which revision it is; 0 is the worker's own directories."""
        self._ruleset, self._revision, self._refused = ruleset, revision, ""

    def rules_refused(self, why: str) -> None:
        """Tell that newer rules were published which this worker cannot take."""
        self._refused = why

    def store(self, *, degraded: bool) -> None:
        """Tell whether events are judged without history."""
        self._store_degraded = degraded

    def alive(self) -> bool:
        """Return False where only a restart can help: work is at hand, the broker is there, and nothing moves."""
        idle = not self._partitions or self._broker_away_since is not None
        return idle or self._clock() - self._last_progress <= self._stall_s

    def ready(self) -> tuple[bool, dict[str, Any]]:
        """Return whether this worker moderates, and a report for people: why not, and what is degraded."""
        reasons = [
            reason
            for reason, holds in (
                ("no partitions are assigned", self._partitions == 0),
                ("no rule set is loaded", self._ruleset is None),
                ("the broker is away", self._broker_away_s() > self._broker_patience_s),
                ("work stands still", not self.alive()),
            )
            if holds
        ]
        return not reasons, {
            "ready": not reasons,
            "reasons": reasons,
            "degraded": [
                *(["the ledger is away: judged without history"] if self._store_degraded else []),
                *([f"published rules refused, {self._refused}"] if self._refused else []),
            ],
            "partitions": self._partitions,
            "ruleset": self._ruleset,
            "rules_from": f"revision {self._revision}" if self._revision else "directories",
            "broker_away_s": round(self._broker_away_s(), 1),
            "since_progress_s": round(self._clock() - self._last_progress, 1),
        }

    def _broker_away_s(self) -> float:
        return 0.0 if self._broker_away_since is None else self._clock() - self._broker_away_since


@asynccontextmanager
async def serve(
    health: Health, registry: CollectorRegistry, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[int]:
    """Serve the three pages while the context is open; gives the port, which matters where 0 was asked for.

    There is no login: bind to a private interface. Raises SettingsError where the address cannot be had.
    """
    runner = web.AppRunner(_pages(health, registry), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as exc:
            raise SettingsError(
                f"cannot listen on QINGLIU_METRICS_HOST={host} QINGLIU_METRICS_PORT={port}: {exc.strerror}"
            ) from exc
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _pages(health: Health, registry: CollectorRegistry) -> web.Application:
    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def livez(_: web.Request) -> web.Response:
        alive = health.alive()
        return web.json_response({"alive": alive}, status=200 if alive else 503)

    async def readyz(_: web.Request) -> web.Response:
        ready, report = health.ready()
        return web.json_response(report, status=200 if ready else 503)

    app = web.Application()
    app.add_routes([web.get("/metrics", metrics), web.get("/livez", livez), web.get("/readyz", readyz)])
    return app
