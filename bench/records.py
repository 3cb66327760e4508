"""A worker's pipeline without Kafka: records made here, letters sent nowhere."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Final, NamedTuple

from bench.lines import NOW, key_value
from moderation.moderator import Moderator
from streams.health import Health
from streams.ledger import MemoryLedger
from streams.metrics import Metrics
from streams.pipeline import Pipeline
from streams.settings import Topics

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from moderation.events import ChatEvent
    from moderation.ruleset import RuleSet
    from streams.outbox import Letter

TOPICS: Final = Topics.under("")
_offsets: Final = count()


class Record(NamedTuple):
    """A Kafka record."""

    offset: int
    key: bytes
    value: bytes
    topic: str = TOPICS.world
    partition: int = 0
    headers: tuple[tuple[str, bytes], ...] = ()
    timestamp: int = 0


class Nowhere:
    """An outbox that every broker would envy."""

    def __init__(self) -> None:
        self.sent = 0

    async def send(self, letters: Sequence[Letter]) -> None:
        """Count letters."""
        self.sent += len(letters)


def records(events: Iterable[ChatEvent]) -> list[Record]:
    """Return chat events as they come from Kafka, at offsets that no record had before."""
    return [Record(next(_offsets), *key_value(event)) for event in events]


def pipeline_of(rules: RuleSet) -> Pipeline:
    """Return a worker's pipeline that sends nowhere and remembers in memory; its time stands still."""
    return Pipeline(Moderator(rules), MemoryLedger(), Nowhere(), TOPICS, Metrics(), Health(), now_ms=lambda: NOW)
