"""`qingliu worker --processes 2` as who runs it sees it: on the embedded pair, through kills, to its end."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sys
import time
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec
import pytest

from moderation.actions import Action
from streams.topics import create_topics
from streams.worker import EMBEDDED_SESSION_S
from tests.test_worker import SPAM, drained, fresh_event, producer, publish, read, settings_for, write_rules

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from streams.embedded import Embedded
    from streams.settings import Settings

pytestmark = pytest.mark.servers
QINGLIU = str(Path(sys.executable).parent / "qingliu")


class Together:
    """The command while it runs, and its pages."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self.log = log

    async def page(self, path: str) -> tuple[int, str]:
        with suppress(aiohttp.ClientError):
            async with aiohttp.ClientSession(f"http://127.0.0.1:{self.port}") as http, http.get(path) as response:
                return response.status, await response.text()
        return 0, ""

    async def until_ready(self, *, ready: bool = True) -> dict[str, Any]:
        async with asyncio.timeout(60):
            while True:
                status, text = await self.page("/readyz")
                if status == (200 if ready else 503):
                    report: dict[str, Any] = msgspec.json.decode(text)
                    return report
                assert self.process.returncode is None, self.log.read_text()
                await asyncio.sleep(0.05)

    async def counted(self, sample: str) -> float:
        _, text = await self.page("/metrics")
        return sum(float(found) for found in re.findall(rf"^{sample}(?:{{.*}})? (\S+)$", text, re.MULTILINE))

    async def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        async with asyncio.timeout(20):
            return await self.process.wait()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@asynccontextmanager
async def together(pair: Embedded, settings: Settings, home: Path, **more: str) -> AsyncIterator[Together]:
    port = free_port()
    env = {
        **os.environ,
        "QINGLIU_KAFKA": pair.kafka,
        "QINGLIU_REDIS": pair.redis,
        "QINGLIU_TOPIC_PREFIX": settings.topic_prefix,
        "QINGLIU_GROUP_ID": settings.group_id,
        "QINGLIU_REDIS_PREFIX": settings.redis_prefix,
        "QINGLIU_METRICS_PORT": str(port),
        "QINGLIU_SESSION_TIMEOUT_S": str(EMBEDDED_SESSION_S),
        "QINGLIU_HEARTBEAT_S": str(EMBEDDED_SESSION_S / 4),
        "QINGLIU_PROCESSES": "2",
        "TMPDIR": str(home),
        **more,
    }
    rules = write_rules(home / "rules")
    with (home / "log").open("wb") as log:
        command = [QINGLIU, "worker", "--rules", str(rules)]
        process = await asyncio.create_subprocess_exec(*command, env=env, stderr=log, cwd=home)
    try:
        yield Together(process, port, home / "log")
    finally:
        if process.returncode is None:
            process.kill()  # its children see that it is gone
        await process.wait()


