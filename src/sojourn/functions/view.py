"""A context with more, or less, than the one that it stands over.

@dataclass(frozen=True)
class MemberCtx(Extended[QueryCtx], QueryCtx):
    member: str

MemberCtx(ctx, member="ada").member; all that a query can do goes through to `ctx`
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, TypeVar

from sojourn.functions.context import ActionCtx, Ctx, MutationCtx, QueryCtx

__all__ = ["Extended"]

C = TypeVar("C")

_KINDS: Final = frozenset({Ctx, QueryCtx, MutationCtx, ActionCtx})


@dataclass(frozen=True, eq=False)
class Extended(Generic[C]):
    """A frozen view of a context: what a subclass defines is its own, anything else is that of the context below.

    Make subclasses frozen dataclasses. One that inherits the kind of context as well, as above, shows type checkers all
    of it; its methods call by `super()` what they stand over. A view with more than another view is a subclass of that.
    Names in `hides` are not to be had: an AttributeError. Hide them from type checkers too by declaring the
    layer to yield a protocol without them.
    """

    hides: ClassVar[AbstractSet[str]] = frozenset()

    _over: C = field(repr=False)

    if not TYPE_CHECKING:  # to a checker this would make any name right

        def __getattribute__(self, name: str) -> Any:  # noqa: ANN401  whatever stands there
            kind = type(self)
            if name in _own(kind):
                return object.__getattribute__(self, name)
            if name in kind.hides:
                raise AttributeError(f"{kind.__name__} hides {name!r} of the context", name=name, obj=self)
            return getattr(object.__getattribute__(self, "_over"), name)


@lru_cache(maxsize=256)
def _own(kind: type[Extended[Any]]) -> frozenset[str]:
    """Return what is a view's own and not hidden: fields, and what a class defines that is no kind of context."""
    defined = {name for part in kind.__mro__ if part not in _KINDS for name in vars(part)}
    return frozenset((defined | set(kind.__dataclass_fields__)) - kind.hides)
