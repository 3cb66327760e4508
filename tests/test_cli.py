"""The command line as people and scripts use it: what goes to stdout, what to stderr, and with which exit code."""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
import sys
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from console import contracts
from console.cli import app
from console.judge import batches
from moderation.actions import Action, RevertCommand, Target
from moderation.events import MAX_RECORD_BYTES
from moderation.explain import Explanation
from moderation.moderator import Moderator
from streams.ledger import RedisLedger
from streams.settings import PREFIX
from streams.verdicts import Pending, decided
from tests.small_rules import TS, event, layer, rules

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moderation.decide import Outcome
    from streams.embedded import Embedded

HOUR = 3_600_000
SPAM = "出金加QQ 738190005"
WHY = ("--why", "工单 7")
WHO = ("--operator", "gm", "--reason", "核实过")
HEAVY = ("faust", "aiokafka", "jieba", "rjieba", "redis", "pydantic", "rich", "ruamel", "re2", "msgspec", "aiohttp")


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Start from no variable of ours and a directory without .env and rules."""
    for name in os.environ:
        if name.upper().startswith(PREFIX):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def small(tmp_path: Path) -> str:
    """Return a directory with the small rule set."""
    for name, text in layer().items():
        file = tmp_path / "small" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text)
    return str(tmp_path / "small")


def run(*args: str, stdin: bytes = b"") -> Result:
    result = CliRunner().invoke(app, args, input=stdin)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def lines(*events: Any) -> bytes:
    return b"".join((e if isinstance(e, bytes) else msgspec.json.encode(e)) + b"\n" for e in events)


def judged(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


# --- help


def test_help_imports_nothing_that_is_slow() -> None:
    code = (
        "import sys; sys.argv = ['qingliu', '--help']\n"
        "from console.cli import main\n"
        "try: main()\n"
        f"finally: print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=_ROOT)
    assert "judge" in done.stdout
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize(("lang", "said"), [("zh_CN.UTF-8", "判定一个聊天文件"), ("en_US.UTF-8", "Judge a file")])
def test_help_speaks_the_language_of_the_locale(lang: str, said: str) -> None:
    code = "import sys; sys.argv = ['qingliu', '--help']; from console.cli import main; main()"
    env = {**os.environ, "LANG": lang, "LC_ALL": "", "LC_MESSAGES": "", "PYTHONUTF8": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True, cwd=_ROOT, env=env
    )
    assert said in done.stdout


_ROOT = Path(__file__).parent.parent


# --- judge


def test_every_event_gets_one_judgement_in_order(small: str) -> None:
    events = [event("你好" if n % 3 else SPAM, n, at_s=n, account=f"a{n}", level=3) for n in range(50)]
    result = run("judge", "-", "--rules", small, stdin=lines(*events))
    assert result.exit_code == 0
    assert [j["event_id"] for j in judged(result)] == [e.event_id for e in events]
    assert [j["verdict"] for j in judged(result)] == ["allow" if n % 3 else "act" for n in range(50)]


def test_the_time_of_a_judgement_is_its_events(small: str) -> None:
    [one] = judged(run("judge", "-", "--rules", small, stdin=lines(event(SPAM, level=3))))
    mute = next(a for a in one["actions"] if a["action"] == "mute")
    assert (mute["created_at"], mute["until"]) == (TS, TS + HOUR)


def test_strikes_are_remembered_along_the_file(small: str) -> None:
    twice = lines(event(SPAM, 1, level=3), event("代练，加QQ 738190005", 2, at_s=7200, level=3))
    rows = judged(run("judge", "-", "--rules", small, stdin=twice))
    assert [a["duration_s"] for row in rows for a in row["actions"] if a["action"] == "mute"] == [3600, 86400]


def test_a_line_that_is_no_event_is_told_with_its_number_and_the_rest_goes_on(small: str, tmp_path: Path) -> None:
    file = tmp_path / "chat.jsonl"
    file.write_bytes(lines(event("你好", 1)) + b"\n{oops\r\n" + lines(event("再见", 2)).rstrip() + b"\r\n[1]")
    result = run("judge", str(file), "--rules", small)
    assert result.exit_code == 1
    assert [(j["event_id"], j["verdict"], j.get("line"), j.get("reason")) for j in judged(result)] == [
        ("e1", "allow", None, None),
        (None, "dead_letter", 3, "not_json"),
        ("e2", "allow", None, None),
        (None, "dead_letter", 5, "schema"),
    ]
    assert "2" in result.stderr


def test_progress_goes_to_stderr(small: str) -> None:
    result = run("judge", "-", "--progress", "--rules", small, stdin=lines(event("你好", 1), event("再见", 2)))
    assert len(judged(result)) == 2
    assert " 2, " in result.stderr
    assert "\r" not in result.stderr


def test_nothing_in_gives_nothing_out(small: str) -> None:
    result = run("judge", "-", "--rules", small)
    assert (result.exit_code, result.stdout) == (0, "")


@given(st.lists(st.binary(max_size=30).filter(lambda b: b"\n" not in b), max_size=8), st.integers(1, 9))
def test_lines_are_the_same_however_the_stream_is_cut(wanted: list[bytes], size: int) -> None:
    read = [line for batch in batches(_Trickle(b"\n".join(wanted), size)) for line in batch]
    assert read == (wanted[:-1] if wanted and not wanted[-1] else wanted)


def test_a_line_without_end_is_refused_in_bounded_memory(small: str) -> None:
    assert max(len(line) for batch in batches(_Trickle(b"x" * 3_000_000, 1 << 16)) for line in batch) < 1 << 18
    [dead] = judged(run("judge", "-", "--rules", small, stdin=b"x" * (MAX_RECORD_BYTES * 9)))
    assert dead["reason"] == "too_large"


class _Trickle(io.BufferedReader):
    """A stream that gives at most `size` bytes at a time, as a pipe does."""

    def __init__(self, data: bytes, size: int) -> None:
        super().__init__(io.BytesIO(data))
        self._most = size

    def read1(self, size: int = -1, /) -> bytes:
        return super().read1(min(size, self._most) if size > 0 else self._most)


def test_a_site_without_a_policy_lies_on_the_shipped_rules(tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    advert = event("加微信 wx_kefu88 咨询", level=3)
    (site / "allowlist.yaml").write_text("official_contacts: {wx: []}\n", "utf-8")
    [before] = judged(run("judge", "-", "--rules", str(site), stdin=lines(advert)))
    (site / "allowlist.yaml").write_text('official_contacts: {wx: ["wx_kefu88"]}\n', "utf-8")
    [after] = judged(run("judge", "-", "--rules", str(site), stdin=lines(advert)))
    assert [h["value"] for h in before["handles"]] == ["wx_kefu88"]
    assert after["handles"] == []


# --- what a user gets wrong


def test_all_problems_of_a_rule_set_are_told_without_a_traceback(small: str) -> None:
    Path(small, "guards.yaml").write_text("quoting: {lexcon: report}\n", "utf-8")
    Path(small, "game.yaml").write_text("own_name: []\n", "utf-8")
    result = run("judge", "-", "--rules", small)
    assert result.exit_code == 1
    assert {"guards.yaml", "game.yaml"} <= {Path(line.split(":")[0]).name for line in result.stderr.splitlines()}


@pytest.mark.parametrize(
    "args",
    [
        ("judge", "no-such-file"),
        ("explain", "你好", "--channel", "shout"),
        ("explain", "你好", "--level", "-1"),
        ("explain", "x" * 2049),
        ("explain", "\udcff"),
        ("revert", "a1", "--account", "p1", "--operator", "gm", "--reason", "x"),
        ("revert", "a 1", "--account", "p1", "--operator", "gm", "--reason", "x"),
        ("topics", "create"),
        ("campaigns", "list"),
        ("campaigns", "show", "c1"),
        ("dead-letters", "show", "0:1"),
        ("audit", "verify", "no-such-file"),
        ("audit", "record", "audit"),
        ("audit", "export", "audit", "pack", "--why", "x"),
        ("campaigns", "mark", "qq", "738190005"),
        ("campaigns", "mark", "icq", "738190005", *WHO),
        ("campaigns", "mark", "qq", " ", *WHO),
        ("campaigns", "allow", "wx", "mao mao", *WHO),
        ("appeals", "list"),
        ("appeals", "open", "a 1", "--account", "p1", "--operator", "portal"),
        ("appeals", "open", "a1", "--account", "p1", "--operator", "portal", "--text", "冤" * 1001),
        ("demo", "--seconds", "0"),
        ("no-such-command",),
    ],
)
def test_wrong_usage_exits_2_and_says_why(args: tuple[str, ...]) -> None:
    result = run(*args)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.strip()
    assert "Traceback" not in result.stderr


def test_a_wrong_setting_exits_2_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QINGLIU_KAFKA", "localhost")
    result = run("config")
    assert result.exit_code == 2
    assert result.stderr.splitlines() == ["QINGLIU_KAFKA: write it as kafka://host:9092,host2:9092"]


def test_a_broker_and_a_store_that_are_away_exit_3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QINGLIU_KAFKA", "kafka://127.0.0.1:1")
    monkeypatch.setenv("QINGLIU_REDIS", "redis://127.0.0.1:1")
    topics, undo = run("topics", "create"), run("revert", "a1", "--account", "p", "--operator", "gm", "--reason", "x")
    assert (topics.exit_code, undo.exit_code) == (3, 3)
    assert len(undo.stderr.splitlines()) == 1


# --- what is read


def test_explain_gives_the_explanation_as_json(small: str) -> None:
    result = run("explain", SPAM, "--level", "3", "--rules", small, "--json")
    found = msgspec.json.decode(result.stdout, type=Explanation)
    assert (result.exit_code, found.judgement.verdict, found.text) == (0, "act", SPAM)


def test_explain_knows_what_it_is_told_of_the_recipient(small: str) -> None:
    told = ("--channel", "private", "--stranger", "--to-vip", "9", "--vip", "9", "--age-days", "40", "--json")
    found = msgspec.json.decode(run("explain", "你好", *told, "--rules", small).stdout, type=Explanation)
    assert {"stranger", "to_vip", "old_account"} <= set(found.facts)
    assert found.tier == "vip"


def test_explain_shows_hostile_text_as_tokens(small: str) -> None:
    result = run("explain", "加\u202eQQ\x1b[2J 738190005[/]", "--rules", small)
    assert result.exit_code == 0
    assert "⟨U+202E⟩" in result.stdout
    assert "\x1b" not in result.stdout


def test_config_masks_what_is_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QINGLIU_REDIS", "redis://:hunter2@127.0.0.1:6379/0")
    for result in (run("config"), run("config", "--json")):
        assert result.exit_code == 0
        assert "hunter2" not in result.output
    assert json.loads(run("config", "--json").stdout)["QINGLIU_REDIS"]["source"] == "env"


def test_schema_prints_and_writes_the_same_documents(tmp_path: Path) -> None:
    assert json.loads(run("schema").stdout) == contracts.documents()
    written = run("schema", "--write", str(tmp_path / "out")).stdout.splitlines()
    assert {Path(path).name: Path(path).read_text("utf-8") for path in written} == contracts.documents()


def test_doctor_without_settings_looks_at_the_embedded_servers(small: str) -> None:
    result = run("doctor", "--json", "--rules", small)
    found = {check["name"]: check["status"] for check in json.loads(result.stdout)}
    assert result.exit_code == 0
    assert found == {"python": "OK", "faust": "OK", "rules": "OK", "embedded": "WARN"}


def test_doctor_fails_on_rules_that_do_not_load(small: str) -> None:
    Path(small, "guards.yaml").write_text("quoting: {lexcon: report}\n", "utf-8")
    result = run("doctor", "--rules", small)
    assert result.exit_code == 1
    assert "guards.yaml" in result.stdout.replace("\n", "")


# --- with servers


@pytest.fixture
def servers(embedded: Embedded, monkeypatch: pytest.MonkeyPatch) -> Embedded:
    monkeypatch.setenv("QINGLIU_KAFKA", embedded.kafka)
    monkeypatch.setenv("QINGLIU_REDIS", embedded.redis)
    monkeypatch.setenv("QINGLIU_TOPIC_PREFIX", "cli.")
    monkeypatch.setenv("QINGLIU_REDIS_PREFIX", "cli")
    monkeypatch.setenv("QINGLIU_PARTITIONS", "2")
    return embedded


@pytest.mark.servers
@pytest.mark.usefixtures("servers")
def test_topics_are_shown_then_made_then_there(small: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QINGLIU_TOPIC_PREFIX", "cli-topics.")
    missing = run("topics", "create", "--dry-run").stdout.splitlines()
    assert "cli-topics.chat.world" in missing
    assert run("doctor", "--rules", small).exit_code == 1
    assert run("topics", "create").stdout.splitlines() == missing
    assert json.loads(run("topics", "create", "--json").stdout) == {"created": [], "missing": []}
    checks = {c["name"]: c["status"] for c in json.loads(run("doctor", "--json", "--rules", small).stdout)}
    assert (
        checks.items() >= {"broker": "OK", "topics": "OK", "store": "OK", "clock": "OK", "durability": "WARN"}.items()
    )


@pytest.mark.servers
def test_a_revert_shows_the_action_and_publishes_the_command(servers: Embedded) -> None:
    mute = Action(
        "m1", "mute", Target("p1"), "all", 600, TS + 600_000, None, TS, "rmt.mute", "x", mode="auto", ruleset="r"
    )  # fmt: skip
    order = ("--account", "p1", "--operator", "gm", "--reason", "申诉")
    asyncio.run(_record(servers, mute))
    run("topics", "create")
    unknown, preview = run("revert", "m2", *order), run("revert", "m1", *order, "--dry-run")
    assert (unknown.exit_code, unknown.stdout) == (1, "")
    assert preview.exit_code == 0
    assert "禁言 10分钟" in preview.stdout
    sent = run("revert", "m1", *order, "--no-wait", "--json")
    assert sent.exit_code == 0
    command = msgspec.json.decode(asyncio.run(_first_command(servers)), type=RevertCommand)
    assert (command.action_id, command.account_id, command.operator, command.reason) == ("m1", "p1", "gm", "申诉")
    assert json.loads(sent.stdout)["command"]["command_id"] == command.command_id


@pytest.mark.servers
@pytest.mark.usefixtures("servers")
def test_a_pardon_is_published_as_it_is_printed() -> None:
    order = ("p1", "--operator", "gm", "--reason", "被盗号")
    run("topics", "create")
    assert run("forgive", "p 1", *order[1:]).exit_code == 2
    shown = json.loads(run("forgive", *order, "--dry-run").stdout)
    sent = json.loads(run("forgive", *order).stdout)
    assert {**sent, "command_id": "", "ts": 0} == {**shown, "command_id": "", "ts": 0}
    assert (sent["command"], sent["account_id"], sent["reason"]) == ("forgive", "p1", "被盗号")


async def _record(servers: Embedded, action: Action) -> None:
    ledger = RedisLedger(servers.redis, prefix="cli")
    await ledger.record([action])
    await ledger.close()


async def _first_command(servers: Embedded) -> bytes:
    where = servers.kafka.removeprefix("kafka://")
    async with (
        asyncio.timeout(20),
        AIOKafkaConsumer("cli.moderation.commands", bootstrap_servers=where, auto_offset_reset="earliest") as consumer,
    ):
        record = await consumer.getone()
        assert record.key == b"p1"
        return bytes(record.value)


@pytest.fixture
def gang(servers: Embedded, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the id of a campaign of four accounts, as a worker would have found it."""
    monkeypatch.setenv("QINGLIU_REDIS_PREFIX", f"cli-gang-{next(_gangs)}")
    asyncio.run(_say(servers, os.environ["QINGLIU_REDIS_PREFIX"], [f"{SPAM}\u202e[red]" for _ in range(4)]))
    run("topics", "create")
    [one] = json.loads(run("campaigns", "list", "--json").stdout)
    return str(one["campaign_id"])


