"""A bundle: the files of a rule set, layer by layer, as the canonical bytes that its digest names."""

from __future__ import annotations

import zlib
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

import msgspec

from moderation.errors import RuleProblem, RuleSetRejected
from streams.rules import read_layer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

#: Files of a rule set by name, the shipped layer first.
Layers = tuple[dict[str, bytes], ...]

#: A bundle that says it is larger is not read: 500 files of a MiB are far more than any game needs.
MOST_BYTES: Final = 64 << 20
_layers: Final = msgspec.msgpack.Decoder(tuple[dict[str, bytes], ...])


class Broken(RuleSetRejected):
    """The bytes are not the ones that the digest names."""

    def __init__(self, digest: str, why: str) -> None:
        super().__init__((RuleProblem(f"bundle {digest}", 0, 0, "E905", f"发布的规则文件读不出来：{why}"),))


def gather(directories: Sequence[Path]) -> Layers:
    """Read directories as layers; names are relative to the directory's parent, the same on every machine."""
    return tuple(_named(directory, read_layer(directory)) for directory in directories)


def _named(directory: Path, layer: Mapping[str, bytes]) -> dict[str, bytes]:
    whole = directory.resolve()
    below = len(str(directory)) if str(directory) != "." else 0
    return {f"{whole.name}/{path[below:].lstrip('/')}": content for path, content in layer.items()}


def canonical(layers: Layers) -> bytes:
    """Return the bytes that stand for these files: the same for the same names and contents."""
    return msgspec.msgpack.encode([dict(sorted(layer.items())) for layer in layers])


def digest(layers: Layers) -> str:
    """Name the files: 32 hex digits over their canonical bytes."""
    return blake2b(canonical(layers), digest_size=16).hexdigest()


def pack(layers: Layers) -> bytes:
    """Compress the files for the store."""
    return zlib.compress(canonical(layers), 6)


def unpack(packed: bytes, wanted: str) -> Layers:
    """Return the files that `wanted` names. Raises Broken where these are others, or none at all."""
    try:
        inflate = zlib.decompressobj()
        raw = inflate.decompress(packed, MOST_BYTES)
        if inflate.unconsumed_tail or not inflate.eof:
            raise Broken(wanted, "太大或不完整")
        layers = _layers.decode(raw)
    except (zlib.error, msgspec.DecodeError) as exc:
        raise Broken(wanted, str(exc)) from exc
    if digest(layers) != wanted:
        raise Broken(wanted, "内容和编号对不上")
    return layers
