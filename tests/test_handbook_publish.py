"""The page on publishing: every command on it, typed in its order, by two people who meet what it tells of."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import pytest

from moderation.band import Fallen
from moderation.rulefile import load
from streams.bundle import gather
from tests.small_rules import TS
from tests.test_backtest import chat
from tests.test_publishing import Desk, desk, fall, good

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["desk"]  # a fixture

PAGE: Final = (Path(__file__).parent.parent / "docs" / "handbook-publish.zh-CN.md").read_text("utf-8")
BLOCK: Final = re.compile(r"^```\n(.*?)^```", re.MULTILINE | re.DOTALL)
NIGHT: Final = """\
- id: topup.offer-night
  label: topup
  说明: 夜里喊代充
  owner: gm
  status: live
  when: {lexicon: sell}
  score: 80
  because: "{sell}"
  tests: {hit: [出金], pass: [你好]}
"""


def typed() -> Iterator[list[str]]:
    """Yield the commands of the page, without what is said beside them."""
    for block in BLOCK.findall(PAGE):
        for line in block.splitlines():
            if line.startswith("qingliu rules "):
                yield shlex.split(line, comments=True)[2:]


def republish(desk: Desk) -> None:
    desk.publish("我的规则")
    [waiting] = desk.status()["proposals"]
    desk.run("approve", waiting["id"], "--approver", "老白", "--yes")


@pytest.mark.servers
def test_every_command_of_the_page_does_what_it_says(desk: Desk) -> None:
    mine = desk.directory.parent / "我的规则"
    files = good()
    files["rules.yaml"] = files["rules.yaml"].replace(b"score: 60", b"score: 61") + NIGHT.encode()
    for name, content in files.items():
        (mine / name).parent.mkdir(parents=True, exist_ok=True)
        (mine / name).write_bytes(content)
    Path("昨天.jsonl").write_bytes(b"\n".join(map(msgspec.json.encode, chat())))
    desk.publish()
    done = []
    for command in typed():
        told = dict(enumerate(command))
        if command[0] == "approve":  # the number is another one here
            found = desk.status(code=1 if command[1].isdecimal() else 0)
            told[1] = str(found["unreviewed"][0]["number"]) if command[1].isdecimal() else found["proposals"][0]["id"]
        if command[0] == "trust":
            rule = load(gather([mine])).by_id[command[1]]
            fall(desk, Fallen(rule.id, rule.revision, TS, TS, 600, 40, 500, 20_000))
        desk.run(*told.values())
        done.append(command[0])
        if command[0] == "approve" and command[1].isdecimal():
            republish(desk)  # what was taken back is mended, and the page goes on with it
    assert set(done) == {
        "backtest", "diff", "publish", "status", "approve", "rollback", "set-status", "report", "trust",
    }  # fmt: skip
    assert "<svg" in Path("回测.html").read_text("utf-8")
