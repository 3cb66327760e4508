"""Advice about rules that can be read: each kind is given where it is due, with its place, and not where it is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console import lint as linting
from moderation.conditions import AllOf, AnyOf, Condition, Context, Guard, HandleOf, Lexicon, NoneOf, Pattern
from moderation.implication import implies
from moderation.lint import COMMON, COMMON_ALONE, advise
from moderation.reading import Reader
from moderation.rulefile import draft
from moderation.ruletest import failures, under_test
from moderation.rulewords import PROBLEMS
from tests.small_rules import GUARDS, LEXICONS, RULES, SAID, TS, event, layer, rules
from tests.test_cli import run

SHIPPED: Final = Path(__file__).parent.parent / "rules"
DAY: Final = 86_400_000
TWO: Final = """\
- id: one
  label: rmt
  说明: 一
  owner: gm
  status: live
  when: {lexicon: sell}
  score: 50
  because: "{sell}"
  tests: {hit: [出金], pass: [你好]}
- id: two
  label: rmt
  说明: 二
  owner: gm
  status: live
  when: {lexicon: cash}
  score: 50
  because: "{cash}"
  tests: {hit: [现金], pass: [你好]}
"""


def advice(site: str = "", *, words: str = "", common: dict[str, int] | None = None) -> list[str]:
    """Return what is advised about a layer over the small rule set, as code and line; `site` is its rules.yaml."""
    files = {"site.yaml": site, "lexicons/site.yaml": words}
    over = {name: text.encode() for name, text in files.items() if text}
    found = advise(draft([layer(), over]), TS + 10 * DAY, lambda word: (common or {}).get(word, 0))
    return [f"{p.code} {p.line}" for p in found if p.file in over]


def lexicon(*terms: str) -> str:
    return "\n".join(["sell:", "  说明: 卖", "  terms:", *(f"    - {term}" for term in terms), ""])


def test_the_shipped_rules_are_clean() -> None:
    report = linting.lint([SHIPPED])
    assert [str(problem) for problem in report.problems] == []
    assert report.rules > 200


def test_two_sound_rules_get_no_advice() -> None:
    assert advice(TWO) == []


@pytest.mark.parametrize(("most", "expected"), [("50%", ["W213 8"]), ("100%", ["W213 8"]), ("49%", [])])
def test_a_band_that_bounds_nothing_is_named(most: str, expected: list[str]) -> None:
    band = f"  score: 50\n  band: {{at_most: {most}}}\n"
    assert advice(TWO.replace("  score: 50\n", band, 1)) == expected


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        ("出金", ["W101 4"]), ("出", ["W102 4"]), ("'。。'", ["W102 4"]), ("可以", ["W103 4"]), ("交易", ["W103 4"]),
        ("{term: 旧券, until: 2025-06-20}", ["W104 4"]), ("换区补偿现金券", ["W105 4"]), ("收元宝号", []),
        ("{term: 新券, until: 2030-06-20}", []), ("🧧", []),
    ],
)  # fmt: skip
def test_a_term_that_never_or_always_matches_is_named(term: str, expected: list[str]) -> None:
    assert advice(words=lexicon(term), common={"可以": COMMON, "交易": COMMON_ALONE}) == expected


def test_a_term_that_stands_twice_is_named_with_the_first_ones_line() -> None:
    over = {"lexicons/site.yaml": lexicon("收元宝号", "包月", "收元寶號").encode()}
    [found] = [p for p in advise(draft([layer(), over]), TS, lambda _: 0) if p.file in over]
    assert (found.code, found.line) == ("W101", 6)
    assert "第 4 行" in found.message


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('  score: 50\n  because: "{cash}"', '  score: 50\n  expires: 2025-06-15\n  because: "{cash}"', "W201 17"),
        ('  score: 50\n  because: "{cash}"', '  score: 50\n  review_by: 2025-06-15\n  because: "{cash}"', "W202 17"),
        ("说明: 二\n  owner: gm", "说明: 二\n  owner: ''", "W203 13"),
        ("status: live\n  when", "status: canary\n  canary: {percent: 0}\n  when", "W205 6"),
        ('score: 50\n  because: "{cash}"', 'score: 0\n  because: "{cash}"', "W205 16"),
        ("when: {lexicon: cash}", "when: {lexicon: cash}\n  unless: [lexicon: [cash, report]]", "W205 16"),
        ("when: {lexicon: cash}", "when: {all: [lexicon: cash, none: [lexicon: [cash, report]]]}", "W205 10"),
        ("when: {lexicon: cash}", "when: {lexicon: cash}\n  context: [world, private]", "W205 16"),
        ("when: {lexicon: cash}", "when: {lexicon: cash}\n  context: [public, stranger]", "W205 16"),
        ("when: {lexicon: cash}", "when: {lexicon: sell}", "W206 15"),
        ("when: {lexicon: cash}", "when: {all: [lexicon: sell, handle: any]}", "W207 15"),
        ('because: "{cash}"', 'because: "{csh}"', "W209 17"),
        ("tests: {hit: [现金], pass: [你好]}", "tests: {hit: [现金], pass: [你好, 现金]}", "W212 18"),
    ],
)  # fmt: skip
def test_a_rule_that_never_hits_or_says_nothing_new_is_named(old: str, new: str, expected: str) -> None:
    assert old in TWO
    found = advice(TWO.replace(old, new))
    assert expected in found


def test_a_class_or_guard_that_nobody_asks_for_is_named_but_for_a_decoy() -> None:
    words = "idle:\n  说明: 闲\n  terms: [闲词]\nwall:\n  说明: 挡\n  decoy: true\n  terms: [挡词]\n"
    found = advise(draft([layer(lexicons__site_yaml=words, guards_yaml=GUARDS + "spare: {lexicon: cash}\n")]), TS, len)
    assert [(p.code, p.file) for p in found if p.code in ("W210", "W211")] == [
        ("W211", "guards.yaml"), ("W210", "lexicons/site.yaml"),
    ]  # fmt: skip


def test_a_counter_that_counts_something_else_in_a_later_layer_is_named() -> None:
    old = "{counter: sell.spray, by: sender, distinct: recipient, within: 600, at_least: 3}"
    block = next(one for one in RULES.split("- id: ") if one.startswith("sell.spray"))
    changed = ("- id: " + block).replace("distinct: recipient", "distinct: message")
    assert old in RULES
    [said] = [p for p in advise(draft([layer(), {"site.yaml": changed.encode()}]), TS, len) if p.code == "W208"]
    assert (said.file, said.line) == ("site.yaml", 8)
    assert "sender/recipient" in said.message
    assert "sender/message" in said.english


def test_a_rule_in_which_something_is_wrong_gets_no_advice_besides() -> None:
    assert [one for one in advice(TWO.replace("lexicon: cash", "lexicon: csh")) if not one.endswith(" 1")] == []


CONDITIONS: Final = st.recursive(
    st.sampled_from(
        [
            Lexicon(frozenset({"sell"})), Lexicon(frozenset({"cash"})), Lexicon(frozenset({"sell", "cash"})),
            Lexicon(frozenset({"move"}), ("text",)), HandleOf(), HandleOf(frozenset({"qq"})), Context("public"),
            Context("world"), Context("private"), Context("not_friend"), Context("new"), Context("same_guild"),
        ]
    ),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: AnyOf(tuple(parts))),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: NoneOf(tuple(parts))),
        st.tuples(st.lists(inner, min_size=1, max_size=3), st.sampled_from((None, 4, 12))).map(
            lambda made: AllOf(tuple(made[0]), made[1])
        ),
        inner.map(lambda one: Guard("named", one)),
    ),
    max_leaves=5,
)  # fmt: skip


@given(CONDITIONS, CONDITIONS, st.sampled_from(("as they are", "both", "either", "not")))
def test_what_follows_holds_wherever_that_it_follows_from_holds(a: Condition, b: Condition, made: str) -> None:
    pairs = {"both": (AllOf((a, b)), b), "either": (a, AnyOf((b, a))), "not": (NoneOf((a, b)), NoneOf((b,)))}
    one, other = pairs.get(made, (a, b))
    if not implies(one, other):
        assert made == "as they are"
        return
    scenes: tuple[dict[str, Any], ...] = (
        {},
        {"channel": "horn"},
        {"to": {"account_id": "r", "is_friend": True}},
        {"level": 3},
    )
    chat = [event(text, **scene) for text in SAID[:12] for scene in scenes]
    plans = rules().plans
    for reading in Reader(rules()).read(chat):
        assert not plans.of(one).holds(reading) or plans.of(other).holds(reading)


def test_a_pattern_follows_from_itself_only() -> None:
    assert implies(Pattern("a+"), Pattern("a+"))
    assert not implies(Pattern("a+"), Pattern("[ab]+"))


# --- the command


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Return a whole rule set with two errors, a field misspelt and so missing, and two warnings."""
    words = LEXICONS.replace("[举报, 骗子]", "[举报, 骗子, 骗]")
    for name, content in layer(lexicons__all_yaml=words, rules_yaml=TWO.replace("score: 50", "score: 30")).items():
        file = tmp_path / "site" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    misspelt = (
        TWO.partition("- id: two")[0]
        .replace("id: one", "id: own")
        .replace("score: 50", "socre: 50")
        .replace("live", "shadow")
    )
    (tmp_path / "site" / "own.yaml").write_text(misspelt, "utf-8")
    return tmp_path / "site"


