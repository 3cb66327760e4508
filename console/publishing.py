"""Publishing rules: what would change, who must agree, putting it in force, taking it back.

files ─▶ load, tests ─▶ change against what is in force ─┬─ cannot ban ─▶ revision ─▶ workers, within seconds
                                                         └─ can ban ─▶ proposal ─▶ a second person ─▶ revision
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from shlex import quote
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from console.trust import Left, left
from console.words import say
from moderation.change import Change, change
from moderation.errors import SettingsError
from moderation.rulefile import load, read
from moderation.ruletest import failures
from streams.bundle import Layers, gather
from streams.publications import (
    Proposal,
    Publications,
    RedisPublications,
    Revision,
    WorkerState,
    following,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from moderation.ruleset import Contents, RuleSet
    from streams.settings import Settings

#: Until workers that do not take a revision are told of. Seconds; they look every second and compile for some.
WITHIN_S: Final = 30.0


class Draft(Struct, frozen=True):
    """Files to be published, and what they change. `over` is the revision in force, None before the first one."""

    layers: Layers
    revision: Revision
    over: Revision | None
    change: Change

    @property
    def same(self) -> bool:
        """Tell whether exactly these files are in force."""
        return self.over is not None and self.over.files == self.revision.files


class Status(Struct, frozen=True):
    """What is in force, what waits, what every worker runs; `agree`: all run the revision in force.

    `unreviewed` are roll-backs that nobody else has looked at, `left` the rules that workers leave to humans.
    """

    current: Revision | None
    history: list[Revision]
    proposals: list[Proposal]
    workers: list[WorkerState]
    agree: bool
    unreviewed: list[Revision]
    left: list[Left]

    @property
    def well(self) -> bool:
        """Tell whether nothing here wants anybody."""
        return self.agree and not self.unreviewed and not self.left


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Publications]:
    """Give the publications of the store in the settings. Raises SettingsError where there is none."""
    if settings.redis is None:
        raise SettingsError("QINGLIU_REDIS is not set: the store that rules are published in")
    publications = RedisPublications(settings.redis.get_secret_value(), prefix=settings.redis_prefix)
    try:
        yield publications
    finally:
        await publications.close()


def tested(layers: Layers) -> RuleSet:
    """Return the rule set in these files. Raises RuleSetRejected, and SettingsError where a test does not hold."""
    rules = load(layers)
    failed = [str(one) for one in failures(rules)]
    if failed:
        raise SettingsError("\n".join((*failed, say(f"{len(failed)} 个测试不通过", f"{len(failed)} tests fail"))))
    return rules


async def in_force(publications: Publications, settings: Settings) -> tuple[Revision | None, Layers]:
    """Return what is published; where nothing is, the directories that workers start with."""
    current = await publications.current()
    return current, await publications.files(current) if current else gather(settings.rules)


async def draft(
    publications: Publications, settings: Settings, layers: Layers, rules: RuleSet, author: str, reason: str
) -> Draft:
    """Compare files with what is in force."""
    over, before = await in_force(publications, settings)
    revision = following(over, layers, rules.hash, named(author), named(reason))
    return Draft(layers, revision, over, change(read(before), rules.contents))


async def put_forward(publications: Publications, made: Draft) -> Proposal | None:
    """Publish, or where it can ban propose; return the proposal. To do it again changes nothing. Raises Overtaken."""
    if not made.change.can_ban:
        await publications.publish(made.revision, made.layers)
        return None
    revision = made.revision
    proposal = Proposal(f"p{revision.number}-{revision.files[:6]}", revision, made.change.can_ban)
    await publications.propose(proposal, made.layers)
    return proposal


async def approve(publications: Publications, proposal_id: str, approver: str, *, yes: bool) -> Proposal:
    """Publish a proposal in the name of a second person; without `yes` only return it.

    Raises SettingsError where it is not there, or the approver is its author; Overtaken.
    """
    proposal = next((one for one in await publications.proposals() if one.id == proposal_id), None)
    if proposal is None:
        raise SettingsError(say(f"没有待批准的 {proposal_id}", f"nothing waits under {proposal_id}"))
    if named(approver).casefold() == proposal.revision.author.casefold():
        raise SettingsError(say("要由另一个人批准", "a second person must approve: not its author"))
    if yes:
        now = time.time_ns() // 1_000_000
        approved = msgspec.structs.replace(proposal.revision, approver=named(approver), at=now)
        await publications.publish(approved, await publications.proposed(proposal))
        await publications.withdraw(proposal.id)
    return proposal


async def earlier(publications: Publications, number: int | None) -> tuple[Revision, Revision]:
    """Return the revision in force and the one to go back to: `number`, or the last with other files.

    Raises SettingsError where there is no such.
    """
    history = await publications.history()
    if not history:
        raise SettingsError(say("还没有发布过", "nothing was published yet"))
    bad, *before = history
    wanted = (one for one in before if one.number == number or (number is None and one.files != bad.files))
    good = next(wanted, None)
    if good is None:
        raise SettingsError(say("没有这个版本可退回", "there is no such revision to go back to"))
    return bad, good


async def back_to(publications: Publications, settings: Settings, good: Revision, author: str, reason: str) -> Draft:
    """Return the draft that puts an earlier revision in force again, by one person: what hurts players cannot wait.

    Who goes back may as well go back to what was bad: what may ban by it and did not before, somebody else looks at
    afterwards (`reviewed`).
    """
    layers = await publications.files(good)
    over, before = await in_force(publications, settings)
    revision = following(over, layers, good.ruleset, named(author), named(reason))
    made = change(read(before), read(layers))
    restored = msgspec.structs.replace(revision, restores=good.number, unseen=made.can_ban)
    return Draft(layers, restored, over, made)


async def unreviewed(publications: Publications) -> list[Revision]:
    """Return the roll-backs that wait for a second person to look at them, the newest first."""
    reviews = await publications.reviews()
    return [one for one in await publications.history() if one.unseen and one.number not in reviews]


async def reviewed(publications: Publications, number: int, reviewer: str, *, yes: bool) -> tuple[Revision, Change]:
    """Note that a second person looked at a roll-back; without `yes` only return it, and what it changed.

    Raises SettingsError where no such one waits, or the reviewer is who did it.
    """
    history = {one.number: one for one in await publications.history()}
    one = next((one for one in await unreviewed(publications) if one.number == number), None)
    if one is None:
        raise SettingsError(say(f"版本 {number} 不用复核", f"revision {number} waits for no review"))
    if named(reviewer).casefold() == one.author.casefold():
        raise SettingsError(say("要由另一个人复核", "a second person must look at it: not its author"))
    before = history[number - 1]
    made = change(read(await publications.files(before)), read(await publications.files(one)))
    if yes:
        await publications.review(number, named(reviewer))
    return one, made


def amends(bad: Revision, good: Contents, was: Contents, operator: str) -> list[str]:
    """Return the commands that undo what a revision did: of rules that were other their revisions, else all it did."""
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(bad.at / 1000))
    rest = f"--since {moment} --operator {quote(operator)} --reason 'rules revision {bad.number}'"
    made = change(good, was)
    by_id = {rule.id: rule for rule in was.rules}
    moved = [by_id[one.id] for one in made.rules if one.after in ("live", "canary")]
    if made.terms or made.other or not moved:
        return [f"qingliu revert-many --ruleset {bad.ruleset} {rest}"]
    return [f"qingliu revert-many --rule {rule.id} --revision {rule.revision} {rest}" for rule in moved]


async def status(publications: Publications, settings: Settings, most: int = 10) -> Status:
    """Return what is in force, who runs it, and what wants somebody."""
    history, workers = await publications.history(most), await publications.workers()
    current = history[0] if history else None
    number = current.number if current else 0
    same = len({worker.ruleset for worker in workers}) <= 1
    agree = same and all(worker.revision == number for worker in workers)
    layers = (await in_force(publications, settings))[1]
    waiting, unseen = await publications.proposals(), await unreviewed(publications)
    return Status(current, history, waiting, workers, agree, unseen, await left(settings, layers))


async def taken(
    publications: Publications, revision: Revision, told: Callable[[int, int], object], within_s: float = WITHIN_S
) -> list[WorkerState]:
    """Wait until every worker runs a revision or has refused it; return those that do not run it."""
    until = time.monotonic() + within_s
    while True:
        workers = await publications.workers()
        late = [one for one in workers if one.revision < revision.number]
        told(len(workers) - len(late), len(workers))
        if time.monotonic() > until or all(one.seen >= revision.number for one in late):
            return late
        await asyncio.sleep(0.2)


async def layers_of(
    publications: Publications, settings: Settings, what: str | None, directories: list[Path]
) -> Layers:
    """Return the files of a revision by its number, of directories, or of what is in force where neither is given."""
    if directories:
        return gather(directories)
    if what is None:
        return (await in_force(publications, settings))[1]
    found = next((one for one in await publications.history() if str(one.number) == what), None)
    if found is None:
        raise SettingsError(say(f"没有版本 {what}", f"there is no revision {what}"))
    return await publications.files(found)


def named(text: str) -> str:
    """Return a name or a reason as it is kept. Raises SettingsError for none, or one that fills the screen."""
    text = " ".join(text.split())
    if not 0 < len(text) <= 200:
        raise SettingsError(
            say("--author、--approver、--reason 要写 1 到 200 个字", "a name or reason has 1 to 200 characters")
        )
    return text
