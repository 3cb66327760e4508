"""What Qingliu says: judgements, actions, cases; and what it is told: commands and acks.

An action's id is a pure function of its cause, kind and target, so an event that is delivered twice yields the same
ids, and a consumer that applies each id once is not fooled by redelivery, a reload of the rules, or a second worker.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct

from moderation.events import Channel, ChatEvent, Id, Millis, Name

Label = Literal[
    "spam_ad", "boosting", "rmt", "topup", "contact", "poaching", "scam", "gambling", "porn_ad", "flood", "abuse"
]
Verdict = Literal["allow", "review", "act"]
ActionKind = Literal["mute", "ban", "revert"]
BanScope = Literal["account", "device", "guild", "channel_package"]
RevertScope = Literal["message", "mute", "ban", "strike"]
#: One word, or for a mute a list of channels: "guild" bans a guild, ["guild"] mutes its channel.
Scope = Literal["all"] | BanScope | RevertScope | tuple[Channel, ...]
HandleType = Literal[
    "qq", "qun", "tel", "wx", "yy", "url", "dy", "ks", "xhs", "bili", "gzh", "tieba", "tg", "discord", "kook", "line",
]  # fmt: skip
Span = Annotated[tuple[int, int], Meta(description="start and end in code points of the raw text, end not included")]
Field = Literal["text", "name", "guild", "signature", "window"]
#: Ends may lie beyond what a clock of ours may say: the longest sanction after the latest event.
End = Annotated[
    int, Meta(ge=946_684_800_000, le=4_102_444_800_000 + 11 * 366 * 86_400_000, description="milliseconds since 1970")
]
Seconds = Annotated[int, Meta(ge=1, le=10 * 366 * 86_400)]


class Handle(Struct, frozen=True, omit_defaults=True):
    """A contact handle: `value` is canonical (lower case, no separators), `span` where it stands in the raw field.

    `obfuscated` is true when the raw text did not simply spell it. In field "window" the handle was put together
    from several messages and `span` is within the current one.
    """

    type: str
    value: str
    span: Span
    field: Field = "text"
    obfuscated: bool = False


class Hit(Struct, frozen=True, omit_defaults=True):
    """A rule that matched: which revision, where in the raw field, through which view, with what weight (0-100)."""

    rule: str
    revision: str
    label: Label
    weight: int
    because: str
    span: Span | None = None
    field: Field = "text"
    view: str = "plain"
    status: Literal["live", "canary", "shadow"] = "live"


class Target(Struct, frozen=True, omit_defaults=True):
    """Whom or what an action is for; `message_ids` are event ids."""

    account_id: Id
    role_id: Id | None = None
    device_id: Name | None = None
    guild_id: Name | None = None
    channel_package: Name | None = None
    message_ids: tuple[Id, ...] = ()


class Source(Struct, frozen=True):
    """Where the cause stood in Kafka: the consumer's fence."""

    topic: str
    partition: int
    offset: int


class RuleRef(Struct, frozen=True, omit_defaults=True):
    """A rule as it was when it matched, and the points it gave (0-100); 0 where that is not known."""

    id: str
    revision: str
    weight: int = 0


class Who(Struct, frozen=True, omit_defaults=True):
    """The sender, as the event described them."""

    account_id: str
    role_id: str | None = None
    name: str | None = None
    level: int | None = None
    vip: int | None = None
    guild: str | None = None
    tier: str = ""


class When(Struct, frozen=True):
    """Milliseconds since 1970: when it was said, and when it was first judged."""

    event: int
    judged: int


class Where(Struct, frozen=True, omit_defaults=True):
    """The place of the message."""

    server_id: str
    channel: str
    recipient: str | None = None
    game_id: str | None = None


class What(Struct, frozen=True, omit_defaults=True):
    """What was said: raw, as we read it, and where it matched."""

    text: str
    folded: str
    spans: tuple[Span, ...] = ()
    handles: tuple[Handle, ...] = ()


