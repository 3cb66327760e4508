"""Appeals: what a player's objection to an action is, when it must be answered, and what it says about the rules.

    AppealCommand ─ opened ─▶ Appeal ─ AnswerAppealCommand ─▶ granted: the action is undone │ denied

An appeal goes by the id of the action it is against. Per rule and revision it is counted how many were answered and how
many granted; a revision that people overturn too often is no longer trusted to act by itself (`decide.doubting`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from moderation.actions import End, Label, RuleRef
from moderation.events import Id, Millis, Name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from moderation.actions import Action, AnswerAppealCommand, AppealCommand
    from moderation.policy import AppealPolicy

State = Literal["open", "held", "granted", "denied"]
#: A rule as it was: its id and revision.
RuleKey = tuple[str, str]
_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 86_400_000
#: What the player is told where the human who answered chose no words.
_REPLIES: Final[dict[State, str]] = {
    "open": "您的申诉已受理。",
    "held": "您的申诉正在复核，请耐心等待。",
    "granted": "您的申诉已通过，处罚已解除。",
    "denied": "您的申诉经复核未通过，维持原处理。",
}


class Answer(Struct, frozen=True, omit_defaults=True):
    """What a human said to an appeal; `granted` is missing where it was not the last word. `reason`: for moderators."""

    command_id: Id
    operator: Name
    reason: Annotated[str, Meta(max_length=512, description="for moderators, never for the player")]
    ts: Millis
    granted: bool | None = None
    reply: str = ""


class Appeal(Struct, frozen=True, omit_defaults=True):
    """An appeal as it stands after it was opened or answered. `reply` is what to tell the player now.

    `state` is open, held (a human has answered, not for good), granted or denied. The first answer is due at
    `first_due`, the final one at `final_due`. A record may come again; one that is granted or denied stays so.
    """

    action_id: Id
    account_id: Id
    command_id: Id
    operator: Name
    opened_at: Millis
    first_due: End
    final_due: End
    state: State
    reply: Annotated[str, Meta(description="what the player is told")]
    text: Annotated[str, Meta(description="the player's words")] = ""
    label: Label | None = None
    event_id: Id | None = None
    rules: tuple[RuleRef, ...] = ()
    first: Answer | None = None
    final: Answer | None = None

    @property
    def due_at(self) -> int | None:
        """Return when a human must have answered next, ms; None where all is said."""
        if self.final:
            return None
        return self.final_due if self.first else self.first_due

    @property
    def cause(self) -> str:
        """Return what is counted once: two actions for one message are one mistake, or none."""
        return self.event_id or self.action_id


def opened(command: AppealCommand, action: Action, policy: AppealPolicy) -> Appeal:
    """Return the appeal that a command opens against an action."""
    return Appeal(
        action_id=action.action_id,
        account_id=command.account_id,
        command_id=command.command_id,
        operator=command.operator,
        opened_at=command.ts,
        first_due=command.ts + policy.first_answer_h * _HOUR_MS,
        final_due=command.ts + policy.final_answer_h * _HOUR_MS,
        state="open",
        reply=_REPLIES["open"],
        text=command.text,
        label=action.label,
        event_id=action.event_id,
        rules=action.rules,
    )


def answer(command: AnswerAppealCommand) -> Answer:
    """Return what a command says to an appeal."""
    return Answer(command.command_id, command.operator, command.reason, command.ts, command.granted, command.reply)


def standing(appeal: Appeal, first: Answer | None, final: Answer | None) -> Appeal:
    """Return the appeal with these answers: what it is now, and what to tell the player."""
    last = final or first
    state: State = "open" if last is None else "held" if final is None else "granted" if final.granted else "denied"
    reply = (last.reply if last else "") or _REPLIES[state]
    return msgspec.structs.replace(appeal, state=state, reply=reply, first=first, final=final)


class Rate(Struct, frozen=True):
    """What became of the appeals against one revision of a rule in the last days: messages, each counted once."""

    rule: str
    revision: str
    appealed: int
    answered: int
    overturned: int

    @property
    def percent(self) -> float:
        """Return how many of a hundred that were answered were overturned."""
        return 100 * self.overturned / self.answered if self.answered else 0.0


def since(policy: AppealPolicy, now: int) -> int:
    """Return from when on appeals count, ms."""
    return now - policy.window_days * _DAY_MS


def overturned(rates: Iterable[Rate], policy: AppealPolicy) -> tuple[RuleKey, ...]:
    """Return the revisions that were overturned too often to act by themselves."""
    return tuple(
        (rate.rule, rate.revision)
        for rate in rates
        if rate.answered >= policy.at_least and rate.percent > policy.overturned_percent
    )
