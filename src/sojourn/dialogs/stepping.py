"""One interaction with one dialog: a seat, the handler, and one commit that holds all it has done.

    seat    one commit: the lease of the dialog, unless the delivery was handled before; the dialog comes back with it
    judge   is its time over, is the view an old one, do middleware and filter let it through
    handle  the object is made from what is stored, and its handler called
    commit  the dialog, the delivery, effects, what the handler wrote through `ctx.tx`, and the end of the lease

When that commit meets a rival, everything from `judge` on happens again with what stands there now. When the lease was
lost, to a pause of this process, it begins with the seat.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

import msgspec

from sojourn import limits
from sojourn.dialogs import layout, stored
from sojourn.dialogs.context import Context, made_end
from sojourn.dialogs.dialog import Dialog
from sojourn.dialogs.ending import Ending, HookFailedError, close
from sojourn.dialogs.events import EventName
from sojourn.dialogs.failures import as_error, is_cancelled
from sojourn.dialogs.following import Done
from sojourn.dialogs.house import House, Moment
from sojourn.dialogs.layout import Address
from sojourn.dialogs.middleware import Phase
from sojourn.dialogs.model import KEEP, REFRESH, Cause, Edit, End, EndCode, Handled, Keep, State
from sojourn.dialogs.platform import Interaction
from sojourn.dialogs.presence import present, within
from sojourn.dialogs.registry import Registered, VersionError, checked_life
from sojourn.dialogs.seats import BusyError, RepeatedError, Seat, ShutError
from sojourn.dialogs.stored import Row
from sojourn.dialogs.tokens import Token
from sojourn.errors import CapabilityError, ClosedError, CorruptError, InvalidError, RefusedError
from sojourn.kernel import Attempt, Committed, Now, Number, Put, Reads, Record
from sojourn.kernel.attempt import Mark
from sojourn.kernel.transaction import instant

__all__ = ["DroppedError", "EXPIRY", "Stepper", "focused", "lived_on"]

_log = logging.getLogger(__name__)

_MILLISECOND: Final = timedelta(milliseconds=1)

EXPIRY: Final = made_end(msgspec.UNSET, EndCode.EXPIRED, "")


class _LostError(Exception):
    """The lease of the seat ended before the commit."""


class _FailedError(Exception):
    """The handler failed: nothing of its attempt may be committed."""

    def __init__(self, done: Done) -> None:
        super().__init__()
        self.done = done


class DroppedError(Exception):
    """The dialog is busy, and of a type that drops what comes at once."""


class Stepper:
    """Handles interactions with dialogs of one store."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def step(self, address: Address, token: Token | None, interaction: Interaction, meta: dict[str, Any]) -> Done:
        """Handle an interaction with the dialog at the address, and commit what it has changed.

        Raises:
            ShutError: there is no open dialog. RepeatedError: the delivery was handled before.
            BusyError: others have it all the time. DroppedError: somebody has it, and it waits for nobody.
            CorruptError: the record of the dialog is damaged.
            UnavailableError: the store could not be reached; nothing was written.
            CommitUnknownError: the answer was lost; perhaps it was handled. The same delivery is not handled again.
        """
        for _ in range(limits.DIALOG_RETAKES):
            found = await self._seat_or_dialog(address, interaction)
            work = _Work(self._house, found, address, token, interaction, meta)
            try:
                return await (self._in(found, work) if isinstance(found, Seat) else work.run())
            except _LostError:
                _log.warning("the lease of dialog %s ended before its handler did", address.dialog_id)
        raise BusyError

    async def _in(self, seat: Seat, work: _Work) -> Done:
        seats = self._house.seats
        try:
            done = await work.run()
        except BaseException:
            seats.give_up(seat)
            raise
        outcome = done.tx.outcome
        if outcome is None:  # it failed, or an earlier attempt was the one that was committed: the next one finds out
            await seats.leave_as_it_was(seat)
        else:
            seats.leave(seat, _after(done, seat.dialog, outcome), outcome.now)
        return done

    async def _seat_or_dialog(self, address: Address, interaction: Interaction) -> Seat | Record:
        """Wait for the seat; or return the dialog, where it is of a type that handles what comes at once."""
        house = self._house
        delivery = None if interaction.delivery_id is None else address.delivery(interaction.delivery_id)
        if present(house.store, address.dialog_id) is not None:
            raise BusyError
        if not house.registry.is_mixed:
            return await house.seats.take(address, delivery, house.wait)
        try:
            return await house.seats.take(address, delivery, 0)
        except BusyError:
            (record,) = (await house.store.read(Reads((address.dialog,)))).records.keys
        row = None if record is None or record.rank is None else stored.decode(record)
        registered = None if row is None or row.state is not State.RUNNING else house.registry.named(row.type)
        if record is None or registered is None or registered.concurrency == "serial":
            return await house.seats.take(address, delivery, house.wait)
        if registered.concurrency == "drop":
            raise DroppedError
        return record


