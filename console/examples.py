"""Granted appeals as tests: what a player said and was wrongly punished for is a `pass` example of the rules that hit.

They go into `examples.yaml` of a layer of rules (see moderation/rulefile.py), so that shipped rules get tests of yours.
Until the rule is mended its test fails: that is what it is for. `revision` does not change with tests.
"""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING, Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from console.show import token
from console.words import say
from moderation.errors import SettingsError
from moderation.rulefile import EXAMPLES, read
from streams.rules import read_layer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from console.appeals import Filed
    from moderation.actions import Evidence

_HEAD: Final = "# 申诉通过的原话：这些规则以后要放行。由 qingliu appeals examples --write 写入，可以手改。\n"
Example = dict[str, Any]


def examples(granted: Iterable[Filed], rules: Iterable[str]) -> dict[str, list[Example]]:
    """Return rule -> what it must let pass, the last granted first; of rules that are not among `rules`, nothing."""
    known, found = set(rules), dict[str, list[Example]]()
    for appeal, action in granted:
        if action and action.evidence:
            example = _example(action.evidence)
            for rule in appeal.rules:
                if rule.id in known and example not in found.setdefault(rule.id, []):
                    found[rule.id].append(example)
    return {rule: found[rule] for rule in sorted(found)}


def _example(evidence: Evidence) -> Example:
    """Write a message down as rule files do: what was said, where, and what rules ask about who said it."""
    who, where, what = evidence.who, evidence.where, evidence.what
    said: Example = {"text": what.text, "channel": where.channel, "level": who.level, "vip": who.vip}
    if where.recipient:
        said["to"] = {"id": where.recipient}
    if not what.spans:  # it was no word of the message: then a name or a guild's
        said |= {"name": who.name, "guild": who.guild}
    return {name: value for name, value in said.items() if value is not None}


def text(found: dict[str, list[Example]]) -> str:
    """Write examples as the file they would be."""
    return _dumped(_added(CommentedMap(), found))


def new(found: dict[str, list[Example]], directory: Path) -> dict[str, list[Example]]:
    """Return those that the directory's file has not. Raises SettingsError where that cannot be read."""
    there = _there(directory)
    left = {rule: [one for one in told if one not in _passing(there, rule)] for rule, told in found.items()}
    return {rule: told for rule, told in left.items() if told}


def write(found: dict[str, list[Example]], directory: Path, layers: Sequence[Path]) -> Path:
    """Add examples to the directory's file, if the rules in `layers` and it can be read then.

    What a moderator wrote there stays as it is. Raises RuleSetRejected, SettingsError; then nothing was written.
    """
    file = directory / EXAMPLES
    there = _there(directory)
    before = file.read_text("utf-8") if file.is_file() else ""
    written = _dumped(_added(there, found), before)
    below = [read_layer(one) for one in layers if one.resolve() != directory.resolve()]
    own = read_layer(directory) if directory.is_dir() else {}
    read([*below, {**own, str(file): written.encode()}])
    try:
        directory.mkdir(parents=True, exist_ok=True)
        beside = file.with_suffix(".new")
        beside.write_text(written, "utf-8")
        beside.replace(file)
    except OSError as exc:
        raise SettingsError(f"--write {file}: {exc.strerror}") from None
    return file


def _there(directory: Path) -> CommentedMap:
    file = directory / EXAMPLES
    try:
        found = _yaml().load(file.read_text("utf-8")) if file.is_file() else CommentedMap()
    except (OSError, UnicodeDecodeError, YAMLError) as exc:
        raise SettingsError(say(f"{file} 读不了：{exc}", f"{file} cannot be read: {exc}")) from None
    if not isinstance(found, CommentedMap) or not all(map(_is_tests, found.values())):
        raise SettingsError(say(f"{file} 不是「规则: {{pass: […]}}」", f"{file} is no mapping of rules to their tests"))
    return found


def _is_tests(node: Any) -> bool:
    return isinstance(node, CommentedMap) and isinstance(node.get("pass") or [], list)


def _passing(there: CommentedMap, rule: str) -> list[Any]:
    """Return what a rule must let pass already, a bare text written out as what it stands for."""
    told = there.get(rule, {}).get("pass") or []
    return [one if isinstance(one, dict) else {"text": str(one), "channel": "world"} for one in told]


def _added(there: CommentedMap, found: dict[str, list[Example]]) -> CommentedMap:
    for rule, told in found.items():
        tests = there.setdefault(rule, CommentedMap())
        tests["pass"] = tests.get("pass") or []
        tests["pass"].extend(map(_quoted, told))
    return there


def _quoted(example: Example) -> CommentedMap:
    """Quote what players wrote: then invisible characters are escapes, and nothing is taken for YAML."""
    out = CommentedMap((name, DoubleQuotedScalarString(v) if isinstance(v, str) else v) for name, v in example.items())
    out.fa.set_flow_style()
    return out


def _dumped(found: CommentedMap, before: str = "") -> str:
    out = StringIO()
    _yaml().dump(found, out)
    old = set(before.splitlines())
    written = "".join(
        one if one.rstrip("\n") in old else _escaped(one) for one in out.getvalue().splitlines(keepends=True)
    )
    return written if before else _HEAD + written


def _escaped(line: str) -> str:
    """Write what nobody sees as the escapes it has between double quotes."""
    return "".join(c if c == "\n" or not token(c) else f"\\U{ord(c):08x}" for c in line)


def _yaml() -> YAML:
    made = YAML()
    made.indent(mapping=2, sequence=4, offset=2)
    made.width = 1 << 20  # a message on one line, however long
    made.allow_unicode = True
    return made
