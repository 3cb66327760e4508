"""Alerts: each fires when it should and only then, says so in two languages, and leads to a page of help."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest
from ruamel.yaml import YAML

from streams.metrics import Metrics, OutsideMetrics
from tests.alert_cases import CASES, Series

ROOT = Path(__file__).parent.parent
RULES = [ROOT / "deploy/prometheus/recording.yaml", ROOT / "deploy/prometheus/alerts.yaml"]
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="no promtool: apt-get install prometheus (Debian) brings it"
)


def rules(kind: str) -> list[dict[str, Any]]:
    groups = [group for path in RULES for group in YAML(typ="safe").load(path)["groups"]]
    return [rule for group in groups for rule in group["rules"] if kind in rule]


def promtool(*args: str, stdin: bytes | None = None) -> str:
    done = subprocess.run(["promtool", *args], input=stdin, capture_output=True, check=False)  # noqa: S607  Debian's
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, said
    return said


ALERTS = {rule["alert"]: rule for rule in rules("alert")}


def test_every_alert_has_its_two_cases_and_none_is_for_nothing() -> None:
    assert CASES.keys() == ALERTS.keys()


def _test(name: str, series: Series, at: int, value: int) -> dict[str, Any]:
    query = f'(count(ALERTS{{alertname="{name}",alertstate="firing"}}) or vector(0)) > bool 0'
    return {
        "interval": "1m",
        "input_series": [{"series": one, "values": values} for one, values in series.items()],
        "promql_expr_test": [{"expr": query, "eval_time": f"{at}m", "exp_samples": [{"value": value}]}],
    }


@needs_promtool
@pytest.mark.parametrize("name", CASES)
def test_an_alert_fires_when_it_should_and_only_then(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    tests = [
        _test(name, {**case.fires, **case.common}, case.at, 1),
        _test(name, {**case.silent, **case.common}, case.at, 0),
    ]
    file = tmp_path / "test.yaml"  # JSON is YAML
    file.write_text(
        json.dumps({"rule_files": [str(path) for path in RULES], "evaluation_interval": "1m", "tests": tests})
    )
    promtool("test", "rules", str(file))


@needs_promtool
def test_rules_and_our_pages_are_as_prometheus_wants_them() -> None:
    promtool("check", "rules", *map(str, RULES))
    for catalogue in (Metrics(), OutsideMetrics()):
        assert promtool("check", "metrics", stdin=generate_latest(catalogue.registry)) == ""


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_is_told_in_two_languages_and_leads_to_a_heading_of_the_runbook(name: str) -> None:
    rule = ALERTS[name]
    assert rule["labels"]["severity"] in ("page", "ticket")
    notes = rule["annotations"]
    assert re.search(r"[一-鿿]", notes["summary_zh"])
    assert not re.search(r"[一-鿿]", notes["summary"])
    page, _, anchor = notes["runbook_url"].partition("#")
    assert page == "{{ $externalLabels.runbooks }}/RUNBOOK.md"
    headings = re.findall(r"^## (\S+)$", (ROOT / "deploy/RUNBOOK.md").read_text(), re.MULTILINE)
    assert anchor in [heading.lower() for heading in headings]
    assert name in headings


def test_the_runbook_tells_of_no_alert_that_is_not_there() -> None:
    text = (ROOT / "deploy/RUNBOOK.md").read_text()
    assert set(re.findall(r"\bQingliu[A-Z]\w+", text)) <= ALERTS.keys()
    parts = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    for part in parts:
        name = part.split("\n", 1)[0].strip()
        if name in ALERTS:
            for wanted in ("**意思", "**Players**", "**Look**", "**Do**", "**Wake**"):
                assert wanted in part, (name, wanted)
