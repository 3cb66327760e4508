"""A model of many workers: partitions fill, cores judge batches, store shards answer, and each message's age is noted.

A discrete-event simulation of what streams/lanes.py and streams/pipeline.py do, with costs from bench/costs.py:

    arrivals   Poisson by partition; its share of the rate comes from Zipf senders hashed to it
    a core     takes what waits in its partitions, at most 500 records a batch; two batches in hand, of a partition one,
               and of a partition none sooner after the last than fetching took where it was measured. A batch takes
               its fixed cost and a gamma variate for its messages: mean and spread of one were measured, and a sum of
               gammas is a gamma
    a shard    one core, first come first served; a batch's operations go to the shards that their keys hash to
    a change   eager, as Faust's are: all partitions stand still, then those that have a new owner are heard again
               before they go on (streams/past.py), on the same core

What it leaves out: the network between them, brokers that queue, garbage collection, noisy neighbours.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter, defaultdict, deque
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from streams.lanes import IN_HAND
from streams.past import WARM_MOST, WARM_MS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.costs import Costs

BATCH: Final = 500
#: How often a core with nothing to do looks for work. Seconds.
POLL_S: Final = 0.01
#: Shards that one batch's operations are spread over at most: more cost the simulation time and change nothing.
SPREAD_OVER: Final = 8
#: Senders, or handles, dealt out one by one; the rest are so small that they spread evenly.
SINGLE: Final = 20_000
#: Records of the past that are heard in one go.
HEARD: Final = 2_000
#: Ages are kept in classes of which each is an eighth of an octave wide: 9 %.
FINE: Final = 8


class Plan(NamedTuple):
    """What there is. Messages a second, and how many of each."""

    rate: float
    workers: int
    partitions: int
    shards: int


class Story(NamedTuple):
    """What happens; seconds since the start. `still_s` is how long a change of the group stops everybody."""

    seconds: float
    burst: tuple[float, float, float] = (0.0, 0.0, 1.0)
    lost_at: float | None = None
    joins_at: float | None = None
    session_s: float = 20.0
    still_s: float = 1.2


class Skew(NamedTuple):
    """How unequal they are: exponents of Zipf's law, and what the busiest sender may send a second."""

    senders: float = 1.0
    most_per_s: float = 20.0
    handles: float = 1.0


class Ages:
    """Ages of messages by the second in which they were done."""

    def __init__(self) -> None:
        self._by_second: dict[int, Counter[int]] = defaultdict(Counter)

    def add(self, done: float, since: float, until: float, messages: int) -> None:
        """Note messages that came evenly between `since` and `until`."""
        second = self._by_second[int(done)]
        for quarter in (0.125, 0.375, 0.625, 0.875):
            age = done - (since + (until - since) * quarter)
            second[int(math.log2(max(age, 1e-4)) * FINE)] += messages / 4  # type: ignore[assignment]

    def quantile(self, share: float, since: float = 0.0, until: float = math.inf) -> float:
        """Return the age that so many were not older than, of what was done in this time; 0 of nothing."""
        found: Counter[int] = Counter()
        for second, ages in self._by_second.items():
            if since <= second < until:
                found.update(ages)
        left = share * sum(found.values())
        for age, messages in sorted(found.items()):
            left -= messages
            if left <= 0:
                return float(2.0 ** ((age + 1) / FINE))
        return 0.0

    def level_after(self, since: float, limit_s: float) -> float:
        """Return how long after `since` the last second ended in which over one in 1000 was above the limit."""
        above = [second for second in self._by_second if self.quantile(0.999, second, second + 1) > limit_s]
        return max((second + 1 - since for second in above if second + 1 > since), default=0.0)


class Outcome(NamedTuple):
    """What came of it. Busy: the share of the time in which something worked, of all and of the worst.

    `lane_share` is the largest share of a partition, `batch` a batch's messages and `oldest_s` its oldest one's age on
    average, `left` what waits at the end.
    """

    ages: Ages
    cores_busy: float
    core_busiest: float
    shards_busy: float
    shard_busiest: float
    lane_share: float
    batch: float
    oldest_s: float
    left: int


#: Messages that came evenly between two times.
_Came: TypeAlias = tuple[float, float, int]


class _Lane:
    """A partition: what waits in it, in the order it came."""

    def __init__(self, share: float) -> None:
        self.share = share
        self.waiting: deque[_Came] = deque()
        self.seen_until = 0.0
        self.still_until = 0.0
        self.fetched_at = 0.0
        self.to_hear = 0
        self.in_hand = False


class _Core:
    """A worker process."""

    def __init__(self, lanes: list[_Lane]) -> None:
        self.lanes = lanes
        self.in_hand = 0
        self.busy = 0.0
        self.idle = False
        self.gone = False


