import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.match import automaton

#: Few characters, so that terms overlap, nest and repeat; one outside the basic plane, one lone surrogate in texts.
chars = "代练打微信v1𠮷"
terms_of = st.lists(st.text(st.sampled_from(chars), min_size=1, max_size=5), max_size=30)
text_of = st.text(st.sampled_from(chars + " .\n\ud800"), max_size=120)
anything = st.text(st.characters(), max_size=60)


def by_hand(terms: list[str], text: str) -> list[tuple[int, int, int]]:
    found = [
        (at, at + len(term), index)
        for index, term in enumerate(terms)
        for at in range(len(text))
        if text.startswith(term, at)
    ]
    return sorted(found, key=lambda match: (match[1], match[0], match[2]))


@given(terms_of, text_of)
def test_both_implementations_find_what_a_naive_search_finds_in_the_same_order(terms: list[str], text: str) -> None:
    expected = by_hand(terms, text)
    assert automaton(terms, plain=True).find(text) == expected
    assert automaton(terms).find(text) == expected


@given(st.lists(st.text(min_size=1, max_size=3), max_size=10), anything)
def test_no_text_breaks_either(terms: list[str], text: str) -> None:
    assert automaton(terms).find(text) == automaton(terms, plain=True).find(text)


@pytest.mark.parametrize("plain", [False, True])
def test_matches_come_by_end_then_the_longer_then_the_smaller_index(plain: bool) -> None:
    terms = ["代练", "练", "代练代打", "代打", "打", "代练"]
    assert automaton(terms, plain=plain).find("找代练代打") == [
        (1, 3, 0), (1, 3, 5), (2, 3, 1), (1, 5, 2), (3, 5, 3), (4, 5, 4),
    ]  # fmt: skip


@pytest.mark.parametrize("plain", [False, True])
def test_no_terms_match_nothing(plain: bool) -> None:
    assert automaton([], plain=plain).find("代练") == []
    assert automaton(["代练"], plain=plain).find("") == []


@pytest.mark.parametrize("plain", [False, True])
def test_a_lone_surrogate_shifts_no_offset(plain: bool) -> None:
    assert automaton(["代练"], plain=plain).find("\ud800代练\udfff") == [(1, 3, 0)]


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("term", ["", "代\ud800"])
def test_a_term_that_cannot_be_meant_is_refused_by_its_index(term: str, plain: bool) -> None:
    with pytest.raises(ValueError, match="term 1 "):
        automaton(["代练", term], plain=plain)


@pytest.mark.parametrize("plain", [False, True])
def test_ten_thousand_terms_are_all_found(plain: bool) -> None:
    terms = [chr(0x4E00 + i // 100) + chr(0x5E00 + i % 100) for i in range(10_000)]
    found = automaton(terms, plain=plain).find("".join(terms))
    assert {index for _, _, index in found} == set(range(10_000))
