"""A backtest as one HTML page: the numbers of --json, with pictures. It opens offline and runs nothing."""

from __future__ import annotations

from datetime import datetime
from importlib.resources import files
from itertools import groupby
from typing import TYPE_CHECKING, Final

from console import words
from console.charts import Bar, bars, histogram, lines
from console.findings import BIN
from console.html import page, tag
from console.show import token
from console.show_backtest import QUALITIES, arrow, caveats, deeds, percent, ranked, summary
from console.words import say

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from xml.etree.ElementTree import Element

    from console.findings import Report, RuleRow, Sample
    from moderation.actions import Span

#: Rules drawn; the table has all.
DRAWN: Final = 20
STYLE: Final = (files("console") / "report.css").read_text("utf-8")


def html(report: Report, recording: str) -> bytes:
    """Return the page."""
    title = say("规则回测", "Rules backtest")
    return page(title, STYLE, tag("h1", title), *_body(report, recording))


def _body(report: Report, recording: str) -> Iterator[Element]:
    yield tag("p", summary(report), class_="lead")
    times = " – ".join(map(_moment, report.span)) if report.events else "—"
    yield tag("p", f"{_plain(recording)} · {times} · {report.rulesets[0]} → {report.rulesets[1]}", class_="dim")
    yield tag("p", *_key())
    for said in caveats(report):
        yield tag("p", said, class_="hot")
    yield from _who(report)
    yield from _pictures(report)
    if report.quality:
        yield tag("h2", say("和人工标注比", "Against labels"))
        rows = (
            (say(*said), *(percent(getattr(side, name)) for side in report.quality)) for name, said in QUALITIES.items()
        )
        yield _table(("", say("原来", "old"), say("新的", "new")), rows)
    yield tag(
        "h2", say("处置不同的消息（抽样，付费玩家在前）", "Messages treated otherwise: a sample, paying players first")
    )
    yield from map(_sample, report.samples)
    yield from _every_rule(report)


def _key() -> Iterator[Element | str]:
    for side, name in (("old", say("原来", "old")), ("new", say("新的", "new"))):
        yield tag("span", class_=f"key {side}")
        yield name


def _who(report: Report) -> Iterator[Element]:
    yield tag("h2", say("谁会不同", "Who is treated otherwise"))
    head = (
        say("玩家", "players"),
        say("新被封号", "newly banned"),
        say("新被禁言", "newly muted"),
        say("不再封号", "no longer banned"),
        say("不再禁言", "no longer muted"),
        say("新转人工", "to a human"),
        say("被封号", "banned"),
        say("被禁言", "muted"),
    )
    rows = (
        (words.TIERS[t.tier], t.newly_banned, t.newly_muted, t.no_longer_banned, t.no_longer_muted, t.newly_to_human,
         arrow(*t.banned), arrow(*t.muted))
        for t in report.people
    )  # fmt: skip
    yield _table(head, rows)
    sides = (say("裁定", "verdict"), say("原来", "old"), say("新的", "new"))
    yield _table(sides, ((name, *(side[one] for side in report.verdicts)) for one, name in words.VERDICTS.items()))


def _pictures(report: Report) -> Iterator[Element]:
    rows = ranked(report)[:DRAWN]
    if rows:
        title = say("每条规则的命中", "Hits per rule")
        yield tag("h2", title)
        yield bars([Bar(_plain(row.id), *row.hits) for row in rows], title)
    if report.timeline:
        minutes = report.width_ms // 60_000
        title = say(f"自动处罚的消息，每 {minutes} 分钟", f"Messages acted on, per {minutes} minutes")
        yield tag("h2", title)
        points = [(float(point.ts), point.old, point.new) for point in report.timeline]
        yield lines(points, [(points[n][0], _moment(int(points[n][0]))) for n in _ticks(len(points))], title)
    if any(report.scores):
        title = say("分数分布（命中的消息）", "Scores of messages that hit")
        yield tag("h2", title)
        yield histogram(report.scores, BIN, _marks(report), title)
    if report.campaigns:
        title = say("团伙：被处理的账号数", "Campaigns: accounts acted on")
        yield tag("h2", title)
        yield bars([Bar(name[:12], old, new) for name, old, new in report.campaigns], title)


