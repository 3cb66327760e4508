"""The faults, as a table: ids as in the reliability plan, how often each is run, and what it does to a scene."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError
from redis.asyncio import Redis

from bench.faults.buggy import KINDS
from bench.faults.crew import BUGS, CLOCK
from bench.faults.reloads import reload
from bench.faults.scene import SESSION_S, Scene

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from bench.faults.crew import Kind

#: How long brokers may take to find another leader, or to catch up.
ELECTED_WITHIN_S: Final = 60.0
#: What Kafka says where nobody leads.
NOBODY: Final = -1
Inject = Callable[[Scene], Awaitable[None]]


class Fault(NamedTuple):
    """One row. `inject` returns when the fault is over.

    `apache` = it needs a broker with a disk, or with a listener for the proxy, or `brokers` of them; `kind` = what is
    run as a worker; `strays` = the share of events whose clocks are off.
    """

    id: str
    name: str
    inject: Inject
    quick: int = 1
    full: int = 3
    workers: int = 1
    bad_share: float = 0.005
    twice: bool = False
    apache: bool = False
    brokers: int = 1
    kind: Kind = "real"
    strays: float = 0.0

    @property
    def naive(self) -> bool:
        """Tell whether it is a control: a worker as one writes it first is run, and the books must find harm."""
        return self.kind == "naive"


async def nothing(_: Scene) -> None:
    """Leave everything alone."""


# --- workers


async def kill_worker(scene: Scene) -> None:
    """End a worker without a word, see that nothing was committed too early, start it again after a second."""
    worker = scene.crew.workers[0]
    await worker.kill()
    await scene.look()
    await asyncio.sleep(1)
    await scene.crew.start(worker)


async def kill_catching_up(scene: Scene) -> None:
    """Kill a worker that is busy with what waited for it: it has batches in hand from the first moment on."""
    worker = scene.crew.workers[0]
    await kill_worker(scene)
    await worker.ready()
    await kill_worker(scene)


async def kill_often(scene: Scene) -> None:
    """Kill one of two workers, then the other, and so on."""
    for worker in [*scene.crew.workers, *scene.crew.workers]:
        await worker.kill()
        await scene.look()
        await asyncio.sleep(1)
        await scene.crew.start(worker)
        await asyncio.sleep(4)


async def tell_worker(scene: Scene) -> None:
    """Tell a worker to stop, see that all it did is committed, start it again."""
    worker = scene.crew.workers[0]
    await scene.crew.leave(worker)
    await scene.look()
    await scene.crew.start(worker)


async def stun_worker(scene: Scene) -> None:
    """Stop a worker until another has its partitions, then let it go on: it does not know yet that it lost them."""
    worker = scene.crew.workers[0]
    worker.pause()
    await asyncio.sleep(SESSION_S * 1.5)
    await scene.look()
    worker.go_on()


async def join_and_leave(scene: Scene) -> None:
    """Have a second worker take half of the partitions, and give them back."""
    worker = await scene.crew.join()
    await asyncio.sleep(3)
    await scene.crew.leave(worker)


async def hiccup(scene: Scene) -> None:
    """Stop all workers for 0.5 s of every second, ten times, and count how often partitions are dealt anew."""
    before = await scene.reader.generation()
    for _ in range(10):
        for worker in scene.crew.workers:
            worker.pause()
        await asyncio.sleep(0.5)
        for worker in scene.crew.workers:
            worker.go_on()
        await asyncio.sleep(0.5)
    scene.remarks.append(f"partitions dealt anew: {await scene.reader.generation() - before} times")


async def infest(scene: Scene) -> None:
    """Let bugs of every kind strike the workers for 20 s; one that ends is started again."""
    await _infest(scene, KINDS)


async def cancel(scene: Scene) -> None:
    """Let calls end for 20 s as if somebody had cancelled them, as clients do that lose a connection."""
    await _infest(scene, ["CancelledError"])


async def _infest(scene: Scene, kinds: Iterable[str]) -> None:
    bugs = scene.home / BUGS
    bugs.write_text(" ".join(kinds))
    await asyncio.sleep(20)
    bugs.unlink()
    logs = "".join(worker.log.read_text(errors="replace") for worker in scene.crew.workers)
    struck = Counter(re.findall(r"^bug: \w+ in (\w+)$", logs, re.MULTILINE))
    scene.remarks.append(f"bugs: {', '.join(f'{where} {n}' for where, n in struck.most_common()) or 'none'}")


async def turn_clock(scene: Scene) -> None:
    """Have the workers' clock be an hour ahead, an hour behind, a day ahead, a day behind, for 3 s each, then right."""
    for off in ("+1h", "-1h", "+1d", "-1d", "+0"):
        (scene.home / CLOCK).write_text(off)
        await asyncio.sleep(3)


