"""Several workers on one machine: each a process with all of a worker, under one arbiter and behind one port.

    arbiter ─┬─ worker 1 … N   own consumer, own connections to Redis, own windows; pages on a socket of its own
             ├─ front          one port: /metrics, /livez, /readyz of all
             └─ servers        the embedded broker and store, where no others are set

The rules are loaded once, before the workers are forked, so that they share their memory; one who starts later takes
them as they are if they are still those in force. Whoever publishes new ones has each worker compile its own.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import shutil
import signal
import socket
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import structlog
from pydantic import SecretStr

from moderation.errors import SettingsError
from streams.arbiter import Arbiter, Child
from streams.board import Board, Seat
from streams.front import Front, page_of, serve_front
from streams.logs import log_json
from streams.publications import RedisPublications
from streams.rules import load_rules
from streams.rulewatch import first
from streams.stop import Stop
from streams.worker import EX_OK, EX_SOFTWARE, servers, work

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from moderation.ruleset import RuleSet
    from streams.settings import Settings

log = structlog.get_logger()

#: For threads that reading rules began and that are about to end. Seconds.
_THREADS_END_S: Final = 10.0


def work_together(settings: Settings, run: Callable[[Coroutine[Any, Any, int]], int]) -> int:
    """Run `settings.processes` workers until SIGTERM, SIGINT, or one that cannot start. Returns the worst exit code.

    Every process has `run` run what it does, turning errors into exit codes. Raises SettingsError or RuleSetRejected
    before any worker is started.
    """
    signal.signal(signal.SIGTERM, _told)  # the arbiter takes over; until then, as process 1 we would not hear it
    gc.disable()  # what is freed before a fork is written to after it, by all: nothing is shared then
    listening = _listening(settings)
    home = Path(tempfile.mkdtemp(prefix="qingliu-"))
    try:
        together = _Together(settings, run, listening, home)
        return together.run()
    finally:
        listening.close()
        shutil.rmtree(home, ignore_errors=True)


def _told(*_: object) -> NoReturn:
    raise SystemExit(EX_OK)


def _listening(settings: Settings) -> socket.socket:
    host, port = settings.metrics_host, settings.metrics_port
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as exc:
        raise SettingsError(
            f"cannot listen on QINGLIU_METRICS_HOST={host} QINGLIU_METRICS_PORT={port}: {exc.strerror}"
        ) from exc


class _Together:
    def __init__(
        self,
        settings: Settings,
        run: Callable[[Coroutine[Any, Any, int]], int],
        listening: socket.socket,
        home: Path,
    ) -> None:
        self._settings = settings
        self._run = run
        self._listening = listening
        self._home = home
        self._board = Board(settings.processes)
        self._arbiter = Arbiter(self._board, settings.shutdown_s)
        self._rules: RuleSet | None = None

    def run(self) -> int:
        try:
            if not (self._settings.kafka and self._settings.redis):
                self._settings = self._with_servers()
            self._rules = self._loaded()
        except BaseException:
            self._arbiter.end()
            raise
        gc.freeze()
        workers = [
            Child(f"worker {n}", self._worker(n, seat), seat=seat) for n, seat in enumerate(self._board.workers, 1)
        ]
        port = self._listening.getsockname()[1]
        log.info("starting workers", processes=len(workers), ruleset=self._rules.hash, metrics_port=port)
        return self._arbiter.run([Child("front", self._front), *workers])

    def _loaded(self) -> RuleSet:
        """Load the rules in force, and be alone again: a thread would leave its locks to those we fork, held."""
        rules = load_rules(self._settings.rules) if self._settings.rules_watch else asyncio.run(self._published())
        for thread in threading.enumerate():
            if thread is not threading.current_thread():
                thread.join(_THREADS_END_S)
        if threading.active_count() > 1:
            raise RuntimeError(f"cannot fork beside {threading.enumerate()}")
        return rules

    async def _published(self) -> RuleSet:
        store = self._settings.redis.get_secret_value() if self._settings.redis else ""
        publications = RedisPublications(store, prefix=self._settings.redis_prefix)
        try:
            return (await first(publications, self._settings.rules)).rules
        finally:
            await publications.close()

    def _worker(self, number: int, seat: Seat) -> Callable[[], int]:
        def live() -> int:
            self._listening.close()
            gc.enable()
            log_json(self._settings.log_level, process=number)
            page = page_of(self._home, os.getpid())
            mine = {"metrics_host": f"unix:{page}"}
            if self._settings.instance_id:
                mine["instance_id"] = f"{self._settings.instance_id}-{number}"
            try:
                return self._run(self._work(self._settings.model_copy(update=mine), seat))
            finally:
                page.unlink(missing_ok=True)

        return live

    async def _work(self, settings: Settings, seat: Seat) -> int:
        beating = asyncio.create_task(seat.keep_beating())
        try:
            return await work(settings, self._rules, lifeline=self._arbiter.lifeline, started=seat.come_up)
        finally:
            beating.cancel()

    def _front(self) -> int:
        gc.enable()

        async def serve() -> int:
            stop = Stop(self._settings.shutdown_s, self._arbiter.lifeline)
            await serve_front(Front(self._board, self._home), self._listening, stop.told)
            return EX_OK

        return self._run(serve())

    def _with_servers(self) -> Settings:
        """Start the embedded servers in a process of their own; return the settings that lead to them."""
        ours, theirs = os.pipe()

        def live() -> int:
            os.close(ours)
            self._listening.close()
            return self._run(_host(self._settings, theirs, self._arbiter.lifeline))

        self._arbiter.start(Child("servers", live, again=False))
        os.close(theirs)
        with os.fdopen(ours, "rb") as said:
            found = json.loads(said.read() or b"null")
        if found is None:
            raise SettingsError("the embedded servers do not start: see above")
        return self._settings.model_copy(update=found | {"redis": SecretStr(found["redis"])})


async def _host(settings: Settings, say: int, lifeline: int) -> int:
    """Run the embedded servers; say what settings lead to them, as one JSON object, once they are ready."""
    stop = Stop(settings.shutdown_s, lifeline)
    async with servers(settings) as (chosen, kafka, redis, pair):
        found = {"kafka": kafka, "redis": redis}
        found |= {name: getattr(chosen, name) for name in ("session_timeout_s", "heartbeat_s")}
        with suppress(BrokenPipeError):  # who asked is gone already: its end is told below
            os.write(say, json.dumps(found).encode())
        os.close(say)
        log.warning("embedded broker and store: nothing survives this process", kafka=kafka, redis=redis)
        ends: set[asyncio.Future[Any]] = {asyncio.ensure_future(stop.told.wait())}
        if pair:
            ends |= {pair.failed, pair.full}
        done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if stop.told.is_set():
            return EX_OK
        log.error("stopping", why=" ".join(str(one.result()) for one in done))
        return EX_SOFTWARE
