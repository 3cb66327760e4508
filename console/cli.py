"""The command `qingliu`. Each command imports what it needs when it runs, so that help is there at once.

stdout is data, stderr is progress. Exit codes: 0 fine, 1 findings, 2 usage or settings, 3 broker or store unreachable.
"""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003  typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer

from console import (
    cli_appeals,
    cli_audit,
    cli_backtest,
    cli_bench,
    cli_campaigns,
    cli_contract,
    cli_daily,
    cli_letters,
    cli_lexicon,
    cli_observe,
    cli_orders,
    cli_publish,
    cli_rules,
    cli_trust,
    cli_worker,
)
from console.command import (
    FINDINGS,
    UNREACHABLE,
    Commands,
    DryRun,
    Json,
    Rules,
    moderator_of,
    print_json,
    ruleset_of,
    settings_of,
    show,
)
from console.words import say
from moderation.errors import SettingsError

if TYPE_CHECKING:
    from console.doctor import Check
    from moderation.events import ChatEvent

app = typer.Typer(
    cls=Commands,
    name="qingliu",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=say("清流：游戏聊天实时治理", "Real-time moderation of in-game chat."),
)
topics = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help=say("Kafka 主题", "Kafka topics."))
app.add_typer(topics, name="topics")
app.add_typer(cli_orders.app)
app.add_typer(cli_worker.app)
app.add_typer(cli_observe.app)
app.add_typer(cli_bench.app)
app.add_typer(cli_appeals.appeals, name="appeals")
app.add_typer(cli_campaigns.campaigns, name="campaigns")
app.add_typer(cli_letters.dead_letters, name="dead-letters")
app.add_typer(cli_audit.audit, name="audit")
app.add_typer(cli_daily.app)
app.add_typer(cli_contract.contract, name="contract")
app.add_typer(cli_rules.rules, name="rules")
app.add_typer(cli_lexicon.lexicon, name="lexicon")
cli_rules.rules.add_typer(cli_backtest.app)
cli_rules.rules.add_typer(cli_publish.app)
cli_rules.rules.add_typer(cli_trust.app)


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a terminal that is not UTF-8
    app()


# --- judging


@app.command(
    help=say("判定一个聊天文件：每行一个事件，每行一个结果", "Judge a file of chat events, one JSON per line.")
)
def judge(
    file: Annotated[
        typer.FileBinaryRead, typer.Argument(help=say("JSON 行文件，- 为标准输入", "JSON lines; - is stdin."))
    ],
    rules: Rules = None,
    *,
    progress: Annotated[bool, typer.Option("--progress", help=say("显示进度", "Show progress on stderr."))] = False,
) -> None:
    """Judge a file with its own event times, state in memory. Exits 1 if a line was no chat event."""
    import asyncio  # noqa: PLC0415

    dead = asyncio.run(_judge(file, rules, progress=progress))
    if dead:
        typer.echo(say(f"{dead} 行不是聊天事件", f"{dead} lines are no chat events"), err=True)
        raise typer.Exit(FINDINGS)


async def _judge(file: Any, rules: list[Path] | None, *, progress: bool) -> int:
    from console.judge import Judge, batches  # noqa: PLC0415
    from console.show import Tally  # noqa: PLC0415
    from streams import garbage  # noqa: PLC0415

    judging, out, dead = Judge(moderator_of(rules)), sys.stdout.buffer, 0
    garbage.settle()
    with Tally(say("判定", "judged"), on=progress) as tally:
        for lines in batches(file):
            batch = await judging.batch(lines)
            out.write(batch.output)
            out.flush()
            dead += batch.dead
            tally.add(batch.events)
    return dead


@app.command(help=say("解释一句话为什么这样判", "Explain why a text is judged as it is."))
def explain(  # noqa: PLR0913  what is known of a message is many things
    text: Annotated[str, typer.Argument(help=say("玩家说的话", "What the player said."))],
    *,
    channel: Annotated[str, typer.Option(help=say("频道", "Channel."))] = "world",
    level: Annotated[int | None, typer.Option(help=say("发言人等级", "Sender's level."))] = None,
    vip: Annotated[int | None, typer.Option(help=say("发言人 VIP", "Sender's VIP."))] = None,
    age_days: Annotated[float | None, typer.Option(help=say("建号天数", "Age of the account in days."))] = None,
    name: Annotated[str | None, typer.Option(help=say("发言人昵称", "Sender's name."))] = None,
    guild: Annotated[str | None, typer.Option(help=say("发言人公会", "Sender's guild."))] = None,
    to_vip: Annotated[int | None, typer.Option(help=say("私聊对象的 VIP", "Recipient's VIP (private)."))] = None,
    friend: Annotated[
        bool | None,
        typer.Option("--friend/--stranger", help=say("私聊对象是不是好友", "Whether the recipient is a friend.")),
    ] = None,
    rules: Rules = None,
    json: Json = False,
) -> None:
    """Judge one message alone, by a sender without strikes, and show everything that was looked at."""
    from moderation.explain import explain as explained  # noqa: PLC0415

    sender = {"account_id": "explain", "level": level, "vip": vip, "account_age_days": age_days}
    sender |= {"name": name, "guild": guild, "guild_id": guild}
    event = _event(text, channel, sender, {"vip": to_vip, "is_friend": friend})
    found = explained(ruleset_of(rules), event)
    if json:
        print_json(found)
        return
    from console.show import explanation  # noqa: PLC0415

    show(explanation(found, event))


