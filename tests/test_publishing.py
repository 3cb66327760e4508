"""Rules put in force and taken back from the command line, with a real worker that takes them."""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import msgspec
import pytest
from typer.testing import CliRunner, Result

from console.cli import app
from console.statuschange import with_status
from moderation.band import Fallen
from moderation.errors import SettingsError
from moderation.rule import Canary
from moderation.rulefile import load, read
from streams.bundle import gather
from streams.ledger import RedisLedger
from streams.settings import PREFIX
from streams.topics import create_topics
from streams.worker import running
from tests.small_rules import RULES, TS, event, layer, rules
from tests.test_worker import read as records
from tests.test_worker import settings_for

if TYPE_CHECKING:
    from pathlib import Path

    from moderation.rule import Status
    from streams.bundle import Layers
    from streams.embedded import Embedded


def good(text: str = RULES) -> dict[str, bytes]:
    """Return the small rule set without the tests that do not hold: one rule that bans, one that only mutes."""
    kept = [rule for rule in text.split("- id: ") if rule.startswith(("poach.cash", "flood.same"))]
    held = {
        "poach.cash": '  tests: {hit: ["来我们区，转会费五百"], pass: [来我们区玩]}\n',
        "flood.same": "  tests: {hit: [{text: 刷, repeat: 5}], pass: [刷]}\n",
    }
    out = [rule.replace("  tests: {hit: [占位], pass: [占位]}\n", held[rule.split("\n")[0]]) for rule in kept]
    return layer(rules_yaml="".join(f"- id: {rule}" for rule in out))


class Desk:
    """A directory of rules, a store of one's own, and the commands on both."""

    def __init__(self, directory: Path, pair: Embedded, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory = directory
        self.prefix = f"publishing-{uuid4().hex[:12]}"
        for name in os.environ:
            if name.upper().startswith(PREFIX):
                monkeypatch.delenv(name)
        monkeypatch.chdir(directory.parent)
        monkeypatch.setenv("QINGLIU_REDIS", pair.redis)
        monkeypatch.setenv("QINGLIU_REDIS_PREFIX", self.prefix)
        monkeypatch.setenv("QINGLIU_RULES", str(directory))
        self.save(good())

    def save(self, files: dict[str, bytes]) -> None:
        for name, content in files.items():
            (self.directory / name).parent.mkdir(parents=True, exist_ok=True)
            (self.directory / name).write_bytes(content)

    def edit(self, old: str, new: str, file: str = "rules.yaml") -> None:
        path = self.directory / file
        assert old in path.read_text("utf-8")
        path.write_text(path.read_text("utf-8").replace(old, new), "utf-8")

    def run(self, *args: str, code: int = 0) -> Result:
        result = CliRunner().invoke(app, ["rules", *args])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert result.exit_code == code, result.output
        return result

    def publish(self, *more: str, code: int = 0) -> Result:
        return self.run("publish", "--author", "阿青", "--reason", "试", "--yes", *more, code=code)

    def status(self, code: int = 0) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("status", "--json", code=code).stdout)
        return found


