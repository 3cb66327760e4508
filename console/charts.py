"""Charts as inline SVG: old beside new as bars, lines, a histogram; ratios.

Colours and fonts are the page's style sheet's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from console.html import tag

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from xml.etree.ElementTree import Element

WIDTH: Final = 760
_ROW: Final = 26
_LEFT: Final = 190
_HEIGHT: Final = 180
_PAD: Final = 44
_SIDES: Final = ("old", "new")


class Bar(NamedTuple):
    """A row of a bar chart: its name, and how many there were and are."""

    name: str
    old: int
    new: int


def bars(rows: Sequence[Bar], label: str) -> Element:
    """Draw two bars a row, the old one above the new one."""
    most = max((max(row.old, row.new) for row in rows), default=0) or 1
    scale = (WIDTH - _LEFT - 70) / most
    return _svg(
        label, len(rows) * _ROW + 8, [part for n, row in enumerate(rows) for part in _row(row, n * _ROW + 4, scale)]
    )


def _row(row: Bar, y: int, scale: float) -> Iterator[Element]:
    yield tag("text", row.name, x=_LEFT - 8, y=y + 14, text_anchor="end")
    for side, value, at in (("old", row.old, y), ("new", row.new, y + 10)):
        bar = tag("rect", tag("title", f"{row.name}: {value}"), x=_LEFT, y=at, height=8, class_=side)
        bar.set("width", f"{max(value * scale, 1 if value else 0):.1f}")
        yield bar
    values = f"{row.old}" if row.old == row.new else f"{row.old} → {row.new}"
    yield tag("text", values, x=float(_LEFT + max(row.old, row.new) * scale + 6), y=y + 14, class_="value")


def ratios(rows: Sequence[tuple[str, float]], label: str) -> Element:
    """Draw a bar a row, as long as its ratio, and a mark at 1."""
    unit = (WIDTH - _LEFT - 70) / max(1.0, *(ratio for _, ratio in rows))
    at_one, below = _LEFT + unit, len(rows) * _ROW + 8
    parts = [tag("line", x1=at_one, x2=at_one, y1=0, y2=below, class_="mark")]
    for n, (name, ratio) in enumerate(rows):
        y = n * _ROW + 4
        bar = tag("rect", x=_LEFT, y=y + 3, height=12, class_="new")
        bar.set("width", f"{ratio * unit:.1f}")
        value = tag("text", f"{ratio:.2f}", x=float(_LEFT + ratio * unit + 6), y=y + 14, class_="value")
        parts += [tag("text", name, x=_LEFT - 8, y=y + 14, text_anchor="end"), bar, value]
    return _svg(label, below, parts)


class Axis(NamedTuple):
    """Positions along the bottom, with a name for some of them."""

    ticks: Sequence[tuple[float, str]]
    place: Callable[[float], float]


def lines(points: Sequence[tuple[float, int, int]], ticks: Sequence[tuple[float, str]], label: str) -> Element:
    """Draw counts over time: x, old, new."""
    first, last = points[0][0], points[-1][0]
    most = max(max(old, new) for _, old, new in points) or 1

    def x(value: float) -> float:
        return _PAD + (value - first) / ((last - first) or 1) * (WIDTH - 2 * _PAD)

    parts = list(_frame(most, Axis(ticks, x)))
    for side, name in enumerate(_SIDES):
        drawn = " ".join(f"{x(point[0]):.1f},{_y(point[1 + side], most):.1f}" for point in points)
        parts.append(tag("polyline", points=drawn, class_=f"line {name}"))
    return _svg(label, _HEIGHT + 30, parts)


def histogram(
    counts: tuple[dict[int, int], dict[int, int]], width: int, marks: Sequence[tuple[int, str]], label: str
) -> Element:
    """Draw how many messages have which score, in steps of `width` points, and the `marks` that make verdicts."""
    most = max((max(side.values(), default=0) for side in counts), default=0) or 1
    unit = (WIDTH - 2 * _PAD) / (100 + width)

    def x(value: float) -> float:
        return _PAD + value * unit

    parts = list(_frame(most, Axis([(score, str(score)) for score in range(0, 101, 10)], x)))
    for side, name in enumerate(_SIDES):
        for score, count in counts[side].items():
            at, top = x(score + side * width / 2), _y(count, most)
            bar = tag("rect", tag("title", f"{score}–{score + width}: {count}"), x=at, y=top, class_=name)
            bar.set("width", f"{unit * width / 2 - 1:.1f}")
            bar.set("height", f"{_HEIGHT - top:.1f}")
            parts.append(bar)
    for score, name in marks:
        parts.append(tag("line", x1=x(score), x2=x(score), y1=8, y2=_HEIGHT, class_="mark"))
        parts.append(tag("text", name, x=x(score) + 4, y=16, class_="value"))
    return _svg(label, _HEIGHT + 30, parts)


def _frame(most: int, axis: Axis) -> Iterator[Element]:
    for count in sorted({0, most // 2, most}):
        y = _y(count, most)
        yield tag("line", x1=_PAD, x2=WIDTH - _PAD, y1=y, y2=y, class_="grid")
        yield tag("text", str(count), x=_PAD - 6, y=y + 4, text_anchor="end", class_="value")
    for value, name in axis.ticks:
        yield tag("text", name, x=axis.place(value), y=_HEIGHT + 18, text_anchor="middle", class_="value")


def _y(value: float, most: float) -> float:
    return _HEIGHT - value / most * (_HEIGHT - 24)


def _svg(label: str, height: int, parts: Sequence[Element]) -> Element:
    return tag("svg", tag("title", label), *parts, viewBox=f"0 0 {WIDTH} {height}", role="img", aria_label=label)
