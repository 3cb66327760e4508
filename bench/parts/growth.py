"""What a message costs the engine as things grow: the lexicon, the rules, messages, and those who speak.

Points are named after what grows and how far: `lexicon_50000_us`. Terms and rules are made up and come to the shipped
ones; terms are of characters that the chat is made of and belong to a class that shipped rules ask for.
"""

from __future__ import annotations

import random
from functools import cache, partial
from itertools import cycle, islice
from typing import TYPE_CHECKING, Final

import msgspec

from bench.lines import NOW, mix, said
from bench.part import RULES, Part
from bench.parts.engine import as_a_worker, batches, cost_us
from moderation.moderator import Moderator
from moderation.rulefile import load, read
from moderation.ruleset import RuleSet, Term
from streams.bundle import gather

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import ExitStack

    from bench.part import Figures, Scale, Step
    from moderation.events import ChatEvent

MESSAGES: Final = {"tiny": 200, "quick": 2_000, "full": 10_000}
ROUNDS: Final = {"tiny": 1, "quick": 1, "full": 3}
POINTS: Final[dict[str, dict[Scale, tuple[int, ...]]]] = {
    "lexicon": {
        "tiny": (100, 1_000),
        "quick": (1_000, 10_000, 50_000),
        "full": (1_000, 5_000, 20_000, 50_000, 200_000),
    },
    "rules": {"tiny": (10, 20), "quick": (10, 100, 1_000), "full": (10, 50, 200, 500, 1_000)},
    "length": {"tiny": (5, 50), "quick": (5, 50, 500), "full": (5, 20, 80, 320, 1_280)},
    "senders": {"tiny": (10, 100), "quick": (1_000, 20_000), "full": (1_000, 10_000, 100_000, 1_000_000)},
}
_RULE: Final = """\
- id: bench.rule-{n}
  label: rmt
  说明: 只为测量
  owner: bench
  status: live
  when: {{all: [lexicon: bench_{n}, lexicon: bench_all], within: 30}}
  score: 10
  because: 只为测量
  tests: {{hit: [{first}{all}], pass: [你好]}}
"""
_LEXICON: Final = "{name}:\n  说明: 只为测量\n  terms: [{terms}]\n"
#: Of each made-up rule; the class that all of them ask for beside their own has as many.
_TERMS: Final = 10
#: Texts that accounts say first: what they say is of no matter, and so is known soon.
_SAID: Final = 100


def part(scale: Scale, stack: ExitStack) -> Part:
    """Measure every point."""
    clean = mix(MESSAGES[scale])
    as_a_worker(stack)
    grown: dict[str, Step] = {
        f"{what} {size}": partial(_named, f"{what}_{size}_us", partial(measure, size, clean))
        for what, measure in MEASURES.items()
        for size in POINTS[what][scale]
    }
    return Part(ROUNDS[scale], grown)


def _named(name: str, cost: Callable[[], float]) -> Figures:
    return {name: cost()}


@cache
def _shipped() -> RuleSet:
    return load(gather([RULES]))


def lexicon(terms: int, clean: Sequence[ChatEvent]) -> float:
    """Return µs a message under so many terms more."""
    return cost_us(Moderator(_with_terms(terms)).judge, clean)


@cache
def _with_terms(count: int) -> RuleSet:
    contents = _shipped().contents
    known = contents.terms[0].lexicon
    more = tuple(Term(word, known) for word in islice(words(), count))
    return RuleSet(msgspec.structs.replace(contents, terms=(*contents.terms, *more)))


def words() -> Iterator[str]:
    """Yield made-up words of four characters, none twice, of the characters that chat is made of."""
    draw, met = random.Random(4), set[str]()  # noqa: S311  the same every time
    characters = sorted({char for event in mix(2_000) for char in event.text if "\u4e00" <= char <= "\u9fff"})
    while True:
        word = "".join(draw.choices(characters, k=4))
        if word not in met:
            met.add(word)
            yield word


def rules(number: int, clean: Sequence[ChatEvent]) -> float:
    """Return µs a message under so many rules: of the shipped ones first, evenly chosen, then of made-up ones."""
    return cost_us(Moderator(_with_rules(number)).judge, clean)


@cache
def _with_rules(number: int) -> RuleSet:
    shipped = _shipped().contents
    more = number - len(shipped.rules)
    if more <= 0:
        chosen = shipped.rules[:: len(shipped.rules) // number][:number]
        return RuleSet(msgspec.structs.replace(shipped, rules=chosen))
    return RuleSet(read([*gather([RULES]), _made_up(more)]))


def _made_up(number: int) -> dict[str, bytes]:
    """Return a layer of so many rules, each with a class of its own."""
    source = words()
    together = [next(source) for _ in range(_TERMS)]
    lexicons, made = [_LEXICON.format(name="bench_all", terms=", ".join(together))], []
    for n in range(number):
        terms = [next(source) for _ in range(_TERMS)]
        lexicons.append(_LEXICON.format(name=f"bench_{n}", terms=", ".join(terms)))
        made.append(_RULE.format(n=n, first=terms[0], all=together[0]))
    return {"bench/lexicons/more.yaml": "".join(lexicons).encode(), "bench/more.yaml": "".join(made).encode()}


def length(characters: int, clean: Sequence[ChatEvent]) -> float:
    """Return µs a message of so many characters: several put together, or the beginning of one."""
    texts = cycle(event.text for event in clean)
    return cost_us(
        Moderator(_shipped()).judge, [said(_long(texts, characters), n, f"a{n}") for n in range(len(clean) // 4)]
    )


def _long(texts: Iterator[str], characters: int) -> str:
    text = ""
    while len(text) < characters:
        text += next(texts)
    return text[:characters]


def senders(number: int, clean: Sequence[ChatEvent]) -> float:
    """Return µs a message while so many accounts have just spoken, and speak again in turn."""
    moderator = Moderator(_shipped())
    began = NOW - 600_000
    for some in batches(range(number)):
        moderator.judge([_first(clean[n % _SAID].text, n, began) for n in some])
    again = [_by(event, f"m{number - 1 - n % number}") for n, event in enumerate(clean)]
    return cost_us(moderator.judge, again)


def _first(text: str, number: int, ts: int) -> ChatEvent:
    return msgspec.structs.replace(said(text, number, f"m{number}"), event_id=f"f{number}", ts=ts)


def _by(event: ChatEvent, account: str) -> ChatEvent:
    return msgspec.structs.replace(event, sender=msgspec.structs.replace(event.sender, account_id=account))


MEASURES: Final = {"lexicon": lexicon, "rules": rules, "length": length, "senders": senders}
