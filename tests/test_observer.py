"""What is seen of moderation from outside: acks that come, late or never; canaries; lag of what nobody holds."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiohttp
import msgspec
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from moderation.actions import Ack, Action, Target
from moderation.moderator import Moderator
from moderation.signature import signed
from streams.canary import ACCOUNT, TEXT, Canary
from streams.ledger import RedisLedger
from streams.metrics import OutsideMetrics
from streams.observer import EARLY, WAITED_FOR, Answers, observing
from streams.rules import load_rules
from streams.settings import Settings
from streams.topics import create_topics
from streams.worker import running
from tests.small_rules import rules
from tests.test_worker import SPAM, fresh_event, producer, read, settings_for

if TYPE_CHECKING:
    from streams.embedded import Embedded

WITHIN_MS = 60_000
SECRET = b"0123456789abcdef0123456789abcdef"


def page(metrics: OutsideMetrics) -> str:
    return generate_latest(metrics.registry).decode()


def action(action_id: str, account: str = "a1") -> Action:
    return Action(action_id, "mute", Target(account), "all", 60, 60_000, 9, 5, "rmt", "x", "auto", "abc")


def test_an_action_that_was_answered_is_no_longer_waited_for() -> None:
    metrics = OutsideMetrics()
    answers = Answers(WITHIN_MS, metrics)
    answers.sent(action("one"), now=0)
    answers.sent(action("one"), now=1)
    answers.look(now=10)
    assert "qingliu_awaiting_ack 1.0" in page(metrics)
    answers.answered(Ack("one", "applied", 5), now=20)
    answers.look(now=10 * WITHIN_MS)
    assert "qingliu_awaiting_ack 0.0" in page(metrics)
    assert 'qingliu_acks_total{status="applied"} 1.0' in page(metrics)
    assert "qingliu_unacknowledged_total 0.0" in page(metrics)


def test_an_action_without_an_ack_is_counted_once() -> None:
    metrics = OutsideMetrics()
    answers = Answers(WITHIN_MS, metrics)
    answers.sent(action("one"), now=0)
    for now in (WITHIN_MS, WITHIN_MS + 1, WITHIN_MS + 2):
        answers.look(now)
    assert "qingliu_unacknowledged_total 1.0" in page(metrics)
    assert "qingliu_awaiting_ack 0.0" in page(metrics)


def test_an_ack_may_be_read_before_its_action() -> None:
    metrics = OutsideMetrics()
    answers = Answers(WITHIN_MS, metrics)
    answers.answered(Ack("one", "already", 5), now=0)
    answers.sent(action("one"), now=1)
    answers.look(now=2 * WITHIN_MS)
    assert "qingliu_unacknowledged_total 0.0" in page(metrics)


def test_nobody_need_answer_for_a_canary() -> None:
    metrics = OutsideMetrics()
    answers = Answers(WITHIN_MS, metrics)
    answers.sent(action("one", ACCOUNT), now=0)
    answers.look(now=2 * WITHIN_MS)
    assert "qingliu_unacknowledged_total 0.0" in page(metrics)


def test_what_is_waited_for_is_bounded_whatever_is_sent() -> None:
    answers = Answers(WITHIN_MS, OutsideMetrics(CollectorRegistry()))
    template = action("x")
    for n in range(WAITED_FOR + 10):
        answers.sent(msgspec.structs.replace(template, action_id=str(n)), now=0)
    for n in range(EARLY + 10):
        answers.answered(Ack(f"early-{n}", "applied", 5), now=0)
    assert len(answers._awaited) == WAITED_FOR
    assert len(answers._early) == EARLY


def test_a_canary_is_answered_once_or_lost_once() -> None:
    metrics = OutsideMetrics()
    canary = Canary("x", TEXT, WITHIN_MS, metrics)
    first, second = canary.message(0), canary.message(0)
    canary.sent(first)
    canary.sent(second)
    canary.answered(first.event_id, 30)
    canary.answered(first.event_id, 31)
    canary.answered("another observer's", 32)
    canary.look(WITHIN_MS + 1)
    canary.answered(second.event_id, WITHIN_MS + 2)
    canary.unsent(canary.message(0))
    for result in ("answered", "lost", "unsent"):
        assert f'qingliu_canaries_total{{result="{result}"}} 1.0' in page(metrics)
    assert 'qingliu_canary_latency_seconds_bucket{le="0.035"} 1.0' in page(metrics)


def test_the_shipped_rules_act_on_the_canary_and_never_ask_a_human() -> None:
    moderator = Moderator(load_rules(Settings.load({}, env_file=None).rules))
    canary = Canary("x", TEXT, WITHIN_MS, OutsideMetrics())
    for minute in range(30):
        [finding] = moderator.judge([canary.message(1_790_000_000_000 + minute * 60_000)])
        assert finding.verdict == "act", minute
        assert finding.label in ("contact", "flood")
    policy = moderator.rules.policy
    for label in ("contact", "flood"):
        ladder = policy.ladders[policy.labels[label].ladder]
        assert not any(step.ban_s or step.review for step in ladder.steps["established"])


@pytest.mark.servers
def test_an_observer_sees_canaries_acks_lag_and_the_store(embedded: Embedded) -> None:
    async def story() -> None:
        sings = {"canary_text": "出金加QQ 1000000001", "canary_every_s": 1, "event_keys": SECRET.decode()}
        settings = settings_for("observed", **sings, ack_within_s=5)
        topics = settings.topics
        await create_topics(settings, embedded.kafka)
        async with (
            running(settings, embedded.kafka, embedded.redis, rules()) as worker,
            observing(settings, embedded.kafka, embedded.redis) as watching,
            producer(embedded, settings) as to,
        ):
            await worker.wait_ready()
            await shown(watching.metrics, 'qingliu_canaries_total{result="answered"} 2.0')
            said = msgspec.json.encode(fresh_event(SPAM, 1, "a1", level=3))
            await to.send_and_wait(topics.world, said, key=b"a1", headers=list(signed(b"a1", said, (SECRET,))))
            sent = [
                msgspec.json.decode(one, type=Action) for one in await read(embedded, settings, topics.enforcement, 8)
            ]
            first = next(one for one in sent if one.target.account_id == "a1")
            ack = Ack(first.action_id, "applied", first.created_at, "a1")
            await to.send_and_wait(topics.acks, msgspec.json.encode(ack), key=b"a1")
            await to.send_and_wait(topics.acks, b"\xff no ack", key=b"a1")
            await shown(watching.metrics, 'qingliu_acks_total{status="applied"} 1.0')
            await shown(watching.metrics, "qingliu_unacknowledged_total 1.0")
            async with aiohttp.ClientSession(f"http://127.0.0.1:{watching.port}") as http:
                text = await (await http.get("/metrics")).text()
                assert (await http.get("/readyz")).status == 200
                assert (await http.get("/livez")).status == 200
            assert text.count("qingliu_lag_records{") == 3 * settings.partitions, "of every partition"
            assert "qingliu_broker_up 1.0" in text
            assert "qingliu_store_up 1.0" in text
            assert "qingliu_store_keys 0.0" not in text
            ledger = RedisLedger(embedded.redis, prefix=settings.redis_prefix)
            canary = next(one for one in sent if one.target.account_id == ACCOUNT)
            assert await ledger.find(canary.action_id, ACCOUNT) is None, "nobody reverts a canary"
            assert await ledger.find(first.action_id, "a1")
            await ledger.close()

    asyncio.run(story())


async def shown(metrics: OutsideMetrics, line: str) -> None:
    async with asyncio.timeout(60):
        while line not in page(metrics):  # noqa: ASYNC110  a page
            await asyncio.sleep(0.05)
