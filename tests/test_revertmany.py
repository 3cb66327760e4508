"""A bad rule taken back from the command line: looked at first, then done by a real worker."""

from __future__ import annotations

import asyncio
from io import StringIO
from typing import TYPE_CHECKING

import msgspec
import pytest
from rich.console import Console

from console import revert, revertmany
from moderation.actions import Action, Which
from moderation.errors import SettingsError
from streams.topics import create_topics
from streams.worker import running
from tests.small_rules import rules
from tests.test_worker import SPAM, drained, fresh_event, producer, publish, read, settings_for

if TYPE_CHECKING:
    from streams.embedded import Embedded

ACCOUNTS = 30


def test_an_order_about_nothing_in_particular_is_refused() -> None:
    with pytest.raises(SettingsError, match="--rule"):
        revertmany.order(Which(), "gm", "误伤")
    with pytest.raises(SettingsError, match="operator"):
        revertmany.order(Which(rule="sell.contact"), "", "误伤")


@pytest.mark.servers
def test_what_the_preview_shows_is_what_the_worker_undoes(embedded: Embedded) -> None:
    async def run() -> tuple[revertmany.Preview, revertmany.Preview, list[int], list[Action]]:
        settings = settings_for("many", redis=embedded.redis, kafka=embedded.kafka)
        await create_topics(settings, embedded.kafka)
        async with (
            running(settings, embedded.kafka, embedded.redis, rules()) as worker,
            producer(embedded, settings) as to,
        ):
            await worker.wait_ready()
            chat = [fresh_event(SPAM, n, f"m{n}", level=3) for n in range(ACCOUNTS)]
            await publish(to, settings.topics.world, chat)
            await drained(embedded, settings, settings.topics.world, ACCOUNTS)
            command = revertmany.order(Which(rule="sell.contact", server_id="s1"), "gm-li", "规则写错了")
            before = await revertmany.preview(settings, command, rules())
            await revert.publish(settings, command)
            left: list[int] = []
            await revertmany.watch(settings, command, rules(), left.append)
            after = await revertmany.preview(settings, command, rules())
            sent = await read(embedded, settings, settings.topics.enforcement, 2 * before.undo + before.justified)
            return before, after, left, [msgspec.json.decode(one, type=Action) for one in sent]

    before, after, left, actions = asyncio.run(run())
    assert (before.already, sum(before.kinds.values())) == (0, before.undo)
    assert before.undo + before.justified >= 2 * ACCOUNTS
    assert (after.undo, after.already) == (0, before.undo)
    assert left[-1] == 0
    orders, undone = {one.action_id for one in actions if one.reverts is None}, {one.reverts for one in actions}
    # a text that many say is punished by other rules, too: how many had said it depends on which came first
    assert undone - {None} <= orders
    assert (len(undone - {None}), len(orders)) == (before.undo, before.undo + before.justified)
    shown = Console(width=120, record=True, file=StringIO())
    shown.print(revertmany.table(before))
    assert f" {before.undo}  " in shown.export_text()
