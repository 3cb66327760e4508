"""A worker from start to end: rules, ledger, health page, Faust app; then a signal, and out within the time given."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import structlog

from moderation.moderator import Moderator
from moderation.notes import RulesChange
from streams import garbage
from streams.app import build_app
from streams.bulletin import Bulletin
from streams.drain import DrainLimit
from streams.embedded import Embedded
from streams.health import Health, serve
from streams.lag import GroupLag
from streams.ledger import RedisLedger
from streams.letters import Letters
from streams.logs import QUOTA
from streams.metrics import Metrics
from streams.outbox import KafkaOutbox, Letter, LettersNotSent
from streams.past import KafkaPast
from streams.pipeline import Pipeline
from streams.preflight import may_read
from streams.publications import RedisPublications
from streams.rules import load_rules
from streams.rulewatch import Directories, InForce, RuleWatch, first
from streams.stop import Rounds, Stop, ended
from streams.topics import create_topics
from streams.watch import EVERY_S, Watch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import faust

    from moderation.ruleset import RuleSet
    from streams.settings import Settings

log = structlog.get_logger()

#: How often is measured how late the loop runs. Seconds.
LAG_EVERY: Final = 0.25
#: After a letter was not sent; twice as long each time. Seconds.
TELL_AGAIN: Final = 1.0
#: A rule set is compiled in a thread beside the loop, which waits for the interpreter so long at a time: Python's 5 ms
#: would be felt. Under it reloads with 50 000 terms stalled the loop 27 ms at most (2026-11-22). Seconds.
SWITCH_S: Final = 0.001
EX_OK: Final = 0
EX_SOFTWARE: Final = 70
#: Nothing in memory outlives a worker, so an embedded broker's sessions may be short; its group waits half of one.
EMBEDDED_SESSION_S: Final = 4.0


class Worker:
    """A running worker, as `running` gives it. `metrics_port` is where its pages are."""

    def __init__(
        self,
        settings: Settings,
        app: faust.App,
        health: Health,
        metrics: Metrics,
        metrics_port: int,
        watch: asyncio.Task[None],
    ) -> None:
        self.settings = settings
        self.app = app
        self.watch = watch
        self.health = health
        self.metrics = metrics
        self.metrics_port = metrics_port

    async def wait_ready(self, within_s: float = 60.0) -> None:
        """Return once partitions are assigned and the broker answers. Raises TimeoutError."""
        async with asyncio.timeout(within_s):
            while not self.health.ready()[0]:  # noqa: ASYNC110  it depends on a clock: there is no event
                await asyncio.sleep(0.02)


@asynccontextmanager
async def running(settings: Settings, kafka: str, redis: str, rules: RuleSet | None = None) -> AsyncIterator[Worker]:
    """Run a worker against a broker and a store while the context is open.

    Raises RuleSetRejected, SettingsError or KafkaError before anything is started.
    """
    await may_read(settings, kafka)
    async with AsyncExitStack() as stack:
        publications = RedisPublications(redis, prefix=settings.redis_prefix)
        stack.push_async_callback(publications.close)
        start = await _first_rules(settings, publications, rules)
        garbage.settle()
        sys.setswitchinterval(SWITCH_S)
        metrics, health = Metrics(), Health(stall_s=settings.stall_s)
        ledger = RedisLedger(redis, prefix=settings.redis_prefix, timeout_s=settings.store_timeout_s)
        stack.push_async_callback(ledger.close)
        moderator = Moderator(start.rules)
        bulletin = Bulletin(moderator, ledger, metrics)
        await bulletin.look()
        pipelines: list[Pipeline] = []

        def pipeline(app: faust.App) -> Pipeline:
            one = Pipeline(
                moderator,
                ledger,
                KafkaOutbox(app),
                settings.topics,
                metrics,
                health,
                past=KafkaPast(settings, kafka),
                drain=DrainLimit(settings.dead_letter_share),
                signing=settings.signing,
                bulletin=bulletin,
            )
            pipelines.append(one)
            return one

        datadir = Path(stack.enter_context(TemporaryDirectory(prefix="qingliu-")))
        app = build_app(settings, kafka, pipeline, health, metrics, datadir)
        source = Directories(settings.rules) if settings.rules_watch else publications
        name = settings.instance_id or f"{socket.gethostname()}:{os.getpid()}"
        rule_watch = RuleWatch(source, pipelines[0].adopt, start, name, metrics, health)
        port = await stack.enter_async_context(
            serve(health, metrics.registry, settings.metrics_host, settings.metrics_port)
        )
        stack.push_async_callback(app.stop)
        await app.start()
        lag = GroupLag(settings, kafka)
        stack.push_async_callback(lag.close)
        watch = Rounds(Watch(lag, ledger, health, metrics).round, EVERY_S)
        stack.push_async_callback(watch.end)
        told = _tell(KafkaOutbox(app), Letters(settings.topics).note(_started(start.rules.hash)))
        falls = _tell_falls(bulletin, moderator, KafkaOutbox(app), Letters(settings.topics))
        for job in (_measure_lag(metrics), bulletin.follow(), rule_watch.run(), told, falls):
            stack.push_async_callback(ended, asyncio.create_task(job))
        log.info("worker started", ruleset=start.rules.hash, revision=start.revision, metrics_port=port)
        yield Worker(settings, app, health, metrics, port, watch.task)


async def _first_rules(settings: Settings, publications: RedisPublications, given: RuleSet | None) -> InForce:
    if settings.rules_watch:
        return InForce(given if given is not None else await asyncio.to_thread(load_rules, settings.rules))
    return await first(publications, settings.rules, given)


def _started(ruleset: str) -> RulesChange:
    """Write down, for the audit log, which rules came into force by our start."""
    return RulesChange("started", "qingliu", _login(), ruleset, time.time_ns() // 1_000_000)


def _login() -> str:
    return f"worker-{os.getpid()}@{socket.gethostname()[:64] or 'unknown'}"


async def _tell_falls(bulletin: Bulletin, moderator: Moderator, outbox: KafkaOutbox, letters: Letters) -> None:
    """Write down, for the audit log, each rule that left its band by what this worker counted."""
    while True:
        one = await bulletin.fell.get()
        ruleset, rule = moderator.rules.hash, f"{one.rule}@{one.revision}"
        fell = RulesChange("left_to_humans", "qingliu", _login(), ruleset, one.at, reason=one.why, rule=rule)
        await _tell(outbox, letters.note(fell))


async def _tell(outbox: KafkaOutbox, letter: Letter) -> None:
    """Send a letter that no batch waits for, until the broker has it; moderation goes on meanwhile."""
    pause = TELL_AGAIN
    while True:
        try:
            await outbox.send([letter])
        except LettersNotSent as exc:
            log.warning("not told yet", topic=letter.topic, error=str(exc))
            await asyncio.sleep(pause)
            pause = min(60.0, 2 * pause)
        else:
            return


async def _measure_lag(metrics: Metrics) -> None:
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + LAG_EVERY
        await asyncio.sleep(LAG_EVERY)
        metrics.loop_lag_seconds.observe(max(0.0, loop.time() - due))
        metrics.log_lines_suppressed.inc(QUOTA.taken())


@asynccontextmanager
async def servers(settings: Settings) -> AsyncIterator[tuple[Settings, str, str, Embedded | None]]:
    """Give the broker's and the store's address: those that are set, or embedded ones while the context is open.

    With embedded servers the topics are created, and sessions are short, in the settings given back.
    """
    store = settings.redis.get_secret_value() if settings.redis else None
    if settings.kafka and store:
        yield settings, settings.kafka, store, None
        return
    async with Embedded(max_bytes=settings.embedded_max_bytes) as pair:
        kafka, redis = settings.kafka or pair.kafka, store or pair.redis
        if not settings.kafka:
            await create_topics(settings, kafka)
            settings = settings.model_copy(
                update={"session_timeout_s": EMBEDDED_SESSION_S, "heartbeat_s": EMBEDDED_SESSION_S / 4}
            )
        yield settings, kafka, redis, pair


async def work(
    settings: Settings,
    rules: RuleSet | None = None,
    *,
    lifeline: int | None = None,
    started: Callable[[], None] = lambda: None,
) -> int:
    """Run until SIGTERM, SIGINT, a crash of the app, or the end of an embedded server. Returns the exit code.

    With `lifeline` also until whoever started us is gone (streams/stop.py); `started` is called once the worker runs.
    """
    stop = Stop(settings.shutdown_s, lifeline)
    async with servers(settings) as (chosen, kafka, redis, pair), running(chosen, kafka, redis, rules) as worker:
        started()
        if pair:
            log.warning("embedded broker and store: nothing survives this process", kafka=kafka, redis=redis)
        code = await _until(stop.told, worker, pair)
        stop.begin()
        return code


async def _until(told: asyncio.Event, worker: Worker, pair: Embedded | None) -> int:
    """Wait until we are told to stop or cannot go on; return the exit code that says which."""
    waits: set[asyncio.Future[Any]] = {
        asyncio.ensure_future(told.wait()),
        asyncio.ensure_future(worker.app.wait_until_stopped()),
        worker.watch,
    }
    if pair:
        waits |= {pair.failed, pair.full}
    done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for waiting in waits - done:
        waiting.cancel()
    if told.is_set():
        return EX_OK
    for one in done:
        with suppress(Exception):
            log.error("stopping", why=one.result() or "the app crashed")
    return EX_SOFTWARE
