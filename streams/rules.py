"""Rule directories on disk, read as layers. What is in the files is for moderation.rulefile to say."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from moderation.errors import RuleProblem, RuleSetRejected
from moderation.rulefile import Layer, load
from moderation.yamlfile import MAX_BYTES
from streams import garbage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from moderation.ruleset import RuleSet

#: Far more than any game needs; a directory given by mistake ends here.
MOST_FILES: Final = 500


def load_rules(directories: Sequence[Path], *, plain: bool = False) -> RuleSet:
    """Read and compile the rules in `directories`, the shipped ones first. Raises RuleSetRejected with all problems."""
    with garbage.left():
        return load([read_layer(directory) for directory in directories], plain=plain)


def read_layer(directory: Path) -> Layer:
    """Read every regular *.yaml file below a directory; links that lead out of it are not followed."""
    try:
        if not directory.is_dir():
            raise _rejected(directory, "E901", "没有这个目录")
        files = sorted(_found(directory))
        if len(files) > MOST_FILES:
            raise _rejected(directory, "E902", f"有 {len(files)} 个文件，最多 {MOST_FILES} 个；是不是目录写错了？")
        return {str(path): _read(path, directory) for path in files}
    except OSError as exc:  # a rule that is passed over in silence is worse than no worker
        why = f"读不了：{exc.strerror}；文件要能读（chmod a+r），目录要能读能进（chmod a+rx）"
        raise _rejected(Path(exc.filename or directory), "E904", why) from exc


def _found(directory: Path) -> Iterator[Path]:
    def fail(exc: OSError) -> NoReturn:
        raise exc

    for place, folders, names in os.walk(directory, onerror=fail):
        folders[:] = [name for name in folders if not name.startswith(".")]
        seen = (*folders, *(name for name in names if not name.startswith(".")))
        yield from (Path(place, name) for name in seen if name.endswith(".yaml"))


def _read(path: Path, directory: Path) -> bytes:
    if not path.is_file() or not path.resolve().is_relative_to(directory.resolve()):
        raise _rejected(path, "E903", "不是普通文件，或指向目录之外")
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def _rejected(path: Path, code: str, message: str) -> RuleSetRejected:
    return RuleSetRejected((RuleProblem(str(path), 0, 0, code, message),))
