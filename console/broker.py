"""The broker as the console's commands reach it: clients of aiokafka, and one sentence where it does not answer."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from console import Unreachable
from console.trouble import told
from moderation.errors import SettingsError
from streams.connection import connection
from streams.topics import create_topics, plan

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from streams.settings import Settings


#: Until a broker that does not answer counts as away.
PATIENCE_MS: Final = 5_000
logging.getLogger("aiokafka").addHandler(logging.NullHandler())  # what it would print, `told` says once and better


def client(settings: Settings) -> dict[str, Any]:
    """Return what every aiokafka client is made with. Raises SettingsError where no broker is set."""
    if not settings.kafka:
        raise SettingsError("QINGLIU_KAFKA is not set: write it as kafka://host:9092")
    return connection(settings, settings.kafka)


@asynccontextmanager
async def reached(settings: Settings, *clients: Any) -> AsyncIterator[None]:
    """Start clients, and stop them at the end. Raises Unreachable if the broker does not answer, now or later."""
    try:
        for one in clients:
            await one.start()
        yield
    except (KafkaError, OSError) as exc:
        raise Unreachable(await told(settings, exc)) from exc
    finally:
        for one in clients:
            await (one.close() if isinstance(one, AIOKafkaAdminClient) else one.stop())


async def make_topics(settings: Settings, *, dry_run: bool) -> list[str]:
    """Create the topics that are missing, unless `dry_run`; return their names either way."""
    admin = AIOKafkaAdminClient(**client(settings), request_timeout_ms=PATIENCE_MS)
    async with reached(settings, admin):
        there = set(await admin.list_topics())
    if not dry_run:
        return await create_topics(settings, settings.kafka or "")
    return [topic.name for topic in plan(settings) if topic.name not in there]
