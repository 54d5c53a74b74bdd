"""A client that keeps a server busy: so many connections, each with one request in flight.

It speaks just enough HTTP for that, because it shares the machine with the server. It runs as a process of its own.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import sys
import time
from functools import partial
from typing import Final, cast

import msgspec

from benchmarks.rounds import Sample

__all__ = ["Asked", "Said", "load"]

_LENGTH: Final = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)
_COOKIE: Final = re.compile(rb"\r\nset-cookie: ([^;\r]+)", re.IGNORECASE)
_RESULT: Final = re.compile(rb'\{"result": ?(\d+)\}')
_HEAD_END: Final = b"\r\n\r\n"
_CHUNKS_END: Final = b"0\r\n\r\n"


class Asked(msgspec.Struct, frozen=True):
    """What to do: `shared` makes all connections use one session, `request_ids` sends one with each call."""

    port: int
    connections: int
    seconds: float
    shared: bool = False
    request_ids: bool = False


class Said(msgspec.Struct, frozen=True):
    """What came of it. `lost` is the distance between the calls acknowledged and what the sessions' counts show."""

    sample: Sample
    lost: int


async def load(asked: Asked) -> Said:
    """Run the client as a process of its own, and return what it found."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.load", msgspec.json.encode(asked).decode()), stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    return msgspec.json.decode(said, type=Said)


class _Connection(asyncio.Protocol):
    """One connection: sends a request when the answer to the last is whole."""

    def __init__(self, asked: Asked, number: int) -> None:
        self.count = 0
        self.waits: list[float] = []
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.cookie = b""
        self._asked = asked
        self._number = number
        self._requests = itertools.count()
        self._received = b""
        self._answered: asyncio.Future[bytes] | None = None
        self._until = 0.0
        self._sent_at = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.finished.done():
            self.finished.set_exception(exc or ConnectionError("the server closed the connection"))

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(_HEAD_END)
        if not found or not _is_whole(head, body):
            return
        self._received = b""
        if not head.startswith(b"HTTP/1.1 200"):
            self.finished.set_exception(RuntimeError(f"{head!r} {body!r}"))
        elif not self.cookie:
            self._begin_with(head)
        else:
            self._note(body)

    def begin(self) -> None:
        """Ask for a session."""
        self._send(b"/session", b"{}")

    def run(self, until: float) -> None:
        """Call again and again until then."""
        self._until = until
        self._call()

    def _begin_with(self, head: bytes) -> None:
        found = _COOKIE.search(head)
        assert found is not None
        self.cookie = found.group(1)
        self.finished.set_result(None)

    def _note(self, body: bytes) -> None:
        now = time.perf_counter()
        found = _RESULT.search(body)
        if found is None:
            self.finished.set_exception(RuntimeError(f"an answer without a count: {body!r}"))
            return
        self.waits.append(now - self._sent_at)
        self.count = max(self.count, int(found.group(1)))
        if now < self._until:
            self._call()
        else:
            self.finished.set_result(None)

    def _call(self) -> None:
        request_id = b""
        if self._asked.request_ids:
            request_id = b',"request_id":"%04d-%08d"' % (self._number, next(self._requests))
        self._sent_at = time.perf_counter()
        self._send(b"/call", b'{"kind":"mutation","function":"add","arguments":{"by":1}%s}' % request_id)

    def _send(self, path: bytes, body: bytes) -> None:
        assert self._transport is not None
        port = self._asked.port
        cookie = b"Cookie: %s\r\n" % self.cookie if self.cookie else b""
        self._transport.write(
            b"POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nOrigin: http://127.0.0.1:%d\r\n%s"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
            % (path, port, port, cookie, len(body), body)
        )


def _is_whole(head: bytes, body: bytes) -> bool:
    length = _LENGTH.search(head + b"\r\n")
    return body.endswith(_CHUNKS_END) if length is None else len(body) >= int(length.group(1))


async def _run(asked: Asked) -> Said:
    loop = asyncio.get_running_loop()
    connections: list[_Connection] = []
    for number in range(asked.connections):
        _, connection = await loop.create_connection(partial(_Connection, asked, number), "127.0.0.1", asked.port)
        connections.append(connection)
        if asked.shared and number:
            connection.cookie = connections[0].cookie
        else:
            connection.begin()
            await connection.finished
        connection.finished = loop.create_future()
    start = time.perf_counter()
    for connection in connections:
        connection.run(start + asked.seconds)
    await asyncio.gather(*(connection.finished for connection in connections))
    seconds = time.perf_counter() - start
    waits = tuple(wait for connection in connections for wait in connection.waits)
    counts = [connection.count for connection in connections]
    kept = max(counts) if asked.shared else sum(counts)
    return Said(Sample(len(waits), seconds, waits), abs(len(waits) - kept))


def _main() -> None:
    asked = msgspec.json.decode(sys.argv[1], type=Asked)
    sys.stdout.buffer.write(msgspec.json.encode(asyncio.run(_run(asked))))


if __name__ == "__main__":
    _main()
