"""What a backtest found, as values: the terminal, the HTML page and --json show these numbers. Pairs are (old, new)."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from moderation.actions import Span

#: Players are told apart by these, those who pay first.
TIERS: Final = ("vip", "paying", "established", "new")
#: Points of a score that are counted together.
BIN: Final = 5


class Rate(Struct, frozen=True):
    """A share of `of` with its 95 % interval (Wilson); None of nothing."""

    hits: int
    of: int
    low: float
    high: float

    @property
    def value(self) -> float:
        """The share itself."""
        return self.hits / self.of if self.of else 0.0


class Quality(Struct, frozen=True):
    """How a rule set did by what humans said: with any verdict that is not allow, and with act alone."""

    precision: Rate
    recall: Rate
    act_precision: Rate
    act_recall: Rate


class RuleRow(Struct, frozen=True):
    """One rule, old and new: hits, hits in messages that were acted on, cost in µs a try, tries, and its status.

    `newly` are messages whose sender is muted or banned under the new set and not under the old by its hit; `spared`
    the other way round. `beside` are the rules that hit the same messages most, `alone` the hits without any other.
    """

    id: str
    status: tuple[str, str]
    hits: tuple[int, int]
    acted: tuple[int, int]
    tries: tuple[int, int]
    cost_us: tuple[float, float]
    newly: int
    spared: int
    alone: int
    beside: tuple[tuple[str, int], ...]


class TierRow(Struct, frozen=True):
    """Accounts of a tier by what happens to them under the new set that did not under the old, and the reverse."""

    tier: str
    muted: tuple[int, int]
    banned: tuple[int, int]
    newly_muted: int
    newly_banned: int
    no_longer_muted: int
    no_longer_banned: int
    newly_to_human: int
    newly: int
    spared: int


class Sample(Struct, frozen=True):
    """A message that is treated otherwise. `newly` is harder; `before` and `after` are deeds as kind:seconds."""

    newly: bool
    tier: str
    account: str
    event_id: str
    ts: int
    channel: str
    text: str
    spans: tuple[Span, ...]
    before: tuple[str, ...]
    after: tuple[str, ...]
    score: tuple[float, float]
    rules: tuple[str, ...]


class Point(Struct, frozen=True):
    """A stretch of the recording from `ts` (ms): events, and how many of them were acted on."""

    ts: int
    events: int
    old: int
    new: int


class Report(Struct, frozen=True):
    """All that a backtest found; the HTML and the terminal show these numbers. Pairs are (old, new).

    `thresholds` are the points at which labels are reviewed and acted on; `scores` count messages by score, BIN wide.
    """

    rulesets: tuple[str, str]
    events: int
    dead: int
    span: tuple[int, int]
    verdicts: tuple[dict[str, int], dict[str, int]]
    differing: int
    rules: tuple[RuleRow, ...]
    people: tuple[TierRow, ...]
    samples: tuple[Sample, ...]
    width_ms: int
    timeline: tuple[Point, ...]
    scores: tuple[dict[int, int], dict[int, int]]
    thresholds: tuple[tuple[tuple[int, int], ...], tuple[tuple[int, int], ...]]
    campaigns: tuple[tuple[str, int, int], ...]
    quality: tuple[Quality, Quality] | None
    seconds: tuple[float, float]
    forgotten: tuple[int, int]
    overflow: int
