"""What forking workers saves: memory and processor time of some that share the rules, and of as many that do not.

    python -m bench.processes [--processes 2] [--messages 40000] [--json]

Each way drains the same preloaded topic of an embedded broker in a group of its own. Memory is PSS: a page that several
processes share counts for each by its share, so that a sum over processes is what the machine has to have (Linux).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from bench.costs import busy
from bench.faults.crew import Crew
from bench.lines import today
from bench.pair import fill
from bench.part import RULES
from streams.embedded import Embedded
from streams.settings import Settings
from streams.topics import create_topics

if TYPE_CHECKING:
    from bench.faults.crew import Worker

PREFIX: Final = "processes."
PARTITIONS: Final = 4
#: A run ends before the topic does: on the last records a fetch waits for partitions that have no more.
SHARE: Final = 0.9
WITHIN_S: Final = 300.0
_KIB: Final = 1024


class Figures(NamedTuple):
    """Of all processes, those that only look after others among them: MiB after the work, processor time a message.

    Messages a second are by the clock, of all.
    """

    mib: float
    cpu_s: float
    rate: float


async def measure(pair: Embedded, name: str, processes: int, commands: int, messages: int) -> Figures:
    """Run `commands` commands of so many processes until nearly all messages are judged."""
    with tempfile.TemporaryDirectory(prefix="qingliu-") as home:
        crew = Crew(_environment(pair, name, processes, home), Path(home))
        try:
            for _ in range(commands):
                await crew.hire()
            first, began = await _beyond(crew, 0)
            before = _worked(crew)
            last, ended = await _beyond(crew, SHARE * messages)
            return Figures(_memory(crew), (_worked(crew) - before) / (last - first), (last - first) / (ended - began))
        finally:
            await crew.end()


def _environment(pair: Embedded, name: str, processes: int, home: str) -> dict[str, str]:
    return {
        "TMPDIR": home,
        "QINGLIU_KAFKA": pair.kafka,
        "QINGLIU_REDIS": pair.redis,
        "QINGLIU_TOPIC_PREFIX": PREFIX,
        "QINGLIU_GROUP_ID": name,
        "QINGLIU_REDIS_PREFIX": name,
        "QINGLIU_RULES": str(RULES),
        "QINGLIU_SESSION_TIMEOUT_S": "4",
        "QINGLIU_HEARTBEAT_S": "1",
        "QINGLIU_PROCESSES": str(processes),
        "QINGLIU_LOG_LEVEL": "error",
    }


async def _beyond(crew: Crew, least: float) -> tuple[float, float]:
    """Return how many messages have been judged once they are more than `least`, and when that was."""
    async with asyncio.timeout(WITHIN_S):
        while (judged := sum([await _outcomes(worker) for worker in crew.workers])) <= least:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
    return judged, time.perf_counter()


async def _outcomes(worker: Worker) -> float:
    """Return how many messages a worker's processes have judged; none while they start."""
    try:
        async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{worker.port}/metrics") as page:
            families = list(text_string_to_metric_families(await page.text()))
    except aiohttp.ClientError:
        return 0.0
    outcomes = [family for family in families if family.name == "qingliu_outcomes"]
    return sum(sample.value for family in outcomes for sample in family.samples)


def _memory(crew: Crew) -> float:
    return sum(pss(pid) for pid in _pids(crew)) / _KIB


def _worked(crew: Crew) -> float:
    return sum(busy(pid) for pid in _pids(crew))


def _pids(crew: Crew) -> list[int]:
    return [pid for worker in crew.workers for pid in family(worker.process.pid)]


def family(pid: int) -> list[int]:
    """Return a process and all that descend from it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(one for child in children for one in family(int(child)))]


def pss(pid: int) -> int:
    """Return what a process has of the machine's memory, in KiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


async def all_ways(processes: int, messages: int) -> dict[str, Figures]:
    """Measure one after the other: so many forked, so many apart, and one alone."""
    async with Embedded() as pair:
        await create_topics(
            Settings.load({"topic_prefix": PREFIX, "partitions": PARTITIONS}, env_file=None), pair.kafka
        )
        await fill(pair.kafka.removeprefix("kafka://"), f"{PREFIX}chat.world", today(messages))
        return {
            "forked": await measure(pair, "forked", processes, 1, messages),
            "apart": await measure(pair, "apart", 1, processes, messages),
            "one": await measure(pair, "one", 1, 1, messages),
        }


def main() -> None:
    """Measure; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--messages", type=int, default=40_000)
    parser.add_argument("--json", action="store_true", help="only the JSON line")
    args = parser.parse_args()
    found = asyncio.run(all_ways(args.processes, args.messages))
    if not args.json:
        print(f"{'':<8}{'MiB':>8}{'µs a message':>14}{'messages/s':>12}")
        for name, one in found.items():
            print(f"{name:<8}{one.mib:>8.0f}{one.cpu_s * 1e6:>14.0f}{one.rate:>12,.0f}")
    print(json.dumps({"processes": args.processes} | {name: one._asdict() for name, one in found.items()}))


if __name__ == "__main__":
    main()
