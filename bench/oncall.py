"""What on-call sees: a real Prometheus with our rules looks at a worker and an observer while things break.

    .venv/bin/python -m bench.oncall [SVG]     three faults, and when each alert fired and resolved

With a file name, the first fault is drawn as the on-call dashboard would show it.

The rules are those of deploy/prometheus with every duration divided by QUICKER: a fault takes seconds, not minutes, and
Prometheus scrapes each second. No game server plays: that acks are missing is told, and true. Needs Debian's
prometheus, and Java and Maven for Apache Kafka: see bench/faults/servers.py. tests/test_oncall.py checks the same.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import aiohttp
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from bench.faults import servers
from bench.panels import Series, Span, draw
from streams.embedded import free_ports
from streams.settings import Settings
from streams.topics import create_topics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

Deed = Callable[["Stage"], Awaitable[None]]
ROOT: Final = Path(__file__).parent.parent
RULES: Final = ("recording.yaml", "alerts.yaml")
QUICKER: Final = 30
WITHIN_S: Final = 90.0
PER_SECOND: Final = 50
#: So much of what is usual is drawn before and after a fault.
BEFORE_S: Final = 20
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_LENGTH: Final = re.compile(r"(\[|for: |interval: |offset )(\d+)([smhd])\b")
DASHBOARD: Final = ROOT / "deploy/grafana/dashboards/on-call.json"
#: What the timeline tells of, besides alerts.
SHOWN: Final[Mapping[str, str]] = {
    "processes that reach Kafka": "sum(qingliu_broker_up)",
    "partitions held": "sum(qingliu_partitions)",
    "records behind": "sum(qingliu:lag_records:sum)",
    "events a second": "round(sum(rate(qingliu_outcomes_total[3s])))",
    "canaries answered": 'sum(qingliu_canaries_total{result="answered"})',
    "log lines not written": "round(sum(qingliu_log_lines_suppressed_total), 1000)",
}


def quicker(rules: str) -> str:
    """Return rules with every window, `for` and offset QUICKER times as short.

    >>> quicker("rate(x[5m]) for: 1m")
    'rate(x[10000ms]) for: 2000ms'
    """

    def shorter(found: re.Match[str]) -> str:
        before, number, unit = found.groups()
        return f"{before}{int(number) * _UNITS[unit] * 1000 // QUICKER}ms"

    return _LENGTH.sub(shorter, rules)


class Stage:
    """Broker, store, worker, observer and Prometheus, each a process on loopback. `since` is when a fault began."""

    def __init__(self, home: Path, broker: servers.Server, store: servers.Server) -> None:
        self.home = home
        self.broker = broker
        self.store = store
        self.kafka = f"kafka://127.0.0.1:{broker.port}"
        redis = f"redis://127.0.0.1:{store.port}/0"
        flags = {"kafka": self.kafka, "redis": redis, "partitions": 4, "heartbeat_s": 1, "session_timeout_s": 6}
        self.settings = Settings.load(flags, env_file=None)
        self._env = {name: value for name, value in os.environ.items() if not name.startswith("QINGLIU_")} | {
            "PYTHONPATH": str(ROOT),
            "QINGLIU_KAFKA": self.kafka,
            "QINGLIU_REDIS": redis,
            "QINGLIU_HEARTBEAT_S": "1",
            "QINGLIU_SESSION_TIMEOUT_S": "6",
            "QINGLIU_PRODUCE_TIMEOUT_S": "3",
            "QINGLIU_CANARY_EVERY_S": "2",
            "QINGLIU_RULES": str(ROOT / "rules"),
        }
        (self.worker_port, self.observer_port), (self.port, _) = free_ports(), free_ports()
        self.since = time.monotonic()
        self.told: list[tuple[float, str]] = []
        self._said: dict[str, str] = {}
        self._firing: set[str] = set()

    # -- processes

    async def start(self, stack: AsyncExitStack) -> Self:
        """Start all that is not there yet; `stack` ends it."""
        await create_topics(self.settings, self.kafka)
        qingliu = str(Path(sys.executable).parent / "qingliu")
        for name, port in (("worker", self.worker_port), ("observe", self.observer_port)):
            await self._run(stack, name, [qingliu, name], {**self._env, "QINGLIU_METRICS_PORT": str(port)})
        command = ["prometheus", f"--config.file={self._config()}", f"--storage.tsdb.path={self.home / 'tsdb'}"]
        command += [f"--web.listen-address=127.0.0.1:{self.port}", "--log.level=warn"]
        await self._run(stack, "prometheus", command, dict(os.environ))
        self._http = await stack.enter_async_context(aiohttp.ClientSession(f"http://127.0.0.1:{self.port}"))
        load = asyncio.create_task(self._load())
        stack.callback(load.cancel)
        return self

    async def _run(self, stack: AsyncExitStack, name: str, command: list[str], env: Mapping[str, str]) -> None:
        with (self.home / f"{name}.log").open("wb") as out:
            process = await asyncio.create_subprocess_exec(
                *servers.leash(), *command, env=env, cwd=self.home, stdout=out, stderr=out
            )

        async def end() -> None:
            if process.returncode is None:
                process.kill()
            await process.wait()

        stack.push_async_callback(end)

    def _config(self) -> Path:
        for name in RULES:
            (self.home / name).write_text(quicker((ROOT / "deploy/prometheus" / name).read_text("utf-8")), "utf-8")
        jobs = (("worker", self.worker_port), ("observer", self.observer_port))
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": list(RULES),
            "scrape_configs": [
                {
                    "job_name": f"qingliu-{name}",
                    "static_configs": [{"targets": [f"127.0.0.1:{port}"], "labels": {"instance": name}}],
                }
                for name, port in jobs
            ],
        }
        path = self.home / "prometheus.yml"
        path.write_text(json.dumps(config))  # JSON is YAML
        return path

    # -- load

    async def _load(self) -> None:
        """Publish chat, one message in ten of it abuse, for as long as it is let; an outage is the faults' business."""
        count = 0
        while True:
            producer = AIOKafkaProducer(bootstrap_servers=self._broker, request_timeout_ms=2000)
            try:
                await producer.start()
                while True:
                    count += 1
                    await producer.send_and_wait(self.settings.topics.world, *_said(count))
                    await asyncio.sleep(1 / PER_SECOND)
            except (KafkaError, OSError):
                await asyncio.sleep(0.5)
            finally:
                await producer.stop()

    @property
    def _broker(self) -> str:
        return self.kafka.removeprefix("kafka://")

    async def largest(self, size: int) -> None:
        """Let the broker take no action larger than `size` bytes."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self._broker)
        await admin.start()
        wanted = {"max.message.bytes": str(size)}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, self.settings.topics.enforcement, wanted)])
        await admin.close()

    # -- what on-call sees

    async def ask(self, query: str) -> float | None:
        """Return the one value of a query, None where there is none."""
        with suppress(aiohttp.ClientError, TimeoutError):
            async with self._http.get("/api/v1/query", params={"query": query}) as answer:
                found: Any = (await answer.json())["data"]["result"]
                return float(found[0]["value"][1]) if found else None
        return None

    async def over(self, query: str, start: float, end: float) -> Sequence[Series]:
        """Return what a dashboard's query gives for each second of a span, as quick as the rules are."""
        asked = quicker(query.replace("$__rate_interval", f"{4 * QUICKER}s"))
        params = {"query": asked, "start": str(start), "end": str(end), "step": "1"}
        async with self._http.get("/api/v1/query_range", params=params) as answer:
            found: Any = (await answer.json())["data"]["result"]
        values = ((one["metric"], [(at, float(value)) for at, value in one["values"]]) for one in found)
        return [(labels, [(at, value) for at, value in points if isfinite(value)]) for labels, points in values]

    async def firing(self) -> set[str]:
        """Return the alerts that fire; note what changed."""
        with suppress(aiohttp.ClientError):
            async with self._http.get("/api/v1/alerts") as answer:
                alerts: Any = (await answer.json())["data"]["alerts"]
            now = {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}
            for name in sorted(now ^ self._firing):
                self.note(f"**{name}** {'fires' if name in now else 'resolved'}")
            self._firing = now
        return self._firing

    async def look(self) -> None:
        """Note which of SHOWN changed."""
        for name, query in SHOWN.items():
            value = await self.ask(query)
            said = "nothing known" if value is None else f"{value:g}"
            if self._said.get(name) != said:
                self._said[name] = said
                self.note(f"{name}: {said}")

    def note(self, what: str) -> None:
        """Put something on the timeline."""
        self.told.append((time.monotonic() - self.since, what))

    async def until(self, holds: Callable[[set[str]], bool], *, sees: str = "vector(1)", look: bool = False) -> None:
        """Wait until the alerts that fire are as wanted, and a query is not 0. Raises TimeoutError that names them."""
        deadline = time.monotonic() + WITHIN_S
        while not (holds(await self.firing()) and await self.ask(sees)):
            if time.monotonic() > deadline:
                raise TimeoutError(f"firing: {sorted(self._firing)}; {self.told[-20:]}; see {self.home}")
            if look:
                await self.look()
            await asyncio.sleep(0.5)

    async def through(self, name: str, *, look: bool = False) -> list[tuple[float, str]]:
        """Break one of FAULTS until its alerts fire, mend it until none of them does; return what was seen when."""
        wanted, hurt, mend = FAULTS[name]
        self.told, self.since = [], time.monotonic()
        await self.look()
        self.note("broken")
        await hurt(self)
        await self.until(wanted.issubset, look=look)
        self.note("mended")
        await mend(self)
        await self.until(wanted.isdisjoint, look=look)
        return self.told

    async def kill_broker(self) -> None:
        """End it without a word."""
        self.broker.kill()

    async def kill_store(self) -> None:
        """End it without a word."""
        self.store.kill()

    async def refuse(self) -> None:
        """Let the broker refuse every action."""
        await self.largest(100)

    async def allow(self) -> None:
        """Let it take them again."""
        await self.largest(1 << 20)


