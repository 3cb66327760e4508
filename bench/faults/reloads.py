"""New rules while chat is judged: good ones and broken ones by turns, straight into the store, past every gate."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from aiohttp import ClientSession

from moderation.rulefile import load
from streams.bundle import Layers, gather
from streams.publications import RedisPublications, following

if TYPE_CHECKING:
    from bench.faults.scene import Scene

RULES: Final = Path(__file__).parent.parent.parent / "rules"
#: One revision every so often, so many in all; what is broken may be so in one of these ways.
EVERY_S: Final = 1.5
REVISIONS: Final = 8
ADOPTED_WITHIN_S: Final = 60.0
QUIET_S: Final = 6.0
_BROKEN: Final = (b"- id: [", b"- id: half\n  label: rmt\n", b"\xff\xfe\x00", b"- nothing\n")
#: Says nothing of anybody's chat, and makes another rule set of the same rules.
_DRAFT: Final = """\
- id: faults.draft-{number}
  label: rmt
  说明: 草稿，不参与判定
  owner: faults
  status: draft
  when: {{pattern: 'zzzzqqqq{number}'}}
  score: 50
  because: "草稿"
  tests: {{hit: [zzzzqqqq{number}], pass: [你好]}}
"""
_RELOADS: Final = re.compile(r'qingliu_ruleset_reloads_total\{result="(\w+)"\} ([0-9.]+)')


async def reload(scene: Scene) -> None:
    """Publish by turns, faster than a worker compiles; `scene.rulesets` is then what actions may name."""
    publications = RedisPublications(f"redis://127.0.0.1:{scene.store.port}/0")
    shipped, last, good = gather([RULES]), None, set[str]()
    for number in range(1, REVISIONS + 1):
        files, name = _revised(shipped, number), ""
        if number % 2:
            name = (await asyncio.to_thread(load, files)).hash
            good.add(name)
        last = following(last, files, name, "faults", "F16")
        await publications.publish(last, files)
        await asyncio.sleep(EVERY_S)
    await publications.close()
    scene.rulesets |= good
    scene.remarks.append(
        f"{REVISIONS} revisions published, {len(good)} of them good; a worker took {await _settled(scene)}"
    )


def _revised(shipped: Layers, number: int) -> Layers:
    more = _DRAFT.format(number=number).encode() if number % 2 else _BROKEN[number // 2 % len(_BROKEN)]
    return (*shipped, {"site/f16.yaml": more})


async def _settled(scene: Scene) -> dict[str, int]:
    """Return what became of the revisions, once the worker has seen the last and counts no more for a while."""
    before: dict[str, int] = {}
    with suppress(TimeoutError):
        async with asyncio.timeout(ADOPTED_WITHIN_S):
            while True:
                page = await _page(scene.crew.workers[0].port)
                now = {result: int(float(count)) for result, count in _RELOADS.findall(page)}
                if f"qingliu_rules_published {REVISIONS}.0" in page and now == before:
                    return now
                before = now
                await asyncio.sleep(QUIET_S)
    return before


async def _page(port: int) -> str:
    async with ClientSession() as http, http.get(f"http://127.0.0.1:{port}/metrics") as answer:
        return await answer.text()
