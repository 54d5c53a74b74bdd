"""A way to a server that breaks: connections are cut in the middle of what they say, in either direction."""

from __future__ import annotations

import asyncio
import random
import struct
from contextlib import suppress
from socket import SO_LINGER, SOL_SOCKET
from types import TracebackType
from typing import Final, Self

from tests.servers.process import free_port
from tests.servers.server import HOST

_CHUNK: Final = 65_536
_CUT_AFTER: Final = range(1, 24_000)
"""Bytes after which a connection is cut: from the middle of signing in to a few batches and their answers later."""
_RESET: Final = struct.pack("ii", 1, 0)  # lingering for no time: the other side sees a reset, not an orderly end


class Proxy:
    """Passes bytes between its own port and a server's; while it `is_cutting`, every connection has its last byte.

    Where that is follows from the seed, and so does whether the connection ends in order or by a reset.
    """

    def __init__(self, to_port: int, seed: int) -> None:
        self.port = free_port()
        self.is_cutting = False
        self.cuts = 0
        self._to_port = to_port
        self._chance = random.Random(seed)  # noqa: S311  repeatable by its seed
        self._cut = asyncio.Condition()
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        """Take connections."""
        self._server = await asyncio.start_server(self._connected, HOST, self.port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Take no more connections, and end those that there are."""
        assert self._server is not None
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()

    async def reaches(self, cuts: int) -> None:
        """Wait until so many connections have been cut, from the beginning on."""
        async with self._cut:
            await self._cut.wait_for(lambda: self.cuts >= cuts)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(self._carry(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _carry(self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        try:
            from_server, to_server = await asyncio.open_connection(HOST, self._to_port)
        except OSError:
            await _end(to_client, by_reset=True)
            return
        carried = _Carried(self._chance.choice(_CUT_AFTER))
        by_reset = self._chance.random() < 1 / 2
        ways = [
            asyncio.create_task(self._pass(from_client, to_server, carried)),
            asyncio.create_task(self._pass(from_server, to_client, carried)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            await _end(to_client, by_reset=by_reset)
            await _end(to_server, by_reset=by_reset)
        if carried.left <= 0:
            async with self._cut:
                self.cuts += 1
                self._cut.notify_all()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, carried: _Carried) -> None:
        """Pass bytes on, until the last that the connection may carry; nothing behind it arrives."""
        while carried.left > 0 and (data := await reader.read(_CHUNK)):
            passed = data[: max(0, carried.left)] if self.is_cutting else data
            if self.is_cutting:
                carried.left -= len(data)
            writer.write(passed)
            await writer.drain()


class _Carried:
    """How many bytes a connection may carry yet, both ways together."""

    def __init__(self, left: int) -> None:
        self.left = left


async def _end(writer: asyncio.StreamWriter, *, by_reset: bool) -> None:
    with suppress(OSError):  # the other side was faster
        if by_reset:
            writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, _RESET)
            writer.transport.abort()
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
