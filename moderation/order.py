"""Commands of humans, and the actions they become. A human's order outranks an automatic one."""

from __future__ import annotations

from typing import Final

import msgspec

from moderation.actions import (
    Action,
    AnswerAppealCommand,
    BanCommand,
    Command,
    ForgiveCommand,
    HandleCommand,
    MuteCommand,
    RevertCommand,
    RevertManyCommand,
    Source,
    Target,
    Which,
    action_id,
)
from moderation.campaign import typed_key
from moderation.errors import DeadReason, EventError
from moderation.events import MAX_RECORD_BYTES, check_shape

_decoder: Final = msgspec.json.Decoder(Command)


def decode_command(value: bytes | None, key: bytes | None) -> Command:
    """Decode one record of the commands topic, whose key is `key_of` the command. Raises EventError."""
    if not value:
        raise EventError(DeadReason.TOMBSTONE if value is None else DeadReason.EMPTY)
    if len(value) > MAX_RECORD_BYTES:
        raise EventError(DeadReason.TOO_LARGE, f"{len(value)} bytes, at most {MAX_RECORD_BYTES}")
    check_shape(value)
    try:
        command: Command = _decoder.decode(value)
    except msgspec.ValidationError as exc:
        raise EventError(DeadReason.SCHEMA, str(exc)) from None
    except UnicodeDecodeError as exc:
        raise EventError(DeadReason.NOT_UTF8, str(exc)) from None
    except (msgspec.DecodeError, RecursionError) as exc:
        raise EventError(DeadReason.NOT_JSON, str(exc)) from None
    if isinstance(command, RevertManyCommand) and command.which == Which():
        raise EventError(DeadReason.SCHEMA, "which names nothing: that would undo everything")
    if isinstance(command, HandleCommand) and typed_key(command.type, command.value) is None:
        raise EventError(DeadReason.SCHEMA, f"{command.value!r} is no handle")
    if key != key_of(command).encode():
        raise EventError(DeadReason.KEY_MISMATCH, f"the record's key must be {key_of(command)!r}")
    return command


def key_of(command: Command) -> str:
    """Return the key of a command's record: the account or handle it is about, its own id where it is about many."""
    if isinstance(command, RevertManyCommand):
        return command.command_id
    if isinstance(command, HandleCommand):
        return f"{command.type}:{command.value}"
    if isinstance(command, MuteCommand | BanCommand):
        return command.target.account_id
    return command.account_id


def sanction(command: MuteCommand | BanCommand, ruleset: str, source: Source | None = None) -> Action:
    """Return the action a manual mute or ban orders. Its times are the command's, so a redelivery says the same."""
    kind = "mute" if isinstance(command, MuteCommand) else "ban"
    seconds = command.duration_s
    return Action(
        action_id=action_id(command.command_id, kind, command.target.account_id),
        action="mute" if kind == "mute" else "ban",
        target=command.target,
        scope=command.scope,
        duration_s=seconds,
        until=command.ts + seconds * 1000 if seconds else None,
        deliver_before=None,
        created_at=command.ts,
        reason_code=f"manual.{kind}",
        reason_text="您已被客服处理，如有疑问请联系客服。",
        mode="manual",
        ruleset=ruleset,
        source=source,
        operator=command.operator,
        operator_reason=command.reason,
    )


def forgiveness(command: ForgiveCommand, ruleset: str, source: Source | None = None) -> Action:
    """Return the action that tells a game server of cleared strikes."""
    return Action(
        action_id=action_id(command.command_id, "forgive", command.account_id),
        action="revert",
        target=Target(command.account_id),
        scope="strike",
        duration_s=None,
        until=None,
        deliver_before=None,
        created_at=command.ts,
        reason_code="manual.forgive",
        reason_text="您此前的违规记录已清除。",
        mode="manual",
        ruleset=ruleset,
        source=source,
        operator=command.operator,
        operator_reason=command.reason,
    )


def undo(
    command: RevertCommand | RevertManyCommand | AnswerAppealCommand,
    undone: Action,
    ruleset: str,
    source: Source | None = None,
) -> Action:
    """Return the action that undoes another: its id depends on what is undone alone, so undoing twice is one effect."""
    one = not isinstance(command, RevertManyCommand)
    return Action(
        action_id=action_id(undone.action_id, "undo", undone.target.account_id),
        action="revert",
        target=undone.target,
        scope="message" if undone.action == "revert" else undone.action,
        duration_s=None,
        until=None,
        deliver_before=None,
        created_at=command.ts,
        reason_code=f"manual.{'revert' if one else 'revert_many'}",
        reason_text="您的申诉已通过，处罚已解除。" if one else "此前的处罚有误，已为您解除。",
        mode="manual",
        ruleset=ruleset,
        event_id=undone.event_id,
        label=undone.label,
        source=source,
        reverts=undone.action_id,
        rules=undone.rules,
        operator=command.operator,
        operator_reason=command.reason,
    )
