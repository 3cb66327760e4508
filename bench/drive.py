"""Chat into real workers and actions out of them, timed from outside, as a game server sees it.

Open loop: each message has its time, whether or not the workers keep up, and its latency counts from that time, so that
a sender that is held up hides nothing (no coordinated omission). Behind the last message each partition gets a marker
that nobody lets pass; when all markers are answered, by an action, or by a case where a rule has used up its budget, so
is everything before them.
"""

from __future__ import annotations

import asyncio
import os
import time
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
from aiohttp import ClientSession
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from bench.consumers import SESSION_S
from bench.faults.crew import COMMANDS, Worker
from bench.lines import key_value, said
from bench.part import ROOT, RULES, NotMeasured
from moderation.actions import Action, Case, due_since
from streams.settings import PREFIX

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import ExitStack

    from bench.pair import Pair
    from moderation.events import ChatEvent

WITHIN_S: Final = 900.0
#: The sender lets others run at least so often.
YIELD_EVERY: Final = 50
LINGER_MS: Final = 1
_runs: Final = count()
_actions: Final = msgspec.json.Decoder(Action)
_cases: Final = msgspec.json.Decoder(Case)


class Driven(NamedTuple):
    """What came of some chat: messages a second, ms from each message that was acted on to its action, in order.

    `late_ms` is how late messages were sent, in order: part of the latency that is our own doing.
    """

    per_s: float
    latencies_ms: Sequence[float]
    late_ms: Sequence[float]


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return what this share of the values does not exceed. Raises NotMeasured where there are none."""
    if not ordered:
        raise NotMeasured("no message was acted on")
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def environment(**settings: object) -> dict[str, str]:
    """Return the environment of a worker of this tree with these settings, and none of whoever measures."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    ours = {"rules": RULES, "log_level": "error", **settings}
    return clean | {"PYTHONPATH": str(ROOT)} | {f"{PREFIX}{name.upper()}": str(value) for name, value in ours.items()}


