"""The daily and weekly report: what was done to whom for what, what became of it, out of the audit log."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path  # noqa: TC003  typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Final

import typer

from console.command import FINDINGS, Json, print_json, settings_of, told
from console.words import say
from moderation.errors import SettingsError

if TYPE_CHECKING:
    from console.daily import Daily

app = typer.Typer(rich_markup_mode=None)

WEEK: Final = 7
_HOURS: Final = 24


@app.command(help=say("日报、周报：从审计目录数出来", "The report of a day or a week, out of an audit log."))
def report(
    directory: Annotated[
        Path,
        typer.Argument(metavar="DIR", help=say("审计目录（qingliu audit record 写的）", "Where the audit log is.")),
    ],
    *,
    day: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"],
            help=say("哪一天；周报是最后一天。默认昨天", "Which day, of a week the last one. Yesterday if not given."),
        ),
    ] = None,
    week: Annotated[
        bool, typer.Option("--week", help=say("周报：到那天为止的七天", "The seven days up to it."))
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help=say(".xlsx 表格或 .html 网页", "Write .xlsx or .html.")),
    ] = None,
    json: Json = False,
) -> None:
    """Print text to paste. Exit 1 where the log is broken. No chat text is in it: accounts and contacts are."""
    if out is not None and out.suffix not in (".xlsx", ".html"):
        raise SettingsError(say("--out 要以 .xlsx 或 .html 结尾", "--out ends in .xlsx or .html"))
    days = WEEK if week else 1
    found = _counted(directory, day or datetime.now() - timedelta(days=1), days)  # noqa: DTZ005  a local day
    if out is not None:
        _write(out, found, days)
    if json:
        print_json(found)
    elif out is None:
        from console.page_daily import text  # noqa: PLC0415

        typer.echo(text(found, days), nl=False)


def _counted(directory: Path, last: datetime, days: int) -> Daily:
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import Progress  # noqa: PLC0415

    from console.audit import Flawed  # noqa: PLC0415
    from console.daily import Period  # noqa: PLC0415
    from console.tally import Tally, daily, log_of  # noqa: PLC0415
    from streams.auditor import key_of  # noqa: PLC0415

    screen = Console(stderr=True)
    end = datetime(last.year, last.month, last.day) + timedelta(days=1)  # noqa: DTZ001  the machine's days, as a GM's
    ends = [int((end - timedelta(days=n * days)).timestamp() * 1000) for n in range(3)]
    now, before = Period(ends[1], ends[0]), Period(ends[2], ends[1])
    try:
        log = log_of(directory, now, before)
        with Progress(console=screen, transient=True, disable=not screen.is_terminal) as progress:
            task = progress.add_task(say("读审计日志", "reading the audit log"), total=log.size)
            tally = Tally(now, before, days if days > 1 else _HOURS)
            return daily(log, tally, key_of(settings_of()), read=lambda size: progress.advance(task, size))
    except Flawed as exc:
        raise told(SettingsError(f"{exc.flaw.where}:{exc.flaw.line} {exc.flaw.says}"), FINDINGS) from None


def _write(out: Path, found: Daily, days: int) -> None:
    from console.page_daily import html  # noqa: PLC0415
    from console.sheets import write_tables  # noqa: PLC0415
    from console.show_daily import sheets  # noqa: PLC0415

    try:
        if out.suffix == ".html":
            out.write_bytes(html(found, days))
        else:
            write_tables(out, [(one.title, [one.head, *one.rows]) for one in sheets(found)])
    except OSError as exc:
        raise SettingsError(f"{out}: {exc.strerror}") from None
    typer.echo(out)