def _said(count: int) -> tuple[bytes, bytes]:
    account = f"p{count % 997}"
    text = f"出金加QQ 73819{count % 90_000 + 10_000}" if count % 10 == 0 else f"第{count}句"
    sender = {"account_id": account, "level": 3}
    event = {"event_id": f"e{count}", "ts": time.time_ns() // 1_000_000, "server_id": "s", "channel": "world"}
    return json.dumps({**event, "text": text, "sender": sender}).encode(), account.encode()


def missing() -> str:
    """Return what this machine lacks to run it; nothing if it has all."""
    if shutil.which("prometheus") is None:
        return "no prometheus: apt-get install prometheus"
    if servers.jars(lambda _: None) is None:
        return "no Apache Kafka: it takes Java and Maven"
    return ""


@asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    """Give a stage on which nothing is broken and no alert fires."""
    async with AsyncExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="qingliu-oncall-")))
        jars = servers.jars(lambda _: None)
        if jars is None:
            raise RuntimeError(missing())
        ports = servers.broker_ports(apache=True)
        [broker] = stack.enter_context(servers.ending(servers.kafka(home, jars, [ports], ports.proxied)))
        [store] = stack.enter_context(servers.ending([servers.valkey(home)]))
        await asyncio.gather(broker.listening(), store.listening())
        made = await Stage(home, broker, store).start(stack)
        await made.until(set().isdisjoint, sees='sum(qingliu_canaries_total{result="answered"})')
        await made.until(set().union(*(wanted for wanted, _, _ in FAULTS.values())).isdisjoint)
        yield made