def _event(text: str, channel: str, sender: dict[str, Any], recipient: dict[str, Any]) -> ChatEvent:
    """Make the event that a game server would have sent; its limits hold for what was typed here, too."""
    import json  # noqa: PLC0415
    import time  # noqa: PLC0415

    from moderation.errors import EventError  # noqa: PLC0415
    from moderation.events import decode_event  # noqa: PLC0415

    said: dict[str, Any] = {"event_id": "explain", "ts": time.time_ns() // 1_000_000, "server_id": "explain"}
    said |= {"channel": channel, "text": text, "sender": _known(sender)}
    if channel == "private" or _known(recipient):
        said["recipient"] = {"account_id": "recipient"} | _known(recipient)
    try:
        return decode_event(json.dumps(said).encode(), keyed=False)
    except EventError as exc:
        raise SettingsError(say(f"这不是一个聊天事件：{exc}", f"this is no chat event: {exc}")) from None


def _known(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if value is not None}


# --- operating


@topics.command("create", help=say("建立缺少的主题", "Create the topics that are missing."))
def create(*, dry_run: DryRun = False, json: Json = False) -> None:
    """Print the topics that were missing, one a line."""
    import asyncio  # noqa: PLC0415

    from console.broker import make_topics  # noqa: PLC0415

    made = asyncio.run(make_topics(settings_of(), dry_run=dry_run))
    if json:
        print_json({"created": [] if dry_run else made, "missing": made if dry_run else []})
        return
    for name in made:
        typer.echo(name)
    if not made:
        typer.echo(say("主题都在", "all topics are there"), err=True)


@app.command(help=say("检查环境，并说明怎么修", "Check the environment; say what mends it."))
def doctor(*, rules: Rules = None, json: Json = False) -> None:
    """Exit 0 when nothing failed, 1 on failures, 3 where broker or store cannot be reached."""
    import asyncio  # noqa: PLC0415

    from console.doctor import examine  # noqa: PLC0415

    checks = asyncio.run(examine(settings_of(rules)))
    if json:
        print_json(checks)
    else:
        from console.show import checkup  # noqa: PLC0415

        show(checkup(checks))
    raise typer.Exit(_verdict(checks))


def _verdict(checks: list[Check]) -> int:
    failed = [check for check in checks if check.status == "FAIL"]
    return UNREACHABLE if any(check.unreachable for check in failed) else FINDINGS if failed else 0


@app.command(help=say("导出接口契约", "Print or write the published contracts."))
def schema(
    *,
    write: Annotated[Path | None, typer.Option(metavar="DIR", help=say("写到目录", "Write them into DIR."))] = None,
    rules: Annotated[
        bool,
        typer.Option("--rules", help=say("规则文件的 JSON Schema，给编辑器用", "Those of rule files.")),
    ] = False,
) -> None:
    """Print every contract as one JSON object, file name to text, or write the files and print their paths."""
    from console import contracts, ruleschema  # noqa: PLC0415

    made = ruleschema.documents() if rules else contracts.documents()
    if write is None:
        print_json(made)
        return
    try:
        for path in contracts.write(write, made):
            typer.echo(path)
    except OSError as exc:
        raise SettingsError(f"--write {write}: {exc.strerror}") from None


@app.command(help=say("显示每个设置和它的来源", "Show every setting and where it came from."))
def config(*, json: Json = False) -> None:
    """Secrets are masked."""
    from streams.settings import describe  # noqa: PLC0415

    settings = describe(settings_of())
    if json:
        print_json({name: {"value": value, "source": source} for name, value, source in settings})
        return
    from console.show import settings_table  # noqa: PLC0415

    show(settings_table(settings))


@app.command(help=say("演示：内嵌服务器、假玩家、实时处罚", "Play chat against embedded servers, live."))
def demo(
    *,
    seconds: Annotated[
        float | None, typer.Option(min=1, help=say("播放几秒，默认到 Ctrl-C", "How long; else until Ctrl-C."))
    ] = None,
    rate: Annotated[float, typer.Option(min=1, max=100_000, help=say("每秒消息数", "Messages per second."))] = 500,
    file: Annotated[
        Path | None,
        typer.Option(
            "--input", exists=True, dir_okay=False, help=say("播放 JSON 行文件", "Play chat events from FILE.jsonl.")
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help=say("随机种子", "Of the chat that is made up."))] = 1,
    rules: Rules = None,
    json: Json = False,
) -> None:
    """Exit 1 if an event has no outcome, 3 if a server or the worker ended by itself."""
    import asyncio  # noqa: PLC0415

    from console.demo import Script, play  # noqa: PLC0415

    raise typer.Exit(asyncio.run(play(settings_of(rules), Script(seconds, rate, file, seed), json=json)))
