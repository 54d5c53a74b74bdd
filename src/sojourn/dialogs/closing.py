"""Ending a dialog without an interaction: from outside, or because its time is over."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

import msgspec

from sojourn import limits
from sojourn.dialogs import stored
from sojourn.dialogs.context import Context
from sojourn.dialogs.ending import Ending, HookFailedError, close, unfocus
from sojourn.dialogs.events import DialogEvent, EventName
from sojourn.dialogs.house import House, Moment, present
from sojourn.dialogs.layout import Address
from sojourn.dialogs.model import End, EndCode, Ended, State
from sojourn.dialogs.registry import VersionError
from sojourn.dialogs.seats import BusyError, Seat, ShutError
from sojourn.dialogs.stepping import EXPIRY
from sojourn.dialogs.waiting import ended_here, gone
from sojourn.errors import (
    CapabilityError,
    ClosedError,
    CommitUnknownError,
    CorruptError,
    DialogStateError,
    LeaseHeldError,
    RefusedError,
)
from sojourn.kernel import Attempt, Committed, Now, RankAtMost, Record

__all__ = ["Closer"]

_log = logging.getLogger(__name__)


class _Closed(msgspec.Struct, kw_only=True):
    """What one attempt has made of it: how the dialog ended, or that it was never running."""

    tx: Attempt
    type: str
    ended: Ended[Any] | None
    ending: Ending | None = None
    error: Exception | None = None
    ctx: Context | None = None


class Closer:
    """Ends dialogs of one store."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def end(self, address: Address, end: End, tx: Attempt | None) -> Ended[Any]:
        """End a dialog; see `Dialogs.end`."""
        ctx = present(self._house.store, address.dialog_id)
        if ctx is not None:
            return self._within(ctx, end)
        if tx is not None:
            return await self._end_in(tx, address, end)
        try:
            seat = await self._house.seats.take(address, None, self._house.wait)
        except ShutError as shut:
            row = stored.decode(shut.found) if shut.found is not None else None
            if row is None:
                raise gone(address.dialog_id) from None
            return ended_here(self._house, address, row)
        except BusyError:
            raise LeaseHeldError(
                f"dialog {address.dialog_id} was handled all the time; nothing was written, try again"
            ) from None
        closed = await self._seated(seat, end)
        if closed.ended is None:
            raise gone(address.dialog_id)
        return closed.ended

    async def expire(self, address: Address) -> None:
        """End a dialog whose time is over; of one whose start has come to nothing, nothing is kept.

        Raises:
            BusyError: somebody handles it at this moment. ConflictError: it has more time. ShutError: it is over.
            UnavailableError: the store could not be reached.
        """
        seat = await self._house.seats.take(address, None, 0, RankAtMost(address.dialog, Now()))
        await self._seated(seat, EXPIRY)

    def _within(self, ctx: Context, end: End) -> Ended[Any]:
        """End the dialog whose handler asks for it: with that handler's commit. Its `end` hook asks for nothing new."""
        if ctx.ending is not None:
            end = ctx.ending
        else:
            end = ctx.end(end.result if end.has_result else msgspec.UNSET, code=end.code, reason=end.reason)
        at = datetime.fromtimestamp(ctx.now / 1_000, UTC)
        return Ended(ctx.dialog_id, end.code, end.reason, end.result, at)

    # -- With a lease of our own --------------------------------------------------------------------------------------

    async def _seated(self, seat: Seat, end: End) -> _Closed:
        seats, hook_failed = self._house.seats, list[Exception]()

        async def work(tx: Attempt) -> _Closed:
            tx.guard(seat.held)
            if tx.number == 1:
                tx.assume({seat.address.dialog: seat.dialog}, seat.now)
            record = await tx.get(seat.address.dialog)
            closed = await self._close(tx, seat.address, record, end, hook_failed[0] if hook_failed else None)
            tx.write(*seats.leaving(seat, goes_on=False))
            return closed

        try:
            closed = await self._again(work, hook_failed)
        except BaseException:
            seats.give_up(seat)
            raise
        seats.leave(seat, None, seat.now)
        await self._follow(seat.address, closed)
        return closed

    async def _again(self, work: Any, hook_failed: list[Exception]) -> _Closed:  # noqa: ANN401
        try:
            closed: _Closed = await self._house.store.run(work)
        except HookFailedError as failed:
            hook_failed.append(failed.error)
            closed = await self._house.store.run(work)
        except (RefusedError, CapabilityError) as error:
            if isinstance(error, ClosedError | DialogStateError):
                raise
            hook_failed.append(error)  # what the hook wrote can never be committed
            closed = await self._house.store.run(work)
        return closed

    # -- Within a transaction of the caller's -------------------------------------------------------------------------

    async def _end_in(self, tx: Attempt, address: Address, end: End) -> Ended[Any]:
        record = await tx.get(address.dialog)
        if record is None:
            raise gone(address.dialog_id)
        try:
            closed = await self._close(tx, address, record, end, None)
        except HookFailedError as failed:
            raise failed.error from None
        if closed.ended is None:
            raise gone(address.dialog_id)
        if closed.ending is not None:
            tx.when_settled(lambda became: self._settled(address, closed, became))
        return closed.ended

    def _settled(self, address: Address, closed: _Closed, became: Committed | CommitUnknownError | None) -> None:
        if isinstance(became, Committed):
            self._house.store.spawn(self._follow(address, closed), finish=True)

    # -- Both ---------------------------------------------------------------------------------------------------------

    async def _close(
        self, tx: Attempt, address: Address, record: Record | None, end: End, hook_failed: Exception | None
    ) -> _Closed:
        if record is None:
            return _Closed(tx=tx, type="", ended=None)
        row = stored.decode(record)
        if row.closed is not None:
            return _Closed(tx=tx, type=row.type, ended=ended_here(self._house, address, row))
        if row.state is State.STARTING:
            if end is not EXPIRY:
                raise DialogStateError(address.dialog_id, row.state, "it has not started yet, so it cannot end")
            tx.delete(address.dialog)
            return _Closed(tx=tx, type=row.type, ended=None)
        registered = self._house.registry.named(row.type)
        dialog, unreadable = None, None
        if registered is not None:
            try:
                dialog = registered.revived(address.dialog_id, row)
            except (VersionError, CorruptError) as error:
                unreadable = error
        moment = Moment(address, row, await tx.now(), record.rank or limits.RANK_MAX)
        if moment.is_overdue:
            end = EXPIRY  # whoever ends it: its time was over before
        ctx = await self._house.context(tx, moment, None, None, None, {}, tokens_age=False)
        try:
            ending = await close(
                self._house,
                tx,
                moment,
                end,
                dialog=dialog,
                registered=registered,
                ctx=ctx,
                hook_failed=hook_failed,
            )
        finally:
            ctx.close()
        return _Closed(
            tx=tx, type=row.type, ended=ending.ended, ending=ending, error=unreadable or ending.error, ctx=ctx
        )

    async def _follow(self, address: Address, closed: _Closed) -> None:
        """Do what follows the commit."""
        house, ending, outcome = self._house, closed.ending, closed.tx.outcome
        revision = None if outcome is None else outcome.revision
        if ending is not None and ending.following and revision is not None:
            await house.performer.perform(ending.following, revision, None)
        if closed.error is not None and closed.ctx is not None:
            await house.report(house.errors.end, closed.error, closed.ctx)
        if ending is None and closed.ended is not None:
            return  # it had ended before
        if ending is not None and ending.row.focus:
            await unfocus(house.store, address.dialog_id, ending.row.focus)
        names: tuple[EventName, ...] = (EventName.START_FAILED,)
        if closed.ended is not None:
            is_expired = closed.ended.code == EndCode.EXPIRED
            names = (EventName.ENDED, EventName.EXPIRED) if is_expired else (EventName.ENDED,)
        house.tell(
            *(
                DialogEvent(
                    name=name,
                    dialog_id=address.dialog_id,
                    type=closed.type,
                    revision=revision,
                    ended=closed.ended,
                    error=closed.error,
                )
                for name in names
            )
        )
