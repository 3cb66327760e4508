"""How long a reload of many terms keeps a worker's loop waiting: the longest stalls, by the clock and by our own work.

    .venv/bin/python -m bench.reload [--terms 50000] [--rounds 3]

A loop that sleeps a millisecond at a time notes how late it wakes while rules are read and compiled beside it, and
while the ones before are let go. On a busy machine it wakes late with nothing to do, too (the first line): then the
processor time that this process used meanwhile tells how much of a stall is ours.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from streams.bundle import gather
from streams.reload import compiled
from streams.worker import GC_THRESHOLD

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from streams.bundle import Layers

_TICK_S: Final = 0.001
_FILE: Final = 10_000
_HAN: Final = range(0x4E00, 0x9000)


class Stall(NamedTuple):
    """How late the loop woke, and for how long this process worked meanwhile. Seconds."""

    late: float
    own: float


def layers(terms: int, seed: int) -> Layers:
    """Return the shipped rules and a layer of made-up terms, others for each seed."""
    draw = random.Random(seed)  # noqa: S311  made-up words must repeat
    words: set[str] = set()
    while len(words) < terms:
        words.add("".join(map(chr, draw.choices(_HAN, k=draw.randint(2, 5)))))
    listed = sorted(words)
    files = {
        f"site/lexicons/{at}.yaml": _lexicon(f"made_{at}", listed[at : at + _FILE]) for at in range(0, terms, _FILE)
    }
    return (*gather([Path(__file__).parent.parent / "rules"]), files)


def _lexicon(name: str, words: list[str]) -> bytes:
    return f"{name}:\n  说明: 试\n  decoy: true\n  terms: [{', '.join(words)}]\n".encode()


@asynccontextmanager
async def watched() -> AsyncIterator[list[Stall]]:
    """Note every wake-up of the loop while the context is open."""
    stalls: list[Stall] = []
    task = asyncio.create_task(_tick(stalls))
    try:
        yield stalls
    finally:
        task.cancel()


async def _tick(stalls: list[Stall]) -> None:
    last, worked = time.perf_counter(), time.process_time()
    while True:
        await asyncio.sleep(_TICK_S)
        now, own = time.perf_counter(), time.process_time()
        stalls.append(Stall(now - last - _TICK_S, own - worked))
        last, worked = now, own


def said(name: str, stalls: list[Stall]) -> str:
    """Say the longest stall, and the one with most work of ours."""
    late, own = max(stalls), max(stalls, key=lambda one: one.own)
    return (
        f"{name}: late {late.late * 1e3:.0f} ms (own {late.own * 1e3:.0f}); most work of our own {own.own * 1e3:.0f} ms"
    )


async def measure(terms: int, rounds: int) -> None:
    """Reload some rounds, each set in place of the one before."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLD)
    async with watched() as stalls:
        await asyncio.sleep(3)
    print(said("idle", stalls))
    rules = await compiled(layers(0, 0))
    for seed in range(rounds):
        files, began = layers(terms, seed), time.perf_counter()
        async with watched() as stalls:
            new = await compiled(files)
        print(f"{time.perf_counter() - began:.1f} s,", said(f"{terms} terms more", stalls), flush=True)
        async with watched() as stalls:
            await asyncio.sleep(0.1)
            rules = new
            del new
            await asyncio.sleep(0.1)
        print(said(f"the old ones let go, {rules.hash} in force", stalls), flush=True)


def main() -> None:
    """Read the options and measure."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--terms", type=int, default=50_000)
    options.add_argument("--rounds", type=int, default=3)
    chosen = options.parse_args()
    asyncio.run(measure(chosen.terms, chosen.rounds))


if __name__ == "__main__":
    main()
