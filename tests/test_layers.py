"""Imports go one way, and the core touches nothing outside itself."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
ALLOWED = {
    "moderation": {"moderation"},
    "streams": {"moderation", "streams"},
    "console": {"moderation", "streams", "console"},
}
OURS = {"moderation", "streams", "console", "rules", "tests", "bench", "tools", "deploy"}
#: Whoever imports one of these can wait, fail, log, or differ from run to run.
IMPURE = {
    "aiohttp", "aiokafka", "asyncio", "faust", "glob", "io", "logging", "mmap", "multiprocessing", "os", "pathlib",
    "prometheus_client", "random", "redis", "secrets", "select", "shutil", "signal", "socket", "ssl", "structlog",
    "subprocess", "sys", "tempfile", "threading", "time", "urllib", "uuid",
}  # fmt: skip
#: What is read is part of the code: the committed tables; jieba's dictionary (and jieba is told to be quiet).
EXCEPTIONS = {("fold.py", "pathlib"), ("sound.py", "pathlib"), ("views.py", "pathlib"), ("segment.py", "logging")}


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_go_from_console_to_streams_to_moderation(package: str) -> None:
    files = list((ROOT / package).rglob("*.py"))
    assert files
    wrong = {(f.name, name) for f in files for name in imports(f) if name in OURS - ALLOWED[package]}
    assert not wrong


def test_the_core_has_no_clock_no_randomness_and_no_way_out() -> None:
    used = {(f.name, name) for f in (ROOT / "moderation").rglob("*.py") for name in imports(f)}
    assert {(f, name) for f, name in used if name in IMPURE} <= EXCEPTIONS


def test_the_core_opens_no_file() -> None:
    for file in (ROOT / "moderation").rglob("*.py"):
        calls = {
            n.func.id
            for n in ast.walk(ast.parse(file.read_text("utf-8")))
            if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)
        }
        assert "open" not in calls, file
        assert "print" not in calls, file
