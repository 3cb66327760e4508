"""Attacks on the loader of rules: it says what is wrong and where, or what it loads does no harm."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct

from moderation.conditions import every
from moderation.errors import RuleSetRejected
from moderation.moderator import Moderator
from moderation.rulefile import Layer, load, read
from moderation.ruletest import failures
from streams.rules import MOST_FILES, load_rules
from tests.small_rules import ALLOW, GAME, GUARDS, LEXICONS, event, layer, rules

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moderation.ruleset import RuleSet

DATA: Final = Path(__file__).parent / "data" / "hostile_rules"
ADVERT: Final = "出金加QQ 7381920465"
#: What harmless rules leave alone, however it is typed.
ORDINARY: Final = ("你好", "", "a中国", "a" * 2000 + "!", " " * 2000, "加" * 500 + "!", "甲乙丙")
#: What takes a tenth of a second takes this long only if it hangs. CPU time of this process.
GUARD_S: Final = 10.0
RULE: Final = """\
- id: site.one
  label: rmt
  说明: 试验
  owner: gm
  status: live
  when: {lexicon: sell}
  score: 10
  because: 试验
  tests: {hit: [出金], pass: [你好]}
"""


def small() -> Layer:
    """The small rule set with the least words for handles, so that it is read in milliseconds."""
    words = msgspec.to_builtins(rules().contents.grammar)
    least = {name: one if isinstance(one, str | dict) else one[:1] for name, one in words.items()}
    least |= {name: dict(list(one.items())[:2]) for name, one in least.items() if isinstance(one, dict)}
    return {**layer(), "handles.yaml": msgspec.json.encode(least)}


SMALL: Final = small()


class Attack(Struct, frozen=True, forbid_unknown_fields=True):
    """A line of the index; its head says what the fields mean."""

    name: str
    problems: tuple[str, ...] = ()
    harmless: bool = False
    why: str = ""
    xfail: str = ""


class Index(Struct, frozen=True, forbid_unknown_fields=True):
    """The index."""

    attack: tuple[Attack, ...]


INDEX: Final = msgspec.toml.decode((DATA / "index.toml").read_bytes(), type=Index).attack


def param(one: Attack) -> Any:
    marks = [pytest.mark.xfail(strict=True, reason=one.xfail)] if one.xfail else []
    return pytest.param(one, id=one.name, marks=marks)


@contextmanager
def bounded() -> Iterator[None]:
    started = time.process_time()
    yield
    assert time.process_time() - started < GUARD_S


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`SMALL` as a directory."""
    directory = tmp_path_factory.mktemp("base")
    for name, content in SMALL.items():
        path = directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    return directory


def refused(*directories: Path) -> list[str]:
    """What is said of the last directory, as file:line code."""
    with bounded(), pytest.raises(RuleSetRejected) as rejected:
        load_rules(directories)
    last = directories[-1]
    return [f"{Path(p.file).relative_to(last).as_posix()}:{p.line} {p.code}" for p in rejected.value.problems]


def assert_harmless(made: RuleSet) -> None:
    """An advert is still punished, as before; what is ordinary is still let by; nothing takes long or raises."""
    with bounded():
        assert verdicts(made, ADVERT) == verdicts(rules(), ADVERT) == ["act"]
        assert verdicts(made, *ORDINARY) == verdicts(rules(), *ORDINARY)


def verdicts(made: RuleSet, *texts: str) -> list[str]:
    return [Moderator(made).judge([event(text)])[0].verdict for text in texts]


