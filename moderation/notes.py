"""What nothing else on Kafka tells, on a topic of its own: who looked at chat text, and which rules came into force."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from moderation.events import Millis

#: Who did it, by their own word; and as the machine knows them, login@host.
By = Annotated[str, Meta(min_length=1, max_length=64)]
Login = Annotated[str, Meta(min_length=1, max_length=160)]
Reason = Annotated[str, Meta(min_length=1, max_length=512)]
Words = Annotated[str, Meta(max_length=128)]


class View(Struct, frozen=True, omit_defaults=True, tag_field="note", tag="view"):
    """Somebody was shown what players said. Written before it is shown: what cannot be recorded is not shown.

    `command` is what was called; `of` what it was about: an account, an action, a campaign, a place in a topic.
    """

    operator: By
    login: Login
    reason: Reason
    command: Words
    of: tuple[Words, ...]
    ts: Millis


class RulesChange(Struct, frozen=True, omit_defaults=True, tag_field="note", tag="rules"):
    """Rules came into force: a worker started with them, or somebody published them or took a publishing back.

    `ruleset` is their hash, `before` the one they replace, where that is known. Or one `rule` of them is left to humans
    because it hit too much, or `trusted` again; or a second person looked at a roll-back (`reviewed`).
    """

    change: Literal["started", "published", "rolled_back", "reviewed", "left_to_humans", "trusted"]
    operator: By
    login: Login
    ruleset: Words
    ts: Millis
    before: Words | None = None
    reason: Annotated[str, Meta(max_length=512)] = ""
    rule: Words | None = None


Note = View | RulesChange
