"""A daily or weekly report as text to paste, and as a page with pictures; both of the same tables."""

from __future__ import annotations

from datetime import datetime
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from console import words
from console.charts import Bar, bars, lines
from console.daily import HOUR_MS
from console.html import page, tag
from console.show_daily import acted, name_of, names, sheets, sides, title
from console.words import say

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from xml.etree.ElementTree import Element

    from console.daily import Daily
    from console.show_daily import Cell, Sheet

#: Rows of a table on the page, and in the text; the workbook and --json have all.
SHOWN: Final = 20
PASTED: Final = 10
_STYLE: Final = (files("console") / "report.css").read_text("utf-8")


def text(daily: Daily, days: int) -> str:
    """Return the report as text to paste: a line a row, what is 0 left out."""
    return "\n".join(_lines(daily, days)) + "\n"


def _lines(daily: Daily, days: int) -> Iterator[str]:
    yield title(daily, days)
    for sheet in sheets(daily):
        yield ""
        yield f"【{sheet.title}】" + (f" {sheet.note}" if sheet.note else "")
        told = [_line(sheet.head, row) for row in sheet.rows if any(cell not in (0, "") for cell in row[1:])]
        yield from told[:PASTED] or [say("无", "none")]
        if len(told) > PASTED:
            yield say(f"……共 {len(told)} 行，全部在表格里", f"… {len(told)} rows: all are in the workbook")


def _line(head: Sequence[str], row: Sequence[Cell]) -> str:
    told = (f"{name} {cell}" for name, cell in zip(head[1:], row[1:], strict=True) if cell not in (0, ""))
    return f"{row[0]}：" + "，".join(told)


def html(daily: Daily, days: int) -> bytes:
    """Return the report as a page that opens offline and runs nothing."""
    name = title(daily, days)
    return page(
        name, _STYLE, tag("h1", name), *_pictures(daily), *(part for one in sheets(daily) for part in _part(one))
    )


def _pictures(daily: Daily) -> Iterator[Element]:
    keys = zip(("new", "old"), sides(daily), strict=True)
    yield tag("p", *(part for side, said in keys for part in (tag("span", class_=f"key {side}"), said)))
    now, before = daily.sides
    if sum(now.moments) or sum(before.moments):
        yield tag("h2", say("处置数", "Actions"))
        yield lines(list(_points(daily)), list(_ticks(daily)), say("处置数", "actions"))
    named = names(daily, "label")
    if named:
        yield tag("h2", say("各类处置数", "Actions by label"))
        counts = ([acted(side.by.get("label", {}).get(name, {})) for name in named] for side in (before, now))
        rows = [Bar(name_of(name, words.LABELS), *both) for name, *both in zip(named, *counts, strict=True)]
        yield bars(rows, say("各类处置数", "actions by label"))


def _points(daily: Daily) -> Iterator[tuple[float, int, int]]:
    now, before = daily.sides
    for number, (old, new) in enumerate(zip(before.moments, now.moments, strict=True)):
        yield float(number), old, new


def _ticks(daily: Daily) -> Iterator[tuple[float, str]]:
    """Yield some places along the bottom: hours of a day, days of a week."""
    parts = len(daily.sides[0].moments)
    unit = (daily.period.until - daily.period.since) // parts
    for number in range(0, parts, max(1, parts // 8)):
        at = datetime.fromtimestamp((daily.period.since + number * unit) / 1000).astimezone()
        yield float(number), f"{at:%H:%M}" if unit <= HOUR_MS else f"{at:%m-%d}"


def _part(sheet: Sheet) -> Iterator[Element]:
    yield tag("h2", sheet.title)
    if sheet.note:
        yield tag("p", sheet.note, class_="dim")
    if not sheet.rows:
        yield tag("p", say("无", "none"), class_="dim")
        return
    head = tag("tr", *(tag("th", name) for name in sheet.head))
    yield tag("table", head, *(tag("tr", *(tag("td", str(cell)) for cell in row)) for row in sheet.rows[:SHOWN]))
    if len(sheet.rows) > SHOWN:
        yield tag("p", say(f"共 {len(sheet.rows)} 行", f"{len(sheet.rows)} rows"), class_="dim")
