"""The commands about campaigns: list, show, export, and what a human knows of a handle."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from console.command import (
    FINDINGS,
    DryRun,
    Json,
    Operator,
    Reason,
    Viewer,
    Why,
    print_json,
    settings_of,
    show,
    told,
)
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
def show_campaign(campaign_id: CampaignId, *, why: Why, operator: Viewer = None, json: Json = False) -> None:
    """Exit 1 if there is no such campaign. Who looks is on record."""
    from console.campaigns import dossier  # noqa: PLC0415

    one = _campaign(campaign_id, "campaigns show", operator, why)
    if json:
        print_json(one)
    else:
        show(dossier(one))


@campaigns.command(
    "export",
    help=say(
        "导出一个团伙的全部证据，一条哈希链；audit verify 检查",
        "Export the evidence in order as a hash chain, for audit verify.",
    ),
)
def export_campaign(campaign_id: CampaignId, *, why: Why, operator: Viewer = None) -> None:
    """Print the file; the hash of its last line, to be kept elsewhere, goes to stderr. Who exports is on record."""
    from console.campaigns import exported  # noqa: PLC0415

    lines, head = exported(_campaign(campaign_id, "campaigns export", operator, why))
    sys.stdout.buffer.write(b"".join(line + b"\n" for line in lines))
    typer.echo(say("末行指纹 ", "hash of the last line ") + head.hash, err=True)


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


def _campaign(campaign_id: str, command: str, operator: str | None, why: str) -> Campaign:
    import asyncio  # noqa: PLC0415

    from console.campaigns import find, unknown  # noqa: PLC0415
    from console.notes import viewed  # noqa: PLC0415

    settings = settings_of()
    found = asyncio.run(find(settings, campaign_id))
    if found is None:
        raise told(SettingsError(unknown(campaign_id)), FINDINGS)
    asyncio.run(viewed(settings, command, (campaign_id,), operator=operator, why=why))
    return found
