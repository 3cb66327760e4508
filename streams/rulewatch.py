"""The watch: takes what was published into a running worker, and says what it runs. The last good rules stay in force.

every second: the revision in force ─ new? ─▶ files ─▶ compiled beside the loop ─▶ taken between two batches
              what this worker runs ─────────▶ the store: `qingliu rules status` compares all workers
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import structlog

from moderation.errors import RuleSetRejected, StoreUnavailable
from streams.bundle import digest, gather
from streams.publications import Revision, WorkerState
from streams.reload import compiled
from streams.rules import load_rules

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from moderation.ruleset import RuleSet
    from streams.bundle import Layers
    from streams.health import Health
    from streams.metrics import Metrics
    from streams.publications import Publications

log = structlog.get_logger()

EVERY_S: Final = 1.0


class Source(Protocol):
    """Where rule sets come from while a worker runs. May raise StoreUnavailable."""

    async def current(self) -> Revision | None:
        """Return the revision that should be in force; None for what the worker started with."""

    async def files(self, revision: Revision) -> Layers:
        """Return its files. Raises RuleSetRejected where they cannot be had whole."""

    async def beat(self, state: WorkerState) -> None:
        """Say what this worker runs."""


class InForce(NamedTuple):
    """The rule set a worker judges by, and the revision it came with; 0 is the worker's own directories."""

    rules: RuleSet
    revision: int = 0


class RuleWatch:
    """Keeps one worker's rules up to date. `take` swaps them in between batches; `name` tells workers apart."""

    def __init__(
        self,
        source: Source,
        take: Callable[[RuleSet], Awaitable[None]],
        start: InForce,
        name: str,
        metrics: Metrics,
        health: Health,
        *,
        compiled: Callable[[Layers], Awaitable[RuleSet]] = compiled,
    ) -> None:
        self._source = source
        self._take = take
        self._name = name
        self._metrics = metrics
        self._health = health
        self._compiled = compiled
        self._refused = ""
        self._seen = start.revision
        self._now(start)

    async def run(self) -> None:
        """Look every second, for ever; a store that is away, or holds what nobody expects, changes nothing."""
        while True:
            try:
                await self.look()
            except StoreUnavailable as exc:
                log.debug("publications not read", error=str(exc))
            except Exception:
                log.exception("publications not read")
            await asyncio.sleep(EVERY_S)

    async def look(self) -> None:
        """Take what is new, if it is good, and say what is in force. Raises StoreUnavailable."""
        revision = await self._source.current()
        if revision is not None:
            self._metrics.rules_published.set(revision.number)
        if revision is not None and revision.number != self._seen:
            await self._load(revision)
            self._seen = revision.number
        now = self.in_force
        await self._source.beat(
            WorkerState(self._name, now.rules.hash, now.revision, self._since, self._refused, self._seen)
        )

    async def _load(self, revision: Revision) -> None:
        try:
            rules = await self._wanted(revision)
        except RuleSetRejected as exc:
            self._refuse(revision, exc)
        except StoreUnavailable:
            raise  # to be tried again
        except Exception as exc:  # a bug met by one rule set must not stop the worker, nor hide
            log.exception("compiling failed", revision=revision.number)
            self._refuse(revision, exc)
        else:
            await self._take(rules)
            self._now(InForce(rules, revision.number))
            self._metrics.ruleset_reloads.labels("ok").inc()
            log.info("rules adopted", revision=revision.number, ruleset=rules.hash, author=revision.author)

    async def _wanted(self, revision: Revision) -> RuleSet:
        if revision.ruleset == self.in_force.rules.hash:
            return self.in_force.rules  # only notes or tests are other ones
        rules = await self._compiled(await self._source.files(revision))
        if revision.ruleset not in ("", rules.hash):
            log.warning("another version published this: the hash differs", theirs=revision.ruleset, ours=rules.hash)
        return rules

    def _refuse(self, revision: Revision, why: Exception) -> None:
        first = str(why).partition("\n")[0]
        self._refused = f"revision {revision.number}: {first:.300}"
        self._metrics.ruleset_reloads.labels("rejected").inc()
        self._health.rules_refused(self._refused)
        log.error("rules refused: the last good ones stay", revision=revision.number, why=str(why)[:2000])

    def _now(self, in_force: InForce) -> None:
        self.in_force = in_force
        self._since, self._refused = time.time_ns() // 1_000_000, ""
        self._metrics.ruleset_info.info({"hash": in_force.rules.hash})
        self._metrics.rules_revision.set(in_force.revision)
        self._metrics.ruleset_loaded_timestamp_seconds.set(self._since / 1000)
        self._health.rules_loaded(in_force.rules.hash, in_force.revision)


async def first(publications: Publications, directories: Sequence[Path], given: RuleSet | None = None) -> InForce:
    """Return what a worker starts with: what is published; where that is nothing, or no good, its own directories.

    `given` stands for the directories, and for what is published where it is that. Raises RuleSetRejected where these
    are no good either.
    """
    try:
        revision = await publications.current()
        if revision and given is not None and given.hash == revision.ruleset:
            return InForce(given, revision.number)
        if revision:
            rules = await compiled(await publications.files(revision))
            log.info("rules are the published ones", revision=revision.number, ruleset=rules.hash)
            return InForce(rules, revision.number)
    except (StoreUnavailable, RuleSetRejected) as exc:
        log.critical("published rules not to be had: the directories' ones instead", why=str(exc)[:2000])
    rules = given if given is not None else await asyncio.to_thread(load_rules, directories)
    log.info("rules are the directories' ones", directories=[str(one) for one in directories], ruleset=rules.hash)
    return InForce(rules)


class Directories:
    """The worker's own directories as a source, for whoever writes rules and tries them: a change is a revision.

    They are looked at, not watched: thirty files a second cost nothing.
    """

    def __init__(self, directories: Sequence[Path]) -> None:
        self._directories = directories
        self._last: Revision | None = None
        self._found: Layers = ()

    async def current(self) -> Revision | None:
        """See `Source`; what cannot be read is as it was."""
        try:
            self._found = await asyncio.to_thread(gather, self._directories)
        except RuleSetRejected as exc:
            log.warning("rules not read", why=str(exc)[:2000])
            return self._last
        named = digest(self._found)
        if self._last is None or self._last.files != named:
            number = self._last.number + 1 if self._last else 0
            self._last = Revision(number, named, "", "directories", "", 0)
        return self._last

    async def files(self, revision: Revision) -> Layers:  # noqa: ARG002  there is only one
        """See `Source`."""
        return self._found

    async def beat(self, state: WorkerState) -> None:
        """Tell nobody: what one developer tries is not the fleet's."""
