"""What a survey found of the words, on a terminal: chat text in it is hostile, and shown as such."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich import box
from rich.table import Table
from rich.text import Text

from console.show import marked, visible
from console.words import say

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import RenderableType

    from console.survey import Candidate, Covered, Words

#: Terms of a class that are named, and rows of a table; --json has all.
TERMS: Final = 8
ROWS: Final = 30
#: Of a missed text so much is shown.
CUT: Final = 120


def shown(found: Words) -> Iterator[RenderableType]:
    """Show terms nobody said, terms that others cover, and texts that may have been missed."""
    if found.silent:
        yield _silent(found)
    if found.covered:
        yield _covered(found.covered)
    if found.candidates:
        yield _candidates(found.candidates)


def _silent(found: Words) -> Table:
    table = _table(say("词库", "lexicon"), say("没人说过的", "never said"), say("例如", "such as"))
    for lexicon, texts in sorted(found.silent.items(), key=lambda one: -len(one[1]))[:ROWS]:
        table.add_row(visible(lexicon), str(len(texts)), visible("、".join(texts[:TERMS])))
    return table


def _covered(found: Sequence[Covered]) -> Table:
    table = _table(
        say("词库", "lexicon"), say("多余的词", "needless"), say("命中", "hits"), say("总被它盖住", "covered by")
    )
    for one in found[:ROWS]:
        table.add_row(visible(one.lexicon), visible(one.term), str(one.hits), visible(one.by))
    return table


def _candidates(found: Sequence[Candidate]) -> Table:
    table = _table(
        say("可能漏掉的", "maybe missed"), say("次数", "times"), say("账号", "accounts"), say("联系方式", "handle")
    )
    for one in found[:ROWS]:
        handles = visible("、".join(one.handles))
        table.add_row(marked(one.text[:CUT]), str(one.count), str(one.accounts), handles)
    return table


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(Text(name), overflow="fold")
    return table
