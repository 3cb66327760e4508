"""Tables of words as people keep them: rows out of Excel, CSV and text files, and into them.

What spreadsheets do to words is undone here: numbers for names (123456789.0), byte order marks, GB 18030, the sign that
keeps a cell from being a formula. What they cannot tell us is refused: a formula, a number that lost its digits.
"""

from __future__ import annotations

import csv
import re
import unicodedata
import zipfile
from datetime import date, datetime
from io import StringIO
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from console.words import say
from moderation.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from xlsxwriter.format import Format
    from xlsxwriter.workbook import Workbook

#: Bytes of a table unpacked: far more than any lexicon, far less than a zip bomb.
MOST_BYTES: Final = 1 << 26
#: Excel keeps 15 digits of a number; those beyond are zeros that nobody wrote.
_DIGITS: Final = 10**15
#: A cell that begins with one of these is a formula to a spreadsheet that opens the file.
RISKY: Final = ("=", "+", "-", "@", "\t", "\r")
_FORMULA: Final = re.compile(rb'<(?:\w+:)?c\b[^>]*?\br="[A-Z]+([0-9]+)"[^>]*>\s*<(?:\w+:)?f\b')
_CELL: Final = re.compile(rb'<(?:\w+:)?c\b[^>]*?\br="([A-Z]+)([0-9]+)"')
#: A sheet is unpacked whole, its empty cells too: one cell at its far end would take all memory.
MOST_ROWS: Final = 100_000
_FIRST_SHEET: Final = re.compile(rb'<(?:\w+:)?sheet\b[^>]*?\b\w+:id="([^"]+)"')


class Row(NamedTuple):
    """A row by its number in the file, from 1; `wrong` says why it cannot be read."""

    number: int
    cells: tuple[str, ...]
    wrong: str = ""


def read(path: Path) -> list[Row]:
    """Return the rows of the first sheet that are not empty. Raises SettingsError for a file that is no such table."""
    readers = {".xlsx": _xlsx, ".csv": _csv, ".txt": _lines}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise SettingsError(
            say(
                f"{path}: 只认 .xlsx、.csv、.txt；.xls 请另存为 .xlsx",
                f"{path}: no .xlsx, .csv or .txt; save .xls as .xlsx",
            )
        )
    if path.stat().st_size > MOST_BYTES:
        raise SettingsError(say(f"{path}: 文件太大", f"{path}: too large"))
    return [row for row in reader(path) if row.wrong or any(row.cells)]


def _xlsx(path: Path) -> Iterator[Row]:
    from python_calamine import CalamineError, CalamineWorkbook  # noqa: PLC0415  a start-up cost few commands need

    try:
        formulas = _formulas(path)
        with CalamineWorkbook.from_path(path) as book:
            rows = book.get_sheet_by_index(0).to_python(skip_empty_area=False)
    except (CalamineError, zipfile.BadZipFile, KeyError, OSError) as exc:
        raise SettingsError(
            say(f"{path}: 打不开，不是 xlsx？（{exc}）", f"{path}: cannot be read as xlsx ({exc})")
        ) from None
    for number, cells in enumerate(rows, 1):
        wrong = say("有公式；请粘贴成值", "a formula; paste its value") if number in formulas else _lost(cells)
        yield Row(number, tuple(map(_text, cells)), wrong)


def _formulas(path: Path) -> frozenset[int]:
    """Return the rows of the first sheet that hold formulas, of which the reader shows only the last values."""
    with zipfile.ZipFile(path) as book:
        if sum(part.file_size for part in book.infolist()) > MOST_BYTES:
            raise SettingsError(say(f"{path}: 解开后太大", f"{path}: too large unpacked"))
        first = _FIRST_SHEET.search(book.read("xl/workbook.xml"))
        parts = re.findall(rb"<(?:\w+:)?Relationship\b[^>]*>", book.read("xl/_rels/workbook.xml.rels"))
        names = {_attribute(part, b"Id"): _attribute(part, b"Target") for part in parts}
        target = names.get(first[1], b"") if first else b""
        sheet = target.decode().lstrip("/")
        content = book.read(sheet if sheet.startswith("xl/") else f"xl/{sheet}")
    if any(len(column) > 1 or int(row) > MOST_ROWS for column, row in _CELL.findall(content)):
        raise SettingsError(
            say(f"{path}: 太大，最多 {MOST_ROWS} 行、26 列", f"{path}: too large: {MOST_ROWS} rows, 26 columns at most")
        )
    return frozenset(map(int, _FORMULA.findall(content)))


def _attribute(tag: bytes, name: bytes) -> bytes:
    found = re.search(rb"\b" + name + rb'="([^"]*)"', tag)
    return found[1] if found else b""


