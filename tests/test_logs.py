"""Nothing that fails for long fills the disk, and what was not said is counted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from streams.logs import ALL, EACH, KINDS, MINUTE_S, Quota

ROOT = Path(__file__).parent.parent


class Clock:
    def __init__(self) -> None:
        self.now = 6000.0

    def __call__(self) -> float:
        return self.now


def test_a_minute_has_a_few_lines_of_a_kind_and_the_rest_are_counted() -> None:
    quota = Quota(clock=Clock())
    passed = [quota.passes(f"cannot connect to 127.0.0.1:{port}") for port in range(1000)]
    assert passed == [0] * EACH + [None] * (1000 - EACH)
    assert quota.taken() == 1000 - EACH
    assert quota.taken() == 0
    assert quota.passes("something else") == 0


def test_the_first_line_of_the_next_minute_tells_what_was_not_said() -> None:
    clock = Clock()
    quota = Quota(clock=clock)
    for _ in range(EACH + 7):
        quota.passes("cannot connect")
    clock.now += MINUTE_S
    assert quota.passes("cannot connect") == 7
    assert quota.passes("cannot connect") == 0


def test_all_kinds_together_are_bounded_however_many_there_are() -> None:
    quota = Quota(clock=Clock())
    words = [f"{chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(676)]
    assert sum(quota.passes(f"failed {word}") is not None for word in words) == ALL
    assert len(quota._seen) <= KINDS + 1


def test_what_differs_only_in_numbers_and_quotes_is_one_kind() -> None:
    quota = Quota(each=1, clock=Clock())
    assert quota.passes("not acknowledged topic='chat.world' 12 0x7f3a") == 0
    assert quota.passes("not acknowledged topic='chat.private' 13 0x7f4b") is None


def test_our_lines_and_the_libraries_share_one_quota_and_one_form() -> None:
    code = """
import logging, structlog
from streams.logs import QUOTA, log_json
log_json("info")
for n in range(50):
    structlog.get_logger().warning("retrying", attempt=n)
    logging.getLogger("aiokafka.conn").error("Unable connect to node with id %s", n)
structlog.get_logger().critical("leaving")
structlog.get_logger().critical("leaving")
print(QUOTA.taken())
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["level"] for line in lines].count("warning") == EACH
    assert [line["level"] for line in lines].count("error") == EACH
    assert [line["event"] for line in lines][-2:] == ["leaving", "leaving"], "an end is always told"
    assert done.stdout.strip() == str(2 * (50 - EACH))
