"""A limit on dead letters: a worker stops rather than make a topic of them after somebody's bad deploy."""

from __future__ import annotations

from collections import deque
from typing import Final

from moderation.errors import QingliuError

#: Records that must have come before their share of dead ones says anything.
LEAST: Final = 200


class Draining(QingliuError):
    """So many records cannot be read that their publisher must mend it first. The batch was not acknowledged."""


class DrainLimit:
    """Watches the share of dead letters among the last LEAST records or more. `share` 1 is no limit."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._batches: deque[tuple[int, int]] = deque()
        self._records = self._dead = 0

    def add(self, records: int, dead: int) -> None:
        """Note a batch, before anything is made of it. Raises Draining."""
        self._batches.append((records, dead))
        self._records += records
        self._dead += dead
        while self._records - self._batches[0][0] >= LEAST:
            gone = self._batches.popleft()
            self._records -= gone[0]
            self._dead -= gone[1]
        if self._records >= LEAST and self._dead > self._share * self._records:
            raise Draining(
                f"{self._dead} of the last {self._records} records would be dead letters: stopped before they are; "
                "mend what game servers publish (qingliu dead-letters list), or set QINGLIU_DEAD_LETTER_SHARE=1"
            )
