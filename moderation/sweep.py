"""What becomes of the members of a campaign that are due: actions from the ladder, or cases for a human."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
from msgspec import Struct

from moderation.actions import Action, Case, Judgement, Label, Scope, Source, Target, action_id
from moderation.campaign import Joined, Sighting
from moderation.decide import Outcome
from moderation.events import ChatEvent, Recipient, Sender
from moderation.policy import FOREVER, Policy, Step

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: Points from which a member is acted on without a human.
ENOUGH: Final = 3
_HOUR_MS: Final = 3_600_000


class Swept(NamedTuple):
    """The actions and cases of the members that are due."""

    actions: tuple[Action, ...]
    cases: tuple[Case, ...]


class Sweep(Struct, frozen=True):
    """Everything that acting on the members due is made from. `cause` is the event that made them due."""

    policy: Policy
    ruleset: str
    joined: Joined
    cause: ChatEvent
    source: Source | None = None

    def outcome(self) -> Swept:
        """Decide: what the ladder says, or a case. Actions are for many accounts: send each with its own key."""
        members: dict[str, list[Sighting]] = {}
        for one in self.joined.due:
            members.setdefault(one.account_id, []).append(one)
        actions: list[Action] = []
        cases: list[Case] = []
        for pieces in members.values():
            worst = max(pieces, key=lambda one: (one.verdict == "act", one.evidence.why.score))
            step = self._step(worst)
            acts = self._automatic(worst, pieces) and step.automatic
            if acts:
                actions += self._actions(worst, step, pieces)
            if step.review or not acts:
                cases.append(self._case(worst, step, acts=acts))
        return Swept(tuple(actions), tuple(cases))

    def _automatic(self, worst: Sighting, pieces: Sequence[Sighting]) -> bool:
        """Tell whether no human is needed: never for a VIP, else from three points on.

        Two for words that were enough alone, one for words that were worth a look; one each for a new account, for a
        handle, for one that is marked as bad. A text alone condemns new accounts only, and only if it was enough alone.
        """
        if worst.evidence.who.tier == "vip":
            return False
        words = {"act": 2, "review": 1, "allow": 0}[worst.verdict]
        handle = any(not key.startswith("text:") for one in pieces for key in one.keys)
        return words + (worst.evidence.who.tier == "new") + handle + self.joined.bad >= ENOUGH

    def _label(self, one: Sighting) -> Label:
        label = one.evidence.why.label
        return label if label in self.policy.labels else "contact"  # type: ignore[return-value]  # a Label then

    def _step(self, worst: Sighting) -> Step:
        ladder = self.policy.ladders[self.policy.labels[self._label(worst)].ladder]
        number = self.policy.campaigns.step if worst.verdict == "act" else 1
        return ladder.step(worst.evidence.who.tier, number)  # type: ignore[arg-type]  # tier() wrote it

    def _actions(self, worst: Sighting, step: Step, pieces: Sequence[Sighting]) -> Iterator[Action]:
        still = tuple(one.event_id for one in pieces if one.verdict != "act")  # the others were taken down at once
        if step.retract and still:
            yield self._order(worst, "retract", "message", FOREVER, messages=still)
        if step.mute_s is not None:
            yield self._order(worst, "mute", step.mute_scope, step.mute_s, shadow=step.shadow)
        if step.ban_s is not None:
            yield self._order(worst, "ban", "account", step.ban_s)

    def _order(
        self,
        one: Sighting,
        slot: str,
        scope: Scope,
        seconds: int,
        *,
        shadow: bool = False,
        messages: tuple[str, ...] = (),
    ) -> Action:
        label, at = self._label(one), self.joined.at
        return Action(
            action_id=action_id(self.joined.campaign_id, slot, one.account_id),
            action="revert" if slot == "retract" else "mute" if slot == "mute" else "ban",
            target=Target(
                one.account_id,
                role_id=one.evidence.who.role_id,
                device_id=one.device_id,
                channel_package=one.channel_package,
                message_ids=messages,
            ),
            scope=scope,
            duration_s=seconds or None,
            until=at + seconds * 1000 if seconds else None,
            deliver_before=self.cause.ts + self.policy.void_after_s * 1000,
            created_at=at,
            reason_code=f"{label}.{slot}",
            reason_text=self.policy.labels[label].reason,
            mode="auto",
            ruleset=self.ruleset,
            event_id=one.event_id,
            label=label,
            score=one.evidence.why.score,
            visibility="self_only" if shadow else "all",
            source=self.source,
            rules=one.rules,
            campaign_id=self.joined.campaign_id,
            evidence=one.evidence,
            extra=one.extra,
        )

    def _case(self, one: Sighting, step: Step, *, acts: bool) -> Case:
        why = one.evidence.why
        return Case(
            case_id=action_id(self.joined.campaign_id, "case", one.account_id),
            event=said(one),
            judgement=Judgement(
                event_id=one.event_id,
                verdict="act" if acts else "review",
                score=why.score,
                actions=(),
                handles=one.evidence.what.handles,
                hits=(),
                label=self._label(one),
                campaign_id=self.joined.campaign_id,
            ),
            why_human="policy" if acts else "vip" if one.evidence.who.tier == "vip" else "low_confidence",
            suggested=step.words(),
            created_at=self.joined.at,
            due_at=self.joined.at + self.policy.case_due_h * _HOUR_MS,
            source=self.source,
        )


def merged(outcome: Outcome, joined: Joined, swept: Swept) -> Outcome:
    """Add to an event's own outcome what its campaign brings. Its sender is sanctioned once, and asked about once."""
    judgement, cases = outcome.judgement, outcome.cases
    own = tuple(msgspec.structs.replace(action, campaign_id=joined.campaign_id) for action in judgement.actions)
    me = next((one.account_id for one in joined.due if one.event_id == judgement.event_id), None)
    mine = [action for action in swept.actions if action.target.account_id == me]
    if any(action.action != "revert" for action in mine):
        own = tuple(action for action in own if action.action == "revert")
    if any(case.event.sender.account_id == me for case in swept.cases):
        cases = ()
    verdict = "act" if own or mine else "review" if cases or swept.cases else judgement.verdict
    judgement = msgspec.structs.replace(
        judgement,
        actions=(*own, *swept.actions),
        campaign_id=joined.campaign_id,
        verdict=verdict,
        label=judgement.label or next((action.label for action in mine), None),
    )
    return Outcome(judgement, (*cases, *swept.cases))


def said(one: Sighting) -> ChatEvent:
    """Return the event of a sighting, as far as it is remembered."""
    who, where = one.evidence.who, one.evidence.where
    sender = Sender(
        who.account_id,
        role_id=who.role_id,
        name=who.name,
        level=who.level,
        vip=who.vip,
        guild=who.guild,
        device_id=one.device_id,
        ip=one.ip,
    )
    return ChatEvent(
        one.event_id,
        one.ts,
        where.server_id,
        where.channel,  # type: ignore[arg-type]  # it was an event's
        sender,
        one.evidence.what.text,
        recipient=Recipient(where.recipient) if where.recipient else None,
        game_id=where.game_id,
        channel_package=one.channel_package,
        extra=one.extra,
    )
