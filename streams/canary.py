"""A message of ours through the whole path: published like a game server's, judged, answered by an action that we read.

It is what tells "nobody spams" from "nobody is moderated". Its account belongs to no player: a game server that does
not know it answers `unknown_target`, as it should. Its strikes are counted like any other's, since that is part of the
path; its actions are not kept for `revert` (see `Pipeline`), or they would be the store's largest account.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from moderation.events import ChatEvent, Sender

if TYPE_CHECKING:
    from streams.metrics import OutsideMetrics

ACCOUNT: Final = "qingliu.canary"
#: The shipped rules act on it (contact.*), on a ladder that never bans and never asks a human.
TEXT: Final = "加微信 qingliu_canary"


def message(event_id: str, now: int, text: str) -> ChatEvent:
    """Return a message of our account, said at `now`."""
    return ChatEvent(event_id, now, "qingliu", "world", Sender(account_id=ACCOUNT, level=60), text)


class Canary:
    """Makes canary messages and knows which were answered. Times are milliseconds since 1970."""

    def __init__(self, name: str, text: str, within_ms: int, metrics: OutsideMetrics) -> None:
        self._name = name
        self._text = text
        self._within_ms = within_ms
        self._metrics = metrics
        self._flying: dict[str, int] = {}
        self._count = 0

    def message(self, now: int) -> ChatEvent:
        """Return the next message; call `sent` once the broker has it."""
        self._count += 1
        return message(f"canary-{self._name}-{self._count}", now, self._text)

    def sent(self, message: ChatEvent) -> None:
        """Wait for its action from now on."""
        self._flying[message.event_id] = message.ts

    def unsent(self, message: ChatEvent) -> None:
        """Count a message that the broker did not take."""
        self._flying.pop(message.event_id, None)
        self._metrics.canaries.labels("unsent").inc()

    def answered(self, event_id: str, now: int) -> None:
        """Take an action's event; its further actions, another observer's and a late one say nothing new."""
        sent = self._flying.pop(event_id, None)
        if sent is not None:
            self._metrics.canaries.labels("answered").inc()
            self._metrics.canary_latency_seconds.observe(max(0, now - sent) / 1000)

    def look(self, now: int) -> None:
        """Give up on what was not answered in time."""
        for event_id in [one for one, sent in self._flying.items() if now - sent > self._within_ms]:
            del self._flying[event_id]
            self._metrics.canaries.labels("lost").inc()
