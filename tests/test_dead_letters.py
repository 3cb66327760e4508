"""Dead letters as people meet them: counted, shown without harm, and sent back as they came, or not at all."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from itertools import count
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from console import Unreachable
from console.dead_letters import (
    ADVICE,
    IN_FULL,
    MALFORMED,
    PREVIEW,
    REFUSALS,
    Listed,
    Place,
    Wanted,
    find,
    in_full,
    in_line,
    letter_of,
    newest,
    refusal,
    replay,
    row,
    wanted,
)
from console.show import token
from console.show_letters import dossier, listing, replayed
from moderation.actions import Source
from moderation.errors import DeadReason, SettingsError
from moderation.moderator import Moderator
from streams.connection import connection
from streams.health import Health
from streams.ledger import MemoryLedger
from streams.metrics import Metrics
from streams.pipeline import Pipeline
from streams.settings import Settings
from streams.topics import create_topics
from tests.small_rules import rules

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import streams.outbox
    from streams.embedded import Embedded

HOSTILE: Final = "加\u202eQQ\x1b[2J\u200b[red]x[/]\r\n"
HOUR_MS: Final = 3_600_000
OFFLINE: Final = Settings.load({"topic_prefix": "off."}, env_file=None)
_runs = count()


class Record(NamedTuple):
    """A record of Kafka, as far as it is read."""

    headers: Sequence[tuple[str, bytes | None]]
    value: bytes | None = b"{}"
    key: bytes | None = b"a1"
    partition: int = 0
    offset: int = 0
    timestamp: int = 0
    topic: str = "off.chat.world"


def told(reason: str = "not_json", topic: str = "off.chat.world", **more: str) -> list[tuple[str, bytes | None]]:
    """Return the headers that a worker writes."""
    headers = {"reason": reason, "detail": "x", "source-topic": topic, "source-partition": "3", "source-offset": "17"}
    return [(name.replace("_", "-"), text.encode()) for name, text in (headers | {"ruleset": "r"} | more).items()]


def without(name: str) -> list[tuple[str, bytes | None]]:
    return [header for header in told() if header[0] != name]


def shown(what: object, width: int = 200) -> str:
    console = Console(width=width, highlight=False, markup=False, emoji=False, color_system=None)
    with console.capture() as caught:
        console.print(what)
    return caught.get()


def harmless(text: str) -> bool:
    return not any(token(char) for char in text if char != "\n")


# --- one letter


def test_a_letter_of_the_pipeline_is_understood() -> None:
    """The contract between who writes the headers and who reads them, with a detail cut within a character."""
    sent: list[streams.outbox.Letter] = []

    class Post:
        async def send(self, letters: Sequence[streams.outbox.Letter]) -> None:
            sent.extend(letters)

    topics = OFFLINE.topics
    pipeline = Pipeline(Moderator(rules()), MemoryLedger(), Post(), topics, Metrics(), Health(), now_ms=lambda: 0)
    poison = b'{"channel":"%s"}' % ("气" * 200).encode()
    records = [Record([], value, partition=3, offset=17) for value in (b"\xff", poison)]
    asyncio.run(pipeline.chat(records, lambda: True))
    letters = [letter_of(Record(one.headers, one.value, one.key)) for one in sent]
    assert [one.reason for one in letters] == ["not_utf8", "schema"]
    assert [one.origin and one.origin.source for one in letters] == [Source("off.chat.world", 3, 17)] * 2
    assert all(refusal(OFFLINE, one) is None for one in letters)
    with pytest.raises(UnicodeDecodeError):
        dict(sent[1].headers)["detail"].decode()


@pytest.mark.parametrize(
    "headers",
    [
        [],
        *map(without, ("reason", "detail", "source-topic", "source-partition", "source-offset")),
        told("no-such-reason"),
        told("malformed"),
        told(source_partition="-1"),
        told(source_offset="１７"),
        told(source_offset="1_7"),
        told(source_offset="9" * 5000),
        told(cut_from="many"),
        [(name, None) for name, _ in told()],
        [(name, b"\xff") for name, _ in told()],
    ],
)
def test_a_letter_without_readable_headers_is_malformed_and_stays(headers: list[tuple[str, bytes | None]]) -> None:
    letter = letter_of(Record(headers))
    assert (letter.reason, refusal(OFFLINE, letter)) == (MALFORMED, MALFORMED)
    assert row(OFFLINE, letter).source is None
    assert ADVICE[MALFORMED] in shown(dossier(OFFLINE, letter))


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (Record(told()), None),
        (Record(told(topic="off.chat.private")), None),
        (Record(told("unknown_action", "off.moderation.commands")), None),
        (Record(told(), value=b""), None),
        (Record(told(), key=None), None),
        (Record(told(topic="off.moderation.enforcement")), "topic"),
        (Record(told(topic="off.moderation.dead-letters")), "topic"),
        (Record(told(topic="chat.world")), "topic"),
        (Record(told(topic="")), "topic"),
        (Record(told(), value=None), "tombstone"),
        (Record(told(cut_from="1000000")), "cut"),
    ],
)
def test_only_whole_values_of_topics_we_read_can_be_sent_again(record: Record, why: str | None) -> None:
    letter = letter_of(record)
    assert refusal(OFFLINE, letter) == why
    assert why is None or REFUSALS[why] in shown(dossier(OFFLINE, letter))


def test_every_reason_has_its_advice() -> None:
    assert set(ADVICE) == {*DeadReason, MALFORMED}


# --- on a terminal


@given(st.binary(max_size=600) | st.text(max_size=200).map(str.encode))
def test_whatever_bytes_there_are_a_preview_is_short_and_harmless(raw: bytes) -> None:
    assert len(in_line(raw)) <= PREVIEW
    assert harmless(in_line(raw))
    assert harmless(in_full(raw))


def test_a_preview_tells_bytes_from_text_and_nothing_from_null() -> None:
    assert in_line("微信".encode()) == "微信"
    assert in_line("加QQ".encode("gbk")) == r"\xbc\xd3QQ"
    assert (in_line(b""), in_line(None)) == ("", "—")
    assert in_line(b"x" * PREVIEW) == "x" * PREVIEW
    assert in_line("信".encode() * (PREVIEW + 1)) == "信" * (PREVIEW - 1) + "…"


def test_text_in_full_ends_with_a_whole_character_and_other_bytes_are_hex() -> None:
    text = "x" + "信" * IN_FULL
    assert in_full(text.encode()) == text[: 1 + (IN_FULL - 1) // 3]
    assert in_full(b"a\xff\n") == "0000  61 ff 0a" + " " * 39 + "  a.."
    assert len(in_full(b"\xff" * (IN_FULL * 2)).splitlines()) == IN_FULL // 16
    assert in_full("信".encode()[:2], whole=False) == ""
    assert in_full("信".encode()[:2]).startswith("0000  e4 bf")


def test_nothing_of_a_letter_reaches_the_terminal_as_it_is() -> None:
    bad = HOSTILE.encode()
    headers = [*told(detail=HOSTILE, source_topic=HOSTILE), (HOSTILE, bad), ("other", b"\x9b2J")]
    letter = letter_of(Record(headers, bad, bad, timestamp=2**62))
    one = row(OFFLINE, letter)
    found = shown(dossier(OFFLINE, letter))
    rows = shown(listing(Listed(Counter([letter.reason]), [one])))
    for text in (found, rows):
        assert harmless(text)
        assert "⟨U+202E⟩QQ␛[2J⟨U+200B⟩[red]x[/]" in text
        assert str(2**62) in text
    assert all(harmless(text) for text in (one.detail, one.key, one.preview, one.source.topic if one.source else ""))


def test_a_letter_in_full_says_how_much_of_it_is_not_shown() -> None:
    cut = letter_of(Record(told(cut_from="2000000"), b"x" * 900_000))
    text = shown(dossier(OFFLINE, cut))
    assert {"900000", "2000000", str(IN_FULL)} <= set(re.findall(r"\d+", text))
    assert text.count("x") < IN_FULL + 100
    assert str(IN_FULL) not in shown(dossier(OFFLINE, letter_of(Record(told()))))


# --- what is typed


@pytest.mark.parametrize("text", ["", "3", "3:", ":17", "-1:0", "3:17:1", "３:１７", "3:1e3", "3: 17", "9" * 40 + ":1"])
def test_a_place_is_two_numbers(text: str) -> None:
    with pytest.raises(SettingsError):
        wanted([text])


@pytest.mark.parametrize("text", ["", "1", "h", "1w", "-1h", "1.5h", "1 h", "9999999d", "１h"])
def test_a_duration_is_a_number_and_a_unit(text: str) -> None:
    with pytest.raises(SettingsError):
        wanted(since=text)


def test_what_was_typed_is_what_is_wanted() -> None:
    now = time.time_ns() // 1_000_000
    which = wanted(["3:17", "0:0"], "not_json", "2h")
    assert which.places == {Place(3, 17), Place(0, 0)}
    assert which.since is not None
    assert 0 <= which.since - (now - 2 * HOUR_MS) < HOUR_MS
    assert wanted() == Wanted()
    assert wanted(reason=MALFORMED).reason == MALFORMED
    with pytest.raises(SettingsError, match="not_json"):
        wanted(reason="no-such-reason")


# --- with a broker


def online(pair: Embedded, partitions: int = 2) -> Settings:
    flags = {"kafka": pair.kafka, "topic_prefix": f"dead-{next(_runs)}.", "partitions": partitions}
    settings = Settings.load(flags, env_file=None)
    asyncio.run(create_topics(settings, pair.kafka))
    return settings


async def put(settings: Settings, *letters: Mapping[str, Any]) -> None:
    where = connection(settings, settings.kafka or "")
    async with AIOKafkaProducer(**where, max_request_size=1 << 21) as producer:
        for one in letters:
            await producer.send_and_wait(settings.topics.dead_letters, **({"partition": 0, "value": b"v"} | dict(one)))


async def lies(settings: Settings, topic: str) -> list[tuple[int, Any, Any, Any]]:
    """Return what lies in a topic now: partition, key, value, headers of each record."""
    out: list[tuple[int, Any, Any, Any]] = []
    async with AIOKafkaConsumer(**connection(settings, settings.kafka or "")) as consumer:
        places = [TopicPartition(topic, n) for n in range(settings.partitions)]
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        await consumer.seek_to_beginning()
        async with asyncio.timeout(20):
            while len(out) < sum(ends.values()):
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    out += [(r.partition, r.key, r.value, r.headers) for r in records]
    return out


@pytest.mark.servers
def test_letters_are_counted_by_reason_and_the_newest_come_first(embedded: Embedded) -> None:
    settings = online(embedded)
    now = time.time_ns() // 1_000_000
    world = settings.topics.world
    letters = [
        {"headers": told(reason, world), "timestamp_ms": now - ago * HOUR_MS, "partition": n % 2, "value": b"%d" % n}
        for n, (reason, ago) in enumerate([("not_json", 1), ("schema", 30), ("not_json", 5), ("not_json", 3)])
    ]
    asyncio.run(put(settings, *letters, {"timestamp_ms": now - 4 * HOUR_MS}))
    everything = asyncio.run(newest(settings, wanted(), 2))
    assert everything.counts == {"not_json": 3, "schema": 1, MALFORMED: 1}
    assert [(one.place, one.preview) for one in everything.newest] == [("0:0", "0"), ("1:1", "3")]
    assert everything.newest[0].source == Source(world, 3, 17)
    recent = asyncio.run(newest(settings, wanted(reason="not_json", since="4h"), 9))
    assert [one.preview for one in recent.newest] == ["0", "3"]
    assert recent.counts == {"not_json": 2}
    text = shown(listing(everything))
    assert ADVICE[DeadReason.NOT_JSON] in text
    assert ADVICE[DeadReason.TOO_DEEP] not in text
    assert msgspec.json.decode(msgspec.json.encode(recent.newest[0]))["place"] == "0:0"


@pytest.mark.servers
def test_a_topic_without_letters_is_read_at_once_and_one_that_is_not_there_is_named(embedded: Embedded) -> None:
    settings = online(embedded)
    assert asyncio.run(newest(settings, wanted(), 5)) == ({}, [])
    absent = Settings.load({"kafka": embedded.kafka, "topic_prefix": "dead-absent."}, env_file=None)
    for _ in range(2):  # asking did not create it
        with pytest.raises(SettingsError, match=r"dead-absent\.moderation\.dead-letters"):
            asyncio.run(newest(absent, wanted(), 5))


@pytest.mark.servers
def test_all_letters_of_a_batch_are_there_as_the_outbox_writes_them(embedded: Embedded) -> None:
    settings = online(embedded)

    async def batch() -> None:
        async with AIOKafkaProducer(**connection(settings, settings.kafka or "")) as producer:
            made = producer.create_batch()
            for n in range(9):
                made.append(timestamp=None, key=None, value=b"%d" % n, headers=told())
            await (await producer.send_batch(made, settings.topics.dead_letters, partition=1))

    asyncio.run(batch())
    assert [one.preview for one in asyncio.run(newest(settings, wanted(), 99)).newest] == list("876543210")
    last = asyncio.run(find(settings, Place(1, 8)))
    assert last is not None
    assert last.value == b"8"
    assert asyncio.run(find(settings, Place(1, 9))) is None


@pytest.mark.servers
def test_one_letter_is_found_by_its_place_with_every_byte(embedded: Embedded) -> None:
    settings = online(embedded)
    raw = bytes(range(256)) * 3000
    headers = told("not_utf8", settings.topics.world)
    asyncio.run(put(settings, {}, {"value": raw, "key": None, "headers": headers}, {}))
    letter = asyncio.run(find(settings, Place(0, 1)))
    assert letter is not None
    assert (letter.value, letter.key, list(letter.headers)) == (raw, None, headers)
    assert [asyncio.run(find(settings, Place(*at))) for at in ((0, 3), (1, 0), (7, 0))] == [None] * 3


@pytest.mark.servers
def test_a_preview_counts_and_sends_nothing(embedded: Embedded) -> None:
    settings = online(embedded)
    topics = settings.topics
    good = [{"headers": told("schema", topic), "key": b"k"} for topic in [topics.world] * 4 + [topics.commands]]
    bad: list[dict[str, Any]] = [
        {"headers": told("schema", topics.world, cut_from="1000000")},
        {"headers": told("schema", topics.acks)},
        {"headers": told("tombstone", topics.world), "key": b"k", "value": None},
        {},
    ]
    asyncio.run(put(settings, *good, *bad))
    done = asyncio.run(replay(settings, wanted(), send=False))
    assert done.good == {("schema", topics.world): 4, ("schema", topics.commands): 1}
    assert done.refused == {"cut": 1, "topic": 1, "tombstone": 1, MALFORMED: 1}
    assert ([one.place for one in done.samples], done.sent) == (["0:0", "0:1", "0:2"], 0)
    text = shown(replayed(done, send=False))
    assert all(word in text for word in (topics.commands, "--yes", *REFUSALS.values()))
    assert asyncio.run(lies(settings, topics.world)) == []


@pytest.mark.servers
def test_a_replay_sends_keys_and_bytes_as_they_came_in_order(embedded: Embedded) -> None:
    settings = online(embedded)
    topics = settings.topics
    raws = [b"\xff%d" % n for n in range(450)]  # more than one step
    chat = [{"headers": told("not_utf8", topics.world), "key": b"k", "value": raw, "partition": 1} for raw in raws]
    command = {"headers": told("unknown_action", topics.commands), "key": None, "value": b""}
    cut = {"headers": told("too_large", topics.world, cut_from="1000000"), "value": b"lost"}
    asyncio.run(put(settings, *chat, command, cut, {"value": b"unknown"}))
    done = asyncio.run(replay(settings, wanted(), send=True))
    assert (done.sent, done.missing) == (451, frozenset())
    sent = asyncio.run(lies(settings, topics.world))
    assert [(key, value) for _, key, value, _ in sent] == [(b"k", raw) for raw in raws]
    assert len({partition for partition, *_ in sent}) == 1
    assert [headers for *_, headers in sent] == [(("replayed-from", b"1:%d" % n),) for n in range(450)]
    [(_, key, value, headers)] = asyncio.run(lies(settings, topics.commands))
    assert (key, value, headers) == (None, b"", (("replayed-from", b"0:0"),))
    assert asyncio.run(lies(settings, topics.private)) == []
    assert "451" in shown(replayed(done, send=True))


@pytest.mark.servers
def test_only_what_was_named_is_sent_and_what_is_not_there_is_said(embedded: Embedded) -> None:
    settings = online(embedded)
    world = settings.topics.world
    reasons = ("schema", "not_json", "schema", "schema")
    asyncio.run(put(settings, *({"headers": told(reason, world), "key": b"k"} for reason in reasons)))
    which = wanted(["0:0", "0:1", "0:3", "0:9", "5:0"], reason="schema")
    done = asyncio.run(replay(settings, which, send=True))
    assert (done.sent, done.missing) == (2, frozenset({Place(0, 1), Place(0, 9), Place(5, 0)}))
    told_from = [dict(headers)["replayed-from"] for *_, headers in asyncio.run(lies(settings, world))]
    assert told_from == [b"0:0", b"0:3"]
    assert "0:1 0:9 5:0" in shown(replayed(done, send=True))


@pytest.mark.servers
def test_a_replay_that_breaks_off_says_how_far_it_came(embedded: Embedded) -> None:
    settings = online(embedded)
    good = {"headers": told("schema", settings.topics.world), "key": b"k"}
    asyncio.run(put(settings, *[good] * 300, {**good, "value": b"x" * 1_100_000}))
    with pytest.raises(Unreachable, match=r"MessageSizeTooLarge.* (\d+)") as stopped:
        asyncio.run(replay(settings, wanted(), send=True))
    least = int(re.findall(r"\d+", str(stopped.value))[-1])
    assert 200 <= least <= len(asyncio.run(lies(settings, settings.topics.world))) <= 300


def test_a_broker_that_is_away_is_said_and_not_waited_for() -> None:
    away = Settings.load({"kafka": "kafka://127.0.0.1:1"}, env_file=None)
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:1"):
        asyncio.run(newest(away, wanted(), 5))
    with pytest.raises(Unreachable):
        asyncio.run(replay(away, wanted(), send=True))
    with pytest.raises(SettingsError, match="QINGLIU_KAFKA"):
        asyncio.run(newest(OFFLINE, wanted(), 5))
