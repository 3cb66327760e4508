"""Words from and to tables: what a spreadsheet does to them is undone or refused, and no other line is touched."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from python_calamine import CalamineWorkbook
from xlsxwriter.workbook import Workbook

from console import sheets
from console.lexicons import Change, Entry, Importing, entries, repeated
from moderation.errors import SettingsError
from moderation.moderator import Moderator
from moderation.rulefile import draft, load
from tests.small_rules import LEXICONS, RULES, TS, event, layer
from tests.test_cli import run

if TYPE_CHECKING:
    from collections.abc import Sequence

FILE: Final = "lexicons/all.yaml"
WORDS: Final = """\
# 我们的词
sell:
  说明: 卖东西     # 对齐的注释
  terms:
    - 出金          # 老词
    - {term: 夏日券, until: 2027-06-15}

# ---- 下面是别的 ----
cash:
  说明: 现实的钱
  terms:
    -   现金
"""


def change(words: str, *asked: Entry, **options: Any) -> Change:
    """Put words into a file over the small rule set."""
    layers = [layer(), {"site/lexicons/own.yaml": words.encode()}]
    return Importing(layers, **options).change(asked, lambda _: 0, TS)


def results(made: Change) -> list[tuple[int, str]]:
    return [(entry.row, entry.result) for entry in made.entries]


def text(made: Change) -> str:
    [(_, new)] = made.files.values()
    return new.decode()


def sheet(path: Path, *rows: Sequence[object]) -> Path:
    with Workbook(str(path)) as book:
        page = book.add_worksheet()
        for number, row in enumerate(rows):
            page.write_row(number, 0, row)
    return path


# --- into a file


def test_words_come_behind_the_last_of_their_class_and_nothing_else_changes() -> None:
    made = change(
        WORDS, Entry(1, "冬日券", "sell"), Entry(2, "转账", "cash"), Entry(3, "秋日券", "sell", "2027-09-30", "true")
    )
    added = ["    - 冬日券\n", "    - {term: 秋日券, until: 2027-09-30, disguised: true}\n", "    -   转账\n"]
    lines = text(made).splitlines(keepends=True)
    assert [line for line in lines if line not in added] == WORDS.splitlines(keepends=True)
    assert lines[6:8] == added[:2]
    assert lines[-1] == added[2]


def test_line_ends_and_a_byte_order_mark_stay_as_they_were() -> None:
    old = ("\ufeff" + WORDS).replace("\n", "\r\n")
    new = text(change(old, Entry(1, "冬日券", "sell")))
    assert new.replace("    - 冬日券\r\n", "") == old


def test_a_file_without_a_last_line_end_gets_one_first() -> None:
    assert text(change(WORDS.rstrip("\n"), Entry(1, "转账", "cash"))) == WORDS + "    -   转账\n"


def test_a_word_that_is_there_in_other_writing_is_a_duplicate_with_its_place() -> None:
    written = ("現金", "cash"), ("出金", "sell"), ("新词", "sell"), ("新词", "sell")
    made = change(WORDS, *(Entry(row, *one) for row, one in enumerate(written, 1)))
    assert results(made) == [(1, "duplicate"), (2, "duplicate"), (3, "added"), (4, "duplicate")]
    assert f"{FILE}:12" in made.entries[1].why
    assert "3" in made.entries[3].why


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (Entry(1, "\u3000", "sell"), "E204"), (Entry(1, "词" * 33, "sell"), "E106"), (Entry(1, "甲&", "sell"), "E205"),
        (Entry(1, "新词", "sell", "2027-13-01"), "E210"), (Entry(1, "新词", "sel"), "sell"),
        (Entry(1, "新词", ""), "--class"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_put_in_says_why_and_the_others_are(entry: Entry, said: str) -> None:
    made = change(WORDS, entry, Entry(2, "冬日券", "sell"))
    assert results(made) == [(1, "invalid"), (2, "added")]
    assert said in made.entries[0].why
    assert "冬日券" in text(made)


def test_a_new_class_needs_a_note_and_goes_to_the_end() -> None:
    new = Entry(1, "老地方见", "code")
    assert results(change(WORDS, new)) == [(1, "invalid")]
    made = change(WORDS, new, into="site/lexicons/own.yaml", note="暗号: 本服")
    assert text(made) == WORDS + '\ncode:\n  说明: "暗号: 本服"\n  terms:\n    - 老地方见\n'


def test_a_class_that_is_written_on_one_line_is_refused_in_words() -> None:
    with pytest.raises(SettingsError, match="own"):
        change("sell:\n  说明: 卖\n  terms: [出金, 代练]\n", Entry(1, "冬日券", "sell"))


@settings(max_examples=60)
@given(st.text(min_size=1, max_size=20))
def test_whatever_stands_in_a_cell_comes_back_as_that_term_or_is_refused(term: str) -> None:
    word = sheets.clean(term)
    made = change(WORDS, Entry(1, word, "sell"))
    [entry] = made.entries
    if entry.result == "added":
        [(file, (_, new))] = made.files.items()
        read = draft([layer(), {file: new}])
        assert read.problems == ()
        assert (word, "sell") in {(t.text, t.lexicon) for t, _ in read.terms}


# --- out of tables


def test_excel_numbers_signs_and_invisible_characters_are_undone(tmp_path: Path) -> None:
    path = sheet(
        tmp_path / "a.xlsx", ("词条", "词库"), (123456789.0, "sell"), ("微\u200b信\xa0群 ", "sell"), (), ("'+v", "sell")
    )
    assert sheets.read(path)[1:] == [
        sheets.Row(2, ("123456789", "sell")), sheets.Row(3, ("微信 群", "sell")), sheets.Row(5, ("+v", "sell")),
    ]  # fmt: skip


def test_formulas_and_numbers_that_lost_their_digits_are_refused(tmp_path: Path) -> None:
    path = sheet(tmp_path / "a.xlsx", ("词条",), ("=1+1",), (1234567890123456789.0,), ("好词",))
    assert [(entry.row, entry.result) for entry in entries(sheets.read(path), "sell")] == [
        (2, "invalid"), (3, "invalid"), (4, "added"),
    ]  # fmt: skip


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
def test_csv_is_read_in_the_encodings_that_excel_writes(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text("词条;词库\n代练找我;sell\n=cmd|x;sell\n", encoding)
    rows = sheets.read(path)
    assert [row.cells for row in rows[:2]] == [("词条", "词库"), ("代练找我", "sell")]
    assert rows[2].wrong


def test_a_text_file_is_a_word_a_line(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("一个词\r\n\r\n另一个，词\r\n".encode("gb18030"))
    assert [(e.row, e.term, e.lexicon) for e in entries(sheets.read(path), "sell")] == [
        (1, "一个词", "sell"), (3, "另一个，词", "sell"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content"), [("a.xlsx", b"PK\x03\x04 no"), ("a.csv", b"\x81\x00\xff\xff"), ("a.xls", b"x")]
)
def test_what_is_no_table_is_wrong_usage(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SettingsError, match=name):
        sheets.read(tmp_path / name)


@given(st.text(max_size=12))
def test_no_exported_cell_is_a_formula_and_reading_it_gives_the_cell_again(cell: str) -> None:
    exported = sheets.safe(cell)
    assert not exported.startswith(sheets.RISKY)
    assert sheets.clean(exported) == sheets.clean(cell) or cell.startswith(("\t", "\r", "'"))


# --- the commands


@pytest.fixture
def site(tmp_path: Path) -> Path:
    for name, content in layer(
        lexicons__all_yaml=LEXICONS + "more:\n  说明: 多\n  terms:\n    - 甲词\n    - '=乙'\n"
    ).items():
        file = tmp_path / "site" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return tmp_path / "site"


def test_import_shows_first_and_writes_when_told_to(site: Path, tmp_path: Path) -> None:
    table = sheet(tmp_path / "a.xlsx", ("词条", "词库"), ("丙词", "more"), ("甲词", "more"), ("丁词", "nix"))
    before = (site / FILE).read_text("utf-8")
    shown = run("lexicon", "import", str(table), "--rules", str(site))
    assert (shown.exit_code, (site / FILE).read_text("utf-8")) == (1, before)
    assert "+    - 丙词" in shown.stdout
    done = json.loads(run("lexicon", "import", str(table), "--rules", str(site), "--write", "--json").stdout)
    assert [entry["result"] for entry in done["entries"]] == ["added", "duplicate", "invalid"]
    assert (site / FILE).read_text("utf-8") == before + "    - 丙词\n"


@pytest.mark.parametrize("name", ["a.xlsx", "a.csv"])
def test_what_was_exported_is_all_there_when_it_is_imported_again(site: Path, tmp_path: Path, name: str) -> None:
    table = tmp_path / name
    assert run("lexicon", "export", str(table), "--rules", str(site)).exit_code == 0
    again = json.loads(run("lexicon", "import", str(table), "--rules", str(site), "--json").stdout)
    assert {entry["result"] for entry in again["entries"]} == {"duplicate"}
    assert len(again["entries"]) == len(
        draft([{p.relative_to(site).as_posix(): p.read_bytes() for p in site.rglob("*.yaml")}]).terms
    )
    assert run("lexicon", "export", str(table), "--rules", str(site)).exit_code == 2


def test_export_to_stdout_is_csv_without_formulas(site: Path) -> None:
    out = run("lexicon", "export", "-", "--class", "more", "--rules", str(site)).stdout_bytes.decode("utf-8-sig")
    assert list(csv.reader(io.StringIO(out))) == [
        ["词条", "词库", "到期日", "伪装"],
        ["甲词", "more", "", ""],
        ["'=乙", "more", "", ""],
    ]
    assert run("lexicon", "export", "-", "--class", "mor", "--rules", str(site)).exit_code == 2


def test_the_template_has_headers_and_the_classes_there_are(site: Path, tmp_path: Path) -> None:
    path = tmp_path / "t.xlsx"
    assert run("lexicon", "template", str(path), "--rules", str(site)).exit_code == 0
    book = CalamineWorkbook.from_path(str(path))
    assert book.get_sheet_by_index(0).to_python() == [["词条", "词库", "到期日", "伪装"]]
    assert ["sell", "卖东西"] in book.get_sheet_by_index(1).to_python()


def test_dedupe_takes_out_what_stands_twice_but_not_what_differs(site: Path) -> None:
    own = "# 头\nmore:\n  说明: 多\n  terms:\n    - 甲词   # 重复\n    - 新词\n    - {term: 新词, until: 2030-01-01}\n"
    (site / "lexicons" / "own.yaml").write_text(own, "utf-8")
    result = run("lexicon", "dedupe", "--rules", str(site), "--write", "--json")
    assert [entry["result"] for entry in json.loads(result.stdout)["entries"]] == ["duplicate", "invalid"]
    assert (site / "lexicons" / "own.yaml").read_text("utf-8") == own.replace("    - 甲词   # 重复\n", "")


def test_nothing_stands_twice_in_what_is_shipped() -> None:
    shipped = Path(__file__).parent.parent / "rules"
    files = {path.relative_to(shipped).as_posix(): path.read_bytes() for path in shipped.rglob("*.yaml")}
    assert repeated([files]).entries == ()


def test_words_go_nowhere_but_where_a_rule_set_reads_them(site: Path, tmp_path: Path) -> None:
    table = tmp_path / "a.txt"
    table.write_text("新词", "utf-8")
    (site / "lexicons" / ".hidden.yaml").write_text("precious", "utf-8")
    for into in ("elsewhere/lexicons/x.yaml", "site/rules.yaml", "site/lexicons/x.txt", "site/lexicons/.hidden.yaml"):
        args = ("--class", "more", "--into", str(tmp_path / into), "--rules", str(site), "--write")
        assert run("lexicon", "import", str(table), *args).exit_code == 2, into
    other = site.parent / "other" / ".." / "site" / "lexicons" / "all.yaml"  # the same file by another name
    (site.parent / "other").mkdir()
    before = (site / FILE).read_text("utf-8")
    args = ("--class", "more", "--into", str(other), "--rules", str(site), "--write")
    assert run("lexicon", "import", str(table), *args).exit_code == 0
    assert (site / FILE).read_text("utf-8") == before + "    - 新词\n"


def test_a_file_that_somebody_changed_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "lexicons" / "own.yaml"
    file.parent.mkdir()
    file.write_text("# newer\n" + WORDS, "utf-8")
    made = Change((), {str(file): (WORDS.encode(), b"stale")})
    with pytest.raises(SettingsError, match="own"):
        made.write()
    assert file.read_text("utf-8") == "# newer\n" + WORDS


def test_a_sheet_with_a_cell_at_its_far_end_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    with Workbook(str(path)) as book:
        book.add_worksheet().write(1_048_575, 16_383, "x")
    with pytest.raises(SettingsError, match="xlsx"):
        sheets.read(path)


# --- combinations


def test_a_combination_counts_only_when_all_its_words_are_there_and_none_that_it_refuses() -> None:
    words = LEXICONS.replace("[出金, 代练, 收元宝]", "[出金, 甩号&急用钱~官方]")
    moderator = Moderator(load([layer(lexicons__all_yaml=words)]))
    said = {
        "甩号了急用钱": True, "急用钱，甩 号": True, "甩号了": False, "急用钱": False, "官方甩号急用钱": False,
        "出金": True,
    }  # fmt: skip
    for line, expected in said.items():
        [finding] = moderator.judge([event(line)])
        assert ("shadow.sell" in {hit.rule for hit in finding.hits}) == expected, line


def test_of_a_combination_the_reason_names_the_first_of_its_own_words() -> None:
    words = LEXICONS.replace("[出金, 代练, 收元宝]", "[出金, 甩号&急用钱~官方]")
    text = RULES.replace(
        "when: {lexicon: sell}\n  score: 100", "when: {all: [lexicon: cash, lexicon: sell]}\n  score: 100"
    )
    moderator = Moderator(load([layer(lexicons__all_yaml=words, rules_yaml=text)]))
    [finding] = moderator.judge([event("现金，急用钱才甩号")])
    assert next(hit.because for hit in finding.hits if hit.rule == "shadow.sell") == "甩号"
    [finding] = moderator.judge([event("现金出金")])
    assert next(hit.because for hit in finding.hits if hit.rule == "shadow.sell") == "出金"
