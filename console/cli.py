"""The command `qingliu`. Each command imports what it needs when it runs, so that help is there at once.

stdout is data, stderr is progress. Exit codes: 0 fine, 1 findings, 2 usage or settings, 3 broker or store unreachable.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperGroup

from console import Unreachable
from console.words import say
from moderation.errors import QingliuError, RuleSetRejected, SettingsError, StoreUnavailable

if TYPE_CHECKING:
    from rich.console import RenderableType

    from console.doctor import Check
    from moderation.campaign import Campaign, Mark
    from moderation.events import ChatEvent
    from moderation.moderator import Moderator
    from moderation.ruleset import RuleSet
    from streams.settings import Settings

FINDINGS: Final = 1
USAGE: Final = 2
UNREACHABLE: Final = 3


class Commands(TyperGroup):
    """The commands, and what becomes of the errors that are the user's to mend: one line each, no traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command, with errors told and turned into exit codes."""
        try:
            return super().invoke(ctx)
        except RuleSetRejected as exc:
            raise _told(exc, FINDINGS) from None
        except SettingsError as exc:
            raise _told(exc, USAGE) from None
        except (Unreachable, StoreUnavailable) as exc:
            raise _told(exc, UNREACHABLE) from None


def _told(exc: QingliuError, code: int) -> typer.Exit:
    typer.echo(str(exc), err=True)
    return typer.Exit(code)


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
campaigns = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help=say("团伙：一起发同一个联系方式或同一套话的账号", "Accounts that drop one handle or say one script."),
)
app.add_typer(campaigns, name="campaigns")

Rules = Annotated[
    list[Path] | None,
    typer.Option(
        "--rules",
        metavar="DIR",
        help=say(
            "规则目录，可重复，后面的覆盖前面的；第一个没有 policy.yaml 时，以自带规则垫底",
            "Directory of rules; repeat it, later ones override. Without policy.yaml in the first one, it lies on the "
            "shipped rules.",
        ),
    ),
]
Json = Annotated[bool, typer.Option("--json", help=say("输出 JSON", "Print JSON."))]
CampaignId = Annotated[str, typer.Argument(metavar="ID", help=say("团伙编号", "The campaign's id."))]
HandleKind = Annotated[str, typer.Argument(metavar="TYPE", help=say("qq、wx、url……", "qq, wx, url, …"))]
HandleValue = Annotated[str, typer.Argument(metavar="VALUE", help=say("号码、账号或网址", "Number, id or address."))]
DryRun = Annotated[bool, typer.Option("--dry-run", help=say("只预览，不执行", "Show what would be done."))]


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

    judging, out, dead = Judge(_moderator(rules)), sys.stdout.buffer, 0
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
    found = explained(_ruleset(rules), event)
    if json:
        _print_json(found)
        return
    from console.show import explanation  # noqa: PLC0415

    _print(explanation(found, event))


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


