"""A hash chain over lines: who changes, drops, adds or moves one breaks it, and the break says where and how.

A line is `{"entry":E,"hash":H,"prev":P}`. E is a JSON object with its number `seq`, from 1. P is the hash of the line
before, START's for the first. H is SHA-256 over P and the SHA-256 of E's bytes as they stand: so a stretch of lines
can be proved without showing what is in them, by their digests alone. With a key a line carries `mac`, the
HMAC-SHA256 of H: the chain can be followed without the key, and not be made anew.

What no chain can show by itself: that its end was cut off, or that all of it was made anew without a key. For that a
head, the hash of a line, is kept where who may write the chain may not.
"""

from __future__ import annotations

import hmac
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated, Final, Literal, NamedTuple

import msgspec
from msgspec import Meta, Struct

from moderation.errors import QingliuError

if TYPE_CHECKING:
    from collections.abc import Mapping

FlawKind = Literal[
    "unreadable",  # no line of a chain
    "altered",  # its hash does not fit what it says
    "unsealed",  # its mac is missing or another key's
    "removed",  # lines before it are not there
    "moved",  # lines before it stand further on
    "inserted",  # its number was there before
    "remade",  # the line before it is another than the one it was made for
    "doubled",  # it tells of a record that was told of before
    "misplaced",  # it opens a segment that is not the next one
    "head",  # the head that was kept elsewhere is none of the chain's
    "base",  # the chain does not begin where it should
    "missing",  # Kafka has a record that the chain has not
    "invented",  # the chain has a record that Kafka has not
    "different",  # both have it, with other bytes
    "file",  # a file of a pack is not as its manifest says
]


class Head(Struct, frozen=True):
    """How far a chain reaches: the number and the hash (64 hex digits) of its last line."""

    seq: int
    hash: str


START: Final = Head(0, "0" * 64)


class Link(NamedTuple):
    """A line that was followed: the head it makes, its entry's bytes, and whether it carries a mac."""

    head: Head
    entry: bytes
    sealed: bool


class Broken(QingliuError):
    """A line does not fit the one before it. `expected` and `found` are numbers of lines, where they matter."""

    def __init__(self, kind: FlawKind, expected: int = 0, found: int = 0) -> None:
        super().__init__(f"{kind}: expected {expected}, found {found}" if expected else kind)
        self.kind: Final = kind
        self.expected: Final = expected
        self.found: Final = found


class _Line(Struct, forbid_unknown_fields=True):
    entry: msgspec.Raw
    hash: str
    prev: str
    mac: str | None = None


class _Number(Struct):
    seq: int


class _Digest(Struct, forbid_unknown_fields=True):
    digest: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


_lines: Final = msgspec.json.Decoder(_Line)
_numbers: Final = msgspec.json.Decoder(_Number)
_digests: Final = msgspec.json.Decoder(_Digest)


def seal(head: Head, entry: Mapping[str, object] | Struct, key: bytes | None = None) -> tuple[bytes, Head]:
    """Write the line (without line feed) that follows `head`, and return the head it makes.

    `entry` must carry `seq`, one more than the head's.
    """
    body = msgspec.json.encode(entry, order="sorted")
    hashed = link(head.hash, sha256(body).hexdigest())
    return _written(body, hashed, head.hash, _mac(key, hashed)), Head(head.seq + 1, hashed)


def follow(head: Head, line: bytes, key: bytes | None = None) -> Link:
    """Return what a line adds to the chain that reaches to `head`. Raises Broken. Without a key no mac is checked."""
    said, number = _read(line)
    hashed = link(said.prev, sha256(said.entry).hexdigest())
    if hashed != said.hash:
        raise Broken("altered")
    if key and said.mac is not None and not hmac.compare_digest(said.mac, _mac(key, hashed) or ""):
        raise Broken("unsealed")
    if number != head.seq + 1:
        raise Broken("removed" if number > head.seq else "inserted", head.seq + 1, number)
    if said.prev != head.hash:
        raise Broken("remade")
    return Link(Head(number, hashed), bytes(said.entry), said.mac is not None)


def before(line: bytes) -> Head:
    """Return the head that a line says it follows. Raises Broken where it is no line."""
    said, number = _read(line)
    return Head(number - 1, said.prev)


def withheld(line: bytes) -> bytes:
    """Return what stands in a proof for a line that is not shown. Raises Broken where it is no line."""
    return msgspec.json.encode(_Digest(sha256(_read(line)[0].entry).hexdigest()))


def skip(head: Head, line: bytes) -> Head | None:
    """Return the head after a line that `withheld` wrote; None where it is another line."""
    try:
        return Head(head.seq + 1, link(head.hash, _digests.decode(line).digest))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def link(prev: str, digest: str) -> str:
    """Return the hash of a line by the hash before it and the digest of its entry; both, as it, 64 hex digits."""
    return sha256(bytes.fromhex(prev) + bytes.fromhex(digest)).hexdigest()


def _read(line: bytes) -> tuple[_Line, int]:
    """Read a line that is exactly as `seal` writes it: so not one byte can differ unseen."""
    try:
        said = _lines.decode(line)
        number = _numbers.decode(said.entry).seq
        good = len(bytes.fromhex(said.prev)) == 32 and line == _written(said.entry, said.hash, said.prev, said.mac)
    except (msgspec.DecodeError, ValueError, RecursionError):  # UnicodeDecodeError is a ValueError
        good = False
    if not good:
        raise Broken("unreadable")
    return said, number


def _written(entry: bytes | msgspec.Raw, hashed: str, prev: str, mac: str | None) -> bytes:
    sealed = f',"mac":"{mac}"' if mac is not None else ""
    return b'{"entry":%b,"hash":"%b"%b,"prev":"%b"}' % (
        bytes(entry), hashed.encode(), sealed.encode(), prev.encode(),
    )  # fmt: skip


def _mac(key: bytes | None, hashed: str) -> str | None:
    return hmac.new(key, bytes.fromhex(hashed), sha256).hexdigest() if key else None