async def replay(scene: Scene) -> None:
    """Stop, set the group back to the beginning of the chat, start: everything is judged a second time."""
    worker = scene.crew.workers[0]
    await scene.crew.leave(worker)
    await scene.reader.rewind()
    await scene.crew.start(worker)


# --- broker


async def pause_broker(scene: Scene) -> None:
    """Stop the broker for 5 s."""
    scene.broker.pause()
    await asyncio.sleep(5)
    scene.broker.go_on()


async def kill_broker(scene: Scene) -> None:
    """Kill the broker, start it again after 3 s."""
    await asyncio.to_thread(scene.broker.kill)
    await asyncio.sleep(3)
    await scene.broker.restart()


async def kill_leader(scene: Scene) -> None:
    """Kill the broker that leads a partition of the chat, start it again once another leads."""
    await _fall(scene, scene.reader.leader)


async def kill_coordinator(scene: Scene) -> None:
    """Kill the broker that coordinates the workers' group, start it again once another does."""
    await _fall(scene, scene.reader.coordinator)


async def _fall(scene: Scene, which: Callable[[], Awaitable[int]]) -> None:
    number = await which()
    await asyncio.to_thread(scene.brokers[number - 1].kill)
    async with asyncio.timeout(ELECTED_WITHIN_S):
        while await _asked(which) in (None, NOBODY, number):  # noqa: ASYNC110  brokers tell nobody
            await asyncio.sleep(0.25)
    await scene.look()
    await scene.brokers[number - 1].restart()


async def _asked(question: Callable[[], Awaitable[int]]) -> int | None:
    """Ask brokers of which some are away; None where none answered."""
    with suppress(KafkaError, OSError):
        return await question()
    return None


async def roll_brokers(scene: Scene) -> None:
    """Tell one broker after the other to stop, start it again, wait until it has caught up: every leader moves."""
    for broker in scene.brokers:
        await asyncio.to_thread(broker.end)
        await broker.restart()
        await _in_sync(scene, {len(scene.brokers)})


async def _in_sync(scene: Scene, wanted: Collection[int]) -> None:
    async with asyncio.timeout(ELECTED_WITHIN_S):
        while await _asked(scene.reader.in_sync) not in wanted:  # noqa: ASYNC110
            await asyncio.sleep(0.25)


async def pause_two_brokers(scene: Scene) -> None:
    """Stop two of three brokers for 5 s: nothing can be acknowledged, no commit either."""
    for broker in scene.brokers[1:]:
        broker.pause()
    await asyncio.sleep(5)
    for broker in scene.brokers[1:]:
        broker.go_on()
    await scene.look()


async def demand_three(scene: Scene) -> None:
    """Kill one of three brokers while actions must be on all: they are refused for 5 s, commits are not."""
    await _configure(scene, scene.settings.topics.enforcement, "min.insync.replicas", 3)
    number = await scene.reader.coordinator() % 3  # the one after it: commits go on
    await asyncio.to_thread(scene.brokers[number].kill)
    await _in_sync(scene, {1, 2})
    await asyncio.sleep(5)
    await scene.look()
    await scene.brokers[number].restart()
    await _in_sync(scene, {3})


