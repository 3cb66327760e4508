"""A TCP proxy on loopback that can be slow, silent or rude: what stands between a worker and a server.

Bytes are never lost or changed: a slow or silent link hands them over late, in order, as TCP does; a rude one resets
every connection, and what was under way is gone, as when a firewall forgets its table.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import Final, Self

_CHUNK: Final = 1 << 16
#: SO_LINGER with no time to linger: closing sends a reset instead of a farewell.
_RESET: Final = struct.pack("ii", 1, 0)


class Proxy:
    """`async with Proxy(target_port) as proxy:` listens on `proxy.port`. `delay_s` holds each piece of data back."""

    port: int

    def __init__(self, target_port: int) -> None:
        self.delay_s = 0.0
        self._target_port = target_port
        self._to, self._back = asyncio.Event(), asyncio.Event()
        self.speak()
        self._links: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.speak()
        self.reset()

    def silence(self) -> None:
        """Hold everything back, in both directions, until `speak`."""
        self._to.clear()
        self.deafen()

    def deafen(self) -> None:
        """Hold back what the server says, until `speak`; what is said to it passes."""
        self._back.clear()

    def speak(self) -> None:
        """Hand over what was held back, and go on."""
        self._to.set()
        self._back.set()

    def reset(self) -> None:
        """Reset every connection that is open."""
        for writer in list(self._links):
            with contextlib.suppress(OSError):
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there_reader, there = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:  # the server is away: so is this connection
            writer.transport.abort()
            return
        self._links |= {writer, there}
        try:
            await asyncio.gather(self._carry(reader, there, self._to), self._carry(there_reader, writer, self._back))
        finally:
            self._links -= {writer, there}

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flowing: asyncio.Event) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                await asyncio.sleep(self.delay_s)
                await flowing.wait()
                writer.write(data)
                await writer.drain()
        writer.close()
