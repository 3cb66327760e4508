"""Local windows: what a worker remembers of the last minutes, bounded whatever the senders do.

A timeline is the recent past of one key: of a sender, of a text said by many, of a handle dropped by many. Rules count
on timelines. All times are event times, so a replay sees the same windows. Kafka partitions by sender, so a sender's
timeline is whole on one worker; timelines across senders see only that worker's share.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import OrderedDict
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

#: Entries a timeline keeps; a rule cannot count further than this.
DEPTH: Final = 32
#: A timeline whose last entry is older than this may be forgotten; no rule looks back further.
HORIZON_MS: Final = 3_600_000
#: Entries kept at once, on all timelines: five messages each of 100 000 senders, about 220 MB (2026-11-21). Past it the
#: longest silent timelines are forgotten first, however many senders somebody invents.
MOST_ENTRIES: Final = 500_000
#: One message may move the clock by which timelines are forgotten forward by so much: who lies about the time, or one
#: server whose clock is ahead, must not make us forget the others.
STEP_MS: Final = 100
#: Messages a budget remembers; no budget is larger.
MOST_SPENT: Final = 10_000


class Entry(Struct, frozen=True, gc=False):
    """One message as a timeline remembers it. `marks` are the counters whose condition it met."""

    ts: int
    message: str
    account: str
    text: int
    recipient: str | None
    marks: frozenset[str]


#: What a rule may count distinct values of.
DISTINCT: Final[dict[str, Callable[[Entry], Hashable]]] = {
    "message": attrgetter("message"),
    "sender": attrgetter("account"),
    "recipient": attrgetter("recipient"),
    "text": attrgetter("text"),
}


#: Entries by message, in order of arrival. A message that comes again keeps its place.
Timeline = dict[str, Entry]


class Windows:
    """The timelines of one worker. Not shared between threads or processes.

    `horizon_ms` is how far back the rules in force look; what is older is dropped, an entry at a time.
    """

    def __init__(self, most: int = MOST_ENTRIES) -> None:
        self._most = most
        self._entries = self._evicted = 0
        self._now = 1 << 62
        self.horizon_ms = HORIZON_MS
        self._timelines: OrderedDict[Hashable, Timeline] = OrderedDict()
        #: By purse: when each message drew on it, and all those times in order.
        self._spent: dict[str, tuple[dict[str, int], list[int]]] = {}

    def __len__(self) -> int:
        return len(self._timelines)

    def evicted(self) -> int:
        """Return how many timelines were dropped, since last asked, that a rule could still have counted on."""
        evicted, self._evicted = self._evicted, 0
        return evicted

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
        self._now = min(entry.ts, self._now + STEP_MS)
        if before == 0 or self._entries > self._most:
            self._forget(self._now)
        return timeline

    def spend(self, purse: str, message: str, ts: int, span_ms: int) -> int:
        """Note that `message` drew on a budget and return how many did in the `span_ms` up to now, it included."""
        spent, times = self._spent.setdefault(purse, ({}, []))
        if message not in spent:
            spent[message] = ts
            insort(times, ts)
        if len(spent) > MOST_SPENT:
            times.remove(spent.pop(next(iter(spent))))
        return bisect_right(times, ts) - bisect_right(times, ts - span_ms)

    def _forget(self, now: int) -> None:
        """Make room: drop the longest silent timelines, beyond the horizon or beyond the bound, two at a time."""
        for _ in range(2):
            key, timeline = next(iter(self._timelines.items()))
            recent = timeline[next(reversed(timeline))].ts > now - self.horizon_ms
            if (recent and self._entries <= self._most) or len(self._timelines) == 1:
                return
            self._entries -= len(timeline)
            del self._timelines[key]
            self._evicted += recent


def within(timeline: Timeline, ts: int, span_ms: int) -> list[Entry]:
    """Return the entries of the `span_ms` up to `ts`, oldest first. Entries from after `ts` are not seen."""
    first = ts - span_ms
    return [e for e in timeline.values() if first <= e.ts <= ts]
