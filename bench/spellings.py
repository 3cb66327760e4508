"""How offenders spell words and numbers: each a function of a text and a source of chance.

Nothing here knows what the engine undoes: homophones, look-alikes, split characters, code words and digits come from
tables of bench/data that were made for this alone. A text with nothing to spell otherwise comes back as it was.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import TYPE_CHECKING, Final, TypeAlias

from bench.wording import table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from random import Random

Spell: TypeAlias = "Callable[[str, Random], str]"
#: Takes what stays the same all over a line, such as a separator.
Choose: TypeAlias = "Callable[[Random], Spell]"
HAN: Final = re.compile("[\u4e00-\u9fff]+")


def wide(text: str, _: Random) -> str:
    """Write ASCII full-width."""
    return text.translate(_WIDE)


def each(spellings: Mapping[str, str], *, share: float = 1.0) -> Spell:
    """Spell characters by a table of options, one option a character."""

    def spell(text: str, draw: Random) -> str:
        return "".join(draw.choice(spellings[c]) if c in spellings and draw.random() < share else c for c in text)

    return spell


def longest(words: Mapping[str, str], separator: str = "|") -> Spell:
    """Replace whole words by one of their options, the longest first."""
    pattern = re.compile("|".join(map(re.escape, sorted(words, key=len, reverse=True))))

    def spell(text: str, draw: Random) -> str:
        return pattern.sub(lambda word: draw.choice(words[word[0]].split(separator)), text)

    return spell


# ---- between the characters ----


def invisible(marks: Sequence[str]) -> Choose:
    """Put a mark that is not seen after every second character or so, and after at least one that is not the last."""

    def choose(draw: Random) -> Spell:
        mark = draw.choice(marks)

        def spell(text: str, draw: Random) -> str:
            sure = draw.randrange(max(1, len(text) - 1))
            return "".join(c + mark if n == sure or draw.random() < 0.5 else c for n, c in enumerate(text))

        return spell

    return choose


def joined(marks: Sequence[str]) -> Choose:
    """Put a mark between all characters."""

    def choose(draw: Random) -> Spell:
        mark = draw.choice(marks)
        return lambda text, _: mark.join(text)

    return choose


def noise(draw: Random) -> Spell:
    """代a练, 金呀币, 加1微2信: one filler all along, or counting between words."""
    filler, counting = draw.choice("呀啊的哦嘿哈了abxo"), draw.random() < 0.25

    def spell(text: str, _: Random) -> str:
        if counting and not text.isascii():
            return "".join(f"{n or ''}{c}" for n, c in enumerate(text))
        return ("呀" if text.isascii() and filler.isascii() else filler).join(text)

    return spell


def boxed(draw: Random) -> Spell:
    """Put every character into brackets."""
    left, right = draw.choice(("【】", "()", "（）", "『』", "[]", "《》", "「」", "〔〕", "{}"))
    return lambda text, _: "".join(f"{left}{c}{right}" for c in text)


# ---- numbers ----

SCRIPTS: Final[Mapping[str, tuple[str, ...]]] = {
    "wide": ("０１２３４５６７８９",),
    "enclosed": (
        "⓪①②③④⑤⑥⑦⑧⑨", "⓿❶❷❸❹❺❻❼❽❾", "⓪⓵⓶⓷⓸⓹⓺⓻⓼⓽", "⓪➊➋➌➍➎➏➐➑➒", "0⑴⑵⑶⑷⑸⑹⑺⑻⑼", "0⒈⒉⒊⒋⒌⒍⒎⒏⒐",
        "0㊀㊁㊂㊃㊄㊅㊆㊇㊈",
    ),
    "raised": ("⁰¹²³⁴⁵⁶⁷⁸⁹", "₀₁₂₃₄₅₆₇₈₉"),
    "roman": ("0ⅠⅡⅢⅣⅤⅥⅦⅧⅨ", "0ⅰⅱⅲⅳⅴⅵⅶⅷⅸ"),
    "han": ("零一二三四五六七八九", "〇一二三四五六七八九"),
    "financial": ("零壹贰叁肆伍陆柒捌玖", "零壹貳參肆伍陸柒捌玖"),
    "spoken": ("洞幺两三四五六拐八勾", "洞幺二三四五六拐八勾", "零幺两三四五六七八九"),
    "foreign": ("٠١٢٣٤٥٦٧٨٩", "۰۱۲۳۴۵۶۷۸۹", "०१२३४५६७८९", "๐๑๒๓๔๕๖๗๘๙", "༠༡༢༣༤༥༦༧༨༩", "০১২৩৪৫৬৭৮৯", "၀၁၂၃၄၅၆၇၈၉"),
    "rare": ("〇〡〢〣〤〥〦〧〨〩", "⠚⠁⠃⠉⠙⠑⠋⠛⠓⠊"),
}  # fmt: skip
_MIXED: Final = ("0123456789", *(script for name in ("wide", "enclosed", "raised", "han", "financial", "roman")
                                 for script in SCRIPTS[name]))  # fmt: skip
_SYLLABLES: Final = ("ling yi er san si wu liu qi ba jiu", "ling yao er san si wu liu qi ba jiu",
                     "zero one two three four five six seven eight nine")  # fmt: skip
_MORSE: Final = ("-----", ".----", "..---", "...--", "....-", ".....", "-....", "--...", "---..", "----.")
#: Characters that sound like a digit.
_SOUNDS: Final = (
    "灵另玲铃凌", "医衣依伊亦妖腰", "儿尔耳饵而", "伞散馓", "司丝思斯寺", "武舞午吴务", "溜刘柳牛榴", "起器齐奇棋骑",
    "巴爸吧把疤芭", "酒久旧就救",
)  # fmt: skip
_LETTERS: Final = {"0": "Oo", "1": "lI", "2": "Zz", "5": "Ss", "6": "b", "8": "B", "9": "gq"}


def in_script(scripts: Sequence[str]) -> Spell:
    """Write all digits of a number in one of the scripts."""

    def spell(text: str, draw: Random) -> str:
        return text.translate(dict(zip(map(ord, "0123456789"), draw.choice(scripts), strict=True)))

    return spell


def keycaps(text: str, draw: Random) -> str:
    """Write digits as keycaps, or raised or lowered."""
    if draw.random() < 0.5:
        return "".join(f"{c}\ufe0f\u20e3" if c.isdigit() else c for c in text)
    return in_script(SCRIPTS["raised"])(text, draw)


def mixed(text: str, draw: Random) -> str:
    """Write every digit in a script of its own."""
    return "".join(draw.choice(_MIXED)[int(c)] for c in text)


def syllables(text: str, draw: Random) -> str:
    """Spell digits out, in pinyin or English."""
    names = draw.choice(_SYLLABLES).split()
    return " " + draw.choice((" ", " ", "")).join(names[int(c)] for c in text)


def sounding(text: str, draw: Random) -> str:
    """Write every digit as a character that sounds like it."""
    return "".join(draw.choice(_SOUNDS[int(c)]) for c in text)


def lettered(text: str, draw: Random) -> str:
    """Write one or two digits as the letters they look like, so that most of the number stays readable."""
    able = [n for n, c in enumerate(text) if c in _LETTERS]
    chosen = draw.sample(able, min(len(able), 1 + draw.randrange(2)))
    return "".join(draw.choice(_LETTERS[c]) if n in chosen else c for n, c in enumerate(text))


def rare(text: str, draw: Random) -> str:
    """Write digits as the Suzhou traders did, in braille or in Morse."""
    if draw.random() < 0.2:
        return " " + " ".join(_MORSE[int(c)] for c in text)
    return in_script(SCRIPTS["rare"])(text, draw)


def riddle(text: str, draw: Random) -> str:
    """Tell how to work the number out."""
    lines = draw.choice(list(table("words")["riddle"].values()))
    half, digit = len(text) // 2, draw.choice(text)
    a = draw.randrange(1, max(2, int(text[:half])))
    fills = {
        "n": half, "a": a, "b": int(text[:half]) - a, "rest": text[half:], "digit": digit,
        "masked": text.replace(digit, "x"), "reversed": text[::-1], "first": text[:half], "second": text[half:],
        "mixed": text[0] + draw.choice("abcdefhk") + "".join(c + draw.choice(("", *"abcdefhk")) for c in text[1:]),
    }  # fmt: skip
    return str(draw.choice(lines.split("|"))).format(**fills)


# ---- sounds ----


@cache
def _reading() -> Mapping[str, str]:
    return {char: syllable for syllable, chars in table("sounds")["syllable"].items() for char in chars}


def pinyin(text: str) -> list[str]:
    """Read a text syllable by syllable; what is no common character stays as it is."""
    return [_reading().get(c, c) for c in text]


@cache
def _near(syllable: str) -> tuple[str, ...]:
    """Return the syllables that many speakers do not tell from one."""
    pairs = (("zh", "z"), ("ch", "c"), ("sh", "s"), ("n", "l"), ("f", "h"), ("r", "l"))
    ends = (("ing", "in"), ("eng", "en"), ("ang", "an"))
    near = {b + syllable.removeprefix(a) for p in pairs for a, b in (p, p[::-1]) if syllable.startswith(a)}
    near |= {syllable.removesuffix(a) + b for p in ends for a, b in (p, p[::-1]) if syllable.endswith(a)}
    return tuple(sorted(s for s in near - {syllable} if s in table("sounds")["syllable"]))


def same_sound(text: str, draw: Random) -> str:
    """Replace characters by others of the same sound, whatever their tone."""
    return "".join(_other(c, (_reading().get(c, ""),), draw) if draw.random() < 0.6 else c for c in text)


def near_sound(text: str, draw: Random) -> str:
    """Replace characters by others of nearly the same sound."""
    return "".join(_other(c, _near(_reading().get(c, "")), draw) if draw.random() < 0.6 else c for c in text)


def _other(char: str, syllables: Sequence[str], draw: Random) -> str:
    """Take another of the dozen most frequent characters of one of the syllables."""
    chars = [c for s in syllables for c in table("sounds")["syllable"].get(s, "")[:12] if c != char]
    return draw.choice(chars) if chars else char


def romanized(text: str, draw: Random) -> str:
    """Write a word in pinyin, in one piece or syllable by syllable."""
    if not any(c in _reading() for c in text):
        return text
    gap = draw.choice((" ", ""))
    return f" {gap.join(pinyin(text))} " if gap else gap.join(pinyin(text))


def initials(text: str, draw: Random) -> str:
    """Abbreviate a word as players do, or to the first letters of its syllables."""
    known = table("words")["initials"]
    if text in known:
        return str(draw.choice(known[text].split("|")))
    return "".join(s[0] if c in _reading() else c for c, s in zip(text, pinyin(text), strict=True))


_LEET: Final = {"e": "3", "i": "1", "o": "0", "a": "4@"}
_KEYS: Final = {
    "x": "cz",
    "u": "v",
    "b": "vn",
    "n": "m",
    "g": "hf",
    "w": "eq",
    "j": "kh",
    "l": "k",
    "d": "sf",
    "i": "o",
}


def mistyped(text: str, draw: Random) -> str:
    """Write pinyin with one letter as a digit or its neighbour's key: w3ixin, weicin."""
    if not any(c in _reading() for c in text):
        return text
    letters = "".join(pinyin(text))
    way = draw.choice((_LEET, _KEYS))
    able = [n for n, c in enumerate(letters) if c in way]
    if not able:
        return letters
    at = draw.choice(able)
    return letters[:at] + draw.choice(way[letters[at]]) + letters[at + 1 :]


