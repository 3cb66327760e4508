"""Write what deploy/kustomize repeats of elsewhere: the topics of streams/topics.py, the rules that Prometheus has.

    .venv/bin/python tools/deploy.py

The files are committed; tests/test_deploy.py fails when they are not what this writes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

from streams.settings import Settings
from streams.topics import plan

ROOT: Final = Path(__file__).parent.parent
BASE: Final = ROOT / "deploy/kustomize/base"
RULES: Final = (ROOT / "deploy/prometheus/recording.yaml", ROOT / "deploy/prometheus/alerts.yaml")


def topics() -> list[dict[str, Any]]:
    """Return a KafkaTopic each, for three brokers: two of them must have a record before it counts as written."""
    settings = Settings.load({"replication": 3}, env_file=None)
    return [
        {
            "apiVersion": "kafka.strimzi.io/v1beta2",
            "kind": "KafkaTopic",
            "metadata": {"name": topic.name, "labels": {"strimzi.io/cluster": "qingliu"}},
            "spec": {
                "partitions": topic.num_partitions,
                "replicas": topic.replication_factor,
                "config": {**topic.topic_configs, "min.insync.replicas": 2},
            },
        }
        for topic in plan(settings)
    ]


def rule() -> dict[str, Any]:
    """Return the recording and alerting rules as one PrometheusRule."""
    groups = [group for path in RULES for group in YAML(typ="safe").load(path)["groups"]]
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "qingliu"},
        "spec": {"groups": groups},
    }


def files() -> dict[Path, list[dict[str, Any]]]:
    """Return what each file must hold."""
    return {BASE / "topics.yaml": topics(), BASE / "prometheusrule.yaml": [rule()]}


if __name__ == "__main__":
    yaml = YAML()
    yaml.width = 200
    yaml.explicit_start = True
    for path, documents in files().items():
        with path.open("w", encoding="utf-8") as file:
            file.write("# Written by tools/deploy.py; do not edit.\n")
            yaml.dump_all(documents, file)
