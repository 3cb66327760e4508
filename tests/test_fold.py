import subprocess
import sys
import unicodedata
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.fold import GAP, HEAD, TAIL, fold

ROOT = Path(__file__).parent.parent
TABLE = ROOT / "moderation" / "tables" / "fold.tsv"
any_text = st.text(st.characters(), max_size=80)
#: Half plain, half what the table deletes, widens or replaces.
tricky_text = st.text(
    st.sampled_from("加微信12ab \n.\u200b\ufe0f\u3164̶ﬃ㍿ﷺ𝟔Ⅻ㈠⒈儲ａÉ①丨ー\ud800👨\u200d🇶") | st.characters(),
    max_size=700,
)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("ＱＱ：１６３，速来！", "qq:163,速来!"),
        ("VX Straße", "vx strabe"),
        ("é Ǻ ﬃ café", "e a ffi cafe"),
        ("①➊❶⓵⓿⑴⒈⑩⓫⒛㉑㊿", "1111011101120" + "2150"),
        ("¹²³₄₅ 7️⃣8️⃣ 𝟔𝟞", "12345 78 66"),
        ("ⅠⅥⅨⅩⅫⅿ ⅳ", "16910" + "12m 4"),
        ("〇〡〢〩 ٦۶६๖༦", "0129 66666"),
        ("一二三 壹贰叁 两", "一二三 壹贰叁 两"),
        ("㈠㊀㊙㈹㈱🈶🉐", "一一秘代株有得"),
        ("⒜Ⓥⓥ🅥🆅🅅🄥𝗩🇻ᴠ", "avvvvvvvvv"),
        ("🆕 🆗 🆚 ℡ №", "new ok vs tel no"),
        ("⼒⼝⽕⾐ ⺅⻋⻓", "力口火衣 亻车长"),
        ("儲值 加賴 帳號 羣 裏 點數 岀金 囗令", "储值 加赖 帐号 群 里 点数 出金 口令"),
        ("笩茺 炪淾 茁壮 市侩", "代充 出金 茁壮 市侩"),
        ("広告 売る 気 壊", "广告 卖る 气 坏"),
        ("ВХ вx αρ Ηη ØđŁ ɑɡı", "bx bx ap hn odl agi"),
        ("C₳D571 KU€537 з◐◍○", "cad571 kue537 3000"),
        ("微\u200b信\u3164\ufeff\u2060\u00ad\u034f\u180e\u2800\uffa0\u115f加", "微信加"),
        ("代̶充̶ 禁⃠ v\u0336x", "代充 禁 vx"),
        ("\u202e信微\u202c\u2067x\u2069", "信微x"),
        ("代\U000e0041\U000e0101练\x00\x7f", "代练"),
        ("a\u3000b\u00a0c\td\u2009e\rf", "a b c d e f"),
        ("甲\n乙\u2028丙\x85丁\v戊", "甲\n乙\n丙\n丁\n戊"),
        ("\ud800x\udfff", "\ufffdx\ufffd"),
        ("ｶﾞ ガ", "カ カ"),
        ("한글 ไทย", "한글 ไทย"),
        ("。｡、【】《》¥￥$", "。。、【】《》¥¥$"),
        ("ﷺ", "ﷺ"),
        ("…", "..."),
        ("≠ ℃", "≠ °c"),
        ("", ""),
    ],
)
def test_each_disguise_is_undone(raw: str, text: str) -> None:
    assert fold(raw).text == text


@given(any_text | tricky_text)
def test_folding_twice_changes_nothing_more(raw: str) -> None:
    once = fold(raw[: HEAD + TAIL]).text
    assert fold(once[: HEAD + TAIL]).text == once[: HEAD + TAIL]


@given(any_text | tricky_text)
def test_every_character_knows_where_it_came_from(raw: str) -> None:
    folded = fold(raw)
    assert len(folded.plain.spans) == len(folded.text)
    assert len(folded.offsets) == len(folded.text) + 1
    for char, (start, end) in zip(folded.text, folded.plain.spans, strict=True):
        assert char in fold(raw[start:end]).text or char == GAP


