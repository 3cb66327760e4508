"""What happens to a batch, from records to durable effects. Everything that waits or fails on the way is here.

    decode ─ judge ─ ledger (strikes) ─ decide ─ send, acknowledged ─ ledger (record) ─▶ return

`chat` and `commands` return only when every effect of the batch is durable; then, and only then, the agent acknowledges
it. What cannot be done yet is tried again in place. The one other way out is `Stale`: the partition has another owner.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import structlog

from moderation.actions import Action, Source, due_since
from moderation.errors import DeadReason, EventError, QingliuError, StoreUnavailable
from moderation.events import decode_event
from moderation.order import decode_command
from moderation.signature import Signing, check
from streams import canary
from streams.bulletin import Bulletin
from streams.drain import DrainLimit
from streams.lag import MARKERS
from streams.letters import Letters
from streams.metrics import NO_LABEL
from streams.orders import Orders
from streams.outbox import LettersNotSent
from streams.transport import split
from streams.turns import Turns
from streams.verdicts import Pending, decided

if TYPE_CHECKING:
    from moderation.decide import Finding, Outcome
    from moderation.events import ChatEvent
    from moderation.moderator import Moderator
    from moderation.record import Record
    from moderation.ruleset import RuleSet
    from streams.health import Health
    from streams.ledger import Ledger
    from streams.metrics import Metrics
    from streams.outbox import Letter, Outbox
    from streams.past import Past
    from streams.settings import Topics

log = structlog.get_logger()
T = TypeVar("T")

#: Judging yields to the event loop this often, so that heartbeats, commits and health are served: about 15 ms of work.
YIELD_EVERY: Final = 200
#: And after so much: 200 long lines full of terms took two seconds (2026-11-22, bench/attacks.py).
YIELD_BYTES: Final = 48 * 1024
#: How long a batch waits for the ledger before it is judged without history.
STORE_PATIENCE_S: Final = 2.0
RETRY_S: Final = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
#: Actions kept for the ledger while it is away; beyond it the oldest can no longer be reverted by id.
UNRECORDED_MOST: Final = 50_000


class Stale(QingliuError):
    """The partition was given to another worker: abandon the batch without acknowledging it."""


Fresh = Callable[[], bool]


class Judged(NamedTuple):
    """A chat record and what was found in it."""

    record: Record
    finding: Finding


class Pipeline:
    """One worker's way from batches to effects. `now_ms` is the time, in ms since 1970; `clock` counts seconds."""

    def __init__(  # noqa: PLR0913  all that it works with, each to be replaced in tests
        self,
        moderator: Moderator,
        ledger: Ledger,
        outbox: Outbox,
        topics: Topics,
        metrics: Metrics,
        health: Health,
        *,
        past: Past | None = None,
        drain: DrainLimit | None = None,
        signing: Signing | None = None,
        bulletin: Bulletin | None = None,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.moderator = moderator
        self._ledger = ledger
        self._outbox = outbox
        self._signing = signing or Signing()
        self._letters = Letters(topics, self._signing)
        self._orders = Orders(moderator, ledger, self._letters, metrics)
        self._metrics = metrics
        self._health = health
        self._past = past
        self._drain = drain or DrainLimit(1)
        self.bulletin = bulletin or Bulletin(moderator, ledger, metrics)
        #: By topic and partition: the offset after the last record that is in the windows.
        self._heard: dict[tuple[str, int], int] = {}
        self._now_ms, self._clock = now_ms, clock
        self._turns = Turns()
        self._unrecorded: dict[str, Action] = {}
        self._degraded = False

    async def chat(self, records: Sequence[Record], fresh: Fresh) -> None:
        """Moderate records of one chat topic, of each partition in order.

        Returns when all their effects are durable. Raises Stale, Draining.
        """
        self._metrics.received.labels(records[0].topic).inc(len(records))
        for first in {record.partition: record for record in reversed(records)}.values():
            await self._catch_up(first)
        started = time.perf_counter()
        async with self._turns.batch():
            judged, dead = await self._found_in(records)
            outcomes = await self._decide(judged)
        actions = [action for outcome in outcomes for action in outcome.judgement.actions]
        cases = [case for outcome in outcomes for case in outcome.cases]
        letters = [*dead, *map(self._letters.action, actions), *map(self._letters.case, cases)]
        # side by side: both are idempotent, and the batch is acknowledged only when both are done
        await asyncio.gather(self._deliver(letters, fresh), self._remember(actions))
        self._count_batch(records, started)
        self._count(judged, outcomes, dead)

    async def adopt(self, rules: RuleSet) -> None:
        """Judge by other rules from the next batch on; those that are being judged end under the old ones."""
        async with self._turns.alone():
            self.moderator.adopt(rules)

    async def commands(self, records: Sequence[Record], fresh: Fresh) -> None:
        """Carry out a batch of commands, one after the other. Raises Stale."""
        self._metrics.received.labels(records[0].topic).inc(len(records))
        started = time.perf_counter()
        for record in records:
            try:
                if self._signing.commands:
                    check(record.key, record.value, record.headers, self._signing.commands)
                command = decode_command(record.value, record.key)
            except EventError as exc:
                await self._deliver([self._dead(record, exc)], fresh)
                self._metrics.dead_letters.labels(str(exc.reason)).inc()
                continue
            deliver = partial(self._deliver, fresh=fresh)
            await self._insist(partial(self._orders.carry_out, command, record, deliver), fresh)
        self._count_batch(records, started)

    async def _catch_up(self, first: Record) -> None:
        """Hear what another worker heard of this partition before its first record here, and make nothing of it."""
        heard = self._heard.get((first.topic, first.partition))
        if self._past is None or first.offset == 0 or (heard is not None and first.offset <= heard + MARKERS):
            return
        count = 0
        async for records in self._past.before(first, heard or 0):
            async with self._turns.batch():
                await self._judge(records)
            count += len(records)
        log.info("windows rebuilt", topic=first.topic, partition=first.partition, records=count)

    # -- judging

    async def _found_in(self, records: Sequence[Record]) -> tuple[list[Judged], list[Letter]]:
        worked = time.thread_time()
        judged, dead = await self._judge(records)
        self._drain.add(len(records), len(dead))
        self._heard |= {(record.topic, record.partition): record.offset + 1 for record in records}
        self._metrics.judge_seconds.observe(time.thread_time() - worked)
        return judged, dead

    async def _judge(self, records: Sequence[Record]) -> tuple[list[Judged], list[Letter]]:
        judged: list[Judged] = []
        dead: list[Letter] = []
        for some in split(records, YIELD_EVERY, YIELD_BYTES):
            good = []
            for record in some:
                try:
                    if self._signing.events:
                        check(record.key, record.value, record.headers, self._signing.events)
                    good.append((record, decode_event(record.value, record.key)))
                except EventError as exc:
                    dead.append(self._dead(record, exc))
                except Exception as exc:  # noqa: BLE001  a bug met by one record must not stop the others
                    dead.append(self._failed(record, exc))
            judged += self._found(good, dead)
            await asyncio.sleep(0)
        return judged, dead

    def _found(self, good: Sequence[tuple[Record, ChatEvent]], dead: list[Letter]) -> list[Judged]:
        try:
            findings = self.moderator.judge([event for _, event in good])
        except Exception as exc:  # noqa: BLE001  a bug met by one message must not stop or lose the others
            if len(good) > 1:  # to judge again what was judged does no harm
                return [one for pair in good for one in self._found([pair], dead)]
            dead.append(self._failed(good[0][0], exc))
            return []
        return [Judged(record, finding) for (record, _), finding in zip(good, findings, strict=True)]

    def _failed(self, record: Record, bug: Exception) -> Letter:
        log.error("judging failed", topic=record.topic, partition=record.partition, offset=record.offset, exc_info=bug)
        return self._dead(record, EventError(DeadReason.PROCESSING_ERROR, repr(bug)))

    async def _decide(self, judged: Sequence[Judged]) -> list[Outcome]:
        """Decide on those in whom something was found; the rest, nearly all chat, is allowed without a word.

        It is not earlier than the broker took the record: a clock that is behind would send mutes that have ended.
        """
        now = self._now_ms()
        pending = [
            Pending(
                j.finding,
                max(now, j.record.timestamp),
                Source(j.record.topic, j.record.partition, j.record.offset),
            )
            for j in judged
            if j.finding.hits or j.finding.handles
        ]
        outcomes: list[Outcome] = []
        for first in range(0, len(pending), YIELD_EVERY):
            some = pending[first : first + YIELD_EVERY]
            outcomes += await decided(self.moderator, self._ledger, some, self._ask)
            await asyncio.sleep(0)
        return [outcome for outcome in outcomes if outcome.judgement.verdict != "allow"]

    async def _ask(self, question: Callable[[], Awaitable[T]]) -> T | None:
        """Ask the ledger, with patience; None where it stays away.

        A worker that was itself stopped for longer finds a timeout too, which says nothing of the ledger: it asks on.
        """
        until, stopped = self._clock() + STORE_PATIENCE_S, False
        while True:
            asked = self._clock()
            try:
                answer = await question()
            except StoreUnavailable as exc:
                self._metrics.store_errors.inc()
                now = self._clock()
                if not stopped and now - asked > STORE_PATIENCE_S:
                    until, stopped = now + STORE_PATIENCE_S, True
                if self._degraded or now > until:
                    self._degrade(on=True, why=str(exc))
                    return None
                await asyncio.sleep(RETRY_S[0])
            else:
                self._metrics.store_seconds.observe(self._clock() - asked)
                self._degrade(on=False)
                return answer

    # -- effects

    async def _deliver(self, letters: Sequence[Letter], fresh: Fresh) -> None:
        """Send letters until all are sent, those of one player in order. Raises Stale."""
        if not letters:
            return
        left = letters

        async def send() -> None:
            nonlocal left
            try:
                await self._outbox.send(left)
            except LettersNotSent as exc:
                left = exc.letters
                raise

        await self._insist(send, fresh)

    async def _insist(self, deed: Callable[[], Awaitable[None]], fresh: Fresh) -> None:
        """Do it until it is done. Raises Stale where the partition is no longer ours."""
        for attempt in range(1 << 30):
            if not fresh():
                self._metrics.stale_batches.inc()
                self._health.back("produce")  # whether it would be taken now, the partition's new owner finds out
                raise Stale
            try:
                await deed()
            except (LettersNotSent, StoreUnavailable) as exc:
                self._metrics.produce_retries.inc()
                self._health.away("produce" if isinstance(exc, LettersNotSent) else "store")
                log.warning("retrying", attempt=attempt + 1, error=str(exc))
                await asyncio.sleep(RETRY_S[min(attempt, len(RETRY_S) - 1)])
            else:
                self._health.back("produce")
                return

    async def _remember(self, actions: Sequence[Action]) -> None:
        """Write actions to the ledger; what it cannot take now waits for the next batch."""
        self._unrecorded |= {one.action_id: one for one in actions if one.target.account_id != canary.ACCOUNT}
        if not self._unrecorded:
            return
        while len(self._unrecorded) > UNRECORDED_MOST:
            del self._unrecorded[next(iter(self._unrecorded))]
        waiting = tuple(self._unrecorded.values())
        if await self._ask(lambda: self._record(waiting)):
            for action in waiting:
                self._unrecorded.pop(action.action_id, None)

    async def _record(self, actions: Sequence[Action]) -> bool:
        await self._ledger.record(actions)
        return True

    def _dead(self, record: Record, why: EventError) -> Letter:
        return self._letters.dead(record, why, self.moderator.rules.hash)

    # -- counting, once all is durable

    def _count_batch(self, records: Sequence[Record], started: float) -> None:
        self._metrics.batch_records.observe(len(records))
        self._metrics.batch_seconds.observe(time.perf_counter() - started)

    def _count(self, judged: Sequence[Judged], outcomes: Sequence[Outcome], dead: Sequence[Letter]) -> None:
        m, now = self._metrics, self._now_ms()
        events = [one.finding.event for one in judged]
        m.outcomes.labels("allow").inc(len(judged) - len(outcomes))
        channels = {one.event_id: one.channel for one in events} if outcomes else {}
        allowed = Counter(one.channel for one in events)
        allowed.subtract(channels[outcome.judgement.event_id] for outcome in outcomes)
        for channel, count in allowed.items():
            m.verdicts.labels("allow", NO_LABEL, channel).inc(max(0, count))
        m.windows_senders.set(len(self.moderator.windows))
        m.windows_evicted.inc(self.moderator.windows.evicted())
        m.unrecorded_actions.set(len(self._unrecorded))
        if events:
            m.event_age_seconds.observe(max(0, now - events[0].ts) / 1000)
        for letter in dead:
            m.outcomes.labels("dead_letter").inc()
            m.dead_letters.labels(letter.headers[0][1].decode()).inc()
        self.bulletin.heard([j.finding for j in judged])
        for j in judged:
            for hit in j.finding.hits:
                m.rule_hits.labels(hit.rule, hit.status).inc()
        for outcome in outcomes:
            self._count_outcome(outcome, channels[outcome.judgement.event_id], now)

    def _count_outcome(self, outcome: Outcome, channel: str, now: int) -> None:
        m, judgement = self._metrics, outcome.judgement
        m.outcomes.labels(judgement.verdict).inc()
        m.verdicts.labels(judgement.verdict, judgement.label or NO_LABEL, channel).inc()
        for case in outcome.cases:
            m.cases.labels(case.why_human).inc()
        for action in judgement.actions:
            m.actions.labels(action.action, action.label or NO_LABEL, "auto").inc()
            since = due_since(action)
            if since is not None:
                m.enforcement_latency_seconds.observe(max(0, now - since) / 1000)

    def _degrade(self, *, on: bool, why: str = "") -> None:
        if on != self._degraded:
            log.warning("ledger away: judging without history" if on else "ledger back", error=why)
            self._degraded = on
            self._metrics.degraded.set(on)
            self._health.store(degraded=on)
