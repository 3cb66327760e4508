"""What is found in many texts at once is what is found in each alone, and no gate hides anything from a rule."""

from __future__ import annotations

import json
from functools import cache
from itertools import chain, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from console.traffic import Traffic
from moderation.conditions import DISGUISED_KEY, HANDLE_KEY, NOISE_KEY
from moderation.fold import squeeze
from moderation.moderator import Moderator
from moderation.reading import MOST_KNOWN, Reader
from moderation.rulefile import load, read
from moderation.ruleset import RuleSet
from moderation.scan import LONG_RUN, MANY_LINES, Scanner, Text
from moderation.trial import Trial
from streams.rules import read_layer
from tests.plain_plans import exhaustive
from tests.small_rules import SAID, TS, chats, disguised_layer, disguised_rules, event

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moderation.actions import Field
    from moderation.events import ChatEvent
    from moderation.ruleset import Contents

HERE: Final = Path(__file__).parent

said = st.sampled_from(SAID) | st.lists(st.sampled_from(SAID), max_size=3).map("".join) | st.text(max_size=30)
batches = st.lists(said, min_size=1, max_size=12)


@cache
def shipped() -> Contents:
    return read([read_layer(HERE.parent / "rules")])


@cache
def compiled() -> RuleSet:
    return RuleSet(shipped())


@cache
def lines() -> tuple[ChatEvent, ...]:
    """Some hundred events: made-up traffic with a lot of spam, lines with handles, and what breaks naive code."""
    made = [line.event for line in Traffic(7, spam_share=0.5, start_ms=TS, rate=5).take(400)]
    cases = (HERE / "data" / "handles.jsonl").read_text("utf-8").splitlines()
    texts = chain((json.loads(case)["text"] for case in cases), SAID)
    return (*made, *(event(text, at, at_s=200 + at, account=f"h{at % 9}") for at, text in enumerate(texts)))


def scan(texts: Sequence[str], under: RuleSet | None = None) -> list[Text]:
    return Scanner(under or disguised_rules()).scan(repeat("text"), texts)


def facts(text: Text, under: RuleSet) -> tuple[Any, ...]:
    """Everything that was found in a text; not which patterns may match, which is told too generously in a batch."""
    mask = text.mask & ~sum(bit for bit, _ in under.among)
    sightings = [(one.name, one.start, one.end, one.term) for one in text.seen()]
    views = [(view.name, view.text) for view in text.views]
    return text.folded.raw, mask, views, text.fingerprint, text.handles, sightings


def terms(text: Text, view: str) -> list[tuple[int, int, str]]:
    return [(one.start, one.end, one.term.text) for one in text.seen() if one.name == view]


def spaced(text: Text) -> bool:
    """Whether the text was read without its separators too."""
    return any(view.name == "squeezed" for view in text.views)


def searched(folded: str, under: RuleSet) -> list[tuple[int, int, str]]:
    """What searching one text alone finds."""
    found = under.matcher.find(folded)
    return [(start, end, term.text) for start, end, index in found for term in under.terms[index]]


# --- batches


def differing(texts: Sequence[str], under: RuleSet) -> list[str]:
    """The texts of a batch that are read otherwise alone, or whose mask then has a bit more."""
    pairs = zip(scan(texts, under), [scan([text], under)[0] for text in texts], strict=True)
    return [
        alone.folded.raw
        for among, alone in pairs
        if facts(among, under) != facts(alone, under) or alone.mask & ~among.mask
    ]


@settings(max_examples=100)
@given(batches)
def test_a_text_is_read_alike_alone_and_among_others(texts: list[str]) -> None:
    assert differing(texts, disguised_rules()) == []


def test_real_looking_lines_are_read_alike_alone_and_among_others() -> None:
    assert differing([one.text for one in lines()], compiled()) == []


