"""The commands for lexicons: words from and to Excel, CSV and text files."""

from __future__ import annotations

import sys
import time
from pathlib import Path  # noqa: TC003  typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from console.command import FINDINGS, Json, Rules, print_json, settings_of, show
from console.words import say
from moderation.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from console.lexicons import Change
    from moderation.rulefile import Layer

lexicon = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help=say("词库：从 Excel 导入、导出", "Lexicons: from and to Excel.")
)
Write = Annotated[bool, typer.Option("--write", help=say("写进文件；不写只预览", "Do it; without it, a preview."))]
Force = Annotated[bool, typer.Option("--force", help=say("已有同名文件就覆盖", "Overwrite a file."))]
Classes = Annotated[
    list[str] | None,
    typer.Option("--class", metavar="NAME", help=say("只要这个词库，可重复", "Only this class; repeat it.")),
]


def _layers(directories: Sequence[Path]) -> list[Layer]:
    from streams.rules import read_layer  # noqa: PLC0415

    return [read_layer(directory) for directory in directories]


@lexicon.command("import", help=say("把表格里的词加进词库", "Put the words of a table into lexicons."))
def import_words(
    file: Annotated[
        Path,
        typer.Argument(
            exists=True, dir_okay=False, help=say(".xlsx、.csv 或 .txt（每行一个词）", "A .xlsx, .csv or .txt.")
        ),
    ],
    *,
    name: Annotated[
        str, typer.Option("--class", metavar="NAME", help=say("表里没写词库的词放进哪个", "For rows without a class."))
    ] = "",
    into: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help=say("写进哪个文件；不写就是该词库所在的文件", "The lexicon file; default: the one with that class."),
        ),
    ] = None,
    note: Annotated[str, typer.Option(metavar="TEXT", help=say("新词库的说明", "What a new class holds."))] = "",
    write: Write = False,
    rules: Rules = None,
    json: Json = False,
) -> None:
    """Exit 1 if a row is invalid; the others are put in all the same."""
    from console import sheets  # noqa: PLC0415
    from console.lexicons import Importing, entries, target  # noqa: PLC0415
    from console.lint import frequency  # noqa: PLC0415

    if note and into is None:
        raise SettingsError(say("--note 要和 --into 一起用", "--note needs --into"))
    words = entries(sheets.read(file), name)
    directories = settings_of(rules).rules
    layers = _layers(directories)
    importing = Importing(layers, target(into, layers, directories) if into else "", note)
    _finish(importing.change(words, frequency, time.time_ns() // 1_000_000), write=write, json=json)


@lexicon.command(help=say("去掉词库里重复的词", "Take out terms that stand twice in their class."))
def dedupe(*, write: Write = False, rules: Rules = None, json: Json = False) -> None:
    """Of terms that are the same once folded, the first stays. Exit 1 if some could not be taken out."""
    from console.lexicons import repeated  # noqa: PLC0415

    _finish(repeated(_layers(settings_of(rules).rules)), write=write, json=json)


def _finish(change: Change, *, write: bool, json: bool) -> None:
    from console.show_lexicons import preview, summary  # noqa: PLC0415

    if write:
        change.write()
    if json:
        rows = [entry._asdict() for entry in change.entries]
        print_json({"entries": rows, "files": list(change.files), "written": write and bool(change.files)})
    else:
        show(preview(change))
        show(summary(change, written=write))
    if change.count("invalid"):
        raise typer.Exit(FINDINGS)


@lexicon.command(help=say("生成一张可以填的 Excel 表", "Make an Excel table to fill in."))
def template(
    file: Annotated[Path, typer.Argument(metavar="FILE.xlsx", dir_okay=False)],
    *,
    force: Force = False,
    rules: Rules = None,
) -> None:
    """Say on its second sheet which classes there are."""
    from console.lexicons import HEADERS, classes  # noqa: PLC0415
    from console.sheets import write_xlsx  # noqa: PLC0415
    from moderation.rulefile import draft  # noqa: PLC0415

    if file.suffix.lower() != ".xlsx":
        raise SettingsError(say("模板要以 .xlsx 结尾", "a template ends in .xlsx"))
    _free(file, force=force)
    write_xlsx(file, [HEADERS], classes(draft(_layers(settings_of(rules).rules))), (28, 24, 14, 8))
    typer.echo(file)


@lexicon.command(help=say("把词库导出成表格", "Write lexicons as a table."))
def export(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help=say(".xlsx 或 .csv；- 是标准输出", ".xlsx or .csv; - is stdout."))
    ],
    *,
    names: Classes = None,
    force: Force = False,
    rules: Rules = None,
) -> None:
    """Cells that a spreadsheet would take for formulas are written as text; import undoes that."""
    from console.lexicons import classes, table  # noqa: PLC0415
    from console.sheets import as_csv, write_xlsx  # noqa: PLC0415
    from moderation.rulefile import draft  # noqa: PLC0415

    made = draft(_layers(settings_of(rules).rules))
    rows = table(made, names or ())
    if str(file) == "-":
        sys.stdout.buffer.write(as_csv(rows))
        return
    _free(file, force=force)
    if file.suffix.lower() == ".xlsx":
        write_xlsx(file, rows, classes(made), (28, 24, 14, 8))
    elif file.suffix.lower() == ".csv":
        file.write_bytes(as_csv(rows))
    else:
        raise SettingsError(say("要以 .xlsx 或 .csv 结尾", "a table ends in .xlsx or .csv"))
    typer.echo(say(f"{len(rows) - 1} 个词 → {file}", f"{len(rows) - 1} terms → {file}"), err=True)


def _free(file: Path, *, force: bool) -> None:
    if file.exists() and not force:
        raise SettingsError(say(f"{file} 已经有了；换个名字，或加 --force", f"{file} exists; --force overwrites it"))
    if not file.absolute().parent.is_dir():
        raise SettingsError(say(f"没有文件夹 {file.parent}", f"there is no directory {file.parent}"))
