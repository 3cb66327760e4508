"""The tests inside rule files: texts, or small scenes of several messages, that a rule must hit or let pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from moderation.events import ChatEvent
from moderation.rule import Example

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from moderation.document import Node, Problems

_START_MS: Final = 1_750_000_000_000
_SENDER: Final = {
    "level": "level", "vip": "vip", "age_days": "account_age_days", "recharge": "total_recharge", "name": "name",
    "guild": "guild", "guild_id": "guild_id", "signature": "signature", "from": "account_id",
}  # fmt: skip
_TO: Final = ("id", "level", "vip", "guild_id", "friend")
_MESSAGE: Final = ("text", "channel", "text_type", "server", "to", *_SENDER)
_SCENE: Final = (*_MESSAGE, "messages", "repeat", "every")


def read_examples(problems: Problems, rule: Node, node: Node | None) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """Read the hit and pass tests of a rule; each must have at least one."""
    entry = problems.mapping(node, ("hit", "pass"), ("hit", "pass")) if node else {}
    hits, passes = _both(problems, entry)
    if node and not (hits and passes):
        problems.problem(node or rule, "E212", "每条规则至少要有一个 hit 和一个 pass 测试")
    return hits, passes


def read_more_examples(problems: Problems, node: Node) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """Read hit and pass tests that stand outside their rule; either may be missing."""
    return _both(problems, problems.mapping(node, ("hit", "pass")))


def _both(problems: Problems, entry: Mapping[str, Node]) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    return tuple(_examples(problems, entry.get("hit"))), tuple(_examples(problems, entry.get("pass")))


def _examples(problems: Problems, node: Node | None) -> Iterator[Example]:
    for item in problems.items(node) if node else ():
        events = tuple(_scene(problems, item))
        if events:
            yield Example(events, item.line, item.file)


def _scene(problems: Problems, node: Node) -> Iterator[ChatEvent]:
    """Yield the messages of a scene: one text; or `messages`, each laid over the scene's own fields; `repeat` times."""
    scene = problems.mapping(node, _SCENE) if isinstance(node.value, dict) else {"text": node}
    gap_ms = problems.integer(scene.get("every"), 2, 0, 3600) * 1000
    repeat = problems.integer(scene.get("repeat"), 1, 1, 64)
    messages = problems.items(scene["messages"]) if "messages" in scene else [node]
    base = {k: v for k, v in scene.items() if k in _MESSAGE}
    for number in range(repeat * len(messages)):
        message = messages[number % len(messages)]
        own = {"text": message} if isinstance(message.value, str) else problems.mapping(message, _SCENE)
        event = _event(problems, message, {**base, **{k: v for k, v in own.items() if k in _MESSAGE}}, number, gap_ms)
        if event is not None:
            yield event


def _event(problems: Problems, node: Node, e: Mapping[str, Node], number: int, gap_ms: int) -> ChatEvent | None:
    def plain(key: str) -> str:
        return problems.text(e[key], most=2048).replace("{n}", str(number + 1))

    raw = {
        "event_id": f"t{number}",
        "ts": _START_MS + number * gap_ms,
        "server_id": plain("server") if "server" in e else "s1",
        "channel": plain("channel") if "channel" in e else "world",
        "text_type": plain("text_type") if "text_type" in e else "text",
        "text": plain("text") if "text" in e else "",
        "sender": {"account_id": "tester"} | {name: plain(key) for key, name in _SENDER.items() if key in e},
    }
    if "to" in e:
        raw["recipient"] = _recipient(problems, e["to"], number)
    try:
        return msgspec.convert(raw, ChatEvent, strict=False)
    except msgspec.ValidationError as exc:
        problems.problem(node, "E213", f"测试消息不对：{exc}")
        return None


def _recipient(problems: Problems, node: Node, number: int) -> dict[str, str]:
    names = {"id": "account_id", "friend": "is_friend"}
    to = problems.mapping(node, _TO)
    fields = {names.get(k, k): problems.text(v).replace("{n}", str(number + 1)) for k, v in to.items()}
    return {"account_id": "someone"} | fields
