"""One Redis or a Redis Cluster: which it is the address says, and how a client of either is made.

A cluster is written redis+cluster://USER:PASSWORD@host:7000,host:7001 (rediss+cluster:// for TLS): nodes to begin with,
the rest they tell.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.asyncio.cluster import RedisCluster

    Client = Redis | RedisCluster

SCHEMES: Final = ("redis", "rediss")
_CLUSTER: Final = "+cluster"


def is_address(url: str) -> bool:
    """Tell whether a URL names a Redis, or nodes of a cluster."""
    try:
        return all(_names_a_host(one) for one in _nodes(url))
    except ValueError:
        return False


def _names_a_host(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in SCHEMES and bool(parts.hostname) and parts.port != 0


def connect(url: str, timeout_s: float) -> Client:
    """Return a client that sends nothing twice by itself and waits for no answer longer than `timeout_s`.

    redis-py would retry ten times and take up to a minute: it must not, we decide. With RESP3 it (8.1) hands out
    connections that the server has closed or that hold an old reply; with RESP2 it checks.
    """
    from redis.asyncio import Redis  # noqa: PLC0415  settings look at addresses only, and redis takes long to import
    from redis.asyncio.cluster import ClusterNode, RedisCluster  # noqa: PLC0415  the same
    from redis.asyncio.retry import Retry  # noqa: PLC0415  the same
    from redis.backoff import NoBackoff  # noqa: PLC0415  the same

    options: dict[str, Any] = {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "retry": Retry(NoBackoff(), 0),
        "health_check_interval": 0,
        "protocol": 2,
    }
    first, *more = _nodes(url)
    if not urlsplit(url).scheme.endswith(_CLUSTER):
        return Redis.from_url(first, **options)
    places = [urlsplit(one) for one in more]
    nodes = [ClusterNode(place.hostname or "", place.port or 6379) for place in places]
    return RedisCluster.from_url(first, startup_nodes=nodes, **options)


class Room(NamedTuple):
    """What a store holds, over all its nodes: bytes used, bytes there may be (0: no bound), keys."""

    used: int
    most: int
    keys: int


async def room(client: Client) -> Room:
    """Ask every node that holds keys. Raises RedisError."""
    from redis.asyncio.cluster import RedisCluster  # noqa: PLC0415  as above

    if isinstance(client, RedisCluster):
        nodes = [await client.info("memory", target_nodes=node) for node in client.get_primaries()]
    else:
        nodes = [await client.info("memory")]
    mosts = [int(one.get("maxmemory", 0)) for one in nodes]
    return Room(sum(int(one["used_memory"]) for one in nodes), sum(mosts) if all(mosts) else 0, await client.dbsize())


async def drop_idle(client: Client) -> None:
    """Let go of connections that nobody uses right now; a cluster's client sees to its nodes by itself."""
    from redis.asyncio.cluster import RedisCluster  # noqa: PLC0415  as above

    if not isinstance(client, RedisCluster):
        with suppress(OSError):
            await client.connection_pool.disconnect(inuse_connections=False)


def _nodes(url: str) -> list[str]:
    """Return the URL of each node, as redis-py reads it."""
    scheme, _, rest = url.partition("://")
    if not scheme.endswith(_CLUSTER):
        return [url]
    login, at, places = rest.rpartition("@")
    hosts, slash, path = places.partition("/")
    hosts, mark, query = (hosts, "", path) if slash else hosts.partition("?")
    end = f"{slash}{path}{mark}{query if mark else ''}"
    return [f"{scheme.removesuffix(_CLUSTER)}://{login}{at}{host}{end}" for host in hosts.split(",")]
