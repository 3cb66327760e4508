"""Peers: whole processes that filter the same messages. Who cannot run here is skipped, and says why."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Final

import pytest

from bench.cases import read
from bench.part import RULES
from bench.peers import ENTRANTS, JAVA, JAVASCRIPT, OURS, PYTHON, Entrant, Peer, listed, measure
from bench.peers.__main__ import PLAIN, SETS, disguised, middle, ratios
from bench.peers.kits import HERE, Kit
from streams.rules import load_rules

if TYPE_CHECKING:
    from pathlib import Path

#: A peer of our own: what each does in the end, and how often it was installed.
FILTER: Final = """
import json, sys
name, lines, words, seconds = sys.argv[1:]
lines, words = (open(file, encoding="utf-8", newline="").read().split("\\0") for file in (lines, words))
found = sum(any(word in line for word in words) for line in lines)
print("a library that talks")
print(json.dumps({"messages": 4 * len(lines), "seconds": float(seconds) * 2, "found": found}))
"""
WORDS: Final = ["代练", "加微信", "出金"]
LINES: Final = [
    "今晚八点打本，缺个奶妈", "代练上分，价格公道", "有人一起钓鱼吗", "收材料，带价", "大量出金，秒发",
    "这把打得不错", "想知道的加微信", "公会战几点开始", "换一下装备再来", "晚安各位",
]  # fmt: skip


def program(code: str, **kit: object) -> Entrant:
    return Entrant("made-up", "1.0", Kit("Made-up", run=(sys.executable, "-c", code), **kit), "finds what there is")  # type: ignore[arg-type]  # whatever a kit takes


def only(entrant: Entrant, cache: Path) -> Peer:
    (peer,) = measure(LINES, WORDS, 0.5, entrants=[entrant], cache=cache)
    return peer


def test_a_peer_reads_lines_and_words_and_says_how_many_it_filtered(tmp_path: Path) -> None:
    assert only(program(FILTER), tmp_path) == Peer("made-up", "Made-up", "1.0", 40.0, 3, "finds what there is")


def test_messages_arrive_as_they_are_but_for_what_other_languages_cannot_read(tmp_path: Path) -> None:
    odd = ["代\n练", "代\r\n练", "代\u2028练", "代\0练", "代\ud800练"]
    peers = [
        measure(odd, [word], 1.0, entrants=[program(FILTER)], cache=tmp_path)[0] for word in (*odd, "代 练", "代?练")
    ]
    assert [peer.found for peer in peers] == [1, 1, 1, 1, 1, 1, 1]


def test_a_peer_whose_runtime_is_absent_is_skipped_and_the_others_are_measured(tmp_path: Path) -> None:
    absent = program(FILTER, needs=(sys.executable, "no-such-runtime"))
    skipped, measured = measure(LINES, WORDS, 0.5, entrants=[absent, program(FILTER)], cache=tmp_path)
    assert (skipped.messages_per_s, skipped.found) == (None, None)
    assert skipped.note == "skipped: needs no-such-runtime, which is not on the PATH"
    assert measured.found == 3


@pytest.mark.parametrize(
    ("code", "note"),
    [
        ("raise SystemExit('a warning\\n\\x1b[31mERROR: no room\\x1b[0m\\nat the end')", "did not run: ERROR: no room"),
        ("raise SystemExit(3)", "did not run: it said nothing"),
        ("print('ready')", "printed no result: "),
        ("print('{\"messages\": 10, \"seconds\": 0.0, \"found\": 1}')", "printed no result: "),
        ("print('{\"messages\": 10, \"seconds\": 1.0, \"found\": -1}')", "printed no result: "),
    ],
)  # fmt: skip
def test_a_peer_that_fails_is_skipped_with_what_it_complained_about(tmp_path: Path, code: str, note: str) -> None:
    peer = only(program(code), tmp_path)
    assert peer.note.startswith(f"skipped: {note}")
    assert (peer.messages_per_s, peer.found) == (None, None)


def test_libraries_are_installed_once_and_found_where_they_were_installed(tmp_path: Path) -> None:
    install = (sys.executable, "-c", "import os; os.mkdir('lib'); open('lib/told.py', 'w').write('words = 7')")
    uses = "import told, json; print(json.dumps({'messages': 1, 'seconds': 1, 'found': told.words}))"
    entrant = program(uses, install=install, pins=("requirements.txt",), env={"PYTHONPATH": "{home}/lib"})
    assert only(entrant, tmp_path).found == 7
    (home,) = tmp_path.iterdir()
    assert (home / "requirements.txt").read_bytes() == (HERE / "requirements.txt").read_bytes()
    (home / "lib" / "told.py").write_text("words = 8")
    assert only(entrant, tmp_path).found == 8


def test_what_could_not_be_installed_leaves_nothing_and_is_tried_once_for_all_peers_of_a_language(
    tmp_path: Path,
) -> None:
    tally = tmp_path / "tally"
    code = f"import sys; open({str(tally)!r}, 'a').write('.'); sys.exit('no network')"
    entrant = program(FILTER, install=(sys.executable, "-c", code))
    peers = measure(LINES, WORDS, 0.5, entrants=[entrant, entrant], cache=tmp_path / "cache")
    assert [peer.note for peer in peers] == ["skipped: could not be installed: no network"] * 2
    assert tally.read_text() == "."
    assert not list((tmp_path / "cache").iterdir())


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    note = only(program(FILTER, install=("never", "run")), tmp_path / "cache").note
    assert note.startswith(f"skipped: could not be installed into {tmp_path / 'cache'}")


@pytest.mark.parametrize(("lines", "words", "seconds"), [([], WORDS, 1.0), (LINES, [], 1.0), (LINES, WORDS, 0.0)])
def test_nothing_to_do_is_an_error(lines: list[str], words: list[str], seconds: float) -> None:
    with pytest.raises(ValueError, match="nothing to filter, nothing to look for, or no time"):
        measure(lines, words, seconds, entrants=[])


@pytest.mark.parametrize("kit", [PYTHON, JAVASCRIPT, JAVA], ids=lambda kit: kit.language)
def test_the_real_ones_find_plain_words_in_ten_lines(tmp_path: Path, kit: Kit) -> None:
    entrants = [entrant for entrant in ENTRANTS if entrant.kit == kit]
    peers = measure(LINES, WORDS, 0.01, entrants=entrants, cache=tmp_path)
    if re.match("skipped: (needs|could not be installed)", peers[0].note):
        pytest.skip(peers[0].note)
    assert {peer.name: peer.found for peer in peers} == {entrant.name: 3 for entrant in entrants}
    assert all(peer.messages_per_s for peer in peers)


def test_our_engine_judges_and_jieba_cuts_the_same_lines(tmp_path: Path) -> None:
    lines = [*LINES, "代.练上分加微❤信 wan_98123，包过", "代练上分加微信 wan_98123，包过"]
    engine, jieba = measure(lines, WORDS, 0.01, entrants=[e for e in ENTRANTS if e.kit == OURS], cache=tmp_path)
    assert engine.found is not None
    assert 2 <= engine.found <= 5
    assert jieba.found == 3  # it cuts 大量出金 into 大量出 and 金


def test_the_versions_told_are_those_that_are_installed() -> None:
    required = (HERE / "requirements.txt").read_text("utf-8").split()
    package = json.loads((HERE / "package.json").read_text("utf-8"))["dependencies"]
    locked = json.loads((HERE / "package-lock.json").read_text("utf-8"))["packages"]
    jars = dict(
        re.findall(
            r"<artifactId>([\w-]+)</artifactId>\s*<version>([\d.]+)</version>", (HERE / "pom.xml").read_text("utf-8")
        )
    )
    told = {kit.language: {e.name: e.version for e in ENTRANTS if e.kit == kit} for kit in (PYTHON, JAVASCRIPT, JAVA)}
    assert told["Python"] == dict(line.split("==") for line in required)
    assert told["JavaScript"] == package == {name: locked[f"node_modules/{name}"]["version"] for name in package}
    assert told["Java"].items() <= jars.items()


def test_words_are_all_terms_folded_each_once() -> None:
    rules = load_rules([RULES])
    words = listed(rules)
    assert len(words) == len(set(words)) > 10_000
    assert "代练" in words
    assert not [word for word in words if not word.strip()]


def test_disguised_lines_are_those_whose_words_are_hidden() -> None:
    cases = [case for name in SETS for case in read(name, "cases_positive")]
    assert {case["technique"] for case in cases} >= PLAIN - {"flood_longchars", "flood_blank_lines"}
    plain = {case["text"] for case in cases if case["technique"] == "plain_none"}
    assert len(disguised()) > 200
    assert not plain & set(disguised())


def test_ratios_tell_how_many_times_as_fast_the_engine_is() -> None:
    peers = [
        Peer(name, "", "", rate, None, "")
        for name, rate in (("engine", 600.0), ("jieba", 50.0), ("mint-filter", 1200.0))
    ]
    gone = Peer("sensitive-word", "Java", "1", None, None, "skipped")
    assert ratios([*peers, gone]) == {"engine_vs_jieba_every_message": 12.0, "engine_vs_mint_filter": 0.5}
    assert ratios([*peers[1:], gone]) == {}


def test_of_rounds_the_median_counts_and_skipped_ones_only_where_there_are_no_others() -> None:
    runs = [Peer("mint-filter", "JavaScript", "1", rate, 3, "") for rate in (900.0, 100.0, 500.0)]
    gone = Peer("mint-filter", "JavaScript", "1", None, None, "skipped: did not run within 3 s")
    assert middle(runs) == middle([gone, *runs]) == runs[2]
    assert middle([gone, gone]) is gone