@pytest.mark.parametrize("one", [param(one) for one in INDEX])
def test_each_attack_is_named_with_its_place_or_does_no_harm(
    one: Attack, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if one.harmless:
        assert_harmless(load_rules([base, DATA / one.name]))
    else:
        said = refused(base, DATA / one.name)
        assert [s for s in said if not any(expected(s, e) for e in one.problems)] == []
        assert [e for e in one.problems if not any(expected(s, e) for s in said)] == []
    assert list(tmp_path.iterdir()) == []  # what the files order to be executed would write here


def expected(said: str, wanted: str) -> bool:
    return wanted in (said, said.partition(" ")[0])


def test_none_of_the_attacks_is_missing_and_no_directory_is_without_an_entry() -> None:
    made_here = {3, 10, 14, 15}
    assert {int(one.name[1:3]) for one in INDEX} | made_here == set(range(1, 18))
    assert {path.name for path in DATA.iterdir() if path.is_dir()} == {one.name for one in INDEX}
    assert all(bool(one.problems) != one.harmless for one in INDEX)


# -- R1, once more: what anchors are refused for can be said with guards


def guards(count: int, line: str) -> Layer:
    """Guards that each ask for the one before."""
    chain = [line.format(n=n, old=n - 1) for n in range(1, count + 1)]
    return {**SMALL, "guards.yaml": "\n".join([GUARDS, "g0: {lexicon: report}", *chain, ""]).encode()}


def test_guards_that_double_do_not_blow_up() -> None:
    with bounded(), suppress(RuleSetRejected):
        contents = read([guards(12, "g{n}: {{any: [{{guard: g{old}}}, {{guard: g{old}}}]}}")])
        assert sum(1 for _ in every(contents.guards.values())) < 1000


def test_guards_in_a_long_chain_are_refused_or_judged() -> None:
    with bounded(), suppress(RuleSetRejected):
        load([guards(3000, "g{n}: {{guard: g{old}}}")])


# -- R3: too much


def test_a_file_of_megabytes_is_refused_unread(tmp_path: Path, base: Path) -> None:
    (tmp_path / "site.yaml").write_bytes(b"- a\n" * (5 << 18))
    assert refused(base, tmp_path) == ["site.yaml:0 E001"]


def test_a_file_of_too_many_things_is_refused_where_they_become_too_many(tmp_path: Path, base: Path) -> None:
    (tmp_path / "site.yaml").write_text("[" + "a," * 130_000 + "]")
    assert refused(base, tmp_path) == ["site.yaml:1 E001"]


def test_a_directory_of_too_many_files_is_refused(tmp_path: Path, base: Path) -> None:
    for number in range(MOST_FILES + 1):
        (tmp_path / f"{number}.yaml").touch()
    with pytest.raises(RuleSetRejected) as rejected:
        load_rules([base, tmp_path])
    assert [(p.file, p.code) for p in rejected.value.problems] == [(str(tmp_path), "E902")]


# -- R10: too wide


def test_a_rule_that_hits_ordinary_chat_fails_its_own_test(tmp_path: Path, base: Path) -> None:
    wide = RULE.replace("{lexicon: sell}", "{pattern: '[的了我你是不]'}").replace("hit: [出金]", "hit: [你是谁]")
    (tmp_path / "site.yaml").write_text(wide, encoding="utf-8")
    made = load_rules([base, tmp_path])
    assert [f.wanted for f in failures(made) if f.rule.id == "site.one"] == ["pass"]


# -- R14: what is no file


def test_a_link_that_leads_out_is_not_followed(tmp_path: Path, base: Path) -> None:
    secret, site = tmp_path / "secret", tmp_path / "site"
    site.mkdir()
    secret.write_text(RULE, encoding="utf-8")
    (site / "site.yaml").symlink_to(secret)
    assert refused(base, site) == ["site.yaml:0 E903"]


@pytest.mark.parametrize("target", ["/dev/zero", "/etc", "site.yaml", "nowhere", "../../../../../../etc/passwd"])
def test_a_link_to_no_file_of_the_directory_is_refused(tmp_path: Path, base: Path, target: str) -> None:
    (tmp_path / "site.yaml").symlink_to(target)
    assert refused(base, tmp_path) == ["site.yaml:0 E903"]


def test_a_pipe_is_not_waited_for(tmp_path: Path, base: Path) -> None:
    os.mkfifo(tmp_path / "site.yaml")
    assert refused(base, tmp_path) == ["site.yaml:0 E903"]


def test_a_directory_that_is_called_like_a_file_is_refused(tmp_path: Path, base: Path) -> None:
    (tmp_path / "site.yaml").mkdir()
    assert refused(base, tmp_path) == ["site.yaml:0 E903"]


#: Root may read everything: what is asked is asked as somebody else, once everything is imported.
ASK: Final = """
import os, sys
from pathlib import Path
from streams.rules import read_layer
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
read_layer(Path(sys.argv[1]))
"""


@pytest.mark.parametrize("mode", [0o444, 0o111, 0o000])
def test_a_directory_that_may_not_be_read_is_named_with_what_mends_it(mode: int) -> None:
    with TemporaryDirectory() as name:
        site = Path(name)
        (site / "site.yaml").write_text(RULE, encoding="utf-8")
        site.chmod(mode)
        said = subprocess.run([sys.executable, "-c", ASK, site], capture_output=True, text=True, check=False)
        site.chmod(0o755)
    last = said.stderr.splitlines()[-1]
    assert f"RuleSetRejected: {site}" in last
    assert "E904" in last
    assert "chmod a+rx" in last


def test_a_directory_behind_a_link_is_not_read(tmp_path: Path, base: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "broken.yaml").write_text("[")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "more").symlink_to(tmp_path / "more")
    assert_harmless(load_rules([base, tmp_path / "site"]))


