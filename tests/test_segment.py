import random
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation import segment
from moderation.fold import fold
from moderation.segment import Segmenter

TERMS = [
    "代练", "代打", "代充", "换服", "私服", "新服", "拉人", "外挂", "出金", "进服", "加薇", "陪玩", "收号", "卖金",
    "上分", "转区", "工资", "返利", "加群", "金币", "元宝", "内部号", "满v号", "薇信", "首充", "折扣", "现金日结",
    "渠道包", "vx", "qq", "666", "加v", "送648", "代",
]  # fmt: skip
#: What crosses words, and the term it must not be taken for.
TRAPS = [
    ("替代练习场", "代练"), ("世代打铁", "代打"), ("古代充军", "代充"), ("更换服务器", "换服"), ("公私服从", "私服"),
    ("全新服务大厅", "新服"), ("拉人力车", "拉人"), ("意外挂了", "外挂"), ("二代打野", "代打"), ("当代练兵场", "代练"),
    ("交换服装", "换服"), ("年代打造的", "代打"), ("支出金额", "出金"), ("现代充电桩", "代充"),
    ("开进服务区", "进服"), ("自私服软", "私服"), ("分外挂念", "外挂"),
]  # fmt: skip
TRUE = [
    ("代练代打", "代练"), ("代练代打", "代打"), ("进服拉人", "进服"), ("进服拉人", "拉人"), ("出金率", "出金"),
    ("加薇聊", "加薇"), ("找代练上分快", "代练"), ("专业代练不封号", "代练"), ("新服开了来", "新服"),
    ("这区有外挂", "外挂"), ("开外挂的", "外挂"), ("来我们私服玩", "私服"), ("官方代充八折", "代充"),
    ("换服送元宝", "换服"), ("工资现金日结", "现金日结"), ("渠道包首充五折", "渠道包"), ("给你内部号", "内部号"),
    ("要满v号的", "满v号"), ("长期收号卖金", "收号"), ("长期收号卖金", "卖金"),
]  # fmt: skip
PLAIN = [pytest.param(False, id="fast"), pytest.param(True, id="plain")]
_made: dict[bool, Segmenter] = {}


@pytest.fixture
def segmenter(plain: bool) -> Segmenter:
    return made(plain=plain)


def made(*, plain: bool) -> Segmenter:
    """jieba takes seconds to load: once for all tests."""
    if plain not in _made:
        _made[plain] = Segmenter(TERMS, plain=plain)
    return _made[plain]


def on_boundary(segmenter: Segmenter, text: str, term: str) -> bool:
    start = text.index(term)
    return segmenter.on_boundary(text, start, start + len(term))


@pytest.mark.parametrize("plain", PLAIN)
def test_no_word_begins_or_ends_within_a_decoy(plain: bool) -> None:
    terms, text = ["举报", "被多人举报"], "账号被多人举报了"
    assert Segmenter(terms, plain=plain).on_boundary(text, 5, 7)
    decoyed = Segmenter(terms, ["被多人举报"], plain=plain)
    assert not decoyed.on_boundary(text, 5, 7)
    assert decoyed.on_boundary(text, 2, 7)
    assert decoyed.on_boundary("去举报", 1, 3)


@pytest.mark.parametrize("plain", PLAIN)
@pytest.mark.parametrize(("text", "term"), TRAPS)
def test_a_term_across_two_words_is_no_match(segmenter: Segmenter, text: str, term: str) -> None:
    assert not on_boundary(segmenter, text, term)
    assert not on_boundary(segmenter, f"今天晚上我们{text}大家都在等着", term)


@pytest.mark.parametrize("plain", PLAIN)
@pytest.mark.parametrize(("text", "term"), TRUE)
def test_a_term_that_is_a_word_is_a_match(segmenter: Segmenter, text: str, term: str) -> None:
    assert on_boundary(segmenter, text, term)
    assert on_boundary(segmenter, f"老板{text},", term)


@pytest.mark.parametrize("plain", PLAIN)
def test_a_term_is_not_hidden_by_another_that_overlaps_it_only_by_a_word_of_the_language(segmenter: Segmenter) -> None:
    assert all(on_boundary(segmenter, "加薇信聊", term) for term in ("加薇", "薇信"))


@pytest.mark.parametrize("plain", PLAIN)
@pytest.mark.parametrize(
    ("text", "term", "whole"),
    [
        ("vx123", "vx", True),
        ("加vx", "vx", True),
        ("8vx", "vx", True),
        ("wvx", "vx", False),
        ("vxy", "vx", False),
        ("qqq", "qq", False),
        ("16667", "666", False),
        ("老666啊", "666", True),
        ("a666b", "666", True),
        ("首充送648元宝", "送648", True),
        ("首充送6480元宝", "送648", False),
        ("加v聊", "加v", True),
        ("加vip群", "加v", False),
    ],
)
def test_letters_next_to_letters_and_digits_next_to_digits_are_no_boundary(
    segmenter: Segmenter, text: str, term: str, whole: bool
) -> None:
    assert on_boundary(segmenter, text, term) == whole