def alive(pid: int) -> bool:
    """Tell whether a process runs; one that ended and that nobody waits for does not."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


async def gone(pids: list[int]) -> None:
    async with asyncio.timeout(20):
        while any(alive(pid) for pid in pids):  # noqa: ASYNC110  they are another's children: there is no event
            await asyncio.sleep(0.05)


def actions(values: list[bytes]) -> list[Action]:
    return [msgspec.json.decode(value, type=Action) for value in values]


def test_two_processes_judge_everything_once_and_end_when_told(embedded: Embedded, tmp_path: Path) -> None:
    async def run() -> None:
        settings = settings_for("two")
        topics = settings.topics
        await create_topics(settings, embedded.kafka)
        events = [fresh_event(SPAM if n % 10 == 0 else f"第{n}句", n, f"a{n}", level=3) for n in range(2000)]
        async with together(embedded, settings, tmp_path) as both, producer(embedded, settings) as to:
            report = await both.until_ready()
            pids = [one["pid"] for one in report["processes"]]
            assert len(set(pids)) == 2
            assert all(one["partitions"] > 0 for one in report["processes"])
            assert sum(one["partitions"] for one in report["processes"]) == 3 * settings.partitions
            await publish(to, topics.world, events)
            await drained(embedded, settings, topics.world, len(events))
            assert await both.counted("qingliu_outcomes_total") == len(events), "each was counted, and once"
            assert await both.counted("qingliu_processes") == 2
            assert (await both.page("/livez"))[0] == 200
            assert await both.end() == 0
            assert not any(alive(pid) for pid in pids)
        reverted = [a for a in actions(await read(embedded, settings, topics.enforcement, 400)) if a.action == "revert"]
        assert sorted(str(a.event_id) for a in reverted) == sorted(event.event_id for event in events[::10])

    asyncio.run(run())
    assert not list(tmp_path.glob("qingliu-*")), "nothing is left behind"


def test_nothing_is_lost_when_one_process_is_killed_and_the_page_says_so(embedded: Embedded, tmp_path: Path) -> None:
    async def run() -> None:
        settings = settings_for("two-killed")
        topics = settings.topics
        await create_topics(settings, embedded.kafka)
        events = [fresh_event(SPAM if n % 10 == 0 else f"第{n}句", n, f"a{n}", level=3) for n in range(6000)]
        async with together(embedded, settings, tmp_path) as both, producer(embedded, settings) as to:
            before = await both.until_ready()
            victim = before["processes"][0]["pid"]
            await publish(to, topics.world, events[:3000])
            await read(embedded, settings, topics.enforcement, 10)
            counted = await both.counted("qingliu_outcomes_total")
            os.kill(victim, signal.SIGKILL)
            report = await both.until_ready(ready=False)
            assert any(reason.startswith("process 1: ") for reason in report["reasons"])
            assert (await both.page("/livez"))[0] == 200, "it is replaced: no reason to restart the other"
            assert await both.counted("qingliu_outcomes_total") >= counted, "what it counted stays counted"
            await publish(to, topics.world, events[3000:])
            after = await both.until_ready()
            assert after["processes"][0]["pid"] != victim
            assert after["processes"][1]["pid"] == before["processes"][1]["pid"]
            await drained(embedded, settings, topics.world, len(events))
            assert await both.counted("qingliu_process_restarts_total") == 1
            assert await both.end(signal.SIGINT) == 0
        spam = {event.event_id for event in events[::10]}
        sent = actions(await read(embedded, settings, topics.enforcement, 2 * len(spam)))
        assert {message for a in sent for message in a.target.message_ids} == spam
        assert {a.target.account_id for a in sent if a.action == "mute"} == {e.sender.account_id for e in events[::10]}

    asyncio.run(run())


def test_when_the_parent_is_killed_its_workers_end_too(embedded: Embedded, tmp_path: Path) -> None:
    async def run() -> None:
        settings = settings_for("two-orphaned")
        await create_topics(settings, embedded.kafka)
        async with together(embedded, settings, tmp_path) as both:
            report = await both.until_ready()
            both.process.kill()
            await both.process.wait()
            await gone([one["pid"] for one in report["processes"]])
        assert "the process that started us is gone" in both.log.read_text()

    asyncio.run(run())


def test_one_pair_of_embedded_servers_serves_both(embedded: Embedded, tmp_path: Path) -> None:
    async def run() -> None:
        where = {"QINGLIU_KAFKA": "", "QINGLIU_REDIS": "", "QINGLIU_PARTITIONS": "2"}
        async with together(embedded, settings_for("two-own"), tmp_path, **where) as both:
            report = await both.until_ready()
            assert [one["partitions"] for one in report["processes"]] == [3, 3]
            assert both.log.read_text().count("embedded broker and store") == 1
            assert await both.end() == 0

    asyncio.run(run())


@pytest.mark.parametrize(
    ("wrong", "code", "says"),
    [
        ({"QINGLIU_KAFKA": "kafka://127.0.0.1:1"}, 3, "QINGLIU_KAFKA=kafka://127.0.0.1:1"),
        ({"QINGLIU_RULES": "/nowhere"}, 1, "/nowhere"),
        ({"QINGLIU_METRICS_HOST": "192.0.2.1"}, 2, "QINGLIU_METRICS_HOST=192.0.2.1"),
        ({"QINGLIU_PROCESSES": "0"}, 2, "QINGLIU_PROCESSES"),
    ],
)
def test_what_no_worker_could_start_with_is_said_at_once(
    embedded: Embedded, tmp_path: Path, wrong: dict[str, str], code: int, says: str
) -> None:
    async def run() -> None:
        began = time.monotonic()
        env = {**os.environ, "QINGLIU_KAFKA": embedded.kafka, "QINGLIU_REDIS": embedded.redis, "LC_ALL": "C"}
        env |= {"QINGLIU_PROCESSES": "2", "QINGLIU_METRICS_PORT": "0", "TMPDIR": str(tmp_path), **wrong}
        env.setdefault("QINGLIU_RULES", str(write_rules(tmp_path / "rules")))
        process = await asyncio.create_subprocess_exec(
            QINGLIU, "worker", env=env, stderr=asyncio.subprocess.PIPE, cwd=tmp_path
        )
        _, said = await process.communicate()
        assert process.returncode == code, said.decode()
        assert says in said.decode()
        assert time.monotonic() - began < 60

    asyncio.run(run())
