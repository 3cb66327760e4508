"""The daily report: each thing counts once, in its time, and nothing that a player said is in it."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pytest
from msgspec.structs import replace
from python_calamine import CalamineWorkbook
from typer.testing import CliRunner, Result

from console import page_daily, show_daily
from console.audit import Flawed
from console.cli import app
from console.daily import HOUR_MS, Campaign, Contact, Daily, Period
from console.tally import Tally, daily, log_of
from moderation.actions import Ack, Action, AppealCommand, RevertCommand, Where
from moderation.appeal import Answer, opened, standing
from moderation.audit import Lost, recorded
from moderation.chain import START
from moderation.notes import RulesChange
from moderation.order import undo
from moderation.policy import AppealPolicy
from streams.journal import Journal, segments
from streams.letters import Letters
from streams.outbox import Letter
from streams.settings import PREFIX
from tests.audit_records import ROLES, SPAM, TOPICS, Record, outcome, records, written
from tests.small_rules import TS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

DAY: Final = 24 * HOUR_MS
NOW: Final = Period(TS - HOUR_MS, TS + 23 * HOUR_MS)
BEFORE: Final = Period(NOW.since - DAY, NOW.since)
TO: Final = Letters(TOPICS)


def tallied(letters: Iterable[Letter]) -> Daily:
    """Count letters as if they were the whole log."""
    tally = Tally(NOW, BEFORE, 24)
    for number, record in enumerate(records(letters)):
        tally.add(recorded(number + 1, ROLES[record.topic], record))
    return tally.done(START)


def actions(*, at: int = TS, account: str = "a1", **change: Any) -> list[Action]:
    """Return what a message of spam leads to, as if judged at another time: taken down and muted."""
    done = outcome(account=account).judgement.actions
    named = [replace(one, action_id=f"{account}{at}{number}") for number, one in enumerate(done)]
    return [replace(one, created_at=at, event_id=f"e{account}{at}", **change) for one in named]


def letters(*some: Action) -> list[Letter]:
    return list(map(TO.action, some))


def test_every_kind_of_record_is_counted_once_however_often_it_comes() -> None:
    found = tallied([*written(), *written()])
    now, before = found.sides
    assert {deed: now.count(deed) for deed in show_daily.DEEDS} == {
        "retract": 1, "mute": 1, "ban": 0, "case": 1, "undone": 1,
    }  # fmt: skip
    assert (now.accounts, sum(now.moments), now.moments[1]) == (1, 2, 2)
    assert before.by == {}
    assert now.by["label"]["rmt"] == {"retract": 1, "mute": 1, "case": 1, "undone": 1}
    assert now.by["why_human"] == {"vip": {"case": 1}}
    assert now.orders == {"gm": 1}
    assert (now.acks, now.unanswered) == ({"applied": 1}, 2)
    assert now.dead_letters == {"not_utf8": 2}


def test_what_was_done_the_day_before_stands_beside_it_and_what_is_older_nowhere() -> None:
    found = tallied(letters(*actions(), *actions(at=TS - DAY), *actions(at=TS - 2 * DAY), *actions(at=NOW.until)))
    assert [side.count("mute") for side in found.sides] == [1, 1]


def test_contacts_are_named_with_how_many_left_them_and_whether_they_are_new() -> None:
    known = letters(*actions(), *actions(at=TS + HOUR_MS), *actions(account="a2"))
    [contact] = tallied(known).contacts
    assert contact == Contact("qq:738190005", 2, 3, "rmt", new=True)
    [contact] = tallied([*known, *letters(*actions(at=TS - DAY))]).contacts
    assert not contact.new


def test_campaigns_are_named_with_their_accounts() -> None:
    some = [one for account in ("a1", "a2") for one in actions(account=account, campaign_id="c1")]
    assert tallied(letters(*some)).campaigns == (Campaign("c1", 2, "rmt", new=True),)


def test_who_poached_is_listed_with_whom_they_spoke_to_those_who_spoke_to_most_first() -> None:
    def poaching(account: str, *to: str, at: int = TS) -> list[Action]:
        done = actions(account=account, at=at, label="poaching")
        first = done[0].evidence
        assert first is not None
        where = [replace(first, where=Where("s7", "private", one)) for one in to]
        return [replace(done[0], action_id=f"{account}{n}", evidence=one) for n, one in enumerate(where)]

    one = poaching("few", "p1")
    many = tallied(letters(*one, *poaching("many", "p1", "p2", "p2", at=TS + HOUR_MS))).poachers
    assert [(who.account_id, who.server_id, who.to) for who in many] == [
        ("many", "s7", ("p1", "p2")),
        ("few", "s7", ("p1",)),
    ]
    assert many[0].deeds == {"retract": 3}
    undone = undo(RevertCommand("o1", "gm", "误伤", TS, one[0].action_id, "few"), one[0], "r1")
    assert tallied(letters(*one, undone)).poachers[0].deeds == {"retract": 1, "undone": 1}


POLICY: Final = AppealPolicy(first_answer_h=24, final_answer_h=72)


def appealed(number: int, at: int, answered_h: int | None = None, *, granted: bool = True) -> Letter:
    """Return an appeal opened then, answered so many hours later."""
    appeal = opened(AppealCommand(f"c{number}", "cs", at, f"x{number}", "a1"), actions()[0], POLICY)
    appeal = replace(appeal, action_id=f"x{number}")
    if answered_h is not None:
        last = Answer(f"d{number}", "gm", "看过", at + answered_h * HOUR_MS, granted=granted)
        appeal = standing(appeal, last, last)
    return Letter(TOPICS.appeals, b"a1", msgspec.json.encode(appeal))


def test_appeals_are_counted_by_when_they_were_opened_and_answered_and_what_is_due_is_told() -> None:
    found = tallied(
        [
            appealed(1, TS),
            appealed(1, TS, 2),
            appealed(1, TS),  # a record that comes again opens nothing anew
            appealed(2, TS, 3, granted=False),
            appealed(3, TS - 80 * HOUR_MS, 81),
            appealed(4, TS - 30 * HOUR_MS),
            appealed(5, TS + HOUR_MS),
            appealed(6, TS + HOUR_MS, 40),
            appealed(7, NOW.until),
        ]
    ).appeals
    assert (found.opened, found.granted, found.denied) == (4, 2, 1)
    assert (found.late, found.slowest_h) == (1, 81.0)
    assert (found.open, found.overdue) == (3, 1)


def test_changes_of_rules_are_listed_but_not_that_workers_started() -> None:
    change = RulesChange("published", "李姐", "l@1", "r2", TS, reason="新词")
    early = replace(change, ts=TS - DAY)
    started = RulesChange("started", "qingliu", "w@1", "r2", TS)
    assert tallied(map(TO.note, (started, early, change))).changes == (change,)


def test_what_was_not_answered_or_never_read_is_told() -> None:
    done = actions()
    ack = Letter(TOPICS.acks, b"a1", msgspec.json.encode(Ack(done[0].action_id, "rejected", TS, "a1")))
    found = tallied([*letters(*done), ack])
    assert (found.sides[0].acks, found.sides[0].unanswered) == ({"rejected": 1}, len(done) - 1)
    tally = Tally(NOW, BEFORE, 24)
    tally.add(Lost(1, TOPICS.cases, 0, 5, 9))
    tally.add(recorded(2, "enforcement", Record(TOPICS.enforcement, 0, 0, value=b"\xff")))
    found = tally.done(START)
    assert (found.lost, found.sides[0].unreadable) == (4, 1)
    assert "4" in page_daily.text(found, 1)


def test_delays_are_from_a_message_to_its_automatic_action() -> None:
    done = actions()[0]
    known = done.evidence
    assert known is not None
    slow = [
        replace(done, action_id=f"x{n}", evidence=replace(known, when=replace(known.when, event=TS - n, judged=TS)))
        for n in range(100)
    ]
    assert tallied(letters(*slow)).sides[0].delays_ms == (50, 99)
    manual = [replace(one, mode="manual") for one in slow]
    assert tallied(letters(*manual)).sides[0].delays_ms is None


# --- from a log, by command


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.upper().startswith(PREFIX):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


class Clock:
    """The auditor's, moved by hand."""

    now = TS - 5 * DAY


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of nine days, a segment each: a message of spam a day."""
    clock, letters_ = Clock(), []
    with Journal(tmp_path / "log", "c", ROLES, now_ms=lambda: clock.now) as journal:
        for day in range(9):
            clock.now = TS + (day - 8) * DAY
            letters_ += letters(*actions(at=clock.now))
            journal.add(replaced_times(letters_, clock.now))
        letters_ += written()
        journal.add(replaced_times(letters_, TS))
    return tmp_path / "log"


def replaced_times(some: list[Letter], at: int) -> list[Record]:
    return [one._replace(timestamp=at) for one in records(some)]


def run(*args: str) -> Result:
    result = CliRunner().invoke(app, args)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def day_of(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000).astimezone():%Y-%m-%d}"


def test_only_the_segments_that_may_tell_of_the_time_are_read(log: Path) -> None:
    def read() -> Daily:
        now, before = Period(TS - HOUR_MS, TS + HOUR_MS), Period(TS - DAY, TS - HOUR_MS)
        return daily(log_of(log, now, before), Tally(now, before, 24))

    old, *_, last = segments(log)
    old.write_bytes(old.read_bytes().replace(b"a1", b"a2"))
    assert read().sides[0].count("retract") == 2
    last.write_bytes(b"{}\n" + last.read_bytes())
    with pytest.raises(Flawed):
        read()


def test_a_report_is_text_to_paste_a_page_a_workbook_and_json_of_the_same_figures(log: Path, tmp_path: Path) -> None:
    day = day_of(TS)
    found = json.loads(run("report", str(log), "--day", day, "--json").stdout)
    assert found["sides"][0]["by"]["all"][""]["retract"] == 2
    assert found["begins"] is None, "there are segments that were not read"
    text = run("report", str(log), "--day", day).stdout
    assert day in text
    assert "qq:738190005" in text
    for name in ("day.html", "day.xlsx"):
        assert run("report", str(log), "--day", day, "--out", str(tmp_path / name)).exit_code == 0
    page = (tmp_path / "day.html").read_text("utf-8")
    assert "<script" not in page
    with CalamineWorkbook.from_path(tmp_path / "day.xlsx") as book:
        overview = book.get_sheet_by_index(0).to_python()
    assert [2.0, 1.0] in [row[1:] for row in overview]
    for shown in (text, page, json.dumps(found, ensure_ascii=False)):
        assert SPAM[:3] not in shown, "no text that a player said"


def test_a_week_is_seven_days_beside_the_seven_before(log: Path) -> None:
    found = json.loads(run("report", str(log), "--day", day_of(TS), "--week", "--json").stdout)
    assert len(found["sides"][0]["moments"]) == 7
    assert [side["by"]["all"][""]["retract"] for side in found["sides"]] == [8, 2]
    assert found["begins"] > found["before"]["since"]
    assert "【" in run("report", str(log), "--day", day_of(TS), "--week").stdout


def test_the_day_is_yesterday_where_none_is_given(log: Path) -> None:
    found = json.loads(run("report", str(log), "--json").stdout)
    yesterday = datetime.now(UTC).timestamp() * 1000 - DAY
    assert found["period"]["since"] <= yesterday < found["period"]["until"]


def test_a_broken_log_is_an_error_that_says_where(log: Path) -> None:
    last = segments(log)[-1]
    last.write_bytes(last.read_bytes().replace(b'"qingliu"', b'"qingliv"', 1))
    result = run("report", str(log), "--day", day_of(TS))
    assert (result.exit_code, result.stdout) == (1, "")
    assert last.name in result.stderr


def test_what_was_asked_wrongly_exits_2(log: Path, tmp_path: Path) -> None:
    for args in (("nowhere",), (str(log), "--out", "day.pdf"), (str(log), "--out", str(tmp_path / "no" / "day.html"))):
        assert run("report", *args).exit_code == 2
