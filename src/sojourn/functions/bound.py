"""Functions bound to a store: where a call becomes a transaction.

Whoever calls, a browser or this process, a call goes one way: arguments as JSON text, checked before any I/O; the
handler, in as many attempts as it needs; the result checked and written as JSON text before anything commits.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Awaitable, Mapping
from datetime import timedelta
from typing import Any, Final, ParamSpec, TypeVar, overload

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
from sojourn.functions.model import Caller, Function, Kind, SessionlessFunction
from sojourn.functions.performing import follow_up, perform
from sojourn.functions.scheduling.crons import Crons
from sojourn.functions.scheduling.host import Ran
from sojourn.functions.scheduling.schedules import Schedules
from sojourn.functions.scheduling.stored import Entry
from sojourn.functions.watching import Watching
from sojourn.kernel import Attempt, Key, Reads, Store
from sojourn.kernel.clock import moment
from sojourn.kernel.codec import codec
from sojourn.kernel.live import Reading
from sojourn.sessions import Issued, Session, SessionId, Sessions

__all__ = ["Acting", "Bound", "Call", "Presented"]

P = ParamSpec("P")
R = TypeVar("R")


class Presented:
    """The token that a caller came with, and the session's newest one if the call rotates it.

    Whoever answers hands `issued` out with the answer, also when the call failed afterwards: the old token is dead.
    """

    def __init__(self, token: str) -> None:
        self.token = token
        self.issued: Issued | None = None


class Call(msgspec.Struct, frozen=True):
    """One call: the function, its arguments as JSON text, and what makes it recognisable.

    Only what is `sessionless` may be called for no session.
    `request_id` recognises a mutation that comes again. `is_fresh` says that the session was read for this very call,
    so that a mutation may go by it without reading it once more. Without a `caller` it is the session's subject, in a
    mutation as each attempt finds it, and `is_operator` says whether an operator's rights come with it.
    """

    function: Function[..., Any]
    session: Session | None
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

    def __init__(
        self,
        functions: Mapping[str, Function[..., Any]],
        sessions: Sessions,
        store: Store,
        crons: Crons | None = None,
    ) -> None:
        if store is not sessions.store:
            raise InvalidError("store", "it is not the one that the functions' sessions are kept in")
        self._functions = functions
        self.sessions = sessions
        self.store = store
        self.schedules = Schedules(self, crons or Crons())

    def named(self, name: str) -> Function[..., Any] | None:
        """Return the function of this name, public or internal, or None."""
        return self._functions.get(name)

    def public(self, kind: Kind, name: str, *, is_operator: bool = False) -> Function[..., Any]:
        """Return the public function of this kind and name; for an operator, an internal one too.

        Raises:
            FunctionUnknownError: there is none, or it is internal: a caller cannot tell.
        """
        function = self._functions.get(name)
        if function is None or (function.internal and not is_operator) or function.kind is not kind:
            raise FunctionUnknownError(f"there is no {kind} of the name {name[: limits.NAME_CHARS]!r}")
        return function

    @overload
    async def run(
        self,
        function: SessionlessFunction[..., R],
        *consumed: msgspec.Struct,
        session: Session | None = None,
        request_id: str | None = None,
        caller: Caller | None = None,
        **arguments: Any,
    ) -> R: ...

    @overload
    async def run(
        self,
        function: Function[..., R],
        *consumed: msgspec.Struct,
        session: Session,
        request_id: str | None = None,
        caller: Caller | None = None,
        **arguments: Any,
    ) -> R: ...

    async def run(
        self,
        function: Function[..., R],
        *consumed: msgspec.Struct,
        session: Session | None = None,
        request_id: str | None = None,
        caller: Caller | None = None,
        **arguments: Any,
    ) -> R:
        """Run a function, public or internal, for a session, and return its result. What is `sessionless` needs none.

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
        if is_fresh and session is not None and function.takes_session:
            session = await session.refreshed()
        call = Call(function, session, arguments_text, request_id, is_fresh=is_fresh, caller=caller)
        result: R = signature.load(await self.answer(call))
        return result

    @overload
    def watch(
        self,
        function: SessionlessFunction[..., R],
        *consumed: msgspec.Struct,
        session: Session | None = None,
        caller: Caller | None = None,
        **arguments: Any,
    ) -> Watching[R]: ...

    @overload
    def watch(
        self,
        function: Function[..., R],
        *consumed: msgspec.Struct,
        session: Session,
        caller: Caller | None = None,
        **arguments: Any,
    ) -> Watching[R]: ...

    def watch(
        self,
        function: Function[..., R],
        *consumed: msgspec.Struct,
        session: Session | None = None,
        caller: Caller | None = None,
        **arguments: Any,
    ) -> Watching[R]:
        """Return an iteration over the results of a query: the present one, and each later one that is different.

        Between two results some may be left out, never the newest. What the query raises is raised by the iteration,
        which can then be gone on with: it gives the next result when what the query read has changed.

            async for items in bound.watch(cart, session=session, limit=5):
                ...

        Raises:
            FunctionUnknownError: it is no query.
            InvalidError: the arguments are not what it takes.
        """
        reading = self.reading(
            Call(function, session, function.signature.encode(arguments, consumed), is_fresh=False, caller=caller)
        )
        return Watching(self.store.live.watch(), reading, function.signature.load)

    def reading(self, call: Call) -> Reading:
        """Return the call of a query as something to watch. Calls that are alike share one evaluation.

        It reads the session at the same instant as all else: a session that has ended is its error, and one that was
        signed in gives another result.

        Raises:
            FunctionUnknownError: it is no query.
            InvalidError: the arguments are not what it takes, or there is no session.
        """
        if call.function.kind is not Kind.QUERY:
            raise FunctionUnknownError(f"only a query can be watched, and {call.function.name} is no query")
        self._check(call)
        seed = secrets.token_hex(16)

        async def read(tx: Attempt) -> bytes:
            session = _session(call)
            result, later = await self._read(call, None if session is None else await session.standing(tx), seed, tx)
            if later:
                await follow_up(later)
            return result

        session = _session(call)
        who = None if session is None else (session.id, call.caller, call.is_operator)
        return Reading((call.function, _plain(call), who), read)

    def acting_as(
        self, session: Session | None, *, request_id: str | None = None, caller: Caller | None = None
    ) -> Acting:
        """Return the means to run functions for a session, with signatures that type checkers follow; see `run`."""
        return Acting(self, session, request_id, caller)

    async def answer(self, call: Call) -> bytes:
        """Run a call whose arguments are JSON text, and return the result as such.

        Raises:
            SojournError: as `run` does.
        """
        self._check(call)
        if call.request_id is not None:
            if call.function.kind is not Kind.MUTATION:
                raise InvalidError("request_id", f"only a mutation is recognised by it, and this is {call.function!r}")
            if not 1 <= len(call.request_id) <= limits.REQUEST_ID_CHARS:
                raise InvalidError("request_id", f"it has 1 to {limits.REQUEST_ID_CHARS} characters")
        result, later = await self._run(call, secrets.token_hex(16))
        if later:
            await follow_up(later)
        return result

    async def carry_out(
        self, function: Function[..., Any], entry: Entry, place: str, *, seed: str, tx: Attempt | None = None
    ) -> Ran:
        """Run a scheduled mutation within an attempt, or a scheduled action without one; nobody is its caller.

        What it schedules for no session stands at `place`.

        Raises:
            SojournError: as `run` does.
        """
        session = None if entry.session is None else await self.session(entry.session)
        call = Call(function, session, bytes(entry.arguments), is_fresh=False, caller=Caller(None))
        self._check(call)
        if tx is None:
            return await self._action(call, seed)
        session, left = await _joined(call, tx, ())
        ctx = MutationCtx(session, Caller(None), moment(await tx.now()), seed, tx, left)
        ctx.place = place
        _, result = await perform(function, ctx, call.arguments)
        return result, ctx.later

    def _check(self, call: Call) -> None:
        """Refuse, before any I/O, what its function does not take."""
        call.function.signature.check(call.arguments)
        if call.function.takes_session and call.session is None:
            raise InvalidError("session", f"{call.function.name} runs for a session; give one")

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

    def _run(self, call: Call, seed: str) -> Awaitable[Ran]:
        match call.function.kind:
            case Kind.QUERY:
                return self._query(call, seed)
            case Kind.MUTATION:
                return self._mutation(call, seed)
            case Kind.ACTION:
                return self._action(call, seed)

    async def _query(self, call: Call, seed: str) -> Ran:
        async def attempt(tx: Attempt) -> Ran:
            return await self._read(call, _session(call), seed, tx)

        return await self.store.run(attempt)

    async def _read(self, call: Call, session: Session | None, seed: str, tx: Attempt) -> Ran:
        now = moment(await tx.now()) if session is None else session.seen_at
        ctx = QueryCtx(session, _caller(call, session), now, seed, tx)
        _, result = await perform(call.function, ctx, call.arguments)
        if tx.has_writes:
            raise InvalidError(call.function.name, "a query does not write; make it a mutation")
        return result, ctx.later

    async def _mutation(self, call: Call, seed: str) -> Ran:
        # Whoever repeats a request brings its session along, also where the function does not want it.
        owner = call.function.name if call.session is None else call.session.id
        request = None if call.request_id is None else layout.request(owner, call.request_id)
        beside = () if request is None else (request,)
        digest = _digest(call)

        async def attempt(tx: Attempt) -> Ran:
            session, left = await _joined(call, tx, beside)
            if request is not None:
                found = await tx.get(request)
                if found is not None:
                    return _replayed(_DONE.decode(found.value), digest), []
            ctx = MutationCtx(session, _caller(call, session), moment(await tx.now()), seed, tx, left)
            ctx.place = None if request is None else owner  # where it is recognised is where it can write
            _, result = await perform(call.function, ctx, call.arguments)
            if request is not None:
                tx.put(request, _DONE.encode(_Done(digest, msgspec.Raw(result))), ttl=limits.REQUEST_KEEP)
            return result, ctx.later

        return await self.store.run(attempt)

    async def _action(self, call: Call, seed: str) -> Ran:
        presented = call.presented

        async def rotate(subject: str | UnsetType | None, label: str | UnsetType | None) -> Session:
            if presented is None:
                raise CapabilityError("a token", "this call did not come from a browser; use `Sessions.rotate`")
            presented.issued = await self.sessions.rotate(presented.token, subject=subject, label=label)
            presented.token = presented.issued.token
            return presented.issued.session

        session = _session(call)
        now = moment((await self.store.read(Reads())).now) if session is None else session.seen_at
        ctx = ActionCtx(session, _caller(call, session), now, seed, self, rotate)
        _, result = await perform(call.function, ctx, call.arguments)
        return result, ctx.later


