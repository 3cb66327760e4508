"""The commands about the audit log: record, verify, head, export."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003  typer reads the annotations
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from console import Unreachable
from console.command import FINDINGS, DryRun, Json, Viewer, Why, print_json, settings_of, show, told
from console.words import say
from moderation.errors import SettingsError

if TYPE_CHECKING:
    from console.audit import Report
    from console.proof import Checked
    from streams.settings import Settings

audit = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help=say("审计：谁对谁做了什么，一条改不动的链", "Who did what to whom: a chain nobody can change unseen."),
)

Log = Annotated[Path, typer.Argument(metavar="DIR", help=say("审计目录", "Where the audit log is."))]
Head = Annotated[str, typer.Option(metavar="HASH", help=say("另存的链头，必须在链上", "A head kept elsewhere."))]
_FORMATS = ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d"]
_LOCAL = say("本机时间", "Local time.")


@audit.command(
    "record", help=say("运行审计员：把 Kafka 上的处置记进目录", "Run the auditor: tell DIR of what Kafka has.")
)
def record(
    directory: Log,
    *,
    once: Annotated[
        bool, typer.Option("--once", help=say("记完现有的就结束", "End when all that is there now is told."))
    ] = False,
) -> None:
    """Run until SIGTERM. Says on stderr where it began and ended."""
    import asyncio  # noqa: PLC0415

    from aiokafka.errors import KafkaError  # noqa: PLC0415

    from console.broker import client  # noqa: PLC0415
    from streams.auditor import work  # noqa: PLC0415
    from streams.worker import log_json  # noqa: PLC0415

    settings = settings_of()
    client(settings)
    log_json(settings.log_level)
    try:
        end, count = asyncio.run(work(settings, directory, once=once))
    except KafkaError as exc:
        raise Unreachable(f"QINGLIU_KAFKA={settings.kafka}: {exc!r}") from None
    except OSError as exc:
        raise Unreachable(f"{directory}: {exc}") from None
    typer.echo(say(f"新记 {count} 条，链头 ", f"{count} new, head ") + f"{end.seq} {end.hash}", err=True)


@audit.command(
    "verify",
    help=say("检查审计目录、证据包或导出的团伙文件", "Check an audit log, an evidence pack, or an exported campaign."),
)
def verify(
    path: Annotated[Path, typer.Argument(exists=True, help=say("目录、.zip 或文件", "A directory, .zip or file."))],
    *,
    head: Head = "",
    base: Annotated[
        str,
        typer.Option(
            metavar="HASH", help=say("删旧段时另存的、最早一段之前的哈希", "What the oldest segment follows.")
        ),
    ] = "",
    against_kafka: Annotated[
        bool, typer.Option("--against-kafka", help=say("再与 Kafka 逐条核对", "Hold it against Kafka, too."))
    ] = False,
    json: Json = False,
) -> None:
    """Exit 1 at the first thing that is wrong; stdout says which segment and line."""
    settings = settings_of()
    found: Report | Checked = _examined(settings, path, head, base, against_kafka=against_kafka)
    if json:
        print_json(found)
    else:
        from console.show_audit import checked  # noqa: PLC0415

        show(checked(found, keyed=settings.audit_key is not None, anchored=bool(head)))
    if found.flaw:
        raise typer.Exit(FINDINGS)


def _examined(settings: Settings, path: Path, head: str, base: str, *, against_kafka: bool) -> Report | Checked:
    import asyncio  # noqa: PLC0415

    from console.audit import examine  # noqa: PLC0415
    from console.evidence import MANIFEST  # noqa: PLC0415
    from console.proof import check_file, check_pack  # noqa: PLC0415
    from streams.auditor import key_of  # noqa: PLC0415

    log = path.is_dir() and not (path / MANIFEST).is_file()
    if against_kafka and not log:
        raise SettingsError(say("只有审计目录能与 Kafka 核对", "--against-kafka is for an audit log"))
    if path.suffix == ".zip" or (path / MANIFEST).is_file():
        return check_pack(path, key_of(settings), head=head)
    if path.is_file():
        return check_file(path, head=head)
    return asyncio.run(examine(settings, path, head=head, base=base, against_kafka=against_kafka))


@audit.command("head", help=say("显示链头，请另存到别处", "Print the head of the chain: keep it elsewhere."))
def head(directory: Log, *, json: Json = False) -> None:
    """Print number and hash of the last entry."""
    from console.audit import head_of  # noqa: PLC0415

    found = head_of(directory)
    if json:
        print_json(found)
    else:
        typer.echo(f"{found.seq} {found.hash}")


@audit.command(
    "export",
    help=say("导出证据包：一个账号、一个团伙、一段时间", "Write an evidence pack: an account, a campaign, a time."),
)
def export(  # noqa: PLR0913  what a pack is about is named in many ways
    directory: Log,
    out: Annotated[Path, typer.Argument(help=say("新目录，或 .zip", "A new directory, or a .zip."))],
    *,
    account: Annotated[str | None, typer.Option(metavar="ID", help=say("账号", "An account."))] = None,
    campaign: Annotated[str | None, typer.Option(metavar="ID", help=say("团伙编号", "A campaign."))] = None,
    since: Annotated[datetime | None, typer.Option("--from", formats=_FORMATS, help=_LOCAL)] = None,
    until: Annotated[datetime | None, typer.Option("--to", formats=_FORMATS, help=_LOCAL)] = None,
    why: Why,
    operator: Viewer = None,
    dry_run: DryRun = False,
) -> None:
    """Exit 1 where the log has nothing of it, or is broken. Who exports is on record before anything is written."""
    import asyncio  # noqa: PLC0415

    from console.audit import Flawed  # noqa: PLC0415
    from console.evidence import carry_out  # noqa: PLC0415
    from moderation.audit import Wanted  # noqa: PLC0415

    times = [int(at.timestamp() * 1000) if at else None for at in (since, until)]
    settings, about = settings_of(), Wanted(account, campaign, *times)
    if about == Wanted():
        raise SettingsError(
            say("请指定 --account、--campaign 或 --from、--to", "name --account, --campaign, --from or --to")
        )
    try:
        done = asyncio.run(carry_out(settings, directory, out, about, operator=operator, why=why, dry_run=dry_run))
    except Flawed as exc:
        raise told(SettingsError(f"{exc.flaw.where}:{exc.flaw.line} {exc.flaw.says}"), FINDINGS) from None
    print_json(done)
    if not done.entries:
        raise typer.Exit(FINDINGS)
