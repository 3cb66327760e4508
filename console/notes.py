"""What people do that no other topic tells goes on record here: looking at what players said, changing the rules.

Every command that prints chat text from the store or the broker calls `viewed` before it does: what cannot be recorded
is not shown. That somebody is who they say is not for us to prove; `login` is what the machine knows.
"""

from __future__ import annotations

import getpass
import socket
import time
from typing import TYPE_CHECKING, Final, Literal, TypeVar

import msgspec
from aiokafka import AIOKafkaProducer

from console.broker import PATIENCE_MS, client, reached
from moderation.errors import SettingsError
from moderation.notes import Note, RulesChange, View
from streams.letters import Letters

if TYPE_CHECKING:
    from streams.settings import Settings

N = TypeVar("N", View, RulesChange)
_NAMES: Final = 10


async def viewed(settings: Settings, command: str, of: tuple[str, ...], *, operator: str | None, why: str) -> None:
    """Record that somebody is about to be shown text: by which command, of what (the first names), and why.

    Without an operator it is who is logged in. Raises SettingsError, Unreachable: then show nothing.
    """
    by = login()
    names = tuple(one[:128] for one in of[:_NAMES])
    await noted(settings, checked(View(operator or by[:64], by, why, command, names, _now())))


async def rules_changed(
    settings: Settings,
    change: Literal["published", "rolled_back", "reviewed", "trusted"],
    ruleset: str,
    *,
    before: str | None,
    operator: str | None,
    reason: str,
    rule: str | None = None,
) -> None:
    """Record that somebody put rules in force, by their hash and the one they replace; or trusted one rule.

    Raises as `viewed`.
    """
    by = login()
    await noted(settings, checked(RulesChange(change, operator or by[:64], by, ruleset, _now(), before, reason, rule)))


async def noted(settings: Settings, note: Note) -> None:
    """Put a note on the audit topic, and return when the broker has it. Raises SettingsError, Unreachable."""
    letter = Letters(settings.topics).note(note)
    producer = AIOKafkaProducer(**client(settings), acks="all", request_timeout_ms=PATIENCE_MS)
    async with reached(settings, producer):
        await producer.send_and_wait(letter.topic, letter.value, key=letter.key)


def checked(note: N) -> N:
    """Return a note that keeps its contract. Raises SettingsError where an option does not."""
    try:
        return msgspec.json.decode(msgspec.json.encode(note), type=type(note))
    except msgspec.ValidationError as exc:
        raise SettingsError(f"--operator, --why, --reason: {exc}") from None


def login() -> str:
    """Return who the machine says runs this: login@host."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container without a passwd entry
        user = "unknown"
    return f"{user}@{socket.gethostname()}"[:160]


def _now() -> int:
    return time.time_ns() // 1_000_000
