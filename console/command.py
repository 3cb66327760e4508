"""What the commands share: options, how settings and rules are read, how things are printed, how errors end."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperGroup

from console import Unreachable
from console.words import say
from moderation.errors import QingliuError, RuleSetRejected, SettingsError, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

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
        with exit_codes():
            return super().invoke(ctx)


@contextmanager
def exit_codes() -> Iterator[None]:
    """Tell the errors that are the user's to mend, and raise typer.Exit with their exit code instead."""
    try:
        yield
    except RuleSetRejected as exc:
        raise _refused(exc) from None
    except SettingsError as exc:
        raise told(exc, USAGE) from None
    except (Unreachable, StoreUnavailable) as exc:
        raise told(exc, UNREACHABLE) from None


def _refused(exc: RuleSetRejected) -> typer.Exit:
    """Say what is wrong with the rules, a problem a line; return how to exit."""
    from console.show import visible  # noqa: PLC0415

    for one in exc.problems:
        words = say(one.message, one.english or one.message)
        typer.echo(visible(f"{one.file}:{one.line}:{one.column} {one.code} {words}"), err=True)
    return typer.Exit(FINDINGS)


def told(exc: QingliuError, code: int) -> typer.Exit:
    """Say on one line what went wrong; return how to exit."""
    typer.echo(str(exc), err=True)
    return typer.Exit(code)


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
Operator = Annotated[str, typer.Option(metavar="NAME", help=say("操作人", "Who orders it."))]
Reason = Annotated[str, typer.Option(metavar="TEXT", help=say("理由", "Why."))]
Viewer = Annotated[
    str | None,
    typer.Option("--operator", metavar="NAME", help=say("谁在看；默认本机登录名", "Who looks; else the login.")),
]
Why = Annotated[
    str, typer.Option("--why", metavar="TEXT", help=say("为什么看，记入审计", "Why you look: it goes on record."))
]
WhyShown = Annotated[
    str | None,
    typer.Option(
        "--why",
        metavar="TEXT",
        help=say("为什么看原文，记入审计；不写不显示原文", "Why you look: shows the text, and goes on record."),
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help=say("只预览，不执行", "Show what would be done."))]


def settings_of(rules: list[Path] | None = None, *, processes: int | None = None) -> Settings:
    """Return the settings, with what was given as a flag in place of theirs. Raises SettingsError."""
    from console.layers import directories  # noqa: PLC0415
    from streams.settings import Settings  # noqa: PLC0415

    settings = Settings.load({"rules": tuple(rules) if rules else None, "processes": processes})
    return settings.model_copy(update={"rules": directories(settings.rules)})


def ruleset_of(rules: list[Path] | None) -> RuleSet:
    """Return the rule set in these directories. Raises RuleSetRejected."""
    from streams.rules import load_rules  # noqa: PLC0415

    return load_rules(settings_of(rules).rules)


def moderator_of(rules: list[Path] | None) -> Moderator:
    """Return a moderator under the rules in these directories."""
    from moderation.moderator import Moderator  # noqa: PLC0415

    return Moderator(ruleset_of(rules))


def show(shown: RenderableType) -> None:
    """Print something for people on stdout."""
    from console.show import printer  # noqa: PLC0415

    printer().print(shown)


def show_line(line: RenderableType) -> None:
    """Print a line on stdout as it is, however long: who searches for it finds it whole."""
    from console.show import printer  # noqa: PLC0415

    printer().print(line, soft_wrap=True)


def print_json(value: object) -> None:
    """Print a value as one line of JSON."""
    import msgspec  # noqa: PLC0415

    sys.stdout.buffer.write(msgspec.json.encode(value) + b"\n")
    sys.stdout.buffer.flush()
