"""The benchmark: every part measures something, what is said of it adds up, the gate fails on what got slower."""

from __future__ import annotations

import asyncio
import json
from contextlib import ExitStack
from importlib import import_module
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pytest
import typer
from rich.progress import Progress
from typer.testing import CliRunner

from bench import drive, gate, lines, page, shown, targets
from bench.machine import machine
from bench.part import NotMeasured, Spread, spelled, spread
from bench.result import RATIOS, Result, points, ratios
from bench.run import PARTS, Measuring, chosen, run
from bench.targets import TARGETS
from console import cli_bench
from console.cli import app
from moderation.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

    from bench.part import Part

#: Rule sets are compiled and workers started, many seconds of the processor, on machines that others use.
pytestmark = pytest.mark.timeout(400)

#: What is measured of each part that starts servers: enough to see that it works.
STEPS: Final = {
    "stream": ("worker",),
    "transport": ("confluent_loop", "bare_loop"),
    "latency": ("closed", "at 50 %"),
    "memory": ("active senders",),
    "reload": ("100 terms",),
    "scale": ("2 workers",),
    "startup": ("help", "import engine"),
}
FIGURES: Final = {
    "stream": {"worker_per_s", "worker_cpu_us", "worker_peak_mb"},
    "transport": {"confluent_loop_per_s", "bare_loop_per_s", "bare_loop_cpu_us"},
    "latency": {"closed_per_s", "p50_at_50_ms", "p99_at_50_ms", "actions_at_50", "sender_late_at_50_ms"},
    "memory": {"worker_fresh_mb", "worker_mb", "senders"},
    "reload": {"live_s", "stall_ms", "stall_cpu_ms", "idle_stall_ms"},
    "scale": {"workers_2_per_s"},
    "startup": {"help_s", "import_engine_s"},
}


def measured(name: str, steps: tuple[str, ...] | None = None) -> dict[str, float]:
    with ExitStack() as stack:
        part: Part = import_module(f"bench.parts.{name}").part("tiny", stack)
        found: dict[str, float] = {}
        for step in steps or tuple(part.steps):
            found |= part.steps[step]()
        return found


def result(**figures: float) -> Result:
    rounds = {name.replace("__", "."): [value] for name, value in figures.items()}
    spreads = {name: spread(values) for name, values in rounds.items()}
    return Result("quick", "now", 1.0, "abc", machine(), spreads, ratios(rounds), {"x: y": "no time"})


# --- parts


def test_a_run_measures_the_engine_by_kind_of_chat_by_stage_and_beside_jieba() -> None:
    ran = run("tiny", ["engine"])
    assert ran.missing == {}
    assert {name.partition(".")[0] for name in ran.figures} == {"engine"}
    assert ran.ratios["engine_vs_jieba_every_message"].rounds == 1
    found = {name: one.median for name, one in ran.part("engine").items()}
    for kind in ("clean", "ordinary", "spam", "jieba", "jieba_with_hmm", "rjieba"):
        assert found[f"{kind}_us"] * found[f"{kind}_per_s"] == pytest.approx(1e6)
    assert {"decode_us", "read_us", "rest_us", "torn_apart_us"} <= set(found)
    kinds = [kind.replace(" ", "_") for kind in lines.dear(0)]
    assert found["worst_ms"] * 1000 == pytest.approx(max(found[f"{kind}_us"] for kind in kinds))


def test_a_backtest_is_measured_by_rule_set_and_as_a_whole() -> None:
    found = measured("backtest")
    assert found["set_us"] * found["set_per_s"] == pytest.approx(1e6)
    assert found["backtest_s"] > 0


def test_there_is_a_curve_for_everything_that_grows() -> None:
    found = {f"{part}.{name}": cost for part in ("growth", "life") for name, cost in measured(part).items()}
    assert all(cost > 0 for cost in found.values())
    grown = points(found)
    assert set(grown) == set(page.GROWING)
    assert all(len(sizes) > 1 and sizes == sorted(sizes) for sizes in grown.values())


