"""What goes over the wire between an engine and its server, counted on its way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Final, NamedTuple, Self
from urllib.parse import urlsplit

__all__ = ["HELD", "Traffic", "Wire"]

_HOST: Final = "127.0.0.1"
_CHUNK: Final = 65_536
HELD: Final = 0.02
"""Seconds for which everything may be held before it is counted and passed on. What an engine begins once it has its
answer, so that no caller waits for it, is then counted long after the caller has gone on."""


class Traffic(NamedTuple):
    """Bytes of both ways, and round trips: how often somebody was spoken to who had answered, or who was new."""

    trips: int = 0
    sent: int = 0
    received: int = 0

    def since(self, earlier: Traffic) -> Traffic:
        """Return what has come to it since."""
        return Traffic(*(now - then for now, then in zip(self, earlier, strict=True)))


class Wire:
    """Stands between an engine and the server that a URL names, while it is entered. `url` then leads through it.

    Everything is held for `held` seconds, at first for none.
    """

    def __init__(self, url: str) -> None:
        self.held = 0.0
        self.traffic = Traffic()
        self.in_turn = 0
        """Trips of which each was begun when the one before had its answer: no caller can have waited for more."""
        self._answered = 0.0
        self._parts = urlsplit(url)
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._last = 0.0

    async def __aenter__(self) -> Self:
        """Take connections."""
        self._server = await asyncio.start_server(self._connected, _HOST, 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End every connection."""
        assert self._server is not None
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    @property
    def url(self) -> str:
        """Return the URL by which an engine gets here instead."""
        assert self._server is not None
        here = self._server.sockets[0].getsockname()[1]
        return self._parts._replace(netloc=self._parts.netloc.replace(f":{self._parts.port}", f":{here}")).geturl()

    async def quiet(self) -> None:
        """Wait until nothing has been said for longer than anything is held."""
        clock = asyncio.get_running_loop().time
        left = self._last + 3 * self.held - clock()
        if left > 0:
            await asyncio.sleep(left)
            await self.quiet()

    def _connected(self, from_engine: asyncio.StreamReader, to_engine: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(self._carry(from_engine, to_engine))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _carry(self, from_engine: asyncio.StreamReader, to_engine: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection(self._parts.hostname, self._parts.port)
        is_asked, asked_at = False, 0.0

        def asks(size: int, came_at: float) -> Traffic:
            nonlocal is_asked, asked_at
            was_asked, is_asked = is_asked, True
            asked_at = asked_at if was_asked else came_at
            return Traffic(trips=not was_asked, sent=size)

        def answers(size: int, _: float) -> Traffic:
            nonlocal is_asked
            if is_asked and asked_at >= self._answered:
                self.in_turn += 1
                self._answered = asyncio.get_running_loop().time()
            is_asked = False
            return Traffic(received=size)

        ways = (
            asyncio.create_task(self._pass(from_engine, to_server, asks)),
            asyncio.create_task(self._pass(from_server, to_engine, answers)),
        )
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            to_engine.close()
            to_server.close()

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, note: Callable[[int, float], Traffic]
    ) -> None:
        while piece := await reader.read(_CHUNK):
            self._last = came_at = asyncio.get_running_loop().time()
            await asyncio.sleep(self.held)
            noted = note(len(piece), came_at)
            self.traffic = Traffic(*(so_far + more for so_far, more in zip(self.traffic, noted, strict=True)))
            writer.write(piece)
