"""What a function is: its kind, its name and its handler, typed so that callers are checked."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Any, Concatenate, Final, Generic, ParamSpec, TypeVar

from sojourn import limits
from sojourn.errors import InvalidError
from sojourn.functions.arguments import Signature

__all__ = ["Function", "Kind", "checked_name"]

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


class Kind(StrEnum):
    """What a function may do."""

    QUERY = "query"
    """Read, from one consistent state."""
    MUTATION = "mutation"
    """Read and write as one serializable transaction, re-run on conflict, once per request id."""
    ACTION = "action"
    """Anything, by running queries and mutations, each its own transaction; never repeated by itself."""


class Function(Generic[P, R_co]):
    """A registered function. A context or `Functions.bind` runs it; it is never called. `handler` is for unit tests."""

    def __init__(
        self, kind: Kind, handler: Callable[Concatenate[Any, Any, P], Awaitable[R_co]], *, internal: bool
    ) -> None:
        self.kind = kind
        self.name = checked_name(handler.__name__)
        self.handler = handler
        self.internal = internal
        self.signature = Signature(handler, self.name)

    def __repr__(self) -> str:
        """Show kind and name."""
        return f"<{self.kind} {self.name}>"


def checked_name(name: str) -> str:
    """Return the name if it can be that of a function or a collection.

    Raises:
        InvalidError: it is no identifier in ASCII, or too long.
    """
    if len(name) > limits.NAME_CHARS or _NAME.fullmatch(name) is None:
        raise InvalidError("name", f"{name[:80]!r} is no identifier of at most {limits.NAME_CHARS} letters and digits")
    return name
