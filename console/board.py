"""What the demo knows of its run, and how it looks: live on a terminal, a line a second elsewhere, at last a report."""

from __future__ import annotations

import time
from collections import Counter, deque
from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec import Struct
from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from console import words
from console.show import VERDICT, clock, deed, marked, visible
from console.words import say
from moderation.actions import due_since
from streams.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Counter as Metric

    from moderation.actions import Ack, Action, Evidence

#: Rows kept for the table; no terminal is higher.
ROWS: Final = 60
#: Seconds over which the speed of now is taken.
RECENT_S: Final = 2.0
#: Lines of the display that are no rows of the table, and the width from which there is room for the player.
_AROUND: Final = 7
_WIDE: Final = 100


class Latency(Struct, frozen=True):
    """From an event's time to its action in the game server's hand. Milliseconds; 0 where there was no action."""

    p50: int
    p99: int


class Report(Struct, frozen=True):
    """What came of a run. `unaccounted`: events that have not exactly one outcome; it must be 0."""

    events: int
    verdicts: dict[str, int]
    actions: dict[str, int]
    cases: int
    dead_letters: int
    unaccounted: int
    messages_per_s: float
    latency_ms: Latency
    reverted_seen: bool


class Row(NamedTuple):
    """One punished message: when, its evidence, and all that was done about it."""

    at_ms: int
    evidence: Evidence
    deeds: tuple[str, ...]


class Board:
    """The state of a run: fed by the player of chat and the pretend game server, and reading the worker's metrics."""

    def __init__(self) -> None:
        self.produced = 0
        self.received = 0
        self.reverted = False
        self.appeal = say("还没有申诉", "no appeal yet")
        self.actions: Counter[str] = Counter()
        self._metrics = Metrics()
        self._latencies: Counter[int] = Counter()  # one entry for each millisecond: bounded however long it runs
        self._rows: dict[str, Row] = {}
        self.begin(self._metrics)

    def begin(self, metrics: Metrics) -> None:
        """Start the clock; from now on the worker's counters are read."""
        self._metrics = metrics
        self._started = self._moved = time.monotonic()
        self._recent: deque[tuple[float, int]] = deque([(self._started, 0)])

    def applied(self, action: Action, ack: Ack) -> None:
        """Note what the game server did with an action."""
        self.received += 1
        self.actions[action.action] += 1
        since = due_since(action)
        if not action.evidence or action.event_id is None or since is None:
            return
        self._latencies[max(0, ack.ts - since)] += 1
        row = self._rows.pop(action.event_id, Row(ack.ts, action.evidence, ()))
        self._rows[action.event_id] = row._replace(
            deeds=(*row.deeds, deed(action).removesuffix("消息").replace(" ", ""))
        )
        if len(self._rows) > ROWS:
            del self._rows[next(iter(self._rows))]

    def outcomes(self) -> dict[str, int]:
        """Return how many events the worker finished, by outcome."""
        return {sample[0]: sample[1] for sample in _samples(self._metrics.outcomes, "outcome")}

    def drained(self) -> bool:
        """Tell whether every event has its outcome, and the game server every action."""
        sent = sum(value for _, value in _samples(self._metrics.actions, "action"))
        return sum(self.outcomes().values()) >= self.produced and self.received >= sent

    def tick(self) -> bool:
        """Take note of how far the worker is, and tell whether it moved; call it some times a second."""
        done, now = sum(self.outcomes().values()), time.monotonic()
        if done > self._recent[-1][1]:
            self._moved = now
        self._recent.append((now, done))
        while len(self._recent) > 2 and self._recent[1][0] < now - RECENT_S:
            self._recent.popleft()
        return self._moved == now

    def report(self) -> Report:
        """Return what came of it so far."""
        outcomes = self.outcomes()
        done, took = sum(outcomes.values()), self._moved - self._started
        return Report(
            events=self.produced,
            verdicts={name: outcomes[name] for name in words.VERDICTS},
            actions={name: self.actions[name] for name in ("mute", "ban", "revert")},
            cases=sum(value for _, value in _samples(self._metrics.cases, "why")),
            dead_letters=outcomes["dead_letter"],
            unaccounted=self.produced - done,
            messages_per_s=round(done / took, 1) if took > 0 else 0.0,
            latency_ms=Latency(self._percentile(0.5), self._percentile(0.99)),
            reverted_seen=self.reverted,
        )

    def elapsed(self) -> float:
        """Return seconds since the start."""
        return time.monotonic() - self._started

    def speed(self) -> float:
        """Return messages per second finished in the last RECENT_S."""
        (since, before), (now, done) = self._recent[0], self._recent[-1]
        return (done - before) / (now - since) if now > since else 0.0

    def latest(self, most: int) -> list[Row]:
        """Return the punished messages, the latest first."""
        return list(self._rows.values())[: -most - 1 : -1]

    def _percentile(self, share: float) -> int:
        left = share * self._latencies.total()
        for latency in sorted(self._latencies):
            left -= self._latencies[latency]
            if left <= 0:
                return latency
        return 0


