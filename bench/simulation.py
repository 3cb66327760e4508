"""What 20 thousand, 100 thousand and a million messages a second need, and what breaks first: a simulation.

    python -m bench.simulation [--rate 1000000] [--costs FILE] [--json]

Costs of one message are measured first (bench/costs.py, a minute), or read from FILE, which holds what that printed or
what this printed with --json. Then, for each rate, workers for a load of 60 %; store shards of which the busiest is at
60 %, or four times as many as all operations need; the fewest partitions with which the 99th percentile of events' ages
stays within 1 s, and comes back to it after a worker was lost. With these: a burst of three times the rate for 3 s, a
worker that is killed, one that joins, and more and more load until the 1 s is missed.

The model and what it leaves out: bench/cluster.py. What is assumed besides is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bench.cluster import Plan, Skew, Story, simulate
from bench.costs import MESSAGES, Costs, measure
from bench.costs import PARTITIONS as CHECKED_PARTITIONS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.cluster import Outcome

RATES: Final = (20_000.0, 100_000.0, 1_000_000.0)
LOAD: Final = 0.6
LIMIT_S: Final = 1.0
#: Before the model has come to rest. Seconds.
WARM_S: Final = 2.0
STEADY: Final = Story(seconds=6.0)
BURST: Final = Story(seconds=18.0, burst=(3.0, 6.0, 3.0))
LOST: Final = Story(seconds=60.0, lost_at=3.0)
JOINS: Final = Story(seconds=18.0, joins_at=3.0)
#: Partitions for each worker that are tried, and by how much the load is raised until it is too much.
PARTITIONS: Final = (1, 2, 3, 4, 6, 8)
MORE: Final = (1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0)
LEAST_PARTITIONS: Final = 12
MORE_SHARDS: Final = (1.5, 2.0, 3.0, 4.0)
#: A batch's messages, to begin with, until a run has told.
FIRST_GUESS: Final = 20.0
BROKER_BYTES: Final = 60e6
REPLICAS: Final = 3
ASSUMED: Final = (
    f"senders follow Zipf's law (exponent {Skew().senders:g}), one message a minute on average",
    f"nobody sends more than {Skew().most_per_s:g} a second: game servers limit them",
    f"half of the store's operations are keyed by account, half by handle: of 10 000, Zipf ({Skew().handles:g})",
    f"sessions of {LOST.session_s:g} s; a change of the group stops all for {LOST.still_s:g} s, whatever its size",
    "(that was measured with three workers, python -m bench.rebalance; nobody has run a group of hundreds)",
    f"a broker takes {BROKER_BYTES / 1e6:g} MB/s with copies, {REPLICAS} copies; its queues are not modelled",
    "a core of ours is a core of the machine that was measured; the mix of chat is the generated one, 5 % abuse",
)


class After(NamedTuple):
    """What an event did: the oldest message, and how long until 999 of 1000 were within the limit again."""

    oldest_s: float
    level_after_s: float


class Need(NamedTuple):
    """What a rate needs, and what becomes of it."""

    plan: Plan
    brokers: int
    p50_s: float
    p99_s: float
    cores_busy: float
    core_busiest: float
    shard_busiest: float
    batch: float
    burst: After
    lost: After
    joins: After
    breaks_at: float
    breaks: str


def needed(rate: float, costs: Costs) -> Need:
    """Find the smallest plan that holds the limit at this rate, and try it."""
    plan, steady, lost = _fitting(rate, costs)
    say(f"{rate:,.0f}/s: {plan.workers} workers, {plan.partitions} partitions, {plan.shards} shards; trying them")
    at, what = _breaking(plan, costs)
    return Need(
        plan=plan,
        brokers=max(3, math.ceil(rate * (costs.in_bytes + costs.out_bytes) * REPLICAS / BROKER_BYTES)),
        p50_s=steady.ages.quantile(0.5, WARM_S),
        p99_s=_p99(steady),
        cores_busy=steady.cores_busy,
        core_busiest=steady.core_busiest,
        shard_busiest=steady.shard_busiest,
        batch=steady.batch,
        burst=_after(plan, costs, BURST, BURST.burst[1]),
        lost=lost,
        joins=_after(plan, costs, JOINS, JOINS.joins_at or 0.0),
        breaks_at=at,
        breaks=what,
    )


def _fitting(rate: float, costs: Costs) -> tuple[Plan, Outcome, After]:
    batch, least = FIRST_GUESS, max(1, math.ceil(rate * costs.store_s / LOAD))
    shards = least
    for each in PARTITIONS:
        for more in MORE_SHARDS:  # and again with the batches that the first run showed
            workers = max(2, math.ceil(rate * (costs.worker_s + costs.worker_batch_s / batch) / LOAD))
            plan = Plan(rate, workers, max(LEAST_PARTITIONS, each * workers), shards)
            found = simulate(plan, costs, STEADY)
            batch = found.batch
            if found.shard_busiest > LOAD:
                shards = max(shards, math.ceil(least * more))
        lost = _after(plan, costs, LOST, LOST.lost_at or 0.0)
        if _p99(found) <= LIMIT_S and lost.level_after_s < LOST.seconds - (LOST.lost_at or 0.0):
            break
    return plan, found, lost


def _after(plan: Plan, costs: Costs, story: Story, since: float) -> After:
    ages = simulate(plan, costs, story).ages
    return After(ages.quantile(1.0), ages.level_after(since, LIMIT_S))


def _breaking(plan: Plan, costs: Costs) -> tuple[float, str]:
    """Return at how many times the rate the limit is missed, and what was busiest then."""
    for factor in MORE:
        found = simulate(plan._replace(rate=plan.rate * factor), costs, STEADY)
        if _p99(found) > LIMIT_S:
            return factor, _busiest(found)
    return MORE[-1], f"nothing, up to {MORE[-1]:g} times the rate"


def _busiest(found: Outcome) -> str:
    parts = {
        "all workers": found.cores_busy,
        "the busiest worker": found.core_busiest,
        "the busiest store shard": found.shard_busiest,
    }
    full = [f"{name} ({busy:.0%} busy)" for name, busy in parts.items() if busy > 0.95]
    return full[0] if full else f"one partition: a batch at a time, {found.lane_share:.2%} of the messages"


def _p99(found: Outcome) -> float:
    return found.ages.quantile(0.99, WARM_S)


def checked(costs: Costs) -> str:
    """Say how the model compares with the worker that was measured: one at a load that it holds with ease."""
    found = simulate(Plan(costs.check_rate, 1, CHECKED_PARTITIONS, 1), costs, Story(seconds=30.0), Skew(most_per_s=5.0))
    return (
        f"check, one worker at {costs.check_rate:g}/s: measured {costs.check_batch:.1f} messages a batch, its oldest "
        f"{costs.check_age_s * 1000:.0f} ms; the model {found.batch:.1f} and {found.oldest_s * 1000:.0f} ms"
    )


def say(line: str) -> None:
    """Tell on stderr how far it is."""
    print(line, file=sys.stderr, flush=True)


def table(needs: Sequence[Need]) -> Iterator[str]:
    """Give the lines for people."""
    rows = [("messages/s", [f"{need.plan.rate:,.0f}" for need in needs])]
    rows += [(name, [str(getattr(need.plan, name)) for need in needs]) for name in ("workers", "partitions", "shards")]
    rows += [
        ("brokers", [str(need.brokers) for need in needs]),
        ("cores busy, mean", [f"{need.cores_busy:.0%}" for need in needs]),
        ("cores busy, worst", [f"{need.core_busiest:.0%}" for need in needs]),
        ("shards busy, worst", [f"{need.shard_busiest:.0%}" for need in needs]),
        ("messages a batch", [f"{need.batch:.0f}" for need in needs]),
        ("age, p50", [f"{need.p50_s * 1000:.0f} ms" for need in needs]),
        ("age, p99", [f"{need.p99_s * 1000:.0f} ms" for need in needs]),
    ]
    for name in ("burst", "lost", "joins"):
        rows.append((f"{name}: oldest", [f"{getattr(need, name).oldest_s:.1f} s" for need in needs]))
        rows.append((f"{name}: level after", [f"{getattr(need, name).level_after_s:.0f} s" for need in needs]))
    rows.append(("breaks at", [f"{need.breaks_at:g} ×" for need in needs]))
    yield from (f"{name:<20}" + "".join(f"{cell:>14}" for cell in cells) for name, cells in rows)
    yield from (f"{need.plan.rate:,.0f}/s breaks first: {need.breaks}" for need in needs)


def uncapped(plan: Plan, costs: Costs) -> str:
    """Say what a sender whom nobody limits does."""
    found = simulate(plan, costs, STEADY, Skew(most_per_s=math.inf))
    share = found.lane_share * plan.rate
    return (
        f"at {plan.rate:,.0f}/s with senders whom nobody limits one partition gets {share:,.0f}/s, "
        f"p99 {_p99(found):.1f} s: a partition carries {1 / costs.worker_s:,.0f}/s at most, with any number of workers"
    )


def read_costs(path: Path) -> Costs:
    """Return costs from a file of JSON lines; of the last one, or of `costs` in it."""
    found: dict[str, Any] = json.loads(path.read_text().strip().splitlines()[-1])
    return Costs(**found.get("costs", found))


def main() -> None:
    """Measure or read costs, simulate, and print; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rate", type=float, action="append", help="messages a second; repeat it")
    parser.add_argument("--costs", type=Path, metavar="FILE", help="of a run before; else they are measured")
    parser.add_argument("--json", action="store_true", help="only the JSON line")
    args = parser.parse_args()
    costs = read_costs(args.costs) if args.costs else asyncio.run(measure(MESSAGES))
    needs = [needed(rate, costs) for rate in args.rate or RATES]
    if not args.json:
        print(checked(costs), *table(needs), uncapped(needs[-1].plan, costs), "assumed:", *ASSUMED, sep="\n")
    print(json.dumps({"costs": costs._asdict(), "needs": [_flat(need) for need in needs], "assumed": ASSUMED}))


def _flat(need: Need) -> dict[str, Any]:
    return {name: one._asdict() if isinstance(one, (Plan, After)) else one for name, one in need._asdict().items()}


if __name__ == "__main__":
    main()
