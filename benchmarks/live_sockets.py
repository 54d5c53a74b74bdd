"""The client's side of calls and of live connections: just enough of HTTP and of WebSockets to measure servers by.

It shares the machine with them, so it does little.
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
import struct
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final, cast

import msgspec

from benchmarks.live_app import State

__all__ = ["Caller", "Query", "Viewer", "calling", "state_of", "viewing"]

_RESULT: Final = re.compile(rb'"result": ?\[?(\d+)')
_LENGTH: Final = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)
_LINE_END: Final = b"\r\n"
_HEAD_END: Final = b"\r\n\r\n"
_TEXT, _PING, _PONG = 1, 9, 10
_FINAL, _MASKED, _OPCODE = 0x80, 0x80, 0x0F
_SHORT, _MEDIUM, _LONG = 125, 126, 127
_HEADS: Final = {_MEDIUM: 4, _LONG: 10}
"""How long a frame's head is, where two bytes cannot hold its length."""


class Query(msgspec.Struct, frozen=True):
    """A query to watch."""

    function: str
    arguments: dict[str, Any]


class Caller:
    """A connection over which functions are called, one after another."""

    def __init__(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._port, self._reader, self._writer = port, reader, writer

    async def ticket(self) -> str:
        """Return what opens a WebSocket."""
        ticket: str = msgspec.json.decode(await self._post(b"/live/ticket", b"{}"))["ticket"]
        return ticket

    async def put(self, place: str, number: int) -> None:
        """Set a number."""
        await self._call("mutation", "put", place=place, number=number)

    async def state(self) -> State:
        """Return what the server says of itself."""
        return msgspec.convert(await self._call("query", "state"), State)

    async def _call(self, kind: str, function: str, **arguments: object) -> object:
        asked = {"kind": kind, "function": function, "arguments": arguments}
        answer: dict[str, object] = msgspec.json.decode(await self._post(b"/call", msgspec.json.encode(asked)))
        return answer["result"]

    async def _post(self, path: bytes, body: bytes) -> bytes:
        self._writer.write(
            b"POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nOrigin: http://127.0.0.1:%d\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
            % (path, self._port, self._port, len(body), body)
        )
        head = await self._reader.readuntil(_HEAD_END)
        length = _LENGTH.search(head)
        answer = await self._chunks() if length is None else await self._reader.readexactly(int(length[1]))
        if not head.startswith(b"HTTP/1.1 200"):
            raise ConnectionError(f"{head!r} {answer!r}")
        return answer

    async def _chunks(self) -> bytes:
        whole = b""
        while size := int(await self._reader.readline(), 16):
            whole += (await self._reader.readexactly(size + len(_LINE_END)))[:size]
        await self._reader.readexactly(len(_LINE_END))
        return whole


@asynccontextmanager
async def calling(port: int) -> AsyncGenerator[Caller]:
    """Connect for as long as the block lasts."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Caller(port, reader, writer)
    finally:
        writer.close()
        await writer.wait_closed()


async def state_of(port: int) -> State:
    """Ask a server once. Connections are not kept for that: a server hangs up on who is silent for long."""
    async with calling(port) as caller:
        return await caller.state()


class Viewer(asyncio.Protocol):
    """One who watches: a WebSocket. `on_number` is called with each number that is pushed, as soon as it is there."""

    def __init__(self, port: int, on_number: Callable[[int], None]) -> None:
        self.pushes = 0
        """How many transitions came."""
        self.received = 0
        """How many bytes they had."""
        self._port = port
        self._on_number = on_number
        self._is_open = False
        self._data = b""
        self._first: tuple[bytes, ...] = ()
        self._transport: asyncio.Transport | None = None

    def begin(self, *messages: object) -> None:
        """Say these as soon as the server has accepted."""
        self._first = tuple(msgspec.json.encode(message) for message in messages)
        key = base64.b64encode(os.urandom(16))
        self._write(
            b"GET /live HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nOrigin: http://127.0.0.1:%d\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n"
            % (self._port, self._port, key)
        )

    def pause(self) -> None:
        """Read nothing more until `resume`."""
        assert self._transport is not None
        self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        assert self._transport is not None
        self._transport.resume_reading()

    def close(self) -> None:
        """Leave."""
        assert self._transport is not None
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take note of what to write to."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class

    def data_received(self, data: bytes) -> None:
        """Take in what is whole, and keep the rest."""
        self._data = self._data + data if self._data else data
        if not self._is_open:
            head, found, rest = self._data.partition(_HEAD_END)
            if not found:
                return
            assert head.startswith(b"HTTP/1.1 101"), head
            self._is_open, self._data = True, rest
            for message in self._first:
                self._frame(_TEXT, message)
        while (frame := _frame_of(self._data)) is not None:
            opcode, payload, self._data = frame
            if opcode == _TEXT:
                self._hear(payload)
            elif opcode == _PING:
                self._frame(_PONG, payload)

    def _hear(self, text: bytes) -> None:
        number = _RESULT.search(text)
        if number is not None:
            self.pushes += 1
            self.received += len(text)
            self._on_number(int(number[1]))

    def _frame(self, opcode: int, payload: bytes) -> None:
        size = len(payload)
        sized = struct.pack("!B", _MASKED | size) if size <= _SHORT else struct.pack("!BH", _MASKED | _MEDIUM, size)
        self._write(bytes([_FINAL | opcode]) + sized + bytes(4) + payload)  # masked by zeros, which change nothing

    def _write(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(data)


def _frame_of(data: bytes) -> tuple[int, bytes, bytes] | None:
    """Return the first frame's kind and content, and what follows it; None when it is not whole yet."""
    size = data[1] if len(data) > 1 else _LONG
    begin = _HEADS.get(size, 2)
    if size in _HEADS:
        size = int.from_bytes(data[2:begin], "big")
    if len(data) < begin + size:
        return None
    return data[0] & _OPCODE, data[begin : begin + size], data[begin + size :]


async def viewing(
    port: int, on_number: Callable[[int], None], ticket: str | None = None, queries: Sequence[Query] = ()
) -> Viewer:
    """Connect one who watches these queries, or whatever a bare server sends, which gives no tickets."""
    loop = asyncio.get_running_loop()
    _, viewer = await loop.create_connection(partial(Viewer, port, on_number), "127.0.0.1", port)
    if ticket is None:
        viewer.begin()
    else:
        add = [{"id": number, **msgspec.structs.asdict(query)} for number, query in enumerate(queries, 1)]
        viewer.begin({"type": "connect", "protocol": 1, "ticket": ticket}, {"type": "watch", "add": add})
    return viewer
