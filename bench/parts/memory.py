"""What a worker remembers of those who speak: 100 000 players, a real process; and of accounts that somebody invents.

Invented accounts go through a pipeline with a ledger in a Valkey of its own (bench/flood.py), each seen once.
"""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Final

from bench import flood
from bench.apart import apart
from bench.drive import Drive
from bench.lines import in_turn, today
from bench.pair import embedded
from bench.part import Part
from streams.embedded import resident_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.pair import Pair
    from bench.part import Figures, Scale

SENDERS: Final = {"tiny": 50, "quick": 100_000, "full": 100_000}
#: Messages of each of them; a player has five in an hour's windows at least.
MESSAGES_EACH: Final = {"tiny": 2, "quick": 1, "full": 5}
INVENTED: Final = {"tiny": 500, "quick": 5_000, "full": 1_000_000}


def part(scale: Scale, stack: ExitStack) -> Part:
    """Let players speak, and accounts be invented; once, since nothing here is a matter of time."""
    pair, seeds = embedded(stack), count(2000)
    active = partial(_active, pair, SENDERS[scale], MESSAGES_EACH[scale], seeds)
    return Part(1, {"active senders": active, "invented accounts": partial(_invented, INVENTED[scale])})


def _active(pair: Pair, senders: int, each: int, seeds: Iterator[int]) -> Figures:
    with ExitStack() as stack:
        drive = Drive(pair, stack)
        pid = drive.workers[0].process.pid
        fresh = resident_bytes(pid)
        drive.say([*in_turn(today(senders * each, seed=next(seeds)), senders)])
        return {"worker_fresh_mb": fresh / 1e6, "worker_mb": resident_bytes(pid) / 1e6, "senders": senders}


def _invented(accounts: int) -> Figures:
    told = apart("bench.parts.memory:invented", accounts=accounts)
    return {name: float(value) for name, value in told.items()}


async def invented(accounts: int) -> dict[str, float]:
    """Return what grows per invented account, in a process of its own."""
    samples = await flood.run(accounts, None)
    half, last = samples[len(samples) // 2], samples[-1]
    more = max(1, last.accounts - half.accounts)
    return {
        "invented_accounts": last.accounts,
        "invented_worker_mb": last.worker / 1e6,
        "invented_worker_bytes_each": (last.worker - half.worker) / more,
        "invented_store_mb": last.store / 1e6,
        "invented_store_bytes_each": (last.store - half.store) / more,
        "invented_series_added": last.series - samples[1].series,
    }
