"""Why a message was judged as it was, and why not otherwise: everything `judge` looked at, kept instead of dropped.

The reasons are in the words of rule files and of those who write them: 词库 sell, 情境 new, 读法 sound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
from msgspec import Struct

from moderation import decide
from moderation.actions import Handle, Hit, Judgement, Label, Span
from moderation.conditions import TEXT, AllOf, Condition, Context, HandleOf, Lexicon, NoneOf, Pattern
from moderation.context import FACTS, Tier, tier
from moderation.joined import Joined
from moderation.moderator import Moderator, counts_everything
from moderation.policy import spell
from moderation.reading import SIGNALS, Reader, Reading
from moderation.ruleset import ALLOWED, RuleSet
from moderation.standing import Standing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from moderation.events import ChatEvent
    from moderation.rule import Count, Rule
    from moderation.scan import Text

#: How many rules that nearly matched are worth showing; and how many of those that a guard held back.
NEAREST: Final = 5
_BY: Final = {"sender": "同一人", "sender_text": "同一人同一句", "text": "同一句话", "handle": "同一联系方式"}
_DISTINCT: Final = {"message": "条", "sender": "个发言人", "recipient": "个收信人", "text": "句不同的话"}


class TermSeen(Struct, frozen=True):
    """A term of a lexicon class, and what stands for it in the raw text. `dropped` says why it does not count.

    `view` is how it was read: plain, squeezed, or one of moderation.alike.DISGUISES.
    """

    lexicon: str
    term: str
    text: str
    span: Span
    field: str
    view: str
    dropped: str = ""


class Score(Struct, frozen=True):
    """The points of a label, and from how many on a human looks or an action follows."""

    label: Label
    points: float
    review_at: int
    act_at: int

    @property
    def short(self) -> float:
        """Points short of the next threshold; 0 beyond both."""
        bar = self.review_at if self.points < self.review_at else self.act_at
        return round(max(0.0, bar - self.points), 1)


class Part(NamedTuple):
    """What adds to the points of a hit, or takes from them."""

    name: str
    points: int


class Missed(Struct, frozen=True):
    """A rule that did not hit: how many of its parts were there, and which were not, or what spared the message.

    `would` is the score of its label if it had hit, in force and together with what did.
    """

    rule: str
    had: int
    of: int
    would: Score
    missing: tuple[str, ...] = ()
    spared_by: str = ""


class Explanation(Struct, frozen=True):
    """All there is to say about one message, judged alone, by a sender without strikes.

    `scores`: that of the verdict's label first, then the highest. `parts`: of the weight of each hit, by its rule.
    `wary`: words are all there is against a player who is known not to be new.
    """

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
    parts: dict[str, tuple[Part, ...]]
    missed: tuple[Missed, ...]
    scores: tuple[Score, ...]
    judgement: Judgement
    why_human: str = ""
    suggested: tuple[str, ...] = ()
    wary: bool = False


def explain(rules: RuleSet, event: ChatEvent) -> Explanation:
    """Judge one event with fresh windows, and say everything about it."""
    moderator = Moderator(rules)
    [finding] = moderator.judge([event])
    [reading] = Reader(rules).read([event])
    strike = moderator.strike(finding, event.ts)
    first = Standing(1, event.ts, merged=False, label=strike.label, ladder=strike.ladder) if strike else None
    outcome = moderator.decide(finding, event.ts, first)
    folded = reading.texts["text"].folded
    return Explanation(
        text=event.text,
        folded=folded.text,
        squeezed=folded.squeezed.text,
        tokens=tuple(rules.segmenter.words(folded.text)),
        terms=tuple(_terms(rules, reading)),
        handles=finding.handles,
        signals=tuple(name for name in SIGNALS if reading.signal(name)),
        facts=tuple(name for name in FACTS if reading.fact(name)),
        tier=tier(event, rules.policy.bounds),
        hits=finding.hits,
        parts={hit.rule: tuple(_weighed(rules, rules.by_id[hit.rule], reading)) for hit in finding.hits},
        missed=tuple(_missed(rules, reading, finding.hits)),
        scores=tuple(_scores(rules, finding)),
        judgement=outcome.judgement,
        why_human=outcome.cases[0].why_human if outcome.cases else "",
        suggested=outcome.cases[0].suggested if outcome.cases else (),
        wary=decide.is_wary(rules.policy, event, finding.handles),
    )


def why_not(rules: RuleSet, rule: Rule, event: ChatEvent) -> Missed | None:
    """Tell how far a rule was from hitting an event, alone; None where nothing of what it looks for is there."""
    [finding] = Moderator(rules).judge([event])
    [reading] = Reader(rules).read([event])
    return _miss(rules, rule, reading, finding.hits)


def _scores(rules: RuleSet, finding: decide.Finding) -> list[Score]:
    wary = decide.is_wary(rules.policy, finding.event, finding.handles)
    scores = [_score(rules, label, points, wary=wary) for label, points in decide.scores(finding.hits).items()]
    return sorted(scores, key=lambda s: (s.label != finding.label, -s.points))


def _score(rules: RuleSet, label: Label, points: float, *, wary: bool) -> Score:
    bars = rules.policy.labels[label]
    return Score(label, points, bars.review, bars.bar(wary=wary))


# --- what was seen


def _terms(rules: RuleSet, reading: Reading) -> Iterator[TermSeen]:
    """Yield each term once per place, however many ways of reading show it; as it counts, if one does."""
    for field, text in reading.texts.items():
        seen: dict[tuple[str, str, Span], TermSeen] = {}
        for one in text.seen():
            span, term = one.view.span(one.start, one.end), one.term
            counted = {(f.start, f.end): f.view for f in text.terms(rules.bits[term.lexicon], reading.event.ts)}
            if counted.get(span, one.name) == one.name:  # else it was read in another way before
                known = span in counted or term.lexicon == ALLOWED
                why = "" if known else text.why_not(one, reading.event.ts)
                raw = text.folded.raw[slice(*span)]
                seen.setdefault(
                    (term.lexicon, term.text, span), TermSeen(term.lexicon, term.text, raw, span, field, one.name, why)
                )
        yield from seen.values()
        yield from _weak(rules, text)


def _weak(rules: RuleSet, text: Text) -> Iterator[TermSeen]:
    """Yield the likenesses that prove nothing alone: the scanner did not even note them."""
    noted = {(one.term.text, one.disguise) for one in text.seen()}
    for view in (text.folded.plain, *text.views):
        for spot in rules.alike.find(Joined([view.text])):
            for term in rules.disguised[spot.term][0]:
                if spot.weak and (term.text, spot.view) not in noted:
                    noted.add((term.text, spot.view))
                    span = view.span(spot.start, spot.end)
                    raw = text.folded.raw[slice(*span)]
                    yield TermSeen(term.lexicon, term.text, raw, span, text.field, spot.view, "单凭它太弱")


def _weighed(rules: RuleSet, rule: Rule, reading: Reading) -> Iterator[Part]:
    """Yield what makes the weight of a hit; what it is beyond 0 and 100 is cut off."""
    yield Part("基础", rule.score)
    for boost in rule.boosts:
        held = _held(boost.condition, reading)
        if held:
            yield Part(held, boost.add)
    prices = rules.policy.disguises
    places = reading.find(rule.when) if rule.when else ()
    views = {leaf.view for leaf in places[0].leaves()} & prices.keys() if places else set[str]()
    if views:
        dearest = max(sorted(views), key=prices.__getitem__)
        yield Part(f"读法 {dearest}", -prices[dearest])


# --- what was not found


def _missed(rules: RuleSet, reading: Reading, hits: Sequence[Hit]) -> list[Missed]:
    """Return the rules that came nearest: those that a guard held back, then those that lack the fewest parts."""
    hit = {one.rule for one in hits}
    rows = [row for rule in rules.rules if rule.id not in hit and (row := _miss(rules, rule, reading, hits))]
    rows.sort(key=lambda row: (len(row.missing), -row.had, -row.would.points))
    spared = [row for row in rows if row.spared_by]
    return [*spared[:NEAREST], *[row for row in rows if row.missing][:NEAREST]]


def _miss(rules: RuleSet, rule: Rule, reading: Reading, hits: Sequence[Hit]) -> Missed | None:
    """Tell how far a rule was from hitting; None where none of the words it looks for is there."""
    if counts_everything(rule):
        return None
    parts = list(_parts(rule))
    absent = [part for part in parts if not reading.find(part)]
    if all(isinstance(part, Context | NoneOf) for part in parts if part not in absent):
        return None
    unmet = () if absent else tuple(_unmet(rule, reading))
    missing = (*map(_name, absent), *unmet)
    weight = min(100, max(0, sum(part.points for part in _weighed(rules, rule, reading))))
    one = Hit(rule.id, rule.revision, rule.label, weight, "")
    wary = decide.is_wary(rules.policy, reading.event, reading.handles)
    would = _score(rules, rule.label, decide.scores((*hits, one))[rule.label], wary=wary)
    spared = "" if missing else next(filter(None, (_held(guard, reading) for guard in rule.unless)), "")
    return Missed(rule.id, len(parts) - len(absent), len(parts) + len(unmet), would, missing, spared)


def _parts(rule: Rule) -> Iterator[Condition]:
    if rule.when is not None:
        yield from rule.when.parts if isinstance(rule.when, AllOf) else (rule.when,)
    yield from rule.context


def _unmet(rule: Rule, reading: Reading) -> Iterator[str]:
    """Yield what a rule lacks although all its parts are there."""
    if not rule.in_force(reading.event):
        yield "未到开始日、已到期，或不在灰度范围"
    if isinstance(rule.when, AllOf) and rule.when.within is not None:
        [hull] = reading.find(msgspec.structs.replace(rule.when, within=None))
        if reading.wider(hull, rule.when.within):
            letters = reading.texts[hull.field].folded.letters(hull.start, hull.end)
            yield f"挨近：相距 {letters} 字，要在 {rule.when.within} 字以内"
    if rule.count and rule.count.at_least > 1:
        yield _times(rule.count)


def _times(count: Count) -> str:
    return f"次数：{spell(count.within_s)}内{_BY[count.by]} {count.at_least} {_DISTINCT[count.distinct]}"


def _held(condition: Condition, reading: Reading) -> str:
    """Name a condition that holds, with the words by which it does; empty where it does not."""
    found = reading.find(condition)
    if not found:
        return ""
    said = dict.fromkeys(leaf.text for leaf in found[0].leaves() if leaf.text)
    name = f"词库 {found[0].name}" if isinstance(condition, Lexicon) else _name(condition, short=bool(said))
    return name + "".join(f"「{word}」" for word in said)


def _name(condition: Condition, *, short: bool = False) -> str:
    """Name a condition the way a moderator wrote it; `short`: the kind only, where the words found say the rest."""
    kind = type(condition).__name__
    named = {"Context": "情境", "Guard": "护栏", "Signal": "信号"}.get(kind)
    if named:
        return f"{named} {getattr(condition, 'name', '')}"
    fields: Sequence[str] = getattr(condition, "fields", TEXT)
    where = "" if "text" in fields else f"（在 {'、'.join(fields)}）"
    return f"{_KIND[kind]}{'' if short else _rest(condition)}{where}"


_KIND: Final = {
    "Lexicon": "词库", "HandleOf": "联系方式", "Pattern": "正则", "AllOf": "同时", "AnyOf": "任一", "NoneOf": "没有",
}  # fmt: skip


def _rest(condition: Condition) -> str:
    """Say what a condition that has no name of its own asks for."""
    match condition:
        case Lexicon(names=names) | HandleOf(types=names):
            return " " * bool(names) + "、".join(sorted(names))
        case Pattern(regex=regex):
            return f" {regex:.24}"
        case _:
            return " " + "、".join(_name(part) for part in getattr(condition, "parts", ()))
