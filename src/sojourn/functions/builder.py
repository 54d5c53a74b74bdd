"""Builders: decorators that register handlers of one kind, with the layers that stand around them.

The signatures say it all: `C` is the context that a handler gets, `Args` a tuple of what its layers consume, and `Asks`
the extras that are still to be given. Python cannot append one list of parameters to another. So checkers follow two
layers that consume, and the extras of one layer that asks; those of more are checked when the function is defined.
"""
# Of the overloads that fit, the first is the one that is meant:
# mypy: disable-error-code="overload-overlap"
# pyright: reportOverlappingOverload=false

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, TypeVarTuple, overload

import msgspec

from sojourn import limits
from sojourn.errors import InvalidError, LimitError
from sojourn.functions.layers import Layer, Taker
from sojourn.functions.model import Around, Function, Kind, SessionlessFunction
from sojourn.sessions import SessionId

__all__ = ["Builder", "Nothing", "Sessionless", "Several"]

A = TypeVar("A", bound=msgspec.Struct)
B = TypeVar("B", bound=msgspec.Struct)
C = TypeVar("C")
D = TypeVar("D")
R = TypeVar("R")
Args = TypeVar("Args")
Asks = TypeVar("Asks")
More = TypeVar("More")
E = ParamSpec("E")
P = ParamSpec("P")
Ts = TypeVarTuple("Ts")

Nothing = Callable[[], None]
"""Asks for no extras."""


class Several:
    """Several layers ask for extras: a checker does not know which, the builder does."""


class Sessionless(Generic[C]):
    """A decorator that registers handlers which take no session: `(ctx, *, ...)`; see `Builder.sessionless`."""

    def __init__(self, kind: Kind, functions: dict[str, Function[..., Any]], *, internal: bool = False) -> None:
        self._kind = kind
        self._functions = functions
        self._internal = internal

    @overload
    def __call__(self, handler: Callable[Concatenate[C, P], Awaitable[R]], /) -> SessionlessFunction[P, R]: ...

    @overload
    def __call__(self, handler: Callable[Concatenate[C, P], R], /) -> SessionlessFunction[P, R]: ...

    def __call__(self, handler: Any, /) -> Any:
        """Register the handler under its name.

        Raises:
            InvalidError: the signature is not (ctx, *, ...), or the name is taken.
        """
        function: Function[..., Any] = SessionlessFunction(self._kind, handler, internal=self._internal)
        return _registered(function, self._functions)

    @property
    def internal(self) -> Sessionless[C]:
        """A builder of functions that can be run by functions and operators, but not by clients."""
        return Sessionless(self._kind, self._functions, internal=True)


