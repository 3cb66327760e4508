"""What a backtest says: nothing where nothing differs, the truth where something does, and what the stream did."""

from __future__ import annotations

import asyncio
import re
from functools import reduce
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree as ET

import msgspec
import pytest

from console import report as reports
from console.backtest import run
from console.html import page, tag
from console.recording import from_file, from_topics, guilty
from console.replay import Replay
from console.sampling import SAMPLES, Reservoirs, Timeline, wilson
from console.show import printer
from console.show_backtest import shown
from moderation.actions import Action
from moderation.errors import RuleSetRejected
from moderation.standing import Strike
from streams.ledger import MemoryLedger
from streams.topics import create_topics
from streams.worker import running
from tests.small_rules import RULES, TS, event, layer, rules
from tests.test_verdicts import GANG
from tests.test_worker import drained, producer, publish, read, settings_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from console.findings import Report
    from moderation.events import ChatEvent
    from streams.bundle import Layers
    from streams.embedded import Embedded

SPAM: Final = "出金加QQ 7381920465"
OLD: Final[Layers] = (layer(),)
#: Selling is only looked at, poaching costs more, and a rule has another id.
_SWAPS: Final = (
    ("score: 75", "score: 10"),
    ("score: 60", "score: 90"),
    ("score: 80\n  because: 多个账号同一句话", "score: 10\n  because: 多个账号同一句话"),
    ("horn.often", "h"),
)
NEW: Final[Layers] = (layer(rules_yaml=reduce(lambda text, swap: text.replace(*swap), _SWAPS, RULES)),)


def chat() -> list[ChatEvent]:
    """Return what a few accounts say in ten minutes: ladders are climbed, a campaign is reached, somebody floods."""
    said = [*GANG]
    for n in range(8):
        said.append(event(SPAM, 100 + n, at_s=40 + 70 * n, account="seller", level=3))
        said.append(event(f"出金加QQ 738190{n:04}", 200 + n, at_s=41 + 70 * n, account="payer", vip=2))
        said.append(event("出金加QQ 7381920465", 300 + n, at_s=42 + 70 * n, account="whale", vip=9))
        said.append(event("来我们区，转会费五百", 400 + n, at_s=43 + 70 * n, account=f"poacher{n % 3}", level=30))
        said.append(event("刷", 500 + n, at_s=44 + n, account="flood"))
        said.append(event(f"今天天气不错{n}", 600 + n, at_s=45 + 70 * n, account=f"p{n}"))
    return sorted(said, key=lambda e: e.ts)


async def lines(events: Sequence[ChatEvent], marks: Sequence[dict[str, Any]] = ()) -> AsyncIterator[list[bytes]]:
    out = [msgspec.json.encode(e) for e in events]
    for n, mark in enumerate(marks):
        out[n] = msgspec.json.encode({**msgspec.json.decode(out[n]), **mark})
    for first in range(0, len(out), 7):
        yield out[first : first + 7]


def replayed(old: Layers = OLD, new: Layers = NEW, **how: Any) -> Report:
    return asyncio.run(run(lines(chat(), how.pop("marks", ())), old, new, **how))


def test_rules_that_another_process_refuses_come_back_with_all_that_is_wrong() -> None:
    bad: Layers = (layer(rules_yaml=RULES.replace("score: 75", "socre: 75")),)
    with pytest.raises(RuleSetRejected) as here:
        replayed(OLD, bad)
    with pytest.raises(RuleSetRejected) as apart:
        replayed(OLD, bad, processes=2)
    assert (apart.value.problems, str(apart.value)) == (here.value.problems, str(here.value))


def test_a_set_against_itself_shows_no_difference() -> None:
    report = replayed(OLD, OLD)
    assert report.differing == 0
    assert report.samples == ()
    assert report.verdicts[0] == report.verdicts[1]
    assert report.verdicts[0]["act"] > 10
    assert all(one.newly == one.spared == one.newly_to_human == 0 for one in report.people)
    assert all(one.hits[0] == one.hits[1] and one.newly == one.spared == 0 for one in report.rules)
    assert all(old == new > 0 for _, old, new in report.campaigns)


