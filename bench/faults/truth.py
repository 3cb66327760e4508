"""What an uninterrupted run makes of the same chat, and for which accounts a run with faults must say exactly that.

The reference is one moderator with a ledger in memory, fed in the order of event time. An account is *strict* if
nothing but its own single messages decides about it:

* each of its messages is judged the same if a worker begins with any of them, windows empty, and whichever of world
  and private chat it reads first: so wherever a fault cuts, no window has a say;
* it shares its device with nobody, since pieces of one text are put together by device;
* no rule behind them ran out of budget, which is counted per worker;
* they lie in one topic: world and private chat have no order between them, and the first to come takes the sanction;
* no key of its sightings is another account's, so no campaign can reach it.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

from bench.faults.accounting import Expected
from moderation.moderator import Moderator
from moderation.pieces import Pieces
from moderation.recall import Recall
from moderation.windows import Windows
from streams.ledger import MemoryLedger
from streams.verdicts import Pending, decided

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from moderation.actions import Action
    from moderation.decide import Finding, Outcome
    from moderation.events import ChatEvent
    from moderation.ruleset import RuleSet

#: Findings decided at once; what comes out does not depend on it.
_TOGETHER: Final = 200
#: Messages of one account whose every beginning is tried.
_MANY: Final = 16


class Truth(NamedTuple):
    """Outcomes by event, what is done to the accounts that are not strict, and who is banned."""

    expected: dict[str, Expected]
    does: dict[str, frozenset[str]]
    banned: frozenset[str] = frozenset()


async def truth(rules: RuleSet, events: Sequence[ChatEvent]) -> Truth:
    """Judge `events` in order; about 0.5 ms each."""
    judged = list(_judged(Moderator(rules), events))
    findings = [f for f in judged if f.hits or f.handles]
    loose = _loose(rules, findings) | _unsteady(rules, judged) | _on_one_device(events)
    outcomes = await _outcomes(rules, findings)
    known = {o.judgement.event_id: o for o in outcomes}
    expected = {e.event_id: _expected(e, known.get(e.event_id), strict=_account(e) not in loose) for e in events}
    actions = [action for outcome in outcomes for action in outcome.judgement.actions]
    banned = frozenset(action.target.account_id for action in actions if action.action == "ban")
    return Truth(expected, _done(outcomes, loose), banned)


def aged(known: Truth, events: Sequence[ChatEvent], off: Sequence[ChatEvent]) -> Truth:
    """Mark events whose clocks are behind: an hour is more than an action may be late."""
    behind = {other.event_id for event, other in zip(events, off, strict=True) if other.ts < event.ts}
    return known._replace(expected=known.expected | {name: known.expected[name]._replace(late=True) for name in behind})


def swayed(events: Sequence[ChatEvent], off: Sequence[ChatEvent], known: Truth, changed: Truth) -> str:
    """Say what clocks that are `off` change for those whose clocks are right: nothing, if all is well."""
    strays = {_account(event) for event, other in zip(events, off, strict=True) if event != other}
    others = [one for one in events if _account(one) not in strays]
    told = known.expected, changed.expected
    matter = [{e.event_id for e in others if one[e.event_id].actions | one[e.event_id].cases} for one in told]
    return (
        f"{len(strays)} accounts have wrong clocks; of {len(matter[0])} messages of others that matter, "
        f"{len(matter[0] - matter[1])} go free for that, and {len(matter[1] - matter[0])} more do"
    )


def does(action: Action) -> str:
    """Say in a word or two what an action does."""
    return f"{action.action} {action.scope}"


def _judged(moderator: Moderator, events: Sequence[ChatEvent]) -> Iterable[Finding]:
    for first in range(0, len(events), _TOGETHER):
        yield from moderator.judge(events[first : first + _TOGETHER])


async def _outcomes(rules: RuleSet, findings: Sequence[Finding]) -> list[Outcome]:
    moderator, ledger = Moderator(rules), MemoryLedger()
    outcomes: list[Outcome] = []
    for first in range(0, len(findings), _TOGETHER):
        pending = [Pending(f, f.event.ts) for f in findings[first : first + _TOGETHER]]
        outcomes += await decided(moderator, ledger, pending)
    return outcomes


def _expected(event: ChatEvent, outcome: Outcome | None, *, strict: bool) -> Expected:
    if outcome is None or outcome.judgement.verdict == "allow":
        return Expected(event.event_id, _account(event), strict=strict)
    return Expected(
        event.event_id,
        _account(event),
        frozenset(a.action_id for a in outcome.judgement.actions),
        frozenset(c.case_id for c in outcome.cases),
        strict,
    )


def _done(outcomes: Iterable[Outcome], loose: set[str]) -> dict[str, frozenset[str]]:
    done: defaultdict[str, set[str]] = defaultdict(set)
    for outcome in outcomes:
        for action in outcome.judgement.actions:
            if action.target.account_id in loose:
                done[action.target.account_id].add(does(action))
    return {account: frozenset(words) for account, words in done.items()}


def _loose(rules: RuleSet, findings: Sequence[Finding]) -> set[str]:
    """Return the accounts that are not strict."""
    spent = {hit.rule for f in findings if f.over_budget for hit in f.hits}
    out = {_account(f.event) for f in findings if any(hit.rule in spent for hit in f.hits)}
    return out | _in_two_topics(findings) | _in_company(rules, findings)


def _unsteady(rules: RuleSet, judged: Sequence[Finding]) -> set[str]:
    """Return the accounts about whom a worker with a shorter memory, or another order of topics, finds otherwise."""
    by_account: defaultdict[str, list[Finding]] = defaultdict(list)
    for finding in judged:
        by_account[_account(finding.event)].append(finding)
    return {account for account, said in by_account.items() if not _steady(rules, said)}


def _steady(rules: RuleSet, said: Sequence[Finding]) -> bool:
    """Try every beginning; whoever says so much that this takes long is not steady anyway."""
    if len(said) == 1 and not (said[0].hits or said[0].handles):
        return True
    known = {f.event.event_id: _gist(f) for f in said}
    return len(said) <= _MANY and all(
        known[f.event.event_id] == _gist(f)
        for order in _orders([f.event for f in said])
        for first in range(len(order))
        for f in _blank(rules).judge(order[first:])
    )


def _orders(events: Sequence[ChatEvent]) -> list[list[ChatEvent]]:
    """Return the orders in which two topics may be read: as spoken, one first, the other first."""
    world = [e for e in events if e.channel != "private"]
    private = [e for e in events if e.channel == "private"]
    return [list(events), world + private, private + world] if world and private else [list(events)]


def _gist(finding: Finding) -> object:
    """Return what a decision rests on."""
    if finding.verdict == "allow":
        return None
    return finding.verdict, finding.label, finding.score, finding.hits, finding.handles


def _on_one_device(events: Iterable[ChatEvent]) -> set[str]:
    owners: defaultdict[str, set[str]] = defaultdict(set)
    for event in events:
        if event.sender.device_id:
            owners[event.sender.device_id].add(_account(event))
    return _shared(owners)


def _shared(owners: Mapping[str, set[str]]) -> set[str]:
    return {account for accounts in owners.values() if len(accounts) > 1 for account in accounts}


_moderators: Final[dict[str, Moderator]] = {}


def _blank(rules: RuleSet) -> Moderator:
    """Return a moderator without a past; building one for every message would cost milliseconds."""
    moderator = _moderators.setdefault(rules.hash, Moderator(rules))
    horizon = moderator.windows.horizon_ms
    moderator.windows, moderator.recall, moderator.pieces = Windows(), Recall(), Pieces()
    moderator.windows.horizon_ms = horizon
    return moderator


def _in_two_topics(findings: Iterable[Finding]) -> set[str]:
    topics: defaultdict[str, set[bool]] = defaultdict(set)
    for finding in findings:
        topics[_account(finding.event)].add(finding.event.channel == "private")
    return {account for account, private in topics.items() if len(private) > 1}


def _in_company(rules: RuleSet, findings: Iterable[Finding]) -> set[str]:
    moderator = _blank(rules)
    seen = [s for f in findings if (s := moderator.sighting(f, f.event.ts))]
    owners: defaultdict[str, set[str]] = defaultdict(set)
    for one in seen:
        for key in (*one.keys, *((one.device,) if one.device else ())):
            owners[key].add(one.account_id)
    return _shared(owners)


def _account(event: ChatEvent) -> str:
    return event.sender.account_id


def shares(expected: Mapping[str, Expected]) -> tuple[int, int]:
    """Return how many actions and cases the reference has, and how many of them are strict."""
    every = [(len(one.actions) + len(one.cases), one.strict) for one in expected.values()]
    return sum(n for n, _ in every), sum(n for n, strict in every if strict)
