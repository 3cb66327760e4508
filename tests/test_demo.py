"""The demo as a newcomer runs it: a process that accounts for every message and leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

import msgspec
import pytest

from console.traffic import Traffic
from streams.settings import PREFIX

_ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.servers


def demo(tmp_path: Path, *args: str) -> subprocess.Popen[str]:
    """Start a demo whose servers work below `tmp_path`, which is how they are found again."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    code = "import sys; from console.cli import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, "demo", "--json", *args],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=_ROOT, env=env | {"TMPDIR": str(tmp_path)},
    )  # fmt: skip


def report(stdout: str) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(stdout.splitlines()[-1])
    return said


def left_over(tmp_path: Path) -> list[str]:
    """Return what still runs of a demo: its servers' directory is below `tmp_path`, or it was told to use that."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            told = f"TMPDIR={tmp_path}".encode() in (process / "environ").read_bytes()
            if told or (process / "cwd").resolve().is_relative_to(tmp_path):
                found.append((process / "cmdline").read_text())
        except OSError:  # it has ended meanwhile
            continue
    return found


def until(stream: IO[str], word: str) -> None:
    """Read lines until one has `word` in it."""
    seen = []
    for line in stream:
        seen.append(line)
        if word in line:
            return
    raise AssertionError(f"{word!r} was never said: {''.join(seen)}")


def test_five_seconds_account_for_every_message_and_show_a_revert(tmp_path: Path) -> None:
    process = demo(tmp_path, "--seconds", "5")
    stdout, stderr = process.communicate(timeout=90)
    said = report(stdout)
    assert process.returncode == 0, stderr
    assert said["unaccounted"] == 0
    assert said["reverted_seen"]
    assert said["events"] == sum(said["verdicts"].values()) + said["dead_letters"]
    assert said["events"] > 1000
    assert min(said["dead_letters"], *said["actions"].values()) > 0
    assert 0 < said["latency_ms"]["p50"] <= said["latency_ms"]["p99"]
    assert "\x1b" not in stdout + stderr
    assert "Traceback" not in stderr
    assert left_over(tmp_path) == []


def test_a_file_is_played_to_its_end(tmp_path: Path) -> None:
    file = tmp_path / "chat.jsonl"
    events = [line.event for line in Traffic(7, players=20, start_ms=1_700_000_000_000, rate=5).take(120)]
    file.write_bytes(b"".join(msgspec.json.encode(event) + b"\n" for event in events))
    process = demo(tmp_path, "--input", str(file), "--rate", "100")
    stdout, stderr = process.communicate(timeout=90)
    assert process.returncode == 0, stderr
    assert (report(stdout)["events"], report(stdout)["unaccounted"], report(stdout)["dead_letters"]) == (120, 0, 0)


def test_a_file_with_a_bad_line_is_refused_before_anything_starts(tmp_path: Path) -> None:
    file = tmp_path / "chat.jsonl"
    file.write_text("{}\n", "utf-8")
    process = demo(tmp_path, "--input", str(file))
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (2, "")
    assert "chat.jsonl:1" in stderr
    assert "Traceback" not in stderr


def test_ctrl_c_ends_it_with_a_report_and_nothing_left(tmp_path: Path) -> None:
    process = demo(tmp_path)
    assert process.stderr
    until(process.stderr, "t=1s")
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 0, stderr
    assert report(stdout)["unaccounted"] == 0
    assert left_over(tmp_path) == []
