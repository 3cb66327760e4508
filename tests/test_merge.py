"""Pages of several processes as one: what adds up, what does not, and that nothing counted is ever taken back."""

from __future__ import annotations

import pytest
from prometheus_client import generate_latest

from streams.merge import Merged
from streams.metrics import ADDED, LOWEST, Metrics

Values = dict[tuple[str, frozenset[tuple[str, str]]], float]


def page(metrics: Metrics) -> str:
    return generate_latest(metrics.registry).decode()


def merged(merge: Merged, pages: dict[int, Metrics], running: set[int] | None = None) -> Values:
    families = merge.merge({pid: page(one) for pid, one in pages.items()}, running or set(pages))
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def value(found: Values, name: str, **labels: str) -> float:
    return found[(f"qingliu_{name}", frozenset(labels.items()))]


def counting(received: int, seconds: float = 0.003) -> Metrics:
    made = Metrics()
    made.received.labels("chat.world").inc(received)
    made.batch_seconds.observe(seconds)
    return made


def test_counters_and_histograms_are_added_up() -> None:
    found = merged(Merged(), {1: counting(3, 0.003), 2: counting(4, 0.3)})
    assert value(found, "received_total", topic="chat.world") == 7
    assert value(found, "batch_seconds_count") == 2
    assert value(found, "batch_seconds_sum") == pytest.approx(0.303)
    assert value(found, "batch_seconds_bucket", le="0.005") == 1
    assert value(found, "batch_seconds_bucket", le="+Inf") == 2


def test_what_a_process_counted_stays_counted_when_it_ends_and_another_takes_its_seat() -> None:
    merge, two = Merged(), counting(4)
    merged(merge, {1: counting(3), 2: two})
    assert value(merged(merge, {2: two}, {2}), "received_total", topic="chat.world") == 7
    assert value(merged(merge, {2: two, 3: counting(1)}), "received_total", topic="chat.world") == 8
    assert value(merged(merge, {2: two}, {2}), "received_total", topic="chat.world") == 8


def test_a_process_that_does_not_answer_counts_as_when_it_last_did_and_shows_no_gauges() -> None:
    merge, one, two = Merged(), counting(3), counting(4)
    one.partitions.set(6)
    two.partitions.set(6)
    merged(merge, {1: one, 2: two})
    found = merged(merge, {2: two}, {1, 2})
    assert value(found, "received_total", topic="chat.world") == 7
    assert value(found, "partitions") == 6


def test_gauges_are_merged_so_that_trouble_in_one_process_shows() -> None:
    one, two = Metrics(), Metrics()
    for metrics, up, degraded, revision in ((one, 1, 0, 8), (two, 0, 1, 7)):
        metrics.broker_up.set(up)
        metrics.degraded.set(degraded)
        metrics.rules_revision.set(revision)
        metrics.partitions.set(6)
        metrics.ruleset_info.info({"hash": str(revision)})
    one.stalled_seconds.labels("chat.world", "0").set(2)
    two.stalled_seconds.labels("chat.world", "1").set(70)
    found = merged(Merged(), {1: one, 2: two})
    assert value(found, "broker_up") == 0
    assert value(found, "degraded") == 1
    assert value(found, "rules_revision") == 7
    assert value(found, "partitions") == 12
    assert value(found, "stalled_seconds", topic="chat.world", partition="1") == 70
    assert value(found, "stalled_seconds", topic="chat.world", partition="0") == 2
    assert {labels for name, labels in found if name == "qingliu_ruleset_info"} == {
        frozenset({("hash", "7")}), frozenset({("hash", "8")}),
    }  # fmt: skip


def test_one_page_merged_says_what_it_said() -> None:
    one = counting(3)
    before = {
        (s.name, frozenset(s.labels.items())): s.value for family in one.registry.collect() for s in family.samples
    }
    found = merged(Merged(), {1: one})
    ours = {key for key in before if key[0].startswith("qingliu_")}
    assert {key: found[key] for key in ours} == {key: before[key] for key in ours}
    assert set(found) == set(before)


def test_the_catalogue_says_how_to_merge_gauges_that_there_are() -> None:
    gauges = {family.name for family in Metrics().registry.collect() if family.type == "gauge"}
    assert gauges >= ADDED | LOWEST
    assert not ADDED & LOWEST
