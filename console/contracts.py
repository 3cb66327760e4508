"""The published contracts: one JSON Schema per payload, and an AsyncAPI 3 document of the topics. Both from the types.

The schemas are draft 2020-12, and say the same to a reader of draft-07, which AsyncAPI's tools are. Nothing here reads
a clock or the environment: the same types give the same bytes, so the committed files can be compared.
"""

from __future__ import annotations

import json
from inspect import cleandoc
from io import StringIO
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import LiteralScalarString

from moderation.actions import Ack, Action, Case, Command, Judgement
from moderation.appeal import Appeal
from moderation.errors import DeadReason
from moderation.events import MAX_DEPTH, MAX_RECORD_BYTES, ChatEvent
from moderation.notes import Note
from streams.settings import Topics

if TYPE_CHECKING:
    from pathlib import Path

ASYNCAPI: Final = "asyncapi.yaml"
#: Of the contract, not of the software: the first number changes when a consumer must change.
VERSION: Final = "1.0.0"

_BEYOND_SCHEMA: Final = (
    f"What a schema cannot say: a record is UTF-8 without byte order mark or half surrogate pairs, at most "
    f"{MAX_RECORD_BYTES} bytes and {MAX_DEPTH} levels deep, names no key of an object twice, and writes whole numbers "
    "without fraction or exponent (1790000000000, not 1.79e12)."
)
_COMMAND: Final = "What a human orders, or a player's appeal to one. `command` says which."
_NOTE: Final = (
    "What nothing else tells: somebody was shown what players said, or rules came into force. `note` says which."
)


class Contract(NamedTuple):
    """One payload: the name of its file, its type, and what its docstring leaves open."""

    name: str
    type: Any
    more: str = ""

    @property
    def file(self) -> str:
        """Return the name of its schema file."""
        return f"{self.name}.schema.json"


EVENT: Final = Contract("chat-event", ChatEvent, _BEYOND_SCHEMA)
ACTION: Final = Contract("action", Action)
CASE: Final = Contract("case", Case)
COMMAND: Final = Contract("command", Command, _COMMAND)
ACK: Final = Contract("ack", Ack)
JUDGEMENT: Final = Contract("judgement", Judgement)
APPEAL: Final = Contract("appeal", Appeal)
NOTE: Final = Contract("note", Note, _NOTE)
CONTRACTS: Final = (EVENT, ACTION, CASE, COMMAND, ACK, JUDGEMENT, APPEAL, NOTE)


def documents() -> dict[str, str]:
    """Return file name -> text of every published document, the same on every call."""
    made = {contract.file: json.dumps(schema(contract), ensure_ascii=False, indent=2) + "\n" for contract in CONTRACTS}
    return made | {ASYNCAPI: _yaml(asyncapi())}


def write(directory: Path) -> list[Path]:
    """Write every document into `directory`, made if it is not there; return their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in documents().items():
        (directory / name).write_text(text, encoding="utf-8", newline="\n")
    return [directory / name for name in documents()]


# --- JSON Schema


def schema(contract: Contract) -> dict[str, Any]:
    """Return the JSON Schema of one payload, with every type it needs in its own `$defs`."""
    made: dict[str, Any] = _portable(msgspec.json.schema(contract.type))
    defs = made.pop("$defs")
    if "$ref" in made:
        made = defs.pop(made["$ref"].rpartition("/")[2])
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:qingliu:contract:{contract.name}",
        "title": made.pop("title", contract.name.capitalize()),
        "description": " ".join(filter(None, (made.pop("description", ""), contract.more))),
    }
    return head | made | ({"$defs": defs} if defs else {})


def _portable(node: Any) -> Any:
    r"""Say the same in words that every draft and every language knows.

    A pair becomes an array of two. OpenAPI's `discriminator` goes: the tag is a required enum anyway. `$(?!\n)` becomes
    `$`: only in Python does that match before a last line break, and Go's validators know no lookahead.
    """
    if isinstance(node, list):
        return [_portable(child) for child in node]
    if not isinstance(node, dict):
        return node
    said = {word: _portable(value) for word, value in node.items() if word != "discriminator"}
    if "prefixItems" in said:
        said["items"], *others = said.pop("prefixItems")
        if any(other != said["items"] for other in others):
            raise ValueError("a tuple of different types has no portable schema")
    if isinstance(said.get("description"), str):  # not where a field has that name
        said["description"] = cleandoc(said["description"])
    if isinstance(said.get("pattern"), str):
        said["pattern"] = said["pattern"].replace(r"$(?!\n)", "$")
    return said


# --- AsyncAPI


class Channel(NamedTuple):
    """One topic as the document shows it: who may do what, seen from the game's side."""

    name: str
    address: str
    message: str
    action: str
    operation: str
    summary: str
    side: str = "game server"


class Message(NamedTuple):
    """What a topic carries; no contract = bytes as they came."""

    title: str
    key: str
    summary: str
    contract: Contract | None = None


_PARTITIONER: Final = (
    "Partitioned by murmur2, as Java's client does by itself; librdkafka needs partitioner=murmur2_random."
)
_INFO: Final = f"""\
What a game server says to Qingliu and hears from it, over Kafka. `send` and `receive` are the game server's.

Keys: a record's key is an account id in UTF-8.
{_PARTITIONER}
With another partitioner one player's world and private chat are judged on different workers, and what only shows in
both together goes unseen.

Topics: a deployment may put a prefix in front of every address.

Changes are additive: ignore fields that you do not know. Examples in six languages: docs/game-server.md.
"""


