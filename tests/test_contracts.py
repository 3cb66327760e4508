"""The published contracts are current and well formed, our decoders do what they say, and the guide obeys them."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import jsonschema
import msgspec
import pytest
import re2
from aiokafka import AIOKafkaConsumer, TopicPartition, codec
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator, Draft202012Validator
from ruamel.yaml import YAML

from console.contracts import (
    ACK,
    ACTION,
    APPEAL,
    ASYNCAPI,
    CASE,
    COMMAND,
    CONTRACTS,
    EVENT,
    JUDGEMENT,
    documents,
    write,
)
from moderation.errors import DeadReason, EventError
from moderation.events import MAX_RECORD_BYTES, ChatEvent, Recipient, Sender, decode_event
from streams.embedded import Embedded
from streams.settings import Topics

ROOT: Final = Path(__file__).parent.parent
PUBLISHED: Final = ROOT / "docs" / "contracts"
GUIDE: Final = (ROOT / "docs" / "game-server.md").read_text("utf-8")
SCHEMAS: Final = {contract.name: json.loads(documents()[contract.file]) for contract in CONTRACTS}


def blocks(info: str) -> list[str]:
    return re.findall(rf"^```{info}\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)


def rows(after: str) -> list[list[str]]:
    """The table that follows a line of the guide, without its head, cells stripped."""
    table = GUIDE.partition(after)[2].partition("\n|")[2].partition("\n\n")[0]
    return [[cell.strip() for cell in line.strip("| ").split("|")] for line in table.splitlines()[2:]]


# --- published, and current


def test_the_committed_documents_are_the_generated_ones() -> None:
    committed = {path.name: path.read_text("utf-8") for path in PUBLISHED.iterdir()}
    assert committed == documents(), "run: make contracts"


def test_another_process_generates_the_same_bytes() -> None:
    code = "import json, console.contracts as c; print(json.dumps(c.documents()))"
    made = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": str(ROOT), "TZ": "Asia/Shanghai"},
        capture_output=True,
        check=True,
    )
    assert json.loads(made.stdout) == documents()


def test_writing_makes_the_directory_and_says_what_it_wrote(tmp_path: Path) -> None:
    paths = write(tmp_path / "new" / "contracts")
    assert {path.name: path.read_text("utf-8") for path in paths} == documents()


# --- JSON Schema


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda c: c.name)
def test_a_schema_is_valid_in_the_draft_it_names_and_in_the_one_asyncapi_reads(contract: Any) -> None:
    schema = SCHEMAS[contract.name]
    Draft202012Validator.check_schema(schema)
    Draft7Validator.check_schema(schema)
    assert schema["title"]
    assert schema["description"].endswith(".")
    assert "\n    " not in json.dumps(schema)


def patterns(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["pattern"]] if isinstance(node.get("pattern"), str) else []
        return own + [one for child in node.values() for one in patterns(child)]
    return [one for child in node for one in patterns(child)] if isinstance(node, list) else []


def test_every_pattern_can_be_read_by_validators_without_lookahead() -> None:
    found = {one for document in SCHEMAS.values() for one in patterns(document)}
    assert found
    assert all(re2.compile(one).search("10086001") for one in found)


def references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [ref for child in node.values() for ref in references(child)]
    return [ref for child in node for ref in references(child)] if isinstance(node, list) else []


def lookup(document: Any, pointer: str) -> Any:
    for step in pointer.removeprefix("#/").split("/"):
        document = document[step]
    return document


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda c: c.name)
def test_a_schema_needs_no_other_file_and_carries_nothing_unused(contract: Any) -> None:
    schema = SCHEMAS[contract.name]
    used = references(schema)
    assert all(ref.startswith("#/$defs/") and lookup(schema, ref) for ref in used)
    assert {ref.rpartition("/")[2] for ref in used} == set(schema.get("$defs", {}))


# --- schema and decoder agree


def _ecma_pattern(_: Any, pattern: str, value: Any, __: Any) -> Any:
    """JSON Schema's `$` is ECMA's: the very end. Python's also matches before a last line break."""
    if isinstance(value, str) and not re.search(pattern.replace("$", r"\Z"), value):
        yield jsonschema.ValidationError(f"{value!r} does not match {pattern!r}")


Validator: Final[Any] = jsonschema.validators.extend(  # type: ignore[no-untyped-call]  # its stubs leave it untyped
    Draft202012Validator, {"pattern": _ecma_pattern}
)
VALIDATORS: Final = {name: Validator(schema) for name, schema in SCHEMAS.items()}


