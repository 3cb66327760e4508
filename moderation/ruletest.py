"""Runs the tests that stand in rule files: every rule alone, with fresh windows, under the whole rule set."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from moderation.moderator import Moderator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moderation.decide import Finding
    from moderation.rule import Example, Rule
    from moderation.ruleset import RuleSet


class Failure(NamedTuple):
    """A test that does not hold: `wanted` hit or pass; `finding` is what the last message gave."""

    rule: Rule
    example: Example
    wanted: str
    finding: Finding

    def __str__(self) -> str:
        last = self.example.events[-1]
        hits = "、".join(h.rule for h in self.finding.hits) or "无"
        what = "应命中却没有" if self.wanted == "hit" else "不该命中却命中"
        return f"{self.example.file}:{self.example.line} 规则 {self.rule.id} {what}：「{last.text}」（命中：{hits}）"


def failures(rules: RuleSet) -> Iterator[Failure]:
    """Yield every failing test of the rules in force; drafts and rules that are off are not tested."""
    for rule in rules.rules:
        for wanted, examples in (("hit", rule.hits), ("pass", rule.passes)):
            for example in examples:
                findings = _play(rules, example)
                hit = [rule.id in {h.rule for h in f.hits} for f in findings]
                if (not hit[-1]) if wanted == "hit" else any(hit):
                    yield Failure(rule, example, wanted, findings[-1])


def _play(rules: RuleSet, example: Example) -> list[Finding]:
    return Moderator(rules).judge(example.events)
