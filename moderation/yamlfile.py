"""YAML with positions: the bytes of a file as a tree of `Node`s.

We read parser events, not constructed objects: scalars stay the strings that stand in the file (`no`, `010`, `1e5`,
`12:30`), nothing is ever instantiated, and every node knows its line. Anchors, aliases and tags are refused, so is a
key written twice.
"""

from __future__ import annotations

from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from moderation.document import Node, Problems
from moderation.wordlists import shortened

MAX_BYTES: Final = 1 << 20
MAX_NODES: Final = 120_000
MAX_DEPTH: Final = 12


def parse(problems: Problems, file: str, content: bytes, *, plain: bool = False) -> Node:
    """Parse one file; an empty node where it cannot be, and a problem. `plain` leaves nothing out beforehand."""
    whole = Node("", file, 0, 0, plain=True)
    if len(content) > MAX_BYTES:
        problems.problem(whole, "E001.bytes", size=len(content), most=MAX_BYTES)
        return whole
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        problems.problem(whole, "E002", at=exc.start)
        return whole
    try:
        tree = None if plain else _without_lists(file, text)
        return (tree or _Tree(problems, file, text)).root or whole
    except MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        place = Node("", file, mark.line + 1, mark.column + 1) if mark else whole
        problems.problem(place, "E003", why=exc.problem or exc.context)
    except (YAMLError, ValueError, OverflowError, RecursionError) as exc:
        problems.problem(whole, "E003", why=f"{str(exc).splitlines()[0]:.100}")
    return whole


def _without_lists(file: str, text: str) -> _Tree | None:
    """Parse a file without its long lists; None where that gains nothing or anything is wrong: then parse it whole."""
    short, left_out = shortened(text)
    problems = Problems()
    try:
        tree = _Tree(problems, file, short, left_out) if left_out else None
    except (YAMLError, ValueError, OverflowError, RecursionError):
        return None
    return None if problems.found or left_out else tree


class _Tree:
    """Builds the nodes of a document from parser events, within the limits above.

    Words that were `left_out` of the text are put back, and taken from there: see moderation.wordlists.
    """

    def __init__(self, problems: Problems, file: str, text: str, left_out: dict[int, list[str]] | None = None) -> None:
        self._problems = problems
        self._file = file
        self._left_out = left_out or {}
        self._lines = 1  # those left out so far, and since we count from 1 one more
        self._nodes = 0
        self._refused = False
        self.root: Node | None = None
        self._open: list[tuple[Node, list[Node]]] = []
        documents = 0
        for event in YAML(typ="safe", pure=True).parse(text):
            documents += isinstance(event, DocumentStartEvent)
            if documents > 1:
                self._refuse(event, "E004")
            if self._refused:
                return
            self._take(event)

    def _take(self, event: Any) -> None:
        if isinstance(event, AliasEvent) or getattr(event, "anchor", None):
            self._refuse(event, "E005")
        elif isinstance(event, ScalarEvent):
            self._scalar(event)
        elif isinstance(event, MappingStartEvent | SequenceStartEvent):
            self._start(event)
        elif isinstance(event, MappingEndEvent | SequenceEndEvent):
            self._end()

    def _scalar(self, event: Any) -> None:
        if event.tag is not None and not any(event.implicit):
            self._refuse(event, "E006")
            return
        if not event.value.isprintable() and any("\ud800" <= char <= "\udfff" for char in event.value):
            self._refuse(event, "E009")
            return
        first = self._node(event, event.value, plain=not event.style)
        self._place(first)
        if first.plain and (words := self._left_out.pop(event.start_mark.index, None)):
            self._put_back(words, first)

    def _put_back(self, words: list[str], first: Node) -> None:
        nodes = (Node(word, self._file, first.line + n, first.column, plain=True) for n, word in enumerate(words, 1))
        self._open[-1][1].extend(nodes)
        self._lines += len(words)
        self._nodes += len(words)

    def _start(self, event: Any) -> None:
        if event.tag is not None and not event.implicit:
            self._refuse(event, "E006")
            return
        if len(self._open) >= MAX_DEPTH:
            self._refuse(event, "E007", most=MAX_DEPTH)
            return
        node = self._node(event, {} if isinstance(event, MappingStartEvent) else [])
        self._open.append((node, []))

    def _end(self) -> None:
        node, children = self._open.pop()
        if isinstance(node.value, dict):
            self._fill(node, children)
        else:
            node.value.extend(children)
        self._place(node)

    def _fill(self, node: Node, children: list[Node]) -> None:
        for key, value in zip(children[::2], children[1::2], strict=True):
            if not isinstance(key.value, str):
                self._problems.problem(key, "E101.key")
            elif key.value in node.value:
                self._problems.problem(key, "E008", key=f"{key.value:.40}", line=node.keys[key.value].line)
            else:
                node.value[key.value], node.keys[key.value] = value, key

    def _place(self, node: Node) -> None:
        if self._open:
            self._open[-1][1].append(node)
        else:
            self.root = node

    def _node(self, event: Any, value: Any, *, plain: bool = False) -> Node:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            self._refuse(event, "E001", most=MAX_NODES)
        return Node(value, self._file, event.start_mark.line + self._lines, event.start_mark.column + 1, plain=plain)

    def _refuse(self, event: Any, key: str, **said: object) -> None:
        if not self._refused:
            mark = event.start_mark
            self._problems.problem(Node("", self._file, mark.line + 1, mark.column + 1), key, **said)
        self._refused, self.root = True, None
