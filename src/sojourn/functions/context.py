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

from sojourn.errors import FunctionUnknownError
from sojourn.functions.collection import Collection, Reader, Writer
from sojourn.functions.model import Caller, Function, Kind
from sojourn.functions.performing import FollowUp, perform
from sojourn.kernel import Attempt
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

    def acting_as(self, session: Session, *, caller: Caller | None = None) -> Acting:
        """Return the means to run functions for this session."""
        ...

    async def session(self, session_id: SessionId) -> Session:
        """Return the live session of this public id."""
        ...


class Ctx:
    """What every kind of context has. `now`, `random` and `uuid()` give the same in each attempt of one call.

    `caller` says who asks, and is the same in all that the call runs. `later` is what layers do after the commit.
    """

    def __init__(self, session: Session, caller: Caller, now: datetime, seed: str) -> None:
        self.session = session
        self.session_id: SessionId = session.id
        self.caller = caller
        self.now = now
        self.later: list[FollowUp] = []
        self._seed = seed

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

    def __init__(self, session: Session, caller: Caller, now: datetime, seed: str, tx: Attempt) -> None:
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
        return await _nested(self._whole, of_kind(function, Kind.QUERY), consumed, arguments)


class MutationCtx(Ctx):
    """The context of a mutation: it reads and writes. `tx` makes other faces' verbs part of the same transaction."""

    def __init__(
        self, session: Session, caller: Caller, now: datetime, seed: str, tx: Attempt, left: timedelta
    ) -> None:
        super().__init__(session, caller, now, seed)
        self.tx = tx
        self._left = left

    def db(self, collection: Collection[T, K]) -> Writer[T, K]:
        """Return the way to read and write a collection."""
        return Writer(collection, self.tx, self._left)

    async def run_query(self, function: Function[P, R], *consumed: P.args, **arguments: P.kwargs) -> R:
        """Run a query, for the same session and with what this mutation has written so far.

        Raises:
            FunctionUnknownError: it is no query.
            InvalidError: the arguments are not what it takes.
        """
        reader = QueryCtx(self.session, self.caller, self.now, "", self.tx)
        reader.random = self.random
        reader.later = self.later
        return await _nested(reader, of_kind(function, Kind.QUERY), consumed, arguments)

    async def run_mutation(self, function: Function[P, R], *consumed: P.args, **arguments: P.kwargs) -> R:
        """Run another mutation within this one. If it raises and you catch that, only its writes are undone.

        Await it before anything else is written: what was written while it ran is undone with it.

        Raises:
            FunctionUnknownError: it is no mutation.
            InvalidError: the arguments are not what it takes.
        """
        mark = self.tx.mark()
        try:
            return await _nested(self._whole, of_kind(function, Kind.MUTATION), consumed, arguments)
        except BaseException:
            self.tx.undo(mark)
            raise


class ActionCtx(Ctx):
    """The context of an action: it runs queries and mutations, each its own transaction, and does anything else."""

    def __init__(
        self,
        session: Session,
        caller: Caller,
        now: datetime,
        seed: str,
        runner: Runner,
        rotate: Callable[[str | UnsetType | None, str | UnsetType | None], Awaitable[Session]],
    ) -> None:
        super().__init__(session, caller, now, seed)
        self.runner = runner
        self._rotate = rotate

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
        whole = self._whole
        whole.session = await self._rotate(subject, label)
        if subject is not UNSET:
            whole.caller = msgspec.structs.replace(whole.caller, subject=subject)
        return whole.session

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
        return self.runner.acting_as(self.session, caller=self.caller)


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
        session = self._ctx.session
        if session.id != self._session_id:
            session = await self._ctx.runner.session(self._session_id)
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
