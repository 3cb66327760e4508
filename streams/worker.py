"""A worker from start to end: rules, ledger, health page, Faust app; then a signal, and out within the time given."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
import time
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import structlog
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from moderation.errors import StoreUnavailable
from moderation.moderator import Moderator
from moderation.notes import RulesChange
from streams.app import build_app
from streams.bulletin import Bulletin
from streams.connection import connection
from streams.drain import DrainLimit
from streams.embedded import Embedded
from streams.health import Health, serve
from streams.ledger import RedisLedger
from streams.letters import Letters
from streams.metrics import Metrics
from streams.outbox import KafkaOutbox, Letter, LettersNotSent
from streams.past import KafkaPast
from streams.pipeline import Pipeline
from streams.publications import RedisPublications
from streams.rules import load_rules
from streams.topics import create_topics
from streams.watch import Directories, InForce, RuleWatch, first

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import faust

    from moderation.ruleset import RuleSet
    from streams.settings import Settings

log = structlog.get_logger()

#: How often the broker is asked whether it is there, and how late the loop runs is measured. Seconds.
BROKER_EVERY: Final = 2.0
LAG_EVERY: Final = 0.25
#: After a letter was not sent; twice as long each time. Seconds.
TELL_AGAIN: Final = 1.0
#: Judging makes many small objects and no cycles: looking for cycles after every 700 took 4 % of the time (2026-11-21).
GC_THRESHOLD: Final = (50_000, 20, 50)
EX_OK: Final = 0
EX_SOFTWARE: Final = 70
EX_TEMPFAIL: Final = 75
#: Nothing in memory outlives a worker, so an embedded broker's sessions may be short; its group waits half of one.
EMBEDDED_SESSION_S: Final = 4.0


class Worker:
    """A running worker, as `running` gives it. `metrics_port` is where its pages are."""

    def __init__(self, settings: Settings, app: faust.App, health: Health, metrics: Metrics, metrics_port: int) -> None:
        self.settings = settings
        self.app = app
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

    Raises RuleSetRejected or SettingsError before anything is started.
    """
    async with AsyncExitStack() as stack:
        publications = RedisPublications(redis, prefix=settings.redis_prefix)
        stack.push_async_callback(publications.close)
        start = await _first_rules(settings, publications, rules)
        # jieba's dictionary and the rules never die: out of the collector's sight (a collection costs 29 ms with them)
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLD)
        metrics, health = Metrics(), Health()
        ledger = RedisLedger(redis, prefix=settings.redis_prefix, timeout_s=settings.store_timeout_s)
        stack.push_async_callback(ledger.close)
        moderator = Moderator(start.rules)
        bulletin = Bulletin(moderator, ledger, metrics)
        with suppress(StoreUnavailable):
            await bulletin.read()
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
                bulletin=bulletin,
            )
            pipelines.append(one)
            return one

        datadir = Path(stack.enter_context(TemporaryDirectory(prefix="qingliu-")))
        app = build_app(settings, kafka, pipeline, health, datadir)
        source = Directories(settings.rules) if settings.rules_watch else publications
        name = settings.instance_id or f"{socket.gethostname()}:{os.getpid()}"
        watch = RuleWatch(source, pipelines[0].adopt, start, name, metrics, health)
        port = await stack.enter_async_context(
            serve(health, metrics.registry, settings.metrics_host, settings.metrics_port)
        )
        stack.push_async_callback(_stop, app, settings.shutdown_s)
        await app.start()
        started = Letters(settings.topics).note(_started(start.rules.hash))
        told = _tell(KafkaOutbox(app), started)
        for job in (_ask_broker(settings, kafka, health), _measure_lag(metrics), bulletin.follow(), watch.run(), told):
            stack.push_async_callback(_end, asyncio.create_task(job))
        log.info("worker started", ruleset=start.rules.hash, revision=start.revision, metrics_port=port)
        yield Worker(settings, app, health, metrics, port)


async def _first_rules(settings: Settings, publications: RedisPublications, given: RuleSet | None) -> InForce:
    if settings.rules_watch:
        return InForce(given if given is not None else await asyncio.to_thread(load_rules, settings.rules))
    return await first(publications, settings.rules, given)


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def _stop(app: faust.App, within_s: float) -> None:
    """Let batches in hand finish and commit. A broker that is away must not hold us: what is not done comes again."""
    try:
        async with asyncio.timeout(within_s):
            await app.stop()
    except TimeoutError:
        log.critical("not stopped in time: leaving; what was in hand will be redelivered", within_s=within_s)
        os._exit(EX_TEMPFAIL)


async def _ask_broker(settings: Settings, kafka: str, health: Health) -> None:
    """Ask the broker for its topics every few seconds, over a connection of its own: an idle worker knows too."""
    admin: AIOKafkaAdminClient | None = None
    try:
        while True:
            try:
                if admin is None:
                    admin = AIOKafkaAdminClient(**connection(settings, kafka), request_timeout_ms=5000)
                    await admin.start()
                await admin.list_topics()
            except (KafkaError, OSError, TimeoutError) as exc:
                log.debug("broker asked in vain", error=repr(exc))
                health.broker_failed()
            else:
                health.broker_answered()
            await asyncio.sleep(BROKER_EVERY)
    finally:
        if admin is not None:
            await admin.close()


def _started(ruleset: str) -> RulesChange:
    """Write down, for the audit log, which rules came into force by our start."""
    host = socket.gethostname()[:64] or "unknown"
    return RulesChange("started", "qingliu", f"worker-{os.getpid()}@{host}", ruleset, time.time_ns() // 1_000_000)


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


async def work(settings: Settings) -> int:
    """Run until SIGTERM, SIGINT, a crash of the app, or the end of an embedded server. Returns the exit code."""
    async with servers(settings) as (chosen, kafka, redis, pair), running(chosen, kafka, redis) as worker:
        if pair:
            log.warning("embedded broker and store: nothing survives this process", kafka=kafka, redis=redis)
        return await _until_told(worker, pair)


async def _until_told(worker: Worker, pair: Embedded | None) -> int:
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    waits: set[asyncio.Future[Any]] = {
        asyncio.ensure_future(told.wait()),
        asyncio.ensure_future(worker.app.wait_until_stopped()),
    }
    if pair:
        waits |= {pair.failed, pair.full}
    done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for waiting in waits - done:
        waiting.cancel()
    if told.is_set():
        log.info("told to stop")
        return EX_OK
    for one in done:
        with suppress(Exception):
            log.error("stopping", why=one.result() or "the app crashed")
    return EX_SOFTWARE


def log_json(level: str) -> None:
    """Send structured logs, ours and the libraries', to stderr as JSON lines; no chat text is ever logged."""
    shared: list[Any] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    json = structlog.processors.JSONRenderer(ensure_ascii=False)
    number = getattr(logging, level.upper())
    structlog.configure(
        processors=[*shared, json],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=json, foreign_pre_chain=shared))
    logging.basicConfig(level=max(logging.WARNING, number), handlers=[handler], force=True)
