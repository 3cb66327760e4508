"""Recall and false hits on cases written by hand, by authors who saw neither rules nor engine.

    python bench/cases.py [--rules DIR …] [--json] [SET …]

All but the first were measured before anybody who writes rules had looked at them; all but `unseen` and `thirteenth`
have been looked at since, and rules were made more general for it. What sets gave when first measured is in the README
and in docs/detection.md; of the sixteenth, seventeenth and twenty-fifth most lines are innocent.
Every case is a server, an account and an hour of its own; a sequence keeps its accounts and times. A case counts as
found if it is acted on or put before a human.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any, Final

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

from console.judge import Judge
from moderation.actions import Judgement
from moderation.moderator import Moderator
from moderation.rulefile import load
from streams.rules import read_layer

HERE: Final = Path(__file__).parent / "data" / "cases"
RULES: Final = Path(__file__).parent.parent / "rules"
SETS: Final = (
    "first", "second", "third", "unseen", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh",
    "twelfth", "thirteenth", "fourteenth", "fifteenth", "sixteenth", "seventeenth", "eighteenth", "nineteenth",
    "twentieth", "twentyfirst", "twentysecond", "twentythird", "twentyfourth", "twentyfifth", "twentysixth",
    "twentyseventh", "twentyeighth", "twentyninth",
)  # fmt: skip
#: Of the table: in less no figure is whole.
WIDTH: Final = 125
_HOUR_MS: Final = 3_600_000
Case = dict[str, Any]
_CARRIED: Final = ("name", "level", "vip", "account_age_days")


def read(name: str, kind: str) -> list[Case]:
    """Return the cases of one kind of a set."""
    return [json.loads(line) for line in (HERE / name / f"{kind}.jsonl").read_text("utf-8").splitlines() if line]


def _sender(account: str, said: Case, **more: Any) -> Case:
    guild = said.get("guild")
    known = {k: said[k] for k in _CARRIED if said.get(k) is not None}
    more = {k: v for k, v in more.items() if v is not None}
    return {"account_id": account, **known, **more} | ({"guild": guild, "guild_id": f"g_{guild}"} if guild else {})


def event(case: Case, number: int) -> Case:
    """Return the chat event of a single case."""
    channel = case.get("channel", "world")
    return {
        "event_id": case["id"],
        "ts": 1_700_000_000_000 + number * 3 * _HOUR_MS,
        "server_id": f"s_{case['id']}",
        "channel": channel,
        "text": case["text"],
        "sender": _sender(f"a_{case['id']}", case.get("sender") or {"name": case.get("name")}),
    } | ({"recipient": {"account_id": f"r_{case['id']}"}} if channel == "private" else {})


def message(said: Case) -> Case:
    """Return the chat event of one message of a sequence."""
    out = {k: said[k] for k in ("event_id", "ts", "server_id", "channel", "text")}
    out["sender"] = _sender(said["sender_id"], said["sender"], device_id=said.get("device_id"), ip=said.get("ip"))
    if said.get("recipient_id"):
        known = {k: v for k in ("level", "vip") if (v := (said.get("recipient") or {}).get(k)) is not None}
        out["recipient"] = {"account_id": said["recipient_id"], **known}
    if (said.get("context") or {}).get("client_preset"):
        out["text_type"] = "preset"
    return out


def judged(name: str, rules: list[Path]) -> dict[str, Judgement]:
    """Judge a whole set, in order of time, as `qingliu judge` does, with the set's own official contacts."""
    cases = [case for kind in ("cases_positive", "cases_negative", "handles") for case in read(name, kind)]
    events = [event(case, number) for number, case in enumerate(cases)]
    events += sorted((message(m) for s in read(name, "sequences") for m in s["messages"]), key=lambda e: e["ts"])
    official = json.loads((HERE / name / "allowlist.json").read_text("utf-8"))["official_contacts"]
    site = {"allowlist.yaml": json.dumps({"official_contacts": official}).encode()}
    judge = Judge(Moderator(load([*map(read_layer, rules), site])))
    batch = asyncio.run(judge.batch([msgspec.json.encode(one) for one in events]))
    return {j.event_id: j for j in map(msgspec.json.Decoder(Judgement).decode, batch.output.splitlines())}


