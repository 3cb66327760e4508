"""A rule and what belongs to it, as values. Rules come from rule files (rulefile.py) and never name a punishment."""

from __future__ import annotations

from hashlib import blake2b
from typing import Literal

import msgspec
from msgspec import Struct

from moderation.actions import Label
from moderation.band import Band
from moderation.conditions import Condition, Key
from moderation.events import ChatEvent

Status = Literal["draft", "shadow", "canary", "live", "off"]
CountBy = Literal["sender", "sender_text", "text", "handle"]
Distinct = Literal["message", "sender", "recipient", "text"]


class Count(Struct, frozen=True):
    """How often the rule's condition must be met: `at_least` distinct values on the timeline of `by`, in `within_s`."""

    counter: str
    by: CountBy
    distinct: Distinct
    within_s: int
    at_least: int


class Boost(Struct, frozen=True):
    """Points added to a hit where a further condition holds; may be negative."""

    condition: Condition
    add: int


class Canary(Struct, frozen=True):
    """Where a canary rule is in force: on these servers, or for this share of accounts, stable by hash."""

    servers: frozenset[str] = frozenset()
    percent: int = 0

    def covers(self, event: ChatEvent, rule: str) -> bool:
        """Tell whether the event's sender belongs to the trial of `rule`."""
        if event.server_id in self.servers:
            return True
        digest = blake2b(f"{rule}\x1f{event.sender.account_id}".encode(), digest_size=4).digest()
        return int.from_bytes(digest, "big") % 100 < self.percent


class Example(Struct, frozen=True):
    """One test of a rule: messages of one sender, in order. The last must hit, or none may."""

    events: tuple[ChatEvent, ...]
    line: int
    file: str


class Rule(Struct, frozen=True):
    """One rule. `score` and boosts are points (0-100).

    It holds from `starts_ms` on, and no longer from `expires_ms` on; from `review_ms` on it should be looked at again.
    """

    id: str
    label: Label
    note: str
    owner: str
    status: Status
    score: int
    because: str
    when: Condition | None = None
    unless: tuple[Condition, ...] = ()
    context: tuple[Condition, ...] = ()
    count: Count | None = None
    boosts: tuple[Boost, ...] = ()
    starts_ms: int | None = None
    expires_ms: int | None = None
    review_ms: int | None = None
    budget: int | None = None
    band: Band | None = None
    canary: Canary | None = None
    hits: tuple[Example, ...] = ()
    passes: tuple[Example, ...] = ()
    file: str = ""
    line: int = 0
    revision: str = ""

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """Return every condition of the rule, whatever it is for."""
        when = (self.when,) if self.when else ()
        return (*when, *self.unless, *self.context, *(boost.condition for boost in self.boosts))

    def clauses(self) -> tuple[frozenset[Key], ...]:
        """Return what a message must hold for the rule to be worth trying: a key of every set. Empty: try always."""
        parts = (*((self.when,) if self.when else ()), *self.context)
        return tuple(clause for part in parts for clause in part.clauses())

    def in_force(self, event: ChatEvent) -> bool:
        """Tell whether the rule applies to this event at all: within its time, and its trial if it is one."""
        if self.starts_ms is not None and event.ts < self.starts_ms:
            return False
        if self.expires_ms is not None and event.ts >= self.expires_ms:
            return False
        return self.canary is None or self.status != "canary" or self.canary.covers(event, self.id)


def revision(rule: Rule) -> str:
    """Name what a rule says: 8 hex digits over everything that can change a judgement, not its tests or place."""
    bare = msgspec.structs.replace(
        rule, hits=(), passes=(), file="", line=0, revision="", note="", owner="", because="", review_ms=None
    )
    said = msgspec.to_builtins(bare, order="deterministic")
    if rule.band is None:
        del said["band"]  # rules were named before they had bands
    return blake2b(msgspec.json.encode(said), digest_size=4).hexdigest()
