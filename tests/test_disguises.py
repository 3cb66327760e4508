"""The disguises hide what they should, the same way every time; and the shipped rules see through enough of them."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import disguises, spellings, wording
from bench.detection import (
    CLASSES,
    Row,
    cells,
    for_documents,
    hidden,
    keywords,
    mean,
    offence,
    scene,
    technique_row,
    trap_row,
)
from bench.disguises import TECHNIQUES, Disguised, Technique
from bench.traps import Trap, innocents, traps
from bench.wording import chance, fill, offers, plains, table
from moderation.events import decode_event
from moderation.fold import fold
from streams.rules import load_rules

if TYPE_CHECKING:
    from bench.detection import Keywords
    from bench.wording import Plain
    from moderation.ruleset import RuleSet

ROOT: Final = Path(__file__).parent.parent
#: Lines for each floor, of seed 1.
LINES: Final = 60
BY_NUMBER: Final = {technique.number: technique for technique in TECHNIQUES}
#: Least share found (review or act), and least share of handles read, in per cent: five below what was measured with
#: these lines on 2026-11-22. Raise them as rules and folding get better.
FLOORS: Final = {
    1: (93, 95), 2: (95, 95), 3: (95, 95), 4: (91, 58), 5: (93, 92), 6: (85, 70), 7: (90, 56), 8: (93, 95),
    9: (95, 95), 10: (95, 95), 11: (95, 95), 12: (95, 95), 13: (91, 63), 14: (95, 90), 15: (95, 95), 16: (95, 95),
    17: (91, 53), 18: (85, 16), 19: (95, 95), 20: (86, 35), 21: (85, 36), 22: (81, 95), 23: (85, 85), 24: (83, 90),
    25: (66, 65), 26: (85, 81), 27: (80, 76), 28: (91, 90), 29: (95, 95), 30: (91, 92), 31: (95, 95), 32: (73, 74),
    33: (93, 75), 34: (43, 33), 35: (90, 74), 36: (95, 95), 37: (83, 74), 38: (93, 76), 39: (46, 25), 40: (91, 43),
    41: (95, 95), 42: (88, 79), 43: (88, 95), 44: (81, 63),
}  # fmt: skip
#: Most innocent chat that may be punished, and that may be shown to a person, in per cent; 0 and 0 where not named.
CEILINGS: Final = {
    "own-guild recruiting": (0, 4),
    "login and official": (0, 5),
    "reporting and warning": (0, 2),
    "server talk": (0, 7),
    "guild-internal": (0, 30),
    "looks disguised": (0, 3),
}
#: What folding undoes alone, and what it undoes once separators are gone; of the words, not of every shape of digit.
FOLDED: Final = (2, 3, 8, 10, 19, 29, 36)
SQUEEZED: Final = (4, 5, 7)


@cache
def rules() -> RuleSet:
    return load_rules([ROOT / "rules"])


@cache
def filters() -> Keywords:
    return keywords(rules())


def lines(technique: Technique, count: int = LINES, seed: int = 1) -> list[tuple[Plain, Disguised]]:
    return list(hidden(technique, seed, count))


def by_name(technique: Technique | Trap) -> str:
    return technique.name


def test_there_are_44_techniques_with_a_number_and_a_name_each() -> None:
    assert [technique.number for technique in TECHNIQUES] == list(range(1, 45))
    assert len({technique.name for technique in TECHNIQUES}) == 44


def test_there_are_ten_offers_of_each_of_eight_labels() -> None:
    labels = [offer.label for offer in offers()]
    assert {label: labels.count(label) for label in labels} == dict.fromkeys(
        ("rmt", "topup", "boosting", "spam_ad", "contact", "poaching", "scam", "gambling"), 10
    )
    assert len({offer.template for offer in offers()}) == 80


def test_plain_lines_say_every_template_and_show_none_of_their_marks() -> None:
    made = list(islice(plains(1), 400))
    assert {line.template for line in made[:80]} == {offer.template for offer in offers()}
    assert [line.text for line in made if any(mark in line.text for mark in "<>{}|@()")] == []
    assert len({line.text for line in made}) > 350


def test_the_parts_of_a_line_are_the_line() -> None:
    for line in islice(plains(2), 200):
        assert line.handle in line.text
        assert "".join(part.text for part in line.parts) == line.text
        assert not {line.cue, line.handle} & {part.text for part in line.parts if part.role in ("said", "word")}
        assert bool(line.handle) == bool(line.kind)


def test_a_template_fills_choices_numbers_and_slots() -> None:
    draw = chance("x")
    said = fill("(a|b){3-5}{d8}{nick}\\n{item:{1-1}:x}", draw, {"nick": ["N"]})
    assert said[0] in "ab"
    assert 3 <= int(said[1]) <= 5
    assert said[2:10].isdigit()
    assert said[10:] == "N\n{item:1:x}"


@pytest.mark.parametrize("technique", TECHNIQUES, ids=by_name)
def test_the_same_seed_hides_the_same_way(technique: Technique) -> None:
    assert lines(technique, 12) == lines(technique, 12)
    assert lines(technique, 12) != lines(technique, 12, seed=2)


@pytest.mark.parametrize("technique", TECHNIQUES[1:], ids=by_name)
def test_a_technique_changes_every_line_and_keeps_something_to_read(technique: Technique) -> None:
    for plain, disguised in lines(technique):
        assert disguised.messages != (plain.text,)
        assert all(disguised.messages)


@settings(max_examples=60)
@given(seed=st.integers(0, 10**9), technique=st.sampled_from(TECHNIQUES))
def test_what_is_hidden_is_a_valid_event(seed: int, technique: Technique) -> None:
    [(_, disguised)] = lines(technique, 1, seed)
    for event in offence(disguised):
        assert decode_event(msgspec.json.encode(event), keyed=False) == event


@pytest.mark.parametrize("number", FOLDED)
def test_folding_undoes_what_hides_no_meaning(number: int) -> None:
    for plain, disguised in lines(BY_NUMBER[number]):
        assert fold("".join(disguised.messages)).text == fold(plain.text).text


@pytest.mark.parametrize("number", SQUEEZED)
def test_squeezing_undoes_what_stands_between_characters(number: int) -> None:
    for plain, disguised in lines(BY_NUMBER[number]):
        assert fold("".join(disguised.messages)).squeezed.text == fold(plain.text).squeezed.text


def test_a_split_line_is_whole_again_when_joined() -> None:
    for plain, disguised in lines(BY_NUMBER[40]):
        assert len(disguised.messages) >= 3
        assert "".join(disguised.messages).endswith(plain.cue + plain.handle)


def test_a_carried_handle_is_not_in_the_message() -> None:
    for plain, disguised in lines(BY_NUMBER[41]):
        carried = [field for field in (disguised.name, disguised.guild, disguised.signature) if field]
        assert carried == [plain.cue + plain.handle]
        assert plain.handle not in disguised.messages[0]


def test_every_clause_of_an_acrostic_begins_or_ends_with_its_character() -> None:
    words = table("words")
    assert all(clause.startswith(c) for c, options in words["heads"].items() for clause in options.split("|"))
    assert all(clause.endswith(c) for c, options in words["tails"].items() for clause in options.split("|"))
    phrases = {c for options in words["acrostic"].values() for phrase in options.split("|") for c in phrase}
    assert phrases <= set(words["heads"])


def test_every_character_has_one_reading_and_every_look_alike_differs() -> None:
    read = "".join(table("sounds")["syllable"].values())
    assert len(read) == len(set(read))
    for name in ("alike", "split", "emoji"):
        assert [c for c, options in table("glyphs")[name].items() if c in options.split(" ")] == []


@pytest.mark.parametrize("module", [disguises, spellings, wording])
def test_the_disguises_know_nothing_of_the_engine(module: object) -> None:
    source = Path(str(getattr(module, "__file__", ""))).read_text(encoding="utf-8")
    assert "moderation" not in source.replace("moderation.actions", "")


def test_a_technique_that_can_hide_nothing_says_so() -> None:
    with pytest.raises(ValueError, match="hides only 0"):
        list(hidden(Technique(99, "none", lambda _plain, _draw: None), 1, 5))


def test_the_keyword_filter_is_given_words_of_every_class() -> None:
    assert {term.lexicon for terms in rules().terms for term in terms} >= CLASSES


def test_the_keyword_filters_differ_by_what_nfkc_and_marks_hide() -> None:
    assert filters().plain("代练")
    assert not filters().plain("代\u200b练")
    assert filters().nfkc("代\u200b练")
    assert filters().nfkc("号码１２３４５６７８")
    assert not filters().nfkc("今天天气真好")


@pytest.mark.parametrize("trap", traps(), ids=by_name)
def test_traps_are_valid_varied_and_repeatable(trap: Trap) -> None:
    made = list(islice(innocents(trap, 1), 100))
    assert made == list(islice(innocents(trap, 1), 100))
    assert len({one.text for one in made}) >= 30
    assert [one.text for one in made if "|" in one.text or "{nick}" in one.text] == []
    for event in (event for one in made for event in scene(one)):
        assert decode_event(msgspec.json.encode(event), keyed=False) == event


@pytest.mark.parametrize("technique", TECHNIQUES, ids=by_name)
def test_the_shipped_rules_see_through(technique: Technique) -> None:
    row = technique_row(rules(), filters(), technique, 1, LINES)
    found, handle = FLOORS[technique.number]
    assert _percent(row.found) >= found
    assert _percent(row.handle) >= handle


@pytest.mark.parametrize("trap", traps(), ids=by_name)
def test_innocent_chat_stays_unpunished(trap: Trap) -> None:
    row = trap_row(rules(), filters(), trap, 1, 100)
    act, found = CEILINGS.get(trap.name, (0, 0))
    assert _percent(row.act) <= act
    assert _percent(row.found) <= found


def test_every_ceiling_is_of_a_trap() -> None:
    assert set(CEILINGS) <= {trap.name for trap in traps()}


def test_a_table_has_no_column_that_says_nothing() -> None:
    told = Row("a", 10, 1.0, 0.5, None, 0.25, None, 0.0, 0.0)
    heads, line = cells([told])
    assert heads == ["", "found", "act", "label", "NFKC filter", "plain filter"]
    assert line == ["a", "100%", "50%", "25%", "0%", "0%"]
    assert for_documents("t", [told, msgspec.structs.replace(told, bare=0.5)]).split("\n")[2] == (
        "| a | 100% | 50% | - | 25% | 0% | 0% |"
    )
    assert mean([told, msgspec.structs.replace(told, bare=0.5, found=0.0)]).bare == 0.5


def test_the_command_ends_with_one_json_line() -> None:
    command = [sys.executable, str(ROOT / "bench" / "detection.py"), "--json", "--lines", "2"]
    ended = subprocess.run(command, stdout=subprocess.PIPE, timeout=60, check=True)
    made = json.loads(ended.stdout)
    rows = msgspec.convert(made["techniques"], list[Row])
    assert [row.name for row in rows][-1] == "mean"
    assert len(rows) == 45
    assert len(made["traps"]) == len(traps()) + 1


def _percent(share: float | None) -> float:
    assert share is not None
    return round(share * 100, 6)
