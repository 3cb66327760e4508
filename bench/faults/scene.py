"""One run: servers, proxies, workers, a game server and a load; a fault while it runs; then the books.

load ─▶ Kafka ◀─ proxy ─▶ workers ◀─ proxy ─▶ store
          └──────▶ reference consumer ─▶ acks
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
from aiokafka.errors import KafkaError

from bench.faults import servers
from bench.faults.accounting import Book, Figures, Findings, Look, audit, refused, ways
from bench.faults.chat import Load, astray, made, records
from bench.faults.crew import Crew
from bench.faults.readback import Reader, lag
from bench.faults.toxics import Proxy
from bench.faults.truth import aged, swayed, truth
from console.traffic import rebase
from streams.applier import Applier, InMemoryGame, run
from streams.settings import Settings
from streams.topics import create_topics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Mapping, Sequence
    from pathlib import Path

    from bench.faults.accounting import Lane, Sent
    from bench.faults.faults import Fault
    from bench.faults.truth import Truth
    from moderation.events import ChatEvent
    from moderation.ruleset import RuleSet

PARTITIONS: Final = 6
#: Sessions are shorter than the 20 s a worker takes by itself, so that a killed one is missed soon.
SESSION_S: Final = 6.0
#: Load before the fault, and how long the rest may take to come through after the last record.
WARM_S: Final = 4.0
DRAIN_WITHIN_S: Final = 90.0
LOOK_EVERY_S: Final = 0.25
GAME: Final = "game-server"


class Plan(NamedTuple):
    """How hard and how long. `jars` are Apache Kafka's; None = the embedded broker."""

    rate: float
    seconds: float
    jars: Path | None
    rules: RuleSet
    rules_dir: Path


class Result(NamedTuple):
    """What came of a run.

    `recovery_s` is from the end of the fault until all that was sent before it is committed, and less than 2 s of load
    is not. Workers commit once a second: without a fault it takes about that long, too.
    """

    figures: Figures
    findings: Findings
    recovery_s: float
    most_lag: int
    remarks: list[str]


class Scene:
    """What a fault may touch. `home` is where the workers run; `looks` are taken right after a kill.

    `forgotten` is to be set by who has the store lose what it knew.
    """

    def __init__(
        self,
        brokers: Sequence[servers.Server],
        store: servers.Server,
        gates: tuple[Proxy, Proxy],
        crew: Crew,
        home: Path,
    ) -> None:
        self.brokers, self.broker, self.store, self.crew, self.home = brokers, brokers[0], store, crew, home
        self.to_broker, self.to_store = gates
        self.kafka = _addresses(brokers)
        self.settings = _settings(len(brokers))
        self.reader = Reader(self.kafka, self.settings.topics, PARTITIONS, self.settings.group_id)
        self.forgotten = False
        #: The hashes that actions may name; any, where none is here.
        self.rulesets: set[str] = set()
        self.looks: list[Look] = []
        self.remarks: list[str] = []

    async def look(self) -> None:
        """Note what is committed and what is said, right now."""
        self.looks.append(await self.reader.look())


class Script(NamedTuple):
    """What is said, and what must come of it."""

    events: Sequence[ChatEvent]
    known: Truth
    remarks: Sequence[str] = ()


async def script(plan: Plan, seed: int, strays: float = 0.0) -> Script:
    """Make chat for a run and judge it: some seconds of work, and good for any number of runs on fresh servers.

    Of a share of `strays` the clocks are off; who else is dealt with otherwise for that, is remarked.
    """
    now = time.time_ns() // 1_000_000
    events = made(seed, int(plan.rate * plan.seconds), plan.rate, now)
    known = await truth(plan.rules, events)
    if not strays:
        return Script(events, known)
    off = astray(events, strays, seed)
    changed = await truth(plan.rules, off)
    return Script(off, aged(changed, events, off), [swayed(events, off, known, changed)])


