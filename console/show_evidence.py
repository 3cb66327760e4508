"""An evidence pack to read, in Chinese: a page that opens offline and runs nothing, and the same as text.

What players said is hostile: the page is built as a tree, so nothing in it can be markup, and what cannot be seen is a
token.
"""

from __future__ import annotations

from base64 import b64encode
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple
from xml.etree import ElementTree as ET

import msgspec

from console.show import deed, visible
from moderation.actions import Action, Case

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from moderation.audit import Recorded, Wanted
    from moderation.chain import Head

KINDS: Final = {
    "action": "处罚", "revert": "撤销", "command": "人工命令", "case": "待审案件", "ack": "游戏服回执", "appeal": "申诉",
    "dead_letter": "死信", "view": "查看原文", "rules": "规则变更", "unreadable": "读不懂",
}  # fmt: skip
COLUMNS: Final = (
    "序号", "时间", "种类", "何人", "何事", "对何人", "何处", "为何", "如何", "原文", "出处", "SHA-256",
)  # fmt: skip
_STYLE: Final = (
    "body{font:14px/1.5 sans-serif;margin:2em}table{border-collapse:collapse}"
    "th,td{border:1px solid #999;padding:.2em .5em;vertical-align:top;text-align:left;overflow-wrap:anywhere}"
    "th{background:#eee}.mono{font-family:monospace;font-size:11px}"
)
#: The page may use its own style and nothing else: no script, no picture, no address.
_POLICY: Final = f"default-src 'none'; style-src 'sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}'"
_MONO: Final = frozenset({"出处", "SHA-256"})


class Row(NamedTuple):
    """An entry as people read it, in the order of COLUMNS; every cell is safe to print."""

    cells: tuple[str, ...]


def row(entry: Recorded) -> Row:
    """Return an entry for people."""
    told, (done, text) = entry.told, _said(entry)
    where = f"{entry.topic} {entry.partition}:{entry.offset}"
    cells = (
        str(entry.seq), _moment(told.when or entry.at), KINDS[told.kind], told.who, done or told.what, told.whom,
        told.where, told.why, told.how, text, where, entry.sha256,
    )  # fmt: skip
    return Row(tuple(map(visible, cells)))


def _said(entry: Recorded) -> tuple[str, str]:
    """Return what was done in a moderator's words, and what the player had said; empty where neither is known."""
    try:
        if entry.told.kind in ("action", "revert"):
            action = msgspec.json.decode(entry.value or b"", type=Action)
            return deed(action), action.evidence.what.text if action.evidence else ""
        if entry.told.kind == "case":
            return "", msgspec.json.decode(entry.value or b"", type=Case).event.text
    except msgspec.DecodeError:  # too long to be kept
        pass
    return "", ""


def _moment(ms: int) -> str:
    try:
        return datetime.fromtimestamp(ms / 1000).astimezone().isoformat(" ", "milliseconds")
    except (ValueError, OverflowError, OSError):  # whoever writes a record writes its time
        return str(ms)


def _facts(entries: Sequence[Recorded], about: Wanted, head: Head) -> list[tuple[str, str]]:
    asked = {
        "账号": about.account_id,
        "团伙": about.campaign_id,
        "从": _moment(about.since) if about.since is not None else None,
        "到": _moment(about.until) if about.until is not None else None,
    }
    counts: dict[str, int] = {}
    for entry in entries:
        counts[entry.told.kind] = counts.get(entry.told.kind, 0) + 1
    return [
        *((name, visible(value)) for name, value in asked.items() if value),
        ("记录", f"{len(entries)} 条：" + "，".join(f"{KINDS[kind]} {count}" for kind, count in counts.items())),
        ("链头", f"第 {head.seq} 条，{head.hash}"),
        ("核对", "qingliu audit verify 本证据包 --head 另存的链头；没有清流也能核对，见 docs/audit.md"),
        (
            "说明",
            "每条记录的原始字节在 records/ 下，以序号为名。本包证明所列各条确在审计链上，不证明已列全。",
        ),
    ]


def summary_html(entries: Sequence[Recorded], about: Wanted, head: Head) -> bytes:
    """Return the page."""
    page = ET.Element("html", lang="zh")
    top, body = ET.SubElement(page, "head"), ET.SubElement(page, "body")
    ET.SubElement(top, "meta", charset="utf-8")
    ET.SubElement(top, "meta", {"http-equiv": "Content-Security-Policy", "content": _POLICY})
    ET.SubElement(top, "title").text = "清流证据包"
    ET.SubElement(top, "style").text = _STYLE
    ET.SubElement(body, "h1").text = "清流证据包"
    _table(body, _facts(entries, about, head))
    ET.SubElement(body, "h2").text = "记录"
    _table(body, [row(entry).cells for entry in entries], COLUMNS)
    written: bytes = ET.tostring(page, "utf-8", method="html")
    return b"<!DOCTYPE html>\n" + written + b"\n"


def _table(body: ET.Element, rows: Iterable[Sequence[str]], columns: Sequence[str] = ()) -> None:
    table = ET.SubElement(body, "table")
    if columns:
        line = ET.SubElement(table, "tr")
        for name in columns:
            ET.SubElement(line, "th").text = name
    for cells in rows:
        line = ET.SubElement(table, "tr")
        for number, cell in enumerate(cells):
            mono = bool(columns) and columns[number] in _MONO
            ET.SubElement(line, "td", {"class": "mono"} if mono else {}).text = cell


def summary_text(entries: Sequence[Recorded], about: Wanted, head: Head) -> bytes:
    """Return the same as text, an entry a paragraph."""
    lines = ["清流证据包", "", *(f"{name}：{value}" for name, value in _facts(entries, about, head)), ""]
    for entry in entries:
        told = zip(COLUMNS, row(entry).cells, strict=True)
        lines += [*(f"{name}：{cell}" for name, cell in told if cell), ""]
    return "\n".join(lines).encode()
