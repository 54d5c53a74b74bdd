"""Timers: work that happens at an instant, on exactly one process, whatever dies in between.

    tx.write(set_timer(Key("dialog.timer", dialog, "expiry"), b'"expired"', at=Now(180_000)))

    timers = Timers(store, "dialog.timer", on_expiry)           # async def on_expiry(timer: Timer, tx: Attempt) -> None
    await timers.run()

What the handler writes commits together with the timer's removal, so it takes effect exactly once. A handler that
sets the same timer again has made a schedule.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from sojourn.errors import LeaseLostError
from sojourn.kernel.attempt import Attempt
from sojourn.kernel.due import Claimed, DueWorker, due
from sojourn.kernel.keys import Key, Number
from sojourn.kernel.store import Store
from sojourn.kernel.transaction import Delete, Put

__all__ = ["Timer", "Timers", "cancel_timer", "set_timer"]


class Timer(msgspec.Struct, frozen=True):
    """A timer that has gone off: where it is, and the JSON text it was set with."""

    key: Key
    payload: bytes


def set_timer(key: Key, payload: bytes, *, at: Number) -> Put:
    """Return the write that sets the timer, or sets it anew; `payload` is JSON text."""
    return due(key, payload, at)


def cancel_timer(key: Key) -> Delete:
    """Return the write that cancels the timer. A handler already at work will find its commit refused."""
    return Delete(key)


class Timers:
    """Runs the timers of one space in this process; other processes may do the same."""

    def __init__(self, store: Store, space: str, handler: Callable[[Timer, Attempt], Awaitable[None]]) -> None:
        self._store = store
        self._handler = handler
        self._worker = DueWorker(store, space, self._perform)

    async def run(self) -> None:
        """Handle timers as they go off, until cancelled."""
        await self._worker.run()

    async def step(self) -> float:
        """Handle what has gone off by now; return the seconds until there may be something to do.

        Raises:
            UnavailableError: the store could not be reached.
        """
        return await self._worker.step()

    async def _perform(self, claimed: Claimed) -> None:
        async def handle(tx: Attempt) -> None:
            standing = await tx.get(claimed.key)
            if standing is None or standing.revision != claimed.token:
                raise LeaseLostError("the timer was cancelled or set anew", guard=claimed.held, found=standing)
            tx.write(claimed.ending)
            await self._handler(Timer(claimed.key, claimed.payload), tx)

        await self._store.run(handle)
