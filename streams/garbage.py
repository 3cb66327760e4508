"""The garbage collector, told what is not worth looking at."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Judging makes many small objects and no cycles: looking for cycles after every 700 took 4 % of a worker's time
#: (2026-11-21), and a fifth of a backtest's (2026-11-22).
THRESHOLD: Final = (50_000, 20, 50)


def settle() -> None:
    """Take what is there, jieba's dictionary and the rules, for what never dies, and look for cycles seldom.

    A collection costs 29 ms with them in sight. Call it once the rules are loaded, in a process that goes on to judge.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLD)


@contextmanager
def left() -> Iterator[None]:
    """Look for no cycles while rules are made.

    There are none among their objects, up to a million, and all of these stay: looking took a quarter of the time, and
    held the interpreter's lock for 0.2 s (2026-11-22).
    """
    looking = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if looking:
            gc.enable()
