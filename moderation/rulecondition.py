"""The conditions of rules and guards, read from their nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, get_args

import re2

from moderation import conditions as c
from moderation.actions import Field, HandleType
from moderation.context import FACTS
from moderation.document import Node, Problems, nearest
from moderation.pattern import compile_pattern
from moderation.reading import SIGNALS
from moderation.rulewords import KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from moderation.combination import Combination
    from moderation.conditions import Condition

_KINDS: Final = ("all", "any", "none", "lexicon", "handle", "signal", "context", "guard", "pattern")
#: RE2 is linear, yet a pattern is for shapes, not for word lists.
MAX_PATTERN: Final = 512


#: A condition with all that its guards stand for: guards that name guards twice over grow past all bounds.
MOST_PARTS: Final = 2_000
MOST_NESTED: Final = 24
#: Whatever matches each of these says nothing about a message, not even how long it is.
_ANYTHING: Final = ("你", "好", "a", "7", "。", " ", "今天天气不错，大家一起去打副本吧，还差一个治疗和两个输出" * 3)


#: What is cheap to refute is tried first; parts of equal cost stay as they are written.
_COST: Final[dict[type, int]] = {c.Context: 0, c.Lexicon: 1, c.HandleOf: 1, c.Signal: 3, c.Pattern: 4}


class Conditions:
    """Reads conditions against the lexicon classes and guards there are; what is wrong goes to the problems."""

    def __init__(
        self,
        problems: Problems,
        classes: set[str],
        guards: Mapping[str, Condition],
        combined: Mapping[str, Sequence[Combination]],
        *,
        whole: bool,
    ) -> None:
        self._p = problems
        self._classes = classes
        self._guards = guards
        self._combined = combined
        #: Whether all files could be read: else a name that nobody knows may be in one of the others.
        self._whole = whole
        #: Guards whose own condition is wrong, which was said: nothing more to say of whoever asks for them.
        self.broken: set[str] = set()
        self._same: dict[Condition, Condition] = {}
        #: Parts and depth of each condition read, by its id.
        self._sizes: dict[int, tuple[int, int]] = {}

    def read(self, node: Node) -> Condition | None:
        """Read one condition: a mapping with exactly one of the kinds above.

        Conditions that say the same are the same object, so that a message is asked once for all the rules that ask.
        """
        condition = self._read(node)
        if condition is None:
            return None
        parts, deep = self._size(condition)
        if parts > MOST_PARTS or deep > MOST_NESTED:  # before it is compared with others, which looks at every part
            self._p.problem(node, "E306", parts=parts, deep=deep, most=MOST_PARTS, deepest=MOST_NESTED)
            return None
        same = self._same.setdefault(condition, condition)
        self._sizes[id(same)] = parts, deep
        return same

    def _size(self, condition: Condition) -> tuple[int, int]:
        inside = condition.condition if isinstance(condition, c.Guard) else None
        parts = (inside,) if inside else getattr(condition, "parts", ())
        sizes = [self._sizes.get(id(part), (1, 1)) for part in parts]
        return 1 + sum(size for size, _ in sizes), 1 + max((deep for _, deep in sizes), default=0)

    def _read(self, node: Node) -> Condition | None:
        entry = self._p.mapping(node, (*_KINDS, "within", "in"))
        kinds = [k for k in _KINDS if k in entry]
        if len(kinds) != 1:
            self._p.problem(node, "E301", kinds="、".join(_KINDS))
            return None
        kind = kinds[0]
        for extra, allowed in (("within", ("all",)), ("in", ("lexicon", "handle", "pattern"))):
            if extra in entry and kind not in allowed:
                self._p.problem(entry[extra], "E302", extra=extra, allowed="、".join(allowed))
        return self._one(kind, entry)

    def several(self, node: Node | None) -> tuple[Condition, ...]:
        """Read a list of conditions; those that are wrong are left out (and noted)."""
        return tuple(c for item in (self._p.items(node) if node else ()) if (c := self.read(item)) is not None)

    def contexts(self, node: Node | None) -> tuple[Condition, ...]:
        """Read the context of a rule: names of facts, all of which must hold; "not X" where X must not."""
        out: list[Condition] = []
        for item in self._p.items(node) if node else ():
            name = self._p.text(item)
            bare = name.removeprefix("not ").strip()
            if self._known(item, "情境", bare, FACTS):
                out.append(c.NoneOf((c.Context(bare),)) if bare != name else c.Context(bare))
        return tuple(out)

    def _one(self, kind: str, entry: Mapping[str, Node]) -> Condition | None:
        node = entry[kind]
        if kind in ("all", "any", "none"):
            return self._joined(kind, node, entry.get("within"))
        if kind in ("lexicon", "handle", "pattern"):
            readers = {"lexicon": self._lexicon, "handle": self._handle, "pattern": self._pattern}
            return readers[kind](node, entry)
        return self._named(kind, node)

    def _joined(self, kind: str, node: Node, within: Node | None) -> Condition | None:
        parts = self.several(node)
        if not parts:
            self._p.problem(node, "E303")
            return None
        if kind == "all":
            parts = tuple(sorted(parts, key=lambda part: _COST.get(type(part), 2)))
            return c.AllOf(parts, self._p.integer(within, 24, 1, 2048) if within else None)
        return c.AnyOf(_merged(parts)) if kind == "any" else c.NoneOf(_merged(parts))

    def _lexicon(self, node: Node, entry: Mapping[str, Node]) -> Condition | None:
        names = frozenset(name for name in self._p.texts(node) if self._known(node, "词库", name, self._classes))
        if not names:
            return None
        fields = self._fields(entry, c.TEXT)
        combined = [one.condition(fields) for name in sorted(names) for one in self._combined.get(name, ())]
        return c.AnyOf((c.Lexicon(names, fields), *combined)) if combined else c.Lexicon(names, fields)

    def _handle(self, node: Node, entry: Mapping[str, Node]) -> Condition:
        types = [
            t for t in self._p.texts(node) if t != "any" and self._known(node, "联系方式类型", t, get_args(HandleType))
        ]
        return c.HandleOf(frozenset(types), self._fields(entry, c.TEXT))

    def _pattern(self, node: Node, entry: Mapping[str, Node]) -> Condition | None:
        regex = self._p.text(node, most=MAX_PATTERN)
        try:
            compiled = compile_pattern(regex)
        except re2.error as exc:
            self._p.problem(node, "E304", why=refusal(exc))
            return None
        if "\\C" in regex:
            self._p.problem(node, "E304.bytes")
            return None
        if compiled.search("") is not None or all(compiled.search(text) for text in _ANYTHING):
            self._p.problem(node, "E305")
        return c.Pattern(regex, self._fields(entry, ("text",)))

    def _named(self, kind: str, node: Node) -> Condition | None:
        name = self._p.text(node)
        if kind == "signal":
            return c.Signal(name) if self._known(node, "信号", name, SIGNALS) else None
        if kind == "context":
            return c.Context(name) if self._known(node, "情境", name, FACTS) else None
        if name in self.broken:
            return None
        return c.Guard(name, self._guards[name]) if self._known(node, "护栏", name, self._guards) else None

    def _fields(self, entry: Mapping[str, Node], default: tuple[Field, ...]) -> tuple[Field, ...]:
        if "in" not in entry:
            return default
        names = self._p.texts(entry["in"])
        return tuple(n for n in names if self._known(entry["in"], "字段", n, get_args(Field)))  # type: ignore[misc]  # known

    def _known(
        self, node: Node, what: str, name: str, known: Mapping[str, object] | set[str] | tuple[str, ...]
    ) -> bool:
        if name in known:
            return True
        if not self._whole and what in ("词库", "护栏"):
            return False
        self._p.problem(node, "E211", nearest(name, known), name=f"{name:.40}", what=what, kind=KINDS[what])
        return False


def _merged(parts: tuple[Condition, ...]) -> tuple[Condition, ...]:
    """Put lexicons that are alternatives of each other into one, and patterns: they are refuted in one step each."""
    names: dict[tuple[Field, ...], frozenset[str]] = {}
    regexes: dict[tuple[Field, ...], list[str]] = {}
    others: list[Condition] = []
    for part in parts:
        if isinstance(part, c.Lexicon):
            names[part.fields] = names.get(part.fields, frozenset()) | part.names
        elif isinstance(part, c.Pattern):
            regexes.setdefault(part.fields, []).append(part.regex)
        else:
            others.append(part)
    patterns = (c.Pattern(regex, fields) for fields, several in regexes.items() for regex in joined(several))
    return (*(c.Lexicon(found, fields) for fields, found in names.items()), *others, *patterns)


def joined(regexes: Sequence[str]) -> Sequence[str]:
    r"""Join patterns that are each sound as alternatives of one, where that is sound, too; else they stay apart.

    Together they may be too large for RE2, and an open \Q swallows what follows.
    """
    if len(regexes) < 2:
        return regexes
    one = "|".join(map("(?:{})".format, regexes))
    try:
        compile_pattern(one)
    except re2.error:
        return regexes
    return regexes if any("\\Q" in regex for regex in regexes) else [one]


def refusal(exc: re2.error) -> str:
    """Return what RE2 has against a pattern, which it says in bytes."""
    said = exc.args[0] if exc.args else ""
    return f"{said.decode(errors='replace') if isinstance(said, bytes) else said:.120}"
