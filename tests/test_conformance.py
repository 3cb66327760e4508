"""The tool fails where a consumer is wrong, and nowhere else; then on a real broker."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer
from jsonschema import Draft202012Validator

from console import Unreachable
from console.conformance import Heard, Report, examine, hear, unanswered, verdicts
from console.contract_script import script
from moderation.errors import SettingsError
from streams.applier import Applier, InMemoryGame, _answer, _keyed, now_ms, run
from streams.settings import Settings
from streams.topics import create_topics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from console.doctor import Check
    from moderation.actions import Ack, Action
    from streams.embedded import Embedded

NOW = now_ms()
RULES = script("qingliu-test-1", "qingliu-test-1-", None, NOW)
EVERY = {rule.name for rule in RULES} | {"acks"}


class Record(NamedTuple):
    value: bytes | None
    partition: int = 0
    offset: int = 0


class Right:
    """The reference consumer without Kafka: answers one record with acks, as key and value."""

    def __init__(self, applier: Applier | None = None) -> None:
        self.applier = applier or Applier(InMemoryGame())

    def read(self, value: bytes | None) -> Iterable[tuple[bytes | None, bytes]]:
        ack = _answer(Record(value), self.applier, NOW)
        if ack:
            told, key = _keyed(ack)
            yield key, told


def heard_from(consumer: Right) -> list[Heard]:
    steps = [step for poison in (False, True) for rule in RULES if rule.poison is poison for step in rule.steps]
    return [hear(*ack) for step in steps for ack in consumer.read(step.value)]


def found(consumer: Right) -> list[Check]:
    return verdicts(RULES, heard_from(consumer))


def names(checks: Iterable[Check], status: str = "FAIL") -> set[str]:
    return {check.name for check in checks if check.status == status}


# --- consumers that are wrong in one way


class ForgetsIds(Applier):
    def apply(self, action: Action, now_ms: int) -> Ack:
        self.memory.settled.pop(action.action_id, None)
        return super().apply(action, now_ms)


class ForgetsWhatWasUndone(Applier):
    def apply(self, action: Action, now_ms: int) -> Ack:
        ack = super().apply(action, now_ms)
        self.memory.settled.pop(action.reverts or "", None)
        return ack


class IgnoresTheFence(Applier):
    def apply(self, action: Action, now_ms: int) -> Ack:
        self.memory.fences.clear()
        return super().apply(action, now_ms)


class FencesPlayersAndNotPartitions(Applier):
    def apply(self, action: Action, now_ms: int) -> Ack:
        one = msgspec.structs.replace(action.source, topic="any", partition=0) if action.source else None
        return super().apply(msgspec.structs.replace(action, source=one), now_ms)


class AppliesWhatIsLate(Applier):
    def apply(self, action: Action, now_ms: int) -> Ack:
        return super().apply(msgspec.structs.replace(action, deliver_before=None), now_ms)


class AppliesWhatIsOver(Applier):
    def apply(self, action: Action, now_ms: int) -> Ack:
        return super().apply(msgspec.structs.replace(action, until=None), now_ms)


class ForgivesNothing(Applier):
    def apply(self, action: Action, now_ms: int) -> Ack:
        self.memory.pardons.clear()
        return super().apply(action, now_ms)


class LetsMachinesLift(Applier):
    def apply(self, action: Action, now_ms: int) -> Ack:
        self.memory.settled.pop(action.reverts or "", None)
        return super().apply(action, now_ms)


class KnowsNoHumans(Applier):
    def apply(self, action: Action, now_ms: int) -> Ack:
        return super().apply(msgspec.structs.replace(action, mode="auto"), now_ms)


class TakesNullForZero(Applier):
    def apply(self, action: Action, now_ms: int) -> Ack:
        return super().apply(msgspec.structs.replace(action, until=action.until or 0), now_ms)


class CannotShadow(Applier):
    def apply(self, action: Action, now_ms: int) -> Ack:
        ack = super().apply(action, now_ms)
        return ack if action.visibility == "all" else msgspec.structs.replace(ack, status="rejected")


class RefusesUndoing(Applier):
    def apply(self, action: Action, now_ms: int) -> Ack:
        ack = super().apply(action, now_ms)
        return msgspec.structs.replace(ack, status="rejected") if action.reverts and action.scope == "mute" else ack


@pytest.mark.parametrize(
    ("applier", "failed"),
    [
        (Applier, set()),
        (ForgetsIds, {"once", "undone-first"}),
        (ForgetsWhatWasUndone, {"undone-first"}),
        (IgnoresTheFence, {"fence"}),
        (FencesPlayersAndNotPartitions, {"fence"}),
        (AppliesWhatIsLate, {"in-time"}),
        (AppliesWhatIsOver, {"in-time"}),
        (ForgivesNothing, {"forgiven"}),
        (LetsMachinesLift, {"human-first"}),
        (KnowsNoHumans, {"forgiven", "human-first"}),
        (TakesNullForZero, {"permanent"}),
        (CannotShadow, {"rare"}),
        (RefusesUndoing, {"lift", "forgiven", "undone-first"}),
    ],
)
def test_a_consumer_fails_the_rules_it_breaks_and_no_other(
    applier: Callable[[InMemoryGame], Applier], failed: set[str]
) -> None:
    assert names(found(Right(applier(InMemoryGame())))) == failed


def readable(value: bytes | None) -> bool:
    try:
        return isinstance(json.loads(value or b""), dict)
    except ValueError:
        return False


class StopsAtBrokenRecords(Right):
    stopped = False

    def read(self, value: bytes | None) -> Iterable[tuple[bytes | None, bytes]]:
        self.stopped |= not readable(value)
        return () if self.stopped else super().read(value)


class SilentOnUnknownKinds(Right):
    def read(self, value: bytes | None) -> Iterable[tuple[bytes | None, bytes]]:
        return () if b'"kick"' in (value or b"") else super().read(value)


class SilentOnUnknownFields(Right):
    def read(self, value: bytes | None) -> Iterable[tuple[bytes | None, bytes]]:
        return () if b"of_tomorrow" in (value or b"") else super().read(value)


class KeepsNoKey(Right):
    def read(self, value: bytes | None) -> Iterable[tuple[bytes | None, bytes]]:
        return ((None, told) for _, told in super().read(value))


class NamesAnother(Right):
    def read(self, value: bytes | None) -> Iterable[tuple[bytes | None, bytes]]:
        return ((key, told.replace(b'"account_id":"', b'"account_id":"x')) for key, told in super().read(value))


class TellsNoTime(Right):
    def read(self, value: bytes | None) -> Iterable[tuple[bytes | None, bytes]]:
        return ((key, told.replace(b'"ts"', b'"time"')) for key, told in super().read(value))


class AlsoSaysWhatNobodyCanRead(Right):
    def read(self, value: bytes | None) -> Iterable[tuple[bytes | None, bytes]]:
        for key, told in super().read(value):
            yield from ((key, told), (key, b"ok"))


@pytest.mark.parametrize(
    ("consumer", "failed"),
    [
        (StopsAtBrokenRecords, {"broken"}),
        (SilentOnUnknownKinds, {"broken"}),
        (SilentOnUnknownFields, {"unknown-fields"}),
        (KeepsNoKey, {"acks"}),
        (NamesAnother, {"acks"}),
        (TellsNoTime, {"acks"}),
        (AlsoSaysWhatNobodyCanRead, {"acks"}),
    ],
)
def test_a_consumer_fails_by_what_it_reads_and_writes(consumer: Callable[[], Right], failed: set[str]) -> None:
    assert names(found(consumer())) == failed


def test_a_consumer_that_never_answers_fails_everything_and_is_asked_for() -> None:
    checks = verdicts(RULES, [])
    assert names(checks) == EVERY
    assert all("running" in check.mend or "运行" in check.mend for check in checks if check.name != "acks")


def test_a_game_that_knows_no_made_up_accounts_is_told_of_the_option() -> None:
    checks = found(Right(Applier(InMemoryGame(frozenset()))))
    assert names(checks) == EVERY - {"acks"}
    assert all("--accounts" in check.mend for check in checks if check.status == "FAIL")


def test_a_redelivery_is_noted_and_is_no_failure() -> None:
    class Again(Right):
        def read(self, value: bytes | None) -> Iterable[tuple[bytes | None, bytes]]:
            return [*super().read(value), *super().read(value)]

    checks = found(Again())
    assert names(checks) == set()
    assert names(checks, "WARN") == EVERY - {"acks"}


def test_two_consumers_that_share_no_memory_apply_twice() -> None:
    checks = verdicts(RULES, heard_from(Right()) + heard_from(Right()))
    assert "applied" in names(checks)


def test_what_is_wrong_is_said_with_the_action_and_what_were_right() -> None:
    (check,) = (check for check in found(Right(ForgetsIds(InMemoryGame()))) if check.name == "once")
    assert "qingliu-test-1.once.mute: applied" in check.says
    assert "already" in check.says
    assert check.mend


def test_other_acks_of_the_topic_are_not_looked_at() -> None:
    strange = [hear(b"10086001", b'{"action_id":"a","status":"applied"}'), hear(b"10086001", b"\xff"), hear(None, None)]
    assert not names(verdicts(RULES, [*strange, *heard_from(Right())]))


def test_waiting_ends_with_the_last_ack() -> None:
    heard = heard_from(Right())
    assert unanswered(RULES, heard) == 0
    assert unanswered(RULES, heard[:-1]) == 1
    assert unanswered(RULES, []) == len(heard)


# --- the script


def test_every_action_keeps_the_contract_but_for_what_it_must_break() -> None:
    schema = json.loads(Path(__file__).parent.parent.joinpath("docs/contracts/action.schema.json").read_text("utf-8"))
    validator = Draft202012Validator(schema)
    steps = [step for rule in RULES for step in rule.steps if step.value and step.action_id]
    wrong = {step.action_id for step in steps if not validator.is_valid(json.loads(step.value or b""))}
    assert wrong == {"qingliu-test-1.broken.unknown-kind"}


def test_no_rule_shares_an_account_or_names_a_real_topic() -> None:
    assert len({rule.account for rule in RULES}) == len(RULES)
    sources = {
        json.loads(s.value)["source"]["topic"] for r in RULES for s in r.steps if s.value and b'"source":{' in s.value
    }
    assert sources == {"qingliu-test-1.chat.world", "qingliu-test-1.chat.private"}


def test_real_accounts_take_the_place_of_made_up_ones() -> None:
    real = [f"100860{n:02}" for n in range(len(RULES))]
    assert [rule.account for rule in script("t", "x", real, NOW)] == real


@pytest.mark.parametrize(("prefix", "real"), [("空", None), ("x" * 60, None), ("x", []), ("x", ["10086001"] * 50)])
def test_accounts_that_cannot_be_used_are_refused(prefix: str, real: list[str] | None) -> None:
    with pytest.raises(SettingsError):
        script("t", prefix, real, NOW)


# --- on a broker


def settings(embedded: Embedded, prefix: str) -> Settings:
    return Settings.load({"kafka": embedded.kafka, "topic_prefix": prefix, "partitions": 3}, env_file=None)


@contextlib.asynccontextmanager
async def consuming(chosen: Settings, applier: Applier) -> AsyncIterator[None]:
    task = asyncio.create_task(
        run(chosen.brokers[0], chosen.topics, applier, group_id=chosen.topic_prefix, session_timeout_s=2)
    )
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def ends(chosen: Settings, topic: str) -> int:
    async with AIOKafkaConsumer(topic, bootstrap_servers=chosen.brokers) as consumer:
        return sum((await consumer.end_offsets(consumer.assignment())).values())


@pytest.mark.servers
def test_the_reference_consumer_passes_in_topics_of_its_own(embedded: Embedded) -> None:
    async def story() -> None:
        chosen = settings(embedded, "conformance-self.")
        report = await examine(chosen, reference=True, within_s=20)
        assert report.passed
        assert {check.name: check.status for check in report.checks} == dict.fromkeys(EVERY, "OK")
        async with AIOKafkaConsumer(bootstrap_servers=chosen.brokers) as consumer:
            assert not [topic for topic in await consumer.topics() if report.run in topic]

    asyncio.run(story())


@pytest.mark.servers
def test_without_a_broker_the_self_test_starts_one() -> None:
    report = asyncio.run(examine(Settings.load({"kafka": None}, env_file=None), reference=True, within_s=20))
    assert report.passed


@pytest.mark.servers
def test_consumers_are_told_apart_over_kafka_again_and_again_with_the_same_accounts(embedded: Embedded) -> None:
    accounts = [f"100861{n:02}" for n in range(len(RULES))]

    async def story(chosen: Settings, applier: Applier, *, runs: int = 1) -> list[set[str]]:
        await create_topics(chosen, embedded.kafka)
        async with consuming(chosen, applier):
            return [names((await examine(chosen, accounts=accounts, within_s=20)).checks) for _ in range(runs)]

    right, wrong = (settings(embedded, f"conformance-{name}.") for name in ("right", "wrong"))
    assert asyncio.run(story(right, Applier(InMemoryGame(frozenset(accounts))), runs=2)) == [set(), set()]
    assert asyncio.run(story(wrong, IgnoresTheFence(InMemoryGame()))) == [{"fence"}]


@pytest.mark.servers
def test_where_nobody_answers_no_broken_record_is_left_behind(embedded: Embedded) -> None:
    async def story() -> Report:
        chosen = settings(embedded, "conformance-nobody.")
        await create_topics(chosen, embedded.kafka)
        report = await examine(chosen, within_s=0.2)
        assert await ends(chosen, chosen.topics.enforcement) == sum(len(r.steps) for r in RULES if not r.poison)
        return report

    report = asyncio.run(story())
    assert not report.passed
    assert names(report.checks) == EVERY


@pytest.mark.servers
def test_missing_topics_are_named_with_the_command_that_makes_them(embedded: Embedded) -> None:
    with pytest.raises(SettingsError, match=r"conformance-none\.moderation\.acks.*qingliu topics create"):
        asyncio.run(examine(settings(embedded, "conformance-none.")))


def test_a_broker_that_is_not_set_or_does_not_answer_is_said_so() -> None:
    with pytest.raises(SettingsError, match="QINGLIU_KAFKA"):
        asyncio.run(examine(Settings.load({"kafka": None}, env_file=None)))
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:9"):
        asyncio.run(examine(Settings.load({"kafka": "kafka://127.0.0.1:9"}, env_file=None)))