def _samples(metric: Metric, label: str) -> Iterator[tuple[str, int]]:
    """Yield a counter's values by one of its labels."""
    for family in metric.collect():
        for sample in family.samples:
            if sample.name.endswith("_total"):
                yield sample.labels[label], int(sample.value)


# --- how it looks


def line(board: Board) -> str:
    """Say it in one line, for a log."""
    r = board.report()
    counts = " ".join(f"{name}={count}" for name, count in r.verdicts.items())
    return (
        f"t={board.elapsed():.0f}s events={r.events} rate={board.speed():.0f}/s {counts} dead={r.dead_letters} "
        f"p50={r.latency_ms.p50}ms p99={r.latency_ms.p99}ms"
    )


def screen(board: Board, title: str, width: int, height: int) -> Panel:
    """Show it all, in at most `height` lines of `width` columns."""
    rows = max(1, height - _AROUND)
    body = Group(
        _figures(board),
        Text(visible(board.appeal), "cyan", overflow="ellipsis", no_wrap=True),
        _latest(board, rows, width),
    )
    return Panel(body, title=Text(title, "bold"), title_align="left", width=width, height=max(8, height - 1))


def _figures(board: Board) -> Table:
    r, table = board.report(), Table.grid(padding=(0, 2))
    verdicts = [_figure(say(word, name), r.verdicts[name], VERDICT[name]) for name, word in words.VERDICTS.items()]
    mute, ban, revert = r.actions.values()
    table.add_row(
        _figure(say("消息/秒", "msg/s"), f"{board.speed():.0f}"),
        *verdicts,
        _figure(say("死信", "dead"), r.dead_letters),
    )
    table.add_row(
        _figure(say("消息", "events"), r.events),
        _figure(say("禁言", "mutes"), mute),
        _figure(say("封号", "bans"), ban),
        _figure(say("撤销", "reverts"), revert),
        _figure(say("延迟", "latency"), f"p50 {r.latency_ms.p50} ms  p99 {r.latency_ms.p99} ms"),
    )
    return table


def _figure(name: str, value: object, style: str = "bold") -> Text:
    return Text.assemble((f"{name} ", "dim"), (str(value), style), no_wrap=True)


def _latest(board: Board, rows: int, width: int) -> Table:
    table = Table(box=None, expand=True, pad_edge=False, header_style="dim", padding=(0, 1, 0, 0))
    wide = width >= _WIDE
    table.add_column(say("时间", "time"), no_wrap=True)
    if wide:
        table.add_column(say("玩家", "player"), ratio=2, no_wrap=True)
    table.add_column(say("处置", "done"), min_width=15, no_wrap=True)  # 撤回+禁言10分钟
    table.add_column(say("原文", "message"), ratio=5, no_wrap=True)
    table.add_column(say("理由", "because"), ratio=4, no_wrap=True)
    for row in board.latest(rows):
        table.add_row(*_cells(row, wide=wide))
    return table


def _cells(row: Row, *, wide: bool) -> Iterator[Text]:
    what, who = row.evidence.what, row.evidence.who
    yield Text(clock(row.at_ms), "dim")
    if wide:
        yield Text(visible(who.name or who.account_id))
    yield Text("+".join(row.deeds), "yellow")
    yield marked(what.text, [*what.spans, *(h.span for h in what.handles if h.field == "text")], around=8)
    yield Text(visible("；".join(row.evidence.why.because)))


def summary(report: Report) -> Table:
    """Show what came of a run, for people."""
    table, latency = Table.grid(padding=(0, 2)), report.latency_ms
    verdicts = [f"{say(word, name)} {report.verdicts[name]}" for name, word in words.VERDICTS.items()]
    mute, ban, revert = report.actions.values()
    rows = {
        say("消息", "events"): f"{report.events} ({report.messages_per_s:g}/s)",
        say("裁定", "verdicts"): ", ".join([*verdicts, f"{say('死信', 'dead')} {report.dead_letters}"]),
        say(
            "指令", "actions"
        ): f"{say('禁言', 'mute')} {mute}, {say('封号', 'ban')} {ban}, {say('撤销', 'revert')} {revert}",
        say("人工案件", "cases"): str(report.cases),
        say("没有着落", "unaccounted"): str(report.unaccounted),
        say("延迟", "latency"): f"p50 {latency.p50} ms, p99 {latency.p99} ms",
        say("申诉", "appeal"): say("撤销已执行", "the revert was applied") if report.reverted_seen else "-",
    }
    for name, value in rows.items():
        table.add_row(Text(name, "dim"), Text(value))
    return table
