"""What runs a call that is due, and for how long it may."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from typing import Any, Final, Protocol, TypeVar

from sojourn.errors import CallTimeoutError
from sojourn.functions.model import Function
from sojourn.functions.performing import FollowUp
from sojourn.functions.scheduling.stored import Entry
from sojourn.kernel import Attempt, Store
from sojourn.kernel.waiting import first_of

__all__ = ["Host", "Ran", "in_time"]

T = TypeVar("T")

_LATE: Final = object()

Ran = tuple[bytes, list[FollowUp]]
"""A result as JSON text, and what layers do once it is committed."""


class Host(Protocol):
    """Runs functions of an application over its store; `Bound` does."""

    store: Store

    def named(self, name: str) -> Function[..., Any] | None:
        """Return the function of this name, or None."""
        ...

    async def carry_out(
        self, function: Function[..., Any], entry: Entry, place: str, *, seed: str, tx: Attempt | None = None
    ) -> Ran:
        """Run a scheduled mutation within an attempt, or a scheduled action without one.

        What it schedules for no session stands at `place`: in each attempt at the same one.

        Raises:
            SojournError: as `Bound.run` does.
        """
        ...


async def in_time(store: Store, work: Awaitable[T], limit: timedelta) -> T:
    """Return what the work returns.

    Raises:
        CallTimeoutError: it took longer, by the store's clock.
        Exception: what it raises; something else, where that is a cancellation of its own.
    """
    try:
        result: Any = await first_of(work, store.clock.sleep(limit.total_seconds()), default=_LATE)
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise RuntimeError("something that the function waited for was cancelled") from error
    if result is _LATE:
        raise CallTimeoutError(f"it took longer than {limit.total_seconds():.0f} seconds")
    done: T = result
    return done
