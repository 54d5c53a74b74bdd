"""Applying transactions: one batch within one transaction of SQLite.

The transactions are applied one by one to what the batch knows of the records. A row is read from the file when a
guard or a write first asks about it, without its value, which hardly any of them needs. What changes is written back
once, when the batch ends or something has to be looked up by more than a key: so ten writes of one record are one, and
the many small statements become a few long runs of the same one.

What a write means is not decided here but by `applied`, for every engine alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import msgspec

from sojourn import limits
from sojourn.engines.sqlite import changes
from sojourn.engines.sqlite.driver import Cursor, blobs, numbers
from sojourn.engines.sqlite.reader import read_records, span_bindings
from sojourn.engines.sqlite.statements import query
from sojourn.kernel.engine import Swept
from sojourn.kernel.keys import Key
from sojourn.kernel.transaction import (
    Absent,
    Append,
    Committed,
    Conflict,
    DeleteSpan,
    Guard,
    Outcome,
    Present,
    RankAtMost,
    Reads,
    Record,
    Records,
    RevisionIs,
    SpanIs,
    Transaction,
    TransactionId,
    Write,
    append_key,
    applied,
    expiry,
    instant,
)

__all__ = ["Batch"]

_ROW = query("row")
_VALUE = query("value")
_SPAN_ROWS = query("span rows")
_SPAN_FINGERPRINT = query("span fingerprint")
_WRITE_NEW = query("write new")
_WRITE_OVER = query("write over")
_TOUCH = query("touch")
_DELETE = query("delete")
_EXPIRED = query("expired")
_RECEIPTS = query("receipts")
_KEEP_RECEIPT = query("keep receipt")
_DROP_RECEIPTS = query("drop receipts")

_RECEIPT_KEEP_MS = limits.RECEIPT_KEEP // timedelta(milliseconds=1)

# Stands for a value that has not been read; told from every real one by identity.
_UNREAD = bytes(bytearray(b"unread"))

_NO_RECORDS = Records()


class _Known:
    """What the batch knows of one key: its row in the file, if any, and the record that is to stand there.

    A row that has expired is one without a record: nothing reads it, and a write may take its place.
    """

    __slots__ = ("number", "record")

    def __init__(self, number: int | None, record: Record | None) -> None:
        self.number = number
        self.record = record


class Batch:
    """One transaction of SQLite, from the moment its lock is held until just before it commits."""

    def __init__(self, cursor: Cursor, now: int) -> None:
        self._cursor = cursor
        self._execute = cursor.execute
        self._now = now
        self._position, self._revision = changes.head(self._execute)
        self._known: dict[Key, _Known] = {}
        self._unwritten: dict[Key, _Known] = {}
        self._receipts: dict[TransactionId, tuple[int | None, int]] = {}
        self._new_receipts: list[tuple[TransactionId, int | None, int, int]] = []
        self._changed: list[Key] = []

    def apply(self, transactions: Sequence[Transaction]) -> list[Outcome]:
        """Apply the transactions in order, each whole or not at all."""
        ids = tuple(transaction.id for transaction in transactions if transaction.id is not None)
        if ids:
            for transaction_id, revision, attempt in self._execute(_RECEIPTS, (blobs(ids),)):
                self._receipts[transaction_id] = (revision, attempt)
        return [self._apply(transaction) for transaction in transactions]

    def sweep(self, limit: int) -> Swept:
        """Remove up to `limit` expired records, as many rows of the log, and as many receipts."""
        due = self._execute(_EXPIRED, (self._now, limit)).fetchall()
        self._delete([number for number, *_ in due])
        self._changed += [Key(*key) for _, *key in due]
        log_rows = changes.trim(self._execute, self._now, limit)
        self._execute(_DROP_RECEIPTS, (self._now, limit))
        receipts = self._cursor.connection.changes()
        return Swept(len(due), log_rows, receipts, more=limit in {len(due), log_rows, receipts})

    def finish(self) -> bool:
        """Write what is not yet in the file; say whether there is anything to watch."""
        self._write_back()
        if self._new_receipts:
            self._cursor.executemany(_KEEP_RECEIPT, self._new_receipts)
        if self._changed:
            head = changes.Head(self._position + 1, self._revision)
            changes.append(self._execute, head, self._now, self._changed)
        return bool(self._changed)

    def _apply(self, transaction: Transaction) -> Outcome:
        now, transaction_id, attempt = self._now, transaction.id, transaction.attempt
        if transaction_id is not None and transaction_id in self._receipts:
            revision, first_attempt = self._receipts[transaction_id]
            return Committed(revision, now, self._read(transaction.reads), repeated=True, attempt=first_attempt)
        for guard in transaction.guards:
            if not self._holds(guard):
                return Conflict(guard, None if isinstance(guard, SpanIs) else self._found(guard.key), now)
        drawn, remaining = self._write(transaction.writes)
        if transaction_id is not None:
            self._receipts[transaction_id] = (drawn, attempt)
            self._new_receipts.append((transaction_id, drawn, attempt, now + _RECEIPT_KEEP_MS))
        return Committed(drawn, now, self._read(transaction.reads), remaining, attempt=attempt)

    # -- Guards

    def _holds(self, guard: Guard) -> bool:
        if isinstance(guard, SpanIs):
            return self._span_is(guard)
        found = self._look(guard.key).record
        match guard:
            case RevisionIs(revision=revision):
                return found is not None and found.revision == revision
            case Absent():
                return found is None
            case Present():
                return found is not None
            case RankAtMost(rank=rank):
                return found is not None and found.rank is not None and found.rank <= instant(rank, self._now)

    def _span_is(self, guard: SpanIs) -> bool:
        self._write_back()
        bindings = span_bindings(guard.span, self._now, guard.count + 1)
        return bool(self._execute(_SPAN_FINGERPRINT, bindings).get == (guard.count, guard.newest))

    def _found(self, key: Key) -> Record | None:
        known = self._look(key)
        if known.record is None or known.record.value is not _UNREAD:
            return known.record
        return msgspec.structs.replace(known.record, value=self._execute(_VALUE, (known.number,)).get)

    # -- Writes

    def _write(self, writes: Sequence[Write]) -> tuple[int | None, bool]:
        """Apply the writes; return the revision they drew, if any, and whether a span has more to delete."""
        revision = self._revision + 1
        drawn = remaining = False
        for write in writes:
            if isinstance(write, DeleteSpan):
                remaining |= self._delete_span(write)
        for place, write in enumerate(writes):
            if isinstance(write, DeleteSpan):
                continue
            after: Record | None
            if isinstance(write, Append):
                key = append_key(write, revision, place)
                known = self._known[key] = _Known(None, None)
                after = Record(key, write.value, revision, expires_at=expiry(write.ttl, self._now))
            else:
                key = write.key
                known = self._look(key)
                after = applied(write, known.record, self._now, revision)
                if after is known.record:
                    continue
            known.record = after
            self._unwritten[key] = known
            drawn = drawn or (after is not None and after.revision == revision)
        if not drawn:
            return None, remaining
        self._revision = revision
        return revision, remaining

    def _delete_span(self, write: DeleteSpan) -> bool:
        self._write_back()
        span = write.span
        rows = self._execute(_SPAN_ROWS, span_bindings(span, self._now, write.at_most + 1)).fetchall()
        for number, item in rows[: write.at_most]:
            key = Key(span.space, span.partition, item)
            self._known[key] = self._unwritten[key] = _Known(number, None)
        return len(rows) > write.at_most

    # -- Records

    def _look(self, key: Key) -> _Known:
        known = self._known.get(key)
        if known is None:
            row = self._execute(_ROW, key).get
            if row is None:
                known = _Known(None, None)
            else:
                number, revision, rank, expires_at = row
                lives = expires_at is None or expires_at > self._now
                known = _Known(number, Record(key, _UNREAD, revision, rank, expires_at) if lives else None)
            self._known[key] = known
        return known

    def _read(self, reads: Reads) -> Records:
        if not reads.keys and not reads.spans:
            return _NO_RECORDS
        self._write_back()
        return read_records(self._execute, reads, self._now)

    def _write_back(self) -> None:
        """Bring the file up to date, each key by one statement."""
        if not self._unwritten:
            return
        new: list[tuple[object, ...]] = []
        over: list[tuple[object, ...]] = []
        touched: list[tuple[object, ...]] = []
        gone: list[int] = []
        for key, known in self._unwritten.items():
            number, record = known.number, known.record
            if record is None or record.value is not _UNREAD:
                self._changed.append(key)
            if record is None:
                if number is not None:
                    gone.append(number)
                    known.number = None
            elif number is None:
                new.append((*key, record.revision, record.rank, record.expires_at, record.value))
                del self._known[key]  # its number is not known yet
            elif record.value is _UNREAD:
                touched.append((record.rank, record.expires_at, number))
            else:
                over.append((record.revision, record.rank, record.expires_at, record.value, number))
        self._unwritten.clear()
        self._delete(gone)
        for statement, rows in ((_WRITE_NEW, new), (_WRITE_OVER, over), (_TOUCH, touched)):
            if rows:
                self._cursor.executemany(statement, rows)

    def _delete(self, gone: list[int]) -> None:
        if gone:
            self._execute(_DELETE, (numbers(gone),))
