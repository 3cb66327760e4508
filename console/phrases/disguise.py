"""Contact handles nobody owns, and the ways offenders hide their wording: the generator's side of the arms race.

It shares no table with `moderation`, so that traffic never flatters the reader that undoes these tricks.
"""

from __future__ import annotations

from string import ascii_lowercase, ascii_uppercase
from typing import TYPE_CHECKING, Final, NamedTuple

from console.phrases import options, pick, table

if TYPE_CHECKING:
    from collections.abc import Callable

    from console.phrases import Draw

_SCRIPTS: Final = (
    "0123456789",
    "０１２３４５６７８９",
    "⓪①②③④⑤⑥⑦⑧⑨",
    "⓿➊➋➌➍➎➏➐➑➒",
    "零一二三四五六七八九",
    "〇一二三四五六七八九",
    "零壹贰叁肆伍陆柒捌玖",
    "洞幺两三四五六拐八勾",
    "⁰¹²³⁴⁵⁶⁷⁸⁹",
    "₀₁₂₃₄₅₆₇₈₉",
    "٠١٢٣٤٥٦٧٨٩",
    "𝟎𝟏𝟐𝟑𝟒𝟓𝟔𝟕𝟖𝟗",
)
_KEYCAP: Final = "\ufe0f\u20e3"
_INVISIBLE: Final = ("\u200b", "\u200c", "\u2060", "\ufeff", "\u00ad", "\u2063", "\u3164")
_STRIKES: Final = ("\u0332", "\u0336", "\u0335", "\u0334")
_SEPARATORS: Final = (".", "-", "/", "*", "_", "~", "·", "、", "。", "|")
_FILLERS: Final = ("呀", "的", "了", "哈", "a", "啊", "么")
_WIDE: Final = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}
#: Numbers no one can have, to our knowledge: QQ and group numbers of ten digits from 6 on are not issued yet, no
#: carrier sells these telephone prefixes, and example.com is reserved (RFC 2606). WeChat ids are random letters.
_TEL: Final = ("154", "160", "161", "163", "164", "168", "169", "179")
_HOSTS: Final = ("example.com", "example.net", "example.org")
_SYLLABLES: Final = ("qx", "vz", "jv", "kw", "zq", "wv", "hx", "bq", "yv", "fz", "tq", "mx", "lv", "gx", "dz")


class Ad(NamedTuple):
    """A pitch, the word that says what kind of handle follows, and the handle as typed; these two may be ""."""

    pitch: str
    cue: str = ""
    value: str = ""


def fake_handle(draw: Draw, kind: str) -> str:
    """Make up a handle of type qq, qun, tel, wx, yy or url in its canonical spelling."""
    number = str(10**9 + int(draw() * 9 * 10**9))
    match kind:
        case "qq" | "qun":
            return pick(draw, "6789") + number[1:]
        case "tel":
            return pick(draw, _TEL) + number[:8]
        case "yy":
            return number[:8]
        case "url":
            return f"{pick(draw, _SYLLABLES)}{number[:4]}.{pick(draw, _HOSTS)}"
        case _:
            return "".join(pick(draw, _SYLLABLES) for _ in range(3)) + pick(draw, ("_", "")) + number[:4]


def with_handle(draw: Draw, pitch: str, kind: str, value: str) -> Ad:
    """Add a cue of the handle's type to a pitch."""
    return Ad(pitch, pick(draw, options(table("abuse")["cue"][kind])), value)


def carrier(draw: Draw, kind: str, value: str) -> str | None:
    """Spell a player's name that carries a handle, or None where handles of its type do not fit into names."""
    names = table("abuse")["carrier"].get(kind)
    return str(pick(draw, options(names))).replace("{}", value) if names else None


def disguised(draw: Draw, ad: Ad) -> str:
    """Write an ad down with a trick at random; two fifths stay as they are."""
    return plain(draw, ad) if draw() < 0.4 else pick(draw, _TRICKS)(draw, ad)


def plain(draw: Draw, ad: Ad) -> str:
    """Write an ad down as it is."""
    if not ad.value:
        return ad.pitch
    joint = pick(draw, _JOINTS) if ad.pitch else ""
    gap = "" if ad.cue.endswith((":", " ")) else pick(draw, ("", "", " ", ":", ":"))
    return f"{ad.pitch}{joint}{ad.cue}{gap}{ad.value}"


