"""Lexicon files: classes of terms, with their options, and the game's own names and its rivals' as two more classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from moderation.combination import MARKS, Combination, combine
from moderation.fold import fold
from moderation.ruleset import Term

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from moderation.document import Node, Problems

#: Longest term; nobody writes longer ones, and jieba's window is 8 characters each side.
MAX_TERM: Final = 32


class Lexicons:
    """What lexicon files say, and where; problems go to `problems`. See moderation.rulefile.Draft for the lists."""

    def __init__(self, problems: Problems) -> None:
        self._p = problems
        self.terms: list[tuple[Term, Node]] = []
        self.classes: list[tuple[str, Node]] = []
        self.decoys: set[str] = set()
        #: The combinations of each class.
        self.combined: dict[str, list[Combination]] = {}

    def read(self, nodes: Iterable[Node], game: Node) -> tuple[Term, ...]:
        """Read lexicon files and game.yaml; return what the matcher looks for, each term once."""
        return tuple(dict.fromkeys([*self._classes(nodes), *self._game_terms(game)]))

    def _classes(self, nodes: Iterable[Node]) -> Iterator[Term]:
        seen: set[tuple[str, str]] = set()
        for node in nodes:
            for name, child in self._p.entries(node).items():
                self.classes.append((name, child))
                entry = self._p.mapping(child, ("说明", "disguised", "decoy", "terms"), ("说明", "terms"))
                if self._p.flag(entry.get("decoy")):
                    self.decoys.add(name)
                disguised = self._p.flag(entry.get("disguised"))
                for item in self._p.items(entry["terms"]) if "terms" in entry else ():
                    term = self._term(name, item, disguised=disguised)
                    if term:
                        self.terms.append((term, item))
                        if (key := (name, fold(term.text).text)) not in seen:  # lint tells what is there twice
                            seen.add(key)
                            yield from self._parts(term, item)

    def _parts(self, term: Term, item: Node) -> Iterator[Term]:
        """Yield the term, or the words of a combination: these are terms of classes of their own."""
        if not MARKS.search(term.text):
            yield term
            return
        try:
            made = combine(term)
        except ValueError:
            self._p.problem(item, "E205", word=term.text)
        else:
            self.combined.setdefault(term.lexicon, []).append(made)
            yield from made.terms

    def _term(self, lexicon: str, item: Node, *, disguised: bool = False) -> Term | None:
        until = None
        text = item
        if isinstance(item.value, dict):
            entry = self._p.mapping(item, ("term", "until", "disguised"), ("term",))
            text, until = entry.get("term", item), self._p.day(entry.get("until"))
            disguised = self._p.flag(entry["disguised"]) if "disguised" in entry else disguised
        word = self._p.text(text, most=MAX_TERM)
        folded = fold(word).text.strip()
        if not folded:
            self._p.problem(item, "E204", word=word)
            return None
        return Term(word, lexicon, until, disguised)

    def _game_terms(self, game: Node) -> Iterator[Term]:
        """Turn the game's own names and its rivals' into the classes own_game and rival_game."""
        entry = self._p.mapping(game, ("own_names", "rival_names", "markup", "emoji"), ("own_names", "rival_names"))
        for key, lexicon in (("own_names", "own_game"), ("rival_names", "rival_game")):
            for item in self._p.items(entry[key]) if key in entry else ():
                term = self._term(lexicon, item)
                if term and MARKS.search(term.text):
                    self._p.problem(item, "E205.plain")
                elif term:
                    yield term
            yield Term("\x00", lexicon)  # the class exists even where the list is empty; NUL folds to nothing