async def play(fault: Fault, plan: Plan, home: Path, chat: Script) -> Result:
    """Run one fault."""
    async with _scene(fault, plan, home) as scene:
        for _ in range(fault.workers):
            await scene.crew.join()
        events = list(rebase(chat.events, time.time_ns() // 1_000_000))
        todo = records(events, scene.settings.topics, fault.bad_share, len(fault.name), twice=fault.twice)
        load = Load(scene.kafka, plan.rate * len(todo) / len(events), idempotent=plan.jars is not None)
        recovery = await _under_load(fault, scene, load, todo, plan.rate)
        await _drained(scene, load)
        await scene.crew.end()
        book = await _book(scene, chat.known, load.sent)
        _under_these_rules(book, scene.rulesets and scene.rulesets | {plan.rules.hash})
        book = book._replace(buggy=fault.kind == "buggy")
        return Result(*audit(book), *recovery, [*chat.remarks, *_remarks(scene), *ways(book), *refused(book)])


async def _under_load(fault: Fault, scene: Scene, load: Load, todo: Sequence[Any], rate: float) -> tuple[float, int]:
    """Send the load, hurt something meanwhile, and return the recovery's seconds and the largest lag."""
    sending = asyncio.create_task(load.run(todo))
    watch = Watch(scene.reader, load, 2 * rate)
    watching = asyncio.create_task(watch.run())
    try:
        await asyncio.sleep(WARM_S)
        await fault.inject(scene)
        watch.fault_ended()
        await sending
        await watch.recovered(DRAIN_WITHIN_S)
    finally:
        for task in (sending, watching):
            task.cancel()
        await asyncio.gather(sending, watching, return_exceptions=True)
    return watch.recovery_s, watch.most_lag


class Watch:
    """Asks for the group's lag all the time. A broker that does not answer is no recovery."""

    def __init__(self, reader: Reader, load: Load, small: float) -> None:
        self._reader, self._load, self._small = reader, load, small
        self._ended: float | None = None
        self._due: dict[Lane, int] = {}
        self._done = asyncio.Event()
        self.recovery_s = float("inf")
        self.most_lag = 0

    def fault_ended(self) -> None:
        """Start the clock."""
        self._ended, self._due = time.monotonic(), dict(self._load.ends)

    async def recovered(self, within_s: float) -> None:
        """Return once the lag is small again, or it takes too long: the books will tell."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._done.wait(), within_s)

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            with suppress(KafkaError, OSError, TimeoutError):
                asked = time.monotonic()
                self._note(asked, await self._reader.committed())
            await asyncio.sleep(LOOK_EVERY_S)

    def _note(self, asked: float, committed: Mapping[Lane, int]) -> None:
        behind = lag(self._load.ends, committed)
        self.most_lag = max(self.most_lag, behind)
        through = self._ended is not None and asked >= self._ended and not lag(self._due, committed)
        if self._ended is not None and through and behind < self._small and not self._done.is_set():
            self.recovery_s = time.monotonic() - self._ended
            self._done.set()


# --- the parts


@asynccontextmanager
async def _scene(fault: Fault, plan: Plan, home: Path) -> AsyncIterator[Scene]:
    """Start the servers and a game server; everything is ended when the context is left."""
    async with AsyncExitStack() as stack:
        ports = [servers.broker_ports(apache=plan.jars is not None) for _ in range(fault.brokers)]
        [store] = stack.enter_context(servers.ending([servers.valkey(home)]))
        to_broker = await stack.enter_async_context(Proxy(ports[0].proxied))
        to_store = await stack.enter_async_context(Proxy(store.port))
        brokers = stack.enter_context(servers.ending(_brokers(plan, home, ports, to_broker.port)))
        await asyncio.gather(store.listening(), *(one.listening() for one in brokers))
        # the embedded broker knows one address only, its own; and of three each says where the others are
        proxied = plan.jars and fault.brokers == 1
        kafka = f"127.0.0.1:{to_broker.port}" if proxied else _addresses(brokers)
        crew = Crew(_env(plan, home, kafka, to_store.port), home, fault.kind)
        stack.push_async_callback(crew.end)
        scene = Scene(brokers, store, (to_broker, to_store), crew, home)
        await create_topics(scene.settings, f"kafka://{scene.kafka}")
        game = asyncio.create_task(_apply(scene))
        stack.push_async_callback(_cancelled, game)
        yield scene


def _brokers(plan: Plan, home: Path, ports: Sequence[servers.Ports], advertised: int) -> Sequence[servers.Server]:
    return servers.kafka(home, plan.jars, ports, advertised) if plan.jars else [servers.tansu(home, ports[0].direct)]


def _addresses(brokers: Sequence[servers.Server]) -> str:
    return ",".join(f"127.0.0.1:{one.port}" for one in brokers)


def _settings(replication: int) -> Settings:
    names = {"topic_prefix": "faults.", "group_id": "faults"}
    return Settings(**names, partitions=PARTITIONS, replication=replication, _env_file=None)  # type: ignore[arg-type, call-arg]


def _env(plan: Plan, home: Path, kafka: str, store: int) -> dict[str, str]:
    return {
        "TMPDIR": str(home),  # a killed worker cannot tidy up
        "QINGLIU_KAFKA": f"kafka://{kafka}",
        "QINGLIU_REDIS": f"redis://127.0.0.1:{store}/0",
        "QINGLIU_TOPIC_PREFIX": "faults.",
        "QINGLIU_GROUP_ID": "faults",
        "QINGLIU_RULES": str(plan.rules_dir),
        "QINGLIU_SESSION_TIMEOUT_S": str(SESSION_S),
        "QINGLIU_HEARTBEAT_S": str(SESSION_S / 3),
    }


async def _apply(scene: Scene) -> None:
    """Be the game server: whatever ends it, it comes back with its memory."""
    applier = Applier(InMemoryGame())
    while True:
        with suppress(KafkaError, OSError):
            await run(scene.kafka, scene.settings.topics, applier, group_id=GAME, session_timeout_s=SESSION_S)
        await asyncio.sleep(0.5)


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError, KafkaError, OSError):
        await task


async def _drained(scene: Scene, load: Load) -> None:
    """Wait until all chat is committed and all actions are answered, at most DRAIN_WITHIN_S: the books will tell."""
    reader, enforcement = scene.reader, scene.settings.topics.enforcement
    with suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_WITHIN_S):
            while lag(load.ends, await reader.committed()):  # noqa: ASYNC110  a broker tells nobody
                await asyncio.sleep(LOOK_EVERY_S)
            while lag(await reader.ends(enforcement), await reader.committed(GAME, enforcement)):  # noqa: ASYNC110
                await asyncio.sleep(LOOK_EVERY_S)


async def _book(scene: Scene, known: Truth, sent: Sequence[Sent]) -> Book:
    reader = scene.reader
    return Book(
        sent=sent,
        expected=known.expected,
        orders=await reader.orders(),
        papers=await reader.papers(),
        dead=await reader.dead(),
        answers=await reader.answers(),
        committed=await reader.committed(),
        looks=scene.looks,
        does=known.does,
        banned=known.banned,
        forgotten=scene.forgotten,
    )


def _under_these_rules(book: Book, rulesets: Collection[str]) -> None:
    """Raise RuntimeError if an action names a rule set that nobody put in force."""
    named = {msgspec.json.decode(order.value)["ruleset"] for order in book.orders} if rulesets else set()
    if strange := named.difference(rulesets):
        raise RuntimeError(f"actions name rule sets that nobody published: {sorted(strange)}")


def _remarks(scene: Scene) -> list[str]:
    """Say what the books do not: workers that ended by themselves or badly, and logs that tell of lost work."""
    crew = scene.crew
    noise = [line[:200] for worker in crew.workers for line in worker.noise()]
    bad = [f"a worker told to stop ended with {code}" for code in crew.codes if code]
    return [*scene.remarks, *crew.ended, *bad, *noise[:3]]
