"""Numbers as people write them to be read but not found: spaced, spelt, sung, mixed, filled, torn, told as a riddle.

Every pattern below either has bounded repeats or reads each character once, so the time is linear in the text.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from moderation.cues import any_of, is_letter
from moderation.fold import JOINT, fold

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from moderation.cues import HandleGrammar
    from moderation.fold import View

Group = tuple[int, int]

LONGEST: Final = 11
_SHORTEST: Final = 5
#: Fewer digits than this, written some other way, may be chance.
_SURE: Final = 7
#: A group of so many digits is a number by itself, whatever stands beside it.
_WHOLE: Final = 9
#: What people put between digits: anything but letters, and but what separates the items of a list.
_SEP: Final = (
    "[^0-9a-z\u00c0-\u024f\u3041-\u30ff\u3400-\u9fff\uac00-\ud7a3,、:;!?\\[\\]{}\"'“”<>=%+@#&$…。《》【】「」→➡⇒💰💎]"
)
_PHONE_GROUPS: Final = ([3, 4, 4], [3, 8], [7, 4])
#: A phone with the country before it, which makes it longer than any other number.
_ABROAD: Final = re.compile(r"(?:00)?861[3-9]\d{9}")
_DATED: Final = re.compile(r"(?:19|20)\d\d[-/.]\d{1,2}[-/.]\d{1,2}(?!\d)")
_TENS: Final = frozenset("十百千万亿")
_DIGIT: Final = re.compile("[0-9]")
_has_letter: Final = re.compile("[a-z]").search
_AMIDST: Final = re.compile("(?:^|[0-9])[a-z]{1,2}[0-9]")
_KEYCAP: Final = "\u20e3"
#: So many groups, or so many digits that are no ASCII, nobody writes without intent.
_MANY_GROUPS: Final = 8
_ODD: Final = 3
_TORN: Final = re.compile(rf"[0-9](?:{_SEP}{{0,2}}[0-9]){{6,}}")
_LOOSE: Final = re.compile(r"[0-9](?:[^0-9\n]{0,2}[0-9]){6,}")
#: Digits in Morse code: five signs each.
_MORSE: Final = {"." * n + "-" * (5 - n): str(n) for n in range(1, 6)} | {
    "-" * n + "." * (5 - n): str((5 + n) % 10) for n in range(1, 6)
}
_KEYED: Final = r"[.-]{5}(?:[ /|]{1,3}[.-]{5}){6,10}"
_keyed: Final = re.compile(rf"(?<![.-]){_KEYED}(?![.-])").finditer
#: l是1 O是0
_SWAPS: Final = re.compile(r"([a-z*])\s?[是=]\s?([0-9])(?![0-9])")
_MANY_SWAPS: Final = r"[a-z*]\s?[是=]\s?[0-9][^0-9a-z]{0,3}[a-z*]\s?[是=]\s?[0-9]"
_SEVERAL: Final = re.compile(_MANY_SWAPS)
_HAN_DIGITS: Final = str.maketrans("零一二两三四五六七八九", "01223456789")


class Number(NamedTuple):
    """A run of digits in the view text.

    `strange`: nobody writes a number like this who does not hide it. `neat`: in one piece, or grouped as phones are.
    `heard`: read into the text rather than seen there, so that it is none without a cue. `told`: by directions, so
    that its cue may stand far from it.
    """

    start: int
    end: int
    digits: str
    strange: bool = False
    neat: bool = False
    heard: bool = False
    told: bool = False


class Numerals:
    """The runs of digits in a text, in any script and under any of the disguises of the grammar."""

    def __init__(self, grammar: HandleGrammar) -> None:
        words = {c: d for d, chars in grammar.digit_words.items() for c in chars}
        sounds = {c: d for d, chars in grammar.homophones.items() for c in chars}
        letters = {c: d for d, chars in grammar.lookalikes.items() for c in chars}
        syllables = {fold(w).text: d for d, spelt in grammar.digit_syllables.items() for w in spelt}
        self._values = str.maketrans(sounds | letters | words)
        self._syllables = syllables
        self._measure = frozenset(grammar.measure_words)
        self._unit = unit(grammar)
        digit, like = f"[0-9{''.join(words)}]", f"[0-9{''.join(letters)}]"
        first = "".join(letters).replace("q", "")  # q before a number says what it is
        sound, spelt = f"[0-9{''.join(sounds)}{''.join(words)}]", f"(?:{any_of(syllables)}|{digit})"
        self._runs = re.compile(rf"{digit}(?:{_SEP}{{0,3}}{digit}){{4,}}")
        self._likes = re.compile(
            rf"(?:(?<![a-pr-z0-9])[0-9]|(?<=[\u4e00-\u9fff])[{first}])(?:{_SEP}{{0,2}}{like}){{4,14}}(?:{_SEP}{{0,2}}[0-9]|(?<=[a-z0-9])[{like[1:-1]}])(?![a-z0-9])"
        )
        self._filled = re.compile(
            rf"{digit}([\u4e00-\u9fff]){digit}(?:\1{digit}){{3,}}|{digit}(?:[{grammar.fillers}]{{1,2}}{digit}){{4,}}"
            rf"|(?<![0-9]){digit}(?:[^\w\n]{{1,4}}{digit}){{6,}}(?![0-9])"
        )
        self._listed = re.compile(
            rf"(?<!{digit}){digit}{{1,5}}(?:[,、;:。]\s?{digit}{{2,5}}){{2,4}}(?!{digit})"
        )  # 813,746,205
        self._sounds = re.compile(rf"{sound}(?:{_SEP}{{0,2}}{sound}){{6,}}")
        self._spelt = re.compile(rf"(?<![a-z])(?:{any_of(syllables)})(?:{_SEP}{{0,3}}{spelt}){{5,}}(?![a-z])")
        self._syllable = re.compile(spelt)
        self._group = re.compile(rf"{digit}+")
        self._riddles = _Riddles(grammar)
        self.gate = "|".join((
            _chain(digit, 5, 3),
            rf"{sound}(?:[^0-9a-z\x{{3400}}-\x{{9fff}}{JOINT}]{{0,2}}{sound}){{6}}",
            rf"[0-9{first}](?:[^a-z0-9{JOINT}]{{0,2}}{like}){{6}}",
            rf"(?:{any_of(syllables)})(?:[^a-z0-9{JOINT}]{{0,3}}{spelt}){{5}}",
            _KEYED,
            self._riddles.gate,
        ))  # fmt: skip

    def find(self, view: View) -> list[Number]:
        """Return the numbers in order. Where two readings overlap the plainer one counts, unless it is a mere piece."""
        text = view.text
        mixed = self._mixed(text) if _has_letter(text) else []
        plain = [
            n
            for m in self._runs.finditer(text)
            for n in self._merged(view, *m.span())
            if not any(start <= n.start and n.end <= end for start, end in mixed)
        ]
        riddles = [n for n in self._riddles.find(text) if _fits(n)]
        whole = any(len(n.digits) > _SURE for n in plain)  # who writes one number plainly hides no second one
        others = [] if whole else [n for n in (*self._heard(view, plain), *self._spoken(text)) if _fits(n)]
        if not (riddles or others):
            return plain
        found = list[Number]()
        for number in (*riddles, *(n for n in plain if len(n.digits) >= _SURE), *others, *plain):
            if all(number.end <= f.start or f.end <= number.start for f in found):
                found.append(number)
        return sorted(found)

    def _spoken(self, text: str) -> Iterator[Number]:
        for m in _keyed(text):
            digits = "".join(_MORSE.get(one, "") for one in re.findall("[.-]{5}", m[0]))
            yield Number(*m.span(), digits, strange=True)
        if not _has_letter(text):
            return
        for m in self._spelt.finditer(text):
            read = [self._syllables.get(s) or s.translate(self._values) for s in self._syllable.findall(m[0])]
            if sum(map(is_letter, m[0])) >= _SURE:
                yield Number(*m.span(), "".join(read), strange=True)

    def _mixed(self, text: str) -> list[Group]:
        """Return where letters stand for digits within a number in one piece: 81B8279S5 is no number 8279."""
        return [
            m.span()
            for m in self._likes.finditer(text)
            if _SURE <= len(m[0]) <= LONGEST and m[0].isalnum() and _AMIDST.search(m[0]) and _is_told(m[0])
        ]

    def _heard(self, view: View, plain: list[Number]) -> Iterator[Number]:
        text = view.text
        patterns = (self._likes, self._filled, self._sounds, self._listed)
        for start, end in (m.span() for p in patterns for m in p.finditer(text)):
            if any(n.start <= start and end <= n.end for n in plain):
                continue
            run = text[start:end]
            if _is_told(run) and not self._is_list(text, self._groups(text, start, end)):
                yield Number(start, end, self._digits(_as_typed(view, start, end)), heard=True)

    def _merged(self, view: View, start: int, end: int) -> Iterator[Number]:
        """Put the groups of a run together, unless one of them is a number by itself."""
        text = view.text
        if text[start:end].isdecimal() and not (self._unit.match(text, end) or _is_clock(text, start, end)):
            yield self._number(view, start, end, neat=True)
            return
        groups = [g for g in self._groups(text, start, end) if not _is_clock(text, *g)]
        if len(groups) > 1 and self._unit.match(text, groups[-1][1]):
            groups.pop()  # 6093 8214 20块
        if groups and _ABROAD.fullmatch(self._digits(text[groups[0][0] : groups[-1][1]])):
            yield self._number(view, groups[0][0], groups[-1][1], neat=True)
            return
        sizes = [last - first for first, last in groups]
        if not groups or _DATED.match(text, start) or self._is_list(text, groups):
            return
        alone = [g for g in groups if g[1] - g[0] >= _WHOLE]
        if not alone and sum(sizes) > LONGEST + 2 and max(sizes) >= _SHORTEST:
            alone = [g for g in groups if g[1] - g[0] >= _SHORTEST]
        if alone:
            yield from (self._number(view, *self._trimmed(text, *g), neat=True) for g in alone)
            return
        number = self._number(view, *self._trimmed(text, groups[0][0], groups[-1][1]))
        many = len(groups) >= _MANY_GROUPS and len(number.digits) < 1.5 * len(groups)
        yield number._replace(strange=number.strange or many, neat=len(groups) == 1 or sizes[-3:] in _PHONE_GROUPS)

    def _groups(self, text: str, start: int, end: int) -> list[Group]:
        return [m.span() for m in self._group.finditer(text, start, end)]

    def _is_list(self, text: str, groups: list[Group]) -> bool:
        """1 2 3 5 8: numbers that only rise, or only fall, are a list."""
        if len(groups) < 5:
            return False
        items = [int(text[first:last].translate(self._values)) for first, last in groups]
        return all(a < b for a, b in pairwise(items)) or all(a > b for a, b in pairwise(items))

    def _trimmed(self, text: str, start: int, end: int) -> Group:
        """Leave out a numeral that belongs to the words around: 扣…三两个, 二十五六…."""
        if text[end : end + 1] in self._measure and not text[end - 1].isascii():
            end -= 1
        if text[start - 1 : start] in _TENS and not text[start].isascii():
            start += 1
        return start, end

    def _digits(self, run: str) -> str:
        return "".join(_DIGIT.findall(run.translate(self._values)))

    def _number(self, view: View, start: int, end: int, *, neat: bool = False) -> Number:
        run = view.text[start:end]
        if run.isascii() and run in view.raw:
            return Number(start, end, "".join(_DIGIT.findall(run)), neat=neat)  # as typed
        digits = self._digits(run)
        first, last = view.span(start, end)
        typed = view.raw[first:last]
        odd = len(digits) - len(_DIGIT.findall(typed)) + typed.count(_KEYCAP)
        return Number(start, end, digits, odd >= _ODD, neat)


class _Riddles:
    """Numbers given with directions: parts in words (头三位730，末四位9142), characters to leave out or to replace."""

    def __init__(self, grammar: HandleGrammar) -> None:
        parts, strip, swap = map(any_of, (grammar.part_words, grammar.stripping, grammar.swapping))
        lead = rf"(?:{parts})[^0-9\n]{{0,6}}?"
        self._parts = re.compile(
            rf"(?:{lead})?(?<![0-9])[0-9]{{2,8}}(?:[^0-9\n]{{0,3}}?{lead}[0-9]{{2,6}}){{1,4}}(?![0-9])"
        )
        self._said = re.compile(
            rf"[0-9][^0-9\n]{{0,3}}?(?:{parts})|{strip}|(?:{swap}|[里中的][a-z*][是=])\s?[0-9]|{_MANY_SWAPS}"
        )
        self._strip = re.compile(rf"(?:{strip})")
        self._drop = re.compile(rf"(?:{strip})(?:{parts})[^0-9\n]{{0,4}}?([0-9]{{1,4}})(?![0-9])")
        self._swap = re.compile(rf"([^\s0-9])[都全]?\s?(?:{swap}|(?<=[里中的][a-z*])[是=])\s?([0-9])")
        between = f"[^0-9\n{JOINT}]"
        self.gate = (
            rf"[0-9]{{2}}{between}{{0,3}}(?:{parts}){between}{{0,6}}[0-9]{{2}}|(?:{swap}|[里中的][a-z*][是=])\s?[0-9]"
            rf"|{_MANY_SWAPS}|(?:{strip}){between}{{0,12}}[0-9]|[0-9]{between}{{0,12}}(?:{strip})"
        )

    def find(self, text: str) -> Iterator[Number]:
        if not self._said.search(text):
            return
        if swaps := (list(_SWAPS.finditer(text)) if _SEVERAL.search(text) else list(self._swap.finditer(text))[:1]):
            yield from _runs(_TORN, _swapped(text, swaps))
        elif drop := self._drop.search(text):
            found = _runs(_TORN, text.translate(_HAN_DIGITS), drop.end())
            yield from (n._replace(digits=n.digits[len(drop[1]) :]) for n in found if n.digits.startswith(drop[1]))
        elif self._strip.search(text):
            yield from _runs(_LOOSE, text)
        for number in _runs(self._parts, text):
            sure = text[number.start : number.end].count("位") > 1
            yield number._replace(strange=sure, heard=not sure)


def _swapped(text: str, swaps: Sequence[re.Match[str]]) -> str:
    """Put in what some characters stand for, wherever they stand but where that is said."""
    told = {place for swap in swaps for place in range(*swap.span())}
    meant = {_stand_in(text, swap.end(1)): swap[2] for swap in swaps}
    return re.sub(
        any_of(meant), lambda m: m[0] if m.end() - 1 in told else meant[m[0]].ljust(len(m[0])), text
    )  # as long as before: places stay


def _stand_in(text: str, end: int) -> str:
    """Return what stands for a digit: one character, or the longest word that ends there and stands elsewhere, too."""
    words = (text[end - size : end] for size in (4, 3, 2) if size <= end)
    return next((word for word in words if word.isalpha() and text.count(word) > 1), text[end - 1 : end])


def _runs(pattern: re.Pattern[str], text: str, start: int = 0) -> Iterator[Number]:
    for m in pattern.finditer(text, start):
        yield Number(*m.span(), "".join(_DIGIT.findall(m[0])), heard=True, told=True)


def _fits(number: Number) -> bool:
    return _SURE <= len(number.digits) <= LONGEST + 2


def _chain(token: str, times: int, gap: int) -> str:
    """Return an RE2 pattern for so many characters of a class, with at most so many others between two of them."""
    return rf"{token}(?:[^{token[1:-1]}{JOINT}]{{0,{gap}}}{token}){{{times - 1}}}"


def unit(grammar: HandleGrammar) -> re.Pattern[str]:
    """Return the pattern of what makes a number right before it an amount: 万, 块, 伤害."""
    return re.compile(rf"\s?(?:{any_of(grammar.negative_after)})(?![a-z])")


def _as_typed(view: View, start: int, end: int) -> str:
    """Return a run in which a capital B, which looks like another digit than b does, is that digit."""
    run, typed = view.text[start:end], view.raw[slice(*view.span(start, end))]
    return "".join("8" if t == "B" else c for c, t in zip(run, typed, strict=True)) if len(run) == len(typed) else run


def _is_told(run: str) -> bool:
    """So many letters are read as digits only among as many real ones."""
    letters = sum(map(is_letter, run))
    return not letters or _SHORTEST <= len(_DIGIT.findall(run)) >= letters


def _is_clock(text: str, start: int, end: int) -> bool:
    """20:30, 1:7900: a group with a colon and a digit beside it."""
    before, after = text[max(0, start - 2) : start], text[end : end + 2]
    return (before[1:] == ":" and before[0].isdigit()) or (after[:1] == ":" and after[1:].isdigit())
