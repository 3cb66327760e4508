"""`qingliu rules test`: runs the tests that stand in rule files; of one that does not hold, why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from console import words
from console.show import explanation, printer, visible
from console.words import say
from moderation.explain import explain, why_not
from moderation.rulefile import read
from moderation.ruletest import trials, under_test
from streams.rules import read_layer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from moderation.decide import Finding
    from moderation.explain import Missed
    from moderation.ruleset import RuleSet
    from moderation.ruletest import Trial

#: How many failures are explained in full; of the others it is said in a line.
MOST_EXPLAINED: Final = 3


class Outcome(NamedTuple):
    """What the tests gave; `skipped` rules are off."""

    rules: RuleSet
    tests: int
    failed: tuple[Trial, ...]
    skipped: int


def run(directories: Sequence[Path], only: Iterable[str] = (), *, progress: bool) -> Outcome:
    """Run the tests of the rules in directories, or of those named.

    Raises RuleSetRejected, and KeyError for a rule that is not there.
    """
    rules = under_test(read([read_layer(directory) for directory in directories]))
    chosen = [rules.by_id[name] for name in only] or list(rules.rules)
    total = sum(len(rule.hits) + len(rule.passes) for rule in chosen if rule.status != "off")
    bar = Progress(
        TextColumn(say("测试", "tests")), BarColumn(), MofNCompleteColumn(), console=printer(stderr=True),
        disable=not progress, transient=True,
    )  # fmt: skip
    failed, ids = [], {rule.id for rule in chosen}
    with bar:
        done = bar.add_task("", total=total)
        for trial in trials(rules, ids):
            bar.advance(done)
            if not trial.holds:
                failed.append(trial)
    return Outcome(rules, total, tuple(failed), sum(rule.status == "off" for rule in rules.contents.rules))


# --- for people


def report(outcome: Outcome) -> Iterator[RenderableType]:
    """Yield what failed: the place as a line of text, then the messages, and why."""
    for number, trial in enumerate(outcome.failed):
        yield _headline(trial)
        missed = _missed(outcome.rules, trial)
        yield _beside(_messages(trial))
        yield _beside(_reason(trial, missed))
        if number < MOST_EXPLAINED:
            yield _beside(_why(outcome.rules, trial, missed))


def _beside(part: RenderableType) -> Padding:
    return Padding(part, (0, 0, 0, 2), expand=False)


def _missed(rules: RuleSet, trial: Trial) -> Missed | None:
    return why_not(rules, trial.rule, _wrong(trial).event) if trial.wanted == "hit" else None


def _reason(trial: Trial, missed: Missed | None) -> Text:
    """Say in a line why it came so."""
    if trial.wanted == "pass":
        because = next(hit.because for hit in _wrong(trial).hits if hit.rule == trial.rule.id)
        why = say(f"命中的理由：{because}", f"because it said: {because}")
    elif missed is None:
        why = say("规则要找的词，这句话里一个也没有", "none of what the rule looks for is in the message")
    elif missed.spared_by:
        why = say(f"被放过了：{missed.spared_by}", f"spared by {missed.spared_by}")
    else:
        why = say(f"还缺：{'；'.join(missed.missing)}", f"missing: {'；'.join(missed.missing)}")
    return Text(f"→ {visible(why)}", "yellow")


def _headline(trial: Trial) -> Text:
    what = (
        say("应命中，却没有命中", "should hit, and does not")
        if trial.wanted == "hit"
        else say("不该命中，却命中了", "should pass, and is hit")
    )
    place = f"{visible(trial.rule.file)}:{trial.example.line}"
    return Text.assemble(("✗ ", "bold red"), (place, "bold"), f" {trial.rule.id} ", (what, "red"))


def _messages(trial: Trial) -> Group:
    """Show each message: when, by whom, where; and the rules it hit."""
    start = trial.findings[0].event.ts
    return Group(*(_message(trial, finding, start) for finding in trial.findings))


def _message(trial: Trial, finding: Finding, start: int) -> Text:
    event = finding.event
    when = f"{(event.ts - start) / 1000:+g}s " if len(trial.findings) > 1 else ""
    who = "" if event.sender.account_id == "tester" else f"{visible(event.sender.account_id)} "
    said = Text.assemble((f"{when}{who}{words.CHANNELS[event.channel]} ", "dim"), f"「{visible(event.text)}」")
    for hit in finding.hits:
        said.append(f" {hit.rule}", "bold red" if hit.rule == trial.rule.id else "yellow")
    return said


def _why(rules: RuleSet, trial: Trial, missed: Missed | None) -> Group:
    """Explain the message that came out wrong, and of the rules that did not hit only the one that is tested."""
    event = _wrong(trial).event
    found = msgspec.structs.replace(explain(rules, event), missed=(missed,) if missed else ())
    parts: list[RenderableType] = [explanation(found, event)]
    if len(trial.findings) > 1:
        parts.insert(0, Text(say("只看这一条时：", "that message alone:"), "dim"))
    return Group(*parts)


def _wrong(trial: Trial) -> Finding:
    """Return the message that was to hit, or the first that was not to be hit."""
    hit = (finding for finding in trial.findings if any(h.rule == trial.rule.id for h in finding.hits))
    return trial.findings[-1] if trial.wanted == "hit" else next(hit)


def summary(outcome: Outcome) -> Text:
    """Say in a line how many hold."""
    off = say(f"，{outcome.skipped} 条停用的没测", f"; {outcome.skipped} rules are off") if outcome.skipped else ""
    if outcome.failed:
        said = say(
            f"✗ {outcome.tests} 个例子里有 {len(outcome.failed)} 个不对{off}",
            f"✗ {len(outcome.failed)} of {outcome.tests} tests fail{off}",
        )
        return Text(said, "bold red")
    return Text(say(f"✓ {outcome.tests} 个例子都对{off}", f"✓ all {outcome.tests} tests hold{off}"), "green")


# --- for programs


def as_json(outcome: Outcome) -> dict[str, Any]:
    """Return the outcome as one JSON object."""
    failed = [_row(outcome.rules, trial) for trial in outcome.failed]
    return {"tests": outcome.tests, "failed": failed, "rules_off": outcome.skipped, "ruleset": outcome.rules.hash}


def _row(rules: RuleSet, trial: Trial) -> dict[str, Any]:
    finding = _wrong(trial)
    missed = _missed(rules, trial)
    return {
        "file": trial.rule.file, "line": trial.example.line, "rule": trial.rule.id, "wanted": trial.wanted,
        "texts": [one.event.text for one in trial.findings], "hits": [hit.rule for hit in finding.hits],
        "missing": list(missed.missing) if missed else [], "spared_by": missed.spared_by if missed else "",
    }  # fmt: skip
