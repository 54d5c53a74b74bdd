"""A document as this process holds it: its value, what of it is stored, and the lease under which it may be written.

Each save is one commit that holds only if the lease is still ours and the stored document is still the one we know.
When the answer to a save is lost, the very same commit is sent again; if that fails too, the save stays in doubt, and
the next one finds out what became of it by what then stands in the store.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from enum import Enum
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Generic, TypeVar

import msgspec

from sojourn import limits
from sojourn.documents.callbacks import Herald
from sojourn.documents.gate import Gate
from sojourn.documents.kind import Kind
from sojourn.documents.layout import Place
from sojourn.documents.ledger import Ledger
from sojourn.documents.model import Cause, EndReason
from sojourn.documents.saving import Saving, pauses
from sojourn.errors import (
    ClosedError,
    CommitUnknownError,
    DocumentClosedError,
    LeaseLostError,
    SojournError,
    UnavailableError,
)
from sojourn.kernel import Committed, Conflict, Guard, Lease, Reads, Record, Transaction, ids
from sojourn.kernel.waiting import seen

if TYPE_CHECKING:
    from sojourn.documents.document import Document

__all__ = ["Holding"]

T = TypeVar("T")

_log = logging.getLogger(__name__)


class _State(Enum):
    OPEN = "open"
    UNLOADING = "unloading"
    CLOSED = "closed"
    LOST = "lost"


class Holding(Generic[T]):
    """One document, held by this process. `on_end` is called when it no longer is."""

    def __init__(self, kind: Kind[T], place: Place, lease: Lease, value: T, ledger: Ledger[T]) -> None:
        self.place = place
        self.lease = lease
        self.value = value
        self.ledger = ledger
        self.gate = Gate(place.key)
        self.herald = Herald(kind.store, kind.callbacks, place.key)
        self.unsaved: T | None = None
        self.is_unsaved_told = False
        self.is_autosaving = kind.terms.autosave is not None
        self.on_end: Callable[[Holding[T]], None] | None = None
        self._kind = kind
        self._state = _State.OPEN
        self._unloading: asyncio.Task[None] | None = None

    # -- What it is ---------------------------------------------------------------------------------------------------

    @property
    def key(self) -> str:
        """The document's key."""
        return self.place.key

    @property
    def handle(self) -> Document[T] | None:
        """What the application has of it; None when it is leased for one transaction only."""
        return self.herald.handle

    @property
    def is_saved(self) -> bool:
        """Say whether the store has all that the value is."""
        return self.ledger.is_saved

    @property
    def is_open(self) -> bool:
        """Say whether it may be changed, as far as this process knows."""
        return self._state is _State.OPEN

    @property
    def closed(self) -> bool:
        """Say whether it may not, or surely will not be able to."""
        return not (self.is_open and self.lease.is_held)

    @property
    def is_ended(self) -> bool:
        """Say whether this process no longer holds it."""
        return self._state in {_State.CLOSED, _State.LOST}

    def checked_open(self) -> Holding[T]:
        """Return itself, if it may be changed.

        Raises:
            LeaseLostError: the lease ended or was taken. DocumentClosedError: it was unloaded, or is being so.
            ClosedError: the store was closed.
        """
        if self._state is _State.OPEN and not self._kind.store.is_open:
            raise ClosedError(f"the store was closed under the document {self.key!r}; close the documents first")
        if self._state is _State.OPEN and self.lease.is_held:
            return self
        if self._state in {_State.OPEN, _State.LOST}:
            raise self.lost_error()
        raise DocumentClosedError(f"the document {self.key!r} was unloaded; load it again")

    def lost_error(self, conflict: Conflict | None = None) -> LeaseLostError:
        """Return the error that says so, with what was not saved."""
        unsaved = self._rest()
        if self._state is _State.LOST:
            unsaved, self.is_unsaved_told = self.unsaved, True
        return LeaseLostError(
            f"the lease of the document {self.key!r} ended or was taken; load it again",
            guard=self.lease.held if conflict is None else conflict.guard,
            found=None if conflict is None else conflict.found,
            now=None if conflict is None else conflict.now,
            unsaved=unsaved,
        )

    # -- Changing it --------------------------------------------------------------------------------------------------

    def adopt(self, new: T, cause: Cause) -> None:
        """Take a checked value as the present one, and tell whoever wants to know, unless it is the same."""
        old = self.value
        if new is old:
            return
        self.value = new
        self.ledger.changes += 1
        self.herald.changed(new, old, cause)

    def become(self, saving: Saving[T], outcome: Committed, cause: Cause) -> None:
        """Take over a value that a transaction has stored, and tell whoever wants to know."""
        old, self.value = self.value, saving.value
        self.ledger.changes += 1
        self._saved(msgspec.structs.replace(saving, changes=saving.changes + 1), outcome)  # and no change noted since
        if old is not self.value:
            self.herald.changed(self.value, old, cause)

    # -- Saving it ----------------------------------------------------------------------------------------------------

    @property
    def guards(self) -> tuple[Guard, ...]:
        """What must still be so for a save to hold: the lease is ours, and the stored document the one we know."""
        return self.lease.held, self.ledger.guard

    async def save(self) -> None:
        """Store the value, unless it is stored."""
        self.checked_open().gate.check_free()
        upto = self.ledger.changes
        if self.is_saved:
            return
        await self._kind.turns.take((self.key,))
        await self._finished(lambda: self._save(upto))

    async def autosave(self) -> None:
        """Store the value if it is to be stored now and then; what goes wrong is logged.

        A save or a transaction on its way is not waited for: it stores the value, or the next look does.
        """
        if self.is_open and self.is_autosaving and not self.is_saved and not self._is_busy:
            await self._try("saved", self.save)

    async def unload(self, reason: EndReason = EndReason.UNLOADED) -> None:
        """Store the value unless it is stored, and give the lease back."""
        self.gate.check_free()
        if self._unloading is None:
            if self.is_ended:
                if self.unsaved is not None:
                    raise self.lost_error()
                return
            if not self.is_saved:
                self.herald.before_save()
            self._state = _State.UNLOADING
            self._unloading = self._kind.store.spawn(self._unload(reason), finish=True)
            self._unloading.add_done_callback(seen)
        await asyncio.shield(self._unloading)

    async def ended(self) -> None:
        """Wait until an unload on its way has ended, one way or the other, or until the end of the lease is noted."""
        if self._unloading is not None:
            await asyncio.wait((self._unloading,))
        elif not self.lease.is_held:
            await self._lost()

    async def look(self) -> None:
        """Find out whether the lease was just taken, by this very process; else whoever watches it is told later.

        Raises:
            UnavailableError: the store could not be reached.
        """
        (record,) = (await self._kind.store.read(Reads((self.lease.key,)))).records.keys
        if record is None or record.revision != self.lease.token:
            await self._lost()

    async def _save(self, upto: int) -> None:
        if self.ledger.saved_changes >= upto:
            return  # by a save that was waited for
        if self._state is _State.LOST:
            raise self.lost_error()
        self.herald.before_save()
        await self._persist(self.ledger.saving(self.value, Cause.UPDATE), None)

    async def _unload(self, reason: EndReason) -> None:
        await self._kind.turns.take((self.key,))
        try:
            if not self.is_ended:
                self.lease.is_ending = True
                await self._persist(
                    None if self.is_saved else self.ledger.saving(self.value, Cause.UPDATE, releases=True),
                    limits.UNLOAD_PATIENCE.total_seconds(),
                )
                self._end(reason)
        except LeaseLostError:
            pass
        except BaseException:
            if not self.is_ended:
                self._state, self._unloading = _State.OPEN, None
                self.lease.keep_on()
            raise
        finally:
            self._kind.turns.give_back((self.key,))
        await self.lease.stop_keeping()
        if self.unsaved is not None:
            raise self.lost_error()

    async def _persist(self, saving: Saving[T] | None, patience: float | None) -> None:
        """Commit a save, or the release alone, until it is known to hold; give up after some attempts or seconds."""
        left, releases = self._pauses(patience), saving is None or saving.releases
        transaction = self._commit_of(saving)
        while True:
            try:
                outcome = await self._kind.store.submit(transaction)
            except (UnavailableError, CommitUnknownError) as error:
                await self._pause_after(error, saving, left)
                continue  # the very same transaction: if it was applied, the engine says so
            if isinstance(outcome, Committed):
                if saving is not None:
                    self._saved(saving, outcome)
                return
            if await self.explain(outcome) or (self.is_saved and not releases):
                return
            saving = None if self.is_saved else self.ledger.saving(self.value, Cause.UPDATE, releases=releases)
            transaction = self._commit_of(saving)

    async def _pause_after(
        self, error: UnavailableError | CommitUnknownError, saving: Saving[T] | None, left: Iterator[float]
    ) -> None:
        """Wait before the next attempt, or raise when there is none."""
        if saving is not None and isinstance(error, CommitUnknownError):
            self.ledger.doubt(saving)
        is_doubted = saving is not None and self.ledger.is_in_doubt(saving)
        pause = next(left, None)
        if not self.lease.is_held:
            self.lose()
            if not is_doubted:
                raise self.lost_error() from error
        elif pause is not None:
            await self._kind.store.clock.sleep(pause)
            return
        if is_doubted and not isinstance(error, CommitUnknownError):
            raise CommitUnknownError(f"the save of {self.key!r} was sent, and its answer lost") from error
        raise error

    def _pauses(self, patience: float | None) -> Iterator[float]:
        """Yield growing pauses: some of them, or as many as fit into so many seconds."""
        if patience is None:
            yield from islice(pauses(), limits.SAVE_ATTEMPTS - 1)
        else:
            clock = self._kind.store.clock
            until = clock.monotonic() + patience
            yield from takewhile(lambda _: clock.monotonic() < until, pauses())

    def _commit_of(self, saving: Saving[T] | None) -> Transaction:
        """Return the transaction of a save, or of the release alone."""
        if saving is None:
            return Transaction(ids.new(), guards=(self.lease.held,), writes=self.lease.ending)
        ending = self.lease.ending if saving.releases else ()
        return Transaction(ids.new(), guards=self.guards, writes=(*saving.writes, *ending))

    async def explain(self, conflict: Conflict) -> bool:
        """Find out what a conflict means: that an earlier save in doubt holds, or that the lease is lost.

        True says that the document was stored and given back by such a save; False that the next commit may be tried.

        Raises:
            LeaseLostError: it is lost, with all that was not stored.
        """
        is_gone = conflict.guard == self.lease.held
        found = conflict.found
        if is_gone and self.ledger.has_doubts:
            (found,) = (await self._kind.store.read(Reads((self.place.document,)))).records.keys
        doubt = self._recognised(found, conflict.now)
        if doubt is None or (is_gone and not doubt.releases):
            self.lose()
            raise self.lost_error(conflict)
        return is_gone

    async def find_out(self) -> None:
        """Find out what became of saves in doubt, and whether the lease is still held. Called with the document's turn.

        Raises:
            LeaseLostError: it is not.
            UnavailableError: the store could not be reached.
        """
        snapshot = await self._kind.store.read(Reads((self.lease.key, self.place.document)))
        lease, found = snapshot.records.keys
        self._recognised(found, snapshot.now)
        if lease is None or lease.revision != self.lease.token:
            self.lose()
            raise self.lost_error()

    def _recognised(self, found: Record | None, now: int) -> Saving[T] | None:
        """Return the save in doubt that turns out to hold by what stands in the store, if one does."""
        doubt = self.ledger.recognised(found)
        if doubt is not None and found is not None:
            self._saved(doubt, Committed(found.revision, now))
        return doubt

    def _saved(self, saving: Saving[T], outcome: Committed) -> None:
        assert outcome.revision is not None
        self.ledger.saved(saving, outcome.revision, outcome.now)
        self.herald.after_save()

    # -- Losing it and giving it back ---------------------------------------------------------------------------------

    def attend(self, handle: Document[T]) -> None:
        """Give it to the application; from now on, do what has to be done when something happens to the lease."""
        self.herald.handle = handle
        self.lease.tell = self._noticed
        if self.lease.lost.is_set() or self.lease.requested.is_set():
            self._noticed()

    def _noticed(self) -> None:
        """The lease was lost, or is asked for, or was not renewed when it should have been."""
        spawn = self._kind.store.spawn
        if self.lease.lost.is_set():
            _ = spawn(self._lost(), finish=True)
        elif self.lease.requested.is_set():
            self.lease.requested.clear()
            _ = spawn(self._hand_over())
        elif not self.is_saved and not self._is_busy:
            _ = spawn(self._try("saved", self.save))

    def lose(self) -> None:
        """Note that the lease is lost, and tell it once."""
        if not self.is_ended:
            self.unsaved = self._rest()
            self._state = _State.LOST
            _ = self._kind.store.spawn(self.lease.stop_keeping())
            self._ended(EndReason.LEASE_LOST)

    def give_up(self) -> None:
        """Give it up, because nobody can say what it is; whoever loads it anew will see.

        The lease is given back, which also keeps a commit of unknown outcome from arriving late.
        """
        self.lose()
        _ = self._kind.store.spawn(self._try("given back", self.lease.release), finish=True)

    def released(self) -> None:
        """Note that a transaction has given the lease back."""
        self._end(EndReason.UNLOADED)
        _ = self._kind.store.spawn(self.lease.stop_keeping())

    async def _lost(self) -> None:
        """Wait for a save on its way, which may still have held; then the lease is lost."""
        await self._kind.turns.take((self.key,))
        try:
            if not self.is_ended:
                self.lose()
        finally:
            self._kind.turns.give_back((self.key,))

    async def _hand_over(self) -> None:
        if not self.herald.asked_for():
            await self._try("handed over", lambda: self.unload(EndReason.HANDED_OVER))

    async def _try(self, done: str, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except SojournError as error:
            _log.warning("the document %s was not %s: %s", self.key, done, error)

    def _end(self, reason: EndReason) -> None:
        self._state = _State.CLOSED
        self._ended(reason)

    def _ended(self, reason: EndReason) -> None:
        if self.on_end is not None:
            self.on_end(self)
        if reason is EndReason.LEASE_LOST:
            self.is_unsaved_told = self.herald.lost(self.unsaved)
        self.herald.ended(reason)

    @property
    def _is_busy(self) -> bool:
        return self._kind.turns.is_busy(self.key)

    def _rest(self) -> T | None:
        return None if self.is_saved else self.value

    async def _finished(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do work that has the document's turn, and gives it back, as a task of the store: nobody cancels it."""

        async def finish() -> None:
            try:
                await work()
            finally:
                self._kind.turns.give_back((self.key,))

        task = self._kind.store.spawn(finish(), finish=True)
        task.add_done_callback(seen)
        await asyncio.shield(task)
