"""Local windows: what a worker remembers of the last minutes, bounded whatever the senders do.

A timeline is the recent past of one key: of a sender, of a text said by many, of a handle dropped by many. Rules count
on timelines. All times are event times, so a replay sees the same windows. Kafka partitions by sender, so a sender's
timeline is whole on one worker; timelines across senders see only that worker's share.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Sequence

#: Entries a timeline keeps; a rule cannot count further than this.
DEPTH: Final = 32
#: A timeline whose last entry is older than this may be forgotten; no rule looks back further.
HORIZON_MS: Final = 3_600_000
#: Entries kept at once, on all timelines: five messages each of 100 000 senders, about 220 MB (2026-11-21). Past it the
#: longest silent timelines are forgotten first, however many senders somebody invents.
MOST_ENTRIES: Final = 500_000
#: Messages a budget remembers; no budget is larger.
MOST_SPENT: Final = 10_000
#: Only texts this short are kept for putting split messages together.
SHORT: Final = 16
#: Split messages: how far back, and how many.
JOIN_MS: Final = 120_000
JOIN_MOST: Final = 8
#: A message of so few characters may be a piece of a word.
SCRAP: Final = 2
#: Characters of an id: fewer are no contact.
LEAST_ID: Final = 5
_ID: Final = re.compile(r"[0-9a-z零〇一二三四五六七八九幺两壹贰叁肆伍陆柒捌玖]")


class Entry(NamedTuple):
    """One message as a timeline remembers it. `marks` are the counters whose condition it met."""

    ts: int
    message: str
    account: str
    text: int
    recipient: str | None
    short: str | None
    marks: frozenset[str]


#: What a rule may count distinct values of.
DISTINCT: Final[dict[str, Callable[[Entry], Hashable]]] = {
    "message": lambda e: e.message,
    "sender": lambda e: e.account,
    "recipient": lambda e: e.recipient,
    "text": lambda e: e.text,
}


#: Entries by message, in order of arrival. A message that comes again keeps its place.
Timeline = dict[str, Entry]


class Windows:
    """The timelines of one worker. Not shared between threads or processes.

    `horizon_ms` is how far back the rules in force look; what is older is dropped, an entry at a time.
    """

    def __init__(self, most: int = MOST_ENTRIES) -> None:
        self._most = most
        self._entries = 0
        self.horizon_ms = HORIZON_MS
        self._timelines: OrderedDict[Hashable, Timeline] = OrderedDict()
        self._spent: dict[str, dict[str, int]] = {}

    def __len__(self) -> int:
        return len(self._timelines)

    def add(self, key: Hashable, entry: Entry) -> Timeline:
        """Put `entry` on the timeline of `key` and return it, oldest first.

        A message that is already there (a redelivery, or a client's retry) takes the place of what it repeats.
        """
        timeline = self._timelines.get(key)
        if timeline is None:
            timeline = self._timelines[key] = {}
        else:
            self._timelines.move_to_end(key)
        before = len(timeline)
        timeline[entry.message] = entry
        first = next(iter(timeline))
        if len(timeline) > DEPTH or timeline[first].ts < entry.ts - self.horizon_ms:
            del timeline[first]
        self._entries += len(timeline) - before
        if before == 0 or self._entries > self._most:
            self._forget(entry.ts)
        return timeline

    def spend(self, purse: str, message: str, ts: int, span_ms: int) -> int:
        """Note that `message` drew on a budget and return how many did in the `span_ms` up to now, it included."""
        spent = self._spent.setdefault(purse, {})
        spent[message] = ts
        if len(spent) > MOST_SPENT:
            del spent[next(iter(spent))]
        return sum(ts - span_ms < at <= ts for at in spent.values())

    def _forget(self, now: int) -> None:
        """Make room: drop the longest silent timelines, beyond the horizon or beyond the bound, two at a time."""
        for _ in range(2):
            key, timeline = next(iter(self._timelines.items()))
            recent = timeline[next(reversed(timeline))].ts > now - self.horizon_ms
            if (recent and self._entries <= self._most) or len(self._timelines) == 1:
                return
            self._entries -= len(timeline)
            del self._timelines[key]


def together(parts: Sequence[str]) -> str:
    """Put pieces together: one after the other, or, where all have as many lines, line by line (叠楼 over messages)."""
    rows = [part.split("\n") for part in parts]
    height = len(rows[0])
    if height > 1 and all(len(row) == height for row in rows):
        return "\n".join("".join(column) for column in zip(*rows, strict=True))
    return " ".join(parts)


def within(timeline: Timeline, ts: int, span_ms: int) -> Iterator[Entry]:
    """Yield the entries of the `span_ms` up to `ts`, oldest first. Entries from after `ts` are not seen."""
    first = ts - span_ms
    return (e for e in timeline.values() if first <= e.ts <= ts)


def pieces(timeline: Timeline, current: Entry) -> list[str]:
    """Return the short messages of a sender that may be one thing torn apart, `current` last; empty if they are not.

    They may be if this one is a scrap (of an id, or of one or two characters) and together they hold an id, or are all
    scraps. Of ordinary chat one message in twenty comes this far (generated chat, 2026-11-21).
    """
    short = current.short
    if not short or not (len(short) <= SCRAP or _ID.search(short)):
        return []
    shorts = _shorts(timeline, current)
    if not shorts:
        return []
    parts = [*shorts, short]
    scraps = len(short) <= SCRAP and len(shorts[-1]) <= SCRAP
    return parts if scraps or len(_ID.findall(" ".join(parts))) >= LEAST_ID else []


def _shorts(timeline: Timeline, current: Entry) -> list[str]:
    """Return the short ones among the few messages before `current`, oldest first.

    All are looked at: what comes again may stand behind what came later.
    """
    late = [e for e in within(timeline, current.ts, JOIN_MS) if e.message != current.message]
    return [e.short for e in late[1 - JOIN_MOST :] if e.short]
