"""The commands about the audit log, as people and their scripts use them; and what shows text only to who says why."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from aiokafka import AIOKafkaProducer
from typer.testing import CliRunner, Result

from console.cli import app
from streams.journal import Journal, segments
from streams.settings import PREFIX
from tests.audit_records import ROLES, records, written
from tests.small_rules import TS

if TYPE_CHECKING:
    from streams.embedded import Embedded
    from streams.outbox import Letter

WORDS: Final = "只有他们俩知道"
ROOT: Final = Path(__file__).parent.parent
_runs = count()


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Start from no variable of ours and a directory without .env."""
    for name in os.environ:
        if name.upper().startswith(PREFIX):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")


def run(*args: str) -> Result:
    result = CliRunner().invoke(app, args)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture
def log(tmp_path: Path) -> Path:
    with Journal(tmp_path / "log", "c", ROLES, now_ms=lambda: TS) as journal:
        journal.add(records(written()))
    return tmp_path / "log"


def test_verify_says_whole_or_where_it_is_not_and_its_exit_code_says_so(log: Path) -> None:
    seq, head = run("audit", "head", str(log)).stdout.split()
    assert json.loads(run("audit", "head", str(log), "--json").stdout) == {"seq": int(seq), "hash": head}
    whole = run("audit", "verify", str(log), "--head", head)
    assert whole.exit_code == 0
    assert "--head" in run("audit", "verify", str(log)).stdout, "what it cannot know it says"
    [segment] = segments(log)
    segment.write_bytes(segment.read_bytes().replace(b"gm", b"gn", 1))
    broken = run("audit", "verify", str(log), "--head", head, "--json")
    assert broken.exit_code == 1
    flaw = json.loads(broken.stdout)["flaw"]
    assert (flaw["kind"], flaw["where"]) == ("altered", segment.name)
    assert f"{segment.name}:{flaw['line']}" in run("audit", "verify", str(log)).stdout
    assert run("audit", "export", str(log), "out", "--account", "a1", "--why", "x").exit_code == 1


def test_what_was_asked_wrongly_exits_2(log: Path) -> None:
    for args in (
        ("export", str(log), "out", "--account", "a1"),
        ("export", str(log), "out", "--why", "x"),
        ("export", "nowhere", "out", "--account", "a1", "--why", "x"),
        ("export", str(log), "out", "--account", "a1", "--why", "x"),  # no broker to put it on record
        ("verify", str(log), "--against-kafka"),
        ("head", "nowhere"),
    ):
        result = run("audit", *args)
        assert (result.exit_code, result.stdout) == (2, ""), args
        assert result.stderr.strip()


def test_a_preview_of_an_export_counts_and_shows_no_text(log: Path) -> None:
    shown = run("audit", "export", str(log), "out", "--account", "a1", "--why", "x", "--dry-run")
    assert json.loads(shown.stdout)["kinds"] == {"revert": 2, "action": 1, "ack": 1, "command": 1}
    nobody = run("audit", "export", str(log), "out", "--account", "nobody", "--why", "x")
    assert (nobody.exit_code, json.loads(nobody.stdout)["entries"]) == (1, 0)


# --- with a broker


@pytest.fixture
def broker(embedded: Embedded, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the prefix of topics that are there."""
    prefix = f"cli-audit{next(_runs)}."
    for name, value in (("KAFKA", embedded.kafka), ("TOPIC_PREFIX", prefix), ("PARTITIONS", "2")):
        monkeypatch.setenv(f"QINGLIU_{name}", value)
    assert run("topics", "create").exit_code == 0
    return prefix


def put(prefix: str, *some: Letter) -> None:
    async def go() -> None:
        async with AIOKafkaProducer(bootstrap_servers=os.environ["QINGLIU_KAFKA"].removeprefix("kafka://")) as to:
            for one in some:
                topic = prefix + one.topic.removeprefix("t.")
                await to.send_and_wait(topic, one.value, key=one.key, headers=list(one.headers))

    asyncio.run(go())


def recorded(where: str) -> bytes:
    """Record what is there, in a process of its own, since it configures logging; return its stdout."""
    code = "from console.cli import main; main()"
    command = [sys.executable, "-c", code, "audit", "record", where, "--once"]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, check=True)
    assert b" new, head " in done.stderr or "链头".encode() in done.stderr
    return done.stdout


def views(prefix: str) -> list[dict[str, Any]]:
    """Return the views that the audit log tells of."""
    recorded(f"{prefix}views")
    lines = (line for path in Path(f"{prefix}views").glob("*.jsonl") for line in path.read_bytes().splitlines())
    entries = [json.loads(line)["entry"] for line in lines]
    return [json.loads(one["record"]) for one in entries if one.get("told", {}).get("kind") == "view"]


@pytest.mark.servers
def test_a_log_is_recorded_checked_and_handed_on(broker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QINGLIU_AUDIT_KEY", "x" * 16)
    put(broker, *written())
    assert recorded("log") == b""
    checked = json.loads(run("audit", "verify", "log", "--against-kafka", "--json").stdout)
    assert (checked["compared"], checked["behind"]) == (len(written()), 0)
    assert checked["sealed"] == checked["entries"]
    for out in ("pack", "pack.zip"):
        done = run("audit", "export", "log", out, "--account", "a1", "--why", "法务 12", "--operator", "gm")
        assert done.exit_code == 0
        assert run("audit", "verify", out, "--head", json.loads(done.stdout)["head"]["hash"]).exit_code == 0
    exports = [one for one in views(broker) if one["command"] == "audit export"]
    assert [(one["operator"], one["reason"], one["of"]) for one in exports] == [
        ("gm", "法务 12", ["account_id=a1"])
    ] * 2
    manifest = json.loads((Path("pack") / "manifest.json").read_bytes())
    assert (manifest["operator"], manifest["reason"]) == ("gm", "法务 12")


@pytest.mark.servers
def test_dead_letters_show_what_is_in_them_only_to_who_says_why(broker: str) -> None:
    [dead] = [one for one in written() if one.headers]
    headers = tuple((name, b"chat.world" if name == "source-topic" else value) for name, value in dead.headers)
    put(broker, dead._replace(value=WORDS.encode(), headers=headers))
    for args in (("list",), ("list", "--json"), ("replay",)):
        silent = run("dead-letters", *args)
        assert silent.exit_code == 0
        assert WORDS not in silent.stdout
    assert views(broker) == []
    [place] = [json.loads(run("dead-letters", "list", "--json").stdout)["place"]]
    assert run("dead-letters", "show", place).exit_code == 2
    assert WORDS in run("dead-letters", "show", place, "--why", "查错").stdout
    assert WORDS in run("dead-letters", "list", "--why", "查错").stdout
    told = [(one["command"], one["of"], one["reason"]) for one in views(broker)]
    assert sorted(told) == [("dead-letters list", [], "查错"), ("dead-letters show", [place], "查错")]


def test_what_cannot_be_recorded_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QINGLIU_KAFKA", "kafka://127.0.0.1:1")
    result = run("dead-letters", "list", "--why", "查错")
    assert (result.exit_code, result.stdout) == (3, "")
