"""Creating the topics. In production they belong to operations; this is the command they may run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

from moderation.errors import SettingsError
from streams.connection import connection

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streams.settings import Settings, Topics

_DAY_MS: Final = 86_400_000
#: Chat waits out a weekend; what was decided is kept long enough to answer an appeal; who looked at what, for ever.
RETENTION_MS: Final = {"chat": 3 * _DAY_MS, "moderation": 90 * _DAY_MS, "audit": -1}


def plan(settings: Settings) -> list[NewTopic]:
    """Say which topics there should be. Both chat topics have the same number of partitions: see streams/app.py."""
    return [
        NewTopic(name, settings.partitions, settings.replication, topic_configs=_config(settings.topics, name))
        for name in settings.topics
    ]


def _config(topics: Topics, name: str) -> Mapping[str, str]:
    kinds = {topics.world: "chat", topics.private: "chat", topics.audit: "audit"}
    return {"retention.ms": str(RETENTION_MS[kinds.get(name, "moderation")]), "cleanup.policy": "delete"}


async def create_topics(settings: Settings, kafka: str) -> list[str]:
    """Create the topics that are missing; returns their names. Raises SettingsError where the broker refuses."""
    admin = AIOKafkaAdminClient(**connection(settings, kafka))
    try:
        await admin.start()
        there = set(await admin.list_topics())
        missing = [topic for topic in plan(settings) if topic.name not in there]
        if missing:
            await admin.create_topics(missing)
        return [topic.name for topic in missing]
    except (KafkaError, OSError) as exc:
        raise SettingsError(f"topics cannot be created on {kafka}: {exc!r}") from exc
    finally:
        await admin.close()
