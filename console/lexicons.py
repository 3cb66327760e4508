"""Changes to lexicon files: words of a table put in, words that stand twice taken out; no other line is touched.

What a lexicon may hold is said by moderation.rulefile: a change is made on a copy, which is read like any rule set.
"""

from __future__ import annotations

import difflib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from console.words import say
from moderation.document import nearest
from moderation.errors import SettingsError
from moderation.fold import fold
from moderation.lint import advise
from moderation.rulefile import draft, kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from console.sheets import Row
    from moderation.document import Node
    from moderation.errors import RuleProblem
    from moderation.rulefile import Draft, Layer

Result = Literal["added", "duplicate", "invalid"]
_LINES: Final = re.compile("[^\r\n\x85\u2028\u2029]*(?:\r\n|[\r\n\x85\u2028\u2029]|$)")
#: Words with a Chinese character, of letters and digits with a few signs in between; days; flags.
_BARE: Final = re.compile(
    "(?=.*[\u3400-\u9fff])[^\\W_][\\w·.+/%&~-]*( [\\w·.+/%&~-]+)*"
    "|[0-9]{4}-[0-9]{2}-[0-9]{2}( [0-9]{2}:[0-9]{2})?|true|false"
)
#: Columns of a table by the words people put over them.
COLUMNS: Final = {
    "词条": "term", "词": "term", "关键词": "term", "敏感词": "term", "term": "term", "word": "term",
    "词库": "lexicon", "类别": "lexicon", "class": "lexicon", "lexicon": "lexicon",
    "到期日": "until", "到期": "until", "until": "until", "伪装": "disguised", "disguised": "disguised",
}  # fmt: skip
HEADERS: Final = ("词条", "词库", "到期日", "伪装")
_FLAGS: Final = {
    "": "",
    **dict.fromkeys(("是", "true", "1", "yes"), "true"),
    **dict.fromkeys(("否", "false", "0", "no"), "false"),
}


class Entry(NamedTuple):
    """A row of a table and what becomes of it; `why` is for people."""

    row: int
    term: str
    lexicon: str
    until: str = ""
    disguised: str = ""
    result: Result = "added"
    why: str = ""


class Change(NamedTuple):
    """What would become of the files: their old and new content; nothing is written yet."""

    entries: tuple[Entry, ...]
    files: Mapping[str, tuple[bytes, bytes]]

    def count(self, result: Result) -> int:
        """Return how many rows come out like that."""
        return sum(entry.result == result for entry in self.entries)

    def diff(self) -> Iterator[str]:
        """Yield the change as a unified diff, line by line."""
        for file, (old, new) in self.files.items():
            before, after = (content.decode("utf-8-sig").splitlines() for content in (old, new))
            yield from difflib.unified_diff(before, after, file, file, lineterm="", n=1)

    def write(self) -> None:
        """Replace each file by its new content, whole or not at all. Raises SettingsError where that cannot be."""
        for file, (old, new) in self.files.items():
            path = Path(file)
            try:
                if path.exists() and path.read_bytes() != old:
                    raise SettingsError(say(f"{file} 刚被别人改过；再来一次", f"{file} changed meanwhile; do it again"))
                path.parent.mkdir(parents=True, exist_ok=True)
                fresh = path.with_name(f".{path.name}.new")
                fresh.write_bytes(new)
                fresh.replace(path)
            except OSError as exc:
                raise SettingsError(f"{file}: {exc.strerror}") from None


# --- from a table


def entries(rows: Sequence[Row], lexicon: str) -> list[Entry]:
    """Read the rows of a table; without headers the first column holds the terms. `lexicon` is for those without."""
    head = [COLUMNS.get(cell.strip().lower(), "") for cell in rows[0].cells] if rows else []
    named = "term" in head
    return [_entry(row, head if named else ["term"], lexicon) for row in rows[named:]]


