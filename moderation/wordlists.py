"""Long lists of words, left out before YAML is parsed: of a list of plain words only the first and the last are parsed.

    - 代练            - 代练
    - 代打     ▶      - 带打      and 代打, 代肝 belong behind the 代练 at its place in the text
    - 代肝
    - 带打

Parsing a line takes 25 µs, and lexicons are 50,000 such lines. It is the same list where the first word turns out to be
a plain scalar that ends with its line: then it is an item of a block sequence, and so is each line after it that begins
likewise. Where it turns out to be something else, in a block of text for instance, the text must be parsed whole.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

#: What YAML reads as it stands, wherever an item may be.
_WORD: Final = r"\w+(?:[ -]\w+)*"
_LIST: Final = re.compile(rf"^( *- )({_WORD})\r?\n((?:\1{_WORD}\r?\n)+)(?=\1{_WORD}\r?$)", re.MULTILINE)
_ITEM: Final = re.compile(_WORD)


class Shortened(NamedTuple):
    """A text without the words in between, and these, in order, by where the first of their list stands in it."""

    text: str
    left_out: dict[int, list[str]]


def shortened(text: str) -> Shortened:
    """Leave out of `text` what is between the first and the last word of each list."""
    kept: list[str] = []
    left_out: dict[int, list[str]] = {}
    at = length = 0
    for found in _LIST.finditer(text):
        kept.append(text[at : found.start(3)])
        left_out[length + found.start(2) - at] = _ITEM.findall(found[3])
        length, at = length + found.start(3) - at, found.end(3)
    return Shortened("".join((*kept, text[at:])), left_out)