class Drive:
    """Workers on topics of their own, each a process; they end with `stack`."""

    def __init__(self, pair: Pair, stack: ExitStack, *, partitions: int = 4, workers: int = 1) -> None:
        self._pair, self._partitions = pair, partitions
        prefix = f"drive{next(_runs)}."
        self._topics = pair.settings(prefix, partitions).topics
        pair.topics(prefix, partitions)
        env = environment(
            kafka=pair.kafka,
            redis=pair.redis,
            redis_prefix=prefix.rstrip("."),
            topic_prefix=prefix,
            session_timeout_s=SESSION_S,
            heartbeat_s=SESSION_S / 4,
        )
        home = Path(stack.enter_context(TemporaryDirectory(prefix="qingliu-bench-")))
        self.workers = [Worker(f"worker-{n}", COMMANDS["real"], env, home) for n in range(workers)]
        stack.callback(self.end)
        pair.run(self._balanced())

    def end(self) -> None:
        """Tell all workers to stop, and wait."""
        self._pair.run(self._end())

    async def _end(self) -> None:
        await asyncio.gather(*(worker.stop() for worker in self.workers))

    async def _balanced(self) -> None:
        """Start the workers, and wait until each has its share of the partitions, and there is none that nobody has.

        Raises NotMeasured where that takes too long.
        """
        for worker in self.workers:
            await worker.start()
        held: list[int] = []
        try:
            await asyncio.gather(*(worker.ready() for worker in self.workers))
            async with asyncio.timeout(WITHIN_S), ClientSession() as http:
                while not (held and all(held) and max(held) - min(held) <= len(self._topics)):
                    await asyncio.sleep(0.1)
                    held = [await _held(http, worker.port) for worker in self.workers]
        except TimeoutError:
            raise NotMeasured(
                f"the workers were not ready in time, each with its share; they hold {held} partitions"
            ) from None

    def say(self, events: Sequence[ChatEvent], per_s: float = float("inf")) -> Driven:
        """Send chat at this rate and wait for every action that follows."""
        return self._pair.run(self._say(events, per_s))

    async def _say(self, events: Sequence[ChatEvent], per_s: float) -> Driven:
        lines = [(event.event_id, *key_value(event)) for event in events]
        marks = [_mark(next(_runs)) for _ in range(self._partitions)]
        answers = (self._topics.enforcement, self._topics.cases)
        servers = {"bootstrap_servers": self._pair.address}
        async with (
            AIOKafkaConsumer(*answers, **servers, group_id=None, fetch_max_wait_ms=2) as consumer,
            AIOKafkaProducer(**servers, linger_ms=LINGER_MS, max_batch_size=1 << 19) as producer,
        ):
            await consumer.seek_to_end()
            intended: dict[str, float] = {}
            awaiting = {mark.event_id for mark in marks}
            reading = asyncio.create_task(_read(consumer, intended, awaiting))
            began, late = await _send(producer, self._topics.world, lines, per_s, intended)
            for partition, mark in enumerate(marks):
                key, value = key_value(mark)
                await producer.send(self._topics.world, value, key=key, partition=partition)
            latencies = await self._answered(reading)
            return Driven(len(lines) / (time.perf_counter() - began), sorted(latencies), sorted(late))

    async def _answered(self, reading: asyncio.Task[list[float]]) -> list[float]:
        """Wait for all answers. Raises NotMeasured where they do not come, or a worker ends."""
        ends = [asyncio.create_task(worker.process.wait()) for worker in self.workers]
        try:
            await asyncio.wait([reading, *ends], timeout=WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                return reading.result()
            why = next((f"a worker ended with {end.result()}" for end in ends if end.done()), "no answer")
            raise NotMeasured(f"{why}: the workers were to act within {WITHIN_S:.0f} s")
        finally:
            for task in (reading, *ends):
                task.cancel()


def _mark(number: int) -> ChatEvent:
    """Return a message that the shipped rules never let pass, by somebody new, with a contact of its own."""
    name = f"mark{number}"
    event = said(f"出金加QQ 7381{number:05d}", number, name)
    return msgspec.structs.replace(event, event_id=name, ts=time.time_ns() // 1_000_000)


async def _send(
    producer: AIOKafkaProducer,
    topic: str,
    lines: Sequence[tuple[str, bytes, bytes]],
    per_s: float,
    intended: dict[str, float],
) -> tuple[float, list[float]]:
    """Send each line when it is due; return when the first one was, and by how many ms each was late."""
    began, lates = time.perf_counter(), []
    for number, (event_id, key, value) in enumerate(lines):
        due = intended[event_id] = began + number / per_s
        early = due - time.perf_counter()
        if early > 0 or number % YIELD_EVERY == 0:
            await asyncio.sleep(max(0.0, early))
        await producer.send(topic, value, key=key)
        lates.append((time.perf_counter() - due) * 1000)
    return began, lates


async def _read(consumer: AIOKafkaConsumer, intended: dict[str, float], awaiting: set[str]) -> list[float]:
    """Return the latency of each message that was acted on, in ms, once every marker is answered."""
    latencies, seen = [], set[str]()
    while awaiting:
        fetched = await consumer.getmany(timeout_ms=1000)
        now = time.perf_counter()
        for record in (one for records in fetched.values() for one in records):
            if record.topic.endswith("cases"):
                awaiting.discard(_cases.decode(record.value).event.event_id)
                continue
            action = _actions.decode(record.value)
            awaiting.discard(action.event_id or "")
            if action.event_id in intended and action.event_id not in seen and _at_once(action):
                seen.add(action.event_id)
                latencies.append((now - intended[action.event_id]) * 1000)
    return latencies


def _at_once(action: Action) -> bool:
    """Tell whether an action was due since its message: a campaign may bring one for a message of long ago."""
    return action.evidence is not None and due_since(action) == action.evidence.when.event


async def _held(http: ClientSession, port: int) -> int:
    """Return how many partitions a worker holds."""
    async with http.get(f"http://127.0.0.1:{port}/readyz") as answer:
        return int((await answer.json())["partitions"])