def test_texts_of_several_fields_are_read_as_those_of_each_alone() -> None:
    fields: list[Field] = ["text", "name", "guild", "signature"]
    told = [(fields[at % 4], one.text) for at, one in enumerate(lines())]
    every = Scanner(compiled()).scan([field for field, _ in told], [text for _, text in told])
    assert [text.field for text in every] == [field for field, _ in told]
    for field in fields:
        alone = Scanner(compiled()).scan(repeat(field), [text for own, text in told if own == field])
        together = [text for text in every if text.field == field]
        assert [facts(text, compiled()) for text in together] == [facts(text, compiled()) for text in alone]


# --- terms, handles, signs


@settings(max_examples=100)
@given(batches)
def test_terms_found_at_once_are_those_found_one_by_one(texts: list[str]) -> None:
    under = disguised_rules()
    for text in scan(texts):
        folded = text.folded.text
        assert terms(text, "plain") == searched(folded, under)
        assert terms(text, "squeezed") == (searched(squeeze(folded), under) if spaced(text) else [])


def test_real_looking_lines_hold_the_terms_found_one_by_one() -> None:
    for text in scan([one.text for one in lines()], compiled()):
        assert terms(text, "plain") == searched(text.folded.text, compiled())
        assert not spaced(text) or terms(text, "squeezed") == searched(text.folded.squeezed.text, compiled())


@pytest.mark.parametrize(
    ("text", "respelled"),
    [
        ("歪挂稳得一匹，封耗包陪", True),  # two words of a sentence by sound
        ("尚下芬找我，秒道帐", True),
        ("xue sheng jian zhi, ri jie, si liao", True),
        ("歪挂稳得一匹", False),  # one is a slip, or chance
        ("外挂稳得一匹，封号包赔", False),  # as they are spelled
        ("今天我们打本打得很开心，后来有人说那个歪挂很厉害，谁也没见过，封耗包陪的话不要信，大家早点睡", False),
    ],
)
def test_two_words_that_make_up_a_third_of_what_is_said_are_respelled(text: str, respelled: bool) -> None:
    [reading] = Reader(compiled()).read([event(text)])
    assert reading.signal("respelled") is respelled


def test_a_weak_likeness_counts_beside_what_another_view_tells() -> None:
    [alone] = scan(["歪挂在哪"], compiled())
    [beside] = scan(["歪挂在哪，不 封 号"], compiled())
    assert "cheat" not in {one.term.lexicon for one in alone.seen()}
    assert {one.disguise for one in beside.seen() if one.term.lexicon == "cheat"} == {"sound"}


gaps = st.text(" .|*-~`^+=/\\★●、，", min_size=1, max_size=3)


@given(st.sampled_from(("出金", "微信", "加微信")), st.lists(gaps, min_size=4, max_size=4), st.sampled_from(("", "好")))
def test_a_term_whose_characters_stand_alone_is_found(term: str, between: list[str], other: str) -> None:
    spread = "".join(map("".join, zip(term, between, strict=False)))
    text = scan([other, spread, other])[1]
    assert term in {found for _, _, found in terms(text, "squeezed")}


@settings(max_examples=100)
@given(batches)
def test_handles_found_at_once_are_those_found_one_by_one(texts: list[str]) -> None:
    find = disguised_rules().finder.find
    assert all(text.handles == find(text.folded) for text in scan(texts))


def test_real_looking_lines_hold_the_handles_found_one_by_one() -> None:
    texts = scan([one.text for one in lines()], compiled())
    assert all(text.handles == compiled().finder.find(text.folded) for text in texts)
    assert sum(bool(text.handles) for text in texts) > 100


@settings(max_examples=100)
@given(batches)
def test_a_mask_has_the_bit_of_everything_that_was_found(texts: list[str]) -> None:
    bits = disguised_rules().bits
    for text in scan(texts):
        names = {one.term.lexicon for one in text.seen()} | ({HANDLE_KEY} if text.handles else set())
        assert all(text.mask & bits[name] for name in names)
        assert bool(text.mask & bits[HANDLE_KEY]) == bool(text.handles)