def zhuyin(text: str, draw: Random) -> str:
    """Write a word in bopomofo."""
    gap = draw.choice((" ", ""))
    written = table("sounds")["bopomofo"]
    return "".join(written.get(_reading().get(c, ""), c) + gap for c in text).rstrip()


def foreign(text: str, draw: Random) -> str:
    """Translate a word into English, Korean, Japanese or Vietnamese, or write it in bopomofo."""
    known = longest(table("words")["foreign"])(text, draw)
    return known if known != text and draw.random() < 0.8 else zhuyin(text, draw)


# ---- shapes ----


@cache
def compatibles() -> Mapping[str, str]:
    """Return the radicals and compatibility forms of Unicode, and hand-made ones, by the character they pass for."""
    spelled = dict(zip(*(table("glyphs")["radical"][key] for key in ("plain", "written")), strict=True))
    for point in (*range(0x2F00, 0x2FD6), *range(0xF900, 0xFA6E)):
        spelled.setdefault(unicodedata.normalize("NFKC", chr(point)), chr(point))
    return {char: form for char, form in spelled.items() if char != form}


def lookalike(text: str, draw: Random) -> str:
    """Replace Latin letters by Cyrillic, Greek and small capital ones."""
    return each(table("glyphs")["latin"], share=0.8)(text, draw)


