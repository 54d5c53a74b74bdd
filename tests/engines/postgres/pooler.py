"""A pooler in transaction mode, as small as one can be: every transaction may run on another connection of the server.

It is unkinder than real ones: whoever asks next gets the connection that has rested longest, so hardly any two
transactions of a client run on the same one. It refuses what these refuse: settings at the start of a connection.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

_SSL_REQUEST = 80877103
_READY = b"Z\x00\x00\x00\x05I"
_WELCOME = b"R\x00\x00\x00\x08\x00\x00\x00\x00" + b"K\x00\x00\x00\x0c\x00\x00\x00\x01\x00\x00\x00\x01"


class _Line(NamedTuple):
    """A connection to the server."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


class Pooler:
    """Serves any number of clients with so many connections, for one user and one database without a password."""

    def __init__(self, host: str, port: int, size: int) -> None:
        self._place = (host, port)
        self._size = size
        self._idle: deque[_Line] = deque()
        self._turns = asyncio.Semaphore(size)
        self._clients: set[asyncio.Task[None]] = set()
        self._settings = b""
        self.transactions = 0
        self.port = 0

    @asynccontextmanager
    async def serving(self, user: str, database: str) -> AsyncIterator[Pooler]:
        """Serve while within."""
        for _ in range(self._size):
            self._idle.append(await self._connect(user, database))
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for client in tuple(self._clients):
                client.cancel()
            await asyncio.gather(*self._clients, return_exceptions=True)
            for line in self._idle:
                line.writer.close()

    async def _connect(self, user: str, database: str) -> _Line:
        reader, writer = await asyncio.open_connection(*self._place)
        options = b"".join(f"{text}\0".encode() for text in ("user", user, "database", database))
        writer.write((len(options) + 9).to_bytes(4, "big") + (3 << 16).to_bytes(4, "big") + options + b"\0")
        self._settings = b""
        while (message := await _message(reader))[:1] != b"Z":
            if message[:1] == b"S":
                self._settings += message
        return _Line(reader, writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        try:
            await self._greet(reader, writer)
            while True:
                await self._transaction(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client is gone
        finally:
            self._clients.discard(task)
            writer.close()

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            size = int.from_bytes(await reader.readexactly(4), "big")
            body = await reader.readexactly(size - 4)
            if int.from_bytes(body[:4], "big") != _SSL_REQUEST:
                break
            writer.write(b"N")
        if b"options\0" in body:
            said = b"SFATAL\0C08P01\0Munsupported startup parameter: options\0\0"
            writer.write(b"E" + (len(said) + 4).to_bytes(4, "big") + said)
            raise ConnectionError
        writer.write(_WELCOME + self._settings + _READY)

    async def _transaction(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry messages to and fro until a transaction has ended, over one connection of the server."""
        message = await _message(reader)
        if message[:1] == b"X":
            raise ConnectionError
        async with self._turns:
            line = self._idle.popleft()
            try:
                status = b""
                while status != b"I":
                    line.writer.write(message)
                    while message[:1] not in {b"Q", b"S"}:
                        message = await _message(reader)
                        line.writer.write(message)
                    while (answer := await _message(line.reader))[:1] != b"Z":
                        writer.write(answer)
                    writer.write(answer)
                    status = answer[5:6]
                    if status != b"I":
                        message = await _message(reader)
                self.transactions += 1
            finally:
                self._idle.append(line)


async def _message(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(5)
    return head + await reader.readexactly(int.from_bytes(head[1:], "big") - 4)
