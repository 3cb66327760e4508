"""The wording of made-up chat: templates of talk.toml and abuse.toml, filled from the slots of slots.toml.

A template becomes a function without arguments that says something new at each call; all chance comes from the one
`draw` (uniform in [0, 1)) it was made with, so the same draws say the same things.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from moderation.actions import Label
    from moderation.events import Channel

    Draw = Callable[[], float]
    Say = Callable[[], str]

T = TypeVar("T")

GAMES: Final = ("mmo", "slg", "legend", "card", "board", "moba")
_SLOT: Final = re.compile(r"\{([a-z_]+|d\d+|\d+-\d+)\}")


class Talk(NamedTuple):
    """A group of templates that share a kind and the channels they are said in; `scene` is who says them, and how."""

    kind: str
    scene: str
    channels: tuple[Channel, ...]
    say: Say


class Pitch(NamedTuple):
    """What offenders of one label say. `contact` is the chance that a handle of one of the types `handles` follows."""

    label: Label
    contact: float
    handles: tuple[str, ...]
    channels: tuple[Channel, ...]
    gangs: bool
    say: Say


class Phrases:
    """All that is said in one game; `talk` and `pitches` hold a group as often as it weighs, for a uniform pick."""

    def __init__(self, game: str, draw: Draw) -> None:
        talk, abuse = table("talk"), table("abuse")
        self._draw = draw
        self._words = {**table("slots")["any"], **abuse["slots"], **table("slots")[game]}
        self._slots: dict[str, Say] = {}
        groups = [group for group in talk["talk"] if game in group.get("games", game)]
        self.talk = [made for group in groups for made in [self._talk(group)] * group["weight"]]
        self.pitches = [made for group in abuse["label"] for made in [self._pitch(group)] * group["weight"]]
        self.pointer = self._one_of(options(abuse["name"]["pointers"]))
        self.nick = self._slot("nick")
        self.guild = self._slot("guild_name")

    def _talk(self, group: dict[str, Any]) -> Talk:
        say = self._one_of(group["lines"].strip().split("\n"))
        return Talk(group["kind"], group.get("scene", "line"), options(group["channels"]), say)

    def _pitch(self, group: dict[str, Any]) -> Pitch:
        say = self._one_of(group["pitches"].strip().split("\n"))
        handles, channels = options(group["handles"]), options(group["channels"])
        return Pitch(group["label"], group["contact"], handles, channels, group["campaign"], say)

    def _one_of(self, templates: Sequence[str]) -> Say:
        draw, count = self._draw, len(templates)
        if not any(_SLOT.search(template) for template in templates):
            return lambda: templates[int(draw() * count)]
        says = [self._compiled(template) for template in templates]

        def say() -> str:
            return says[int(draw() * count)]()

        return say

    def _compiled(self, template: str) -> Say:
        literals, names = _SLOT.split(template)[::2], _SLOT.split(template)[1::2]
        if not names:
            return lambda: template
        pattern = "%s".join(literal.replace("%", "%%") for literal in literals)
        fillers = [self._slot(name) for name in names]
        return lambda: pattern % tuple([fill() for fill in fillers])

    def _slot(self, name: str) -> Say:
        if name not in self._slots:
            self._slots[name] = self._number(name) if name[-1].isdigit() else self._one_of(options(self._words[name]))
        return self._slots[name]

    def _number(self, name: str) -> Say:
        """Read "3-99" as a whole number in that range, "d9" as nine digits that do not start with 0."""
        low, high = (
            (10 ** (int(name[1:]) - 1), 10 ** int(name[1:]) - 1) if name[0] == "d" else map(int, name.split("-"))
        )
        draw, count = self._draw, high - low + 1
        return lambda: str(low + int(draw() * count))


def options(line: str) -> tuple[Any, ...]:
    """Split a line of options; channels are checked where events are."""
    return tuple(line.split("|"))


def pick(draw: Draw, choices: Sequence[T]) -> T:
    """Take one of `choices`, each as likely: a third of the time `Random.choice` needs."""
    return choices[int(draw() * len(choices))]


@cache
def table(name: str) -> dict[str, Any]:
    """Read one of the TOML files beside this module."""
    return tomllib.loads(files(__name__).joinpath(f"{name}.toml").read_text(encoding="utf-8"))