#: What breaks, which alerts must fire, how, and how it is mended.
FAULTS: Final[dict[str, tuple[set[str], Deed, Deed]]] = {
    "broker killed": ({"QingliuBrokerAway", "QingliuCanaryLost"}, Stage.kill_broker, lambda s: s.broker.restart()),
    "store killed": ({"QingliuStoreAway", "QingliuDegraded"}, Stage.kill_store, lambda s: s.store.restart()),
    "publish refused": ({"QingliuProduceFailing", "QingliuCanaryLost"}, Stage.refuse, Stage.allow),
}


async def picture(made: Stage, told: Sequence[tuple[float, str]]) -> bytes:
    """Draw the fault that was just told of, and what was before it."""
    now = time.time()
    broken = now - (time.monotonic() - made.since)
    marks = [(broken + second, what) for second, what in told if what in ("broken", "mended")]
    start = broken - BEFORE_S
    return await draw(DASHBOARD, lambda query: made.over(query, start, now), Span(start, now, marks))


async def main(drawn: Path | None) -> None:
    """Run all faults and print what was seen; draw the first one into a file."""
    async with stage() as made:
        await asyncio.sleep(BEFORE_S)
        for name in FAULTS:
            told = await made.through(name, look=name == "broker killed")
            if drawn and name == "broker killed":
                await asyncio.sleep(BEFORE_S)
                await asyncio.to_thread(drawn.write_bytes, await picture(made, told))
            print(f"\n{name}\n\n| second | what the metrics told |\n|---|---|")
            for second, what in told:
                print(f"| {second:.0f} | {what} |")


if __name__ == "__main__":
    if missing():
        sys.exit(missing())
    asyncio.run(main(Path(sys.argv[1]) if len(sys.argv) > 1 else None))
