"""How a dialog starts: its record and its lease, then its first message, then the commit that makes it run.

It is *starting* in between, so that a click on a message that is out already finds it and waits. A process that dies
meanwhile leaves a record that ends by itself: whoever comes upon it removes it.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from functools import partial
from typing import Any, Final, Literal, TypeAlias, cast

import msgspec

from sojourn import limits
from sojourn.dialogs import stored
from sojourn.dialogs.context import Context
from sojourn.dialogs.dialog import Dialog
from sojourn.dialogs.dispatching import Early
from sojourn.dialogs.ending import HookFailedError, close
from sojourn.dialogs.events import EventName
from sojourn.dialogs.failures import as_error, is_cancelled
from sojourn.dialogs.following import Done, follow
from sojourn.dialogs.house import House, Moment
from sojourn.dialogs.middleware import Phase
from sojourn.dialogs.model import End, Place, State, checked_id, checked_ttl, mint
from sojourn.dialogs.performing import Completion
from sojourn.dialogs.platform import Interaction
from sojourn.dialogs.presence import within
from sojourn.dialogs.registry import Registered, checked_life
from sojourn.dialogs.seats import BusyError, Seat
from sojourn.dialogs.stepping import focused, lived_on
from sojourn.dialogs.stored import NOTHING, Row
from sojourn.errors import (
    CapabilityError,
    ClosedError,
    ConflictError,
    DialogExistsError,
    RefusedError,
    SojournError,
    UnavailableError,
)
from sojourn.kernel import Attempt, Delete, Now, Put, Transaction
from sojourn.kernel.attempt import Mark

__all__ = ["Outcome", "Starter"]

_log = logging.getLogger(__name__)

Outcome: TypeAlias = Literal["started", "denied", "failed"]
"""What became of a start. Of one that was denied or has failed nothing is kept."""

_MILLISECOND: Final = timedelta(milliseconds=1)
_GRACE: Final = Now(limits.DIALOG_LEASE // _MILLISECOND)


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be started, for whom, and with what."""

    interaction: Interaction
    data: object
    dialog_id: str | None
    ttl: timedelta | msgspec.UnsetType | None
    on_end: Completion | str | None
    meta: dict[str, Any]


class _FailedError(Exception):
    def __init__(self, done: Done) -> None:
        super().__init__()
        self.done = done


