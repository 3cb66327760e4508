"""Signed records: who may write a topic is the broker's to say; a signature says it again where brokers are shared.

A record is signed by a header `qingliu-hmac`: in hex, the HMAC-SHA256 of its key, one zero byte, and its value. A key
with a zero byte is refused, so nothing can be moved from one to the other. The topic is no part of it: mirrors rename
topics. So a signature proves that a holder of the secret wrote this record once, and not that it is new, nor in which
topic it was written: ids make what comes again harmless.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Final, NamedTuple

from moderation.errors import DeadReason, EventError

if TYPE_CHECKING:
    from collections.abc import Sequence

HEADER: Final = "qingliu-hmac"
#: Secrets of an event's or a command's publisher, the newest first: it signs, all are good. None: nothing is signed.
Secrets = tuple[bytes, ...]
Headers = tuple[tuple[str, bytes], ...]


class Signing(NamedTuple):
    """The secrets of a deployment. They are apart: who may say what players said may not order bans."""

    events: Secrets = ()
    commands: Secrets = ()


def signed(key: bytes, value: bytes, secrets: Secrets) -> Headers:
    """Return the headers that a record needs; none where there are no secrets.

    >>> signed(b"10086001", b"{}", (b"0123456789abcdef0123456789abcdef",))[0][1][:16]
    b'3e24e25165524cb1'
    """
    return ((HEADER, _hex(key, value, secrets[0])),) if secrets else ()


def check(
    key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes | None]], secrets: Secrets
) -> None:
    """Refuse what none of the secrets signed, at least one of them given. Raises EventError.

    Takes 2 µs for a record of 400 bytes (2026-11-22), and as much again for each older secret.
    """
    told = signature_of(headers)
    if told is None:
        raise EventError(DeadReason.BAD_SIGNATURE, f"no header {HEADER}")
    key, value = key or b"", value or b""
    if b"\0" in key or not any(hmac.compare_digest(told, _hex(key, value, secret)) for secret in secrets):
        raise EventError(DeadReason.BAD_SIGNATURE, f"{HEADER} was made with another key, or for another record")


def signature_of(headers: Sequence[tuple[str, bytes | None]]) -> bytes | None:
    """Return what the header says, None where there is none, or more than one."""
    told = [value for name, value in headers if name == HEADER]
    return told[0] if len(told) == 1 else None


def _hex(key: bytes, value: bytes, secret: bytes) -> bytes:
    return hmac.digest(secret, b"%b\0%b" % (key, value), "sha256").hex().encode()
