"""Runs the tests that stand in rule files: every rule alone, with fresh windows, under the whole rule set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec

from moderation.moderator import Moderator
from moderation.ruleset import Contents, RuleSet

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from moderation.decide import Finding
    from moderation.events import ChatEvent
    from moderation.rule import Example, Rule


class Trial(NamedTuple):
    """A test that was run: whether the last message was to `hit`, or all to `pass`; what each message gave."""

    rule: Rule
    example: Example
    wanted: Literal["hit", "pass"]
    findings: tuple[Finding, ...]

    @property
    def holds(self) -> bool:
        """Tell whether it came as it should."""
        hit = [self.rule.id in {h.rule for h in finding.hits} for finding in self.findings]
        return hit[-1] if self.wanted == "hit" else not any(hit)

    def __str__(self) -> str:
        last = self.findings[-1]
        hits = "、".join(h.rule for h in last.hits) or "无"
        what = "应命中却没有" if self.wanted == "hit" else "不该命中却命中"
        where = f"{self.example.file}:{self.example.line}"
        return f"{where} 规则 {self.rule.id} {what}：「{last.event.text}」（命中：{hits}）"


def under_test(contents: Contents) -> RuleSet:
    """Compile a rule set in which drafts are watched, too: who writes one wants to know whether it holds."""
    watched = [msgspec.structs.replace(r, status="shadow") if r.status == "draft" else r for r in contents.rules]
    return RuleSet(msgspec.structs.replace(contents, rules=tuple(watched)))


def trials(rules: RuleSet, only: Collection[str] = ()) -> Iterator[Trial]:
    """Run every test of the rules that are not off, or of those with these ids."""
    for rule in rules.rules:
        if only and rule.id not in only:
            continue
        for example in rule.hits:
            yield _run(rules, rule, example, "hit")
        for example in rule.passes:
            yield _run(rules, rule, example, "pass")


def failures(rules: RuleSet) -> Iterator[Trial]:
    """Yield every test that does not hold."""
    return (trial for trial in trials(rules) if not trial.holds)


def _run(rules: RuleSet, rule: Rule, example: Example, wanted: Literal["hit", "pass"]) -> Trial:
    return Trial(rule, example, wanted, tuple(Moderator(rules).judge(_in_time(rule, example))))


def _in_time(rule: Rule, example: Example) -> list[ChatEvent]:
    """Return the messages; those of a rule that starts later are said when it does."""
    late = max(0, (rule.starts_ms or 0) - example.events[0].ts)
    return [msgspec.structs.replace(event, ts=event.ts + late) for event in example.events]
