"""What checking the audit log found, on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from console.audit import Report
from console.show import visible
from console.show_evidence import KINDS
from console.words import say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from console.proof import Checked


def checked(found: Report | Checked, *, keyed: bool, anchored: bool) -> Table:
    """Show what was checked, and what is wrong, if anything. `keyed`: macs were checked; `anchored`: a head was."""
    table = Table.grid(padding=(0, 2))
    for name, value in _rows(found, keyed=keyed):
        table.add_row(Text(name, "dim"), Text(visible(value), overflow="fold"))
    if found.flaw:
        at = f"{found.flaw.where}:{found.flaw.line}" if found.flaw.line else found.flaw.where
        table.add_row(Text(say("不符", "wrong"), "bold red"), Text(visible(f"{at} {found.flaw.says}"), overflow="fold"))
    else:
        doubt = say("；没给 --head：截掉尾部看不出来", "; without --head an end that was cut off does not show")
        verdict = Text(say("完好", "whole"), "bold green").append("" if anchored else doubt, "yellow")
        table.add_row(Text(say("结论", "verdict"), "dim"), verdict)
    return table


def _rows(found: Report | Checked, *, keyed: bool) -> Iterator[tuple[str, str]]:
    yield say("条目", "entries"), str(found.entries)
    if isinstance(found, Report):
        yield say("段", "segments"), f"{found.segments}" + (f"（{found.first}–）" if found.first > 1 else "")
        yield say("其中", "of these"), "，".join(f"{say(KINDS[kind], kind)} {n}" for kind, n in found.kinds.items())
        sealed = f"{found.sealed}" + (
            "" if keyed or not found.sealed else say("（没有密钥，未核对）", " (no key: unchecked)")
        )
        yield say("封印", "sealed"), sealed
        if found.torn:
            yield (
                say("末行不全", "torn"),
                say(f"{found.torn} 字节，正在写或崩溃所致", f"{found.torn} bytes: being written"),
            )
        if found.compared is not None:
            told = say(f"Kafka 现有 {found.compared} 条都在链上", f"all {found.compared} records of Kafka are in it")
            behind = say(f"，还没记的 {found.behind}", f", {found.behind} not told yet") if found.behind else ""
            yield "Kafka", (told if not found.flaw else str(found.compared)) + behind
    yield say("链头", "head"), f"{found.head.seq} {found.head.hash}"
