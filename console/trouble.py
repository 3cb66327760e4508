"""A broker that does not let us in: what it means, in one line that says who must act."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final

from aiokafka.conn import create_conn
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
)

from console.words import say
from streams.connection import connection

if TYPE_CHECKING:
    from streams.settings import Settings

#: How long a broker that was just asked in vain may take to say why.
_PATIENCE_MS: Final = 5_000
_DENIED: Final = (TopicAuthorizationFailedError, GroupAuthorizationFailedError, ClusterAuthorizationFailedError)


async def told(settings: Settings, exc: Exception) -> str:
    """Return what went wrong with the broker and who mends it. Asks it once more where aiokafka kept why to itself."""
    found = await _asked(settings) or exc if isinstance(exc, KafkaConnectionError) else exc
    return f"QINGLIU_KAFKA={settings.kafka}: {_meaning(settings, found)}"


async def _asked(settings: Settings) -> Exception | None:
    """Return how connecting fails: aiokafka only logs it, and says "unable to bootstrap"."""
    how = connection(settings, settings.kafka or "")
    try:
        for broker in how.pop("bootstrap_servers"):
            host, _, port = broker.rpartition(":")
            (await create_conn(host.strip("[]"), int(port), request_timeout_ms=_PATIENCE_MS, **how)).close()
    except (KafkaError, OSError) as exc:
        return exc
    return None


def _meaning(settings: Settings, exc: Exception) -> str:
    user, what = settings.kafka_sasl.username, " ".join(str(exc).split())
    if isinstance(exc, SaslAuthenticationFailed):
        return say(
            f"broker 不认用户 {user}：核对 QINGLIU_KAFKA_SASL__USERNAME、__PASSWORD、__MECHANISM，或请管理员建用户",
            f"the broker does not know {user} by this password: check QINGLIU_KAFKA_SASL__USERNAME, __PASSWORD and "
            "__MECHANISM, or ask whoever runs the broker for the user",
        )
    if isinstance(exc, ssl.SSLCertVerificationError):
        return say(
            f"broker 的证书不可信（{exc.verify_message}）：QINGLIU_KAFKA_TLS__CA 要是签发它的 CA，地址要写在证书里",
            f"the broker's certificate is not trusted ({exc.verify_message}): QINGLIU_KAFKA_TLS__CA must be the CA "
            "that signed it, and the certificate must name this address",
        )
    if isinstance(exc, ssl.SSLError):
        return say(
            f"TLS 谈不成（{what}）：这个端口说 TLS 吗？",
            f"no TLS ({what}): does this port speak TLS? it may be the other one",
        )
    if isinstance(exc, _DENIED):
        what = ": ".join((type(exc).__name__, *map(str, exc.args)))
        return say(
            f"broker 不许用户 {user} 这样做（{what}）：请 broker 管理员授权，见 deploy/acl/kafka-acls.sh",
            f"the broker does not let {user} do this ({what}): whoever runs it must, see deploy/acl/kafka-acls.sh",
        )
    return say(
        f"连不上（{exc!r}）：在运行吗？地址、端口、防火墙对吗？要不要 QINGLIU_KAFKA_TLS__ON、QINGLIU_KAFKA_SASL__…？",
        f"not reached ({exc!r}): is it running? address, port, firewall right? does it want QINGLIU_KAFKA_TLS__ON, "
        "QINGLIU_KAFKA_SASL__…?",
    )