_ALPHABETS: Final = (0x1D400, 0x1D468, 0x1D4D0, 0x1D56C, 0x1D5A0, 0x1D5D4, 0x1D608, 0x1D63C, 0x1D670)
_CAPITALS: Final = (0x1F130, 0x1F150, 0x1F170, 0x1F1E6, 0x24B6)


def styled(text: str, draw: Random) -> str:
    """Write Latin letters in a mathematical alphabet, or circled, squared, as regional indicators."""
    if draw.random() < 0.5:
        first = draw.choice(_ALPHABETS)
        return "".join(_letter(c, first, first + 26) for c in text)
    first = draw.choice(_CAPITALS)
    return "".join(_letter(c, first, first) for c in text)


def _letter(char: str, upper: int, lower: int) -> str:
    if not (char.isascii() and char.isalpha()):
        return char
    return chr(upper + ord(char) - 65) if char.isupper() else chr(lower + ord(char) - 97)


def struck(draw: Random) -> Spell:
    """Put combining marks on every character."""
    marks = draw.choice(("\u0336", "\u0332", "\u0337", "\u0489", "\u20e0", "\u0334\u0323", "\u0300\u0316\u0335\u0363"))
    return lambda text, _: "".join(c + marks for c in text)


def marked_up(draw: Random) -> Spell:
    """Put mark-up of a game client around words or characters, or between characters."""
    markup, way = table("words")["markup"], draw.random()
    if way < 0.4:
        code = draw.choice(markup["between"].split("|"))
        return lambda text, _: str(code.join(text))
    around = draw.choice(markup["around"].split("|"))
    if way < 0.7:
        return lambda text, _: str(around.replace("{}", text))
    return lambda text, _: "".join(around.replace("{}", c) for c in text)


def from_glyphs(name: str) -> Spell:
    """Replace characters and words by a table of glyphs.toml."""
    return longest(table("glyphs")[name], " ")


ZERO_WIDTH: Final = ("\u200b", "\u200c", "\u200d", "\ufeff", "\u3164", "\u2060", "\u180e", "\u115f", "\u2800")
UNSEEN: Final = ("\u00ad", "\u2061", "\u2062", "\u2063", "\u2064", "\U000e0041", "\U000e0020", "\ufe0e", "\u034f")
SEPARATORS: Final = (".", "-", "/", "·", "_", "~", "*", "|", "、", "+", "…", "=", "^", "。", "#", "丶", "\\")
_WIDE: Final = {point: point + 0xFEE0 for point in range(0x21, 0x7F)}
