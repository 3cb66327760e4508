"""Signed records: what no holder of a secret wrote is a dead letter, and nothing comes of it."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.actions import MuteCommand, RevertManyCommand, Target, Which
from moderation.errors import DeadReason, EventError
from moderation.signature import HEADER, Signing, check, signed
from streams.letters import Letters
from streams.settings import Settings, describe
from tests.small_rules import TS, event
from tests.test_contracts import GUIDE, blocks
from tests.test_pipeline import SPAM, TOPICS, Desk, Record, record

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

NEW, OLD, OTHER = (letter * 32 for letter in (b"n", b"o", b"x"))
ROTATING: Final = Signing(events=(NEW, OLD), commands=(OTHER,))
MUTE: Final = MuteCommand("c1", "gm-li", "骂人", TS, Target("a1"), 600, ("world",))


def sealed(one: Record, secret: bytes) -> Record:
    return one._replace(headers=signed(one.key or b"", one.value or b"", (secret,)))


def reasons(desk: Desk) -> list[bytes]:
    return [dict(letter.headers)["reason"] for letter in desk.post.of(TOPICS.dead_letters)]


def refused(key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes | None]]) -> bool:
    try:
        check(key, value, tuple(headers), (NEW, OLD))
    except EventError as exc:
        return exc.reason == DeadReason.BAD_SIGNATURE
    return False


def test_the_signature_is_what_openssl_makes_of_key_zero_byte_and_value() -> None:
    command = ["openssl", "dgst", "-sha256", "-hmac", NEW.decode()]
    try:
        made = subprocess.run(command, input='10086001\0{"text":"你好"}'.encode(), capture_output=True, check=True)
    except FileNotFoundError:
        pytest.skip("no openssl on this machine")
    [(name, value)] = signed(b"10086001", '{"text":"你好"}'.encode(), (NEW, OLD))
    assert (name, value) == (HEADER, made.stdout.split()[-1])


SECRET: Final = "0123456789abcdef0123456789abcdef"  # noqa: S105  of the guide's example
SIGNED: Final = "3e24e25165524cb1d270334bafeff253cb63aa1c4962863f498b06b9be68cffb"
JAVA: Final = """
class Main {
    public static void main(String[] none) throws Exception {
        System.out.print(new String(Signature.of("10086001".getBytes(), "{}".getBytes())));
    }
}
"""


@pytest.mark.parametrize(
    ("block", "program", "file", "before", "after"),
    [
        ("python", sys.executable, "main.py", "", "\nprint(headers(b'10086001', b'{}')[0][1].decode())"),
        ("js signature", "node", "main.js", "", '\nconsole.log(headers("10086001", "{}")["qingliu-hmac"]);'),
        ("java signature", "java", "Main.java", JAVA, ""),  # the first class of a file is what it runs
    ],
)
def test_the_examples_of_the_guide_make_the_signature_that_the_guide_names(
    block: str, program: str, file: str, before: str, after: str, tmp_path: Path
) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"no {program} on this machine")
    imports, first, body = next(one for one in blocks(block) if "hmac" in one).partition("\n\n")
    (tmp_path / file).write_text(f"{imports}{before}{first}{body}{after}", "utf-8")
    env = {**os.environ, "QINGLIU_EVENT_KEY": SECRET}
    made = subprocess.run([program, str(tmp_path / file)], env=env, capture_output=True, check=True, text=True)
    assert made.stdout.strip() == SIGNED == signed(b"10086001", b"{}", (SECRET.encode(),))[0][1].decode()
    assert SIGNED in GUIDE


def test_while_keys_are_changed_both_are_good_and_a_third_is_not() -> None:
    desk = Desk(signing=ROTATING)
    spam = [record(event(SPAM, n, account=f"b{n}", level=3), n) for n in range(3)]
    desk.chat(*(sealed(one, secret) for one, secret in zip(spam, (NEW, OLD, OTHER), strict=True)))
    assert {a.target.account_id for a in desk.post.actions()} == {"b0", "b1"}
    assert reasons(desk) == [b"bad_signature"]
    assert desk.counted("dead_letters_total", reason="bad_signature") == 1


def test_what_is_not_signed_is_not_even_read() -> None:
    desk = Desk(signing=ROTATING)
    desk.chat(record(event(SPAM, 1, level=3)), Record(1, b"a1", b"no json"), Record(2, None, None))
    assert reasons(desk) == [b"bad_signature"] * 3
    assert not desk.post.actions()


def test_without_keys_signatures_are_not_looked_at() -> None:
    desk = Desk()
    desk.chat(record(event(SPAM, 1, level=3))._replace(headers=((HEADER, b"nonsense"),)))
    assert [a.action for a in desk.post.actions()] == ["revert", "mute"]


@pytest.mark.parametrize(
    "headers",
    [
        (),
        ((HEADER, None),),
        ((HEADER, b""),),
        ((HEADER.upper(), signed(b"k", b"v", (NEW,))[0][1]),),
        (*signed(b"k", b"v", (NEW,)), *signed(b"k", b"v", (NEW,))),
        ((HEADER, signed(b"k", b"v", (NEW,))[0][1].upper()),),
        ((HEADER, "签名".encode()),),
    ],
)
def test_a_header_that_is_missing_twice_there_or_written_otherwise_is_refused(headers: Any) -> None:
    assert refused(b"k", b"v", headers)


@given(st.binary(max_size=8).filter(lambda key: b"\0" not in key), st.binary(max_size=8), st.data())
def test_a_signature_is_good_for_one_key_and_value_only(key: bytes, value: bytes, data: st.DataObject) -> None:
    headers = signed(key, value, (NEW,))
    assert not refused(key, value, headers)
    whole = key + value
    at = data.draw(st.integers(0, len(whole)))
    moved = whole[:at], whole[at:]
    assert refused(*moved, headers) == (moved != (key, value))


def test_a_forged_command_bans_nobody() -> None:
    desk = Desk(signing=ROTATING)
    forged = Record(0, b"a1", msgspec.json.encode(MUTE), TOPICS.commands)
    with_events_key = sealed(forged, NEW)._replace(offset=1)
    asyncio.run(desk.pipeline.commands([forged, with_events_key], lambda: True))
    assert reasons(desk) == [b"bad_signature"] * 2
    assert not desk.post.actions()
    asyncio.run(desk.pipeline.commands([sealed(forged, OTHER)], lambda: True))
    assert [a.action for a in desk.post.actions()] == ["mute"]


def test_the_next_page_of_a_mass_revert_is_signed_by_the_worker_that_orders_it() -> None:
    command = RevertManyCommand("c1", "gm-li", "误伤", TS, Which(rule="r"), after="1:200")
    letter = Letters(TOPICS, ROTATING).command(command)
    check(letter.key, letter.value, letter.headers, ROTATING.commands)
    assert Letters(TOPICS).command(command).headers == ()


def test_a_dead_letter_keeps_the_signature_so_that_a_replay_is_good_and_a_forgery_stays_one() -> None:
    desk = Desk(signing=ROTATING)
    desk.chat(sealed(Record(0, b"a1", b"no json"), NEW), sealed(Record(1, b"a1", b"no json"), OTHER))
    good, forged = desk.post.of(TOPICS.dead_letters)
    assert reasons(desk) == [b"not_json", b"bad_signature"]
    for letter, is_forged in ((good, False), (forged, True)):
        assert refused(letter.key, letter.value, letter.headers) == is_forged


def test_keys_are_read_with_commas_and_shown_nowhere() -> None:
    settings = Settings.load({"event_keys": f"{'n' * 32}, {'o' * 40}"}, env_file=None)
    assert settings.signing == Signing(events=(b"n" * 32, b"o" * 40))
    shown = {one.name: one.value for one in describe(settings)}
    assert shown["QINGLIU_EVENT_KEYS"] == "******,******"
    assert shown["QINGLIU_COMMAND_KEYS"] == ""
    assert "nnnn" not in repr(settings)
