"""Layers: what runs around handlers, in the same attempt and the same transaction.

class TeamArg(msgspec.Struct, frozen=True):
    team: str

@layer
async def in_team(ctx: QueryCtx, argument: TeamArg, *, role: str = "member") -> Patch[TeamCtx]:
    team = await ctx.db(teams).get(argument.team)
    if role not in team.roles(ctx.session.subject):
        raise ApplicationError("not in this team")
    return Patch(TeamCtx(ctx, team))

team_query = functions.query.using(in_team)

@team_query(role="owner")
async def board(ctx: TeamCtx, session_id: SessionId, *, limit: int = 20) -> list[str]: ...

await ctx.run_query(board, TeamArg("red"), limit=5)        # over HTTP: {"team": "red", "limit": 5}

A layer is `(ctx, consumed, *, extras)`. The caller gives what it consumes, the developer the extras of each function,
and the handler gets the context that the layer yields.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Concatenate, Generic, NamedTuple, ParamSpec, TypeVar, overload

import msgspec
from msgspec import UNSET

from sojourn.errors import InvalidError
from sojourn.functions.arguments import RESERVED, Consumed
from sojourn.sessions import SessionId

__all__ = ["Done", "Layer", "Patch", "Taken", "Taker", "layer"]

A = TypeVar("A", bound=msgspec.Struct)
C = TypeVar("C")
D = TypeVar("D")
G = TypeVar("G")
R = TypeVar("R")
E = ParamSpec("E")
P = ParamSpec("P")
In_contra = TypeVar("In_contra", contravariant=True)
Out_co = TypeVar("Out_co", covariant=True)
Consumed_co = TypeVar("Consumed_co", covariant=True)
Asks = TypeVar("Asks")


class Done(msgspec.Struct, Generic[C], frozen=True):
    """What a layer is told of a success.

    `ctx` is its own context, as it was given to it. `arguments` are the handler's, without what layers consume or add.
    `result` is what the handler returned.
    """

    ctx: C
    arguments: Mapping[str, Any]
    result: Any


class Patch(msgspec.Struct, Generic[D], frozen=True):
    """What a layer yields: `ctx`, the context of the handler or of the next layer out.

    `added` goes to handlers that take it by `Layer.added`. With `hands_on`, handlers that declare a consumed argument
    themselves get it; without, their default stands.

    `on_success` is called, and awaited, when the handler has returned what it declares: in its transaction, in which it
    may still write; if it raises, the call fails, and a mutation writes nothing. `after_commit` is called afterwards,
    outside of any transaction, once and by the process that ran the call: for a mutation only of the attempt that was
    committed, not for a repeat that the request id tells, nor when the outcome is unknown; within another query or
    mutation when the outermost of them is committed. The call waits for it, and who cancels the call cancels it. What
    it raises is logged and fails nothing, and what it writes by the context of a mutation is lost, as it is if the
    process dies before: what must happen is written by `on_success`, into an outbox.
    """

    ctx: D
    added: object = UNSET
    hands_on: bool = False
    on_success: Callable[[Done[Any]], object] | None = None
    after_commit: Callable[[Done[Any]], object] | None = None


class Taken(NamedTuple):
    """What a handler takes behind the session id: what a layer adds, and its type."""

    layer: Layer[Any, Any, Any, Any]
    kind: type

    @property
    def plain(self) -> type:
        """The type without its parameters, which a value can be told by."""
        return typing.get_origin(self.kind) or self.kind


class Taker:
    """A handler together with what it takes; see `Layer.added`."""

    def __init__(self, handler: Callable[..., Any], taken: tuple[Taken, ...]) -> None:
        self.handler = handler
        self.taken = taken


class Layer(Generic[In_contra, Out_co, Consumed_co, Asks]):
    """Runs around handlers. Made by `layer`, put around them by `Builder.using`; `handler` is for unit tests.

    Its type says: the context it works on, the one it yields, a tuple of what it consumes, and the extras it asks for.
    """

    def __init__(self, handler: Callable[..., Any]) -> None:
        self.handler = handler
        self.name: str = handler.__name__
        behind, self.extras = _parameters(handler, self.name)
        self.sees_arguments = False
        self.consumed: Consumed | None = None
        if behind is not None:
            kind = _annotation(handler, behind, self.name)
            self.sees_arguments = (typing.get_origin(kind) or kind) is Mapping
            self.consumed = None if self.sees_arguments else _consumed(kind, self.name)

    def __repr__(self) -> str:
        """Show the name."""
        return f"<layer {self.name}>"

    def added(
        self, kind: type[G]
    ) -> Callable[[Callable[Concatenate[C, SessionId, G, P], R]], Callable[Concatenate[C, SessionId, P], R]]:
        """Return a decorator of handlers that take what this layer adds, of this type, behind the session id.

        @team_query
        @in_team.added(Team)
        async def board(ctx: TeamCtx, session_id: SessionId, team: Team, *, limit: int = 20) -> list[str]: ...

        Of several such decorators the one next to the handler stands for the first parameter.

        Raises:
            InvalidError: it is no class, so values cannot be told to be of it.
        """
        taken = Taken(self, kind)
        try:
            isinstance(None, taken.plain)
        except TypeError as error:
            raise InvalidError(self.name, f"what it adds is told by a class, and {kind!r} is none") from error

        def take(handler: Any) -> Any:  # noqa: ANN401  typed above
            if isinstance(handler, Taker):
                return Taker(handler.handler, (*handler.taken, taken))
            return Taker(handler, (taken,))

        return take


@overload
def layer(
    handler: Callable[Concatenate[C, Mapping[str, object], E], Patch[D] | Awaitable[Patch[D]]],
) -> Layer[C, D, tuple[()], Callable[E, None]]: ...


@overload
def layer(
    handler: Callable[Concatenate[C, A, E], Patch[D] | Awaitable[Patch[D]]],
) -> Layer[C, D, tuple[A], Callable[E, None]]: ...


@overload
def layer(
    handler: Callable[Concatenate[C, E], Patch[D] | Awaitable[Patch[D]]],
) -> Layer[C, D, tuple[()], Callable[E, None]]: ...


def layer(handler: Callable[..., Any]) -> Any:
    """Make a function, async or not, a layer.

    Behind the context it may take a struct, whose fields it consumes of the caller's arguments, or, annotated as
    `Mapping[str, object]`, a view of the handler's arguments. Its keyword-only parameters are what each function may,
    or without a default must, be given where it is defined.

    Raises:
        InvalidError: the signature is of another form, or the struct is not one whose fields stand for arguments.
    """
    return Layer[Any, Any, Any, Any](handler)


def _parameters(
    handler: Callable[..., Any], name: str
) -> tuple[inspect.Parameter | None, Mapping[str, inspect.Parameter]]:
    """Return the parameter behind the context, if there is one, and the extras."""
    parameters = list(inspect.signature(handler).parameters.values())
    leading = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    extras = {one.name: one for one in parameters if one.kind is one.KEYWORD_ONLY}
    if len(leading) not in (1, 2) or len(leading) + len(extras) < len(parameters):
        raise InvalidError(name, "a layer takes its context, then what it consumes, if anything, and keywords")
    if "internal" in extras:
        raise InvalidError(name, "its keyword 'internal' has a name that builders use themselves")
    return (leading[1] if leading[1:] else None), extras


def _annotation(handler: Callable[..., Any], parameter: inspect.Parameter, name: str) -> Any:  # noqa: ANN401
    try:
        return typing.get_type_hints(handler).get(parameter.name)
    except NameError as error:
        raise InvalidError(name, f"an annotation names what is not there: {error}") from error


def _consumed(kind: Any, name: str) -> Consumed:  # noqa: ANN401  whatever was annotated
    if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        raise InvalidError(name, "what a layer consumes is a msgspec.Struct, or `Mapping[str, object]` to see all")
    fields = msgspec.structs.fields(kind)
    is_flat = not kind.__struct_config__.array_like and kind.__struct_config__.tag is None
    if not is_flat or any(field.name != field.encode_name for field in fields):
        raise InvalidError(
            name, f"{kind.__name__} has a tag, other names or no names in JSON; its fields are arguments"
        )
    for field in fields:
        if field.name in RESERVED:
            raise InvalidError(name, f"it consumes {field.name!r}, a name that calls use themselves")
    return Consumed(name, kind)
