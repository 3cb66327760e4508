"""How we connect to Kafka besides Faust: the same address, TLS and login for every aiokafka client."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import streams.unpack  # noqa: F401  every client of ours comes through here
from moderation.errors import SettingsError

if TYPE_CHECKING:
    from streams.settings import KafkaTls, Settings


def connection(settings: Settings, kafka: str) -> dict[str, Any]:
    """Return the arguments of any aiokafka client that say where the broker is and how we log in."""
    context, sasl = ssl_context(settings.kafka_tls), settings.kafka_sasl
    login: dict[str, Any] = {}
    if sasl.mechanism is not None and sasl.password is not None:
        login = {
            "sasl_mechanism": sasl.mechanism,
            "sasl_plain_username": sasl.username,
            "sasl_plain_password": sasl.password.get_secret_value(),
        }
    protocol = ("SASL_" if login else "") + ("SSL" if context else "PLAINTEXT")
    servers = kafka.removeprefix("kafka://").split(",")
    return {"bootstrap_servers": servers, "security_protocol": protocol, "ssl_context": context, **login}


def ssl_context(tls: KafkaTls) -> ssl.SSLContext | None:
    """Return the TLS context that the settings ask for; None for plain text. Raises SettingsError."""
    if not tls.on:
        return None
    try:
        context = ssl.create_default_context(cafile=str(tls.ca) if tls.ca else None)
        if tls.cert and tls.key:
            context.load_cert_chain(tls.cert, tls.key)
    except OSError as exc:  # ssl.SSLError is one
        raise SettingsError(f"QINGLIU_KAFKA_TLS__CA, __CERT or __KEY cannot be read: {exc}") from None
    return context
