"""What we write to Kafka: actions, cases, commands, appeals, notes, dead letters, each with topic, key and headers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from moderation.order import key_of
from moderation.signature import HEADER, Signing, signature_of, signed
from streams.outbox import Letter

if TYPE_CHECKING:
    from moderation.actions import Action, Case, Command
    from moderation.appeal import Appeal
    from moderation.errors import EventError
    from moderation.notes import Note
    from moderation.record import Record
    from streams.settings import Topics

_DETAIL_BYTES: Final = 256


class Letters(NamedTuple):
    """Writes letters to some topics."""

    topics: Topics
    signing: Signing = Signing()

    def action(self, action: Action) -> Letter:
        """Write an action, for the game server of its target."""
        return Letter(self.topics.enforcement, action.target.account_id.encode(), msgspec.json.encode(action))

    def case(self, case: Case) -> Letter:
        """Write a case, for a human."""
        return Letter(self.topics.cases, case.event.sender.account_id.encode(), msgspec.json.encode(case))

    def command(self, command: Command) -> Letter:
        """Write a command, for a worker, signed where commands are."""
        key, value = key_of(command).encode(), msgspec.json.encode(command)
        return Letter(self.topics.commands, key, value, signed(key, value, self.signing.commands))

    def appeal(self, appeal: Appeal) -> Letter:
        """Write what became of an appeal, for whoever tells the player."""
        return Letter(self.topics.appeals, appeal.account_id.encode(), msgspec.json.encode(appeal))

    def note(self, note: Note) -> Letter:
        """Write a note for the audit log; its key is whoever did it."""
        return Letter(self.topics.audit, note.login.encode(), msgspec.json.encode(note))

    def dead(self, record: Record, why: EventError, ruleset: str) -> Letter:
        """Write a dead letter: the record's key, bytes and signature as they were, and why nobody could use them."""
        headers = {
            "reason": str(why.reason),
            "detail": why.detail,
            "source-topic": record.topic,
            "source-partition": str(record.partition),
            "source-offset": str(record.offset),
            "ruleset": ruleset,
        }
        encoded = tuple((name, text.encode(errors="replace")[:_DETAIL_BYTES]) for name, text in headers.items())
        signature = signature_of(record.headers)
        kept = ((HEADER, signature[:_DETAIL_BYTES]),) if signature else ()
        return Letter(self.topics.dead_letters, record.key, record.value, encoded + kept)
