"""One contract, two places where rule sets are published."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pytest
from redis import Redis

from streams.bundle import Broken, Layers, digest, gather, pack, unpack
from streams.publications import (
    KEPT,
    MemoryPublications,
    Overtaken,
    Proposal,
    Publications,
    RedisPublications,
    Revision,
    WorkerState,
    following,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from streams.embedded import Embedded

_numbers = count()
FIRST: Final[Layers] = ({"rules/a.yaml": b"- id: a\n", "rules/lexicons/w.yaml": b"\xff\x00"}, {"site/a.yaml": b""})
SECOND: Final[Layers] = ({"rules/a.yaml": b"- id: b\n"},)


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.servers)])
def contract(request: pytest.FixtureRequest) -> Callable[[Any], None]:
    """Return a way to run a test with fresh publications."""

    def run(test: Any) -> None:
        asyncio.run(_with(_made(request), test))

    return run


def _made(request: pytest.FixtureRequest) -> Publications:
    if request.param == "memory":
        return MemoryPublications()
    pair: Embedded = request.getfixturevalue("embedded")
    return RedisPublications(pair.redis, prefix=f"publications-{next(_numbers)}")


async def _with(publications: Publications, test: Any) -> None:
    try:
        await test(publications)
    finally:
        await publications.close()


def revision(number: int, layers: Layers = FIRST, **more: Any) -> Revision:
    return Revision(number, digest(layers), f"hash{number}", "阿青", "加词", 1_790_000_000_000 + number, **more)


def test_what_was_published_last_is_in_force_with_its_files(contract: Callable[[Any], None]) -> None:
    async def run(them: Publications) -> None:
        assert await them.current() is None
        assert await them.history() == []
        await them.publish(revision(1), FIRST)
        await them.publish(revision(2, SECOND, approver="老白", restores=1), SECOND)
        assert await them.current() == revision(2, SECOND, approver="老白", restores=1)
        assert [one.number for one in await them.history()] == [2, 1]
        assert [one.number for one in await them.history(1)] == [2]
        assert await them.files(revision(1)) == FIRST
        assert await them.files(revision(2, SECOND)) == SECOND

    contract(run)


def test_who_looked_at_a_revision_first_is_remembered(contract: Callable[[Any], None]) -> None:
    async def run(them: Publications) -> None:
        assert await them.reviews() == {}
        for number, by in ((3, "老白"), (7, "阿青"), (3, "阿青")):
            await them.review(number, by)
        assert await them.reviews() == {3: "老白", 7: "阿青"}

    contract(run)


def test_to_publish_again_changes_nothing_and_nobody_publishes_over_what_they_have_not_seen(
    contract: Callable[[Any], None],
) -> None:
    async def run(them: Publications) -> None:
        await them.publish(revision(1), FIRST)
        await them.publish(revision(1), FIRST)
        assert len(await them.history()) == 1
        for number in (1, 3):
            with pytest.raises(Overtaken, match="阿青：加词"):
                await them.publish(revision(number, SECOND), SECOND)
        assert await them.current() == revision(1)

    contract(run)


def test_old_revisions_are_forgotten_with_the_files_that_nothing_else_names(contract: Callable[[Any], None]) -> None:
    async def run(them: Publications) -> None:
        await them.publish(revision(1, SECOND), SECOND)
        for number in range(2, KEPT + 2):
            await them.publish(revision(number), FIRST)
        history = await them.history()
        assert [one.number for one in history] == list(range(KEPT + 1, 1, -1))
        assert await them.files(history[-1]) == FIRST
        with pytest.raises(Broken):
            await them.files(revision(1, SECOND))

    contract(run)


def test_a_proposal_waits_until_it_is_withdrawn(contract: Callable[[Any], None]) -> None:
    async def run(them: Publications) -> None:
        early, late = (Proposal(f"p{n}", revision(n), ("poach.cash",)) for n in (1, 2))
        await them.propose(early, FIRST)
        await them.propose(late, FIRST)
        assert await them.proposals() == [late, early]
        assert await them.proposed(early) == FIRST
        await them.withdraw(early.id)
        await them.withdraw("p9")
        assert await them.proposals() == [late]
        with pytest.raises(Broken):
            await them.proposed(early)

    contract(run)


def test_workers_say_what_they_run(contract: Callable[[Any], None]) -> None:
    async def run(them: Publications) -> None:
        assert await them.workers() == []
        b = WorkerState("b:1", "abc", 1, 5)
        await them.beat(b)
        await them.beat(WorkerState("a:1", "abc", 1, 5))
        await them.beat(WorkerState("a:1", "abc", 1, 5, "revision 2: E102"))
        assert await them.workers() == [WorkerState("a:1", "abc", 1, 5, "revision 2: E102"), b]

    contract(run)


def test_in_memory_a_silent_worker_and_an_old_proposal_are_gone() -> None:
    async def run() -> None:
        now = [0]
        them = MemoryPublications(lambda: now[0])
        await them.beat(WorkerState("a", "abc", 1, 5))
        await them.propose(Proposal("p1", revision(1), ()), FIRST)
        now[0] = 10_000
        assert await them.workers() == []
        assert len(await them.proposals()) == 1
        now[0] = 7 * 86_400_000
        assert await them.proposals() == []

    asyncio.run(run())


@pytest.mark.servers
def test_in_redis_a_worker_and_a_proposal_expire_and_what_was_published_stays(embedded: Embedded) -> None:
    prefix = f"publications-{next(_numbers)}"

    async def run(them: Publications) -> None:
        await them.publish(revision(1), FIRST)
        await them.beat(WorkerState("a", "abc", 1, 5))
        await them.propose(Proposal("p1", revision(2), ()), FIRST)

    asyncio.run(_with(RedisPublications(embedded.redis, prefix=prefix), run))
    with Redis.from_url(embedded.redis) as redis:
        ttl = {key.decode().rpartition("{rules}:")[2]: redis.pttl(key) for key in redis.scan_iter(f"{prefix}:*")}
    assert ttl["revisions"] == ttl["files"] == -1
    assert 0 < ttl["worker:a"] <= 10_000
    assert 0 < ttl["proposal:p1"] <= 7 * 86_400_000


def test_a_digest_names_names_and_contents_whatever_their_order() -> None:
    turned = ({name: FIRST[0][name] for name in reversed(FIRST[0])}, FIRST[1])
    assert digest(turned) == digest(FIRST)
    assert digest(FIRST[::-1]) != digest(FIRST)
    assert digest(({"rules/a.yaml": b"- id: a"},)) != digest(SECOND)
    assert unpack(pack(FIRST), digest(FIRST)) == FIRST


@pytest.mark.parametrize(
    "packed", [b"", b"x", pack(FIRST)[:-1], pack(FIRST)[:9], pack(SECOND), pack(FIRST)[:20] + b"\x00" * 30]
)
def test_bytes_that_are_not_what_the_digest_names_are_refused(packed: bytes) -> None:
    with pytest.raises(Broken):
        unpack(packed, digest(FIRST))


def test_files_have_the_same_names_from_wherever_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "site" / "lexicons").mkdir(parents=True)
    (tmp_path / "site" / "lexicons" / "a.yaml").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    here = type(tmp_path)
    expected = ({"site/lexicons/a.yaml": b"x"},)
    assert gather([tmp_path / "site"]) == gather([here("site")]) == gather([here("site/../site")]) == expected
    monkeypatch.chdir(tmp_path / "site")
    assert gather([here()]) == expected


def test_a_revision_follows_the_last_one() -> None:
    first = following(None, FIRST, "abc", "a", "b")
    assert (first.number, first.files) == (1, digest(FIRST))
    assert following(first, SECOND, "abc", "a", "b").number == 2
    assert msgspec.json.decode(msgspec.json.encode(first), type=Revision) == first
