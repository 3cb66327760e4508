"""Checking what was handed on of the audit log: an evidence pack, or the file of a campaign.

A pack proves that what it shows stood in the chain before its head; not that it shows all there was. Its manifest and
its summaries are no more than its maker's word: what counts are the chain and the records.
"""

from __future__ import annotations

import zipfile
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from console.audit import Flaw, flawed
from console.evidence import CHAIN, MANIFEST, Manifest, record_file
from moderation.audit import Opened, Recorded, entry_of
from moderation.chain import START, Broken, Head, before, follow, skip
from moderation.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

#: What a pack that somebody hands us may weigh, unpacked. Bytes.
MOST: Final = 2 * 2**30


class Checked(Struct, frozen=True, omit_defaults=True):
    """What was found of a pack or an exported file: entries shown, the head they hang on, what is wrong."""

    entries: int
    head: Head
    flaw: Flaw | None = None


_manifests: Final = msgspec.json.Decoder(Manifest)


def check_pack(path: Path, key: bytes | None = None, *, head: str = "") -> Checked:
    """Check a pack: its files by the manifest, its entries by the chain, its records by the entries.

    `head`: a hash kept elsewhere, which must be the chain's from the last entry shown on. Raises SettingsError.
    """
    files = _read(path)
    try:
        manifest = _manifests.decode(files.pop(MANIFEST, b""))
    except msgspec.DecodeError:
        return Checked(0, START, flawed("file", MANIFEST))
    listed = {file.name: file.sha256 for file in manifest.files}
    for name in sorted(listed.keys() | files.keys()):
        if sha256(files.get(name, b"")).hexdigest() != listed.get(name) or name not in files:
            return Checked(0, manifest.head, flawed("file", name))
    checked, entries = _proved(files.get(CHAIN, b"").split(b"\n")[:-1], key, head)
    if checked.flaw:
        return checked
    if checked.head != manifest.head or len(entries) != manifest.entries:
        return Checked(checked.entries, checked.head, flawed("head", CHAIN))
    for entry in entries:
        if entry.value is not None and files.get(record_file(entry)) != entry.value:
            return Checked(checked.entries, checked.head, flawed("different", record_file(entry)))
    return checked


def _read(path: Path) -> dict[str, bytes]:
    try:
        if path.is_dir():
            return {
                str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()
            }
        with zipfile.ZipFile(path) as pack:
            if sum(about.file_size for about in pack.infolist()) > MOST:
                raise SettingsError(f"{path}: more than {MOST >> 30} GiB unpacked")
            return {name: pack.read(name) for name in pack.namelist()}
    except (OSError, zipfile.BadZipFile) as exc:
        raise SettingsError(f"{path}: {exc}") from None


class _Proof:
    """Follows the lines of a proof: those shown, those withheld, and openings of segments that were passed over."""

    def __init__(self, key: bytes | None) -> None:
        self._key = key
        self.head, self._opened, self._alone, self.sealed = START, "", True, False
        self.entries: list[Recorded] = []
        self.hashes: set[str] = set()

    def step(self, line: bytes) -> None:
        """Follow one line. Raises Broken."""
        passed = skip(self.head, line) if self._opened else None
        if passed:
            self.head, self._alone = passed, False
        else:
            self._show(line)
        self.hashes.add(self.head.hash)

    def _show(self, line: bytes) -> None:
        said = before(line)
        passed_over = self._alone and said.seq > self.head.seq  # nothing more of the segment before it is here
        link = follow(said if passed_over else self.head, line, self._key)
        entry = entry_of(link.entry)
        if isinstance(entry, Opened):
            if self._opened and entry.opened != self._opened:
                raise Broken("misplaced")
            self._opened = link.head.hash
        elif passed_over:
            raise Broken("removed", self.head.seq + 1, link.head.seq)
        if self.sealed and not link.sealed:
            raise Broken("unsealed")
        self.head, self.sealed, self._alone = link.head, link.sealed, isinstance(entry, Opened)
        if isinstance(entry, Recorded):
            self.entries.append(entry)
            self.hashes.clear()


def _proved(lines: Sequence[bytes], key: bytes | None, head: str) -> tuple[Checked, list[Recorded]]:
    proof = _Proof(key)
    for number, line in enumerate(lines, 1):
        try:
            proof.step(line)
        except Broken as exc:
            return Checked(len(proof.entries), proof.head, flawed(exc.kind, CHAIN, number)), []
    flaw = flawed("head", CHAIN) if head and head not in proof.hashes else None
    flaw = flawed("unsealed", CHAIN, len(lines)) if key and not proof.sealed else flaw
    return Checked(len(proof.entries), proof.head, flaw), proof.entries


def check_file(path: Path, *, head: str = "") -> Checked:
    """Check a file that `qingliu campaigns export` wrote. Raises SettingsError where it cannot be read."""
    try:
        lines = path.read_bytes().removesuffix(b"\n").split(b"\n")
    except OSError as exc:
        raise SettingsError(f"{path}: {exc.strerror}") from None
    at, ended = START, False
    for number, line in enumerate(lines, 1):
        try:
            link = follow(at, line)
        except Broken as exc:
            return Checked(at.seq, at, flawed(exc.kind, path.name, number))
        at, ended = link.head, link.entry.startswith(b'{"kind":"end"')
    if not ended or (head and at.hash != head):
        return Checked(at.seq, at, flawed("head", path.name, len(lines)))
    return Checked(at.seq, at)
