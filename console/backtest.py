"""Backtest: one recording through two rule sets at once, and what differs. In bounded memory, the same every time.

lines ─┬─▶ Replay of the old rules ─▶ noticed ─┐
       └─▶ Replay of the new rules ─▶ noticed ─┴─▶ Comparison: counts, who, samples ─▶ Report
"""

from __future__ import annotations

import asyncio
import multiprocessing
import random
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor
from contextlib import AsyncExitStack
from itertools import combinations
from math import sqrt
from typing import TYPE_CHECKING, Final, Protocol

from msgspec import Struct

from console import replay
from console.recording import guilty
from console.replay import Batch, Costs, Deed, Noticed, Replay
from moderation.actions import Span
from moderation.errors import EventError
from moderation.events import decode_event
from moderation.rulefile import read

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence

    from moderation.ruleset import Contents
    from streams.bundle import Layers

#: Accounts and campaigns told apart; of more only how many deeds there were.
ACCOUNTS: Final = 200_000
CAMPAIGNS: Final = 10_000
#: Samples kept of a tier and a direction, drawn evenly from all there are.
SAMPLES: Final = 12
#: Points of the timeline at most; it gets coarser as the recording gets longer.
POINTS: Final = 180
BIN: Final = 5
TIERS: Final = ("vip", "paying", "established", "new")
_BITS: Final = {"retract": 1, "mute": 2, "ban": 4, "case": 8}
_PUNISHED: Final = 6


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


class Side(Protocol):
    """One rule set's replay, here or in another process."""

    async def batch(self, lines: Sequence[bytes]) -> Batch:
        """Judge lines in order."""

    async def costs(self) -> Costs:
        """Return what it cost."""


class _Here:
    def __init__(self, layers: Layers, *, promoted: bool = False) -> None:
        self._replay = Replay(layers, promoted=promoted)

    async def batch(self, lines: Sequence[bytes]) -> Batch:
        return await self._replay.batch(lines)

    async def costs(self) -> Costs:
        return self._replay.costs()


class _Apart:
    def __init__(self, layers: Layers, stack: AsyncExitStack, *, promoted: bool = False) -> None:
        spawn = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(1, mp_context=spawn, initializer=replay.begin, initargs=(layers, promoted))
        self._pool = stack.enter_context(pool)

    async def batch(self, lines: Sequence[bytes]) -> Batch:
        return await asyncio.get_running_loop().run_in_executor(self._pool, replay.judge, lines)

    async def costs(self) -> Costs:
        return await asyncio.get_running_loop().run_in_executor(self._pool, replay.costs)


async def run(
    recording: AsyncIterator[list[bytes]],
    old: Layers,
    new: Layers,
    *,
    promoted: bool = False,
    processes: int = 1,
    told: Callable[[int], object] = lambda _: None,
) -> Report:
    """Replay a recording under both sets. `told` hears how many lines are done after each batch.

    `promoted`: the new set is judged by as if its shadow rules were live, which says what these would do.

    Raises RuleSetRejected, and what reading the recording raises.
    """
    comparison = Comparison(read(old), read(new))
    async with AsyncExitStack() as stack:
        sides: tuple[Side, Side] = (
            (_Apart(old, stack), _Apart(new, stack, promoted=promoted))
            if processes > 1
            else (_Here(old), _Here(new, promoted=promoted))
        )
        done = 0
        async for lines in recording:
            before, after = await asyncio.gather(*(side.batch(lines) for side in sides))
            comparison.add(lines, before, after)
            done += len(lines)
            told(done)
        costs = [await side.costs() for side in sides]
    return comparison.report(costs[0], costs[1])


