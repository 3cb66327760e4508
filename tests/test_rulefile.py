"""What moderators can get wrong, or slip in: all of it is refused at once, with file, line, column and what to do."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from moderation.conditions import pattern_key
from moderation.errors import RuleSetRejected
from moderation.rulefile import Layer, load, read

if TYPE_CHECKING:
    from moderation.errors import RuleProblem

RULES: Final = Path(__file__).parent.parent / "rules"
RULE: Final = """\
- id: site.one
  label: topup
  说明: 试验
  owner: gm
  status: live
  when:
    lexicon: topup_offer
  score: 50
  because: 试验
  tests:
    hit:
      - 代充
    pass:
      - 你好
"""


@cache
def shipped() -> Layer:
    return {path.relative_to(RULES).as_posix(): path.read_bytes() for path in RULES.rglob("*.yaml")}


def problems(content: str | bytes, file: str = "site.yaml") -> tuple[RuleProblem, ...]:
    raw = content.encode() if isinstance(content, str) else content
    with pytest.raises(RuleSetRejected) as refused:
        read([shipped(), {file: raw}])
    return refused.value.problems


def only(content: str | bytes, file: str = "site.yaml") -> RuleProblem:
    found = problems(content, file)
    assert len(found) == 1, [str(problem) for problem in found]
    return found[0]


def lexicon(*lines: str) -> str:
    return "\n".join(["site_words:", "  说明: 试验", "  terms:", *(f"    - {line}" for line in lines), ""])


def test_a_well_written_rule_is_added_to_the_shipped_ones() -> None:
    assert read([shipped(), {"site.yaml": RULE.encode()}]).rules[-1].id == "site.one"


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("final_answer_h: 72", "final_answer_h: 23", "E406"),
        ("overturned_percent: 5 ", "overturned_percent: 0 ", "E108"),
        ("at_least: 20 ", "at_least: viele ", "E107"),
        ("window_days: 30 ", "window_days: 91 ", "E108"),
        ("at_least: 20 ", "atleast: 20 ", "E102"),
    ],
)
def test_numbers_about_appeals_that_make_no_sense_are_refused(old: str, new: str, code: str) -> None:
    policy = shipped()["policy.yaml"].decode()
    assert old in policy
    assert only(policy.replace(old, new), "policy.yaml").code == code


def test_a_misspelt_field_is_named_with_its_place_and_a_suggestion() -> None:
    problem = next(p for p in problems(RULE.replace("  score:", "  socre:")) if p.code == "E102")
    assert (problem.file, problem.line, problem.column) == ("site.yaml", 8, 3)
    assert "你是不是想写 score？" in problem.message
    assert str(problem).startswith("site.yaml:8:3 E102 ")


def test_all_problems_are_said_at_once() -> None:
    broken = (
        RULE.replace("status: live", "status: liev")
        .replace("score: 50", "score: 500")
        .replace("topup_offer", "topup_ofer")
    )
    assert {(5, "E109"), (7, "E211"), (8, "E108")} <= {(p.line, p.code) for p in problems(broken)}


def test_an_unknown_lexicon_context_signal_or_guard_comes_with_the_nearest_name() -> None:
    for wrong, right in (
        ("lexicon: topup_ofer", "topup_offer"), ("context: to_vp", "to_vip"), ("signal: disguise", "disguised"),
        ("guard: reportin", "reporting"),
    ):  # fmt: skip
        found = problems(RULE.replace("lexicon: topup_offer", wrong))
        assert any(f"你是不是想写 {right}？" in p.message for p in found if p.line == 7), wrong


def test_aliases_cannot_blow_up() -> None:
    bomb = 'a: &a ["lol"]\nb: &b [*a, *a, *a, *a]\nc: [*b, *b, *b, *b]\n'
    assert ("lexicons/site.yaml", 1, "E005") in {(p.file, p.line, p.code) for p in problems(bomb, "lexicons/site.yaml")}


def test_tags_make_no_objects() -> None:
    assert "E006" in {p.code for p in problems("x: !!python/object/apply:os.system ['true']\n", "lexicons/site.yaml")}


def test_a_file_of_megabytes_is_not_even_parsed() -> None:
    assert only(b"a" * (5 << 20)).code == "E001"


def test_deep_nesting_is_refused() -> None:
    assert only("[" * 3000 + "]" * 3000).code == "E007"


def test_a_key_written_twice_is_refused_where_it_stands() -> None:
    problem = only(RULE.replace("  score: 50\n", "  score: 50\n  score: 90\n"))
    assert (problem.line, problem.code) == (9, "E008")
    assert "第 8 行" in problem.message


def test_tabs_are_named_as_the_likely_cause() -> None:
    problem = only(RULE.replace("  score", "\tscore"))
    assert problem.code == "E003"
    assert "Tab" in problem.message


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm() -> None:
    raw = b"\xef\xbb\xbf" + RULE.replace("\n", "\r\n").encode()
    assert read([shipped(), {"site.yaml": raw}]).rules[-1].id == "site.one"


def test_a_gbk_file_is_refused_in_words_a_moderator_understands() -> None:
    problem = only(RULE.encode("gb18030"))
    assert problem.code == "E002"
    assert "UTF-8" in problem.message


@pytest.mark.parametrize("regex", ["(a", "a{2000}", "(?=a)b", r"(a)\1"])
def test_a_pattern_that_re2_cannot_read_is_refused(regex: str) -> None:
    assert "E304" in {p.code for p in problems(RULE.replace("lexicon: topup_offer", f"pattern: '{regex}'"))}


@pytest.mark.parametrize("regex", [".*", "a*", "|x", "^"])
def test_a_pattern_that_matches_everything_is_refused(regex: str) -> None:
    assert only(RULE.replace("lexicon: topup_offer", f"pattern: '{regex}'")).code == "E305"


def test_a_pattern_that_would_explode_elsewhere_runs_in_linear_time() -> None:
    rules = load([shipped(), {"site.yaml": RULE.replace("lexicon: topup_offer", "pattern: '(a+)+$'").encode()}])
    assert rules.searches[rules.bits[pattern_key("(a+)+$")]](b"a" * 5000 + b"!") is None


@pytest.mark.parametrize("score", ["-1", "101", "1e9", "很多"])
def test_a_score_out_of_bounds_is_refused(score: str) -> None:
    assert only(RULE.replace("score: 50", f"score: {score}")).code in {"E107", "E108"}


@pytest.mark.parametrize("step", ["禁言 -1小时", "禁言 0分钟", "封号 1000000000天", "禁言", "打屁股"])
def test_a_punishment_nobody_can_mean_is_refused(step: str) -> None:
    policy = shipped()["policy.yaml"].decode()
    line = next(line for line in policy.splitlines() if line.strip().startswith("new: [撤回 + 封号"))
    broken = policy.replace(line, f"    new: [{step}]")
    assert only(broken, "policy.yaml").code == "E403"


@pytest.mark.parametrize("term", ['"\\u200b"', '" "', '"\\u200b\\u2060 "'])
def test_a_term_that_can_never_match_is_refused(term: str) -> None:
    assert "E204" in {p.code for p in problems(lexicon(term), "lexicons/site.yaml")}


def test_a_term_longer_than_anybody_writes_is_refused() -> None:
    assert only(lexicon("长" * 40), "lexicons/site.yaml").code == "E106"


def test_of_terms_that_say_the_same_the_first_is_taken() -> None:
    contents = read([shipped(), {"lexicons/site.yaml": lexicon("代充点", "代充點").encode()}])
    assert [t.text for t in contents.terms if t.lexicon == "site_words"] == ["代充点"]


def test_two_rules_of_one_id_in_one_layer_are_refused() -> None:
    problem = only(RULE + RULE)
    assert problem.code == "E206"
    assert "第 1 行" in problem.message


def test_a_rule_without_tests_is_refused() -> None:
    assert "E103" in {p.code for p in problems(RULE[: RULE.index("  tests:")])}


def test_words_that_yaml_would_turn_into_something_else_stay_words() -> None:
    lines = ("no", "on", "1e3", "010", "12:30", "null", "0x1F")
    contents = read([shipped(), {"lexicons/site.yaml": lexicon(*lines).encode()}])
    assert tuple(t.text for t in contents.terms if t.lexicon == "site_words") == lines


def test_a_later_layer_replaces_a_rule_and_adds_words() -> None:
    site = {
        "site.yaml": RULE.replace("site.one", "topup.offer-alone").replace("status: live", "status: off").encode(),
        "lexicons/site.yaml": "topup_offer:\n  说明: 试验\n  terms: [代氪金]\n".encode(),
    }
    contents = read([shipped(), site])
    assert [r.status for r in contents.rules if r.id == "topup.offer-alone"] == ["off"]
    assert "代氪金" in {t.text for t in contents.terms if t.lexicon == "topup_offer"}