def pieces(draw: Draw, ad: Ad) -> list[str]:
    """Split an ad over two to four messages."""
    cut = 1 + int(draw() * (len(ad.value) - 1))
    halves = [ad.value[:cut], ad.value[cut:]] if draw() < 0.7 else [ad.value]
    lead = [ad.pitch, ad.cue] if ad.pitch and draw() < 0.5 else [ad.pitch + ad.cue]
    return [piece for piece in (*lead, *halves) if piece]


_JOINTS: Final = (",", ",", " ", " ", "  ", "", "!", "~", ";", "。")


def _digits(draw: Draw, ad: Ad) -> str:
    script = pick(draw, _SCRIPTS[1:])
    return plain(draw, _renumbered(ad, lambda digit: script[int(digit)]))


def _keycaps(draw: Draw, ad: Ad) -> str:
    return plain(draw, _renumbered(ad, lambda digit: digit + _KEYCAP))


def _mixed(draw: Draw, ad: Ad) -> str:
    return plain(draw, _renumbered(ad, lambda digit: pick(draw, _SCRIPTS)[int(digit)]))


def _renumbered(ad: Ad, spell: Callable[[str], str]) -> Ad:
    """Respell the digits of the handle, or of the pitch where there is none."""
    hidden = "".join(spell(char) if "0" <= char <= "9" else char for char in ad.value or ad.pitch)
    return ad._replace(value=hidden) if ad.value else ad._replace(pitch=hidden)


def _invisible(draw: Draw, ad: Ad) -> str:
    mark = pick(draw, _INVISIBLE)
    return "".join(char + mark if draw() < 0.6 else char for char in plain(draw, ad))


def _struck(draw: Draw, ad: Ad) -> str:
    mark = pick(draw, _STRIKES)
    return "".join(char + mark for char in plain(draw, ad))


def _wide(draw: Draw, ad: Ad) -> str:
    return plain(draw, ad).translate(_WIDE)


def _separated(draw: Draw, ad: Ad) -> str:
    mark = pick(draw, _SEPARATORS)
    pitch = mark.join(ad.pitch) if draw() < 0.4 else ad.pitch
    return plain(draw, Ad(pitch, mark.join(ad.cue), mark.join(ad.value)))


def _spaced(draw: Draw, ad: Ad) -> str:
    return " ".join(plain(draw, ad))


def _bracketed(draw: Draw, ad: Ad) -> str:
    left, right = pick(draw, (("【", "】"), ("(", ")"), ("『", "』"), ("[", "]"), ("《", "》")))
    return plain(draw, ad._replace(pitch="".join(f"{left}{char}{right}" for char in ad.pitch)))


def _filled(draw: Draw, ad: Ad) -> str:
    return plain(draw, ad._replace(pitch=pick(draw, _FILLERS).join(ad.pitch)))


def _traditional(draw: Draw, ad: Ad) -> str:
    written = table("abuse")["traditional"]
    return plain(draw, ad).translate(str.maketrans(written["plain"], written["written"]))


def _respelled(draw: Draw, ad: Ad) -> str:
    pitch, cue = ad.pitch, ad.cue
    for word, spellings in table("abuse")["spell"].items():
        pitch = pitch.replace(word, pick(draw, options(spellings)))
        cue = cue.replace(word, pick(draw, options(spellings)))
    return plain(draw, Ad(pitch, cue, ad.value))


def _padded(draw: Draw, ad: Ad) -> str:
    greeting = pick(
        draw, ("大家晚上好,天冷多穿点,", "刚下班好累,", "祝各位天天开心,", "哈哈今天运气不错,", "路过说一声,")
    )
    return greeting + plain(draw, ad) + pick(draw, ("", ",打扰了", ",勿喷", "，祝玩得开心", "🌹🌹"))


def _stacked(draw: Draw, ad: Ad) -> str:
    return "\n".join(plain(draw, ad)) if len(ad.pitch) < 12 else "\n".join(filter(None, (ad.pitch, ad.cue + ad.value)))


def _styled(draw: Draw, ad: Ad) -> str:
    """Write Latin letters in a mathematical alphabet: bold, sans-serif bold, or the latter in italics."""
    return plain(draw, ad).translate(pick(draw, _ALPHABETS))


_ALPHABETS: Final = tuple(
    {ord(letter): first + at for at, letter in enumerate(ascii_uppercase + ascii_lowercase)}
    for first in (0x1D400, 0x1D5D4, 0x1D63C)
)
_TRICKS: Final = (
    _digits, _digits, _digits, _keycaps, _mixed, _mixed, _invisible, _invisible, _struck, _wide, _separated,
    _separated, _spaced, _bracketed, _filled, _traditional, _traditional, _respelled, _respelled, _respelled,
    _padded, _stacked, _styled,
)  # fmt: skip
