"""Logins, rights and certificates on real servers: Apache Kafka with TLS, SCRAM and ACLs, Valkey with users and TLS.

Everything is told to worker and commands by settings alone, and the rights are those of deploy/acl, no more.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import GroupAuthorizationFailedError, TopicAuthorizationFailedError
from redis import Redis
from redis.exceptions import NoPermissionError

from bench.faults.crew import Worker
from moderation.actions import Ack, Action
from streams.connection import connection
from streams.settings import Settings, Topics
from tests.guarded import ACLS, Broker, clean, kafka, password, valkey, with_tls
from tests.small_rules import event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from bench.faults.servers import Server

pytestmark = [pytest.mark.servers, pytest.mark.timeout(400)]
TOPICS: Final = Topics.under("")
QINGLIU: Final = str(Path(sys.executable).parent / "qingliu")
SPAM: Final = "出金加QQ 7381920465"
GM: Final = ("--operator", "gm-li", "--reason", "申诉通过")


class Said(NamedTuple):
    """What a command said."""

    code: int
    out: str
    err: str


class Site(NamedTuple):
    """Both servers, and TLS in front of the store at `tls`."""

    broker: Broker
    store: Server
    tls: int
    runner: asyncio.Runner

    def redis(self, user: str, ca: str = "ca.pem", word: str | None = None) -> str:
        place = f"127.0.0.1:{self.tls}/0?ssl_ca_certs={self.broker.home / ca}"
        return f"rediss://{user}:{password(user) if word is None else word}@{place}"

    def env(self, user: str, **more: str) -> dict[str, str]:
        return clean({**self.broker.env(user), "QINGLIU_REDIS": self.redis(user), **more})

    async def cli(self, user: str, *arguments: str, **more: str) -> Said:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            QINGLIU, *arguments, env=self.env(user, **more), stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe
        )
        out, err = await process.communicate()
        said = Said(process.returncode or 0, out.decode(), err.decode())
        assert "hunter2" not in said.out + said.err, "a password was shown"
        return said

    def client(self, user: str) -> dict[str, Any]:
        """Return what an aiokafka client of `user` is made with."""
        return connection(settings_of(self.env(user)), self.broker.address)


def settings_of(env: Mapping[str, str]) -> Settings:
    before = dict(os.environ)
    try:
        os.environ.update({name: value for name, value in env.items() if name.startswith("QINGLIU_")})
        return Settings.load(env_file=None)
    finally:
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("guarded")
    with asyncio.Runner() as runner:
        broker = runner.run(kafka(home))
        store = valkey(home)
        tls = with_tls(home, store.port)
        try:
            runner.run(store.listening())
            made = Site(broker, store, runner.run(tls.__aenter__()), runner)
            said = runner.run(made.cli("admin", "topics", "create", QINGLIU_PARTITIONS="2"))
            assert said.code == 0, said.err
            broker.grant()
            yield made
        finally:
            runner.run(tls.__aexit__(None, None, None))
            store.end()
            broker.server.end()


@asynccontextmanager
async def worker_of(site: Site, user: str = "qingliu-worker", **more: str) -> AsyncIterator[Worker]:
    worker = Worker(user, [QINGLIU, "worker"], site.env(user, **more), site.broker.home)
    worker.log.unlink(missing_ok=True)
    await worker.start()
    try:
        yield worker
    finally:
        await worker.stop()
        assert "hunter2" not in worker.log.read_text(), "a password was logged"


@asynccontextmanager
async def closing(consumer: AIOKafkaConsumer) -> AsyncIterator[AIOKafkaConsumer]:
    """Start a consumer, and stop it even if it could not be started."""
    try:
        await consumer.start()
        yield consumer
    finally:
        await consumer.stop()


async def answer(consumer: AIOKafkaConsumer, wanted: int) -> list[Action]:
    async with asyncio.timeout(60):
        return [msgspec.json.decode((await consumer.getone()).value, type=Action) for _ in range(wanted)]


def listening(pid: int) -> set[str]:
    """Return where a process listens: hex address and port, as the kernel writes them."""
    inodes = set()
    for name in Path(f"/proc/{pid}/fd").iterdir():
        target = str(name.readlink()) if name.is_symlink() else ""
        inodes |= set(re.findall(r"socket:\[(\d+)\]", target))
    lines = [
        line.split()
        for table in ("tcp", "tcp6", "udp", "udp6")
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
    ]
    #: 0A is LISTEN; an open UDP socket, 07, hears whoever writes to it
    return {cells[1] for cells in lines if cells[9] in inodes and cells[3] in ("0A", "07")}


# -- with exactly these rights


def test_chat_is_moderated_and_undone_with_no_more_rights_than_the_examples_give(site: Site) -> None:
    async def story() -> None:
        async with AsyncExitStack() as stack:
            worker = await stack.enter_async_context(worker_of(site))
            game = site.client("qingliu-game")
            producer = await stack.enter_async_context(AIOKafkaProducer(**game, acks="all"))
            reader = AIOKafkaConsumer(TOPICS.enforcement, **game, group_id="game-s1", auto_offset_reset="earliest")
            consumer = await stack.enter_async_context(reader)
            await worker.ready()
            assert listening(worker.process.pid) == {f"0100007F:{worker.port:04X}"}, "the metrics page, and on loopback"
            spam = msgspec.structs.replace(event(SPAM, 1, level=3), ts=time.time_ns() // 1_000_000)
            await producer.send_and_wait(TOPICS.world, b"\xff", key=b"a1")
            await producer.send_and_wait(TOPICS.world, msgspec.json.encode(spam), key=b"a1")
            actions = await answer(consumer, 2)
            assert {one.action for one in actions} == {"revert", "mute"}
            ack = Ack(actions[0].action_id, "applied", spam.ts, "a1")
            await producer.send_and_wait(TOPICS.acks, msgspec.json.encode(ack), key=b"a1")
            await consumer.commit()

            mute = next(one for one in actions if one.action == "mute")
            undone = await site.cli("qingliu-gm", "revert", mute.action_id, "--account", "a1", *GM, "--json")
            assert undone.code == 0, undone.err
            [lifted] = await answer(consumer, 1)
            assert (lifted.reverts, lifted.operator) == (mute.action_id, "gm-li")
            letters = await site.cli("qingliu-gm", "dead-letters", "list", "--json")
            assert (letters.code, letters.out.count('"not_utf8"')) == (0, 1), letters
            doctor = await site.cli("admin", "doctor", "--json", QINGLIU_REDIS=site.redis("qingliu-gm"))
            found = {check["name"]: check["status"] for check in msgspec.json.decode(doctor.out)}
            assert {found[name] for name in ("broker", "topics", "store", "clock")} == {"OK"}, doctor.out
            assert (await site.cli("qingliu-gm", "campaigns", "list")).code == 0
            assert (await site.cli("qingliu-gm", "campaigns", "mark", "qq", "7381920465", *GM)).code == 0
            config = await site.cli("qingliu-worker", "config")
            assert f"rediss://******@127.0.0.1:{site.tls}/0" in config.out.replace("\n", "")

    site.runner.run(story())


FORBIDDEN: Final = [
    ("qingliu-game", TOPICS.commands, "write"),
    ("qingliu-game", TOPICS.enforcement, "write"),
    ("qingliu-game", TOPICS.dead_letters, "write"),
    ("qingliu-game", TOPICS.private, "read"),
    ("qingliu-game", TOPICS.cases, "read"),
    ("qingliu-worker", TOPICS.world, "write"),
    ("qingliu-gm", TOPICS.enforcement, "write"),
    ("qingliu-gm", TOPICS.private, "read"),
    ("qingliu-auditor", TOPICS.commands, "write"),
    ("qingliu-auditor", TOPICS.private, "read"),
    ("qingliu-monitor", TOPICS.enforcement, "read"),
    ("qingliu-monitor", TOPICS.commands, "write"),
]


@pytest.mark.parametrize(("user", "topic", "what"), FORBIDDEN)
def test_what_was_not_granted_is_denied(site: Site, user: str, topic: str, what: str) -> None:
    async def write() -> None:
        async with AIOKafkaProducer(**site.client(user), acks="all") as producer:
            await producer.send_and_wait(topic, b"{}", key=b"a1")

    async def read() -> None:
        async with closing(AIOKafkaConsumer(topic, **site.client(user), group_id=None)) as consumer:
            await consumer.seek_to_beginning()
            await consumer.getone()

    with pytest.raises(TopicAuthorizationFailedError):
        site.runner.run(asyncio.wait_for(write() if what == "write" else read(), 30))


def test_a_game_server_cannot_join_the_workers(site: Site) -> None:
    async def join() -> None:
        async with closing(AIOKafkaConsumer(TOPICS.enforcement, **site.client("qingliu-game"), group_id="qingliu")):
            pass

    with pytest.raises(GroupAuthorizationFailedError):
        site.runner.run(asyncio.wait_for(join(), 30))


def test_every_command_of_a_script_is_allowed_to_workers_and_nothing_dangerous_is() -> None:
    lines = {line.split()[1]: line.split() for line in (ACLS / "users.acl").read_text("utf-8").splitlines()}
    for path in (ACLS.parent.parent / "streams" / "lua").glob("*.lua"):
        used = {f"+{name.lower()}" for name in re.findall(r"redis\.call\('(\w+)'", path.read_text("utf-8"))}
        assert used <= set(lines["qingliu-rules" if path.stem == "publish" else "qingliu-worker"]), path.name
    for name, words in lines.items():
        assert name == "default" or "-@all" in words
        assert not {"+@all", "+keys", "+flushall", "+flushdb", "+config", "+eval", "+debug"} & set(words)


@pytest.mark.parametrize(
    ("user", "command"),
    [
        ("qingliu-worker", ("FLUSHALL",)),
        ("qingliu-worker", ("SET", "other:key", "1")),
        ("qingliu-worker", ("EVAL", "return 1", 0)),
        ("qingliu-gm", ("SET", "ql:{a1}:live", "1")),
        ("qingliu-gm", ("DEL", "ql:{a1}:strikes")),
        ("qingliu-auditor", ("SET", "ql:{x}:mark", "allowed")),
        ("qingliu-monitor", ("HGETALL", "ql:{a1}:strikes")),
        ("qingliu-worker", ("RPUSH", "ql:{rules}:revisions", "1")),
        ("qingliu-gm", ("HSET", "ql:{rules}:files", "a", "1")),
        ("qingliu-rules", ("ZADD", "ql:{a1}:live", "1", "x")),
    ],
)
def test_the_store_denies_what_was_not_granted(site: Site, user: str, command: tuple[Any, ...]) -> None:
    with (
        Redis(port=site.store.port, username=user, password=password(user)) as client,
        pytest.raises(NoPermissionError),
    ):
        client.execute_command(*command)


# -- one clear line

MONITOR: Final = {
    "QINGLIU_KAFKA_SASL__USERNAME": "qingliu-monitor",
    "QINGLIU_KAFKA_SASL__PASSWORD": password("qingliu-monitor"),
}


@pytest.mark.parametrize(
    ("more", "code", "says"),
    [
        ({"QINGLIU_KAFKA_SASL__PASSWORD": "wrong"}, 3, "does not know qingliu-gm by this password: check QINGLIU"),
        ({"QINGLIU_KAFKA_TLS__CA": "stranger.pem"}, 3, "QINGLIU_KAFKA_TLS__CA must be the CA that signed it"),
        ({"QINGLIU_KAFKA_TLS__CA": "nowhere.pem"}, 2, "QINGLIU_KAFKA_TLS__CA, __CERT or __KEY cannot be read"),
        ({"QINGLIU_KAFKA_TLS__ON": "", "QINGLIU_KAFKA_TLS__CA": ""}, 3, "does it want QINGLIU_KAFKA_TLS__ON"),
        (MONITOR, 3, "does not let qingliu-monitor do this"),
    ],
)  # fmt: skip
def test_a_broker_that_refuses_is_one_line_that_says_who_must_act(
    site: Site, more: dict[str, str], code: int, says: str
) -> None:
    if more.get("QINGLIU_KAFKA_TLS__CA"):
        more |= {"QINGLIU_KAFKA_TLS__CA": str(site.broker.home / more["QINGLIU_KAFKA_TLS__CA"])}
    said = site.runner.run(site.cli("qingliu-gm", "forgive", "a1", *GM, **more))
    assert (said.code, said.err.count("\n"), says in said.err) == (code, 1, True), said.err


def test_topics_that_the_broker_does_not_create_are_not_said_to_be_created(site: Site) -> None:
    said = site.runner.run(site.cli("qingliu-game", "topics", "create", QINGLIU_TOPIC_PREFIX="mine."))
    assert (said.code, said.out) == (2, "")
    assert "the broker did not create mine.chat.world" in said.err
    assert "deploy/acl/kafka-acls.sh" in said.err


@pytest.mark.parametrize(
    ("user", "ca", "word", "says"),
    [
        ("qingliu-gm", "ca.pem", "wrong", "does not take this user and password"),
        ("nobody", "ca.pem", None, "does not take this user and password"),
        ("qingliu-gm", "stranger.pem", None, "certificate is not trusted: add ?ssl_ca_certs=FILE"),
        ("qingliu-monitor", "ca.pem", None, "whoever runs Redis must allow it, see deploy/acl/users.acl"),
    ],
)
def test_a_store_that_refuses_is_one_line_that_says_who_must_act(
    site: Site, user: str, ca: str, word: str | None, says: str
) -> None:
    url = site.redis(user, ca, word)
    said = site.runner.run(site.cli("qingliu-gm", "revert", "0" * 32, "--account", "a1", *GM, QINGLIU_REDIS=url))
    assert (said.code, said.err.count("\n"), says in said.err) == (3, 1, True), said.err


@pytest.mark.parametrize(
    ("user", "more", "says"),
    [
        ("qingliu-worker", {"QINGLIU_KAFKA_SASL__PASSWORD": "wrong"}, "does not know qingliu-worker by this password"),
        (
            "qingliu-worker",
            {"QINGLIU_GROUP_ID": "not-ours"},
            "let qingliu-worker do this (GroupAuthorizationFailedError: group not-ours)",
        ),
        ("qingliu-game", {}, "let qingliu-game do this (GroupAuthorizationFailedError: group qingliu)"),
    ],
)
def test_a_worker_that_the_broker_refuses_ends_and_its_last_line_says_why(
    site: Site, user: str, more: dict[str, str], says: str
) -> None:
    said = site.runner.run(asyncio.wait_for(site.cli(user, "worker", QINGLIU_METRICS_PORT="0", **more), 90))
    assert (said.code, says in said.err.splitlines()[-1]) == (3, True), said.err
