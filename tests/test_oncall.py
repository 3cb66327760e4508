"""A real Prometheus sees what breaks, and when it is mended: a killed broker, a dead store, a refused publish."""

from __future__ import annotations

import asyncio

import pytest

from bench.oncall import FAULTS, missing, quicker, stage


def test_only_lengths_of_time_are_made_shorter() -> None:
    rules = "rate(x[5m] offset 1h) > 60\nfor: 1m\ninterval: 30s\nname: rate5m"
    assert quicker(rules) == "rate(x[10000ms] offset 120000ms) > 60\nfor: 2000ms\ninterval: 1000ms\nname: rate5m"


@pytest.mark.servers
@pytest.mark.timeout(400)
@pytest.mark.skipif(bool(missing()), reason=missing() or "all there")
def test_alerts_fire_and_resolve_for_what_really_breaks() -> None:
    async def story() -> None:
        async with stage() as made:
            for name in FAULTS:
                told = [what for _, what in await made.through(name)]
                for alert in FAULTS[name][0]:
                    # with durations this short one may waver before it stays
                    at_last = len(told) - 1 - told[::-1].index(f"**{alert}** resolved")
                    assert told.index(f"**{alert}** fires") < told.index("mended") < at_last

    asyncio.run(story())