async def refuse(scene: Scene) -> None:
    """Have the broker refuse every action for 5 s, as too large."""
    await _refused(scene, scene.settings.topics.enforcement)


async def refuse_letters(scene: Scene) -> None:
    """Have the broker refuse every dead letter for 5 s, as too large."""
    await _refused(scene, scene.settings.topics.dead_letters)


async def _refused(scene: Scene, topic: str) -> None:
    await _configure(scene, topic, "max.message.bytes", 100)
    await asyncio.sleep(5)
    await scene.look()
    await _configure(scene, topic, "max.message.bytes", 1 << 20)


async def _configure(scene: Scene, topic: str, name: str, value: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=scene.kafka)
    await admin.start()
    await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {name: str(value)})])
    await admin.close()


# --- store


async def pause_store(scene: Scene) -> None:
    """Stop the store for 5 s: workers judge without history from the third on."""
    scene.store.pause()
    await asyncio.sleep(5)
    scene.store.go_on()


async def blink_store(scene: Scene) -> None:
    """Stop the store for a second, five times: less than a worker's patience, so nothing may change."""
    for _ in range(5):
        scene.store.pause()
        await asyncio.sleep(1)
        scene.store.go_on()
        await asyncio.sleep(1)


async def kill_store(scene: Scene) -> None:
    """Kill the store, start it again from its file at once."""
    await asyncio.to_thread(scene.store.kill)
    await scene.store.restart()


async def empty_store(scene: Scene) -> None:
    """Kill the store and start it again without its file: strikes, sanctions, actions and campaigns are forgotten."""
    async with Redis(port=scene.store.port, decode_responses=True) as store:
        kinds = Counter(str(key).split("}:")[-1].partition(":")[0] for key in await store.keys())
    await asyncio.to_thread(scene.store.kill)
    scene.remarks.append(f"keys forgotten: {', '.join(f'{kind} {n}' for kind, n in kinds.most_common())}")
    shutil.rmtree(scene.home / "appendonlydir")
    scene.forgotten = True
    await scene.store.restart()


async def empty_store_and_kill(scene: Scene) -> None:
    """Have the store forget what a busy worker had told it, kill that, and let its batches come again."""
    worker = scene.crew.workers[0]
    await kill_worker(scene)
    await worker.ready()
    await worker.kill()
    await empty_store(scene)
    await scene.look()
    await scene.crew.start(worker)


async def kill_without_store(scene: Scene) -> None:
    """Kill a worker that judges without history, and bring the store back before it comes again."""
    scene.store.pause()
    await asyncio.sleep(4)
    worker = scene.crew.workers[0]
    await worker.kill()
    await scene.look()
    scene.store.go_on()
    await scene.crew.start(worker)


async def reset_store_once(scene: Scene) -> None:
    """Reset the connections to the store, once: the next question must be answered."""
    scene.to_store.reset()


async def slow_store(scene: Scene) -> None:
    """Let the store's answers take 0.1 s for 4 s, then longer than a worker waits for 3 s."""
    for delay, lasts in ((0.05, 4), (1.0, 3)):
        scene.to_store.delay_s = delay
        await asyncio.sleep(lasts)
    scene.to_store.delay_s = 0


# --- network


async def reset_links(scene: Scene) -> None:
    """Reset every connection of the workers, ten times in 5 s."""
    for _ in range(10):
        scene.to_broker.reset()
        scene.to_store.reset()
        await asyncio.sleep(0.5)


async def part(scene: Scene) -> None:
    """Cut the workers off from the broker until their session is over, then let everything through that was said."""
    scene.to_broker.silence()
    await asyncio.sleep(SESSION_S + 3)
    await scene.look()
    scene.to_broker.speak()


