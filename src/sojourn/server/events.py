"""A live connection as server-sent events, for programs that only watch."""

from __future__ import annotations

from contextlib import closing
from typing import Final

import msgspec

from sojourn.server.exchange import DisconnectedError, Receive, Send
from sojourn.server.hub import Hub, whichever
from sojourn.server.reports import failure_told
from sojourn.server.viewer import Viewer
from sojourn.server.voice import Message, Voice
from sojourn.wire import Goodbye

__all__ = ["LiveEvents"]

_BEAT: Final[Message] = {"type": "http.response.body", "body": b": beat\n\n", "more_body": True}


class LiveEvents:
    """One stream, whose queries are being watched already."""

    def __init__(self, hub: Hub, viewer: Viewer, receive: Receive) -> None:
        self._hub = hub
        self._viewer = viewer
        self._receive = receive

    async def run(self, send: Send) -> None:
        """Stream until the client goes. Whatever else ends it, the client is told why."""
        voice = self._hub.voice(send)
        try:
            with self._hub.connected() as end, closing(self._viewer):
                try:
                    await whichever(self._show(voice), voice.beat(_BEAT), self._gone(), end)
                except DisconnectedError:
                    raise
                except Exception as error:  # noqa: BLE001  whatever it is, the client is told and the log has the story
                    goodbye = msgspec.json.encode(Goodbye(failure_told(error)))
                    await voice.say_last(_event(b"event: goodbye\n", goodbye, more=False))
        except DisconnectedError:
            return

    async def _show(self, voice: Voice) -> None:
        async for part in self._viewer.parts():
            # The number comes with the last part: who has only some of them has not seen that version.
            head = b"event: transition\nid: %d\n" % part.version if part.is_last else b"event: transition\n"
            await voice.say(_event(head, part.text))
            self._hub.transitions += part.is_last

    async def _gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        raise DisconnectedError


def _event(head: bytes, data: bytes, *, more: bool = True) -> Message:
    line = data.translate(None, b"\r\n")  # in JSON they stand only between values
    return {"type": "http.response.body", "body": b"%sdata: %s\n\n" % (head, line), "more_body": more}
