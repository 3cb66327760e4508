"""Texts joined are searched as if each were searched alone, whatever they hold."""

from __future__ import annotations

import re

import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st

from moderation.fold import GAP, HEAD, JOINT, TAIL, fold, fold_all
from moderation.joined import Gate, Joined
from moderation.match import automaton

RAW_JOINT = "\ufdd0"
#: Words that lie in each other, end together and touch; none holds the joint.
TERMS = ("出", "金", "出金", "金币", "出金币", "aa", "a")

words = st.lists(st.text("出金币aab \n😀\u00e9", max_size=8), min_size=1, max_size=8)
hostile = st.text(st.sampled_from(f"出金 a\ud800\udfff{RAW_JOINT}{JOINT}{GAP}") | st.characters(), max_size=12)


def alone(parts: list[str], terms: tuple[str, ...], *, plain: bool = False) -> list[tuple[int, int, int, int]]:
    """What searching one text after the other finds."""
    find = automaton(terms, plain=plain).find
    return [(at, *match) for at, part in enumerate(parts) for match in find(part)]


def together(parts: list[str], terms: tuple[str, ...], *, plain: bool = False) -> list[tuple[int, int, int, int]]:
    joined = Joined(parts)
    return list(joined.spread(automaton(terms, plain=plain).find(joined.text)))


# --- matches are told per text


@pytest.mark.parametrize("plain", [False, True])
@given(parts=words)
def test_every_match_is_told_of_the_text_it_stands_in(parts: list[str], plain: bool) -> None:
    assert together(parts, TERMS, plain=plain) == alone(parts, TERMS, plain=plain)


@pytest.mark.parametrize(
    "parts",
    [
        [""],
        ["出金"],
        ["", "出金"],
        ["出金", ""],
        ["", "", "出金", "", ""],
        ["出", "金"],
        ["出金", "出金", "币"],
        ["金币出", "金"],
        ["出金币出金币", "aaaa", "出金币"],
        [""] * 5,
    ],
    ids=repr,
)
def test_empty_first_last_and_touching_matches_are_told_of_their_own_text(parts: list[str]) -> None:
    assert together(parts, TERMS) == alone(parts, TERMS)


def test_no_match_spans_two_texts() -> None:
    assert together(["出", "金"], ("出金",)) == []


def test_no_matches_are_no_places_and_no_texts_are_looked_at() -> None:
    assert list(Joined(["", "a"]).spread([])) == []


# --- which texts hold something

#: What gates look like: words, classes, repeats, several lines; none takes the joint for a character.
PATTERNS = ("出", "金币?", "[a-z]{2}", "出[金a]", f"a[^{JOINT}]+币", f"\\n[^\\n{JOINT}]*金", f"(a|出)[^{JOINT}]?币")


@pytest.mark.parametrize("pattern", PATTERNS)
@given(parts=words)
def test_the_texts_that_hold_something_are_those_that_hold_it_alone(parts: list[str], pattern: str) -> None:
    expected = [at for at, part in enumerate(parts) if re.search(pattern, part)]
    joined = Joined(parts)
    assert list(joined.holding(re.compile(pattern))) == expected
    assert list(joined.holding_bytes(Gate(pattern))) == expected


@pytest.mark.parametrize("pattern", [*PATTERNS, "", "^", "x"])
@given(parts=words, at=st.integers(0, 90))
def test_the_first_match_is_where_the_wrapper_of_re2_says_it_is(parts: list[str], at: int, pattern: str) -> None:
    compiled, encoded = re2.compile(pattern), Joined(parts).encoded
    match = compiled.search(encoded, min(at, len(encoded)))
    assert Gate(compiled).first(encoded, min(at, len(encoded))) == (match.start() if match else -1)


def test_a_text_that_holds_something_twice_is_told_once() -> None:
    joined = Joined(["金金", "", "出", "金a金"])
    assert list(joined.holding(re.compile("金"))) == [0, 3]
    assert list(joined.holding_bytes(Gate("金"))) == [0, 3]


@given(st.lists(hostile, min_size=1, max_size=8))
def test_half_characters_do_not_move_what_is_found_after_them(parts: list[str]) -> None:
    parts = [part.replace(JOINT, "") for part in parts]
    expected = [at for at, part in enumerate(parts) if "金" in part]
    joined = Joined(parts)
    assert list(joined.holding_bytes(Gate("金"))) == expected
    assert list(joined.holding(re.compile("金"))) == expected


def test_bytes_are_not_made_where_nobody_asked_for_them() -> None:
    assert Joined(["金"], encoded=False).encoded == b""


# --- raw texts, which may hold what they are joined by


@given(st.lists(hostile, min_size=1, max_size=8))
def test_raw_texts_stay_apart_even_where_somebody_typed_the_joint(raws: list[str]) -> None:
    joined = Joined.of_raw(raws)
    assert joined.text.split(JOINT) == [raw.replace(JOINT, JOINT.lower()) for raw in raws]
    expected = [at for at, raw in enumerate(raws) if "金" in raw]
    assert list(joined.holding_bytes(Gate("金"))) == expected


def test_a_typed_joint_is_read_as_a_letter_of_its_kind() -> None:
    assert Joined.of_raw([JOINT, "a"]).text == f"\uff48{JOINT}a"
    assert Joined.of_raw(["a", "b"]).text == f"a{JOINT}b"


# --- folding many is folding each


@given(st.lists(hostile | st.text("出１\ufdfa", min_size=HEAD + TAIL - 3, max_size=HEAD + TAIL + 3), max_size=5))
def test_folding_many_texts_is_folding_each(raws: list[str]) -> None:
    if raws:
        assert [(f.raw, f.text) for f in fold_all(raws)] == [(raw, fold(raw).text) for raw in raws]


@pytest.mark.parametrize("raw", [RAW_JOINT, f"出{RAW_JOINT}金", "加" * 600, "", "\ud800", JOINT, "\ufdfa" * 512])
@pytest.mark.parametrize("others", [["好"], ["", "出金"], [RAW_JOINT]])
def test_one_odd_text_changes_none_of_the_others(raw: str, others: list[str]) -> None:
    for raws in ([raw, *others], [*others, raw], [raw, raw]):
        assert [folded.text for folded in fold_all(raws)] == [fold(one).text for one in raws]


@given(hostile)
def test_folded_text_never_holds_what_joins_texts(raw: str) -> None:
    assert JOINT not in fold(raw).text
    assert not re.search("[\ud800-\udfff]", fold(raw).text)
