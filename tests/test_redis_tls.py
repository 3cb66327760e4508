"""A Redis that speaks TLS by itself, with the users of deploy/acl: Debian's, where it is installed."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from bench.faults.servers import Server
from moderation.errors import StoreUnavailable
from moderation.standing import Strike
from streams.embedded import free_ports
from streams.ledger import RedisLedger
from tests.guarded import certificates, password, store_users
from tests.small_rules import TS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = [
    pytest.mark.servers,
    pytest.mark.skipif(
        shutil.which("redis-server") is None, reason="no redis-server here: apt-get install redis-server"
    ),
]
STRIKE = Strike("a1", "std", "e1", TS, TS, "rmt")


@asynccontextmanager
async def redis(home: Path) -> AsyncIterator[int]:
    """Start it with a port for TLS alone."""
    certificates(home)
    port, _ = free_ports()
    options = {
        "bind": "127.0.0.1", "port": "0", "tls-port": str(port), "tls-auth-clients": "no", "save": "",
        "tls-cert-file": str(home / "server.crt"), "tls-key-file": str(home / "server.key"),
        "tls-ca-cert-file": str(home / "ca.pem"), "aclfile": str(store_users(home)), "dir": str(home),
    }  # fmt: skip
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    server = Server([shutil.which("redis-server") or "", *words], port, home / "redis.log")
    try:
        await server.listening()
        yield port
    finally:
        server.end()


def ledger(home: Path, port: int, *, ca: str = "ca.pem", user: str = "qingliu-worker") -> RedisLedger:
    place = f"127.0.0.1:{port}/0?ssl_ca_certs={home / ca}"
    return RedisLedger(f"rediss://{user}:{password(user)}@{place}", timeout_s=5)


def test_a_worker_counts_strikes_over_tls_with_its_own_rights(tmp_path: Path) -> None:
    async def story() -> list[int]:
        async with redis(tmp_path) as port, closing(ledger(tmp_path, port)) as one:
            return [standing.step for _ in range(2) for standing in await one.strike([STRIKE])]

    assert asyncio.run(story()) == [1, 1]


@pytest.mark.parametrize(
    ("ca", "user", "says"),
    [
        ("stranger.pem", "qingliu-worker", "certificate is not trusted"),
        ("ca.pem", "nobody", "does not take this user and password"),
        ("ca.pem", "qingliu-monitor", "deploy/acl/users.acl"),
    ],
)
def test_what_it_refuses_says_who_must_act(tmp_path: Path, ca: str, user: str, says: str) -> None:
    async def story() -> None:
        async with redis(tmp_path) as port, closing(ledger(tmp_path, port, ca=ca, user=user)) as one:
            with pytest.raises(StoreUnavailable, match=says):
                await one.strike([STRIKE])

    asyncio.run(story())


@asynccontextmanager
async def closing(one: RedisLedger) -> AsyncIterator[RedisLedger]:
    try:
        yield one
    finally:
        await one.close()
