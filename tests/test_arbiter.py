"""The arbiter over processes that do as a test says. It runs in a process of its own: it takes signals, and forks."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PREAMBLE = """
import os, signal, sys, time
from pathlib import Path
from streams.arbiter import Arbiter, Child
from streams.board import Board
from streams.logs import log_json

log_json("info")
board = Board(2)
one, two = board.workers

def working(seat, then=lambda: None):
    told = []
    signal.signal(signal.SIGTERM, lambda *_: told.append(1))
    seat.come_up()
    then()
    while not told:
        seat.beat()
        time.sleep(0.01)
    return 0
"""


def arbiter(script: str, here: Path, within_s: float = 60.0) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", PREAMBLE + script, str(here)],
        cwd=ROOT, capture_output=True, text=True, timeout=within_s, check=False,
    )  # fmt: skip
    return done.returncode, done.stderr


def test_told_to_stop_it_ends_all_and_tells_the_worst_exit_code(tmp_path: Path) -> None:
    code, said = arbiter(
        """
def stubborn():
    working(two, lambda: os.kill(os.getppid(), signal.SIGTERM))
    return 75

sys.exit(Arbiter(board, 5).run([Child("one", lambda: working(one), seat=one), Child("two", stubborn, seat=two)]))
""",
        tmp_path,
    )
    assert code == 75, said


def test_who_does_not_end_in_time_is_killed(tmp_path: Path) -> None:
    code, said = arbiter(
        """
def deaf():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    two.come_up()
    os.kill(os.getppid(), signal.SIGTERM)
    time.sleep(60)

children = [Child("one", lambda: working(one), seat=one), Child("two", deaf, seat=two)]
sys.exit(Arbiter(board, 0.1, grace_s=0.1).run(children))
""",
        tmp_path,
    )
    assert code == 128 + signal.SIGKILL
    assert "not ended in time: killed" in said


def test_who_ends_before_it_came_up_ends_the_whole_with_its_exit_code(tmp_path: Path) -> None:
    code, said = arbiter(
        """
children = [Child("one", lambda: working(one), seat=one), Child("two", lambda: 3, seat=two)]
sys.exit(Arbiter(board, 5).run(children))
""",
        tmp_path,
    )
    assert code == 3, said
    assert "started again" not in said


def test_who_ends_after_it_came_up_is_started_again_and_counted(tmp_path: Path) -> None:
    code, said = arbiter(
        """
here = Path(sys.argv[1])

def restarted():
    mark = here / "been"
    if mark.exists():
        return working(two, lambda: os.kill(os.getppid(), signal.SIGTERM))
    mark.touch()
    two.come_up()
    os.kill(os.getpid(), signal.SIGKILL)

children = [Child("one", lambda: working(one), seat=one), Child("two", restarted, seat=two, pause_s=0.1)]
code = Arbiter(board, 5).run(children)
assert board.restarts == 1
sys.exit(code)
""",
        tmp_path,
    )
    assert code == 0, said
    assert "process started again" in said
    assert '"code": 137' in said


def test_who_came_up_once_may_fail_to_start_later(tmp_path: Path) -> None:
    code, said = arbiter(
        """
here = Path(sys.argv[1])

def wavering():
    been = len(list(here.iterdir()))
    (here / str(been)).touch()
    if been == 2:
        return working(two, lambda: os.kill(os.getppid(), signal.SIGTERM))
    if been == 0:
        two.come_up()
    return 70

sys.exit(Arbiter(board, 5).run([Child("two", wavering, seat=two, pause_s=0.1)]))
""",
        tmp_path,
    )
    assert code == 0, said
    assert said.count("process started again") == 2


def test_a_silent_process_is_killed_and_started_again(tmp_path: Path) -> None:
    code, said = arbiter(
        """
here = Path(sys.argv[1])

def silent():
    mark = here / "been"
    if mark.exists():
        return working(two, lambda: os.kill(os.getppid(), signal.SIGTERM))
    mark.touch()
    two.come_up()
    os.kill(os.getpid(), signal.SIGSTOP)

sys.exit(Arbiter(board, 5, silent_s=1.0).run([Child("two", silent, seat=two, pause_s=0.1)]))
""",
        tmp_path,
    )
    assert code == 0, said
    assert "process is silent: killed" in said


def test_without_what_all_need_nothing_goes_on(tmp_path: Path) -> None:
    code, said = arbiter(
        """
ended = Child("servers", lambda: 70, again=False)
sys.exit(Arbiter(board, 5).run([ended, Child("one", lambda: working(one), seat=one)]))
""",
        tmp_path,
    )
    assert code == 70, said


def test_a_child_s_error_is_told_and_runs_nothing_of_its_parent(tmp_path: Path) -> None:
    code, said = arbiter(
        """
import atexit
atexit.register(lambda: print("goodbye of", os.getpid(), file=sys.stderr))

def wrong():
    raise LookupError("no such thing")

try:
    sys.exit(Arbiter(board, 5).run([Child("two", wrong, seat=two)]))
finally:
    print("out of", os.getpid(), file=sys.stderr)
""",
        tmp_path,
    )
    assert code == 75
    assert "LookupError: no such thing" in said
    assert said.count("goodbye of") == said.count("out of") == 1
