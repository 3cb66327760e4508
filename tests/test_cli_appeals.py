"""An appeal from end to end: acted on by a real worker, appealed, answered and undone from the command line."""

from __future__ import annotations

import asyncio
import json
import sys
from itertools import count
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import structlog

from console import appeals, revert
from moderation.actions import Action
from moderation.appeal import Appeal
from streams.ledger import RedisLedger
from streams.topics import create_topics
from streams.worker import running
from tests.small_rules import layer, rules
from tests.test_cli import run
from tests.test_worker import SPAM, fresh_event, producer, publish, read, settings_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from streams.embedded import Embedded
    from streams.settings import Settings

pytestmark = [pytest.mark.servers, pytest.mark.usefixtures("_logs_aside")]
WHO = ("--operator", "gm-li", "--reason", "看过了")


@pytest.fixture
def _logs_aside() -> Iterator[None]:
    """Keep what the worker logs out of what a command prints: here they are one process."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    yield
    structlog.reset_defaults()


def prepare(embedded: Embedded, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, test: str) -> Settings:
    """Let the command line, which reads the environment, and a worker mean the same servers and rules."""
    chosen = settings_for(test, redis=embedded.redis, kafka=embedded.kafka)
    for name, content in layer().items():
        file = tmp_path / "rules" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    for name in ("kafka", "topic_prefix", "redis_prefix"):
        monkeypatch.setenv(f"QINGLIU_{name.upper()}", getattr(chosen, name))
    monkeypatch.setenv("QINGLIU_REDIS", embedded.redis)
    monkeypatch.chdir(tmp_path)
    return chosen


async def punished(embedded: Embedded, chosen: Settings, *accounts: str) -> list[Action]:
    """Say something that is acted on; return the mutes once the ledger has them."""
    async with producer(embedded, chosen) as to:
        await publish(to, chosen.topics.world, [fresh_event(SPAM, n, a, level=3) for n, a in enumerate(accounts)])
    sent = await read(embedded, chosen, chosen.topics.enforcement, 2 * len(accounts))
    actions = [msgspec.json.decode(one, type=Action) for one in sent]
    mutes = [one for one in actions if one.action == "mute"]
    async with asyncio.timeout(20):
        while None in [await revert.find(chosen, m.action_id, m.target.account_id) for m in mutes]:  # noqa: ASYNC110  the ledger calls nobody
            await asyncio.sleep(0.05)
    return mutes


def test_a_granted_appeal_lifts_the_mute_and_becomes_a_test(
    embedded: Embedded, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def serve() -> tuple[Action, list[Any], list[Action], list[Appeal]]:
        chosen = prepare(embedded, monkeypatch, tmp_path, "appeal")
        await create_topics(chosen, embedded.kafka)
        async with running(chosen, embedded.kafka, embedded.redis, rules()) as worker:
            await worker.wait_ready()
            [mute] = await punished(embedded, chosen, "a1")
            ask = (
                "appeals",
                "open",
                mute.action_id,
                "--account",
                "a1",
                "--operator",
                "portal",
                "--text",
                "没\u202e有",
                "--json",
            )
            answer = ("appeals", "answer", mute.action_id, *WHO)
            orders = (
                answer, (*ask, "--dry-run"), ask, ask, ("appeals", "list", "--json"), ("appeals", "list", "--overdue"),
                (*answer, "--json"), answer, (*answer, "--grant", "--json"), (*answer, "--deny"),
                ("appeals", "list", "--json"), ("appeals", "show", mute.action_id), ("appeals", "show", "unknown"),
            )  # fmt: skip
            told = [await asyncio.to_thread(run, *args) for args in orders]
            sent = await read(embedded, chosen, chosen.topics.enforcement, 3)
            heard = await read(embedded, chosen, chosen.topics.appeals, 3)
            actions = [msgspec.json.decode(one, type=Action) for one in sent]
            return mute, told, actions, [msgspec.json.decode(one, type=Appeal) for one in heard]

    mute, told, actions, heard = asyncio.run(serve())
    early, preview, asked, twice, listed, overdue, first, more, done, late, empty, shown, unknown = told
    codes = [one.exit_code for one in told]
    assert codes == [1, 0, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 1], [one.stderr for one in told]
    assert json.loads(preview.stdout)["command"] == "appeal"
    assert [json.loads(one.stdout)["state"] for one in (asked, first, done)] == ["open", "held", "granted"]
    assert [one["action_id"] for one in json.loads(listed.stdout)] == [mute.action_id]
    assert (overdue.stdout, json.loads(empty.stdout)) == ("", [])
    assert all(one.stdout == "" and one.stderr for one in (early, twice, more, late, unknown))
    assert "没⟨U+202E⟩有" in shown.stdout
    assert [one.state for one in heard] == ["open", "held", "granted"]
    assert [one.reverts for one in actions if one.reverts] == [mute.action_id]

    rates = run("appeals", "rates", "--rules", "rules", "--json")
    assert {(one["rate"]["rule"], one["rate"]["overturned"], one["down"]) for one in json.loads(rates.stdout)} == {
        ("sell.contact", 1, False), ("contact.drop", 1, False),
    }  # fmt: skip
    write = ("appeals", "examples", "--rules", "rules", "--write", "site")
    assert SPAM in run(*write).stdout
    assert not (tmp_path / "site").exists()
    assert run(*write, "--yes").stdout.strip() == "site/examples.yaml"
    assert SPAM in (tmp_path / "site" / "examples.yaml").read_text("utf-8")
    assert run(*write, "--yes").stdout == ""


def test_handles_that_humans_know_are_carried_out_and_listed(
    embedded: Embedded, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def known() -> dict[str, list[str]]:
        found: dict[str, list[str]] = json.loads(run("campaigns", "marks", "--json").stdout)
        return found

    async def serve() -> tuple[dict[str, list[str]], list[dict[str, Any]]]:
        chosen = prepare(embedded, monkeypatch, tmp_path, "marks")
        await create_topics(chosen, embedded.kafka)
        async with running(chosen, embedded.kafka, embedded.redis, rules()) as worker:
            await worker.wait_ready()
            await asyncio.to_thread(run, "campaigns", "mark", "qq", "738 192-0465", *WHO)
            await asyncio.to_thread(run, "campaigns", "allow", "wx", "Our_GM1", *WHO)
            async with asyncio.timeout(20):
                while not all((found := await asyncio.to_thread(known)).values()):  # noqa: ASYNC110  nobody tells
                    await asyncio.sleep(0.05)
            reading = asyncio.create_task(read(embedded, chosen, chosen.topics.enforcement, 1))
            async with producer(embedded, chosen) as to:
                for number in count():  # until the worker has heard of the mark, it is only a number
                    await publish(
                        to, chosen.topics.world, [fresh_event("找 7381920465", number, f"a{number}", level=3)]
                    )
                    if (await asyncio.wait([reading], timeout=0.2))[0]:
                        break
            return found, [json.loads(one) for one in await reading]

    found, [done, *_] = asyncio.run(serve())
    assert found == {"bad": ["num:7381920465"], "allowed": ["wx:our_gm1"]}
    assert [one["value"] for one in done["evidence"]["what"]["handles"]] == ["7381920465"]
    assert done["campaign_id"]


def test_a_rule_overturned_too_often_is_left_to_humans_on_a_running_worker(
    embedded: Embedded, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def serve() -> tuple[list[str], list[Any], int]:
        chosen = prepare(embedded, monkeypatch, tmp_path, "overturned")
        await create_topics(chosen, embedded.kafka)
        async with running(chosen, embedded.kafka, embedded.redis, rules()) as worker:
            await worker.wait_ready()
            ledger = RedisLedger(embedded.redis, prefix=chosen.redis_prefix, timeout_s=5)
            revision = rules().by_id["sell.contact"].revision
            await ledger.appeals.overturn([("sell.contact", revision)], appeals.now_ms())
            await ledger.close()
            told = worker.metrics.registry.get_sample_value
            async with asyncio.timeout(20):
                while not told("qingliu_rule_overturned", {"rule": "sell.contact"}):  # noqa: ASYNC110  nor does a gauge
                    await asyncio.sleep(0.05)
            async with producer(embedded, chosen) as to:
                await publish(to, chosen.topics.world, [fresh_event(SPAM, 1, "a1", level=3)])
            cases = await read(embedded, chosen, chosen.topics.cases, 1)
            return [json.loads(one)["why_human"] for one in cases], *(await asyncio.to_thread(_rates))

    why, found, code = asyncio.run(serve())
    assert why == ["overturned"]
    [rate] = found
    assert (rate["rate"]["rule"], rate["down"], rate["live"], code) == ("sell.contact", True, True, 1)


def _rates() -> tuple[list[Any], int]:
    told = run("appeals", "rates", "--rules", "rules", "--json")
    return json.loads(told.stdout), told.exit_code