class _Work:
    """One interaction with one dialog, over all attempts at it. `found` is a seat, or a dialog that needs none."""

    def __init__(
        self,
        house: House,
        found: Seat | Record,
        address: Address,
        token: Token | None,
        interaction: Interaction,
        meta: dict[str, Any],
    ) -> None:
        self._house = house
        self._seat = found if isinstance(found, Seat) else None
        self._address = address
        self._token = token
        self._interaction = interaction
        self._meta = meta
        self._hook_failed: Exception | None = None
        self._ctx: Context | None = None
        self._row: Row | None = None
        self._delivery = None if interaction.delivery_id is None else address.delivery(interaction.delivery_id)

    async def run(self) -> Done:
        """Handle it, in as many attempts as that takes."""
        while True:
            try:
                return await self._house.store.run(self._attempt)
            except _FailedError as failed:
                return failed.done
            except HookFailedError as failed:
                self._hook_failed = failed.error
            except (RefusedError, CapabilityError) as error:
                # What the application wrote in this step can never be committed; perhaps it was the hook.
                if self._ctx is None or isinstance(error, ClosedError):
                    raise
                if self._ctx.phase is Phase.END and self._hook_failed is None:
                    self._hook_failed = error
                else:
                    return self._failed(self._ctx, error)

    async def _attempt(self, tx: Attempt) -> Done:
        record = await self._found(tx)
        moment = Moment(self._address, stored.decode(record), await tx.now(), record.rank or 0)
        row = moment.row
        if row.state is State.STARTING:
            return self._abandoned(tx)
        registered = self._house.registry.named(row.type)
        if registered is None:
            return self._unchanged(tx, "missing", cause=Cause.UNREGISTERED)
        if self._token is None and self._interaction.known_at not in row.focus:
            return self._unchanged(tx, "foreign")
        try:
            dialog = registered.revived(self._address.dialog_id, row)
        except (VersionError, CorruptError) as error:
            return self._unchanged(tx, "missing", cause=Cause.VERSION, error=error)
        if moment.is_overdue:
            return await self._expired(tx, moment, registered, dialog)
        token = self._whole(row)
        if token is None and self._token is not None:
            return self._stale(tx, row, registered)
        tokens_age = registered.stale != "accept"
        ctx = await self._house.context(
            tx, moment, Phase.UPDATE, self._interaction, token, self._meta, tokens_age=tokens_age
        )
        self._ctx, self._row = ctx, row
        try:
            return await self._handled(moment, registered, dialog, ctx)
        finally:
            ctx.said.is_over = True

    # -- What stands there --------------------------------------------------------------------------------------------

    async def _found(self, tx: Attempt) -> Record:
        """Return the dialog; the commit will hold only if it, and the right to change it, are still the same."""
        seat, dialog = self._seat, self._address.dialog
        delivery = self._delivery
        if seat is not None:
            tx.guard(seat.held)
            if tx.number == 1:
                tx.assume({dialog: seat.dialog}, seat.now)
                return seat.dialog
            await tx.fetch((dialog, self._address.lease, *(() if delivery is None else (delivery,))))
            if await self._house.seats.has_lost(seat, tx):
                raise _LostError
            if delivery is not None and await tx.get(delivery) is not None:
                raise RepeatedError  # beside us, where a dialog handles what comes at once
        elif delivery is not None:
            await tx.fetch((dialog, delivery))
            if await tx.get(delivery) is not None:
                raise RepeatedError
        record = await tx.get(dialog)
        if record is None or record.rank is None:
            raise ShutError(record, await tx.now())
        return record

    def _whole(self, row: Row) -> Token | None:
        """Return the token with its arguments; None where it is of an older view, or they were forgotten."""
        token = self._token
        if token is None:
            return None
        registered = self._house.registry.named(row.type)
        if token.revision is not None and token.revision < row.renders and registered and registered.stale != "accept":
            return None
        if token.spill is None:
            return token
        args = row.spill.get(token.spill)
        return None if args is None else msgspec.structs.replace(token, args=args, spill=None)

    # -- What becomes of it -------------------------------------------------------------------------------------------

    def _unchanged(self, tx: Attempt, outcome: Handled, **more: Any) -> Done:
        self._leave(tx, goes_on=True)
        return Done(outcome=outcome, tx=tx, **more)

    def _abandoned(self, tx: Attempt) -> Done:
        """Remove a dialog whose start has come to nothing: whoever started it is gone, or its lease would stand."""
        tx.delete(self._address.dialog)
        self._leave(tx, goes_on=False)
        return Done(outcome="missing", tx=tx, cause=Cause.UNKNOWN, events=(EventName.START_FAILED,))

    async def _expired(self, tx: Attempt, moment: Moment, registered: Registered[Any], dialog: Dialog[Any]) -> Done:
        ctx = await self._house.context(tx, moment, Phase.END, None, None, self._meta, tokens_age=False)
        self._ctx, self._row = ctx, moment.row
        try:
            ending = await close(
                self._house,
                tx,
                moment,
                EXPIRY,
                dialog=dialog,
                registered=registered,
                ctx=ctx,
                hook_failed=self._hook_failed,
            )
        finally:
            ctx.said.is_over = True
        self._leave(tx, goes_on=False)
        return self._ended(tx, ctx, ending, "missing", (EventName.ENDED, EventName.EXPIRED))

    def _ended(self, tx: Attempt, ctx: Context, ending: Ending, outcome: Handled, events: Sequence[EventName]) -> Done:
        return Done(
            outcome=outcome,
            tx=tx,
            row=ending.row,
            cause=Cause.EXPIRED if outcome == "missing" else None,
            ended=ending.ended,
            failed_at=None if ending.error is None else self._house.errors.end,
            error=ending.error,
            ctx=ctx,
            following=ending.following,
            events=events,
        )

    def _stale(self, tx: Attempt, row: Row, registered: Registered[Any]) -> Done:
        shown = row.view if registered.stale == "render" else None
        effects = () if shown is None else (Edit(row.origin or self._interaction.place, shown),)
        following = self._house.performer.effects(self._address, row, effects)
        tx.write(*(one.put for one in following))
        return self._unchanged(tx, "stale", following=following, row=row)

    def _failed(self, ctx: Context, error: Exception) -> Done:
        return Done(
            outcome="failed",
            tx=ctx.tx,
            row=self._row,
            failed_at=self._house.errors.update,
            error=error,
            ctx=ctx,
            events=(EventName.UPDATE_FAILED,),
        )

    def _denied(self, ctx: Context, mark: Mark, promised: int, error: Exception | None) -> Done:
        """Return that it was not let through: what filters and middleware wrote is forgotten too."""
        done = Done(
            tx=ctx.tx,
            outcome="denied",
            row=self._row,
            error=error,
            failed_at=None if error is None else self._house.errors.update,
            ctx=ctx,
            events=(EventName.DENIED,),
        )
        if ctx.tx.promised > promised:
            raise _FailedError(done)
        ctx.tx.undo(mark)
        self._leave(ctx.tx, goes_on=True)
        return done

    async def _handled(self, moment: Moment, registered: Registered[Any], dialog: Dialog[Any], ctx: Context) -> Done:
        """Ask middleware and filter, call the handler, and write what it has changed.

        What fails in the handler, or in that, leaves nothing behind.
        """
        is_let_through, mark, promised = False, ctx.tx.mark(), ctx.tx.promised
        middleware = self._house.middleware[Phase.UPDATE]
        try:
            async with self._house.limited(dialog.handler_limit):
                if not await within(self._house.store, ctx, middleware.judge(ctx, dialog.update_filter)):
                    return self._denied(ctx, mark, promised, None)
                is_let_through = True
                answer: object = await within(self._house.store, ctx, dialog.dispatch(ctx))
            outcome = _outcome(ctx, answer)
            if isinstance(outcome, End):
                ending = await close(
                    self._house,
                    ctx.tx,
                    moment,
                    outcome,
                    dialog=dialog,
                    registered=registered,
                    ctx=ctx,
                    hook_failed=self._hook_failed,
                )
                done = self._ended(ctx.tx, ctx, ending, "ended", (EventName.ENDED,))
            else:
                done = await self._went_on(moment, registered, dialog, ctx, outcome)
        except (HookFailedError, _LostError, _FailedError):
            raise
        except (Exception, asyncio.CancelledError) as failed:  # whatever the application raises
            if is_cancelled(failed):
                raise
            error = as_error(failed)
            if not is_let_through:
                return self._denied(ctx, mark, promised, error)
            raise _FailedError(self._failed(ctx, error)) from failed
        if self._delivery is not None:
            ctx.tx.put(self._delivery, b"", ttl=limits.DIALOG_DELIVERY_KEEP)
        self._leave(ctx.tx, goes_on=done.outcome != "ended")
        return done

    async def _went_on(
        self, moment: Moment, registered: Registered[Any], dialog: Dialog[Any], ctx: Context, outcome: Keep
    ) -> Done:
        house, tx = self._house, ctx.tx
        row, rank = lived_on(registered, dialog, ctx, moment, refreshed=outcome is REFRESH)
        value = stored.encode(row)
        tx.put(self._address.dialog, value, rank=rank)
        later = focused(house, tx, self._address, moment.row, row)
        following = house.performer.effects(self._address, row, ctx.said.effects)
        tx.write(*(one.put for one in following))
        return Done(
            outcome="refreshed" if outcome is REFRESH else "kept",
            tx=tx,
            row=row,
            value=value,
            rank=rank,
            ctx=ctx,
            following=following,
            events=(EventName.UPDATED,),
            later=later,
        )

    def _leave(self, tx: Attempt, *, goes_on: bool) -> None:
        if self._seat is not None:
            tx.write(*self._house.seats.leaving(self._seat, goes_on=goes_on))


