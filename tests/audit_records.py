"""Records for the tests of the audit log: one of each kind, as workers, game servers and people write them."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from moderation.actions import Ack, RevertCommand
from moderation.errors import DeadReason, EventError
from moderation.moderator import Moderator
from moderation.notes import RulesChange, View
from moderation.order import undo
from streams.auditor import roles
from streams.ledger import MemoryLedger
from streams.letters import Letters
from streams.outbox import Letter
from streams.settings import Topics
from streams.verdicts import Pending, decided
from tests.small_rules import TS, event, rules

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from moderation.decide import Outcome

TOPICS: Final = Topics.under("t.")
ROLES: Final = roles(TOPICS)
#: What the audit log must not lose, and nobody may be fooled by.
SPAM: Final = "出金加QQ \u200b738190005\u202e<script>|"


class Record(NamedTuple):
    """A record of Kafka, as far as the auditor reads it."""

    topic: str
    partition: int
    offset: int
    key: bytes | None = b"a1"
    value: bytes | None = b"{}"
    timestamp: int = TS
    headers: Sequence[tuple[str, bytes | None]] = ()


def outcome(**sender: Any) -> Outcome:
    """Return what becomes of a message of spam: actions, or of a VIP's a case."""

    async def asked() -> Outcome:
        moderator = Moderator(rules())
        [finding] = moderator.judge([event(SPAM, level=3, **sender)])
        [one] = await decided(moderator, MemoryLedger(), [Pending(finding, TS)])
        return one

    return asyncio.run(asked())


def written() -> list[Letter]:
    """Return letters of every kind: an action and its ack, an order, a revert, a case, a view, rules, a dead one."""
    to, actions, case = Letters(TOPICS), outcome(account="a1").judgement.actions, outcome(account="v1", vip=9).cases[0]
    order = RevertCommand("o1", "gm", "申诉通过", TS, actions[0].action_id, "a1")
    ack = Ack(actions[0].action_id, "applied", TS, "a1")
    dead = Record("t.chat.world", 3, 17, b"a9", b"\xffpoison")
    return [
        to.note(RulesChange("started", "qingliu", "qingliu@w1", "r1", TS)),
        *map(to.action, actions),
        Letter(TOPICS.acks, b"a1", msgspec.json.encode(ack)),
        to.case(case),
        to.command(order),
        to.action(undo(order, actions[0], "r1")),
        to.note(View("gm", "ops@desk", "工单 7", "campaigns show", ("c1",), TS)),
        to.dead(dead, EventError(DeadReason.NOT_UTF8, "x"), "r1"),
    ]


def records(letters: Iterable[Letter]) -> list[Record]:
    """Return letters as the records of topics with one partition."""
    ends: defaultdict[str, int] = defaultdict(int)
    found = []
    for one in letters:
        found.append(Record(one.topic, 0, ends[one.topic], one.key, one.value, TS, one.headers))
        ends[one.topic] += 1
    return found
