"""Ids of letters and names: they count only beside a cue of their type.

An id stands behind its cue, or right before it (lin_yue03 加我微信). A plain word is an id only right behind; a name
in Han only where the cue says search, or in quotes.
"""

from __future__ import annotations

import re
from itertools import zip_longest
from typing import TYPE_CHECKING, Final

from moderation.cues import Found, Mark, any_of, chars_at, ending, is_letter, spread, tails
from moderation.fold import JOINT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moderation.cues import HandleGrammar, Vocabulary

#: What an id of each type looks like; for WeChat 6 to 20 characters with a letter first.
IDS: Final = {
    "wx": re.compile(r"[a-z_][-_a-z0-9]{5,19}"),
    "tg": re.compile(r"[a-z][_a-z0-9]{4,31}"),
    "line": re.compile(r"[a-z][-_.a-z0-9]{3,19}"),
    "discord": re.compile(r"[a-z][_.a-z0-9]{3,31}"),
    **dict.fromkeys(("dy", "ks", "xhs", "bili", "gzh"), re.compile(r"(?=[-_.0-9]*[a-z])[a-z0-9][-_.a-z0-9]{3,23}")),
}
#: Types that are searched by a name.
_NAMED: Final = frozenset({"dy", "ks", "xhs", "bili", "gzh"})
_DOTTED: Final = frozenset({"line", "discord", *_NAMED})
_OPEN: Final = '"“「『《【'
_QUOTED: Final = re.compile(rf"[^{_OPEN}\n]{{0,3}}[{_OPEN}]([^{_OPEN}”」』》】\n]{{2,20}})[\"”」』》】]")
#: What may stand between the characters of an id: signs that neither end a phrase nor belong into ids.
_SIGN: Final = r"[^\w\s,。!?:;…、()\[\]{}<>\"'“”@%&=/-]"
#: An underscore as it is spoken: qcx 下划线 9047.
_UNDERSCORE: Final = r"\s?下[划横滑]?[线杠]\s?"
_ID_AT: Final = re.compile(
    rf"[^a-z0-9]{{0,10}}?([a-z0-9_][-_a-z0-9]{{0,31}}(?:(?:{_SIGN}{{1,2}}|{_UNDERSCORE})[-_a-z0-9]{{1,20}}){{0,19}})"
    r"(?![-_a-z0-9])"
)
_underscored: Final = re.compile(_UNDERSCORE).sub
#: 薇 x i a o y u: the x of the cue is the first letter of the id.
_BEGUN: Final = re.compile(r"\sx(?=(?:\s[-_a-z0-9]){5})")
_FILLED: Final = re.compile(r"[^a-z0-9]{0,10}?([a-z](?:([\u4e00-\u9fff])[-_a-z0-9])(?:\2[-_a-z0-9]){3,18})(?![a-z0-9])")
_PIECE: Final = re.compile(r"[\s/.]{1,3}([-_a-z0-9]{1,8})(?![-_a-z0-9])")
_SIGNS: Final = re.compile(rf"{_SIGN}+")
#: x-i-a-o-7-7
_SPELT: Final = re.compile(r"[a-z0-9](?:-[a-z0-9]){4,}")
_BEFORE: Final = re.compile(r"(?<![-a-z0-9_@./])([a-z0-9_][-_a-z0-9]{3,31})([^-_a-z0-9,。!?;…]{0,6})$")
_TAIL: Final = re.compile(r"$|[\s,.!?。;:、~)】聊号上找联加看买卖要+-]")
_SENTENCE: Final = re.compile(r"[。!?;…]")
_HAN_NAME: Final = re.compile(r"[:\s@]{1,3}([\u4e00-\u9fff][\w\u4e00-\u9fff·]{1,11})(?=$|[\s,。!?;…、~()\"“”])")


