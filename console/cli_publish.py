"""The commands that put rules in force and take them back: publish, approve, status, diff, rollback, set-status."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from console import Unreachable
from console.command import FINDINGS, Json, print_json, settings_of, show, told
from console.words import say
from moderation.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from console.publishing import Draft
    from streams.publications import Publications, Revision
    from streams.settings import Settings

app = typer.Typer(rich_markup_mode=None)

Author = Annotated[str, typer.Option(metavar="NAME", help=say("谁发布", "Who publishes."))]
Reason = Annotated[str, typer.Option(metavar="TEXT", help=say("为什么", "Why."))]
Yes = Annotated[bool, typer.Option("--yes", help=say("执行；不写只预览", "Do it; without it, a preview."))]
Wait = Annotated[
    bool, typer.Option("--wait/--no-wait", help=say("等所有进程都换上", "Wait until every worker has taken it."))
]
Directories = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="[DIR]...",
        help=say(
            "规则目录，后面的覆盖前面的；不写就是设置里的", "Rule directories, later ones override; else the settings'."
        ),
    ),
]


@app.command(help=say("发布规则：测试通过才行，可能封人的要第二个人批准", "Publish rules to all running workers."))
def publish(
    directories: Directories = None,
    *,
    author: Author,
    reason: Reason,
    gate: Annotated[
        Path | None,
        typer.Option("--backtest", metavar="RECORDING", help=say("先在录音上回测", "Backtest it on this first.")),
    ] = None,
    most: Annotated[
        int,
        typer.Option(min=0, help=say("回测最多容许多少账号新被禁言或封号", "Accounts the backtest may newly punish.")),
    ] = 0,
    yes: Yes = False,
    wait: Wait = True,
    json: Json = False,
) -> None:
    """Load, test, show what changes; with --yes publish, or propose what can ban. Exit 1 if a check fails."""
    import asyncio  # noqa: PLC0415

    asyncio.run(_publish(directories, author, reason, _Gate(gate, most), yes=yes, wait=wait, json=json))


class _Gate:
    """A backtest that a draft must pass: at most so many accounts newly muted or banned."""

    def __init__(self, recording: Path | None, most: int) -> None:
        self.recording = recording
        self.most = most

    async def check(self, old: Any, new: Any) -> None:
        """Replay the recording under both. Raises Exit(1) where too many are newly punished."""
        if self.recording is None:
            return
        from console.backtest import run  # noqa: PLC0415
        from console.recording import from_file  # noqa: PLC0415
        from console.show_backtest import summary  # noqa: PLC0415

        report = await run(from_file(self.recording), old, new)
        typer.echo(summary(report), err=True)
        newly = sum(one.newly for one in report.people)
        if newly > self.most:
            said = (
                f"回测：{newly} 个账号会新被处罚，最多 {self.most}",
                f"{newly} accounts newly punished, at most {self.most}",
            )
            raise told(SettingsError(say(*said)), FINDINGS)


async def _publish(
    directories: list[Path] | None, author: str, reason: str, gate: _Gate, *, yes: bool, wait: bool, json: bool
) -> None:
    from console import publishing  # noqa: PLC0415
    from streams.bundle import gather  # noqa: PLC0415

    settings, chosen = settings_of(), settings_of(directories).rules
    layers = gather(chosen)
    ruleset = _tested(layers)
    _advise(chosen)
    async with publishing.opened(settings) as publications:
        made = await publishing.draft(publications, settings, layers, ruleset, author, reason)
        await gate.check((await publishing.in_force(publications, settings))[1], layers)
        await _put_forward(settings, publications, made, yes=yes, wait=wait, json=json)


def _advise(directories: Sequence[Path]) -> None:
    """Show what lint says of rules that can be used: advice before the question, no hindrance."""
    from console import lint  # noqa: PLC0415
    from console.show import printer  # noqa: PLC0415

    report = lint.lint(directories)
    for line in lint.text(report) if report.problems else ():
        printer(stderr=True).print(line)


def _tested(layers: Any) -> Any:
    from console import publishing  # noqa: PLC0415

    try:
        return publishing.tested(layers)
    except SettingsError as exc:
        raise told(exc, FINDINGS) from None


async def _put_forward(
    settings: Settings, publications: Publications, made: Draft, *, yes: bool, wait: bool, json: bool
) -> None:
    from console import publishing, show_publishing  # noqa: PLC0415

    if not json:
        show(show_publishing.preview(made))
    if made.same:
        typer.echo(say("正在用的就是这一份", "exactly this is in force"), err=True)
    proposal = await _caught(publishing.put_forward(publications, made)) if yes and not made.same else None
    if json:
        print_json(
            {"revision": made.revision, "change": made.change, "proposal": proposal and proposal.id, "done": yes}
        )
    if not yes:
        only_shown()
    elif proposal:
        said = f"qingliu rules approve {proposal.id} --approver NAME --yes"
        typer.echo(
            say(f"已提交，等第二个人批准：{said}", f"proposed; a second person approves it by: {said}"), err=True
        )
    elif not made.same:
        await _on_record(settings, "published", made.revision, made.over)
        if wait:
            await _taken(publications, made.revision)


async def _on_record(
    settings: Settings,
    change: Literal["published", "rolled_back", "reviewed"],
    revision: Revision,
    over: Revision | None,
    approver: str | None = None,
) -> None:
    """Write into the audit log what is in force now; without a broker in the settings, say that it is not there."""
    from console.notes import rules_changed  # noqa: PLC0415

    if settings.kafka is None:
        not_on_record()
        return
    before, who = over.ruleset if over else None, (approver or revision.author)[:64]
    await rules_changed(settings, change, revision.ruleset, before=before, operator=who, reason=revision.reason)


def not_on_record() -> None:
    """Say that the audit log does not know of it."""
    typer.echo(say("没有设 QINGLIU_KAFKA，审计里没有记下", "QINGLIU_KAFKA is not set: not on record"), err=True)


async def _caught(deed: Any) -> Any:
    from streams.publications import Overtaken  # noqa: PLC0415

    try:
        return await deed
    except Overtaken as exc:
        raise told(exc, FINDINGS) from None


def only_shown() -> None:
    """Say that nothing was done."""
    typer.echo(say("只是预览；加 --yes 执行", "a preview only; --yes does it"), err=True)


async def _taken(publications: Publications, revision: Revision) -> None:
    """Wait for the workers, with progress; exit 1 where one refused, 3 where one does not answer."""
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import Progress  # noqa: PLC0415

    from console.publishing import taken  # noqa: PLC0415

    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task(say(f"版本 {revision.number}", f"revision {revision.number}"), total=None)
        late = await taken(publications, revision, lambda done, of: progress.update(task, completed=done, total=of))
    refused = [f"{one.worker}: {one.refused}" for one in late if one.seen >= revision.number]
    if refused:
        raise told(SettingsError("\n".join(refused)), FINDINGS)
    if late:
        raise Unreachable(say("还没换上：", "not taken by ") + ", ".join(one.worker for one in late))
    if await publications.workers():
        typer.echo(say("所有进程都换上了", "every worker runs it"), err=True)
    else:
        typer.echo(say("没有进程在运行；启动时会用上", "no worker is running: it takes this when it starts"), err=True)


@app.command(
    help=say("批准别人提交的规则并发布；或复核别人退回的版本", "Approve what somebody proposed, or review a roll-back.")
)
def approve(
    proposal: Annotated[str, typer.Argument(metavar="ID", help=say("rules status 里的编号", "As rules status says."))],
    *,
    approver: Annotated[str, typer.Option(metavar="NAME", help=say("谁批准，不能是作者", "Who; not its author."))],
    yes: Yes = False,
    wait: Wait = True,
) -> None:
    """Show what would change; with --yes publish it. A roll-back is in force already: say that it was looked at."""
    import asyncio  # noqa: PLC0415

    if proposal.isdecimal():
        asyncio.run(_review(settings_of(), int(proposal), approver, yes=yes))
    else:
        asyncio.run(_approve(settings_of(), proposal, approver, yes=yes, wait=wait))


async def _review(settings: Settings, number: int, reviewer: str, *, yes: bool) -> None:
    from console import publishing, show_publishing  # noqa: PLC0415

    async with publishing.opened(settings) as publications:
        revision, made = await publishing.reviewed(publications, number, reviewer, yes=yes)
        show(show_publishing.changes(made))
    if yes:
        await _on_record(settings, "reviewed", revision, None, reviewer)
    else:
        only_shown()


async def _approve(settings: Settings, proposal_id: str, approver: str, *, yes: bool, wait: bool) -> None:
    from console import publishing, show_publishing  # noqa: PLC0415
    from moderation.change import change  # noqa: PLC0415
    from moderation.rulefile import read  # noqa: PLC0415

    async with publishing.opened(settings) as publications:
        asked = await publishing.approve(publications, proposal_id, approver, yes=False)
        before, after = await publishing.in_force(publications, settings), await publications.proposed(asked)
        show(show_publishing.changes(change(read(before[1]), read(after))))
        if not yes:
            only_shown()
            return
        await _caught(publishing.approve(publications, proposal_id, approver, yes=True))
        await _on_record(settings, "published", asked.revision, before[0], approver)
        if wait:
            await _taken(publications, asked.revision)


@app.command("status", help=say("哪一版生效，每个进程在用哪一版，谁在等批准", "What is in force, and who runs it."))
def show_status(*, json: Json = False) -> None:
    """Exit 1 where workers do not agree, a roll-back waits for review, or rules are left to humans."""
    import asyncio  # noqa: PLC0415

    from console import show_publishing  # noqa: PLC0415

    found = asyncio.run(_status(settings_of()))
    if json:
        print_json(found)
    else:
        show(show_publishing.status(found))
    if not found.well:
        raise typer.Exit(FINDINGS)


async def _status(settings: Settings) -> Any:
    from console import publishing  # noqa: PLC0415

    async with publishing.opened(settings) as publications:
        return await publishing.status(publications, settings)


@app.command(
    help=say("比较：生效的一版和你的目录，或两个版本", "What differs: in force and your directories, or two revisions.")
)
def diff(
    directories: Directories = None,
    *,
    old: Annotated[
        str | None, typer.Option("--from", metavar="REV", help=say("版本，默认生效的", "Else in force."))
    ] = None,
    new: Annotated[
        str | None, typer.Option("--to", metavar="REV", help=say("版本，默认目录", "Else directories."))
    ] = None,
    text: Annotated[bool, typer.Option("--text", help=say("逐行比较文件", "Line by line, as the files are."))] = False,
    json: Json = False,
) -> None:
    """Exit 0 always: to differ is no fault."""
    import asyncio  # noqa: PLC0415

    from console import show_publishing  # noqa: PLC0415
    from moderation.change import change  # noqa: PLC0415
    from moderation.rulefile import read  # noqa: PLC0415

    before, after = asyncio.run(_both(directories, old, new))
    if text:
        show(show_publishing.texts(before, after))
        return
    made = change(read(before), read(after))
    if json:
        print_json(made)
    else:
        show(show_publishing.changes(made))


async def _both(directories: list[Path] | None, old: str | None, new: str | None) -> tuple[Any, Any]:
    from console import publishing  # noqa: PLC0415

    settings, theirs = settings_of(), [] if new else list(settings_of(directories).rules)
    async with publishing.opened(settings) as publications:
        before = await publishing.layers_of(publications, settings, old, [])
        return before, await publishing.layers_of(publications, settings, new, theirs)


@app.command(help=say("退回上一版（或 --to 的一版），并给出批量撤销的命令", "Put an earlier revision in force again."))
def rollback(
    *,
    to: Annotated[
        int | None, typer.Option(metavar="REV", help=say("退到哪一版", "Which one; else the one before."))
    ] = None,
    author: Author,
    reason: Reason,
    yes: Yes = False,
    wait: Wait = True,
) -> None:
    """Show what would change; with --yes do it. Prints the commands that undo what the bad revision did."""
    import asyncio  # noqa: PLC0415

    asyncio.run(_rollback(settings_of(), to, author, reason, yes=yes, wait=wait))


async def _rollback(settings: Settings, to: int | None, author: str, reason: str, *, yes: bool, wait: bool) -> None:
    from console import publishing, show_publishing  # noqa: PLC0415
    from moderation.rulefile import read  # noqa: PLC0415

    async with publishing.opened(settings) as publications:
        bad, good = await publishing.earlier(publications, to)
        made = await publishing.back_to(publications, settings, good, author, reason)
        show(show_publishing.preview(made))
        was, now = read(await publications.files(bad)), read(made.layers)
        if yes:
            await _caught(publications.publish(made.revision, made.layers))
            await _on_record(settings, "rolled_back", made.revision, bad)
            if made.revision.unseen:
                then = f"qingliu rules approve {made.revision.number} --approver NAME --yes"
                typer.echo(say(f"事后要由别人复核：{then}", f"somebody else must look at it: {then}"), err=True)
            if wait:
                await _taken(publications, made.revision)
        else:
            only_shown()
        said = (
            f"撤销版本 {bad.number} 做过的处罚（先预览，加 --yes 执行）：",
            f"To undo what revision {bad.number} did (previews):",
        )
        typer.echo(say(*said), err=True)
        for line in publishing.amends(bad, now, was, author):
            typer.echo(line)


@app.command("set-status", help=say("改一条规则的状态并发布", "Change a rule's status, and publish that."))
def set_status(  # noqa: PLR0913  a trial is named in two ways
    rule: Annotated[str, typer.Argument(metavar="RULE", help=say("规则编号", "The rule's id."))],
    status: Annotated[Literal["draft", "shadow", "canary", "live", "off"], typer.Argument(metavar="STATUS")],
    *,
    author: Author,
    reason: Reason,
    server: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help=say("灰度的服务器，可重复", "Servers to try it on; repeat it.")),
    ] = None,
    percent: Annotated[int, typer.Option(min=0, max=100, help=say("灰度的账号百分比", "Share of accounts."))] = 0,
    yes: Yes = False,
    wait: Wait = True,
    json: Json = False,
) -> None:
    """Edit one word in the published files, and publish them; the file on disk stays as it is, and is named."""
    import asyncio  # noqa: PLC0415

    from moderation.rule import Canary  # noqa: PLC0415

    tried = Canary(frozenset(server or ()), percent) if server or percent else None
    asyncio.run(_set_status(settings_of(), rule, status, tried, (author, reason), yes=yes, wait=wait, json=json))


async def _set_status(
    settings: Settings, rule: str, status: Any, canary: Any, who: tuple[str, str], *, yes: bool, wait: bool, json: bool
) -> None:
    from console import publishing  # noqa: PLC0415
    from console.statuschange import with_status  # noqa: PLC0415

    async with publishing.opened(settings) as publications:
        _, layers = await publishing.in_force(publications, settings)
        edited, place = with_status(layers, rule, status, canary)
        made = await publishing.draft(publications, settings, edited, _tested(edited), *who)
        await _put_forward(settings, publications, made, yes=yes, wait=wait, json=json)
        where = f"{place.file}:{place.node.value['status'].line}"
        typer.echo(say(f"你的文件里也要改：{where}", f"change it in your file, too: {where}"), err=True)
