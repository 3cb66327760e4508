"""The command of those on call: watch moderation from outside."""

from __future__ import annotations

import typer

from console.command import settings_of
from console.words import say
from moderation.errors import SettingsError

app = typer.Typer(rich_markup_mode=None)


@app.command(
    help=say(
        "从外面看着：积压、回执、金丝雀，供 Prometheus 抓取", "Watch from outside: lag, acks, canaries, for Prometheus."
    )
)
def observe() -> None:
    """Serve /metrics until SIGTERM. Needs a real broker and store: an embedded pair belongs to one process."""
    import asyncio  # noqa: PLC0415

    from streams.logs import log_json  # noqa: PLC0415
    from streams.observer import observe as run  # noqa: PLC0415

    settings = settings_of()
    if settings.kafka is None or settings.redis is None:
        raise SettingsError(say("请设置 QINGLIU_KAFKA 和 QINGLIU_REDIS", "set QINGLIU_KAFKA and QINGLIU_REDIS"))
    log_json(settings.log_level)
    asyncio.run(run(settings, settings.kafka, settings.redis.get_secret_value()))
