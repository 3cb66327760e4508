"""The load: generated chat with bad records among it, sent at a steady pace, noted as the broker acknowledges it."""

from __future__ import annotations

import asyncio
import time
from itertools import cycle
from random import Random
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from msgspec.structs import replace

from bench.faults.accounting import Lane, Place, Sent
from console.traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from moderation.events import ChatEvent
    from streams.settings import Topics

#: A quarter of the lines is abuse: every action checked counts, and the worker has more to do per line than in a game.
ABUSE: Final = 0.25
#: People speak about once a minute.
PLAYERS_PER_RATE: Final = 60
#: How often a producer of ours gathers its records, in seconds.
TICK_S: Final = 0.02
_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 24 * _HOUR_MS
_ID: Final = b'"event_id":"bad"'


class Record(NamedTuple):
    """What is to be sent: `event_id` is None where it is no chat event."""

    topic: str
    key: bytes | None
    value: bytes | None
    event_id: str | None


def made(seed: int, count: int, rate: float, start_ms: int) -> list[ChatEvent]:
    """Return `count` events, the same for the same arguments."""
    players = int(rate * PLAYERS_PER_RATE)
    traffic = Traffic(seed, players=players, start_ms=start_ms, rate=rate, spam_share=ABUSE)
    return [line.event for line in traffic.take(count)]


def astray(events: Sequence[ChatEvent], share: float, seed: int) -> list[ChatEvent]:
    """Set the clock of a share of events an hour or a day ahead or behind; the first stays, times count from it."""
    random = Random(seed)  # noqa: S311  strewn, not secret
    return [events[0], *(_astray(one, random) if random.random() < share else one for one in events[1:])]


def _astray(event: ChatEvent, random: Random) -> ChatEvent:
    return replace(event, ts=event.ts + random.choice((-1, 1)) * random.choice((_HOUR_MS, _DAY_MS)))


def records(events: Sequence[ChatEvent], topics: Topics, bad_share: float, seed: int, *, twice: bool) -> list[Record]:
    """Encode events for their topics, bad records strewn among them; `twice` publishes every event a second time."""
    random, bad, out = Random(seed), cycle(_BAD), []  # noqa: S311  strewn, not secret
    for event in events:
        topic = topics.private if event.channel == "private" else topics.world
        key = event.sender.account_id.encode()
        out += [Record(topic, key, msgspec.json.encode(event), event.event_id)] * (1 + twice)
        if random.random() < bad_share:
            out.append(Record(topic, *next(bad), None))
    return out


def _bad() -> Iterator[tuple[bytes | None, bytes | None]]:
    good = b'{"event_id":"bad","ts":1750000000000,"server_id":"s","channel":"world","text":"hi"'
    good += b',"sender":{"account_id":"a"}}'
    yield b"a", None
    yield b"a", b""
    yield None, good
    yield b"b", good
    yield b"a", good[:-1]
    yield b"a", good + b"x"
    yield b"a", good.replace(b"hi", b"\xff\xfe")
    yield b"a", good.decode().encode("utf-16")
    yield b"a", good.replace(b"hi", b"\\ud800")
    yield b"a", good.replace(b"1750000000000", b"NaN")
    yield b"a", good.replace(b"1750000000000", b"1750000000")
    yield b"a", good.replace(_ID, _ID + b"," + _ID)
    yield b"a", b'{"x":' * 900 + b"1" + b"}" * 900
    yield b"a", b"[" * 5000
    yield b"a", good.replace(b"hi", b"z" * 17_000)
    yield b"a", b"\x80\x04\x95\x10"


_BAD: Final = tuple(_bad())


class Load:
    """Sends records at `rate` a second. `sent` are those acknowledged; `done` when all are."""

    def __init__(self, kafka: str, rate: float, *, idempotent: bool) -> None:
        self._producer = AIOKafkaProducer(
            bootstrap_servers=kafka,
            acks="all",
            enable_idempotence=idempotent,
            request_timeout_ms=60_000,
            linger_ms=5,
        )
        self._rate = rate
        self._under_way: set[asyncio.Task[None]] = set()
        self.sent: list[Sent] = []
        self.ends: dict[Lane, int] = {}

    async def run(self, todo: Sequence[Record]) -> None:
        """Send everything, and return when the broker has all of it."""
        await self._producer.start()
        try:
            began, at = time.monotonic(), 0
            while at < len(todo):
                due = min(len(todo), int((time.monotonic() - began) * self._rate) + 1)
                for record in todo[at:due]:
                    self._send(record, await self._accepted(record))
                at = due
                await asyncio.sleep(TICK_S)
            await asyncio.gather(*self._under_way)
        finally:
            await self._producer.stop()

    async def _accepted(self, record: Record) -> asyncio.Future[Sent]:
        """Hand a record to the producer in order; this waits where its buffer is full."""
        future: asyncio.Future[Sent] = await self._producer.send(record.topic, record.value, record.key)
        return future

    def _send(self, record: Record, future: asyncio.Future[Sent]) -> None:
        task = asyncio.create_task(self._note(record, future))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _note(self, record: Record, future: asyncio.Future[Sent]) -> None:
        while True:
            try:
                told = await future
            except KafkaError:  # a game server tries again, too
                future = await self._accepted(record)
                continue
            place = Place(told.topic, told.partition, told.offset)  # type: ignore[attr-defined]  # aiokafka's own tuple
            self.sent.append(Sent(place, record.event_id, record.value))
            self.ends[place.lane] = max(self.ends.get(place.lane, 0), place.offset + 1)
            return
