"""The commands about appeals: those that wait, one in full, opening, answering, rates, and tests from granted ones."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from console import Unreachable
from console.command import (
    FINDINGS,
    DryRun,
    Json,
    Operator,
    Reason,
    Rules,
    Viewer,
    Why,
    print_json,
    ruleset_of,
    settings_of,
    show,
    told,
)
from console.words import say
from moderation.errors import SettingsError

if TYPE_CHECKING:
    from console.appeals import Filed
    from moderation.actions import AnswerAppealCommand, AppealCommand
    from moderation.appeal import Appeal

appeals = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help=say("申诉：受理、答复、规则推翻率", "Appeals against actions.")
)

ActionId = Annotated[
    str,
    typer.Argument(metavar="ID", help=say("处罚指令编号，也是申诉编号", "The action's id, which names its appeal.")),
]
Most = Annotated[int, typer.Option(min=1, max=10_000, help=say("最多几个", "At most."))]


@appeals.command("list", help=say("列出待答复的申诉，最急的在前", "List appeals that wait, the first due first."))
def list_appeals(
    *,
    overdue: Annotated[bool, typer.Option("--overdue", help=say("只看超期的", "Only what is overdue."))] = False,
    most: Most = 50,
    json: Json = False,
) -> None:
    """Print appeals without a final answer."""
    import asyncio  # noqa: PLC0415

    from console.appeals import due, listing, now_ms  # noqa: PLC0415

    found = asyncio.run(due(settings_of(), most, overdue=overdue))
    if json:
        print_json(found)
    elif found:
        show(listing(found, now_ms()))
    else:
        none = say("没有超期的申诉", "no answer is overdue") if overdue else say("没有待答复的申诉", "no appeal waits")
        typer.echo(none, err=True)


@appeals.command("show", help=say("显示一个申诉", "Show an appeal in full."))
def show_appeal(action_id: ActionId, *, why: Why, operator: Viewer = None, json: Json = False) -> None:
    """Exit 1 if there is no such appeal. It shows what the player had said: who looks is on record."""
    import asyncio  # noqa: PLC0415

    from console.appeals import dossier  # noqa: PLC0415
    from console.notes import viewed  # noqa: PLC0415

    filed = _filed(action_id)
    asyncio.run(viewed(settings_of(), "appeals show", (action_id,), operator=operator, why=why))
    if json:
        print_json(filed._asdict())
    else:
        show(dossier(filed))


@appeals.command("open", help=say("替玩家提交一个申诉", "Open an appeal for a player."))
def open_appeal(
    action_id: ActionId,
    *,
    account: Annotated[str, typer.Option(metavar="ID", help=say("被处罚的账号", "The account it was for."))],
    text: Annotated[str, typer.Option(metavar="TEXT", help=say("玩家的话", "The player's words."))] = "",
    operator: Operator,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Exit 1 if the ledger knows no such action, or if it was appealed before."""
    import asyncio  # noqa: PLC0415

    from console.appeals import find, opening  # noqa: PLC0415
    from console.revert import find as find_action  # noqa: PLC0415

    command, settings = opening(action_id, account, operator, text), settings_of()
    if asyncio.run(find_action(settings, action_id, account)) is None:
        raise _finding(
            f"台账里没有账号 {account} 的指令 {action_id}", f"the ledger knows no action {action_id} of {account}"
        )
    if asyncio.run(find(settings, action_id)):
        raise _finding("这个处罚已有申诉，见 appeals show", "it was appealed before: see appeals show")
    _carry_out(command, dry_run=dry_run, json=json)


