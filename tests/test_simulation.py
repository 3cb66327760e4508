"""The model of many workers obeys what must hold of any queue; what a rebalance cost is counted from markers."""

from __future__ import annotations

import json
from random import Random
from typing import TYPE_CHECKING

import pytest

from bench.cluster import Plan, Skew, Story, dealt, poisson, simulate
from bench.costs import Costs
from bench.rebalance import MARKED, Marker, costs
from bench.simulation import LIMIT_S, needed, read_costs, table

if TYPE_CHECKING:
    from pathlib import Path

COSTS = Costs(
    worker_s=150e-6, worker_batch_s=1e-3, spread=1.5, asking_share=0.05, store_s=10e-6, store_ops=1.0, store_bytes=400,
    broker_s=40e-6, in_bytes=400, out_bytes=100, out_records=0.07, rest_s=0.02, check_rate=400, check_batch=5,
    check_age_s=0.05, fetch_s=0.0,
)  # fmt: skip
SEEDED = Random(1)  # noqa: S311  chance, not a secret
PLAN = Plan(rate=8000, workers=4, partitions=12, shards=1)
EVEN = Skew(most_per_s=1.0)


def test_cores_are_as_busy_as_the_messages_and_batches_they_take() -> None:
    found = simulate(PLAN, COSTS, Story(seconds=10), EVEN)
    wanted = PLAN.rate * (COSTS.worker_s + COSTS.worker_batch_s / found.batch) / PLAN.workers
    assert found.cores_busy == pytest.approx(wanted, rel=0.05)
    assert found.shards_busy == pytest.approx(PLAN.rate * COSTS.store_s, rel=0.1)


def test_with_next_to_nothing_to_do_a_message_takes_the_time_it_takes_at_rest() -> None:
    found = simulate(PLAN._replace(rate=20), COSTS, Story(seconds=20), EVEN)
    assert COSTS.rest_s < found.ages.quantile(0.5) < COSTS.rest_s + 0.02
    assert found.batch < 1.5


def test_more_than_the_cores_can_do_waits_longer_and_longer() -> None:
    found = simulate(PLAN._replace(rate=40_000), COSTS, Story(seconds=10), EVEN)
    assert found.cores_busy > 0.95
    assert found.left > 40_000
    assert found.ages.quantile(0.99, 8) > found.ages.quantile(0.99, 2, 3) > 0.2


def test_a_store_that_is_too_slow_shows_as_a_shard_that_is_full() -> None:
    found = simulate(PLAN, COSTS._replace(store_s=300e-6), Story(seconds=10), EVEN)
    assert found.shard_busiest > 0.95
    assert found.ages.quantile(0.99) > LIMIT_S


def test_one_hot_sender_fills_one_partition_whatever_the_number_of_workers() -> None:
    hot = simulate(
        PLAN._replace(rate=40_000, workers=24, partitions=72), COSTS, Story(seconds=10), Skew(most_per_s=20_000)
    )
    even = simulate(PLAN._replace(rate=40_000, workers=24, partitions=72), COSTS, Story(seconds=10), EVEN)
    assert hot.lane_share > 3 * even.lane_share


def test_what_a_lost_worker_had_waits_for_its_session_and_is_done_in_the_end() -> None:
    story = Story(seconds=30, lost_at=3, session_s=5)
    found = simulate(PLAN._replace(rate=2000), COSTS, story, EVEN)
    assert 5 < found.ages.quantile(1.0) < 15
    assert found.ages.quantile(1.0, 2, 3) < LIMIT_S
    assert 5 < found.ages.level_after(3, LIMIT_S) < 20
    assert found.ages.quantile(1.0, 25) < LIMIT_S


def test_a_burst_is_worked_off() -> None:
    story = Story(seconds=20, burst=(3, 6, 6.0))
    found = simulate(PLAN, COSTS, story, EVEN)
    assert found.ages.quantile(1.0, 4, 9) > LIMIT_S
    assert found.ages.quantile(0.99, 18) < LIMIT_S


def test_the_same_seed_tells_the_same_story() -> None:
    one, two = (simulate(PLAN, COSTS, Story(seconds=3), seed=5) for _ in range(2))
    assert one._replace(ages=two.ages) == two
    assert one.ages.quantile(0.99) == two.ages.quantile(0.99)


@pytest.mark.parametrize("exponent", [0.8, 1.0, 1.2])
def test_shares_are_a_whole_and_nobody_has_more_than_the_cap(exponent: float) -> None:
    shares = dealt(50, 1_000_000, exponent, 0.001, SEEDED)
    assert sum(shares) == pytest.approx(1)
    assert min(shares) > 0
    assert max(shares) < max(dealt(50, 1_000_000, exponent, 1.0, SEEDED))


@pytest.mark.parametrize("mean", [0.0, 0.3, 5.0, 29.0, 200.0])
def test_poisson_variates_have_their_mean_and_variance(mean: float) -> None:
    drawn = [poisson(mean, SEEDED) for _ in range(5000)]
    average = sum(drawn) / len(drawn)
    assert average == pytest.approx(mean, rel=0.05)
    assert sum((one - average) ** 2 for one in drawn) / len(drawn) == pytest.approx(mean, rel=0.1)


def test_what_is_needed_holds_the_limit_and_is_told_for_people(tmp_path: Path) -> None:
    need = needed(5000, COSTS)
    assert need.p99_s <= LIMIT_S
    assert need.plan.workers == 2
    assert need.plan.partitions >= 12
    assert need.lost.oldest_s > 20, "a session"
    assert need.breaks_at > 1
    assert any(line.startswith("workers") and line.split()[-1] == "2" for line in table([need]))
    (tmp_path / "costs").write_text("a table\n" + json.dumps({"costs": COSTS._asdict(), "needs": []}))
    assert read_costs(tmp_path / "costs") == COSTS


def test_a_rebalance_costs_what_its_markers_tell() -> None:
    markers = {n: Marker(at=float(n), partition=n % 2) for n in range(20)}
    judged = [(n, n + 0.1) for n in range(10)]
    judged += [(n, 15.0 if n < 15 else n + 0.1) for n in range(10, 20)]
    judged += [(12, 15.2), (13, 15.3), (12, 15.4)]
    found = costs(markers, judged, [("quiet", 0.0), ("change", 10.0), ("end", 21.0)])
    assert found["quiet"].again == 0
    assert found["quiet"].age_worst_s == pytest.approx(0.1)
    assert found["quiet"].still_worst_s == pytest.approx(2.0)
    assert found["change"].again == 3 * MARKED
    assert found["change"].age_worst_s == pytest.approx(5.0)
    assert found["change"].still_worst_s == pytest.approx(5.0)
