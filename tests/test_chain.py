"""A chain of lines: whatever is done to it is found, and where it was done."""

from __future__ import annotations

import hmac
import json
from hashlib import sha256
from typing import Any, Final

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from moderation.chain import START, Broken, Head, before, follow, seal, skip, withheld

KEY: Final = b"sixteen or more bytes"
_texts = st.text(max_size=20) | st.sampled_from(['","hash":"', "\u2028", "\x00", "加\u202eQQ", '"}\n{"'])


def chain(texts: list[str], key: bytes | None = None) -> list[bytes]:
    lines, head = [], START
    for number, text in enumerate(texts, 1):
        line, head = seal(head, {"seq": number, "text": text}, key)
        lines.append(line)
    return lines


def walked(lines: list[bytes], key: bytes | None = None) -> Head:
    head = START
    for line in lines:
        link = follow(head, line, key)
        head = link.head
        if key and not link.sealed:
            raise Broken("unsealed")
    return head


def broken(lines: list[bytes], key: bytes | None = None) -> tuple[int, str] | None:
    head = START
    for number, line in enumerate(lines, 1):
        try:
            head = follow(head, line, key).head
        except Broken as exc:
            return number, exc.kind
    return None


@given(texts=st.lists(_texts, min_size=1, max_size=6), key=st.sampled_from([None, KEY]))
def test_a_chain_is_followed_to_the_head_that_sealing_it_gave(texts: list[str], key: bytes | None) -> None:
    lines = chain(texts, key)
    assert walked(lines, key) == Head(len(texts), json.loads(lines[-1])["hash"])
    assert not any(b"\n" in line for line in lines)
    assert all(json.loads(line)["entry"]["text"] == text for line, text in zip(lines, texts, strict=True))


@given(texts=st.lists(_texts, min_size=1, max_size=5), data=st.data(), keyed=st.booleans())
def test_any_change_of_one_byte_is_found_at_its_line(texts: list[str], data: Any, *, keyed: bool) -> None:
    key = KEY if keyed else None
    lines = chain(texts, key)
    at = data.draw(st.integers(0, len(lines) - 1))
    where = data.draw(st.integers(0, len(lines[at]) - 1))
    byte = data.draw(st.integers(0, 255))
    assume(byte != lines[at][where])
    changed = lines[at][:where] + bytes([byte]) + lines[at][where + 1 :]
    found = broken([*lines[:at], changed, *lines[at + 1 :]], key)
    assert found
    assert found[0] == at + 1


@given(texts=st.lists(_texts, min_size=3, max_size=7), data=st.data())
def test_removal_swap_and_insertion_are_found(texts: list[str], data: Any) -> None:
    lines = chain(texts)
    at = data.draw(st.integers(0, len(lines) - 2))
    other = data.draw(st.integers(at + 1, len(lines) - 1))
    swapped = list(lines)
    swapped[at], swapped[other] = lines[other], lines[at]
    assert broken([*lines[:at], *lines[at + 1 :]]) == (at + 1, "removed")
    assert broken(swapped) == (at + 1, "removed")
    assert broken([*lines[: at + 1], *lines[at:]]) == (at + 2, "inserted")
    forged, _ = seal(Head(at, "ab" * 32), {"seq": at + 1, "text": "forged"})
    assert broken([*lines[:at], forged, *lines[at:]]) == (at + 1, "remade")


@given(texts=st.lists(_texts, min_size=2, max_size=7), data=st.data())
def test_a_line_made_anew_breaks_the_next_and_a_tail_cut_off_has_another_head(texts: list[str], data: Any) -> None:
    lines = chain(texts)
    at = data.draw(st.integers(0, len(lines) - 2))
    forged, _ = seal(before(lines[at]), {"seq": at + 1, "text": "another's words"})
    assert broken([*lines[:at], forged, *lines[at + 1 :]]) == (at + 2, "remade")
    assert broken(lines[: at + 1]) is None, "no chain shows this by itself"
    assert walked(lines[: at + 1]) != walked(lines)


def test_without_the_key_nobody_can_make_the_chain_anew() -> None:
    real = chain(["a", "b"], KEY)
    assert walked(real) == walked(real, KEY), "following it takes no key"
    for forged in (chain(["a", "x"]), chain(["a", "x"], b"some other long key")):
        with pytest.raises(Broken) as found:
            walked([real[0], forged[1]] if forged[0] == real[0] else forged, KEY)
        assert found.value.kind == "unsealed"


@given(texts=st.lists(_texts, min_size=1, max_size=6), data=st.data())
def test_lines_that_are_not_shown_prove_those_that_are(texts: list[str], data: Any) -> None:
    lines, head = chain(texts), START
    shown = data.draw(st.sets(st.integers(0, len(lines) - 1)))
    for number, line in enumerate(lines):
        passed = skip(head, withheld(line))
        assert passed
        head = follow(head, line).head if number in shown else passed
    assert head == walked(lines)
    assert skip(START, lines[0]) is None


def test_whoever_has_python_can_check_a_line() -> None:
    """What docs/audit.md tells a stranger to do, without a word of ours."""
    prev = "0" * 64
    for line in chain(["加QQ\u202e", '","hash":"'], KEY):
        said = json.loads(line)
        entry = line[len(b'{"entry":') : line.rindex(b',"hash":"')]
        hashed = sha256(bytes.fromhex(prev) + sha256(entry).digest())
        assert (said["prev"], said["hash"]) == (prev, hashed.hexdigest())
        assert said["mac"] == hmac.new(KEY, hashed.digest(), sha256).hexdigest()
        prev = said["hash"]


@pytest.mark.parametrize(
    "line", [b"", b"{}", b"[]", b"\xff", b'{"entry":1,"hash":"","prev":""}', b"[" * 9999, b'{"digest":"00"}']
)
def test_what_is_no_line_is_unreadable(line: bytes) -> None:
    with pytest.raises(Broken, match="unreadable"):
        follow(START, line)
    assert skip(START, line) is None
