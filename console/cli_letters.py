"""The commands about dead letters: list, show, replay."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from console.command import FINDINGS, Json, Viewer, Why, WhyShown, print_json, settings_of, show, told
from console.words import say
from moderation.errors import SettingsError

if TYPE_CHECKING:
    from streams.settings import Settings

dead_letters = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help=say("死信：读不懂的记录，为什么，怎么重发", "What could not be understood, why, and sending it again."),
)

Reason = Annotated[str | None, typer.Option(metavar="REASON", help=say("只看这种原因", "Only of this reason."))]
Since = Annotated[
    str | None,
    typer.Option(metavar="DURATION", help=say("只看最近：30s、10m、2h、7d", "Only the last 30s, 10m, 2h, 7d.")),
]


@dead_letters.command("list", help=say("各种原因的条数、怎么修，和最新的几条", "Count reasons; list the newest."))
def list_dead_letters(
    *,
    most: Annotated[int, typer.Option(min=1, max=100_000, help=say("最多几条", "At most."))] = 20,
    reason: Reason = None,
    since: Since = None,
    why: WhyShown = None,
    operator: Viewer = None,
    json: Json = False,
) -> None:
    """Read the topic as it is now. JSON is one object per letter and line, newest first. No text without a why."""
    import asyncio  # noqa: PLC0415

    from console.dead_letters import newest, wanted  # noqa: PLC0415
    from console.show_letters import listing  # noqa: PLC0415

    settings = settings_of()
    _looked(settings, "dead-letters list", (), why, operator)
    found = asyncio.run(newest(settings, wanted(reason=reason, since=since), most, text=why is not None))
    if json:
        for one in found.newest:
            print_json(one)
    elif found.newest:
        show(listing(found))
    else:
        typer.echo(say("没有死信", "no dead letters"), err=True)


@dead_letters.command("show", help=say("显示一条死信的全部", "Show one letter in full."))
def show_dead_letter(
    place: Annotated[str, typer.Argument(metavar="PARTITION:OFFSET", help=say("位置", "Where it is."))],
    *,
    why: Why,
    operator: Viewer = None,
    raw: Annotated[
        Path | None, typer.Option(metavar="FILE", help=say("把原始字节写入文件", "Write its bytes to FILE."))
    ] = None,
) -> None:
    """Exit 1 if there is no such letter, or no bytes to write; 2 if they cannot be written."""
    import asyncio  # noqa: PLC0415

    from console.dead_letters import Place, find  # noqa: PLC0415
    from console.show_letters import dossier  # noqa: PLC0415

    settings = settings_of()
    letter = asyncio.run(find(settings, Place.parse(place)))
    if letter is None:
        raise told(SettingsError(say(f"没有这条死信：{place}", f"no such dead letter: {place}")), FINDINGS)
    _looked(settings, "dead-letters show", (place,), why, operator)
    show(dossier(settings, letter))
    if raw is None:
        return
    if letter.value is None:
        raise told(SettingsError(say("值是 null，没有字节可写", "a null value: no bytes to write")), FINDINGS)
    try:
        raw.write_bytes(letter.value)
    except OSError as exc:
        raise SettingsError(f"--raw {raw}: {exc.strerror}") from None


@dead_letters.command(
    "replay",
    help=say(
        "把死信发回来源主题；不加 --yes 只预览。先修好原因，否则又成死信。聊天重发几次都无妨：同一 event_id 只算一次",
        "Send letters to their source topics again; a preview without --yes. Mend the cause first, or they die again. "
        "For chat a replay is idempotent, as event_ids are: each counts once.",
    ),
)
def replay_dead_letters(
    places: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PARTITION:OFFSET]...", help=say("位置，默认全部", "Where they are; else all.")),
    ] = None,
    *,
    reason: Reason = None,
    since: Since = None,
    why: WhyShown = None,
    operator: Viewer = None,
    yes: Annotated[bool, typer.Option("--yes", help=say("真的发送", "Send them."))] = False,
) -> None:
    """Exit 1 if a letter that was named is not there or cannot be sent. No text without a why."""
    import asyncio  # noqa: PLC0415

    from console.dead_letters import replay, wanted  # noqa: PLC0415
    from console.show_letters import replayed  # noqa: PLC0415

    settings, which = settings_of(), wanted(places or (), reason, since)
    _looked(settings, "dead-letters replay", tuple(places or ()), why, operator)
    done = asyncio.run(replay(settings, which, send=yes, text=why is not None))
    show(replayed(done, send=yes))
    if done.missing or (places and done.refused):
        raise typer.Exit(FINDINGS)


def _looked(settings: Settings, command: str, of: tuple[str, ...], why: str | None, operator: str | None) -> None:
    """Record that somebody is shown text, if they say why; else none is shown."""
    import asyncio  # noqa: PLC0415

    from console.notes import viewed  # noqa: PLC0415

    if why is not None:
        asyncio.run(viewed(settings, command, of, operator=operator, why=why))
