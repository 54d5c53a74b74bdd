"""One visitor: its signs of life, the visit it is in, and the visits before.

A sign of life is blind: one commit ensures three records and reads two of them back. Only if these say that a new visit
has begun does a second commit note it. Whoever dies between the two leaves nothing broken: the next sign of life finds
the same, and notes it.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Final

import msgspec

from sojourn.errors import CommitUnknownError, ConflictError, UnavailableError, VisitorUnknownError
from sojourn.kernel import (
    PENDING,
    Attempt,
    Conflict,
    Delete,
    Ensure,
    Present,
    Reads,
    Record,
    Store,
    Transaction,
    Write,
    ids,
)
from sojourn.kernel.codec import codec
from sojourn.kernel.listing import Listing, span_listing
from sojourn.visits import layout
from sojourn.visits.model import Terms, Visit, Visitor, moment

__all__ = ["Visitors", "visit_from", "visitor_from"]

_log = logging.getLogger(__name__)

_MILLISECOND: Final = timedelta(milliseconds=1)


class _Logged(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the log keeps of one visit; its index is the item."""

    started_at: int
    engaged: int = 0


class Known(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a visitor's record says, in engine time: since when it is known, and the visit it is in.

    `index` is 0 until the first visit has been noted, which also gives the exact times. `began` is the revision of the
    idle mark that the visit belongs to; `PENDING` stands for the record's own, as one commit wrote both.
    """

    created_at: int = 0
    index: int = 0
    started_at: int = 0
    engaged: int = 0
    began: int = PENDING

    @classmethod
    def of(cls, record: Record) -> Known:
        """Return what the record says."""
        known = _KNOWN.decode(record.value)
        return known if known.began != PENDING else msgspec.structs.replace(known, began=record.revision)

    def at(self, now: int, idle: Record, longest: timedelta) -> Known:
        """Return this if the visit still goes on; else the same visitor in the visit that begins now."""
        if self.index and self.began == idle.revision and (now - self.started_at) * _MILLISECOND < longest:
            return self
        created_at = self.created_at if self.index else now
        return Known(created_at, self.index + 1, now, began=idle.revision)

    def engaging(self, reported: int, now: int) -> Known:
        """Return this with more engaged time, of which there is never more than has passed since the visit began."""
        engaged = min(self.engaged + reported, max(now - self.started_at, 0))
        return msgspec.structs.replace(self, engaged=engaged)

    def shown(self, anonymous_id: str, last_active: int) -> Visitor:
        """Return the visitor; one whose first visit has not been noted yet as it is at its last activity."""
        created_at, started_at = (self.created_at, self.started_at) if self.index else (last_active, last_active)
        return Visitor(
            anonymous_id,
            created_at=moment(min(created_at, last_active)),
            last_active=moment(last_active),
            visit=_visit(max(self.index, 1), started_at, self.engaged),
        )


_KNOWN: Final = codec(Known)
_LOGGED: Final = codec(_Logged)
_UNNOTED: Final = _KNOWN.encode(Known())


def visitor_from(record: Record, now: int) -> Visitor:
    """Return the visitor that a record of the space `visit` says, read at `now`.

    Raises:
        CorruptError: the record cannot be understood.
    """
    return Known.of(record).shown(record.key.partition, min(record.rank or 0, now))


def visit_from(record: Record) -> Visit:
    """Return the visit that a record of the space `visit.log` says.

    Raises:
        CorruptError: the record cannot be understood.
    """
    logged = _LOGGED.decode(record.value)
    return _visit(int(record.key.item, 16), logged.started_at, logged.engaged)


def _visit(index: int, started_at: int, engaged: int) -> Visit:
    return Visit(index, moment(started_at), index - 1 or None, engaged * _MILLISECOND)


class Visitors:
    """The visitors of one store, one by one."""

    def __init__(self, store: Store, terms: Terms) -> None:
        self._store = store
        self._terms = terms

    async def beat(
        self, visitor_id: str, *, known: bool = False, beside: tuple[Write, ...] = (), tx: Attempt | None = None
    ) -> Visitor:
        """Note a sign of life, and what else is to be written `beside` it, in one commit; return the visitor.

        With `known` only of a visitor that is known. A second commit notes a visit that begins; when that fails, the
        next sign of life makes up for it.

        Raises:
            VisitorUnknownError: there is no such visitor, and it was to be known; nothing was written.
            UnavailableError: the store could not be reached; nothing was written.
            CommitUnknownError: the answer was lost; perhaps written.
        """
        if tx is not None:
            current = await self.beat_within(tx, visitor_id, known=known)
            tx.write(*beside)
            return current.shown(visitor_id, await tx.now())
        outcome = await self._store.submit(
            Transaction(
                id=ids.new() if beside else None,
                guards=(Present(layout.visitor(visitor_id)),) if known else (),
                writes=(*self._signs(visitor_id), *beside),
                reads=Reads((layout.visitor(visitor_id), layout.idle(visitor_id))),
            )
        )
        if isinstance(outcome, Conflict):
            raise _unknown()
        record, idle = outcome.records.keys
        current = Known()
        if record is not None and idle is not None:  # missing only after a repeat, when somebody has erased them since
            current = Known.of(record)
            due = current.at(outcome.now, idle, self._terms.longest)
            if due is not current:
                current = await self._begin(visitor_id, record, idle, outcome.now) or due
        return current.shown(visitor_id, outcome.now)

    async def beat_within(self, tx: Attempt, visitor_id: str, *, known: bool) -> Known:
        """Note a sign of life in an attempt, and the visit that begins with it; return what is known then.

        Raises:
            VisitorUnknownError: there is no such visitor, and it was to be known.
            UnavailableError: the store could not be reached.
        """
        await tx.fetch((layout.visitor(visitor_id), layout.idle(visitor_id)))
        if known and await tx.get(layout.visitor(visitor_id)) is None:
            raise _unknown()
        tx.write(*self._signs(visitor_id))
        current = await self._noted(tx, visitor_id)
        assert current is not None
        return current

    def note(self, tx: Attempt, visitor_id: str, known: Known) -> None:
        """Write what is known of a visitor, and of its visit in the log, in an attempt that read both."""
        tx.put(layout.visitor(visitor_id), _KNOWN.encode(known), rank=self._terms.after(timedelta(0)))
        logged = _Logged(known.started_at, known.engaged)
        tx.put(layout.log(visitor_id, known.index), _LOGGED.encode(logged), ttl=self._terms.retention)

    async def leave(self, visitor_id: str, *, tx: Attempt | None = None) -> None:
        """Note that the visitor has gone.

        Raises:
            UnavailableError: the store could not be reached; nothing was written.
            CommitUnknownError: the answer was lost; perhaps written.
        """
        gone = Delete(layout.active(visitor_id))
        if tx is not None:
            tx.write(gone)
        else:
            await self._store.commit(Transaction(writes=(gone,)))

    async def get(self, visitor_id: str) -> Visitor | None:
        """Return what is known of a visitor, or None.

        Raises:
            UnavailableError: the store could not be reached.
        """
        snapshot = await self._store.read(Reads((layout.visitor(visitor_id),)))
        (record,) = snapshot.records.keys
        return None if record is None else visitor_from(record, snapshot.now)

    def history(self, visitor_id: str, limit: int, after: str | None) -> Listing[Visit]:
        """List the visits of a visitor, the latest first.

        Raises:
            InvalidError: the limit is below 1, or the cursor is none of this listing.
            LimitError: the limit is above `limits.PAGE_MAX`.
        """
        span = msgspec.structs.replace(layout.log_span(visitor_id), limit=limit, reverse=True)
        return span_listing(self._store, span, visit_from, after)

    def _signs(self, visitor_id: str) -> tuple[Write, ...]:
        """Return the writes of a sign of life; within one step they change nothing."""
        after = self._terms.after
        return (
            Ensure(layout.visitor(visitor_id), _UNNOTED, rank=after(timedelta(0))),
            Ensure(layout.active(visitor_id), b"", ttl=after(self._terms.active_for)),
            Ensure(layout.idle(visitor_id), b"", ttl=after(self._terms.idle)),
        )

    async def _begin(self, visitor_id: str, record: Record, idle: Record, now: int) -> Known | None:
        """Note the visit that began with a sign of life, and return what is noted, by this one or another; or None."""

        async def begin(tx: Attempt) -> Known | None:
            if tx.number == 1:
                tx.assume({record.key: record, idle.key: idle}, now)
            return await self._noted(tx, visitor_id)

        try:
            return await self._store.run(begin)
        except (CommitUnknownError, ConflictError, UnavailableError) as error:
            # The sign of life itself is stored; who gave it must not be told otherwise.
            _log.warning("a visit's beginning is left to the next sign of life to note: %s", error)
            return None

    async def _noted(self, tx: Attempt, visitor_id: str) -> Known | None:
        """Note the visit that is to begin, if one is, and return what is known then; None: somebody erased it."""
        await tx.fetch((layout.visitor(visitor_id), layout.idle(visitor_id)))
        record, idle = await tx.get(layout.visitor(visitor_id)), await tx.get(layout.idle(visitor_id))
        if record is None or idle is None:
            return None
        known = Known.of(record)
        current = known.at(await tx.now(), idle, self._terms.longest)
        if current is not known:
            self.note(tx, visitor_id, current)
        return current


def _unknown() -> VisitorUnknownError:
    return VisitorUnknownError("there is no such visitor")
