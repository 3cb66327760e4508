"""Ending what runs beside a worker: told once, told again, and what is under way may finish."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from streams import stop
from streams.stop import Rounds, ended


@pytest.mark.parametrize("deaf", [0, 1, 3])
def test_a_task_is_told_until_it_ends(monkeypatch: pytest.MonkeyPatch, deaf: int) -> None:
    async def work() -> None:
        for _ in range(deaf):
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
        await asyncio.Event().wait()

    async def story() -> None:
        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        await ended(task)
        assert task.cancelled()

    monkeypatch.setattr(stop, "AGAIN_S", 0.01)
    asyncio.run(asyncio.wait_for(story(), 10))


def test_what_a_task_met_is_no_matter_of_who_ends_it() -> None:
    async def work() -> None:
        raise ZeroDivisionError

    async def story() -> None:
        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        await ended(task)
        assert isinstance(task.exception(), ZeroDivisionError)

    asyncio.run(story())


def test_a_round_under_way_is_finished_and_no_other_one_begins() -> None:
    async def story() -> None:
        rounds, finished = 0, 0

        async def round_() -> None:
            nonlocal rounds, finished
            rounds += 1
            await asyncio.sleep(0.05)
            finished += 1

        going = Rounds(round_, every_s=0)
        await asyncio.sleep(0.01)
        await going.end()
        assert (rounds, finished) == (1, 1)

    asyncio.run(story())


def test_a_round_that_does_not_finish_is_cut_off() -> None:
    async def story() -> None:
        going = Rounds(asyncio.Event().wait, every_s=0)  # type: ignore[arg-type]  # what it returns is nobody's
        await asyncio.sleep(0)
        await going.end(within_s=0.01)
        assert going.task.cancelled()

    asyncio.run(story())
