"""Rewriting: whole texts that are written so that a reader undoes it, and read as that reader would.

    的出的金的币 ▶ 出金币     亻弋纟东找我 ▶ 代练找我     换💰 ▶ 换钱     金现发,区换 ▶ 换区,发现金
    代表来了 充满期待 找位置 我先走 ▶ 代充找我

A rewritten text is a view like the text without separators: terms, likenesses and patterns are looked for in it. Each
way has a gate, searched in all texts of a batch at once, so that ordinary chat pays for the gates alone.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from moderation.joined import Gate
from moderation.match import automaton
from moderation.views import (
    FOUR_CLAUSES,
    MAY_BE_FILLED,
    MAY_BE_SAME,
    TWO_LINES,
    Joining,
    Seen,
    columns,
    heads,
    tails,
    unfilled,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from moderation.joined import Joined

#: Says that the text is to be read from its end.
_BACKWARDS: Final = "(倒|反)(着|过来|过|念|读|看)"
#: Says that the text is to be read by the first, or the last, characters of its clauses.
_HEADED: Final = re.compile("藏头|看头|[句行]首|(头一?个|第一个|首|开头的?)字|打头|开头")
_TAILED: Final = re.compile("藏尾|看尾|[句行]尾|(末尾?|最后一?个|末一个|尾)字|收尾|结尾")


class Way(NamedTuple):
    """A way of rewriting; `gate` yields the indexes of the texts that are worth it."""

    name: str
    gate: Callable[[Joined], Iterable[int]]
    rewrite: Callable[[str], Seen | None]


def ways(
    characters: Iterable[str], emoji: Mapping[str, str], says: Callable[[str], bool], *, plain: bool = False
) -> tuple[Way, ...]:
    """Return all ways of rewriting, for terms made of `characters` and emoji that stand for words.

    `says` tells whether what the first or last characters of clauses spell is made of terms, so no chance; where the
    text itself says that they spell something, it is not asked.
    """
    joining = Joining(characters)
    pairs = automaton(joining.pairs, plain=plain).find
    return (
        Way("parts", lambda texts: {at for at, *_ in texts.spread(pairs(texts.text))}, joining),
        Way("unfilled", by_bytes(MAY_BE_FILLED), unfilled),
        Way("unfilled", lambda texts: texts.holding(MAY_BE_SAME), unfilled),
        Way("columns", by_bytes(TWO_LINES), columns),
        Way("reversed", by_bytes(_BACKWARDS), backwards),
        Way("heads", in_clauses, lambda text: heads(text, bool if _HEADED.search(text) else says)),
        Way("tails", in_clauses, lambda text: tails(text, bool if _TAILED.search(text) else says)),
        *([_spoken(emoji)] if emoji else []),
    )


def backwards(text: str) -> Seen:
    """Return the text from its end to its start."""
    return Seen(text[::-1], [(at, at + 1) for at in range(len(text) - 1, -1, -1)])


def _spoken(emoji: Mapping[str, str]) -> Way:
    def spoken(text: str) -> Seen:
        """Return the text with the words that emoji stand for."""
        pieces = [(emoji.get(char, char), at) for at, char in enumerate(text)]
        places = [(at, at + 1) for word, at in pieces for _ in word]
        return Seen("".join(word for word, _ in pieces), places)

    return Way("emoji", by_bytes(f"[{''.join(map(re.escape, emoji))}]"), spoken)


def by_bytes(pattern: str) -> Callable[[Joined], Iterable[int]]:
    """Return a gate from a pattern for RE2."""
    gate = Gate(pattern)
    return lambda texts: texts.holding_bytes(gate)


_FOUR_CLAUSES: Final = Gate(FOUR_CLAUSES)


@lru_cache(1)  # three ask for those of the same texts
def in_clauses(texts: Joined) -> Iterable[int]:
    """Return the indexes of the texts of four clauses or more."""
    return tuple(texts.holding_bytes(_FOUR_CLAUSES))
