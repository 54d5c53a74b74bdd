"""What a handler gets: the session, time and chance that are frozen for the call, and the way to data and to others."""

from __future__ import annotations

import random
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, ParamSpec, Protocol, Self, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from sojourn.errors import FunctionUnknownError, InvalidError
from sojourn.functions.collection import Collection, Reader, Writer
from sojourn.functions.model import Caller, Function, Kind
from sojourn.functions.performing import FollowUp, perform
from sojourn.functions.scheduling.scheduler import Scheduler
from sojourn.kernel import Attempt, Store
from sojourn.sessions import Session, SessionId

__all__ = [
    "Acting",
    "ActionCtx",
    "Ctx",
    "MutationCtx",
    "QueryCtx",
    "RunSessionFunctions",
    "Runner",
    "of_kind",
    "run_session_functions",
]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
K = TypeVar("K", bound=str)


class Acting(Protocol):
    """Runs functions for one session; see `Bound.acting_as`."""

    async def run(self, function: Function[P, R], *consumed: P.args, **arguments: P.kwargs) -> R:
        """Run a function and return its result."""
        ...


class Runner(Protocol):
    """Runs functions for an action, each as its own transaction."""

    store: Store

    def acting_as(self, session: Session | None, *, caller: Caller | None = None) -> Acting:
        """Return the means to run functions for this session, or for none."""
        ...

    async def session(self, session_id: SessionId) -> Session:
        """Return the live session of this public id."""
        ...


class Ctx:
    """What every kind of context has. `now`, `random` and `uuid()` give the same in each attempt of one call.

    `caller` says who asks, and is the same in all that the call runs. `later` is what layers do after the commit. All
    sessions share what a `sessionless` query has read, so there is no session to go by there, and no caller.
    """

    def __init__(self, session: Session | None, caller: Caller, now: datetime, seed: str) -> None:
        self._session = session
        self.caller = caller
        self.now = now
        self.later: list[FollowUp] = []
        self._seed = seed

    @property
    def session(self) -> Session:
        """The session that the call is for.

        Raises:
            InvalidError: it is for none: the function, or the one that runs it, was registered as `sessionless`.
        """
        if self._session is None:
            raise InvalidError("session", "this call is for none; take the session id, and not `sessionless`")
        return self._session

    @property
    def has_session(self) -> bool:
        """Whether the call is for a session."""
        return self._session is not None

    @property
    def session_id(self) -> SessionId:
        """The public id of the session that the call is for.

        Raises:
            InvalidError: it is for none, as above.
        """
        return self.session.id

    @property
    def _whole(self) -> Self:
        """This context; asked of a view over it, also by way of `super()`, still this one."""
        return self

    @cached_property
    def random(self) -> random.Random:
        """Chance that is the same in each attempt of one call; made when first asked for, because it costs a little."""
        return random.Random(self._seed)  # noqa: S311  repeatable on purpose; secrets come from `secrets`

    def uuid(self) -> uuid.UUID:
        """Return a random UUID, the same in each attempt of one call. It is no secret."""
        return uuid.UUID(int=self.random.getrandbits(128), version=4)


class QueryCtx(Ctx):
    """The context of a query: it reads."""

    def __init__(self, session: Session | None, caller: Caller, now: datetime, seed: str, tx: Attempt) -> None:
        super().__init__(session, caller, now, seed)
        self.tx = tx

    def db(self, collection: Collection[T, K]) -> Reader[T, K]:
        """Return the way to read a collection."""
        return Reader(collection, self.tx)

    async def run_query(self, function: Function[P, R], *consumed: P.args, **arguments: P.kwargs) -> R:
        """Run another query, for the same session and on the same state.

        Raises:
            FunctionUnknownError: it is no query.
            InvalidError: the arguments are not what it takes.
        """
        of_kind(function, Kind.QUERY)
        whole = self._whole
        return await _nested(whole if function.takes_session else _reader(whole, None), function, consumed, arguments)


