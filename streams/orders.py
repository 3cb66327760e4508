"""Carrying out what humans order: mutes and bans, reverts, cleared strikes; appeals; what they know of handles.

Every order may be carried out again from its start: what it makes has the same ids and bytes. Nothing here retries;
whoever calls does.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec

from moderation import appeal as appeals
from moderation.actions import (
    AllowHandleCommand,
    AnswerAppealCommand,
    AppealCommand,
    ForgiveCommand,
    HandleCommand,
    MarkHandleCommand,
    RevertCommand,
    RevertManyCommand,
    Source,
)
from moderation.campaign import typed_key
from moderation.errors import DeadReason, EventError
from moderation.order import forgiveness, sanction, undo
from moderation.revert import covers, justified, narrowest
from streams.listing import span
from streams.metrics import NO_LABEL

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from moderation.actions import Action, Command
    from moderation.appeal import Appeal
    from moderation.moderator import Moderator
    from moderation.record import Record
    from streams.ledger import Ledger
    from streams.letters import Letters
    from streams.listing import Page
    from streams.metrics import Metrics
    from streams.outbox import Letter

    Deliver = Callable[[Sequence[Letter]], Awaitable[None]]

#: Actions that one page of a mass revert looks at.
PAGE: Final = 200
#: Actions that a mass revert undoes in a second, at most: game servers must keep up.
REVERTS_PER_S: Final = 500


class Orders:
    """Carries out commands against a ledger. `deliver` returns when all letters are durable."""

    def __init__(self, moderator: Moderator, ledger: Ledger, letters: Letters, metrics: Metrics) -> None:
        self._moderator = moderator
        self._ledger = ledger
        self._letters = letters
        self._metrics = metrics

    async def carry_out(self, command: Command, record: Record, deliver: Deliver) -> None:
        """Carry out one command. Raises StoreUnavailable, and what `deliver` raises."""
        try:
            await self._done(command, record, deliver)
        except EventError as exc:
            await deliver([self._letters.dead(record, exc, self._moderator.rules.hash)])
            self._metrics.dead_letters.labels(str(exc.reason)).inc()
            self._metrics.commands.labels(_kind(command), str(exc.reason)).inc()
        else:
            self._metrics.commands.labels(_kind(command), "done").inc()

    async def _done(self, command: Command, record: Record, deliver: Deliver) -> None:
        if isinstance(command, RevertManyCommand):
            await self._revert_many(command, record, deliver)
        elif isinstance(command, RevertCommand):
            await self._revert(command, record, deliver)
        elif isinstance(command, ForgiveCommand):
            await self._ledger.forgive(command.account_id)
            await self._send([forgiveness(command, self._moderator.rules.hash, _source(record))], deliver)
        elif isinstance(command, AppealCommand):
            await self._appeal(command, deliver)
        elif isinstance(command, AnswerAppealCommand):
            await self._answer(command, record, deliver)
        elif isinstance(command, HandleCommand):
            await self._mark(command)
        else:
            await self._send([sanction(command, self._moderator.rules.hash, _source(record))], deliver)

    async def _revert(self, command: RevertCommand, record: Record, deliver: Deliver) -> None:
        undone = await self._known(command)
        await self._send([await self._undone(command, undone, record)], deliver)

    async def _known(self, command: RevertCommand | AppealCommand | AnswerAppealCommand) -> Action:
        found = await self._ledger.find(command.action_id, command.account_id)
        if found is None:
            raise EventError(DeadReason.UNKNOWN_ACTION, "the ledger knows no such action of this account")
        return found

    async def _appeal(self, command: AppealCommand, deliver: Deliver) -> None:
        """Open an appeal. One that is told again, whatever became of it since, is told as it was opened."""
        action = await self._known(command)
        if action.reverts is not None or action.scope == "strike":
            raise EventError(DeadReason.UNKNOWN_ACTION, "that action undid another one: there is nothing to appeal")
        opened = appeals.opened(command, action, self._moderator.rules.policy.appeals)
        kept = await self._ledger.appeals.open(opened)
        if kept.command_id != command.command_id:
            raise EventError(DeadReason.ALREADY_APPEALED, f"an appeal against this action is {kept.state}")
        await deliver([self._letters.appeal(appeals.standing(kept, None, None))])

    async def _answer(self, command: AnswerAppealCommand, record: Record, deliver: Deliver) -> None:
        """Answer an appeal. The record that says so comes last: whoever reads it finds everything done."""
        appeal = await self._ledger.appeals.find(command.action_id)
        if appeal is None or appeal.account_id != command.account_id:
            raise EventError(DeadReason.UNKNOWN_APPEAL, "this account has no appeal against that action")
        undone = await self._known(command) if command.granted else None
        kept = await self._answered(command)
        if command.granted is not None:
            await self._judge_rules(kept, command.ts)
        if undone:
            await self._send([await self._undone(command, undone, record)], deliver)
        final = None if command.granted is None else kept.final
        await deliver([self._letters.appeal(appeals.standing(kept, kept.first, final))])

    async def _answered(self, command: AnswerAppealCommand) -> Appeal:
        kept = await self._ledger.appeals.answer(command.action_id, appeals.answer(command))
        if kept is None:
            raise EventError(DeadReason.UNKNOWN_APPEAL, "the appeal is forgotten")
        counts = kept.first if command.granted is None else kept.final
        if counts is None or counts.command_id != command.command_id:
            raise EventError(DeadReason.ALREADY_ANSWERED, f"the appeal is {kept.state}")
        return kept

    async def _judge_rules(self, answered: Appeal, now: int) -> None:
        """See whether people overturn the rules behind an appeal too often."""
        policy = self._moderator.rules.policy.appeals
        rules = [(rule.id, rule.revision) for rule in answered.rules]
        rates = await self._ledger.appeals.rates(appeals.since(policy, now), rules)
        await self._ledger.appeals.overturn(appeals.overturned(rates, policy), now)

    async def _mark(self, command: HandleCommand) -> None:
        key, campaigns = typed_key(command.type, command.value), self._ledger.campaigns
        if key is None:
            raise EventError(DeadReason.SCHEMA, f"{command.value!r} is no handle")
        if isinstance(command, MarkHandleCommand):
            await campaigns.mark_bad(key, command.ts)
        elif isinstance(command, AllowHandleCommand):
            await campaigns.allow_handle(key, command.ts)
        else:
            await campaigns.unmark(key)

    async def _revert_many(self, command: RevertManyCommand, record: Record, deliver: Deliver) -> None:
        """Undo a page, and order the next one: between pages other commands get their turn."""
        page = await self._page(command)
        meant = [one.action for one in page.found if covers(command.which, one.action)]
        wrong = [action for action in meant if not justified(command.which, action, self._moderator.rules)]
        reverts = [await self._undone(command, action, record) for action in wrong]
        # what another order undid stays as that one said; what this one undid is sent again, in case it was not sent
        await self._send([one for one in reverts if _by(command, one)], deliver)
        if page.after:
            await asyncio.sleep(len(reverts) / REVERTS_PER_S)
            await deliver([self._letters.command(msgspec.structs.replace(command, after=page.after))])

    async def _page(self, command: RevertManyCommand) -> Page:
        """Return the next page that has something on it, or the last."""
        since, until = span(command.which, command.ts)
        after = command.after
        while True:
            page = await self._ledger.listing.page(narrowest(command.which), since, until, after, PAGE)
            if page.found or not page.after:
                return page
            after = page.after

    async def _undone(
        self, command: RevertCommand | RevertManyCommand | AnswerAppealCommand, undone: Action, record: Record
    ) -> Action:
        revert = undo(command, undone, self._moderator.rules.hash, _source(record))
        return (await self._ledger.revert(undone.action_id, revert)).revert

    async def _send(self, actions: Sequence[Action], deliver: Deliver) -> None:
        await deliver([self._letters.action(action) for action in actions])
        await self._ledger.record(actions)
        for action in actions:
            self._metrics.actions.labels(action.action, action.label or NO_LABEL, "manual").inc()


def _kind(command: Command) -> str:
    return str(command.__struct_config__.tag)


def _source(record: Record) -> Source:
    return Source(record.topic, record.partition, record.offset)


def _by(command: RevertManyCommand, revert: Action) -> bool:
    return (revert.operator, revert.created_at) == (command.operator, command.ts)
