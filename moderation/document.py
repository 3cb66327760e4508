"""A document: what a moderator wrote, as a tree of `Node`s with places, and the list of what is wrong with it.

One `Problems` gathers all there is to say about a rule set; nothing here raises. moderation.yamlfile makes the tree.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta, timezone
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

from moderation.band import parse_share
from moderation.rulewords import problem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from moderation.errors import RuleProblem

_CHINA: Final = timezone(timedelta(hours=8))


class Node:
    """One value in a file: `value` is a str, a list of nodes, or a dict of key string to node."""

    __slots__ = ("column", "file", "keys", "line", "plain", "value")

    def __init__(self, value: Any, file: str, line: int, column: int, *, plain: bool = False) -> None:
        self.value = value
        self.file = file
        self.line = line
        self.column = column
        self.plain = plain  # written without quotes: then an empty one means "nothing here"
        self.keys: dict[str, Node] = {}

    def data(self) -> Any:
        """Strip the positions: nested str, list and dict."""
        if isinstance(self.value, list):
            return [child.data() for child in self.value]
        if isinstance(self.value, dict):
            return {key: child.data() for key, child in self.value.items()}
        return self.value

    @property
    def unread(self) -> bool:
        """Tell whether it stands for a file that holds nothing, or could not be parsed, which was said already."""
        return self.line == 0 and self.value == "" and self.plain

    @property
    def last_line(self) -> int:
        """Return the line on which the last value within begins."""
        children = self.value.values() if isinstance(self.value, dict) else self.value
        inside = () if isinstance(self.value, str) else (child.last_line for child in children)
        return max(inside, default=self.line)


class Problems:
    """Typed access to nodes that notes what is wrong instead of raising, so that all is said at once."""

    def __init__(self) -> None:
        self.found: list[RuleProblem] = []

    def problem(self, node: Node, key: str, near: str = "", /, **said: object) -> None:
        """Note a problem at `node`: its key in `rulewords.PROBLEMS`, what fills the words, what may have been meant."""
        self.found.append(problem(node.file, node.line, node.column, key, near, **said))

    def mapping(self, node: Node, known: Iterable[str], needed: Iterable[str] = ()) -> dict[str, Node]:
        """Return the entries of a mapping; unknown and missing keys are problems. Empty where it is no mapping."""
        if not isinstance(node.value, dict):
            return self.entries(node)
        allowed = tuple(known)
        for key in node.value:
            if key not in allowed:
                self.problem(node.keys[key], "E102", nearest(key, allowed), key=f"{key:.40}")
        for key in needed:
            if key not in node.value:
                self.problem(node, "E103", key=key)
        return {key: child for key, child in node.value.items() if key in allowed}

    def entries(self, node: Node) -> dict[str, Node]:
        """Return the entries of a mapping whose keys the moderator chooses."""
        if isinstance(node.value, dict):
            return dict(node.value)
        if not node.unread:
            self.problem(node, "E101")
        return {}

    def items(self, node: Node) -> list[Node]:
        """Return the items of a list; nothing where it is none."""
        if isinstance(node.value, list):
            return node.value
        if not (node.value == "" and node.plain):
            self.problem(node, "E104")
        return []

    def text(self, node: Node | None, *, most: int = 1000) -> str:
        """Return a string, trimmed; empty where it is none."""
        if node is None:
            return ""
        if not isinstance(node.value, str):
            self.problem(node, "E105")
            return ""
        if len(node.value) > most:
            self.problem(node, "E106", size=len(node.value), most=most)
        return node.value.strip()

    def texts(self, node: Node | None) -> list[str]:
        """Return a list of strings; a single string is a list of one."""
        if node is None:
            return []
        if isinstance(node.value, str) and node.value:
            return [self.text(node)]
        return [self.text(item) for item in self.items(node)]

    def integer(self, node: Node | None, default: int, low: int, high: int) -> int:
        """Return a whole number from `low` to `high`, `default` where it is missing or wrong."""
        if node is None:
            return default
        try:
            number = int(self.text(node))
        except ValueError:
            self.problem(node, "E107", value=f"{node.value!s:.20}")
            return default
        if not low <= number <= high:
            self.problem(node, "E108", number=number, low=low, high=high)
        return number

    def share(self, node: Node | None, default: int) -> int:
        """Return a share, written like 0.2%, in parts per million; `default` where it is missing or wrong."""
        if node is None:
            return default
        try:
            return parse_share(self.text(node))
        except ValueError:
            self.problem(node, "E110", value=f"{node.value!s:.20}")
            return default

    def flag(self, node: Node | None) -> bool:
        """Return whether a node says true; false where it is missing or wrong."""
        return self.choice(node, ("true", "false"), "false") == "true"

    def choice(self, node: Node | None, options: Iterable[str], default: str) -> str:
        """Return one of `options`, `default` where it is missing or wrong."""
        if node is None:
            return default
        allowed, value = tuple(options), self.text(node)
        if value in allowed:
            return value
        near, key = nearest(value, allowed), "E109.options" if len(allowed) < 12 else "E109"
        self.problem(node, key, near, value=f"{value:.30}", options="、".join(allowed))
        return default

    def day(self, node: Node | None, *, first: bool = False) -> int | None:
        """Return when a day in China ends (begins, if `first`), or that minute, in milliseconds since 1970."""
        if node is None:
            return None
        said = self.text(node)
        try:
            at = datetime.strptime(said, "%Y-%m-%d %H:%M").replace(tzinfo=_CHINA) if ":" in said else _midnight(said)
            moment = at if first or ":" in said else at + timedelta(days=1)
        except (ValueError, OverflowError):
            self.problem(node, "E210")
            return None
        return int(moment.timestamp() * 1000)


def nearest(word: str, options: Iterable[str]) -> str:
    """Return the option that may have been meant; empty where none is near."""
    return next(iter(get_close_matches(word, tuple(options), n=1, cutoff=0.6)), "")


def _midnight(day: str) -> datetime:
    return datetime.combine(date.fromisoformat(day), time(), _CHINA)
