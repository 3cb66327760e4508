"""Dead letters on a terminal: counts and the newest, one in full, what a replay did."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from console.campaigns import moment
from console.show import visible
from console.words import say

if TYPE_CHECKING:
    from collections.abc import Iterable

    from moderation.actions import Source
    from streams.settings import Settings

from console.dead_letters import ADVICE, IN_FULL, REFUSALS, Letter, Listed, Replay, Row, in_full, refusal


def listing(found: Listed) -> Group:
    """Show how many there are per reason and what mends them, then the newest."""
    table = _table(say("原因", "reason"), say("条数", "letters"), say("怎么修", "what to do"))
    for reason, count in found.counts.most_common():
        table.add_row(reason, str(count), Text(ADVICE[reason]))
    return Group(table, _rows(found.newest))


def _rows(rows: Iterable[Row]) -> Table:
    names = (say("位置", "place"), say("时间", "time"), say("原因", "reason"), say("来源", "source"), say("键", "key"))
    table = _table(*names, say("内容", "preview"))
    for one in rows:
        cells = (one.place, _when(one.ts), one.reason, _whence(one.source), one.key, one.preview)
        table.add_row(*map(Text, cells))
    return table


def dossier(settings: Settings, one: Letter) -> Group:
    """Show a letter in full: its headers as they are, key and value, and how much of the value is not shown."""
    why, origin = refusal(settings, one), one.origin
    cut_from, size = origin.cut_from if origin else None, len(one.value or b"")
    facts = Table.grid(padding=(0, 2))
    for name, value in (
        (say("位置", "place"), str(one.place)),
        (say("时间", "time"), _when(one.ts)),
        (say("怎么修", "what to do"), ADVICE[one.reason]),
        (say("能重发", "can be sent"), say("能", "yes") if why is None else REFUSALS[why]),
        *((visible(name), in_full(value, whole=False)) for name, value in one.headers),
        (say("键", "key"), in_full(one.key)),
    ):
        facts.add_row(Text(name, "dim", overflow="fold"), Text(value, overflow="fold"))
    lost = say(f"，原有 {cut_from}", f" of once {cut_from}") if cut_from is not None else ""
    cut = say(f"，只显示前 {IN_FULL}", f", the first {IN_FULL} shown") if size > IN_FULL else ""
    told = say(f"值（{size} 字节{lost}{cut}）", f"value ({size} bytes{lost}{cut})")
    return Group(facts, Text(told, "dim"), Text(in_full(one.value, whole=cut_from is None), overflow="fold"))


def replayed(done: Replay, *, send: bool) -> Group:
    """Show what would be sent, or was: how many per reason and topic, how many cannot, and samples."""
    good = _table(say("原因", "reason"), say("发往", "to"), say("条数", "letters"))
    for (reason, topic), count in done.good.most_common():
        good.add_row(reason, Text(topic), str(count))
    kept = _table(say("不能重发，因为", "cannot be sent, because"), say("条数", "letters"))
    for why, count in done.refused.most_common():
        kept.add_row(Text(REFUSALS[why]), str(count))
    end = say(f"已发出 {done.sent} 条", f"{done.sent} sent")
    end = end if send else say("只是预览；加 --yes 才发送", "a preview only; --yes sends them")
    gone = say("没有找到，或不合条件：", "not there, or not asked for: ") + " ".join(map(str, sorted(done.missing)))
    said = [Text(gone)] if done.missing else []
    return Group(good, *[kept] * bool(done.refused), _rows(done.samples), *said, Text(end, "bold"))


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(Text(name), overflow="fold")
    return table


def _whence(source: Source | None) -> str:
    return f"{source.topic} {source.partition}:{source.offset}" if source else "—"


def _when(ms: int) -> str:
    try:
        return moment(ms)
    except (ValueError, OverflowError, OSError):  # whoever writes a record writes its time
        return str(ms)