def lived_on(
    registered: Registered[Any], dialog: Dialog[Any], ctx: Context, moment: Moment, *, refreshed: bool
) -> tuple[Row, Number]:
    """Return the row of a dialog that goes on after its handler, and its deadline.

    Raises:
        InvalidError: what it holds cannot be stored, or its time to live is none. LimitError: beyond a limit.
    """
    row = registered.kept(dialog, moment.row)
    ttl, given = row.ttl, row.ttl_given
    if "ttl" in vars(dialog) or not given:
        life = checked_life(dialog)
        ttl = None if life is None else life // _MILLISECOND
        given = given or "ttl" in vars(dialog)
    focus = row.focus
    if ctx.said.focus is not None and ctx.interaction is not None:
        who = ctx.interaction.known_at
        others = tuple(one for one in focus if one != who)
        focus = (*others, who) if ctx.said.focus else others
    row = msgspec.structs.replace(
        row,
        ttl=ttl,
        ttl_given=given,
        origin=ctx.origin,
        view=ctx.view,
        renders=row.renders + 1 if ctx.said.is_shown else row.renders,
        spill=ctx.said.spills.all(),
        focus=focus,
    )
    if not refreshed:
        return row, moment.deadline
    return row, limits.RANK_MAX if ttl is None else Now(ttl)


