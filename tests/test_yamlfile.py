"""Files are parsed the same whether their long lists are left out beforehand or not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moderation.document import Problems
from moderation.wordlists import shortened
from moderation.yamlfile import MAX_NODES, parse

if TYPE_CHECKING:
    from moderation.document import Node
    from moderation.errors import RuleProblem

RULES = Path(__file__).parent.parent / "rules"
#: Lines that a list of words may stand between, and some that only look like such a list.
LINES = st.sampled_from([
    "a:", "a: |", "  b: >-", "  terms:", "  - 代练", "  - 代打 sky-walk", "  - no", "  - 010", "    - 深", "- 浅",
    "- x: 1", "  -  两格", "  - 'q", "  q'", "  - [", "  ]", "  # 注", "  - 词 # 注", "  - y: z", "  更多", "",
    "  - {term: 词}", "  ? - k", "  - a_1", "  - ٣", "  - &k 词", "  - *k", "---", "...", "  -\t词", "  - 词 ", "  - ",
])  # fmt: skip
DOCUMENT = st.lists(st.one_of(LINES, st.just("  - 词"), st.just("  - 词二")), max_size=14)


def dumped(node: Node) -> Any:
    value = node.value
    if isinstance(value, dict):
        value = {key: (dumped(node.keys[key]), dumped(child)) for key, child in value.items()}
    elif isinstance(value, list):
        value = [dumped(child) for child in value]
    return node.line, node.column, node.plain, value


def parsed(content: bytes, *, plain: bool) -> tuple[Any, list[RuleProblem]]:
    problems = Problems()
    return dumped(parse(problems, "lexicons/a.yaml", content, plain=plain)), problems.found


@given(DOCUMENT, st.sampled_from(["\n", "\r\n", "\r", "\x85"]))
@settings(max_examples=1000)
def test_what_is_left_out_changes_no_node_no_place_and_no_problem(lines: list[str], end: str) -> None:
    content = end.join(lines).encode()
    assert parsed(content, plain=False) == parsed(content, plain=True)


@pytest.mark.parametrize("path", sorted(RULES.rglob("*.yaml")), ids=lambda path: path.name)
def test_shipped_files_are_read_the_same(path: Path) -> None:
    content = path.read_bytes()
    assert parsed(content, plain=False) == parsed(content, plain=True)


def test_more_words_than_a_file_may_hold_are_refused_where_the_first_of_them_stands() -> None:
    content = b"a:\n" + b"- b\n" * MAX_NODES
    [problem] = parsed(content, plain=False)[1]
    assert (problem.code, problem.line) == ("E001", MAX_NODES - 1)


def test_only_the_first_and_the_last_word_of_a_list_are_parsed() -> None:
    text = "a:\n  terms:\n    - 一\n    - 二\n    - 三 san\n    - 四\n    - '五'\n"
    assert shortened(text) == ("a:\n  terms:\n    - 一\n    - 四\n    - '五'\n", {18: ["二", "三 san"]})