_gangs = count()


async def _say(servers: Embedded, prefix: str, texts: Sequence[str]) -> list[Outcome]:
    """Judge what different accounts say, a minute apart."""
    moderator, ledger = Moderator(rules()), RedisLedger(servers.redis, prefix=prefix)
    events = [event(text, n, at_s=60 * n, account=f"gang{n}", level=3) for n, text in enumerate(texts)]
    try:
        return await decided(moderator, ledger, [Pending(one, one.event.ts) for one in moderator.judge(events)])
    finally:
        await ledger.close()


@pytest.mark.servers
def test_a_campaign_is_listed_and_shown_with_nothing_hidden(gang: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert gang in run("campaigns", "list").stdout
    shown = run("campaigns", "show", gang, *WHY)
    assert shown.exit_code == 0
    assert all(f"gang{n}" in shown.stdout for n in range(4))
    assert "⟨U+202E⟩[red]" in shown.stdout
    assert json.loads(run("campaigns", "show", gang, *WHY, "--json").stdout)["campaign_id"] == gang
    unknown = run("campaigns", "show", "nobody", *WHY)
    assert (unknown.exit_code, unknown.stdout) == (1, "")


@pytest.mark.servers
def test_an_exported_campaign_is_verified_and_a_changed_one_is_not(gang: str, tmp_path: Path) -> None:
    exported = run("campaigns", "export", gang, *WHY)
    file = tmp_path / "gang.jsonl"
    file.write_bytes(exported.stdout_bytes)
    head = exported.stderr.split()[-1]
    verified = run("audit", "verify", str(file), "--head", head, "--json")
    assert (exported.exit_code, verified.exit_code) == (0, 0)
    assert json.loads(verified.stdout)["head"]["hash"] == head, "both tell the hash of the last line"
    assert run("audit", "verify", str(file), "--head", "00" * 32).exit_code == 1
    file.write_bytes(exported.stdout_bytes.replace(b"gang2", b"saint"))
    assert run("audit", "verify", str(file)).exit_code == 1
    assert run("campaigns", "export", "nobody", *WHY).stdout == ""


@pytest.mark.servers
@pytest.mark.usefixtures("servers")
@pytest.mark.parametrize(
    ("deed", "command"), [("mark", "mark_handle"), ("allow", "allow_handle"), ("unmark", "unmark_handle")]
)
def test_what_a_human_knows_of_a_handle_is_published_as_it_is_printed(deed: str, command: str) -> None:
    order = ("campaigns", deed, "qq", "７３８-190 005", *WHO)
    run("topics", "create")
    preview, sent = run(*order, "--dry-run"), run(*order)
    assert (preview.exit_code, sent.exit_code) == (0, 0)
    shown, told = json.loads(preview.stdout), json.loads(sent.stdout)
    assert {**told, "command_id": "", "ts": 0} == {**shown, "command_id": "", "ts": 0}
    assert (told["command"], told["value"], told["operator"]) == (command, "７３８-190 005", "gm")
    assert sent.stderr.startswith("num:738190005")
