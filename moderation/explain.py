"""Why a message was judged as it was, and why not otherwise: everything `judge` looked at, kept instead of dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from moderation import decide
from moderation.actions import Handle, Hit, Judgement, Label, Span
from moderation.conditions import AllOf, Condition, Context, Lexicon, NoneOf
from moderation.context import FACTS, Tier, tier
from moderation.moderator import Moderator, counts_everything
from moderation.reading import SIGNALS, Reader, Reading
from moderation.ruleset import ALLOWED, RuleSet
from moderation.standing import Standing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moderation.events import ChatEvent
    from moderation.rule import Rule

#: How many rules that nearly matched are worth showing.
NEAREST: Final = 5


class TermSeen(Struct, frozen=True):
    """A term of a lexicon class in the text. `dropped` says why it did not count: not a word there, or allowed."""

    lexicon: str
    text: str
    span: Span
    field: str
    view: str
    dropped: str = ""


class Missed(Struct, frozen=True):
    """A rule that did not hit: how many of its parts were there, and which were not, or what spared the message."""

    rule: str
    had: int
    of: int
    missing: tuple[str, ...] = ()
    spared_by: str = ""


class Explanation(Struct, frozen=True):
    """All there is to say about one message, judged alone, by a sender without strikes."""

    text: str
    folded: str
    squeezed: str
    tokens: tuple[str, ...]
    terms: tuple[TermSeen, ...]
    handles: tuple[Handle, ...]
    signals: tuple[str, ...]
    facts: tuple[str, ...]
    tier: Tier
    hits: tuple[Hit, ...]
    missed: tuple[Missed, ...]
    scores: dict[Label, float]
    review_at: int
    act_at: int
    judgement: Judgement
    why_human: str = ""
    suggested: tuple[str, ...] = ()


def explain(rules: RuleSet, event: ChatEvent) -> Explanation:
    """Judge one event with fresh windows, and say everything about it."""
    moderator = Moderator(rules)
    [finding] = moderator.judge([event])
    [reading] = Reader(rules).read([event])
    strike = moderator.strike(finding, event.ts)
    first = Standing(1, event.ts, merged=False, label=strike.label, ladder=strike.ladder) if strike else None
    outcome = moderator.decide(finding, event.ts, first)
    label = max(decide.scores(finding.hits).items(), key=lambda s: s[1], default=(None, 0.0))[0]
    policy = rules.policy.labels.get(label) if label else None
    folded = reading.texts["text"].folded
    return Explanation(
        text=event.text,
        folded=folded.text,
        squeezed=folded.squeezed.text,
        tokens=tuple(rules.segmenter.words(folded.text)),
        terms=tuple(_terms(reading)),
        handles=finding.handles,
        signals=tuple(name for name in SIGNALS if reading.signal(name)),
        facts=tuple(name for name in FACTS if reading.fact(name)),
        tier=tier(event, rules.policy.bounds),
        hits=finding.hits,
        missed=tuple(_missed(rules, reading, {h.rule for h in finding.hits})),
        scores=decide.scores(finding.hits),
        review_at=policy.review if policy else 0,
        act_at=policy.act if policy else 0,
        judgement=outcome.judgement,
        why_human=outcome.cases[0].why_human if outcome.cases else "",
        suggested=outcome.cases[0].suggested if outcome.cases else (),
    )


def _terms(reading: Reading) -> Iterator[TermSeen]:
    ts = reading.event.ts
    for field, text in reading.texts.items():
        for one in text.seen():
            span, lexicon = one.view.span(one.start, one.end), one.term.lexicon
            counted = any(f[:2] == span for f in text.terms(lexicon, ts))
            why = "" if counted or lexicon == ALLOWED else text.why_not(one, ts)
            yield TermSeen(lexicon, text.folded.raw[slice(*span)], span, field, one.name, why)


def _missed(rules: RuleSet, reading: Reading, hit: set[str]) -> list[Missed]:
    """Return the rules that came nearest: first those that were satisfied but spared, then by share of parts had."""
    rows = [row for rule in rules.rules if rule.id not in hit and (row := _miss(rule, reading)) is not None]
    return sorted(rows, key=lambda m: (not m.spared_by, -m.had / max(1, m.of), m.of))[:NEAREST]


def _miss(rule: Rule, reading: Reading) -> Missed | None:
    if counts_everything(rule):
        return None
    parts: list[tuple[str, Condition]] = [(_name(c), c) for c in _parts(rule)]
    missing = tuple(name for name, part in parts if not reading.find(part))
    had = len(parts) - len(missing)
    if missing:
        words = any(reading.find(part) for _, part in parts if not isinstance(part, Context | NoneOf))
        return Missed(rule.id, had, len(parts), missing) if words else None
    guard = next((_name(g) for g in rule.unless if reading.find(g)), "")
    spared = guard or ("次数不够" if rule.count else "词距太远" if rule.when else "")
    return Missed(rule.id, had, len(parts), (), spared)


def _parts(rule: Rule) -> Iterator[Condition]:
    if rule.when is not None:
        yield from rule.when.parts if isinstance(rule.when, AllOf) else (rule.when,)
    yield from rule.context


def _name(condition: Condition) -> str:
    """Name a condition the way a moderator wrote it, as short as it goes."""
    kind = type(condition).__name__
    if isinstance(condition, Lexicon):
        return f"词库 {'、'.join(sorted(condition.names))}"
    names: dict[str, str] = {"Context": "情境", "Guard": "护栏", "Signal": "信号"}
    if kind in names:
        return f"{names[kind]} {getattr(condition, 'name', '')}"
    joined = "、".join(_name(part) for part in getattr(condition, "parts", ()))
    words = {"AllOf": f"同时 {joined}", "AnyOf": f"任一 {joined}", "NoneOf": f"没有 {joined}", "HandleOf": "联系方式"}
    return words.get(kind, "正则")
