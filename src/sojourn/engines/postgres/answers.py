"""What the server's functions answer: rows, read back as outcomes and records.

`commit` and `read` answer in the same form. Each row has a kind, a place (which read, which guard), and the parts of a
record; the last row tells the time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from psycopg.pq.abc import PGresult

from sojourn.engines.postgres.wire import whole
from sojourn.kernel.keys import Key
from sojourn.kernel.transaction import (
    Committed,
    Conflict,
    Outcome,
    Reads,
    Record,
    Records,
    SpanIs,
    Transaction,
)

__all__ = ["Answers", "Row", "answers", "rows", "snapshot_records"]

_END: Final = 0
_REPEATED: Final = 2
_CONFLICT: Final = 3
_RECORD: Final = 4

_NO_RECORDS = Records()


class Row(NamedTuple):
    """One row of an answer."""

    kind: int
    place: int
    item: str
    revision: int | None
    rank: int | None
    expires_at: int | None
    value: bytes | None


class Answers(NamedTuple):
    """What a batch came to: an outcome for each transaction, the time, and whether there is anything to watch."""

    outcomes: list[Outcome]
    now: int
    changed: bool


def answers(batch: Sequence[Transaction], result: PGresult) -> Answers:
    """Read the outcomes of a batch: for each transaction a row, then the records that it reads."""
    every = list(rows(result))
    end = every[-1]
    now = end.revision or 0
    told = iter(every)
    row = next(told)
    outcomes: list[Outcome] = []
    for transaction in batch:
        if row.kind == _CONFLICT:
            guard = transaction.guards[row.place]
            found = None if isinstance(guard, SpanIs) else _record(guard.key, row)
            outcomes.append(Conflict(guard, found, now))
            row = next(told)
            continue
        revision, remaining, repeated = row.revision, row.place == 1, row.kind == _REPEATED
        attempt = row.rank or 0 if repeated else transaction.attempt
        read: list[Row] = []
        while (row := next(told)).kind == _RECORD:
            read.append(row)
        records = snapshot_records(transaction.reads, read)
        outcomes.append(Committed(revision, now, records, remaining, repeated=repeated, attempt=attempt))
    return Answers(outcomes, now, changed=end.place == 1)


def snapshot_records(reads: Reads, told: Sequence[Row]) -> Records:
    """Put rows in the order in which they were asked for: a record or None for each key, many for each span."""
    if not reads.keys and not reads.spans:
        return _NO_RECORDS
    keys: list[Record | None] = [None] * len(reads.keys)
    spans: list[list[Record]] = [[] for _ in reads.spans]
    for row in told:
        if row.place < len(keys):
            keys[row.place] = _record(reads.keys[row.place], row)
        else:
            number = row.place - len(keys)
            span = reads.spans[number]
            record = _record(Key(span.space, span.partition, row.item), row)
            assert record is not None  # a span answers with what is there
            spans[number].append(record)
    return Records(tuple(keys), tuple(map(tuple, spans)))


def rows(result: PGresult) -> Iterator[Row]:
    """Read all rows."""
    for number in range(result.ntuples):
        yield _row(result, number)


def _row(result: PGresult, number: int) -> Row:
    get = result.get_value
    kind, place, item, revision, rank, expires_at, value = [get(number, column) for column in range(7)]
    return Row(
        whole(kind or b""),
        whole(place or b""),
        "" if item is None else item.decode(),
        None if revision is None else whole(revision),
        None if rank is None else whole(rank),
        None if expires_at is None else whole(expires_at),
        value,
    )


def _record(key: Key, row: Row) -> Record | None:
    if row.revision is None:
        return None
    return Record(key, row.value or b"", row.revision, row.rank, row.expires_at)
