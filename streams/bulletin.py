"""The bulletin: what people decided since the rules were written, asked of the store every few seconds.

Rules that were overturned too often or hit more than their band allows, handles that were marked or allowed. Judging
reads what is here and never waits for it; while the store is away, what was known last stays.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

import structlog

from moderation.errors import StoreUnavailable
from streams.rates import Rates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from prometheus_client import Gauge

    from moderation.appeal import RuleKey
    from moderation.band import Fallen
    from moderation.decide import Finding
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
        self._rates = Rates()
        #: Rules that fell by what this worker told, for whoever writes it into the audit log.
        self.fell: asyncio.Queue[Fallen] = asyncio.Queue()

    def heard(self, findings: Sequence[Finding]) -> None:
        """Count what was found, for the bands of rules, once all its effects are durable."""
        self._rates.heard(findings, self._moderator.rules)

    async def read(self) -> None:
        """Ask once, and tell whoever judges. Raises StoreUnavailable; then what could not be asked is as it was."""
        now, appeals, bands = self._now_ms(), self._ledger.appeals, self._ledger.bands
        overturned, fallen, marked, waiting = await asyncio.gather(
            appeals.overturned(), bands.fallen(), self._ledger.campaigns.marked(now), appeals.waiting(now)
        )
        self._doubt(overturned, fallen)
        self._moderator.recall.told(marked.bad, marked.allowed)
        self._metrics.appeals_open.set(waiting.open)
        self._metrics.appeals_overdue.set(waiting.overdue)
        # last: a store that does not let us count, since its users are of an older version, must not hold up the rest
        fell = await self._rates.told(bands, self._moderator.rules, now)
        for one in fell:
            log.error("rule out of its band", rule=one.rule, revision=one.revision, why=one.why)
            self.fell.put_nowait(one)
        if fell:
            self._doubt(overturned, [*fallen, *fell])

    async def follow(self) -> None:
        """Ask for ever."""
        while True:
            await asyncio.sleep(EVERY_S)
            await self.look()

    async def look(self) -> None:
        """Ask once; a store that is away, or holds what nobody expects, leaves what was known, and is counted."""
        try:
            await self.read()
        except StoreUnavailable:
            self._metrics.store_errors.inc()
        except Exception:
            log.exception("bulletin not read")
            self._metrics.store_errors.inc()

    def _doubt(self, overturned: frozenset[RuleKey], fallen: Iterable[Fallen]) -> None:
        """Leave to humans what people overturned, and what left its band, of the rules in force."""
        rules = {(rule.id, rule.revision) for rule in self._moderator.rules.rules}
        beyond = {(one.rule, one.revision) for one in fallen}
        for metric, known in ((self._metrics.rule_overturned, overturned), (self._metrics.rule_out_of_band, beyond)):
            self._shown(metric, (rule for rule, _ in rules & known))
        down = frozenset(rule for rule, _ in rules & (overturned | beyond))
        for rule in down ^ self._moderator.overturned:
            log.warning("rule left to humans" if rule in down else "rule acts again", rule=rule)
        self._moderator.overturned = down

    @staticmethod
    def _shown(metric: Gauge, rules: Iterable[str]) -> None:
        """Set a gauge to 1 for these rules, and to 0 for those that it was 1 for."""
        now = set(rules)
        before = {sample.labels["rule"] for family in metric.collect() for sample in family.samples}
        for rule in before | now:
            metric.labels(rule).set(rule in now)
