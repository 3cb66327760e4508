"""Other ways to read folded text, for terms that a plain search does not find.

Each view is a pure function. `shape` gives a text of the same length. The others drop or reorder characters, so they
give the places in the folded text as well, and None where there is nothing to read so: that is found out cheaply, as
ordinary chat holds nothing of the kind. None of them decides what a match is worth. Those by ear: `moderation.sound`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

#: Stands between texts that are searched together: nothing folds to a full-width letter.
SEPARATOR: Final = "\uff28"
#: Stands between the columns of one text: no term spans it either.
BREAK: Final = "\uff27"
#: Start and end in code points of the folded text, end not included.
Place: TypeAlias = tuple[int, int]
_TABLES: Final = Path(__file__).with_name("tables")


class Seen(NamedTuple):
    """A text as read in another way, and for each of its characters the place in the folded text."""

    text: str
    places: Sequence[Place]

    def place(self, start: int, end: int) -> Place:
        """Return the place of `text[start:end]`, from its first character to its last in whatever order they stand."""
        covered = self.places[start:end]
        return min(covered)[0], max(stop for _, stop in covered)


def _rows(name: str) -> Iterator[list[str]]:
    """Read a table; its header says what the columns mean."""
    for line in (_TABLES / name).read_text(encoding="utf-8").split("\n"):
        if line and not line.startswith("# "):
            yield line.split("\t")


# A point that is missing costs str.translate a KeyError, so the common ones that stay are in the table too.
_SHAPE: Final[dict[int, str]] = {point: chr(point) for r in (range(0x20, 0x7F), range(0x4E00, 0xA000)) for point in r}
_SHAPE.update({ord(char): row[0][0] for row in _rows("shape.tsv") for char in row[0]})


def shape(text: str) -> str:
    """Return folded text with each character replaced by the first of those that look like it: 徽信 is 微信.

    1 µs for 20 characters.
    """
    return text.translate(_SHAPE)


#: May stand between the parts of a character (讠.炎), which are letters, as what stands between texts is.
_SEPARATORS: Final = " ./+|_-"
_BETWEEN: Final = f"[{_SEPARATORS}]?"
_PART: Final = str.isalnum


class Joining:
    """A view that puts these characters together where they stand in parts: 力口亻言 is 加信.

    Give it the characters of the terms it is for: the fewer, the less of ordinary text (女子, 日月) it touches. Takes
    30 ms to make. Where none of `pairs` is there is nothing to join.
    """

    def __init__(self, characters: Iterable[str]) -> None:
        wanted = frozenset(characters)
        self._whole = {parts: row[0] for row in _rows("parts.tsv") if row[0] in wanted for parts in row[1].split(" ")}
        self._pattern = _parts_pattern(self._whole)
        self.pairs = sorted({gap.join(parts[:2]) for parts in self._whole for gap in ("", *_SEPARATORS)})

    def __call__(self, text: str) -> Seen | None:
        """Return the text with the characters joined, None where none is in parts."""
        made, places, at = list[str](), list[Place](), 0
        for match in self._pattern.finditer(text):
            made += text[at : match.start()], self._whole["".join(filter(_PART, match[0]))]
            places += (*_each(at, match.start()), match.span())
            at = match.end()
        return Seen("".join((*made, text[at:])), [*places, *_each(at, len(text))]) if at else None


def _parts_pattern(whole: Iterable[str]) -> re.Pattern[str]:
    """Match any of these sequences, the longer first, with separators; grouped by the first part, for speed."""
    by_first: defaultdict[str, list[str]] = defaultdict(list)
    for parts in sorted(whole, key=lambda parts: (-len(parts), parts)):
        by_first[parts[0]].append("".join(_BETWEEN + part for part in parts[1:]))
    return re.compile("|".join(f"{first}(?:{'|'.join(rest)})" for first, rest in by_first.items()) or "(?!)")


def _each(start: int, end: int) -> list[Place]:
    return list(zip(range(start, end), range(start + 1, end + 1), strict=True))


#: One separator may stand on either side of a filler.
_GAP: Final = "[^\\w\n]?"
_HAN: Final = "[\u3400-\u9fff]"
_FILLER: Final = "[a-z0-9呀啊哦噢嗯嘛呐哈嘿嘻呵喔哟吖呢吧]"
#: A letter, digit or interjection after each Han character, twice or more: 代a练b, 加.1.微.2.信, 金呀币呀.
_FILLED: Final = re.compile(f"{_HAN}(?:{_GAP}{_FILLER}{_GAP}{_HAN})+(?:{_GAP}{_FILLER}(?![a-z0-9]))?")
#: The same character three times or more, another one in between; not what stands between texts.
_SAME: Final = re.compile(f"([^\\W{SEPARATOR}])(?:(?!\\1)\\w\\1){{2,}}")
#: Gates, over texts joined by SEPARATOR: where neither matches nothing is filled. The first is for RE2.
_SIGN: Final = f"[^0-9a-z\u00c0-\u9fff\n{SEPARATOR}]?"
MAY_BE_FILLED: Final = f"{_FILLER}{_SIGN}{_HAN}{_SIGN}{_FILLER}"
MAY_BE_SAME: Final = re.compile(f"([^{SEPARATOR}])[^{SEPARATOR}]\\1[^{SEPARATOR}]\\1")


def unfilled(text: str) -> Seen | None:
    """Return the text without what stands at every second place: 金呀币呀, 代a练b, 的出的金的币.

    That is a letter, digit or interjection between Han twice or more, or any one character three times or more. Where
    only one character is left (哈啊哈啊哈啊) nothing is removed.
    """
    dropped: set[int] = set()
    dropped.update(*(_fillers(text, run, kept=0) for run in _FILLED.finditer(text)))
    dropped.update(*(_fillers(text, run, kept=1) for run in _SAME.finditer(text)))
    if not dropped:
        return None
    places = [(at, at + 1) for at in range(len(text)) if at not in dropped]
    return Seen("".join(text[at] for at, _ in places), places)


def _fillers(text: str, run: re.Match[str], *, kept: int) -> set[int]:
    """Tell what to drop of a run in which every second letter is kept, the first or the second."""
    letters = [at for at in range(*run.span()) if text[at].isalnum()]
    left = letters[kept::2]
    if len(letters) < 4 or len({text[at] for at in left}) == 1:
        return set()
    return set(range(*run.span())).difference(left)


_STOPS: Final = "[ ,。!?;:、~.\n]"
_TEXT: Final = f"[^{_STOPS[1:]}"
#: A clause of two characters or more; single ones with separators between them are no acrostic.
_CLAUSE: Final = re.compile(f"\\w{_TEXT}*\\w")
#: Gate for RE2. English puts a space after every word: one of the clauses must begin with Han.
FOUR_CLAUSES: Final = f"{_STOPS}+{_HAN}[^{SEPARATOR}{_STOPS[1:]}*{_STOPS}+[^{SEPARATOR}{_STOPS[1:]}+{_STOPS}"
_has_four_clauses: Final = re.compile(FOUR_CLAUSES).search


def heads(text: str, says: Callable[[str], object] = bool) -> Seen | None:
    """Return the first characters of the clauses, where there are four or more (藏头), if they say something."""
    return _acrostic(text, [first for first, _ in _clauses(text)], says)


def tails(text: str, says: Callable[[str], object] = bool) -> Seen | None:
    """Return the last characters of the clauses, where there are four or more (藏尾), if they say something."""
    return _acrostic(text, [last - 1 for _, last in _clauses(text)], says)


def _acrostic(text: str, at: Sequence[int], says: Callable[[str], object]) -> Seen | None:
    spelt = "".join([text[i] for i in at])
    return Seen(spelt, [(i, i + 1) for i in at]) if len(at) >= 4 and says(spelt) else None


@lru_cache(512)  # heads and tails of each text of a batch are asked for one after the other
def _clauses(text: str) -> Sequence[Place]:
    return [clause.span() for clause in _CLAUSE.finditer(text)] if _has_four_clauses(text) else ()


def columns(text: str) -> Seen | None:
    """Return lines of one width read from top to bottom: the columns from left to right, BREAK, from right to left.

    Two lines at least, of two characters at least.
    """
    lines = [line.span() for line in _LINE.finditer(text)]
    width = lines[0][1] - lines[0][0] if lines else 0
    if len(lines) < 2 or width < 2 or any(end - start != width for start, end in lines):
        return None
    rightward = [[(start + at, start + at + 1) for start, _ in lines] for at in range(width)]
    there, back = list(chain(*rightward)), list(chain(*reversed(rightward)))
    places = [*there, (there[-1][1], there[-1][1]), *back]
    return Seen("".join(text[start:end] or BREAK for start, end in places), places)


#: Gate for RE2.
TWO_LINES: Final = "\\n"
_LINE: Final = re.compile(r"[^\s](?:[^\n]*[^\s])?")