def _lost(cells: Sequence[Any]) -> str:
    if any(isinstance(cell, float) and abs(cell) >= _DIGITS for cell in cells):
        return say(
            "数字超过 15 位，Excel 已经改掉了后面几位；请把这一列设成文本再填", "more than 15 digits: Excel lost some"
        )
    return ""


def _text(cell: object) -> str:
    match cell:
        case bool():
            return str(cell).lower()
        case float() if cell.is_integer():
            return str(int(cell))
        case datetime() if cell.hour or cell.minute:
            return f"{cell:%Y-%m-%d %H:%M}"
        case date():
            return f"{cell:%Y-%m-%d}"
        case _:
            return clean(str(cell))


def clean(cell: str) -> str:
    """Take out what nobody sees, and the sign that kept a cell from being a formula."""
    seen = "".join(" " if char in "\t\n\r\xa0" else char for char in cell if unicodedata.category(char) != "Cf")
    bare = "".join(char for char in seen if unicodedata.category(char) != "Cc").strip()
    return bare[1:] if bare[:1] == "'" and bare[1:].startswith(RISKY) else bare


def _csv(path: Path) -> Iterator[Row]:
    text = _decoded(path)
    first = text.partition("\n")[0]
    delimiter = max(",\t;", key=first.count)
    try:
        for number, cells in enumerate(csv.reader(StringIO(text, newline=""), delimiter=delimiter), 1):
            formula = any(cell.startswith("=") for cell in cells)
            wrong = say("像公式（以 = 开头）", "looks like a formula (begins with =)") if formula else ""
            yield Row(number, tuple(map(clean, cells)), wrong)
    except csv.Error as exc:
        raise SettingsError(f"{path}: {exc}") from None


def _lines(path: Path) -> Iterator[Row]:
    for number, line in enumerate(_decoded(path).splitlines(), 1):
        yield Row(number, (clean(line),))


def _decoded(path: Path) -> str:
    raw = path.read_bytes()
    encodings = ("utf-16",) if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig", "gb18030")
    for encoding in encodings:
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise SettingsError(say(f"{path}: 不是 UTF-8，也不是 GB 18030", f"{path}: neither UTF-8 nor GB 18030"))


# --- writing

_PLAIN: Final = {"strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}


def safe(cell: str) -> str:
    """Keep a cell from being a formula in whatever opens the file; `clean` undoes it."""
    return f"'{cell}" if cell.startswith(RISKY) else cell


def as_csv(rows: Iterable[Sequence[str]]) -> bytes:
    """Return rows as CSV that Excel opens as UTF-8."""
    out = StringIO(newline="")
    csv.writer(out).writerows([list(map(safe, row)) for row in rows])
    return out.getvalue().encode("utf-8-sig")


def write_xlsx(
    path: Path, rows: Sequence[Sequence[str]], classes: Sequence[Sequence[str]], widths: Sequence[int]
) -> None:
    """Write a workbook of text cells: the rows, and a sheet of classes (name, what they hold) to choose from."""
    from xlsxwriter.workbook import Workbook  # noqa: PLC0415  a start-up cost few commands need

    with Workbook(str(path), dict(_PLAIN)) as book:
        _sheet(book, "词条", rows, widths)
        _sheet(book, "词库说明", classes, (24, 60))
        names = {"validate": "list", "source": f"=词库说明!$A$2:$A${max(2, len(classes))}", "error_type": "warning"}
        book.get_worksheet_by_name("词条").data_validation(1, 1, 5000, 1, names)


def write_tables(path: Path, tables: Iterable[tuple[str, Sequence[Sequence[str | int]]]]) -> None:
    """Write a workbook with a sheet for each table, its first row its head; numbers are numbers to count with."""
    from xlsxwriter.workbook import Workbook  # noqa: PLC0415  a start-up cost few commands need

    with Workbook(str(path), dict(_PLAIN)) as book:
        for name, rows in tables:
            columns = zip(*rows, strict=True)
            _sheet(book, name, rows, [max(10, *(min(60, 2 * len(str(cell))) for cell in one)) for one in columns])


def _sheet(book: Workbook, name: str, rows: Sequence[Sequence[str | int]], widths: Sequence[int]) -> None:
    sheet = book.add_worksheet(name)
    text: Format = book.add_format({"num_format": "@"})  # a number typed here stays what was typed
    head: Format = book.add_format({"num_format": "@", "bold": True, "bg_color": "#DDEBF7"})
    for column, width in enumerate(widths):
        sheet.set_column(column, column, width, text)
    for number, row in enumerate(rows):
        for column, cell in enumerate(row):
            if isinstance(cell, int):
                sheet.write_number(number, column, cell)
            else:
                sheet.write_string(number, column, safe(cell), text if number else head)
    sheet.freeze_panes(1, 0)
