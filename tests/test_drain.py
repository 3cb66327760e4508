"""A worker stops before it makes dead letters of a whole topic."""

from __future__ import annotations

import pytest

from streams.drain import LEAST, Draining, DrainLimit
from tests.small_rules import event
from tests.test_pipeline import TOPICS, Desk, Record, record


def test_more_than_the_share_of_many_records_stops() -> None:
    limit = DrainLimit(0.5)
    limit.add(LEAST, LEAST // 2)
    with pytest.raises(Draining, match=r"101 of the last 200 .* QINGLIU_DEAD_LETTER_SHARE"):
        DrainLimit(0.5).add(LEAST, LEAST // 2 + 1)


def test_a_few_records_say_nothing_and_what_was_long_ago_does_not_count() -> None:
    limit = DrainLimit(0.5)
    limit.add(LEAST - 1, LEAST - 1)
    limit.add(LEAST, 0)
    for _ in range(100):
        limit.add(10, 1)
    limit.add(LEAST // 2 - 20, LEAST // 2 - 20)
    with pytest.raises(Draining):
        limit.add(20, 20)


def test_without_a_limit_everything_may_be_dead() -> None:
    DrainLimit(1).add(LEAST, LEAST)


def test_nothing_of_the_batch_that_is_too_much_is_sent() -> None:
    desk = Desk(drain=DrainLimit(0.5))
    desk.chat(record(event("你好")))
    with pytest.raises(Draining):
        desk.chat(*(Record(n, b"x", b"{}") for n in range(LEAST)))
    assert desk.post.of(TOPICS.dead_letters) == []
    assert desk.outcomes() == {"allow": 1}
