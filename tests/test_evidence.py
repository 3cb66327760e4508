"""Evidence packs: what they show was in the chain, what is changed in them is found, and reading them harms nobody."""

from __future__ import annotations

import io
import json
import re
import shutil
import stat
import zipfile
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from console.audit import head_of, verify
from console.evidence import CHAIN, MANIFEST, Chosen, choose, files_of, manifest_of, write
from console.proof import check_pack
from console.show import token
from moderation.audit import Wanted
from moderation.chain import Head, seal
from moderation.errors import SettingsError
from streams.journal import Journal
from tests.audit_records import ROLES, SPAM, TOPICS, Record, records, written
from tests.small_rules import TS

if TYPE_CHECKING:
    from pathlib import Path

KEY: Final = b"sixteen or more bytes"
ABOUT: Final = Wanted(account_id="a1")
BY: Final = ("gm", "gm@desk", "法务")


def noise(start: int, count: int) -> list[Record]:
    """Return acks of other players, enough to fill segments."""
    value = b'{"action_id":"x","status":"applied","ts":1790000000000,"account_id":"b"}'
    return [Record(TOPICS.acks, 7, start + number, b"b", value) for number in range(count)]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a log of many segments, a few of which tell of a1."""
    where = tmp_path_factory.mktemp("evidence") / "log"
    first, *later = records(written())
    with Journal(where, "c", ROLES, KEY, now_ms=lambda: TS, segment_bytes=6_000) as journal:
        journal.add([first, *noise(0, 40), *later[:3], *noise(40, 60), *later[3:], *noise(100, 30)])
    return where


@pytest.fixture(scope="module")
def pack(log: Path) -> Path:
    out = log.parent / "pack"
    made(log, out)
    return out


def made(log: Path, out: Path, about: Wanted = ABOUT) -> Chosen:
    chosen = choose(log, about, KEY)
    files = dict(files_of(chosen, about))
    write(out, files, manifest_of(chosen, about, BY, TS, files))
    return chosen


def test_a_pack_holds_all_of_an_account_and_what_belongs_to_it(log: Path) -> None:
    kinds = [entry.told.kind for entry in choose(log, ABOUT, KEY).entries]
    assert kinds == ["revert", "action", "ack", "command", "revert"]
    everything = choose(log, Wanted(since=0), KEY).entries
    assert len(everything) == sum(verify(log, KEY).kinds.values())
    assert choose(log, Wanted(account_id="nobody"), KEY).entries == []


def test_what_happened_to_an_action_after_the_time_asked_for_is_in_the_pack(tmp_path: Path) -> None:
    first, *rest = records(written())[1:]
    ack = next(one for one in rest if one.topic == TOPICS.acks)
    late = msgspec.json.decode(ack.value or b"") | {"ts": TS + 86_400_000}
    with Journal(tmp_path, "c", ROLES, now_ms=lambda: TS) as journal:
        journal.add([first, ack._replace(value=msgspec.json.encode(late))])
    assert [e.told.kind for e in choose(tmp_path, Wanted(until=TS + 1)).entries] == ["revert", "ack"]


def test_a_pack_is_checked_with_nothing_but_itself(log: Path, pack: Path, tmp_path: Path) -> None:
    for path in (pack, tmp_path / "pack.zip"):
        if path != pack:
            made(log, path)
        checked = check_pack(path, KEY, head=head_of(log).hash)
        assert (checked.flaw, checked.entries, checked.head) == (None, 5, head_of(log))
        assert check_pack(path).flaw is None, "without the key, too"
    shown = (pack / CHAIN).read_bytes()
    assert len(shown) < sum(path.stat().st_size for path in log.glob("*.jsonl")) / 3
    assert b'"account_id":"b"' not in shown, "of others only digests"


def test_the_records_of_a_pack_are_those_of_kafka_byte_for_byte(pack: Path) -> None:
    kept = {one.value for one in records(written())}
    files = sorted((pack / "records").iterdir())
    assert len(files) == 5
    assert all(file.read_bytes() in kept for file in files)


def test_only_their_owner_reads_a_pack(log: Path, pack: Path, tmp_path: Path) -> None:
    made(log, tmp_path / "p.zip")
    assert stat.S_IMODE((tmp_path / "p.zip").stat().st_mode) == 0o600
    assert stat.S_IMODE(pack.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in pack.rglob("*") if file.is_file()} == {0o600}


def test_no_pack_is_written_over_another(log: Path, pack: Path) -> None:
    with pytest.raises(SettingsError, match="File exists"):
        made(log, pack)


# --- whatever is done to it


@given(data=st.data())
@settings(max_examples=30)
def test_any_change_of_a_file_is_found(pack: Path, data: Any) -> None:
    names = sorted(str(file.relative_to(pack)) for file in pack.rglob("*") if file.is_file())
    name = data.draw(st.sampled_from([one for one in names if one != MANIFEST]))
    raw = bytearray((pack / name).read_bytes())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    copy = copied(pack)
    (copy / name).write_bytes(raw)
    flaw = check_pack(copy).flaw
    assert flaw
    assert (flaw.kind, flaw.where) == ("file", name)
    (copy / name).unlink()
    assert check_pack(copy).flaw
    copy = copied(pack)
    (copy / "more.txt").write_bytes(b"")
    assert check_pack(copy).flaw


def copied(pack: Path) -> Path:
    copy = pack.parent / "copy"
    if copy.exists():
        shutil.rmtree(copy)
    shutil.copytree(pack, copy)
    return copy


def remade(pack: Path, lines: list[bytes]) -> Path:
    """Return a pack with other lines and a manifest that fits them: what a forger would hand on."""
    copy, files = copied(pack), {}
    (copy / CHAIN).write_bytes(b"".join(line + b"\n" for line in lines))
    (copy / MANIFEST).rename(copy.parent / "manifest")
    told = json.loads((copy.parent / "manifest").read_bytes())
    files = {str(file.relative_to(copy)): file.read_bytes() for file in copy.rglob("*") if file.is_file()}
    made_of = manifest_of(Chosen([], [], Head(**told["head"])), ABOUT, BY, TS, files)
    (copy / MANIFEST).write_bytes(msgspec.json.encode(msgspec.structs.replace(made_of, entries=told["entries"])))
    return copy


@given(data=st.data())
@settings(max_examples=30)
def test_a_forger_who_mends_the_manifest_does_not_get_past_the_chain(log: Path, pack: Path, data: Any) -> None:
    lines = (pack / CHAIN).read_bytes().split(b"\n")[:-1]
    head = head_of(log).hash
    assert check_pack(remade(pack, lines), KEY, head=head).flaw is None
    at = data.draw(st.integers(0, len(lines) - 1))
    kept = json.loads(lines[at])
    forged = b'{"digest":"%064x"}' % data.draw(st.integers(0, 2**256 - 1))
    if "entry" in kept:
        previous = Head(kept["entry"]["seq"] - 1, kept["prev"])
        entry = kept["entry"] | ({"told": {"kind": "ack"}} if "told" in kept["entry"] else {"cluster": "other"})
        forged = seal(previous, entry, KEY)[0]
    other = data.draw(st.integers(0, len(lines) - 1))
    swapped = list(lines)
    swapped[at], swapped[other] = lines[other], lines[at]
    changes = [[*lines[:at], forged, *lines[at + 1 :]], [*lines[:at], lines[at], *lines[at:]]]
    changes += [swapped] if swapped != lines else []
    changes += [[*lines[:at], *lines[at + 1 :]]]
    for changed in changes:
        assert check_pack(remade(pack, changed), KEY, head=head).flaw


def test_a_head_from_before_an_entry_proves_nothing_about_it(log: Path, pack: Path) -> None:
    lines = (pack / CHAIN).read_bytes().split(b"\n")
    early = json.loads(lines[0])["hash"]
    flaw = check_pack(pack, KEY, head=early).flaw
    assert flaw
    assert flaw.kind == "head"
    assert check_pack(pack, KEY, head=head_of(log).hash).flaw is None


@pytest.mark.parametrize("manifest", [b"", b"{}", b"[]", b"\xff"])
def test_what_is_no_manifest_is_said(pack: Path, manifest: bytes) -> None:
    copy = copied(pack)
    (copy / MANIFEST).write_bytes(manifest)
    flaw = check_pack(copy).flaw
    assert flaw
    assert (flaw.kind, flaw.where) == ("file", MANIFEST)


def test_what_is_no_zip_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"PK no")
    with pytest.raises(SettingsError, match="zip"):
        check_pack(tmp_path / "x.zip")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a", b"0")
    (tmp_path / "y.zip").write_bytes(out.getvalue())
    assert check_pack(tmp_path / "y.zip").flaw


# --- to read


def test_the_page_runs_nothing_and_hides_nothing(pack: Path) -> None:
    page, text = (pack / "summary.html").read_text("utf-8"), (pack / "summary.txt").read_text("utf-8")
    assert "default-src 'none'" in page
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert not re.search(r"""(src|href|url)\s*[=(]|https?:""", page)
    for shown in (page, text):
        assert "出金加QQ ⟨U+200B⟩738190005⟨U+202E⟩" in shown
        assert SPAM not in shown
        assert not [char for char in shown if token(char) and char != "\n"]
        assert all(word in shown for word in ("处罚", "撤销", "人工命令", "游戏服回执", "申诉通过", "a1"))
