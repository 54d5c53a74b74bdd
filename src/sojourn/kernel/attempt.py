"""One attempt of `Store.run`: reads become guards, writes are gathered, and all of it becomes one transaction.

    async def move(tx: Attempt) -> None:
        giver = await tx.get(a)
        ...
        tx.put(a, ...)
        tx.put(b, ...)

    await store.run(move)

An attempt shows its own writes to its own reads. Such a record has the revision `PENDING`, since its revision is
known only after the commit.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from sojourn import limits
from sojourn.errors import CommitUnknownError, InvalidError, LimitError
from sojourn.kernel.keys import Key, Number, Span, following
from sojourn.kernel.transaction import (
    Absent,
    Append,
    Committed,
    Create,
    Delete,
    DeleteSpan,
    Ensure,
    Guard,
    Put,
    Reads,
    Record,
    RevisionIs,
    Snapshot,
    SpanIs,
    Touch,
    Transaction,
    TransactionId,
    Ttl,
    Write,
    applied,
)

__all__ = ["Attempt", "Mark", "PENDING"]

PENDING: Final = 0
"""The revision of a record that this attempt has written and nothing has committed yet."""

_KeyWrite = Put | Create | Ensure | Touch | Delete


class Mark(NamedTuple):
    """The writes of an attempt at one point of it."""

    writes: dict[Key, _KeyWrite]
    appends: int
    deleted_spans: int


class Attempt:
    """What the function given to `Store.run` works with. It is spent when that function returns.

    `is_waited_for` is set by who has taken something for it that others of this process wait for, and who may have the
    turn of a partition: then it waits for no such turn itself. `outcome` is how it was committed, once that is known:
    None for ever when it was not, or when that was heard of in another attempt only.
    """

    def __init__(
        self,
        number: int,
        read: Callable[[Reads], Awaitable[Snapshot]],
        enter: Callable[[str, bool], Awaitable[None]],
    ) -> None:
        self.number = number
        self._read = read
        self._enter = enter
        self._guards: dict[Guard, None] = {}
        self._seen: dict[Key, Record | None] = {}
        self._writes: dict[Key, _KeyWrite] = {}
        self._appends: list[Append] = []
        self._deleted_spans: list[DeleteSpan] = []
        self._own_guards = False
        self._snapshots = 0
        self._has_assumed = False
        self._now: int | None = None
        self._deferred: list[Callable[[], Iterable[Write]]] = []
        self.is_sent = False
        self.is_waited_for = False
        self.outcome: Committed | None = None
        self._is_settled = False
        self._settling: list[Callable[[Committed | CommitUnknownError | None], None]] = []

    async def now(self) -> int:
        """Return the engine's time in milliseconds as of this attempt's first read; always the same in one attempt.

        Raises:
            UnavailableError: the engine could not be reached.
        """
        if self._now is None:
            self._now = (await self._read(Reads())).now
        return self._now

    async def get(self, key: Key) -> Record | None:
        """Return the record at the key, or None; the commit will hold only if that is still so.

        Raises:
            UnavailableError: the engine could not be reached.
        """
        if key not in self._seen:
            await self.fetch((key,))
        if key in self._writes:
            await self.now()  # a written record is shown with the rank and the expiry it would have now
        return self._visible(key)

    async def fetch(self, keys: Iterable[Key]) -> None:
        """Read several keys in one trip, so that `get` answers them without another.

        Raises:
            UnavailableError: the engine could not be reached.
        """
        missing = tuple(key for key in keys if key not in self._seen and not self._is_replaced(key))
        if not missing:
            return
        for key in missing:
            await self._enter(key.partition, not self.is_waited_for)
        snapshot = await self._snapshot(Reads(keys=missing))
        for key, record in zip(missing, snapshot.records.keys, strict=True):
            self._note(key, record)

    def assume(self, records: Mapping[Key, Record | None], now: int) -> None:
        """Go by records as they were seen before this attempt, at `now`; the commit will hold only if it is still so.

        It saves the trip where they have just been read, or most likely stand as assumed. What was read here stays.
        """
        self._has_assumed = True
        if self._now is None:
            self._now = now
        for key, record in records.items():
            if key not in self._seen:
                self._note(key, record)

    async def scan(self, span: Span) -> tuple[Record, ...]:
        """Return up to `span.limit` records; the commit will hold only if exactly these still stand there.

        Guarded is the part of the span that the page shows: up to the last record when the page is full.

        Raises:
            UnavailableError: the engine could not be reached.
            LimitError: the page is larger than a guard may cover.
        """
        if span.limit > limits.SPAN_GUARD_RECORDS:
            raise LimitError("limit", limit=limits.SPAN_GUARD_RECORDS, found=span.limit, unit="records")
        await self._enter(span.partition, not self.is_waited_for)
        found: list[Record] = []
        rest = span
        while True:
            page, shown = await self._page(rest)
            found += page
            # Deleted by this attempt, records make room on the page for what stands behind them.
            if shown is rest or len(found) >= span.limit:
                return tuple(found[: span.limit])
            rest = _behind(rest, shown)

    async def _page(self, span: Span) -> tuple[list[Record], Span]:
        """Read one page, guard the part of the span that it shows, and return it with this attempt's own writes."""
        snapshot = await self._snapshot(Reads(spans=(span,)))
        (page,) = snapshot.records.spans
        shown = _shown_part(span, page)
        newest = max((record.revision for record in page), default=0)
        self._add((SpanIs(shown, len(page), newest),))
        for record in page:
            self._seen.setdefault(record.key, record)
        merged = {record.key: record for record in page if not self._is_deleted(record.key)}
        for key in self._writes:
            if key in shown:
                self._seen.setdefault(key, None)
                visible = self._visible(key)
                merged.pop(key, None)
                if visible is not None:
                    merged[key] = visible
        return sorted(merged.values(), key=lambda record: record.key, reverse=span.reverse), shown

    def guard(self, *guards: Guard) -> None:
        """Add conditions of the commit."""
        self._own_guards = True
        self._add(guards)

    def put(self, key: Key, value: bytes, *, rank: Number | None = None, ttl: Ttl | None = None) -> None:
        """Write the record whole at the commit."""
        self.write(Put(key, value, rank, ttl))

    def touch(self, key: Key, *, rank: Number | UnsetType | None = UNSET, ttl: Ttl | UnsetType | None = UNSET) -> None:
        """Change rank or expiry at the commit; what is omitted stays."""
        self.write(Touch(key, rank, ttl))

    def delete(self, key: Key) -> None:
        """Remove the record at the commit."""
        self.write(Delete(key))

    def write(self, *writes: Write) -> None:
        """Add writes to the commit. A later write of the same key takes the place of, or completes, the earlier.

        Raises:
            InvalidError: the two cannot be made one without knowing what stands there; read the key first.
        """
        for write in writes:
            if isinstance(write, Append):
                self._appends.append(write)
            elif isinstance(write, DeleteSpan):
                self._deleted_spans.append(write)
                for key in [key for key in self._writes if key in write.span]:
                    self._writes[key] = Delete(key)
            else:
                first = self._writes.get(write.key)
                self._writes[write.key] = write if first is None else self._merged(first, write)

    def defer(self, make: Callable[[], Iterable[Write]]) -> None:
        """Add the writes that `make` gives when the work is done: for what may change again before the commit.

        They are not shown to this attempt's reads. `undo` does not take them back.

        Raises:
            InvalidError: the attempt is over.
        """
        self.check_lasting()
        self._deferred.append(make)

    def when_settled(self, tell: Callable[[Committed | CommitUnknownError | None], None]) -> None:
        """Have `tell` called once it is known what became of this attempt, before the caller of `run` is told.

        It gets the outcome when the attempt was committed, None when nothing of it was written, and the error when its
        answer was lost. For what lives in memory beside the records; it cannot wait, and must not raise. A commit of
        which somebody wants to be told is finished also when the caller of `run` is cancelled.

        Raises:
            InvalidError: the attempt is over.
        """
        self.check_lasting()
        self._settling.append(tell)

    def settle(self, became: Committed | CommitUnknownError | None) -> None:
        """Tell what became of this attempt, once; `Store.run` calls it."""
        self._is_settled = True
        settling, self._settling = self._settling, []
        for tell in settling:
            tell(became)

    @property
    def is_settled(self) -> bool:
        """Say whether it is over."""
        return self._is_settled

    @property
    def is_awaited(self) -> bool:
        """Say whether somebody wants to be told what becomes of it."""
        return bool(self._settling)

    @property
    def promised(self) -> int:
        """How many want to be told what becomes of it, or add writes at its end: `undo` does not take that back."""
        return len(self._settling) + len(self._deferred)

    def mark(self) -> Mark:
        """Return a mark of the writes so far, for `undo`."""
        return Mark(dict(self._writes), len(self._appends), len(self._deleted_spans))

    def undo(self, mark: Mark) -> None:
        """Take back the writes since the mark. What was read since stays a guard: it was decided upon."""
        self._writes = dict(mark.writes)
        del self._appends[mark.appends :]
        del self._deleted_spans[mark.deleted_spans :]

    def transaction(self, transaction_id: TransactionId | None) -> Transaction:
        """Return all of it as a value. Without a write, or an append, doing it twice is harmless: no id then."""
        if self._deferred:
            deferred, self._deferred = self._deferred, []
            for make in deferred:
                self.write(*make())
        writes = (*self._deleted_spans, *self._writes.values(), *self._appends)
        return Transaction(
            id=transaction_id if writes else None,
            guards=tuple(self._guards),
            writes=writes,
            attempt=self.number,
        )

    def writes(self, key: Key) -> bool:
        """Say whether this attempt writes the key itself; that guards nothing."""
        return key in self._writes

    @property
    def has_writes(self) -> bool:
        """Say whether anything would be written."""
        return bool(self._writes or self._appends or self._deleted_spans or self._deferred)

    @property
    def is_proved(self) -> bool:
        """Say whether it holds as it stands: nothing to write, and all that was read is of one instant."""
        return not self.has_writes and not self.is_torn and not self._own_guards

    @property
    def is_torn(self) -> bool:
        """Say whether what was seen may be of different instants, so that only a commit could prove it sound."""
        return self._snapshots > 1 or self._has_assumed

    def check_lasting(self) -> None:
        """Refuse to go on with an attempt that is over.

        Raises:
            InvalidError: the function given to `run` has returned, and left a task behind that goes on.
        """
        if self._is_settled:
            raise InvalidError("tx", "this attempt is over; use it within the function given to `run` only")

    def _note(self, key: Key, record: Record | None) -> None:
        self._seen[key] = record
        self._guards[Absent(key) if record is None else RevisionIs(key, record.revision)] = None

    def _add(self, guards: Iterable[Guard]) -> None:
        self._guards.update(dict.fromkeys(guards))

    async def _snapshot(self, reads: Reads) -> Snapshot:
        snapshot = await self._read(reads)
        self._snapshots += 1
        if self._now is None:
            self._now = snapshot.now
        return snapshot

    def _visible(self, key: Key) -> Record | None:
        if not self.has_writes:
            return self._seen.get(key)
        found = None if self._is_deleted(key) else self._seen.get(key)
        write = self._writes.get(key)
        return found if write is None else applied(write, found, self._now or 0, PENDING)

    def _is_replaced(self, key: Key) -> bool:
        return isinstance(self._writes.get(key), Put | Delete) or self._is_deleted(key)

    def _is_deleted(self, key: Key) -> bool:
        return any(key in deleted.span for deleted in self._deleted_spans)

    def _merged(self, first: _KeyWrite, then: _KeyWrite) -> _KeyWrite:
        match first, then:
            case _, Put() | Delete():
                return then
            case Put() | Create() | Ensure(), Create():
                return first
            case Put(), Ensure() | Touch():
                return msgspec.structs.replace(
                    first,
                    rank=first.rank if then.rank is UNSET else then.rank,
                    ttl=first.ttl if then.ttl is UNSET else then.ttl,
                )
            case Delete(), Create():
                return Put(then.key, then.value, then.rank, then.ttl)
            case Delete(), Ensure():
                return Put(
                    then.key,
                    then.value,
                    None if then.rank is UNSET else then.rank,
                    None if then.ttl is UNSET else then.ttl,
                )
            case Delete(), Touch():
                return first
            case Touch(), Touch():
                return Touch(
                    then.key,
                    first.rank if then.rank is UNSET else then.rank,
                    first.ttl if then.ttl is UNSET else then.ttl,
                )
            case _ if first == then:
                return first
            case _:
                kinds = f"{type(first).__name__} and {type(then).__name__}"
                raise InvalidError("writes", f"{'/'.join(then.key)}: {kinds} of one key cannot be made one write")


def _shown_part(span: Span, page: tuple[Record, ...]) -> Span:
    """Return the part of the span that a page stands for: all of it, or up to the last record of a full page."""
    if len(page) < span.limit:
        return span
    last = page[-1].key.item
    if span.reverse:
        return msgspec.structs.replace(span, start=last)
    return msgspec.structs.replace(span, stop=following(last))


def _behind(span: Span, shown: Span) -> Span:
    """Return the part of the span that lies behind the part shown, in the direction of reading."""
    if span.reverse:
        return msgspec.structs.replace(span, stop=shown.start)
    return msgspec.structs.replace(span, start=shown.stop or "")
