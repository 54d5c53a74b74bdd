"""The routes by which a live connection begins."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qs

import msgspec

from sojourn import limits
from sojourn.errors import InvalidError, LimitError
from sojourn.server.authority import Authority
from sojourn.server.events import LiveEvents
from sojourn.server.exchange import Answer, Request, check_depth, json_answer, read_json
from sojourn.server.hub import Hub
from sojourn.server.routes import Route
from sojourn.server.tickets import Holder
from sojourn.server.transport import Transport
from sojourn.sessions import Sessions
from sojourn.wire import LiveQuery, TicketAnswer, WatchChange

__all__ = ["LiveRoutes"]

_NOTHING: Final = msgspec.json.Decoder(dict[str, None])
_QUERIES: Final = msgspec.json.Decoder(tuple[LiveQuery, ...])
_VERSION_DIGITS: Final = 16


class LiveRoutes:
    """Tickets, and streams of events."""

    def __init__(self, hub: Hub, sessions: Sessions, authority: Authority, transport: Transport) -> None:
        self._hub = hub
        self._sessions = sessions
        self._authority = authority
        self._transport = transport
        self.table: dict[str, dict[str, Route]] = {
            "/live/ticket": {"POST": self.ticket},
            "/live": {"GET": self.events},
        }

    async def ticket(self, request: Request) -> Answer:
        """Give out what opens a WebSocket for the session that the request brings, if it brings one."""
        await read_json(request, _NOTHING)
        holder = await self._holder(request)
        if holder.token is not None:
            await self._sessions.resolve(holder.token)  # so that who must begin a session learns it here
        ticket = await self._hub.tickets.issue(holder)
        return json_answer(TicketAnswer(ticket, int(limits.LIVE_TICKET.total_seconds() * 1_000)))

    async def events(self, request: Request) -> Answer:
        """Stream what changes of the queries that the request names."""
        queries = _queries(request)
        self._hub.check()
        viewer = await self._hub.viewer(await self._holder(request), _seen(request))
        try:
            viewer.change(WatchChange(queries))
        except BaseException:
            viewer.close()
            raise
        headers = ((b"x-accel-buffering", b"no"),)  # or a proxy may keep events back until there are many
        return Answer(
            200, b"", headers, kind=b"text/event-stream", stream=LiveEvents(self._hub, viewer, request.receive).run
        )

    async def _holder(self, request: Request) -> Holder:
        caller = await self._authority.caller(request)
        return Holder(self._transport.token(request), caller.subject, caller.is_operator)


def _queries(request: Request) -> tuple[LiveQuery, ...]:
    if len(request.query) > limits.LIVE_FRAME_BYTES:
        raise LimitError("queries", limit=limits.LIVE_FRAME_BYTES, found=len(request.query), unit="bytes")
    try:
        ((name, (text,)),) = parse_qs(request.query.decode("ascii"), strict_parsing=True, errors="strict").items()
        if name != "queries":
            raise InvalidError("queries", "there is one part of this name, and no other")
        check_depth(text.encode())
        return _QUERIES.decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise InvalidError("queries", str(error)) from error


def _seen(request: Request) -> int | None:
    text = request.header(b"last-event-id")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= _VERSION_DIGITS):
        raise InvalidError("Last-Event-ID", "it is the id of an event")
    return int(text)