class MutationCtx(Ctx):
    """The context of a mutation: it reads and writes. `tx` makes other faces' verbs part of the same transaction."""

    def __init__(
        self,
        session: Session | None,
        caller: Caller,
        now: datetime,
        seed: str,
        tx: Attempt,
        left: timedelta | None = None,
    ) -> None:
        super().__init__(session, caller, now, seed)
        self.tx = tx
        self.place: str | None = None
        """Where calls stand that it schedules for no session; None: in a partition of their own."""
        self._left = left

    @cached_property
    def scheduler(self) -> Scheduler:
        """Schedules calls with the commit of this mutation: if that fails, nothing is scheduled."""
        session_id = None if self._session is None else self._session.id
        return Scheduler.of(self.tx, session_id, self.now, self.place)

    def db(self, collection: Collection[T, K]) -> Writer[T, K]:
        """Return the way to read and write a collection."""
        return Writer(collection, self.tx, self._left)

    async def run_query(self, function: Function[P, R], *consumed: P.args, **arguments: P.kwargs) -> R:
        """Run a query, for the same session and with what this mutation has written so far.

        Raises:
            FunctionUnknownError: it is no query.
            InvalidError: the arguments are not what it takes.
        """
        of_kind(function, Kind.QUERY)
        reader = _reader(self._whole, self._session if function.takes_session else None)
        return await _nested(reader, function, consumed, arguments)

    async def run_mutation(self, function: Function[P, R], *consumed: P.args, **arguments: P.kwargs) -> R:
        """Run another mutation within this one. If it raises and you catch that, only its writes are undone.

        Await it before anything else is written: what was written while it ran is undone with it.

        Raises:
            FunctionUnknownError: it is no mutation.
            InvalidError: the arguments are not what it takes.
        """
        of_kind(function, Kind.MUTATION)
        mark = self.tx.mark()
        try:
            return await _nested(self._for(function), function, consumed, arguments)
        except BaseException:
            self.tx.undo(mark)
            raise

    def _for(self, function: Function[..., Any]) -> MutationCtx:
        """Return the context for a mutation within this one: this one, or one without a session."""
        whole = self._whole
        if function.takes_session:
            return whole
        writer = MutationCtx(None, whole.caller, whole.now, "", whole.tx)
        writer.random = whole.random
        writer.later = whole.later
        writer.scheduler = whole.scheduler.sessionless()
        return writer


class ActionCtx(Ctx):
    """The context of an action: it runs queries and mutations, each its own transaction, and does anything else."""

    def __init__(
        self,
        session: Session | None,
        caller: Caller,
        now: datetime,
        seed: str,
        runner: Runner,
        rotate: Callable[[str | UnsetType | None, str | UnsetType | None], Awaitable[Session]],
    ) -> None:
        super().__init__(session, caller, now, seed)
        self.runner = runner
        self._rotate = rotate

    @cached_property
    def scheduler(self) -> Scheduler:
        """Schedules calls at once, whatever becomes of this action."""
        return Scheduler(self.runner.store.run, None if self._session is None else self._session.id, self.now)

    async def rotate(
        self, subject: str | UnsetType | None = UNSET, *, label: str | UnsetType | None = UNSET
    ) -> Session:
        """Give the caller's session a new token, as `Sessions.rotate` does; the browser gets it with the answer.

        With a subject this is signing in, with None signing out, of the `caller` too; without one a renewal. The new
        token goes out even if the action fails afterwards.

        Raises:
            CapabilityError: the call did not come with a token, as calls within this process do not.
            SessionInvalidError: the session has ended meanwhile.
            InvalidError: the subject is out of form.
        """
        session = await self._rotate(subject, label)
        whole = self._whole
        whole._session = session  # noqa: SLF001  its own, below whatever views stand over it
        if subject is not UNSET:
            whole.caller = msgspec.structs.replace(whole.caller, subject=subject)
        return session

    async def run_query(self, function: Function[P, R], *consumed: P.args, **arguments: P.kwargs) -> R:
        """Run a query for the same session.

        Raises:
            SojournError: as the query does.
        """
        return await self._acting().run(of_kind(function, Kind.QUERY), *consumed, **arguments)

    async def run_mutation(self, function: Function[P, R], *consumed: P.args, **arguments: P.kwargs) -> R:
        """Run a mutation for the same session, committed when it returns.

        Raises:
            SojournError: as the mutation does.
        """
        return await self._acting().run(of_kind(function, Kind.MUTATION), *consumed, **arguments)

    async def run_action(self, function: Function[P, R], *consumed: P.args, **arguments: P.kwargs) -> R:
        """Run another action for the same session.

        Raises:
            SojournError: as the action does.
        """
        return await self._acting().run(of_kind(function, Kind.ACTION), *consumed, **arguments)

    def _acting(self) -> Acting:
        return self.runner.acting_as(self._session, caller=self.caller)


