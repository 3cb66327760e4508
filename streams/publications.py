"""Published rule sets: who put which files in force, when and why; who asks for it; which worker runs what.

    publish ─▶ revisions: 1, 2, 3 … the last one is in force      workers ask for it every second, and say what they run
    propose ─▶ proposals, until a second person approves          both by name: nobody proves here who they are

A revision follows the one before it by number, so that nobody publishes over what they have not seen. Two
implementations of one contract: tests/test_publications.py holds both to the same answers.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import msgspec
from msgspec import Struct

from moderation.errors import QingliuError, StoreUnavailable
from streams.bundle import Layers, digest, pack, unpack
from streams.store import PUBLISH, Store

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

#: Revisions that can be rolled back to; those before them are forgotten with their files.
KEPT: Final = 200
PROPOSAL_TTL_MS: Final = 7 * 86_400_000
#: A worker that has said nothing for so long is gone.
WORKER_TTL_MS: Final = 10_000
#: The files of a large rule set take longer than a strike.
TIMEOUT_S: Final = 5.0


class Overtaken(QingliuError):
    """Somebody published in the meantime: look at what is in force now, and publish over that."""


class Revision(Struct, frozen=True, omit_defaults=True):
    """One publication. `files` is the digest of its bundle, `ruleset` the hash of what it says, `at` milliseconds.

    `restores` is the revision that a rollback put back in force; `unseen` names what may ban by that and did not
    before: a second person looks at it afterwards (`Publications.reviewed`).
    """

    number: int
    files: str
    ruleset: str
    author: str
    reason: str
    at: int
    approver: str | None = None
    restores: int | None = None
    unseen: tuple[str, ...] = ()


class Proposal(Struct, frozen=True):
    """A revision that waits for a second person, and why it must: what could ban that could not before."""

    id: str
    revision: Revision
    because: tuple[str, ...]


class WorkerState(Struct, frozen=True, omit_defaults=True):
    """What a worker runs: which rule set, of which revision (0: its own directories), since when (ms).

    `seen` is the newest revision it has looked at; `refused` says why it does not run that one.
    """

    worker: str
    ruleset: str
    revision: int
    since: int
    refused: str = ""
    seen: int = 0


class Publications(Protocol):
    """What was published. Every method may raise StoreUnavailable."""

    async def current(self) -> Revision | None:
        """Return the revision in force; None where nothing was published."""

    async def files(self, revision: Revision) -> Layers:
        """Return the files of a revision. Raises Broken where they are not what they were."""

    async def publish(self, revision: Revision, layers: Layers) -> None:
        """Put a revision in force; to do it again changes nothing. Raises Overtaken unless it follows the last one."""

    async def history(self, most: int = KEPT) -> list[Revision]:
        """Return the newest revisions, the one in force first."""

    async def review(self, number: int, by: str) -> None:
        """Note that somebody looked at what a roll-back may do; the first stays."""

    async def reviews(self) -> dict[int, str]:
        """Return who looked at which revision."""

    async def propose(self, proposal: Proposal, layers: Layers) -> None:
        """Keep a proposal for a week, or until it is withdrawn."""

    async def proposals(self) -> list[Proposal]:
        """Return the proposals that wait, the newest first."""

    async def proposed(self, proposal: Proposal) -> Layers:
        """Return the files of a proposal."""

    async def withdraw(self, proposal_id: str) -> None:
        """Forget a proposal."""

    async def beat(self, state: WorkerState) -> None:
        """Say what a worker runs; it counts as gone WORKER_TTL_MS later."""

    async def workers(self) -> list[WorkerState]:
        """Return what every worker runs that is there."""

    async def close(self) -> None:
        """Let go of connections."""


class MemoryPublications:
    """Publications that die with the process. `now` is a clock in milliseconds."""

    def __init__(self, now: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self._now = now
        self._revisions: list[Revision] = []
        self._files: dict[str, bytes] = {}
        self._reviews: dict[int, str] = {}
        self._proposals: dict[str, tuple[int, Proposal, bytes]] = {}
        self._workers: dict[str, tuple[int, WorkerState]] = {}

    async def current(self) -> Revision | None:
        """See `Publications`."""
        return self._revisions[-1] if self._revisions else None

    async def files(self, revision: Revision) -> Layers:
        """See `Publications`."""
        return unpack(self._files.get(revision.files, b""), revision.files)

    async def publish(self, revision: Revision, layers: Layers) -> None:
        """Do what lua/publish.lua does."""
        last = await self.current()
        if last == revision:
            return
        if revision.number != (last.number if last else 0) + 1:
            raise overtaken(last)
        self._files[revision.files] = pack(layers)
        self._revisions = [*self._revisions, revision][-KEPT:]
        named = {one.files for one in self._revisions}
        self._files = {name: packed for name, packed in self._files.items() if name in named}

    async def history(self, most: int = KEPT) -> list[Revision]:
        """See `Publications`."""
        return self._revisions[::-1][:most]

    async def review(self, number: int, by: str) -> None:
        """See `Publications`."""
        self._reviews.setdefault(number, by)

    async def reviews(self) -> dict[int, str]:
        """See `Publications`."""
        return dict(self._reviews)

    async def propose(self, proposal: Proposal, layers: Layers) -> None:
        """See `Publications`."""
        self._proposals[proposal.id] = self._now() + PROPOSAL_TTL_MS, proposal, pack(layers)

    async def proposals(self) -> list[Proposal]:
        """See `Publications`."""
        waiting = [proposal for until, proposal, _ in self._proposals.values() if until > self._now()]
        return sorted(waiting, key=_newest)

    async def proposed(self, proposal: Proposal) -> Layers:
        """See `Publications`."""
        _, _, packed = self._proposals.get(proposal.id, (0, None, b""))
        return unpack(packed, proposal.revision.files)

    async def withdraw(self, proposal_id: str) -> None:
        """See `Publications`."""
        self._proposals.pop(proposal_id, None)

    async def beat(self, state: WorkerState) -> None:
        """See `Publications`."""
        self._workers[state.worker] = self._now() + WORKER_TTL_MS, state

    async def workers(self) -> list[WorkerState]:
        """See `Publications`."""
        there = [state for until, state in self._workers.values() if until > self._now()]
        return sorted(there, key=lambda one: one.worker)

    async def close(self) -> None:
        """See `Publications`."""


class RedisPublications:
    """Publications in Redis or Valkey, all under the hash tag {rules}. `url` and `prefix` are as in `store.Store`."""

    def __init__(self, url: str, *, prefix: str = "ql", timeout_s: float = TIMEOUT_S, rest_s: float = 0.5) -> None:
        self._store = Store(url, prefix=prefix, timeout_s=timeout_s, rest_s=rest_s)

    async def current(self) -> Revision | None:
        """See `Publications`."""
        [last] = await self._store.ask([("LINDEX", self._key("revisions"), -1)])
        return None if last is None else _revision(last)

    async def files(self, revision: Revision) -> Layers:
        """See `Publications`."""
        [packed] = await self._store.ask([("HGET", self._key("files"), revision.files)])
        return unpack(packed or b"", revision.files)

    async def publish(self, revision: Revision, layers: Layers) -> None:
        """See `Publications`."""
        entry = b"%d %s %s" % (revision.number, revision.files.encode(), msgspec.json.encode(revision))
        keys = [self._key("revisions"), self._key("files")]
        call = PUBLISH.call(keys, revision.number, revision.files, entry, pack(layers), KEPT)
        [done] = await self._store.ask([call])
        if not done:
            raise overtaken(await self.current())

    async def history(self, most: int = KEPT) -> list[Revision]:
        """See `Publications`."""
        [entries] = await self._store.ask([("LRANGE", self._key("revisions"), -most, -1)])
        return [_revision(entry) for entry in reversed(entries)]

    async def review(self, number: int, by: str) -> None:
        """See `Publications`."""
        await self._store.ask([("HSETNX", self._key("reviews"), number, by)])

    async def reviews(self) -> dict[int, str]:
        """See `Publications`."""
        [found] = await self._store.ask([("HGETALL", self._key("reviews"))])
        return {int(number): by.decode() for number, by in found.items()}

    async def propose(self, proposal: Proposal, layers: Layers) -> None:
        """See `Publications`."""
        key = self._key("proposal", proposal.id)
        await self._store.ask(
            [
                ("HSET", key, "proposal", msgspec.json.encode(proposal), "files", pack(layers)),
                ("PEXPIRE", key, PROPOSAL_TTL_MS),
                ("ZADD", self._key("proposals"), proposal.revision.at, proposal.id),
                ("PEXPIRE", self._key("proposals"), PROPOSAL_TTL_MS),
            ]
        )

    async def proposals(self) -> list[Proposal]:
        """See `Publications`; two round trips."""
        [ids] = await self._store.ask([("ZRANGE", self._key("proposals"), 0, -1)])
        found = await self._store.ask(("HGET", self._key("proposal", one.decode()), "proposal") for one in ids)
        return sorted((_read(json, Proposal) for json in found if json), key=_newest)

    async def proposed(self, proposal: Proposal) -> Layers:
        """See `Publications`."""
        [packed] = await self._store.ask([("HGET", self._key("proposal", proposal.id), "files")])
        return unpack(packed or b"", proposal.revision.files)

    async def withdraw(self, proposal_id: str) -> None:
        """See `Publications`."""
        gone = ("ZREM", self._key("proposals"), proposal_id)
        await self._store.ask([gone, ("DEL", self._key("proposal", proposal_id))])

    async def beat(self, state: WorkerState) -> None:
        """See `Publications`."""
        now, index = time.time_ns() // 1_000_000, self._key("workers")
        await self._store.ask(
            [
                ("SET", self._key("worker", state.worker), msgspec.json.encode(state), "PX", WORKER_TTL_MS),
                ("ZADD", index, now, state.worker),
                # the key that expires says who is there; the index is only kept from growing, whatever the clocks
                ("ZREMRANGEBYSCORE", index, "-inf", now - 3_600_000),
            ]
        )

    async def workers(self) -> list[WorkerState]:
        """See `Publications`; two round trips."""
        [names] = await self._store.ask([("ZRANGE", self._key("workers"), 0, -1)])
        found = await self._store.ask(("GET", self._key("worker", name.decode())) for name in names)
        return sorted((_read(json, WorkerState) for json in found if json), key=lambda one: one.worker)

    async def close(self) -> None:
        """See `Publications`."""
        await self._store.close()

    def _key(self, *rest: str) -> str:
        return self._store.key("rules", *rest)


def following(last: Revision | None, layers: Layers, ruleset: str, author: str, reason: str) -> Revision:
    """Return the revision that would put these files in force after `last`, as of now."""
    number = last.number + 1 if last else 1
    return Revision(number, digest(layers), ruleset, author, reason, time.time_ns() // 1_000_000)


def overtaken(last: Revision | None) -> Overtaken:
    """Say what came first."""
    said = f"{last.number}（{last.author}：{last.reason}）" if last else "无"
    return Overtaken(f"已有别人发布，现在生效的是版本 {said}；请看过差别再发布 / somebody published first: look again")


def _newest(proposal: Proposal) -> tuple[int, str]:
    return -proposal.revision.at, proposal.id


def _revision(entry: bytes) -> Revision:
    return _read(entry.split(b" ", 2)[-1], Revision)


def _read(json: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(json, type=kind)
    except msgspec.DecodeError as exc:
        raise StoreUnavailable(f"the store holds a {kind.__name__} that this version cannot read: {exc}") from exc
