"""The parent of several processes: starts them, starts again what ends, and ends all of them in time.

It does nothing else: no event loop, no thread, no connection. So it has nothing to fail by, and may fork whenever a
process has to be replaced; the new one shares the rules' memory with it (streams/processes.py).

A process that ends before it ever came up ends the whole: settings, rules or a broker that are no good are for who
starts it to see, at once (gunicorn and, since 2026, uvicorn do the same; before, uvicorn restarted for ever). One that
ends later is replaced after a pause: restarting its healthy neighbours with it would cost the group more rebalances
and their windows. One whose event loop is silent is killed, as an orchestrator's probe would.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
import traceback
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, NoReturn

import structlog

from streams.stop import EX_TEMPFAIL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from streams.board import Board, Seat

log = structlog.get_logger()

#: A process whose loop shows nothing for so long is killed: gunicorn's timeout. A worker judges for a second at most.
SILENT_S: Final = 30.0
#: Before a process is started again; twice as long each time, until one has lived for STEADY_S. Seconds.
PAUSE_S: Final = 1.0
PAUSE_MOST_S: Final = 30.0
STEADY_S: Final = 60.0
#: What is left to a process that ends by itself when its time is up, before it is killed. Seconds.
GRACE_S: Final = 3.0
EVERY_S: Final = 1.0
_TOLD: Final = 128 + signal.SIGTERM
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)


class Child:
    """A process and what it runs. `seat` shows whether a worker runs; without `again` its end is the end of all."""

    def __init__(
        self,
        name: str,
        run: Callable[[], int],
        *,
        seat: Seat | None = None,
        again: bool = True,
        pause_s: float = PAUSE_S,
    ) -> None:
        self.name = name
        self.run = run
        self.seat = seat
        self.again = again
        self.pid = 0
        self.began = self.due = 0.0
        self.pause = self._pause_s = pause_s
        self.was_up = False

    def ended(self, code: int, now: float) -> None:
        """Take note of an end, and when to start again."""
        self.was_up |= self.seat is None or self.seat.up
        if self.seat:
            self.seat.clear()
        self.pause = self._pause_s if now - self.began > STEADY_S else self.pause
        self.pid, self.due = 0, now + self.pause
        log.error("process ended", worker=self.name, code=code, again_in_s=self.pause if self.again else None)
        self.pause = min(PAUSE_MOST_S, 2 * self.pause)


class Arbiter:
    """Runs children until a signal comes or one ends for good. `lifeline` comes to its end when the arbiter is gone.

    Children are told to end, and killed `grace_s` after `shutdown_s`, by when they should have ended by themselves.
    """

    def __init__(
        self,
        board: Board,
        shutdown_s: float,
        *,
        silent_s: float = SILENT_S,
        grace_s: float = GRACE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._board = board
        self._shutdown_s = shutdown_s
        self._silent_s = silent_s
        self._grace_s = grace_s
        self._clock = clock
        self._children: list[Child] = []
        self._code: int | None = None
        self.lifeline, self._held = os.pipe()

    def start(self, child: Child) -> None:
        """Start a process; from then on it is ours to end."""
        if child not in self._children:
            self._children.append(child)
        child.began = self._clock()
        if child.seat:
            child.seat.clear()
        child.pid = self._fork(child.run)
        if child.seat:
            child.seat.give(child.pid)

    def run(self, children: Sequence[Child]) -> int:
        """Start children and keep them running. Returns the worst exit code: 0 where all ended well, when told to."""
        with _heard() as heard:
            try:
                self._keep(children, heard)
            finally:
                log.info("stopping all processes", within_s=self._shutdown_s + self._grace_s)
                code = self.end()
            return code

    def _keep(self, children: Sequence[Child], heard: Callable[[float], set[int]]) -> None:
        for child in children:
            self.start(child)
        while self._code is None:
            if heard(EVERY_S) & {signal.SIGTERM, signal.SIGINT}:
                return
            self._look()

    def end(self) -> int:
        """End all processes, workers before what they need; return the worst exit code."""
        codes = [self._code or 0]
        workers = [child for child in self._children if child.seat]
        for some in (workers, [child for child in self._children if not child.seat]):
            codes += self._ended(some)
        return max(codes)

    def _look(self) -> None:
        self._board.arbiter.beat()
        for child in self._children:
            code = _reaped(child.pid)
            if code is not None:
                child.ended(code, self._clock())
                if not (child.again and child.was_up):
                    self._code = max(code, 1)
            elif child.pid and child.seat and child.seat.silent_s > self._silent_s:
                log.critical("process is silent: killed", worker=child.name, silent_s=round(child.seat.silent_s))
                os.kill(child.pid, signal.SIGKILL)
        if self._code is None:
            self._start_due()

    def _start_due(self) -> None:
        for child in self._children:
            if not child.pid and child.due <= self._clock():
                self.start(child)
                if child.seat:
                    self._board.count_restart()
                log.warning("process started again", worker=child.name, pid=child.pid)

    def _ended(self, children: Sequence[Child]) -> list[int]:
        """Tell them to end, kill those that do not, and return their exit codes."""
        left = {child.pid: child for child in children if child.pid}
        for pid in left:
            os.kill(pid, signal.SIGTERM)
        codes, deadline = [], self._clock() + self._shutdown_s + self._grace_s
        while left:
            for pid in list(left):
                if (code := _reaped(pid)) is not None:
                    codes.append(0 if code == _TOLD else code)  # it had not begun yet, and ended as it was told
                    left.pop(pid).pid = 0
            if left and self._clock() > deadline:
                log.critical("not ended in time: killed", processes=[child.name for child in left.values()])
                for pid in left:
                    os.kill(pid, signal.SIGKILL)
                deadline = float("inf")
            time.sleep(0.02 if left else 0)
        return codes

    def _fork(self, run: Callable[[], int]) -> int:
        """Fork. No signal comes between the fork and the child's own handlers: ours would write to our pipe."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            pid = os.fork()
            if not pid:
                os.close(self._held)
                _live(run)
            return pid
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


def _live(run: Callable[[], int]) -> NoReturn:
    """Be the child, to the end: nothing that our parent has on its stack or to do at its exit is ours."""
    code = EX_TEMPFAIL
    try:
        os.setpgid(0, 0)  # a Ctrl-C is for the arbiter: it ends all in the right order
        signal.set_wakeup_fd(-1)
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        code = run()
    except BaseException:  # noqa: BLE001  there is nobody above us
        traceback.print_exc()
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _reaped(pid: int) -> int | None:
    """Return how a process ended, a signal as shells tell it; None while it runs."""
    if not pid:
        return None
    found, status = os.waitpid(pid, os.WNOHANG)
    if not found:
        return None
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


@contextmanager
def _heard() -> Iterator[Callable[[float], set[int]]]:
    """Give what waits, at most so many seconds, and returns the signals that came."""
    ours, theirs = os.pipe()
    os.set_blocking(ours, False)
    os.set_blocking(theirs, False)

    def heard(within_s: float) -> set[int]:
        ready, _, _ = select.select([ours], [], [], within_s)
        return set(os.read(ours, 512)) if ready else set()

    before = [signal.signal(number, lambda *_: None) for number in _SIGNALS]
    was = signal.set_wakeup_fd(theirs, warn_on_full_buffer=False)
    try:
        yield heard
    finally:
        signal.set_wakeup_fd(was)
        for number, handler in zip(_SIGNALS, before, strict=True):
            signal.signal(number, handler)
        os.close(ours)
        os.close(theirs)
