"""What the agents do with a batch that fails: acknowledge nothing, and leave; but not where they were told to end."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from streams.app import _guarded

#: Batches of nothing, and an app that goes on, as `_guarded` asks for them.
EVENTS = [SimpleNamespace(message=SimpleNamespace(value=[]))]
APP = SimpleNamespace(should_stop=False)
_FAIL = """
import asyncio
from streams.app import _guarded
from tests.test_app import APP, EVENTS

async def work(records, fresh):
    raise {error}

asyncio.run(_guarded(APP, "world", EVENTS, work))
"""


@pytest.mark.parametrize("error", ["RuntimeError", "MemoryError", "asyncio.CancelledError", "SystemExit"])
def test_a_batch_that_fails_ends_the_process_even_if_it_looks_like_being_cancelled(error: str) -> None:
    ended = subprocess.run([sys.executable, "-c", _FAIL.format(error=error)], check=False, capture_output=True)
    assert ended.returncode == os.EX_SOFTWARE
    assert b"leaving without acknowledging" in ended.stdout + ended.stderr


def test_a_batch_that_is_told_to_end_takes_nobody_with_it() -> None:
    async def work(*_: object) -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        task = asyncio.create_task(_guarded(APP, "world", EVENTS, work))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
