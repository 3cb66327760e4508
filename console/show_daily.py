"""The tables of a daily or weekly report, in a moderator's words: what its text, page and workbook all show."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple, get_args

from console import words
from console.daily import HOUR_MS, Deed
from console.show import visible
from console.words import say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from console.daily import Daily, Facet, Period, Poacher, Side

#: Accounts named in one cell.
_NAMED: Final = 5
_DAY_MS: Final = 24 * HOUR_MS
DEEDS: Final[dict[Deed, str]] = {
    "retract": say("撤回", "taken down"), "mute": say("禁言", "muted"), "ban": say("封号", "banned"),
    "case": say("转人工", "to a human"), "undone": say("撤销", "undone"),
}  # fmt: skip
_ACTED: Final[tuple[Deed, ...]] = ("retract", "mute", "ban")
CHANGES: Final = {
    "published": say("发布", "published"), "rolled_back": say("回滚", "rolled back"),
    "reviewed": say("复核", "reviewed"), "left_to_humans": say("退回人工", "left to humans"),
    "trusted": say("恢复自动", "trusted again"),
}  # fmt: skip
ACKS: Final = {
    "applied": say("已执行", "applied"), "already": say("早已执行", "already"), "rejected": say("拒绝", "rejected"),
    "unknown_target": say("查无此人", "unknown target"),
}  # fmt: skip
Cell = str | int


class Sheet(NamedTuple):
    """A table: its title, the names of its columns, its rows; the first cell of a row names it."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""


def title(daily: Daily, days: int) -> str:
    """Return what a report is called."""
    name = {1: say("日报", "Daily report"), 7: say("周报", "Weekly report")}.get(days, say("报告", "Report"))
    return say(f"清流{name} {span(daily.period)}", f"Qingliu: {name}, {span(daily.period)}")


def span(period: Period) -> str:
    """Return the days of a period, in this machine's zone."""
    first, last = (datetime.fromtimestamp(ms / 1000).astimezone() for ms in (period.since, period.until - 1))
    return f"{first:%Y-%m-%d}" if first.date() == last.date() else f"{first:%Y-%m-%d} – {last:%Y-%m-%d}"


def sheets(daily: Daily) -> tuple[Sheet, ...]:
    """Return all tables; those that are empty, too."""
    return (
        _overview(daily), _by_label(daily), _facet(daily, "server", say("各服", "By server"), say("服务器", "server")),
        _facet(daily, "channel", say("各频道", "By channel"), say("频道", "channel"), words.CHANNELS), _poachers(daily),
        _contacts(daily), _campaigns(daily), _rules(daily), _changes(daily), _appeals(daily), _running(daily),
    )  # fmt: skip


# --- tables


def _overview(daily: Daily) -> Sheet:
    now, before = daily.sides
    rows: list[tuple[Cell, ...]] = [(name, now.count(deed), before.count(deed)) for deed, name in DEEDS.items()]
    rows.insert(0, (say("处置的账号", "accounts acted against"), now.accounts, before.accounts))
    rows += [
        (say("人工命令", "orders by people"), sum(now.orders.values()), sum(before.orders.values())),
        (say("死信", "dead letters"), sum(now.dead_letters.values()), sum(before.dead_letters.values())),
    ]
    return Sheet(say("概况", "Overview"), ("", *sides(daily)), rows, _note(daily))


def sides(daily: Daily) -> tuple[str, str]:
    """Return what the period and the one before it are called."""
    if daily.period.until - daily.period.since < 2 * _DAY_MS:
        return say("当日", "that day"), say("前一日", "day before")
    return say("本期", "now"), say("前一期", "before")


def _note(daily: Daily) -> str:
    """Say what the log does not cover."""
    told = []
    if daily.begins is not None and daily.begins > daily.before.since:
        told.append(say(f"审计日志从 {_clock(daily.begins)} 才开始", f"the audit log begins at {_clock(daily.begins)}"))
    if daily.ends < daily.period.until:
        told.append(say(f"审计日志只到 {_clock(daily.ends)}", f"the audit log ends at {_clock(daily.ends)}"))
    return say("，", ", ").join(told)


def _by_label(daily: Daily) -> Sheet:
    sheet = _facet(daily, "label", say("各类", "By label"), say("类别", "label"), words.LABELS)
    before = daily.sides[1].by.get("label", {})
    rows = [(*row, acted(before.get(name, {}))) for name, row in zip(names(daily, "label"), sheet.rows, strict=True)]
    when = sides(daily)[1]
    return sheet._replace(head=(*sheet.head, say(f"{when}处置", f"acted {when}")), rows=rows)


def _facet(daily: Daily, facet: Facet, of: str, what: str, named: dict[str, str] | None = None) -> Sheet:
    found = daily.sides[0].by.get(facet, {})
    rows: list[Sequence[Cell]] = [
        (name_of(name, named), *(found.get(name, {}).get(deed, 0) for deed in DEEDS)) for name in names(daily, facet)
    ]
    return Sheet(of, (what, *DEEDS.values()), rows)


def names(daily: Daily, facet: Facet) -> list[str]:
    """Return the names of both periods, those with most to tell first."""
    now, before = (side.by.get(facet, {}) for side in daily.sides)
    counted = {name: sum(now.get(name, {}).values()) for name in {*now, *(before if facet == "label" else ())}}
    return sorted(counted, key=lambda name: (-counted[name], name))


