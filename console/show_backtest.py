"""A backtest on a terminal: who is newly punished and who no longer, by tier and by rule, with samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from console import words
from console.campaigns import moment
from console.show import marked, visible
from console.words import say
from moderation.policy import spell

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import RenderableType

    from console.findings import Quality, Rate, Report, RuleRow, Sample

#: Rules named on the terminal: those that differ first. The report and --json have all.
RULES: Final = 25
SAMPLES: Final = 12
_KINDS: Final = {"retract": "撤回", "mute": "禁言", "ban": "封号", "case": "转人工"}


def shown(report: Report) -> Group:
    """Show a report for people."""
    return Group(*_parts(report))


def summary(report: Report) -> str:
    """Say in one line what matters most."""
    newly, spared = (sum(getattr(one, name) for one in report.people) for name in ("newly", "spared"))
    paying = sum(one.newly for one in report.people if one.tier in ("vip", "paying"))
    return say(
        f"{report.events} 条消息：{newly} 个账号新被禁言或封号（其中付费 {paying}），{spared} 个不再；"
        f"{report.differing} 条消息的处置不同",
        f"{report.events} messages: {newly} accounts newly muted or banned ({paying} of them pay), {spared} no longer; "
        f"{report.differing} messages are treated otherwise",
    )


def _parts(report: Report) -> Iterator[RenderableType]:
    yield Text(f"{report.rulesets[0]} → {report.rulesets[1]}", "bold")
    yield Text(summary(report), "bold" if report.differing else "green")
    yield _verdicts(report)
    yield _people(report)
    yield _rules(ranked(report)[:RULES])
    if report.quality:
        yield _quality(report.quality)
    for sample in report.samples[:SAMPLES]:
        yield _sample(sample)
    yield from map(Text, caveats(report))


def caveats(report: Report) -> list[str]:
    """Say what the numbers do not hold."""
    out = []
    if report.dead:
        out.append(say(f"{report.dead} 行不是聊天事件，没有算", f"{report.dead} lines are no chat events"))
    if most := max(report.forgotten):
        out.append(
            say(
                f"违规的账号和团伙太多，忘掉了最早的 {most} 个：再出现时从头算起",
                f"too many offenders and campaigns: {most} of longest ago were forgotten, and begin anew",
            )
        )
    if report.overflow:
        out.append(
            say(
                f"账号太多，按账号的数字少算了 {report.overflow} 次处置",
                f"too many accounts: the numbers by account leave out {report.overflow} deeds",
            )
        )
    return out


def ranked(report: Report) -> list[RuleRow]:
    """Return the rules that hit, those whose hits or deeds differ first."""
    hit = [one for one in report.rules if any(one.hits)]
    return sorted(hit, key=lambda one: (-(one.newly + one.spared), -abs(one.hits[1] - one.hits[0]), -one.hits[1]))


def _verdicts(report: Report) -> Table:
    table = _table(say("裁定", "verdict"), say("原来", "old"), say("新的", "new"))
    for verdict, name in words.VERDICTS.items():
        table.add_row(name, *(f"{side[verdict]}" for side in report.verdicts))
    return table


def _people(report: Report) -> Table:
    names = (say("玩家", "players"), say("新被封号", "newly banned"), say("新被禁言", "newly muted"))
    table = _table(
        *names, say("不再封号", "no longer banned"), say("不再禁言", "no longer muted"), say("新转人工", "to a human")
    )
    for one in report.people:
        counts = (one.newly_banned, one.newly_muted, one.no_longer_banned, one.no_longer_muted, one.newly_to_human)
        table.add_row(words.TIERS[one.tier], *(Text(str(n), "bold yellow" if n else "dim") for n in counts))
    return table


def _rules(rows: Sequence[RuleRow]) -> Table:
    names = (
        say("规则", "rule"),
        say("状态", "status"),
        say("命中", "hits"),
        say("新罚", "newly"),
        say("不再", "spared"),
    )
    table = _table(*names, say("独自", "alone"), say("µs/次", "µs a try"), say("一起命中", "beside"))
    for one in rows:
        beside = "，".join(f"{visible(name)} {count}" for name, count in one.beside)
        cells = (arrow(*one.hits), str(one.newly), str(one.spared), str(one.alone), f"{one.cost_us[1]:.0f}", beside)
        table.add_row(visible(one.id), arrow(*one.status), *cells)
    return table


def arrow(old: object, new: object) -> str:
    """Say what was and what is, once where that is the same."""
    return str(new) if old == new else f"{old or '—'} → {new or '—'}"


def _quality(quality: tuple[Quality, Quality]) -> Table:
    table = _table(say("有标注的", "by labels"), say("原来", "old"), say("新的", "new"))
    for name, said in QUALITIES.items():
        table.add_row(say(*said), *(percent(getattr(side, name)) for side in quality))
    return table


QUALITIES: Final = {
    "precision": ("准确率（有动作或转人工）", "precision, any verdict"),
    "recall": ("召回率（有动作或转人工）", "recall, any verdict"),
    "act_precision": ("准确率（自动处罚）", "precision of act"),
    "act_recall": ("召回率（自动处罚）", "recall of act"),
}


def percent(rate: Rate) -> str:
    """Say a share with its interval and what it is of."""
    if not rate.of:
        return "—"
    return f"{rate.value:.1%} ({rate.low:.1%}–{rate.high:.1%}) {rate.hits}/{rate.of}"


def _sample(one: Sample) -> Group:
    head = Text.assemble(
        (say("加重", "harder") if one.newly else say("减轻", "milder"), "bold red" if one.newly else "bold green"),
        f" {words.TIERS[one.tier]} {visible(one.account)} {moment(one.ts)} {words.CHANNELS[one.channel]} "
        f"{one.score[0]:g} → {one.score[1]:g}  {deeds(one.before)} → {deeds(one.after)}  ",
        (visible("，".join(one.rules)), "dim"),
    )
    return Group(head, Text("  ").append(marked(one.text, one.spans)))


def deeds(said: Sequence[str]) -> str:
    """Say deeds, written as kind:seconds, in Chinese."""
    return " + ".join(map(_deed, said)) or words.VERDICTS["allow"]


def _deed(said: str) -> str:
    kind, _, seconds = said.partition(":")
    return _KINDS[kind] + (f" {spell(int(seconds))}" if kind in ("mute", "ban") else "")


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(Text(name), overflow="fold")
    return table