@given(any_text | tricky_text, st.data())
def test_the_raw_text_of_a_span_folds_to_the_text_it_was_asked_for(raw: str, data: st.DataObject) -> None:
    folded = fold(raw[: HEAD + TAIL])
    start = data.draw(st.integers(0, len(folded.text)))
    end = data.draw(st.integers(start, len(folded.text)))
    at, stop = folded.span(start, end)
    assert 0 <= at <= stop <= len(raw)
    assert folded.text[start:end] in fold(raw[at:stop]).text


@given(any_text | tricky_text)
def test_squeezed_text_is_the_folded_text_without_some_characters(raw: str) -> None:
    squeezed = fold(raw).squeezed
    rest = iter(fold(raw).text)
    assert all(char in rest for char in squeezed.text)
    assert len(squeezed.spans) == len(squeezed.text)
    assert all(char.isalnum() or char == GAP for char in squeezed.text)


@given(tricky_text)
def test_what_is_squeezed_traces_to_the_same_characters(raw: str) -> None:
    folded = fold(raw)
    traced = dict(zip(folded.plain.spans, folded.text, strict=True))
    single = [span for span in folded.squeezed.spans if folded.plain.spans.count(span) == 1]
    by_span = dict(zip(folded.squeezed.spans, folded.squeezed.text, strict=True))
    assert all(by_span[span] == traced[span] for span in single)


@given(any_text | tricky_text)
def test_no_text_breaks_the_signals(raw: str) -> None:
    signals = fold(raw).signals
    assert 0 <= signals.longest_run <= len(raw)
    assert signals.truncated == (len(raw) > HEAD + TAIL)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("加.微-_信 / Q Q", "加微信qq"),
        ("【代】【练】(群)", "代练群"),
        ("加丨微丶信ー灬", "加微信"),
        ("スーパー", "スハ"),
        ("6/0 3。9~1★8●", "603918"),
        ("加\n我\n微", "加我微"),
        ("代ᚠ练ᐛ", "代练"),
        ("😀！？", ""),
    ],
)
def test_separators_are_squeezed_out(raw: str, text: str) -> None:
    assert fold(raw).squeezed.text == text


def test_a_span_covers_what_was_deleted_inside_but_not_around() -> None:
    raw = "\u200b加\u200b.微\ufe0f_信\u200b!"
    squeezed = fold(raw).squeezed
    start = squeezed.text.index("微信")
    assert raw[slice(*squeezed.span(start, start + 2))] == "微\ufe0f_信"
    assert raw[slice(*squeezed.span(0, 3))] == "加\u200b.微\ufe0f_信"


def test_a_character_that_becomes_many_is_the_span_of_each_of_them() -> None:
    folded = fold("找㍿ok")
    assert folded.text == "找株式会社ok"
    assert [folded.span(at, at + 1) for at in range(1, 5)] == [(1, 2)] * 4


def test_an_empty_span_is_empty_wherever_it_stands() -> None:
    folded = fold("\u200b加\u200b")
    assert folded.span(0, 0) == (1, 1)
    assert folded.span(1, 1) == (3, 3)


def test_a_long_text_is_folded_head_and_tail_and_spans_still_point_into_the_raw_text() -> None:
    raw = "代" * (HEAD + 50) + "练" * (TAIL + 50)
    folded = fold(raw)
    assert folded.truncated
    assert folded.text == "代" * HEAD + GAP + "练" * TAIL
    assert folded.span(HEAD, HEAD + 1) == (HEAD, len(raw) - TAIL)
    assert folded.span(len(folded.text) - 1, len(folded.text)) == (len(raw) - 1, len(raw))
    assert folded.offsets[-1] == len(raw)


def test_no_match_spans_what_was_left_out() -> None:
    squeezed = fold("代" * HEAD + "无" * 99 + "练" * TAIL).squeezed
    assert "代练" not in squeezed.text
    assert not fold("代" * (HEAD + TAIL)).truncated


def test_nothing_that_is_typed_is_mistaken_for_a_gap() -> None:
    assert fold(f"代{GAP}练").text == "代g练"


@pytest.mark.parametrize("swelling", ["\ufdfa", "㍿", "ﬃ", "\u3300", "⑳"])
def test_no_code_point_becomes_more_than_four(swelling: str) -> None:
    assert len(fold(swelling * (HEAD + TAIL)).text) <= 4 * (HEAD + TAIL)


