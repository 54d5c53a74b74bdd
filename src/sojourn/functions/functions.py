"""The functions of an application: registered by decorators, run for a session.

functions = Functions(sessions)
carts = functions.collection("carts", Cart, by=SessionId)

@functions.query
async def cart(ctx: QueryCtx, session_id: SessionId, *, limit: int = 20) -> list[Item]:
    return (await ctx.db(carts).get(session_id)).items[:limit]

@functions.mutation
async def add_item(ctx: MutationCtx, session_id: SessionId, *, sku: str) -> None:
    await ctx.db(carts).update(session_id, lambda cart: cart.plus(sku))

bound = functions.bind(store)
await bound.run(add_item, session=session, sku="book")
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar, overload

from sojourn.errors import InvalidError
from sojourn.functions.bound import Bound
from sojourn.functions.builder import Builder, Nothing
from sojourn.functions.collection import Collection
from sojourn.functions.context import ActionCtx, MutationCtx, QueryCtx
from sojourn.functions.model import Function, Kind, checked_name
from sojourn.functions.scheduling.crons import Crons
from sojourn.kernel import Store
from sojourn.sessions import SessionId, Sessions

__all__ = ["Functions"]

T = TypeVar("T")


class Functions:
    """Queries, mutations and actions that get the caller's session, and the collections they work on."""

    def __init__(self, sessions: Sessions) -> None:
        self.sessions = sessions
        self._functions: dict[str, Function[..., Any]] = {}
        self._collections: set[str] = set()
        self.crons = Crons()
        self.query: Builder[QueryCtx, tuple[()], Nothing] = Builder(Kind.QUERY, self._functions)
        self.mutation: Builder[MutationCtx, tuple[()], Nothing] = Builder(Kind.MUTATION, self._functions)
        self.action: Builder[ActionCtx, tuple[()], Nothing] = Builder(Kind.ACTION, self._functions)

    @overload
    def collection(  # pyright: ignore[reportOverlappingOverload]  # the first that fits is the one that is meant
        self, name: str, kind: type[T], *, by: Callable[[Any], SessionId]
    ) -> Collection[T, SessionId]: ...

    @overload
    def collection(
        self, name: str, kind: type[T], *, by: Callable[[Any], str], partition: Callable[[str], str] | None = None
    ) -> Collection[T, str]: ...

    def collection(
        self, name: str, kind: type[T], *, by: Callable[[Any], str], partition: Callable[[Any], str] | None = None
    ) -> Any:
        """Declare a collection of records of type `kind`, each at a key of type `by`.

        By `SessionId`, the record stands in the session's partition, lives and ends with it. By `str`, it is shared
        and stays until it is deleted; `partition` then names what is kept together and can be scanned.

        Raises:
            InvalidError: the name is taken or no identifier, values of this type cannot be stored, or a collection by
                session was given a partition.
        """
        checked_name(name)
        if name in self._collections:
            raise InvalidError("name", f"there is a collection {name!r} already")
        if by is SessionId and partition is not None:
            raise InvalidError("partition", "a record by session stands with its session")
        made: Collection[T, Any] = Collection(name, kind, partition, by_session=by is SessionId)
        if by is SessionId:
            self.sessions.own(made.space)
        self._collections.add(name)
        return made

    def __iter__(self) -> Iterator[Function[..., Any]]:
        """Return each function, in the order in which they were registered."""
        return iter(self._functions.values())

    def bind(self, store: Store) -> Bound:
        """Return the functions over their store, to run them in this process.

        Raises:
            InvalidError: it is not the store of the functions' sessions.
        """
        return Bound(self._functions, self.sessions, store, self.crons)
