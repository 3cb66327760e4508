"""The faults, as a table: ids as in the reliability plan, how often each is run, and what it does to a scene."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from bench.faults.scene import SESSION_S, Scene

if TYPE_CHECKING:
    from collections.abc import Sequence

Inject = Callable[[Scene], Awaitable[None]]


class Fault(NamedTuple):
    """One row. `inject` returns when the fault is over.

    `apache` = it needs a broker with a disk, or with a listener for the proxy; `naive` = a control: a worker as one
    writes it first is run instead, and the books must find harm.
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
    naive: bool = False


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


async def refuse(scene: Scene) -> None:
    """Have the broker refuse every action for 5 s, as too large: more replicas than there are it would not ask for."""
    await _largest(scene, 100)
    await asyncio.sleep(5)
    await scene.look()
    await _largest(scene, 1 << 20)


async def _largest(scene: Scene, size: int) -> None:
    topic = scene.settings.topics.enforcement
    admin = AIOKafkaAdminClient(bootstrap_servers=scene.kafka)
    await admin.start()
    wanted = {"max.message.bytes": str(size)}
    await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, wanted)])
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


async def mix(scene: Scene) -> None:
    """One thing after the other, without waiting for the last to be over."""
    for inject in (pause_store, kill_worker, reset_links, join_and_leave, pause_broker, tell_worker, kill_store):
        await inject(scene)
        await asyncio.sleep(1)


FAULTS: Final[Sequence[Fault]] = (
    Fault("F0", "none", nothing),
    Fault("F1", "worker killed", kill_worker, full=10),
    Fault("F1a", "worker killed, killed catching up", kill_catching_up, full=5),
    Fault("F1b", "two workers, killed in turn", kill_often, quick=0, full=5, workers=2),
    Fault("F2", "worker told to stop", tell_worker),
    Fault("F3", "worker stunned past its session", stun_worker, workers=2),
    Fault("F4", "second worker joins and leaves", join_and_leave),
    Fault("F5a", "broker paused 5 s", pause_broker),
    Fault("F5b", "broker killed", kill_broker, apache=True),
    Fault("F7a", "store paused 5 s", pause_store),
    Fault("F7b", "store killed, restarted from its file", kill_store),
    Fault("F7c", "store paused 1 s, five times", blink_store, quick=0),
    Fault("F7d", "store paused, worker killed meanwhile", kill_without_store, quick=0),
    Fault("F8a", "store slow", slow_store, quick=0),
    Fault("F8b", "connections reset, ten times", reset_links),
    Fault("F8c", "store's connections reset, once", reset_store_once, quick=0),
    Fault("F9", "workers cut off from the broker", part, apache=True),
    Fault("F10", "broker refuses actions 5 s", refuse, apache=True),
    Fault("F18", "everything replayed", replay),
    Fault("F19", "every event published twice, worker killed", kill_worker, quick=0, twice=True),
    Fault("F20", "one record in five is bad, worker killed", kill_worker, bad_share=0.25),
    Fault("C1", "control: a naive worker killed", kill_catching_up, full=1, bad_share=0.0, naive=True),
    Fault("F22", "a mix of all", mix, quick=0, full=10),
)
