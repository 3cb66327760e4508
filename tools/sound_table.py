"""Write moderation/tables/sound.tsv: which Han characters sound alike, and how the sound is spelled.

    python tools/sound_table.py            # rewrite the table
    python tools/sound_table.py --check    # exit 1 when the checked-in table is not what this script makes

A character is read as it is most often read in the words of jieba's dictionary, or as pypinyin reads it alone. Tones
do not count, nor do differences that southern speakers do not make: zh z, ch c, sh s, n l, f h, ang an, eng en, ing in.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections import Counter, defaultdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pypinyin import Style, lazy_pinyin, pinyin

with warnings.catch_warnings():  # jieba warns about its own source
    warnings.simplefilter("ignore")
    import jieba

if TYPE_CHECKING:
    from collections.abc import Iterator

TABLE: Final = Path(__file__).parent.parent / "moderation" / "tables" / "sound.tsv"
HEADER: Final = """\
# Which Han characters sound alike, and how the sound is spelled. Made by tools/sound_table.py: change that, not this.
# Columns: spellings (pinyin, bopomofo), characters read so, characters also read so.
# pypinyin {pypinyin}: MIT License, https://github.com/mozillazg/python-pinyin
# Frequencies of words, by which the commonest reading is chosen: jieba {jieba}, MIT License, https://github.com/fxsj/jieba
"""
HAN: Final = tuple(map(chr, range(0x4E00, 0xA000)))
HAN_SET: Final = frozenset(HAN)
#: Characters that stand alone, or in names, more often than in words of the dictionary.
READ: Final = {
    "都": "dou",
    "呢": "ne",
    "崴": "wei",
    "贾": "jia",
    "薄": "bo",
    "佛": "fo",
    "呗": "bei",
    "吖": "ya",
    "什": "shen",
}
#: A further reading counts when so large a part of its words have it.
RARE: Final = 0.02
#: What is heard alike. In order: the vowel of a syllable with f is another than after h.
ALIKE: Final = (
    (r"^fou$", "hou"),
    (r"^fong$|^feng$|^fen$", "hun"),
    (r"^fei$", "hui"),
    (r"^fo$", "huo"),
    (r"^fu$", "hu"),
    (r"^f(?=a)", "hu"),
    (r"^([zcs])h", r"\1"),
    (r"^n(?=.)", "l"),
    (r"(?<=[aei])ng$", "n"),
    (r"^lue$", "lve"),
)
#: u as it is typed for ü: on a keyboard ü is v.
TYPED_V: Final = re.compile(r"(?<=[jqxy])u")


def heard(syllable: str) -> str:
    """Return the class of a syllable: its plainest spelling."""
    for pattern, plain in ALIKE:
        syllable = re.sub(pattern, plain, syllable)
    return syllable


def readings() -> dict[str, Counter[str]]:
    """Count for each character how often it is read how in the words of jieba's dictionary."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    with jieba.get_module_res(jieba.DEFAULT_DICT_NAME) as file:
        for line in file:
            word, frequency = line.decode().split(" ")[:2]
            if len(word) > 1 and HAN_SET.issuperset(word):
                for char, reading in zip(word, lazy_pinyin(word), strict=True):
                    counts[char][reading] += int(frequency)
    return counts


def common(char: str, counts: Counter[str]) -> str | None:
    """Return the commonest reading, or None where pypinyin knows none."""
    alone = lazy_pinyin(char, errors="ignore")
    return READ.get(char) or (max(counts, key=lambda one: (counts[one], one)) if counts else "".join(alone)) or None


def classes() -> dict[str, tuple[list[str], list[str]]]:
    """Return for each class the characters read so, and those also read so."""
    found: defaultdict[str, tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
    counts = readings()
    for char in HAN:
        first = common(char, counts.get(char, Counter()))
        if first is None or not re.search("[aeiouv]", first):  # 嗯 and 呒 are hummed
            continue
        found[heard(first)][0].append(char)
        enough = RARE * counts.get(char, Counter()).total()
        others = {heard(one) for one, count in counts.get(char, Counter()).items() if count >= enough}
        for other in sorted(others - {heard(first)}):
            found[other][1].append(char)
    return found


def spellings() -> dict[str, list[str]]:
    """Return for each class how its syllables are written: pinyin, with v for ü, then bopomofo."""
    written: defaultdict[str, set[str]] = defaultdict(set)
    for char in HAN:
        pairs = zip(
            pinyin(char, style=Style.NORMAL, heteronym=True, errors="ignore"),
            pinyin(char, style=Style.BOPOMOFO, heteronym=True, errors="ignore"),
            strict=True,
        )
        for latin, bopomofo in pairs:
            for one in latin:
                written[heard(one)] |= {one, TYPED_V.sub("v", one)}
            for latin_one, other in zip(latin, bopomofo, strict=False):
                if len(latin) == len(bopomofo):
                    written[heard(latin_one)].add(other.strip("ˊˇˋ˙"))
    return {name: sorted(words, key=lambda word: (not word.isascii(), word)) for name, words in written.items()}


def lines() -> Iterator[str]:
    """Make a line for each class, in the order of their names."""
    spelled = spellings()
    for name, (members, also) in sorted(classes().items()):
        yield f"{' '.join(spelled[name])}\t{''.join(members)}\t{''.join(also)}\n"


def render() -> str:
    """Make the whole file."""
    return HEADER.format(pypinyin=version("pypinyin"), jieba=version("jieba")) + "".join(lines())


def main() -> int:
    """Write the table, or say whether it is current."""
    made = render()
    if "--check" in sys.argv[1:]:
        current = TABLE.read_text(encoding="utf-8") == made
        print("current" if current else f"{TABLE} is stale: run tools/sound_table.py")
        return 0 if current else 1
    TABLE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
