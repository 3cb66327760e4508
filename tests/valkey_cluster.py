"""A Redis Cluster of three Valkey processes on loopback, no replicas; slots are moved as redis-cli moves them."""

from __future__ import annotations

import subprocess
import time
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from redis import Redis
from redis.exceptions import RedisError

from streams.embedded import find_servers, free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SLOTS: Final = 16_384
#: A node talks to the others on its port and this; ports end at 65 535.
_BUS: Final = 10_000
_WITHIN_S: Final = 30.0


class Cluster:
    """Three nodes. `nodes` are their ports; a node killed starts again on its files and port."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self.nodes = _ports()
        self._processes = {port: self._start(port) for port in self.nodes}

    def form(self) -> None:
        """Give each node a third of the slots, introduce them to each other, and wait until they agree."""
        for number, port in enumerate(self.nodes):
            first, last = number * SLOTS // 3, (number + 1) * SLOTS // 3 - 1
            _until(lambda port=port: self.ask(port, "PING"))
            self.ask(port, "CLUSTER", "ADDSLOTSRANGE", first, last)
            self.ask(port, "CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for port in self.nodes[1:]:
            self.ask(self.nodes[0], "CLUSTER", "MEET", "127.0.0.1", port)
        self.wait_well()

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{port}" for port in self.nodes)

    def ask(self, port: int, *command: str | int) -> Any:
        with closing(Redis(port=port, socket_timeout=5)) as client:
            return client.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py leaves it untyped

    def wait_well(self) -> None:
        _until(lambda: all(self._well(port) for port in self.nodes))

    def _well(self, port: int) -> bool:
        told: bytes = self.ask(port, "CLUSTER", "INFO")
        return b"cluster_state:ok" in told and b"cluster_known_nodes:3" in told

    def holder(self, slot: int) -> int:
        """Return the port of the node that has a slot."""
        for first, last, (_, port, *_), *_ in self._slots():
            if first <= slot <= last:
                return int(port)
        raise AssertionError(f"nobody has slot {slot}")

    def _slots(self) -> list[Any]:
        with closing(Redis(port=self.nodes[0], socket_timeout=5)) as client:
            client.set_response_callback("CLUSTER SLOTS", lambda answer, **_: answer)
            found: list[Any] = client.execute_command("CLUSTER SLOTS")  # type: ignore[no-untyped-call]  # as above
            return found

    def move(self, slot: int, *, begin: bool = True, end: bool = True) -> int:
        """Move a slot with its keys to another node; without `end`, leave it half moved. Returns the new holder."""
        here = self.holder(slot)
        there = next(port for port in self.nodes if port != here)
        ids = {port: self.ask(port, "CLUSTER", "MYID").decode() for port in self.nodes}
        if begin:
            self.ask(there, "CLUSTER", "SETSLOT", slot, "IMPORTING", ids[here])
            self.ask(here, "CLUSTER", "SETSLOT", slot, "MIGRATING", ids[there])
        keys = self.ask(here, "CLUSTER", "GETKEYSINSLOT", slot, 1000)
        for key in keys:
            self.ask(here, "MIGRATE", "127.0.0.1", there, key, 0, 5000)
        if end:
            for port in (there, here, *self.nodes):
                self.ask(port, "CLUSTER", "SETSLOT", slot, "NODE", ids[there])
        return there

    def kill(self, port: int) -> None:
        self._processes[port].kill()
        self._processes[port].wait()

    def restart(self, port: int) -> None:
        self._processes[port] = self._start(port)
        _until(lambda: self.ask(port, "PING"))

    def end(self) -> None:
        for port in self.nodes:
            self.kill(port)

    def _start(self, port: int) -> subprocess.Popen[bytes]:
        home = self._home / str(port)
        home.mkdir(exist_ok=True)
        options = ["--bind", "127.0.0.1", "--port", str(port), "--dir", str(home), "--save", "", "--appendonly", "yes"]
        cluster = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"]
        with (home / "log").open("ab") as log:
            return subprocess.Popen([find_servers()[1], *options, *cluster], stdout=log, stderr=log)


@contextmanager
def a_cluster(home: Path) -> Iterator[Cluster]:
    cluster = Cluster(home)
    try:
        cluster.form()
        yield cluster
    finally:
        cluster.end()


def _ports() -> list[int]:
    found: list[int] = []
    while len(found) < 3:
        found += [port for port in free_ports() if port + _BUS < 65_536 and port not in found]
    return found[:3]


def _until(condition: Any) -> None:
    end = time.monotonic() + _WITHIN_S
    while True:
        with suppress(RedisError, OSError):
            if condition():
                return
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)
