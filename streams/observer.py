"""Moderation as seen from outside: one process that reads the topics like a game server does, and counts.

    moderation.enforcement ─▶ which actions were sent ─┐
    moderation.acks ────────▶ which were answered ─────┴▶ acks by status, latency, actions without ack
    the broker ─────────────▶ lag of every partition, also of those that no worker holds
    the store ──────────────▶ memory, keys, campaigns
    chat.world ◀──────────── a canary now and then

Why a process of its own: an ack and its action lie in partitions that different workers would read, and a worker that
restarts forgets what it waits for. One process sees both whole, costs the workers nothing, and still speaks when all
of them are dead. It is in no consumer group, commits nothing and writes nothing but canaries; run one.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError

from moderation.actions import Ack, Action, due_since
from moderation.errors import StoreUnavailable
from moderation.signature import signed
from streams.canary import ACCOUNT, Canary
from streams.connection import connection
from streams.health import serve
from streams.lag import PATIENCE_S, BrokerAway, GroupLag, Progress, tell
from streams.logs import QUOTA
from streams.metrics import OutsideMetrics
from streams.stop import Rounds, Stop
from streams.store import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from moderation.events import ChatEvent
    from streams.settings import Settings

log = structlog.get_logger()

#: How often lag and store are asked, and overdue answers looked for. Seconds.
POLL_S: Final = 5.0
#: Until a client that failed is made anew. Seconds.
REST_S: Final = 2.0
#: A round that takes longer than this is stuck: see `Sight.alive`.
STUCK_S: Final = 60.0
#: Actions waited for at once, and acks kept that came before their action; the oldest go first.
WAITED_FOR: Final = 200_000
EARLY: Final = 10_000
#: A campaign counts as open for so long after its newest member. Milliseconds.
OPEN_MS: Final = 7 * 86_400_000

_action = msgspec.json.Decoder(Action)
_ack = msgspec.json.Decoder(Ack)


class Answers:
    """Which actions game servers answered. Times are milliseconds since 1970."""

    def __init__(self, within_ms: int, metrics: OutsideMetrics) -> None:
        self._within_ms = within_ms
        self._metrics = metrics
        #: By action id: when we read it, and since when it was due.
        self._awaited: dict[str, tuple[int, int | None]] = {}
        self._early: dict[str, None] = {}

    def sent(self, action: Action, now: int) -> None:
        """Take an action; one that comes again is waited for once."""
        if self._early.pop(action.action_id, "") is None or action.target.account_id == ACCOUNT:
            return
        self._awaited.setdefault(action.action_id, (now, due_since(action)))
        _trim(self._awaited, WAITED_FOR)

    def answered(self, ack: Ack, now: int) -> None:
        """Take an ack. The order between the two topics is anybody's guess."""
        self._metrics.acks.labels(ack.status).inc()
        awaited = self._awaited.pop(ack.action_id, None)
        if awaited is None:
            self._early[ack.action_id] = None
            _trim(self._early, EARLY)
        elif awaited[1] is not None:
            self._metrics.ack_latency_seconds.observe(max(0, now - awaited[1]) / 1000)

    def look(self, now: int) -> None:
        """Count what was not answered in time, once."""
        for action_id in [one for one, (read, _) in self._awaited.items() if now - read > self._within_ms]:
            del self._awaited[action_id]
            self._metrics.unacknowledged.inc()
        self._metrics.awaiting_ack.set(len(self._awaited))


def _trim(kept: dict[str, Any], most: int) -> None:
    while len(kept) > most:
        del kept[next(iter(kept))]


class Sight:
    """What the observer's pages say: alive while it goes round, ready while the broker answers."""

    def __init__(self) -> None:
        self._round = time.monotonic()
        self.broker_there = False

    def went_round(self, *, broker: bool) -> None:
        """Tell that the polls were made."""
        self._round = time.monotonic()
        self.broker_there = broker

    def alive(self) -> bool:
        """Return False where only a restart can help."""
        return time.monotonic() - self._round < STUCK_S

    def ready(self) -> tuple[bool, dict[str, Any]]:
        """Return whether what it shows is the present."""
        reasons = [] if self.broker_there else ["the broker is away"]
        return not reasons, {"ready": not reasons, "reasons": reasons}


