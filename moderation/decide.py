"""From hits to a verdict, from a verdict and the player's standing to actions and cases. Pure tables and arithmetic."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Literal

import msgspec
from msgspec import Struct

from moderation.actions import (
    Action,
    Case,
    Evidence,
    Handle,
    Hit,
    How,
    Judgement,
    Label,
    RuleRef,
    Scope,
    Source,
    Target,
    Verdict,
    What,
    When,
    Where,
    Who,
    Why,
    action_id,
)
from moderation.context import Tier, is_settled, tier
from moderation.events import MAX_TEXT, ChatEvent
from moderation.policy import FOREVER, Policy, Step
from moderation.standing import Standing, Strike

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

WhyHuman = Literal["low_confidence", "vip", "policy", "budget", "degraded", "overturned"]
_HOUR_MS: Final = 3_600_000


class Finding(Struct, frozen=True):
    """What was found in one event, before anyone asked the ledger. `hits` holds shadow hits too; they weigh nothing."""

    event: ChatEvent
    verdict: Verdict
    score: float
    hits: tuple[Hit, ...]
    handles: tuple[Handle, ...]
    label: Label | None = None
    folded: str = ""
    over_budget: bool = False
    #: It reports, warns or asks: whoever quotes a seller is none.
    quoting: bool = False
    #: What it is worth without the rules that people overturned; None where none of them hit. See `doubting`.
    sure: Verdict | None = None

    @property
    def overturned(self) -> bool:
        """Tell whether it would be acted on, if people had not overturned the rules that say so."""
        return self.verdict == "act" and self.sure not in (None, "act")


class Outcome(Struct, frozen=True):
    """What becomes of one event: the judgement (its actions in it) and, where a human should look, cases."""

    judgement: Judgement
    cases: tuple[Case, ...] = ()


def scores(hits: Sequence[Hit]) -> dict[Label, float]:
    """Add up live hits per label: independent pieces of evidence, so 1 - the product of the doubts, in points.

    Two hits of 50 make 75; no number of hits makes more than 100.
    """
    weights: dict[Label, list[int]] = {}
    for hit in hits:
        if hit.status != "shadow":
            weights.setdefault(hit.label, []).append(hit.weight)
    return {label: doubted(found) for label, found in weights.items()}


def doubted(weights: Iterable[int]) -> float:
    """Return the points (0-100) that independent pieces of evidence make together."""
    return round(100 * (1 - math.prod(1 - min(100, max(0, weight)) / 100 for weight in weights)), 1)


def weigh(policy: Policy, hits: Sequence[Hit], *, wary: bool = False) -> tuple[Verdict, Label | None, float]:
    """Return verdict, label and score: of the labels that reach furthest past their thresholds, the highest score.

    `wary`: see `is_wary`.
    """
    order: dict[Verdict, int] = {"allow": 0, "review": 1, "act": 2}
    ranked = [(worth(policy, label, score, wary=wary), score, label) for label, score in scores(hits).items()]
    if not ranked:
        return "allow", None, 0.0
    ranked.sort(key=lambda r: (order[r[0]], r[1]), reverse=True)
    verdict, score, label = ranked[0]
    if verdict == "allow":
        return "allow", None, score
    firm = (r[2] for r in ranked if r[0] != "allow" and not policy.labels[r[2]].yields)
    return verdict, next(firm, label), score


def doubting(policy: Policy, finding: Finding, overturned: frozenset[str]) -> Finding:
    """Trust the rules named in `overturned` no longer to act: their hits weigh nothing, but a human still sees them.

    Where the others alone are enough, they act, and are said to be why. Else what would have been acted on is a case.
    """
    if not any(hit.rule in overturned for hit in finding.hits):
        return finding
    hits = tuple(
        msgspec.structs.replace(hit, status="shadow") if hit.rule in overturned else hit for hit in finding.hits
    )
    sure, label, score = weigh(policy, hits, wary=is_wary(policy, finding.event, finding.handles))
    if sure == "act":
        return msgspec.structs.replace(finding, hits=hits, sure=sure, label=label, score=score)
    return msgspec.structs.replace(finding, hits=hits, sure=sure)


def worth(policy: Policy, label: Label, score: float, *, wary: bool = False) -> Verdict:
    """Return what so many points of a label are worth."""
    bars = policy.labels[label]
    return "act" if score >= bars.bar(wary=wary) else "review" if score >= bars.review else "allow"


def is_wary(policy: Policy, event: ChatEvent, handles: Sequence[Handle]) -> bool:
    """Tell whether words are all there is against a player who is known not to be new.

    With 90 points asked against them in place of 70, 9 of 818 innocent lines are acted on in place of 19, and 693 of
    932 abusive ones in place of 717 (2026-11-22, five sets of cases by authors who had seen no rules).
    """
    return not handles and is_settled(event, policy.bounds)


def strike(policy: Policy, finding: Finding, now: int) -> Strike | None:
    """Return the strike to be counted before deciding; None where no ladder is climbed."""
    if finding.verdict != "act" or finding.label is None or finding.over_budget or finding.overturned:
        return None
    ladder = policy.ladders[policy.labels[finding.label].ladder]
    if not any(step.automatic for step in ladder.steps[tier(finding.event, policy.bounds)]):
        return None
    event = finding.event
    return Strike(event.sender.account_id, ladder.name, event.event_id, event.ts, now, finding.label)


class Decision(Struct, frozen=True):
    """Everything an outcome is made from: the finding, and what only the edge knows. Times are milliseconds."""

    policy: Policy
    ruleset: str
    finding: Finding
    now: int
    standing: Standing | None = None
    source: Source | None = None
    degraded: bool = False

    @property
    def _judged(self) -> int:
        """When the event was first judged: redelivered, it gets the same times and so the same bytes."""
        return self.standing.at if self.standing else self.now

    def outcome(self) -> Outcome:
        """Decide: allow, a case for a human, or actions from the ladder."""
        finding = self.finding
        if finding.verdict == "allow":
            return Outcome(self._judgement("allow", ()))
        if finding.verdict == "review":
            return self._ask("low_confidence", self._step(1))
        return self._act()

    def _act(self) -> Outcome:
        if self.finding.over_budget:
            return self._ask("budget", self._step(1))
        if self.finding.overturned:
            return self._ask("overturned", self._step(1))
        if self.degraded:
            return self._ask("degraded", self._step(1), self._retract())
        if self.standing is None:
            return self._ask("vip" if self._tier == "vip" else "policy", self._step(1))
        step = self._step(self.standing.step)
        actions = self._actions(step)
        judgement = self._judgement("act" if actions else "review", actions)
        return Outcome(judgement, (self._case("policy", judgement, step),) if step.review else ())

    @property
    def _tier(self) -> Tier:
        return tier(self.finding.event, self.policy.bounds)

    @property
    def _label(self) -> Label | None:
        """What it is punished for: what the ledger was told first, as long as the policy knows it."""
        told = self.standing.label if self.standing else None
        return told if told in self.policy.labels else self.finding.label  # type: ignore[return-value]  # a Label then

    def _step(self, number: int) -> Step:
        label = self._label
        told = self.standing.ladder if self.standing else None
        ladder = told if told in self.policy.ladders else self.policy.labels[label].ladder if label else None
        return self.policy.ladders[ladder].step(self._tier, number) if ladder else Step(review=True)

    def _actions(self, step: Step) -> tuple[Action, ...]:
        """Turn a step into actions. A merged strike only takes its message down: its sanction is already under way."""
        out = list(self._retract()) if step.retract or (self.standing and self.standing.merged) else []
        if self.standing and not self.standing.merged:
            if step.mute_s is not None:
                out.append(self._order("mute", step.mute_scope, step.mute_s, shadow=step.shadow))
            if step.ban_s is not None:
                out.append(self._order("ban", "account", step.ban_s))
        return tuple(out)

    def _retract(self) -> tuple[Action, ...]:
        return (self._order("retract", "message", FOREVER),)

    def _order(self, slot: str, scope: Scope, seconds: int, *, shadow: bool = False) -> Action:
        finding, event, label = self.finding, self.finding.event, self._label
        sender, retract = event.sender, slot == "retract"
        return Action(
            action_id=action_id(event.event_id, slot, sender.account_id),
            action="revert" if retract else "mute" if slot == "mute" else "ban",
            target=Target(
                sender.account_id,
                role_id=sender.role_id,
                device_id=sender.device_id,
                channel_package=event.channel_package,
                message_ids=(event.event_id,) if retract else (),
            ),
            scope=scope,
            duration_s=seconds or None,
            until=self._judged + seconds * 1000 if seconds else None,
            deliver_before=event.ts + self.policy.void_after_s * 1000,
            created_at=self._judged,
            reason_code=f"{label}.{slot}",
            reason_text=self.policy.labels[label].reason if label else "",
            mode="auto",
            ruleset=self.ruleset,
            event_id=event.event_id,
            label=label,
            score=finding.score,
            visibility="self_only" if shadow else "all",
            source=self.source,
            rules=tuple(RuleRef(h.rule, h.revision, h.weight) for h in finding.hits if h.status != "shadow"),
            evidence=self._evidence(),
            degraded=self.degraded,
            extra=event.extra,
        )

    def _evidence(self) -> Evidence:
        how = How(self.standing.ladder, self.standing.step) if self.standing else How()
        return evidence(self.finding, self._tier, self._judged, how, label=self._label)

    def _judgement(self, verdict: Verdict, actions: tuple[Action, ...]) -> Judgement:
        finding = self.finding
        return Judgement(
            event_id=finding.event.event_id,
            verdict=verdict,
            score=finding.score,
            actions=actions,
            handles=finding.handles,
            hits=finding.hits,
            label=self._label,
        )

    def _ask(self, why: WhyHuman, step: Step, actions: tuple[Action, ...] = ()) -> Outcome:
        judgement = self._judgement("act" if actions else "review", actions)
        return Outcome(judgement, (self._case(why, judgement, step),))

    def _case(self, why: WhyHuman, judgement: Judgement, step: Step) -> Case:
        return Case(
            case_id=action_id(self.finding.event.event_id, "case", self.finding.event.sender.account_id),
            event=self.finding.event,
            judgement=msgspec.structs.replace(judgement, actions=()),
            why_human=why,
            suggested=step.words(),
            created_at=self._judged,
            due_at=self._judged + self.policy.case_due_h * _HOUR_MS,
            source=self.source,
        )


def evidence(
    finding: Finding,
    rank: Tier,
    judged: int,
    how: How | None = None,
    *,
    label: Label | None = None,
    most: int = MAX_TEXT,
) -> Evidence:
    """Write down who said what, when, where, why it was judged so and how that was weighed; texts are cut to `most`."""
    event, sender = finding.event, finding.event.sender
    live = [h for h in finding.hits if h.status != "shadow"]
    return Evidence(
        who=Who(
            sender.account_id,
            role_id=sender.role_id,
            name=sender.name,
            level=sender.level,
            vip=sender.vip,
            guild=sender.guild,
            tier=rank,
        ),
        when=When(event.ts, judged),
        where=Where(
            event.server_id,
            event.channel,
            recipient=event.recipient.account_id if event.recipient else None,
            game_id=event.game_id,
        ),
        what=What(
            event.text[:most],
            finding.folded[:most],
            spans=tuple(h.span for h in live if h.span and h.field == "text" and h.span[1] <= most),
            handles=finding.handles,
        ),
        why=Why(label or finding.label or "", finding.score, tuple(h.because for h in live)),
        how=how or How(),
    )
