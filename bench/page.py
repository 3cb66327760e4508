"""A run as one HTML page with pictures; it opens offline and runs nothing. The numbers are those of --json."""

from __future__ import annotations

from math import log10
from typing import TYPE_CHECKING, Final

from bench.part import bare, spelled
from bench.result import pairs, points
from bench.shown import about, sheets
from console.charts import lines, ratios
from console.html import page, tag
from console.report import STYLE
from console.show import visible
from console.words import say

if TYPE_CHECKING:
    from collections.abc import Iterator
    from xml.etree.ElementTree import Element

    from bench.result import Result
    from bench.shown import Sheet

#: The parts that measure what others do, too.
AGAINST: Final = ("engine", "peers", "stream", "transport")
#: What is ours of each.
OURS: Final = frozenset(
    {"engine.clean_per_s", "peers.engine_per_s", "stream.worker_per_s", "transport.batch_transport_per_s"}
)
GROWING: Final = {
    "growth.lexicon": ("词条", "terms"),
    "growth.rules": ("规则", "rules"),
    "growth.length": ("字符", "characters"),
    "growth.senders": ("在说话的账号", "active senders"),
    "life.messages": ("判过的消息", "messages judged"),
}


def html(result: Result) -> bytes:
    """Return the page."""
    title = say("清流：性能", "Qingliu: speed")
    return page(title, STYLE, tag("h1", title), *_body(result))


def _body(result: Result) -> Iterator[Element]:
    yield tag("p", visible(about(result)), class_="dim")
    targets, *others = sheets(result)
    yield from _table(targets)
    yield from _against(result)
    yield from _latency(result)
    yield from _growth(result)
    for sheet in others:
        yield from _table(sheet)


def _table(sheet: Sheet) -> Iterator[Element]:
    yield tag("h2", sheet.title)
    body = (
        tag("tr", *(tag("td", visible(cell), class_="hot" if cell == "✗" else None) for cell in row))
        for row in sheet.rows
    )
    yield tag("table", tag("thead", tag("tr", *(tag("th", name) for name in sheet.head))), tag("tbody", *body))


def _key(old: str, new: str) -> Element:
    keys = ((tag("span", class_=f"key {side}"), name) for side, name in (("old", old), ("new", new)))
    return tag("p", *(part for pair in keys for part in pair))


def _against(result: Result) -> Iterator[Element]:
    """Draw how many times as fast as each of the others we are; a picture a part, since their scales differ."""
    for part in AGAINST:
        rows = [
            (bare(under.partition(".")[2]), ratio)
            for name, (over, under) in pairs(result.figures)
            if over in OURS and under.startswith(f"{part}.") and (ratio := result.median(name)) is not None
        ]
        if rows:
            title = say(
                f"{part}：是别的多少倍快（虚线：一样快）", f"{part}: times as fast as others (the mark: as fast)"
            )
            yield tag("h2", title)
            yield ratios(rows, title)


def _latency(result: Result) -> Iterator[Element]:
    figures = result.part("latency")
    loads = sorted(int(name.split("_")[2]) for name in figures if name.startswith("p50_at_"))
    if loads:
        title = say("事件到处罚可读，毫秒，按负荷", "From an event to its readable action, ms, by load")
        yield tag("h2", title)
        yield _key("p50", "p99")
        drawn = [
            (float(at), round(figures[f"p50_at_{at}_ms"].median), round(figures[f"p99_at_{at}_ms"].median))
            for at in loads
        ]
        yield lines(drawn, [(float(at), f"{at} %") for at in loads], title)


def _growth(result: Result) -> Iterator[Element]:
    """Draw each curve beside its first point going on level."""
    for what, sizes in points(result.figures).items():
        costs = [result.figures[f"{what}_{size}_us"].median for size in sizes]
        name = say(*GROWING[what])
        title = say(f"每条消息 µs，随{name}增长", f"µs a message, by {name}")
        yield tag("h2", title)
        yield _key(say("不变", "level"), say("测得", "measured"))
        drawn = [(log10(size), round(costs[0]), round(cost)) for size, cost in zip(sizes, costs, strict=True)]
        yield lines(drawn, [(log10(size), spelled(size)) for size in sizes], title)
