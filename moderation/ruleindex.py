"""Which rules are worth trying on a message, told by bits: each rule stands under the rarest thing it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from moderation.trial import Trial

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from moderation.conditions import Key
    from moderation.plan import Plans
    from moderation.reading import Reading
    from moderation.rule import Rule


class Told(NamedTuple):
    """What bits tell: `certain` ones are so, `unsieved` ones may be of any text; the others need a closer look.

    `context` are the certain ones about channel and sender; `shapes` those of patterns, which cost more to look at.
    """

    certain: int
    unsieved: int
    context: int
    shapes: int


class RuleIndex:
    """The rules by what a message must hold for them; `always` are those that look for nothing in particular."""

    def __init__(self, rules: Sequence[Rule], mask: Callable[[Iterable[Key]], int], told: Told, plans: Plans) -> None:
        clauses = [tuple(map(mask, rule.clauses())) for rule in rules]
        self._trials = [Trial(rule, _doubts(of, told), plans) for rule, of in zip(rules, clauses, strict=True)]
        self.always = tuple(trial for trial, of in zip(self._trials, clauses, strict=True) if not of)
        self._clauses = clauses
        self._under = _under_rarest(clauses, told)
        self._rarest = sum(self._under)

    def candidates(self, reading: Reading) -> Sequence[Trial]:
        """Return the rules that a message could satisfy, in file order, besides those in `always`."""
        if not reading.mask & self._rarest:
            return ()
        return [self._trials[i] for i in self._satisfiable(reading.likely)]

    def awakened(self, before: int, after: int, own: int) -> bool:
        """Tell whether bits that came to `before` make a rule worth trying that was not, by some of the bits `own`."""
        worth = (self._clauses[i] for i in self._satisfiable(after))
        return any(any(own & one for one in rule) and not all(before & one for one in rule) for rule in worth)

    def _satisfiable(self, mask: int) -> list[int]:
        found = []
        rarest = mask & self._rarest
        while rarest:
            bit = rarest & -rarest
            rarest ^= bit
            for i, others in self._under[bit]:
                for clause in others:
                    if not mask & clause:
                        break
                else:
                    found.append(i)
        return sorted(set(found)) if len(found) > 1 else found


def _doubts(clauses: Iterable[int], told: Told) -> tuple[int, ...]:
    return tuple(sorted((c for c in clauses if c & ~told.certain), key=lambda c: (c & told.shapes).bit_count()))


def _under_rarest(rules: Iterable[Sequence[int]], told: Told) -> Mapping[int, list[tuple[int, list[int]]]]:
    """Put rules, with their other clauses, under the rarest thing they need: the bits of the clause with the fewest.

    A clause about the context, or one that any message may satisfy, stands for a rule that has no other.
    """
    under: dict[int, list[tuple[int, list[int]]]] = {}
    for i, clauses in enumerate(rules):
        sieved = [c for c in clauses if not c & told.unsieved]
        meant = [c for c in sieved if not c & told.context]
        clause = min(meant or sieved or clauses, key=int.bit_count, default=0)
        others = sorted((c for c in clauses if c != clause), key=int.bit_count)
        while clause:
            bit = clause & -clause
            clause ^= bit
            under.setdefault(bit, []).append((i, others))
    return under
