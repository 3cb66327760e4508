"""The embedded broker and store for measurements that do not wait themselves, filled with chat beforehand."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, TypeVar

from aiokafka import AIOKafkaProducer

from bench.lines import key_value
from streams.embedded import Embedded
from streams.settings import Settings
from streams.topics import create_topics

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable
    from contextlib import ExitStack

    from moderation.events import ChatEvent

T = TypeVar("T")
#: Half a million records are no more than this.
MOST_BYTES: Final = 2 << 30


class Pair:
    """A running broker and store, and the loop they are waited for on."""

    def __init__(self, runner: asyncio.Runner, servers: Embedded) -> None:
        self._runner = runner
        self.kafka, self.redis = servers.kafka, servers.redis
        self.address = servers.kafka.removeprefix("kafka://")

    def run(self, job: Coroutine[Any, Any, T]) -> T:
        """Wait for something."""
        return self._runner.run(job)

    def settings(self, prefix: str, partitions: int) -> Settings:
        """Return the settings of workers whose topics begin with `prefix`."""
        return Settings.load({"topic_prefix": prefix, "partitions": partitions}, env_file=None)

    def topics(self, prefix: str, partitions: int) -> None:
        """Create the topics of a prefix."""
        self.run(create_topics(self.settings(prefix, partitions), self.kafka))

    def fill(self, topic: str, events: Iterable[ChatEvent]) -> None:
        """Write chat into a topic that is there."""
        self.run(fill(self.address, topic, events))


async def fill(address: str, topic: str, events: Iterable[ChatEvent]) -> None:
    """Write chat into a topic, keyed by sender; return when the broker has it."""
    async with AIOKafkaProducer(bootstrap_servers=address, linger_ms=20, max_batch_size=1 << 19) as producer:
        for event in events:
            key, value = key_value(event)
            await producer.send(topic, value, key=key)
        await producer.flush()


def embedded(stack: ExitStack) -> Pair:
    """Start a broker and a store that end with `stack`. Raises SettingsError where they are not installed."""
    runner = stack.enter_context(asyncio.Runner())
    servers = Embedded(max_bytes=MOST_BYTES)
    runner.run(servers.__aenter__())
    stack.callback(lambda: runner.run(servers.__aexit__()))
    return Pair(runner, servers)
