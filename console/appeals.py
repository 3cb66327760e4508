"""Appeals for people: those that wait, one in full, opening and answering them, how often each rule is overturned.

A worker opens and answers; this only orders it, and waits for the record that says it is done.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, NamedTuple
from uuid import uuid4

import msgspec
from rich import box
from rich.table import Table
from rich.text import Text

from console import words
from console.campaigns import moment
from console.ledger import asked
from console.revert import checked, publish_and_hear
from console.show import deed, marked, say_all, visible
from console.words import say
from moderation.actions import Action, AnswerAppealCommand, AppealCommand
from moderation.appeal import Answer, Appeal, Rate, since

if TYPE_CHECKING:
    from collections.abc import Iterable

    from moderation.policy import AppealPolicy
    from moderation.ruleset import RuleSet
    from streams.ledger import Ledger
    from streams.settings import Settings

STATES: Final = {
    "open": say("待答复", "open"),
    "held": say("已初复，待终审", "first answer given"),
    "granted": say("通过", "granted"),
    "denied": say("驳回", "denied"),
}
_read: Final = msgspec.json.Decoder(Appeal)


class Filed(NamedTuple):
    """An appeal with the action it is against; None where the ledger knows it no more."""

    appeal: Appeal
    action: Action | None


class Overturned(NamedTuple):
    """A revision's rate, and whether it is left to humans, and whether it is the one in force."""

    rate: Rate
    down: bool
    live: bool


# --- asking


async def due(settings: Settings, most: int, *, overdue: bool = False) -> list[Appeal]:
    """Return appeals that wait for an answer, the first due first. Raises SettingsError, StoreUnavailable."""
    before = now_ms() if overdue else None
    return await asked(settings, lambda ledger: ledger.appeals.due(most, before))


async def find(settings: Settings, action_id: str) -> Filed | None:
    """Return the appeal against an action. Raises SettingsError, StoreUnavailable."""

    async def look(ledger: Ledger) -> Filed | None:
        appeal = await ledger.appeals.find(action_id)
        return Filed(appeal, await ledger.find(action_id, appeal.account_id)) if appeal else None

    return await asked(settings, look)


async def rates(settings: Settings, policy: AppealPolicy, rules: RuleSet) -> list[Overturned]:
    """Return every rule that was appealed against of late or is left to humans, these first, then by how often."""

    async def look(ledger: Ledger) -> list[Overturned]:
        found = await ledger.appeals.rates(since(policy, now_ms()))
        down = await ledger.appeals.overturned()
        live = {(rule.id, rule.revision) for rule in rules.rules}
        counted = {(one.rule, one.revision): one for one in found if one.appealed or one.answered}
        quiet = {key: Rate(*key, 0, 0, 0) for key in down & live}
        told = [Overturned(one, key in down, key in live) for key, one in (quiet | counted).items()]
        return sorted(told, key=lambda one: (one.down and one.live, one.rate.overturned), reverse=True)

    return await asked(settings, look)


async def granted(settings: Settings, most: int) -> list[Filed]:
    """Return appeals that were granted, the last first."""

    async def look(ledger: Ledger) -> list[Filed]:
        appeals = await ledger.appeals.granted(most)
        return [Filed(one, await ledger.find(one.action_id, one.account_id)) for one in appeals]

    return await asked(settings, look)


def now_ms() -> int:
    """Return the time, ms since 1970."""
    return time.time_ns() // 1_000_000


# --- ordering


def opening(action_id: str, account_id: str, operator: str, text: str) -> AppealCommand:
    """Write the command that opens an appeal, as of now. Raises SettingsError where it breaks the contract's limits."""
    return checked(AppealCommand(uuid4().hex, operator, now_ms(), action_id, account_id, text))


def answering(appeal: Appeal, operator: str, reason: str, *, granted: bool | None, reply: str) -> AnswerAppealCommand:
    """Write the command that answers an appeal, as of now. Raises SettingsError like `opening`."""
    ids = appeal.action_id, appeal.account_id
    return checked(AnswerAppealCommand(uuid4().hex, operator, reason, now_ms(), *ids, granted, reply))


