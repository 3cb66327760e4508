"""How long a person waits: for `--help`, for one explanation, for a worker that is ready, from nothing."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.drive import environment
from bench.faults.crew import COMMANDS, Worker
from bench.pair import embedded
from bench.part import RULES, NotMeasured, Part

if TYPE_CHECKING:
    from contextlib import ExitStack

    from bench.pair import Pair
    from bench.part import Figures, Scale

ROUNDS: Final = {"tiny": 1, "quick": 2, "full": 5}
QINGLIU: Final = COMMANDS["real"][0]
COMMANDS_TIMED: Final = {
    "help_s": (QINGLIU, "--help"),
    "explain_s": (QINGLIU, "explain", "你好", "--rules", str(RULES)),
    "import_engine_s": (sys.executable, "-c", "import moderation.moderator"),
    "import_worker_s": (sys.executable, "-W", "ignore", "-c", "import streams.worker"),
}
WITHIN_S: Final = 120.0


def part(scale: Scale, stack: ExitStack) -> Part:
    """Start each as often as there are rounds; files are warm after the first."""
    waiting = embedded(stack)  # only its loop is used: the worker starts a pair of its own
    timed = {name.removesuffix("_s").replace("_", " "): partial(_timed, name) for name in COMMANDS_TIMED}
    return Part(ROUNDS[scale], timed | {"worker": partial(_worker, waiting)})


def _timed(name: str) -> Figures:
    began = time.perf_counter()
    ended = subprocess.run(COMMANDS_TIMED[name], capture_output=True, check=False, timeout=WITHIN_S, env=environment())
    if ended.returncode:
        raise NotMeasured(f"{name}: {ended.stderr.decode(errors='replace')[-300:]}")
    return {name: time.perf_counter() - began}


def _worker(pair: Pair) -> Figures:
    """Start `qingliu worker` as a newcomer does, with servers of its own, and wait until its page says ready."""
    with tempfile.TemporaryDirectory() as home:
        worker = Worker("worker", COMMANDS["real"], environment(), Path(home))

        async def ready() -> float:
            began = time.perf_counter()
            await worker.start()
            try:
                await worker.ready()
                return time.perf_counter() - began
            finally:
                await worker.stop()

        return {"ready_s": pair.run(ready())}
