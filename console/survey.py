"""What a replay shows of the words: terms nobody said, terms others always cover, and repeated texts nobody caught.

It looks over a replay's shoulder (see `console.replay.Replay`) at what was read and what was decided. Bounded: texts
and accounts seen longest ago are forgotten first.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from msgspec import Struct

from moderation.combination import WORD
from moderation.fold import fold
from moderation.ruleset import ALLOWED
from moderation.scan import fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moderation.actions import Span
    from moderation.decide import Finding, Outcome
    from moderation.reading import Reading
    from moderation.ruleset import Contents, Term
    from moderation.scan import Text

K = TypeVar("K")
V = TypeVar("V")
#: Texts that were missed, and accounts with handles, that are remembered.
REMEMBERED: Final = 50_000
#: Accounts told apart of one text, and handles remembered of one account.
ACCOUNTS: Final = 1_000
HANDLES: Final = 8
#: Candidates that are reported.
CANDIDATES: Final = 50
_PUNISHED: Final = ("mute", "ban")


class Covered(Struct, frozen=True):
    """A term that was never decisive: in each of its messages another of its class, mostly `by`, stood there, too."""

    lexicon: str
    term: str
    hits: int
    by: str


class Candidate(Struct, frozen=True):
    """A text that was let pass `count` times, by so many accounts, with a handle that punished accounts drop, too.

    `text` is one player's wording: hostile, and to be shown as such. `handles` are "type:value".
    """

    text: str
    count: int
    accounts: int
    handles: tuple[str, ...]


class Words(Struct, frozen=True):
    """What was seen of the terms in force: by class those that nobody said, those others cover, and what was missed."""

    silent: dict[str, tuple[str, ...]]
    covered: tuple[Covered, ...]
    candidates: tuple[Candidate, ...]


class _Seen(NamedTuple):
    term: Term
    span: Span
    plain: bool


class Survey:
    """Looks at a replay; `words` sums up. `most` texts and accounts are remembered."""

    def __init__(self, most: int = REMEMBERED) -> None:
        self._most = most
        self._hits: Counter[tuple[str, str]] = Counter()
        self._alone: set[tuple[str, str]] = set()
        self._by: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        self._missed: OrderedDict[int, _Missed] = OrderedDict()
        self._dropped: OrderedDict[str, set[str]] = OrderedDict()
        self._punished: OrderedDict[str, None] = OrderedDict()

    def read(self, reading: Reading) -> None:
        """Count the terms in a message, each once."""
        for text in reading.texts.values():
            by_class: defaultdict[str, list[_Seen]] = defaultdict(list)
            for one in _counted(text, reading):
                by_class[one.term.lexicon].append(one)
            for lexicon, seen in by_class.items():
                self._weigh(lexicon, seen)

    def decided(self, finding: Finding, outcome: Outcome) -> None:
        """Remember who was punished, who drops which handle, and what was let pass with one."""
        account, judgement = finding.event.sender.account_id, outcome.judgement
        for action in judgement.actions:
            if action.action in _PUNISHED:
                self._remember(self._punished, action.target.account_id, None)
        handles = {f"{one.type}:{one.value}" for one in finding.handles}
        if handles:
            known = self._remember(self._dropped, account, set())
            known |= set(sorted(handles)[: HANDLES - len(known)])
        if handles and judgement.verdict == "allow":
            key = fingerprint(fold(finding.event.text).text)
            missed = self._remember(self._missed, key, _Missed(finding.event.text))
            missed.count += 1
            missed.handles |= set(sorted(handles)[: HANDLES - len(missed.handles)])
            if len(missed.accounts) < ACCOUNTS:
                missed.accounts.add(account)

    def words(self, contents: Contents) -> Words:
        """Sum up, for the terms of the rules that were replayed."""
        silent: defaultdict[str, list[str]] = defaultdict(list)
        for term in contents.terms:
            if not self._hits[term.lexicon, term.text]:
                silent[term.lexicon.removeprefix(WORD)].append(term.text)
        covered = (self._covered(key) for key in self._hits if key not in self._alone)
        return Words(
            {lexicon: tuple(texts) for lexicon, texts in sorted(silent.items())},
            tuple(sorted(covered, key=lambda one: (-one.hits, one.lexicon, one.term))),
            tuple(self._candidates()),
        )

    def _weigh(self, lexicon: str, seen: list[_Seen]) -> None:
        """Tell which of the terms of a class decide: longer ones before shorter, written ones before meant ones."""
        seen.sort(key=lambda one: (one.span[0] - one.span[1], not one.plain, one.term.text))
        standing: list[_Seen] = []
        for one in seen:
            key = lexicon, one.term.text
            over = next((other for other in standing if _covers(other, one)), None)
            if over is None:
                standing.append(one)
                self._alone.add(key)
            elif key not in self._alone:
                self._by[key][over.term.text] += 1
        self._hits.update({(lexicon, one.term.text) for one in seen})

    def _remember(self, known: OrderedDict[K, V], key: K, new: V) -> V:
        found = known.setdefault(key, new)
        known.move_to_end(key)
        if len(known) > self._most:
            known.popitem(last=False)
        return found

    def _covered(self, key: tuple[str, str]) -> Covered:
        return Covered(*key, self._hits[key], self._by[key].most_common(1)[0][0])

    def _candidates(self) -> list[Candidate]:
        bad = {handle for account in self._punished for handle in self._dropped.get(account, ())}
        found = [
            Candidate(one.text, one.count, len(one.accounts), tuple(sorted(one.handles & bad)))
            for one in self._missed.values()
            if one.count > 1 and one.handles & bad
        ]
        return sorted(found, key=lambda one: (-one.accounts, -one.count, one.text))[:CANDIDATES]


class _Missed:
    """A text that was let pass; `text` is the first wording."""

    __slots__ = ("accounts", "count", "handles", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.count = 0
        self.accounts: set[str] = set()
        self.handles: set[str] = set()


def _counted(text: Text, reading: Reading) -> Iterator[_Seen]:
    """Yield the terms in a text that rules were shown: words, neither allowed nor expired."""
    counted: dict[str, set[Span]] = {}
    for one in text.seen():
        lexicon = one.term.lexicon
        if lexicon != ALLOWED:
            if lexicon not in counted:
                counted[lexicon] = {
                    (found.start, found.end) for found in text.terms(reading.rules.bits[lexicon], reading.event.ts)
                }
            span = one.view.span(one.start, one.end)
            if span in counted[lexicon]:
                yield _Seen(one.term, span, one.name == "plain")


def _covers(other: _Seen, one: _Seen) -> bool:
    inside = other.span[0] <= one.span[0] and one.span[1] <= other.span[1]
    return inside and other.term.text != one.term.text