def _entry(row: Row, head: Sequence[str], lexicon: str) -> Entry:
    cells = {name: cell for name, cell in zip(head, row.cells, strict=False) if name}
    flag = _FLAGS.get(cells.get("disguised", "").lower())
    why = row.wrong or (say("伪装一列只写 是、否", "disguised is yes or no") if flag is None else "")
    entry = Entry(
        row.number, cells.get("term", ""), cells.get("lexicon", "") or lexicon, cells.get("until", ""), flag or ""
    )
    if not entry.term and not why:
        why = say("词条是空的", "no term")
    return entry._replace(result="invalid", why=why) if why else entry


class Importing:
    """Puts the words of a table into the lexicons of layers.

    `into` is the file for new words, where it is not the last file that has their class; `note` says what a class holds
    that is not there yet.
    """

    def __init__(self, layers: Sequence[Layer], into: str = "", note: str = "") -> None:
        self._layers, self._into, self._note = layers, into, note
        self._draft = draft(layers)
        self._old = {file: raw for layer in layers for file, raw in layer.items() if kind(file) == "lexicons"}
        self._notes = {name: _note(node) for name, node in self._draft.classes}
        self._places: dict[tuple[str, str], str] = {}
        for term, node in self._draft.terms:
            self._places.setdefault((term.lexicon, fold(term.text).text.strip()), f"{node.file}:{node.line}")

    def change(self, asked: Iterable[Entry], frequency: Callable[[str], int], now_ms: int) -> Change:
        """Return what becomes of each row, and of the files."""
        told = [self._told(entry) for entry in asked]
        while True:
            files, lines = self._edited([entry for entry in told if entry.result == "added"])
            made = draft([*self._others(files), {file: new for file, (_, new) in files.items()}])
            wrong = {row: p for p in made.problems if (row := lines.get((p.file, p.line))) is not None}
            if not wrong:
                break
            told = [_refused(entry, wrong.get(entry.row)) for entry in told]
        self._check(made)
        advice = {row: p for p in advise(made, now_ms, frequency) if (row := lines.get((p.file, p.line))) is not None}
        told = [entry._replace(why=_said(advice[entry.row])) if entry.row in advice else entry for entry in told]
        return Change(tuple(told), files)

    def _told(self, entry: Entry) -> Entry:
        """Tell of a row whether it can be put in at all; one that can is remembered, so that it is put in once."""
        if entry.result != "added":
            return entry
        if not entry.lexicon:
            return entry._replace(
                result="invalid", why=say("没写词库；填上，或加 --class", "no class; fill it in, or --class")
            )
        if entry.lexicon not in self._notes and not self._note:
            return entry._replace(result="invalid", why=self._unknown(entry.lexicon))
        key = (entry.lexicon, fold(entry.term).text.strip())
        first = self._places.setdefault(key, say(f"第 {entry.row} 行", f"row {entry.row}"))
        if first != say(f"第 {entry.row} 行", f"row {entry.row}"):
            return entry._replace(result="duplicate", why=say(f"已有：{first}", f"is there: {first}"))
        return entry

    def _check(self, made: Draft) -> None:
        """Raise SettingsError where a change breaks what was sound: a name of a class that is no YAML, say."""
        before = {(p.file, p.code, p.message) for p in self._draft.problems}
        broken = [str(p) for p in made.problems if (p.file, p.code, p.message) not in before]
        if broken:
            raise SettingsError("\n".join(broken))

    def _unknown(self, name: str) -> str:
        near = nearest(name, self._notes)
        hint = say(f"（你是不是想写 {near}？）", f" (did you mean {near}?)") if near else ""
        more = say("；新建要加 --into 文件 --note 说明", "; a new one needs --into FILE --note TEXT")
        return say(f"没有词库 {name}", f"there is no class {name}") + (hint or more)

    def _others(self, files: Mapping[str, object]) -> list[Layer]:
        return [{file: raw for file, raw in layer.items() if file not in files} for layer in self._layers]

    def _edited(self, wanted: Sequence[Entry]) -> tuple[dict[str, tuple[bytes, bytes]], dict[tuple[str, int], int]]:
        """Return old and new content by file, and the rows by file and line."""
        by_file: dict[str, dict[str, list[Entry]]] = {}
        for entry in wanted:
            by_file.setdefault(self._file(entry.lexicon), {}).setdefault(entry.lexicon, []).append(entry)
        files, lines = dict[str, tuple[bytes, bytes]](), dict[tuple[str, int], int]()
        for file, classes in by_file.items():
            edit = _Edit(file, self._old.get(file, b""))
            for name, several in classes.items():
                node = self._class(file, name)
                if node is None:
                    edit.append_class(name, self._notes.get(name) or self._note, several)
                else:
                    edit.insert_after(node, several)
            files[file] = (edit.old, edit.new())
            lines |= {(file, line): row for line, row in edit.rows().items()}
        return files, lines

    def _file(self, name: str) -> str:
        if self._into:
            return self._into
        return [node.file for known, node in self._draft.classes if known == name][-1]

    def _class(self, file: str, name: str) -> Node | None:
        return next((node for known, node in self._draft.classes if known == name and node.file == file), None)


