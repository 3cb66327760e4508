"""Pieces: what a sender tears apart over several short messages, put together again.

    加扣 ─ 7381 ─ 920465 ▶ 加扣 7381 920465

A message is put together with the few short ones before it: of its sender, or of the new accounts on its sender's
device. All times are event times; what comes again takes the place of what it repeats.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from moderation.fold import squeeze

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from moderation.events import ChatEvent

#: A longer text is no piece.
SHORT: Final = 16
#: How far back pieces belong together, and how many.
JOIN_MS: Final = 120_000
JOIN_MOST: Final = 12
#: A message of so few characters may be a piece of a word.
SCRAP: Final = 2
#: Characters of an id: fewer are no contact.
LEAST_ID: Final = 5
#: Senders and devices remembered, those longest silent first to go: with two messages each 21 MB (2026-11-22).
MOST_SENDERS: Final = 50_000
#: Digits dictated over messages, among small talk: fewer are none. Nobody says more of them at once.
LEAST_DICTATED: Final = 6
MOST_AT_ONCE: Final = 4
_NUMERALS: Final = "0-9零〇一二三四五六七八九幺两壹贰叁肆伍陆柒捌玖"
_ID: Final = re.compile(f"[a-z{_NUMERALS}]")
_DIGITS: Final = re.compile(f"[{_NUMERALS}]+")


class _Said(Struct, frozen=True, gc=False):
    """A message; `short` is its folded text, nothing where that is too long for a piece."""

    message: str
    ts: int
    short: str


class Pieces:
    """The short messages of late of one worker's senders."""

    def __init__(self, most: int = MOST_SENDERS) -> None:
        self._most = most
        #: By sender or device: the last messages, by their ids. One that comes again keeps its place.
        self._said: OrderedDict[str | tuple[str, str], dict[str, _Said]] = OrderedDict()

    def add(self, event: ChatEvent, folded: str, *, new: bool) -> Sequence[str]:
        """Remember a message; return it with those before it that it may belong to, itself last, oldest first.

        Nothing where it belongs to none. `new`: the sender is a new account, whose device counts too.
        """
        said = _Said(message_of(event), event.ts, folded if len(folded) <= SHORT else "")
        own, device = self._note(event.sender.account_id, said), event.sender.device_id
        if not said.short:
            return ()
        shared = torn(self._note(("device", device), said), said) if new and device else ()
        return shared or torn(own, said)

    def _note(self, key: str | tuple[str, str], said: _Said) -> Mapping[str, _Said]:
        line = self._said.get(key)
        if line is None:
            line = self._said[key] = {}
            if len(self._said) > self._most:
                self._said.popitem(last=False)
        else:
            self._said.move_to_end(key)
        line[said.message] = said
        if len(line) > JOIN_MOST:
            del line[next(iter(line))]
        return line


def message_of(event: ChatEvent) -> str:
    """Return what a message and a client's retry of it have in common."""
    return f"{event.sender.account_id}\x1f{event.client_msg_id}" if event.client_msg_id else event.event_id


def torn(line: Mapping[str, _Said], current: _Said) -> list[str]:
    """Return the short messages that may be one thing torn apart, `current` last; nothing if they are not.

    They may be if this one is a scrap (of an id, or of one or two characters) and together they hold an id, or are all
    scraps. Of ordinary chat one message in twenty comes this far (generated chat, 2026-11-21).
    """
    short = current.short
    if len(line) < 2 or not (len(short) <= SCRAP or _ID.search(short)):
        return []
    first = current.ts - JOIN_MS
    before = [
        s.short for s in line.values() if s.short and first <= s.ts <= current.ts and s.message != current.message
    ]
    if not before:
        return []
    parts = [*before, short]
    scraps = len(short) <= SCRAP and len(before[-1]) <= SCRAP
    return parts if scraps or len(_ID.findall(" ".join(parts))) >= LEAST_ID else []


def together(parts: Sequence[str]) -> tuple[str, int]:
    """Put pieces together; return them as one text, and how much at its end is of the last one.

    One after the other; or, where all have as many lines, line by line (叠楼 over messages); or, where a number is
    dictated among small talk, its digits right behind the piece before them, which says what they are.

    >>> together(["企鹅号记一下", "六二零，卡了", "继续，七三九"])
    ('六二零，卡了 继续，七三九 企鹅号记一下 六二零 七三九', 3)
    """
    rows = [part.split("\n") for part in parts]
    height = len(rows[0])
    if height > 1 and all(len(row) == height for row in rows):
        return "\n".join("".join(column) for column in zip(*rows, strict=True)), len(parts[-1])
    if dictated := _dictated(parts):
        return dictated
    return " ".join(parts), len(parts[-1])


def _dictated(parts: Sequence[str]) -> tuple[str, int] | None:
    """Put a dictated number together: at most one run of digits a piece, and other words beside some of them."""
    digits = [_DIGITS.findall(part) for part in parts]
    first = next((at for at, runs in enumerate(digits) if at and runs), 0)
    spoken = [runs[0] for runs in digits[first:] if runs]
    talk = any(runs != [squeeze(part)] for part, runs in zip(parts[first:], digits[first:], strict=True))
    enough = len("".join(spoken)) >= LEAST_DICTATED and bool(digits[-1])
    breaths = max(map(len, digits)) == 1 and len(spoken) > 1 and max(map(len, spoken)) <= MOST_AT_ONCE
    if not (first and talk and enough and breaths):
        return None
    rest = [*parts[: first - 1], *parts[first:]]
    return " ".join([*rest, parts[first - 1], *spoken]), len(spoken[-1])
