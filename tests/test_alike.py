"""Terms that are meant but not written: what is found, where, for how much less, and which ordinary words are not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moderation.alike import DISGUISES, Alike, alike
from moderation.fold import fold
from moderation.joined import Joined
from moderation.moderator import Moderator
from moderation.rulefile import load
from tests.small_rules import SAID, disguised_layer, disguised_rules, event

if TYPE_CHECKING:
    from moderation.actions import Hit
    from moderation.ruleset import RuleSet

HANDLE: Final = " QQ 7381920465"
ALIKE: Final = Alike(["微信", "加微信", "代打", "卖金币", "诚信收号"])


def hidden(text: str, under: RuleSet | None = None) -> list[Hit]:
    """The hits of the rules that look for one term of a class and nothing else."""
    [finding] = Moderator(under or disguised_rules()).judge([event(text)])
    return [hit for hit in finding.hits if hit.rule in ("hidden.app", "hidden.craft")]


#: How a term is hidden; the raw text; which part of it the hit points at; a near miss.
CASES: Final = (
    ("sound", "卖斤必的来", "卖斤必", "卖斤两的来"),
    ("sound", "快加卫星聊", "加卫星", "快看卫星聊"),
    ("sound", "来，家.威.信", "家.威.信", "来，家.威.力"),
    ("shape", "加徽信吧", "加徽信", "加徽章吧"),
    ("shape", "咖.徽.信", "咖.徽.信", "咖.啡.信"),
    ("reversed", "便宜，币金卖", "币金卖", "便宜，币金实"),
    ("reversed", "号售信成", "号售信成", "号售信用"),
    ("pinyin", "jia wei xin 聊", "jia wei xin", "jia wei le 聊"),
    ("pinyin", "ｍａｉ ｊｉｎ ｂｉ", "ｍａｉ ｊｉｎ ｂｉ", "ｍａｉ ｊｉｎ"),
    ("parts", "找亻弋打", "亻弋打", "找亻戈打"),
    ("parts", "加彳攵亻言", "加彳攵亻言", "加彳文亻言"),
    ("unfilled", "卖a金b币", "卖a金b币", "卖a金b条"),
    ("unfilled", "卖呀金呀币呀", "卖呀金呀币", "卖呀金呀条呀"),
    ("emoji", "我卖💰吧", "卖💰", "我卖🎁吧"),
    ("squeezed", "加.微.信", "加.微.信", "加.微.风"),
    ("reversed", "倒着读 币金卖", "币金卖", "倒着读 币金实"),
    ("columns", "卖币\n金的", "卖币\n金", "卖币\n金的吧"),
    ("columns", "来诚收\n的信号", "诚收\n的信号", "来诚收\n信号"),
    ("heads", "加油吧兄弟,我们一起冲。微风吹过\n信心满满", "加油吧兄弟,我们一起冲。微风吹过\n信",
     "加油吧兄弟,微风吹过\n信心满满,好的呀"),
    ("tails", "做人真诚,大家自信,装备随便收,上线吹响号", "诚,大家自信,装备随便收,上线吹响号",
     "做人真诚,大家自信,装备随便丢,上线吹响号"),
)  # fmt: skip


@pytest.mark.parametrize(("way", "text", "place", "_"), CASES)
def test_a_disguised_term_is_found_and_its_place_is_that_of_the_raw_text(
    way: str, text: str, place: str, _: str
) -> None:
    found = [(hit.view, text[slice(*hit.span)]) for hit in hidden(text) if hit.span]
    assert found == [(way, place)]


@pytest.mark.parametrize("near", [case[3] for case in CASES])
def test_what_is_nearly_a_disguise_is_none(near: str) -> None:
    assert hidden(near) == []


def test_every_way_of_disguise_has_a_case() -> None:
    assert {case[0] for case in CASES} == set(DISGUISES)


@pytest.mark.parametrize(("way", "text", "place", "_"), CASES)
def test_a_disguise_costs_what_the_policy_says(way: str, text: str, place: str, _: str) -> None:
    price = {"sound": 8, "shape": 4, "reversed": 8, "heads": 15, "tails": 15}.get(way, 0)
    assert [hit.weight for hit in hidden(text)] == [60 - price], place
    dear = load([disguised_layer(), {"policy.yaml": f"disguises: {{{way}: 33}}".encode()}])
    assert [hit.weight for hit in hidden(text, dear)] == [27]


# --- what ordinary players say


@pytest.mark.parametrize("word", ["师父", "似乎", "卫星", "师傅", "威信", "维新", "大带小", "打带"])
@pytest.mark.parametrize("line", ["{}", "{}在吗", "看{}", "{}" + HANDLE, "我的{},{}!"])
def test_a_word_of_its_own_is_no_other_word_in_disguise(word: str, line: str) -> None:
    assert hidden(line.replace("{}", word)) == []


def test_a_class_that_nobody_marked_is_only_found_as_written() -> None:
    [finding] = Moderator(disguised_rules()).judge([event("触金触斤 chu jin" + HANDLE)])
    assert "sell.contact" not in {hit.rule for hit in finding.hits}


# --- weak likenesses


@pytest.mark.parametrize("weak", ["思服", "徽信", "打代"])
def test_a_weak_likeness_alone_does_not_count(weak: str) -> None:
    assert hidden(weak) == []
    assert hidden(f"{weak}来玩吧") == []
    assert hidden(f"{weak} {weak}") == [], "nor does the same one twice"


@pytest.mark.parametrize("beside", [HANDLE, " 加微信", " 出\u200b个\u200b价"], ids=ascii)
def test_a_weak_likeness_counts_beside_something_that_tells(beside: str) -> None:
    assert {hit.view for hit in hidden("思服" + beside)} & {"sound"}


def test_two_weak_likenesses_tell_of_each_other() -> None:
    assert {hit.rule for hit in hidden("徽信 思服")} == {"hidden.app", "hidden.craft"}


def test_what_stands_beside_must_be_in_the_same_text() -> None:
    moderator = Moderator(disguised_rules())
    chat = [event("思服", 1), event("思服" + HANDLE, 2, account="a2"), event("思服", 3, account="a3")]
    found = [{hit.rule for hit in finding.hits} for finding in moderator.judge(chat)]
    assert ["hidden.craft" in rules for rules in found] == [False, True, False]


def test_two_characters_are_reversed_only_if_they_are_the_very_ones() -> None:
    assert [hit.view for hit in hidden("打代" + HANDLE)] == ["reversed"]
    assert hidden("搭代" + HANDLE) == [], "it only sounds like 打代"


def test_an_acrostic_needs_four_characters() -> None:
    three = "加油吧兄弟,微风吹过这里\n信心满满,大家冲"
    assert hidden(three) == []
    four = three.replace("微风", "我们一起,微风")
    assert [hit.view for hit in hidden(four)] == ["heads"]


def test_an_acrostic_may_be_made_of_several_terms() -> None:
    made = "代表团来了,打完收工,微风吹过,信心满满"
    assert {hit.view for hit in hidden(made)} == {"heads"}
    assert hidden(made.replace("信心", "大家")) == [], "half of it is chance"


# --- the finder itself


def spots(texts: list[str]) -> list[tuple[int, str, int, int, int, bool]]:
    return sorted(map(tuple, ALIKE.find(Joined(texts))))  # type: ignore[arg-type]  # a Spot is that tuple


folded = st.sampled_from(SAID).map(lambda raw: fold(raw).text) | st.text("微信徽加架代戴打卖金巾币 ab\n,", max_size=14)


@settings(max_examples=150)
@given(st.lists(folded, min_size=1, max_size=6))
def test_disguises_are_found_alike_alone_and_among_others(texts: list[str]) -> None:
    alone = [(at, *spot[1:]) for at, text in enumerate(texts) for spot in spots([text])]
    assert spots(texts) == sorted(alone)


@given(st.lists(folded, min_size=1, max_size=6))
def test_a_spot_lies_in_its_text(texts: list[str]) -> None:
    for at, way, start, end, _, weak in spots(texts):
        assert 0 <= start < end <= len(texts[at])
        assert way in DISGUISES
        assert not weak or end - start == 2


@pytest.mark.parametrize("term", ["微信", "加微信", "代打", "卖金币"])
def test_a_term_as_written_is_no_disguise_of_itself(term: str) -> None:
    assert spots([term]) == []


@given(st.text(max_size=30))
def test_likeness_keeps_the_length(text: str) -> None:
    assert len(alike(fold(text).text)) == len(fold(text).text)


def test_no_terms_are_found_nowhere() -> None:
    assert list(Alike([]).find(Joined(["jia wei xin", "亻弋打", ""]))) == []
