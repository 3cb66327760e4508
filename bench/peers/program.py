"""Filter messages in one of five ways, pass after pass; run as a process of its own by bench.peers.

    python -m bench.peers.program FILTER LINES WORDS SECONDS

LINES and WORDS are files of texts in UTF-8 parted by NUL. Every pass filters all lines; after SECONDS of warming up
the passes of SECONDS are counted, and at the end one line is printed: {"messages", "seconds", "found"}. Seconds are
processor time of the whole process, `found` is how many lines of one pass had a hit. The programs in other languages
beside this one do the same.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from itertools import count, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

#: Filters all lines once and returns how many had a hit.
Sweep: TypeAlias = "Callable[[], int]"

#: The engine is asked as the worker asks it: so many messages at once, of players who speak once a minute.
BATCH: Final = 200
PLAYERS: Final = 5_000
BETWEEN_MS: Final = 60_000 // PLAYERS


def flashtext(lines: Sequence[str], words: Sequence[str]) -> Iterator[Sweep]:
    """Filter as flashtext's manual says, without regard to case."""
    processor = importlib.import_module("flashtext").KeywordProcessor()
    processor.add_keywords_from_list(list(words))
    return repeat(lambda: sum(1 for line in lines if processor.extract_keywords(line)))


def pyahocorasick(lines: Sequence[str], words: Sequence[str]) -> Iterator[Sweep]:
    """Find all words, overlapping ones too, in the text as it is."""
    automaton = importlib.import_module("ahocorasick").Automaton()
    for word in words:
        automaton.add_word(word, word)
    automaton.make_automaton()
    return repeat(lambda: sum(1 for line in lines if list(automaton.iter(line))))


def ahocorasick_rs(lines: Sequence[str], words: Sequence[str]) -> Iterator[Sweep]:
    """Find all words that do not overlap, in the text as it is."""
    automaton = importlib.import_module("ahocorasick_rs").AhoCorasick(list(words))
    return repeat(lambda: sum(1 for line in lines if automaton.find_matches_as_strings(line)))


def jieba(lines: Sequence[str], words: Sequence[str]) -> Iterator[Sweep]:
    """Segment every line with jieba, which knows the words, and look each word up in a set."""
    from moderation.segment import Segmenter  # noqa: PLC0415 - the others do not need it

    cut, listed = Segmenter(words, plain=True).words, frozenset(words)
    return repeat(lambda: sum(1 for line in lines if not listed.isdisjoint(cut(line))))


def engine(lines: Sequence[str], _: Sequence[str]) -> Iterator[Sweep]:
    """Judge every line as a player's message under the shipped rules; a hit is a verdict of review or act.

    Each pass is judged by a new moderator, in hours of its own: one that has heard it all before would find repetition,
    and be spared reading what it has read. The collector is set as the worker sets it.
    """
    from moderation.events import ChatEvent, Sender  # noqa: PLC0415 - the others do not need it
    from moderation.moderator import Moderator  # noqa: PLC0415 - the same
    from streams import garbage  # noqa: PLC0415 - the same
    from streams.rules import load_rules  # noqa: PLC0415 - the same

    rules = load_rules([Path(__file__).parents[2] / "rules"])
    senders = [Sender(f"a{n}") for n in range(PLAYERS)]
    numbered = count()
    garbage.settle()

    def said(text: str) -> ChatEvent:
        n = next(numbered)
        return ChatEvent(f"e{n}", 1_700_000_000_000 + n * BETWEEN_MS, "s1", "world", senders[n % PLAYERS], text)

    while True:
        moderator, events = Moderator(rules), [said(line) for line in lines]
        yield (
            lambda: sum(
                finding.verdict != "allow"
                for first in range(0, len(events), BATCH)  # noqa: B023 - called before the next is made
                for finding in moderator.judge(events[first : first + BATCH])  # noqa: B023 - the same
            )
        )


FILTERS: Final[dict[str, Callable[[Sequence[str], Sequence[str]], Iterator[Sweep]]]] = {
    "flashtext": flashtext,
    "pyahocorasick": pyahocorasick,
    "ahocorasick-rs": ahocorasick_rs,
    "jieba": jieba,
    "engine": engine,
}


def run(passes: Iterator[Sweep], size: int, seconds: float) -> dict[str, float]:
    """Make passes over `size` lines for so many seconds, at least one; making one ready does not count."""
    messages, took, found = 0, 0.0, 0
    while not messages or took < seconds:
        one = next(passes)
        began = time.process_time()
        found = one()
        took += time.process_time() - began
        messages += size
    return {"messages": messages, "seconds": took, "found": found}


def read(file: str) -> list[str]:
    """Return the texts in a file."""
    return Path(file).read_bytes().decode().split("\0")


def main(name: str, lines_file: str, words_file: str, seconds: str) -> None:
    """Warm up, run, and print what came of it."""
    lines = read(lines_file)
    passes = FILTERS[name](lines, read(words_file))
    run(passes, len(lines), float(seconds))
    print(json.dumps(run(passes, len(lines), float(seconds))))


if __name__ == "__main__":
    main(*sys.argv[1:])