class Comparison:
    """Gathers what differs, batch by batch."""

    def __init__(self, old: Contents, new: Contents) -> None:
        self._contents = (old, new)
        self._events = self._dead = self._differing = self._overflow = 0
        self._minutes: Counter[int] = Counter()
        self._verdicts: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
        self._scores: tuple[Counter[int], Counter[int]] = (Counter(), Counter())
        self._hits: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
        self._acted: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
        self._newly: Counter[str] = Counter()
        self._spared: Counter[str] = Counter()
        self._alone: Counter[str] = Counter()
        self._pairs: Counter[tuple[str, str]] = Counter()
        self._people: dict[str, list[int]] = {}
        self._tiers: dict[str, str] = {}
        self._campaigns: dict[str, tuple[set[str], set[str]]] = {}
        self._timeline = _Timeline()
        self._samples = _Reservoirs()
        self._labelled: Counter[tuple[bool, int, str]] = Counter()

    def add(self, lines: Sequence[bytes], before: Batch, after: Batch) -> None:
        """Take in what both made of the same lines."""
        self._events += after.events
        self._dead += after.dead
        self._timeline.add_events(after.minutes)
        pairs: dict[int, list[Noticed | None]] = defaultdict(lambda: [None, None])
        for side, batch in enumerate((before, after)):
            for one in batch.noticed:
                pairs[one.at][side] = one
                self._count(side, one)
        for at, (old, new) in sorted(pairs.items()):
            self._compare(lines[at], old, new)
        self._label(lines, before, after)

    def _count(self, side: int, one: Noticed) -> None:
        self._verdicts[side][one.verdict] += 1
        self._scores[side][int(one.score // BIN) * BIN] += 1
        names = sorted({hit.rule for hit in one.hits})
        self._hits[side].update(names)
        if one.verdict == "act":
            self._acted[side].update(names)
            self._timeline.add_acted(one.ts, side)
        if side:
            self._pairs.update(combinations(names, 2))
            self._alone.update(names if len(names) == 1 else ())
        for deed in one.deeds:
            self._person(deed.account, deed.tier, side, deed.kind)
            self._member(deed, side)
        if one.case:
            self._person(one.account, one.tier, side, "case")

    def _person(self, account: str, tier: str, side: int, kind: str) -> None:
        if account not in self._people and len(self._people) >= ACCOUNTS:
            self._overflow += 1
            return
        self._people.setdefault(account, [0, 0])[side] |= _BITS[kind]
        self._tiers[account] = tier

    def _member(self, deed: Deed, side: int) -> None:
        if deed.campaign and (deed.campaign in self._campaigns or len(self._campaigns) < CAMPAIGNS):
            self._campaigns.setdefault(deed.campaign, (set(), set()))[side].add(deed.account)

    def _compare(self, line: bytes, old: Noticed | None, new: Noticed | None) -> None:
        before, after = _deeds(old), _deeds(new)
        if before == after:
            return
        self._differing += 1
        gained, lost = _punishing(after - before), _punishing(before - after)
        if new and gained:
            self._newly.update({hit.rule for hit in new.hits if hit.status != "shadow"})
        if old and lost:
            self._spared.update({hit.rule for hit in old.hits if hit.status != "shadow"})
        harder = _weight(after) > _weight(before)
        tier = (new or old).tier  # type: ignore[union-attr]  # one of them is there
        self._samples.offer((tier, harder), lambda: _sample(line, old, new, newly=harder))

    def _label(self, lines: Sequence[bytes], before: Batch, after: Batch) -> None:
        marks = [guilty(line) for line in lines]
        if not any(mark is not None for mark in marks):
            return
        for side, batch in enumerate((before, after)):
            verdicts = {one.at: one.verdict for one in batch.noticed}
            for at, mark in enumerate(marks):
                if mark is not None:
                    self._labelled[mark, side, verdicts.get(at, "allow")] += 1

    def report(self, old: Costs, new: Costs) -> Report:
        """Sum up."""
        timeline = self._timeline.points()
        return Report(
            rulesets=(old.ruleset, new.ruleset),
            events=self._events,
            dead=self._dead,
            span=(timeline[0].ts, timeline[-1].ts + self._timeline.width_ms) if timeline else (0, 0),
            verdicts=(self._all(0), self._all(1)),
            differing=self._differing,
            rules=tuple(self._rules(old, new)),
            people=tuple(map(self._tier, TIERS)),
            samples=self._samples.all(),
            width_ms=self._timeline.width_ms,
            timeline=timeline,
            scores=(dict(sorted(self._scores[0].items())), dict(sorted(self._scores[1].items()))),
            thresholds=(_thresholds(self._contents[0]), _thresholds(self._contents[1])),
            campaigns=self._largest(),
            quality=(self._quality(0), self._quality(1)) if self._labelled else None,
            seconds=(old.total, new.total),
            forgotten=(old.forgotten, new.forgotten),
            overflow=self._overflow,
        )

    def _all(self, side: int) -> dict[str, int]:
        """Return the verdicts; what was not noticed was allowed."""
        counted = self._verdicts[side]
        return {
            "allow": self._events - counted["review"] - counted["act"],
            "review": counted["review"],
            "act": counted["act"],
        }

    def _rules(self, old: Costs, new: Costs) -> Iterable[RuleRow]:
        before, after = ({rule.id: rule.status for rule in one.rules} for one in self._contents)
        beside: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for (a, b), count in self._pairs.items():
            beside[a][b] += count
            beside[b][a] += count
        for name in sorted({*before, *after}, key=lambda n: (-max(self._hits[0][n], self._hits[1][n]), n)):
            yield RuleRow(
                name,
                (before.get(name, ""), after.get(name, "")),
                (self._hits[0][name], self._hits[1][name]),
                (self._acted[0][name], self._acted[1][name]),
                (old.tries.get(name, 0), new.tries.get(name, 0)),
                (_each(old, name), _each(new, name)),
                self._newly[name],
                self._spared[name],
                self._alone[name],
                tuple(beside[name].most_common(3)),
            )

    def _tier(self, tier: str) -> TierRow:
        bits = [self._people[name] for name, its in self._tiers.items() if its == tier]
        mute, ban = _BITS["mute"], _BITS["ban"]
        turned = [(after, before) for before, after in bits]
        return TierRow(
            tier,
            muted=(_with(turned, mute), _with(bits, mute)),
            banned=(_with(turned, ban), _with(bits, ban)),
            newly_muted=_gained(bits, mute),
            newly_banned=_gained(bits, ban),
            no_longer_muted=_gained(turned, mute),
            no_longer_banned=_gained(turned, ban),
            newly_to_human=_gained(bits, _BITS["case"]),
            newly=_gained(bits, _PUNISHED),
            spared=_gained(turned, _PUNISHED),
        )

    def _largest(self) -> tuple[tuple[str, int, int], ...]:
        sized = [(name, len(old), len(new)) for name, (old, new) in self._campaigns.items()]
        return tuple(sorted(sized, key=lambda one: (-max(one[1:]), one[0]))[:20])

    def _quality(self, side: int) -> Quality:
        def count(mark: bool, *verdicts: str) -> int:  # noqa: FBT001  a key of the counter
            return sum(self._labelled[mark, side, verdict] for verdict in verdicts)

        every = ("allow", "review", "act")
        hit, act = ("review", "act"), ("act",)
        rates = []
        for meant in (hit, act):
            true = count(True, *meant)
            rates += [wilson(true, true + count(False, *meant)), wilson(true, count(True, *every))]
        return Quality(*rates)


def _thresholds(contents: Contents) -> tuple[tuple[int, int], ...]:
    return tuple(sorted({(bar.review, bar.act) for bar in contents.policy.labels.values()}))


def _with(bits: Iterable[Sequence[int]], wanted: int) -> int:
    """Count those who have it afterwards."""
    return sum(bool(after & wanted) for _, after in bits)


def _gained(bits: Iterable[Sequence[int]], wanted: int) -> int:
    """Count those who have any of it afterwards that they had not before."""
    return sum(bool(after & wanted & ~before) for before, after in bits)


def wilson(hits: int, of: int, z: float = 1.96) -> Rate:
    """Return a share with its 95 % interval after Wilson (1927), which holds for few and for extreme shares.

    >>> round(wilson(0, 10).high, 3)
    0.278
    """
    if not of:
        return Rate(0, 0, 0.0, 1.0)
    share, z2 = hits / of, z * z
    middle = (share + z2 / (2 * of)) / (1 + z2 / of)
    reach = z / (1 + z2 / of) * sqrt(share * (1 - share) / of + z2 / (4 * of * of))
    return Rate(hits, of, max(0.0, middle - reach), min(1.0, middle + reach))


class _Timeline:
    """Counts by time in at most POINTS stretches: when there are more, each is made twice as wide."""

    def __init__(self) -> None:
        self.width_ms = 60_000
        self._points: defaultdict[int, list[int]] = defaultdict(lambda: [0, 0, 0])

    def add_events(self, minutes: dict[int, int]) -> None:
        for minute, count in minutes.items():
            self._at(minute * 60_000)[0] += count
            self._narrow()

    def add_acted(self, ts: int, side: int) -> None:
        self._at(ts)[1 + side] += 1

    def points(self) -> tuple[Point, ...]:
        return tuple(Point(at * self.width_ms, *counts) for at, counts in sorted(self._points.items()))

    def _at(self, ts: int) -> list[int]:
        return self._points[ts // self.width_ms]

    def _narrow(self) -> None:
        while len(self._points) > POINTS:
            self.width_ms *= 2
            old, self._points = self._points, defaultdict(lambda: [0, 0, 0])
            for at, counts in old.items():
                self._points[at // 2] = [a + b for a, b in zip(self._points[at // 2], counts, strict=True)]


class _Reservoirs:
    """A fair sample of each kind, of SAMPLES at most (Vitter's algorithm R); seeded, so the same every time."""

    def __init__(self) -> None:
        self._random = random.Random(0)  # noqa: S311  a sample, not a secret
        self._seen: Counter[tuple[str, bool]] = Counter()
        self._kept: defaultdict[tuple[str, bool], list[Sample]] = defaultdict(list)

    def offer(self, kind: tuple[str, bool], make: Callable[[], Sample]) -> None:
        self._seen[kind] += 1
        kept = self._kept[kind]
        if len(kept) < SAMPLES:
            kept.append(make())
        elif (at := self._random.randrange(self._seen[kind])) < SAMPLES:
            kept[at] = make()

    def all(self) -> tuple[Sample, ...]:
        """Return the samples: the harder treated ones first, among them those who pay."""
        every = [sample for kept in self._kept.values() for sample in kept]
        return tuple(sorted(every, key=lambda s: (not s.newly, TIERS.index(s.tier), s.ts, s.event_id)))


def _deeds(one: Noticed | None) -> frozenset[tuple[str, str, int]]:
    if one is None:
        return frozenset()
    case = {("case", one.account, 0)} if one.case else set()
    return frozenset({(deed.kind, deed.account, deed.seconds) for deed in one.deeds} | case)


def _punishing(deeds: Iterable[tuple[str, str, int]]) -> bool:
    return any(kind in ("mute", "ban") for kind, _, _ in deeds)


def _weight(deeds: Iterable[tuple[str, str, int]]) -> tuple[float, ...]:
    """Order what is done by how hard it is: the longest ban, the longest mute, messages taken down, cases."""
    found = list(deeds)
    longest = [
        max((seconds or 1e12 for kind, _, seconds in found if kind == wanted), default=0.0)
        for wanted in ("ban", "mute")
    ]
    return (*longest, *(sum(kind == wanted for kind, _, _ in found) for wanted in ("retract", "case")))


def _sample(line: bytes, old: Noticed | None, new: Noticed | None, *, newly: bool) -> Sample:
    shown = (new if newly else old) or new or old
    assert shown is not None  # noqa: S101  one of them differs from nothing
    try:
        event = decode_event(line.rstrip(b"\r"), keyed=False)
    except EventError as exc:  # it was judged
        raise AssertionError(line) from exc
    return Sample(
        newly,
        shown.tier,
        shown.account,
        event.event_id,
        event.ts,
        event.channel,
        event.text[:300],
        tuple(h.span for h in shown.hits if h.span and h.field == "text" and h.status != "shadow"),
        _said(old),
        _said(new),
        (old.score if old else 0.0, new.score if new else 0.0),
        tuple(sorted({hit.rule for one in (old, new) if one for hit in one.hits})),
    )


def _said(one: Noticed | None) -> tuple[str, ...]:
    return tuple(f"{kind}:{seconds}" for kind, _, seconds in sorted(_deeds(one)))


def _each(costs: Costs, rule: str) -> float:
    """Return the µs of a try."""
    return 1e6 * costs.seconds.get(rule, 0.0) / max(1, costs.tries.get(rule, 0))
