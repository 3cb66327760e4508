"""Which numbers are contacts, and of which type: the nearest word decides, else how carefully they are disguised."""

from __future__ import annotations

import re
from bisect import bisect_left
from itertools import pairwise, zip_longest
from typing import TYPE_CHECKING, Final

from moderation.cues import SHORT_REACH, Found, HandleGrammar, Mark, tails
from moderation.numerals import LONGEST, Number, unit

if TYPE_CHECKING:
    from collections.abc import Iterator

PHONE: Final = re.compile(r"1[3-9]\d{9}")
#: What a number of each type looks like: Tencent's own limits for QQ and groups, the numbering plan for phones.
_NUMBERS: Final = {
    "qq": re.compile(r"[1-9]\d{4,10}"),
    "qun": re.compile(r"[1-9]\d{5,10}"),
    "tel": re.compile(r"1[3-9]\d{9}|400\d{7}"),
    "wx": re.compile(r"[1-9]\d{5,10}"),
    "yy": re.compile(r"[1-9]\d{4,9}"),
    "kook": re.compile(r"\d{5,11}"),
    **dict.fromkeys(("dy", "ks", "xhs", "bili"), re.compile(r"\d{6,11}")),
}
#: What may stand before a phone number: the country, or the trunk prefix.
_TRUNK: Final = re.compile(r"^(?:0086|86|0)(?=1[3-9]\d{9})")
#: Digits of noise behind a number that are cut off; a longer run is something else.
_NOISE: Final = 3
#: So many digits are a number without a cue, if they are strange.
_WHOLE: Final = 9
#: A number of fewer kinds of digits needs a cue: one account number in four hundred has so few.
_KINDS: Final = 3
#: A shorter number is an everyday one: its cue must stand right before it.
_LONG: Final = 8
_CLOSE: Final = 3
_AFTER_REACH: Final = 4
#: A cue of several characters so near behind a number outweighs a word of the game before it.
_RIGHT_BEHIND: Final = 1
#: Words farther than this cannot matter: the longest word, spaced out, and its reach.
_WINDOW: Final = 32
_LETTER: Final = re.compile("[a-z]")
_DATE: Final = re.compile(r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])")
_DECIMAL: Final = re.compile(r"[0-9]\.")
_RANK: Final = re.compile(r"[0-9]{1,2}(?:\.[0-9]{1,2})*[\s.][0-9]{3}")


class Contacts:
    """Decides which numbers are handles, and of which type: by the nearest word, else by how they are disguised."""

    def __init__(self, grammar: HandleGrammar) -> None:
        self._everyday = frozenset(grammar.common_numbers) | frozenset(grammar.service_numbers)
        self._uid_lengths = frozenset(map(int, grammar.uid_lengths))
        self._unit = unit(grammar)
        self._tails = tails(grammar)

    def accept(self, text: str, numbers: list[Number], marks: list[Mark]) -> Iterator[Found]:
        """Yield the numbers that are handles, in order; one said to be the WeChat id too comes twice."""
        reversing = any(m.kind == "reversing" for m in marks)
        same = any(m.kind == "same" for m in marks)
        starts = [m.start for m in marks]
        last, verdict = 0, ""
        for number, following in zip_longest(numbers, numbers[1:]):
            near = marks[bisect_left(starts, max(last, number.start - _WINDOW)) : bisect_left(starts, number.start)]
            limit = following.start if following else len(text)
            after = marks[bisect_left(starts, number.end) : bisect_left(starts, min(limit, number.end + _WINDOW))]
            joined = last and not near and number.start - last <= _CLOSE and not self._unit.match(text, number.end)
            told = number._replace(told=number.told or (reversing and len(number.digits) >= _LONG))
            verdict = verdict if joined else self._type(text, told, near, after)
            last = number.end
            digits = number.digits[::-1] if reversing else number.digits
            value = _value(verdict, digits)
            if value and not self._is_everyday(digits):
                yield Found(number.start, number.end, verdict, value)
                if same and verdict in {"tel", "qq"}:
                    yield Found(number.start, number.end, "wx", value)

    def _type(self, text: str, number: Number, before: list[Mark], after: list[Mark]) -> str:
        """Return the type of a number, or "" for one that is no handle."""
        said, loose = self._said_before(text, number, before)
        if said == "negative":
            return _said_after(number, [m for m in after if not m.single], _RIGHT_BEHIND)
        if said:
            return said
        if (
            (number.heard and len(number.digits) < _LONG)
            or self._unit.match(text, number.end)
            or (not number.strange and _is_glued(text, number, after))
        ):
            return ""
        reach = _WINDOW if number.told else _AFTER_REACH
        said = _said_after(number, after, reach)
        return said if said or number.heard else self._unsaid(number, loose=loose)

    def _said_before(self, text: str, number: Number, marks: list[Mark]) -> tuple[str, bool]:
        """Return the type by the nearest cue, "negative", or "", and whether a loose cue stands there too."""
        loose, cues = False, list[Mark]()
        for mark in reversed(marks):
            gap = number.start - mark.end
            if mark.kind == "negative" and gap <= SHORT_REACH and not cues:
                return "negative", loose
            if mark.kind in {"cue", "contact", "same"} and self._reaches(text, mark, number):
                cues.append(mark)
            loose = loose or (mark.kind == "loose" and gap <= SHORT_REACH)
        gap = number.start - cues[0].end if cues else 0
        torn = gap > 0 and _LETTER.match(text, number.start - 1)  # 28A6013957
        if not cues or torn or (len(number.digits) < _LONG and gap > _CLOSE and not number.told):
            return "", loose
        if self._unit.match(text, number.end) and (len(number.digits) < _LONG or gap > _CLOSE):
            return "negative", loose
        return _named(cues, number), loose

    def _reaches(self, text: str, mark: Mark, number: Number) -> bool:
        gap = text[mark.end : number.start]
        if number.told:
            return True
        return (
            len(gap) <= mark.reach
            and _leads(text, mark, number)
            and (not mark.single or bool(self._tails.fullmatch(gap)))
        )

    def _unsaid(self, number: Number, *, loose: bool) -> str:
        """Return the type of a number no word speaks of: a phone, or what was disguised with care."""
        if _is_phone(number) and (number.neat or number.strange):
            return "" if LONGEST in self._uid_lengths and not number.strange else "tel"
        enough = len(number.digits) >= (_LONG if loose else _WHOLE)
        return "qq" if number.strange and enough and _is_random(number.digits) else ""

    def _is_everyday(self, digits: str) -> bool:
        """Numbers everybody writes: 666666, 12345678, 5201314, round sums, dates."""
        steps = {int(b) - int(a) for a, b in pairwise(digits)}
        return (
            digits in self._everyday
            or len(set(digits)) <= 2
            or steps in ({1}, {-1})
            or digits.endswith("00000")
            or _DATE.fullmatch(digits) is not None
        )


