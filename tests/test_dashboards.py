"""Dashboards are what the code makes, their queries are valid, and whatever names a metric names one that exists."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ruamel.yaml import YAML

from streams.metrics import Metrics, OutsideMetrics, of_processes
from tools.dashboards import BOARDS, WHERE, board

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
RULES = [ROOT / "deploy/prometheus/recording.yaml", ROOT / "deploy/prometheus/alerts.yaml"]
#: Documents whose every metric must exist.
TEXTS = [
    ROOT / name
    for name in ("README.md", "README.zh-CN.md", "deploy/RUNBOOK.md", "deploy/SIZING.md", "docs/architecture.md")
]

#: Not metrics, though they look like it: the canary's handle.
OTHERS = {"qingliu_canary"}


def series() -> set[str]:
    """Return the names under which our metrics can be asked for."""
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "info": ("_info",), "gauge": ("",)}
    families = [family for made in (Metrics(), OutsideMetrics()) for family in made.registry.collect()]
    families += of_processes(1, 1, 0)
    return {family.name + suffix for family in families for suffix in suffixes[family.type]}


def recorded() -> set[str]:
    groups = [group for path in RULES for group in YAML(typ="safe").load(path)["groups"]]
    return {rule["record"] for group in groups for rule in group["rules"] if "record" in rule}


def queries(name: str) -> Iterator[str]:
    panels: list[Any] = json.loads((WHERE / f"{name}.json").read_text())["panels"]
    for panel in panels:
        inner = [target for one in panel.get("panels", ()) for target in one["targets"]]
        yield from (target["expr"] for target in (*panel.get("targets", ()), *inner))


def named(text: str) -> set[str]:
    return set(re.findall(r"\bqingliu[_:][a-z0-9_:]+|\bprocess_[a-z_]+", text))


@pytest.mark.parametrize("name", BOARDS)
def test_a_dashboard_is_what_the_code_makes(name: str) -> None:
    assert (WHERE / f"{name}.json").read_text() == board(name), "run tools/dashboards.py"


@pytest.mark.parametrize("name", BOARDS)
def test_every_query_of_a_dashboard_asks_for_what_there_is(name: str) -> None:
    asked = list(queries(name))
    assert len(asked) > 5
    for query in asked:
        assert named(query), query
        assert named(query) <= series() | recorded(), query


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool: apt-get install prometheus")
def test_every_query_of_a_dashboard_is_valid(tmp_path: Path) -> None:
    asked = [query.replace("$__rate_interval", "1m") for name in BOARDS for query in queries(name)]
    rules = [{"record": f"x:{at}:y", "expr": query} for at, query in enumerate(asked)]
    (tmp_path / "rules.yaml").write_text(json.dumps({"groups": [{"name": "x", "rules": rules}]}))
    command = ["promtool", "check", "rules", str(tmp_path / "rules.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.name)
def test_every_rule_asks_for_what_there_is(path: Path) -> None:
    for group in YAML(typ="safe").load(path)["groups"]:
        for rule in group["rules"]:
            assert named(rule["expr"]) <= series() | recorded(), rule


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_every_metric_that_is_written_about_exists(path: Path) -> None:
    whole = {one.removesuffix("_bucket") for one in series()}  # a histogram may be called by its name
    assert named(path.read_text()) - OTHERS <= series() | recorded() | whole


def test_every_command_of_the_runbook_exists() -> None:
    text = (ROOT / "deploy/RUNBOOK.md").read_text()
    ours = set(re.findall(r"`qingliu ([a-z-]+(?: [a-z]+)?)", text)) | set(
        re.findall(r"^qingliu ([a-z-]+)", text, re.MULTILINE)
    )
    assert {"doctor", "dead-letters list", "revert-many"} <= ours
    for command in ours:
        done = subprocess.run(
            [ROOT / ".venv/bin/qingliu", *command.split(), "--help"], capture_output=True, check=False
        )
        assert done.returncode == 0, command


def test_every_metric_is_shown_or_watched_somewhere() -> None:
    asked = {name for board_name in BOARDS for query in queries(board_name) for name in named(query)}
    for path in RULES:
        asked |= named(path.read_text())
    ours = {
        name for name in series() if name.startswith("qingliu_") and not name.endswith(("_sum", "_count", "_bucket"))
    }
    assert ours <= asked
