"""Rules that workers leave to humans: which, why, and the order by which one acts again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal

from msgspec import Struct
from rich import box
from rich.table import Table
from rich.text import Text

from console.campaigns import moment
from console.ledger import asked
from console.show import visible
from console.words import say
from moderation.band import WHOLE, Fallen
from moderation.errors import SettingsError
from moderation.rulefile import read

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streams.bundle import Layers
    from streams.ledger import Ledger
    from streams.settings import Settings


class Left(Struct, frozen=True):
    """A revision in force that acts no more: people overturned it, or it left its band, then with the figures."""

    rule: str
    revision: str
    why: Literal["overturned", "out_of_band"]
    seen: Fallen | None = None


async def left(settings: Settings, layers: Layers) -> list[Left]:
    """Return the rules of these files that are left to humans. Raises StoreUnavailable."""

    async def look(ledger: Ledger) -> list[Left]:
        fallen = [Left(one.rule, one.revision, "out_of_band", one) for one in await ledger.bands.fallen()]
        overturned = [Left(*key, "overturned") for key in sorted(await ledger.appeals.overturned())]
        return [*fallen, *overturned]

    found = await asked(settings, look)
    if not found:
        return []  # then nobody waits for rules to be read
    live = {(rule.id, rule.revision) for rule in read(layers).rules}
    return [one for one in found if (one.rule, one.revision) in live]


async def trust(settings: Settings, rule: str, *, yes: bool) -> Fallen:
    """Let a rule act again that left its band; without `yes` only return what was seen of it.

    Raises SettingsError where it did not leave it, StoreUnavailable.
    """

    async def lift(ledger: Ledger) -> Fallen | None:
        known = [one for one in await ledger.bands.fallen() if one.rule == rule]
        for one in known if yes else ():
            await ledger.bands.lift((one.rule, one.revision), time.time_ns() // 1_000_000)
        return max(known, key=lambda one: one.at, default=None)

    found = await asked(settings, lift)
    if found is None:
        raise SettingsError(say(f"{rule} 没有因为命中率停下", f"{rule} did not leave its band"))
    return found


def table(rules: Iterable[Left]) -> Table:
    """Show rules that are left to humans, with the reason and the figures."""
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in (
        say("只转人工的规则", "left to humans"),
        say("版本", "revision"),
        say("起", "since"),
        say("原因", "why"),
    ):
        shown.add_column(Text(name), overflow="fold")
    for one in rules:
        since = moment(one.seen.at) if one.seen else "—"
        shown.add_row(visible(one.rule), one.revision, since, Text(figures(one.seen), "bold red"))
    return shown


def figures(seen: Fallen | None) -> str:
    """Say why a rule is left to humans; without figures it was overturned."""
    if seen is None:
        return say("被申诉推翻太多，见 appeals rates", "overturned by appeals: see appeals rates")
    share, most = seen.senders / max(1, seen.messages), seen.at_most_ppm / WHOLE
    of, minutes = f"{share:.2%} > {most:.2%}", seen.span_s // 60
    return say(
        f"命中率超出上限：{minutes} 分钟 {seen.messages} 条消息命中 {seen.senders} 人，{of}",
        f"out of its band: {seen.senders} senders in {seen.messages} messages of {minutes} min, {of}",
    )
