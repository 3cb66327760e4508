"""What it takes to run the peers of one language: commands, libraries in pinned versions, a program.

Libraries are installed once into the user's cache, in a directory named after the pins: other pins, other directory.
Nothing is installed into the project or its environment, and no scripts of npm packages are run.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parent.parent
INSTALL_WITHIN_S: Final = 300.0
#: A program gets this long to start and build its word list, and so many times its seconds on a busy machine.
START_WITHIN_S: Final = 120.0
BUSY: Final = 10

_COLOUR: Final = re.compile("\x1b\\[[0-9;]*m")
_ERROR: Final = re.compile("(?i)^(?!.*warn).*(error|exception)")


class Skipped(Exception):
    """A peer cannot be measured here; the message says what is missing."""


class Kit(Struct, frozen=True):
    """How peers of one language are installed and run.

    `pins` are files beside this one that name what to install; `install` is run in a directory that holds copies of
    them. `run` is followed by the arguments of bench.peers.program; in it and in `env` {home} is that directory.
    """

    language: str
    run: tuple[str, ...]
    needs: tuple[str, ...] = ()
    pins: tuple[str, ...] = ()
    install: tuple[str, ...] = ()
    env: Mapping[str, str] = {}

    def output(self, home: Path, arguments: Sequence[str], seconds: float) -> str:
        """Return what the program prints. Raises Skipped."""
        env = {name: value.replace("{home}", str(home)) for name, value in self.env.items()}
        command = [*(part.replace("{home}", str(home)) for part in self.run), *arguments]
        return _run(command, ROOT, START_WITHIN_S + 2 * BUSY * seconds, "did not run", env)

    def home(self, cache: Path) -> Path:
        """Return the directory of the libraries, installed below `cache` if need be. Raises Skipped."""
        for command in self.needs:
            if shutil.which(command) is None:
                raise Skipped(f"needs {command}, which is not on the PATH")
        texts = [(HERE / name).read_bytes() for name in self.pins]
        named = blake2b(b"\0".join([*texts, *map(str.encode, self.install), sys.version.encode()]), digest_size=8)
        home = cache.resolve() / f"{self.language.lower()}-{named.hexdigest()}"
        if self.install and not home.is_dir():
            try:
                self._install(home)
            except OSError as exc:
                raise Skipped(f"could not be installed into {home}: {exc.strerror}") from None
        return home

    def _install(self, home: Path) -> None:
        """Install beside `home`, and name it so when all is there. Raises Skipped, OSError."""
        home.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home.parent) as scratch:
            staged = Path(scratch) / "kit"
            staged.mkdir()
            for name in self.pins:
                shutil.copy(HERE / name, staged)
            _run(self.install, staged, INSTALL_WITHIN_S, "could not be installed", {})
            try:
                staged.rename(home)
            except OSError:
                if not home.is_dir():  # else another run was first
                    raise


def _run(command: Sequence[str], where: Path, within_s: float, failed: str, env: Mapping[str, str]) -> str:
    """Return what a command prints on stdout. Raises Skipped with the last thing it complained about."""
    try:
        ended = subprocess.run(
            [shutil.which(command[0]) or command[0], *command[1:]],
            cwd=where,
            env=os.environ | env,
            timeout=within_s,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Skipped(f"{failed} within {within_s:.0f} s") from None
    except OSError as exc:
        raise Skipped(f"{failed}: {exc.strerror}") from None
    if ended.returncode:
        raise Skipped(f"{failed}: {_complaint(ended.stderr + ended.stdout)}")
    return ended.stdout


def _complaint(said: str) -> str:
    """Return the line that tells most, without colours: the first that speaks of an error, else the last."""
    lines = [line.strip() for line in _COLOUR.sub("", said).splitlines() if line.strip()] or ["it said nothing"]
    return next(filter(_ERROR.search, lines), lines[-1])[:200]
