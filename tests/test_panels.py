"""The drawing of a dashboard: what it asks, and what it shows of the answers."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING
from xml.etree.ElementTree import fromstring

import pytest

from bench.oncall import DASHBOARD
from bench.panels import Span, draw

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.panels import Series

_SVG = "{http://www.w3.org/2000/svg}"
SPAN = Span(0.0, 10.0, [(4.0, "broken")])


class Answers:
    """A Prometheus that gives every query the same series; alerts have theirs."""

    def __init__(self, points: Sequence[tuple[float, float]]) -> None:
        self.points = points
        self.asked: list[str] = []

    async def __call__(self, query: str) -> Sequence[Series]:
        self.asked.append(query)
        if query.startswith("ALERTS"):
            return [({"alertname": "QingliuBrokerAway"}, [(5.0, 1.0), (6.0, 1.0)])]
        return [({"instance": "worker"}, self.points)] if self.points else []


def test_every_query_of_the_dashboard_is_asked_and_every_panel_drawn() -> None:
    panels = [one for one in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"] if one["type"] == "timeseries"]
    answers = Answers([(1.0, 2.0), (2.0, 4.0)])

    drawn = fromstring(asyncio.run(draw(DASHBOARD, answers, SPAN)))  # noqa: S314  our own

    assert answers.asked[:-1] == [target["expr"] for panel in panels for target in panel["targets"]]
    texts = {text.text for text in drawn.iter(f"{_SVG}text")}
    assert {panel["title"] for panel in panels} <= texts
    assert {"BrokerAway", "broken"} <= texts


@pytest.mark.parametrize(
    ("points", "lines"),
    [
        pytest.param([(1.0, 2.0), (2.0, 4.0), (3.0, 1.0)], 1, id="one line"),
        pytest.param([(1.0, 2.0), (2.0, 4.0), (7.0, 1.0)], 2, id="parted where nothing was known"),
        pytest.param([(1.0, -2.0)], 1, id="below zero"),
        pytest.param([], 0, id="nothing known"),
    ],
)
def test_no_line_is_drawn_over_what_is_not_known(points: list[tuple[float, float]], lines: int) -> None:
    answers = Answers(points)

    drawn = fromstring(asyncio.run(draw(DASHBOARD, answers, SPAN)))  # noqa: S314  our own

    assert len(list(drawn.iter(f"{_SVG}polyline"))) == lines * (len(answers.asked) - 1)
    assert ("no data 没有数据" in {text.text for text in drawn.iter(f"{_SVG}text")}) == (not points)
