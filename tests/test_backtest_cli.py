"""The commands that replay recorded chat, as a moderator types them."""

from __future__ import annotations

import asyncio
import json
import os
import time
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from typer.testing import CliRunner, Result

from console.cli import app
from moderation.actions import RuleRef
from streams.ledger import RedisLedger
from streams.settings import PREFIX
from tests.small_rules import RULES, layer
from tests.test_backtest import chat
from tests.test_ledger import lift, mute

if TYPE_CHECKING:
    from pathlib import Path

    from streams.embedded import Embedded


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory with two rule sets and a recording, and no variable of ours but the rules."""
    for name in os.environ:
        if name.upper().startswith(PREFIX):
            monkeypatch.delenv(name)
    for name, text in (("old", RULES), ("new", RULES.replace("score: 60", "score: 90"))):
        for file, content in layer(rules_yaml=text).items():
            (tmp_path / name / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / file).write_bytes(content)
    (tmp_path / "chat.jsonl").write_bytes(b"\n".join(map(msgspec.json.encode, chat())))
    monkeypatch.setenv("QINGLIU_RULES", str(tmp_path / "old"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*args: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["rules", *args])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == code, result.output
    return result


def report(*args: str) -> Any:
    return json.loads(run(*args, "--json").stdout)


@pytest.mark.usefixtures("place")
def test_what_is_compared_is_named_or_the_rules_in_use() -> None:
    found = report("backtest", "--on", "chat.jsonl", "--to", "new", "--processes", "1")
    assert found["events"] == len(chat())
    assert found["rulesets"][0] != found["rulesets"][1]
    assert sum(one["newly"] for one in found["people"]) == 3
    same = report("backtest", "--on", "chat.jsonl", "--from", "new", "--to", "new", "--processes", "1")
    assert same["rulesets"] == [found["rulesets"][1]] * 2
    assert same["differing"] == 0


def test_the_page_is_written_where_it_is_wanted(place: Path) -> None:
    run("backtest", "--on", "chat.jsonl", "--to", "new", "--processes", "1", "--html", "out.html")
    assert "poach.cash" in (place / "out.html").read_text("utf-8")
    run("backtest", "--on", "chat.jsonl", "--processes", "1", "--html", "no/where.html", code=2)


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("args", [("nowhere.jsonl",), ("kafka",), ("kafka", "--since", "2026-11-21"), ("old",)])
def test_a_recording_that_is_none_is_a_mistake_of_usage(args: tuple[str, ...]) -> None:
    run("backtest", "--on", *args, "--processes", "1", code=2)


@pytest.mark.usefixtures("place")
def test_a_rule_set_that_is_none_is_said_with_its_problems(place: Path) -> None:
    (place / "new" / "rules.yaml").write_text("- id: [", "utf-8")
    assert "E003" in run("backtest", "--on", "chat.jsonl", "--to", "new", code=1).stderr


@pytest.mark.usefixtures("place")
def test_each_rule_is_told_with_what_it_would_do_if_it_were_live() -> None:
    rows = {one["rule"]: one for one in report("report", "--on", "chat.jsonl")["rules"]}
    shadow = rows["shadow.sell"]
    assert (shadow["status"], shadow["acted"]) == ("shadow", 0)
    assert shadow["would"] > 0
    assert rows["poach.cash"]["would"] == 0
    assert rows["horn.often"]["dead"]
    assert not rows["poach.cash"]["dead"]
    assert rows["same.text"]["covered"]
    assert rows["poach.cash"]["actions"] is None
    assert "poach.cash" in run("report", "--on", "chat.jsonl").stdout


@pytest.mark.servers
@pytest.mark.usefixtures("place")
def test_what_humans_undid_is_told_beside_what_a_rule_did(embedded: Embedded, monkeypatch: pytest.MonkeyPatch) -> None:
    async def record() -> None:
        ledger, now = RedisLedger(embedded.redis, prefix="rules-report"), time.time_ns() // 1_000_000
        rule = (RuleRef("poach.cash", "12345678"),)
        actions = [mute(f"e{n}", account=f"p{n}", at=now - 1000, rules=rule) for n in range(4)]
        await ledger.record(actions)
        await ledger.revert(actions[0].action_id, lift(actions[0]))
        await ledger.close()

    asyncio.run(record())
    monkeypatch.setenv("QINGLIU_REDIS", embedded.redis)
    monkeypatch.setenv("QINGLIU_REDIS_PREFIX", "rules-report")
    [row] = [one for one in report("report", "--on", "chat.jsonl")["rules"] if one["rule"] == "poach.cash"]
    assert (row["actions"], row["overturned"]) == (4, 1)
    assert "25.0%" in run("report", "--on", "chat.jsonl").stdout