class RunSessionFunctions:
    """Runs functions for one session, from an action; see `run_session_functions`."""

    def __init__(self, ctx: ActionCtx, session_id: SessionId) -> None:
        self._ctx = ctx
        self._session_id = session_id

    async def run_session_query(self, function: Function[P, R], *consumed: P.args, **arguments: P.kwargs) -> R:
        """Run a query for the session.

        Raises:
            SojournError: as the query does.
        """
        return await (await self._acting()).run(of_kind(function, Kind.QUERY), *consumed, **arguments)

    async def run_session_mutation(self, function: Function[P, R], *consumed: P.args, **arguments: P.kwargs) -> R:
        """Run a mutation for the session, committed when it returns.

        Raises:
            SojournError: as the mutation does.
        """
        return await (await self._acting()).run(of_kind(function, Kind.MUTATION), *consumed, **arguments)

    async def run_session_action(self, function: Function[P, R], *consumed: P.args, **arguments: P.kwargs) -> R:
        """Run an action for the session.

        Raises:
            SojournError: as the action does.
        """
        return await (await self._acting()).run(of_kind(function, Kind.ACTION), *consumed, **arguments)

    async def _acting(self) -> Acting:
        ctx = self._ctx
        own = ctx.session if ctx.has_session else None
        session = own if own is not None and own.id == self._session_id else await ctx.runner.session(self._session_id)
        return self._ctx.runner.acting_as(session, caller=self._ctx.caller)


def run_session_functions(ctx: ActionCtx, session_id: SessionId) -> RunSessionFunctions:
    """Return the means to run functions for a session from an action, public and internal ones alike.

    The session id is filled in here, so an argument of the caller cannot take its place.
    """
    return RunSessionFunctions(ctx, session_id)


def of_kind(function: Function[P, R], kind: Kind) -> Function[P, R]:
    """Return the function if it is of this kind.

    Raises:
        FunctionUnknownError: it is of another kind.
    """
    if function.kind is not kind:
        raise FunctionUnknownError(f"{function.name} is no {kind} but a {function.kind}")
    return function


def _reader(ctx: QueryCtx | MutationCtx, session: Session | None) -> QueryCtx:
    """Return a context that reads within the transaction of another, for this session or for none."""
    reader = QueryCtx(session, ctx.caller if session is not None else Caller(None), ctx.now, "", ctx.tx)
    reader.random = ctx.random
    reader.later = ctx.later
    return reader


async def _nested(
    ctx: QueryCtx | MutationCtx, function: Function[P, R], consumed: Sequence[object], arguments: Mapping[str, Any]
) -> R:
    """Run a function within the transaction of another, with the same layers and checks."""
    mark = len(ctx.later)
    try:
        result: R
        result, _ = await perform(function, ctx, function.signature.encode(arguments, consumed))
    except BaseException:
        del ctx.later[mark:]
        raise
    return result