@pytest.mark.parametrize("text", ["哈" * LONG_RUN, "!" * LONG_RUN, "甲" + "\n乙" * MANY_LINES])
def test_noise_is_seen_from_so_many_on(text: str) -> None:
    noisy, less, other = scan([text, text[:-2], "好"])
    bit = disguised_rules().bits[NOISE_KEY]
    assert (bool(noisy.mask & bit), bool(less.mask & bit), bool(other.mask & bit)) == (True, False, False)


@pytest.mark.parametrize("text", ["出\u200b金", "加.微.信.私.聊.我", "\u202e金出", "wеixin", "１②三Ⅳ"])
def test_pains_taken_to_hide_something_are_seen(text: str) -> None:
    plain, hidden, other = scan(["出金", text, "你好！在吗？"])
    bit = disguised_rules().bits[DISGUISED_KEY]
    assert (bool(plain.mask & bit), bool(hidden.mask & bit), bool(other.mask & bit)) == (False, True, False)


@given(st.lists(st.text(), min_size=1, max_size=6))
@example(["#n", "甲"])
def test_a_fingerprint_does_not_depend_on_what_stands_beside(texts: list[str]) -> None:
    assert [text.fingerprint for text in scan(texts)] == [scan([text])[0].fingerprint for text in texts]


# --- no rule is left out that would have hit


def left_out(under: RuleSet, chat: Sequence[ChatEvent]) -> list[tuple[str, str]]:
    """Name the rules that are satisfied by an event but are no candidates there."""
    out = []
    for reading in Reader(under).read(chat):
        near = [one for one in under.index.candidates(reading) if all(map(reading.holds, one.doubts))]
        tried = {trial.rule.id for trial in (*near, *under.index.always)}
        hit = {rule.id for rule in under.rules if Trial(rule, (), under.plans).place(reading)}
        out += [(reading.event.text, rule) for rule in sorted(hit - tried)]
    return out


@settings(max_examples=100)
@given(chats())
def test_whatever_would_hit_is_a_candidate(chat: list[ChatEvent]) -> None:
    assert left_out(disguised_rules(), chat) == []


def test_whatever_would_hit_of_the_shipped_rules_is_a_candidate() -> None:
    assert left_out(compiled(), lines()) == []


@cache
def all_tried() -> RuleSet:
    return exhaustive(RuleSet(read([disguised_layer()])))


@settings(max_examples=100)
@given(chats())
def test_trying_every_rule_finds_nothing_more(chat: list[ChatEvent]) -> None:
    assert Moderator(disguised_rules()).judge(chat) == Moderator(all_tried()).judge(chat)


def test_trying_every_shipped_rule_finds_nothing_more() -> None:
    found = Moderator(compiled()).judge(lines())
    assert found == Moderator(exhaustive(RuleSet(shipped()))).judge(lines())
    assert len({hit.rule for finding in found for hit in finding.hits}) > 20


# --- with and without the fast wheels


@cache
def plain() -> RuleSet:
    return load([disguised_layer()], plain=True)


@settings(max_examples=60)
@given(chats())
def test_trie_and_jieba_find_what_the_fast_wheels_find(chat: list[ChatEvent]) -> None:
    assert Moderator(plain()).judge(chat) == Moderator(disguised_rules()).judge(chat)


def test_trie_and_jieba_find_under_the_shipped_rules_what_the_fast_wheels_find() -> None:
    assert Moderator(RuleSet(shipped(), plain=True)).judge(lines()) == Moderator(compiled()).judge(lines())


def test_texts_remembered_have_a_bound_and_the_last_ones_stay() -> None:
    reader, most = Reader(compiled()), MOST_KNOWN["guild"]
    for first in range(0, most + 200, 200):
        reader.read([event("好", number, guild=f"g{number}") for number in range(first, first + 200)])
        assert len(reader._known["guild"]) <= most
    assert {f"g{most + 199 - back}" for back in range(most // 2)} <= reader._known["guild"].keys()
