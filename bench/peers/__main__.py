"""How fast word filters that people use are beside our engine, and what they see of disguises.

    python -m bench.peers [--messages 20000] [--seconds 2] [--rounds 3] [--json]

Speed is measured on generated chat, one line in twenty of it abuse, with all words of the shipped lexicons; `hits` is
how many of these lines have one. What a matcher is worth depends on its words, so what it sees is measured with those
of offers and contacts alone, as in bench.detection: on offences whose words are hidden in the text, and on innocent
lines, all written by hand by authors who saw no rules (sets that rules were not made for). Each line is judged by
itself, by its text: no names, no guilds, no split messages. Messages a second are by processor time of one process,
the median of rounds in which everyone has a turn: compare the ratios, not the figures.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any, Final

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

from bench.cases import Case, read
from bench.detection import CLASSES
from bench.lines import mix
from bench.part import RULES
from bench.peers import ENGINE, ENTRANTS, JIEBA, Peer, listed, measure
from moderation.fold import fold
from streams.rules import load_rules

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moderation.ruleset import RuleSet

#: Sets of cases that rules were not made for.
SETS: Final = ("unseen", "fourth", "fifth")
#: Techniques that hide no word of the text: said plainly or in other words, or hidden in a name.
PLAIN: Final = frozenset(
    {
        "plain_none", "poaching_variety", "ad_variety", "scam_variety", "implicit_no_handle", "vip_sender",
        "abuse_hook", "fake_system_official", "fake_quote", "benign_padding", "platform_redirect", "slang_code",
        "shortlink_code", "mass_exodus_no_keyword", "flood_longchars", "flood_blank_lines", "name_carrier",
        "guild_name_carrier",
    }
)  # fmt: skip
#: For counting hits one pass is enough.
ONE_PASS_S: Final = 0.01


def generated(messages: int) -> list[str]:
    """Return lines of the mix that the stream is measured with."""
    return [event.text for event in mix(messages)]


def known(kind: str) -> list[Case]:
    """Return the cases of one kind, those left out that people do not agree on."""
    return [case for name in SETS for case in read(name, kind) if not case["grey"]]


def disguised() -> list[str]:
    """Return the texts of offences whose words are hidden."""
    return [case["text"] for case in known("cases_positive") if case["technique"] not in PLAIN]


def innocent() -> list[str]:
    """Return the texts of innocent lines, many of which look like offences."""
    return [case["text"] for case in known("cases_negative")]


def offers(rules: RuleSet) -> list[str]:
    """Return the words of offers and contacts, folded."""
    return sorted({fold(term.text).text.strip() for term in rules.contents.terms if term.lexicon in CLASSES} - {""})


def tell(line: str) -> None:
    """Say what is going on."""
    print(line, file=sys.stderr, flush=True)


def middle(runs: Sequence[Peer]) -> Peer:
    """Return the run of a peer with the median speed; of runs that were all skipped, the first."""
    ran = [peer for peer in runs if peer.messages_per_s is not None]
    return sorted(ran, key=lambda peer: peer.messages_per_s or 0.0)[len(ran) // 2] if ran else runs[0]


def report(messages: int, seconds: float, rounds: int) -> dict[str, Any]:
    """Measure, and return everything."""
    rules = load_rules([RULES])
    words, clues, hidden, clean = listed(rules), offers(rules), disguised(), innocent()
    chat = generated(messages)
    runs = list(zip(*(measure(chat, words, seconds, tell=tell) for _ in range(rounds)), strict=True))
    peers = [middle(one) for one in runs]
    present = [entrant for entrant, peer in zip(ENTRANTS, peers, strict=True) if peer.found is not None]
    tell("what they see of disguises, and what they take for abuse")
    saw, took = (
        {p.name: p.found for p in measure(texts, clues, ONE_PASS_S, entrants=present)} for texts in (hidden, clean)
    )
    return {
        "messages": messages,
        "words": len(words),
        "offer_words": len(clues),
        "disguised": len(hidden),
        "innocent": len(clean),
        "peers": [
            msgspec.to_builtins(peer)
            | {"disguised_found": saw.get(peer.name), "innocent_found": took.get(peer.name)}
            | {"rounds": [each.messages_per_s for each in every]}
            for peer, every in zip(peers, runs, strict=True)
        ],
        "ratios": ratios(peers),
    }


def ratios(peers: Sequence[Peer]) -> dict[str, float]:
    """Return how many times as fast as each of the others the engine is."""
    rates = {peer.name: peer.messages_per_s for peer in peers if peer.messages_per_s}
    ours = rates.pop(ENGINE, None)
    named = {name: "jieba_every_message" if name == JIEBA else name.replace("-", "_") for name in rates}
    return {f"engine_vs_{named[name]}": ours / rate for name, rate in rates.items()} if ours else {}


def table(told: dict[str, Any]) -> Table:
    """Return the figures for people."""
    shown = Table(box=box.SIMPLE, pad_edge=False)
    shown.add_column("", no_wrap=True)
    shown.add_column("language")
    for column in ("messages/s", "hits", "disguised", "innocent"):
        shown.add_column(column, justify="right")
    for peer in told["peers"]:
        counts = (peer[key] for key in ("messages_per_s", "found", "disguised_found", "innocent_found"))
        shown.add_row(peer["name"], peer["language"], *("-" if n is None else f"{n:,.0f}" for n in counts))
    shown.add_row("of", "", "", *(f"{told[of]:,}" for of in ("messages", "disguised", "innocent")))
    return shown


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench.peers", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=2.0, help="of processor time for each, after as many warm")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="only the JSON line")
    args = parser.parse_args()
    if min(args.messages, args.rounds) < 1 or args.seconds <= 0:
        parser.error("there must be a message to filter, and time for it")
    told = report(args.messages, args.seconds, args.rounds)
    if not args.json:
        screen = Console()
        screen.print(table(told))
        for peer in told["peers"]:
            screen.print(f"{peer['name']} {peer['version']}: {peer['note']}", markup=False, highlight=False)
    print(json.dumps(told, ensure_ascii=False))


if __name__ == "__main__":
    main()
