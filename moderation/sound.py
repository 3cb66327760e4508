"""How a text sounds: homophones made equal, and pinyin read as the characters it stands for.

>>> sound("嘉薇心") == sound("加微信") == spelled("jia wei xin").text
True

A sound is a class of syllables, written as a private-use character, so that no term meant for the text itself matches
here. Tones do not count, nor what southern speakers do not tell apart (tables/sound.tsv, made by tools/sound_table.py).
Ordinary words sound alike too: 维新 is 微信. What a match is worth is not decided here.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import islice, product
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from moderation.views import Seen

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from moderation.joined import Joined

#: Sounds of one term, at most: a term of three characters with two readings each has eight.
SOUNDINGS: Final = 8
#: Letters in a row that are still read as pinyin. Reading is linear in them.
LONGEST: Final = 60
#: Runs of so many letters at most whose reading is remembered, since players write the same few words all day.
_MOST_RUNS: Final = 2048

_FILE: Final = Path(__file__).with_name("tables") / "sound.tsv"
#: The first private-use character; the class in line n of the table is the n-th.
_FIRST: Final = 0xE000
# A point that is missing costs str.translate a KeyError, so the common ones that stay are in the table too.
_SOUND: Final[dict[int, str]] = {point: chr(point) for point in range(0x20, 0x7F)}
_ALSO: Final[dict[str, str]] = {}
_SPELLINGS: Final[dict[str, str]] = {}


def _load(lines: Iterable[str]) -> None:
    """Read the table; its header says what the columns mean. A single letter is no spelling: it stands for itself."""
    for point, line in enumerate((line for line in lines if line and not line.startswith("# ")), _FIRST):
        spellings, members, also = line.split("\t")
        _SOUND.update(dict.fromkeys(map(ord, members), chr(point)))
        for char in also:
            _ALSO[char] = _ALSO.get(char, "") + chr(point)
        for word in spellings.split(" "):
            if len(word) > 1 or not word.isascii():
                _SPELLINGS[word] = chr(point)


_load(_FILE.read_text(encoding="utf-8").split("\n"))


def sound(text: str) -> str:
    """Return folded text with each Han character replaced by its sound; the rest, and the length, stay.

    A character is read as it is most often read. 0.9 µs for 20 characters.
    """
    return text.translate(_SOUND)


def soundings(term: str) -> tuple[str, ...]:
    """Return the sounds a term may have, the commonest first, at most SOUNDINGS: 还 is hai, and huan in 还钱."""
    readings = (sound(char) + _ALSO.get(char, "") for char in term)
    return tuple("".join(one) for one in islice(product(*readings), SOUNDINGS))


class _Syllable(NamedTuple):
    """A sound, and where in the folded text its spelling stands."""

    sound: str
    start: int
    end: int


#: Without a letter and another one nothing is read.
_TWO_LETTERS: Final = re.compile("[a-zㄅ-ㄩ][a-z0-9ㄅ-ㄩ]")
#: Letters with digits among them, which may be letters mistyped.
_RUN: Final = re.compile("[a-zㄅ-ㄩ][a-z0-9ㄅ-ㄩ]*")
_LETTERS: Final = re.compile("[a-zㄅ-ㄩ]+")
#: What may stand between syllables of a word, tone marks too.
_BETWEEN: Final = re.compile("[ '’.·_/|ˊˇˋ˙-]{0,2}")
_HAN: Final = re.compile("[\u3400-\u9fff]")
_VOWELS: Final = frozenset("aoe")
_SYLLABLE_LENGTH: Final = max(map(len, _SPELLINGS))
#: Less than pinyin asks for: consonants and vowels by turns. Refuses most English before any dictionary is asked.
_LIKE_PINYIN: Final = re.compile(
    "[^aeiouv]{0,2}[aeiouv]{1,4}(?:ng?|r)?(?:[^aeiouv]h?[aeiouv]{1,4}(?:ng?|r)?)*|[ㄅ-ㄩ]+"
)


def _syllables(run: str) -> list[tuple[int, int]]:
    """Cut letters into syllables, or return nothing where some letter is left over.

    Of several ways the one with the fewest syllables that begin with a vowel, which pinyin marks by an apostrophe, then
    the fewest syllables: fangan is fan-gan. `ways[at]` is the cost and the first end of the best way to cut run[at:].
    """
    ways: list[tuple[int, int, int] | None] = [None] * len(run) + [(0, 0, 0)]
    for at in range(len(run) - 1, -1, -1):
        open_ = at > 0 and run[at] in _VOWELS
        ends = range(at + 1, min(at + _SYLLABLE_LENGTH, len(run)) + 1)
        found = ((ways[end], end) for end in ends if run[at:end] in _SPELLINGS)
        ways[at] = min(((way[0] + open_, way[1] + 1, end) for way, end in found if way), default=None)
    cuts = []
    at = 0
    while at < len(run):
        way = ways[at]
        if way is None:
            return []
        cuts.append((at, way[2]))
        at = way[2]
    return cuts


#: Words of this trade, so often mistyped or disguised that in them one wrong letter, or digits, are read as meant.
_WORDS: Final = frozenset({
    "weixin", "jiaweixin", "weixinhao", "qiuqiu", "jiaqun", "jinbi", "chujinbi", "shoujinbi", "maijinbi", "dailian",
    "daichong", "chongzhi", "yuanbao", "zuanshi", "zhanghao", "shouhao", "chuhao", "maihao", "gongzuoshi",
})  # fmt: skip
_KEYS: Final = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_LOOK_ALIKES: Final = {"i": "l", "l": "i1"}
_LEET: Final = str.maketrans("0123456789", "oizeasbtbg")
#: A digit or two among more letters: wa1gua, m1anfe1.
_LEETED: Final = re.compile("(?=.{5})[a-z]+[0-9][a-z]+(?:[0-9][a-z]*)?")


def _slips(letter: str) -> str:
    """Return what may stand for a letter: its neighbours on the keyboard, and what looks like it."""
    row = next(keys for keys in _KEYS if letter in keys)
    at = row.index(letter)
    return row[max(0, at - 1) : at] + row[at + 1 : at + 2] + _LOOK_ALIKES.get(letter, "")


def _mistyped() -> Iterator[tuple[str, str]]:
    """Pair each of the words with one wrong letter, unless that is pinyin again, and the word."""
    for word in sorted(_WORDS):
        for at, letter in enumerate(word):
            for slip in _slips(letter):
                wrong = f"{word[:at]}{slip}{word[at + 1 :]}"
                if not _syllables(wrong):
                    yield wrong, word


_MISTYPED: Final = dict(_mistyped())


def may_be_spelled(texts: Joined) -> Iterable[int]:
    """Return the indexes of the folded texts in which letters may be read as sounds, in order: few of them are."""
    runs = ((*run.span(), 0) for run in _RUN.finditer(texts.text) if _read(run[0]))
    return dict.fromkeys(at for at, *_ in texts.spread(runs))


def spelled(text: str) -> Seen | None:
    """Return the sound of folded text with its pinyin and bopomofo read as sounds, or None where it holds none.

    A run of letters is pinyin when all of it is; two syllables are needed, or Han beside one. What separates syllables
    is dropped. English that happens to be pinyin (`like`, `dance`) is read too.
    """
    if not _TWO_LETTERS.search(text):
        return None
    words = [word for word in _joined(text, _runs(text)) if _is_pinyin(text, word)]
    return _replaced(text, words) if words else None


def _runs(text: str) -> Iterator[list[_Syllable]]:
    for run in _RUN.finditer(text):
        at = run.start()
        for part in _read(run[0]):
            yield [_Syllable(one.sound, at + one.start, at + one.end) for one in part]


def _read(run: str) -> Sequence[Sequence[_Syllable]]:
    """Read a run of letters: as the word it is meant for, else what is between its digits; where that is pinyin."""
    return _remembered(run) if len(run) <= LONGEST else _parts(run)


@lru_cache(_MOST_RUNS)
def _remembered(run: str) -> Sequence[Sequence[_Syllable]]:
    return _parts(run)


def _parts(run: str) -> Sequence[Sequence[_Syllable]]:
    meant = _MISTYPED.get(run) or run.translate(_LEET)
    whole = meant in _WORDS or bool(_LEETED.fullmatch(run) and _syllables(meant))
    words = [(meant, 0)] if whole else [(part[0], part.start()) for part in _LETTERS.finditer(run)]
    return [read for word, start in words if (read := _cut(word, start))]


def _cut(word: str, start: int) -> Sequence[_Syllable]:
    if len(word) > LONGEST or not _LIKE_PINYIN.fullmatch(word):
        return ()
    return [_Syllable(_SPELLINGS[word[at:end]], start + at, start + end) for at, end in _syllables(word)]


def _joined(text: str, runs: Iterable[list[_Syllable]]) -> Iterator[list[_Syllable]]:
    """Join what was read, as long as hardly anything stands between."""
    word: list[_Syllable] = []
    for run in runs:
        if word and _BETWEEN.fullmatch(text, word[-1].end, run[0].start):
            word += run
        else:
            yield word
            word = run
    yield word


def _is_pinyin(text: str, word: list[_Syllable]) -> bool:
    return len(word) > 1 or (bool(word) and any(_beside_han(text, word)))


def _beside_han(text: str, word: list[_Syllable]) -> tuple[int, int]:
    """Return where the Han before the word ends and where the Han after it starts, or 0; spaces may be between."""
    left, right = word[0].start, word[-1].end
    while left and text[left - 1] == " ":
        left -= 1
    while right < len(text) and text[right] == " ":
        right += 1
    return left if left and _HAN.match(text, left - 1) else 0, right if _HAN.match(text, right) else 0


def _replaced(text: str, words: list[list[_Syllable]]) -> Seen:
    """Put the sounds in the place of their spelling; spaces between them and Han go too."""
    made: list[str] = []
    places: list[tuple[int, int]] = []
    at = 0
    for word in words:
        left, right = _beside_han(text, word)
        start, end = left or word[0].start, right or word[-1].end
        made += sound(text[at:start]), *(one.sound for one in word)
        places += ((here, here + 1) for here in range(at, start))
        places += ((one.start, one.end) for one in word)
        at = end
    places += ((here, here + 1) for here in range(at, len(text)))
    return Seen("".join(made) + sound(text[at:]), places)