def simulate(plan: Plan, costs: Costs, story: Story, skew: Skew | None = None, seed: int = 1) -> Outcome:
    """Run a story once."""
    return _Run(plan, costs, story, skew or Skew(), Random(seed)).run()  # noqa: S311  chance, not a secret


class _Run:
    def __init__(self, plan: Plan, costs: Costs, story: Story, skew: Skew, random: Random) -> None:
        self.plan, self.costs, self.story, self.random = plan, costs, story, random
        cap = skew.most_per_s / plan.rate
        shares = dealt(plan.partitions, int(plan.rate * 60), skew.senders, cap, random)
        self.lanes = [_Lane(share) for share in shares]
        self.cores = [_Core(self.lanes[n :: plan.workers]) for n in range(plan.workers)]
        even, hot = 1 / plan.shards, dealt(plan.shards, 10_000, skew.handles, 1.0, random)
        self.shard_shares = [(even + one) / 2 for one in hot]
        self.shard_free, self.shard_busy = [0.0] * plan.shards, [0.0] * plan.shards
        self.ages = Ages()
        self.batches = self.judged = 0
        self.oldest = 0.0
        self._queue: list[tuple[float, int, object, tuple[object, ...]]] = []
        self._order = count()

    def run(self) -> Outcome:
        for core in self.cores:
            self._at(self.random.random() * POLL_S, self._look, core)
        if self.story.lost_at is not None:
            self._at(self.story.lost_at, self._lose)
        if self.story.joins_at is not None:
            self._at(self.story.joins_at, self._join)
        now = 0.0
        while self._queue and now < self.story.seconds:
            now, _, step, about = heapq.heappop(self._queue)
            step(now, *about)  # type: ignore[operator]
        return self._outcome()

    def _at(self, when: float, step: object, *about: object) -> None:
        heapq.heappush(self._queue, (when, next(self._order), step, about))

    def _outcome(self) -> Outcome:
        seconds = self.story.seconds
        cores, shards = [core.busy / seconds for core in self.cores], [busy / seconds for busy in self.shard_busy]
        return Outcome(
            ages=self.ages,
            cores_busy=sum(cores) / len(cores),
            core_busiest=max(cores),
            shards_busy=sum(shards) / len(shards),
            shard_busiest=max(shards),
            lane_share=max(lane.share for lane in self.lanes),
            batch=self.judged / max(1, self.batches),
            oldest_s=self.oldest / max(1, self.batches),
            left=sum(n for lane in self.lanes for _, _, n in lane.waiting),
        )

    # -- the parts

    def _look(self, now: float, core: _Core) -> None:
        """Take the next batch, if there is one and a hand is free."""
        if core.gone:
            return
        if core.in_hand >= IN_HAND:
            core.idle = True
            return
        free = [lane for lane in core.lanes if not lane.in_hand and max(lane.still_until, lane.fetched_at) <= now]
        waiting = [lane for lane in free if self._fill(lane, now)]
        if new := [lane for lane in waiting if lane.to_hear]:
            self._hear(now, core, new[0])
        elif waiting:
            self._take(now, core, sorted(waiting, key=lambda lane: lane.waiting[0][0]))
        else:
            self._at(now + POLL_S, self._look, core)

    def _fill(self, lane: _Lane, now: float) -> bool:
        """Note what came since the last look; tell whether anything waits."""
        since, lane.seen_until = lane.seen_until, now
        begins, ends, factor = self.story.burst
        burst = max(0.0, min(now, ends) - max(since, begins)) * (factor - 1)
        if came := poisson(lane.share * self.plan.rate * (now - since + burst), self.random):
            lane.waiting.append((since, now, came))
        return bool(lane.waiting)

    def _hear(self, now: float, core: _Core, lane: _Lane) -> None:
        heard = min(HEARD, lane.to_hear)
        lane.to_hear -= heard
        took = self._work(heard)
        core.busy += took
        self._at(now + took, self._look, core)

    def _take(self, now: float, core: _Core, lanes: Sequence[_Lane]) -> None:
        batch, taken, room = list[_Came](), list[_Lane](), BATCH
        for lane in lanes:
            if room:
                batch += (some := _next(lane, room))
                room -= sum(messages for _, _, messages in some)
                taken.append(lane)
                lane.in_hand = True
                lane.fetched_at = now + self.costs.fetch_s
        core.in_hand += 1
        took = self._work(BATCH - room)
        core.busy += took
        self.batches += 1
        self.judged += BATCH - room
        self._at(now + took, self._effects, core, taken, batch, BATCH - room)
        self._at(now + took, self._look, core)

    def _work(self, messages: int) -> float:
        """Return processor time: what a batch costs, and its messages."""
        costs = self.costs
        shape = messages / costs.spread**2
        return costs.worker_batch_s + self.random.gammavariate(shape, costs.worker_s * costs.spread**2)

    def _effects(self, now: float, core: _Core, lanes: Sequence[_Lane], batch: Sequence[_Came], n: int) -> None:
        done = self._asked(now, n) + self.costs.rest_s / 2
        self.oldest += done + self.costs.rest_s / 2 - min(since for since, _, _ in batch)
        for since, until, messages in batch:
            self.ages.add(done + self.costs.rest_s / 2, since, until, messages)
        self._at(done, self._done, core, lanes)

    def _asked(self, now: float, messages: int) -> float:
        """Return when the store has answered."""
        costs = self.costs
        asking = poisson(messages * costs.asking_share, self.random)
        if not asking:
            return now
        ops = asking * costs.store_ops / costs.asking_share
        over = self.random.choices(range(self.plan.shards), self.shard_shares, k=min(asking, SPREAD_OVER))
        answered = now
        for shard in over:
            took = ops / len(over) * costs.store_s / costs.store_ops
            self.shard_free[shard] = max(now, self.shard_free[shard]) + took
            self.shard_busy[shard] += took
            answered = max(answered, self.shard_free[shard])
        return answered

    def _done(self, now: float, core: _Core, lanes: Sequence[_Lane]) -> None:
        for lane in lanes:
            lane.in_hand = False
        core.in_hand -= 1
        if core.idle:
            core.idle = False
            self._look(now, core)

    # -- what happens to the group

    def _lose(self, now: float) -> None:
        """Kill the worker with the most to do: its session must end before the group deals anew."""
        lost = max(self.cores, key=lambda core: sum(lane.share for lane in core.lanes))
        lost.gone = True
        self._at(now + self.story.session_s, self._deal_out, lost)

    def _deal_out(self, now: float, lost: _Core) -> None:
        self._stand_still(now)
        left = [core for core in self.cores if not core.gone]
        for n, lane in enumerate(lost.lanes):
            lane.in_hand = False  # it comes again
            self._give(lane, left[n % len(left)])
        lost.lanes = []

    def _join(self, now: float) -> None:
        """Add a worker: everybody gives a lane until it has its share."""
        self._stand_still(now)
        new = _Core([])
        wanted = self.plan.partitions // (self.plan.workers + 1)
        for core in sorted(self.cores, key=lambda core: -len(core.lanes))[:wanted]:
            if len(core.lanes) > 1:
                self._give(core.lanes.pop(), new)
        self.cores.append(new)
        self._at(now + self.story.still_s, self._look, new)

    def _stand_still(self, now: float) -> None:
        for lane in self.lanes:
            lane.still_until = now + self.story.still_s

    def _give(self, lane: _Lane, core: _Core) -> None:
        lane.to_hear = int(min(WARM_MOST, lane.share * self.plan.rate * WARM_MS / 1000))
        core.lanes.append(lane)