@pytest.mark.servers
@pytest.mark.parametrize("name", STEPS)
def test_a_part_on_real_servers_gives_its_figures(name: str) -> None:
    found = measured(name, STEPS[name])
    assert FIGURES[name] <= set(found)
    assert all(value >= 0 for value in found.values())
    if name == "latency":
        assert found["actions_at_50"] > 0
        assert found["p50_at_50_ms"] <= found["p99_at_50_ms"]


def test_generated_chat_is_the_same_every_time_and_all_spam_is_all_abuse() -> None:
    assert lines.mix(50) == lines.mix(50)
    assert lines.mix(50) != lines.mix(50, seed=8)
    assert len(list(islice(lines.spam(), 40))) == 40
    assert {event.sender.account_id for event in lines.in_turn(lines.mix(30), 3)} == {"m0", "m1", "m2"}


class Slow:
    """A producer that every send takes time of."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    async def send(self, _topic: str, value: bytes, *, key: bytes) -> None:
        assert key
        self.sent.append(value)
        await asyncio.sleep(0.002)


def test_latency_counts_from_when_a_message_was_due_however_late_it_is_sent() -> None:
    intended: dict[str, float] = {}
    chat = [(f"e{n}", b"k", b"v%d" % n) for n in range(20)]
    producer: Any = Slow()
    began, late = asyncio.run(drive._send(producer, "t", chat, 10_000.0, intended))
    assert producer.sent == [value for _, _, value in chat]
    assert [intended[f"e{n}"] - began for n in range(20)] == pytest.approx([n / 10_000 for n in range(20)])
    assert late[-1] > late[0]


# --- what is said of it


def test_ratios_are_of_figures_of_one_round_and_missing_ones_make_none() -> None:
    found = ratios({"stream.worker_per_s": [10.0, 30.0, 20.0], "stream.bare_loop_per_s": [20.0, 30.0, 80.0]})
    assert found == {"stream_vs_bare_loop": Spread(0.5, 0.25, 1.0, 3)}


def test_every_ratio_is_of_figures_of_one_part() -> None:
    for over, under in RATIOS.values():
        assert over.partition(".")[0] == under.partition(".")[0]
        assert over.partition(".")[0] in PARTS


def test_what_grows_by_itself_is_compared_first_and_last() -> None:
    found = ratios({f"life.messages_{size}_us": [cost] for size, cost in ((100, 10.0), (9_000, 12.0), (800, 50.0))})
    assert found["messages_last_vs_first"].median == pytest.approx(1.2)


@pytest.mark.parametrize(
    ("per_s", "met", "told"),
    [(80_000.0, True, "80 000/s"), (79_999.0, False, "79 999/s"), (90_000.0, True, "90 000/s"), (None, None, "")],
)
def test_a_target_is_met_missed_or_not_measured(per_s: float | None, met: bool | None, told: str) -> None:
    found = result(**({"engine__clean_per_s": per_s} if per_s else {}))
    row = next(one for one in targets.outcomes(found) if one.target == "≥ 80 000/s")
    assert (row.met, row.measured, row.command) == (met, told, "qingliu bench --only engine")
    assert (row.figure, row.value, row.limit) == ("engine.clean_per_s", per_s, 80_000)


def test_less_is_better_where_a_target_is_an_upper_limit() -> None:
    rows = targets.outcomes(result(latency__p99_at_50_ms=120.0, reload__live_s=4.0))
    assert {row.target: row.met for row in rows if row.met is not None} == {"≤ 100 ms": False, "≤ 5 s": True}


def test_every_target_names_a_part_that_measures_it() -> None:
    for target in TARGETS:
        assert target.only in PARTS
        over = RATIOS.get(target.figure, (target.figure,))[0]
        assert over.startswith((f"{target.only}.", "messages_"))


def test_json_has_figures_ratios_spreads_the_machine_and_the_commit() -> None:
    found = result(engine__clean_per_s=50.0, engine__jieba_per_s=25.0)
    plain = json.loads(msgspec.json.encode(found.plain() | {"targets": targets.outcomes(found)}))
    assert plain["figures"] == {"engine.clean_per_s": 50.0, "engine.jieba_per_s": 25.0}
    assert plain["ratios"] == {"engine_vs_jieba_every_message": 2.0}
    assert plain["spreads"]["ratios"]["engine_vs_jieba_every_message"] == {"low": 2.0, "high": 2.0, "rounds": 1}
    assert plain["missing"] == {"x: y": "no time"}
    assert plain["machine"]["cores"] > 0
    assert plain["machine"]["packages"]["msgspec"]
    assert (plain["commit"], plain["scale"], len(plain["targets"])) == ("abc", "quick", len(TARGETS) + 1)


def test_markdown_and_the_page_say_the_same_and_the_page_runs_nothing() -> None:
    found = result(
        stream__worker_per_s=5000.0,
        stream__bare_loop_per_s=10_000.0,
        latency__p50_at_25_ms=8.0,
        latency__p99_at_25_ms=30.0,
        latency__p50_at_50_ms=9.0,
        latency__p99_at_50_ms=41.0,
        growth__lexicon_1000_us=10.0,
        growth__lexicon_50000_us=15.0,
    )
    text, html = shown.markdown(found), page.html(found).decode()
    assert "| worker | 5 000/s | 5 000/s | 5 000/s | 1 |" in text
    for said in ("5 000/s", "41 ms", "1.50 ×"):
        assert said in text
        assert said in html
    assert html.count("<svg") == 3
    assert "<script" not in html
    assert "http-equiv" in html
    assert "https://" not in html


def test_figures_are_spelled_with_as_many_digits_as_they_deserve() -> None:
    assert [spelled(value) for value in (0.123, 1.0, 12.34, 123.4, 1_234_567.0)] == [
        "0.12",
        "1",
        "12.3",
        "123",
        "1 234 567",
    ]


# --- a run


def test_a_step_that_fails_is_told_and_the_others_go_on() -> None:
    def without() -> dict[str, float]:
        raise NotMeasured("rjieba is not installed")

    def broken() -> dict[str, float]:
        return {"x": 1 / 0}

    with Progress(disable=True) as bar:
        measuring = Measuring("tiny", bar)
        measuring._step("engine: rjieba", without)
        measuring._step("engine: broken", broken)
        measuring._step("engine: clean", lambda: {"clean_us": 2.0})
    assert measuring.missing == {
        "engine: rjieba": "rjieba is not installed",
        "engine: broken": "ZeroDivisionError: division by zero",
    }
    assert measuring.rounds == {"engine.clean_us": [2.0]}


def test_parts_are_chosen_by_name_and_a_quick_run_leaves_the_transports_out() -> None:
    assert "transport" in chosen([], "full")
    assert "transport" not in chosen([], "quick")
    assert chosen(["growth,engine", "transport"], "quick") == ["engine", "growth", "transport"]
    with pytest.raises(SettingsError, match="engine"):
        chosen(["engin"], "quick")


def test_an_unknown_part_is_a_usage_error_that_names_the_parts() -> None:
    ended = CliRunner().invoke(app, ["bench", "--only", "engin"])
    assert ended.exit_code == 2
    assert ended.stdout == ""
    assert all(name in ended.stderr for name in ("engin", "stream", "latency"))


def test_without_a_checkout_the_command_says_where_the_benchmark_is(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="make bench"):
        cli_bench.module("run", tmp_path)


# --- the gate


def test_the_gate_fails_on_a_made_up_slow_figure_and_on_nothing_else() -> None:
    good = {name: floor * 1.01 for name, floor in gate.FLOORS.items()}
    assert all(one.held for one in gate.held(good))
    for name in gate.FLOORS:
        below = [one.name for one in gate.held(good | {name: gate.FLOORS[name] * 0.99}) if not one.held]
        assert below == [name]


@pytest.mark.parametrize(("share", "code"), [(1.1, 0), (0.9, 1)])
def test_the_gate_ends_with_one_below_a_floor(share: float, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    floors = gate.held({name: floor * share for name, floor in gate.FLOORS.items()})
    with pytest.raises(typer.Exit) as ended:
        cli_bench.judged(floors, json=False)
    assert ended.value.exit_code == code
    printed = capsys.readouterr().out
    assert all(name in printed for name in gate.FLOORS)


def test_the_gate_measures_what_it_has_floors_for() -> None:
    found = gate.measure(rounds=1, messages=200)
    assert set(found) == set(gate.FLOORS)
    assert all(value > 0 for value in found.values())
