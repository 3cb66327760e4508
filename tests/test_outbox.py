"""Letters on the embedded broker: all arrive, in order, where any other client would have put them."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.partitioner import DefaultPartitioner

from streams.outbox import LARGEST, KafkaOutbox, Letter, LettersNotSent

if TYPE_CHECKING:
    from aiokafka import ConsumerRecord

    from streams.embedded import Embedded

pytestmark = pytest.mark.servers
PARTITIONS = 3


def outbox(producer: object, patience_s: float = 10) -> KafkaOutbox:
    app = SimpleNamespace(producer=SimpleNamespace(_ensure_producer=lambda: producer))
    return KafkaOutbox(app, patience_s)  # type: ignore[arg-type]  # all it asks an app for


async def _sent(pair: Embedded, topic: str, letters: list[Letter]) -> list[ConsumerRecord]:
    servers = pair.kafka.removeprefix("kafka://")
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    await admin.create_topics([NewTopic(topic, PARTITIONS, 1)])
    await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=servers, max_batch_size=1 << 14) as producer:
        await outbox(producer).send(letters)
    out: list[ConsumerRecord] = []
    async with AIOKafkaConsumer(topic, bootstrap_servers=servers, auto_offset_reset="earliest") as consumer:
        async with asyncio.timeout(20):
            while len(out) < len(letters):
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    out += records
    return out


def test_letters_of_a_key_stay_in_order_where_its_key_belongs_over_many_batches(embedded: Embedded) -> None:
    letters = [Letter("outbox-order", b"player%d" % (n % 7), b"%06d" % n + b"x" * 500) for n in range(300)]
    records = asyncio.run(_sent(embedded, "outbox-order", letters))
    every = list(range(PARTITIONS))
    assert all(r.partition == DefaultPartitioner()(r.key, every, every) for r in records)
    for key in {one.key for one in letters}:
        assert [r.value for r in records if r.key == key] == [one.value for one in letters if one.key == key]


def test_a_letter_without_key_or_value_and_one_too_large_arrive_with_their_headers(embedded: Embedded) -> None:
    head = (("reason", b"tombstone"),)
    letters = [Letter("outbox-odd", None, None, head), Letter("outbox-odd", b"k", b"x" * (LARGEST + 50_000), head)]
    records = asyncio.run(_sent(embedded, "outbox-odd", letters))
    short, cut = sorted(records, key=lambda r: len(r.value or b""))
    assert (short.value, short.headers) == (None, head)
    assert (len(cut.value or b""), cut.headers) == (LARGEST, (*head, ("cut-from", b"950000")))


class Silent:
    """A producer that never learns where a topic is."""

    async def partitions_for(self, _: str) -> set[int]:
        await asyncio.Event().wait()
        return set()


def test_what_no_broker_took_comes_back() -> None:
    with pytest.raises(LettersNotSent) as caught:
        asyncio.run(outbox(Silent(), patience_s=0.05).send([Letter("nowhere", b"k", b"v")]))
    assert [one.value for one in caught.value.letters] == [b"v"]
