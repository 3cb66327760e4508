"""Word boundaries: whether a match is a word, or only the end of one and the start of the next.

>>> Segmenter(["代练"]).on_boundary("替代练习场", 1, 3)
False

Only the part of a text around a match is segmented. jieba knows every term as a word, with a frequency just high
enough to keep the term whole when it stands alone, so that 出金率 gives 出金 while 二代打野 gives no 代打. HMM stays
off: it glues unknown neighbours into words. rjieba, where installed, cuts the same, faster (but for exact ties, as in
哈哈哈哈哈: 7 of 8,000 lines of chat with 2,000 random terms on 2026-11-21). jieba is loaded without its cache file,
which lies in a directory that anybody may write and is unmarshalled unseen.
"""

from __future__ import annotations

import re
import warnings
from bisect import bisect_left
from functools import cache, lru_cache, partial
from heapq import merge
from itertools import accumulate, islice
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

try:
    import rjieba
except ImportError:  # no wheel for this platform: jieba does the same, slower
    _FAST = False
else:
    _FAST = True

#: Characters segmented on either side of a match.
REACH: Final = 8
#: What was asked to be a word is remembered of so many: the same likenesses come all day, and often in one message.
_MOST_WORDS: Final = 4096

_HAN: Final = re.compile("[\u3400-\u9fff\U00020000-\U0003ffff]")
# Between two letters or two digits no word ends.
_GLUED: Final = re.compile("(?<=[A-Za-z])(?=[A-Za-z])|(?<=[0-9])(?=[0-9])")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_LINE: Final = re.compile(".+")
_Cut: TypeAlias = "Callable[[str], list[str]]"


class Words:
    """The word boundaries of one text, cut where they are asked for, and each part of it once."""

    __slots__ = ("_held", "_parts", "_reach", "_segmenter", "_size", "_text")

    def __init__(self, segmenter: Segmenter, text: str, reach: int) -> None:
        self._segmenter = segmenter
        self._text = text
        self._reach = reach
        #: All of a short text is cut at once, a long one by blocks.
        self._size = max(1, min(4 * reach, len(text)))
        self._parts: dict[tuple[int, int], tuple[int, str, list[int]]] = {}
        #: What was asked before: a word of several classes is asked for by each.
        self._held: dict[tuple[int, int], bool] = {}

    def hold(self, start: int, end: int) -> bool:
        """Whether both ends of the match `text[start:end]` are word boundaries: see `Segmenter.on_boundary`."""
        held = self._held.get((start, end))
        if held is None:
            held = self._held[start, end] = self._holds(start, end)
        return held

    def _holds(self, start: int, end: int) -> bool:
        text = self._text
        if _GLUED.match(text, start) or _GLUED.match(text, end):
            return False
        if not _HAN.search(text, start, end):
            return True
        block = start - start % self._size
        stop = max(block + self._size, end)
        part = self._parts.get((block, stop))
        if part is None:
            part = self._parts[block, stop] = self._cut(block, stop)
        first, cut, cuts = part
        return self._edges(cut, cuts, start - first, end - first)

    def _cut(self, block: int, stop: int) -> tuple[int, str, list[int]]:
        """Cut a part with what stands around it; return where that begins, it, and where words end in it."""
        first = max(0, block - self._reach)
        cut = self._text[first : stop + self._reach]
        return first, cut, self._segmenter.cuts(cut)

    def _edges(self, text: str, cuts: list[int], *places: int) -> bool:
        """Tell whether words end at these places, or at most another term goes on over them: 内充, 充v in 内充v."""
        for place in places:
            at = bisect_left(cuts, place)
            if cuts[at] != place and text[cuts[at - 1] : cuts[at]] not in self._segmenter.told:
                return False
        return True


