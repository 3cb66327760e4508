"""Rules that change while events are judged: taken whole, between batches, or not at all."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any, Final

import pytest

from moderation.errors import RuleSetRejected, StoreUnavailable
from moderation.moderator import Moderator
from moderation.rulefile import load
from streams.health import Health
from streams.ledger import MemoryLedger
from streams.metrics import Metrics
from streams.pipeline import Pipeline
from streams.publications import MemoryPublications, Revision, following
from streams.reload import compiled
from streams.rulewatch import Directories, InForce, RuleWatch, first
from streams.stop import ended
from streams.turns import Turns
from tests.small_rules import LEXICONS, RULES, event, layer, rules
from tests.test_pipeline import SPAM, TOPICS, Post, record

if TYPE_CHECKING:
    from pathlib import Path

    from moderation.ruleset import RuleSet
    from streams.bundle import Layers

BAD: Final[Layers] = (layer(rules_yaml=RULES.replace("score: 75", "socre: 75")),)


def version(number: int) -> Layers:
    """Return good layers, each with another hash."""
    return (layer(lexicons__all_yaml=LEXICONS.replace("代练", f"代练{'一二三四五六七八九'[number % 9]}")),)


async def inline(layers: Layers) -> RuleSet:
    """Compile without a process: what that one does is tested on its own."""
    await asyncio.sleep(0)
    return load(layers)


class Fleet:
    """One worker's pipeline and watch, and where rules are published."""

    def __init__(self, publications: MemoryPublications | None = None) -> None:
        self.publications = publications or MemoryPublications()
        self.metrics, self.health, self.post = Metrics(), Health(), Post()
        self.pipeline = Pipeline(
            Moderator(rules()),
            MemoryLedger(),
            self.post,
            TOPICS,
            self.metrics,
            self.health,
        )
        self.taken = [rules().hash]
        self.watch = RuleWatch(
            self.publications, self.take, InForce(rules()), "w", self.metrics, self.health, compiled=inline
        )

    async def take(self, ruleset: RuleSet) -> None:
        await self.pipeline.adopt(ruleset)
        self.taken.append(ruleset.hash)

    async def publish(self, layers: Layers, ruleset: str = "") -> Revision:
        revision = following(await self.publications.current(), layers, ruleset, "gm", "试")
        await self.publications.publish(revision, layers)
        return revision

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"qingliu_{name}", labels)


def test_what_is_published_is_taken_and_said() -> None:
    async def run() -> None:
        fleet = Fleet()
        await fleet.watch.look()
        assert fleet.pipeline.moderator.rules is rules()
        await fleet.publish(version(1))
        await fleet.watch.look()
        assert fleet.pipeline.moderator.rules.hash == load(version(1)).hash
        [state] = await fleet.publications.workers()
        assert (state.revision, state.ruleset, state.refused) == (1, load(version(1)).hash, "")
        assert fleet.value("rules_revision") == fleet.value("rules_published") == 1
        assert fleet.value("ruleset_info", hash=state.ruleset) == 1
        assert fleet.health.ready()[1]["rules_from"] == "revision 1"

    asyncio.run(run())


def test_bad_rules_are_refused_once_and_the_last_good_ones_stay() -> None:
    async def run() -> None:
        fleet = Fleet()
        await fleet.publish(version(1))
        await fleet.watch.look()
        await fleet.publish(BAD)
        for _ in range(3):
            await fleet.watch.look()
        assert fleet.taken == [rules().hash, load(version(1)).hash]
        assert fleet.value("ruleset_reloads_total", result="rejected") == 1
        assert (fleet.value("rules_revision"), fleet.value("rules_published")) == (1, 2)
        [state] = await fleet.publications.workers()
        assert state.refused.startswith("revision 2: ")
        assert "E103" in state.refused
        assert fleet.health.ready()[1]["degraded"] == [f"published rules refused, {state.refused}"]
        await fleet.publish(version(2))
        await fleet.watch.look()
        assert fleet.health.ready()[1]["degraded"] == []

    asyncio.run(run())


