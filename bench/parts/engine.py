"""What judging costs of the processor, in memory: by kind of chat, by stage, beside cutting every message with jieba.

Each kind of chat goes on from round to round before a moderator that has heard some of it, as before a worker: the same
lines again would find RE2's automata made for them, and cost a third less (2026-11-22). 200 messages at a time, as the
pipeline takes them.
"""

from __future__ import annotations

import gc
import statistics
import time
import warnings
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from bench.lines import dear, endless, key_value, ordinary, said, spam
from bench.part import RULES, NotMeasured, Part
from moderation.events import decode_event
from moderation.moderator import Moderator
from moderation.reading import Reader
from streams import garbage
from streams.pipeline import YIELD_EVERY
from streams.rules import load_rules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import ExitStack

    from bench.part import Figures, Scale
    from moderation.events import ChatEvent
    from moderation.ruleset import RuleSet

MESSAGES: Final = {"tiny": 300, "quick": 4_000, "full": 20_000}
#: Messages that a moderator hears first, as many times those measured: five minutes of the clean mix.
HEARD: Final = 5
ROUNDS: Final = {"tiny": 1, "quick": 3, "full": 7}
#: Messages of each expensive kind, of which the median counts: one that the scheduler came between tells nothing.
DEAR: Final = {"tiny": 2, "quick": 15, "full": 50}


def part(scale: Scale, stack: ExitStack) -> Part:
    """Judge each kind of chat."""
    rules, count = load_rules([RULES]), MESSAGES[scale]
    as_a_worker(stack)
    clean = Chat(rules, endless(), count)
    terms = frozenset(term.text for term in rules.contents.terms)
    return Part(
        ROUNDS[scale],
        {
            "clean": partial(clean.judging, "clean"),
            "jieba": partial(cutting, "jieba", jieba_cut(terms, HMM=False), terms, clean.said),
            "ordinary": partial(Chat(rules, ordinary(), count).judging, "ordinary"),
            "spam": partial(Chat(rules, spam(), count // 4).judging, "spam"),
            "jieba with HMM": partial(cutting, "jieba_with_hmm", jieba_cut(terms, HMM=True), terms, clean.said),
            "rjieba": partial(_rjieba, terms, clean.said),
            "stages": partial(stages, Chat(rules, endless(8), count)),
            "hostile": partial(hostile, rules, DEAR[scale]),
        },
    )


class Chat:
    """Chat that goes on, `count` messages at a time, and a moderator and a reader that know what came before."""

    def __init__(self, rules: RuleSet, chat: Iterator[ChatEvent], count: int) -> None:
        self._chat, self._count = chat, count
        self.moderator, self.reader = Moderator(rules), Reader(rules)
        for heard in batches(list(islice(chat, HEARD * count))):
            self.moderator.judge(heard)
            self.reader.read(heard)
        self._last: list[ChatEvent] = []

    def next(self) -> Sequence[ChatEvent]:
        """Return what is said next."""
        self._last = list(islice(self._chat, self._count))
        return self._last

    def said(self) -> Sequence[str]:
        """Return the texts of what was said last."""
        return [event.text for event in self._last]

    def judging(self, name: str) -> Figures:
        """Judge what is said next, decoded already."""
        return _both(name, cost_us(self.moderator.judge, self.next()))


def as_a_worker(stack: ExitStack) -> None:
    """Until `stack` closes let the collector look as seldom as a worker's, and not at what never dies."""
    before = gc.get_threshold()
    garbage.settle()
    stack.callback(gc.set_threshold, *before)
    stack.callback(gc.unfreeze)


def cost_us(work: Callable[[Sequence[Any]], object], items: Sequence[Any]) -> float:
    """Return µs of the processor for each item, handed over as many at a time as the pipeline does."""
    began = time.thread_time()
    for batch in batches(items):
        work(batch)
    return (time.thread_time() - began) / len(items) * 1e6


def batches(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Cut items as the pipeline does."""
    return (items[first : first + YIELD_EVERY] for first in range(0, len(items), YIELD_EVERY))


def _both(name: str, us: float) -> Figures:
    return {f"{name}_us": us, f"{name}_per_s": 1e6 / us}


def stages(chat: Chat) -> Figures:
    """Time what can be called by itself: decoding, reading (folding, scanning); the rest of judging is what is left."""
    events = chat.next()
    decode = cost_us(lambda pairs: [decode_event(value, key) for key, value in pairs], [*map(key_value, events)])
    read = cost_us(chat.reader.read, events)
    judge = cost_us(chat.moderator.judge, events)
    return {"decode_us": decode, "read_us": read, "rest_us": max(0.0, judge - read)}


def hostile(rules: RuleSet, count: int) -> Figures:
    """Judge texts made to be expensive, each alone and each new; `worst_ms` is the median of the dearest kind."""
    moderator = Moderator(rules)
    costs: dict[str, list[float]] = {}
    for number in range(count):
        for kind, text in dear(number).items():
            costs.setdefault(kind, []).append(cost_us(moderator.judge, [said(text, number)]))
    medians = {kind: statistics.median(seen) for kind, seen in costs.items()}
    return {f"{kind.replace(' ', '_')}_us": us for kind, us in medians.items()} | {
        "worst_ms": max(medians.values()) / 1000
    }


def cutting(
    name: str, cut: Callable[[str], Sequence[str]], terms: frozenset[str], said: Callable[[], Sequence[str]]
) -> Figures:
    """Cut every message into words and look each of them up: what a word filter does, and no more."""
    return _both(name, cost_us(lambda some: [not terms.isdisjoint(cut(text)) for text in some], said()))


def jieba_cut(terms: frozenset[str], *, HMM: bool) -> Callable[[str], Sequence[str]]:  # noqa: N803  jieba's own name
    """Return jieba with all terms as words. HMM, its default, costs more and guesses words that no lexicon has."""
    with warnings.catch_warnings():  # jieba warns about its own source
        warnings.simplefilter("ignore")
        import jieba  # noqa: PLC0415  a second

    jieba.setLogLevel("WARNING")
    tokenizer = jieba.Tokenizer()
    for term in sorted(terms):
        tokenizer.add_word(term)
    return partial(tokenizer.lcut, HMM=HMM)


def _rjieba(terms: frozenset[str], said: Callable[[], Sequence[str]]) -> Figures:
    try:
        import rjieba  # noqa: PLC0415  an extra
    except ImportError:
        raise NotMeasured("rjieba is not installed: pip install 'qingliu[fast]'") from None
    tokenizer = rjieba.Jieba()
    for term in sorted(terms):
        tokenizer.add_word(term, None, None)
    return cutting("rjieba", partial(tokenizer.cut, hmm=False), terms, said)
