"""Following one snapshot: the one mechanism behind `watch` and `on_snapshot_state_change`.

What becomes of a snapshot arrives as a change of its record, which holds no state. A heartbeat only touches the lease
and wakes nobody. Nobody announces either that a worker is gone, so whoever follows sets a timer for when its time is
over and then reads again: a worker that has given a sign of life meanwhile has more time, the others have expired.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import TypeAlias

from sojourn import limits
from sojourn.errors import ClosedError, CommitUnknownError, InvalidError, SojournError, UnavailableError
from sojourn.kernel import Key, Reads, Store, Subscription
from sojourn.kernel.waiting import first_of
from sojourn.snapshots import layout
from sojourn.snapshots.model import TERMINAL, SnapshotInfo, Status
from sojourn.snapshots.reading import Found

__all__ = ["Callback", "Read", "follow", "tell"]

_log = logging.getLogger(__name__)

Read: TypeAlias = Callable[[], Awaitable[Found | None]]
"""Reads the snapshot, None when there is none. It notices what has expired."""

Callback: TypeAlias = Callable[[SnapshotInfo], object]
"""Is told of a status. A coroutine is waited for before the next status is told."""


async def follow(store: Store, tenant: str, snapshot_id: str, read: Read) -> AsyncGenerator[SnapshotInfo, None]:
    """Yield what the snapshot is, then what it is after each change of its status, up to and with a terminal one.

    One that is not there yet is waited for. When it is deleted, this ends without a word. A store that goes away is
    waited for too. What happens while it is away, or while the caller is busy, is merged into the last.

    Raises:
        ClosedError: the store is not open, or was closed.
        CorruptError: the record of the snapshot is damaged.
    """
    told: Status | None = None
    places: tuple[Key, ...] = (_first_place(tenant, snapshot_id),)
    while True:
        try:
            async with store.watch(*places) as changes:
                while True:
                    found = await read()
                    read_at = store.clock.monotonic()
                    if found is None and told is not None:
                        return
                    if found is not None and found.info.status is not told:
                        told = found.info.status
                        yield found.info
                    if told in TERMINAL:
                        return
                    needed = await _awaited_at(store, tenant, snapshot_id) if found is None else (found.row_key,)
                    if needed != places:
                        places = needed
                        break
                    await _wait(store, changes, found, read_at)
        except (UnavailableError, CommitUnknownError) as error:
            _log.warning("watching a snapshot waits for the store: %s", error)
            await store.clock.sleep(limits.DUE_POLL.total_seconds())


def _first_place(tenant: str, snapshot_id: str) -> Key:
    """Return the record that an id names: that of the snapshot itself, or where its session is noted."""
    named = layout.minted(snapshot_id)
    if named is None:
        return layout.index(tenant, snapshot_id)
    session, at = named
    return layout.Place(tenant, session).row(at)


async def _awaited_at(store: Store, tenant: str, snapshot_id: str) -> tuple[Key, ...]:
    """Return the records of which one is written when a snapshot of this id is saved."""
    first = _first_place(tenant, snapshot_id)
    if first != layout.index(tenant, snapshot_id):
        return (first,)
    (record,) = (await store.read(Reads((first,)))).records.keys
    if record is None:
        return (first,)
    # Where an engine cannot write both at once, the index is there before the snapshot.
    return (first, layout.Place(tenant, record.value.decode()).local(snapshot_id))


async def _wait(store: Store, changes: Subscription, found: Found | None, read_at: float) -> None:
    """Wait for a change, or until the worker's time is over that was at work when this was read."""
    if found is None or found.due_at is None:
        await anext(changes)
        return
    left = (found.due_at - found.now) / 1_000
    await first_of(anext(changes), store.clock.sleep(read_at + left - store.clock.monotonic()))


def tell(store: Store, following: AsyncGenerator[SnapshotInfo, None], callback: Callback) -> Callable[[], None]:
    """Have a callback told all that `follow` yields, and return what stops that; closing the store stops it too.

    Once stopped, the callback is called no more, not even with what has been read already; one that is at work goes
    on. What it raises is logged, and reaches nobody.

    Raises:
        InvalidError: the callback cannot be called.
        ClosedError: the store is not open.
    """
    if not callable(callback):
        raise InvalidError("callback", "it cannot be called")
    if not store.is_open:
        raise ClosedError("the store is not open, so nothing changes in it")
    return _Telling(store, following, callback).stop


class _Telling:
    """One callback, and whether it is still to be told."""

    def __init__(self, store: Store, following: AsyncGenerator[SnapshotInfo, None], callback: Callback) -> None:
        self._store = store
        self._callback = callback
        self._is_stopped = False
        self._task = store.spawn(self._tell_all(following))

    def stop(self) -> None:
        """Tell it nothing more. Doing so twice is harmless, and so is doing it within the callback."""
        self._is_stopped = True
        self._task.cancel()

    async def _tell_all(self, following: AsyncGenerator[SnapshotInfo, None]) -> None:
        try:
            async with aclosing(following):
                async for info in following:
                    if self._is_stopped:
                        return
                    await self._tell(info)
        except ClosedError:
            return
        except SojournError as error:  # nobody waits for this task, so it has to say so itself
            _log.error("a snapshot cannot be watched any more: %s", error)

    async def _tell(self, info: SnapshotInfo) -> None:
        try:
            result = self._callback(info)
        except (Exception, asyncio.CancelledError):  # noqa: BLE001  whatever the application raises
            _log.exception("a callback of snapshots failed")
            return
        if inspect.isawaitable(result):
            # As a task of its own: to stop, also from within, is not to cut off what has begun.
            await asyncio.shield(self._store.spawn(_awaited(result), finish=True))


async def _awaited(result: Awaitable[object]) -> None:
    try:
        await result
    except (Exception, asyncio.CancelledError):  # noqa: BLE001  as above; nobody cancels a task that is to finish
        _log.exception("a callback of snapshots failed")