class Builder(Generic[C, Args, Asks]):
    """A decorator that registers handlers. It never changes: each step returns another builder."""

    def __init__(
        self,
        kind: Kind,
        functions: dict[str, Function[..., Any]],
        layers: tuple[Layer[Any, Any, Any, Any], ...] = (),
        extras: Mapping[str, Any] | None = None,
        *,
        internal: bool = False,
    ) -> None:
        self._kind = kind
        self._functions = functions
        self._layers = layers
        self._extras = extras or {}
        self._internal = internal

    @overload
    def __call__(
        self: Builder[C, tuple[()], Nothing], handler: Callable[Concatenate[C, SessionId, P], Awaitable[R]], /
    ) -> Function[P, R]: ...

    @overload
    def __call__(
        self: Builder[C, tuple[()], Nothing], handler: Callable[Concatenate[C, SessionId, P], R], /
    ) -> Function[P, R]: ...

    @overload
    def __call__(
        self: Builder[C, tuple[A], Nothing], handler: Callable[Concatenate[C, SessionId, P], Awaitable[R]], /
    ) -> Function[Concatenate[A, P], R]: ...

    @overload
    def __call__(
        self: Builder[C, tuple[A], Nothing], handler: Callable[Concatenate[C, SessionId, P], R], /
    ) -> Function[Concatenate[A, P], R]: ...

    @overload
    def __call__(
        self: Builder[C, tuple[A, B], Nothing], handler: Callable[Concatenate[C, SessionId, P], Awaitable[R]], /
    ) -> Function[Concatenate[A, B, P], R]: ...

    @overload
    def __call__(
        self: Builder[C, tuple[A, B], Nothing], handler: Callable[Concatenate[C, SessionId, P], R], /
    ) -> Function[Concatenate[A, B, P], R]: ...

    @overload
    def __call__(
        self: Builder[C, tuple[A, B, Any, *Ts], Nothing],
        handler: Callable[Concatenate[C, SessionId, P], Awaitable[R]],
        /,
    ) -> Function[..., R]: ...

    @overload
    def __call__(
        self: Builder[C, tuple[A, B, Any, *Ts], Nothing], handler: Callable[Concatenate[C, SessionId, P], R], /
    ) -> Function[..., R]: ...

    @overload
    def __call__(self: Builder[C, Args, Nothing], /, *, internal: bool) -> Builder[C, Args, Nothing]: ...

    @overload
    def __call__(self: Builder[C, Args, Several], /, **extras: Any) -> Builder[C, Args, Nothing]: ...

    @overload
    def __call__(
        self: Builder[C, Args, Callable[E, None]], /, *_: E.args, **extras: E.kwargs
    ) -> Builder[C, Args, Nothing]: ...

    def __call__(self, /, *handlers: Any, **extras: Any) -> Any:
        """Register the handler under its name; or, given extras for the layers, return a builder that does.

        An `internal` one can be run by functions and operators, but not by clients; `Builder.internal` says the same.

        Raises:
            InvalidError: the signature is not (ctx, session_id, *, ...), the name is taken, an extra is missing or is
                none that a layer asks for, or an argument is of different types here and in a layer.
        """
        internal = extras.pop("internal", self._internal)
        asked = {name for layer in self._layers for name in layer.extras}
        for name in extras:
            if name not in asked:
                raise InvalidError(name, f"no layer asks for it; they ask for {', '.join(sorted(asked)) or 'nothing'}")
        merged = {**self._extras, **extras}
        builder = Builder[Any, Any, Any](self._kind, self._functions, self._layers, merged, internal=internal)
        return builder._register(*handlers) if handlers else builder

    @property
    def internal(self) -> Builder[C, Args, Asks]:
        """A builder of functions that can be run by functions and operators, but not by clients."""
        return Builder(self._kind, self._functions, self._layers, self._extras, internal=True)

    @property
    def sessionless(self: Builder[C, tuple[()], Nothing]) -> Sessionless[C]:
        """A builder of functions whose handlers take no session: `(ctx, *, ...)`.

        They do the same for every caller, so all who watch such a query share one evaluation; and they run where there
        is no session, as those of a cron do. No layers stand around them.

        Raises:
            InvalidError: this builder has layers.
        """
        if self._layers:
            raise InvalidError("layers", "what takes no session has none; call it within a function that has")
        return Sessionless(self._kind, self._functions, internal=self._internal)

    @overload
    def using(
        self: Builder[C, tuple[*Ts], Nothing], layer: Layer[C, D, tuple[A], More], /
    ) -> Builder[D, tuple[*Ts, A], More]: ...

    @overload
    def using(
        self: Builder[C, tuple[*Ts], Asks], layer: Layer[C, D, tuple[A], Nothing], /
    ) -> Builder[D, tuple[*Ts, A], Asks]: ...

    @overload
    def using(
        self: Builder[C, tuple[*Ts], Asks], layer: Layer[C, D, tuple[A], More], /
    ) -> Builder[D, tuple[*Ts, A], Several]: ...

    @overload
    def using(self: Builder[C, Args, Nothing], layer: Layer[C, D, tuple[()], More], /) -> Builder[D, Args, More]: ...

    @overload
    def using(self: Builder[C, Args, Asks], layer: Layer[C, D, tuple[()], Nothing], /) -> Builder[D, Args, Asks]: ...

    @overload
    def using(self: Builder[C, Args, Asks], layer: Layer[C, D, tuple[()], More], /) -> Builder[D, Args, Several]: ...

    def using(self, layer: Layer[Any, Any, Any, Any], /) -> Any:
        """Return a builder whose functions run with this layer too, within those that are there already.

        The layer gets the context that the one before yields, and runs after it. Of success it is told before it.

        Raises:
            InvalidError: it is no layer.
            LimitError: there are more than `limits.LAYERS`.
        """
        if not isinstance(layer, Layer):  # pyright: ignore[reportUnnecessaryIsInstance]  # a forgotten decorator
            raise InvalidError("layer", f"{layer!r} is none; make it one by the decorator `layer`")
        layers = (*self._layers, layer)
        if len(layers) > limits.LAYERS:
            raise LimitError("layers", limit=limits.LAYERS, found=len(layers), unit="layers")
        return Builder[Any, Any, Any](self._kind, self._functions, layers, self._extras, internal=self._internal)

    def _register(self, handler: Callable[..., Any] | Taker) -> Function[..., Any]:
        layers = tuple(self._around(layer) for layer in self._layers)
        function: Function[..., Any] = Function(self._kind, handler, internal=self._internal, layers=layers)
        return _registered(function, self._functions)

    def _around(self, layer: Layer[Any, Any, Any, Any]) -> Around:
        given = {name: self._extras[name] for name in layer.extras if name in self._extras}
        for name, extra in layer.extras.items():
            if name not in given and extra.default is extra.empty:
                raise InvalidError(name, f"the layer {layer.name} asks for it, and the function does not give it")
        return layer, given


def _registered(function: Function[..., Any], functions: dict[str, Function[..., Any]]) -> Function[..., Any]:
    if function.name in functions:
        raise InvalidError("name", f"there is a function {function.name!r} already")
    functions[function.name] = function
    return function
