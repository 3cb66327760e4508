"""What a worker asks of the broker before it starts: aiokafka waits without a word for rights that it does not have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupAuthorizationFailedError, KafkaError, TopicAuthorizationFailedError

from streams.connection import connection

if TYPE_CHECKING:
    from streams.settings import Settings

_PATIENCE_MS: Final = 5_000


async def may_read(settings: Settings, kafka: str) -> None:
    """Return if nothing forbids to read chat and commands in our group, as far as asking tells.

    Raises SettingsError, and KafkaError where the broker is away or says no. What may be written shows when it is.
    """
    admin = AIOKafkaAdminClient(**connection(settings, kafka), request_timeout_ms=_PATIENCE_MS)
    try:
        await admin.start()
        await _group(admin, settings.group_id)
        topics = settings.topics
        unseen = {topics.world, topics.private, topics.commands}.difference(await admin.list_topics())
        for topic in await admin.describe_topics(sorted(unseen)) if unseen else ():
            if topic["error_code"] == TopicAuthorizationFailedError.errno:
                raise TopicAuthorizationFailedError(topic["topic"])
    finally:
        await admin.close()


async def _group(admin: AIOKafkaAdminClient, group: str) -> None:
    try:
        await admin.find_coordinator(group)
    except GroupAuthorizationFailedError:
        raise GroupAuthorizationFailedError(f"group {group}") from None
    except KafkaError:  # there is none yet: a worker waits for it
        return
