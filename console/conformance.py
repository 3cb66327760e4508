"""`qingliu contract test`: whether a game server's consumer keeps the rules of docs/game-server.md, told by its acks.

A script of actions goes to the enforcement topic, for accounts and from sources that no real action names. Acks say
what a consumer claims to have done; what players see of it, a person must look at.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import zip_longest
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from msgspec import Struct

from console.broker import PATIENCE_MS, client, reached
from console.contract_script import Rule, script
from console.doctor import Check
from console.words import say
from moderation.actions import Ack
from moderation.errors import SettingsError
from streams.applier import Applier, InMemoryGame, run
from streams.embedded import Embedded
from streams.settings import KafkaSasl, KafkaTls
from streams.topics import create_topics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

    from streams.settings import Settings, Topics

#: Of the reference consumer: Apache Kafka refuses a shorter one by default, and the embedded broker waits half of it.
SESSION_S: Final = 6.0
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_ack: Final = msgspec.json.Decoder(Ack)


class Heard(NamedTuple):
    """A record of the acks topic, and as much of it as could be read."""

    key: bytes | None
    value: bytes | None
    action_id: str = ""
    status: str = ""


class Report(Struct, frozen=True):
    """What a run found. The id of every action begins with `run`: to be looked for in the game server's log."""

    run: str
    passed: bool
    checks: list[Check]


# --- the verdict


def hear(key: bytes | None, value: bytes | None) -> Heard:
    """Read an ack as far as it can be read."""
    with suppress(*_UNREADABLE):
        told = msgspec.json.decode(value or b"")
        if isinstance(told, dict):
            return Heard(key, value, *(str(told.get(name) or "") for name in ("action_id", "status")))
    return Heard(key, value)


def unanswered(rules: Sequence[Rule], heard: Sequence[Heard]) -> int:
    """Return how many acks are still to come."""
    due = Counter(one.action_id for rule in rules for one in rule.steps if one.right)
    return (due - Counter(one.action_id for one in heard)).total()


def verdicts(rules: Sequence[Rule], heard: Sequence[Heard]) -> list[Check]:
    """Tell for each rule, and for the acks themselves, whether the consumer did right."""
    ids = {one.action_id for rule in rules for one in rule.steps if one.right}
    told = [one for one in heard if one.action_id in ids]
    return [*(_verdict(rule, told) for rule in rules), _shapes(rules, heard)]


class _Fault(NamedTuple):
    """An ack that is wrong, missing (nothing said), or one too many (nothing right)."""

    action_id: str
    said: str
    right: tuple[str, ...]

    def harmless(self) -> bool:
        """Tell whether Kafka alone may have done it: what is delivered again is answered again."""
        return not self.right and self.said in ("already", "rejected")

    def __str__(self) -> str:
        said = self.said or say("没有回执", "no ack")
        right = " / ".join(self.right) or say("不再回执", "no more acks")
        return f"{self.action_id}: {said}" + say(f"，应为 {right}", f", right is {right}")


def _verdict(rule: Rule, told: Sequence[Heard]) -> Check:
    faults, title = list(_faults(rule, told)), say(*rule.title)
    if not told:
        mend = say("消费者在运行吗？broker 和主题前缀对吗？", "is it running, on this broker and topic prefix?")
        return Check(rule.name, "FAIL", title + say("：没有任何回执", ": no ack at all"), mend)
    if not faults:
        return Check(rule.name, "OK", title)
    says = title + say("：", ": ") + say("；", "; ").join(map(str, faults))
    if all(fault.harmless() for fault in faults):
        mend = say(
            "重复投递无害；若总是这样，有两个消费者", "a redelivery is harmless; if always, two consumers answer"
        )
        return Check(rule.name, "WARN", says, mend)
    return Check(rule.name, "FAIL", says, _mend(rule, faults))


def _faults(rule: Rule, told: Sequence[Heard]) -> Iterator[_Fault]:
    """Yield what is wrong. Order does not count: acks without a key come from several partitions."""
    for action_id in dict.fromkeys(one.action_id for one in rule.steps if one.right):
        left = [one.status for one in told if one.action_id == action_id]
        wrong = []
        for right in (one.right for one in rule.steps if one.action_id == action_id):
            said = next((status for status in left if status in right), None)
            left.remove(said) if said else wrong.append(right)
        padded = zip_longest(left, wrong, fillvalue=None)
        yield from (_Fault(action_id, said or "", right or ()) for said, right in padded)


def _mend(rule: Rule, faults: Sequence[_Fault]) -> str:
    if any(fault.said == "unknown_target" for fault in faults):
        return say("游戏不认识编造的账号：用 --accounts", "the game knows no made-up accounts: use --accounts")
    return say(*rule.mend)