class _Edit:
    """Lines put into, and taken out of, the text of a file."""

    def __init__(self, file: str, old: bytes) -> None:
        self.old = old
        try:
            text = old.decode("utf-8")
        except UnicodeDecodeError:
            raise SettingsError(say(f"{file} 不是 UTF-8，请先另存", f"{file} is no UTF-8")) from None
        self._lines = [line for line in _LINES.findall(text) if line]
        self._end = "\r\n" if "\r\n" in text else "\n"
        if self._lines and not self._lines[-1].endswith(("\n", "\r")):
            self._lines[-1] += self._end
        self._after: dict[int, list[tuple[str, int | None]]] = {}
        self._gone: set[int] = set()

    def insert_after(self, node: Node, several: Iterable[Entry]) -> None:
        """Put terms behind the last one of a class. Raises SettingsError where these do not stand one a line."""
        terms = node.value.get("terms") if isinstance(node.value, dict) else None
        items = terms.value if terms is not None and isinstance(terms.value, list) else []
        before = self._lines[items[-1].line - 1][: items[-1].column - 1] if items else ""
        if before.strip() != "-":
            raise SettingsError(
                say(
                    f"{node.file}:{node.line} 这个词库的 terms 不是每行一个词，请先改成每行一个",
                    f"{node.file}:{node.line}: the terms of this class do not stand one a line; change that first",
                )
            )
        self._after.setdefault(items[-1].last_line, []).extend((f"{before}{_item(one)}", one.row) for one in several)

    def append_class(self, name: str, note: str, several: Iterable[Entry]) -> None:
        """Put a class at the end."""
        head = [f"{name}:", f"  说明: {_scalar(note)}", "  terms:"]
        lines: list[tuple[str, int | None]] = [(line, None) for line in ([""] if self._lines else []) + head]
        self._after.setdefault(len(self._lines), []).extend(
            [*lines, *((f"    - {_item(one)}", one.row) for one in several)]
        )

    def remove(self, node: Node) -> bool:
        """Take out an item of a list; false where it shares its line with others."""
        line = self._lines[node.line - 1]
        if line[: node.column - 1].strip() != "-":
            return False
        self._gone.update(range(node.line, node.last_line + 1))
        return True

    def _result(self) -> Iterator[tuple[str, int | None]]:
        yield from ((line + self._end, row) for line, row in self._after.get(0, ()))
        for number, line in enumerate(self._lines, 1):
            if number not in self._gone:
                yield line, None
            yield from ((added + self._end, row) for added, row in self._after.get(number, ()))

    def new(self) -> bytes:
        """Return the new content."""
        return "".join(line for line, _ in self._result()).encode()

    def rows(self) -> dict[int, int]:
        """Return the row by the line that it became."""
        return {line: row for line, (_, row) in enumerate(self._result(), 1) if row is not None}


def _item(entry: Entry) -> str:
    options = {"until": entry.until, "disguised": entry.disguised}
    said = "".join(f", {name}: {_scalar(value)}" for name, value in options.items() if value)
    return f"{{term: {_scalar(entry.term)}{said}}}" if said else _scalar(entry.term)


