"""The ledger as the console's commands reach it: a question, and a connection that lasts as long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from moderation.errors import SettingsError
from streams.ledger import Ledger, RedisLedger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from streams.settings import Settings

T = TypeVar("T")

#: A person waits for this answer, so the store may take its time. Seconds.
STORE_S: Final = 5.0


async def asked(settings: Settings, question: Callable[[Ledger], Awaitable[T]]) -> T:
    """Ask the ledger. Raises SettingsError where none is set, StoreUnavailable where it is away."""
    if settings.redis is None:
        raise SettingsError("QINGLIU_REDIS is not set: the ledger that knows actions, appeals and campaigns")
    ledger = RedisLedger(settings.redis.get_secret_value(), prefix=settings.redis_prefix, timeout_s=STORE_S)
    try:
        return await question(ledger)
    finally:
        await ledger.close()
