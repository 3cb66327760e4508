"""The attack figures of the plan, against this tree: what a hostile sender can cost, and what is done about it.

    A1 expensive texts     what a message of each kind costs, and how long nothing else gets its turn
    A2 made-up accounts    the store stays within its bound, the metrics as they are (see qingliu bench --only memory)
    A3 poison              one record in ten is bad: what the rest costs, and every bad one a dead letter
    A4 patterns            each shipped rule alone on 2 KiB that were made to be hard for it
    A5 random bytes        decode, fold and judge what is broken: only declared errors
    A6 headers             reply-to, ten thousand of them, names that are no text: a real worker answers nothing
    A8 evidence            a line of an exported campaign changed, deleted, moved: found, by its number

A7, who may write what, needs a broker that asks: tests/test_security.py. Times are of the processor, so that a busy
machine counts less. Exits 1 if an attack succeeds.

    python -m bench.attacks [--only A1,A3] [--fuzz 20000] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer

from bench import flood
from bench.faults.chat import _BAD
from bench.lines import NOW, dear, key_value, ordinary, said
from bench.part import RULES
from bench.records import TOPICS, Nowhere, Record, pipeline_of, records
from console.campaigns import exported
from console.proof import check_file
from moderation.actions import Evidence, How, What, When, Where, Who, Why
from moderation.campaign import Campaign, Member, Sighting
from moderation.errors import DeadReason, EventError
from moderation.events import ChatEvent, Sender, decode_event
from moderation.fold import fold
from moderation.moderator import Moderator
from moderation.reading import Reader
from streams import garbage
from streams.connection import connection
from streams.embedded import Embedded
from streams.health import Health
from streams.ledger import MemoryLedger
from streams.metrics import Metrics
from streams.pipeline import Pipeline
from streams.rules import load_rules
from streams.settings import Settings
from streams.topics import create_topics
from streams.worker import running

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence

    from moderation.ruleset import RuleSet

#: Limits of the plan: how long nothing else may get its turn, and what one message or one rule may cost.
STALL_MS, MESSAGE_MS, RULE_MS = 100.0, 50.0, 5.0
#: The dearest of so many is taken for noise where a scheduler may have come between.
REPEAT: Final = 3


class Result(NamedTuple):
    """What came of an attack."""

    id: str
    good: bool
    says: str


def seconds(deed: Callable[[], object]) -> float:
    """Return what a deed costs of the processor, the best of REPEAT."""
    times = []
    for _ in range(REPEAT):
        began = time.thread_time()
        deed()
        times.append(time.thread_time() - began)
    return min(times)


# --- A1


class Collector:
    """Watches the garbage collector: `total` seconds of the processor so far, and the longest at once."""

    def __init__(self) -> None:
        self.total = self.longest = self._began = 0.0
        gc.callbacks.append(self._note)

    def _note(self, phase: str, _: object) -> None:
        if phase == "start":
            self._began = time.thread_time()
            return
        took = time.thread_time() - self._began
        self.total, self.longest = self.total + took, max(self.longest, took)


COLLECTOR: Final = Collector()


async def judged(pipeline: Pipeline, batches: Sequence[Sequence[Record]]) -> tuple[float, float]:
    """Return what batches cost of the processor in all, and the most that went by without the loop's getting a turn.

    A collection of garbage stops everything, whatever is said: it is told apart.
    """
    stalls: list[float] = []

    async def probe() -> None:
        last = time.thread_time() - COLLECTOR.total
        while True:
            await asyncio.sleep(0)
            now = time.thread_time() - COLLECTOR.total
            stalls.append(now - last)
            last = now

    watching = asyncio.create_task(probe())
    await asyncio.sleep(0)
    began = time.thread_time()
    for batch in batches:
        await pipeline.chat(batch, lambda: True)
    took = time.thread_time() - began
    watching.cancel()
    return took, max(stalls)


async def expensive(rules: RuleSet) -> Result:
    """A1."""
    lines = records(said(event.text, n, f"u{n}") for n, event in enumerate(islice(ordinary(), 1000)))
    usual, _ = await judged(pipeline_of(rules), [lines[:500], lines[500:]])
    costs, stalls = {}, {}
    for kind in dear(0):
        batch = records(said(dear(n)[kind], n) for n in range(500))
        took, stalls[kind] = await judged(pipeline_of(rules), [batch])
        costs[kind] = took / len(batch)
    worst, longest = max(costs, key=costs.__getitem__), max(stalls, key=stalls.__getitem__)
    told = ", ".join(f"{kind} {cost * 1e6:.0f}" for kind, cost in costs.items())
    return Result(
        "A1",
        max(stalls.values()) * 1000 <= STALL_MS and max(costs.values()) * 1000 <= MESSAGE_MS,
        f"usual {usual / 1000 * 1e6:.0f} µs a message; {told}; dearest: {worst}; longest without a turn "
        f"{stalls[longest] * 1000:.0f} ms ({longest}); longest collection of garbage {COLLECTOR.longest * 1000:.0f} ms",
    )


# --- A2


async def made_up(_: RuleSet) -> Result:
    """A2."""
    samples = await flood.run(20_000, "24mb")
    series = {one.series for one in samples[2:]}
    last = samples[-1]
    return Result(
        "A2",
        len(series) == 1 and last.store <= 26 * 2**20 and last.evicted > 0,
        f"{last.accounts} accounts: store {last.store / 2**20:.0f} MiB of 24, {last.evicted} keys dropped, "
        f"{last.series} series before and after",
    )


# --- A3


async def poison(rules: RuleSet) -> Result:
    """A3."""
    good = records(islice(ordinary(), 4500))
    bad = [Record(10_000 + n, *_BAD[n % len(_BAD)]) for n in range(500)]  # type: ignore[arg-type]  # some have none
    mixed = [r for n, b in enumerate(bad) for r in (*good[9 * n : 9 * n + 9], b)]
    cost = {}
    for name, chat in (("clean", good), ("poisoned", mixed)):
        batches = [chat[at : at + 500] for at in range(0, len(chat), 500)]
        cost[name] = statistics.median([(await judged(pipeline_of(rules), batches))[0] for _ in range(REPEAT)])
    sent = Kept()
    pipeline = Pipeline(Moderator(rules), MemoryLedger(), sent, TOPICS, Metrics(), Health(), now_ms=lambda: NOW)
    await pipeline.chat(mixed, lambda: True)
    dead = [letter for letter in sent.letters if letter.topic == TOPICS.dead_letters]
    reasons = [dict(letter.headers)["reason"].decode() for letter in dead]
    share = (len(mixed) / cost["poisoned"]) / (len(good) / cost["clean"])
    return Result(
        "A3",
        share >= 0.9 and len(dead) == len(bad) and set(reasons) <= set(DeadReason),
        f"one record in ten bad: {share:.0%} of the records a second of a clean run; {len(dead)} of {len(bad)} are "
        f"dead letters, {len(set(reasons))} reasons",
    )


class Kept(Nowhere):
    """An outbox that keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.letters: list[Any] = []

    async def send(self, letters: Sequence[Any]) -> None:
        """Keep letters."""
        self.letters += letters


