"""The memory engine: the reference, and the shortest correct one.

Every record lives in one ordered dictionary. A batch is applied within one step of the loop, so atomicity,
isolation and order need no further means. Nothing survives the process, and `describe` says so.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import count, islice, takewhile
from typing import NamedTuple

from sortedcontainers import SortedDict, SortedList

from sojourn import limits
from sojourn.kernel.clock import Clock, SystemClock
from sojourn.kernel.engine import Changes, Description, Finding, Position, RankPage, Swept
from sojourn.kernel.keys import Cursor, Key, RankSpan, Span
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
    Snapshot,
    SpanIs,
    Transaction,
    TransactionId,
    append_key,
    applied,
    expiry,
    instant,
)

__all__ = ["MemoryEngine"]

_MILLISECOND = timedelta(milliseconds=1)
_POSITION_DIGITS = 18


class _Receipt(NamedTuple):
    revision: int | None
    attempt: int
    until: int


class _LogRow(NamedTuple):
    position: int
    at: int
    keys: frozenset[Key]


class MemoryEngine:
    """An engine without a database, for tests and as the model of what the others do."""

    def __init__(self, *, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._records: SortedDict[Key, Record] = SortedDict()
        self._ranks: SortedDict[tuple[str, int, str, str], Key] = SortedDict()
        self._expiries: SortedList[tuple[int, Key]] = SortedList()
        self._receipts: dict[TransactionId, _Receipt] = {}
        # Positions carry the name of their log, so that one of another engine is not taken for one of this.
        self._log_name = secrets.token_hex(8)
        self._log: deque[_LogRow] = deque()
        self._positions = count(1)
        self._position = 0
        self._floor = 0
        self._revision = 0
        self._changed = asyncio.Event()

    async def open(self) -> None:
        """Do nothing: the engine is ready when it is made."""

    async def close(self) -> None:
        """Keep the records, so that a test may look at them."""

    async def examine(self) -> Sequence[Finding]:
        """Find nothing: a dictionary has no settings."""
        return ()

    def describe(self) -> Description:
        """Declare what a dictionary cannot do: outlive its process, or be watched from another."""
        return Description("memory", "1", durable=False, cross_partition=True, cross_process_watch=False)

    async def commit(self, batch: Sequence[Transaction]) -> Sequence[Outcome]:
        """Apply the batch, in order, within one step of the loop."""
        now = self._clock.now()
        return [self._apply(transaction, now) for transaction in batch]

    async def read(self, reads: Reads) -> Snapshot:
        """Answer from the dictionary."""
        now = self._clock.now()
        return Snapshot(self._read(reads, now), now)

    async def rank(self, span: RankSpan) -> RankPage:
        """Walk the index of ranks."""
        now = self._clock.now()
        low = (span.space, instant(span.low, now), "", "")
        high = (span.space, instant(span.high, now) + 1, "", "")
        behind = False  # whether the place at the low end was seen already; the high end is always behind the last
        if span.after is not None:
            place = (span.space, span.after.rank, span.after.partition, span.after.item)
            if span.reverse:
                high = min(high, place)
            elif place >= low:
                low, behind = place, True
        keys = self._ranks.irange(low, high, inclusive=(not behind, False), reverse=span.reverse)
        live = (self._records[self._ranks[key]] for key in keys)
        page = tuple(islice((record for record in live if _lives(record, now)), span.limit))
        cursor = None
        if len(page) == span.limit:
            last = page[-1]
            assert last.rank is not None
            cursor = Cursor(last.rank, last.key.partition, last.key.item)
        return RankPage(page, cursor, now)

    async def changes(self, since: Position | None, wait: float) -> Changes:
        """Answer from the log, waiting for the next commit when nothing has changed."""
        if since is None:
            return Changes(self._named(self._position))
        name, _, number = since.rpartition("-")
        is_ours = name == self._log_name and number.isdecimal() and len(number) <= _POSITION_DIGITS
        start = int(number) if is_ours else -1
        if start == self._position:
            changed = self._changed
            try:
                async with asyncio.timeout(wait):
                    await changed.wait()
            except TimeoutError:
                return Changes(since)
        # Asked after the wait, since a sweep may have trimmed the log meanwhile.
        if not self._floor <= start <= self._position:
            return Changes(self._named(self._position), gap=True)
        newer = takewhile(lambda row: row.position > start, reversed(self._log))
        keys = frozenset[Key]().union(*(row.keys for row in newer))
        return Changes(self._named(self._position), keys)

    async def sweep(self, limit: int) -> Swept:
        """Remove what has expired, then log rows and receipts that are kept too long."""
        now = self._clock.now()
        due = [key for at, key in islice(self._expiries, limit) if at <= now]
        for key in due:
            self._store(key, None)
        self._announce(frozenset(due), now)
        old = now - limits.CHANGE_LOG_KEEP // _MILLISECOND
        rows = 0
        while self._log and (self._log[0].at <= old or len(self._log) > limits.CHANGE_LOG_ROWS):
            self._floor = self._log.popleft().position
            rows += 1
        spent = [key for key, receipt in self._receipts.items() if receipt.until <= now]
        for transaction_id in spent:
            del self._receipts[transaction_id]
        return Swept(len(due), rows, len(spent), more=len(due) == limit)

    def _apply(self, transaction: Transaction, now: int) -> Outcome:
        receipt = None if transaction.id is None else self._receipts.get(transaction.id)
        if receipt is not None:
            records = self._read(transaction.reads, now)
            return Committed(receipt.revision, now, records, repeated=True, attempt=receipt.attempt)
        for guard in transaction.guards:
            if not self._holds(guard, now):
                found = None if isinstance(guard, SpanIs) else self._live(guard.key, now)
                return Conflict(guard, found, now)
        revision = self._revision + 1
        changed, drawn, remaining = self._write(transaction, now, revision)
        if drawn:
            self._revision = revision
        if transaction.id is not None:
            until = now + limits.RECEIPT_KEEP // _MILLISECOND
            self._receipts[transaction.id] = _Receipt(revision if drawn else None, transaction.attempt, until)
        self._announce(frozenset(changed), now)
        records = self._read(transaction.reads, now)
        return Committed(revision if drawn else None, now, records, remaining=remaining, attempt=transaction.attempt)

    def _write(self, transaction: Transaction, now: int, revision: int) -> tuple[set[Key], bool, bool]:
        changed = set[Key]()
        remaining = drawn = False
        for write in transaction.writes:
            if isinstance(write, DeleteSpan):
                keys = [record.key for record in islice(self._scan(write.span, now), write.at_most + 1)]
                remaining = remaining or len(keys) > write.at_most
                for key in keys[: write.at_most]:
                    self._store(key, None)
                    changed.add(key)
        for place, write in enumerate(transaction.writes):
            if isinstance(write, DeleteSpan):
                continue
            if isinstance(write, Append):
                key = append_key(write, revision, place)
                before: Record | None = None
                after: Record | None = Record(key, write.value, revision, expires_at=expiry(write.ttl, now))
            else:
                key = write.key
                before = self._live(key, now)
                after = applied(write, before, now, revision)
            if after is before:
                continue
            self._store(key, after)
            if after is None or after.revision == revision:
                changed.add(key)
            drawn = drawn or (after is not None and after.revision == revision)
        return changed, drawn, remaining

    def _store(self, key: Key, record: Record | None) -> None:
        before = self._records.get(key)
        old_rank, old_expiry = (None, None) if before is None else (before.rank, before.expires_at)
        rank, expires_at = (None, None) if record is None else (record.rank, record.expires_at)
        if old_rank != rank:
            if old_rank is not None:
                del self._ranks[key.space, old_rank, key.partition, key.item]
            if rank is not None:
                self._ranks[key.space, rank, key.partition, key.item] = key
        if old_expiry != expires_at:
            if old_expiry is not None:
                self._expiries.remove((old_expiry, key))
            if expires_at is not None:
                self._expiries.add((expires_at, key))
        if record is not None:
            self._records[key] = record
        elif before is not None:
            del self._records[key]

    def _named(self, position: int) -> Position:
        return f"{self._log_name}-{position}"

    def _announce(self, keys: frozenset[Key], now: int) -> None:
        if keys:
            self._position = next(self._positions)
            self._log.append(_LogRow(self._position, now, keys))
            self._changed.set()
            self._changed = asyncio.Event()

    def _holds(self, guard: Guard, now: int) -> bool:
        if isinstance(guard, SpanIs):
            seen = [record.revision for record in islice(self._scan(guard.span, now), guard.count + 1)]
            return len(seen) == guard.count and max(seen, default=0) == guard.newest
        found = self._live(guard.key, now)
        match guard:
            case Absent():
                return found is None
            case Present():
                return found is not None
            case RevisionIs(revision=revision):
                return found is not None and found.revision == revision
            case RankAtMost(rank=rank):
                return found is not None and found.rank is not None and found.rank <= instant(rank, now)

    def _read(self, reads: Reads, now: int) -> Records:
        return Records(
            tuple(self._live(key, now) for key in reads.keys),
            tuple(tuple(islice(self._scan(span, now, reverse=span.reverse), span.limit)) for span in reads.spans),
        )

    def _scan(self, span: Span, now: int, *, reverse: bool = False) -> Iterator[Record]:
        start = Key(span.space, span.partition, span.start)
        stop = Key(span.space, span.partition + "\0", "") if span.stop is None else Key(*start[:2], span.stop)
        for key in self._records.irange(start, stop, inclusive=(True, False), reverse=reverse):
            record = self._records[key]
            if _lives(record, now):
                yield record

    def _live(self, key: Key, now: int) -> Record | None:
        record = self._records.get(key)
        return record if record is not None and _lives(record, now) else None


def _lives(record: Record, now: int) -> bool:
    return record.expires_at is None or record.expires_at > now
