"""The pages as a probe sees them, with a clock that is an argument."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from moderation.errors import SettingsError
from streams.health import BROKER_PATIENCE_S, STALL_S, Health, What, serve
from streams.metrics import Metrics


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def held(partitions: int) -> list[tuple[str, int]]:
    return [("chat.world", number) for number in range(partitions)]


def working(clock: Clock) -> Health:
    health = Health(clock=clock)
    health.rules_loaded("abc")
    health.assigned(held(12))
    health.back("broker")
    return health


def why(health: Health) -> list[str]:
    ready, report = health.ready()
    assert ready is (report["reasons"] == [])
    reasons: list[str] = report["reasons"]
    return reasons


def test_a_worker_with_partitions_rules_and_a_broker_is_ready() -> None:
    ready, report = working(Clock()).ready()
    assert ready
    assert report == {
        "ready": True,
        "reasons": [],
        "degraded": [],
        "partitions": 12,
        "ruleset": "abc",
        "rules_from": "directories",
        "broker_away_s": 0.0,
        "store_away_s": 0.0,
        "stalled_s": 0.0,
    }


def test_a_new_worker_is_alive_but_not_ready() -> None:
    clock = Clock()
    health = Health(clock=clock)
    assert health.alive()
    assert why(health) == ["no partitions are assigned", "no rule set is loaded"]
    clock.now += BROKER_PATIENCE_S + 1
    assert why(health)[-1] == "the broker is away"


def test_without_a_rule_set_a_worker_is_not_ready() -> None:
    health = Health(clock=Clock())
    health.assigned(held(1))
    assert why(health) == ["no rule set is loaded"]


def test_a_rebalance_is_not_ready_and_stays_alive() -> None:
    clock = Clock()
    health = working(clock)
    health.assigned(())
    clock.now += 10 * STALL_S
    assert health.alive()
    assert why(health) == ["no partitions are assigned"]
    health.assigned(held(6))
    assert health.alive(), "the time without partitions is not held against it"
    assert why(health) == []


def test_a_short_absence_of_the_broker_is_forgiven() -> None:
    clock = Clock()
    health = working(clock)
    health.away("broker")
    clock.now += BROKER_PATIENCE_S
    health.away("broker")
    assert why(health) == []
    clock.now += 0.1
    assert why(health) == ["the broker is away"]
    health.back("broker")
    assert why(health) == []


def test_a_dead_broker_does_not_restart_the_fleet() -> None:
    clock = Clock()
    health = working(clock)
    health.away("broker")
    clock.now += 10 * STALL_S
    assert health.alive()
    health.back("broker")
    assert health.alive(), "the outage is not held against it"


def test_a_worker_whose_work_stands_still_is_dead() -> None:
    clock = Clock()
    health = working(clock)
    clock.now += STALL_S + 1
    health.stalled_for(STALL_S)
    assert health.alive()
    health.stalled_for(STALL_S + 1)
    assert not health.alive()
    assert why(health) == ["work stands still"]
    health.back("broker")
    assert not health.alive(), "a broker that was there all along is no progress"
    health.stalled_for(0)
    assert health.alive()


def test_a_worker_that_nobody_watches_any_more_is_dead() -> None:
    clock = Clock()
    health = working(clock)
    clock.now += STALL_S + 1
    assert not health.alive()


@pytest.mark.parametrize("what", ["broker", "produce", "store"])
def test_what_stands_still_because_something_is_away_does_not_restart_the_fleet(what: What) -> None:
    clock = Clock()
    health = working(clock)
    health.away(what)
    clock.now += 10 * STALL_S
    health.stalled_for(10 * STALL_S)
    assert health.alive()
    health.back(what)
    assert health.alive(), "the outage is not held against it"
    clock.now += STALL_S + 1
    health.stalled_for(11 * STALL_S)
    assert not health.alive(), "but what goes on standing still is"


def test_a_broker_that_answers_and_takes_nothing_is_not_ready() -> None:
    clock = Clock()
    health = working(clock)
    for _ in range(10):  # attempts fail, and the poll in between succeeds
        health.away("produce")
        health.back("broker")
        clock.now += 2
    assert why(health) == ["the broker takes nothing"]
    health.back("produce")
    assert why(health) == []


def test_a_degraded_ledger_is_said_and_leaves_the_worker_ready() -> None:
    health = working(Clock())
    health.store(degraded=True)
    ready, report = health.ready()
    assert ready
    assert report["degraded"] == ["the ledger is away: judged without history"]
    health.store(degraded=False)
    assert health.ready()[1]["degraded"] == []


# --- over HTTP ---------------------------------------------------------------------------------------------------


async def _get(session: aiohttp.ClientSession, page: str) -> tuple[int, Any]:
    async with session.get(page) as answer:
        return answer.status, await answer.json()


def test_the_pages_answer_on_a_free_port() -> None:
    async def story() -> None:
        clock, metrics = Clock(), Metrics()
        health = Health(clock=clock)
        metrics.received.labels("chat.world").inc(3)
        async with (
            serve(health, metrics.registry) as port,
            aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
        ):
            assert port > 0
            status, report = await _get(session, "/readyz")
            assert (status, report["reasons"]) == (503, ["no partitions are assigned", "no rule set is loaded"])
            assert await _get(session, "/livez") == (200, {"alive": True})

            health.rules_loaded("abc")
            health.assigned(held(4))
            status, report = await _get(session, "/readyz")
            assert (status, report["ruleset"], report["partitions"]) == (200, "abc", 4)

            clock.now += STALL_S + 1
            assert await _get(session, "/livez") == (503, {"alive": False})
            assert (await _get(session, "/readyz"))[0] == 503

            async with session.get("/metrics") as answer:
                assert answer.status == 200
                assert answer.headers["Content-Type"].startswith("text/plain; version=")
                assert 'qingliu_received_total{topic="chat.world"} 3.0' in await answer.text()
            for page in ("/", "/metrics/", "/table"):
                async with session.get(page) as answer:
                    assert answer.status == 404
            async with session.post("/livez") as answer:
                assert answer.status == 405

    asyncio.run(story())


def test_the_pages_listen_on_one_address_unless_told_otherwise() -> None:
    async def story() -> None:
        async with serve(Health(), Metrics().registry) as port:
            with pytest.raises(OSError):  # noqa: PT011  the kernel's words differ
                await asyncio.open_connection("127.0.0.2", port)
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()

    asyncio.run(story())


def test_an_address_in_use_is_an_error_that_names_the_setting() -> None:
    async def story() -> None:
        async with serve(Health(), Metrics().registry) as port:
            with pytest.raises(SettingsError, match=f"QINGLIU_METRICS_PORT={port}"):
                async with serve(Health(), Metrics().registry, port=port):
                    pytest.fail("two listen on one port")

    asyncio.run(story())


def test_the_port_is_free_again_afterwards_even_with_a_client_that_hangs_on() -> None:
    async def story() -> None:
        async with aiohttp.ClientSession() as session:
            async with serve(Health(), Metrics().registry) as port, session.get(f"http://127.0.0.1:{port}/livez"):
                pass
            async with serve(Health(), Metrics().registry, port=port) as again:
                assert again == port

    asyncio.run(story())