def _shapes(rules: Sequence[Rule], heard: Sequence[Heard]) -> Check:
    """Look at each ack of an action that could be read, and at what no action can be told from."""
    title = say("回执有 action_id 和 ts，键是账号", "acks carry action_id and ts, and are keyed by account")
    accounts = {one.action_id: rule.account for rule in rules for one in rule.steps if one.right and one.whole}
    nameless = {rule.account.encode() for rule in rules}
    ours = [one for one in heard if one.action_id in accounts or (not one.action_id and one.key in nameless)]
    faults = [fault for one in ours if (fault := _misshapen(one, accounts))]
    if ours and not faults:
        return Check("acks", "OK", title)
    says = title + say("：", ": ") + (faults[0] if faults else say("一条也没有", "there are none"))
    return Check("acks", "FAIL", says, say("对照", "see") + " docs/contracts/ack.schema.json")


def _misshapen(one: Heard, accounts: Mapping[str, str]) -> str:
    try:
        ack = _ack.decode(one.value or b"")
    except _UNREADABLE as exc:
        return f"{one.action_id or one.key!r}: {exc}"
    account = accounts[ack.action_id]
    if one.key == account.encode() and ack.account_id in (None, account):
        return ""
    return f"{ack.action_id}: key {one.key!r}, account_id {ack.account_id!r}" + say("，应为 ", ", right is ") + account


# --- on a broker


async def examine(
    settings: Settings,
    *,
    prefix: str | None = None,
    accounts: Sequence[str] | None = None,
    within_s: float = 30.0,
    reference: bool = False,
) -> Report:
    """Play the script, and wait for the acks of each of its two parts at most `within_s`.

    `reference`: test our own consumer, in topics of its own, on an embedded broker where none is set. Raises
    SettingsError and Unreachable.
    """
    run_id = f"qingliu-test-{token_hex(4)}"
    rules = script(run_id, f"{run_id}-" if prefix is None else prefix, accounts, time.time_ns() // 1_000_000)
    async with AsyncExitStack() as stack:
        if reference:
            settings = await stack.enter_async_context(_self_test(settings, run_id))
        checks = verdicts(rules, await _play(settings, rules, within_s))
    return Report(run_id, all(check.status != "FAIL" for check in checks), checks)


async def _play(settings: Settings, rules: Sequence[Rule], within_s: float) -> list[Heard]:
    kafka, heard = client(settings), list[Heard]()
    producer = AIOKafkaProducer(**kafka, acks="all", request_timeout_ms=PATIENCE_MS)
    consumer = AIOKafkaConsumer(**kafka, group_id=None, request_timeout_ms=PATIENCE_MS)
    async with reached(settings, producer, consumer):
        await _to_the_end(consumer, producer, settings.topics)
        for poison in (False, True):
            part = [rule for rule in rules if rule.poison is poison]
            await _publish(producer, settings.topics.enforcement, part)
            with suppress(TimeoutError):
                await asyncio.wait_for(_listen(consumer, part, heard), within_s)
            if not heard:  # nobody is there to be tested
                break
    return heard


async def _publish(producer: AIOKafkaProducer, topic: str, rules: Sequence[Rule]) -> None:
    for rule in rules:
        for one in rule.steps:
            await producer.send_and_wait(topic, one.value, rule.account.encode())


async def _to_the_end(consumer: AIOKafkaConsumer, producer: AIOKafkaProducer, topics: Topics) -> None:
    """Take a place at the end of the acks, before anything goes out: none can pass unheard."""
    missing = {topics.enforcement, topics.acks} - await consumer.topics()  # asking for one might create it
    if missing:
        raise SettingsError(f"missing topics: {' '.join(sorted(missing))} (qingliu topics create)")
    consumer.assign([TopicPartition(topics.acks, number) for number in await producer.partitions_for(topics.acks)])
    for place, offset in (await consumer.end_offsets(consumer.assignment())).items():
        consumer.seek(place, offset)


async def _listen(consumer: AIOKafkaConsumer, rules: Sequence[Rule], heard: list[Heard]) -> None:
    while unanswered(rules, heard):
        record = await consumer.getone()
        heard.append(hear(record.key, record.value))


@asynccontextmanager
async def _self_test(settings: Settings, run_id: str) -> AsyncIterator[Settings]:
    """Run the reference consumer on topics of its own: on others it would answer what is meant for a game."""
    async with AsyncExitStack() as stack:
        if settings.kafka is None:
            pair = await stack.enter_async_context(Embedded(max_bytes=settings.embedded_max_bytes))
            plain = {"kafka": pair.kafka, "kafka_tls": KafkaTls(), "kafka_sasl": KafkaSasl()}
            settings = settings.model_copy(update=plain)
        own = settings.model_copy(update={"topic_prefix": f"{settings.topic_prefix}{run_id}."})
        admin = AIOKafkaAdminClient(**client(own), request_timeout_ms=PATIENCE_MS)
        await stack.enter_async_context(reached(own, admin))
        stack.push_async_callback(admin.delete_topics, await create_topics(own, own.kafka or ""))
        await stack.enter_async_context(_serving(own, run_id))
        yield own


@asynccontextmanager
async def _serving(settings: Settings, group_id: str) -> AsyncIterator[None]:
    kafka: dict[str, Any] = {"group_id": group_id, "session_timeout_s": SESSION_S, **client(settings)}
    bootstrap, applier = kafka.pop("bootstrap_servers"), Applier(InMemoryGame())
    task = asyncio.create_task(run(bootstrap, settings.topics, applier, **kafka))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