def test_every_problem_is_shown_with_its_line_and_a_suggestion(site: Path) -> None:
    result = run("rules", "lint", str(site))
    assert result.exit_code == 1
    assert f"{site}/own.yaml:7:3 E102" in result.stdout
    assert "score" in result.stdout
    assert "     7 │   socre: 50\n       │   ^^^^^\n" in result.stdout
    assert "W102" in result.stdout
    assert "2" in result.stderr


def test_json_says_the_same_in_both_languages(site: Path) -> None:
    said = json.loads(run("rules", "lint", str(site), "--json").stdout)
    assert [p["code"] for p in said["problems"]] == ["W104", "W102", "E103", "E102"]
    assert (said["errors"], said["warnings"]) == (2, 2)
    [unknown] = [p for p in said["problems"] if p["code"] == "E102"]
    assert (unknown["severity"], unknown["line"], unknown["column"]) == ("error", 7, 3)
    assert "你是不是想写 score？" in unknown["message"]
    assert "did you mean score?" in unknown["english"]


def test_github_gets_one_workflow_command_a_problem(site: Path) -> None:
    lines = run("rules", "lint", str(site), "--format", "github").stdout.splitlines()
    assert any(line.startswith(f"::error file={site}/own.yaml,line=7,col=3,title=E102::") for line in lines)
    assert any(line.startswith("::warning ") for line in lines)
    assert len(lines) == 4


