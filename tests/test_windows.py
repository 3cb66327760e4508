"""Local windows: what is remembered, for how long, and that no sender can make them grow."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from moderation.windows import DEPTH, MOST_SPENT, STEP_MS, Entry, Timeline, Windows, within

T0 = 1_750_000_000_000


def entry(message: str, ts: int = T0, *, account: str = "a") -> Entry:
    return Entry(ts, message, account, 0, None, frozenset())


def told(timeline: Timeline) -> list[str]:
    return list(timeline)


def test_a_timeline_keeps_the_last_messages_in_order_of_arrival() -> None:
    windows = Windows()
    for number in range(DEPTH + 5):
        timeline = windows.add("a", entry(f"m{number}", T0 + number))
    assert told(timeline) == [f"m{number}" for number in range(5, DEPTH + 5)]


def test_a_message_that_comes_again_keeps_its_place() -> None:
    windows = Windows()
    for message in ("m1", "m2", "m1"):
        timeline = windows.add("a", entry(message))
    assert told(timeline) == ["m1", "m2"]


def test_what_no_rule_looks_back_to_is_dropped() -> None:
    windows = Windows()
    windows.horizon_ms = 1000
    windows.add("a", entry("old", T0))
    assert told(windows.add("a", entry("new", T0 + 1001))) == ["new"]
    windows.add("b", entry("b1", T0 + 1002))
    for number in range(60):
        windows.add(f"c{number}", entry("c1", T0 + 1100 + number * STEP_MS))
    assert len(windows) < 25
    assert not {"a", "b", "c0"} & set(windows._timelines)


def test_a_clock_that_is_ahead_forgets_nobody() -> None:
    windows = Windows()
    windows.horizon_ms = 1000
    windows.add("a", entry("a1", T0))
    for number in range(5):
        windows.add(f"late{number}", entry("l1", T0 + 10**9))
        windows.add("b", entry(f"b{number}", T0 + number))
    assert told(windows.add("a", entry("a2", T0 + 900))) == ["a1", "a2"]


def test_past_the_bound_the_longest_silent_are_forgotten_first() -> None:
    windows = Windows(most=10)
    for number in range(50):
        windows.add(f"a{number}", entry("m", T0 + number, account=f"a{number}"))
        windows.add("loud", entry(f"m{number}", T0 + number))
    assert len(windows) <= 10
    assert "loud" in windows._timelines
    assert "a0" not in windows._timelines


def test_only_what_a_rule_could_still_count_on_is_said_to_be_evicted() -> None:
    windows = Windows(most=3)
    windows.horizon_ms = 1000
    for number in range(3):
        windows.add(f"old{number}", entry("m", T0, account=f"old{number}"))
    for number in range(60):
        windows.add("loud", entry(f"m{number}", T0 + number * 100))
    windows.add("late", entry("m", T0 + 6000))
    assert windows.evicted() > 0
    assert windows.evicted() == 0, "since last asked"
    calm = Windows()
    calm.horizon_ms = 1000
    for number in range(60):
        calm.add(f"a{number}", entry("m", T0 + number * 1000))
    assert len(calm) < 60
    assert calm.evicted() == 0, "silence is no want of room"


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 20), st.integers(0, 9000)), max_size=200))
def test_the_number_of_entries_is_known_and_bounded(calls: list[tuple[int, int, int]]) -> None:
    windows = Windows(most=40)
    windows.horizon_ms = 3000
    for key, message, at in calls:
        windows.add(key, entry(f"m{message}", T0 + at))
        held = sum(map(len, windows._timelines.values()))
        assert windows._entries == held
        assert held <= 40 + DEPTH


def test_a_window_ends_at_the_event_and_begins_its_span_before() -> None:
    windows = Windows()
    for number in range(5):
        timeline = windows.add("a", entry(f"m{number}", T0 + number * 1000))
    assert [e.message for e in within(timeline, T0 + 3000, 2000)] == ["m1", "m2", "m3"]


def test_a_budget_counts_messages_once_and_forgets_after_its_span() -> None:
    windows = Windows()
    assert [windows.spend("rule", message, T0, 1000) for message in ("m1", "m2", "m1")] == [1, 2, 2]
    assert windows.spend("rule", "m3", T0 + 1001, 1000) == 1


def test_a_budget_remembers_no_more_messages_than_any_budget_may_have() -> None:
    windows = Windows()
    for number in range(MOST_SPENT):
        windows.spend("rule", f"old{number}", T0, 1000)
    assert windows.spend("rule", "new", T0, 1000) == MOST_SPENT
    assert windows.spend("rule", "old0", T0, 1000) == MOST_SPENT
    assert windows.spend("rule", "new", T0, 1000) == MOST_SPENT
