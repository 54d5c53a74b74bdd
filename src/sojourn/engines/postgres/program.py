"""A batch as the server's function takes it.

The function is given every key once, each in a place of its own, and a program: steps that judge, change and read what
stands at those places. A step is a kind, a place or a span, and up to five numbers:

| kind                   | about       | a       | b        | c         | d   | e        |
|------------------------|-------------|---------|----------|-----------|-----|----------|
| begin                  | its receipt | attempt | done     | next      |     |          |
| absent, present        | place       |         |          |           |     | guard    |
| revision is            | place       | number  |          |           |     | guard    |
| rank at most           | place       | rank    | its step |           |     | guard    |
| span is                | span        | count   | newest   |           |     | guard    |
| put, create, ensure    | place       | content | rank     | its step  | ttl | its step |
| touch                  | place       |         | rank     | its step  | ttl | its step |
| delete                 | place       |         |          |           |     |          |
| append                 | span        | content | place    |           | ttl | its step |
| delete span            | span        | at most |          |           |     |          |
| done                   |             |         |          |           |     |          |
| read                   | place       | read    |          |           |     |          |
| read span              | span        | read    | how many |           |     |          |
| end                    |             |         |          |           |     |          |

`done` and `next` are the steps before those at which a program goes on. A number's step is that of `Now`, 0 for a plain
number, -1 for none, -2 for what is there already.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from msgspec import UNSET, UnsetType

from sojourn.engines.postgres import wire
from sojourn.engines.postgres.wire import STEP_NUMBERS, step
from sojourn.kernel.keys import Key, Number, Span
from sojourn.kernel.transaction import (
    Absent,
    Append,
    Create,
    Delete,
    DeleteSpan,
    Ensure,
    Guard,
    Present,
    Put,
    RankAtMost,
    RevisionIs,
    SpanIs,
    Touch,
    Transaction,
    TransactionId,
    Ttl,
)

__all__ = ["Program", "lock_number", "number_and_step", "span_most", "span_texts"]

_REVISION_IS: Final = 1
_ABSENT: Final = 2
_PRESENT: Final = 3
_RANK_AT_MOST: Final = 4
_PUT: Final = 10
_CREATE: Final = 11
_ENSURE: Final = 12
_TOUCH: Final = 13
_DELETE: Final = 14
_APPEND: Final = 15
_BEGIN: Final = 20
_DONE: Final = 21
_READ: Final = 30
_SPAN_IS: Final = 40
_DELETE_SPAN: Final = 41
_READ_SPAN: Final = 42
_END: Final = 43

_LOCKS: Final = 4_096

_NONE = (0, -1)
_KEPT = (0, -2)

_MILLISECOND = timedelta(milliseconds=1)


class Program:
    """What a batch comes to."""

    def __init__(self, batch: Sequence[Transaction]) -> None:
        self._places: dict[Key, int] = {}
        self._locks: set[int] = set()
        self._spans: list[str | None] = []
        self._contents: list[bytes] = []
        self._ids: list[TransactionId] = []
        self._receipts: dict[TransactionId, int] = {}
        self._steps: list[bytes] = []
        # The values of the first places are read with their records, so those that are to be read come first.
        for transaction in batch:
            for key in transaction.reads.keys:
                self._place(key)
        self._wanted = len(self._places)
        for transaction in batch:
            self._add(transaction)
        self._steps.append(step(_END, 0, 0, 0, 0, 0, 0))

    def parameters(self) -> list[bytes]:
        """Return what the function is given, from the locks on."""
        spaces, partitions, items = zip(*self._places, strict=True) if self._places else ((), (), ())
        return [
            wire.integers(sorted(self._locks)),
            wire.texts(spaces),
            wire.texts(partitions),
            wire.texts(items),
            wire.integer(self._wanted),
            wire.blobs(self._ids),
            wire.steps(self._steps),
            wire.blobs(self._contents),
            wire.texts(self._spans),
        ]

    def _add(self, transaction: Transaction) -> None:
        steps, writes = self._steps, transaction.writes
        begins = len(steps)
        steps.append(b"")  # it says where the others end
        for number, guard in enumerate(transaction.guards):
            steps.append(self._guard(guard, number))
        for write in writes:
            if isinstance(write, DeleteSpan):
                steps.append(step(_DELETE_SPAN, self._span(write.span), write.at_most, 0, 0, 0, 0))
        for number, write in enumerate(writes):
            if not isinstance(write, DeleteSpan):
                steps.append(self._write(write, number))
        done = len(steps)
        steps.append(step(_DONE, 0, 0, 0, 0, 0, 0))
        for number, key in enumerate(transaction.reads.keys):
            steps.append(step(_READ, self._places[key], number, 0, 0, 0, 0))
        for number, span in enumerate(transaction.reads.spans, len(transaction.reads.keys)):
            steps.append(step(_READ_SPAN, self._span(span), number, span_most(span), 0, 0, 0))
        receipt = 0 if transaction.id is None else self._receipt(transaction.id)
        steps[begins] = step(_BEGIN, receipt, transaction.attempt, _before(done), _before(len(steps)), 0, 0)

    def _guard(self, guard: Guard, number: int) -> bytes:
        match guard:
            case RevisionIs(key=key, revision=revision):
                return step(_REVISION_IS, self._place(key), revision, 0, 0, 0, number)
            case Absent(key=key):
                return step(_ABSENT, self._place(key), 0, 0, 0, 0, number)
            case Present(key=key):
                return step(_PRESENT, self._place(key), 0, 0, 0, 0, number)
            case RankAtMost(key=key, rank=rank):
                return step(_RANK_AT_MOST, self._place(key), *number_and_step(rank), 0, 0, number)
            case SpanIs(span=span, count=count, newest=newest):
                return step(_SPAN_IS, self._span(span), count, newest, 0, 0, number)

    def _write(self, write: Put | Create | Ensure | Append | Touch | Delete, number: int) -> bytes:
        if isinstance(write, Put):  # the commonest
            return step(
                _PUT, self._place(write.key), self._content(write.value), *number_and_step(write.rank), *_ttl(write.ttl)
            )
        match write:
            case Touch(key=key, rank=rank, ttl=ttl):
                return step(_TOUCH, self._place(key), 0, *number_and_step(rank), *_ttl(ttl))
            case Ensure(key=key, value=value, rank=rank, ttl=ttl):
                return step(_ENSURE, self._place(key), self._content(value), *number_and_step(rank), *_ttl(ttl))
            case Create(key=key, value=value, rank=rank, ttl=ttl):
                return step(_CREATE, self._place(key), self._content(value), *number_and_step(rank), *_ttl(ttl))
            case Delete(key=key):
                return step(_DELETE, self._place(key), 0, 0, 0, 0, 0)
            case Append(space=space, partition=partition, prefix=prefix, value=value, ttl=ttl):
                span = self._span(Span(space, partition, prefix))
                return step(_APPEND, span, self._content(value), number, 0, *_ttl(ttl))

    def _place(self, key: Key) -> int:
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = len(self._places) + 1
            self._locks.add(lock_number(key.partition))
        return place

    def _span(self, span: Span) -> int:
        self._locks.add(lock_number(span.partition))
        self._spans += span_texts(span)
        return len(self._spans) - 3

    def _content(self, value: bytes) -> int:
        self._contents.append(value)
        return len(self._contents)

    def _receipt(self, transaction_id: TransactionId) -> int:
        """Return the number of the receipt, which the deliveries of one id share."""
        receipt = self._receipts.get(transaction_id)
        if receipt is None:
            self._ids.append(transaction_id)
            receipt = self._receipts[transaction_id] = len(self._ids)
        return receipt


def lock_number(partition: str) -> int:
    """Return the number of the lock that the partition shares with some others: the same in every process."""
    return zlib.crc32(partition.encode()) % _LOCKS


def span_texts(span: Span) -> tuple[str | None, ...]:
    """Return a span as the server's functions take it."""
    return span.space, span.partition, span.start, span.stop


def span_most(span: Span) -> int:
    """Return how many records of the span to read: from its end, if the number is negative."""
    return -span.limit if span.reverse else span.limit


def _before(index: int) -> int:
    """Return where the step before this one stands in the program; its numbers are counted from 1."""
    return (index - 1) * STEP_NUMBERS + 1


def number_and_step(rank: Number | UnsetType | None) -> tuple[int, int]:
    """Return a rank as the server's functions take it."""
    if rank is None:
        return _NONE
    if rank is UNSET:
        return _KEPT
    return (rank, 0) if isinstance(rank, int) else (rank.offset, rank.step)


def _ttl(ttl: Ttl | UnsetType | None) -> tuple[int, int]:
    if ttl is None:
        return _NONE
    if ttl is UNSET:
        return _KEPT
    return (-(-ttl // _MILLISECOND), 1) if isinstance(ttl, timedelta) else (ttl.offset, ttl.step)
