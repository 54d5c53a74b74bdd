"""Reading records: the queries behind `read` and `rank`, on a connection of any thread."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import apsw

from sojourn.engines.sqlite.changes import changes_since
from sojourn.engines.sqlite.driver import Execute, new_cursor
from sojourn.engines.sqlite.statements import query
from sojourn.kernel.clock import Clock
from sojourn.kernel.engine import Changes, Position, RankPage
from sojourn.kernel.keys import Cursor, Key, RankSpan, Span
from sojourn.kernel.transaction import Reads, Record, Records, Snapshot, instant

__all__ = ["Reader", "TooLongError", "read_key", "read_records", "span_bindings"]

MaybeRecord = TypeVar("MaybeRecord", bound=Record | None)

_BEGIN = query("begin reading")
_END = query("commit")
_RECORD = query("record")
_SPAN = query("span")
_SPAN_REVERSED = query("span reversed")
_RANKED = query("ranked")
_RANKED_REVERSED = query("ranked reversed")

# A blob sorts behind every text.
_BEHIND_ALL_TEXT = b""


class TooLongError(Exception):
    """There is more to read than the caller has time for."""


class Reader:
    """Answers reads from one connection, each from one snapshot. Used by one thread at a time.

    With `most_bytes` a read that meets more bytes of values than that is given up.
    """

    def __init__(
        self, connection: apsw.Connection, identity: str, clock: Clock, *, most_bytes: int | None = None
    ) -> None:
        self._connection = connection
        self._execute = new_cursor(connection).execute
        self._identity = identity
        self._clock = clock
        self._most_bytes = most_bytes

    def snapshot(self, reads: Reads) -> Snapshot:
        """Read keys and spans as of one instant.

        Raises:
            apsw.Error: the database cannot be read.
            TooLongError: there is more than `most_bytes` to read.
        """
        if len(reads.keys) <= 1 and not reads.spans:  # one row: its statement is a snapshot
            now = self._clock.now()
            return Snapshot(Records(tuple(read_key(self._execute, key, now) for key in reads.keys)), now)
        with self._one_snapshot():
            now = self._clock.now()
            return Snapshot(read_records(self._execute, reads, now, self._most_bytes), now)

    def page(self, span: RankSpan) -> RankPage:
        """Read one page of a space by rank.

        Raises:
            apsw.Error: the database cannot be read.
            TooLongError: there is more than `most_bytes` to read.
        """
        with self._one_snapshot():
            now = self._clock.now()
            records = tuple(_bounded(_ranked(self._execute, span, now), self._most_bytes))
        place = None
        if len(records) == span.limit:
            last = records[-1]
            assert last.rank is not None  # only ranked records are in the index
            place = Cursor(last.rank, last.key.partition, last.key.item)
        return RankPage(records, place, now)

    def changes(self, since: Position | None) -> Changes:
        """Return what changed since the position, and nothing with None or if the log does not reach back to it.

        Raises:
            apsw.Error: the database cannot be read.
        """
        with self._one_snapshot():
            return changes_since(self._execute, self._identity, since)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close(force=True)

    @contextmanager
    def _one_snapshot(self) -> Generator[None, None, None]:
        self._execute(_BEGIN)
        try:
            yield
        finally:
            if self._connection.in_transaction:  # some errors have ended it already
                self._execute(_END)  # this also ends a listing that was given up half-way


def read_records(execute: Execute, reads: Reads, now: int, most_bytes: int | None = None) -> Records:
    """Answer reads within a transaction that is already open, in the order asked."""
    return Records(
        tuple(_bounded((read_key(execute, key, now) for key in reads.keys), most_bytes)),
        tuple(tuple(_bounded(_span(execute, span, now), most_bytes)) for span in reads.spans),
    )


def read_key(execute: Execute, key: Key, now: int) -> Record | None:
    """Return the record at the key, unless it has expired."""
    row = execute(_RECORD, key).get
    if row is None:
        return None
    revision, rank, expires_at, value = row
    return None if expires_at is not None and expires_at <= now else Record(key, value, revision, rank, expires_at)


def span_bindings(span: Span, now: int, limit: int) -> tuple[object, ...]:
    """Return what the statements about spans are bound to."""
    stop = _BEHIND_ALL_TEXT if span.stop is None else span.stop
    return (span.space, span.partition, span.start, stop, now, limit)


def _span(execute: Execute, span: Span, now: int) -> Iterator[Record]:
    space, partition = span.space, span.partition
    rows = execute(_SPAN_REVERSED if span.reverse else _SPAN, span_bindings(span, now, span.limit))
    for item, revision, rank, expires_at, value in rows:
        yield Record(Key(space, partition, item), value, revision, rank, expires_at)


def _ranked(execute: Execute, span: RankSpan, now: int) -> Iterator[Record]:
    low, high, after = instant(span.low, now), instant(span.high, now), span.after
    # The end from which the listing starts is a place that it begins behind; where there is no cursor, or one from
    # outside the bounds, it is a place between the bound and its neighbour.
    if span.reverse:
        place: tuple[object, ...] = after if after is not None and after.rank <= high else (high + 1, "", "")
        rows = execute(_RANKED_REVERSED, (span.space, low, *place, now, span.limit))
    else:
        place = after if after is not None and after.rank >= low else (low - 1, _BEHIND_ALL_TEXT, "")
        rows = execute(_RANKED, (span.space, high, *place, now, span.limit))
    for partition, item, revision, rank, expires_at, value in rows:
        yield Record(Key(span.space, partition, item), value, revision, rank, expires_at)


def _bounded(records: Iterable[MaybeRecord], most_bytes: int | None) -> Iterator[MaybeRecord]:
    if most_bytes is None:
        yield from records
        return
    size = 0
    for record in records:
        size += 0 if record is None else len(record.value)
        if size > most_bytes:
            raise TooLongError
        yield record
