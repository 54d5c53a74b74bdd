"""What a function is: its kind, its name and its handler, typed so that callers are checked."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, ClassVar, Final, Generic, ParamSpec, TypeVar

import msgspec

from sojourn import limits
from sojourn.errors import InvalidError
from sojourn.functions.arguments import Signature
from sojourn.functions.layers import Layer, Taker

__all__ = ["Around", "Caller", "Function", "Kind", "SessionlessFunction", "checked_name"]

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)

Around = tuple[Layer[Any, Any, Any, Any], Mapping[str, Any]]
"""A layer around a function, and the extras that the function gives it."""

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


class Kind(StrEnum):
    """What a function may do."""

    QUERY = "query"
    """Read, from one consistent state."""
    MUTATION = "mutation"
    """Read and write as one serializable transaction, re-run on conflict, once per request id."""
    ACTION = "action"
    """Anything, by running queries and mutations, each its own transaction; never repeated by itself."""


class Caller(msgspec.Struct, frozen=True):
    """Who calls: the subject, as far as it is known, and whether an operator's rights come with the call."""

    subject: str | None
    is_operator: bool = False


class Function(Generic[P, R_co]):
    """A registered function. A context or `Functions.bind` runs it; it is never called. `handler` is for unit tests.

    `layers` stand around it, the innermost first: the first to run, and the last to be told of success.
    """

    takes_session: ClassVar[bool] = True

    def __init__(
        self,
        kind: Kind,
        handler: Callable[..., Any] | Taker,
        *,
        internal: bool,
        layers: tuple[Around, ...] = (),
    ) -> None:
        self.taken = handler.taken if isinstance(handler, Taker) else ()
        self.handler: Callable[..., Any] = handler.handler if isinstance(handler, Taker) else handler
        self.kind = kind
        self.name = checked_name(self.handler.__name__)
        self.internal = internal
        self.layers = layers
        self.is_async = inspect.iscoroutinefunction(self.handler)
        around = [layer for layer, _ in layers]
        for layer, _ in self.taken:
            if layer not in around:
                raise InvalidError(self.name, f"it takes what the layer {layer.name} adds, which is not around it")
        consumed = tuple(layer.consumed for layer in around if layer.consumed is not None)
        self.signature = Signature(
            self.handler, self.name, consumed=consumed, taken=len(self.taken), takes_session=self.takes_session
        )

    def __repr__(self) -> str:
        """Show kind and name."""
        return f"<{self.kind} {self.name}>"


class SessionlessFunction(Function[P, R_co]):
    """A function that takes no session: it does the same for every caller, and runs where there is none."""

    takes_session = False


def checked_name(name: str) -> str:
    """Return the name if it can be that of a function or a collection.

    Raises:
        InvalidError: it is no identifier in ASCII, or too long.
    """
    if len(name) > limits.NAME_CHARS or _NAME.fullmatch(name) is None:
        raise InvalidError("name", f"{name[:80]!r} is no identifier of at most {limits.NAME_CHARS} letters and digits")
    return name
