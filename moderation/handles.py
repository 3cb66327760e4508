"""Contact handles: QQ, group, phone, WeChat and YY numbers, ids and links, however they are dressed up.

The theory. A number or an id is nobody's contact until something says so: a cue word near it, or that somebody took
pains to hide it. A player id, a room, a pair of coordinates or a hit point count looks just the same, so the nearest
word decides, and a word of the game outweighs a farther cue. Precision comes before recall.

The order of work on the folded text: links; the words that mean something (`_Mark`); ids behind their cues; numbers.
What is taken once is not read twice. All words are data (rules/handles.yaml); what a valid number looks like is code.

Every pattern below either has bounded repeats or reads each character once, so the time is linear in the text.

Not found, on purpose: names of sellers in plain Chinese without quotes, numbers told as riddles, pictures.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from itertools import pairwise, zip_longest
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Final, Literal, NamedTuple, TypeVar

from msgspec import Meta, Struct

from moderation.actions import Field, Handle
from moderation.fold import Folded, fold

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

Digits = Annotated[str, Meta(pattern="^[0-9]+$")]
Word = Annotated[str, Meta(min_length=1)]
Words = tuple[Word, ...]
Kind = Literal["cue", "contact", "same", "loose", "negative", "reversing", "nothing"]


class HandleGrammar(Struct, frozen=True, forbid_unknown_fields=True):
    """The words by which handles are told from other numbers; rules/handles.yaml explains each list to moderators.

    `digit_words`, `homophones` and `lookalikes` map a digit to the characters that stand for it.
    """

    cues: dict[str, Words]
    same_number: Words
    contact_cues: Words
    loose_cues: Words
    not_cues: Words
    negative_before: Words
    negative_after: Words
    measure_words: str
    common_numbers: tuple[Digits, ...]
    service_numbers: tuple[Digits, ...]
    uid_lengths: tuple[Digits, ...]
    reversing: Words
    digit_words: dict[Digits, str]
    homophones: dict[Digits, str]
    lookalikes: dict[Digits, str]
    tlds: Words
    word_tlds: Words
    dot_words: Words
    address_cues: Words
    path_hosts: Words
    harmless_hosts: Words
    id_stop_words: Words


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
#: What an id of each type looks like; for WeChat 6 to 20 characters with a letter first.
_IDS: Final = {
    "wx": re.compile(r"[a-z][-_a-z0-9]{5,19}"),
    "tg": re.compile(r"[a-z][_a-z0-9]{4,31}"),
    "line": re.compile(r"[a-z][-_.a-z0-9]{3,19}"),
    "discord": re.compile(r"[a-z][_.a-z0-9]{3,31}"),
    **dict.fromkeys(("dy", "ks", "xhs", "bili", "gzh"), re.compile(r"[a-z][-_.a-z0-9]{3,23}")),
}
#: Types that are searched by a name, which then stands in quotes.
_NAMED: Final = frozenset({"dy", "ks", "xhs", "bili", "gzh"})
_PHONE: Final = re.compile(r"1[3-9]\d{9}")
#: What may stand before a phone number: the country, or the trunk prefix.
_TRUNK: Final = re.compile(r"^(?:0086|86|0)(?=1[3-9]\d{9})")
_PHONE_GROUPS: Final = ([3, 4, 4], [3, 8], [7, 4])
_LONGEST: Final = 11
#: Digits of noise behind a number that are cut off; a longer run is something else.
_NOISE: Final = 3
#: A group of so many digits is a number by itself, whatever stands beside it.
_WHOLE: Final = 9
#: A shorter number is an everyday one: its cue must stand right before it.
_LONG: Final = 8
_CLOSE: Final = 3
#: How far from a number its word may stand. A cue of one character is an everyday one: it must stand closer.
_REACH: Final = 8
_SHORT_REACH: Final = 5
_AFTER_REACH: Final = 4
#: Words farther than this cannot matter: the longest word, spaced out, and its reach.
_WINDOW: Final = 32
#: What people put between digits: anything but letters, and but what separates the items of a list.
_SEP: Final = (
    "[^0-9a-z\u00c0-\u024f\u3041-\u30ff\u3400-\u9fff\uac00-\ud7a3,、:;!?()\\[\\]{}\"'“”<>=%+@#&$…。《》【】「」]"
)
_IN_WORD: Final = r"[\s.\-/_*~·|\\]"
_SQUEEZE: Final = {ord(c): None for c in " \t\r\n.-/_*~·|\\"}
_NO_DOTS: Final = {ord(c): None for c in ".·*~"}
_LETTER: Final = re.compile("[a-z]")
_OPEN: Final = '"“「『《【'
_QUOTE: Final = re.compile(f"[{_OPEN}]")
_QUOTED: Final = re.compile(rf"[^{_OPEN}\n]{{0,3}}[{_OPEN}]([^{_OPEN}”」』》】\n]{{2,20}})[\"”」』》】]")
_ID_AT: Final = re.compile(
    r"[^a-z0-9]{0,10}?([a-z][-_a-z0-9]{0,31}(?:[.·*~]{1,2}[-_a-z0-9]{1,20}){0,19})(?![-_a-z0-9])"
)
_PIECE: Final = re.compile(r"\s{1,3}([-_a-z0-9]{1,8})(?![-_a-z0-9])")
_has_letter: Final = _LETTER.search
_has_quote: Final = _QUOTE.search
_SENTENCE: Final = re.compile(r"[。!?;…]")
_EMAIL: Final = re.compile(r"(?<![a-z0-9_.-])([a-z0-9_.-]{1,64})@([a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63}){1,3})")
_IPV4: Final = re.compile(
    r"(?<![a-z0-9_.-])(?P<scheme>h(?:tt|xx)ps?\s?:\s?//\s?)?(?P<host>[0-9]{1,3}(?:\.[0-9]{1,3}){3})(?![\d.])(?P<tail>:[0-9]{1,5}|/)?"
)
_PRIVATE: Final = re.compile(r"(?:0|10|127|192\.168|172\.(?:1[6-9]|2\d|3[01])|169\.254|22[4-9]|2[3-5]\d)\.")
_DATE: Final = re.compile(r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])")
_DATED: Final = re.compile(r"(?:19|20)\d\d[-/.]\d{1,2}[-/.]\d{1,2}(?!\d)")
_DECIMAL: Final = re.compile(r"[0-9]\.")
_CLOCK: Final = re.compile(r"[0-9]:")
_RANK: Final = re.compile(r"[0-9]{1,2}(?:\.[0-9]{1,2})*[\s.][0-9]{3}")
_HAN: Final = re.compile(r"[\u4e00-\u9fff]")
_TENS: Final = frozenset("十百千万亿")
#: So many groups, or so many digits that are no ASCII, nobody writes without intent.
_MANY_GROUPS: Final = 8
_ODD: Final = 3


_Place = TypeVar("_Place", "_Mark", "_Number", "_Found")


class _Mark(NamedTuple):
    """A word that says what a number near it is; `type` only for cues."""

    start: int
    end: int
    kind: Kind
    type: str

    @property
    def reach(self) -> int:
        return _REACH if self.end - self.start > 1 else _SHORT_REACH


class _Number(NamedTuple):
    """A run of digits in the folded text.

    `strange`: nobody writes a number like this who does not hide it. `neat`: in one piece, or grouped as phones are.
    `sounded`: read from homophones or from between filler words, so that it is none without a cue.
    """

    start: int
    end: int
    digits: str
    strange: bool = False
    neat: bool = False
    sounded: bool = False


class _Found(NamedTuple):
    """A place in the folded text that is spoken for: a handle, or, with an empty value, nothing that concerns us."""

    start: int
    end: int
    type: str
    value: str


class HandleFinder:
    """Finds contact handles in folded text. `allow` names official contacts, by type: those are never reported.

    An official number is official under whichever cue it stands. Building folds and compiles all words: milliseconds.
    """

    def __init__(self, grammar: HandleGrammar, allow: Mapping[str, Collection[str]] = MappingProxyType({})) -> None:
        self._official = frozenset(v.casefold() for values in allow.values() for v in values)
        self._words = _Vocabulary(grammar)
        self._links = _Links(grammar)
        self._ids = _Ids(grammar)
        self._numerals = _Numerals(grammar)
        self._judge = _Judge(grammar)
        # Every message passes here, so that the searches are bound once: half of the gate's cost would be look-ups.
        self._run, self._sound = self._numerals.run.search, self._numerals.sounds.search
        self._ending = self._links.ending.search
        self._before_id, self._before_name = self._words.before_id.search, self._words.before_name.search

    def may_contain(self, text: str) -> bool:
        """Say whether `find` needs to look at a folded text at all: False is certain, True is not."""
        if self._run(text) or self._sound(text):
            return True
        if _has_letter(text) and (self._ending(text) or self._before_id(text)):
            return True
        return bool(_has_quote(text) and self._before_name(text))

    def find(self, folded: Folded, field: Field = "text") -> tuple[Handle, ...]:
        """Return the handles of a field in the order they stand there, each type and value once."""
        if not self.may_contain(folded.text):
            return ()
        found: dict[tuple[str, str], Handle] = {}
        for start, end, type_, value in self._find(folded):
            if value and value not in self._official and (type_, value) not in found:
                span = folded.span(start, end)
                plain = value in folded.raw[slice(*span)].casefold()
                found[type_, value] = Handle(type_, value, span, field, not plain)
        return tuple(sorted(found.values(), key=lambda h: h.span))

    def _find(self, folded: Folded) -> list[_Found]:
        text = folded.text
        found = self._links.find(text)
        marks = _free(self._words.marks(text), found)
        found += _free(self._ids.find(text, marks), found)
        numbers = _free(self._numerals.find(folded), found)
        return found + list(self._judge.accept(text, numbers, marks))


class _Vocabulary:
    """The words that mean something beside a number. Separators inside a word do not hide it: 微.信, q q."""

    def __init__(self, grammar: HandleGrammar) -> None:
        self._kinds: dict[str, tuple[Kind, str]] = {}
        self._add("nothing", "", grammar.not_cues)
        for type_, words in grammar.cues.items():
            self._add("cue", type_, words)
        self._add("same", "wx", grammar.same_number)
        self._add("negative", "", grammar.negative_before)
        self._add("contact", "", grammar.contact_cues)
        self._add("loose", "", grammar.loose_cues)
        self._add("reversing", "", grammar.reversing)
        self._pattern = re.compile(_trie(self._kinds))
        lettered = [w for w, (kind, type_) in self._kinds.items() if kind == "cue" and type_ in _IDS]
        named = [w for w in lettered if self._kinds[w][1] in _NAMED]
        self.before_id = re.compile(rf"(?:{_trie(lettered)})[^a-z0-9]{{0,10}}[a-z]")
        self.before_name = re.compile(rf"(?:{_trie(named)})[^{_OPEN}\n]{{0,3}}[{_OPEN}]")

    def _add(self, kind: Kind, type_: str, words: Words) -> None:
        for word in words:
            self._kinds.setdefault(fold(word).text.translate(_SQUEEZE), (kind, type_))

    def marks(self, text: str) -> list[_Mark]:
        return [
            _Mark(m.start(), m.end(), *self._kinds[m[0].translate(_SQUEEZE)])
            for m in self._pattern.finditer(text)
            if _stands_alone(text, m.start())
        ]


class _Links:
    """Hosts: known endings, the dot written as it may be; addresses of four numbers where something says link."""

    def __init__(self, grammar: HandleGrammar) -> None:
        self._word_tlds = frozenset(grammar.word_tlds)
        self._path_hosts = frozenset(grammar.path_hosts)
        self._harmless = frozenset(grammar.harmless_hosts)
        self._cue = re.compile(_any(grammar.address_cues))
        plain = [d for d in grammar.dot_words if len(d) == 1]
        words = _any(d.strip() for d in grammar.dot_words if len(d) > 1)
        dot = rf"(?:{_any(plain)}|\s?(?:{words})\s?)"
        tlds = "|".join(sorted(map(re.escape, (*grammar.tlds, *grammar.word_tlds)), key=len, reverse=True))
        self._dot = re.compile(dot)
        self.ending = re.compile(rf"(?:{_trie(d.strip() for d in grammar.dot_words)})\s?(?:{tlds})(?![a-z0-9-])")
        self._host = re.compile(
            rf"(?<![a-z0-9.-])(?P<www>h(?:tt|xx)ps?\s?:\s?//\s?(?:w\s?w\s?w\s?{dot})?|w\s?w\s?w\s?{dot})?"
            rf"(?P<host>(?:[a-z0-9-]{{1,63}}{dot}){{1,6}}(?P<tld>{tlds}))(?![a-z0-9-])(?::\d{{1,5}})?"
            rf"(?:/(?P<rest>[\w+/-]{{0,64}}))?",
            re.ASCII,
        )

    def find(self, text: str) -> list[_Found]:
        """Return the links; with them, so that nothing else is read there, places that are no handles at all."""
        found = list(_mails(text)) if "@" in text else []
        found += _free(self._hosts(text), found)
        return found + _free(self._addresses(text), found)

    def _hosts(self, text: str) -> Iterator[_Found]:
        for m in self._host.finditer(text):
            host = self._dot.sub(".", m["host"]).removeprefix("www.")
            if self._is_link(text, m, host):
                value = f"{host}/{m['rest']}" if host in self._path_hosts and m["rest"] else host
                yield _Found(m.start(), m.end(), "url", "" if value in self._harmless else value)

    def _is_link(self, text: str, m: re.Match[str], host: str) -> bool:
        """Tell links from chat: `mid.top` and `8点me` are none, `qcq55.vip` is one. A word as ending is not enough."""
        name = host[: -len(m["tld"]) - 1]
        if m["www"] or m["rest"] is not None:
            return True
        if name.isdigit() and len(name) < 3:
            return False
        if m["tld"] not in self._word_tlds:
            return True
        return not name.isalpha() or (len(name) > 3 and _HAN.search(text) is not None)

    def _addresses(self, text: str) -> Iterator[_Found]:
        for m in _IPV4.finditer(text):
            host = m["host"]
            said = m["scheme"] or m["tail"] or self._cue.search(text, max(0, m.start() - _REACH), m.start())
            good = said and not _PRIVATE.match(host) and all(int(part) < 256 for part in host.split("."))
            yield _Found(m.start(), m.end(), "url", host if good else "")


def _mails(text: str) -> Iterator[_Found]:
    """Yield mailboxes: one at qq.com is a QQ number; other mail is no handle, nor is its host."""
    for m in _EMAIL.finditer(text):
        is_qq = m[2] == "qq.com" and _NUMBERS["qq"].fullmatch(m[1])
        yield _Found(m.start(), m.end(), "qq", m[1] if is_qq else "")


class _Ids:
    """Ids of letters: they count only behind a cue of their type. Quoted names count for the types that search them."""

    def __init__(self, grammar: HandleGrammar) -> None:
        self._stop_words = frozenset(grammar.id_stop_words)

    def find(self, text: str, marks: list[_Mark]) -> Iterator[_Found]:
        done = 0
        for mark, following in zip_longest(marks, marks[1:]):
            if mark.kind != "cue" or mark.type not in _IDS or mark.end < done:
                continue
            limit = following.start if following and following.kind in {"cue", "negative"} else len(text)
            found = self._name_at(text, mark) or self._id_at(text, mark, limit)
            if found:
                done = found.end
                yield found

    def _name_at(self, text: str, mark: _Mark) -> _Found | None:
        m = _QUOTED.match(text, mark.end) if mark.type in _NAMED else None
        return _Found(m.start(1), m.end(1), mark.type, m[1].strip()) if m else None

    def _id_at(self, text: str, mark: _Mark, limit: int) -> _Found | None:
        m = _ID_AT.match(text, mark.end)
        if not m or m.start(1) > limit:
            return None
        value, end = _joined(text, m[1].translate(_NO_DOTS), m.end(1))
        gap = text[mark.end : m.start(1)]
        if not _IDS[mark.type].fullmatch(value) or not self._convinces(value, gap, mark, text):
            return None
        return _Found(m.start(1), end, mark.type, value)

    def _convinces(self, value: str, gap: str, mark: _Mark, text: str) -> bool:
        """Tell ids from words: a plain word must stand right behind the cue, one with digits may stand farther."""
        if value in self._stop_words or _SENTENCE.search(gap):
            return False
        if not value.isalpha():
            return len(gap) <= mark.reach + 2
        return len(gap) <= 3 and (text[mark.start] > "z" or ":" in gap)


def _joined(text: str, value: str, end: int) -> tuple[str, int]:
    """Add the pieces of an id that was torn apart; once it is long enough only single characters may follow."""
    torn = len(value) < 6
    while torn and len(value) < 20 and (m := _PIECE.match(text, end)) and (len(value) < 6 or len(m[1]) == 1):
        value, end = value + m[1], m.end()
    return value, end


class _Numerals:
    """Runs of digits as people write them to be read but not found."""

    def __init__(self, grammar: HandleGrammar) -> None:
        words = {c: d for d, chars in grammar.digit_words.items() for c in chars}
        sounds = {c: d for d, chars in grammar.homophones.items() for c in chars}
        letters = {c: d for d, chars in grammar.lookalikes.items() for c in chars}
        self._values = str.maketrans(sounds | letters | words)
        self._measure = frozenset(grammar.measure_words)
        self._unit = _unit(grammar)
        digit = f"[0-9{''.join(words)}]"
        like = f"[{''.join(letters)}]"
        sound = f"[0-9{''.join(sounds)}{''.join(words)}]"
        self.run = re.compile(rf"{digit}(?:[^0-9{''.join(words)}]{{0,2}}{digit}){{4}}")
        self.sounds = re.compile(rf"{sound}{{7,}}")
        self._runs = re.compile(rf"{digit}(?:{_SEP}{{0,2}}{digit}){{4,}}")
        self._likes = re.compile(rf"(?<![0-9])[0-9](?:{like}{{0,2}}[0-9]){{4,12}}(?![a-z0-9])")
        self._filled = re.compile(rf"{digit}([\u4e00-\u9fff]){digit}(?:\1{digit}){{3,}}")
        self._group = re.compile(rf"{digit}+")

    def find(self, folded: Folded) -> list[_Number]:
        """Return the numbers in order. Where two readings overlap the plainer one counts, unless it is a mere piece."""
        text = folded.text
        plain = [n for m in self._runs.finditer(text) for n in self._merged(folded, *m.span())]
        likes = (m.span() for m in self._likes.finditer(text) if len(m[0]) >= 7 and not m[0].isdigit())
        heard = (m.span() for p in (self._filled, self.sounds) for m in p.finditer(text))
        others = [self._number(folded, *span) for span in likes]
        others += [self._number(folded, *span)._replace(sounded=True) for span in heard]
        taken, found = set[int](), list[_Number]()
        good = [n for n in plain if len(n.digits) >= 7] + [n for n in others if len(n.digits) <= _LONGEST] + plain
        for number in good:
            if taken.isdisjoint(places := range(number.start, number.end)):
                taken.update(places)
                found.append(number)
        return sorted(found)

    def _merged(self, folded: Folded, start: int, end: int) -> Iterator[_Number]:
        """Put the groups of a run together, unless one of them is a number by itself."""
        text = folded.text
        groups = [g for g in map(re.Match[str].span, self._group.finditer(text, start, end)) if not _is_clock(text, *g)]
        if len(groups) > 1 and self._unit.match(text, groups[-1][1]):
            groups.pop()  # 6093 8214 20块
        sizes = [last - first for first, last in groups]
        if not groups or _DATED.match(text, start) or self._is_list(text, groups):
            return
        alone = [g for g in groups if g[1] - g[0] >= _WHOLE]
        if not alone and sum(sizes) > _LONGEST + 2 and max(sizes) >= 5:
            alone = [g for g in groups if g[1] - g[0] >= 5]
        if alone:
            yield from (self._number(folded, *self._trimmed(text, *g))._replace(neat=True) for g in alone)
            return
        number = self._number(folded, *self._trimmed(text, groups[0][0], groups[-1][1]))
        many = len(groups) >= _MANY_GROUPS and len(number.digits) < 1.5 * len(groups)
        yield number._replace(strange=number.strange or many, neat=len(groups) == 1 or sizes[-3:] in _PHONE_GROUPS)

    def _is_list(self, text: str, groups: list[tuple[int, int]]) -> bool:
        """1 2 3 5 8: numbers that only rise, or only fall, are a list."""
        if len(groups) < 5:
            return False
        items = [int(text[first:last].translate(self._values)) for first, last in groups]
        return all(a < b for a, b in pairwise(items)) or all(a > b for a, b in pairwise(items))

    def _trimmed(self, text: str, start: int, end: int) -> tuple[int, int]:
        """Leave out a numeral that belongs to the words around: 扣…三两个, 二十五六…."""
        if text[end : end + 1] in self._measure and not text[end - 1].isascii():
            end -= 1
        if text[start - 1 : start] in _TENS and not text[start].isascii():
            start += 1
        return start, end

    def _number(self, folded: Folded, start: int, end: int) -> _Number:
        digits = "".join(c for c in folded.text[start:end].translate(self._values) if "0" <= c <= "9")
        first, last = folded.span(start, end)
        typed = sum("0" <= c <= "9" for c in folded.raw[first:last])
        if folded.raw.rfind("\u202e", 0, last) > folded.raw.rfind("\u202c", 0, first):
            digits = digits[::-1]  # shown from right to left
        return _Number(start, end, digits, len(digits) - typed >= _ODD)


class _Judge:
    """Decides which numbers are handles, and of which type: by the nearest word, else by how they are disguised."""

    def __init__(self, grammar: HandleGrammar) -> None:
        self._everyday = frozenset(grammar.common_numbers) | frozenset(grammar.service_numbers)
        self._uid_lengths = frozenset(map(int, grammar.uid_lengths))
        self._unit = _unit(grammar)

    def accept(self, text: str, numbers: list[_Number], marks: list[_Mark]) -> Iterator[_Found]:
        reversing = any(m.kind == "reversing" for m in marks)
        same = any(m.kind == "same" for m in marks)
        starts = [m.start for m in marks]
        last, verdict = 0, ""
        for number, following in zip_longest(numbers, numbers[1:]):
            near = marks[bisect_left(starts, max(last, number.start - _WINDOW)) : bisect_left(starts, number.start)]
            limit = following.start if following else len(text)
            after = marks[bisect_left(starts, number.end) : bisect_left(starts, min(limit, number.end + _WINDOW))]
            joined = last and not near and number.start - last <= _CLOSE and not self._unit.match(text, number.end)
            verdict = verdict if joined else self._type(text, number, near, after)
            last = number.end
            digits = number.digits[::-1] if reversing else number.digits
            value = _value(verdict, digits)
            if value and not self._is_everyday(digits):
                yield _Found(number.start, number.end, verdict, value)
                if same and verdict in {"tel", "qq"}:
                    yield _Found(number.start, number.end, "wx", value)

    def _type(self, text: str, number: _Number, before: list[_Mark], after: list[_Mark]) -> str:
        """Return the type of a number, or "" for one that is no handle."""
        said, loose = self._said_before(text, number, before)
        if said == "negative":
            return ""
        if said:
            return said
        if number.sounded or self._unit.match(text, number.end) or _is_glued(text, number, after):
            return ""
        return _said_after(number, after) or self._unsaid(number, loose=loose)

    def _said_before(self, text: str, number: _Number, marks: list[_Mark]) -> tuple[str, bool]:
        """Return the type by the nearest cue, "negative", or "", and whether a loose cue stands there too."""
        loose, cues = False, list[_Mark]()
        for mark in reversed(marks):
            gap = number.start - mark.end
            if mark.kind == "negative" and gap <= _SHORT_REACH and not cues:
                return "negative", loose
            if mark.kind in {"cue", "contact"} and gap <= mark.reach and _leads(text, mark, number):
                cues.append(mark)
            loose = loose or (mark.kind == "loose" and gap <= _SHORT_REACH)
        gap = number.start - cues[0].end if cues else 0
        torn = gap > 0 and _LETTER.match(text, number.start - 1)  # 28A6013957
        if not cues or torn or (len(number.digits) < _LONG and gap > _CLOSE):
            return "", loose
        if self._unit.match(text, number.end) and (len(number.digits) < _LONG or gap > _CLOSE):
            return "negative", loose
        return _named(cues, number), loose

    def _unsaid(self, number: _Number, *, loose: bool) -> str:
        """Return the type of a number no word speaks of: a phone, or what was disguised with care."""
        if _is_phone(number) and (number.neat or number.strange):
            return "" if _LONGEST in self._uid_lengths and not number.strange else "tel"
        return "qq" if number.strange and len(number.digits) >= (_LONG if loose else _WHOLE) else ""

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
    if type_ == "tel" or _PHONE.fullmatch(phone):
        digits = phone
    if type_ not in _NUMBERS or len(digits) > _LONGEST + _NOISE:
        return ""
    head, tail = digits[:_LONGEST], digits[-_LONGEST:]
    valid = _NUMBERS[type_].fullmatch
    if type_ == "tel" and not valid(head):
        head = tail
    return head if valid(head) else ""


def _said_after(number: _Number, marks: list[_Mark]) -> str:
    near = [m for m in marks if m.kind in {"cue", "negative"} and m.start - number.end <= _AFTER_REACH]
    near = near[:1] if near and near[0].kind == "negative" else [m for m in near if m.kind == "cue"]
    if not near or near[0].kind == "negative" or len(number.digits) < 6:
        return ""
    return "qun" if any(m.type == "qun" for m in near) else near[0].type


def _named(cues: list[_Mark], number: _Number) -> str:
    """Return the type that the cues, nearest first, agree on: groups win, and 联系 alone tells no type."""
    types = [m.type for m in cues if m.kind == "cue"]
    if types:
        return "qun" if "qun" in types else types[0]
    if _is_phone(number):
        return "tel"
    return "qq" if len(number.digits) >= _LONG else ""


def _is_phone(number: _Number) -> bool:
    return _PHONE.fullmatch(_TRUNK.sub("", number.digits)) is not None


def _leads(text: str, mark: _Mark, number: _Number) -> bool:
    """Tell whether a lone letter is a cue: in `v8 大佬 123456` it is a rank, in `v1.20.30401` a version."""
    if mark.end - mark.start > 1:
        return True
    if mark.end != number.start:
        return not text[mark.end].isdigit()
    return mark.type != "wx" or not _RANK.match(text, mark.end)


def _is_glued(text: str, number: _Number, after: list[_Mark]) -> bool:
    """Digits that go on in letters are part of a code: SPRING8880, 30917264ab."""
    tail = text[number.end : number.end + 1]
    head = text[number.start - 1 : number.start]
    begins = any(m.start == number.end for m in after)
    decimal = _DECIMAL.match(text, number.start - 2) if number.start >= 2 else None
    return bool(decimal or _LETTER.match(head) or (_LETTER.match(tail) and not begins))


def _is_clock(text: str, start: int, end: int) -> bool:
    """20:30, 1:7900: a group with a colon and a digit beside it."""
    return bool(_CLOCK.match(text, start - 2) if start >= 2 else False) or bool(re.match(":[0-9]", text[end : end + 2]))


def _free(places: Iterable[_Place], found: Iterable[_Found]) -> list[_Place]:
    """Keep the places that nothing found so far covers."""
    taken = {at for f in found for at in range(f.start, f.end)}
    return [p for p in places if taken.isdisjoint(range(p.start, p.end))]


def _stands_alone(text: str, start: int) -> bool:
    """Tell whether a cue is no tail of a longer Latin word; the pattern itself looks what comes behind."""
    return not (start and _LETTER.match(text, start) and (text[start - 1] == "_" or _LETTER.match(text, start - 1)))


def _unit(grammar: HandleGrammar) -> re.Pattern[str]:
    return re.compile(rf"\s?(?:{_any(grammar.negative_after)})(?![a-z])")


def _any(words: Iterable[str]) -> str:
    return "|".join(re.escape(fold(w).text) for w in sorted(words, key=len, reverse=True))


def _trie(words: Iterable[str]) -> str:
    """One alternative per first character, longest word first: the regex engine then skips to those characters."""
    by_first: dict[str, list[str]] = {}
    for word in sorted(set(words), key=len, reverse=True):
        latin = [bool(_LETTER.match(c)) for c in word]
        gaps = ["" if a and b and not all(latin) else f"{_IN_WORD}{{0,2}}" for a, b in pairwise(latin)]
        rest = "".join(gap + re.escape(c) for gap, c in zip(gaps, word[1:], strict=True))
        by_first.setdefault(word[0], []).append(rest + ("(?![a-z_])" if latin[0] and latin[-1] else ""))
    return "|".join(f"{re.escape(first)}(?:{'|'.join(rests)})" for first, rests in by_first.items())
