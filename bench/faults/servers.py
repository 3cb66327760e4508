"""Real servers on loopback that can be stopped, continued, killed and started again where they left off.

The broker is Apache Kafka 4 in KRaft mode, one node or three, its jars fetched once by Maven into the cache
(XDG_CACHE_HOME).
Where Maven or Java is missing it is the embedded broker (Tansu), which keeps nothing on disk: faults that kill a broker
are left out then. The store is Valkey with an append-only file.

Two ways lead to Kafka: a listener for us, and one that advertises the proxy's port to the workers. Where there
are three nodes the workers take ours: three proxies would tell nothing that one does not.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from streams.embedded import STOP_WITHIN, find_servers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

KAFKA: Final = "4.1.2"
READY_WITHIN_S: Final = 60.0
FETCH_WITHIN_S: Final = 300.0
_CLUSTER: Final = "cWluZ2xpdS1mYXVsdHMtMQ"  # 16 bytes in base 64, as Kafka wants it

_POM: Final = f"""\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>qingliu</groupId><artifactId>faults-broker</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{KAFKA}</version></dependency>
  </dependencies>
</project>
"""

#: Below those that systems give to outgoing connections.
QUIET_PORTS: Final = range(20_000, 32_000)
#: Partitions of Kafka's own topic of commits.
OFFSETS: Final = 4
#: Short sessions are allowed, a group does not wait for late members, a dead broker is missed soon and leads again soon
#: after it is back: faults take seconds here, not minutes.
_PROPERTIES: Final = """\
process.roles=broker,controller
node.id={node}
controller.quorum.voters={voters}
listeners=DIRECT://127.0.0.1:{direct},PROXIED://127.0.0.1:{proxied},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=DIRECT://127.0.0.1:{direct},PROXIED://127.0.0.1:{advertised}
inter.broker.listener.name=DIRECT
controller.listener.names=CONTROLLER
listener.security.protocol.map=DIRECT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
offsets.topic.replication.factor={nodes}
offsets.topic.num.partitions={offsets}
min.insync.replicas={in_sync}
broker.session.timeout.ms=6000
broker.heartbeat.interval.ms=1000
leader.imbalance.check.interval.seconds=2
leader.imbalance.per.broker.percentage=0
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
auto.create.topics.enable=false
"""


class Server:
    """One server process that can be hurt. `restart` starts the same command again, on the same files and port."""

    def __init__(self, command: Sequence[str], port: int, log: Path) -> None:
        self.port = port
        self._command = command
        self._log = log
        self._start()

    def _start(self) -> None:
        with self._log.open("ab") as out:
            self.process = subprocess.Popen(
                [*leash(), *self._command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=self._log.parent,
                env=_ENV,
            )

    def pause(self) -> None:
        """Stop it where it stands: its connections stay open, nothing is answered."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Continue it."""
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it without a word."""
        self.process.kill()
        self.process.wait()

    async def restart(self) -> None:
        """Start it again and wait until its port answers."""
        self._start()
        await self.listening()

    async def listening(self) -> None:
        """Return once its port takes connections. Raises RuntimeError if it ends before, TimeoutError."""
        deadline = time.monotonic() + READY_WITHIN_S
        while not await _open(self.port):
            if self.process.poll() is not None:
                raise RuntimeError(f"{self._command[0]} ended: {self._log.read_text(errors='replace')[-400:]}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self._command[0]} does not listen on {self.port}")
            await asyncio.sleep(0.1)

    def end(self) -> None:
        """Ask it to end, insist after STOP_WITHIN."""
        self.ask()
        self.await_end()

    def ask(self) -> None:
        """Ask it to end."""
        self.go_on()
        self.process.terminate()

    def await_end(self) -> None:
        """Wait until it has ended, and insist after STOP_WITHIN."""
        try:
            self.process.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            self.kill()


def leash() -> list[str]:
    """Return what a command begins with so that it dies with us, even if we are killed; or nothing."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL"] if setpriv else []


_ENV: Final = {"PATH": os.defpath, "RUST_LOG": "error", "RUST_BACKTRACE": "0"}


