"""Structured logs: ours and the libraries', JSON lines on stderr, never with chat text, and never a storm.

A broker that is away makes aiokafka log a line for every attempt of every connection: 6 148 a minute for one worker
(2026-11-22). Of lines that say the same, a minute gets a few; the rest are counted, in the next minute's first line
about them and in `qingliu_log_lines_suppressed_total`.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable

#: Lines of one kind, and of all kinds together, that a minute may have. Critical ones always pass: each is an end.
EACH: Final = 5
ALL: Final = 120
MINUTE_S: Final = 60.0
#: Kinds told apart; beyond it a line counts for all others' kind.
KINDS: Final = 500

#: What differs between two lines that say the same: numbers, addresses, and what is quoted.
_DETAILS: Final = re.compile(r"0x[0-9a-f]+|\d+|'[^']*'|\"[^\"]*\"")


class Quota:
    """Tells which lines may pass. Times are seconds of `clock`. Threads may share it."""

    def __init__(self, each: int = EACH, most: int = ALL, clock: Callable[[], float] = time.monotonic) -> None:
        self._each = each
        self._most = most
        self._clock = clock
        self._lock = threading.Lock()
        self._minute = 0
        self._seen: dict[str, int] = {}
        self._before: dict[str, int] = {}
        self._passed = 0
        self._suppressed = 0

    def passes(self, line: str) -> int | None:
        """Return None if the line must not pass, else how many like it did not in the last minute that had any."""
        kind = _DETAILS.sub("#", line)[:100]
        with self._lock:
            self._turn()
            kind = kind if kind in self._seen or len(self._seen) < KINDS else ""
            count = self._seen[kind] = self._seen.get(kind, 0) + 1
            if count > self._each or self._passed >= self._most:
                self._suppressed += 1
                return None
            self._passed += 1
            return self._before.pop(kind, 0)

    def taken(self) -> int:
        """Return how many lines did not pass since this was last asked."""
        with self._lock:
            taken, self._suppressed = self._suppressed, 0
        return taken

    def _turn(self) -> None:
        minute = int(self._clock() // MINUTE_S)
        if minute != self._minute:
            self._before = {kind: count - self._each for kind, count in self._seen.items() if count > self._each}
            self._minute, self._seen, self._passed = minute, {}, 0


#: One stderr, one quota.
QUOTA: Final = Quota()


def _within(_: Any, method: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Drop a line of which there were enough; say of the first one afterwards how many were dropped."""
    if method == "critical":
        return line
    dropped = QUOTA.passes(str(line.get("event")))
    if dropped is None:
        raise structlog.DropEvent
    return {**line, "suppressed_before": dropped} if dropped else line


class _Within(logging.Filter):
    """The same for the libraries' lines."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the line may pass; one that may tells how many before it did not."""
        if record.levelno >= logging.CRITICAL:
            return True
        dropped = QUOTA.passes(f"{record.name} {record.msg}")
        if dropped:
            record.msg, record.args = f"{record.getMessage()} (suppressed before: {dropped})", ()
        return dropped is not None


def log_json(level: str, process: int | None = None) -> None:
    """Send structured logs, ours and the libraries', to stderr as JSON lines; no chat text is ever logged.

    `process` stands in every line, where several write to one stderr.
    """

    def named(_: Any, __: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
        return line if process is None else {**line, "process": process}

    shared: list[Any] = [
        named,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    json = structlog.processors.JSONRenderer(ensure_ascii=False)
    number = getattr(logging, level.upper())
    structlog.configure(
        processors=[_within, *shared, json],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_Within())
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=json, foreign_pre_chain=shared))
    logging.basicConfig(level=max(logging.WARNING, number), handlers=[handler], force=True)