# -- R15: replaced while it is read


def test_half_a_file_is_a_rule_set_or_refused() -> None:
    whole = (RULE + RULE.replace("site.one", "site.two")).encode()
    for cut in range(0, len(whole), 11):
        with suppress(RuleSetRejected):
            assert len(read([SMALL, {"site.yaml": whole[:cut]}]).rules) >= len(rules().contents.rules)


def test_the_set_in_force_does_not_change_with_the_files(tmp_path: Path, base: Path) -> None:
    (tmp_path / "site.yaml").write_text(RULE, encoding="utf-8")
    made = load_rules([base, tmp_path])
    (tmp_path / "site.yaml").write_text("[", encoding="utf-8")
    assert refused(base, tmp_path)
    assert_harmless(made)


# -- what nobody thought of


#: handles.yaml is left out while its words can break the loader: see R12-lexicon-g to -j.
SOURCES: Final = {
    "site.yaml": RULE,
    "lexicons/all.yaml": LEXICONS,
    "guards.yaml": GUARDS,
    "allowlist.yaml": ALLOW,
    "game.yaml": GAME,
    "policy.yaml": SMALL["policy.yaml"].decode(),
    "rules.yaml": SMALL["rules.yaml"].decode(),
}
#: What breaks readers: thrown in between the lines and words. Escapes of surrogates are left out: see R06-bytes-g.
TOKENS: Final = (
    "", " ", "\n", "\t", "\r", "\0", "\x85", "\ufeff", "\u2028", ":", "- ", "? ", "{", "}", "[", "]", ",", "#", "&a ",
    "*a", "!!python/name:os.system ", "!x ", "<<: ", "---\n", "...\n", "%YAML 9.9\n", "'", '"', "|\n", ">-\n", "\\",
    "@", "`", "~", "null", "true", "-1", "1e999", "9" * 20, ".inf", "9" * 5000, "\ufdfa" * 40, "\u200b", "\U00020000",
    "all: ", "any: ", "none: ", "guard: quoting", "lexicon: sell", "pattern: '.{9}'", "(", ")", "{1000}", "{3}{3}{3}",
    "*", "+", "within: 0", "id: sell.contact", "[" * 2000, "  " * 500 + "a:\n", "- - - - ", "甲乙" * 600, "{n}",
    "{sell}", "2030-01-01",
)  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> tuple[str, bytes]:
    """One of the files with lines swapped, a few places cut out or said twice, or a token thrown in."""
    name = draw(st.sampled_from(sorted(SOURCES)))
    text = SOURCES[name]
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(text)))
        end = min(len(text), at + draw(st.sampled_from((0, 1, 3, 20))))
        text = text[:at] + draw(st.sampled_from((*TOKENS, text[at:end] * 2, text[end:at:-1]))) + text[end:]
    raw = text.encode()
    if draw(st.integers(0, 9)) == 0:
        at = draw(st.integers(0, len(raw)))
        raw = raw[:at] + draw(st.binary(max_size=3)) + raw[at + 1 :]
    return name, raw


@settings(max_examples=100)
@given(mutated())
def test_any_rule_file_is_read_or_refused_with_its_place(change: tuple[str, bytes]) -> None:
    name, raw = change
    with bounded():
        said = problems({**SMALL, name: raw})
    assert {file for file, _ in said} <= {*SMALL, "site.yaml"}
    assert max((line for file, line in said if file == name), default=0) <= len(raw) + 1


def problems(files: Layer) -> list[tuple[str, int]]:
    """File and line of all that is wrong; nothing where the files can be read."""
    try:
        read([files])
    except RuleSetRejected as rejected:
        return [(p.file, p.line) for p in rejected.problems] or [("rejected without a problem", 0)]
    return []


@settings(max_examples=40)
@given(mutated())
def test_any_rule_file_is_compiled_and_judges_or_is_refused(change: tuple[str, bytes]) -> None:
    name, raw = change
    with bounded(), suppress(RuleSetRejected):
        verdicts(load([{**SMALL, name: raw}]), ADVERT, *ORDINARY)