def singles(name: str, said: dict[str, Judgement]) -> dict[str, float]:
    """Return recall of positives by tier and of poaching, and what happens to innocent lines."""
    tiers: dict[str, list[str]] = json.loads((HERE / "tiers.json").read_text("utf-8"))
    tier = {technique: key[0] for key, techniques in tiers.items() for technique in techniques}
    seen, found = Counter[str](), Counter[str]()
    for case in (case for case in read(name, "cases_positive") if not case["grey"]):
        for group in ("all", tier[case["technique"]], case["label"]):
            seen[group] += 1
            found[group] += said[case["id"]].verdict != "allow"
    innocent = [said[case["id"]].verdict for case in read(name, "cases_negative") if not case["grey"]]
    recall = {
        f"recall_{group}": found[group] / seen[group] for group in ("all", "A", "B", "C", "poaching") if seen[group]
    }
    return recall | {
        "false_act": innocent.count("act") / len(innocent),
        "false_review": innocent.count("review") / len(innocent),
    }


def sequences(name: str, said: dict[str, Judgement]) -> dict[str, float]:
    """Return the share of sequences with every culprit acted on or reviewed, and of innocent ones punished."""
    all_caught, punished, bystanders = [], [], 0
    for sequence in read(name, "sequences"):
        acted = {a.target.account_id for m in sequence["messages"] for a in said[m["event_id"]].actions}
        asked = {m["sender_id"] for m in sequence["messages"] if said[m["event_id"]].verdict == "review"}
        if sequence["should_act"]:
            all_caught.append(set(sequence["act_on"]) <= acted | asked)
            bystanders += bool(acted - set(sequence["act_on"]))
        else:
            punished.append(bool(acted))
    return {
        "sequences": sum(all_caught) / len(all_caught),
        "sequences_punished": sum(punished) / max(1, len(punished)),
        "bystanders": float(bystanders),
    }


def handles(name: str, said: dict[str, Judgement]) -> dict[str, float]:
    """Return precision and recall of canonical handles."""
    right = wrong = missed = 0
    cases = [case for case in read(name, "cases_positive") if case.get("handles") and not case["grey"]]
    for case in read(name, "handles") + cases:
        want = {handle["value"].lower() for handle in case.get("handles", ())}
        got = {handle.value.lower() for handle in said[case["id"]].handles}
        right, wrong, missed = right + len(want & got), wrong + len(got - want), missed + len(want - got)
    return {"handles_precision": right / max(1, right + wrong), "handles_recall": right / max(1, right + missed)}


def measure(name: str, rules: list[Path]) -> dict[str, float]:
    """Return all figures of a set."""
    said = judged(name, rules)
    return singles(name, said) | sequences(name, said) | handles(name, said)


def main() -> None:
    """Print the figures of the sets."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"of {', '.join(SETS)}; all if none is named")
    parser.add_argument("--rules", type=Path, action="append")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    args = parser.parse_args()
    figures = {name: measure(name, args.rules or [RULES]) for name in args.sets or SETS}
    if args.json:
        print(json.dumps(figures))
        return
    named = tuple(dict.fromkeys(name for one in figures.values() for name in one))
    table = Table("", *(name.replace("_", "\n") for name in named), box=box.SIMPLE, padding=(0, 0, 0, 1))
    for name, one in figures.items():
        table.add_row(name, *(f"{one[figure]:.3f}" if figure in one else "" for figure in named))
    Console(width=max(Console().width, WIDTH)).print(table)


if __name__ == "__main__":
    main()
