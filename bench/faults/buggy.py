"""A worker with bugs in it: the real one, whose parts now and then fail with what no part of it may fail with.

Where a bug strikes: decode, judge, the ledger's strike and record, the sighting of campaigns, the outbox, the
acknowledgement. The parts are wrapped from outside; nothing in streams/ or moderation/ knows of it. They fail while
there is a file `bugs` in the working directory, which names the kinds of bugs.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final

from bench.faults.crew import BUGS
from moderation.events import decode_event
from moderation.moderator import Moderator
from streams import pipeline, worker
from streams.ledger import RedisLedger
from streams.logs import log_json
from streams.outbox import KafkaOutbox
from streams.settings import Settings
from streams.transport import BatchConsumer, BatchTransport

if TYPE_CHECKING:
    from collections.abc import Callable

#: Of so many calls one fails.
ONE_IN: Final = 1000
_EVERY: Final = (RuntimeError, MemoryError, RecursionError, asyncio.CancelledError)
KINDS: Final = {kind.__name__: kind for kind in _EVERY}
_random: Final = Random(os.getpid())  # noqa: S311  bugs, not secrets


def buggy(call: Callable[..., Any], where: str) -> Callable[..., Any]:
    """Wrap a function, or one that returns something to wait for, so that one call in ONE_IN fails."""

    def failing(*args: Any, **kwargs: Any) -> Any:
        if _random.random() * ONE_IN < 1 and Path(BUGS).exists():
            kind = _random.choice(Path(BUGS).read_text().split())
            print(f"bug: {kind} in {where}", file=sys.stderr, flush=True)
            raise KINDS[kind](f"a bug in {where}")
        return call(*args, **kwargs)

    return failing


class BuggyModerator(Moderator):
    """Fails to judge."""

    judge = buggy(Moderator.judge, "judge")


class BuggyLedger(RedisLedger):
    """Fails to count strikes, to keep actions, to see campaigns."""

    strike = buggy(RedisLedger.strike, "strike")
    record = buggy(RedisLedger.record, "record")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.campaigns.sight = buggy(self.campaigns.sight, "sight")  # type: ignore[method-assign]


class BuggyOutbox(KafkaOutbox):
    """Fails to send."""

    send = buggy(KafkaOutbox.send, "send")


class BuggyConsumer(BatchConsumer):
    """Fails to acknowledge."""

    ack = buggy(BatchConsumer.ack, "ack")


def infest() -> None:
    """Put the parts that fail in the places of those that do not."""
    for place, name, part in (
        (worker, "Moderator", BuggyModerator),
        (worker, "RedisLedger", BuggyLedger),
        (worker, "KafkaOutbox", BuggyOutbox),
        (pipeline, "decode_event", buggy(decode_event, "decode")),
        (BatchTransport, "Consumer", BuggyConsumer),
    ):
        setattr(place, name, part)


if __name__ == "__main__":
    infest()
    log_json("info")
    sys.exit(asyncio.run(worker.work(Settings.load(env_file=None))))