def _ticks(count: int) -> list[int]:
    return sorted({round(n * (count - 1) / 4) for n in range(1, 4)}) if count > 4 else [0]


def _marks(report: Report) -> list[tuple[int, str]]:
    """Return the points that make verdicts; those of the old set only where they were others."""
    old, new = ({*_named(bars_)} for bars_ in report.thresholds)
    gone = [(at, f"{say('原', 'old ')}{name}") for at, name in old - new]
    return [(at, f"{name} {at}") for at, name in sorted((*new, *gone))]


def _named(thresholds: Sequence[tuple[int, int]]) -> Iterator[tuple[int, str]]:
    for review, act in thresholds:
        yield review, say("转人工", "review")
        yield act, say("处罚", "act")


def _sample(one: Sample) -> Element:
    said = f" {words.TIERS[one.tier]} · {_plain(one.account)} · {_moment(one.ts)} · {words.CHANNELS[one.channel]} · "
    harder = tag(
        "span", say("加重", "harder") if one.newly else say("减轻", "milder"), class_="hot" if one.newly else "dim"
    )
    head = tag("div", harder, f"{said}{deeds(one.before)} → {deeds(one.after)} · {arrow(*one.score)}")
    rules = tag("div", _plain("，".join(one.rules)), class_="dim")
    return tag(
        "article", head, tag("blockquote", *marked(one.text, one.spans)), rules, class_="newly" * one.newly or None
    )


def marked(raw: str, spans: Sequence[Span]) -> Iterator[Element | str]:
    """Yield a text with its spans marked, what cannot be seen as tokens."""
    spots = {i for start, end in spans for i in range(max(0, start), min(end, len(raw)))}
    for matched, run in groupby(range(len(raw)), key=spots.__contains__):
        shown = (tag("span", hidden, class_="token") if (hidden := token(raw[i])) else raw[i] for i in run)
        if matched:
            yield tag("mark", *shown)
        else:
            yield from shown


def _every_rule(report: Report) -> Iterator[Element]:
    yield tag("h2", say("所有命中过的规则", "Every rule that hit"))
    head = (
        say("规则", "rule"),
        say("状态", "status"),
        say("命中", "hits"),
        say("命中率", "hit rate"),
        say("处罚", "acted on"),
        say("新罚", "newly"),
        say("不再", "spared"),
        say("独自命中", "alone"),
        say("一起命中", "beside"),
        say("试过", "tries"),
        say("µs/次", "µs a try"),
        say("共 ms", "ms in all"),
    )
    yield _table(head, (_rule(row, report.events) for row in ranked(report)))


def _rule(row: RuleRow, events: int) -> tuple[object, ...]:
    beside = "，".join(f"{_plain(name)} {count}" for name, count in row.beside)
    total = row.tries[1] * row.cost_us[1] / 1000
    return (
        _plain(row.id), arrow(*row.status), arrow(*row.hits), f"{row.hits[1] / max(1, events):.3%}", arrow(*row.acted),
        row.newly, row.spared, row.alone, beside, row.tries[1], f"{row.cost_us[1]:.1f}", f"{total:.1f}",
    )  # fmt: skip


def _table(head: Sequence[str], rows: Iterator[tuple[object, ...]]) -> Element:
    body = (tag("tr", *(tag("td", str(cell)) for cell in row)) for row in rows)
    return tag("table", tag("thead", tag("tr", *(tag("th", name) for name in head))), tag("tbody", *body))


def _plain(raw: str) -> str:
    return "".join(token(char) or char for char in raw)


def _moment(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000).astimezone():%m-%d %H:%M}"
