"""The routes of docs/reference/wire.md, each from a request to an answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import msgspec

from sojourn.errors import (
    FunctionUnknownError,
    InvalidError,
    SessionUnknownError,
    UnavailableError,
)
from sojourn.functions import Bound, Call, Kind, Presented
from sojourn.kernel import Reads, Store
from sojourn.server.authority import Authority
from sojourn.server.exchange import Answer, Request, json_answer, read_json
from sojourn.server.rate import Budget
from sojourn.server.transport import Transport
from sojourn.sessions import Issued, Session, Sessions
from sojourn.wire import CallRequest, Health, RotateRequest, SessionAnswer, SessionView

__all__ = ["Route", "Routes", "session_view"]

Route: TypeAlias = Callable[[Request], Awaitable[Answer]]

_CALL: Final = msgspec.json.Decoder(CallRequest)
_ROTATE: Final = msgspec.json.Decoder(RotateRequest)
_NOTHING: Final = msgspec.json.Decoder(dict[str, None])
_KINDS: Final = frozenset(Kind)


class Routes:
    """What the server answers, over one store."""

    def __init__(
        self,
        store: Store,
        sessions: Sessions,
        bound: Bound | None,
        authority: Authority,
        transport: Transport,
        begins: Budget,
    ) -> None:
        self._store = store
        self._sessions = sessions
        self._bound = bound
        self._authority = authority
        self._transport = transport
        self._begins = begins
        self.table: dict[str, dict[str, Route]] = {
            "/session": {"POST": self.begin, "GET": self.show, "DELETE": self.end},
            "/session/rotate": {"POST": self.rotate},
            "/call": {"POST": self.call},
            "/health": {"GET": self.health},
        }

    async def begin(self, request: Request) -> Answer:
        """Begin a session, unless the request brings a live one."""
        await read_json(request, _NOTHING)
        token = self._transport.token(request)
        session = None if token is None else await self._sessions.find(token)
        if session is not None and session.is_stored:
            return json_answer(_shown(session))
        if token is not None and await self._sessions.is_signing_in(token):
            raise UnavailableError("somebody signs in to this session at this moment; ask again with the new cookie")
        await self._begins.spend(request.client)
        return self._issued(request, await self._sessions.issue())

    async def show(self, request: Request) -> Answer:
        """Show the session that the request brings."""
        return json_answer(_shown(await self._session(request)))

    async def rotate(self, request: Request) -> Answer:
        """Give the session a new token."""
        asked: RotateRequest = await read_json(request, _ROTATE)
        token = self._transport.token(request)
        if token is None:
            raise SessionUnknownError("the request brings no session")
        return self._issued(request, await self._sessions.rotate(token, to=asked.to))

    async def end(self, request: Request) -> Answer:
        """End the session that the request brings."""
        session = await self._session(request)
        await self._sessions.revoke(session.id)
        return json_answer({"ended": True}, headers=self._transport.take_back(request))

    async def call(self, request: Request) -> Answer:
        """Run a function for the session that the request brings."""
        asked: CallRequest = await read_json(request, _CALL)
        if asked.kind not in _KINDS:
            raise InvalidError("kind", f"it is one of {', '.join(sorted(_KINDS))}")
        if self._bound is None:
            raise FunctionUnknownError("this server has no functions")
        caller = await self._authority.caller(request)
        function = self._bound.public(Kind(asked.kind), asked.function, is_operator=caller.is_operator)
        session = await (self._session(request) if function.takes_session else self._perhaps_session(request, asked))
        if function.takes_session and function.kind is not Kind.QUERY and session is not None and not session.is_stored:
            await self._begins.spend(request.client)  # a client-minted session begins with its first write
        presented = Presented(self._transport.token(request) or "")
        try:
            call = Call(
                function,
                session,
                bytes(asked.arguments),
                asked.request_id,
                presented,
                caller=None if caller.subject is None else caller,
                is_operator=caller.is_operator,
            )
            return Answer(200, b'{"result":%s}' % await self._bound.answer(call))
        finally:
            if presented.issued is not None:
                request.handed_out.extend(self._transport.hand_out(request, presented.issued))

    async def health(self, _: Request) -> Answer:
        """Say whether the store can be reached."""
        engine = self._store.describe().engine
        try:
            await self._store.read(Reads())
        except UnavailableError:
            return json_answer(Health("unavailable", engine), status=503)
        return json_answer(Health("ok", engine))

    async def _session(self, request: Request) -> Session:
        token = self._transport.token(request)
        if token is None:
            raise SessionUnknownError("the request brings no session")
        return await self._sessions.resolve(token)

    async def _perhaps_session(self, request: Request, asked: CallRequest) -> Session | None:
        """Return the session that the request brings to a function that takes none, if it brings one.

        A repeat is recognised by its session. If that has ended meanwhile it is refused, and not done once more.
        """
        token = self._transport.token(request)
        if token is None:
            return None
        return await (self._sessions.find(token) if asked.request_id is None else self._sessions.resolve(token))

    def _issued(self, request: Request, issued: Issued) -> Answer:
        return json_answer(_shown(issued.session), headers=self._transport.hand_out(request, issued))


def session_view(session: Session) -> SessionView:
    """Return what a caller may know of its session."""
    return SessionView(session.id, session.subject, session.created_at, session.expires_at, session.idle_expires_at)


def _shown(session: Session) -> SessionAnswer:
    return SessionAnswer(session_view(session))
