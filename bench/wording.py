"""Templates and the lines made of them: offences in plain words, with what an offender would hide in them marked.

The wording is in bench/data/*.toml. A line depends on its seed and place alone, so the same are measured everywhere.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache
from itertools import count
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias

from msgspec import Struct

from console.phrases.disguise import fake_handle

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

#: What a part of a line is to an offender: of no matter, a word to hide, the word before a handle, what stands between
#: them, or the handle.
Role: TypeAlias = Literal["said", "word", "cue", "gap", "handle"]

_DATA: Final = Path(__file__).parent / "data"
_CHOICE: Final = re.compile(r"\(([^()]*\|[^()]*)\)")
_SLOT: Final = re.compile(r"\{(?:(\d+)-(\d+)|d(\d+)|([a-z]+))\}")
_MARKED: Final = re.compile(r"<([^<>]+)>|(\{h\})")


class Part(NamedTuple):
    """A piece of a line."""

    text: str
    role: Role


class Plain(Struct, frozen=True):
    """An offence as it would be said if nobody read along. `kind` is the type of its handle, "" if it has none."""

    label: str
    template: str
    parts: tuple[Part, ...]
    kind: str = ""

    @property
    def text(self) -> str:
        """The whole line."""
        return "".join(part.text for part in self.parts)

    @property
    def pitch(self) -> str:
        """The line without its contact."""
        return "".join(part.text for part in self.parts if part.role in ("said", "word")).strip("，")

    @property
    def cue(self) -> str:
        """The word before the handle."""
        return "".join(part.text for part in self.parts if part.role == "cue")

    @property
    def handle(self) -> str:
        """The handle as the parties know it."""
        return "".join(part.text for part in self.parts if part.role == "handle")


class Offer(NamedTuple):
    """A template of an offence, and the types of handles that go with it."""

    label: str
    template: str
    handles: tuple[str, ...]


@cache
def table(name: str) -> dict[str, Any]:
    """Read one of the TOML files in bench/data."""
    return tomllib.loads((_DATA / f"{name}.toml").read_text(encoding="utf-8"))


@cache
def offers() -> tuple[Offer, ...]:
    """Return every template of an offence."""
    return tuple(
        Offer(group["label"], line, tuple(group["handles"]))
        for group in table("offers")["offer"]
        for line in group["lines"].strip().split("\n")
    )


def chance(*key: object) -> Random:
    """Return a source of chance that is the same for the same key."""
    return Random(":".join(map(str, key)))  # noqa: S311 - what is measured must repeat, not surprise


def fill(template: str, draw: Random, slots: Mapping[str, Sequence[str]]) -> str:
    r"""Choose in every (a|b) and fill every {3-9}, {d8} (eight digits) and {slot}; \n becomes a line break."""
    while choice := _CHOICE.search(template):
        template = template[: choice.start()] + draw.choice(choice[1].split("|")) + template[choice.end() :]
    return _SLOT.sub(lambda slot: _filled(slot, draw, slots), template).replace("\\n", "\n")


def _filled(slot: re.Match[str], draw: Random, slots: Mapping[str, Sequence[str]]) -> str:
    low, high, digits, name = slot.groups()
    if low:
        return str(draw.randint(int(low), int(high)))
    if digits:
        return str(draw.randrange(10 ** (int(digits) - 1), 10 ** int(digits)))
    return draw.choice(slots[name]) if name in slots else slot[0]


def plains(seed: int) -> Iterator[Plain]:
    """Yield offences without end, every template once before any comes again, in an order that the seed decides."""
    order = list(offers())
    chance(seed, "order").shuffle(order)
    for n in count():
        yield plain(order[n % len(order)], chance(seed, n))


def plain(offer: Offer, draw: Random) -> Plain:
    """Say an offer once."""
    before, at, after = fill(offer.template, draw, {}).partition("@")
    if not at:
        return Plain(offer.label, offer.template, tuple(_parts(before, "word", "")))
    kind = draw.choice(offer.handles)
    contact = fill(draw.choice(table("offers")["contact"][kind]), draw, {})
    handle = fake_handle(draw.random, kind) if "{h}" in contact else ""
    parts = (*_parts(before, "word", ""), *_parts(contact, "cue", handle), *_parts(after, "word", ""))
    return Plain(offer.label, offer.template, parts, kind if handle else "")


def _parts(marked: str, role: Role, handle: str) -> Iterator[Part]:
    at = 0
    for mark in _MARKED.finditer(marked):
        if mark.start() > at:
            between = marked[at : mark.start()]
            yield Part(between, "said" if between.strip(" ：") else "gap")
        yield Part(mark[1], role) if mark[1] else Part(handle, "handle")
        at = mark.end()
    if at < len(marked):
        yield Part(marked[at:], "said")
