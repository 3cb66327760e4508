"""A worker whose broker, store or both died: it says little, and leaves when it is told to."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest

from bench.faults import servers
from streams.embedded import free_ports
from streams.logs import ALL
from streams.settings import Settings
from streams.topics import create_topics
from tests.test_worker import SPAM, fresh_event, publish, write_rules

if TYPE_CHECKING:
    from collections.abc import Callable

from aiokafka import AIOKafkaProducer

pytestmark = pytest.mark.servers
SHUTDOWN_S = 6
#: What the log may hold: a minute's quota, of two minutes if one ends meanwhile, and a traceback or two.
MOST_LINES = 2 * ALL + 60


@pytest.mark.parametrize("dead", ["broker", "store", "broker and store"])
def test_a_worker_without_what_it_needs_says_little_and_leaves_in_time(dead: str, tmp_path: Path) -> None:
    async def story() -> None:
        async with AsyncExitStack() as stack:
            port, metrics_port = free_ports()
            for name in ("broker", "store"):
                (tmp_path / name).mkdir()
            [broker] = stack.enter_context(servers.ending([servers.tansu(tmp_path / "broker", port)]))
            [store] = stack.enter_context(servers.ending([servers.valkey(tmp_path / "store")]))
            await asyncio.gather(broker.listening(), store.listening())
            kafka = f"kafka://127.0.0.1:{port}"
            settings = Settings.load({"kafka": kafka, "partitions": 4}, env_file=None)
            await create_topics(settings, kafka)
            env = {name: value for name, value in os.environ.items() if not name.startswith("QINGLIU_")} | {
                "QINGLIU_KAFKA": kafka,
                "QINGLIU_REDIS": f"redis://127.0.0.1:{store.port}/0",
                "QINGLIU_RULES": str(write_rules(tmp_path / "rules")),
                "QINGLIU_METRICS_PORT": str(metrics_port),
                "QINGLIU_SESSION_TIMEOUT_S": "4",
                "QINGLIU_HEARTBEAT_S": "1",
                "QINGLIU_SHUTDOWN_S": str(SHUTDOWN_S),
            }
            log = tmp_path / "worker.log"
            with log.open("wb") as out:
                worker = await asyncio.create_subprocess_exec(
                    Path(sys.executable).parent / "qingliu", "worker", env=env, stdout=out, stderr=out
                )
            stack.push_async_callback(ended, worker)
            async with AIOKafkaProducer(bootstrap_servers=f"127.0.0.1:{port}") as to:
                await publish(to, settings.topics.world, [fresh_event(SPAM, n, f"a{n}", level=3) for n in range(20)])
            await shown(metrics_port, lambda page: 'qingliu_outcomes_total{outcome="act"} 20.0' in page)
            if "broker" in dead:
                broker.kill()
            if "store" in dead:
                store.kill()
            await shown(metrics_port, lambda page: "broker" not in dead or "qingliu_broker_up 0.0" in page)
            await shown(metrics_port, lambda page: "store" not in dead or "qingliu_store_up 0.0" in page)
            if "broker" in dead:
                await shown(metrics_port, lambda page: "qingliu_log_lines_suppressed_total 0.0" not in page)
            worker.send_signal(signal.SIGTERM)
            async with asyncio.timeout(SHUTDOWN_S + 10):  # what a container is given before it is killed
                code = await worker.wait()
            assert code == (75 if "broker" in dead else 0)
            assert len(log.read_bytes().splitlines()) < MOST_LINES

    asyncio.run(story())


async def ended(worker: asyncio.subprocess.Process) -> None:
    if worker.returncode is None:
        worker.kill()
    await worker.wait()


async def shown(port: int, holds: Callable[[str], bool]) -> None:
    """Wait until the worker's page is as wanted."""
    async with asyncio.timeout(60), aiohttp.ClientSession() as http:
        while True:
            try:
                async with http.get(f"http://127.0.0.1:{port}/metrics") as answer:
                    if holds(await answer.text()):
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)
