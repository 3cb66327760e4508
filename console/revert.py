"""Undoing one action: look it up in the ledger, publish the command, and wait for the revert a worker makes of it.

The worker does the undoing; this only orders it. An order is idempotent: whoever repeats it gets the same revert again.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final, TypeVar
from uuid import uuid4

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from msgspec import Struct

from console.broker import PATIENCE_MS, client, reached
from console.ledger import asked
from moderation.actions import Action, Command, ForgiveCommand, RevertCommand
from moderation.errors import EventError, SettingsError
from moderation.order import decode_command, key_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from streams.settings import Settings

C = TypeVar("C", bound=Command)
T = TypeVar("T")

#: How long a worker may take before we stop waiting: a rebalance fits in. Seconds.
WITHIN_S: Final = 15.0
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
    async with _producer(settings) as to:
        await _send(to, settings, command)


async def publish_and_hear(
    settings: Settings, command: Command, topic: str, read: Callable[[bytes], T | None]
) -> T | None:
    """Write a command, and wait for the first record of its key on `topic` that `read` makes something of.

    None if it does not come within WITHIN_S. What `read` cannot decode is passed by. Raises like `publish`.
    """
    async with _producer(settings) as to, _end_of(settings, topic) as answers:
        await _send(to, settings, command)
        with suppress(TimeoutError):
            return await asyncio.wait_for(_heard(answers, key_of(command).encode(), read), WITHIN_S)
    return None


async def carry_out(settings: Settings, command: RevertCommand, *, wait: bool, dry_run: bool = False) -> Undo:
    """Look up and, unless `dry_run` or unknown, publish; `wait`: until the revert is seen, at most WITHIN_S.

    Raises SettingsError without a broker or store in the settings, StoreUnavailable or Unreachable if one is away.
    """
    undo = Undo(command, await find(settings, command.action_id, command.account_id))
    if dry_run or undo.action is None:
        client(settings)
        return undo
    if not wait:
        await publish(settings, command)
        return undo

    def undoing(value: bytes) -> Action | None:
        action = _actions.decode(value)
        return action if action.reverts == command.action_id else None

    revert = await publish_and_hear(settings, command, settings.topics.enforcement, undoing)
    return msgspec.structs.replace(undo, revert=revert)


async def find(settings: Settings, action_id: str, account_id: str) -> Action | None:
    """Return an action of an account, None if the ledger does not know it. Raises SettingsError, StoreUnavailable."""
    return await asked(settings, lambda ledger: ledger.find(action_id, account_id))


@asynccontextmanager
async def _producer(settings: Settings) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(**client(settings), acks="all", request_timeout_ms=PATIENCE_MS)
    async with reached(settings, producer):
        yield producer


async def _send(to: AIOKafkaProducer, settings: Settings, command: Command) -> None:
    await to.send_and_wait(settings.topics.commands, msgspec.json.encode(command), key_of(command).encode())


@asynccontextmanager
async def _end_of(settings: Settings, topic: str) -> AsyncIterator[AIOKafkaConsumer]:
    """Take a place at the end of a topic, before the command goes out: no answer can pass unseen."""
    consumer = AIOKafkaConsumer(topic, **client(settings), group_id=None, request_timeout_ms=PATIENCE_MS)
    async with reached(settings, consumer):
        for place, offset in (await consumer.end_offsets(consumer.assignment())).items():
            consumer.seek(place, offset)
        yield consumer


async def _heard(consumer: AIOKafkaConsumer, key: bytes, read: Callable[[bytes], T | None]) -> T:
    async for record in consumer:
        if record.key == key and record.value:
            with suppress(msgspec.DecodeError):  # a version after ours may say what we cannot read
                heard = read(record.value)
                if heard is not None:
                    return heard
    raise AssertionError("a consumer that is not stopped does not end")
