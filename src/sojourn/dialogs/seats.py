"""One interaction of a dialog at a time: a turn in this process, and a lease between processes.

    seat = await seats.take(address, delivery, wait)            # one commit: the lease, and the dialog as it stands
    tx.write(*seats.leaving(seat))                              # in the commit of the step: the lease ends, or stands
    seats.leave(seat, dialog, now)                              # for whoever waits next in this process

A lease is never renewed: it lives longer than a handler may take. Whoever was paused past that is refused by the
data. While others of this process wait, the lease is handed from one to the next, some times in a row.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Sequence
from typing import Final, cast

from sojourn import limits
from sojourn.dialogs.layout import Address
from sojourn.errors import ConflictError, LeaseHeldError, SojournError
from sojourn.kernel import (
    Absent,
    Attempt,
    Guard,
    Key,
    Leases,
    RankAtMost,
    Reads,
    Record,
    RevisionIs,
    Store,
    Touch,
    Write,
)
from sojourn.kernel.keeper import request_key
from sojourn.kernel.lease import ending
from sojourn.kernel.turns import Turns
from sojourn.kernel.waiting import first_of, seen

__all__ = ["BusyError", "RepeatedError", "Seat", "Seats", "ShutError"]

_log = logging.getLogger(__name__)

_HEAD_START: Final = limits.DIALOG_HEAD_START.total_seconds()


class ShutError(Exception):
    """There is no open dialog at the address. `found` is how it ended, None where nothing is known."""

    def __init__(self, found: Record | None, now: int) -> None:
        super().__init__()
        self.found = found
        self.now = now


class RepeatedError(Exception):
    """This delivery was handled before."""


class BusyError(Exception):
    """Somebody else has the dialog, and goes on having it."""


class Seat:
    """The right to handle one interaction of a dialog, and the dialog as it stood then."""

    def __init__(self, address: Address, token: int, dialog: Record, now: int, since: float) -> None:
        self.address = address
        self.token = token
        self.dialog = dialog
        self.now = now
        self.since = since
        self.uses = 0
        self.is_kept = False
        self.is_asked_for = False

    @property
    def held(self) -> Guard:
        """The guard that holds while nobody has taken the lease since."""
        return RevisionIs(self.address.lease, self.token)


class Seats:
    """Grants the seats of one store to the interactions of this process."""

    def __init__(self, store: Store, leases: Leases) -> None:
        self._store = store
        self._leases = leases
        self._turns: Turns[str] = Turns()
        self._kept: dict[str, Seat] = {}
        self._waiting: dict[str, int] = {}
        self._beginning = set[str]()
        self._yielding = set[str]()
        self._holder: Final = f"{socket.gethostname()}:{os.getpid()}"

    async def begin(self, address: Address, writes: Sequence[Write], wait: float) -> Seat:
        """Take the seat of a dialog that is not there yet, with the first that is written of it.

        Raises:
            BusyError: another interaction with this id goes on.
            ConflictError: there is such a dialog, open or remembered; nothing was written.
            UnavailableError: the store could not be reached; nothing was written.
            CommitUnknownError: the answer was lost; if it was begun it ends by itself.
        """
        if address.dialog_id in self._beginning:
            raise BusyError
        self._beginning.add(address.dialog_id)
        try:
            await self._take_turn(address, self._store.clock.monotonic() + wait)
            try:
                return await self._acquired(address, (Absent(address.dialog),), writes, 0)
            except BaseException:
                self._pass_on(address)
                raise
        finally:
            self._beginning.discard(address.dialog_id)

    async def take(self, address: Address, delivery: Key | None, wait: float, *guards: Guard) -> Seat:
        """Wait for the seat of an open dialog, up to so many seconds, first come, first served within this process.

        Cancelled, whatever was granted meanwhile is given back.

        Raises:
            ShutError: there is no open dialog. RepeatedError: the delivery was handled before.
            BusyError: others have it all the time, or too many wait for it.
            ConflictError: one of `guards` failed; nothing was written.
            UnavailableError: the store could not be reached; nothing was written.
            CommitUnknownError: the answer was lost; if a lease was granted it ends by itself.
        """
        deadline = self._store.clock.monotonic() + wait
        await self._take_turn(address, deadline)
        try:
            kept = self._kept.pop(address.dialog_id, None)
            if kept is not None and await self._is_fit(kept, delivery):
                return kept
            if address.dialog_id in self._yielding:
                self._yielding.discard(address.dialog_id)
                await first_of(self._taken(address), self._store.clock.sleep(_HEAD_START))
            open_ones = (RankAtMost(address.dialog, limits.RANK_MAX),)
            unhandled = () if delivery is None else (Absent(delivery),)
            left = max(deadline - self._store.clock.monotonic(), 0)
            return await self._acquired(address, (*unhandled, *open_ones, *guards), (), left)
        except BaseException:
            self._pass_on(address)
            raise

    def leaving(self, seat: Seat, *, goes_on: bool) -> tuple[Write, ...]:
        """Return what the commit of the step says of the lease: it ends, or stands for whoever of us waits next."""
        seat.is_kept = goes_on and self._is_wanted(seat)
        return (Touch(seat.address.lease, ttl=limits.DIALOG_LEASE),) if seat.is_kept else ending(seat.address.lease)

    def leave(self, seat: Seat, dialog: Record | None, now: int) -> None:
        """Pass the turn on, after the commit: with the lease, and the dialog as it stands now, where that was said.

        Without a dialog nothing is known of it, or it is over: a lease that still stands is given back.
        """
        if seat.is_kept and dialog is not None:
            seat.dialog, seat.now, seat.since = dialog, now, self._store.clock.monotonic()
            seat.uses += 1
            self._kept[seat.address.dialog_id] = seat
        elif seat.is_kept:
            self._give_back_later(seat)
        self._pass_on(seat.address)

    async def leave_as_it_was(self, seat: Seat) -> None:
        """Pass the turn on when nothing was committed: with the lease, where somebody waits, or after its end.

        Cancelled, the lease is given back in the background.
        """
        if self._is_wanted(seat):
            seat.uses += 1
            self._kept[seat.address.dialog_id] = seat
        else:
            giving = self._store.spawn(self._give_back(seat.address, seat.token), finish=True)
            try:
                await asyncio.shield(giving)
            except asyncio.CancelledError:
                self._pass_on(seat.address)
                raise
        self._pass_on(seat.address)

    def give_up(self, seat: Seat) -> None:
        """Pass the turn on when it is not known whether the commit of the step has happened."""
        self._give_back_later(seat)
        self._pass_on(seat.address)

    async def _take_turn(self, address: Address, deadline: float) -> None:
        name = address.dialog_id
        if not self._turns.is_busy(name):
            await self._turns.take((name,))
            return
        if self._waiting.get(name, 0) >= limits.DIALOG_WAITERS:
            raise BusyError
        left = deadline - self._store.clock.monotonic()
        is_ours = False
        self._waiting[name] = self._waiting.get(name, 0) + 1
        try:
            is_ours = await self._turns.take_within((name,), self._store.clock.sleep(left))
        finally:
            self._waiting[name] -= 1
            if not self._waiting[name]:
                del self._waiting[name]
            if not is_ours:
                self._tidy(name)
        if not is_ours:
            raise BusyError

    async def _acquired(
        self, address: Address, guards: tuple[Guard, ...], writes: Sequence[Write], wait: float
    ) -> Seat:
        started = self._store.clock.monotonic()
        try:
            lease = await self._leases.acquire(
                address.lease,
                holder=self._holder,
                ttl=limits.DIALOG_LEASE,
                wait=wait,
                ask=wait > 0,
                renewed=False,
                guards=guards,
                writes=writes,
                reads=Reads((address.dialog,)),
            )
        except LeaseHeldError as error:
            raise BusyError from error
        except ConflictError as error:
            if isinstance(error.guard, RankAtMost) and error.guard.rank == limits.RANK_MAX:
                raise ShutError(cast("Record | None", error.found), error.now or 0) from error
            if isinstance(error.guard, Absent) and error.guard.key != address.dialog:
                raise RepeatedError from error
            raise
        (dialog,) = lease.granted.records.keys
        if dialog is None or dialog.rank is None:  # the grant's answer was lost, and it has ended before the repeat's
            await self._give_back(address, lease.token)
            raise ShutError(dialog, lease.granted.now)
        return Seat(address, lease.token, dialog, lease.granted.now, started)

    async def _taken(self, address: Address) -> None:
        """Wait until somebody has the lease: another process has asked for it, and has to hear that it is free."""
        async with self._store.watch(address.lease) as changes:
            while (await self._store.read(Reads((address.lease,)))).records.keys[0] is None:
                await anext(changes)

    async def has_lost(self, seat: Seat, tx: Attempt) -> bool:
        """Say whether the lease has ended, in an attempt after the first; the commit will hold only if that is so.

        Raises:
            UnavailableError: the store could not be reached.
        """
        lease = await tx.get(seat.address.lease)
        return lease is None or lease.revision != seat.token

    async def _is_fit(self, kept: Seat, delivery: Key | None) -> bool:
        """Say whether a kept seat can still be used: if its lease lives long enough, and the delivery is new."""
        age = self._store.clock.monotonic() - kept.since
        if age > (limits.DIALOG_LEASE - 2 * limits.DIALOG_HANDLER).total_seconds() / 2:
            self._give_back_later(kept)
            return False
        keys = (request_key(kept.address.lease), *(() if delivery is None else (delivery,)))
        try:
            snapshot = await self._store.read(Reads(keys))
        except BaseException:
            self._give_back_later(kept)
            raise
        request, *handled = snapshot.records.keys
        kept.is_asked_for = kept.is_asked_for or request is not None
        if any(record is not None for record in handled):
            self._kept[kept.address.dialog_id] = kept
            raise RepeatedError
        kept.now = snapshot.now
        return True

    def _is_wanted(self, seat: Seat) -> bool:
        """Say whether the next of this process has it; now and then other processes have, where they ask."""
        if seat.address.dialog_id not in self._waiting or seat.uses + 1 < limits.DIALOG_HANDOVERS:
            return seat.address.dialog_id in self._waiting
        if not seat.is_asked_for:
            return True
        self._yielding.add(seat.address.dialog_id)
        return False

    def _pass_on(self, address: Address) -> None:
        self._turns.give_back((address.dialog_id,))
        self._tidy(address.dialog_id)

    def _tidy(self, name: str) -> None:
        """Give back a lease that was kept for somebody who has left meanwhile."""
        if not self._turns.is_busy(name):
            kept = self._kept.pop(name, None)
            if kept is not None:
                self._give_back_later(kept)

    def _give_back_later(self, seat: Seat) -> None:
        giving = self._store.spawn(self._give_back(seat.address, seat.token), finish=True)
        giving.add_done_callback(seen)

    async def _give_back(self, address: Address, token: int) -> None:
        try:
            await self._leases.give_back(address.lease, token)
        except SojournError as error:
            _log.warning("the lease of dialog %s stands until it ends: %s", address.dialog_id, error)
