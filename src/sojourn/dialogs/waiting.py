"""Waiting for the end of a dialog, in any process, also after it has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

from sojourn import limits
from sojourn.dialogs import stored
from sojourn.dialogs.house import House
from sojourn.dialogs.layout import Address
from sojourn.dialogs.model import EndCode, Ended
from sojourn.dialogs.stored import Row
from sojourn.errors import CommitUnknownError, DialogGoneError, InvalidError, UnavailableError
from sojourn.kernel import Reads, Record
from sojourn.kernel.waiting import first_of

__all__ = ["Waiter", "checked_timeout", "ended_here", "gone"]

_LATE: Final = object()


class Waiter:
    """Waits for the ends of dialogs of one store. `settle` ends one whose time is over, and says when to look again."""

    def __init__(self, house: House, settle: Callable[[Address, Row], Awaitable[float]]) -> None:
        self._house = house
        self._settle = settle
        self._waiting = set[asyncio.Task[Ended[Any]]]()
        self._is_closed = False

    async def wait(self, dialog_id: str, timeout: float | None) -> Ended[Any]:  # noqa: ASYNC109  by the store's clock
        """Wait for the end; see `Dialogs.wait`."""
        if self._is_closed:
            return await self._suspended(dialog_id)
        waiting = asyncio.ensure_future(self._wait(self._house.address(dialog_id)))
        self._waiting.add(waiting)
        waiting.add_done_callback(self._waiting.discard)
        try:
            if timeout is None:
                return await waiting
            late: object = await first_of(waiting, self._house.store.clock.sleep(timeout), default=_LATE)
        except asyncio.CancelledError:
            if self._is_closed and waiting.cancelled() and not _is_cancelled():
                return await self._suspended(dialog_id)
            waiting.cancel()
            raise
        if late is _LATE:
            raise TimeoutError(f"dialog {dialog_id} has not ended within {timeout:g} seconds; it goes on")
        return waiting.result()

    def close(self) -> None:
        """Have everybody who waits here told that this process stops waiting."""
        self._is_closed = True
        for waiting in tuple(self._waiting):
            waiting.cancel()

    async def _wait(self, address: Address) -> Ended[Any]:
        store = self._house.store
        (record,) = (await store.read(Reads((address.dialog,)))).records.keys
        row = _open(address, record)
        if row.closed is not None:
            return ended_here(self._house, address, row)
        while True:
            try:
                async with store.watch(address.dialog) as changes:
                    while True:
                        snapshot = await store.read(Reads((address.dialog,)))
                        read_at = store.clock.monotonic()
                        (record,) = snapshot.records.keys
                        row = _open(address, record)
                        if row.closed is not None:
                            return ended_here(self._house, address, row)
                        assert record is not None
                        left = ((record.rank or 0) - snapshot.now) / 1_000
                        if left <= 0:
                            left = await self._settle(address, row)
                        if record.rank == limits.RANK_MAX:
                            await anext(changes)
                        else:
                            pause = store.clock.sleep(read_at + left - store.clock.monotonic())
                            await first_of(anext(changes), pause)
            except (UnavailableError, CommitUnknownError):
                await store.clock.sleep(limits.DUE_POLL.total_seconds())

    async def _suspended(self, dialog_id: str) -> Ended[Any]:
        """Return how the dialog ended, if it has by now; else that it goes on without us."""
        address = self._house.address(dialog_id)
        with suppress(UnavailableError):
            (record,) = (await self._house.store.read(Reads((address.dialog,)))).records.keys
            row = None if record is None else stored.decode(record)
            if row is not None and row.closed is not None:
                return ended_here(self._house, address, row)
        at = datetime.fromtimestamp(self._house.store.clock.now() / 1_000, UTC)
        return Ended(dialog_id, EndCode.SUSPENDED, "this process stops waiting; the dialog goes on", None, at)


def ended_here(house: House, address: Address, row: Row) -> Ended[Any]:
    """Return how a dialog ended, with its result in the type that its class declares, where that is known here.

    Raises:
        CorruptError: the result is not of that type.
    """
    assert row.closed is not None
    registered = house.registry.named(row.type)
    if registered is None:
        return stored.ended_of(address.dialog_id, row.closed)
    return stored.ended_of(address.dialog_id, row.closed, registered.result_of(row.closed.result))


def checked_timeout(timeout: timedelta | float | None) -> float | None:
    """Return a timeout in seconds.

    Raises:
        InvalidError: it is neither a duration nor a number of seconds, or below zero.
    """
    if timeout is None:
        return None
    seconds = cast("object", timeout.total_seconds() if isinstance(timeout, timedelta) else timeout)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds >= 0:
        raise InvalidError("timeout", "it is a timedelta or a number of seconds, from 0 on, or None")
    # Beyond what anything lives it is as good as none.
    return None if seconds >= limits.TTL_MAX.total_seconds() else float(seconds)


def gone(dialog_id: str) -> DialogGoneError:
    """Return the error for a dialog of which nothing is known."""
    return DialogGoneError(f"there is no dialog {dialog_id}: it was never started, or its end is forgotten by now")


def _open(address: Address, record: Record | None) -> Row:
    if record is None:
        raise gone(address.dialog_id)
    return stored.decode(record)


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
