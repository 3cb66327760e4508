"""A rule's status changed in the files it stands in: one word, and whom a canary is tried on; no more."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from console.words import say
from moderation.change import change
from moderation.document import Node, Problems
from moderation.errors import SettingsError
from moderation.rulefile import read
from moderation.yamlfile import parse

if TYPE_CHECKING:
    from moderation.rule import Canary, Status
    from streams.bundle import Layers


class Place(NamedTuple):
    """Where a rule stands: which layer, which file, the node of the rule."""

    layer: int
    file: str
    node: Node


def with_status(layers: Layers, rule: str, status: Status, canary: Canary | None = None) -> tuple[Layers, Place]:
    """Return the layers with a rule's status changed, and where. Raises SettingsError where that cannot be done."""
    place = _find(layers, rule)
    text = layers[place.layer][place.file].decode("utf-8-sig")
    edited = _edited(text.splitlines(keepends=True), place.node, status, canary)
    changed = ({**one, place.file: edited.encode()} if n == place.layer else one for n, one in enumerate(layers))
    out = tuple(changed)
    _check(layers, out, rule, status, place)
    return out, place


def _find(layers: Layers, rule: str) -> Place:
    """Return the place that counts: the last layer's."""
    problems = Problems()
    for number, layer in reversed(list(enumerate(layers))):
        for file, content in layer.items():
            node = parse(problems, file, content)
            for item in node.value if isinstance(node.value, list) else ():
                if isinstance(item.value, dict) and "id" in item.value and item.value["id"].value == rule:
                    return Place(number, file, item)
    raise SettingsError(say(f"没有规则 {rule}", f"there is no rule {rule}"))


def _edited(lines: list[str], rule: Node, status: str, canary: Canary | None) -> str:
    key, value = rule.keys["status"], rule.value["status"]
    line = lines[value.line - 1]
    old = value.value if value.plain else line[value.column - 1] + value.value + line[value.column - 1]
    after = line[value.column - 1 + len(old) :]
    lines[value.line - 1] = line[: value.column - 1] + status + after
    if canary is not None:
        _try_on(lines, rule, key, value.column - 1 + len(status), canary)
    return "".join(lines)


def _try_on(lines: list[str], rule: Node, key: Node, end: int, canary: Canary) -> None:
    """Write whom the canary is tried on: over what stands there, else beside the status."""
    written = f"canary: {_written(canary)}"
    if "canary" in rule.keys:
        at = rule.keys["canary"].line - 1
        lines[at] = re.sub(r"canary:\s*\{[^{}]*\}", lambda _: written, lines[at], count=1)
    elif rule.keys["id"].line == key.line:
        line = lines[key.line - 1]
        lines[key.line - 1] = f"{line[:end]}, {written}{line[end:]}"
    else:
        lines.insert(key.line, f"{' ' * (key.column - 1)}{written}\n")


def _written(canary: Canary) -> str:
    servers = ", ".join(f'"{name}"' for name in sorted(canary.servers))
    parts = [f"servers: [{servers}]"] * bool(servers) + [f"percent: {canary.percent}"] * bool(canary.percent)
    return "{" + ", ".join(parts) + "}"


def _check(old: Layers, new: Layers, rule: str, status: str, place: Place) -> None:
    """Read both, and see that the status is what was asked for and nothing else is other."""
    made = change(read(old), read(new))
    others = made.terms or made.other or any(one.id != rule for one in made.rules)
    fields = {field for one in made.rules for field in one.fields}
    now = next(one for one in read(new).rules if one.id == rule)
    if others or fields - {"status", "canary"} or now.status != status:
        where = f"{place.file}:{place.node.line}"
        raise SettingsError(say(f"{where} 的写法改不了，请手工改", f"{where} cannot be edited by machine: edit it"))
