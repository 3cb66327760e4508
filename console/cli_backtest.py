"""The commands that replay recorded chat: what would other rules do, and what do these rules do at all."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from console.command import Json, print_json, settings_of, show
from console.words import say
from moderation.errors import SettingsError

if TYPE_CHECKING:
    from console.findings import Report
    from streams.bundle import Layers
    from streams.settings import Settings

app = typer.Typer(rich_markup_mode=None)

Moment = Annotated[
    datetime | None,
    typer.Option(formats=["%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d"], help=say("本机时间", "Local time.")),
]
On = Annotated[
    str,
    typer.Option(
        "--on",
        metavar="RECORDING",
        help=say(
            "JSON 行文件；写 kafka 就读聊天主题，配 --since", "JSON lines; kafka reads the chat topics, from --since."
        ),
    ),
]

Why = Annotated[
    str | None, typer.Option(metavar="TEXT", help=say("读 kafka 时：为什么看，会记下", "With kafka: on record."))
]


@app.command(
    help=say("回测：换一套规则，录下来的聊天里谁会不同", "Replay recorded chat: who would be treated otherwise?")
)
def backtest(  # noqa: PLR0913  a recording and two rule sets are named in many ways
    *,
    on: On,
    since: Moment = None,
    until: Moment = None,
    old: Annotated[
        str | None, typer.Option("--from", metavar="REV|DIR", help=say("默认生效的一版", "Else what is in force."))
    ] = None,
    new: Annotated[
        str | None, typer.Option("--to", metavar="REV|DIR", help=say("默认设置里的目录", "Else the settings' own."))
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help=say("写一页 HTML 报告", "Write an HTML page."))
    ] = None,
    processes: Annotated[
        int | None, typer.Option(min=1, max=2, help=say("2：两套规则各用一个进程", "2: one process a rule set."))
    ] = None,
    why: Why = None,
    json: Json = False,
) -> None:
    """Exit 0 whatever differs: that is for people to judge."""
    import asyncio  # noqa: PLC0415

    settings = settings_of()
    if on == "kafka":
        _on_record(settings, "rules backtest", why, since, until)
    report = asyncio.run(_backtest(settings, _recording(settings, on, since, until), old, new, processes))
    if html:
        from console.report import html as written  # noqa: PLC0415

        try:
            html.write_bytes(written(report, on))
        except OSError as exc:
            raise SettingsError(f"--html {html}: {exc.strerror}") from None
    if json:
        print_json(report)
    else:
        from console.show_backtest import shown  # noqa: PLC0415

        show(shown(report))


@app.command(
    "report",
    help=say(
        "每条规则：命中、影子若转正、撤销率；没用的词，可能漏掉的话",
        "Each rule's hits and deeds; needless terms; what was missed.",
    ),
)
def report_rules(
    *,
    on: On,
    since: Moment = None,
    until: Moment = None,
    days: Annotated[int, typer.Option(min=1, max=90, help=say("看几天的撤销率", "Of overturned actions."))] = 30,
    why: Why = None,
    json: Json = False,
) -> None:
    """Replay what is in force, shadow rules as if they were live; ask the ledger, if there is one, what was undone.

    Also: terms nobody said, terms that others always cover, repeated texts that were let pass and share a handle with
    punished accounts.
    """
    import asyncio  # noqa: PLC0415

    from console import rulesreport, show_survey  # noqa: PLC0415

    settings = settings_of()
    if on == "kafka":
        _on_record(settings, "rules report", why, since, until)
    rows, words = asyncio.run(_report(settings, _recording(settings, on, since, until), days))
    if json:
        print_json({"rules": rows, "words": words})
    else:
        show(rulesreport.table(rows))
        for part in show_survey.shown(words):
            show(part)


async def _report(settings: Settings, recording: Any, days: int) -> tuple[Any, Any]:
    from console import rulesreport  # noqa: PLC0415
    from console.backtest import run  # noqa: PLC0415
    from console.survey import Survey  # noqa: PLC0415
    from moderation.rulefile import read  # noqa: PLC0415

    layers, survey = await _layers(settings, None, published=True), Survey()
    found = await run(recording, layers, layers, promoted=True, survey=survey)
    return await rulesreport.rows(settings, found, days), survey.words(read(layers))


async def _backtest(
    settings: Settings, recording: Any, old: str | None, new: str | None, processes: int | None
) -> Report:
    import os  # noqa: PLC0415

    from console.backtest import run  # noqa: PLC0415
    from console.show import Tally  # noqa: PLC0415

    before, after = await _layers(settings, old, published=True), await _layers(settings, new, published=False)
    with Tally(say("回测", "replayed"), on=True) as tally:
        seen = [0]

        def told(lines: int) -> None:
            tally.add(lines - seen[0])
            seen[0] = lines

        return await run(recording, before, after, processes=processes or min(2, os.cpu_count() or 1), told=told)


def _on_record(
    settings: Settings, command: str, why: str | None, since: datetime | None, until: datetime | None
) -> None:
    """Record who is about to be shown what players said. Raises SettingsError where no reason is given."""
    import asyncio  # noqa: PLC0415

    from console.notes import viewed  # noqa: PLC0415

    if not why:
        raise SettingsError(say("读 kafka 要写 --why，会记下", "with kafka give --why: it goes on record"))
    asyncio.run(viewed(settings, command, (f"{since} – {until or ''}",), operator=None, why=why))


def _recording(settings: Settings, on: str, since: datetime | None, until: datetime | None) -> Any:
    import time  # noqa: PLC0415

    from console.recording import from_file, from_topics  # noqa: PLC0415

    if on != "kafka":
        if not Path(on).is_file():
            raise SettingsError(say(f"没有文件 {on}", f"there is no file {on}"))
        return from_file(Path(on))
    if since is None:
        raise SettingsError(say("读 kafka 要写 --since", "with kafka give --since"))
    end = until.timestamp() if until else time.time()
    return from_topics(settings, int(since.timestamp() * 1000), int(end * 1000))


async def _layers(settings: Settings, which: str | None, *, published: bool) -> Layers:
    """Return the files of a revision, of a directory (on the shipped ones), or what the command is about by default."""
    from console.layers import directories  # noqa: PLC0415
    from console.publishing import in_force, layers_of, opened  # noqa: PLC0415
    from streams.bundle import gather  # noqa: PLC0415

    if which and not which.isdecimal():
        return gather(directories([Path(which)]))
    if which is None and not (published and settings.redis):
        return gather(settings.rules)
    async with opened(settings) as publications:
        if which is None:
            return (await in_force(publications, settings))[1]
        return await layers_of(publications, settings, which, [])