# --- A4


def hard(rule: Any) -> Iterator[str]:
    """Yield 2 KiB texts that may be hard for a rule: its own words over and over, spoilt at the end."""
    for example in rule.hits[:3]:
        said = example.text if hasattr(example, "text") else str(example)
        yield (said * 400)[:2040] + "!"
        yield (said[: max(1, len(said) // 2)] * 800)[:2040] + "x"
        yield " ".join(said * 80)[:2040]
    yield from (" " * 2040, "加" * 2040, "1" * 2040, "a1" * 1020, "加微信" * 680, "1,000元/" * 255)


def patterns(rules: RuleSet) -> Result:
    """A4."""
    reader, worst, where, tried = Reader(rules), 0.0, "", 0
    for rule in rules.rules:
        for text in dict.fromkeys(hard(rule)):
            [reading] = reader.read([ChatEvent("a4", NOW, "s1", "world", Sender("a4", level=1), text)])
            for condition in rule.conditions:
                with suppress(RecursionError):
                    took = seconds(partial(reading.find, condition))
                    tried += 1
                    if took > worst:
                        worst, where = took, rule.id
    return Result(
        "A4",
        worst * 1000 < RULE_MS,
        f"{len(rules.rules)} rules, {tried} trials: dearest {worst * 1000:.2f} ms ({where})",
    )


# --- A5


def fuzz(rules: RuleSet, times: int) -> Result:
    """A5."""
    draw, moderator = random.Random(5), Moderator(rules)  # noqa: S311  the same every time
    _, good = key_value(said('加微信 a\\b"c[em1]', 1, "a1"))
    slowest, refused, undeclared = 0.0, 0, list[str]()
    for n in range(times):
        value, text = mutated(draw, good if n % 2 else draw.randbytes(draw.randrange(600))), odd(draw)
        event = ChatEvent(f"f{n}", NOW + n, "s1", "world", Sender(f"a{n % 9}"), text)
        deeds: list[Callable[[], object]] = [partial(decode_event, value, b"a1"), partial(fold, text)]
        if n % 10 == 0:  # judging is dear
            deeds.append(partial(moderator.judge, [event]))
        for deed in deeds:
            began = time.thread_time()
            try:
                deed()
            except EventError:
                refused += 1
            except Exception as exc:  # noqa: BLE001  it is what we are looking for
                undeclared.append(f"{type(exc).__name__}: {exc}")
            slowest = max(slowest, time.thread_time() - began)
    return Result(
        "A5",
        not undeclared and slowest * 1000 <= MESSAGE_MS,
        f"{times} decoded and folded, a tenth judged: {refused} refused, {len(undeclared)} undeclared errors "
        f"{undeclared[:2] or ''}, slowest {slowest * 1000:.1f} ms",
    )


def mutated(draw: random.Random, value: bytes) -> bytes:
    """Return a value with up to five places changed, cut out or put in."""
    out = bytearray(value)
    for _ in range(draw.randrange(6)):
        at = draw.randrange(len(out) + 1)
        out[at : at + draw.randrange(4)] = draw.randbytes(draw.randrange(5))
    return bytes(out)


def odd(draw: random.Random) -> str:
    """Return sixty characters from anywhere, half surrogates too."""
    spans = ((0, 0x110000), (0, 0x250), (0x4E00, 0x4E63))
    return "".join(chr(draw.randrange(*draw.choice(spans))) for _ in range(60))


# --- A6

#: Run with AIOKAFKA_NO_EXTENSIONS: only aiokafka's own Python lets us write names that are no text.
SEND: Final = """
import asyncio, json, sys
from aiokafka import AIOKafkaProducer

class Raw(str):
    def encode(self, *_):
        return b"\\xff\\xfe"

async def main(broker, topic, values):
    bait = [(n, b"stolen") for n in ("Faust-Ag-ReplyTo", "Faust-Ag-CorrelationId", "reply-to", "kafka_replyTopic")]
    every = [bait, [(f"h{n}", b"x") for n in range(10_000)], [(Raw("x"), b"y")], [(Raw("x"), None), *bait]]
    async with AIOKafkaProducer(bootstrap_servers=broker) as producer:
        for n, value in enumerate(values):
            key = json.loads(value)["sender"]["account_id"].encode()
            await producer.send_and_wait(topic, value.encode(), key=key, headers=every[n % len(every)])

asyncio.run(main(sys.argv[1], sys.argv[2], json.load(sys.stdin)))
"""


async def headers(rules: RuleSet) -> Result:
    """A6."""
    settings = Settings.load({"topic_prefix": "a6.", "partitions": 1, "metrics_port": 0}, env_file=None)
    settings = settings.model_copy(update={"session_timeout_s": 6.0, "heartbeat_s": 1.5})
    now = time.time_ns() // 1_000_000
    senders = [Sender(f"h{n}", level=1) for n in range(20)]
    spam = [ChatEvent(s.account_id, now, "s1", "world", s, f"出金加QQ 738192{n + 1000}") for n, s in enumerate(senders)]
    async with Embedded() as pair:
        await create_topics(settings, pair.kafka)
        async with running(settings, pair.kafka, pair.redis, rules) as worker:
            await worker.wait_ready()
            broker = pair.kafka.removeprefix("kafka://")
            await asyncio.to_thread(
                subprocess.run,
                [sys.executable, "-c", SEND, broker, settings.topics.world],
                input=msgspec.json.encode([msgspec.json.encode(e).decode() for e in spam]),
                env={**os.environ, "AIOKAFKA_NO_EXTENSIONS": "1"},
                check=True,
            )
            mutes = await _muted(settings, pair.kafka, len(spam))
            async with AIOKafkaConsumer(**connection(settings, pair.kafka), group_id=None) as consumer:
                there = await consumer.topics()
    strange = {name for name in there if not name.startswith("__")} - set(settings.topics)
    return Result(
        "A6",
        mutes == len(spam) and not strange,
        f"{len(spam)} adverts with reply-to, 10 000 headers, names that are no text: {mutes} muted, "
        f"topics written beside ours: {', '.join(sorted(strange)) or 'none'}",
    )


async def _muted(settings: Settings, kafka: str, wanted: int) -> int:
    muted = set[str]()
    async with AIOKafkaConsumer(
        settings.topics.enforcement, **connection(settings, kafka), group_id=None, auto_offset_reset="earliest"
    ) as consumer:
        with suppress(TimeoutError):
            async with asyncio.timeout(30):
                while len(muted) < wanted:
                    action = json.loads((await consumer.getone()).value)
                    muted |= {action["target"]["account_id"]} if action["action"] == "mute" else set()
    return len(muted)


# --- A8


def evidence(_: RuleSet) -> Result:
    """A8."""
    seen = tuple(
        Sighting(f"e{n}", (f"num:{n}",), Evidence(Who(f"a{n}"), When(NOW + n, NOW + n + 5), Where("s1", "world"),
                 What("卖金", "卖金", ((0, 2),)), Why("rmt", 62.0, ("卖金",)), How()), "review", suspect=True)
        for n in range(20)
    )  # fmt: skip
    members = tuple(Member(one.account_id, one.ts, one.ts, NOW) for one in seen)
    lines, _head = exported(Campaign("c" * 32, NOW, members, seen))
    tried = missed = 0
    for n in range(len(lines)):
        at = len(lines[n]) // 2
        flipped = lines[n][:at] + bytes([lines[n][at] ^ 1]) + lines[n][at + 1 :]
        # a change shows in the line itself or in the one after; what was cut out or moved, where it is missing
        attacks = [
            ([*lines[:n], flipped, *lines[n + 1 :]], {n + 1, n + 2}),
            ([*lines[:n], *lines[n + 1 :]], {n + 1, n}),
        ]
        if n + 1 < len(lines):
            attacks.append(([*lines[:n], lines[n + 1], lines[n], *lines[n + 2 :]], {n + 1}))
        for changed, where in attacks:
            tried += 1
            missed += broken(changed) not in where
    return Result(
        "A8",
        not missed and broken(lines) is None,
        f"{tried} changes of {len(lines)} lines: {missed} not found by number",
    )


def broken(lines: Sequence[bytes]) -> int | None:
    """Return the number, from 1, of the line that `qingliu campaigns verify` names; None for a file as it was."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"\n".join(lines) + b"\n")
        file.flush()
        flaw = check_file(Path(file.name)).flaw
    return None if flaw is None else flaw.line


async def run(only: set[str], rules: RuleSet, times: int) -> list[Result]:
    """Run attacks, one after the other; each is told on stderr as soon as it is over."""

    async def at_once(result: Result) -> Result:
        return result

    every: dict[str, Callable[[], Coroutine[Any, Any, Result]]] = {
        "A1": lambda: expensive(rules),
        "A2": lambda: made_up(rules),
        "A3": lambda: poison(rules),
        "A4": lambda: at_once(patterns(rules)),
        "A5": lambda: at_once(fuzz(rules, times)),
        "A6": lambda: headers(rules),
        "A8": lambda: at_once(evidence(rules)),
    }
    results = []
    for name, attack in every.items():
        if not only or name in only:
            results.append(await attack())
            print(*results[-1], file=sys.stderr, flush=True)
    return results


def main() -> int:
    """Run the attacks asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", default="", help="A1,A3")
    parser.add_argument("--fuzz", type=int, default=20_000, help="how many random inputs")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    rules = load_rules([RULES])
    garbage.settle()
    results = asyncio.run(run(set(filter(None, args.only.split(","))), rules, args.fuzz))
    failed = [one.id for one in results if not one.good]
    if args.json:
        print(json.dumps([one._asdict() for one in results]))
    print(f"attacks {len(results)} succeeded {len(failed)} {' '.join(failed)}".strip())
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
