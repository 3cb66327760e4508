"""What a worker and its store keep when accounts, devices, names, texts and contacts are all made up, each seen once.

Hostile chat goes through a worker's own pipeline with the shipped rules and a ledger in a real Valkey, sent nowhere:
every account, name, device, signature and text is new. One in five is an advert with a new contact, one in fifty 256
rare characters, the rest is innocent. At every tenth of the way a row: the worker's resident memory, the timelines it
remembers, the store's memory, keys and evictions, the series of our metrics, and what was sent.

    python -m bench.memory [--accounts 1000000] [--maxmemory 2gb] [--json]

With `--maxmemory` the store is bounded as docs/architecture.md asks (volatile-ttl): it drops what would expire first.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import structlog
from redis.asyncio import Redis

from bench.faults.servers import Server, ending
from moderation.events import ChatEvent, Sender
from moderation.moderator import Moderator
from streams.embedded import find_servers, free_ports, resident_bytes
from streams.health import Health
from streams.ledger import RedisLedger
from streams.metrics import Metrics
from streams.pipeline import Pipeline
from streams.rules import load_rules
from streams.settings import Topics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from streams.outbox import Letter

RULES: Final = Path(__file__).parent.parent / "rules"
TOPICS: Final = Topics.under("")
BATCH: Final = 500
#: Event time between two messages: 1 000 a second.
EVERY_MS: Final = 1
_MIB: Final = 2**20
_PEOPLE: Final = "天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏"


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


class Sample(NamedTuple):
    """What is kept after so many accounts; bytes."""

    accounts: int
    worker: int
    senders: int
    store: int
    keys: int
    evicted: int
    series: int
    letters: int
    per_s: float


def hostile(number: int, ts: int) -> ChatEvent:
    """Return a message of which nothing was seen before."""
    unique = f"{number:07d}"
    name = "".join(_PEOPLE[int(digit)] for digit in unique)
    if number % 5 == 0:
        text = f"出金加QQ 7{unique}1" if number % 2 else f"代练上分 微信 wx{unique}abc 包满意"
    elif number % 50 == 1:
        text = "".join(chr(0x4E00 + (number * 31 + at * 97) % 20_900) for at in range(256))
    else:
        text = f"今晚{name}打本，还差{number % 9}个"
    sender = Sender(f"fake-{unique}", level=1, name=name, device_id=f"dev-{unique}", signature=f"sig {unique}")
    return ChatEvent(f"h{unique}", ts, "s1", "world", sender, text)


def batches(accounts: int, started_ms: int) -> Iterator[list[Record]]:
    """Yield records, each of another account."""
    for first in range(0, accounts, BATCH):
        events = [hostile(n, started_ms + n * EVERY_MS) for n in range(first, min(first + BATCH, accounts))]
        yield [Record(first + n, e.sender.account_id.encode(), msgspec.json.encode(e)) for n, e in enumerate(events)]


def store_server(home: Path, maxmemory: str | None) -> Server:
    """Start a Valkey without persistence, bounded if asked."""
    port, _ = free_ports()
    command = [find_servers()[1], "--bind", "127.0.0.1", "--port", str(port), "--dir", str(home), "--save", ""]
    bound = ["--maxmemory", maxmemory, "--maxmemory-policy", "volatile-ttl"] if maxmemory else []
    return Server([*command, *bound], port, home / "store.log")


async def flood(accounts: int, url: str) -> AsyncIterator[Sample]:
    """Judge, and yield a sample before the first account and at every tenth of the way."""
    moderator, metrics, outbox, now = Moderator(load_rules([RULES])), Metrics(), Nowhere(), time.time_ns() // 1_000_000
    ledger = RedisLedger(url, timeout_s=5)
    pipeline = Pipeline(moderator, ledger, outbox, TOPICS, metrics, Health(), now_ms=lambda: now)
    began, step = time.monotonic(), max(BATCH, accounts // 10 // BATCH * BATCH)
    done = 0
    async with Redis.from_url(url) as redis:

        async def sample() -> Sample:
            about, series = await redis.info(), sum(len(m.samples) for m in metrics.registry.collect())
            return Sample(
                done, resident_bytes(os.getpid()), len(moderator.windows), about["used_memory"], await redis.dbsize(),
                about["evicted_keys"], series, outbox.sent, done / (time.monotonic() - began),
            )  # fmt: skip

        yield await sample()
        for records in batches(accounts, now):
            await pipeline.chat(records, lambda: True)
            now, done = now + len(records) * EVERY_MS, done + len(records)
            if done % step == 0 or done == accounts:
                yield await sample()
    await ledger.close()


def row(one: Sample) -> str:
    """Return a line of the table."""
    mib = (one.worker / _MIB, one.store / _MIB)
    return (
        f"{one.accounts:>9}{mib[0]:>12.0f}{one.senders:>9}{mib[1]:>11.0f}{one.keys:>10}{one.evicted:>9}"
        f"{one.series:>8}{one.letters:>9}{one.per_s:>8.0f}"
    )


async def run(accounts: int, maxmemory: str | None) -> list[Sample]:
    """Flood a store of our own, with progress on stderr."""
    with tempfile.TemporaryDirectory() as home, ending([store_server(Path(home), maxmemory)]) as [server]:
        await server.listening()
        samples = []
        print(" accounts  worker MiB  senders  store MiB      keys  evicted  series  letters  msg/s", file=sys.stderr)
        async for one in flood(accounts, f"redis://127.0.0.1:{server.port}"):
            print(row(one), file=sys.stderr, flush=True)
            samples.append(one)
        return samples


def summary(samples: Sequence[Sample]) -> dict[str, Any]:
    """Return what grows: bytes per account over the second half, and whether the metrics stayed as they were."""
    half, last = samples[len(samples) // 2], samples[-1]
    more = max(1, last.accounts - half.accounts)
    return {
        "accounts": last.accounts,
        "worker_mib": round(last.worker / _MIB),
        "worker_bytes_per_account": round((last.worker - half.worker) / more),
        "store_mib": round(last.store / _MIB),
        "store_bytes_per_account": round((last.store - half.store) / more),
        "store_keys": last.keys,
        "series_added": last.series - samples[1].series,
    }


def main() -> None:
    """Run the flood."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--accounts", type=int, default=1_000_000)
    parser.add_argument("--maxmemory", help="of the store, as Redis reads it: 2gb")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    samples = asyncio.run(run(args.accounts, args.maxmemory))
    told = summary(samples)
    print(json.dumps(told | {"samples": [one._asdict() for one in samples]}) if args.json else told)


if __name__ == "__main__":
    main()
