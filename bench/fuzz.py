"""Fuzzing led by coverage (atheris): whatever strangers send raises only what is declared, and none of it takes long.

    decode   a record's bytes, as an event and as a command
    fold     a text: folded, its signals counted, its spans traced
    judge    a text in a message, judged by the shipped rules
    rules    a rule file, read beside the tests' small rules

Each target runs in a process of its own, from the hostile inputs of the tests on. A target fails on any other error
than the declared ones, on an input that takes five seconds, and on 2 GiB. Atheris has wheels for Linux only, so it is
installed apart: `make fuzz`.

    python -m bench.fuzz [--only decode,judge] [--seconds 60]
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT: Final = Path(__file__).parent.parent
SEEDS: Final = {
    "decode": ROOT / "tests" / "data" / "hostile",
    "fold": ROOT / "tests" / "data" / "hostile",
    "judge": ROOT / "tests" / "data" / "hostile",
    "rules": ROOT / "tests" / "data" / "hostile_rules",
}
INPUT_S: Final = 5
MOST_MIB: Final = 2048
#: Longer records and texts are refused, or cut, before anything looks at them.
MOST_BYTES: Final = 16_384
_DONE: Final = re.compile(r"Done (\d+) runs in (\d+) second")
_COVERED: Final = re.compile(r"cov: (\d+)")


def decode(data: bytes) -> None:
    """See above."""
    from moderation.errors import EventError  # noqa: PLC0415  imported under instrumentation
    from moderation.events import decode_event  # noqa: PLC0415
    from moderation.order import decode_command  # noqa: PLC0415

    for reading in (decode_event, decode_command):
        with suppress(EventError):
            reading(data, b"a1")


def fold(data: bytes) -> None:
    """See above."""
    from moderation.fold import fold as folded  # noqa: PLC0415

    one = folded(data.decode(errors="surrogateescape"))
    assert len(one.plain.spans) == len(one.text)  # noqa: S101  it is what we look for
    assert one.signals.longest_run <= len(one.raw)  # noqa: S101


def judging() -> Callable[[bytes], None]:
    """Return the target that judges."""
    from moderation.events import ChatEvent, Sender  # noqa: PLC0415
    from moderation.moderator import Moderator  # noqa: PLC0415
    from streams.rules import load_rules  # noqa: PLC0415

    moderator = Moderator(load_rules([ROOT / "rules"]))
    said = 0

    def judge(data: bytes) -> None:
        nonlocal said
        said += 1
        text = data.decode(errors="surrogateescape")[:2048]
        sender = Sender(f"a{said % 9}", level=data[0] if data else None, name=text[:12])
        moderator.judge([ChatEvent(f"f{said}", 1_790_000_000_000 + said * 1000, "s1", "world", sender, text)])

    return judge


def rules(data: bytes) -> None:
    """See above."""
    from moderation.errors import RuleSetRejected  # noqa: PLC0415
    from moderation.rulefile import read  # noqa: PLC0415
    from tests.small_rules import layer  # noqa: PLC0415

    name = ("site.yaml", "lexicons/site.yaml", "policy.yaml", "guards.yaml")[len(data) % 4]
    with suppress(RuleSetRejected):
        read([layer(), {name: data}])


TARGETS: Final[dict[str, Callable[[], Callable[[bytes], None]]]] = {
    "decode": lambda: decode,
    "fold": lambda: fold,
    "judge": judging,
    "rules": lambda: rules,
}


def fuzz(name: str, options: list[str]) -> None:
    """Run one target; libFuzzer ends the process."""
    atheris = import_module("atheris")  # it has no types, and is not always there
    with atheris.instrument_imports(include=["moderation"]):
        target = TARGETS[name]()
        for seed in (b"", b"{}", b"\xe5\x8a\xa0"):
            target(seed)  # what it imports must be watched, too
    atheris.Setup([name, *options], target)
    atheris.Fuzz()


def run(name: str, seconds: int) -> bool:
    """Run one target in a process of its own; print what came of it."""
    with tempfile.TemporaryDirectory(prefix="qingliu-fuzz-") as corpus:
        for number, seed in enumerate(one for one in SEEDS[name].rglob("*") if one.is_file()):
            (Path(corpus) / str(number)).write_bytes(seed.read_bytes()[:MOST_BYTES])
        limits = {"max_total_time": seconds, "timeout": INPUT_S, "rss_limit_mb": MOST_MIB, "max_len": MOST_BYTES}
        options = [corpus, f"-artifact_prefix={corpus}/", *(f"-{key}={value}" for key, value in limits.items())]
        command = [sys.executable, "-m", "bench.fuzz", "--run", name, *options]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace", check=False)
        said = ended.stdout + ended.stderr
        done, covered = _DONE.search(said), _COVERED.findall(said)
        if ended.returncode == 0 and done:
            print(
                f"{name:8} {int(done[1]):>10,} inputs in {done[2]} s, {covered[-1] if covered else '?'} places reached"
            )
            return True
        print(f"{name:8} FAILED\n{said[-3000:]}")
        return False


def main() -> int:
    """Run the targets asked for."""
    if sys.argv[1:2] == ["--run"]:
        fuzz(sys.argv[2], sys.argv[3:])
    parser = argparse.ArgumentParser(prog="bench.fuzz", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", help="targets, with commas")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    args: Any = parser.parse_args()
    names = args.only.split(",") if args.only else list(TARGETS)
    failed = [name for name in names if not run(name, args.seconds)]
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