class Segmenter:
    """jieba with a lexicon in its dictionary. Immutable once made: threads may share it.

    `terms` are folded; those of two or more characters with Han in them become words. No word stands inside one of
    `decoys`, which are among them: 举报 in 被举报. Takes 0.2 s with rjieba, 1-2 s with jieba for the first one and
    0.1 s for those after it (10,000 terms: 0.4 s). `plain` leaves rjieba alone.
    """

    def __init__(self, terms: Iterable[str], decoys: Iterable[str] = (), *, plain: bool = False) -> None:
        # Adding a word shifts the frequencies the next ones need: in one order whatever the caller's, and once each.
        words = _in_order({term for term in terms if len(term) > 1 and _HAN.search(term)})
        added: set[str] = set()
        self._cut: _Cut = (_jieba_cut if plain or not _FAST else _rjieba_cut)(words, added)
        #: The terms that are no words of the language: jieba had to be told. Another one may begin or end within them.
        self.told = frozenset(added).difference(decoys)
        #: Whether a text is one word, of the language or of the lexicon.
        self.is_word = lru_cache(_MOST_WORDS)(self._is_word)

    def words(self, text: str) -> list[str]:
        """Cut `text` into words; joined they are `text` again, but for lone surrogates, which rjieba refuses."""
        try:
            return self._cut(text)
        except UnicodeEncodeError:
            return self._cut(_SURROGATE.sub("\ufffd", text))

    def cuts(self, text: str) -> list[int]:
        """Return the offsets of all word boundaries, 0 and the text's length among them."""
        return list(accumulate(map(len, self.words(text)), initial=0))

    def on_boundary(self, text: str, start: int, end: int, reach: int = REACH) -> bool:
        """Whether both ends of the match `text[start:end]` are word boundaries.

        Letters next to letters and digits next to digits are no boundary, and for a match without Han that is all there
        is to it: vx is found in "vx123" and "加vx", not in "wvxy". Otherwise the text is cut, or of a long one a block
        around the match with `reach` characters on either side.
        Of two terms that overlap (加薇 and 薇信 in 加薇信) jieba cuts out one; the other counts too, since no word of
        the language stands against it.
        """
        return self.on(text, reach).hold(start, end)

    def on(self, text: str, reach: int = REACH) -> Words:
        """Return the words of one text, for asking about several matches in it."""
        return Words(self, text, reach)

    def _is_word(self, text: str) -> bool:
        return len(self.words(text)) == 1

    def lost_terms(self, terms: Iterable[str]) -> list[str]:
        """Return the terms with Han that jieba cuts even when they stand alone: `on_boundary` may refuse them."""
        return [term for term in terms if _HAN.search(term) and len(self.words(term)) > 1]


#: Words sorted at once: about 1 ms.
_PIECE: Final = 2_000
#: Tokenizers made beforehand; each is used once, since a lexicon is told to it. Importing rjieba makes the first one:
#: 0.1 s and 25 MB, which nobody else uses.
_stock: Final[list[Any]] = [rjieba.cut.__self__] if _FAST else []  # type: ignore[attr-defined]  # its stubs say function


def stock(dictionary: str) -> None:
    """Make a tokenizer for the next `Segmenter`, word by word: 0.5 s. `dictionary` is the text of jieba's dict.txt.

    rjieba makes one in 0.1 s, but lets no other thread run meanwhile. What it cuts is the same.
    """
    if not _FAST or _stock:
        return
    tokenizer: Any = rjieba.Jieba.empty()  # type: ignore[no-untyped-call]  # its stubs say nothing
    for line in _LINE.finditer(dictionary):  # to split it at once held the lock for 38 ms
        word, frequency, *tag = line[0].split()
        tokenizer.add_word(word, int(frequency), tag[0] if tag else None)
    _stock.append(tokenizer)


def _in_order(words: Collection[str]) -> list[str]:
    """Sort words a piece at a time: other threads wait for no piece, but 48 ms for 60 000 at once."""
    left, pieces = iter(words), []
    while piece := sorted(islice(left, _PIECE)):
        pieces.append(piece)
    return list(merge(*pieces))


def _rjieba_cut(words: list[str], added: set[str]) -> _Cut:
    try:
        tokenizer = _stock.pop()
    except IndexError:
        tokenizer = rjieba.Jieba()
    cut = partial(tokenizer.cut, hmm=False)
    for word in words:
        if len(cut(word)) > 1:
            tokenizer.add_word(word, _rounded(tokenizer.suggest_freq(word)), None)
            added.add(word)
    return cut


def _jieba_cut(words: list[str], added: set[str]) -> _Cut:
    jieba = _jieba()
    tokenizer = jieba.Tokenizer()
    frequencies, total = _dictionary()
    tokenizer.FREQ, tokenizer.total, tokenizer.initialized = frequencies.copy(), total, True
    cut = partial(tokenizer.lcut, HMM=False)
    for word in words:
        if len(cut(word)) > 1:
            tokenizer.add_word(word, _rounded(tokenizer.suggest_freq(word)))
            added.add(word)
    return cut


def _rounded(frequency: int) -> int:
    """Round up to a power of two: the two implementations differ by a rounding error, which would decide near ties."""
    return 1 << frequency.bit_length()


def _jieba() -> Any:
    """Import jieba, which warns about its own source, only where it is needed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import jieba  # noqa: PLC0415 - a second of import time, not paid where rjieba is installed
    jieba.setLogLevel("WARNING")
    return jieba


@cache
def _dictionary() -> tuple[dict[str, int], int]:
    """Read jieba's dictionary, once: word and prefix to frequency, and their sum."""
    jieba = _jieba()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with jieba.get_module_res(jieba.DEFAULT_DICT_NAME) as file:
            frequencies, total = jieba.Tokenizer.gen_pfdict(file)
    return frequencies, total
