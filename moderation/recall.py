"""Recall: what was said before and changes how a message is read.

* A handle that got somebody a verdict is known for a day: whoever drops it bare, without a word that says what it is,
  is read as if the word were there. So is one that a human marked as bad; one that a human allowed never is.
* Names a new account had one after the other are read as one: a number may be spelled by renaming.
* Short messages of one sender, or of the new accounts on one device, are read as one: see `windows.pieces`.

All times are event times, and nothing is recalled from after the event: a redelivered one is read as it was before.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple

from moderation.actions import Handle
from moderation.conditions import HANDLE_KEY, RUN_KEY, TEXT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from moderation.events import ChatEvent
    from moderation.reading import Reading
    from moderation.scan import Text

KNOWN_MS: Final = 86_400_000
MOST_KNOWN: Final = 20_000
_NUMBERED: Final = re.compile(r"(.*?)([0-9]*)")
#: A number spelled by renaming is spelled within this time, in at most so many names.
RENAMED_MS: Final = 600_000
MOST_NAMES: Final = 5
MOST_NAMED: Final = 20_000
_RUN: Final = re.compile(r"[0-9a-z](?:[-_0-9a-z]{3,18})[0-9a-z]")


class _Known(NamedTuple):
    type: str
    ts: int


class Recall:
    """The memory of one worker; bounded, the longest unseen goes first."""

    def __init__(self) -> None:
        self._handles: OrderedDict[str, _Known] = OrderedDict()
        self._names: OrderedDict[str, list[tuple[int, str]]] = OrderedDict()
        self._bad: Mapping[str, str] = {}
        self._allowed: frozenset[str] = frozenset()

    def told(self, bad: Iterable[str], allowed: Iterable[str]) -> None:
        """Take over what humans know of handles: keys as `campaign.handle_key` makes them. Digits are read as QQ."""
        named = (key.partition(":") for key in bad)
        self._bad = {value: "qq" if kind == "num" else kind for kind, _, value in named}
        self._allowed = frozenset(key.partition(":")[2] for key in allowed)

    def learn(self, handles: Sequence[Handle], ts: int) -> None:
        """Remember the handles of a message that earned a verdict; of the times of a day the first counts.

        One from the future is corrected by the next, so a clock that is ahead blinds nobody for long.
        """
        for handle in handles:
            known = self._handles.get(handle.value)
            if known is None or not 0 <= ts - known.ts <= KNOWN_MS:
                self._handles[handle.value] = _Known(handle.type, ts)
            self._handles.move_to_end(handle.value)
        while len(self._handles) > MOST_KNOWN:
            self._handles.popitem(last=False)

    def recognise(self, reading: Reading) -> None:
        """Add to a reading the known handles that stand bare in it."""
        if not (self._handles or self._bad) or not reading.mask & reading.rules.everywhere[RUN_KEY]:
            return
        have = {handle.value for handle in reading.handles}
        bits = reading.rules.bits[HANDLE_KEY]
        for field, text in reading.texts.items():
            new = [handle for handle in self._bare(text, reading.event.ts) if handle.value not in have]
            if new:
                reading.handles += tuple(new)
                reading.mask |= bits if field in TEXT else bits << reading.rules.carried

    def _bare(self, text: Text, ts: int) -> Iterator[Handle]:
        for run in _RUN.finditer(text.folded.text):
            kind = self._kind(run[0], ts)
            if kind:
                yield Handle(kind, run[0], text.folded.span(*run.span()), text.field)

    def _kind(self, value: str, ts: int) -> str | None:
        """Return what kind of handle a bare value is known to be at that time."""
        if value in self._allowed:
            return None
        known = self._handles.get(value)
        if known and 0 < ts - known.ts <= KNOWN_MS:  # a message that comes again is not taught by itself
            return known.type
        return self._bad.get(value)

    def names(self, event: ChatEvent) -> str:
        """Return the names a new account had of late as one; nothing where it had but one."""
        name, account = event.sender.name, event.sender.account_id
        if not name:
            return ""
        had = self._names.setdefault(account, [])
        self._names.move_to_end(account)
        if not had or (had[-1][1] != name and had[-1][0] <= event.ts):
            had.append((event.ts, name))
            del had[:-MOST_NAMES]
        if len(self._names) > MOST_NAMED:
            self._names.popitem(last=False)
        late = [one for ts, one in had if event.ts - RENAMED_MS <= ts <= event.ts]
        return _as_one(late) if len(late) > 1 else ""


def _as_one(names: list[str]) -> str:
    """Put names together; what stands before the digits of all of them, once: 收号扣729, 收号扣450 is 收号扣729450."""
    told = [_NUMBERED.fullmatch(name) for name in names]
    heads = {match[1] for match in told if match}
    if len(heads) > 1 or None in told:
        return "".join(names)
    return "".join((*heads, *(match[2] for match in told if match)))
