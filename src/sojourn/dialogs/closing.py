"""Ending a dialog without an interaction: from outside, or because its time is over."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

import msgspec

from sojourn import limits
from sojourn.dialogs import stored
from sojourn.dialogs.context import Context
from sojourn.dialogs.ending import HookFailedError, close
from sojourn.dialogs.events import EventName
from sojourn.dialogs.following import Done, follow
from sojourn.dialogs.house import House, Moment
from sojourn.dialogs.layout import Address
from sojourn.dialogs.middleware import Phase
from sojourn.dialogs.model import End, EndCode, Ended, State
from sojourn.dialogs.presence import present
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
        for _ in range(limits.DIALOG_RETAKES):
            try:
                done = await self._seated(await self._house.seats.take(address, None, self._house.wait), end)
            except ShutError as shut:
                if shut.found is None:
                    raise gone(address.dialog_id) from None
                return ended_here(self._house, address, stored.decode(shut.found))
            except BusyError:  # others have it all the time, or the lease was lost to a pause of this process
                continue
            if done.ended is None:
                raise gone(address.dialog_id)
            return done.ended
        raise LeaseHeldError(f"dialog {address.dialog_id} was handled all the time; nothing was written, try again")

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
        if ctx.said.ending is not None:
            end = ctx.said.ending
        else:
            end = ctx.end(end.result if end.has_result else msgspec.UNSET, code=end.code, reason=end.reason)
        at = datetime.fromtimestamp(ctx.now / 1_000, UTC)
        return Ended(ctx.dialog_id, end.code, end.reason, end.result, at)

    # -- With a lease of our own --------------------------------------------------------------------------------------

    async def _seated(self, seat: Seat, end: End) -> Done:
        seats, hook_failed = self._house.seats, list[Exception]()

        async def work(tx: Attempt) -> Done:
            tx.guard(seat.held)
            if tx.number == 1:
                tx.assume({seat.address.dialog: seat.dialog}, seat.now)
            elif await seats.has_lost(seat, tx):
                raise BusyError
            record = await tx.get(seat.address.dialog)
            done = await self._close(tx, seat.address, record, end, hook_failed[0] if hook_failed else None)
            tx.write(*seats.leaving(seat, goes_on=False))
            return done

        try:
            done = await self._again(work, hook_failed)
        except BaseException:
            seats.give_up(seat)
            raise
        seats.leave(seat, None, seat.now)
        await follow(self._house, seat.address, done, None, {})
        return done

    async def _again(self, work: Any, hook_failed: list[Exception]) -> Done:  # noqa: ANN401
        try:
            done: Done = await self._house.store.run(work)
        except HookFailedError as failed:
            hook_failed.append(failed.error)
            done = await self._house.store.run(work)
        except (RefusedError, CapabilityError) as error:
            if isinstance(error, ClosedError | DialogStateError):
                raise
            hook_failed.append(error)  # what the hook wrote can never be committed
            done = await self._house.store.run(work)
        return done

    # -- Within a transaction of the caller's -------------------------------------------------------------------------

    async def _end_in(self, tx: Attempt, address: Address, end: End) -> Ended[Any]:
        record = await tx.get(address.dialog)
        if record is None:
            raise gone(address.dialog_id)
        try:
            done = await self._close(tx, address, record, end, None)
        except HookFailedError as failed:
            raise failed.error from None
        if done.ended is None:
            raise gone(address.dialog_id)
        if done.outcome == "ended":
            tx.when_settled(lambda became: self._settled(address, done, became))
        return done.ended

    def _settled(self, address: Address, done: Done, became: Committed | CommitUnknownError | None) -> None:
        if isinstance(became, Committed):
            self._house.store.spawn(follow(self._house, address, done, None, {}), finish=True)

    # -- Both ---------------------------------------------------------------------------------------------------------

    async def _close(
        self, tx: Attempt, address: Address, record: Record | None, end: End, hook_failed: Exception | None
    ) -> Done:
        if record is None:
            return Done(tx=tx, outcome="missing")
        row = stored.decode(record)
        if row.closed is not None:
            return Done(tx=tx, outcome="duplicate", ended=ended_here(self._house, address, row))
        moment = Moment(address, row, await tx.now(), limits.RANK_MAX if record.rank is None else record.rank)
        if end is EXPIRY and not moment.is_overdue:
            raise BusyError  # it was given more time meanwhile
        if row.state is State.STARTING:
            if end is not EXPIRY:
                raise DialogStateError(address.dialog_id, row.state, "it has not started yet, so it cannot end")
            tx.delete(address.dialog)
            return Done(tx=tx, outcome="missing", row=row, events=(EventName.START_FAILED,))
        if moment.is_overdue:
            end = EXPIRY  # whoever ends it: its time was over before
        registered = self._house.registry.named(row.type)
        dialog, unreadable = None, None
        if registered is not None:
            try:
                dialog = registered.revived(address.dialog_id, row)
            except (VersionError, CorruptError) as error:
                unreadable = error
        ctx = await self._house.context(tx, moment, Phase.END, None, None, {}, tokens_age=False)
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
            ctx.said.is_over = True
        failed = unreadable or ending.error
        is_expired = ending.ended.code == EndCode.EXPIRED
        return Done(
            tx=tx,
            outcome="ended",
            row=ending.row,
            ended=ending.ended,
            error=failed,
            failed_at=None if failed is None else self._house.errors.end,
            ctx=ctx,
            following=ending.following,
            events=(EventName.ENDED, EventName.EXPIRED) if is_expired else (EventName.ENDED,),
        )
