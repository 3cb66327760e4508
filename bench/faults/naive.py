"""A worker as one writes it first: the control that shows that the books see loss. Not for anything else.

It judges as the real one does, but commits a batch when it has read it, does not wait for what it sends, and retries
nothing: what a tutorial shows. Run by the faults whose id begins with C, which must be found unclean.
"""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from moderation.actions import Source
from moderation.errors import EventError
from moderation.events import decode_event
from moderation.moderator import Moderator
from streams.ledger import RedisLedger
from streams.rules import load_rules
from streams.settings import Settings
from streams.verdicts import Pending, decided

if TYPE_CHECKING:
    from moderation.events import ChatEvent

_OK: Final = b"HTTP/1.0 200 OK\r\n\r\n"


class Naive:
    """Reads, commits, judges, sends."""

    def __init__(self, settings: Settings, ledger: RedisLedger) -> None:
        self._moderator = Moderator(load_rules(settings.rules))
        self._ledger, self._topics = ledger, settings.topics
        client = {"bootstrap_servers": ",".join(settings.brokers)}
        session, beat = int(settings.session_timeout_s * 1000), int(settings.heartbeat_s * 1000)
        self.consumer = AIOKafkaConsumer(
            *settings.topics[:2], **client, group_id=settings.group_id, auto_offset_reset="earliest",
            enable_auto_commit=False, session_timeout_ms=session, heartbeat_interval_ms=beat,
        )  # fmt: skip
        self.producer = AIOKafkaProducer(**client, linger_ms=200)

    async def turn(self) -> None:
        """Handle what one fetch brings."""
        fetched = await self.consumer.getmany(timeout_ms=200, max_records=2000)
        if fetched:
            await self.consumer.commit()
        for records in fetched.values():
            await self._handle(records)

    async def _handle(self, records: list[Any]) -> None:
        good = [(record, event) for record in records if (event := _event(record))]
        findings = self._moderator.judge([event for _, event in good])
        pending = [
            Pending(finding, record.timestamp, Source(record.topic, record.partition, record.offset))
            for (record, _), finding in zip(good, findings, strict=True)
        ]
        for outcome in await decided(self._moderator, self._ledger, pending):
            for action in outcome.judgement.actions:
                await self._send(self._topics.enforcement, action.target.account_id, action)
            for case in outcome.cases:
                await self._send(self._topics.cases, case.event.sender.account_id, case)

    async def _send(self, topic: str, account: str, what: Any) -> None:
        await self.producer.send(topic, msgspec.json.encode(what), account.encode())


def _event(record: Any) -> ChatEvent | None:
    try:
        return decode_event(record.value, record.key)
    except EventError:
        return None


async def _page(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(_OK)
    writer.close()


async def main() -> None:
    """Run until SIGTERM."""
    settings = Settings.load(env_file=None)
    told, loop = asyncio.Event(), asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, told.set)
    ledger = RedisLedger(settings.redis.get_secret_value() if settings.redis else "")
    naive = Naive(settings, ledger)
    async with naive.consumer, naive.producer:
        await asyncio.start_server(_page, "127.0.0.1", settings.metrics_port)
        while not told.is_set():
            with suppress(Exception):
                await naive.turn()


if __name__ == "__main__":
    asyncio.run(main())
