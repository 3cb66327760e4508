"""A dashboard drawn without Grafana: its panels as one SVG, from the same queries and a real Prometheus.

It shows what on-call would look at, not how Grafana looks: no hover, no thresholds, each panel scaled to its own most.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple
from xml.etree.ElementTree import tostring

from console.html import tag

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from xml.etree.ElementTree import Element

#: Labels and (second, value) points of a query over a span.
Series = tuple["Mapping[str, str]", "Sequence[tuple[float, float]]"]
Ask = Callable[[str], Awaitable["Sequence[Series]"]]
COLUMNS: Final = 3
#: A panel, the room around what it draws, and a line of text, in pixels.
WIDE, HIGH, PAD, LINE = 400, 150, 14, 16
MOST_SERIES: Final = 6
#: What `Ask` answers for: a point a second.
STEP_S: Final = 1
#: Told apart by those who see no red from green, too (Okabe and Ito).
COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_SLOT: Final = re.compile(r"\{\{(\w+)\}\}")
_STYLE: Final = (
    "text{font:11px sans-serif;fill:#333}.t{font-weight:bold}.n{fill:#777}.p{fill:#fff;stroke:#ddd}"
    ".l{fill:none;stroke-width:1.5}.m{stroke:#999;stroke-dasharray:3 3}.a{fill:#c4162a}svg{background:#f4f5f5}"
)
_SCALES: Final = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"))


class Span(NamedTuple):
    """From when to when, in seconds, and what happened at some of them."""

    start: float
    end: float
    marks: Sequence[tuple[float, str]] = ()

    def x(self, second: float) -> float:
        """Return where a second stands in a panel."""
        return PAD + (second - self.start) / (self.end - self.start) * (WIDE - 2 * PAD)


async def draw(dashboard: Path, ask: Ask, span: Span) -> bytes:
    """Ask for every panel of a dashboard's JSON, and for the alerts that fired, and return an SVG file."""
    panels = [await _panel(panel, ask, span) for panel in _graphs(dashboard)]
    alerts = _alerts(await ask('ALERTS{alertstate="firing"}'), span)
    placed = [_at(one, n % COLUMNS * WIDE, n // COLUMNS * HIGH) for n, one in enumerate([alerts, *panels])]
    size = {"width": COLUMNS * WIDE, "height": -(-len(placed) // COLUMNS) * HIGH}
    svg = tag("svg", tag("style", _STYLE), *placed, viewBox=f"0 0 {size['width']} {size['height']}", **size)
    svg.set("xmlns", "http://www.w3.org/2000/svg")
    return tostring(svg)


def _graphs(dashboard: Path) -> Iterator[Mapping[str, object]]:
    panels = json.loads(dashboard.read_text(encoding="utf-8"))["panels"]
    return (panel for panel in panels if panel["type"] == "timeseries")


async def _panel(panel: Mapping[str, object], ask: Ask, span: Span) -> list[Element]:
    targets: Sequence[Mapping[str, str]] = panel["targets"]  # type: ignore[assignment]  # Grafana's JSON
    found = [
        (_name(one["legendFormat"], labels), points) for one in targets for labels, points in await ask(one["expr"])
    ]
    seen = list(islice(((name, points) for name, points in found if points), MOST_SERIES))
    most = max((value for _, points in seen for _, value in points), default=0.0)
    parts = [*_frame(str(panel["title"]), span), tag("text", amount(max(most, 0)), x=PAD, y=2 * LINE + 6, class_="n")]
    for (name, points), colour, n in zip(seen, COLOURS, range(MOST_SERIES), strict=False):
        lines = (_line(run, most, span) for run in _runs(points))
        parts += (tag("polyline", points=line, class_="l", stroke=colour) for line in lines)
        x, y = PAD + n % 3 * (WIDE - 2 * PAD) / 3, HIGH - 22 + n // 3 * 13
        parts.append(tag("text", f"{name} {amount(points[-1][1])}"[:22], x=x, y=float(y), style=f"fill:{colour}"))
    return parts if seen else [*parts, tag("text", "no data 没有数据", x=WIDE / 2 - 40, y=HIGH / 2, class_="n")]


def _alerts(found: Sequence[Series], span: Span) -> list[Element]:
    """Draw a bar for as long as an alert fired."""
    parts = list(_frame("Alerts firing 告警", span))
    wide = span.x(span.start + STEP_S) - span.x(span.start)
    for n, (labels, points) in enumerate(found[:MOST_SERIES]):
        y = 2 * LINE + 10 + n * 16
        bars = (tag("rect", x=span.x(second), y=y, width=wide, height=11, class_="a") for second, _ in points)
        parts += [*bars, tag("text", labels["alertname"].removeprefix("Qingliu"), x=PAD, y=y + 9)]
    return parts


def _frame(title: str, span: Span) -> Iterator[Element]:
    yield tag("rect", x=3, y=3, width=WIDE - 6, height=HIGH - 6, rx=3, class_="p")
    yield tag("text", title, x=PAD, y=LINE + 4, class_="t")
    for second, what in span.marks:
        yield tag("line", x1=span.x(second), x2=span.x(second), y1=LINE + 10, y2=HIGH - 36, class_="m")
        yield tag("text", what, x=span.x(second) + 3, y=LINE + 18, class_="n")


def _runs(points: Sequence[tuple[float, float]]) -> Iterator[Sequence[tuple[float, float]]]:
    """Part a series where nothing was known: a line over a gap would be made up."""
    first = 0
    for at in range(1, len(points) + 1):
        if at == len(points) or points[at][0] - points[at - 1][0] > STEP_S:
            yield points[first:at]
            first = at


def _line(points: Sequence[tuple[float, float]], most: float, span: Span) -> str:
    top, bottom = 2 * LINE + 10, HIGH - 40
    heights = ((at, max(0.0, value) / most if most > 0 else 0.0) for at, value in points)
    return " ".join(f"{span.x(at):.1f},{bottom - height * (bottom - top):.1f}" for at, height in heights)


def _at(parts: Sequence[Element], x: int, y: int) -> Element:
    return tag("g", *parts, transform=f"translate({x} {y})")


def _name(legend: str, labels: Mapping[str, str]) -> str:
    return _SLOT.sub(lambda slot: labels.get(slot[1], ""), legend)


def amount(value: float) -> str:
    """Write a number in a few characters.

    >>> [amount(one) for one in (0, 0.0123, 7, 48_200, 3.1e8)]
    ['0', '12.3m', '7', '48.2k', '310M']
    """
    scale, unit = next(((s, u) for s, u in _SCALES if abs(value) >= s), (1.0, ""))
    return f"{value / scale:.3g}{unit}"
