"""What two rule sets made of the same messages, side by side: counts, who, samples. Bounded, and seeded."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import combinations
from typing import TYPE_CHECKING, Final

from console.findings import BIN, TIERS, Quality, Report, RuleRow, Sample, TierRow
from console.recording import guilty
from console.sampling import Reservoirs, Timeline, wilson
from moderation.errors import EventError
from moderation.events import decode_event

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from console.replay import Batch, Deed, Noticed, Summary

#: Accounts and campaigns told apart; of more only how many deeds there were.
ACCOUNTS: Final = 200_000
CAMPAIGNS: Final = 10_000
_BITS: Final = {"retract": 1, "mute": 2, "ban": 4, "case": 8}
_PUNISHED: Final = 6


class Comparison:
    """Gathers what differs, batch by batch."""

    def __init__(self) -> None:
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
        self._timeline = Timeline()
        self._samples = Reservoirs()
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

    def report(self, old: Summary, new: Summary) -> Report:
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
            thresholds=(old.thresholds, new.thresholds),
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

    def _rules(self, old: Summary, new: Summary) -> Iterable[RuleRow]:
        before, after = old.statuses, new.statuses
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


def _with(bits: Iterable[Sequence[int]], wanted: int) -> int:
    """Count those who have it afterwards."""
    return sum(bool(after & wanted) for _, after in bits)


def _gained(bits: Iterable[Sequence[int]], wanted: int) -> int:
    """Count those who have any of it afterwards that they had not before."""
    return sum(bool(after & wanted & ~before) for before, after in bits)


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


def _each(one: Summary, rule: str) -> float:
    """Return the µs of a try."""
    return 1e6 * one.seconds.get(rule, 0.0) / max(1, one.tries.get(rule, 0))