@app.command(help=say("撤销一个处罚（申诉通过）", "Undo one action, as after an appeal."))
def revert(
    action_id: Annotated[str, typer.Argument(help=say("处罚指令编号", "The action's id."))],
    *,
    account: Annotated[str, typer.Option(metavar="ID", help=say("被处罚的账号", "The account it was for."))],
    operator: Annotated[str, typer.Option(metavar="NAME", help=say("操作人", "Who orders it."))],
    reason: Annotated[str, typer.Option(metavar="TEXT", help=say("理由", "Why."))],
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help=say("等到撤销指令发出", "Wait until the revert was sent."))
    ] = True,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Show the action, publish the command, and wait until the game servers can read the revert."""
    import asyncio  # noqa: PLC0415

    from console import revert as undoing  # noqa: PLC0415
    from console.show import undone  # noqa: PLC0415

    command = undoing.order(action_id, account, operator, reason)
    undo = asyncio.run(undoing.carry_out(_settings(), command, wait=wait and not dry_run, dry_run=dry_run))
    if undo.action is None:
        raise _told(
            SettingsError(
                say(
                    f"台账里没有账号 {account} 的指令 {action_id}",
                    f"the ledger knows no action {action_id} of {account}",
                )
            ),
            FINDINGS,
        )
    if json:
        _print_json(undo)
    else:
        _print(undone(undo, dry_run=dry_run))
    if wait and not dry_run and undo.revert is None:
        raise Unreachable(
            say(
                "命令已写入，但没有等到撤销指令：没有 worker 在运行？它启动后会执行",
                "the command is written, but no worker carried it out in time: it will when one runs",
            )
        )


@app.command(help=say("运行一个处理进程", "Run a worker until SIGTERM."))
def worker(rules: Rules = None) -> None:
    """Run a worker; without a broker or store in the settings, with embedded ones that keep nothing."""
    import asyncio  # noqa: PLC0415

    from aiokafka.errors import KafkaError  # noqa: PLC0415

    from streams.worker import log_json, work  # noqa: PLC0415

    settings = _settings(rules)
    log_json(settings.log_level)
    try:
        code = asyncio.run(work(settings))
    except KafkaError as exc:  # once it runs, it waits for a broker that went away
        raise Unreachable(f"QINGLIU_KAFKA={settings.kafka}: {exc!r}") from None
    raise typer.Exit(code)


@topics.command("create", help=say("建立缺少的主题", "Create the topics that are missing."))
def create(*, dry_run: DryRun = False, json: Json = False) -> None:
    """Print the topics that were missing, one a line."""
    import asyncio  # noqa: PLC0415

    from console.broker import make_topics  # noqa: PLC0415

    made = asyncio.run(make_topics(_settings(), dry_run=dry_run))
    if json:
        _print_json({"created": [] if dry_run else made, "missing": made if dry_run else []})
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

    checks = asyncio.run(examine(_settings(rules)))
    if json:
        _print_json(checks)
    else:
        from console.show import checkup  # noqa: PLC0415

        _print(checkup(checks))
    raise typer.Exit(_verdict(checks))


def _verdict(checks: list[Check]) -> int:
    failed = [check for check in checks if check.status == "FAIL"]
    return UNREACHABLE if any(check.unreachable for check in failed) else FINDINGS if failed else 0


@app.command(help=say("导出接口契约", "Print or write the published contracts."))
def schema(
    *, write: Annotated[Path | None, typer.Option(metavar="DIR", help=say("写到目录", "Write them into DIR."))] = None
) -> None:
    """Print every contract as one JSON object, file name to text, or write the files and print their paths."""
    from console import contracts  # noqa: PLC0415

    if write is None:
        _print_json(contracts.documents())
        return
    try:
        for path in contracts.write(write):
            typer.echo(path)
    except OSError as exc:
        raise SettingsError(f"--write {write}: {exc.strerror}") from None


@app.command(help=say("显示每个设置和它的来源", "Show every setting and where it came from."))
def config(*, json: Json = False) -> None:
    """Secrets are masked."""
    from streams.settings import describe  # noqa: PLC0415

    settings = describe(_settings())
    if json:
        _print_json({name: {"value": value, "source": source} for name, value, source in settings})
        return
    from console.show import settings_table  # noqa: PLC0415

    _print(settings_table(settings))


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

    raise typer.Exit(asyncio.run(play(_settings(rules), Script(seconds, rate, file, seed), json=json)))


# --- campaigns


@campaigns.command("list", help=say("列出团伙，最近有人加入的在前", "List campaigns, those joined last first."))
def list_campaigns(
    *, most: Annotated[int, typer.Option(min=1, max=200, help=say("最多几个", "At most."))] = 20, json: Json = False
) -> None:
    """Print the campaigns that were reached."""
    import asyncio  # noqa: PLC0415

    from console.campaigns import listing, newest  # noqa: PLC0415

    found = asyncio.run(newest(_settings(), most))
    if json:
        _print_json(found)
    elif found:
        _print(listing(found))
    else:
        typer.echo(say("还没有团伙", "no campaigns yet"), err=True)


@campaigns.command("show", help=say("显示一个团伙：成员和证据", "Show a campaign: members and evidence."))
def show_campaign(campaign_id: CampaignId, *, json: Json = False) -> None:
    """Exit 1 if there is no such campaign."""
    from console.campaigns import dossier  # noqa: PLC0415

    one = _campaign(campaign_id)
    if json:
        _print_json(one)
    else:
        _print(dossier(one))


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
def mark_handle(kind: HandleKind, value: HandleValue, *, dry_run: DryRun = False) -> None:
    """Mark a handle as bad."""
    _mark(kind, value, "bad", dry_run=dry_run)


@campaigns.command(
    "allow", help=say("标为正当：谁发它都不再算进团伙", "Nobody joins a campaign by this handle any more.")
)
def allow_handle(kind: HandleKind, value: HandleValue, *, dry_run: DryRun = False) -> None:
    """Mark a handle as harmless. Members stay members; reverting what befell them is another matter."""
    _mark(kind, value, "allowed", dry_run=dry_run)


@campaigns.command("unmark", help=say("去掉标记", "Take a mark back."))
def unmark_handle(kind: HandleKind, value: HandleValue, *, dry_run: DryRun = False) -> None:
    """Take a mark back."""
    _mark(kind, value, None, dry_run=dry_run)


def _mark(kind: str, value: str, mark: Mark | None, *, dry_run: bool) -> None:
    import asyncio  # noqa: PLC0415

    from console.campaigns import key_of, put_mark  # noqa: PLC0415

    key, settings = key_of(kind, value), _settings()
    if not dry_run:
        asyncio.run(put_mark(settings, key, mark))
    done = {"bad": say("恶意", "bad"), "allowed": say("正当", "allowed"), None: say("无标记", "unmarked")}[mark]
    typer.echo(f"{key} → {done}" + (say("（只是预览）", " (a preview only)") if dry_run else ""))


def _campaign(campaign_id: str) -> Campaign:
    import asyncio  # noqa: PLC0415

    from console.campaigns import find, unknown  # noqa: PLC0415

    found = asyncio.run(find(_settings(), campaign_id))
    if found is None:
        raise _told(SettingsError(unknown(campaign_id)), FINDINGS)
    return found


def _tell_fingerprint(lines: list[str]) -> None:
    from console.campaigns import fingerprint  # noqa: PLC0415

    typer.echo(say("末行指纹 ", "hash of the last line ") + fingerprint(lines[-1]), err=True)


# --- what the commands share


def _settings(rules: list[Path] | None = None) -> Settings:
    from console.layers import directories  # noqa: PLC0415
    from streams.settings import Settings  # noqa: PLC0415

    settings = Settings.load({"rules": tuple(rules) if rules else None})
    return settings.model_copy(update={"rules": directories(settings.rules)})


def _ruleset(rules: list[Path] | None) -> RuleSet:
    from streams.rules import load_rules  # noqa: PLC0415

    return load_rules(_settings(rules).rules)


def _moderator(rules: list[Path] | None) -> Moderator:
    from moderation.moderator import Moderator  # noqa: PLC0415

    return Moderator(_ruleset(rules))


def _print(shown: RenderableType) -> None:
    from console.show import printer  # noqa: PLC0415

    printer().print(shown)


def _print_json(value: object) -> None:
    import msgspec  # noqa: PLC0415

    sys.stdout.buffer.write(msgspec.json.encode(value) + b"\n")
    sys.stdout.buffer.flush()
