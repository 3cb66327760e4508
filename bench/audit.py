"""What the audit log costs: entries a second to record and to verify, bytes an entry.

The records are what the shipped rules make of generated abuse: actions with their evidence, cases, and an ack of each
action, again and again. `record` has them in memory; `tail` reads them from the embedded broker, as the auditor does.
One process, one disk, 2 000 records between two synchronisations.

    python bench/audit.py [--records 100000] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections import Counter
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
from aiokafka import AIOKafkaProducer

from console.audit import verify
from console.traffic import Traffic
from moderation.actions import Ack
from moderation.moderator import Moderator
from streams.auditor import BATCH, auditing, roles
from streams.embedded import Embedded
from streams.journal import Journal, segments
from streams.ledger import MemoryLedger
from streams.letters import Letters
from streams.outbox import Letter
from streams.rules import load_rules
from streams.settings import Settings, Topics
from streams.topics import create_topics
from streams.verdicts import Pending, decided

if TYPE_CHECKING:
    from collections.abc import Sequence

RULES: Final = Path(__file__).parent.parent / "rules"
MESSAGES: Final = 4_000
KEY: Final = b"a key of the benchmark"


class Record(NamedTuple):
    """A record as Kafka would hand it on."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int
    headers: Sequence[tuple[str, bytes | None]] = ()


async def letters(topics: Topics) -> list[Letter]:
    """Judge generated chat; return what it earned, and the acks."""
    moderator, to, made = Moderator(load_rules([RULES])), Letters(topics), list[Letter]()
    now = time.time_ns() // 1_000_000
    lines = Traffic(7, start_ms=now, rate=80.0, spam_share=0.2).take(MESSAGES)
    findings = moderator.judge([line.event for line in lines])
    for outcome in await decided(moderator, MemoryLedger(), [Pending(one, one.event.ts) for one in findings]):
        for action in outcome.judgement.actions:
            account = action.target.account_id
            ack = msgspec.json.encode(Ack(action.action_id, "applied", now, account))
            made += [to.action(action), Letter(topics.acks, account.encode(), ack)]
        made += map(to.case, outcome.cases)
    return made


def records(some: Sequence[Letter], many: int) -> list[Record]:
    """Return so many records of topics with one partition."""
    ends, now = Counter[str](), time.time_ns() // 1_000_000
    made = []
    for one in islice(cycle(some), many):
        made.append(Record(one.topic, 0, ends[one.topic], one.key, one.value, now))
        ends[one.topic] += 1
    return made


def told(where: Path, topics: Topics, some: Sequence[Record], key: bytes | None) -> float:
    """Record into a new log; return the seconds it took."""
    with Journal(where, "bench", roles(topics), key, now_ms=lambda: time.time_ns() // 1_000_000) as journal:
        begin = time.perf_counter()
        for at in range(0, len(some), BATCH):
            journal.add(some[at : at + BATCH])
        return time.perf_counter() - begin


async def tailed(where: Path, some: Sequence[Letter], many: int) -> float:
    """Record what lies in the embedded broker; return the seconds from the first look to the last entry."""
    async with Embedded(max_bytes=2**31) as pair:
        settings = Settings.load({"kafka": pair.kafka, "partitions": 4}, env_file=None)
        await create_topics(settings, pair.kafka)
        async with AIOKafkaProducer(bootstrap_servers=settings.brokers[0], linger_ms=5) as to:
            for one in islice(cycle(some), many):
                await to.send(one.topic, one.value, key=one.key)
            await to.flush()
        async with auditing(settings, pair.kafka, where) as (auditor, _):
            begin = time.perf_counter()
            assert await auditor.catch_up() == many  # noqa: S101  a figure of anything else is none
            return time.perf_counter() - begin


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    topics, many = Topics.under(""), asked.records
    some = asyncio.run(letters(topics))
    of = records(some, many)
    with tempfile.TemporaryDirectory() as home:
        plain, sealed, tail = (Path(home) / name for name in ("plain", "sealed", "tail"))
        figures = {"record entries/s": many / told(plain, topics, of, None)}
        figures |= {"record under a key entries/s": many / told(sealed, topics, of, KEY)}
        figures |= {"tail entries/s": many / asyncio.run(tailed(tail, some, many))}
        begin = time.perf_counter()
        assert verify(plain).flaw is None  # noqa: S101  the same
        figures |= {"verify entries/s": many / (time.perf_counter() - begin)}
        begin = time.perf_counter()
        assert verify(sealed, KEY).flaw is None  # noqa: S101  the same
        figures |= {"verify under a key entries/s": many / (time.perf_counter() - begin)}
        figures |= {"bytes an entry": sum(path.stat().st_size for path in segments(plain)) / many}
        figures |= {"of these the record": sum(len(one.value or b"") for one in of) / many}
    rounded = {name: round(figure) for name, figure in figures.items()}
    print(json.dumps(rounded) if asked.json else "\n".join(f"{figure:>9,}  {name}" for name, figure in rounded.items()))


if __name__ == "__main__":
    main()