class Starter:
    """Starts the dialogs of one store."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def start(self, registered: Registered[Any], wish: Wish) -> tuple[str, Outcome]:
        """Start a dialog; see `Dialogs.start`."""
        early = Early(self._house, wish.interaction)
        try:
            return await self._start(registered, wish)
        finally:
            early.is_over()

    async def _start(self, registered: Registered[Any], wish: Wish) -> tuple[str, Outcome]:
        house = self._house
        dialog_id = mint() if wish.dialog_id is None else checked_id(wish.dialog_id)
        address = house.address(dialog_id)
        dialog = registered.begun(dialog_id, wish.data)
        row = self._first_row(registered, dialog, wish)
        await house.keyring.prepare(wish.interaction.platform)
        first = Put(address.dialog, stored.encode(row), rank=_GRACE)
        try:
            seat = await house.seats.begin(address, (first,), house.wait)
        except (ConflictError, BusyError) as error:
            raise DialogExistsError(
                f"a dialog {dialog_id} was started before; take another id, or none to have one made"
            ) from error
        done = await self._in(seat, _Beginning(house, seat, registered, wish, row))
        await follow(house, address, done, wish.interaction, wish.meta)
        await self._tell_person(done, wish.interaction)
        return dialog_id, cast("Outcome", done.outcome)

    def _first_row(self, registered: Registered[Any], dialog: Dialog[Any], wish: Wish) -> Row:
        """Return the row of a dialog that starts; what is out of form is refused here, before anything is stored."""
        interaction = wish.interaction
        is_given = wish.ttl is not msgspec.UNSET
        life = checked_ttl(wish.ttl) if is_given else checked_life(dialog)
        completion = None if wish.on_end is None else self._house.performer.name_of(wish.on_end)
        row = Row(
            type=registered.name,
            version=registered.version,
            state=State.STARTING,
            platform=interaction.platform.name,
            owner=msgspec.structs.replace(interaction.user, roles=frozenset()),
            created=0,
            ttl=None if life is None else life // _MILLISECOND,
            ttl_given=is_given,
            data=NOTHING,
            completion=completion,
        )
        return registered.kept(dialog, row)

    async def _in(self, seat: Seat, beginning: _Beginning) -> Done:
        seats = self._house.seats
        try:
            done = await beginning.run()
            if done.outcome == "failed":
                await beginning.undo()
        except BaseException:
            seats.give_up(seat)
            raise
        seats.leave(seat, None, seat.now)
        return done

    async def _tell_person(self, done: Done, interaction: Interaction) -> None:
        house, responder = self._house, interaction.responder
        text = None
        if done.outcome == "denied":
            text = house.words.denied
        elif done.outcome == "failed" and not done.is_dealt_with:
            text = house.words.failed
        answer = responder.ack if text is None else partial(responder.notify, text)
        await house.contained(answer, "answering who started a dialog")


class _Beginning:
    """One start, over all attempts at it."""

    def __init__(self, house: House, seat: Seat, registered: Registered[Any], wish: Wish, row: Row) -> None:
        self._house = house
        self._seat = seat
        self._registered = registered
        self._wish = wish
        self._row = row
        self._origin: Place | None = None
        self._hook_failed: Exception | None = None
        self._ctx: Context | None = None
        self._failed_before: Done | None = None

    async def run(self) -> Done:
        """Start it, in as many attempts as that takes."""
        while True:
            try:
                return await self._house.store.run(self._attempt)
            except _FailedError as failed:
                return failed.done
            except (ConflictError, UnavailableError):
                if self._failed_before is None:
                    raise
                return self._failed_before  # what failed first is what people have to know
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

    async def undo(self) -> None:
        """Remove what was stored of a start that has failed; where that fails too, it ends by itself."""
        address = self._seat.address
        writes = (Delete(address.dialog), *self._house.seats.leaving(self._seat, goes_on=False))
        try:
            await self._house.store.submit(Transaction(guards=(self._seat.held,), writes=writes))
        except SojournError as error:
            _log.warning("what was begun of dialog %s ends by itself: %s", address.dialog_id, error)

    async def _attempt(self, tx: Attempt) -> Done:
        house, seat, wish = self._house, self._seat, self._wish
        tx.guard(seat.held)
        if tx.number == 1:
            tx.assume({seat.address.dialog: seat.dialog}, seat.now)
        elif await tx.get(seat.address.dialog) is None or await house.seats.has_lost(seat, tx):
            raise UnavailableError("the start took longer than its lease; nothing of it is kept")
        now = await tx.now()
        row = msgspec.structs.replace(self._row, created=now, origin=self._origin)
        moment = Moment(seat.address, row, now, limits.RANK_MAX if row.ttl is None else now + row.ttl)
        # A copy of what was given, so that a second attempt finds it as the first one did.
        dialog = self._registered.revived(seat.address.dialog_id, row)
        ages = self._registered.stale != "accept"
        ctx = await house.context(tx, moment, Phase.START, wish.interaction, None, wish.meta, tokens_age=ages)
        self._ctx = ctx
        try:
            return await self._begun(ctx, dialog, moment)
        finally:
            self._origin = ctx.origin
            ctx.said.is_over = True

    def _failed(self, ctx: Context, error: Exception) -> Done:
        failed_at = self._house.errors.start
        return Done(
            tx=ctx.tx,
            outcome="failed",
            row=self._row,
            failed_at=failed_at,
            error=error,
            ctx=ctx,
            events=(EventName.START_FAILED,),
        )

    def _denied(self, ctx: Context, mark: Mark, row: Row, error: Exception | None) -> Done:
        ctx.tx.undo(mark)
        ctx.tx.delete(self._seat.address.dialog)
        ctx.tx.write(*self._house.seats.leaving(self._seat, goes_on=False))
        failed_at = None if error is None else self._house.errors.start
        return Done(
            tx=ctx.tx,
            outcome="denied",
            row=row,
            failed_at=failed_at,
            error=error,
            ctx=ctx,
            events=(EventName.DENIED,),
        )

    async def _begun(self, ctx: Context, dialog: Dialog[Any], moment: Moment) -> Done:
        """Ask middleware and filter, call the hook, and make the dialog run.

        What fails in the hook leaves nothing of the dialog behind.
        """
        is_let_through, mark = False, ctx.tx.mark()
        house, tx, address = self._house, ctx.tx, self._seat.address
        try:
            async with house.limited(dialog.handler_limit):
                if not await within(house.store, ctx, house.middleware[Phase.START].judge(ctx, dialog.start_filter)):
                    return self._denied(ctx, mark, moment.row, None)
                is_let_through = True
                answer: object = await within(house.store, ctx, dialog.start(ctx))
            end = ctx.said.ending or (answer if isinstance(answer, End) else None)
            if end is None:
                row, rank = lived_on(self._registered, dialog, ctx, moment, refreshed=True)
                row = msgspec.structs.replace(row, state=State.RUNNING)
                tx.put(address.dialog, stored.encode(row), rank=rank)
                later = focused(house, tx, address, moment.row, row)
                following = house.performer.effects(address, row, ctx.said.effects)
                tx.write(*(one.put for one in following))
                done = Done(
                    tx=tx,
                    outcome="started",
                    row=row,
                    following=following,
                    ctx=ctx,
                    events=(EventName.STARTED,),
                    later=later,
                )
            else:
                ending = await close(
                    house,
                    tx,
                    moment,
                    end,
                    dialog=dialog,
                    registered=self._registered,
                    ctx=ctx,
                    hook_failed=self._hook_failed,
                )
                done = Done(
                    tx=tx,
                    outcome="started",
                    row=ending.row,
                    following=ending.following,
                    ended=ending.ended,
                    failed_at=None if ending.error is None else house.errors.end,
                    error=ending.error,
                    ctx=ctx,
                    events=(EventName.STARTED, EventName.ENDED),
                )
        except HookFailedError:
            raise
        except (Exception, asyncio.CancelledError) as failed:  # whatever the application raises
            if is_cancelled(failed):
                raise
            error = as_error(failed)
            if not is_let_through:
                return self._denied(ctx, mark, moment.row, error)
            self._failed_before = self._failed(ctx, error)
            raise _FailedError(self._failed_before) from failed
        tx.write(*house.seats.leaving(self._seat, goes_on=False))
        return done