@pytest.fixture
def desk(tmp_path: Path, embedded: Embedded, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(tmp_path / "rules", embedded, monkeypatch)


@pytest.mark.servers
def test_without_yes_nothing_is_published(desk: Desk) -> None:
    shown = desk.run("publish", "--author", "阿青", "--reason", "试")
    assert "--yes" in shown.stderr
    assert desk.status()["current"] is None


@pytest.mark.servers
def test_rules_with_problems_or_tests_that_do_not_hold_are_not_published(desk: Desk) -> None:
    desk.edit("score: 60", "socre: 60")
    assert "E102" in desk.publish(code=1).stderr
    desk.edit("socre: 60", "score: 60")
    desk.edit("pass: [来我们区玩]", "pass: [来我们区拿现金]")
    assert "poach.cash" in desk.publish(code=1).stderr
    assert desk.status()["current"] is None


@pytest.mark.servers
def test_what_cannot_ban_is_published_at_once_and_what_can_waits_for_a_second_person(desk: Desk) -> None:
    desk.publish()
    desk.edit("at_least: 5", "at_least: 4")
    desk.edit("repeat: 5", "repeat: 4")
    desk.publish()
    assert desk.status()["current"]["number"] == 2
    desk.edit("score: 60", "score: 61")
    said = desk.publish().stderr
    found = desk.status()
    [waiting] = found["proposals"]
    assert found["current"]["number"] == 2
    assert waiting["because"] == ["poach.cash"]
    assert f"approve {waiting['id']}" in said
    assert "poach.cash" in desk.run("approve", waiting["id"], "--approver", "老白").stdout
    for name in ("阿青", " 阿青 ", "", "老" * 201):
        desk.run("approve", waiting["id"], "--approver", name, "--yes", code=2)
    desk.run("approve", "p9-000000", "--approver", "老白", "--yes", code=2)
    desk.run("approve", waiting["id"], "--approver", "老白", "--yes")
    found = desk.status()
    assert (found["current"]["number"], found["current"]["approver"], found["proposals"]) == (3, "老白", [])


@pytest.mark.servers
def test_what_was_proposed_before_somebody_else_published_is_not_approved_unseen(desk: Desk) -> None:
    desk.publish()
    desk.edit("score: 60", "score: 61")
    desk.publish()
    [waiting] = desk.status()["proposals"]
    desk.edit("score: 61", "score: 60")
    desk.edit("一分钟内", "六十秒内")
    desk.publish()
    assert "阿青" in desk.run("approve", waiting["id"], "--approver", "老白", "--yes", code=1).stderr
    assert desk.status()["current"]["number"] == 2


@pytest.mark.servers
def test_the_first_publication_is_compared_with_what_workers_start_with(desk: Desk, tmp_path: Path) -> None:
    other = tmp_path / "other"
    for name, content in good(RULES.replace("score: 60", "score: 61")).items():
        (other / name).parent.mkdir(parents=True, exist_ok=True)
        (other / name).write_bytes(content)
    assert json.loads(desk.run("diff", str(other), "--json").stdout)["can_ban"] == ["poach.cash"]
    desk.publish(str(other))
    found = desk.status()
    assert (found["current"], len(found["proposals"])) == (None, 1)


@pytest.mark.servers
def test_exactly_what_is_in_force_is_not_published_again(desk: Desk) -> None:
    desk.publish()
    desk.publish()
    assert desk.status()["current"]["number"] == 1


@pytest.mark.servers
def test_a_difference_is_shown_by_rule_and_line_by_line(desk: Desk) -> None:
    desk.publish()
    desk.edit("score: 60", "score: 61")
    assert json.loads(desk.run("diff", "--json").stdout)["rules"][0]["fields"] == ["score"]
    lines = desk.run("diff", "--text").stdout
    assert "-  score: 60" in lines
    assert "+  score: 61" in lines
    assert "score" not in desk.run("diff", "--from", "1", "--to", "1").stdout
    desk.run("diff", "--from", "7", code=2)


@pytest.mark.servers
def test_a_rollback_is_one_command_and_names_what_undoes_the_rest(desk: Desk) -> None:
    desk.run("rollback", "--author", "a", "--reason", "b", "--yes", code=2)
    desk.publish()
    desk.edit("at_least: 5", "at_least: 2")
    desk.edit("repeat: 5", "repeat: 2")
    desk.publish()
    bad = load(gather([desk.directory]))
    line = desk.run("rollback", "--author", "老白", "--reason", "误伤", "--yes").stdout.splitlines()[-1]
    assert line.startswith(
        f"qingliu revert-many --rule flood.same --revision {bad.by_id['flood.same'].revision} --since"
    )
    found = desk.status()["current"]
    assert (found["number"], found["restores"], found["author"]) == (3, 1, "老白")
    assert found["files"] == desk.status()["history"][-1]["files"]
    desk.run("rollback", "--to", "9", "--author", "a", "--reason", "b", code=2)


@pytest.mark.servers
def test_after_other_words_all_that_a_revision_did_is_to_be_undone(desk: Desk) -> None:
    desk.publish()
    desk.edit("[出金, 代练, 收元宝]", "[出金, 代练, 收元宝, 卖号]", "lexicons/all.yaml")
    desk.publish()
    bad = desk.status()["current"]["ruleset"]
    line = desk.run("rollback", "--author", "老白", "--reason", "误伤").stdout.splitlines()[-1]
    assert line.startswith(f"qingliu revert-many --ruleset {bad} --since")
    assert desk.status()["current"]["number"] == 2


@pytest.mark.servers
def test_who_goes_back_alone_to_what_may_ban_is_looked_at_by_somebody_else_afterwards(desk: Desk) -> None:
    desk.publish()
    desk.edit("score: 60", "score: 61")
    waiting = desk.publish().stderr.split("approve ")[1].split()[0]
    desk.run("approve", waiting, "--approver", "老白", "--yes")
    desk.run("rollback", "--author", "老白", "--reason", "误伤", "--yes")
    found = desk.status(code=1)
    assert (found["current"]["number"], found["current"]["restores"], found["current"].get("approver")) == (3, 1, None)
    assert [(one["number"], one["unseen"]) for one in found["unreviewed"]] == [(3, ["poach.cash"])]
    assert "approve 3" in " ".join(desk.run("status", code=1).stdout.split())
    for number, name in (("3", "老白"), ("2", "阿青"), ("9", "阿青")):
        desk.run("approve", number, "--approver", name, "--yes", code=2)
    assert "poach.cash" in desk.run("approve", "3", "--approver", "阿青").stdout
    assert len(desk.status(code=1)["unreviewed"]) == 1
    desk.run("approve", "3", "--approver", "阿青", "--yes")
    assert desk.status()["unreviewed"] == []
    desk.run("approve", "3", "--approver", "阿青", "--yes", code=2)


@pytest.mark.servers
def test_what_lint_advises_is_shown_before_and_hinders_nobody(desk: Desk) -> None:
    desk.edit("owner: gm", "owner: ''")
    said = desk.publish()
    assert "W203" in said.stderr
    assert "W203" not in said.stdout
    assert desk.status()["current"]["number"] == 1


@pytest.mark.servers
def test_a_rule_out_of_its_band_is_shown_with_its_figures_until_somebody_trusts_it(desk: Desk) -> None:
    desk.publish()
    rule = load(gather([desk.directory])).by_id["poach.cash"]
    seen = Fallen("poach.cash", rule.revision, TS, TS, 600, 40, 500, 20_000)
    fall(desk, seen, msgspec.structs.replace(seen, revision="gone"), msgspec.structs.replace(seen, rule="no.more"))
    [left] = desk.status(code=1)["left"]
    assert (left["rule"], left["why"], left["seen"]["senders"]) == ("poach.cash", "out_of_band", 40)
    shown = " ".join(desk.run("status", code=1).stdout.split())
    assert "40" in shown
    assert "8.00%" in shown
    trust = ("trust", "poach.cash", "--author", "阿青", "--reason", "看过了")
    assert "8.00%" in desk.run(*trust).stdout
    assert len(desk.status(code=1)["left"]) == 1
    desk.run(*trust, "--yes")
    assert desk.status()["left"] == []
    desk.run(*trust, "--yes", code=2)


def fall(desk: Desk, *seen: Fallen) -> None:
    async def fell() -> None:
        ledger = RedisLedger(os.environ["QINGLIU_REDIS"], prefix=desk.prefix, timeout_s=5)
        for one in seen:
            await ledger.bands.fall(one)
        await ledger.close()

    asyncio.run(fell())


@pytest.mark.servers
def test_a_status_is_one_word_and_a_reason(desk: Desk) -> None:
    desk.publish()
    said = desk.run("set-status", "poach.cash", "shadow", "--author", "阿青", "--reason", "误伤", "--yes").stderr
    assert "rules/rules.yaml:5" in said
    assert desk.status()["current"]["reason"] == "误伤"
    assert "status" in json.loads(desk.run("diff", "--json").stdout)["rules"][0]["fields"]
    desk.run("set-status", "poach.cash", "canary", "--author", "a", "--reason", "b", code=1)
    desk.run("set-status", "poach.cash", "canary", "--server", "s1", "--author", "a", "--reason", "b", "--yes")
    assert len(desk.status()["proposals"]) == 1
    desk.run("set-status", "no.such", "off", "--author", "a", "--reason", "b", code=2)


@pytest.mark.servers
def test_a_backtest_stands_in_the_way_of_what_punishes_too_many(desk: Desk, tmp_path: Path) -> None:
    desk.publish()
    file = tmp_path / "chat.jsonl"
    said = [event("刷", n, at_s=n, account=f"a{n % 2}") for n in range(8)]
    file.write_bytes(b"\n".join(map(msgspec.json.encode, said)))
    desk.edit("at_least: 5", "at_least: 3")
    desk.edit("repeat: 5", "repeat: 3")
    desk.publish("--backtest", str(file), "--most", "1", code=1)
    assert desk.status()["current"]["number"] == 1
    desk.publish("--backtest", str(file), "--most", "2")
    assert desk.status()["current"]["number"] == 2


@pytest.mark.servers
def test_a_worker_takes_what_is_published_and_it_is_on_record(
    desk: Desk, embedded: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        settings = settings_for(desk.prefix, redis_prefix=desk.prefix, rules=str(desk.directory))
        monkeypatch.setenv("QINGLIU_KAFKA", embedded.kafka)
        monkeypatch.setenv("QINGLIU_TOPIC_PREFIX", settings.topic_prefix)
        await create_topics(settings, embedded.kafka)
        async with running(settings, embedded.kafka, embedded.redis) as worker:
            await worker.wait_ready()
            desk.edit("at_least: 5", "at_least: 4")
            desk.edit("repeat: 5", "repeat: 4")
            await asyncio.to_thread(desk.publish)
            notes = await records(embedded, settings, settings.topics.audit, 2)
            [note] = [one for one in map(msgspec.json.decode, notes) if one["change"] == "published"]
            assert (note["operator"], note["reason"]) == ("阿青", "试")
            found = await asyncio.to_thread(desk.status)
            wanted = load(gather([desk.directory])).hash
            assert note["ruleset"] == wanted
            assert [(one["ruleset"], one["revision"]) for one in found["workers"]] == [(wanted, 1)]
            assert found["agree"]
            assert worker.health.ready()[1]["ruleset"] == wanted

    asyncio.run(run())


# -- a status in a file


FLOW = """\
- {id: one.line, label: abuse, 说明: 一行, owner: gm, status: live, when: {pattern: 'a{4}'}, score: 10, because: 一行,
   tests: {hit: [aaaa], pass: [a]}}
"""


@pytest.mark.parametrize(
    ("rule", "status", "canary", "old", "new"),
    [
        ("poach.cash", "off", None, "  status: live\n", "  status: off\n"),
        ("poach.cash", "canary", Canary(frozenset({"s1"}), 5), "", '  canary: {servers: ["s1"], percent: 5}\n'),
        ("canary.s9", "canary", Canary(percent=7), "  canary: {servers: [s9]}\n", "  canary: {percent: 7}\n"),
        ("canary.s9", "live", None, "  status: canary\n", "  status: live\n"),
        ("one.line", "shadow", None, "status: live, when", "status: shadow, when"),
        ("one.line", "canary", Canary(percent=7), "status: live, when", "status: canary, canary: {percent: 7}, when"),
    ],
)
def test_only_the_words_about_the_status_are_other(
    rule: str, status: Status, canary: Canary | None, old: str, new: str
) -> None:
    before: Layers = (layer(rules_yaml=RULES + FLOW),)
    after, place = with_status(before, rule, status, canary)
    assert place.file == "rules.yaml"
    was, now = before[0]["rules.yaml"].decode(), after[0]["rules.yaml"].decode()
    assert new in now
    assert old in was
    assert abs(len(was.splitlines()) - len(now.splitlines())) == (old == "")
    assert sum(a not in was.splitlines() for a in now.splitlines()) <= 2
    found = next(one for one in read(after).rules if one.id == rule)
    assert found.status == status
    assert canary is None or found.canary == canary


def test_the_last_layer_is_the_one_that_counts() -> None:
    site = {"site/r.yaml": FLOW.replace("one.line", "poach.cash").encode()}
    after, place = with_status((layer(), site), "poach.cash", "off")
    assert (place.layer, place.file) == (1, "site/r.yaml")
    assert after[0] == layer()


@pytest.mark.parametrize("rule", sorted(one.id for one in rules().contents.rules))
def test_every_rule_can_be_switched_off(rule: str) -> None:
    after, _ = with_status((layer(),), rule, "off")
    assert next(one for one in read(after).rules if one.id == rule).status == "off"


def test_a_rule_that_is_not_there_cannot_be_changed() -> None:
    with pytest.raises(SettingsError, match=r"no\.such"):
        with_status((layer(),), "no.such", "off")
