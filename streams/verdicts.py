"""From findings to outcomes, with what the ledger remembers: strikes of players, campaigns of handles.

    findings ─┬─ strikes ───▶ ledger ────▶ standings ─┐
              └─ sightings ─▶ campaigns ─▶ joined ────┴─▶ outcomes, in order

The worker and the command line come by here, so that both decide alike. Where the ledger stays away, whoever had a
strike coming is decided without history, and campaigns are left alone.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from moderation import campaign
from moderation.sweep import Sweep, merged

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from moderation.actions import Source
    from moderation.campaign import Joined, Sighting
    from moderation.decide import Finding, Outcome
    from moderation.moderator import Moderator
    from moderation.standing import Standing, Strike
    from streams.ledger import Ledger

T = TypeVar("T")


class Pending(NamedTuple):
    """A finding to be decided, at what time (ms), and where its event stood."""

    finding: Finding
    now: int
    source: Source | None = None


class Asking(Protocol):
    """How the ledger is asked: None where it does not answer."""

    async def __call__(self, question: Callable[[], Awaitable[T]], /) -> T | None: ...  # noqa: D102  a function


async def answer(question: Callable[[], Awaitable[T]]) -> T | None:
    """Ask a ledger that cannot be away."""
    return await question()


async def decided(
    moderator: Moderator,
    ledger: Ledger,
    pending: Sequence[Pending],
    ask: Asking = answer,
) -> list[Outcome]:
    """Decide findings in order, asking once for all: one outcome each."""
    strikes = [moderator.strike(p.finding, p.now) if p.finding.hits else None for p in pending]
    sightings = [moderator.sighting(p.finding, p.now) for p in pending]
    standings, joined = await asyncio.gather(
        _standings(ledger, strikes, ask), _joined(ledger, sightings, moderator, ask)
    )
    outcomes = [
        moderator.decide(p.finding, p.now, standing, source=p.source, degraded=standings is None and strike is not None)
        for p, strike, standing in zip(pending, strikes, standings or [None] * len(pending), strict=True)
    ]
    policy, overturned = moderator.rules.policy, moderator.overturned
    return [
        _swept(moderator, p, outcome, campaign.doubting(one, overturned, policy)) if one else outcome
        for p, outcome, one in zip(pending, outcomes, joined, strict=True)
    ]


async def _standings(ledger: Ledger, strikes: Sequence[Strike | None], ask: Asking) -> list[Standing | None] | None:
    """Return a standing for every strike, None for none of them where the ledger is away."""
    asked = [strike for strike in strikes if strike]
    told = await ask(lambda: ledger.strike(asked)) if asked else []
    if told is None:
        return None
    each = iter(told)
    return [next(each) if strike else None for strike in strikes]


async def _joined(
    ledger: Ledger, sightings: Sequence[Sighting | None], moderator: Moderator, ask: Asking
) -> list[Joined | None]:
    seen = [sighting for sighting in sightings if sighting]
    told = await ask(lambda: ledger.campaigns.sight(seen, moderator.rules.policy.campaigns)) if seen else []
    each = iter(told if told is not None else [None] * len(seen))
    return [next(each) if sighting else None for sighting in sightings]


def _swept(moderator: Moderator, pending: Pending, outcome: Outcome, joined: Joined) -> Outcome:
    rules = moderator.rules
    sweep = Sweep(rules.policy, rules.hash, joined, pending.finding.event, pending.source)
    return merged(outcome, joined, sweep.outcome())
