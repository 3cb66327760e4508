"""The commands about campaigns: list, show, export, verify, and what a human knows of a handle."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from console.command import FINDINGS, DryRun, Json, Operator, Reason, print_json, settings_of, show, told
from console.words import say
from moderation.errors import SettingsError

if TYPE_CHECKING:
    from console.campaigns import Order
    from moderation.campaign import Campaign

campaigns = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help=say("团伙：一起发同一个联系方式或同一套话的账号", "Accounts that drop one handle or say one script."),
)

CampaignId = Annotated[str, typer.Argument(metavar="ID", help=say("团伙编号", "The campaign's id."))]
HandleKind = Annotated[str, typer.Argument(metavar="TYPE", help=say("qq、wx、url……", "qq, wx, url, …"))]
HandleValue = Annotated[str, typer.Argument(metavar="VALUE", help=say("号码、账号或网址", "Number, id or address."))]


@campaigns.command("list", help=say("列出团伙，最近有人加入的在前", "List campaigns, those joined last first."))
def list_campaigns(
    *, most: Annotated[int, typer.Option(min=1, max=200, help=say("最多几个", "At most."))] = 20, json: Json = False
) -> None:
    """Print the campaigns that were reached."""
    import asyncio  # noqa: PLC0415

    from console.campaigns import listing, newest  # noqa: PLC0415

    found = asyncio.run(newest(settings_of(), most))
    if json:
        print_json(found)
    elif found:
        show(listing(found))
    else:
        typer.echo(say("还没有团伙", "no campaigns yet"), err=True)


@campaigns.command("show", help=say("显示一个团伙：成员和证据", "Show a campaign: members and evidence."))
def show_campaign(campaign_id: CampaignId, *, json: Json = False) -> None:
    """Exit 1 if there is no such campaign."""
    from console.campaigns import dossier  # noqa: PLC0415

    one = _campaign(campaign_id)
    if json:
        print_json(one)
    else:
        show(dossier(one))


@campaigns.command(
    "export",
    help=say(
        "导出一个团伙的全部证据，每行带上一行的指纹", "Export the evidence in order, each line with a hash of the last."
    ),
)
def export_campaign(campaign_id: CampaignId) -> None:
    """Print the file; the hash of its last line, to be kept elsewhere, goes to stderr."""
    from console.campaigns import exported  # noqa: PLC0415

    lines = list(exported(_campaign(campaign_id)))
    sys.stdout.buffer.write("".join(f"{line}\n" for line in lines).encode())
    _tell_fingerprint(lines)


@campaigns.command("verify", help=say("检查导出的文件有没有被改过", "Tell whether an exported file was changed."))
def verify_export(
    file: Annotated[
        typer.FileBinaryRead, typer.Argument(help=say("导出的文件，- 为标准输入", "The file; - is stdin."))
    ],
) -> None:
    """Exit 1 where the chain breaks. Who made a new chain is known by the hash of the last line, on stderr."""
    from console.campaigns import broken  # noqa: PLC0415

    lines = file.read().decode(errors="replace").removesuffix("\n").split("\n")
    at = broken(lines)
    if at is not None:
        typer.echo(say(f"第 {at} 行接不上", f"the chain breaks at line {at}"), err=True)
        raise typer.Exit(FINDINGS)
    _tell_fingerprint(lines)


@campaigns.command(
    "mark", help=say("标为恶意：谁发它，谁立刻算团伙成员", "Whoever drops this handle is a member at once.")
)
def mark_handle(
    kind: HandleKind, value: HandleValue, *, operator: Operator, reason: Reason, dry_run: DryRun = False
) -> None:
    """Order that a handle is bad, for every worker."""
    from moderation.actions import MarkHandleCommand  # noqa: PLC0415

    _order(MarkHandleCommand, kind, value, operator, reason, dry_run=dry_run)


@campaigns.command(
    "allow", help=say("标为正当：谁发它都不再算进团伙", "Nobody joins a campaign by this handle any more.")
)
def allow_handle(
    kind: HandleKind, value: HandleValue, *, operator: Operator, reason: Reason, dry_run: DryRun = False
) -> None:
    """Order that a handle is harmless. Members stay members; reverting what befell them is another matter."""
    from moderation.actions import AllowHandleCommand  # noqa: PLC0415

    _order(AllowHandleCommand, kind, value, operator, reason, dry_run=dry_run)


@campaigns.command("unmark", help=say("去掉标记", "Take a mark back."))
def unmark_handle(
    kind: HandleKind, value: HandleValue, *, operator: Operator, reason: Reason, dry_run: DryRun = False
) -> None:
    """Order that a mark is taken back."""
    from moderation.actions import UnmarkHandleCommand  # noqa: PLC0415

    _order(UnmarkHandleCommand, kind, value, operator, reason, dry_run=dry_run)


@campaigns.command("marks", help=say("列出标过的联系方式", "List the handles that were marked or allowed."))
def list_marks(*, json: Json = False) -> None:
    """Print what humans know of handles."""
    import asyncio  # noqa: PLC0415

    from console.campaigns import mark_table, marks  # noqa: PLC0415

    found = asyncio.run(marks(settings_of()))
    if json:
        print_json({"bad": sorted(found.bad), "allowed": sorted(found.allowed)})
    elif any(found):
        show(mark_table(found))
    else:
        typer.echo(say("还没有标过联系方式", "no handle is marked"), err=True)


def _order(order: Order, kind: str, value: str, operator: str, reason: str, *, dry_run: bool) -> None:
    """Publish the command, unless it is a preview, and print it; which handle it means goes to stderr."""
    import asyncio  # noqa: PLC0415

    from console.campaigns import key_of, marking  # noqa: PLC0415
    from console.revert import publish  # noqa: PLC0415

    command = marking(order, kind, value, operator, reason)
    if not dry_run:
        asyncio.run(publish(settings_of(), command))
    print_json(command)
    typer.echo(key_of(kind, value) + (say("（只是预览）", " (a preview only)") if dry_run else ""), err=True)


def _campaign(campaign_id: str) -> Campaign:
    import asyncio  # noqa: PLC0415

    from console.campaigns import find, unknown  # noqa: PLC0415

    found = asyncio.run(find(settings_of(), campaign_id))
    if found is None:
        raise told(SettingsError(unknown(campaign_id)), FINDINGS)
    return found


def _tell_fingerprint(lines: list[str]) -> None:
    from console.campaigns import fingerprint  # noqa: PLC0415

    typer.echo(say("末行指纹 ", "hash of the last line ") + fingerprint(lines[-1]), err=True)