class Observer:
    """Reads, asks and counts, until cancelled."""

    def __init__(self, settings: Settings, kafka: str, redis: str, metrics: OutsideMetrics, sight: Sight) -> None:
        self._settings = settings
        self._where = connection(settings, kafka)
        self._metrics = metrics
        self._sight = sight
        self._over = False
        self._lag = GroupLag(settings, kafka)
        self._progress = Progress()
        self._store = Store(redis, prefix=settings.redis_prefix, timeout_s=settings.store_timeout_s, rest_s=0.5)
        within_ms = int(settings.ack_within_s * 1000)
        self._answers = Answers(within_ms, metrics)
        self._canary = Canary(secrets.token_hex(4), settings.canary_text, within_ms, metrics)

    def rounds(self) -> list[Rounds]:
        """Begin to read, to ask and to sing; whoever begins ends them."""
        begun = [Rounds(self._read, REST_S), Rounds(self._poll, POLL_S)]
        if self._settings.canary_every_s:
            begun.append(Rounds(self._sing, self._settings.canary_every_s))
        return begun

    async def _read(self) -> None:
        """Read what comes, until it fails or the observer ends."""
        topics = (self._settings.topics.enforcement, self._settings.topics.acks)
        consumer = AIOKafkaConsumer(*topics, **self._where, group_id=None, auto_offset_reset="latest")
        try:
            await consumer.start()
            while not self._over:
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    for record in records:
                        self._take(record)
        except (KafkaError, OSError) as exc:
            log.warning("actions and acks not read", error=repr(exc))
        finally:
            await consumer.stop()

    def _take(self, record: Any) -> None:
        now = time.time_ns() // 1_000_000
        with suppress(msgspec.MsgspecError, UnicodeDecodeError):  # whose fault it is, the contract test tells
            if record.topic == self._settings.topics.acks:
                self._answers.answered(_ack.decode(record.value or b""), now)
                return
            action = _action.decode(record.value or b"")
            self._answers.sent(action, now)
            if action.target.account_id == ACCOUNT:
                self._canary.answered(action.event_id or "", now)

    async def _poll(self) -> None:
        await asyncio.gather(self._ask_broker(), self._ask_store())
        now = time.time_ns() // 1_000_000
        self._answers.look(now)
        self._canary.look(now)
        self._metrics.log_lines_suppressed.inc(QUOTA.taken())

    async def _ask_broker(self) -> None:
        topics = self._settings.topics
        try:
            everywhere = await self._lag.partitions((topics.world, topics.private, topics.commands))
            positions = await self._lag.positions(everywhere)
        except BrokerAway:
            positions = {}
            self._progress.forget()
            self._sight.went_round(broker=False)
        else:
            self._sight.went_round(broker=True)
        self._metrics.broker_up.set(self._sight.broker_there)
        tell(self._metrics, positions, self._progress.stalled(positions))

    async def _ask_store(self) -> None:
        since = time.time_ns() // 1_000_000 - OPEN_MS
        joined = self._store.key("campaigns", "joined")
        try:
            [campaigns] = await self._store.ask([("ZCOUNT", joined, since, "+inf")])
            room = await self._store.room()
        except StoreUnavailable:
            self._metrics.store_up.set(0)
            return
        self._metrics.store_up.set(1)
        self._metrics.store_memory_bytes.set(room.used)
        self._metrics.store_max_memory_bytes.set(room.most)
        self._metrics.store_keys.set(room.keys)
        self._metrics.campaigns_open.set(campaigns)

    async def _sing(self) -> None:
        message = self._canary.message(time.time_ns() // 1_000_000)
        try:
            await self._say(message)
        except (KafkaError, OSError) as exc:
            log.warning("canary not sent", error=repr(exc))
            self._canary.unsent(message)

    async def _say(self, message: ChatEvent) -> None:
        """Send with a client of its own, as rarely as it is: one that has been through an outage proves less."""
        producer = AIOKafkaProducer(**self._where, acks="all", request_timeout_ms=int(PATIENCE_S * 1000))
        try:
            async with asyncio.timeout(PATIENCE_S):
                await producer.start()
                self._canary.sent(message)  # its action may be there before the broker's answer is
                key, value = ACCOUNT.encode(), msgspec.json.encode(message)
                headers = signed(key, value, self._settings.signing.events)
                await producer.send_and_wait(self._settings.topics.world, value, key=key, headers=list(headers))
        finally:
            await producer.stop()

    def stop_reading(self) -> None:
        """Let `_read` return after what it has in hand."""
        self._over = True

    async def close(self) -> None:
        """Let go of connections."""
        await self._lag.close()
        await self._store.close()


class Observing(NamedTuple):
    """An observer at work: what it counted, where its page is, and tasks that end only by a fault of ours."""

    metrics: OutsideMetrics
    port: int
    tasks: tuple[asyncio.Task[None], ...]


@asynccontextmanager
async def observing(settings: Settings, kafka: str, redis: str) -> AsyncIterator[Observing]:
    """Observe while the context is open."""
    metrics, sight = OutsideMetrics(), Sight()
    observer = Observer(settings, kafka, redis, metrics, sight)
    async with serve(sight, metrics.registry, settings.metrics_host, settings.metrics_port) as port:
        rounds = observer.rounds()
        try:
            yield Observing(metrics, port, tuple(one.task for one in rounds))
        finally:
            observer.stop_reading()
            await asyncio.gather(*(one.end(REST_S) for one in rounds))
            await observer.close()


async def observe(settings: Settings, kafka: str, redis: str) -> None:
    """Observe until SIGTERM or SIGINT."""
    stop = Stop(settings.shutdown_s)
    async with observing(settings, kafka, redis) as watching:
        log.info("observing", metrics_port=watching.port)
        told = asyncio.create_task(stop.told.wait())
        done, _ = await asyncio.wait((told, *watching.tasks), return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        stop.begin()
        for task in done - {told}:
            task.result()  # raises what it met