def decodes(name: str, raw: bytes) -> bool:
    try:
        if name == EVENT.name:
            decode_event(raw, keyed=False)
        else:
            msgspec.json.decode(raw, type=next(c.type for c in CONTRACTS if c.name == name))
    except (EventError, msgspec.DecodeError):
        return False
    return True


def agree(name: str, value: Any) -> bool:
    """Whether schema and decoder accept `value`; they must not differ."""
    valid: bool = VALIDATORS[name].is_valid(value)
    assert decodes(name, json.dumps(value).encode()) == valid, f"{name}: the schema says {valid}: {value}"
    return valid


T0: Final = 1_790_000_000_000
SENDER: Final = {
    "account_id": "10086001", "role_id": "r1", "name": "一叶知秋", "level": 12, "vip": 0, "account_age_days": 0.5,
    "account_created_at": T0, "total_recharge": 6.5, "guild_id": "g77", "guild": "听雨阁", "guild_rank": "会长",
    "signature": "佛系", "device_id": "d1", "ip": "203.0.113.7",
}  # fmt: skip
FULL_EVENT: Final = {
    "event_id": "e1", "ts": T0, "server_id": "s1", "channel": "private", "sender": SENDER, "text": "加微信",
    "recipient": {"account_id": "2", "level": 88, "vip": 10, "guild_id": "g1", "is_friend": False},
    "text_type": "text", "client_msg_id": "c1", "game_id": "g", "lang": "zh", "client_version": "1.2",
    "channel_package": "p", "extra": {"zone": 3, "list": [1, None]},
}  # fmt: skip
HANDLE: Final = {"type": "wechat", "value": "abc123", "span": [0, 3], "field": "text", "obfuscated": True}
EVIDENCE: Final = {
    "who": {
        "account_id": "10086001",
        "role_id": "r1",
        "name": "一叶",
        "level": 1,
        "vip": 0,
        "guild": "g",
        "tier": "new",
    },
    "when": {"event": T0, "judged": T0 + 5},
    "where": {"server_id": "s1", "channel": "world", "recipient": "2", "game_id": "g"},
    "what": {"text": "加微信", "folded": "加微信", "spans": [[0, 3]], "handles": [HANDLE]},
    "why": {"label": "rmt", "score": 90.5, "because": ["线下交易"]},
    "how": {"ladder": "trade", "step": 2},
}
FULL_ACTION: Final = {
    "action_id": "a1", "action": "mute", "target": {"account_id": "1", "role_id": "r", "device_id": "d",
    "guild_id": "g", "message_ids": ["e1"]}, "scope": ["world", "private"], "duration_s": 600, "until": T0,
    "deliver_before": T0, "created_at": T0, "reason_code": "rmt.mute", "reason_text": "线下交易", "mode": "auto",
    "ruleset": "r1", "event_id": "e1", "label": "rmt", "score": 90, "visibility": "self_only",
    "source": {"topic": "chat.world", "partition": 3, "offset": 77}, "reverts": "a0",
    "rules": [{"id": "rmt.x", "revision": "1"}], "campaign_id": "c1", "evidence": EVIDENCE, "operator": "gm",
    "degraded": False, "extra": {"zone": 3},
}  # fmt: skip
LEAST_EVENT: Final = {field: FULL_EVENT[field] for field in SCHEMAS[EVENT.name]["required"]}
LEAST_ACTION: Final = {field: FULL_ACTION[field] for field in SCHEMAS[ACTION.name]["required"]}
FULL_JUDGEMENT: Final = {
    "event_id": "e1", "verdict": "act", "score": 90.5, "actions": [LEAST_ACTION], "handles": [HANDLE],
    "hits": [{"rule": "x", "revision": "1", "label": "rmt", "weight": 70, "because": "b", "span": [0, 1],
              "field": "window", "view": "plain", "status": "shadow"}],
    "label": "rmt", "campaign_id": "c1",
}  # fmt: skip
ORDER: Final = {"command_id": "c1", "operator": "gm-07", "reason": "误伤", "ts": T0}
OPENING: Final = {name: value for name, value in ORDER.items() if name != "reason"}
FULL: Final[list[tuple[str, dict[str, Any]]]] = [
    (EVENT.name, FULL_EVENT),
    (ACTION.name, FULL_ACTION),
    (JUDGEMENT.name, FULL_JUDGEMENT),
    (
        CASE.name,
        {
            "case_id": "k1", "event": LEAST_EVENT, "judgement": {**FULL_JUDGEMENT, "actions": []}, "why_human": "vip",
            "suggested": ["禁言 1小时"], "created_at": T0, "due_at": T0, "source": FULL_ACTION["source"],
        },
    ),
    (COMMAND.name, {"command": "mute", **ORDER, "target": {"account_id": "1"}, "duration_s": 60, "scope": ["world"]}),
    (COMMAND.name, {"command": "ban", **ORDER, "target": {"account_id": "1"}, "duration_s": None, "scope": "device"}),
    (COMMAND.name, {"command": "revert", **ORDER, "action_id": "a1", "account_id": "1"}),
    (COMMAND.name, {"command": "appeal", **OPENING, "action_id": "a1", "account_id": "1", "text": "冤枉"}),
    (
        COMMAND.name,
        {"command": "answer_appeal", **ORDER, "action_id": "a1", "account_id": "1", "granted": True, "reply": "抱歉"},
    ),
    (COMMAND.name, {"command": "mark_handle", **ORDER, "type": "qq", "value": "7381920465"}),
    (
        APPEAL.name,
        {
            "action_id": "a1", "account_id": "1", "command_id": "c1", "operator": "portal", "opened_at": T0,
            "first_due": T0, "final_due": T0, "state": "denied", "reply": "维持原处理", "text": "冤枉", "label": "rmt",
            "event_id": "e1", "rules": [{"id": "rmt.x", "revision": "1"}], "first": ORDER,
            "final": {**ORDER, "granted": False, "reply": "维持原处理"},
        },
    ),
    (ACK.name, {"action_id": "a1", "status": "applied", "ts": T0, "account_id": "1"}),
]  # fmt: skip