async def carry_out(settings: Settings, command: AppealCommand | AnswerAppealCommand) -> Appeal | None:
    """Publish, and wait for the appeal as the command left it; None if that does not come in time.

    When it comes, all that follows from it is done: a granted appeal's revert was sent before.
    """

    def made(value: bytes) -> Appeal | None:
        appeal = _read.decode(value)
        answers = (one.command_id for one in (appeal.first, appeal.final) if one)
        return appeal if command.command_id in (appeal.command_id, *answers) else None

    return await publish_and_hear(settings, command, settings.topics.appeals, made)


# --- on a terminal


def listing(appeals: Iterable[Appeal], now: int) -> Table:
    """Show appeals, one a row; what is overdue is red."""
    names = (
        ("期限", "状态", "指令", "账号", "类别", "玩家的话"),
        ("due", "state", "action", "account", "label", "words"),
    )
    table = _table(*say_all(*names))
    for one in appeals:
        late = one.due_at is not None and one.due_at < now
        table.add_row(
            Text(moment(one.due_at or 0), "bold red" if late else ""),
            STATES[one.state],
            Text(one.action_id),
            Text(visible(one.account_id)),
            words.LABELS.get(one.label or "", ""),
            Text(visible(one.text)),
        )
    return table


def dossier(filed: Filed) -> Table:
    """Show an appeal in full, with what was said, done, and why."""
    appeal, action = filed
    table = Table.grid(padding=(0, 2))
    rows = {
        say("指令", "action"): Text(f"{appeal.action_id} {deed(action) if action else ''}"),
        say("账号", "account"): Text(visible(appeal.account_id)),
        say("状态", "state"): Text(STATES[appeal.state], "bold"),
        say("申诉于", "opened"): Text(f"{moment(appeal.opened_at)} {visible(appeal.operator)}"),
        say("玩家的话", "words"): Text(visible(appeal.text)),
        say("先答复期限", "first due"): Text(moment(appeal.first_due)),
        say("终审期限", "final due"): Text(moment(appeal.final_due)),
        say("告知玩家", "player is told"): Text(visible(appeal.reply)),
        say("规则", "rules"): Text("，".join(f"{rule.id} {rule.weight}" for rule in appeal.rules)),
        say("初复", "first answer"): _said(appeal.first),
        say("终审", "final answer"): _said(appeal.final),
    }
    if action and action.evidence:
        rows |= {say("原文", "message"): marked(action.evidence.what.text, action.evidence.what.spans)}
        rows |= {say("理由", "because"): Text(visible("；".join(action.evidence.why.because)))}
    for name, value in rows.items():
        if value.plain:
            table.add_row(Text(name, "dim"), value)
    return table


def _said(answer: Answer | None) -> Text:
    return Text(f"{moment(answer.ts)} {visible(answer.operator)}：{visible(answer.reason)}" if answer else "")


def rate_table(found: Iterable[Overturned], policy: AppealPolicy) -> Table:
    """Show how often each rule was overturned, and which are left to humans."""
    names = (
        ("规则", "版本", "申诉", "已答复", "通过", "推翻率", ""),
        ("rule", "revision", "appealed", "answered", "granted", "overturned", ""),
    )
    table = _table(*say_all(*names))
    table.title = Text(say(f"最近 {policy.window_days} 天", f"the last {policy.window_days} days"), "dim")
    for one in found:
        rate = one.rate
        table.add_row(
            rate.rule, rate.revision, str(rate.appealed), str(rate.answered), str(rate.overturned),
            f"{rate.percent:.0f}%", _standing(one),
        )  # fmt: skip
    return table


def _standing(one: Overturned) -> Text:
    if one.down and one.live:
        return Text(say("只转人工，等新版本", "left to humans until a new revision"), "bold red")
    return Text("" if one.live else say("旧版本", "an old revision"), "dim")


def _table(*names: str) -> Table:
    table = Table(title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in names:
        table.add_column(Text(name), overflow="fold")
    return table
