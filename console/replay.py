"""One rule set's run through a recording: the engine, ladders and campaigns as in a worker, by the events' clock.

What comes back of a batch is only what was noticed: a hit, a verdict, a deed. State is bounded (see `PLAYERS`). A
replay may live in a process of its own, so that two rule sets take two cores.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import time
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final

from msgspec import Struct, structs

from moderation.actions import Hit, Label, Verdict
from moderation.context import Tier, tier
from moderation.errors import EventError
from moderation.events import decode_event
from moderation.moderator import Moderator
from moderation.rulefile import read
from moderation.ruleset import RuleSet
from streams import garbage
from streams.ledger import MemoryLedger
from streams.verdicts import Pending, decided

if TYPE_CHECKING:
    from collections.abc import Sequence

    from console.survey import Survey
    from moderation.actions import Action
    from moderation.decide import Finding, Outcome
    from moderation.events import ChatEvent
    from moderation.places import Found
    from moderation.reading import Reading, Whole
    from moderation.ruleset import Contents
    from moderation.trial import Trial
    from streams.bundle import Layers

#: Players with strikes, and pieces of evidence of campaigns, that a replay remembers: those not seen for longest are
#: forgotten, and counted.
PLAYERS: Final = 200_000
EVIDENCE: Final = 100_000
_MINUTE_MS: Final = 60_000


class Deed(Struct, frozen=True):
    """What is done to a player: retract, mute or ban; `seconds` 0 is for ever. `id` is the action's."""

    id: str
    kind: str
    account: str
    tier: str
    seconds: int
    campaign: str = ""


class Noticed(Struct, frozen=True):
    """What was made of one event: `at` is its place in the batch, `case` why a human should look, if one should."""

    at: int
    ts: int
    account: str
    tier: Tier
    verdict: Verdict
    label: Label | None
    score: float
    hits: tuple[Hit, ...]
    deeds: tuple[Deed, ...]
    case: str = ""


class Batch(Struct, frozen=True):
    """What was made of a batch: its events by minute of their time, the lines that were none, what was noticed."""

    minutes: dict[int, int]
    dead: int
    noticed: tuple[Noticed, ...]

    @property
    def events(self) -> int:
        """How many events were judged."""
        return sum(self.minutes.values())


class Summary(Struct, frozen=True):
    """What is said of a whole replay.

    Its rule set: the hash, the status of each rule as it was written, the (review, act) scores of its labels. What it
    cost: by rule how often it was tried and for how long (s); all in all (s). And how much was forgotten.
    """

    ruleset: str
    statuses: dict[str, str]
    thresholds: tuple[tuple[int, int], ...]
    tries: dict[str, int]
    seconds: dict[str, float]
    total: float
    forgotten: int


class _Timed(Moderator):
    """A moderator that times each rule it tries. What the rules share, scanning above all, is nobody's."""

    def __init__(self, rules: RuleSet, survey: Survey | None = None) -> None:
        self.tries: Counter[str] = Counter()
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._survey = survey
        super().__init__(rules)

    def _judge(self, reading: Reading, whole: Whole | None) -> Finding:
        if self._survey:
            self._survey.read(reading)
        return super()._judge(reading, whole)

    def _try(self, trial: Trial, reading: Reading) -> Found | None:
        started = time.perf_counter()
        place = super()._try(trial, reading)
        self.seconds[trial.rule.id] += time.perf_counter() - started
        self.tries[trial.rule.id] += 1
        return place


class Replay:
    """Judges a recording batch by batch under one rule set; `promoted`: as if its shadow rules were live.

    `survey` is shown what was read and decided. Raises RuleSetRejected.
    """

    def __init__(self, layers: Layers, *, promoted: bool = False, survey: Survey | None = None) -> None:
        with garbage.left():
            self._contents = read(layers)
            self.rules = RuleSet(_promoted(self._contents) if promoted else self._contents)
        self._moderator = _Timed(self.rules, survey)
        self._survey = survey
        self._ledger = MemoryLedger(PLAYERS, EVIDENCE)
        self._total = 0.0

    async def batch(self, lines: Sequence[bytes]) -> Batch:
        """Judge lines in order."""
        started = time.perf_counter()
        read = [(at, event) for at, line in enumerate(lines) if (event := _event(line)) is not None]
        findings = self._moderator.judge([event for _, event in read])
        worth = [(at, f) for (at, _), f in zip(read, findings, strict=True) if f.hits or f.handles]
        pending = [Pending(finding, finding.event.ts) for _, finding in worth]
        outcomes = await decided(self._moderator, self._ledger, pending) if pending else []
        if self._survey:
            for (_, finding), outcome in zip(worth, outcomes, strict=True):
                self._survey.decided(finding, outcome)
        noticed = (self._noticed(at, f, out) for (at, f), out in zip(worth, outcomes, strict=True))
        minutes = Counter(event.ts // _MINUTE_MS for _, event in read)
        self._total += time.perf_counter() - started
        return Batch(dict(minutes), len(lines) - len(read), tuple(one for one in noticed if one))

    def summary(self) -> Summary:
        """Sum up what was judged so far."""
        return Summary(
            self.rules.hash,
            {rule.id: rule.status for rule in self._contents.rules},
            tuple(sorted({(bar.review, bar.act) for bar in self._contents.policy.labels.values()})),
            dict(self._moderator.tries),
            dict(self._moderator.seconds),
            self._total,
            self._ledger.forgotten + self._ledger.campaigns.forgotten,
        )

    def _noticed(self, at: int, finding: Finding, outcome: Outcome) -> Noticed | None:
        judgement, event = outcome.judgement, finding.event
        if not (finding.hits or judgement.verdict != "allow" or outcome.cases):
            return None
        rank = tier(event, self.rules.policy.bounds)
        return Noticed(
            at,
            event.ts,
            event.sender.account_id,
            rank,
            judgement.verdict,
            judgement.label,
            judgement.score,
            judgement.hits,
            tuple(_deed(action, rank) for action in judgement.actions),
            outcome.cases[0].why_human if outcome.cases else "",
        )


def _promoted(contents: Contents) -> Contents:
    live = (structs.replace(one, status="live") if one.status == "shadow" else one for one in contents.rules)
    return structs.replace(contents, rules=tuple(live))


def _event(line: bytes) -> ChatEvent | None:
    try:
        return decode_event(line.rstrip(b"\r"), keyed=False)
    except EventError:
        return None


def _deed(action: Action, rank: str) -> Deed:
    kind = "retract" if action.action == "revert" else str(action.action)
    who = action.evidence.who.tier if action.evidence else rank
    account = action.target.account_id
    return Deed(action.action_id, kind, account, who, action.duration_s or 0, action.campaign_id or "")


# A replay in a process of its own: the process has one, made when it starts.

_mine: list[Replay] = []


def begin(layers: Layers, promoted: bool) -> None:  # noqa: FBT001  an executor knows no names
    """Make this process's replay. Raises RuleSetRejected."""
    _mine[:] = [Replay(layers, promoted=promoted)]
    garbage.settle()
    atexit.register(os._exit, 0)  # to let go of what was remembered, object by object, took a second


def judge(lines: Sequence[bytes]) -> Batch:
    """Judge a batch in this process."""
    return asyncio.run(_mine[0].batch(lines))


def summary() -> Summary:
    """Sum up this process's replay."""
    return _mine[0].summary()