Path_ = tuple[str | int, ...]


def places(node: Any, at: Path_ = ()) -> list[Path_]:
    """Where every value of a document stands, the document itself first. `extra` is anyone's and not entered."""
    children: list[tuple[Any, Any]] = []
    if isinstance(node, dict) and at[-1:] != ("extra",):
        children = list(node.items())
    elif isinstance(node, list):
        children = list(enumerate(node))
    return [at, *(place for key, child in children for place in places(child, (*at, key)))]


def replaced(node: Any, at: Path_, value: Any) -> Any:
    if not at:
        return value
    copy = node.copy()
    copy[at[0]] = replaced(node[at[0]], at[1:], value)
    return copy


def without(node: Any, at: Path_) -> Any:
    copy = node.copy()
    if len(at) == 1:
        del copy[at[0]]
    else:
        copy[at[0]] = without(node[at[0]], at[1:])
    return copy


CASES: Final = [pytest.param(name, full, id=f"{name}-{full.get('command', '')}") for name, full in FULL]
#: Whole numbers are written 1.0 by nobody here: that is one of the things a schema cannot say.
HOSTILE: Final[list[Any]] = [
    None, True, False, 0, -1, 1, 7, 2**53, 2**53 + 1, 2**63, 10**30, 0.5, -0.5, 1e15 + 0.5, 946_684_799_999,
    946_684_800_000, 4_102_444_800_000, 4_102_444_800_001, 316_224_000, 316_224_001, 1_790_000_000, "", " ", "a", "007",
    "a b", "微信", "a\x00", "\r\nFLUSHALL", "*", "x" * 64, "x" * 65, "微" * 64, "微" * 65, "𠀀" * 64, "𠀀" * 65,
    "x" * 256, "x" * 257, "x" * 512, "x" * 513, "x" * 2048, "x" * 2049, "mute", "ban", "revert", "world", "World",
    "null", "1790000000000", [], {}, [1], [1, 2], [1, 2, 3], ["1", "2"], [None], ["world"], [{}],
    {"account_id": "1"}, {"account_id": 1}, {"a": {"b": 1}},
]  # fmt: skip


@pytest.mark.parametrize(("name", "full"), CASES)
def test_schema_and_decoder_agree_on_every_hostile_value_in_every_place(name: str, full: dict[str, Any]) -> None:
    assert agree(name, full)
    refused = sum(not agree(name, replaced(full, at, value)) for at in places(full) for value in HOSTILE)
    assert refused > len(HOSTILE)


