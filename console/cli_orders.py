"""The commands of those who answer players: undo one action, undo many."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from console import Unreachable
from console.command import (
    FINDINGS,
    DryRun,
    Json,
    Operator,
    Reason,
    Rules,
    print_json,
    ruleset_of,
    settings_of,
    show,
    told,
)
from console.words import say
from moderation.errors import SettingsError

if TYPE_CHECKING:
    from moderation.actions import RevertManyCommand, Which
    from moderation.ruleset import RuleSet
    from streams.settings import Settings

app = typer.Typer(rich_markup_mode=None)


@app.command(help=say("撤销一个处罚（申诉通过）", "Undo one action, as after an appeal."))
def revert(
    action_id: Annotated[str, typer.Argument(help=say("处罚指令编号", "The action's id."))],
    *,
    account: Annotated[str, typer.Option(metavar="ID", help=say("被处罚的账号", "The account it was for."))],
    operator: Operator,
    reason: Reason,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help=say("等到撤销指令发出", "Wait until the revert was sent."))
    ] = True,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Show the action, publish the command, and wait until the game servers can read the revert."""
    import asyncio  # noqa: PLC0415

    from console import revert as undoing  # noqa: PLC0415
    from console.notes import viewed  # noqa: PLC0415
    from console.show import undone  # noqa: PLC0415

    settings, command = settings_of(), undoing.order(action_id, account, operator, reason)
    undo = asyncio.run(undoing.carry_out(settings, command, wait=wait and not dry_run, dry_run=dry_run))
    if undo.action is None:
        raise told(
            SettingsError(
                say(
                    f"台账里没有账号 {account} 的指令 {action_id}",
                    f"the ledger knows no action {action_id} of {account}",
                )
            ),
            FINDINGS,
        )
    asyncio.run(viewed(settings, "revert", (action_id, account), operator=operator, why=reason))
    if json:
        print_json(undo)
    else:
        show(undone(undo, dry_run=dry_run))
    if wait and not dry_run and undo.revert is None:
        raise Unreachable(
            say(
                "命令已写入，但没有等到撤销指令：没有 worker 在运行？它启动后会执行",
                "the command is written, but no worker carried it out in time: it will when one runs",
            )
        )


@app.command(help=say("清除一个玩家的违规记录", "Clear a player's strikes: the next one is the first."))
def forgive(
    account: Annotated[str, typer.Argument(metavar="ACCOUNT", help=say("账号", "The player's account."))],
    *,
    operator: Operator,
    reason: Reason,
    dry_run: DryRun = False,
) -> None:
    """Publish the command; sanctions in force stay. Prints it as JSON."""
    import asyncio  # noqa: PLC0415

    from console.revert import pardon, publish  # noqa: PLC0415

    command = pardon(account, operator, reason)
    if not dry_run:
        asyncio.run(publish(settings_of(), command))
    print_json(command)


Moment = Annotated[
    datetime | None,
    typer.Option(formats=["%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d"], help=say("本机时间", "Local time.")),
]


@app.command(
    "revert-many",
    help=say("批量撤销：一条写错的规则、一个团伙、一个时段", "Undo all that a bad rule, campaign or hour did."),
)
def revert_many(  # noqa: PLR0913  what may be wrong is named in many ways
    *,
    rule: Annotated[str | None, typer.Option(metavar="ID", help=say("规则编号", "Of this rule."))] = None,
    revision: Annotated[str | None, typer.Option(metavar="REV", help=say("只要这一版", "Only this revision."))] = None,
    campaign: Annotated[str | None, typer.Option(metavar="ID", help=say("团伙编号", "Of this campaign."))] = None,
    server: Annotated[str | None, typer.Option(metavar="ID", help=say("区服", "On this server."))] = None,
    label: Annotated[str | None, typer.Option(metavar="LABEL", help=say("类别", "Of this label."))] = None,
    ruleset: Annotated[str | None, typer.Option(metavar="HASH", help=say("规则集", "Under this rule set."))] = None,
    since: Moment = None,
    until: Moment = None,
    operator: Operator,
    reason: Reason,
    yes: Annotated[bool, typer.Option("--yes", help=say("执行；不写只预览", "Do it; without it, a preview."))] = False,
    rules: Rules = None,
    json: Json = False,
) -> None:
    """Show what would be undone; with --yes order it, and wait until the workers have."""
    import asyncio  # noqa: PLC0415

    from console import revertmany  # noqa: PLC0415
    from console.notes import viewed  # noqa: PLC0415
    from console.revert import publish  # noqa: PLC0415

    given = {"rule": rule, "revision": revision, "campaign_id": campaign, "server_id": server, "label": label}
    given["ruleset"] = ruleset
    times = {name: int(at.timestamp() * 1000) for name, at in (("since", since), ("until", until)) if at}
    command = revertmany.order(
        _which({name: value for name, value in given.items() if value} | times), operator, reason
    )
    settings, live = settings_of(rules), ruleset_of(rules)
    shown = asyncio.run(revertmany.preview(settings, command, live))
    if shown.samples:
        names = tuple(f"{name}={value}" for name, value in (given | times).items() if value)
        asyncio.run(viewed(settings, "revert-many", names, operator=operator, why=reason))
    if json:
        print_json({"command": command, "preview": shown})
    else:
        show(revertmany.table(shown))
    if yes and shown.undo:
        asyncio.run(publish(settings, command))
        left = asyncio.run(_undoing(settings, command, live, shown.undo))
        if left:
            raise Unreachable(
                say(f"还剩 {left} 条未撤销：没有 worker 在运行？", f"{left} are left: does no worker run?")
            )
    elif not yes:
        typer.echo(say("只是预览；加 --yes 执行", "a preview only; --yes does it"), err=True)


def _which(given: dict[str, Any]) -> Which:
    import msgspec  # noqa: PLC0415

    from moderation.actions import Which  # noqa: PLC0415

    try:
        return msgspec.convert(given, Which)
    except msgspec.ValidationError as exc:
        raise SettingsError(f"revert-many: {exc}") from None


async def _undoing(settings: Settings, command: RevertManyCommand, ruleset: RuleSet, total: int) -> int:
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import Progress  # noqa: PLC0415

    from console.revertmany import watch  # noqa: PLC0415

    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task(say("撤销", "undone"), total=total)
        return await watch(settings, command, ruleset, lambda left: progress.update(task, completed=total - left))
