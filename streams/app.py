"""The Faust application: settings in, an app with three named agents out.

    chat.world ─▶ agent "world"  ┐
    chat.private ─▶ "private"    ├─▶ Pipeline ─▶ moderation.enforcement, .cases, .dead-letters; the ledger
    moderation.commands ─▶ "commands" ┘

An agent reads batches, has the pipeline make their effects durable, and acknowledges them; what waits goes on together
(streams/lanes.py). Nothing may leave an agent's body: Faust would acknowledge what was in work. So what cannot be
handled ends the process instead, unacknowledged, and whoever runs it starts it again.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

import faust
import structlog

from moderation.record import Record
from streams.connection import ssl_context
from streams.lanes import Lanes
from streams.pipeline import Fresh, Pipeline, Stale
from streams.transport import BatchConsumer, BatchTransport, RawBatch

if TYPE_CHECKING:
    from pathlib import Path

    from streams.health import Health
    from streams.metrics import Metrics
    from streams.settings import Settings

log = structlog.get_logger()

#: sysexits.h: the agent met an error it must not acknowledge.
EX_SOFTWARE: Final = 70
#: Batches a partition's buffer holds before its fetching pauses.
BUFFER_BATCHES: Final = 16
Work = Callable[[Sequence[Record], Fresh], Awaitable[None]]


def build_app(
    settings: Settings,
    kafka: str,
    pipeline: Callable[[faust.App], Pipeline],
    health: Health,
    metrics: Metrics,
    datadir: Path,
) -> faust.App:
    """Make the app for `settings`, reading from `kafka`; `pipeline` makes what its agents run.

    Faust insists on a directory of its own; we keep nothing in `datadir`.
    """
    app = faust.App(
        settings.group_id,
        broker=kafka,
        broker_credentials=_credentials(settings),
        # at least once, and every effect idempotent: reliability beats Faust's unfinished transactions
        processing_guarantee="at_least_once",
        broker_commit_interval=1.0,
        broker_commit_every=20_000,
        broker_session_timeout=settings.session_timeout_s,
        broker_heartbeat_interval=settings.heartbeat_s,
        broker_request_timeout=max(30.0, settings.session_timeout_s + 10),
        broker_rebalance_timeout=60.0,
        broker_max_poll_interval=300.0,
        broker_max_poll_records=settings.batch_records * 4,
        consumer_auto_offset_reset="earliest",
        consumer_group_instance_id=settings.instance_id,
        consumer_max_fetch_size=1 << 20,
        producer_acks=-1,
        producer_request_timeout=settings.produce_timeout_s,
        producer_linger=0,  # a batch's letters are sent together as it is: 2 ms less, as many a second (2026-11-22)
        producer_max_batch_size=1 << 17,
        producer_max_request_size=1 << 20,
        stream_buffer_maxsize=BUFFER_BATCHES,
        stream_wait_empty=True,
        stream_publish_on_commit=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        # with 0 and no tables Faust takes a round robin that parts a player's world and private chat
        table_standby_replicas=1,
        web_enabled=False,
        worker_redirect_stdouts=False,
        store="memory://",
        datadir=datadir,
    )
    app.transport = BatchTransport(
        app.conf.broker, app, app.loop, max_records=settings.batch_records, max_bytes=settings.batch_bytes
    )
    work = pipeline(app)
    topics = settings.topics
    for name, topic, run in (
        ("world", topics.world, work.chat),
        ("private", topics.private, work.chat),
        ("commands", topics.commands, work.commands),
    ):
        metrics.received.labels(topic)  # there with 0: what first appears with a count is no increase to Prometheus
        _agent(app, name, topic, run, settings.batch_records)
    _tell(app, health, metrics)
    return app


def _agent(app: faust.App, name: str, topic: str, work: Work, most_records: int) -> None:
    async def moderate(stream: Any) -> None:
        lanes = Lanes(lambda events: _guarded(app, name, events, work), most_records)
        try:
            async for event in stream.noack().events():
                await lanes.put(event)
        except (asyncio.CancelledError, GeneratorExit):  # a stop, or a rebalance's restart of the agent
            raise
        except BaseException as exc:  # whatever leaves this body would be acknowledged
            _leave(app, name, exc)
            raise
        finally:
            lanes.end()

    app.agent(app.topic(topic, schema=RawBatch()), name=name, concurrency=1)(moderate)


async def _guarded(app: faust.App, name: str, events: Sequence[Any], work: Work) -> None:
    try:
        await _together(app, events, work)
    except BaseException as exc:
        if not _told_to_end(exc):
            _leave(app, name, exc)
        raise


def _told_to_end(exc: BaseException) -> bool:
    """Tell whether we were cancelled. A client that drops a connection cancels what waits for it: that is an error.

    If it passed for a stop, its batch would stay open until the next rebalance, and nothing be committed any more.
    """
    if not isinstance(exc, asyncio.CancelledError):
        return isinstance(exc, GeneratorExit)
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _together(app: faust.App, events: Sequence[Any], work: Work) -> None:
    """Work on batches of one generation as one, and acknowledge them."""
    batch = events[0].message
    records = batch.value if len(events) == 1 else [record for event in events for record in event.message.value]
    try:
        await work(records, lambda: bool(batch.generation_id == app.consumer_generation_id))
    except Stale:
        left = sorted({event.message.partition for event in events})
        log.warning("batches left to their partitions' new owners", topic=batch.topic, partitions=left)
        for event in events:
            cast("BatchConsumer", app.consumer).abandon(event.message)
    else:
        for event in events:
            event.ack()


def _leave(app: faust.App, name: str, exc: BaseException) -> None:
    """End the process rather than let Faust acknowledge, unless it is ending anyway."""
    if app.should_stop:
        return
    log.critical("agent failed: leaving without acknowledging", agent=name, error=repr(exc), exc_info=exc)
    os._exit(EX_SOFTWARE)


def _tell(app: faust.App, health: Health, metrics: Metrics) -> None:
    """Keep health told of what the group gives us and takes away."""

    async def assigned(_: Any, partitions: Any, **__: Any) -> None:
        metrics.rebalances.inc()
        hold(partitions)

    async def revoked(_: Any, __: Any, **___: Any) -> None:
        hold(())

    def hold(partitions: Any) -> None:
        health.assigned((tp.topic, tp.partition) for tp in partitions)
        metrics.partitions.set(len(health.partitions))

    app.on_partitions_assigned.connect(cast("Any", assigned))
    app.on_partitions_revoked.connect(cast("Any", revoked))


def _credentials(settings: Settings) -> Any:
    context, sasl = ssl_context(settings.kafka_tls), settings.kafka_sasl
    if sasl.mechanism is not None and sasl.password is not None:
        password = sasl.password.get_secret_value()
        return faust.SASLCredentials(
            username=sasl.username, password=password, mechanism=sasl.mechanism, ssl_context=context
        )
    return faust.SSLCredentials(context) if context else None