def test_who_is_newly_punished_and_who_no_longer_is_said_by_tier_and_rule() -> None:
    report = replayed()
    people = {one.tier: one for one in report.people}
    assert list(people) == ["vip", "paying", "established", "new"]
    assert people["established"].newly == people["established"].newly_muted == 3  # the poachers
    assert people["paying"].spared == people["paying"].no_longer_muted == 1
    assert people["vip"].muted == people["vip"].banned == (0, 0)
    by_id = {one.id: one for one in report.rules}
    assert by_id["poach.cash"].newly == 8
    assert by_id["sell.contact"].spared > 0
    assert by_id["horn.often"].status == ("live", "")
    assert by_id["h"].status == ("", "live")
    assert by_id["sell.contact"].hits == (23, 23)
    assert by_id["contact.drop"].beside[0][0] == "sell.contact"


def test_samples_come_with_spans_and_paying_players_first() -> None:
    report = replayed()
    newly = [one for one in report.samples if one.newly]
    assert {one.account for one in newly} == {f"poacher{n}" for n in range(3)}
    sample = newly[0]
    assert sample.text == "来我们区，转会费五百"
    assert sample.spans == ((0, 8),)
    assert (sample.before, sample.score) == (("case:0",), (60.0, 90.0))
    assert "mute:86400" in sample.after
    tiers = [one.tier for one in report.samples if not one.newly]
    assert tiers == sorted(tiers, key=["vip", "paying", "established", "new"].index)


def test_labels_give_precision_and_recall_with_intervals() -> None:
    marks = [{"label": "clean" if "天气" in e.text or e.text == "刷" else "rmt"} for e in chat()]
    report = replayed(marks=marks)
    assert report.quality is not None
    old, new = report.quality
    assert old.recall.of == new.recall.of == sum(mark["label"] == "rmt" for mark in marks)
    assert (old.recall.hits, old.recall.of) == (34, 35)  # 7381900000 is no number that anybody has
    assert old.recall.low < 34 / 35 < old.recall.high < 1
    assert old.precision.of - old.precision.hits == 4  # five lines make a flood, and the three after it
    assert (old.act_recall.hits, new.act_recall.hits) == (16, 17)  # the poachers' eight for the payer's seven
    assert replayed().quality is None


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"text": "x"}', None),
        (b'{"label": "clean"}', False),
        (b'{"label": 0}', False),
        (b'{"label": 1}', True),
        (b'{"label": "poaching", "should_act": false}', False),
        (b'{"label": null}', None),
        (b'{"label": {}}', None),
        (b'"label"', None),
        (b'{"label": ', None),
    ],
)
def test_what_a_human_said_stands_beside_the_event(line: bytes, said: bool | None) -> None:
    assert guilty(line) is said


def test_two_processes_say_what_one_does() -> None:
    apart, here = replayed(processes=2), replayed()
    times = {"seconds": (0.0, 0.0), "rules": ()}
    assert msgspec.structs.replace(apart, **times) == msgspec.structs.replace(here, **times)
    assert [(r.id, r.hits, r.tries, r.newly) for r in apart.rules] == [
        (r.id, r.hits, r.tries, r.newly) for r in here.rules
    ]


def test_lines_that_are_no_events_are_counted_and_shift_nothing(tmp_path: Path) -> None:
    file = tmp_path / "chat.jsonl"
    events = [msgspec.json.encode(e) for e in chat()]
    file.write_bytes(b"\n".join([b"{", *events[:5], b"\xff", b"", *events[5:], b"{}"]))
    report = asyncio.run(run(from_file(file), OLD, NEW))
    assert (report.dead, report.events) == (3, len(events))
    assert report.samples == replayed().samples


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"), [(0, 10, 0, 0.2775), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1), (0, 0, 0, 1)]
)
def test_intervals_are_wilsons(hits: int, of: int, low: float, high: float) -> None:
    found = wilson(hits, of)
    assert found.low == pytest.approx(low, abs=1e-4)
    assert found.high == pytest.approx(high, abs=1e-4)


def test_a_long_recording_makes_a_coarser_timeline_and_no_longer_one() -> None:
    timeline = Timeline()
    for minute in range(1000):
        timeline.add_events({minute: 2})
        timeline.add_acted(minute * 60_000, 1)
    points = timeline.points()
    assert len(points) <= 180
    assert sum(one.events for one in points) == 2000
    assert sum(one.new for one in points) == 1000
    assert timeline.width_ms == 8 * 60_000