def name_of(name: str, named: dict[str, str] | None) -> str:
    """Return what something is called for people; `named`: words for what has some."""
    return say((named or {}).get(name, visible(name)), visible(name)) or say("（无）", "(none)")


def acted(deeds: dict[Deed, int]) -> int:
    """Return how many actions these were: cases and what was undone are none."""
    return sum(deeds.get(deed, 0) for deed in _ACTED)


def _poachers(daily: Daily) -> Sheet:
    head = (
        say("账号", "account"), say("服务器", "server"), say("处置", "done"), say("首次", "first"),
        say("私聊过的玩家", "spoke in private to"), say("联系方式", "contacts"),
    )  # fmt: skip
    rows = [_poacher(one) for one in daily.poachers]
    note = say("私聊过的玩家可供客服当天回访", "players spoken to in private: to be called back the same day")
    return Sheet(say("拉人名单", "Poaching"), head, rows, note if rows else "")


def _poacher(one: Poacher) -> tuple[Cell, ...]:
    done = "、".join(f"{DEEDS[deed]} {one.deeds[deed]}" for deed in get_args(Deed) if deed in one.deeds)
    return visible(one.account_id), visible(one.server_id), done, _clock(one.at), _some(one.to), _some(one.handles)


def _some(names: Sequence[str]) -> str:
    more = f" …{len(names)}" if len(names) > _NAMED else ""
    return visible("、".join(names[:_NAMED])) + more


def _contacts(daily: Daily) -> Sheet:
    head = (
        say("联系方式", "contact"), say("账号数", "accounts"), say("消息数", "messages"), say("类别", "label"),
        say("新出现", "new"),
    )  # fmt: skip
    rows = [
        (visible(one.handle), one.accounts, one.messages, name_of(one.label, words.LABELS), _yes(one.new))
        for one in daily.contacts
    ]
    return Sheet(say("联系方式", "Contacts"), head, rows)


def _campaigns(daily: Daily) -> Sheet:
    head = (say("团伙", "campaign"), say("账号数", "accounts"), say("类别", "label"), say("新出现", "new"))
    rows = [
        (visible(one.campaign_id), one.accounts, name_of(one.label, words.LABELS), _yes(one.new))
        for one in daily.campaigns
    ]
    return Sheet(say("团伙", "Campaigns"), head, rows)


def _yes(new: bool) -> str:  # noqa: FBT001  a cell
    return say("新", "new") if new else ""


def _rules(daily: Daily) -> Sheet:
    return _facet(daily, "rule", say("各规则", "By rule"), say("规则", "rule"))


def _changes(daily: Daily) -> Sheet:
    head = (say("时间", "when"), say("变更", "what"), say("谁", "who"), say("规则集", "rule set"), say("理由", "why"))
    rows = [
        (_clock(one.ts), CHANGES.get(one.change, one.change), visible(one.operator), visible(one.rule or one.ruleset),
         visible(one.reason))
        for one in daily.changes
    ]  # fmt: skip
    return Sheet(say("规则变更", "Changes of rules"), head, rows)


def _appeals(daily: Daily) -> Sheet:
    found = daily.appeals
    rows: list[tuple[Cell, ...]] = [
        (say("新申诉", "opened"), found.opened),
        (say("通过（已撤销处罚）", "granted"), found.granted),
        (say("驳回", "denied"), found.denied),
        (say("超过终审期限才答复", "answered late"), found.late),
        (say("期末未结", "open at the end"), found.open),
        (say("其中已超期", "of these overdue"), found.overdue),
    ]
    if found.slowest_h is not None:
        rows.append((say("最慢的终审（小时）", "slowest final answer, hours"), f"{found.slowest_h:g}"))
    return Sheet(say("申诉", "Appeals"), ("", sides(daily)[0]), rows)


def _running(daily: Daily) -> Sheet:
    now, before = daily.sides
    rows: list[tuple[Cell, ...]] = [
        (say("消息到自动处置，中位与 99%（毫秒）", "message to action, p50 and p99, ms"), *map(_delays, daily.sides)),
        *(_both(say(f"回执：{name}", f"ack: {name}"), now.acks, before.acks, key) for key, name in ACKS.items()),
        (say("没有回执的处置", "actions without an ack"), now.unanswered, before.unanswered),
        *(_both(say(f"死信：{reason}", f"dead letter: {reason}"), now.dead_letters, before.dead_letters, reason)
          for reason in sorted({*now.dead_letters, *before.dead_letters})),
        (say("读不懂的记录", "unreadable records"), now.unreadable, before.unreadable),
    ]  # fmt: skip
    if daily.lost:
        rows.append(
            (say("审计没赶上、Kafka 已删的记录", "records Kafka deleted before they were read"), daily.lost, "")
        )
    note = say(f"据审计链第 {daily.head.seq} 条为止", f"by the audit log as far as entry {daily.head.seq}")
    return Sheet(say("运行", "Running"), ("", *sides(daily)), rows, note)


def _both(name: str, now: dict[str, int], before: dict[str, int], key: str) -> tuple[Cell, ...]:
    return visible(name), now.get(key, 0), before.get(key, 0)


def _delays(side: Side) -> str:
    return "—" if side.delays_ms is None else f"{side.delays_ms[0]} / {side.delays_ms[1]}"


def _clock(ms: int) -> str:
    try:
        return f"{datetime.fromtimestamp(ms / 1000).astimezone():%m-%d %H:%M}"
    except (ValueError, OverflowError, OSError):  # whoever writes a record writes its time
        return str(ms)