class Why(Struct, frozen=True, omit_defaults=True):
    """Why it was judged so; for moderators, never for the player."""

    label: str
    score: float
    because: tuple[str, ...] = ()


class How(Struct, frozen=True, omit_defaults=True):
    """How the ladder led here: its name and the step (from 1) this strike reached; 0 where no ladder was climbed."""

    ladder: str = ""
    step: int = 0


class Evidence(Struct, frozen=True):
    """The record of a sanction by 5W1H."""

    who: Who
    when: When
    where: Where
    what: What
    why: Why
    how: How


class Action(Struct, frozen=True, omit_defaults=True):
    """An order to the game server. Apply an `action_id` once; see docs/game-server.md for the consumer's rules.

    `scope` of a mute: "all" or a list of channels; of a ban: account, device, guild or channel_package; of a revert:
    what is undone. A revert of a message takes it down; with `reverts` set, it shows again what was taken down.
    `until` is absolute, null = permanent. An automatic action is void after `deliver_before`.
    """

    action_id: Id
    action: ActionKind
    target: Target
    scope: Scope
    duration_s: Seconds | None
    until: End | None
    deliver_before: End | None
    created_at: Millis
    reason_code: str
    reason_text: str
    mode: Literal["auto", "manual"]
    ruleset: str
    event_id: Id | None = None
    label: Label | None = None
    score: float = 0.0
    visibility: Literal["all", "self_only"] = "all"
    source: Source | None = None
    reverts: Id | None = None
    rules: tuple[RuleRef, ...] = ()
    campaign_id: Id | None = None
    evidence: Evidence | None = None
    operator: Name | None = None
    operator_reason: Annotated[str, Meta(max_length=512, description="for moderators, never for the player")] | None = (
        None
    )
    degraded: bool = False
    extra: dict[str, Any] | None = None


def due_since(action: Action) -> int | None:
    """Return since when an automatic action was due (ms): since its message, or since a campaign made it due.

    An earlier member of a campaign is acted on for a message of long ago: that is no delay. None for a human's order.
    """
    if action.evidence is None:
        return None
    when = action.evidence.when
    return when.event if action.created_at == when.judged else action.created_at


class Judgement(Struct, frozen=True, omit_defaults=True):
    """What was decided about one event."""

    event_id: Id
    verdict: Verdict
    score: float
    actions: tuple[Action, ...]
    handles: tuple[Handle, ...]
    hits: tuple[Hit, ...]
    label: Label | None = None
    campaign_id: Id | None = None


class Case(Struct, frozen=True, omit_defaults=True):
    """What a human should see. `suggested` is what the ladder would have done without the need for a human."""

    case_id: Id
    event: ChatEvent
    judgement: Judgement
    why_human: Literal["low_confidence", "vip", "policy", "budget", "degraded", "overturned"]
    suggested: tuple[str, ...]
    created_at: Millis
    due_at: End
    source: Source | None = None


class Ack(Struct, frozen=True, omit_defaults=True):
    """What the game server did with an action."""

    action_id: Id
    status: Literal["applied", "rejected", "already", "unknown_target"]
    ts: Millis
    account_id: Id | None = None


class _Order(Struct, frozen=True, omit_defaults=True, tag_field="command"):
    """What every order carries. The Kafka key of its record is the account id of the player it is about."""

    command_id: Id
    operator: Annotated[str, Meta(min_length=1, max_length=64)]
    reason: Annotated[str, Meta(min_length=1, max_length=512)]
    ts: Millis


class MuteCommand(_Order, frozen=True, omit_defaults=True, tag="mute"):
    """A human mutes a player."""

    target: Target
    duration_s: Seconds | None
    scope: Literal["all"] | Annotated[tuple[Channel, ...], Meta(min_length=1)] = "all"


class BanCommand(_Order, frozen=True, omit_defaults=True, tag="ban"):
    """A human bans a player; `duration_s` null = permanent."""

    target: Target
    duration_s: Seconds | None
    scope: BanScope = "account"


