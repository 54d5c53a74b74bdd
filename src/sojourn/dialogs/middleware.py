"""Middleware: what is asked about an interaction before the dialog is. It may pass it, force it through or deny it.

    @dialogs.use(at=Phase.UPDATE, priority=Priority.HIGH)
    async def no_clicks_at_night(ctx: Context) -> Verdict:
        return Verdict.DENY if is_night(ctx.now) else Verdict.PASS

What a middleware leaves in `ctx.meta` is there for those after it, for the filter and for the handler.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import msgspec

from sojourn.dialogs.failures import is_cancelled
from sojourn.dialogs.filters import Filter, judge
from sojourn.errors import InvalidError, MiddlewareFailedError

if TYPE_CHECKING:
    from sojourn.dialogs.context import Context

__all__ = ["Middleware", "MiddlewareList", "Phase", "Priority", "Verdict", "checked_priority"]

T = TypeVar("T")


class Phase(StrEnum):
    """What is being done with a dialog. Middleware stands before its start, and before its use."""

    START = "start"
    UPDATE = "update"
    END = "end"


class Priority(IntEnum):
    """Who is asked, or told, first: the highest. Among equals it is who was added first."""

    LOW_MONITOR = 0
    LOWEST = 1
    LOW = 2
    NORMAL = 3
    HIGH = 4
    HIGHEST = 5
    HIGH_MONITOR = 6


class Verdict(StrEnum):
    """What a middleware says of an interaction."""

    PASS = "pass"  # noqa: S105  no password
    """Ask the next one."""
    FORCE_PASS = "force_pass"  # noqa: S105  as above
    """Ask no other middleware. The dialog's own filter is asked all the same, unless this one was added to skip it."""
    DENY = "deny"
    """It does not happen, and whoever interacts is told so."""


Middleware: TypeAlias = Callable[["Context"], Verdict | bool | Awaitable[Verdict | bool | None] | None]
"""Says what becomes of an interaction: a verdict, or True or nothing to let it pass, or False to deny it."""


class _Entry(msgspec.Struct, frozen=True):
    middleware: Middleware
    priority: Priority
    skips_filter: bool


class MiddlewareList:
    """The middleware of one phase, in order. The dialog's own filter is asked behind those of normal priority."""

    def __init__(self) -> None:
        self._before: tuple[_Entry, ...] = ()
        self._after: tuple[_Entry, ...] = ()

    @property
    def view(self) -> tuple[Middleware, ...]:
        """All of them, in the order in which they are asked."""
        return tuple(one.middleware for one in (*self._before, *self._after))

    def add(self, middleware: Middleware, priority: Priority = Priority.NORMAL, *, skips_filter: bool = False) -> None:
        """Ask this one too, from the next interaction on. With `skips_filter` its FORCE_PASS skips the filter too.

        Raises:
            InvalidError: it cannot be called, is there already, or the priority is none.
        """
        given: object = middleware
        if not callable(given) or given in self.view:
            raise InvalidError("middleware", "it can be called with the context, and is added once")
        entry = _Entry(middleware, checked_priority(priority), skips_filter)
        if priority >= Priority.NORMAL:
            self._before = _ordered(*self._before, entry)
        else:
            self._after = _ordered(*self._after, entry)

    def remove(self, middleware: Middleware) -> bool:
        """Ask it no more, from the next interaction on; False: it was not there."""
        found = middleware in self.view
        self._before = tuple(one for one in self._before if one.middleware != middleware)
        self._after = tuple(one for one in self._after if one.middleware != middleware)
        return found

    def clear(self) -> None:
        """Ask none any more. The dialog's own filter stays."""
        self._before = self._after = ()

    async def judge(self, ctx: Context, session_filter: Filter) -> bool:
        """Say whether the interaction may go on: all pass, or one forces it through before another denies it.

        Raises:
            MiddlewareFailedError: one of them, or the filter, raised or said something else.
        """
        after = self._after
        forced: _Entry | None = None
        for one in self._before:
            verdict = await _contained(_asked(one.middleware, ctx), one.middleware, ctx)
            if verdict is Verdict.DENY:
                return False
            if verdict is Verdict.FORCE_PASS:
                forced, after = one, ()
                break
        if not (forced and forced.skips_filter) and not await _contained(
            judge(session_filter, ctx), session_filter, ctx
        ):
            return False
        for one in after:
            verdict = await _contained(_asked(one.middleware, ctx), one.middleware, ctx)
            if verdict is not Verdict.PASS:
                return verdict is Verdict.FORCE_PASS
        return True


def checked_priority(priority: Priority) -> Priority:
    """Let a priority through, also one given as its number.

    Raises:
        InvalidError: there is no such priority.
    """
    try:
        return Priority(priority)
    except ValueError as error:
        raise InvalidError("priority", str(error)) from error


def _ordered(*entries: _Entry) -> tuple[_Entry, ...]:
    return tuple(sorted(entries, key=lambda one: -one.priority))  # stable: equals stay in the order of adding


async def _contained(asked: Awaitable[T], of: object, ctx: Context) -> T:
    try:
        return await asked
    except (Exception, asyncio.CancelledError) as error:
        if is_cancelled(error):
            raise
        raise MiddlewareFailedError(of, dialog_id=ctx.dialog_id, interaction=ctx.interaction, meta=ctx.meta) from error


async def _asked(middleware: Middleware, ctx: Context) -> Verdict:
    said: object = middleware(ctx)
    if inspect.isawaitable(said):
        said = await said
    return _verdict(said)


def _verdict(said: object) -> Verdict:
    if said is None or said is True:
        return Verdict.PASS
    if said is False:
        return Verdict.DENY
    if not isinstance(said, Verdict):
        raise InvalidError("verdict", f"a middleware gives a Verdict, and this one gave {type(said).__name__}")
    return said
