"""Rule directories on disk, read as layers. What is in the files is for moderation.rulefile to say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from moderation.document import MAX_BYTES
from moderation.errors import RuleProblem, RuleSetRejected
from moderation.rulefile import Layer, load

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from moderation.ruleset import RuleSet

#: Far more than any game needs; a directory given by mistake ends here.
MOST_FILES: Final = 500


def load_rules(directories: Sequence[Path], *, plain: bool = False) -> RuleSet:
    """Read and compile the rules in `directories`, the shipped ones first. Raises RuleSetRejected with all problems."""
    return load([read_layer(directory) for directory in directories], plain=plain)


def read_layer(directory: Path) -> Layer:
    """Read every regular *.yaml file below a directory; links that lead out of it are not followed."""
    if not directory.is_dir():
        raise _rejected(directory, "E901", "没有这个目录")
    files = sorted(p for p in directory.rglob("*.yaml") if not _hidden(p, directory))
    if len(files) > MOST_FILES:
        raise _rejected(directory, "E902", f"有 {len(files)} 个文件，最多 {MOST_FILES} 个；是不是目录写错了？")
    return {str(path): _read(path, directory) for path in files}


def _read(path: Path, directory: Path) -> bytes:
    if not path.is_file() or not path.resolve().is_relative_to(directory.resolve()):
        raise _rejected(path, "E903", "不是普通文件，或指向目录之外")
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as exc:
        raise _rejected(path, "E904", f"读不了：{exc.strerror}") from exc


def _hidden(path: Path, directory: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(directory).parts)


def _rejected(path: Path, code: str, message: str) -> RuleSetRejected:
    return RuleSetRejected((RuleProblem(str(path), 0, 0, code, message),))
