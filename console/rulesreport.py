"""What each rule does: hits and would-be deeds on recorded chat, and how much of what it did was undone by humans."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from rich import box
from rich.table import Table
from rich.text import Text

from console.show import visible
from console.words import say
from streams.ledger import RedisLedger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from console.findings import Report, RuleRow
    from streams.settings import Settings

_DAY_MS: Final = 86_400_000
PAGE: Final = 1_000
STORE_S: Final = 5.0
_IN_FORCE: Final = ("live", "canary", "shadow")


class Row(Struct, frozen=True):
    """One rule. `would` are messages it would have muted or banned for if it were live, of a shadow rule.

    `actions` and `overturned` are the ledger's, None without one. `dead`: in force, and hit nothing here; `covered`:
    never hit anything that no other rule hit.
    """

    rule: str
    status: str
    hits: int
    rate: float
    acted: int
    would: int
    beside: tuple[tuple[str, int], ...]
    dead: bool
    covered: bool
    actions: int | None = None
    overturned: int | None = None


async def rows(settings: Settings, report: Report, days: int) -> list[Row]:
    """Return a row for each rule in force, the busiest first. Raises StoreUnavailable."""
    undone = await _overturned(settings, [one.id for one in report.rules], days)
    here = [one for one in report.rules if one.status[0] in _IN_FORCE]
    return [_row(one, report.events, *undone.get(one.id, (None, None))) for one in here]


def _row(one: RuleRow, events: int, actions: int | None, overturned: int | None) -> Row:
    return Row(
        one.id,
        one.status[0],
        one.hits[0],
        one.hits[0] / max(1, events),
        one.acted[0] if one.status[0] != "shadow" else 0,
        one.newly,
        one.beside,
        one.hits[0] == 0,
        one.hits[0] > 0 and one.alone == 0,
        actions,
        overturned,
    )


async def _overturned(settings: Settings, rules: Sequence[str], days: int) -> dict[str, tuple[int, int]]:
    """Return by rule how many actions the ledger lists, and how many were reverted. Nothing without a ledger."""
    if settings.redis is None:
        return {}
    ledger = RedisLedger(settings.redis.get_secret_value(), prefix=settings.redis_prefix, timeout_s=STORE_S)
    try:
        return {rule: await _counted(ledger, rule, days) for rule in rules}
    finally:
        await ledger.close()


async def _counted(ledger: RedisLedger, rule: str, days: int) -> tuple[int, int]:
    now, actions, undone, after = time.time_ns() // 1_000_000, 0, 0, ""
    while True:
        page = await ledger.listing.page(f"rule:{rule}", now - days * _DAY_MS, now, after, PAGE)
        actions += len(page.found)
        undone += sum(one.revert is not None for one in page.found)
        after = page.after
        if not after:
            return actions, undone


def table(found: Sequence[Row]) -> Table:
    """Show the rows for people."""
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in (
        say("规则", "rule"),
        say("状态", "status"),
        say("命中", "hits"),
        say("命中率", "rate"),
        say("处罚", "acted on"),
        say("若转正", "if live"),
        say("指令", "actions"),
        say("撤销率", "overturned"),
        say("一起命中", "beside"),
        "",
    ):
        shown.add_column(Text(name), overflow="fold", no_wrap=name == say("规则", "rule"))
    for one in found:
        beside = "，".join(f"{visible(name)} {count}" for name, count in one.beside[:1])
        cells = (one.status, str(one.hits), f"{one.rate:.3%}", str(one.acted), str(one.would), _or_dash(one.actions))
        shown.add_row(visible(one.rule), *cells, _share(one), Text(beside), Text(_note(one), "yellow"))
    return shown


def _note(one: Row) -> str:
    if one.dead:
        return say("没有命中过", "never hit")
    return say("总和别的规则一起", "never alone") if one.covered else ""


def _share(one: Row) -> str:
    return f"{one.overturned / one.actions:.1%}" if one.actions and one.overturned is not None else "—"


def _or_dash(count: int | None) -> str:
    return "—" if count is None else str(count)
