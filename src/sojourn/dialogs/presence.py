"""Which handlers the caller runs within: what a handler asks of its own dialog has to join it, and not wait for it."""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

from sojourn.kernel import Store

if TYPE_CHECKING:
    from sojourn.dialogs.context import Context

__all__ = ["apart", "present", "within"]

T = TypeVar("T")

_present: ContextVar[tuple[tuple[Store, Context], ...]] = ContextVar("_present", default=())


async def within(store: Store, ctx: Context, work: Awaitable[T]) -> T:
    """Wait for a handler, which can be told by `present` from whatever it calls."""
    inside = _present.set((*_present.get(), (store, ctx)))
    try:
        return await work
    finally:
        _present.reset(inside)


def apart(store: Store, work: Coroutine[Any, Any, None], *, finish: bool) -> None:
    """Do something in the background that is no part of the handler within which it was begun."""
    inside = _present.set(())
    try:
        store.spawn(work, finish=finish)
    finally:
        _present.reset(inside)


def present(store: Store, dialog_id: str) -> Context | None:
    """Return the context of the handler of this dialog that the caller runs within, None where there is none."""
    for kept_in, ctx in _present.get():
        if kept_in is store and ctx.dialog_id == dialog_id and not ctx.said.is_over:
            return ctx
    return None
