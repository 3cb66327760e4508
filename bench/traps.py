"""Innocent chat that looks like an offence, one table of templates per trap in bench/data/traps.toml."""

from __future__ import annotations

from functools import cache
from itertools import count
from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec import Struct

from bench.wording import chance, fill, table
from moderation.events import Channel

if TYPE_CHECKING:
    from collections.abc import Iterator


class Remark(NamedTuple):
    """One message: who of the scene says it, how many milliseconds after the first, and its client message id."""

    speaker: int
    after_ms: int
    message: str


class Innocent(Struct, frozen=True):
    """One text of a trap; the remarks are who says it, and when."""

    channel: Channel
    text: str
    remarks: tuple[Remark, ...]


class Trap(NamedTuple):
    """A kind of innocent chat."""

    name: str
    scene: str
    channels: tuple[Channel, ...]
    lines: tuple[str, ...]


SCENES: Final[dict[str, tuple[Remark, ...]]] = {
    "line": (Remark(0, 0, "m1"),),
    "again": (Remark(0, 0, "m1"), Remark(0, 40_000, "m2"), Remark(0, 85_000, "m3")),
    "crowd": tuple(Remark(n, n * 1700, f"m{n}") for n in range(6)),
    "retry": (Remark(0, 0, "m1"), Remark(0, 350, "m1"), Remark(0, 900, "m1")),
}


@cache
def traps() -> tuple[Trap, ...]:
    """Return every trap."""
    return tuple(
        Trap(one["name"], one.get("scene", "line"), tuple(one["channels"]), tuple(one["lines"].strip().split("\n")))
        for one in table("traps")["trap"]
    )


def innocents(trap: Trap, seed: int) -> Iterator[Innocent]:
    """Yield innocent chat without end, every template once before any comes again."""
    slots = {"nick": table("traps")["nicks"]}
    for n in count():
        draw = chance(seed, trap.name, n)
        text = fill(trap.lines[n % len(trap.lines)], draw, slots)
        yield Innocent(draw.choice(trap.channels), text, SCENES[trap.scene])