def test_files_that_are_not_what_they_were_are_refused() -> None:
    async def run() -> None:
        fleet = Fleet()
        revision = await fleet.publish(version(1))
        fleet.publications._files[revision.files] = b"\x00"
        await fleet.watch.look()
        assert fleet.taken == [rules().hash]
        assert "E905" in (await fleet.publications.workers())[0].refused

    asyncio.run(run())


def test_a_store_that_goes_away_before_the_files_are_read_is_asked_again() -> None:
    class Away(MemoryPublications):
        away = True

        async def files(self, revision: Revision) -> Layers:
            if self.away:
                raise StoreUnavailable("away")
            return await super().files(revision)

    async def run() -> None:
        them = Away()
        fleet = Fleet(them)
        await fleet.publish(version(1))
        with pytest.raises(StoreUnavailable):
            await fleet.watch.look()
        them.away = False
        await fleet.watch.look()
        assert len(fleet.taken) == 2

    asyncio.run(run())


def test_what_nobody_expects_in_the_store_does_not_end_the_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    class Odd(MemoryPublications):
        odd = 0

        async def current(self) -> Revision | None:
            if self.odd:
                self.odd -= 1
                raise ZeroDivisionError
            return await super().current()

    async def run() -> None:
        them = Odd()
        fleet = Fleet(them)
        await fleet.publish(version(1))
        them.odd = 2
        watching = asyncio.create_task(fleet.watch.run())
        while len(fleet.taken) == 1:
            assert not watching.done()
            await asyncio.sleep(0.01)
        await ended(watching)

    monkeypatch.setattr("streams.rulewatch.EVERY_S", 0.01)
    asyncio.run(run())


def test_a_bug_in_compiling_stops_nothing() -> None:
    async def explode(_: Layers) -> RuleSet:
        raise ZeroDivisionError

    async def run() -> None:
        fleet = Fleet()
        watch = RuleWatch(
            fleet.publications, fleet.take, InForce(rules()), "w", fleet.metrics, fleet.health, compiled=explode
        )
        await fleet.publish(version(1))
        await watch.look()
        assert fleet.taken == [rules().hash]
        assert fleet.value("ruleset_reloads_total", result="rejected") == 1

    asyncio.run(run())


def test_other_notes_alone_are_taken_without_compiling() -> None:
    async def run() -> None:
        fleet = Fleet()
        await fleet.publish(BAD, rules().hash)  # whoever compiled would fail
        await fleet.watch.look()
        assert fleet.pipeline.moderator.rules is rules()
        assert fleet.value("rules_revision") == 1

    asyncio.run(run())


def test_a_worker_starts_with_what_is_published_and_else_with_its_directories(tmp_path: Path) -> None:
    async def run() -> None:
        them = MemoryPublications()
        for name, content in layer().items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(content)
        start = await first(them, [tmp_path])
        assert (start.rules.hash, start.revision) == (rules().hash, 0)
        good = following(None, version(1), "", "gm", "试")
        await them.publish(good, version(1))
        start = await first(them, [tmp_path / "nowhere"])
        assert (start.rules.hash, start.revision) == (load(version(1)).hash, 1)
        await them.publish(following(good, BAD, "", "gm", "试"), BAD)
        assert (await first(them, [tmp_path])).revision == 0

    asyncio.run(run())


def test_who_was_forked_with_what_is_published_takes_it_as_it_is(tmp_path: Path) -> None:
    async def run() -> None:
        them, had = MemoryPublications(), load(version(1))
        good = following(None, version(1), had.hash, "gm", "试")
        await them.publish(good, version(1))
        start = await first(them, [tmp_path / "nowhere"], had)
        assert start.rules is had
        assert start.revision == 1
        await them.publish(following(good, version(2), load(version(2)).hash, "gm", "试"), version(2))
        start = await first(them, [tmp_path / "nowhere"], had)
        assert (start.rules.hash, start.revision) == (load(version(2)).hash, 2)

    asyncio.run(run())


