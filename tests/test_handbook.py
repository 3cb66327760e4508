"""The moderators' handbook: who does what stands there, in that order, gets what it says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from xlsxwriter.workbook import Workbook

from moderation.rulewords import PROBLEMS
from tests.test_cli import run

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parent.parent
HANDBOOK: Final = (ROOT / "docs" / "handbook.zh-CN.md").read_text("utf-8")
BLOCK: Final = re.compile(r"^ *```(console|yaml)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
#: The commands that are tried here, without servers; the others have tests of their own.
HERE: Final = ("rules lint", "rules test", "lexicon ", "explain ")


def steps() -> Iterator[tuple[str, str]]:
    """Yield what a reader types, and what they write, in order."""
    for kind, body in BLOCK.findall(HANDBOOK):
        if kind == "yaml":
            yield "write", body
        else:
            yield from (("type", line.strip()[2:]) for line in body.splitlines() if line.strip().startswith("$ "))


def fill(path: Path) -> None:
    """Fill the table in as a moderator would: thirty words, one of them with a day."""
    with Workbook(str(path)) as book:
        sheet = book.add_worksheet()
        for number, row in enumerate([("词条", "词库", "到期日", "伪装"), *words()]):
            sheet.write_row(number, 0, row)


def words() -> Iterator[tuple[str, ...]]:
    yield ("龙舟折扣券", "topup_offer", "2099-06-30", "是")
    yield from ((f"特惠{number}号档", "topup_offer", "", "") for number in range(1, 30))


def type_in(command: str) -> str:
    """Do one command of the handbook; return what it says."""
    name, *args = shlex.split(command)
    if name == "mkdir":
        Path(args[-1]).mkdir(parents=True, exist_ok=True)
        return ""
    assert name == "qingliu", command
    if not command.removeprefix("qingliu ").startswith(HERE):
        return ""
    result = run(*args)
    assert result.exit_code == 0, f"{command}\n{result.output}"
    return result.output


@pytest.mark.timeout(600)
def test_a_moderator_who_follows_the_handbook_ends_with_sound_rules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("暗号.txt").write_text("老地方见\n老规矩来\n", "utf-8")
    said: dict[str, str] = {}
    said = dict[str, str]()
    for kind, text in steps():
        if kind == "write":
            Path("site/rules.yaml").write_text(text, "utf-8")
        else:
            said[text] = type_in(text)
        if "lexicon template" in text:
            fill(Path("词表.xlsx"))
    written = Path("site/lexicons/words.yaml").read_text("utf-8")
    assert written.count("号档") == 29
    assert "{term: 龙舟折扣券, until: 2099-06-30, disguised: true}" in written
    assert "site.code-contact" in next(output for command, output in said.items() if "explain" in command)


def test_the_handbook_explains_every_warning() -> None:
    codes = {key.partition(".")[0] for key in PROBLEMS if key.startswith("W")}
    assert {code for code in codes if code not in HANDBOOK} == set()