def test_sarif_has_a_place_in_each_result_and_describes_each_code(site: Path) -> None:
    log = json.loads(run("rules", "lint", str(site), "--format", "sarif").stdout)
    [one] = log["runs"]
    assert log["version"] == "2.1.0"
    assert {result["level"] for result in one["results"]} == {"error", "warning"}
    assert {rule["id"] for rule in one["tool"]["driver"]["rules"]} == {result["ruleId"] for result in one["results"]}
    assert all(r["locations"][0]["physicalLocation"]["region"]["startLine"] > 0 for r in one["results"])


def test_warnings_alone_are_no_findings_unless_they_are_to_be(site: Path) -> None:
    (site / "own.yaml").unlink()
    assert run("rules", "lint", str(site)).exit_code == 0
    assert run("rules", "lint", str(site), "--strict").exit_code == 1
    assert run("rules", "lint", str(site / "nowhere")).exit_code == 2


def test_hostile_text_in_a_problem_is_shown_as_tokens(site: Path) -> None:
    (site / "own.yaml").write_text('- {"\\u202e\\x1b[2Jid": x}\n', "utf-8")
    shown = run("rules", "lint", str(site)).stdout
    assert "⟨U+202E⟩␛[2J" in shown
    assert "\x1b" not in shown
    assert "\u202e" not in shown


def test_a_code_means_one_thing_in_both_languages() -> None:
    for zh, en in PROBLEMS.values():
        assert any("\u4e00" <= char <= "\u9fff" for char in zh) or zh == "{why}"
        assert zh != en
        assert set(_slots(en)) <= set(_slots(zh)) | {"kind"}


def _slots(text: str) -> list[str]:
    return [part.partition("}")[0] for part in text.replace("{{", "").split("{")[1:]]


# --- tests in files


def test_drafts_are_tested_and_rules_that_start_later_are_tested_when_they_do() -> None:
    late = TWO.replace(
        "status: live\n  when: {lexicon: cash}", "status: draft\n  starts: 2030-01-01\n  when: {lexicon: cash}"
    )
    contents = draft([layer(rules_yaml=late)]).contents
    assert contents is not None
    assert list(failures(under_test(contents))) == []
    wrong = draft([layer(rules_yaml=late.replace("hit: [现金]", "hit: [你们好]"))]).contents
    assert wrong is not None
    assert [(f.rule.id, f.wanted) for f in failures(under_test(wrong))] == [("two", "hit")]


def test_a_test_that_does_not_hold_is_shown_with_what_is_missing(site: Path) -> None:
    broken = TWO.replace("hit: [出金]", "hit: [出金, {messages: [你们好, 大家好], every: 9}]").replace(
        "pass: [你好]", "pass: [跳槽有现金]"
    )
    (site / "own.yaml").unlink()
    (site / "rules.yaml").write_text(broken, "utf-8")
    result = run("rules", "test", str(site))
    assert result.exit_code == 1
    assert f"✗ {site}/rules.yaml:9 one " in result.stdout
    assert f"✗ {site}/rules.yaml:18 two " in result.stdout
    assert "+9s" in result.stdout
    said = json.loads(run("rules", "test", str(site), "--rule", "two", "--json").stdout)
    assert (said["tests"], [(f["rule"], f["wanted"], f["texts"]) for f in said["failed"]]) == (
        2, [("two", "pass", ["跳槽有现金"])],
    )  # fmt: skip


def test_tests_that_hold_say_so_and_an_unknown_rule_is_wrong_usage(site: Path) -> None:
    (site / "own.yaml").unlink()
    (site / "rules.yaml").write_text(TWO, "utf-8")
    result = run("rules", "test", str(site))
    assert (result.exit_code, result.stdout) == (0, "")
    assert "4" in result.stderr
    assert run("rules", "test", str(site), "--rule", "nix").exit_code == 2
