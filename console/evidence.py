"""An evidence pack: what the audit log tells of an account, a campaign or a time, with the proof that it is from there.

    chain.jsonl     the entries, whole; of those between them only digests, up to the head of the chain
    records/        each record as Kafka had it, byte for byte, by the number of its entry
    campaign.jsonl  what the ledger knows of the campaign, a chain of its own
    summary.html    the same to read; summary.txt without pictures
    manifest.json   who made it and why, the head of the chain, the SHA-256 of each file

The proof: a line that is not shown stands in it by its digest; a segment that holds nothing of it, by the line that
opened it, which carries the hash of the line that opened the one before. So all entries hang on one hash, the head.
"""

from __future__ import annotations

import os
import time
import zipfile
from collections import Counter
from hashlib import sha256
from itertools import groupby
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
from msgspec import Struct

from console.audit import Step, Walk
from console.campaigns import exported, find
from console.notes import login, viewed
from console.show_evidence import summary_html, summary_text
from moderation.audit import Recorded, Wanted
from moderation.chain import START, Head, withheld
from moderation.errors import SettingsError
from streams.auditor import key_of
from streams.journal import segments

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from streams.settings import Settings

MANIFEST: Final = "manifest.json"
CHAIN: Final = "chain.jsonl"


class File(Struct, frozen=True):
    """A file of a pack."""

    name: str
    size: int
    sha256: str


class Manifest(Struct, frozen=True):
    """What a pack is about, who made it when (ms) and why, the head its entries hang on, and its files."""

    about: Wanted
    made_at: int
    operator: str
    login: str
    reason: str
    entries: int
    head: Head
    files: tuple[File, ...]


class Chosen(NamedTuple):
    """The entries of a pack, the lines that prove them, and the head these lead to."""

    entries: list[Recorded]
    proof: list[bytes]
    head: Head


def choose(directory: Path, about: Wanted, key: bytes | None = None) -> Chosen:
    """Return what a log tells of somebody, with its proof. Reads the log twice. Raises Flawed, SettingsError."""
    paths, names = segments(directory), set[str]()
    for step in Walk(key).steps(paths):
        if isinstance(step.entry, Recorded) and about.about(step.entry):
            names |= about.names(step.entry.told)
    found, walk = Chosen([], [], START), Walk(key)
    for path, steps in groupby(walk.steps(paths), key=lambda step: step.path):
        _choose(found, list(steps), about, names, last=path == paths[-1])
    return found._replace(head=walk.head)


def _choose(found: Chosen, steps: Sequence[Step], about: Wanted, names: set[str], *, last: bool) -> None:
    """Add what one segment has, and its part of the proof."""
    picked = {step.number for step in steps if _belongs(step, about, names)}
    found.entries.extend(step.entry for step in steps if step.number in picked and isinstance(step.entry, Recorded))
    if picked or last:
        shown = picked | {1}
        found.proof.extend(step.line if step.number in shown else withheld(step.line) for step in steps)
    elif found.entries:
        found.proof.append(steps[0].line)


def _belongs(step: Step, about: Wanted, names: set[str]) -> bool:
    entry = step.entry
    return isinstance(entry, Recorded) and (about.about(entry) or not names.isdisjoint(entry.told.ids))


# --- making one


def files_of(chosen: Chosen, about: Wanted, campaign: Sequence[bytes] = ()) -> Iterator[tuple[str, bytes]]:
    """Yield the files of a pack but its manifest, name and bytes."""
    yield CHAIN, _lines(chosen.proof)
    for entry in chosen.entries:
        if entry.value is not None:
            yield record_file(entry), entry.value
    if campaign:
        yield "campaign.jsonl", _lines(campaign)
    yield "summary.html", summary_html(chosen.entries, about, chosen.head)
    yield "summary.txt", summary_text(chosen.entries, about, chosen.head)


def _lines(lines: Iterable[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)


def record_file(entry: Recorded) -> str:
    """Return the name of the file that holds an entry's record."""
    return f"records/{entry.seq:09}.json"


def manifest_of(chosen: Chosen, about: Wanted, by: Sequence[str], made_at: int, files: Mapping[str, bytes]) -> Manifest:
    """Return the manifest of a pack; `by`: operator, login, reason."""
    operator, login, reason = by
    listed = tuple(File(name, len(data), sha256(data).hexdigest()) for name, data in files.items())
    return Manifest(about, made_at, operator, login, reason, len(chosen.entries), chosen.head, listed)


def write(out: Path, files: Mapping[str, bytes], manifest: Manifest) -> str:
    """Write a pack, a directory or, where the name ends in .zip, one file, for its owner alone.

    Returns the SHA-256 of its manifest. Raises SettingsError where it is there already or cannot be written.
    """
    told = msgspec.json.format(msgspec.json.encode(manifest))
    everything = {**files, MANIFEST: told}
    try:
        (_zipped if out.suffix == ".zip" else _unpacked)(out, everything)
    except OSError as exc:
        raise SettingsError(f"{out}: {exc.strerror}") from None
    return sha256(told).hexdigest()


def _zipped(out: Path, files: Mapping[str, bytes]) -> None:
    with (
        os.fdopen(os.open(out, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "w+b") as file,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as pack,
    ):
        for name, data in files.items():
            about = zipfile.ZipInfo(name)  # its time is 1980: the manifest says when it was made
            about.external_attr, about.compress_type = 0o600 << 16, zipfile.ZIP_DEFLATED
            pack.writestr(about, data)


def _unpacked(out: Path, files: Mapping[str, bytes]) -> None:
    out.mkdir(mode=0o700)
    (out / "records").mkdir(mode=0o700)
    for name, data in files.items():
        with os.fdopen(os.open(out / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)


# --- the whole of it


class Exported(Struct, frozen=True):
    """What was written, or would be: entries of which kinds, under which head; `manifest` is the hash of that file."""

    entries: int
    kinds: dict[str, int]
    head: Head
    out: str
    manifest: str = ""


async def carry_out(
    settings: Settings, directory: Path, out: Path, about: Wanted, *, operator: str | None, why: str, dry_run: bool
) -> Exported:
    """Write a pack, on record before it is written; where there is nothing to write, or `dry_run`, only count.

    The campaign's file is in it where a ledger is set and knows it. Raises Flawed of a broken log,
    SettingsError, StoreUnavailable, Unreachable.
    """
    chosen = choose(directory, about, key_of(settings))
    kinds = dict(Counter[str](entry.told.kind for entry in chosen.entries))
    if dry_run or not chosen.entries:
        return Exported(len(chosen.entries), kinds, chosen.head, str(out))
    named = tuple(f"{name}={value}" for name, value in msgspec.to_builtins(about).items() if value is not None)
    await viewed(settings, "audit export", named, operator=operator, why=why)
    files = dict(files_of(chosen, about, await _campaign(settings, about)))
    by = operator or login(), login(), why
    manifest = manifest_of(chosen, about, by, time.time_ns() // 1_000_000, files)
    return Exported(len(chosen.entries), kinds, chosen.head, str(out), write(out, files, manifest))


async def _campaign(settings: Settings, about: Wanted) -> list[bytes]:
    one = await find(settings, about.campaign_id) if settings.redis and about.campaign_id else None
    return exported(one)[0] if one else []