def focused(house: House, tx: Attempt, address: Address, before: Row, row: Row) -> Sequence[Put]:
    """Note with the commit whose messages the dialog takes now; return what an engine cannot do at once.

    Who is no longer to be heard is left to find out: the dialog says whom it hears.
    """
    puts = [
        Put(layout.focus(who), address.dialog_id.encode(), ttl=limits.DIALOG_TTL_MAX)
        for who in row.focus
        if who not in before.focus
    ]
    if not house.store.describe().cross_partition:
        return puts
    tx.write(*puts)
    return ()


def _after(done: Done, before: Record, outcome: Committed) -> Record | None:
    """Return the dialog as it stands after the commit, None where it is over."""
    if done.ended is not None or done.cause is Cause.UNKNOWN:
        return None
    if done.value is None or done.rank is None or outcome.revision is None:
        return before
    return Record(before.key, done.value, outcome.revision, rank=instant(done.rank, outcome.now))


def _outcome(ctx: Context, answer: object) -> Keep | End:
    """Return what a handler's answer means: the first end that it made counts, returned or not."""
    if ctx.said.ending is not None:
        return ctx.said.ending
    if isinstance(answer, End):
        return answer
    if answer is None or answer is False or answer is KEEP:
        return KEEP
    if answer is True or answer is REFRESH:
        return REFRESH
    raise InvalidError("answer", "a handler returns KEEP, REFRESH, True, False, nothing, or what `ctx.end` gave")