async def deafen(scene: Scene) -> None:
    """Let what the workers say to the broker pass, and nothing come back, until their session is over."""
    scene.to_broker.deafen()
    await asyncio.sleep(SESSION_S + 3)
    await scene.look()
    scene.to_broker.speak()


async def mix(scene: Scene) -> None:
    """One thing after the other, without waiting for the last to be over."""
    for inject in (pause_store, kill_worker, reset_links, join_and_leave, pause_broker, tell_worker, kill_store):
        await inject(scene)
        await asyncio.sleep(1)


FAULTS: Final[Sequence[Fault]] = (
    Fault("F0", "none", nothing),
    Fault("F1", "worker killed", kill_worker, full=10),
    Fault("F1a", "worker killed, killed catching up", kill_catching_up, quick=0, full=5),
    Fault("F1b", "two workers, killed in turn", kill_often, quick=0, full=5, workers=2),
    Fault("F2", "worker told to stop", tell_worker),
    Fault("F3", "worker stunned past its session", stun_worker, workers=2),
    Fault("F4", "second worker joins and leaves", join_and_leave),
    Fault("F5a", "broker paused 5 s", pause_broker, quick=0),
    Fault("F5b", "broker killed", kill_broker, apache=True),
    Fault("F6a", "leader of a chat partition killed", kill_leader, apache=True, brokers=3),
    Fault("F6b", "group's coordinator killed", kill_coordinator, quick=0, apache=True, brokers=3),
    Fault("F6c", "brokers restarted in turn, leaders move", roll_brokers, quick=0, apache=True, brokers=3),
    Fault("F6d", "two of three brokers paused 5 s", pause_two_brokers, quick=0, apache=True, brokers=3),
    Fault("F7a", "store paused 5 s", pause_store),
    Fault("F7b", "store killed, restarted from its file", kill_store),
    Fault("F7c", "store paused 1 s, five times", blink_store, quick=0),
    Fault("F7d", "store paused, worker killed meanwhile", kill_without_store, quick=0),
    Fault("F7e", "store killed, restarted empty", empty_store),
    Fault("F7f", "store emptied, worker killed", empty_store_and_kill, quick=0),
    Fault("F8a", "store slow", slow_store, quick=0),
    Fault("F8b", "connections reset, ten times", reset_links),
    Fault("F8c", "store's connections reset, once", reset_store_once, quick=0),
    Fault("F9", "workers cut off from the broker", part, quick=0, apache=True),
    Fault("F9b", "broker heard, not answering: one way", deafen, apache=True),
    Fault("F10", "broker refuses actions 5 s", refuse, apache=True),
    Fault("F10b", "too few replicas for actions 5 s", demand_three, quick=0, apache=True, brokers=3),
    Fault("F11", "broker refuses dead letters 5 s", refuse_letters, quick=0, bad_share=0.05, apache=True),
    Fault("F13", "two workers stopped half the time, 10 s", hiccup, workers=2, apache=True),
    Fault("F16", "new rules every 1.5 s, half broken", reload, quick=0),
    Fault("F17a", "one clock in a hundred an hour or day off", nothing, strays=0.01),
    Fault("F17b", "worker's clock jumps an hour, a day", turn_clock, kind="bad clock", quick=0),
    Fault("F18", "everything replayed", replay),
    Fault("F19", "every event published twice, worker killed", kill_worker, quick=0, twice=True),
    Fault("F20", "one record in five is bad, worker killed", kill_worker, quick=0, bad_share=0.25),
    Fault("F21", "bugs: one call in 1 000 fails", infest, kind="buggy"),
    Fault("F21b", "bugs: one call in 1 000 is cancelled", cancel, quick=0, kind="buggy"),
    Fault("C1", "control: a naive worker killed", kill_catching_up, full=1, bad_share=0.0, kind="naive"),
    Fault("F22", "a mix of all", mix, quick=0, full=10),
)
