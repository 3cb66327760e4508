"""The bulletin: what people decided since the rules were written, asked of the store every few seconds.

Rules that were overturned too often, handles that were marked or allowed. Judging reads what is here and never waits
for it; while the store is away, what was known last stays.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

import structlog

from moderation.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from moderation.moderator import Moderator
    from streams.ledger import Ledger
    from streams.metrics import Metrics

log = structlog.get_logger()

#: How often the store is asked: a rule that hurts people must be stopped within seconds.
EVERY_S: Final = 2.0


class Bulletin:
    """What one worker knows of it. `now_ms` is the clock, in milliseconds since 1970."""

    def __init__(
        self,
        moderator: Moderator,
        ledger: Ledger,
        metrics: Metrics,
        *,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._moderator = moderator
        self._ledger = ledger
        self._metrics = metrics
        self._now_ms = now_ms

    async def read(self) -> None:
        """Ask once, and tell whoever judges. Raises StoreUnavailable; then nothing has changed."""
        now, appeals = self._now_ms(), self._ledger.appeals
        overturned, marked, waiting = await asyncio.gather(
            appeals.overturned(), self._ledger.campaigns.marked(now), appeals.waiting(now)
        )
        rules = self._moderator.rules.rules
        self._overturn(frozenset(rule.id for rule in rules if (rule.id, rule.revision) in overturned))
        self._moderator.recall.told(marked.bad, marked.allowed)
        self._metrics.appeals_open.set(waiting.open)
        self._metrics.appeals_overdue.set(waiting.overdue)

    async def follow(self) -> None:
        """Ask for ever."""
        while True:
            try:
                await self.read()
            except StoreUnavailable:
                self._metrics.store_errors.inc()
            await asyncio.sleep(EVERY_S)

    def _overturn(self, rules: frozenset[str]) -> None:
        for rule in rules ^ self._moderator.overturned:
            down = rule in rules
            self._metrics.rule_overturned.labels(rule).set(down)
            log.warning("rule left to humans: overturned" if down else "rule acts again: a new revision", rule=rule)
        self._moderator.overturned = rules
