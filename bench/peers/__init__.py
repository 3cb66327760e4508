"""Word filters that people use, from PyPI, npm and Maven Central, on the same messages as our engine.

Each is a process of its own that reads messages and words from files and says how many messages it filtered in how
much processor time, and how many had a hit. They are matchers: what a message means, who says it how often, and what
is to be done about it, they do not know. Where a runtime or the network is missing, a peer is skipped and says why.
README.md beside this file tells what each does with a text before it looks for words, and its licence.
"""

from __future__ import annotations

import os
import sys
import tempfile
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from msgspec import Meta, Struct

from bench.peers.kits import HERE, Kit, Skipped
from moderation.fold import fold

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from moderation.ruleset import RuleSet

_PROGRAM: Final = (sys.executable, "-m", "bench.peers.program")
OURS: Final = Kit("Python", run=_PROGRAM)
PYTHON: Final = Kit(
    "Python",
    run=_PROGRAM,
    pins=("requirements.txt",),
    install=(
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"),
        *("--retries", "1", "--target", "lib", "--requirement", "requirements.txt"),
    ),
    env={"PYTHONPATH": "{home}/lib"},
)
JAVASCRIPT: Final = Kit(
    "JavaScript",
    run=("node", str(HERE / "filter.cjs")),
    needs=("node", "npm"),
    pins=("package.json", "package-lock.json"),
    install=("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries", "1"),
    env={"NODE_PATH": "{home}/node_modules"},
)
#: One processor: neither its collector nor its compiler works on another core beside the filter.
JAVA: Final = Kit(
    "Java",
    run=("java", "-XX:ActiveProcessorCount=1", "-cp", "{home}/lib/*", str(HERE / "Filter.java")),
    needs=("java", "mvn"),
    pins=("pom.xml",),
    install=(
        *("mvn", "--quiet", "--batch-mode", "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"),
        *("-DoutputDirectory=lib", "-DincludeScope=runtime"),
    ),
)


class Entrant(Struct, frozen=True):
    """Who takes part, by the name and version of its registry; `note` tells what counts as a hit."""

    name: str
    version: str
    kit: Kit
    note: str = ""


ENGINE: Final = "engine"
JIEBA: Final = "jieba"
ENTRANTS: Final = (
    Entrant(ENGINE, version("qingliu"), OURS, "the whole judgement; a hit is a verdict of review or act"),
    Entrant(JIEBA, version("jieba"), OURS, "every message segmented, HMM off, each word looked up in a set"),
    Entrant("flashtext", "2.7", PYTHON, "folds case; no word that ASCII letters or digits go on with"),
    Entrant("pyahocorasick", "2.3.1", PYTHON, "all words; folds nothing"),
    Entrant("ahocorasick-rs", "1.0.3", PYTHON, "words that do not overlap; folds nothing"),
    Entrant("mint-filter", "4.0.3", JAVASCRIPT, "folds case"),
    Entrant("sensitive-word-tool", "1.1.10", JAVASCRIPT, "folds case, skips signs between"),
    Entrant("sensitive-word", "0.25.0", JAVA, "folds case, width, traditional Han, enclosed letters and digits"),
    Entrant("toolgood-words", "3.1.0.1", JAVA, "IllegalWordsSearch: folds case and width, skips signs between"),
)


class Peer(Struct, frozen=True):
    """What came of one entrant. Skipped, it has no figures, and `note` says why.

    `messages_per_s` is by processor time of its whole process; `found` is how many of the messages had a hit.
    """

    name: str
    language: str
    version: str
    messages_per_s: float | None
    found: int | None
    note: str


class _Run(Struct, frozen=True):
    """The line that a program prints at the end."""

    messages: Annotated[int, Meta(gt=0)]
    seconds: Annotated[float, Meta(gt=0)]
    found: Annotated[int, Meta(ge=0)]


def user_cache() -> Path:
    """Return the directory where the libraries of peers are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "qingliu" / "peers"


def listed(rules: RuleSet) -> list[str]:
    """Return all words of the lexicons of a rule set, folded, each once."""
    return sorted({fold(term.text).text.strip() for term in rules.contents.terms} - {""})


def measure(
    lines: Sequence[str],
    words: Sequence[str],
    seconds: float,
    *,
    entrants: Sequence[Entrant] = ENTRANTS,
    cache: Path | None = None,
    tell: Callable[[str], object] = lambda _: None,
) -> list[Peer]:
    """Filter the lines by the words with each entrant, one after the other, for so many seconds after as many warm.

    There must be a line, a word and some time. `tell` is told who is on. The first time libraries are installed, which
    takes some seconds for each language.
    """
    if not lines or not words or seconds <= 0:
        raise ValueError("there is nothing to filter, nothing to look for, or no time")
    with tempfile.TemporaryDirectory(prefix="qingliu-peers-") as scratch:
        files = [_write(Path(scratch) / name, texts) for name, texts in (("lines", lines), ("words", words))]
        arguments = [*map(str, files), str(seconds)]
        peers: list[Peer] = []
        for kit, team in groupby(entrants, lambda entrant: entrant.kit):
            home = _home(kit, cache or user_cache())
            for entrant in team:
                tell(f"{entrant.name} ({kit.language})")
                peers.append(_measured(entrant, home, arguments, seconds))
        return peers


def _write(file: Path, texts: Sequence[str]) -> Path:
    """Write texts parted by NUL, which none may have in it, without lone surrogates, which no other language reads."""
    file.write_bytes("\0".join(text.replace("\0", " ") for text in texts).encode("utf-8", "replace"))
    return file


def _home(kit: Kit, cache: Path) -> Path | Skipped:
    """Return where the libraries of a kit are, or why they are not: asked once for all that need them."""
    try:
        return kit.home(cache)
    except Skipped as exc:
        return exc


def _measured(entrant: Entrant, home: Path | Skipped, arguments: Sequence[str], seconds: float) -> Peer:
    about = entrant.name, entrant.kit.language, entrant.version
    try:
        if isinstance(home, Skipped):
            raise home
        ran = _read(entrant.kit.output(home, [entrant.name, *arguments], seconds))
    except Skipped as exc:
        return Peer(*about, None, None, f"skipped: {exc}")
    return Peer(*about, ran.messages / ran.seconds, ran.found, entrant.note)


def _read(output: str) -> _Run:
    """Read the last line of an output: libraries like to talk. Raises Skipped."""
    last = output.strip().rpartition("\n")[2]
    try:
        return msgspec.json.decode(last, type=_Run)
    except msgspec.DecodeError as exc:
        raise Skipped(f"printed no result: {exc}") from None