class RevertCommand(_Order, frozen=True, omit_defaults=True, tag="revert"):
    """A human undoes one action: the sanction is lifted and the strike behind it forgotten."""

    action_id: Id
    account_id: Id


class ForgiveCommand(_Order, frozen=True, omit_defaults=True, tag="forgive"):
    """A human clears a player's strikes, on all ladders: the next offence is a first one. Sanctions in force stay."""

    account_id: Id


class AppealCommand(Struct, frozen=True, omit_defaults=True, tag_field="command", tag="appeal"):
    """A player objects to one action, in their own words. An action is appealed once; the appeal goes by its id.

    `operator` is the person or system that took it down.
    """

    command_id: Id
    operator: Annotated[str, Meta(min_length=1, max_length=64)]
    ts: Millis
    action_id: Id
    account_id: Id
    text: Annotated[str, Meta(max_length=1000)] = ""


class AnswerAppealCommand(_Order, frozen=True, omit_defaults=True, tag="answer_appeal"):
    """A human answers an appeal: with `granted` true or false for good, without it that it is being looked into.

    The first answer may be either; a final one ends the appeal. Granted, the action is undone as by `revert`. `reply`
    is what the player is told, instead of the usual sentence; `reason` is for moderators.
    """

    action_id: Id
    account_id: Id
    granted: bool | None = None
    reply: Annotated[str, Meta(max_length=500)] = ""


class _HandleOrder(_Order, frozen=True, omit_defaults=True):
    """What the commands about a handle share. The Kafka key of their records is `TYPE:VALUE`, both as they stand here.

    `value` may be written as people type it; it means the canonical handle that messages are read for.
    """

    type: HandleType
    value: Annotated[str, Meta(min_length=1, max_length=256)]


class AllowHandleCommand(_HandleOrder, frozen=True, omit_defaults=True, tag="allow_handle"):
    """A handle is harmless: nobody joins a campaign by it, and nobody is recognised by it when they drop it bare."""


class MarkHandleCommand(_HandleOrder, frozen=True, omit_defaults=True, tag="mark_handle"):
    """A handle is bad: whoever drops it is a member of a campaign at once, and it is recognised when it comes bare."""


class UnmarkHandleCommand(_HandleOrder, frozen=True, omit_defaults=True, tag="unmark_handle"):
    """A handle is neither allowed nor marked any more."""


class Which(Struct, frozen=True, omit_defaults=True):
    """Which actions: those of which all holds that is given, and something must be. Times are of judging.

    `since` is included, `until` is not; without `since` all that the ledger still lists.
    """

    rule: Id | None = None
    revision: Id | None = None
    campaign_id: Id | None = None
    server_id: Id | None = None
    label: Label | None = None
    since: Millis | None = None
    until: Millis | None = None
    ruleset: Id | None = None


class RevertManyCommand(_Order, frozen=True, omit_defaults=True, tag="revert_many"):
    """A human undoes every action that a bad rule, a wrong campaign or a bad hour caused, a page at a time.

    The Kafka key of its record is its `command_id`. What another live rule justifies alone stays, if a rule is given.
    A worker carries out a page and writes the command again with `after`: where the next page begins.
    """

    which: Which
    after: Annotated[str, Meta(max_length=64)] = ""


HandleCommand = AllowHandleCommand | MarkHandleCommand | UnmarkHandleCommand
Command = (
    MuteCommand
    | BanCommand
    | RevertCommand
    | ForgiveCommand
    | RevertManyCommand
    | AppealCommand
    | AnswerAppealCommand
    | HandleCommand
)

_ID_BYTES: Final = 16


def action_id(cause: str, kind: str, target: str) -> str:
    """Name the effect of `kind` (mute, ban, retract, lift, …) that `cause` has on `target`: 32 hex digits.

    Never a function of a rule or rule set: after a reload a redelivered event may match another rule, and must not
    punish twice.
    """
    return blake2b(f"{cause}\x1f{kind}\x1f{target}".encode(), digest_size=_ID_BYTES).hexdigest()
