"""A rule set made beside a running loop: read in a process of its own, compiled in a thread, a piece at a time.

    layers ─▶ process: YAML to Contents ─▶ pieces ─▶ thread: Contents to RuleSet

Reading takes seconds and holds the interpreter's lock in Python code; a process holds only its own, and one that hangs
or grows without end is killed. Compiling must be here, since a process cannot share what it makes; no step of it keeps
the lock for long, but for making jieba's dictionary, which is therefore stocked beforehand, word by word.
What a published rule set costs the loop: `qingliu bench --only reload`, docs/rules-workflow.md.
"""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import struct
import sys
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from moderation import segment
from moderation.errors import RuleProblem, RuleSetRejected
from moderation.rulefile import read
from moderation.ruleset import RuleSet
from streams import garbage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from moderation.ruleset import Contents
    from streams.bundle import Layers

#: A rule set that takes longer to read is refused. Seconds; 50,000 terms take 5.
WITHIN_S: Final = 120.0
#: How far the process that reads stands back behind those that judge.
NICE: Final = 10
#: Terms sent and taken in at once: a few ms.
PIECE: Final = 2_000
_LENGTH: Final = struct.Struct(">I")


async def compiled(layers: Layers, within_s: float = WITHIN_S) -> RuleSet:
    """Read and compile layers while the loop goes on. Raises RuleSetRejected with every problem found."""
    stocked = asyncio.create_task(asyncio.to_thread(_stock))  # 0.5 s, whatever the layers say
    try:
        read = await _read_apart(layers, within_s)
    finally:
        await stocked
    return await asyncio.to_thread(_compile, read)


def _stock() -> None:
    """Have a tokenizer made; of layers that are refused it stays for the next ones."""
    segment.stock(_dictionary())


async def _read_apart(layers: Layers, within_s: float) -> bytes:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        __name__,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for us: we end it
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(msgspec.msgpack.encode(layers)), within_s)
    except TimeoutError:
        raise _refused(f"{within_s:.0f} 秒还没有读完，太大了？") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise _refused(f"读规则的进程退出（{process.returncode}）：{err[-300:].decode(errors='replace')}")
    return out


def _compile(read: bytes) -> RuleSet:
    first, *pieces = _frames(read)
    if isinstance(first, tuple):
        raise RuleSetRejected(first)
    with garbage.left():
        rules = RuleSet(msgspec.structs.replace(first, terms=tuple(chain.from_iterable(pieces))))
        gc.freeze()  # a rule set holds no cycles: it goes when the last reference does
    return rules


def _dictionary() -> str:
    """Read jieba's dictionary without importing jieba, which stalls for 0.2 s.

    At once: a thread that lets go of the lock at every line takes it again before the loop can.
    """
    package = find_spec("jieba")
    if package is None or package.origin is None:  # it is one of our dependencies
        raise ModuleNotFoundError("jieba")
    return (Path(package.origin).parent / "dict.txt").read_text("utf-8")


def _frames(stream: bytes) -> Iterator[Any]:
    at = 0
    while at < len(stream):
        (length,) = _LENGTH.unpack_from(stream, at)
        at += _LENGTH.size
        yield pickle.loads(stream[at : at + length])  # noqa: S301  our own process wrote it, from files we read as text
        at += length


def _refused(why: str) -> RuleSetRejected:
    return RuleSetRejected((RuleProblem("", 0, 0, "E906", why),))


# What the process does.


def _answer(layers: Sequence[dict[str, bytes]]) -> Iterator[object]:
    try:
        contents = read(layers)
    except RuleSetRejected as exc:
        yield exc.problems
        return
    yield from _pieces(contents)


def _pieces(contents: Contents) -> Iterator[object]:
    yield msgspec.structs.replace(contents, terms=())
    for first in range(0, len(contents.terms), PIECE):
        yield contents.terms[first : first + PIECE]


def main() -> None:
    """Read layers from stdin; write the contents, or what is wrong with them, to stdout."""
    os.nice(NICE)
    layers = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=list[dict[str, bytes]])
    with garbage.left():
        for value in _answer(layers):
            frame = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
            sys.stdout.buffer.write(_LENGTH.pack(len(frame)) + frame)


if __name__ == "__main__":
    main()
