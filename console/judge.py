"""Judging a file: chat events as JSON lines in, one judgement per line out, in order. No broker, no clock.

The time of every judgement is its event's, so a file always gives the same output. State lives in memory: the windows
are bounded, and the ledger keeps only those who earned a strike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
from msgspec import Struct

from moderation.errors import EventError
from moderation.events import MAX_RECORD_BYTES, decode_event
from streams.ledger import MemoryLedger
from streams.verdicts import Pending, decided

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from io import BufferedReader

    from moderation.actions import Judgement
    from moderation.decide import Finding
    from moderation.events import ChatEvent
    from moderation.moderator import Moderator

#: What is read, judged and written at once.
CHUNK: Final = 1 << 18


class DeadLine(Struct, frozen=True):
    """A line that is no chat event: where a judgement would stand, the reason and the line's number, from 1."""

    line: int
    reason: str
    detail: str
    event_id: None = None
    verdict: str = "dead_letter"


class Batch(NamedTuple):
    """What came of the lines read at once: output, one line per event, and what is in it."""

    output: bytes
    events: int
    dead: int


class Judge:
    """Judges lines, batch by batch. Keeps windows, strikes and the line number between batches."""

    def __init__(self, moderator: Moderator) -> None:
        self._moderator = moderator
        self._ledger = MemoryLedger()
        self._encoder = msgspec.json.Encoder()
        self._line = 0

    async def batch(self, lines: Sequence[bytes]) -> Batch:
        """Judge lines in order; empty ones count as lines, and give nothing."""
        read = [one for line in lines if (one := self._read(line))]
        findings = self._moderator.judge([one for one in read if not isinstance(one, DeadLine)])
        judged = await self._decide(findings)
        rows = [one if isinstance(one, DeadLine) else next(judged) for one in read]
        return Batch(self._encoder.encode_lines(rows), len(rows), len(rows) - len(findings))

    def _read(self, line: bytes) -> ChatEvent | DeadLine | None:
        self._line += 1
        if not line.strip():
            return None
        try:
            return decode_event(line.rstrip(b"\r"), keyed=False)
        except EventError as exc:
            return DeadLine(self._line, str(exc.reason), exc.detail)

    async def _decide(self, findings: Sequence[Finding]) -> Iterator[Judgement]:
        """Ask about a whole batch at once; it comes in the order of the events, so nothing changes."""
        pending = [Pending(finding, finding.event.ts) for finding in findings]
        return (outcome.judgement for outcome in await decided(self._moderator, self._ledger, pending))


def batches(stream: BufferedReader) -> Iterator[list[bytes]]:
    """Yield the lines of a stream as they come, in bounded memory however long a line goes on."""
    rest = b""
    while chunk := stream.read1(CHUNK):
        *lines, rest = (rest + chunk).split(b"\n")
        rest = rest[: MAX_RECORD_BYTES + 1]  # enough to be refused for its length
        yield lines
    if rest:
        yield [rest]