def _channels(topics: Topics) -> tuple[Channel, ...]:
    office = "back office"
    return (
        Channel("world", topics.world, "chatEvent", "send", "sayInPublic", "Publish chat of every channel but private"),
        Channel("private", topics.private, "chatEvent", "send", "sayInPrivate", "Publish private chat"),
        Channel("enforcement", topics.enforcement, "action", "receive", "enforce", "Apply actions, each id once"),
        Channel("acks", topics.acks, "ack", "send", "acknowledge", "Say what became of an action"),
        Channel(
            "deadLetters", topics.dead_letters, "deadLetter", "receive", "readDeadLetters", "See what was refused, why"
        ),
        Channel("commands", topics.commands, "command", "send", "command", "Order as a human", office),
        Channel("cases", topics.cases, "case", "receive", "review", "See what a human should look at", office),
        Channel(
            "appeals", topics.appeals, "appeal", "receive", "hearAppeals", "Tell players what was answered", office
        ),
        Channel(
            "audit", topics.audit, "note", "send", "note", "Put on record who looked at chat text, and why", office
        ),
    )


_MESSAGES: Final = {
    "chatEvent": Message("Chat event", "sender.account_id, byte for byte", "One chat message.", EVENT),
    "action": Message("Action", "target.account_id", "Mute, ban, or undo.", ACTION),
    "ack": Message("Ack", "account_id of the action's target", "What became of an action.", ACK),
    "deadLetter": Message(
        "Dead letter", "the original key, if there was one", "The original bytes, untouched; headers say what is wrong."
    ),
    "command": Message("Command", "account id of the player it is about, or what its type says", "An order.", COMMAND),
    "case": Message("Case", "event.sender.account_id", "What a human should see.", CASE),
    "appeal": Message("Appeal", "account_id of the player", "An appeal, each time it was opened or answered.", APPEAL),
    "note": Message("Note", "login of whoever did it", "Who looked at chat text; which rules came into force.", NOTE),
}


def asyncapi() -> dict[str, Any]:
    """Return the AsyncAPI document; payloads are references to the schema files beside it."""
    channels = _channels(Topics.under(""))
    return {
        "asyncapi": "3.0.0",
        "id": "urn:qingliu:contract",
        "info": {
            "title": "Qingliu 清流",
            "version": VERSION,
            "description": _INFO,
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {"kafka": _server()},
        "channels": {channel.name: _channel(channel) for channel in channels},
        "operations": {channel.operation: _operation(channel) for channel in channels},
        "components": {"messages": {name: _message(name, message) for name, message in _MESSAGES.items()}},
    }


def _server() -> dict[str, Any]:
    return {
        "host": "{broker}",
        "protocol": "kafka",
        "description": "Any broker of the cluster.",
        "variables": {"broker": {"default": "localhost:9092", "description": "host:port"}},
    }


def _channel(channel: Channel) -> dict[str, Any]:
    return {
        "address": channel.address,
        "description": channel.summary + ".",
        "messages": {channel.message: {"$ref": f"#/components/messages/{channel.message}"}},
    }


def _operation(channel: Channel) -> dict[str, Any]:
    return {
        "action": channel.action,
        "channel": {"$ref": f"#/channels/{channel.name}"},
        "summary": channel.summary + ".",
        "tags": [{"name": channel.side}],
        "messages": [{"$ref": f"#/channels/{channel.name}/messages/{channel.message}"}],
    }


def _message(name: str, message: Message) -> dict[str, Any]:
    key = {"type": "string", "description": f"{message.key}. {_PARTITIONER}"}
    made: dict[str, Any] = {"name": name, "title": message.title, "summary": message.summary}
    if message.contract:
        made["payload"] = {"$ref": f"./{message.contract.file}"}
    else:
        made |= {"contentType": "application/octet-stream", "headers": _dead_headers()}
    return made | {"bindings": {"kafka": {"key": key, "bindingVersion": "0.5.0"}}}


def _dead_headers() -> dict[str, Any]:
    number = {"type": "string", "pattern": "^[0-9]+$"}
    said = {
        "reason": {"type": "string", "enum": [str(reason) for reason in DeadReason]},
        "detail": {"type": "string", "description": "For people; may change, may be empty. Cut at 256 bytes."},
        "source-topic": {"type": "string", "description": "Where the record was read."},
        "source-partition": number | {"description": "Its partition, in decimal digits."},
        "source-offset": number | {"description": "Its offset, in decimal digits."},
        "ruleset": {"type": "string", "description": "Hash of the rules in force."},
    }
    cut = {"cut-from": number | {"description": "Only where the value was cut: how many bytes it had."}}
    return {"type": "object", "description": "UTF-8.", "properties": said | cut, "required": list(said)}


def _yaml(document: dict[str, Any]) -> str:
    writer = YAML()
    writer.indent(mapping=2, sequence=4, offset=2)
    writer.width = 4096  # no folding: it would leave spaces at line ends
    writer.representer.ignore_aliases = lambda *_: True
    out = StringIO()
    writer.dump(_blocks(document), out)
    return "# Generated: qingliu schema --write docs/contracts\n" + out.getvalue()


def _blocks(node: Any) -> Any:
    """Write text of several lines as a block."""
    if isinstance(node, dict):
        return {name: _blocks(child) for name, child in node.items()}
    return LiteralScalarString(node) if isinstance(node, str) and "\n" in node else node
