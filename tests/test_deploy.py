"""What deploy/ holds is checked by the tools that would read it, without Docker or a cluster."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from ruamel.yaml import YAML

from streams.settings import Settings, describe
from tools import deploy

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
BASE = DEPLOY / "kustomize/base"
OVERLAYS = sorted(path for path in (DEPLOY / "kustomize/overlays").iterdir())
BIN = Path(sys.executable).parent
CORE = {"ConfigMap", "Deployment", "NetworkPolicy", "PodDisruptionBudget", "Service"}


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def tool(name: str) -> str:
    """Return a tool that pip does not bring, or skip."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name}: Debian's packages prometheus and prometheus-alertmanager, or go install kustomize/v5")
    return found


def documents(path: Path) -> list[dict[str, Any]]:
    return [one for one in YAML(typ="safe").load_all(path) if one]


def resources() -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in sorted(BASE.glob("*.yaml")):
        if path.name != "kustomization.yaml":
            yield from ((path, one) for one in documents(path))


def pods() -> Iterator[dict[str, Any]]:
    for _, one in resources():
        if one["kind"] == "Deployment":
            yield one["spec"]["template"]["spec"]


def test_compose_is_valid() -> None:
    run(BIN / "docker-compose", "-f", DEPLOY / "compose.yaml", "config", "-q")


def test_the_image_is_built_as_hadolint_wants_it() -> None:
    run(BIN / "hadolint", DEPLOY / "Dockerfile")


def test_yaml_and_shell_are_clean() -> None:
    run(BIN / "yamllint", "--strict", "-c", DEPLOY / ".yamllint.yaml", DEPLOY)
    run(BIN / "shellcheck", ROOT / ".ci/run")


def test_what_prometheus_and_alertmanager_read_is_valid() -> None:
    run(tool("promtool"), "check", "config", DEPLOY / "prometheus/prometheus.yml")
    run(tool("amtool"), "check-config", DEPLOY / "alertmanager/alertmanager.yml")


@pytest.mark.parametrize(("alert", "receiver"), [("page", "叫醒人"), ("ticket", "早上看")])
def test_alertmanager_sends_an_alert_to_whom_it_is_for(alert: str, receiver: str) -> None:
    config = f"--config.file={DEPLOY / 'alertmanager/alertmanager.yml'}"
    said = run(tool("amtool"), "config", "routes", "test", config, f"severity={alert}", "alertname=QingliuCanaryLost")
    assert said.strip() == receiver


def test_inhibitions_name_alerts_that_exist() -> None:
    alerts = set(re.findall(r"alert: (\w+)", (DEPLOY / "prometheus/alerts.yaml").read_text()))
    text = (DEPLOY / "alertmanager/alertmanager.yml").read_text()
    named = {f"Qingliu{name}" for group in re.findall(r"Qingliu\(([\w|]+)\)", text) for name in group.split("|")}
    assert named | set(re.findall(r'alertname="(\w+)"', text)) <= alerts
    assert named


def test_core_resources_are_valid_to_the_last_field() -> None:
    files = {path for path, one in resources() if one["kind"] in CORE}
    assert len(files) >= 4
    run(BIN / "kubernetes-validate", "--strict", "--quiet", *sorted(files))


def test_custom_resources_are_valid_to_the_last_field() -> None:
    kinds = []
    for _, one in resources():
        if one["kind"] not in CORE:
            schema = json.loads((DEPLOY / f"schemas/{one['kind'].lower()}.json").read_text())
            jsonschema.validate(one, schema)
            kinds.append(one["kind"])
    assert set(kinds) == {"KafkaTopic", "PodMonitor", "PrometheusRule", "ScaledObject"}


def test_a_misspelt_field_of_a_custom_resource_is_found() -> None:
    [monitor] = documents(BASE / "podmonitor.yaml")
    monitor["spec"]["podMetricEndpoints"] = monitor["spec"].pop("podMetricsEndpoints")
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(monitor, json.loads((DEPLOY / "schemas/podmonitor.json").read_text()))


@pytest.mark.parametrize("path", deploy.files(), ids=lambda path: path.name)
def test_what_is_repeated_is_current(path: Path) -> None:
    assert documents(path) == deploy.files()[path], "run tools/deploy.py"


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.name)
def test_an_overlay_stands_on_files_that_exist(overlay: Path) -> None:
    [kustomization] = documents(overlay / "kustomization.yaml")
    assert all((overlay / one).is_dir() for one in kustomization["resources"])
    there = {(one["kind"], one["metadata"]["name"]) for _, one in resources()}
    for patch in kustomization["patches"]:
        target = patch["target"]
        assert any(kind == target["kind"] and name == target.get("name", name) for kind, name in there), target
    [base] = documents(BASE / "kustomization.yaml")
    assert {path.name for path in BASE.glob("*.yaml")} == {*base["resources"], "kustomization.yaml"}


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.name)
def test_kustomize_builds_an_overlay(overlay: Path) -> None:
    built = [one for one in YAML(typ="safe").load_all(run(tool("kustomize"), "build", overlay)) if one]
    assert len(built) == len(list(resources()))
    assert not any(image.startswith("qingliu") for image in re.findall(r'"image": "([^"]+)"', json.dumps(built)))


def test_pods_are_not_root_and_write_nowhere_but_tmp() -> None:
    for pod in pods():
        assert pod["securityContext"]["runAsNonRoot"]
        [container] = pod["containers"]
        inside = container["securityContext"]
        assert inside["readOnlyRootFilesystem"]
        assert not inside["allowPrivilegeEscalation"]
        assert inside["capabilities"] == {"drop": ["ALL"]}
        assert [mount["mountPath"] for mount in container["volumeMounts"]] == ["/tmp"]  # noqa: S108  a mount


def test_a_worker_leaves_by_itself_before_it_is_killed() -> None:
    within = Settings.load({}, env_file=None).shutdown_s
    assert all(pod["terminationGracePeriodSeconds"] > within + 5 for pod in pods())
    [compose] = documents(DEPLOY / "compose.yaml")
    assert int(compose["services"]["worker"]["stop_grace_period"].removesuffix("s")) > within + 5


def test_every_setting_that_is_named_exists() -> None:
    known = {setting.name for setting in describe(Settings.load({}, env_file=None))}
    named = {
        name
        for path in DEPLOY.rglob("*")
        if path.is_file() and path.suffix in {".yaml", ".yml", ".md", ""}
        for name in re.findall(r"QINGLIU_[A-Z_]+", path.read_text())
    }
    assert named
    assert named <= known


def test_no_image_is_of_whatever_is_newest() -> None:
    [compose] = documents(DEPLOY / "compose.yaml")
    images = [one["image"] for one in compose["services"].values() if one["image"] != "qingliu"]
    images += re.findall(r"^FROM (\S+)", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    assert all(re.search(r":v?\d", image) for image in images)
