"""What nobody clicks for: dialogs whose time is over, and effects that a process has left behind when it died.

Each process looks for both, once a second or when something falls due. A dialog is ended by whoever has its lease, so
its `end` hook counts once, whichever processes find it; one of a type that is not registered here is left to others.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from sojourn import limits
from sojourn.dialogs import layout, stored
from sojourn.dialogs.closing import Closer
from sojourn.dialogs.house import House
from sojourn.dialogs.layout import Address
from sojourn.dialogs.seats import BusyError, ShutError
from sojourn.dialogs.stored import Row
from sojourn.errors import ClosedError, CommitUnknownError, ConflictError, SojournError, UnavailableError
from sojourn.kernel import Cursor, Now, RankSpan, Record

__all__ = ["Caretaker"]

_log = logging.getLogger(__name__)


class Caretaker:
    """Ends the dialogs of one store whose time is over, and has left effects performed."""

    def __init__(self, house: House, closer: Closer) -> None:
        self._house = house
        self._closer = closer
        self._after: Cursor | None = None
        self._tasks: tuple[asyncio.Task[None], ...] = ()

    def begin(self) -> None:
        """Look after the dialogs from now on, in the background, until the store or these dialogs are closed."""
        if not self._tasks or any(task.done() for task in self._tasks):
            for task in self._tasks:
                task.cancel()
            spawn = self._house.store.spawn
            # Apart, so that an effect that takes its time holds up no deadline.
            self._tasks = (spawn(self._run(self._step)), spawn(self._run(self._house.performer.step)))

    async def stop(self) -> None:
        """Leave them to other processes."""
        tasks, self._tasks = self._tasks, ()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def expire(self, limit: int) -> int:
        """End up to so many dialogs whose time is over, and return how many there were.

        Raises:
            UnavailableError: the store could not be reached.
        """
        span = RankSpan(layout.DIALOGS, high=Now(), limit=min(limit, limits.DIALOG_DUE_PAGE))
        ended = 0
        async for page in self._house.store.rank_pages(span):
            for record in page.records:
                ended += await self._expire(record)
                if ended >= limit:
                    return ended
        return ended

    async def settle(self, address: Address, row: Row) -> float:
        """End a dialog whose time is over, if its type is known here; return the seconds until it is worth a look.

        Raises:
            UnavailableError: the store could not be reached.
        """
        if self._is_known(row):
            with suppress(BusyError, ConflictError, ShutError):  # it is being handled, has more time, or is over
                await self._closer.expire(address)
        return limits.DUE_POLL.total_seconds()

    async def _run(self, step: Callable[[], Awaitable[float]]) -> None:
        while True:
            pause = limits.DUE_POLL.total_seconds()
            try:
                pause = min(pause, await step())
            except ClosedError:
                return  # the store was closed, or never opened; the next use begins anew
            except SojournError as error:
                _log.warning("looking after dialogs waits for the store: %s", error)
            await self._house.store.clock.sleep(max(pause, 0.001))

    async def _step(self) -> float:
        """End what is due on one page; the next call goes on behind it, so that nothing is stuck behind others'."""
        span = RankSpan(layout.DIALOGS, after=self._after, limit=limits.DIALOG_DUE_PAGE)
        page = await self._house.store.rank(span)
        self._after = page.cursor
        for record in page.records:
            if record.rank is not None and record.rank > page.now:
                self._after = None
                return (record.rank - page.now) / 1_000
            await self._expire(record)
        return 0 if self._after is not None else limits.DUE_POLL.total_seconds()

    def _is_known(self, row: Row) -> bool:
        """Say whether this process knows the type, and its version; if not, another one ends the dialog."""
        registered = self._house.registry.named(row.type)
        return registered is not None and registered.version >= row.version

    async def _expire(self, record: Record) -> int:
        try:
            row = stored.decode(record)
            if not self._is_known(row):
                return 0
            await self._closer.expire(Address(record.key.item, record.key.partition))
        except (BusyError, ConflictError, ShutError):
            return 0
        except (UnavailableError, CommitUnknownError, ClosedError):
            raise
        except Exception:  # noqa: BLE001  a damaged record, or an application's class: the others go on
            _log.exception("dialog %s, whose time is over, cannot be ended", record.key.item)
            return 0
        return 1
