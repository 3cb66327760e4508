"""The JSON Schemas of rule files: current, sound, and of one mind with the engine about shapes."""

from __future__ import annotations

import json
import re
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
from jsonschema import Draft7Validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from console import ruleschema
from moderation.rulefile import draft, kind
from tests.small_rules import layer
from tests.test_hostile_rules import DATA, INDEX, SMALL

RULES: Final = Path(__file__).parent.parent / "rules"
#: What is wrong with the shape of a file, whatever its words: a schema must see it.
SHAPES: Final = ("E101", "E102", "E104", "E108", "E109", "E207", "E402", "E403")
#: Within those, what only the engine can tell: lists where a schema takes null, and what YAML reads as other types.
BEYOND: Final = ("R17-typing-c-score", "R11-punishment-h-digits")


@cache
def schema(name: str) -> Any:
    return json.loads(ruleschema.documents()[f"{name}.schema.json"])


@cache
def validator(name: str) -> Draft7Validator:
    Draft7Validator.check_schema(schema(name))
    return Draft7Validator(schema(name))


def name_of(file: Path) -> str:
    return {"lexicons": "lexicon", "rules": "rules"}.get(kind(file.as_posix()), file.stem)


def loaded(path: Path) -> Any:
    """Read a file as an editor does; days are text to it."""
    return plain(YAML(typ="safe", pure=True).load(path))


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): plain(child) for key, child in value.items()}
    if isinstance(value, list):
        return [plain(child) for child in value]
    return f"{value:%Y-%m-%d}" if isinstance(value, date | datetime) else value


def test_the_committed_schemas_are_current() -> None:
    assert {path.name: path.read_text("utf-8") for path in (RULES / "schema").iterdir()} == ruleschema.documents()


@pytest.mark.parametrize("path", sorted(RULES.rglob("*.yaml")), ids=lambda path: path.relative_to(RULES).as_posix())
def test_a_shipped_file_names_its_schema_on_its_first_line_and_satisfies_it(path: Path) -> None:
    first = path.read_text("utf-8").partition("\n")[0]
    named = path.parent / first.removeprefix("# yaml-language-server: $schema=")
    assert named.resolve() == (RULES / "schema" / f"{name_of(path)}.schema.json").resolve()
    assert [f"{list(e.path)} {e.message:.200}" for e in validator(name_of(path)).iter_errors(loaded(path))] == []


def test_the_small_rule_set_satisfies_the_schemas(tmp_path: Path) -> None:
    for name, content in SMALL.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        assert list(validator(name_of(path)).iter_errors(loaded(path))) == [], name


def refused(directory: Path) -> bool:
    """Tell whether an editor would underline anything in a directory."""
    for path in directory.rglob("*.yaml"):
        try:
            if next(validator(name_of(path)).iter_errors(loaded(path)), None):
                return True
        except (YAMLError, UnicodeDecodeError, ValueError):
            return True
    return False


@pytest.mark.parametrize(
    "name",
    [one.name for one in INDEX if one.name not in BEYOND and any(p.partition(" ")[2] in SHAPES for p in one.problems)],
)
def test_an_attack_by_shape_is_refused_by_the_schema_too(name: str) -> None:
    assert refused(DATA / name)


@pytest.mark.parametrize(
    "name", [one.name for one in INDEX if one.harmless and one.name != "R12-lexicon-j-handle-digit-range"]
)
def test_what_the_engine_takes_the_schema_takes(name: str) -> None:
    assert not refused(DATA / name)


def test_every_field_is_explained_in_chinese() -> None:
    for name in ("rules", "lexicon", "policy", "game", "allowlist", "guards", "examples"):
        assert [path for path, node in described(schema(name)) if not han(node.get("description", ""))] == []


@pytest.mark.parametrize(
    ("text", "sound"),
    [
        ("a.b:\n  pass:\n    - 你好\n    - {text: 出金, level: 3, channel: world}\n", True),
        ("a.b: {hit: [出金], pass: [{messages: [出, 金], every: 5}]}\n", True),
        ("a.b: {}\n", True),
        ("a.b: {passes: [你好]}\n", False),
        ("a.b: [你好]\n", False),
        ("a.b: {pass: [{text: 你好, levl: 3}]}\n", False),
        ("- a.b\n", False),
    ],
)
def test_examples_are_checked_as_the_engine_reads_them(text: str, sound: bool, tmp_path: Path) -> None:
    (tmp_path / "examples.yaml").write_text(text, "utf-8")
    assert refused(tmp_path) is not sound
    site = {"examples.yaml": text.replace("a.b", "sell.contact").encode()}
    assert any(one.code in SHAPES for one in draft([layer(), site]).problems) is not sound


def described(node: Any, path: str = "") -> list[tuple[str, Any]]:
    """Return every property of a schema by its path."""
    if isinstance(node, list):
        return [found for child in node for found in described(child, path)]
    if not isinstance(node, dict):
        return []
    here = [(f"{path}/{name}", child) for name, child in node.get("properties", {}).items() if isinstance(child, dict)]
    return here + [found for name, child in node.items() for found in described(child, f"{path}/{name}")]


def han(text: str) -> bool:
    return any("\u4e00" <= char <= "\u9fff" for char in text)


def test_a_snippet_is_a_rule_that_only_wants_its_blanks_filled() -> None:
    [snippet] = schema("rules")["items"]["defaultSnippets"]
    body = json.dumps(snippet["body"])
    filled = json.loads(re.sub(r"\$\{\d+:([^}]*)\}", r"\1", body))
    assert list(validator("rules").iter_errors([filled])) == []