def test_directories_that_change_are_taken_as_they_are_saved(tmp_path: Path) -> None:
    async def run() -> None:
        for name, content in layer().items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(content)
        fleet = Fleet()
        source = Directories([tmp_path])
        watch = RuleWatch(source, fleet.take, InForce(rules()), "w", fleet.metrics, fleet.health, compiled=inline)
        await watch.look()
        assert fleet.taken == [rules().hash]
        (tmp_path / "rules.yaml").write_bytes(RULES.replace("score: 75", "score: 76").encode())
        await watch.look()
        assert len(fleet.taken) == 2
        (tmp_path / "rules.yaml").write_bytes(b"- id: [")
        await watch.look()
        assert len(fleet.taken) == 2
        (tmp_path / "policy.yaml").unlink()
        (tmp_path / "rules.yaml").write_bytes(RULES.encode())
        await watch.look()
        assert len(fleet.taken) == 2

    asyncio.run(run())


def test_a_process_reads_rules_as_we_do_and_says_all_that_is_wrong_with_them() -> None:
    with pytest.raises(RuleSetRejected) as here:
        load(BAD)
    with pytest.raises(RuleSetRejected) as apart:
        asyncio.run(compiled(BAD))
    assert apart.value.problems == here.value.problems
    there, ours = asyncio.run(compiled(version(1))), load(version(1))
    assert there.hash == ours.hash
    events = [event(text) for text in ("出金加QQ 7381920465", "代练二", "替代练习场", "来我们区，转会费五百")]
    assert Moderator(there).judge(events) == Moderator(ours).judge(events)


def test_rules_that_take_too_long_are_refused() -> None:
    with pytest.raises(RuleSetRejected, match="E906"):
        asyncio.run(compiled(version(1), within_s=0.001))


def test_a_change_waits_for_batches_inside_and_those_after_it_wait_for_the_change() -> None:
    async def run() -> None:
        turns, order = Turns(), []
        release = asyncio.Event()

        async def batch(name: str, until: asyncio.Event | None = None) -> None:
            async with turns.batch():
                order.append(f"{name} in")
                if until:
                    await until.wait()
                order.append(f"{name} out")

        async def change() -> None:
            async with turns.alone():
                order.append("change")

        tasks = [asyncio.create_task(one) for one in (batch("a", release), batch("b", release), change(), batch("c"))]
        for _ in range(10):
            await asyncio.sleep(0)
        assert order == ["a in", "b in"]
        release.set()
        await asyncio.gather(*tasks)
        assert order == ["a in", "b in", "a out", "b out", "change", "c in", "c out"]

    asyncio.run(run())


@pytest.mark.parametrize("publishes", [30])
def test_in_a_storm_of_publications_every_action_names_rules_that_were_whole(publishes: int) -> None:
    async def run() -> None:
        fleet, r, done = Fleet(), random.Random(1), asyncio.Event()  # noqa: S311  the same storm every time

        async def chat(lane: int) -> None:
            offset = 0
            while not done.is_set():
                events = [event(SPAM, lane * 10**6 + offset + n, account=f"{lane}a{offset + n}") for n in range(3)]
                await fleet.pipeline.chat([record(e, offset + n) for n, e in enumerate(events)], lambda: True)
                offset += 3

        async def storm() -> None:
            for number in range(publishes):
                await fleet.publish(r.choice((BAD, version(number), version(number))))
                await fleet.watch.look()
            done.set()

        await asyncio.gather(chat(1), chat(2), storm())
        actions = fleet.post.actions()
        assert {a.ruleset for a in actions} <= set(fleet.taken)
        assert len({a.ruleset for a in actions}) > 2
        assert len(set(fleet.taken)) > 5
        ids: dict[str, Any] = {a.action_id: a for a in actions}
        assert len(ids) == len(actions)

    asyncio.run(run())