@pytest.mark.parametrize(
    ("raw", "signal", "count"),
    [
        ("微\u200b信", "zero_width", 1),
        ("代\u3164\u2060练", "zero_width", 2),
        ("v\U000e0041x", "zero_width", 1),
        ("\ufeff微信\u200b", "zero_width", 0),
        ("👨\u200d👩\u200d👧你", "zero_width", 0),
        ("冲❤️啊 7️⃣点", "zero_width", 0),
        ("代̶充̶", "combining", 2),
        ("ʕ•̀ω•́ʔ", "combining", 0),
        ("7️⃣", "combining", 0),
        ("สวัสดี", "combining", 0),
        ("\u202e信微", "bidi", 1),
        ("①速刷 ②组队 ③打王", "enclosed", 0),
        ("６６６６６６", "enclosed", 0),
        ("🅥🅧", "enclosed", 2),
        ("𝗩𝗫①", "enclosed", 3),
        ("7️⃣8️⃣", "enclosed", 2),
        ("🇨🇳🇺🇸", "enclosed", 0),
        ("🇻🇽🇶🇶", "enclosed", 4),
        ("六3捌②", "digit_scripts", 4),
        ("六\u200b3捌", "digit_scripts", 3),
        ("60 六 ②", "digit_scripts", 1),
        ("6一起", "digit_scripts", 2),
        ("没有数字", "digit_scripts", 0),
        ("вx加我 НУR382", "mixed_script", 2),
        ("Привет hi", "mixed_script", 0),
        ("OωO TдT", "mixed_script", 0),
        ("加 我 薇 信", "separators", 3),
        ("代.练上/分", "separators", 2),
        ("6-0-3-9", "separators", 3),
        ("你好，来人！速度。12:30 3.5倍", "separators", 0),
        ("打 世界 王 来人", "separators", 0),
        ("啊啊啊啊来", "longest_run", 4),
        ("甲乙", "longest_run", 1),
        ("哈啊哦" * 12, "longest_run", 12),
        ("哈哈 " * 12 + "来人", "longest_run", 12),
        ("哈啊哦" * 11, "longest_run", 1),
        ("", "longest_run", 0),
        ("甲\n乙\n", "newlines", 2),
    ],
)
def test_signals_count_disguise_and_nothing_else(raw: str, signal: str, count: int) -> None:
    assert getattr(fold(raw).signals, signal) == count


@pytest.mark.parametrize(
    "raw",
    ["微\u200b信", "代̶充̶", "\u202e信微", "六3捌②", "вx加我", "①②③④⑤", "加 我 薇 信 看 名", "6.0.3.9.1.8", "Ｔ𝟔𝟕𝟖③"],
)
def test_a_disguised_text_is_called_so(raw: str) -> None:
    assert fold(raw).signals.disguised


@pytest.mark.parametrize(
    "raw",
    [
        "老板们，今晚七点打世界王！！来个奶妈～～",
        "這個帳號儲值要點數嗎",
        "👨\u200d👩\u200d👧 🇨🇳加油❤️ 3️⃣2️⃣1️⃣冲",
        "(๑•̀ㅂ•́)و✧ OωO ⊙▽⊙ ヾ(≧▽≦*)o",
        "①先清小怪 ②再打boss ③分装备",
        "６６６，太强了",
        "Привет, как дела? สวัสดี café",
        "坐标 12,35 比例1:7900 19:30开 3.5倍",
        "十二3个 6一起 二〇二六",
        "lfm healer 2/5 pst",
        "",
    ],
)
def test_what_ordinary_players_write_is_not_called_disguised(raw: str) -> None:
    assert not fold(raw).signals.disguised


def _made_with() -> str:
    """Why this machine cannot remake the table, or nothing."""
    header = TABLE.read_text(encoding="utf-8").split("\n\t", 1)[0]
    try:
        here = {f"Unicode {unicodedata.unidata_version} ", f"OpenCC {version('opencc')} "}
    except PackageNotFoundError:
        return "opencc is not installed"
    missing = [have for have in sorted(here) if have not in header]
    return f"the table was not made with {' and '.join(missing)}" if missing else ""


@pytest.mark.skipif(bool(_made_with()), reason=_made_with() or "current")
def test_the_checked_in_table_is_what_its_script_makes() -> None:
    script = ROOT / "tools" / "fold_table.py"
    made = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stdout + made.stderr


def test_the_table_stays_small_enough_to_load_with_every_command() -> None:
    assert TABLE.stat().st_size < 250_000