async def _open(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


class Ports(NamedTuple):
    """Where the broker listens: for us, for the proxy, for itself."""

    direct: int
    proxied: int
    controller: int


def broker_ports(*, apache: bool) -> Ports:
    """Return free ports; the embedded broker has one listener for all."""
    direct, proxied, controller = (_quiet_port() for _ in Ports._fields)
    return Ports(direct, proxied, controller) if apache else Ports(direct, direct, direct)


def _quiet_port() -> int:
    """Return a port that no outgoing connection takes while its broker is not there: seconds, with three to start."""
    while True:
        port = secrets.choice(QUIET_PORTS)
        with socket.socket() as one, contextlib.suppress(OSError):
            one.bind(("127.0.0.1", port))
            return port


def kafka(home: Path, jars: Path, nodes: Sequence[Ports], advertised: int) -> list[Server]:
    """Format log directories and start Apache Kafka, nodes 1, 2 and so on, each a broker and a controller.

    The proxied listener says to workers that it is at port `advertised`. With three nodes each record is on all of
    them, and must be on two to be acknowledged.
    """
    count = len(nodes)
    whole = {
        "nodes": count,
        "in_sync": min(2, count),
        "offsets": OFFSETS,
        "voters": ",".join(f"{number}@127.0.0.1:{ports.controller}" for number, ports in enumerate(nodes, 1)),
        "advertised": advertised,
    }
    return [_node(home / f"broker-{node}", jars, ports, whole | {"node": node}) for node, ports in enumerate(nodes, 1)]


def _node(home: Path, jars: Path, ports: Ports, properties: Mapping[str, object]) -> Server:
    home.mkdir()
    java, settings = shutil.which("java") or "java", home / "server.properties"
    settings.write_text(_PROPERTIES.format(**ports._asdict(), **properties, data=home / "log"))
    on = [java, "-cp", f"{jars}/*"]
    tool = [*on, "kafka.tools.StorageTool", "format", "-t", _CLUSTER, "-c", str(settings)]
    subprocess.run(tool, check=True, capture_output=True, env=_ENV)
    # a small heap and the quick compiler: two cores are shared with the workers
    light = [java, "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", *on[1:]]
    return Server([*light, "kafka.Kafka", str(settings)], ports.direct, home / "broker.log")


def tansu(home: Path, port: int) -> Server:
    """Start the embedded broker."""
    url = f"tcp://127.0.0.1:{port}"
    command = [find_servers()[0], "broker", "--cluster-id", "faults", "--storage-engine", "memory://tansu/"]
    return Server([*command, "--listener-url", url, "--advertised-listener-url", url], port, home / "broker.log")


def valkey(home: Path) -> Server:
    """Start a store that writes every command to its file before it answers."""
    port = _quiet_port()
    command = [find_servers()[1], "--bind", "127.0.0.1", "--port", str(port), "--dir", str(home), "--save", ""]
    return Server([*command, "--appendonly", "yes", "--appendfsync", "always"], port, home / "store.log")


def jars(tell: Callable[[str], None]) -> Path | None:
    """Return the directory of Kafka's jars, fetched if need be; None where that cannot be done."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "qingliu" / f"kafka-{KAFKA}"
    if shutil.which("java") is None:
        tell("no java: the embedded broker it is")
        return None
    if (cache / "complete").exists():
        return cache
    tell(f"fetching Apache Kafka {KAFKA} from Maven Central into {cache}")
    return cache if _fetched(cache, tell) else None


def _fetched(cache: Path, tell: Callable[[str], None]) -> bool:
    maven = shutil.which("mvn")
    if maven is None:
        tell("no mvn: the embedded broker it is")
        return False
    cache.mkdir(parents=True, exist_ok=True)
    pom = cache / "pom.xml"
    pom.write_text(_POM)
    command = [maven, "-q", "-B", "-f", str(pom), "dependency:copy-dependencies", f"-DoutputDirectory={cache}"]
    try:
        subprocess.run(command, check=True, timeout=FETCH_WITHIN_S, stdout=sys.stderr, stderr=subprocess.DEVNULL)
    except (subprocess.SubprocessError, OSError) as exc:
        tell(f"Maven failed ({exc}): the embedded broker it is")
        return False
    (cache / "complete").touch()
    return True


@contextlib.contextmanager
def ending(servers: Sequence[Server]) -> Iterator[Sequence[Server]]:
    """Give servers while the context is open; they are ended in any case, all at the same time."""
    try:
        yield servers
    finally:
        for server in servers:
            server.ask()
        for server in servers:
            server.await_end()
