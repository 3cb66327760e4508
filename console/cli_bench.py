"""`qingliu bench`: how fast it is here, beside what else one would do. The measuring is in bench/, of a checkout."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer

from console.command import FINDINGS, Json, print_json, show
from console.words import say
from moderation.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

app = typer.Typer(rich_markup_mode=None)

_ROOT: Final = Path(__file__).parent.parent


def module(name: str, checkout: Path = _ROOT) -> Any:
    """Import from bench/ of the checkout that we run from. Raises SettingsError where there is none."""
    if not (checkout / "bench" / "run.py").is_file():
        raise SettingsError(
            say(
                "bench 不在安装包里，只在代码仓库里：git clone 仓库，在里面执行 make bench",
                "bench is no part of the installed package: clone the repository and run make bench in it",
            )
        )
    if str(checkout) not in sys.path:
        sys.path.insert(0, str(checkout))
    return importlib.import_module(f"bench.{name}")


@app.command(help=say("测这台机器上有多快，和别的做法比", "How fast it is here, beside what else one would do."))
def bench(
    *,
    quick: Annotated[bool, typer.Option("--quick", help=say("五分钟以内", "Within five minutes."))] = False,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PART",
            help=say("只测这部分，可重复；写错会列出全部", "Only this part; repeat it. A wrong name lists them all."),
        ),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help=say("写一页 HTML 报告", "Write an HTML page."))
    ] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help=say("输出 Markdown 表格", "Print tables as Markdown."))
    ] = False,
    gate: Annotated[
        bool,
        typer.Option(
            "--gate",
            help=say("一分钟内：比值低于下限就退出 1", "Within a minute: exit 1 if a ratio is below its floor."),
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Exit 0 whatever is measured; 1 if a step could not be measured, or a ratio of the gate is below its floor."""
    if gate:
        judged(module("gate").held(), json=json)
    _run(quick=quick, only=only or (), html=html, markdown=markdown, json=json)


def _run(*, quick: bool, only: Sequence[str], html: Path | None, markdown: bool, json: bool) -> None:
    result = module("run").run("quick" if quick else "full", only)
    if html:
        try:
            html.write_bytes(module("page").html(result))
        except OSError as exc:
            raise SettingsError(f"--html {html}: {exc.strerror}") from None
    if json:
        print_json(result.plain() | {"targets": module("targets").outcomes(result)})
    elif markdown:
        typer.echo(module("shown").markdown(result))
    else:
        show(module("shown").shown(result))
    raise typer.Exit(FINDINGS if result.missing else 0)


def judged(floors: Sequence[Any], *, json: bool) -> NoReturn:
    """Print the ratios of the gate beside their floors; exit 1 if one is below."""
    if json:
        print_json({"held": all(one.held for one in floors), "ratios": floors})
    else:
        show(module("gate").table(floors))
    raise typer.Exit(0 if all(one.held for one in floors) else FINDINGS)
