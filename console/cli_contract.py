"""The command that tests a game server's consumer."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003  typer reads the annotations
from typing import Annotated

import typer

from console.command import FINDINGS, Json, print_json, settings_of, show
from console.words import say
from moderation.errors import SettingsError

contract = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help=say("对接合约：游戏服自己的消费者", "The contract, kept by a game server's own consumer."),
)


@contract.callback()
def _group() -> None:
    """Keep `test` a command of its own, although it is the only one."""


@contract.command(
    "test",
    help=say(
        "检查游戏服的消费者守不守规则：发一组测试指令，看它的回执（不要对生产环境用）",
        "Publish a script of test actions and judge a consumer by its acks. Not against production.",
    ),
)
def conformance(
    *,
    account_prefix: Annotated[
        str | None, typer.Option(metavar="TEXT", help=say("编造的账号以此开头", "Made-up accounts begin with it."))
    ] = None,
    accounts: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help=say(
                "真实的测试账号，每行一个，游戏拒绝编造账号时用",
                "Test accounts, one a line, if the game refuses made-up ones.",
            ),
        ),
    ] = None,
    within: Annotated[
        float, typer.Option(min=1, max=240, metavar="SECONDS", help=say("等回执多久", "How long acks may take."))
    ] = 30,
    reference: Annotated[
        bool,
        typer.Option(
            "--reference",
            help=say("自检：测自带的参考消费者，用独立的主题", "Self-test: our own consumer, in topics of its own."),
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Exit 0 when every rule is kept, 1 where one is not."""
    import asyncio  # noqa: PLC0415

    from console.conformance import examine  # noqa: PLC0415

    if reference:
        _log_to_stderr()
    wait = examine(
        settings_of(), prefix=account_prefix, accounts=_accounts(accounts), within_s=within, reference=reference
    )
    report = asyncio.run(wait)
    if json:
        print_json(report)
    else:
        from console.show import checkup  # noqa: PLC0415

        typer.echo(report.run, err=True)
        show(checkup(report.checks))
    raise typer.Exit(0 if report.passed else FINDINGS)


def _accounts(file: Path | None) -> list[str] | None:
    try:
        return file.read_text("utf-8").split() if file else None
    except (OSError, UnicodeDecodeError) as exc:
        raise SettingsError(f"--accounts {file}: {exc}") from None


def _log_to_stderr() -> None:
    """Keep stdout for data: the reference consumer logs each broken record that it skips."""
    import structlog  # noqa: PLC0415

    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