@pytest.mark.parametrize("plain", PLAIN)
def test_only_the_window_decides(segmenter: Segmenter) -> None:
    assert on_boundary(segmenter, "啦" * 2000 + "代练" + "啦" * 2000, "代练")
    assert segmenter.on_boundary("替代练习场", 1, 3, reach=0)
    assert not segmenter.on_boundary("替代练习场", 1, 3, reach=2)


@pytest.mark.parametrize("plain", PLAIN)
def test_terms_that_jieba_cannot_keep_whole_are_told(segmenter: Segmenter) -> None:
    assert segmenter.lost_terms(TERMS) == []
    assert segmenter.lost_terms(["代练", "加 微", "元宝,低价", "vx", "从没听过的词组"]) == [
        "加 微",
        "元宝,低价",
        "从没听过的词组",
    ]


@pytest.mark.parametrize("plain", PLAIN)
@given(text=st.text(st.sampled_from("代练打充服务器新加v1-+#.% ,。\n\r\ud800𠮷㐀ー①") | st.characters(), max_size=40))
def test_words_put_together_are_the_text(plain: bool, text: str) -> None:
    segmenter = made(plain=plain)
    assert _readable("".join(segmenter.words(text))) == _readable(text)
    assert segmenter.cuts(text)[-1] == len(text)


def _readable(text: str) -> str:
    return "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in text)


def _chat(lines: int) -> list[str]:
    """Make lines of words, terms, handles and separators, the same ones each time."""
    draw = random.Random(20261121)  # noqa: S311 - test data, no secret
    words = [text for text, _ in TRAPS + TRUE] + TERMS
    words += [
        "老板",
        "今晚",
        "七点",
        "世界",
        "王",
        "来个",
        "奶妈",
        "速度",
        "的",
        "了",
        "我们",
        "公会",
        "招人",
        "价格",
        "低",
        "装备",
        "怎么",
        "卖",
        "服务器",
        "什么时候",
        "开",
        "hp+5",
        "3.5%",
        "a-b",
        "1:7900",
    ]
    glue = ["", "", "", " ", ",", "。", "!", "-", "...", "\n", "~", "12", "abc"]
    return ["".join(draw.choice(words) + draw.choice(glue) for _ in range(draw.randint(1, 9))) for _ in range(lines)]


def test_rjieba_and_jieba_cut_the_same() -> None:
    pytest.importorskip("rjieba", reason="only jieba is installed")
    fast, plain = made(plain=False), made(plain=True)
    lines = [fold(line).text for line in _chat(600)]
    assert [line for line in lines if fast.words(line) != plain.words(line)] == []


def test_the_order_of_terms_does_not_matter() -> None:
    other = Segmenter([*reversed(TERMS), *TERMS])
    lines = [fold(line).text for line in _chat(200)]
    assert [line for line in lines if made(plain=False).words(line) != other.words(line)] == []


def test_jieba_is_loaded_without_a_word_and_without_a_cache_that_others_may_write(tmp_path: Path) -> None:
    code = "from moderation.segment import Segmenter; print(Segmenter(['代练'], plain=True).words('找代练'))"
    bait = tmp_path / "jieba.cache"
    bait.write_bytes(b"what an attacker left here")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True, text=True, check=True, env={"TMPDIR": str(tmp_path), "PYTHONIOENCODING": "utf-8"},
    )  # fmt: skip
    assert done.stdout == "['找', '代练']\n"
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == [bait]
    assert bait.read_bytes() == b"what an attacker left here"
    assert tempfile.gettempdir() != str(tmp_path)


@pytest.mark.skipif(not segment._FAST, reason="rjieba is not installed")
def test_a_tokenizer_from_stock_cuts_as_one_made_at_once() -> None:
    terms = ["出金", "代练", "来我们区", "开黑房"]
    fresh = Segmenter(terms)
    package = find_spec("jieba")
    assert package
    assert package.origin
    segment.stock((Path(package.origin).parent / "dict.txt").read_text("utf-8"))
    assert len(segment._stock) == 1
    stocked = Segmenter(terms)
    assert not segment._stock
    assert stocked.told == fresh.told
    for rule in (Path(__file__).parent.parent / "rules").rglob("*.yaml"):
        for line in rule.read_text("utf-8").splitlines():
            assert stocked.words(line) == fresh.words(line)
