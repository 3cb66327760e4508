"""What becomes of lexicon files, for people: each row that needs a look, and the lines that change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from console.show import visible
from console.words import say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from console.lexicons import Change, Entry

_SAID: Final = {
    "added": ("成功", "added", "green"),
    "duplicate": ("重复", "duplicate", "yellow"),
    "invalid": ("无效", "invalid", "bold red"),
}
#: Rows, and lines of the change, that are shown.
MOST_SHOWN: Final = 40


def preview(change: Change) -> Group:
    """Show the rows that are not simply put in, then the change of the files."""
    return Group(*_parts(change))


def _parts(change: Change) -> Iterator[RenderableType]:
    noted = [entry for entry in change.entries if entry.result != "added" or entry.why]
    if noted:
        yield _rows(noted)
    lines = list(change.diff())
    for line in lines[:MOST_SHOWN]:
        style = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "dim")
        yield Text(visible(line), style, no_wrap=True, overflow="ellipsis")
    if len(lines) > MOST_SHOWN:
        yield Text(say(f"…… 还有 {len(lines) - MOST_SHOWN} 行", f"… {len(lines) - MOST_SHOWN} more lines"), "dim")


def _rows(noted: list[Entry]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in (
        say("行", "row"),
        say("结果", "result"),
        say("词条", "term"),
        say("词库", "class"),
        say("原因", "why"),
    ):
        table.add_column(Text(column), overflow="fold")
    for entry in noted[:MOST_SHOWN]:
        zh, en, style = _SAID[entry.result]
        cells = map(visible, (entry.term, entry.lexicon, entry.why))
        table.add_row(str(entry.row), Text(say(zh, en), style), *map(Text, cells))
    if len(noted) > MOST_SHOWN:
        table.add_row("…", "", say(f"还有 {len(noted) - MOST_SHOWN} 行", f"{len(noted) - MOST_SHOWN} more"))
    return table


def summary(change: Change, *, written: bool) -> Text:
    """Count what became of the rows, and say whether anything was written."""
    counts = "  ".join(f"{say(zh, en)} {change.count(result)}" for result, (zh, en, _) in _SAID.items())  # type: ignore[arg-type]  # its keys are Results
    files = "、".join(visible(file) for file in change.files)
    if not change.files:
        done = say("没有要改的", "nothing to change")
    elif written:
        done = say(f"已写进 {files}；接着跑 qingliu rules lint", f"written to {files}; now run qingliu rules lint")
    else:
        done = say(
            f"这只是预览，什么都没改（会改 {files}）；确认后加 --write",
            f"a preview, nothing is changed ({files}); --write does it",
        )
    return Text(f"{counts}\n{done}", "bold")
