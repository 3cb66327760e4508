"""YAML with positions: what a moderator wrote, as a tree of `Node`s, and the list of what is wrong with it.

We read parser events, not constructed objects: scalars stay the strings that stand in the file (`no`, `010`, `1e5`,
`12:30`), nothing is ever instantiated, and every node knows its line. Anchors, aliases and tags are refused, so is a
key written twice. One `Problems` gathers all there is to say about a rule set; nothing here raises.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

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

from moderation.errors import RuleProblem

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_BYTES: Final = 1 << 20
MAX_NODES: Final = 120_000
MAX_DEPTH: Final = 12


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


class Problems:
    """Typed access to nodes that notes what is wrong instead of raising, so that all is said at once."""

    def __init__(self) -> None:
        self.found: list[RuleProblem] = []

    def problem(self, node: Node, code: str, message: str) -> None:
        """Note a problem at `node`."""
        self.found.append(RuleProblem(node.file, node.line, node.column, code, message))

    def parse(self, file: str, content: bytes) -> Node:
        """Parse one file; an empty node where it cannot be."""
        whole = Node("", file, 0, 0, plain=True)
        if len(content) > MAX_BYTES:
            self.problem(whole, "E001", f"文件 {len(content)} 字节，最多 {MAX_BYTES} 字节；请拆成几个文件")
            return whole
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as exc:
            self.problem(whole, "E002", f"不是 UTF-8 文本（第 {exc.start} 字节），请用 UTF-8 编码另存")
            return whole
        try:
            return _Tree(self, file, text).root or whole
        except MarkedYAMLError as exc:
            mark = exc.problem_mark or exc.context_mark
            place = Node("", file, mark.line + 1, mark.column + 1) if mark else whole
            self.problem(
                place, "E003", f"YAML 格式不对：{exc.problem or exc.context}（常见原因：缩进、漏了空格、用了 Tab）"
            )
        except (YAMLError, ValueError, OverflowError, RecursionError) as exc:
            self.problem(whole, "E003", f"YAML 格式不对：{str(exc).splitlines()[0]:.100}")
        return whole

    def mapping(self, node: Node, known: Iterable[str], needed: Iterable[str] = ()) -> dict[str, Node]:
        """Return the entries of a mapping; unknown and missing keys are problems. Empty where it is no mapping."""
        if not isinstance(node.value, dict):
            self.problem(node, "E101", "这里应是「键: 值」的形式")
            return {}
        allowed = tuple(known)
        for key in node.value:
            if key not in allowed:
                self.problem(node.keys[key], "E102", f"未知字段 {key}{suggest(key, allowed)}")
        for key in needed:
            if key not in node.value:
                self.problem(node, "E103", f"缺少字段 {key}")
        return {key: child for key, child in node.value.items() if key in allowed}

    def entries(self, node: Node) -> dict[str, Node]:
        """Return the entries of a mapping whose keys the moderator chooses."""
        if isinstance(node.value, dict):
            return dict(node.value)
        self.problem(node, "E101", "这里应是「键: 值」的形式")
        return {}

    def items(self, node: Node) -> list[Node]:
        """Return the items of a list; nothing where it is none."""
        if isinstance(node.value, list):
            return node.value
        if node.value == "" and node.plain:
            return []
        self.problem(node, "E104", "这里应是列表（每项前加「- 」）")
        return []

    def text(self, node: Node | None, *, most: int = 1000) -> str:
        """Return a string, trimmed; empty where it is none."""
        if node is None:
            return ""
        if not isinstance(node.value, str):
            self.problem(node, "E105", "这里应是一段文字")
            return ""
        if len(node.value) > most:
            self.problem(node, "E106", f"太长：{len(node.value)} 字，最多 {most} 字")
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
            self.problem(node, "E107", f"这里应是整数，却是「{node.value!s:.20}」")
            return default
        if not low <= number <= high:
            self.problem(node, "E108", f"{number} 超出范围 {low}–{high}")
        return number

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
        self.problem(
            node, "E109", f"「{value:.30}」不在可选值之中{suggest(value, allowed) or '：' + '、'.join(allowed)}"
        )
        return default


class _Tree:
    """Builds the nodes of a document from parser events, within the limits above."""

    def __init__(self, problems: Problems, file: str, text: str) -> None:
        self._problems = problems
        self._file = file
        self._nodes = 0
        self._refused = False
        self.root: Node | None = None
        self._open: list[tuple[Node, list[Node]]] = []
        documents = 0
        for event in YAML(typ="safe", pure=True).parse(text):
            documents += isinstance(event, DocumentStartEvent)
            if documents > 1:
                self._refuse(event, "E004", "一个文件只能有一份内容，请去掉「---」分隔")
            if self._refused:
                return
            self._take(event)

    def _take(self, event: Any) -> None:
        if isinstance(event, AliasEvent) or getattr(event, "anchor", None):
            self._refuse(event, "E005", "不允许使用锚点与引用（& 和 *）；以 * 或 & 开头的词请加引号")
        elif isinstance(event, ScalarEvent):
            self._scalar(event)
        elif isinstance(event, MappingStartEvent | SequenceStartEvent):
            self._start(event)
        elif isinstance(event, MappingEndEvent | SequenceEndEvent):
            self._end()

    def _scalar(self, event: Any) -> None:
        if event.tag is not None and not any(event.implicit):
            self._refuse(event, "E006", "不允许使用标签（!）；以 ! 开头的词请加引号")
            return
        if not event.value.isprintable() and any("\ud800" <= char <= "\udfff" for char in event.value):
            self._refuse(event, "E009", "文字里有半个字符（\\uD800–\\uDFFF），请改成完整的字")
            return
        self._place(self._node(event, event.value, plain=not event.style))

    def _start(self, event: Any) -> None:
        if event.tag is not None and not event.implicit:
            self._refuse(event, "E006", "不允许使用标签（!）")
            return
        if len(self._open) >= MAX_DEPTH:
            self._refuse(event, "E007", f"嵌套超过 {MAX_DEPTH} 层")
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
                self._problems.problem(key, "E101", "键应是一段文字")
            elif key.value in node.value:
                self._problems.problem(
                    key, "E008", f"字段 {key.value} 写了两次（上一次在第 {node.keys[key.value].line} 行）"
                )
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
            self._refuse(event, "E001", f"内容超过 {MAX_NODES} 项；请拆成几个文件")
        return Node(value, self._file, event.start_mark.line + 1, event.start_mark.column + 1, plain=plain)

    def _refuse(self, event: Any, code: str, message: str) -> None:
        if not self._refused:
            mark = event.start_mark
            self._problems.problem(Node("", self._file, mark.line + 1, mark.column + 1), code, message)
        self._refused, self.root = True, None


def suggest(word: str, options: Iterable[str]) -> str:
    """Return a Chinese "did you mean", or nothing where no option is near."""
    near = get_close_matches(word, tuple(options), n=1, cutoff=0.6)
    return f"（你是不是想写 {near[0]}？）" if near else ""
