"""The store: a client of Redis 7+ or Valkey 8+, one round trip a call, and one way to fail: StoreUnavailable.

Every script is a file in streams/lua whose header states keys, arguments, result and TTL. All keys of one script carry
one hash tag, so they live on one node of a cluster. Every command may be repeated.
"""

from __future__ import annotations

import math
import time
from contextlib import asynccontextmanager
from hashlib import sha1
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from redis.exceptions import AuthenticationError, NoPermissionError, NoScriptError, RedisClusterException, RedisError

from moderation.errors import StoreUnavailable
from streams.cluster import connect, drop_idle, room

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence

    from streams.cluster import Room

Command = tuple[str | bytes | int, ...]


class Script(NamedTuple):
    """A Lua file as the store knows it."""

    text: str
    sha: str

    def call(self, keys: Sequence[str], *args: str | bytes | int) -> Command:
        """Return the command that runs it."""
        return ("EVALSHA", self.sha, len(keys), *keys, *args)


def _script(name: str) -> Script:
    text = (files("streams") / "lua" / f"{name}.lua").read_text("utf-8")
    return Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest())


STRIKE: Final = _script("strike")
RECORD: Final = _script("record")
REVERT: Final = _script("revert")
SIGHT: Final = _script("sight")
FORGIVE: Final = _script("forgive")
PUBLISH: Final = _script("publish")
ANSWER: Final = _script("answer")
FALL: Final = _script("fall")
_SCRIPTS: Final = (STRIKE, RECORD, REVERT, SIGHT, FORGIVE, PUBLISH, ANSWER, FALL)


class Store:
    """A client of one Redis or a cluster; `url` is as in streams/cluster.py, with TLS options as redis-py reads them.

    No command is sent twice by the client and none waits longer than `timeout_s`; after a failure every call fails at
    once for `rest_s`, so that a dead Redis does not cost every batch a timeout.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str,
        timeout_s: float,
        rest_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._redis = connect(url, timeout_s)
        self._prefix = prefix
        self._rest_s = rest_s
        self._clock = clock
        self._rests_until = -math.inf

    def key(self, tag: str, *rest: str) -> str:
        """Return the name of a key; those with one `tag` live on one node."""
        return ":".join((self._prefix, f"{{{tag}}}", *rest))

    async def ask(self, commands: Iterable[Command]) -> list[Any]:
        """Send commands in one round trip, none if there are none. Answers are bytes, int, None or lists of these."""
        batch = list(commands)
        if not batch:
            return []
        async with self._guard():
            answers = await self._send(batch)
            if any(isinstance(answer, NoScriptError) for answer in answers):  # Redis is new, or was told to forget
                for script in _SCRIPTS:
                    await self._redis.script_load(script.text)
                answers = await self._send(batch)
            for answer in answers:
                if isinstance(answer, Exception):
                    raise answer
        return answers

    async def room(self) -> Room:
        """Ask how much there is in the store, and how much there may be. Raises StoreUnavailable."""
        async with self._guard():
            return await room(self._redis)

    async def close(self) -> None:
        """Let go of connections."""
        await self._redis.aclose()

    async def _send(self, batch: list[Command]) -> list[Any]:
        async with self._redis.pipeline(transaction=False) as pipe:
            for command in batch:
                pipe.execute_command(*command)
            return await pipe.execute(raise_on_error=False)

    @asynccontextmanager
    async def _guard(self) -> AsyncIterator[None]:
        """Turn whatever Redis fails with into StoreUnavailable, and fail at once for a while after it.

        Where one connection failed, those that wait in the pool may have, too: each would be another failure.
        """
        if self._clock() < self._rests_until:
            raise StoreUnavailable("Redis failed a moment ago")
        try:
            yield
        except (RedisError, RedisClusterException, OSError) as exc:
            self._rests_until = self._clock() + self._rest_s
            await drop_idle(self._redis)
            raise StoreUnavailable(meaning(exc)) from exc


def meaning(exc: Exception) -> str:
    """Return what a failure of Redis means, and who must act."""
    if isinstance(exc, AuthenticationError):
        return f"QINGLIU_REDIS: Redis does not take this user and password ({exc}): write rediss://USER:PASSWORD@host"
    if isinstance(exc, NoPermissionError):
        return f"QINGLIU_REDIS: {exc}: whoever runs Redis must allow it, see deploy/acl/users.acl"
    if "CERTIFICATE_VERIFY_FAILED" in str(exc):
        return f"QINGLIU_REDIS: Redis' certificate is not trusted: add ?ssl_ca_certs=FILE of its CA to the URL ({exc})"
    return f"QINGLIU_REDIS: {type(exc).__name__}: {exc}: is Redis running? address, password, TLS right?"