class Ids:
    """Finds ids and names beside the marks of a text."""

    def __init__(self, grammar: HandleGrammar, words: Vocabulary) -> None:
        self._stop_words = frozenset(grammar.id_stop_words)
        self._tails = tails(grammar)
        self._not_names = re.compile(any_of(grammar.not_names))
        self._searching = re.compile(rf"(?:{any_of(grammar.search_words)}|[:@])$")
        self.gate = _gate(words.of(IDS), words.of(_NAMED))

    def find(self, text: str, marks: list[Mark]) -> Iterator[Found]:
        """Yield the ids and names beside the marks, in order, at most one for each cue."""
        if not any(mark.kind == "cue" and mark.type in IDS for mark in marks):
            return
        done = 0
        reversing = any(m.kind == "reversing" for m in marks)
        for i, (mark, following) in enumerate(zip_longest(marks, marks[1:])):
            if mark.kind != "cue" or mark.type not in IDS or mark.start < done:
                continue
            limit = following.start if following and following.kind in {"cue", "negative"} else len(text)
            found = self._name_at(text, mark) or self._id_at(text, mark, limit, reversing=reversing)
            before = marks[i - 1] if i else None
            found = found or self._id_before(text, mark, before, done, reversing=reversing)
            if found:
                done = max(found.end, mark.end)
                yield found

    def _name_at(self, text: str, mark: Mark) -> Found | None:
        if mark.type not in _NAMED:
            return None
        m = _QUOTED.match(text, mark.end)
        if not m and (
            self._searching.search(text[mark.start : mark.end]) or text[mark.end : mark.end + 1] in (":", "@")
        ):
            m = _HAN_NAME.match(text, mark.end)
            m = None if m and self._not_names.match(m[1]) else m
        return Found(m.start(1), m.end(1), mark.type, m[1].strip()) if m else None

    def _id_at(self, text: str, mark: Mark, limit: int, *, reversing: bool) -> Found | None:
        begun = _BEGUN.match(text, mark.end - 2)
        m = _ID_AT.match(text, mark.end - 1 if begun else mark.end)
        if not m or m.start(1) > limit or _is_number(text[limit : m.end(1)]):
            return None
        glued = m[1][0] == "_" and m.start(1) == mark.end  # v_jinku_66
        written = _underscored("_", m[1][1:] if glued else m[1])
        value, end = _joined(text, _stripped(written, mark.type), m.end(1))
        if len(value) < 4 and (filled := _FILLED.match(text, mark.end)):
            m, value, end = filled, filled[1].replace(filled[2], ""), filled.end(1)
        value = value[::-1] if reversing else value
        gap = text[mark.end : m.start(1)]
        if mark.single and not (reversing or self._tails.fullmatch(gap)):
            return None
        if not IDS[mark.type].fullmatch(value) or not self._convinces(value, gap, mark, text):
            return None
        return Found(m.start(1), end, mark.type, value)

    def _convinces(self, value: str, gap: str, mark: Mark, text: str) -> bool:
        """Tell ids from words: a plain word must stand right behind the cue, one with digits may stand farther."""
        if value in self._stop_words or (_SENTENCE.search(gap) and gap != "。"):
            return False
        if not value.isalpha():
            return len(gap) <= mark.reach + 2
        return len(gap) <= 3 and (text[mark.start] > "z" or ":" in gap)

    def _id_before(self, text: str, mark: Mark, before: Mark | None, done: int, *, reversing: bool) -> Found | None:
        m = _BEFORE.search(text, max(done, mark.start - 40), mark.start)
        if (
            not m
            or not _TAIL.match(text, mark.end)
            or (before and before.kind == "negative" and before.end >= m.start() - 5)
        ):
            return None
        value = m[1][::-1] if reversing else m[1]
        glued = is_letter(text[mark.start]) and not m[2]
        if glued or value.isalpha() or not IDS[mark.type].fullmatch(value) or value in self._stop_words:
            return None
        return Found(m.start(1), m.end(1), mark.type, value)


def _is_number(text: str) -> bool:
    """Tell whether what looks like an id is another cue and its number: 微信或者qq2846013957."""
    return text.lstrip("abcdefghijklmnopqrstuvwxyz").isdigit() and len(text) >= 7


def _stripped(written: str, type_: str) -> str:
    """Take out the signs; a dot between longer pieces belongs to the ids that may have one."""
    if type_ in _DOTTED and not re.search(r"\.(?:.|.\..*)$", written):
        return _SIGNS.sub(lambda m: "." if m[0] == "." else "", written)
    return _SIGNS.sub("", written.replace("-", "") if _SPELT.fullmatch(written) else written)


def _joined(text: str, value: str, end: int) -> tuple[str, int]:
    """Add the pieces of an id that was torn apart; behind a long enough one only single characters and lines."""
    torn = len(value) < 6 or (value[-1] == "_" and text[end : end + 1] == "\n")
    while torn and len(value) < 20 and (m := _PIECE.match(text, end)):
        if len(value) >= 6 and len(m[1]) > 1 and text[end] != "\n":
            break
        value, end = value + m[1], m.end()
    return value, end


#: By so many letters the gate knows a Latin cue.
_HEAD: Final = 4


def _gate(cues: list[str], named: list[str]) -> str:
    """Return the RE2 pattern without which there is no id: a cue, told by its last character, and a letter near it."""
    bare = [w.rstrip(":@") or w for w in cues]
    headed = sorted({w[:_HEAD] for w in bare if is_letter(w[0])})
    mixed = sorted({w for w in bare if not is_letter(w[0]) and is_letter(w[-1])})
    other = [w for w in bare if not (w[-1].isascii() and w[-1].isalnum())]
    ends = f"[{chars_at(0, (w for w in other if len(w) == 1))}]|{ending(w for w in other if len(w) > 1)}"
    first = chars_at(0, (w for w in bare if not is_letter(w[0])))
    latin = rf"(?:\b|[0-9])(?:{spread(headed)})"
    far = f"[^a-z0-9{JOINT}]"
    return "|".join((
        rf"{latin}[a-z]*[^a-z_{JOINT}]{far}{{0,9}}[a-z0-9_]",
        rf"(?:{spread(mixed)}|{ends}){far}{{0,10}}(?:[a-z]|[0-9_]{far}{{0,3}}[a-z_])",
        rf"[a-z][a-z_-]*[0-9_][a-z0-9_-]*{far}{{0,6}}(?:[{first}]|{latin})",
        rf"(?:{spread(sorted({w[-2:] for w in named}))})[^{JOINT}]{{0,3}}[:@\s{_OPEN}]",
    ))  # fmt: skip
