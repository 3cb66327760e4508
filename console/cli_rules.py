"""The commands of those who write rules: check them, test them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from console.command import FINDINGS, Json, print_json, settings_of, show, show_line
from console.words import say
from moderation.errors import SettingsError

if TYPE_CHECKING:
    from rich.console import RenderableType

rules = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help=say("规则：检查、测试", "Rules: check and test."))

Directories = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="[DIR]...",
        exists=True,
        file_okay=False,
        help=say(
            "规则目录，后面的覆盖前面的；没有 policy.yaml 的目录以自带规则垫底；不写就是正在用的规则",
            "Directories of rules, later ones override; one without policy.yaml lies on the shipped rules. None: the "
            "rules in use.",
        ),
    ),
]
Format = Literal["text", "json", "github", "sarif"]


@rules.command(help=say("检查规则和词库，一次说完所有问题", "Check rules and lexicons; say every problem at once."))
def lint(
    directories: Directories = None,
    *,
    format: Annotated[Format, typer.Option(help=say("给人看、给程序看", "For people, or for what."))] = "text",  # noqa: A002
    strict: Annotated[
        bool, typer.Option("--strict", help=say("有警告也算不通过", "Warnings are findings, too."))
    ] = False,
    json: Json = False,
) -> None:
    """Exit 0 if nothing is wrong, 1 on errors (or warnings, if strict), 2 on wrong usage."""
    from console import lint as linting  # noqa: PLC0415

    report = linting.lint(settings_of(directories).rules)
    if json or format == "json":
        print_json(linting.as_json(report))
    elif format == "text":
        for line in linting.text(report):
            show_line(line)
    else:
        sys.stdout.write(linting.github(report) if format == "github" else linting.sarif(report))
    _tell(linting.summary(report))
    if report.count("error") or (strict and report.problems):
        raise typer.Exit(FINDINGS)


@rules.command("test", help=say("跑规则文件里的 hit / pass 例子", "Run the hit and pass tests of the rule files."))
def run_tests(
    directories: Directories = None,
    *,
    rule: Annotated[
        list[str] | None, typer.Option(metavar="ID", help=say("只测这条规则，可重复", "Only this rule; repeat it."))
    ] = None,
    json: Json = False,
) -> None:
    """Exit 0 if all hold, 1 if one does not; drafts are tested, too, rules that are off are not."""
    from rich.text import Text  # noqa: PLC0415

    from console import ruletests  # noqa: PLC0415

    try:
        outcome = ruletests.run(settings_of(directories).rules, rule or (), progress=sys.stderr.isatty() and not json)
    except KeyError as exc:
        raise SettingsError(say(f"没有规则 {exc.args[0]}", f"there is no rule {exc.args[0]}")) from None
    if json:
        print_json(ruletests.as_json(outcome))
    else:
        for part in ruletests.report(outcome):
            (show_line if isinstance(part, Text) else show)(part)
    _tell(ruletests.summary(outcome))
    if outcome.failed:
        raise typer.Exit(FINDINGS)


def _tell(said: RenderableType) -> None:
    """Print something for people on stderr."""
    from console.show import printer  # noqa: PLC0415

    printer(stderr=True).print(said)
