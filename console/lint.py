"""`qingliu rules lint`: everything that is wrong with rule directories, or looks it, for people, CI and editors."""

from __future__ import annotations

import json
import time
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from console.show import visible
from console.words import say
from moderation.errors import RuleProblem, RuleSetRejected
from moderation.lint import advise
from moderation.rulefile import draft
from moderation.rulewords import PROBLEMS
from streams.rules import read_layer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from moderation.rulefile import Layer

_STYLE: Final = {"error": "bold red", "warning": "yellow"}
#: Where a word ends that is underlined, and what ends one that begins with such a sign.
_ENDS: Final = " \t:,#[]{}\"'"
_PAIRS: Final = {"{": "}", "[": "]", "'": "'", '"': '"'}
#: Cells of a line that are shown.
_WIDTH: Final = 88
_SARIF: Final = "https://json.schemastore.org/sarif-2.1.0.json"


class Report(NamedTuple):
    """What was found in how much; `lines` are those that problems stand on, by file and number."""

    problems: tuple[RuleProblem, ...]
    files: int
    rules: int
    terms: int
    lines: Mapping[tuple[str, int], str]

    def count(self, severity: str) -> int:
        """Return how many problems are errors, or warnings."""
        return sum(problem.severity == severity for problem in self.problems)


def lint(directories: Sequence[Path]) -> Report:
    """Read directories, the shipped one first, and say everything at once."""
    try:
        layers = [read_layer(directory) for directory in directories]
    except RuleSetRejected as refused:
        return Report(refused.problems, 0, 0, 0, {})
    made = draft(layers)
    found = (*made.problems, *advise(made, time.time_ns() // 1_000_000, frequency))
    rules = len({rule.id for rule, _ in made.rules})
    return Report(tuple(sorted(found)), sum(map(len, layers)), rules, len(made.terms), dict(_lines(layers, found)))


def _lines(layers: Iterable[Layer], problems: Iterable[RuleProblem]) -> Iterator[tuple[tuple[str, int], str]]:
    wanted: dict[str, set[int]] = {}
    for problem in problems:
        wanted.setdefault(problem.file, set()).add(problem.line)
    for layer in layers:
        for file, content in layer.items():
            lines = content.decode("utf-8-sig", errors="replace").splitlines() if file in wanted else []
            yield from (((file, n), lines[n - 1]) for n in wanted.get(file, ()) if 0 < n <= len(lines))


def frequency(word: str) -> int:
    """Return how often a word occurs in the corpus of jieba's dictionary; 0 for one it does not know."""
    return _frequencies().get(word, 0)


@cache
def _frequencies() -> dict[str, int]:
    spec = find_spec("jieba")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("jieba")
    rows = (row.split(" ") for row in Path(spec.origin).with_name("dict.txt").read_text("utf-8").splitlines())
    return {word: int(often) for word, often, *_ in rows}


# --- ways to say it


def words(problem: RuleProblem) -> str:
    """Return the problem's message in the language of the locale, safe to print."""
    return visible(say(problem.message, problem.english or problem.message))


def text(report: Report) -> Iterator[Text]:
    """Yield each problem, on one line, and below it the line it stands on with the place underlined."""
    for problem in report.problems:
        style = _STYLE[problem.severity]
        place = f"{visible(problem.file)}:{problem.line}:{problem.column}"
        yield Text.assemble((place, "bold"), " ", (problem.code, style), " ", words(problem))
        line = report.lines.get((problem.file, problem.line))
        if line is not None:
            cut, at = _cut(line, max(1, problem.column) - 1)
            before, token = visible(cut[:at]), visible(_token(cut[at:]))
            yield Text.assemble((f"{problem.line:>6} │ ", "dim"), set_cell_size(visible(cut), _WIDTH).rstrip())
            yield Text.assemble(("       │ ", "dim"), " " * cell_len(before), ("^" * max(1, cell_len(token)), style))


def _cut(line: str, at: int) -> tuple[str, int]:
    """Leave out what stands far before a place."""
    start = max(0, at - 40)
    return ("…" + line[start:], at - start + 1) if start else (line, at)


def _token(rest: str) -> str:
    """Return the word, or the quoted or bracketed part, that begins here; at most what is worth underlining."""
    closing = _PAIRS.get(rest[:1], "")
    ends = (i for i, char in enumerate(rest) if (char == closing and i if closing else char in _ENDS))
    return rest[: min(next(ends, len(rest)) + len(closing), 40)]


def summary(report: Report) -> Text:
    """Say in a line how it stands, and what that means."""
    errors, warnings = report.count("error"), report.count("warning")
    if errors:
        said = say(
            f"✗ {errors} 个错误，{warnings} 个警告。改好错误之前，这套规则不会上线；线上继续用上一套。",
            f"✗ {errors} errors, {warnings} warnings. These rules are not used until the errors are mended.",
        )
        return Text(said, "bold red")
    size = say(
        f"{report.files} 个文件，{report.rules} 条规则，{report.terms} 个词条",
        f"{report.files} files, {report.rules} rules, {report.terms} terms",
    )
    if warnings:
        said = say(
            f"可以用，有 {warnings} 个警告请看一下（{size}）", f"usable, with {warnings} warnings to look at ({size})"
        )
        return Text(said, "yellow")
    return Text(say(f"✓ 没有问题（{size}）", f"✓ no problems ({size})"), "green")


def as_json(report: Report) -> dict[str, Any]:
    """Return the report as one JSON object."""
    rows = [{**problem._asdict(), "severity": problem.severity} for problem in report.problems]
    counts = {"errors": report.count("error"), "warnings": report.count("warning")}
    return {"problems": rows, **counts, "files": report.files, "rules": report.rules, "terms": report.terms}


def github(report: Report) -> str:
    """Return one workflow command a line: GitHub shows them beside the change."""
    return "".join(f"{_annotation(problem)}\n" for problem in report.problems)


def _annotation(problem: RuleProblem) -> str:
    place = {"file": problem.file, "line": max(1, problem.line), "col": max(1, problem.column), "title": problem.code}
    fields = ",".join(f"{name}={_escaped(str(value), ':,')}" for name, value in place.items())
    return f"::{problem.severity} {fields}::{_escaped(words(problem))}"


def _escaped(text: str, more: str = "") -> str:
    return "".join(f"%{ord(char):02X}" if char in "%\r\n" + more else char for char in text)


def sarif(report: Report) -> str:
    """Return a SARIF 2.1.0 log, as code scanning and editors read it."""
    driver = {
        "name": "qingliu rules lint",
        "rules": [_described(code) for code in sorted({p.code for p in report.problems})],
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_result(problem) for problem in report.problems],
    }
    return json.dumps({"$schema": _SARIF, "version": "2.1.0", "runs": [run]}, ensure_ascii=False, indent=2) + "\n"


def _described(code: str) -> dict[str, Any]:
    zh, en = PROBLEMS.get(code) or next(
        (said for key, said in PROBLEMS.items() if key.startswith(f"{code}.")), ("", "")
    )
    return {"id": code, "shortDescription": {"text": say(zh, en) or code}}


def _result(problem: RuleProblem) -> dict[str, Any]:
    region = {"startLine": max(1, problem.line), "startColumn": max(1, problem.column)}
    place = {"artifactLocation": {"uri": quote(Path(problem.file).as_posix())}, "region": region}
    return {
        "ruleId": problem.code,
        "level": problem.severity,
        "message": {"text": words(problem)},
        "locations": [{"physicalLocation": place}],
    }
