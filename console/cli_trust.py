"""The command by which a rule that left its band acts again: `qingliu rules trust`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from console.cli_publish import Author, Reason, Yes, not_on_record, only_shown
from console.command import settings_of
from console.words import say

if TYPE_CHECKING:
    from streams.settings import Settings

app = typer.Typer(rich_markup_mode=None)


@app.command(
    help=say("命中率超出上限而停下的规则，看过没问题，恢复自动处罚", "Let a rule act again that left its band.")
)
def trust(
    rule: Annotated[str, typer.Argument(metavar="RULE", help=say("规则编号", "The rule's id."))],
    *,
    author: Author,
    reason: Reason,
    yes: Yes = False,
) -> None:
    """Show what was seen of it; with --yes do it. It is watched again from the next window on."""
    import asyncio  # noqa: PLC0415

    asyncio.run(_trust(settings_of(), rule, author, reason, yes=yes))


async def _trust(settings: Settings, rule: str, author: str, reason: str, *, yes: bool) -> None:
    from console import publishing  # noqa: PLC0415
    from console import trust as trusting  # noqa: PLC0415
    from console.notes import rules_changed  # noqa: PLC0415

    who, why = publishing.named(author), publishing.named(reason)
    async with publishing.opened(settings) as publications:
        current = await publications.current()
    seen = await trusting.trust(settings, rule, yes=yes)
    typer.echo(f"{rule}@{seen.revision} {trusting.figures(seen)}")
    if not yes:
        only_shown()
    elif settings.kafka is None:
        not_on_record()
    else:
        ruleset, of = current.ruleset if current else "", f"{rule}@{seen.revision}"
        await rules_changed(settings, "trusted", ruleset, before=None, operator=who[:64], reason=why, rule=of)