@pytest.mark.parametrize(("name", "full"), CASES)
def test_schema_and_decoder_agree_on_every_missing_field(name: str, full: dict[str, Any]) -> None:
    needed = {at for at in places(full) if at and isinstance(at[-1], str) and not agree(name, without(full, at))}
    top = SCHEMAS[name].get("required") or [field for field in (*ORDER, "command") if field in full]
    assert {(field,) for field in top} <= needed


@pytest.mark.parametrize(("name", "full"), CASES)
def test_unknown_fields_are_ignored_everywhere(name: str, full: dict[str, Any]) -> None:
    for at in places(full):
        node = full if not at else lookup(full, "/".join(map(str, at))) if not _in_list(at) else None
        if isinstance(node, dict):
            assert agree(name, replaced(full, at, {**node, "from_the_future": 1}))


def _in_list(at: Path_) -> bool:
    return any(isinstance(step, int) for step in at)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False).filter(lambda f: not f.is_integer())
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=70).filter(lambda s: not s.endswith("\n")),
    lambda child: st.lists(child, max_size=3) | st.dictionaries(st.sampled_from(("account_id", "id", "x")), child),
    max_leaves=4,
)


@given(st.sampled_from(FULL), st.data())
def test_schema_and_decoder_agree_on_anything(case: tuple[str, dict[str, Any]], data: st.DataObject) -> None:
    name, value = case
    at = data.draw(st.sampled_from(places(value)))
    agree(name, replaced(value, at, data.draw(json_values)))


@pytest.mark.parametrize("field", ["event_id", "account_id"])
def test_schema_and_decoder_agree_that_no_id_ends_in_a_line_break(field: str) -> None:
    at: Path_ = ("sender", field) if field == "account_id" else (field,)
    assert not agree(EVENT.name, replaced(FULL_EVENT, at, "10086001\n"))


RAW: Final = json.dumps(FULL_EVENT)


@pytest.mark.parametrize(
    "raw",
    [
        RAW.replace(f'"ts": {T0}', '"ts": 1.79e12').encode(),
        RAW.replace(f'"ts": {T0}', f'"ts": {T0}.0').encode(),
        RAW.replace('"text": ', '"text": "x", "text": ').encode(),
        RAW.replace('{"zone": 3', '{"zone": ' + "[" * 8 + "]" * 8).encode(),
        RAW.replace('{"zone": 3', '{"zone": "' + "x" * MAX_RECORD_BYTES + '"').encode(),
        json.dumps(replaced(FULL_EVENT, ("text",), "\ud83d")).encode(),
        RAW.encode("utf-16"),
    ],
    ids=["exponent", "fraction", "twice", "deep", "large", "surrogate", "utf-16"],
)
def test_what_a_schema_cannot_say_stands_in_its_description(raw: bytes) -> None:
    assert VALIDATORS[EVENT.name].is_valid(json.loads(raw))
    assert not decodes(EVENT.name, raw)
    assert "What a schema cannot say" in SCHEMAS[EVENT.name]["description"]


# --- AsyncAPI


@pytest.fixture(scope="module")
def api() -> Any:
    return YAML(typ="safe").load(documents()[ASYNCAPI])


def test_every_reference_of_the_asyncapi_document_leads_somewhere(api: Any) -> None:
    found = references(api)
    assert len(found) > 20
    for ref in found:
        file, _, pointer = ref.partition("#")
        assert (PUBLISHED / file).is_file() if file else lookup(api, f"#{pointer}")


def test_the_asyncapi_document_has_what_version_3_demands(api: Any) -> None:
    assert api["asyncapi"] == "3.0.0"
    assert {"title", "version"} <= set(api["info"])
    assert all({"host", "protocol"} <= set(server) for server in api["servers"].values())
    for operation in api["operations"].values():
        assert operation["action"] in ("send", "receive")
        channel = operation["channel"]["$ref"]
        assert all(message["$ref"].startswith(f"{channel}/messages/") for message in operation["messages"])
    used = {op["channel"]["$ref"].rpartition("/")[2] for op in api["operations"].values()}
    assert used == set(api["channels"])


def test_every_topic_is_a_channel_and_no_other(api: Any) -> None:
    assert sorted(channel["address"] for channel in api["channels"].values()) == sorted(Topics.under(""))


def test_every_message_says_its_key_and_its_partitioner(api: Any) -> None:
    for message in api["components"]["messages"].values():
        said = message["bindings"]["kafka"]["key"]["description"]
        assert "murmur2" in said
        assert "partitioner=murmur2_random" in said


