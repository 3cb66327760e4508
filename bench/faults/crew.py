"""The workers: real processes of `qingliu worker`, started, told to stop, killed, stopped and continued.

A worker that ends by itself is started again, as an orchestrator would, and counted.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from bench.faults.servers import leash
from streams.embedded import free_ports

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

READY_WITHIN_S: Final = 60.0
STOP_WITHIN_S: Final = 30.0
_ROOT: Final = Path(__file__).parent.parent.parent
#: What a log must not hold: signs of work that got lost without a word.
_NOISE: Final = re.compile(r"never retrieved|Task was destroyed|exception performing seek|\"level\": ?\"critical\"")


#: The library of the Debian package libfaketime; None where it is not there.
FAKETIME: Final = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
#: In a worker's working directory: how far the clock of one with a bad clock is off, as libfaketime reads it.
CLOCK: Final = "clock"
#: And while this is there, the bugs of a buggy one strike.
BUGS: Final = "bugs"
_WORKER: Final = (str(Path(sys.executable).parent / "qingliu"), "worker")
#: What a worker is run by. A naive one is the control; a bad clock jumps, but what counts seconds does not.
COMMANDS: Final = {
    "real": _WORKER,
    "naive": (sys.executable, "-m", "bench.faults.naive"),
    "buggy": (sys.executable, "-m", "bench.faults.buggy"),
    "bad clock": (
        *("env", f"LD_PRELOAD={FAKETIME}", f"FAKETIME_TIMESTAMP_FILE={CLOCK}", "FAKETIME_CACHE_DURATION=1"),
        *("FAKETIME_DONT_FAKE_MONOTONIC=1", "FAKETIME_DONT_RESET=1", *_WORKER),
    ),
}
Kind = Literal["real", "naive", "buggy", "bad clock"]


class Worker:
    """One worker process, started again on the same metrics port. `name` is also its log's."""

    def __init__(self, name: str, command: Sequence[str], env: Mapping[str, str], home: Path) -> None:
        self.name = name
        self._command = command
        self.log = home / f"{name}.log"
        self.port, _ = free_ports()
        self._env = {**env, "QINGLIU_METRICS_PORT": str(self.port)}
        self._home = home
        self.expected_to_end = False

    async def start(self) -> None:
        """Start the process; do not wait for it."""
        self.expected_to_end = False
        with self.log.open("ab") as out:
            self.process = await asyncio.create_subprocess_exec(
                *leash(),
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=self._env,
                cwd=self._home,
            )

    async def ready(self) -> None:
        """Return once it has partitions and its broker answers. Raises TimeoutError."""
        async with asyncio.timeout(READY_WITHIN_S):
            while not await self._says_ready():  # noqa: ASYNC110  it is another process: there is no event
                await asyncio.sleep(0.1)

    async def _says_ready(self) -> bool:
        with suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            writer.write(b"GET /readyz HTTP/1.0\r\n\r\n")
            status = await reader.readline()
            writer.close()
            return b" 200 " in status
        return False

    async def kill(self) -> None:
        """End it without a word."""
        self.expected_to_end = True
        with suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()

    async def stop(self) -> int:
        """Tell it to stop and wait. Returns its exit code; -9 where it had to be killed."""
        self.expected_to_end = True
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
        with suppress(TimeoutError):
            return await asyncio.wait_for(self.process.wait(), STOP_WITHIN_S)
        await self.kill()
        return -9

    def pause(self) -> None:
        """Stop it where it stands: to the broker it is silent."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Continue it: it may believe that its partitions are still its own."""
        self.process.send_signal(signal.SIGCONT)

    def noise(self) -> list[str]:
        """Return the lines of its log that tell of work lost without a word."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return [line for line in lines if _NOISE.search(line)]


class Crew:
    """The workers of one run. `ended` counts those that ended by themselves, `codes` are of those told to stop."""

    def __init__(self, env: Mapping[str, str], home: Path, kind: Kind = "real") -> None:
        self._command = COMMANDS[kind]
        clean = {name: value for name, value in os.environ.items() if not name.startswith("QINGLIU_")}
        # the workers run the tree that this file is part of, wherever it is installed from
        self._env, self._home = {**clean, "PYTHONPATH": str(_ROOT), **env}, home
        self.workers: list[Worker] = []
        self.codes: list[int] = []
        self.ended: list[str] = []
        self._keepers: set[asyncio.Task[None]] = set()

    async def join(self) -> Worker:
        """Start one more worker and wait until it has partitions."""
        worker = await self.hire()
        await worker.ready()
        return worker

    async def hire(self) -> Worker:
        """Start one more worker; do not wait for it."""
        worker = Worker(f"worker-{len(self.workers) + 1}", self._command, self._env, self._home)
        self.workers.append(worker)
        await self.start(worker)
        return worker

    async def start(self, worker: Worker) -> None:
        """Start a worker, and again whenever it ends by itself."""
        await worker.start()
        self._keepers.add(asyncio.create_task(self._keep(worker)))

    async def leave(self, worker: Worker) -> None:
        """Tell a worker to stop, and wait."""
        self.codes.append(await worker.stop())

    async def end(self) -> None:
        """Tell all to stop."""
        await asyncio.gather(*(self.leave(one) for one in self.workers if one.process.returncode is None))
        for keeper in self._keepers:
            keeper.cancel()

    async def _keep(self, worker: Worker) -> None:
        while True:
            process = worker.process
            code = await process.wait()
            if worker.expected_to_end or worker.process is not process:
                return
            self.ended.append(f"{worker.name} exit {code}")
            await asyncio.sleep(1)
            await worker.start()
