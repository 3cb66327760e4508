"""Lanes: each partition's batches wait in one of their own, and go on with those of other partitions, as one call.

    stream ─▶ put ─┬─▶ lane of partition 0: ▢▢▢ ─┐
                   ├─▶ lane of partition 1: ▢    ├─▶ work(▢▢▢▢), at most IN_HAND calls at a time
                   └─▶ lane of partition 2: (in hand)

Nothing overtakes within a partition: what is in hand keeps the rest of its lane waiting until its effects are durable.
What waits goes on together, because the fixed part of a call (a millisecond of judging, round trips to broker and
store) is most of a small one.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from functools import partial
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence

    from faust.types.tuples import TP

#: Calls at a time: while one waits for broker and store, another is judged.
IN_HAND: Final = 2


class Lanes:
    """Brings the events of a stream of batches to `work`.

    A call gets events of one generation with at most `most_records` records, or a single event. So many may wait in a
    lane, too; then `put` waits. `work` handles its errors itself: partitions whose call failed get no other.
    """

    def __init__(self, work: Callable[[Sequence[Any]], Coroutine[Any, Any, None]], most_records: int) -> None:
        self._work = work
        self._most = most_records
        #: In order of when they began to wait.
        self._lanes: defaultdict[TP, deque[Any]] = defaultdict(deque)
        self._in_hand: set[TP] = set()
        #: The generation in which a partition was last in hand.
        self._known: dict[TP, int] = {}
        self._calls: set[asyncio.Task[None]] = set()
        self._taken = asyncio.Event()

    async def put(self, event: Any) -> None:
        """Let an event wait for its turn; returns when its lane has room. One at a time."""
        while not self._has_room(event):
            self._taken.clear()
            await self._taken.wait()
        self._lanes[event.message.tp].append(event)
        self._begin()

    def end(self) -> None:
        """Stop what is in hand, and let nothing else begin: a call that misses its cancellation may yet finish."""
        self._lanes.clear()
        for call in self._calls:
            call.cancel()

    def _has_room(self, event: Any) -> bool:
        lane = self._lanes.get(event.message.tp)
        return not lane or sum(map(_size, lane)) + _size(event) <= self._most

    def _begin(self) -> None:
        """Take in hand what waits, if there is a hand."""
        while len(self._calls) < IN_HAND and (events := list(self._next())):
            self._in_hand |= {event.message.tp for event in events}
            call = asyncio.create_task(self._work(events))
            self._calls.add(call)
            call.add_done_callback(partial(self._done, events))
            self._taken.set()

    def _done(self, events: Sequence[Any], call: asyncio.Task[None]) -> None:
        self._calls.discard(call)
        if not call.cancelled() and call.exception() is None:
            self._in_hand -= {event.message.tp for event in events}
            self._begin()

    def _next(self) -> Iterator[Any]:
        """Take what goes on together: of all free lanes, the one that waits longest first, as much as fits."""
        room, before = self._most, None
        for tp in self._free():
            lane = self._lanes[tp]
            while lane and (before is None or (_size(lane[0]) <= room and _together(before.message, lane[0].message))):
                before = lane.popleft()
                room -= _size(before)
                self._known[tp] = before.message.generation_id
                yield before
            if not lane:
                del self._lanes[tp]

    def _free(self) -> Sequence[TP]:
        """Return the lanes that may go on together; one that is new here goes alone, since its past is heard first."""
        free = [tp for tp in self._lanes if tp not in self._in_hand]
        return [tp for tp in free if self._known.get(tp) == self._lanes[tp][0].message.generation_id] or free[:1]


def _size(event: Any) -> int:
    return len(event.message.value)


def _together(one: Any, other: Any) -> bool:
    """Tell whether batches are of one generation, and the second is none that a seek back brings again."""
    return bool(one.generation_id == other.generation_id and (one.tp != other.tp or one.offset < other.range.first))
