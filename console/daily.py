"""What a daily or weekly report says: who was acted against for what, where, and what became of it.

    audit log ─▶ entries of the time, and of as long before it ─▶ tally.py ─▶ Daily ─▶ text, page, workbook, JSON

Nothing here is what a player said: accounts and contacts are named, texts are not.
"""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

from moderation.chain import Head
from moderation.notes import RulesChange

#: What is counted: messages taken down, sanctions, cases for a human, and whichever of the first three was undone.
Deed = Literal["retract", "mute", "ban", "case", "undone"]
#: By what is counted: "all" (under no name), "label", "server", "channel", "rule", "why_human".
Facet = str
HOUR_MS: Final = 3_600_000


class Period(Struct, frozen=True):
    """From `since` to before `until`, in ms."""

    since: int
    until: int

    def has(self, when: int) -> bool:
        """Tell whether a moment is in it."""
        return self.since <= when < self.until


class Contact(Struct, frozen=True):
    """A contact handle, `type:value`: how many left it in how many messages; `new` if not in the time before."""

    handle: str
    accounts: int
    messages: int
    label: str
    new: bool


class Campaign(Struct, frozen=True):
    """A campaign that was acted against: its accounts that were, and the label of most."""

    campaign_id: str
    accounts: int
    label: str
    new: bool


class Poacher(Struct, frozen=True):
    """Who was acted against for poaching: where, how, since when (ms), to whom in private, with which contacts."""

    account_id: str
    server_id: str
    deeds: dict[str, int]
    at: int
    to: tuple[str, ...] = ()
    handles: tuple[str, ...] = ()


class Appeals(Struct, frozen=True):
    """Appeals of the time, and at its end. `late`: answered after they were due; `slowest_h`: hours, of the slowest."""

    opened: int
    granted: int
    denied: int
    late: int
    open: int
    overdue: int
    slowest_h: float | None = None


class Side(Struct, frozen=True):
    """The figures of one period. `by[facet][name][deed]` are counts; `moments`: what was done in each part of it.

    `delays_ms` are the median and the 99th percentile from a message to its automatic action, None where there is none.
    """

    by: dict[Facet, dict[str, dict[Deed, int]]]
    accounts: int
    moments: tuple[int, ...]
    delays_ms: tuple[int, int] | None
    acks: dict[str, int]
    unanswered: int
    dead_letters: dict[str, int]
    orders: dict[str, int]
    unreadable: int

    def count(self, deed: Deed) -> int:
        """Return how many there were in all."""
        return self.by.get("all", {}).get("", {}).get(deed, 0)


class Daily(Struct, frozen=True):
    """A period, beside the one before it, as the log under `head` tells it.

    Its records begin and end at these moments, ms; None where it begins before what was read. `lost`: records that
    Kafka deleted before anybody read them.
    """

    period: Period
    before: Period
    head: Head
    begins: int | None
    ends: int
    lost: int
    sides: tuple[Side, Side]
    appeals: Appeals
    contacts: tuple[Contact, ...]
    campaigns: tuple[Campaign, ...]
    poachers: tuple[Poacher, ...]
    changes: tuple[RulesChange, ...]
