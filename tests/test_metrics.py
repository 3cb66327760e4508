"""The catalogue obeys the rules for names and labels, and cannot grow by what players do."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from moderation.errors import DeadReason
from streams.metrics import NO_LABEL, Catalogue, Metrics, OutsideMetrics

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

#: What may tell two series of one metric apart. Whoever adds one must know that its values are few and not a player's.
LABELS = {
    "received": {"topic"},
    "outcomes": {"outcome"},
    "verdicts": {"verdict", "label", "channel"},
    "rule_hits": {"rule", "status"},
    "actions": {"action", "label", "mode"},
    "cases": {"why"},
    "dead_letters": {"reason"},
    "commands": {"command", "status"},
    "lag_records": {"topic", "partition"},
    "stalled_seconds": {"topic", "partition"},
    "ruleset_reloads": {"result"},
    "ruleset_loaded_timestamp_seconds": set(),
    "rule_overturned": {"rule"},
    "rule_out_of_band": {"rule"},
    "ruleset": {"hash"},
    "rules_revision": set(),
    "rules_published": set(),
    "batch_records": set(),
    "batch_seconds": set(),
    "judge_seconds": set(),
    "loop_lag_seconds": set(),
    "event_age_seconds": set(),
    "enforcement_latency_seconds": set(),
    "produce_retries": set(),
    "store_errors": set(),
    "stale_batches": set(),
    "degraded": set(),
    "broker_up": set(),
    "store_up": set(),
    "store_seconds": set(),
    "partitions": set(),
    "rebalances": set(),
    "log_lines_suppressed": set(),
    "unrecorded_actions": set(),
    "appeals_open": set(),
    "appeals_overdue": set(),
    "windows_senders": set(),
    "windows_evicted": set(),
}
OUTSIDE = {
    "acks": {"status"},
    "ack_latency_seconds": set(),
    "awaiting_ack": set(),
    "unacknowledged": set(),
    "canaries": {"result"},
    "canary_latency_seconds": set(),
    "store_memory_bytes": set(),
    "store_max_memory_bytes": set(),
    "store_keys": set(),
    "campaigns_open": set(),
    "broker_up": set(),
    "store_up": set(),
    "lag_records": {"topic", "partition"},
    "stalled_seconds": {"topic", "partition"},
    "log_lines_suppressed": set(),
}


@pytest.fixture
def metrics() -> Metrics:
    made = Metrics()
    made.received.labels("chat.world").inc()
    made.rule_hits.labels("poach.cash-move", "live").inc()
    made.lag_records.labels("chat.world", "3").set(1)
    made.stalled_seconds.labels("chat.world", "3").set(1)
    made.rule_overturned.labels("poach.cash-move").set(1)
    made.rule_out_of_band.labels("poach.cash-move").set(1)
    made.ruleset_info.info({"hash": "abc"})
    return made


def ours(metrics: Catalogue) -> dict[str, Metric]:
    return {
        family.name.removeprefix("qingliu_"): family
        for family in metrics.registry.collect()
        if family.name.startswith("qingliu_")
    }


def page(metrics: Catalogue) -> str:
    return generate_latest(metrics.registry).decode()


def test_every_metric_has_the_labels_it_may_have_and_no_other(metrics: Metrics) -> None:
    found = {
        name: {label for sample in family.samples for label in sample.labels} - {"le"}
        for name, family in ours(metrics).items()
    }
    assert found == LABELS


def test_the_observer_s_metrics_have_the_labels_they_may_have_and_no_other() -> None:
    outside = OutsideMetrics()
    outside.lag_records.labels("chat.world", "3").set(1)
    outside.stalled_seconds.labels("chat.world", "3").set(1)
    found = {
        name: {label for sample in family.samples for label in sample.labels} - {"le"}
        for name, family in ours(outside).items()
    }
    assert found == OUTSIDE
    assert 'qingliu_canaries_total{result="lost"} 0.0' in page(outside)
    assert 'qingliu_acks_total{status="unknown_target"} 0.0' in page(outside)


def test_only_ours_and_the_process_are_on_the_page(metrics: Metrics) -> None:
    families = {family.name for family in text_string_to_metric_families(page(metrics))}
    assert {name for name in families if not name.startswith("qingliu_")} <= {
        "process_virtual_memory_bytes",
        "process_resident_memory_bytes",
        "process_start_time_seconds",
        "process_cpu_seconds",
        "process_open_fds",
        "process_max_fds",
    }
    assert "process_resident_memory_bytes" in families


def test_names_follow_the_conventions_of_prometheus(metrics: Metrics) -> None:
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", page(metrics), re.MULTILINE))
    for name, kind in kinds.items():
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", name)
        assert (kind == "counter") == name.endswith("_total"), name
        assert not re.search(r"milli|_ms|_minutes|counter|gauge|histogram|_created", name), name
    for name, family in ours(metrics).items():
        assert family.documentation.endswith("."), name
        if family.type == "histogram":
            assert name.endswith(("_seconds", "_records")), name


def test_an_attribute_is_called_like_its_metric(metrics: Metrics) -> None:
    exposed = {f"qingliu_{name}" for name in ours(metrics)}
    for attribute in vars(metrics).keys() - {"registry"}:
        assert f"qingliu_{attribute.removesuffix('_info')}" in exposed


def test_closed_sets_exist_before_anything_happens() -> None:
    text = generate_latest(Metrics().registry).decode()
    for reason in DeadReason:
        assert f'qingliu_dead_letters_total{{reason="{reason}"}} 0.0' in text
    for outcome in ("allow", "review", "act", "dead_letter"):
        assert f'qingliu_outcomes_total{{outcome="{outcome}"}} 0.0' in text
    for why in ("low_confidence", "vip", "policy", "budget", "degraded"):
        assert f'qingliu_cases_total{{why="{why}"}} 0.0' in text
    assert 'qingliu_actions_total{action="ban",label="rmt",mode="auto"} 0.0' in text
    assert f'qingliu_verdicts_total{{channel="world",label="{NO_LABEL}",verdict="allow"}} 0.0' in text
    assert "qingliu_store_errors_total 0.0" in text
    assert "qingliu_degraded 0.0" in text


def test_the_page_is_small(metrics: Metrics) -> None:
    assert len(page(metrics).splitlines()) < 700


def test_the_objectives_are_bounds_of_the_histograms(metrics: Metrics) -> None:
    def bounds(name: str) -> set[float]:
        return {float(sample.labels["le"]) for sample in ours(metrics)[name].samples if "le" in sample.labels}

    assert {0.02, 0.1, 60.0} <= bounds("enforcement_latency_seconds")
    assert {0.5, 1.0, 1.5} <= bounds("event_age_seconds")
    assert {0.05} <= bounds("loop_lag_seconds")
    assert {500.0} <= bounds("batch_records")


def test_one_rule_set_is_in_force_at_a_time(metrics: Metrics) -> None:
    metrics.ruleset_info.info({"hash": "def"})
    assert [line for line in page(metrics).splitlines() if line.startswith("qingliu_ruleset_info")] == [
        'qingliu_ruleset_info{hash="def"} 1.0'
    ]


def test_two_workers_in_one_process_share_nothing() -> None:
    registry = CollectorRegistry()
    one, other = Metrics(registry), Metrics()
    one.store_errors.inc()
    assert "qingliu_store_errors_total 1.0" in generate_latest(registry).decode()
    assert "qingliu_store_errors_total 0.0" in page(other)
