"""Undoing many actions: what an order would undo, shown first; then the order, and how far the workers are.

The preview reads the same lists of the ledger, with the same rules about what is meant, as the worker that carries the
order out. What is judged between the two is undone, too, if the order says no end.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from msgspec import Struct
from rich.console import Group
from rich.table import Table
from rich.text import Text

from console.revert import checked
from console.show import clock, deed, marked, visible
from console.words import say
from moderation.actions import Action, RevertManyCommand, Which
from moderation.errors import SettingsError
from moderation.revert import covers, justified, narrowest
from streams.ledger import RedisLedger
from streams.listing import span

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from moderation.ruleset import RuleSet
    from streams.listing import Listed
    from streams.settings import Settings

#: A person waits for this answer, so the store may take its time. Seconds.
STORE_S: Final = 5.0
#: How long nothing may change before we stop waiting for the workers: a rebalance fits in. Seconds.
WITHIN_S: Final = 20.0
PAGE: Final = 1000
SAMPLES: Final = 5


class Preview(Struct, frozen=True):
    """What an order is about: counts of actions, accounts and VIPs to be relieved, and some of the actions."""

    undo: int
    already: int
    justified: int
    accounts: int
    vips: int
    kinds: dict[str, int]
    servers: dict[str, int]
    samples: tuple[Action, ...]


def order(which: Which, operator: str, reason: str) -> RevertManyCommand:
    """Write the command as of now. Raises SettingsError where nothing is named or a part breaks the contract."""
    if which == Which():
        raise SettingsError(say("请至少指定一个范围，例如 --rule", "name what to undo: --rule, --since, …"))
    return checked(RevertManyCommand(uuid4().hex, operator, reason, time.time_ns() // 1_000_000, which))


async def preview(settings: Settings, command: RevertManyCommand, rules: RuleSet) -> Preview:
    """Look up what the order would undo now. Raises SettingsError, StoreUnavailable."""
    found = [one async for one in _meant(settings, command)]
    left = [one.action for one in found if not one.revert]
    undo = [action for action in left if not justified(command.which, action, rules)]
    return Preview(
        len(undo),
        len(found) - len(left),
        len(left) - len(undo),
        len({action.target.account_id for action in undo}),
        len({action.target.account_id for action in undo if action.evidence and action.evidence.who.tier == "vip"}),
        dict(Counter(map(deed, undo)).most_common()),
        dict(Counter(action.evidence.where.server_id for action in undo if action.evidence).most_common(10)),
        tuple(undo[:: max(1, len(undo) // SAMPLES)][:SAMPLES]),
    )


async def _meant(settings: Settings, command: RevertManyCommand) -> AsyncIterator[Listed]:
    if settings.redis is None:
        raise SettingsError("QINGLIU_REDIS is not set: the ledger that knows the actions")
    ledger = RedisLedger(settings.redis.get_secret_value(), prefix=settings.redis_prefix, timeout_s=STORE_S)
    (since, until), after = span(command.which, command.ts), ""
    try:
        while True:
            page = await ledger.listing.page(narrowest(command.which), since, until, after, PAGE)
            for one in page.found:
                if covers(command.which, one.action):
                    yield one
            after = page.after
            if not after:
                return
    finally:
        await ledger.close()


async def watch(settings: Settings, command: RevertManyCommand, rules: RuleSet, told: Callable[[int], object]) -> int:
    """Tell how many actions are left until none is, or nothing changes for WITHIN_S; return how many are left."""
    left, since = -1, time.monotonic()
    while left and time.monotonic() - since < WITHIN_S:
        now = (await preview(settings, command, rules)).undo
        left, since = now, since if now == left else time.monotonic()
        told(left)
        if left:
            await asyncio.sleep(0.5)
    return left


def table(shown: Preview) -> Any:
    """Show a preview for people."""
    rows = {
        say("将撤销", "to undo"): f"{shown.undo}  {_counts(shown.kinds)}",
        say("涉及账号", "accounts"): f"{shown.accounts}" + (f"  VIP {shown.vips}" if shown.vips else ""),
        say("区服", "servers"): _counts(shown.servers),
        say("已撤销过", "undone before"): str(shown.already),
        say("别的规则也会处罚，保留", "kept: other rules alone punish them"): str(shown.justified),
    }
    grid = Table.grid(padding=(0, 2))
    for name, value in rows.items():
        grid.add_row(Text(name, "dim"), Text(value))
    return Group(grid, _samples(shown)) if shown.samples else grid


def _counts(counts: dict[str, int]) -> str:
    return "  ".join(f"{visible(name)} {count}" for name, count in counts.items())


def _samples(shown: Preview) -> Table:
    sample = Table(box=None, header_style="dim")
    for name in (say("时间", "time"), say("账号", "account"), say("处罚", "action"), say("原文", "message")):
        sample.add_column(name)
    for action in shown.samples:
        what = action.evidence.what if action.evidence else None
        said = marked(what.text, what.spans) if what else Text("-")
        sample.add_row(clock(action.created_at), visible(action.target.account_id), deed(action), said)
    return sample
