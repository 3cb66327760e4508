"""The command of those who run workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from console import Unreachable
from console.command import Rules, exit_codes, settings_of
from console.words import say

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from streams.settings import Settings

app = typer.Typer(rich_markup_mode=None)


@app.command(help=say("运行处理进程，直到 SIGTERM", "Run a worker, or several, until SIGTERM."))
def worker(
    rules: Rules = None,
    *,
    processes: Annotated[
        int | None,
        typer.Option(
            min=1, max=128, metavar="N", help=say("开几个进程，一个核一个", "How many processes; one a core.")
        ),
    ] = None,
) -> None:
    """Run a worker; without a broker or store in the settings, with embedded ones that keep nothing."""
    from streams.logs import log_json  # noqa: PLC0415

    settings = settings_of(rules, processes=processes)
    log_json(settings.log_level)
    if settings.processes == 1:
        from streams.worker import work  # noqa: PLC0415

        raise typer.Exit(_run(settings, work(settings)))
    from streams.processes import work_together  # noqa: PLC0415

    raise typer.Exit(work_together(settings, lambda work: _code(settings, work)))


def _code(settings: Settings, work: Coroutine[Any, Any, int]) -> int:
    """Return how a forked process ends: whoever forked it has no use for exceptions."""
    try:
        with exit_codes():
            return _run(settings, work)
    except typer.Exit as exc:
        return exc.exit_code


def _run(settings: Settings, work: Coroutine[Any, Any, int]) -> int:
    import asyncio  # noqa: PLC0415

    from aiokafka.errors import KafkaError  # noqa: PLC0415

    try:
        return asyncio.run(work)
    except KafkaError as exc:  # once it runs, it waits for a broker that went away
        from console.trouble import told  # noqa: PLC0415

        raise Unreachable(asyncio.run(told(settings, exc))) from None
