"""A rule's band: how much of the chat it may hit before it is trusted no more, and when it has surely left that band.

A rule that is written wrong hits many players, and goes on until somebody complains. So of a rule the senders it hit
are counted, each once however much it says, and of chat the messages: no single account can take a rule away, and new
accounts, which a raid comes with, are not counted at all (streams/rates.py). Both
within windows of event time that begin at round times, so that whoever counts, and whatever comes again, counts alike.
What a rule that left its band says is for humans: see `decide.doubting`.
"""

from __future__ import annotations

import re
from math import sqrt
from typing import Final, NamedTuple

from msgspec import Struct

#: A short window for rules that run away, a long one for rare rules and quiet games. Seconds.
SPANS_S: Final = (600, 3600)
#: How sure: the lower end of a one-sided interval that misses once in 30 000 times, because it is looked at every two
#: seconds for each of some hundred rules.
_Z: Final = 4.0
#: All there is, in parts per million.
WHOLE: Final = 1_000_000
_SHARE: Final = re.compile(r"(\d{1,3})(?:\.(\d{1,4}))? *[%％]")


class Band(Struct, frozen=True):
    """At most so many of a million messages, judged only once so many distinct senders were hit."""

    at_most_ppm: int = 20_000
    senders: int = 20

    def left(self, senders: int, messages: int) -> bool:
        """Tell whether so many distinct senders hit, of so many messages, are surely more than the band allows.

        The lower bound of the score interval (Wilson 1927) lies above the ceiling.

        >>> Band(20_000).left(30, 1_000), Band(20_000).left(50, 1_000)
        (False, True)
        """
        return senders >= self.senders and _surely(senders, messages) * WHOLE > self.at_most_ppm


class Window(NamedTuple):
    """A stretch of event time: how long (s), and when it began (ms since 1970)."""

    span_s: int
    start: int


class Fallen(Struct, frozen=True, omit_defaults=True):
    """A revision of a rule that left its band: how many senders of how many messages, where at most so many may be.

    `at` is when a worker noticed, `start` when the window of `span_s` began, both ms.
    """

    rule: str
    revision: str
    at: int
    start: int
    span_s: int
    senders: int
    messages: int
    at_most_ppm: int

    @property
    def why(self) -> str:
        """Say the figures, for a log and the audit log."""
        share, most = self.senders / max(1, self.messages), self.at_most_ppm / WHOLE
        return f"hit {self.senders} senders in {self.messages} messages of {self.span_s} s: {share:.2%} of {most:.2%}"


def windows(ts: int) -> tuple[Window, ...]:
    """Return the windows that an event of that time (ms) belongs to."""
    return tuple(Window(span, ts - ts % (span * 1000)) for span in SPANS_S)


def parse_share(text: str) -> int:
    """Read a share as it stands in a rule file, in parts per million.

    >>> parse_share("0.2%")
    2000

    Raises ValueError for what is no share, 0 and more than all.
    """
    found = _SHARE.fullmatch(text.strip())
    ppm = int(found[1]) * 10_000 + int((found[2] or "").ljust(4, "0")) if found else 0
    if not 0 < ppm <= WHOLE:
        raise ValueError(text)
    return ppm


def _surely(hits: int, of: int) -> float:
    of = max(1, hits, of)
    share, z2 = hits / of, _Z * _Z
    spread = _Z * sqrt(share * (1 - share) / of + z2 / (4 * of * of))
    return (share + z2 / (2 * of) - spread) / (1 + z2 / of)
