"""How much each disguise hides, and how much innocent chat is taken for abuse: Qingliu beside two keyword filters.

    Qingliu          the shipped rules: found is review or act, act is what would be punished without a person
    NFKC filter      NFKC, no format characters or marks, then our own terms of offers and contacts as substrings, and
                     any number of 7 to 11 digits
    plain filter     the same keywords on the text as typed

All see the same generated lines. An offence is sent by a new account (level 5, two days old) in world chat, innocent
chat by ordinary ones (level 50, VIP 1, 200 days); nothing is remembered from line to line. "bare" is the share found
of the lines without a handle that are found when said plainly: a handle in sight gives away words however well hidden.
"label" is the share found as what it is among those found, "handle" the share of handles read out right.

    python bench/detection.py [--lines 100] [--seed 1] [--json | --markdown]
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import unicodedata
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
from msgspec import Struct
from msgspec.structs import asdict
from rich import box
from rich.console import Console
from rich.table import Table

ROOT: Final = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # a script sees its own directory, not the one above

from bench.disguises import TECHNIQUES, Disguised, Technique  # noqa: E402 - needs the path above
from bench.traps import Innocent, Trap, innocents, traps  # noqa: E402 - the same
from bench.wording import Plain, chance, plains  # noqa: E402 - the same
from moderation.events import ChatEvent, Sender  # noqa: E402 - the same
from moderation.moderator import Moderator  # noqa: E402 - the same
from streams.rules import load_rules  # noqa: E402 - the same

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from moderation.ruleset import RuleSet

TS: Final = 1_790_000_000_000
#: Of so many plain lines without one that a technique could hide, it can hide none.
PATIENCE: Final = 10_000
#: The terms a keyword filter would be given: what is offered, and how to get in touch.
CLASSES: Final = frozenset(
    {
        "rmt_offer", "rmt_short", "rmt_disguised", "topup_offer", "topup_disguised", "boost_offer", "boost_disguised",
        "private_server", "cheat", "cheat_sale", "job", "grey_goods", "contact_word", "contact_disguised", "lure",
        "organise", "insider", "code_request", "money_back", "service_fraud", "gamble_hard",
        "porn_hard",
    }
)  # fmt: skip
_NUMBER: Final = re.compile(r"\d{7,11}")


class Verdict(NamedTuple):
    """Whether a scene was found, whether somebody was punished for it, as what, and the handles read in it."""

    found: bool
    act: bool
    labels: frozenset[str]
    handles: frozenset[str]


class Row(Struct, frozen=True):
    """Shares of the lines of one technique or trap; what innocent chat has no share of is None."""

    name: str
    lines: int
    found: float
    act: float
    bare: float | None
    label: float | None
    handle: float | None
    nfkc: float
    plain: float


class Sample(NamedTuple):
    """A plain offence, what became of it in disguise, and what Qingliu made of both."""

    plain: Plain
    disguised: Disguised
    verdict: Verdict
    undisguised: Verdict


class Keywords:
    """A filter that looks for words in whatever it is given."""

    def __init__(self, words: Iterator[str]) -> None:
        self._words = re.compile("|".join(sorted(map(re.escape, {word.lower() for word in words}), reverse=True)))

    def plain(self, text: str) -> bool:
        """Look in the text as typed."""
        return bool(self._words.search(text.lower()) or _NUMBER.search(text))

    def nfkc(self, text: str) -> bool:
        """Look in the text after NFKC, without format characters and marks."""
        text = unicodedata.normalize("NFKC", text)
        return self.plain("".join(c for c in text if unicodedata.category(c) not in ("Cf", "Mn", "Me")))


def keywords(rules: RuleSet) -> Keywords:
    """Make a keyword filter of the terms in the shipped lexicons of offers and contacts."""
    return Keywords(term.text for terms in rules.terms for term in terms if term.lexicon in CLASSES)


def verdict(rules: RuleSet, events: Sequence[ChatEvent]) -> Verdict:
    """Judge a scene by Qingliu; the only place that knows how."""
    findings = Moderator(rules).judge(list(events))
    caught = [finding for finding in findings if finding.verdict != "allow"]
    return Verdict(
        bool(caught),
        any(finding.verdict == "act" for finding in caught),
        frozenset(finding.label for finding in caught if finding.label),
        frozenset(handle.value for finding in findings for handle in finding.handles),
    )


def offence(disguised: Disguised) -> list[ChatEvent]:
    """Return the events of an offence: a new account in world chat, messages two seconds apart."""
    sender = Sender(
        "newcomer", name=disguised.name or "小小新人", level=5, vip=0, account_age_days=2.0,
        guild_id="g9" if disguised.guild else None, guild=disguised.guild, signature=disguised.signature,
    )  # fmt: skip
    return [ChatEvent(f"e{n}", TS + n * 2000, "s1", "world", sender, text) for n, text in enumerate(disguised.messages)]


def scene(innocent: Innocent) -> list[ChatEvent]:
    """Return the events of innocent chat: ordinary accounts, all of one guild."""
    return [
        ChatEvent(
            f"e{n}", TS + after, "s1", innocent.channel,
            Sender(f"u{speaker}", name="路人", level=50, vip=1, account_age_days=200.0, guild_id="g1", guild="青云"),
            innocent.text, client_msg_id=f"{speaker}-{message}",
        )
        for n, (speaker, after, message) in enumerate(innocent.remarks)
    ]  # fmt: skip


def hidden(technique: Technique, seed: int, lines: int) -> Iterator[tuple[Plain, Disguised]]:
    """Yield the first `lines` plain offences that a technique can hide, with their disguise."""
    found = 0
    for n, plain in enumerate(islice(plains(seed), PATIENCE)):
        disguised = technique.hide(plain, chance(seed, technique.number, n))
        if disguised:
            yield plain, disguised
            found += 1
        if found == lines:
            return
    raise ValueError(f"{technique.name} hides only {found} of {PATIENCE} lines")


def samples(rules: RuleSet, technique: Technique, seed: int, lines: int) -> list[Sample]:
    """Judge the lines of one technique, as disguised and as plain."""
    return [
        Sample(plain, disguised, verdict(rules, offence(disguised)), verdict(rules, offence(Disguised((plain.text,)))))
        for plain, disguised in hidden(technique, seed, lines)
    ]


def share(marks: Sequence[bool]) -> float:
    """Return the share that is true."""
    return sum(marks) / len(marks) if marks else 0.0


def technique_row(rules: RuleSet, filters: Keywords, technique: Technique, seed: int, lines: int) -> Row:
    """Measure one technique."""
    seen = samples(rules, technique, seed, lines)
    bare = [one.verdict.found for one in seen if not one.plain.handle and one.undisguised.found]
    return Row(
        f"{technique.number} {technique.name}",
        len(seen),
        share([one.verdict.found for one in seen]),
        share([one.verdict.act for one in seen]),
        share(bare) if bare else None,
        share([one.plain.label in one.verdict.labels for one in seen if one.verdict.found]),
        share([one.plain.handle.lower() in one.verdict.handles for one in seen if one.plain.handle]),
        share([_any(filters.nfkc, one.disguised) for one in seen]),
        share([_any(filters.plain, one.disguised) for one in seen]),
    )


def _any(hits: Callable[[str], bool], disguised: Disguised) -> bool:
    fields = (*disguised.messages, disguised.name, disguised.guild, disguised.signature)
    return any(hits(text) for text in fields if text)


def trap_row(rules: RuleSet, filters: Keywords, trap: Trap, seed: int, lines: int) -> Row:
    """Measure one trap."""
    seen = list(islice(innocents(trap, seed), lines))
    verdicts = [verdict(rules, scene(one)) for one in seen]
    return Row(
        trap.name,
        len(seen),
        share([one.found for one in verdicts]),
        share([one.act for one in verdicts]),
        None,
        None,
        None,
        share([filters.nfkc(one.text) for one in seen]),
        share([filters.plain(one.text) for one in seen]),
    )


def mean(rows: Sequence[Row]) -> Row:
    """Return the mean over rows, each counting the same."""

    def of(name: str) -> float | None:
        values = [value for row in rows if (value := getattr(row, name)) is not None]
        return sum(values) / len(values) if values else None

    figures = {name: of(name) for name in Row.__struct_fields__ if name not in ("name", "lines")}
    return msgspec.convert({"name": "mean", "lines": sum(row.lines for row in rows), **figures}, Row)


#: The columns for people, and what they are of a row.
HEADS: Final = {
    "found": "found", "act": "act", "bare": "bare", "label": "label", "handle": "handle",
    "NFKC filter": "nfkc", "plain filter": "plain",
}  # fmt: skip


def cells(rows: Sequence[Row]) -> list[list[str]]:
    """Return the table for people, heads first: per cent, without the columns that say nothing of these rows."""
    told = {head: name for head, name in HEADS.items() if any(getattr(row, name) is not None for row in rows)}
    return [["", *told], *([row.name, *(_percent(getattr(row, name)) for name in told.values())] for row in rows)]


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def for_terminal(title: str, rows: Sequence[Row]) -> Table:
    """Return a table for the terminal; its last row is the mean."""
    heads, *lines, last = cells(rows)
    table = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for n, head in enumerate(heads):
        table.add_column(head, justify="right" if n else "left", no_wrap=not n)
    for line in lines:
        table.add_row(*line, end_section=line is lines[-1])
    table.add_row(*last)
    return table


def for_documents(title: str, rows: Sequence[Row]) -> str:
    """Return a Markdown table; its last row is the mean."""
    heads, *lines = cells(rows)
    return "\n".join(f"| {' | '.join(line)} |" for line in ([title, *heads[1:]], ["---"] * len(heads), *lines))


def main() -> None:
    """Measure, and print the tables; the last line is one JSON object with --json."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--lines", type=int, default=100, help="of each technique and trap")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="only the JSON line")
    parser.add_argument("--markdown", action="store_true", help="tables for documents")
    args = parser.parse_args()
    rules = load_rules([ROOT / "rules"])
    filters = keywords(rules)
    hiding = [technique_row(rules, filters, one, args.seed, args.lines) for one in TECHNIQUES]
    innocent = [trap_row(rules, filters, one, args.seed, args.lines) for one in traps()]
    hiding.append(mean(hiding))
    innocent.append(mean(innocent))
    if args.json:
        made = {"techniques": [asdict(row) for row in hiding], "traps": [asdict(row) for row in innocent]}
        print(json.dumps({"lines": args.lines, "seed": args.seed, "rules": rules.hash, **made}))
        return
    for title, rows in (("offences found in disguise", hiding), ("innocent chat taken for an offence", innocent)):
        if args.markdown:
            print(for_documents(title, rows), end="\n\n")
        else:
            Console().print(for_terminal(title, rows))


if __name__ == "__main__":
    main()
