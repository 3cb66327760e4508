"""What a worker says of itself over HTTP: `/metrics`, `/livez`, `/readyz`. Faust's own page says OK whatever happens.

Live means that a restart would not help: the loop runs and work in hand moves. Neither a rebalance nor a broker that is
away makes a worker less alive; restarting the fleet would only add to the trouble. Ready means that it moderates: it
has partitions, a broker and a rule set. A ledger that is away leaves a worker ready, since stateless rules still work
and taking workers away helps nobody; it is said under `degraded`.
"""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from moderation.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

#: A rebalance or a leader election takes a few seconds; what takes longer is for on-call to see.
BROKER_PATIENCE_S: Final = 10.0
#: A healthy batch takes a second at most while all it needs is there; a partition that stood still for longer is stuck.
STALL_S: Final = 60.0


What = Literal["broker", "produce", "store"]


class Health:
    """The state of a worker. Whoever learns something tells it; times are seconds of `clock`.

    Of what it needs, the broker and the store are asked by `streams/watch.py`; whether the broker takes what we
    produce, the pipeline finds out.
    """

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
        self._ruleset: str | None = None
        self._revision = 0
        self._refused = ""
        self._store_degraded = False
        self._moved = self._here = clock()
        self._away: dict[What, float] = {"broker": clock()}
        #: Topic and partition of what this worker holds.
        self.partitions: frozenset[tuple[str, int]] = frozenset()

    def assigned(self, partitions: Iterable[tuple[str, int]]) -> None:
        """Tell which partitions this worker holds now; none when they were revoked."""
        self.partitions = frozenset(partitions)
        self.stalled_for(0.0)
        if self.partitions:
            self.back("broker")  # it is the broker that assigns

    def stalled_for(self, seconds: float) -> None:
        """Tell how long the worst partition has had records waiting and has not moved; 0 where all is well."""
        self._moved = self._clock() - seconds

    def away(self, what: What) -> None:
        """Tell that something did not do what it was asked."""
        self._away.setdefault(what, self._clock())

    def back(self, what: What) -> None:
        """Tell that it did. What stood still meanwhile is not held against the worker."""
        if self._away.pop(what, None) is not None:
            self._here = self._clock()

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
        """Return False where only a restart can help: work is at hand, all it needs is there, and nothing moves."""
        idle = not self.partitions or bool(self._away)
        return idle or self._clock() - max(self._moved, self._here) <= self._stall_s

    def ready(self) -> tuple[bool, dict[str, Any]]:
        """Return whether this worker moderates, and a report for people: why not, and what is degraded."""
        reasons = [
            reason
            for reason, holds in (
                ("no partitions are assigned", not self.partitions),
                ("no rule set is loaded", self._ruleset is None),
                ("the broker is away", self._away_s("broker") > self._broker_patience_s),
                ("the broker takes nothing", self._away_s("produce") > self._broker_patience_s),
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
            "partitions": len(self.partitions),
            "ruleset": self._ruleset,
            "rules_from": f"revision {self._revision}" if self._revision else "directories",
            "broker_away_s": round(max(self._away_s("broker"), self._away_s("produce")), 1),
            "store_away_s": round(self._away_s("store"), 1),
            "stalled_s": round(self._clock() - self._moved, 1),
        }

    def _away_s(self, what: What) -> float:
        return self._clock() - self._away[what] if what in self._away else 0.0


class Report(Protocol):
    """What the pages ask."""

    def alive(self) -> bool:
        """Return False where only a restart can help."""

    def ready(self) -> tuple[bool, dict[str, Any]]:
        """Return whether it does its work, and why not."""


@asynccontextmanager
async def serve(
    health: Report, registry: CollectorRegistry, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[int]:
    """Serve the three pages while the context is open; gives the port, which matters where 0 was asked for.

    A host "unix:PATH" is a socket at that path, which has no port: 0.

    There is no login: bind to a private interface. Raises SettingsError where the address cannot be had.
    """
    runner = web.AppRunner(_pages(health, registry), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        try:
            await _site(runner, host, port).start()
        except OSError as exc:
            raise SettingsError(
                f"cannot listen on QINGLIU_METRICS_HOST={host} QINGLIU_METRICS_PORT={port}: {exc.strerror}"
            ) from exc
        address = runner.addresses[0]
        yield 0 if isinstance(address, str) else address[1]
    finally:
        await runner.cleanup()


def _site(runner: web.AppRunner, host: str, port: int) -> web.BaseSite:
    if host.startswith("unix:"):
        return web.UnixSite(runner, host.removeprefix("unix:"))
    return web.TCPSite(runner, host, port)


def _pages(health: Report, registry: CollectorRegistry) -> web.Application:
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
