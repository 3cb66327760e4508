"""Cases written by hand by others: enough are found, and hardly any innocent line is punished."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import msgspec
import pytest

from bench.cases import RULES, SETS, event, measure, message, read

figures = cache(measure)

#: Least share of positives found that must be caught (A) and should be (B), of poaching, of sequences, and of handles
#: read: some points below what was measured on 2026-11-22. `unseen` and `thirteenth` are the honest ones.
FLOORS = {
    "first": {"recall_A": 0.96, "recall_B": 0.92, "recall_poaching": 0.90, "sequences": 0.92, "handles_recall": 0.97},
    "second": {"recall_A": 0.88, "recall_B": 0.90, "recall_poaching": 0.89, "sequences": 0.80, "handles_recall": 0.88},
    "third": {"recall_A": 0.96, "recall_B": 0.92, "sequences": 0.90, "handles_recall": 0.88},
    "unseen": {"recall_A": 0.94, "recall_B": 0.82, "recall_poaching": 0.88, "sequences": 0.88, "handles_recall": 0.92},
    "fourth": {"recall_A": 0.96, "recall_B": 0.88, "recall_poaching": 0.87, "sequences": 0.95, "handles_recall": 0.88},
    "fifth": {"recall_A": 0.97, "recall_B": 0.92, "recall_poaching": 0.90, "sequences": 0.95, "handles_recall": 0.90},
    "sixth": {"recall_A": 0.92, "recall_B": 0.89, "recall_poaching": 0.93, "sequences": 0.90, "handles_recall": 0.84},
    "seventh": {"recall_A": 0.96, "recall_B": 0.90, "recall_poaching": 0.93, "sequences": 0.91, "handles_recall": 0.91},
    "eighth": {"recall_A": 0.96, "recall_B": 0.87, "recall_poaching": 0.94, "sequences": 0.96, "handles_recall": 0.93},
    "ninth": {"recall_A": 0.95, "recall_B": 0.90, "recall_poaching": 0.91, "sequences": 0.92, "handles_recall": 0.90},
    "tenth": {"recall_A": 0.96, "recall_B": 0.89, "recall_poaching": 0.94, "sequences": 0.90, "handles_recall": 0.90},
    "eleventh": {
        "recall_A": 0.96,
        "recall_B": 0.92,
        "recall_poaching": 0.92,
        "sequences": 0.89,
        "handles_recall": 0.93,
    },
    "twelfth": {"recall_A": 0.91, "recall_B": 0.88, "recall_poaching": 0.86, "sequences": 0.90, "handles_recall": 0.87},
    "thirteenth": {
        "recall_A": 0.95,
        "recall_B": 0.84,
        "recall_poaching": 0.87,
        "sequences": 0.85,
        "handles_recall": 0.92,
    },
    "fourteenth": {
        "recall_A": 0.90,
        "recall_B": 0.87,
        "recall_poaching": 0.91,
        "sequences": 0.88,
        "handles_recall": 0.91,
    },
    "fifteenth": {
        "recall_A": 0.95,
        "recall_B": 0.92,
        "recall_poaching": 0.93,
        "sequences": 0.92,
        "handles_recall": 0.90,
    },
    "sixteenth": {"recall_A": 0.96, "recall_poaching": 0.96, "sequences": 0.96, "handles_recall": 0.96},
    "seventeenth": {
        "recall_A": 0.92,
        "recall_B": 0.92,
        "recall_poaching": 0.90,
        "sequences": 0.90,
        "handles_recall": 0.94,
    },
    "eighteenth": {
        "recall_A": 0.93,
        "recall_B": 0.93,
        "recall_poaching": 0.93,
        "sequences": 0.90,
        "handles_recall": 0.92,
    },
    "nineteenth": {
        "recall_A": 0.93,
        "recall_B": 0.95,
        "recall_poaching": 0.95,
        "sequences": 0.90,
        "handles_recall": 0.93,
    },
    "twentieth": {
        "recall_A": 0.97,
        "recall_B": 0.95,
        "recall_poaching": 0.94,
        "sequences": 0.91,
        "handles_recall": 0.95,
    },
    "twentyfirst": {
        "recall_A": 0.97,
        "recall_B": 0.95,
        "recall_poaching": 0.95,
        "sequences": 0.93,
        "handles_recall": 0.95,
    },
    "twentysecond": {
        "recall_A": 0.95,
        "recall_B": 0.94,
        "recall_poaching": 0.90,
        "sequences": 0.95,
        "handles_recall": 0.94,
    },
    "twentythird": {
        "recall_A": 0.96,
        "recall_B": 0.94,
        "recall_poaching": 0.95,
        "sequences": 0.93,
        "handles_recall": 0.95,
    },
    "twentyfourth": {
        "recall_A": 0.96,
        "recall_B": 0.94,
        "recall_poaching": 0.95,
        "sequences": 0.95,
        "handles_recall": 0.95,
    },
    "twentyfifth": {
        "recall_A": 0.97,
        "recall_B": 0.92,
        "recall_poaching": 0.92,
        "sequences": 0.94,
        "handles_recall": 0.93,
    },
    "twentyseventh": {
        "recall_A": 0.95,
        "recall_B": 0.93,
        "recall_poaching": 0.93,
        "sequences": 0.97,
        "handles_recall": 0.96,
    },
    "twentyeighth": {
        "recall_A": 0.96,
        "recall_B": 0.92,
        "recall_poaching": 0.9,
        "sequences": 0.94,
        "handles_recall": 0.95,
    },
    "twentyninth": {
        "recall_A": 0.97,
        "recall_B": 0.93,
        "recall_poaching": 0.92,
        "sequences": 0.87,
        "handles_recall": 0.95,
    },
    "twentysixth": {
        "recall_A": 0.96,
        "recall_B": 0.93,
        "recall_poaching": 0.85,
        "sequences": 0.95,
        "handles_recall": 0.93,
    },
}
#: Most innocent lines put before a human, where it is more than 4.5 %: talk of money and of other servers, mostly.
REVIEWED = {
    "eleventh": 0.08, "thirteenth": 0.065, "sixteenth": 0.07, "twentysecond": 0.065, "twentyfifth": 0.1,
    "twentyseventh": 0.08, "twentyeighth": 0.06,
}  # fmt: skip


@pytest.mark.parametrize("name", SETS)
def test_enough_is_found(name: str) -> None:
    got = figures(name, (RULES,))
    assert {key: got[key] for key, floor in FLOORS[name].items() if got[key] < floor} == {}


@pytest.mark.parametrize("name", SETS)
def test_hardly_any_innocent_line_is_punished_and_no_bystander(name: str) -> None:
    got = figures(name, (RULES,))
    assert got["false_act"] <= 0.013
    assert got["false_review"] <= REVIEWED.get(name, 0.045)
    assert (got["sequences_punished"], got["bystanders"]) == (0, 0)


def test_the_same_is_judged_whatever_the_hash_seed(tmp_path: Path) -> None:
    file = tmp_path / "chat.jsonl"
    chat = [message(m) for sequence in read("first", "sequences") for m in sequence["messages"]]
    chat += [event(case, number) for number, case in enumerate(read("first", "cases_positive"))]
    file.write_bytes(b"\n".join(map(msgspec.json.encode, chat)))
    command = [str(Path(sys.executable).with_name("qingliu")), "judge", str(file), "--rules", str(RULES)]
    said = [
        subprocess.run(command, env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, check=False).stdout
        for seed in "123"
    ]
    assert len(said[0].splitlines()) == len(chat)
    assert said[0] == said[1] == said[2]