class Acting:
    """Runs functions for one session, as `Bound.run` does; made by `Bound.acting_as`."""

    def __init__(self, bound: Bound, session: Session | None, request_id: str | None, caller: Caller | None) -> None:
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

    def watch(self, function: Function[P, R], *consumed: P.args, **arguments: P.kwargs) -> Watching[R]:
        """Return an iteration over the results of a query; see `Bound.watch`.

        Raises:
            SojournError: as `Bound.watch` does.
        """
        watch: Any = self._bound.watch
        watching: Watching[R] = watch(function, *consumed, session=self._session, caller=self._caller, **arguments)
        return watching


def _session(call: Call) -> Session | None:
    """Return the session that the function is to know of."""
    return call.session if call.function.takes_session else None


async def _joined(call: Call, tx: Attempt, beside: tuple[Key, ...]) -> tuple[Session | None, timedelta | None]:
    """Make the attempt one of the call's session; return it, as of the attempt, and how long it has left."""
    if call.session is None or not call.function.takes_session:
        await tx.fetch(beside)
        return None, None
    if call.is_fresh and tx.number == 1:
        # A request is most likely new. Where that or the session is different now, the second attempt looks.
        call.session.recall(tx, absent=beside)
    left = await call.session.join(tx, beside=beside)
    return call.session if call.is_fresh and tx.number == 1 else await call.session.as_of(tx), left


def _caller(call: Call, session: Session | None) -> Caller:
    if session is None and call.function.kind is Kind.QUERY:
        return Caller(None)  # all share what it reads
    if call.caller is not None:
        return call.caller
    return Caller(None if session is None else session.subject, call.is_operator)


def _digest(call: Call) -> str:
    return hashlib.blake2b(_plain(call), digest_size=16).hexdigest()


def _plain(call: Call) -> bytes:
    """Return function and arguments in a form that is the same for calls that are alike."""
    return msgspec.json.encode((call.function.name, msgspec.json.decode(call.arguments)), order="deterministic")


def _replayed(done: _Done, digest: str) -> bytes:
    if done.call != digest:
        raise RequestReusedError("this request id was used for another call; make a new one for each")
    return bytes(done.result)
