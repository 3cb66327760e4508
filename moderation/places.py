"""Places: where in a message something was found, and the shortest stretch that holds one of each."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from moderation.actions import Field

if TYPE_CHECKING:
    from collections.abc import Sequence


class Found(Struct, frozen=True, order=True):
    """A place in a field, in code points of its raw text; `name` is the lexicon class, `text` the words there."""

    start: int
    end: int
    field: Field
    view: str = "plain"
    name: str = ""
    text: str = ""
    parts: tuple[Found, ...] = ()

    def leaves(self) -> tuple[Found, ...]:
        """Return the single places this one was put together from."""
        return tuple(chain.from_iterable(p.leaves() for p in self.parts)) if self.parts else (self,)


#: The place of what is true of a whole message, of its sender or its channel.
ANYWHERE: Final = Found(-1, -1, "text")
_FIELD_ORDER: Final[dict[Field, int]] = {"text": 0, "window": 1, "name": 2, "guild": 3, "signature": 4}


def tightest(places: Sequence[Sequence[Found]]) -> Found:
    """Return the shortest stretch of one field that holds a place of each list.

    Places in different fields (a lure in the text, its handle in the name) belong together too: then the stretch is
    the text's part.
    """
    if not places:
        return ANYWHERE
    fields = {f.field for found in places for f in found}
    best: Found | None = None
    for field in sorted(fields, key=_FIELD_ORDER.__getitem__) if len(fields) > 1 else fields:
        here = places if len(fields) == 1 else [[f for f in found if f.field == field] for found in places]
        hull = _window(here, field) if all(here) else None
        if hull and (best is None or hull.end - hull.start < best.end - best.start):
            best = hull
    return best or _across(places)


def _window(lists: Sequence[Sequence[Found]], field: Field) -> Found:
    """Return the smallest window over places that holds one of each list: advance whichever starts first."""
    if max(map(len, lists)) == 1:
        return _hull([found[0] for found in lists], field)
    queues = [iter(sorted(found)) for found in lists]
    chosen = [next(queue) for queue in queues]
    starts, ends = [(f.start, k) for k, f in enumerate(chosen)], [f.end for f in chosen]
    least, best = 1 << 62, chosen
    while True:
        start, first = min(starts)
        size = max(ends) - start
        if size < least:
            least, best = size, chosen.copy()
        found = next(queues[first], None)
        if found is None:
            return _hull(best, field)
        chosen[first], starts[first], ends[first] = found, (found.start, first), found.end


def _across(places: Sequence[Sequence[Found]]) -> Found:
    chosen = [min(found, key=lambda f: _FIELD_ORDER[f.field]) for found in places]
    field = min((f.field for f in chosen), key=_FIELD_ORDER.__getitem__)
    return replace(_hull([f for f in chosen if f.field == field], field), parts=tuple(chosen))


def _hull(parts: Sequence[Found], field: Field) -> Found:
    start, end, view = parts[0].start, parts[0].end, "plain"
    for part in parts:
        start = min(start, part.start)
        end = max(end, part.end)
        view = part.view if view == "plain" else view
    return Found(start, end, field, view, parts=tuple(parts))