def test_samples_are_bounded_and_the_same_every_time() -> None:
    def drawn() -> list[str]:
        kept = Reservoirs()
        made = replayed().samples[0]
        for n in range(500):
            kept.offer(("new", True), lambda n=n: msgspec.structs.replace(made, event_id=str(n), tier="new"))  # type: ignore[misc]
        return [one.event_id for one in kept.all()]

    assert drawn() == drawn()
    assert len(drawn()) == SAMPLES
    assert max(map(int, drawn())) > 100


def test_a_bounded_ledger_forgets_who_struck_longest_ago_and_says_so() -> None:
    async def run() -> None:
        ledger = MemoryLedger(2)

        async def step(account: str, number: int) -> int:
            at = TS + number * 100_000
            return (await ledger.strike([Strike(account, "trade", f"e{number}", at, at, "rmt")]))[0].step

        assert [await step(who, n) for n, who in enumerate(("a", "b", "a", "c", "a", "b"))] == [1, 1, 2, 1, 3, 1]
        assert ledger.forgotten == 2

    asyncio.run(run())


# -- the page


def test_the_page_has_the_numbers_and_its_pictures_and_runs_nothing() -> None:
    report = replayed(marks=[{"label": "rmt"}])
    text = reports.html(report, "chat.jsonl").decode()
    assert text.count("<svg") == 4
    assert "<script" not in text
    assert " style=" not in text
    assert not re.search(r"(src|href)=", text)
    csp = re.search(r'Content-Security-Policy" content="([^"]+)"', text)
    assert csp
    assert csp[1].startswith("default-src 'none'; style-src 'sha256-")
    for row in report.people:
        assert f"<td>{row.newly_muted}</td>" in text
    assert "poach.cash" in text
    for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        ET.fromstring(svg)  # noqa: S314  our own


def test_hostile_chat_is_text_on_the_page_and_what_hides_is_a_token() -> None:
    evil = [event("出金<script>\"'&\u202e\u200bQQ 7381920465", 1, level=3)]
    report = asyncio.run(run(lines(evil), NEW, OLD))
    [sample] = report.samples
    assert "<script>" in sample.text
    text = reports.html(report, "<i>\u202e.jsonl").decode()
    assert "<script" not in text
    assert "<i>" not in text
    assert "&lt;" in text
    assert "⟨U+202E⟩" in text
    assert not {"\u202e", "\u200b"} & set(text)


def test_an_element_escapes_whatever_it_is_given() -> None:
    made = page("<", "b { }", tag("p", "<x>", tag("b", "&"), '"', title='">'))
    assert b'<p title="&quot;&gt;">&lt;x&gt;<b>&amp;</b>"</p>' in made


def test_the_terminal_shows_the_same() -> None:
    screen = printer()
    with screen.capture() as captured:
        screen.print(shown(replayed()))
    assert "poach.cash" in captured.get()


# -- the stream


@pytest.mark.servers
def test_a_backtest_of_a_recording_does_what_the_stream_did(embedded: Embedded) -> None:
    said = chat()

    batch = asyncio.run(Replay(OLD).batch([msgspec.json.encode(e) for e in said]))
    wanted = {(d.id, d.kind, d.account, d.seconds) for one in batch.noticed for d in one.deeds}
    assert len(wanted) > 20

    async def live() -> set[tuple[str, str, str, int]]:
        settings = settings_for("backtest", partitions=1)
        await create_topics(settings, embedded.kafka)
        async with (
            running(settings, embedded.kafka, embedded.redis, rules()) as worker,
            producer(embedded, settings) as to,
        ):
            await worker.wait_ready()
            await publish(to, settings.topics.world, said)
            await drained(embedded, settings, settings.topics.world, len(said))
            found = await read(embedded, settings, settings.topics.enforcement, len(wanted))
        kafka = settings.model_copy(update={"kafka": embedded.kafka})
        recorded = [line async for batch in from_topics(kafka, 0, 4_000_000_000_000) for line in batch]
        assert recorded == [msgspec.json.encode(e) for e in said]
        return {_deed(msgspec.json.decode(one, type=Action)) for one in found}

    assert asyncio.run(live()) == wanted


def _deed(action: Action) -> tuple[str, str, str, int]:
    kind = "retract" if action.action == "revert" else action.action
    return action.action_id, kind, action.target.account_id, action.duration_s or 0