def _scalar(text: str) -> str:
    """Write a text as YAML: bare where no reader could take it for anything else, in double quotes elsewhere."""
    return text if _BARE.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def _note(node: Node) -> str:
    said = node.value.get("说明") if isinstance(node.value, dict) else None
    return said.value if said is not None and isinstance(said.value, str) else ""


def _refused(entry: Entry, problem: RuleProblem | None) -> Entry:
    return entry._replace(result="invalid", why=_said(problem)) if problem else entry


def _said(problem: RuleProblem) -> str:
    return f"{problem.code} {say(problem.message, problem.english)}"


# --- of the files themselves


def repeated(layers: Sequence[Layer]) -> Change:
    """Take out terms that stand in their class already, before them; those with other options stay, and are told."""
    made, told = draft(layers), list[Entry]()
    first: dict[tuple[str, str], tuple[object, Node]] = {}
    raw = {file: content for layer in layers for file, content in layer.items()}
    edits = {file: _Edit(file, raw[file]) for file in {node.file for _, node in made.terms}}
    for term, node in made.terms:
        options = (term.until_ms, term.disguised)
        before, place = first.setdefault((term.lexicon, fold(term.text).text.strip()), (options, node))
        if place is node:
            continue
        entry = Entry(node.line, term.text, term.lexicon, result="duplicate", why=f"{place.file}:{place.line}")
        if before != options:
            entry = entry._replace(
                result="invalid", why=f"{entry.why} " + say("选项不同，没有动", "has other options: it stays")
            )
        elif not edits[node.file].remove(node):
            entry = entry._replace(
                result="invalid", why=f"{entry.why} " + say("和别的词在同一行，没有动", "shares its line: it stays")
            )
        told.append(entry)
    files = {file: (edit.old, new) for file, edit in sorted(edits.items()) if (new := edit.new()) != edit.old}
    return Change(tuple(told), files)


def target(into: Path, layers: Sequence[Layer], directories: Sequence[Path]) -> str:
    """Return the name under which a file of new words is known, or will be. Raises SettingsError for one never read."""
    known = {Path(file).resolve(): file for layer in layers for file in layer}
    place = into.resolve()
    if place in known and kind(known[place]) == "lexicons":
        return known[place]
    inside = any(place.is_relative_to(directory.resolve()) for directory in directories)
    if not inside or into.exists() or into.suffix != ".yaml" or kind(into.as_posix()) != "lexicons":
        raise SettingsError(
            say(
                f"--into {into}：要是规则目录（--rules）里 lexicons 文件夹下的 .yaml 文件",
                f"--into {into}: a .yaml file in the lexicons folder of one of the directories of rules (--rules)",
            )
        )
    return str(into)


def table(made: Draft, names: Sequence[str]) -> list[tuple[str, ...]]:
    """Return all terms, or those of some classes, as the rows of a table with its headers. Raises SettingsError."""
    known = {name for name, _ in made.classes}
    for name in names:
        if name not in known:
            near = nearest(name, known)
            hint = say(f"（你是不是想写 {near}？）", f" (did you mean {near}?)") if near else ""
            raise SettingsError(say(f"没有词库 {name}", f"there is no class {name}") + hint)
    rows = [
        (
            term.text,
            term.lexicon,
            _option(node, "until"),
            {"true": "是", "false": "否"}.get(_option(node, "disguised"), ""),
        )
        for term, node in made.terms
        if not names or term.lexicon in names
    ]
    return [HEADERS, *rows]


def _option(node: Node, name: str) -> str:
    child = node.value.get(name) if isinstance(node.value, dict) else None
    return child.value if child is not None and isinstance(child.value, str) else ""


def classes(made: Draft) -> list[tuple[str, ...]]:
    """Return the classes and what they hold, with headers."""
    return [("词库", "装的是什么"), *dict(sorted((name, (name, _note(node))) for name, node in made.classes)).values()]