def _value(type_: str, digits: str) -> str:
    """Return the canonical value, or "" where digits are no valid number of the type. Noise behind it is cut off."""
    phone = _TRUNK.sub("", digits)
    if type_ == "tel" or PHONE.fullmatch(phone):
        digits = phone
    if type_ not in _NUMBERS or len(digits) > LONGEST + _NOISE:
        return ""
    head, tail = digits[:LONGEST], digits[-LONGEST:]
    valid = _NUMBERS[type_].fullmatch
    if type_ == "tel" and not valid(head):
        head = tail
    return head if valid(head) else ""


def _said_after(number: Number, marks: list[Mark], reach: int) -> str:
    near = [m for m in marks if m.kind in {"cue", "negative"} and m.start - number.end <= reach]
    near = near[:1] if near and near[0].kind == "negative" else [m for m in near if m.kind == "cue"]
    if not near or near[0].kind == "negative" or len(number.digits) < 6:
        return ""
    return "qun" if any(m.type == "qun" for m in near) else near[0].type


def _named(cues: list[Mark], number: Number) -> str:
    """Return the type that the cues, nearest first, agree on: groups win, and 联系 alone tells no type."""
    types = [m.type for m in cues if m.kind != "contact"]
    if types:
        return "qun" if "qun" in types else types[0]
    if _is_phone(number):
        return "tel"
    return "qq" if len(number.digits) >= _LONG else ""


def _is_random(digits: str) -> bool:
    """Tell whether digits look dealt out: not of so few kinds as stars and scores, nor each once as in a puzzle."""
    return len(set(digits)) > _KINDS and sorted(digits) != list("123456789")


def _is_phone(number: Number) -> bool:
    return PHONE.fullmatch(_TRUNK.sub("", number.digits)) is not None


def _leads(text: str, mark: Mark, number: Number) -> bool:
    """Tell whether a lone letter is a cue: in `v8 大佬 123456` it is a rank, in `v1.20.30401` a version."""
    if mark.end - mark.start > 1:
        return True
    if mark.end != number.start:
        return not text[mark.end].isdigit()
    return mark.type != "wx" or not _RANK.match(text, mark.end)


def _is_glued(text: str, number: Number, after: list[Mark]) -> bool:
    """Digits that go on in letters are part of a code: SPRING8880, 30917264ab."""
    tail = text[number.end : number.end + 1]
    head = text[number.start - 1 : number.start]
    begins = any(m.start == number.end for m in after)
    decimal = _DECIMAL.match(text, number.start - 2) if number.start >= 2 else None
    return bool(decimal or _LETTER.match(head) or (_LETTER.match(tail) and not begins))
