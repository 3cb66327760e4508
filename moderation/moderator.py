"""The one class the edges call: events in, findings out; findings and standings in, outcomes out.

    events ─ read ─ rules ─ windows ─ weigh ─▶ Finding ──(ledger: Strike ▶ Standing)──▶ Outcome

`judge` must see every event once, in order, because it keeps the local windows; seeing one again does no harm. It takes
many at once, because reading them in one pass costs a fraction; what it finds does not depend on how they are cut.
`decide` keeps nothing. Neither waits, fails, or looks at a clock: the time is an argument.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from moderation import campaign, decide
from moderation.actions import Hit, Source
from moderation.conditions import NEW_KEY
from moderation.decide import Decision, Finding, Outcome
from moderation.pieces import Pieces, message_of
from moderation.places import ANYWHERE
from moderation.reading import Reader, Reading, Whole
from moderation.recall import Recall
from moderation.windows import DEPTH, DISTINCT, Entry, Timeline, Windows, within

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from moderation.campaign import Sighting
    from moderation.events import ChatEvent
    from moderation.places import Found
    from moderation.rule import Count, Rule
    from moderation.ruleset import RuleSet
    from moderation.standing import Standing, Strike
    from moderation.trial import Trial

_NO_MARKS: Final[frozenset[str]] = frozenset()
_HOUR_MS: Final = 3_600_000
_MINUTE_MS: Final = 60_000
#: The purse of all rules together: no rule has this id.
_ALL: Final = "*"


#: The guard of those who report, warn or ask about what others said; a rule set may have none.
QUOTING: Final = "reporting"


class Moderator:
    """Judges events under one rule set, with the windows of one worker. `adopt` swaps the rules between events."""

    def __init__(self, rules: RuleSet, windows: Windows | None = None) -> None:
        self.windows = windows if windows is not None else Windows()
        self.recall = Recall()
        self.pieces = Pieces()
        #: Ids of rules that are no longer trusted to act by themselves: see `decide.doubting`.
        self.overturned: frozenset[str] = frozenset()
        self.adopt(rules)

    def adopt(self, rules: RuleSet) -> None:
        """Judge from now on under `rules`; the windows stay."""
        self.rules = rules
        self._reader = Reader(rules)
        quoting = rules.contents.guards.get(QUOTING)
        self._quoting = rules.plans.of(quoting).holds if quoting is not None else None
        spans = [rule.count.within_s * 1000 for rule in rules.rules if rule.count]
        self.windows.horizon_ms = max(spans, default=0)
        always = rules.index.always
        self._floods = tuple((t, t.rule.count) for t in always if t.rule.count and counts_everything(t.rule))
        self._flood_from = min((count.at_least for _, count in self._floods), default=DEPTH + 1)
        self._always = tuple(t for t in always if not counts_everything(t.rule))

    def judge(self, events: Sequence[ChatEvent]) -> list[Finding]:
        """Find what is in events, in order, and remember them in the windows."""
        if not events:
            return []
        readings = self._reader.read(events)
        return list(map(self._judge, readings, self._reader.whole(readings, [self._torn(r) for r in readings])))

    def _torn(self, reading: Reading) -> Sequence[str]:
        """Return the messages that may be one thing torn apart, this one last."""
        return self.pieces.add(reading.event, reading.texts["text"].folded.text, new=self._new(reading))

    def _new(self, reading: Reading) -> bool:
        return bool(reading.mask & self.rules.bits[NEW_KEY])

    def _judge(self, reading: Reading, whole: Whole | None) -> Finding:
        event = reading.event
        if self._new(reading) and (names := self.recall.names(event)):
            reading = self._reader.renamed(reading, names)
        self.recall.recognise(reading)
        matched = self._matched(reading)
        entry = self._entry(reading, matched)
        timeline = self.windows.add(event.sender.account_id, entry)
        hits = [h for trial, place in matched if (h := self._hit(trial, place, reading, timeline, entry))]
        if len(timeline) >= self._flood_from:
            hits += self._flooding(reading, timeline, entry)
        if whole:
            reading, split = self._split(reading, timeline, entry, whole)
            hits += (h for h in split if h.rule not in {old.rule for old in hits})
        return self._finding(reading, hits)

    def strike(self, finding: Finding, now: int) -> Strike | None:
        """Return what to ask the ledger about a finding; None where there is nothing to ask."""
        return decide.strike(self.rules.policy, finding, now)

    def sighting(self, finding: Finding, now: int) -> Sighting | None:
        """Return what a finding adds to a campaign; None for nearly all chat."""
        return campaign.sighting(finding, self.rules.policy.bounds, now)

    def decide(
        self,
        finding: Finding,
        now: int,
        standing: Standing | None = None,
        *,
        source: Source | None = None,
        degraded: bool = False,
    ) -> Outcome:
        """Decide what becomes of a finding. `degraded`: there was something to ask, and the ledger did not answer."""
        return Decision(self.rules.policy, self.rules.hash, finding, now, standing, source, degraded).outcome()

    def _matched(self, reading: Reading) -> list[tuple[Trial, Found]]:
        """Return the rules whose condition and context hold, with the place; guards and counts are still to come."""
        matched = []
        for trial in (*self.rules.index.candidates(reading), *self._always):
            place = self._try(trial, reading)
            if place is not None:
                matched.append((trial, place))
        return matched

    def _try(self, trial: Trial, reading: Reading) -> Found | None:
        return trial.place(reading)

    def _hit(self, trial: Trial, place: Found, reading: Reading, timeline: Timeline, entry: Entry) -> Hit | None:
        rule = trial.rule
        if rule.count and not self._counted(rule, rule.count, reading, timeline, entry):
            return None
        if trial.spared(reading):
            return None
        leaves = place.leaves()
        return Hit(
            rule=rule.id,
            revision=rule.revision,
            label=rule.label,
            weight=min(100, max(0, trial.points(reading) - self._price(leaves))),
            because=trial.because(leaves),
            span=(place.start, place.end) if place.start >= 0 else None,
            field=place.field,
            view=place.view,
            status=trial.status,
        )

    def _price(self, leaves: Sequence[Found]) -> int:
        """Return what a hit loses because a term is only meant there, not written; the dearest counts."""
        prices = self.rules.policy.disguises
        return max([prices.get(leaf.view, 0) for leaf in leaves]) if prices else 0

    def _counted(self, rule: Rule, count: Count, reading: Reading, timeline: Timeline, entry: Entry) -> bool:
        every = counts_everything(rule)
        lines = [line for line in self._timelines(count, reading, timeline, entry) if len(line) >= count.at_least]
        return any(tally(count, line, entry, every=every) >= count.at_least for line in lines)

    def _timelines(self, count: Count, reading: Reading, timeline: Timeline, entry: Entry) -> Iterator[Timeline]:
        if count.by in ("sender", "sender_text"):
            yield timeline
        elif count.by == "text":
            yield self.windows.add((count.counter, entry.text), entry)
        else:
            for handle in reading.handles:
                yield self.windows.add((count.counter, handle.type, handle.value), entry)

    def _entry(self, reading: Reading, matched: Sequence[tuple[Trial, Found]]) -> Entry:
        event = reading.event
        return Entry(
            event.ts,
            message_of(event),
            event.sender.account_id,
            reading.texts["text"].fingerprint,
            event.recipient.account_id if event.recipient else None,
            frozenset([t.rule.count.counter for t, _ in matched if t.rule.count]) if matched else _NO_MARKS,
        )

    def _flooding(self, reading: Reading, timeline: Timeline, entry: Entry) -> Iterator[Hit]:
        """Try the rules that only count: what is said does not matter, how often does."""
        entries = list(timeline.values())
        same = [one for one in entries if one.text == entry.text]
        for trial, count in self._floods:
            line, least = same if count.by == "sender_text" else entries, count.at_least
            # told from the n-th last message alone, before anything is counted: most senders are not that fast
            if len(line) >= least and line[-least].ts >= entry.ts - count.within_s * 1000:
                hit = self._hit(trial, ANYWHERE, reading, timeline, entry) if trial.in_force(reading) else None
                if hit:
                    yield hit

    def _split(self, reading: Reading, timeline: Timeline, entry: Entry, whole: Whole) -> tuple[Reading, list[Hit]]:
        """Read the sender's last short messages as one; a hit counts only if this message has a part in it."""
        joined = Reading(self.rules, reading.event, {**reading.texts, "window": whole.text})
        hits = []
        for trial, place in self._matched(joined):
            if max((f.end for f in place.leaves() if f.field == "window"), default=0) > whole.own:
                hit = self._hit(trial, place, joined, timeline, entry)
                hits += [msgspec.structs.replace(hit, span=(0, len(reading.event.text)))] if hit else []
        if hits:
            all_, known = (0, len(reading.event.text)), {(h.type, h.value) for h in reading.handles}
            late = (h for h in joined.handles if h.field == "window" and h.span[1] > whole.own)
            new = (msgspec.structs.replace(h, span=all_) for h in late if (h.type, h.value) not in known)
            joined.handles = (*reading.handles, *new)
        return (joined if hits else reading), hits

    def _finding(self, reading: Reading, hits: list[Hit]) -> Finding:
        policy, event = self.rules.policy, reading.event
        if not hits and not reading.handles:
            return Finding(event, "allow", 0.0, (), ())
        wary = decide.is_wary(policy, event, reading.handles)
        verdict, label, score = decide.weigh(policy, hits, wary=wary) if hits else ("allow", None, 0.0)
        quoting = self._quoting is not None and self._quoting(reading)
        finding = Finding(
            event,
            verdict,
            score,
            tuple(hits),
            reading.handles,
            label,
            reading.texts["text"].folded.text if hits else "",
            quoting=quoting,
        )
        return finding if verdict == "allow" else self._weighed(decide.doubting(policy, finding, self.overturned))

    def _weighed(self, finding: Finding) -> Finding:
        """Learn from a finding that earned a verdict, and draw on budgets; rules that were overturned do neither."""
        verdict = finding.sure or finding.verdict
        if verdict != "allow" and finding.handles and not finding.quoting:
            self.recall.learn(finding.handles, finding.event.ts)
        if verdict == "act" and not self._affordable(finding.event, finding.hits):
            return msgspec.structs.replace(finding, over_budget=True)
        return finding

    def _affordable(self, event: ChatEvent, hits: Sequence[Hit]) -> bool:
        """Tell whether no rule behind an automatic action has used up its hour's budget, nor all the minute's.

        Both of event time. Every purse is drawn on, whichever is empty.
        """
        most = self.rules.policy.breaker_per_minute
        within_budget = not most or self.windows.spend(_ALL, event.event_id, event.ts, _MINUTE_MS) <= most
        for hit in hits:
            budget = self.rules.by_id[hit.rule].budget
            if budget is not None and hit.status != "shadow":
                within_budget &= self.windows.spend(hit.rule, event.event_id, event.ts, _HOUR_MS) <= budget
        return within_budget


def counts_everything(rule: Rule) -> bool:
    """Tell whether a rule counts a sender's messages whatever they say and wherever."""
    by = rule.count.by if rule.count else None
    return rule.when is None and not rule.context and by in ("sender", "sender_text")


def tally(count: Count, timeline: Timeline, entry: Entry, *, every: bool) -> int:
    """Count the distinct values on a timeline, up to `entry`, of the messages that met the counter's condition."""
    seen = within(timeline, entry.ts, count.within_s * 1000)
    if not every:
        seen = [e for e in seen if count.counter in e.marks]
    if count.by == "sender_text":
        seen = [e for e in seen if e.text == entry.text]
    return len(set(map(DISTINCT[count.distinct], seen)))
