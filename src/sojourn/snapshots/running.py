"""The life of a turn around its body: begun, kept alive, stopped from elsewhere, ended, or gone on with behind it.

A body that is stopped is cancelled at its next await, and the cancellation becomes the error that says why. A body that
is cancelled by its own program stays cancelled; its turn is stored as failed, with the state as far as it came.
"""

from __future__ import annotations

import asyncio
import logging
from types import TracebackType
from typing import Any, Generic, TypeVar

from sojourn.errors import ClosedError, InvalidError, LeaseLostError, LimitError, SojournError, TurnAbortedError
from sojourn.kernel.store import is_within_any
from sojourn.kernel.waiting import seen
from sojourn.snapshots.reading import Shelf
from sojourn.snapshots.starting import Starter, Wish
from sojourn.snapshots.turn import Detached, Turn

__all__ = ["TurnContext"]

S = TypeVar("S")

_log = logging.getLogger(__name__)


class TurnContext(Generic[S]):
    """A turn that is yet to begin, for `async with`. It is entered once, and gives the `Turn`."""

    def __init__(self, shelf: Shelf[S], starter: Starter[S], wish: Wish) -> None:
        self._shelf = shelf
        self._starter = starter
        self._wish = wish
        self._life: _Life[S] | None = None

    async def __aenter__(self) -> Turn[S]:
        """Begin the turn."""
        if self._life is not None:
            raise ClosedError("a turn is entered once; ask for another one")
        if is_within_any():  # which would run again, and the turn with it
            raise InvalidError(
                "turn", "it commits by itself; begin it before `store.run`, and end it there by `complete(tx=)`"
            )
        begun = await self._starter.start(self._wish)
        self._life = _Life(self._shelf, Turn(self._shelf, self._starter, begun))
        self._life.attend()
        return self._life.turn

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the turn, or go on with it in the background."""
        assert self._life is not None
        await self._life.leave(error)


class _Life(Generic[S]):
    """A turn, the task at work on it, and what stops that."""

    def __init__(self, shelf: Shelf[S], turn: Turn[S]) -> None:
        self.turn = turn
        self._store = shelf.store
        self._task: asyncio.Task[Any] | None = None
        self._cancelled = False
        self._cancelling = 0
        self._work_in_this_task()

    def _work_in_this_task(self) -> None:
        self._task = asyncio.current_task()
        self._cancelled = False
        # Who cleans up after having been cancelled takes a turn as well.
        self._cancelling = 0 if self._task is None else self._task.cancelling()

    def attend(self) -> None:
        """Hear of what happens to the lease, and say what that means."""
        self.turn.lease.warns = False
        self.turn.lease.tell = self._told
        self._told()

    def _told(self) -> None:
        if self.turn.lease.lost.is_set():
            task = self._store.spawn(self._stop())
            task.add_done_callback(seen)

    async def _stop(self) -> None:
        await self.turn.look()
        if self.turn.stopped is None:
            return
        level = logging.INFO if isinstance(self.turn.stopped, TurnAbortedError) else logging.WARNING
        _log.log(level, "%s", self.turn.stopped)
        if self._task is not None and not self._cancelled:
            self._cancelled = True
            self._task.cancel()

    async def leave(self, error: BaseException | None) -> None:
        """End the turn by what became of its body. A turn that cannot be ended is given up, and expires."""
        task, self._task = self._task, None
        detached, self.turn.detached = self.turn.detached, None
        goes_on = False
        self.turn.is_left = True
        try:
            if self._cancelled and task is not None:
                is_other = task.uncancel() > self._cancelling  # who else cancelled the body is not to be disappointed
                if isinstance(error, asyncio.CancelledError) and not is_other:
                    assert self.turn.stopped is not None
                    raise self.turn.stopped from None
            goes_on = await self._end(error, detached)
        finally:
            if not goes_on:
                self._over(detached)

    async def _end(self, error: BaseException | None, detached: Detached[S] | None) -> bool:
        """End the turn, or have it go on in the background; return whether it does."""
        if self.turn.has_ended:
            return False
        if error is not None:
            await self._fail(error)
        elif self.turn.is_undecided:
            raise InvalidError("tx", "the end of this turn is yet to be committed; leave its block after that")
        else:
            try:
                if detached is None:
                    await self.turn.complete()
                else:
                    await self.turn.store_partial()
            except (InvalidError, LimitError) as refused:  # its state cannot be stored, but that it failed can
                self.turn.forget()
                await self._fail(refused)
                raise
        if error is None and detached is not None:
            going = self._store.spawn(self._go_on(detached))
            going.add_done_callback(lambda _: detached.ended.set())
            return True
        return False

    def _over(self, detached: Detached[S] | None) -> None:
        """Give the lease of a turn back that has not been ended, so that it expires, and tell who waits for it."""
        if not self.turn.has_ended and not self.turn.is_undecided:
            giving = self._store.spawn(self.turn.lease.release(), finish=True)
            giving.add_done_callback(seen)
        if detached is not None:
            detached.ended.set()

    async def _fail(self, error: BaseException) -> None:
        """Store that the turn has failed, whatever becomes of who waits for that; its own error is the one raised."""
        failing = self._store.spawn(self._failed(error), finish=True)
        failing.add_done_callback(seen)
        try:
            await asyncio.shield(failing)
        except (TurnAbortedError, LeaseLostError) as stopped:
            if isinstance(error, Exception):  # a cancellation goes on
                raise stopped from error
        except SojournError as failed:
            _log.warning("a turn that failed could not be stored as such, and will expire: %s", failed)

    async def _failed(self, error: BaseException) -> None:
        try:
            await self.turn.fail(error)
        except (InvalidError, LimitError):  # what it had so far cannot be stored
            self.turn.forget()
            await self.turn.fail(error)

    async def _go_on(self, detached: Detached[S]) -> None:
        """Go on with the turn in the background, and end it."""
        self._work_in_this_task()
        self.turn.is_left = False
        failed: BaseException | None = None
        try:
            if self.turn.stopped is None:
                await detached.work(self.turn)
        except BaseException as error:  # noqa: BLE001  whatever ended it, the turn is stored
            failed = error
        try:
            await self.leave(failed)
        except (TurnAbortedError, LeaseLostError):
            return  # said already
        except SojournError as unstored:
            _log.warning("a turn in the background could not be stored, and will expire: %s", unstored)
        if isinstance(failed, Exception):
            _log.warning("a turn in the background failed: %s: %s", type(failed).__name__, failed)
        elif failed is not None:
            raise failed