@appeals.command(
    "answer", help=say("答复：通过、驳回，都不写是先答复一声", "Grant or deny; neither is a first answer.")
)
def answer_appeal(
    action_id: ActionId,
    *,
    granted: Annotated[
        bool | None, typer.Option("--grant/--deny", help=say("通过并撤销／驳回", "Undo the action, or let it stand."))
    ] = None,
    operator: Operator,
    reason: Reason,
    reply: Annotated[
        str, typer.Option(metavar="TEXT", help=say("告诉玩家的话，默认一句套话", "What to tell the player."))
    ] = "",
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Exit 1 if there is no such appeal, or if it has such an answer."""
    from console.appeals import STATES, answering  # noqa: PLC0415

    appeal = _filed(action_id).appeal
    if appeal.final or (appeal.first and granted is None):
        raise _finding(
            f"已有答复：{STATES[appeal.state]}，见 appeals show",
            f"it is answered: {STATES[appeal.state]}; see appeals show",
        )
    _carry_out(answering(appeal, operator, reason, granted=granted, reply=reply), dry_run=dry_run, json=json)


@appeals.command("rates", help=say("每条规则被申诉、被推翻多少", "How often each rule was appealed and overturned."))
def show_rates(*, rules: Rules = None, json: Json = False) -> None:
    """Exit 1 if a rule in force is left to humans because of it."""
    import asyncio  # noqa: PLC0415

    from console.appeals import rate_table, rates  # noqa: PLC0415

    ruleset = ruleset_of(rules)
    policy = ruleset.policy.appeals
    found = asyncio.run(rates(settings_of(rules), policy, ruleset))
    if json:
        print_json([one._asdict() for one in found])
    elif found:
        show(rate_table(found, policy))
    else:
        typer.echo(say("最近没有申诉", "no appeals of late"), err=True)
    if any(one.down and one.live for one in found):
        raise typer.Exit(FINDINGS)


@appeals.command(
    "examples", help=say("申诉通过的原话，写成规则的 pass 测试", "Granted texts as `pass` tests of rules.")
)
def print_examples(
    *,
    write: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", file_okay=False, help=say("加到这个规则目录里", "Add them to this layer of rules.")
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help=say("写；不写只预览", "Write; without it, a preview."))] = False,
    most: Most = 1000,
    rules: Rules = None,
    why: Why,
    operator: Viewer = None,
    json: Json = False,
) -> None:
    """Print what the file would hold, or with --write what it has not yet; --yes writes it and prints its path.

    Who looks is on record.
    """
    import asyncio  # noqa: PLC0415

    from console.appeals import granted  # noqa: PLC0415
    from console.examples import examples, new, text  # noqa: PLC0415
    from console.examples import write as write_down  # noqa: PLC0415
    from console.notes import viewed  # noqa: PLC0415

    settings, ruleset = settings_of(rules), ruleset_of(rules)
    asyncio.run(viewed(settings, "appeals examples", (), operator=operator, why=why))
    found = examples(asyncio.run(granted(settings, most)), ruleset.by_id)
    if write is not None:
        found = new(found, write)
    if not found:
        typer.echo(say("没有新的例子", "nothing new"), err=True)
    elif write is not None and yes:
        typer.echo(write_down(found, write, settings.rules))
        if write not in settings.rules:
            typer.echo(say(f"{write} 还不在 QINGLIU_RULES 里", f"{write} is not in QINGLIU_RULES yet"), err=True)
    elif json:
        print_json(found)
    else:
        typer.echo(text(found), nl=False)
    if write is not None and found and not yes:
        typer.echo(say("只是预览；加 --yes 写入", "a preview only; --yes writes it"), err=True)


def _filed(action_id: str) -> Filed:
    import asyncio  # noqa: PLC0415

    from console.appeals import find  # noqa: PLC0415

    filed = asyncio.run(find(settings_of(), action_id))
    if filed is None:
        raise _finding(f"没有针对指令 {action_id} 的申诉", f"there is no appeal against action {action_id}")
    return filed


def _carry_out(command: AppealCommand | AnswerAppealCommand, *, dry_run: bool, json: bool) -> None:
    """Order it and show what became of the appeal; a preview prints the command."""
    import asyncio  # noqa: PLC0415

    from console.appeals import carry_out  # noqa: PLC0415

    if dry_run:
        print_json(command)
        return
    appeal = asyncio.run(carry_out(settings_of(), command))
    if appeal is None:
        raise Unreachable(
            say(
                "命令已写入，但没有等到结果：没有 worker 在运行，或在死信里？",
                "the command is written, but nothing came of it in time: does no worker run, or is it a dead letter?",
            )
        )
    _tell(appeal, json=json)


def _tell(appeal: Appeal, *, json: bool) -> None:
    from console.appeals import Filed, dossier  # noqa: PLC0415

    if json:
        print_json(appeal)
    else:
        show(dossier(Filed(appeal, None)))


def _finding(zh: str, en: str) -> typer.Exit:
    return told(SettingsError(say(zh, en)), FINDINGS)