def test_dead_letters_carry_bytes_and_a_reason_from_the_closed_set(api: Any) -> None:
    letter = api["components"]["messages"]["deadLetter"]
    headers = Draft202012Validator(letter["headers"])
    good = {"reason": "schema", "detail": "", "source-topic": "chat.world", "source-partition": "3",
            "source-offset": "77", "ruleset": "r1"}  # fmt: skip
    assert headers.is_valid(good)
    assert headers.is_valid(good | {"cut-from": "950000"})
    assert not headers.is_valid(good | {"reason": "because"})
    assert not headers.is_valid(good | {"source-offset": "-1"})
    assert "payload" not in letter
    assert letter["contentType"] == "application/octet-stream"


# --- the guide


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda c: c.name)
def test_every_example_in_the_guide_obeys_its_schema_and_decodes(contract: Any) -> None:
    for block in blocks(f"json {contract.name}"):
        assert agree(contract.name, json.loads(block)), block
        assert decodes(contract.name, block.encode())


def test_every_json_example_in_the_guide_names_its_contract() -> None:
    named = set(re.findall(r"^```json ?(.*)$", GUIDE, re.MULTILINE))
    assert named == {EVENT.name, ACTION.name, ACK.name, COMMAND.name, APPEAL.name}


def test_the_guide_explains_every_field_of_an_event_and_no_other() -> None:
    nested = {"sender": Sender, "recipient": Recipient}
    fields = {field for field in ChatEvent.__struct_fields__ if field not in nested}
    fields |= {f"{name}.{field}" for name, struct in nested.items() for field in struct.__struct_fields__}
    table = {row[0].strip("`"): row[2] for row in rows("## Fields of an event")}
    assert set(table) == fields
    required = {*SCHEMAS[EVENT.name]["required"], "sender.account_id"} - {"sender"}
    assert {field for field, need in table.items() if need == "required"} == required


def test_the_guide_explains_every_reason_for_a_dead_letter_and_no_other() -> None:
    assert [row[0].strip("`") for row in rows("## Dead letters")] == [str(reason) for reason in DeadReason]


def test_the_guide_lists_every_topic_and_no_other() -> None:
    assert {row[0].strip("`") for row in rows("## Topics")} == set(Topics.under(""))


def test_the_guide_names_every_status_of_an_ack() -> None:
    status = SCHEMAS[ACK.name]["properties"]["status"]["enum"]
    assert all(f"`{one}`" in GUIDE or f'"{one}"' in GUIDE for one in status)


def test_the_partitions_in_the_guide_are_those_of_murmur2() -> None:
    twelve = list(range(12))
    table = rows("### Is my partitioner right?")
    assert len(table) >= 3
    for key, partition in table:
        assert DefaultPartitioner()(key.strip("`").encode(), twelve, twelve) == int(partition)


def test_the_guide_names_the_compressions_that_workers_can_read_and_no_other() -> None:
    [line] = re.findall(r"^Compression: (.*)\.$", GUIDE, re.MULTILINE)
    readable = {name for name in ("gzip", "snappy", "lz4", "zstd") if getattr(codec, f"has_{name}")()}
    assert set(re.findall(r"`(\w+)`", line)) == {"none", *readable}


def test_every_librdkafka_example_sets_the_partitioner() -> None:
    found = [
        block for info in ("python", "cpp", "sh") for block in blocks(info) if not re.search("aiokafka|applier", block)
    ]
    assert len(found) == 3
    assert all("murmur2_random" in block for block in found)


@pytest.mark.servers
def test_the_first_python_example_publishes_an_event_that_is_understood() -> None:
    async def story() -> None:
        async with Embedded() as pair:
            kafka = pair.kafka.removeprefix("kafka://")
            admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
            await admin.start()
            await admin.create_topics([NewTopic("chat.world", 12, 1)])
            await admin.close()
            script = await asyncio.create_subprocess_exec(
                sys.executable, "-c", blocks("python")[0], env={**os.environ, "KAFKA": kafka}
            )
            assert await script.wait() == 0
            async with AIOKafkaConsumer(bootstrap_servers=kafka) as consumer:
                there = TopicPartition("chat.world", 0)
                consumer.assign([there])
                await consumer.seek_to_beginning(there)
                record = await consumer.getone()
            assert decode_event(record.value, record.key).text == "今晚八点开团"

    asyncio.run(asyncio.wait_for(story(), 60))


def test_every_python_example_in_the_guide_compiles() -> None:
    assert len([compile(block, "docs/game-server.md", "exec") for block in blocks("python")]) == 3
