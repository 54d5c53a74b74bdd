"""Functions bound to a store: where a call becomes a transaction.

Whoever calls, a browser or this process, a call goes one way: arguments as JSON text, checked before any I/O; the
handler, in as many attempts as it needs; the result checked and written as JSON text before anything commits.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Awaitable, Mapping
from typing import Any, Final, ParamSpec, TypeVar

import msgspec
from msgspec import UnsetType

from sojourn import limits
from sojourn.errors import (
    CapabilityError,
    FunctionUnknownError,
    InvalidError,
    RequestReusedError,
    SessionUnknownError,
)
from sojourn.functions import layout
from sojourn.functions.context import ActionCtx, MutationCtx, QueryCtx
from sojourn.functions.model import Caller, Function, Kind
from sojourn.functions.performing import FollowUp, follow_up, perform
from sojourn.kernel import Attempt, Store
from sojourn.kernel.clock import moment
from sojourn.kernel.codec import codec
from sojourn.sessions import Issued, Session, SessionId, Sessions

__all__ = ["Acting", "Bound", "Call", "Presented"]

P = ParamSpec("P")
R = TypeVar("R")


_Ran = tuple[bytes, list[FollowUp]]
"""A result as JSON text, and what layers do once it is committed."""


class Presented:
    """The token that a caller came with, and the session's newest one if the call rotates it.

    Whoever answers hands `issued` out with the answer, also when the call failed afterwards: the old token is dead.
    """

    def __init__(self, token: str) -> None:
        self.token = token
        self.issued: Issued | None = None


class Call(msgspec.Struct, frozen=True):
    """One call: the function, its arguments as JSON text, and what makes it recognisable.

    `request_id` recognises a mutation that comes again. `is_fresh` says that the session was read for this very call,
    so that a mutation may go by it without reading it once more. Without a `caller` it is the session's subject, in a
    mutation as each attempt finds it, and `is_operator` says whether an operator's rights come with it.
    """

    function: Function[..., Any]
    session: Session
    arguments: bytes
    request_id: str | None = None
    presented: Presented | None = None
    is_fresh: bool = True
    caller: Caller | None = None
    is_operator: bool = False


class _Done(msgspec.Struct, frozen=True, array_like=True):
    """What is kept of a mutation by its request id: a hash of the call, and its result."""

    call: str
    result: msgspec.Raw


_DONE: Final = codec(_Done)


class Bound:
    """The functions of an application over its store."""

    def __init__(self, functions: Mapping[str, Function[..., Any]], sessions: Sessions, store: Store) -> None:
        if store is not sessions.store:
            raise InvalidError("store", "it is not the one that the functions' sessions are kept in")
        self._functions = functions
        self.sessions = sessions
        self.store = store

    def public(self, kind: Kind, name: str, *, is_operator: bool = False) -> Function[..., Any]:
        """Return the public function of this kind and name; for an operator, an internal one too.

        Raises:
            FunctionUnknownError: there is none, or it is internal: a caller cannot tell.
        """
        function = self._functions.get(name)
        if function is None or (function.internal and not is_operator) or function.kind is not kind:
            raise FunctionUnknownError(f"there is no {kind} of the name {name[: limits.NAME_CHARS]!r}")
        return function

    async def run(
        self,
        function: Function[..., R],
        *consumed: msgspec.Struct,
        session: Session,
        request_id: str | None = None,
        caller: Caller | None = None,
        **arguments: Any,
    ) -> R:
        """Run a function, public or internal, for a session, and return its result.

        A query sees one consistent state. A mutation is one serializable transaction: re-run on conflict, and with a
        `request_id` applied once, however often it is called with it; a repeat returns the first result. An action is
        run once and never repeated. `caller` is who asks; None stands for the session's subject.

        What its layers consume comes first, then its keywords. Type checkers follow neither here, since they stand
        beside `session`; by `acting_as` they follow both.

        Raises:
            InvalidError: the arguments are not what it takes; nothing was written.
            RequestReusedError: the request id came before with another call; nothing was written.
            SessionInvalidError: the session has ended; nothing was written.
            ResultInvalidError: the result is not what it declares; nothing was written.
            ConflictError: rivals in other processes were faster in every attempt; nothing was written.
            UnavailableError: the store could not be reached; nothing was written.
            CommitUnknownError: the answer was lost; call again with the same request id.
        """
        signature = function.signature
        arguments_text = signature.encode(arguments, consumed)
        is_fresh = function.kind is not Kind.MUTATION  # which finds out for itself, in its own transaction
        if is_fresh:
            session = await session.refreshed()
        call = Call(function, session, arguments_text, request_id, is_fresh=is_fresh, caller=caller)
        result: R = signature.load(await self.answer(call))
        return result

    def acting_as(self, session: Session, *, request_id: str | None = None, caller: Caller | None = None) -> Acting:
        """Return the means to run functions for a session, with signatures that type checkers follow; see `run`."""
        return Acting(self, session, request_id, caller)

    async def answer(self, call: Call) -> bytes:
        """Run a call whose arguments are JSON text, and return the result as such.

        Raises:
            SojournError: as `run` does.
        """
        call.function.signature.check(call.arguments)  # refused before any I/O
        if call.request_id is not None:
            if call.function.kind is not Kind.MUTATION:
                raise InvalidError("request_id", f"only a mutation is recognised by it, and this is {call.function!r}")
            if not 1 <= len(call.request_id) <= limits.REQUEST_ID_CHARS:
                raise InvalidError("request_id", f"it has 1 to {limits.REQUEST_ID_CHARS} characters")
        result, later = await self._run(call, secrets.token_hex(16))
        if later:
            await follow_up(later)
        return result

    async def session(self, session_id: SessionId) -> Session:
        """Return the live session of this public id.

        Raises:
            SessionUnknownError: there is none.
            UnavailableError: the store could not be reached.
        """
        session = await self.sessions.get(session_id)
        if session is None:
            raise SessionUnknownError("there is no such session")
        return session

    def _run(self, call: Call, seed: str) -> Awaitable[_Ran]:
        match call.function.kind:
            case Kind.QUERY:
                return self._query(call, seed)
            case Kind.MUTATION:
                return self._mutation(call, seed)
            case Kind.ACTION:
                return self._action(call, seed)

    async def _query(self, call: Call, seed: str) -> _Ran:
        async def attempt(tx: Attempt) -> _Ran:
            ctx = QueryCtx(call.session, _caller(call, call.session), call.session.seen_at, seed, tx)
            _, result = await perform(call.function, ctx, call.arguments)
            if tx.has_writes:
                raise InvalidError(call.function.name, "a query does not write; make it a mutation")
            return result, ctx.later

        return await self.store.run(attempt)

    async def _mutation(self, call: Call, seed: str) -> _Ran:
        request = None if call.request_id is None else layout.request(call.session.id, call.request_id)
        digest = _digest(call)

        async def attempt(tx: Attempt) -> _Ran:
            if call.is_fresh and tx.number == 1:
                # A request is most likely new. Where that or the session is different now, the second attempt looks.
                call.session.recall(tx, absent=() if request is None else (request,))
            left = await call.session.join(tx, beside=() if request is None else (request,))
            if request is not None:
                found = await tx.get(request)
                if found is not None:
                    return _replayed(_DONE.decode(found.value), digest), []
            session = call.session if call.is_fresh and tx.number == 1 else await call.session.as_of(tx)
            ctx = MutationCtx(session, _caller(call, session), moment(await tx.now()), seed, tx, left)
            _, result = await perform(call.function, ctx, call.arguments)
            if request is not None:
                tx.put(request, _DONE.encode(_Done(digest, msgspec.Raw(result))), ttl=limits.REQUEST_KEEP)
            return result, ctx.later

        return await self.store.run(attempt)

    async def _action(self, call: Call, seed: str) -> _Ran:
        presented = call.presented

        async def rotate(subject: str | UnsetType | None, label: str | UnsetType | None) -> Session:
            if presented is None:
                raise CapabilityError("a token", "this call did not come from a browser; use `Sessions.rotate`")
            presented.issued = await self.sessions.rotate(presented.token, subject=subject, label=label)
            presented.token = presented.issued.token
            return presented.issued.session

        ctx = ActionCtx(call.session, _caller(call, call.session), call.session.seen_at, seed, self, rotate)
        _, result = await perform(call.function, ctx, call.arguments)
        return result, ctx.later


class Acting:
    """Runs functions for one session, as `Bound.run` does; made by `Bound.acting_as`."""

    def __init__(self, bound: Bound, session: Session, request_id: str | None, caller: Caller | None) -> None:
        self._bound = bound
        self._session = session
        self._request_id = request_id
        self._caller = caller

    async def run(self, function: Function[P, R], *consumed: P.args, **arguments: P.kwargs) -> R:
        """Run a function, public or internal, and return its result.

        Raises:
            SojournError: as `Bound.run` does.
        """
        run: Any = self._bound.run
        result: R = await run(
            function, *consumed, session=self._session, request_id=self._request_id, caller=self._caller, **arguments
        )
        return result


def _caller(call: Call, session: Session) -> Caller:
    return Caller(session.subject, call.is_operator) if call.caller is None else call.caller


def _digest(call: Call) -> str:
    plain = msgspec.json.encode((call.function.name, msgspec.json.decode(call.arguments)), order="deterministic")
    return hashlib.blake2b(plain, digest_size=16).hexdigest()


def _replayed(done: _Done, digest: str) -> bytes:
    if done.call != digest:
        raise RequestReusedError("this request id was used for another call; make a new one for each")
    return bytes(done.result)
