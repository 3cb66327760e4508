"""What one worker counts for the bands of rules: whom each rule hit, of how many messages, by window of event time.

Only what players say who are not new: a wrong rule hits them all alike, a raid comes with new accounts, and must not
take away the rule that stops it.

It is told to the store every few seconds, with what all other workers told, and is nothing to lose: a worker that dies
takes seconds of it along. Judging never waits for it. An event that comes again adds nobody who is not there; its
message counts again, which makes a rule look better than it is, by a batch at most.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from itertools import count, islice
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from moderation.band import SPANS_S, Fallen, Window, windows
from moderation.context import is_new
from streams.bands import Share, Spot

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from moderation.decide import Finding
    from moderation.rule import Rule
    from moderation.ruleset import RuleSet
    from streams.bands import Bands, Figures

#: Accounts that wait to be told while the store is away; of those beyond nothing is counted.
MOST_WAITING: Final = 50_000
#: Accounts told at once: after an outage what waited must neither stall the loop nor outlast the store's patience.
MOST_TOLD: Final = 5_000
#: Windows whose messages are still counted; an older one that comes again is begun anew, beside what was told of it.
MOST_WINDOWS: Final = 64
_STEP_MS: Final = SPANS_S[0] * 1000


class Rates:
    """One worker's counts. Not shared between threads."""

    def __init__(self) -> None:
        self._name, self._parts = uuid4().hex[:12], count()
        self._hit: dict[Spot, set[str]] = {}
        self._waiting = 0
        self._messages: OrderedDict[tuple[Window, str], tuple[Share, int]] = OrderedDict()
        self._new: set[tuple[Window, str]] = set()

    def heard(self, findings: Sequence[Finding], rules: RuleSet) -> None:
        """Count findings whose effects are durable. Costs 0.6 µs a message, 1 µs more for each rule on trial."""
        findings = [one for one in findings if not is_new(one.event, rules.policy.bounds)]
        self._count("", (finding.event.ts for finding in findings))
        for rule in rules.rules:
            if rule.status == "canary" and rule.canary:
                covered = (f.event.ts for f in findings if rule.canary.covers(f.event, rule.id))
                self._count(rule.id, covered)
        for finding in findings:
            if finding.hits:
                self._hits(finding)

    async def told(self, bands: Bands, rules: RuleSet, now: int) -> list[Fallen]:
        """Tell the store what is new; return the rules that fell by that. Raises StoreUnavailable: then it waits."""
        hit = self._first(MOST_TOLD)
        told = {key: self._messages[key] for key in self._new if key in self._messages}
        if not hit and not told:
            return []
        figures = await bands.count(hit, dict(told.values()))
        for spot, accounts in hit.items():
            self._hit[spot] -= accounts
            self._waiting -= len(accounts)
        self._hit = {spot: left for spot, left in self._hit.items() if left}
        self._new -= {key for key, one in told.items() if self._messages.get(key) == one}
        by_id = {rule.id: rule for rule in rules.rules}
        left = (_left(by_id.get(spot.rule), rules, spot, found, now) for spot, found in figures.items())
        return [one for one in left if one and await bands.fall(one)]

    def _first(self, most: int) -> dict[Spot, frozenset[str]]:
        """Return what was hit first, no more than so many accounts."""
        hit = {}
        for spot, accounts in self._hit.items():
            if most > 0:
                hit[spot] = frozenset(islice(accounts, most))
                most -= len(hit[spot])
        return hit

    def _count(self, scope: str, times: Iterable[int]) -> None:
        for step, messages in Counter(ts // _STEP_MS for ts in times).items():
            for window in windows(step * _STEP_MS):
                key = window, scope
                share, before = self._messages.get(key) or (self._share(key), 0)
                self._messages[key] = share, before + messages
                self._messages.move_to_end(key)
                self._new.add(key)
        while len(self._messages) > MOST_WINDOWS:
            self._new.discard(self._messages.popitem(last=False)[0])

    def _share(self, key: tuple[Window, str]) -> Share:
        return Share(*key, f"{self._name}:{next(self._parts)}")

    def _hits(self, finding: Finding) -> None:
        account = finding.event.sender.account_id
        for hit in finding.hits:
            for window in windows(finding.event.ts) if hit.status != "shadow" else ():
                spot = Spot(hit.rule, hit.revision, window, hit.rule if hit.status == "canary" else "")
                accounts = self._hit.setdefault(spot, set())
                if account not in accounts and self._waiting < MOST_WAITING:
                    accounts.add(account)
                    self._waiting += 1


def _left(rule: Rule | None, rules: RuleSet, spot: Spot, found: Figures, now: int) -> Fallen | None:
    """Return how a rule left its band, if it is in force as it was counted, and did."""
    if rule is None or rule.revision != spot.revision:
        return None
    band, window = rule.band or rules.policy.band, spot.window
    if not band.left(*found):
        return None
    return Fallen(spot.rule, spot.revision, now, window.start, window.span_s, *found, band.at_most_ppm)
