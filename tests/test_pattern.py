"""The words without which a pattern cannot match: never one too many, or a rule would be blind."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.pattern import Search, compile_pattern, needs


@pytest.mark.parametrize(
    ("regex", "words"),
    [
        ("[0-9]+ ?(元|块钱?)", {"元", "块"}),
        ("(给|发)[^,]{0,6}[0-9]+现金", {"现金"}),
        ("(ab|给元)c|代练", {"ab", "给元", "代练"}),
        ("(ab|c)d|代练", set()),
        ("充[值钱]", {"充值", "充钱"}),
        ("(返)?利", {"利"}),
        ("折{2,3}扣", {"折"}),
        ("[0-9]+", set("0123456789")),
        ("[a-z]+", set()),
        ("(元)?", set()),
        ("元|[a-c]", set()),
        ("[a-c]r", {"ar", "br", "cr"}),
        ("[0-2]r", {"0r", "1r", "2r"}),
        ("(?i)RMB", set()),
        ("(?s)^.{60}", set()),
        ("\\pL{2}元", set()),
        ("号$", {"号"}),
    ],
)
def test_the_words_a_pattern_needs_are_known(regex: str, words: set[str]) -> None:
    assert needs(regex) == words


_pieces = st.sampled_from(
    [
        "元",
        "块钱",
        "(元|块)",
        "[折扣]",
        "代?",
        "(给|发)?",
        "[0-9]+",
        "x*",
        "(a|b元)",
        ".{0,3}",
        "(折|扣){1,2}",
        "$",
        "^",
        "\\s?",
    ]
)


@given(st.lists(_pieces, min_size=1, max_size=6).map("".join), st.text("元块钱折扣代给发ab1 x", max_size=12))
def test_whatever_matches_holds_a_word_the_pattern_needs(regex: str, text: str) -> None:
    wanted = needs(regex)
    if wanted and re.search(regex, text):
        assert any(word in text for word in wanted)


def test_a_place_is_told_in_characters() -> None:
    assert Search("[0-9]+元")("现在只要20元了".encode()) == (4, 7)
    assert Search("[0-9]+元")("现在只要".encode()) is None


@given(st.lists(_pieces, min_size=1, max_size=6).map("".join), st.text("元块钱折扣代给发ab1 x", max_size=12))
def test_what_is_asked_of_re2_itself_is_what_its_wrapper_tells(regex: str, text: str) -> None:
    match = compile_pattern(regex).search(text)
    assert Search(regex)(text.encode()) == (match.span() if match and match[0] else None)
