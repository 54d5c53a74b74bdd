"""A live connection over WebSocket, from the handshake to the goodbye."""

from __future__ import annotations

from contextlib import closing
from typing import Any, Final, TypeVar

import msgspec

from sojourn import limits
from sojourn.errors import (
    CallTimeoutError,
    InvalidError,
    LimitError,
    ProtocolUnsupportedError,
)
from sojourn.kernel.waiting import first_of
from sojourn.server.exchange import DisconnectedError, Request, Send, check_depth
from sojourn.server.hub import Hub, whichever
from sojourn.server.reports import failure_told
from sojourn.server.routes import session_view
from sojourn.server.viewer import Viewer
from sojourn.server.voice import Message
from sojourn.wire import PROTOCOLS, Beat, Connect, Connected, FromClient, Goodbye, Sync, WatchChange, close_code_of

__all__ = ["LiveSocket"]

T = TypeVar("T")


class _Greeting(msgspec.Struct):
    """What the first message of any version says."""

    protocol: int


_GREETING: Final = msgspec.json.Decoder(_Greeting)
_FROM_CLIENT: Final = msgspec.json.Decoder[Any](FromClient)


class LiveSocket:
    """One connection, whose handshake has passed the gate."""

    def __init__(self, hub: Hub, request: Request, send: Send) -> None:
        self._hub = hub
        self._client = request.client
        self._receive = request.receive
        self._voice = hub.voice(send)

    async def run(self) -> None:
        """Accept the connection, and return when it is over. Whatever ends it, the client is told why."""
        try:
            await self._receive()  # the handshake itself
            await self._voice.say({"type": "websocket.accept"})
            with self._hub.connected() as end:
                try:
                    await whichever(self._converse(), end)
                except DisconnectedError:
                    raise
                except Exception as error:  # noqa: BLE001  whatever it is, the client is told and the log has the story
                    await self._say_goodbye(error)
        except DisconnectedError:
            return

    async def _converse(self) -> None:
        await self._hub.count(self._client)  # or who never says a word would hold a place for nothing
        connect = await first_of(self._connect(), self._hub.clock.sleep(limits.LIVE_CONNECT.total_seconds()))
        if connect is None:
            raise CallTimeoutError(f"nobody connected within {limits.LIVE_CONNECT.total_seconds():.0f} seconds")
        holder = await self._hub.tickets.redeem(connect.ticket)
        with closing(await self._hub.viewer(holder, connect.seen)) as viewer:
            session = None if viewer.session is None else session_view(viewer.session)
            beat_ms = int(limits.LIVE_BEAT.total_seconds() * 1_000)
            await self._voice.say(_text(Connected(connect.protocol, viewer.version, session, beat_ms)))
            await whichever(self._listen(viewer), self._show(viewer), self._voice.beat(_text(Beat())))

    async def _connect(self) -> Connect:
        text = await self._next()
        protocol = _decoded(_GREETING, text).protocol
        if protocol not in PROTOCOLS:
            spoken = ", ".join(map(str, sorted(PROTOCOLS)))
            raise ProtocolUnsupportedError(
                f"this server speaks protocol {spoken}, and not {protocol}; load the page anew", spoken=PROTOCOLS
            )
        connect = _decoded(_FROM_CLIENT, text)
        if not isinstance(connect, Connect):
            raise InvalidError("message", "the first is of the type connect")
        return connect

    async def _listen(self, viewer: Viewer) -> None:
        while True:
            match _decoded(_FROM_CLIENT, await self._next()):
                case WatchChange() as change:
                    viewer.change(change)
                case Sync(number):
                    viewer.sync(number)
                case _:
                    raise InvalidError("message", "it is connected already")

    async def _show(self, viewer: Viewer) -> None:
        async for part in viewer.parts():
            await self._voice.say({"type": "websocket.send", "text": part.text.decode()})
            self._hub.transitions += part.is_last

    async def _next(self) -> bytes:
        """Return the next message of the client."""
        message = await self._receive()
        if message["type"] != "websocket.receive":
            raise DisconnectedError
        await self._hub.count(self._client)
        text: str | None = message.get("text")
        if text is None:
            raise InvalidError("message", "it is text")
        encoded = text.encode()
        if len(encoded) > limits.LIVE_FRAME_BYTES:  # where the server below does not see to it
            raise LimitError("message", limit=limits.LIVE_FRAME_BYTES, found=len(encoded), unit="bytes")
        check_depth(encoded)
        return encoded

    async def _say_goodbye(self, error: Exception) -> None:
        await self._voice.say_last(
            _text(Goodbye(failure_told(error))), {"type": "websocket.close", "code": close_code_of(error)}
        )


def _text(message: Connected | Beat | Goodbye) -> Message:
    return {"type": "websocket.send", "text": msgspec.json.encode(message).decode()}


def _decoded(decoder: msgspec.json.Decoder[T], text: bytes) -> T:
    try:
        return decoder.decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise InvalidError("message", str(error)) from error
