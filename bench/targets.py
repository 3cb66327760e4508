"""What is to be reached, and whether a run reached it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec import Struct

from bench.part import spelled, unit
from console.words import say

if TYPE_CHECKING:
    from bench.result import Result


class Target(NamedTuple):
    """A row of the plan: `figure`, or ratio, must be at least or at most `limit`."""

    zh: str
    en: str
    figure: str
    least: bool
    limit: float
    only: str


class Outcome(Struct, frozen=True):
    """A target and what was measured, as people read it; `value` is of `figure`, None where it was not measured."""

    what: str
    target: str
    measured: str
    met: bool | None
    command: str
    figure: str = ""
    value: float | None = None
    limit: float | None = None


_AT_LEAST, _AT_MOST = True, False
TARGETS: Final = (
    Target("引擎，95 % 干净的聊天", "engine, 95 % clean mix", "engine.clean_per_s", _AT_LEAST, 80_000, "engine"),
    Target(
        "同上，比每条都用 jieba 分词再查表",
        "the same, against jieba every message and a look-up",
        "engine_vs_jieba_every_message", _AT_LEAST, 12, "engine",
    ),
    Target("引擎，全是广告", "engine, all spam", "engine.spam_per_s", _AT_LEAST, 25_000, "engine"),
    Target("最贵的恶意消息", "worst crafted message", "engine.worst_ms", _AT_MOST, 5, "engine"),
    Target("一个 worker，Kafka 进、处罚出", "one worker, Kafka in, enforcement out",
           "stream.worker_per_s", _AT_LEAST, 40_000, "stream"),
    Target("同上，比原版 Faust", "the same, against stock Faust", "stream_vs_stock_faust", _AT_LEAST, 10, "stream"),
    Target("同上，比裸 aiokafka 循环", "the same, against a bare aiokafka loop",
           "stream_vs_bare_loop", _AT_LEAST, 0.6, "stream"),
    Target("事件到处罚可读，半负荷，p50", "event to readable action, half load, p50",
           "latency.p50_at_50_ms", _AT_MOST, 20, "latency"),
    Target("同上，p99", "the same, p99", "latency.p99_at_50_ms", _AT_MOST, 100, "latency"),
    Target("worker 内存，10 万人在说话", "memory of a worker, 100 000 active senders",
           "memory.worker_mb", _AT_MOST, 500, "memory"),
    Target("每条消息的开销，越跑越久（末 ÷ 首）", "cost of a message as more are judged (last ÷ first)",
           "messages_last_vs_first", _AT_MOST, 1.2, "life"),
    Target("词库从 1 千到 5 万条", "lexicon from 1 000 to 50 000 terms",
           "lexicon_50k_vs_1k", _AT_MOST, 1.6, "growth"),
    Target("规则发布到生效，多 5 万词条", "rules from published to live, 50 000 terms more",
           "reload.live_s", _AT_MOST, 5, "reload"),
    Target("其间事件循环最长的停顿", "longest stall of the event loop meanwhile",
           "reload.stall_ms", _AT_MOST, 50, "reload"),
    Target("启动到就绪（内嵌服务器）", "ready after start (embedded servers)",
           "startup.ready_s", _AT_MOST, 10, "startup"),
)  # fmt: skip
#: What bench does not measure, and the command that does.
ELSEWHERE: Final = (("识别率", "detection", "make cases"),)


def outcomes(result: Result) -> list[Outcome]:
    """Return every target with what the run measured of it."""
    found = [_outcome(target, result) for target in TARGETS]
    return found + [Outcome(say(zh, en), "", "", None, command) for zh, en, command in ELSEWHERE]


def _outcome(target: Target, result: Result) -> Outcome:
    measured, in_unit = result.median(target.figure), unit(target.figure) or "×"
    met = None if measured is None else (measured >= target.limit) is target.least or measured == target.limit
    return Outcome(
        say(target.zh, target.en),
        f"{'≥' if target.least else '≤'} {spelled(target.limit, in_unit)}",
        "" if measured is None else spelled(measured, in_unit),
        met,
        f"qingliu bench --only {target.only}",
        target.figure,
        measured,
        target.limit,
    )