def _next(lane: _Lane, most: int) -> list[_Came]:
    """Take at most so many of the messages that wait in a lane, the oldest first."""
    taken, room = list[_Came](), most
    while lane.waiting and room:
        since, until, messages = lane.waiting.popleft()
        some = min(messages, room)
        between = since + (until - since) * some / messages
        taken.append((since, between, some))
        if some < messages:
            lane.waiting.appendleft((between, until, messages - some))
        room -= some
    return taken


def dealt(places: int, things: int, exponent: float, cap: float, random: Random) -> list[float]:
    """Hash things, the n-th as large as n to the minus `exponent` and none larger than `cap`, to places.

    Returns each place's share; together they are 1.
    """
    single = min(things, SINGLE)
    large = [n**-exponent for n in range(1, single + 1)]
    # the sum of the others, by the integral
    tail = (
        math.log(things / single)
        if exponent == 1
        else (things ** (1 - exponent) - single ** (1 - exponent)) / (1 - exponent)
    )
    whole = sum(large) + tail
    capped = [min(one / whole, cap) for one in large]
    shares = [(1 - sum(capped)) / places] * places
    for one in capped:
        shares[random.randrange(places)] += one
    return shares


def poisson(mean: float, random: Random) -> int:
    """Return a Poisson variate; beyond 30 the normal one that it nearly is."""
    if mean > 30:
        return max(0, round(random.gauss(mean, math.sqrt(mean))))
    n, product, least = 0, random.random(), math.exp(-mean)
    while product > least:
        n += 1
        product *= random.random()
    return n
