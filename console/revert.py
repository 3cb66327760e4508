"""Undoing one action: look it up in the ledger, publish the command, and wait for the revert a worker makes of it.

The worker does the undoing; this only orders it. An order is idempotent: whoever repeats it gets the same revert again.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final, TypeVar
from uuid import uuid4

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from msgspec import Struct

from console.broker import PATIENCE_MS, client, reached
from moderation.actions import Action, Command, ForgiveCommand, RevertCommand
from moderation.errors import EventError, SettingsError
from moderation.order import decode_command, key_of
from streams.ledger import RedisLedger
from streams.letters import Letters

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from streams.settings import Settings

C = TypeVar("C", bound=Command)

#: How long a worker may take before we stop waiting: a rebalance fits in. Seconds.
WITHIN_S: Final = 15.0
#: A person waits for this answer, so the store may take its time.
STORE_S: Final = 2.0
_actions: Final = msgspec.json.Decoder(Action)


class Undo(Struct, frozen=True):
    """What was ordered: the action to be undone (None: the ledger does not know it), and the revert, once seen."""

    command: RevertCommand
    action: Action | None
    revert: Action | None = None


def order(action_id: str, account_id: str, operator: str, reason: str) -> RevertCommand:
    """Write the command as of now. Raises SettingsError where a part breaks the contract's limits."""
    return checked(RevertCommand(uuid4().hex, operator, reason, _now(), action_id, account_id))


def pardon(account_id: str, operator: str, reason: str) -> ForgiveCommand:
    """Write the command that clears a player's strikes, as of now. Raises SettingsError like `order`."""
    return checked(ForgiveCommand(uuid4().hex, operator, reason, _now(), account_id))


def _now() -> int:
    return time.time_ns() // 1_000_000


def checked(command: C) -> C:
    """Return a command that a worker can read: any other would end among the dead letters, unseen by who ordered it.

    Raises SettingsError.
    """
    try:
        decode_command(msgspec.json.encode(command), key_of(command).encode(errors="replace"))
    except (EventError, UnicodeEncodeError) as exc:
        raise SettingsError(f"this is no {command.__struct_config__.tag} command: {exc}") from None
    return command


async def publish(settings: Settings, command: Command) -> None:
    """Write a command for the workers. Raises SettingsError, Unreachable."""
    producer = AIOKafkaProducer(**client(settings), acks="all", request_timeout_ms=PATIENCE_MS)
    async with reached(settings, producer):
        await _send(settings, producer, command)


async def carry_out(settings: Settings, command: RevertCommand, *, wait: bool, dry_run: bool = False) -> Undo:
    """Look up and, unless `dry_run` or unknown, publish; `wait`: until the revert is seen, at most WITHIN_S.

    Raises SettingsError without a broker or store in the settings, StoreUnavailable or Unreachable if one is away.
    """
    asked = Undo(command, await find(settings, command))
    if dry_run or asked.action is None:
        client(settings)
        return asked
    return msgspec.structs.replace(asked, revert=await _publish(settings, command, wait=wait))


async def find(settings: Settings, command: RevertCommand) -> Action | None:
    """Return the action that the command is about, None if the ledger does not know it."""
    if settings.redis is None:
        raise SettingsError("QINGLIU_REDIS is not set: the ledger that knows the action")
    ledger = RedisLedger(settings.redis.get_secret_value(), prefix=settings.redis_prefix, timeout_s=STORE_S)
    try:
        return await ledger.find(command.action_id, command.account_id)
    finally:
        await ledger.close()


async def _publish(settings: Settings, command: RevertCommand, *, wait: bool) -> Action | None:
    producer = AIOKafkaProducer(**client(settings), acks="all", request_timeout_ms=PATIENCE_MS)
    async with reached(settings, producer), AsyncExitStack() as stack:
        answers = await stack.enter_async_context(_answers(settings)) if wait else None
        await _send(settings, producer, command)
        with suppress(TimeoutError):
            return await asyncio.wait_for(_seen(answers, command), WITHIN_S) if answers else None
    return None


async def _send(settings: Settings, producer: AIOKafkaProducer, command: Command) -> None:
    letter = Letters(settings.topics, settings.signing).command(command)
    await producer.send_and_wait(letter.topic, key=letter.key, value=letter.value, headers=letter.headers)


@asynccontextmanager
async def _answers(settings: Settings) -> AsyncIterator[AIOKafkaConsumer]:
    """Take a place at the end of the enforcement topic, before the command goes out: no answer can pass unseen."""
    kafka, topic = client(settings), settings.topics.enforcement
    consumer = AIOKafkaConsumer(topic, **kafka, group_id=None, request_timeout_ms=PATIENCE_MS)
    async with reached(settings, consumer):
        for place, offset in (await consumer.end_offsets(consumer.assignment())).items():
            consumer.seek(place, offset)
        yield consumer


async def _seen(consumer: AIOKafkaConsumer, command: RevertCommand) -> Action:
    key = key_of(command).encode()
    async for record in consumer:
        if record.key == key and record.value:
            with suppress(msgspec.DecodeError):  # a version after ours may say what we cannot read
                action = _actions.decode(record.value)
                if action.reverts == command.action_id:
                    return action
    raise AssertionError("a consumer that is not stopped does not end")
