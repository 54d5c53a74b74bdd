"""The naive model that a random history is compared with: a dictionary, and the promises read aloud.

It shares no code with the kernel's meaning of writes or with any engine, on purpose: a fault in what they share would
be one in both. It does not draw revisions. The engine may choose them, and the model checks the choice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from msgspec import UNSET

from sojourn import limits
from sojourn.kernel.keys import Key, Now, RankSpan, Span
from sojourn.kernel.transaction import (
    Absent,
    Append,
    Committed,
    Conflict,
    Create,
    Delete,
    DeleteSpan,
    Ensure,
    Guard,
    Outcome,
    Present,
    Put,
    RankAtMost,
    Reads,
    Record,
    Records,
    RevisionIs,
    SpanIs,
    Touch,
    Transaction,
    Ttl,
    Write,
)

__all__ = ["Difference", "Model"]


class Difference(AssertionError):  # noqa: N818  a verdict, not an error of the program
    """The engine did something else than the model."""


@dataclass
class _Receipt:
    revision: int | None
    attempt: int
    written_at: int


@dataclass
class Model:
    """What the store should hold."""

    records: dict[Key, Record] = field(default_factory=dict[Key, Record])
    receipts: dict[bytes, _Receipt] = field(default_factory=dict[bytes, _Receipt])
    newest: dict[str, int] = field(default_factory=dict[str, int])
    """The greatest revision that each partition ever had."""
    untold: set[Key] = field(default_factory=set[Key])
    """Changes since the log was last read."""
    ever_changed: set[Key] = field(default_factory=set[Key])

    def judge(self, transaction: Transaction, outcome: Outcome, now: int) -> None:
        """Check the outcome of the next transaction, and do what it did.

        Raises:
            Difference: the outcome is not one that the promises allow.
        """
        receipt = self.receipts.get(transaction.id) if transaction.id else None
        failed = [guard for guard in transaction.guards if not self.holds(guard, now)]
        if receipt is not None:
            records = self.read(transaction.reads, now)
            _same("repeat", outcome, Committed(receipt.revision, now, records, _left(outcome), True, receipt.attempt))  # noqa: FBT003
        elif failed:
            if not isinstance(outcome, Conflict) or outcome.guard not in failed:
                raise Difference(f"one of {failed} had to fail, but the outcome is {outcome}")
            guard = outcome.guard
            found = None if isinstance(guard, SpanIs) else self.live(guard.key, now)
            _same("conflict", outcome, Conflict(guard, found, now))
        elif not isinstance(outcome, Committed):
            raise Difference(f"every guard held, but the outcome is {outcome}")
        else:
            self._commit(transaction, outcome, now)

    def live(self, key: Key, now: int) -> Record | None:
        """Return the record at the key unless it has expired."""
        record = self.records.get(key)
        if record is None or (record.expires_at is not None and record.expires_at <= now):
            return None
        return record

    def inside(self, span: Span, now: int) -> list[Record]:
        """Return all live records of the span in order, whatever its limit and direction."""
        found = list[Record]()
        for key in sorted(self.records, key=lambda key: [ord(character) for character in key.item]):
            record = self.live(key, now)
            if record is None or key.space != span.space or key.partition != span.partition:
                continue
            if key.item >= span.start and (span.stop is None or key.item < span.stop):
                found.append(record)
        return found

    def read(self, reads: Reads, now: int) -> Records:
        """Answer reads."""
        spans = list[tuple[Record, ...]]()
        for span in reads.spans:
            found = self.inside(span, now)
            if span.reverse:
                found.reverse()
            spans.append(tuple(found[: span.limit]))
        return Records(tuple(self.live(key, now) for key in reads.keys), tuple(spans))

    def ranked(self, span: RankSpan, now: int) -> list[Record]:
        """Return all that a listing by rank shows, on one page however long."""
        low, high = _number(span.low, now), _number(span.high, now)
        found = list[Record]()
        for key in self.records:
            record = self.live(key, now)
            if (
                record is not None
                and record.rank is not None
                and key.space == span.space
                and low <= record.rank <= high
            ):
                found.append(record)
        found.sort(key=lambda record: (record.rank, record.key.partition, record.key.item), reverse=span.reverse)
        return found

    def holds(self, guard: Guard, now: int) -> bool:
        """Say whether the guard holds."""
        if isinstance(guard, SpanIs):
            revisions = [record.revision for record in self.inside(guard.span, now)]
            return (len(revisions), max(revisions, default=0)) == (guard.count, guard.newest)
        record = self.live(guard.key, now)
        if isinstance(guard, Absent):
            return record is None
        if isinstance(guard, Present):
            return record is not None
        if isinstance(guard, RevisionIs):
            return record is not None and record.revision == guard.revision
        assert isinstance(guard, RankAtMost)
        return record is not None and record.rank is not None and record.rank <= _number(guard.rank, now)

    def expired(self, now: int) -> set[Key]:
        """Return the keys whose record has expired and was neither overwritten nor forgotten since."""
        return {key for key in self.records if self.live(key, now) is None}

    def forget(self, keys: set[Key]) -> None:
        """Drop what has expired and was announced."""
        for key in keys:
            del self.records[key]

    def forget_receipts(self, now: int) -> None:
        """Drop the receipts that need not be known any longer; the history repeats none of them."""
        keep = limits.RECEIPT_KEEP // timedelta(milliseconds=1)
        self.receipts = {name: receipt for name, receipt in self.receipts.items() if now - receipt.written_at < keep}

    def _commit(self, transaction: Transaction, outcome: Committed, now: int) -> None:
        remaining = False
        for write in transaction.writes:
            if isinstance(write, DeleteSpan):
                found = self.inside(write.span, now)
                remaining = remaining or len(found) > write.at_most
                for record in found[: write.at_most]:
                    self._change(record.key, None)
        made = set[str]()
        for place, write in enumerate(transaction.writes):
            if not isinstance(write, DeleteSpan) and self._write(write, place, outcome.revision or 0, now):
                made.add(write.partition if isinstance(write, Append) else write.key.partition)
        if bool(made) != (outcome.revision is not None):
            raise Difference(f"revision is {outcome.revision}, though {len(made)} partitions were written anew")
        for partition in made:
            if (outcome.revision or 0) <= self.newest.get(partition, 0):
                raise Difference(f"revision {outcome.revision} is not above {self.newest[partition]} in {partition!r}")
            self.newest[partition] = outcome.revision or 0
        if transaction.id:
            self.receipts[transaction.id] = _Receipt(outcome.revision, transaction.attempt, now)
        records = self.read(transaction.reads, now)
        _same("commit", outcome, Committed(outcome.revision, now, records, remaining, False, transaction.attempt))  # noqa: FBT003

    def _write(self, write: Write, place: int, revision: int, now: int) -> bool:
        """Do one write, and say whether it made a record anew."""
        if isinstance(write, Append):
            key = Key(write.space, write.partition, write.prefix + f"{revision:016x}" + f"{place:04x}")
            self._change(key, Record(key, write.value, revision, None, _end(write.ttl, now)))
            return True
        assert not isinstance(write, DeleteSpan)
        there = self.live(write.key, now)
        if isinstance(write, Delete):
            if there is not None:
                self._change(write.key, None)
            return False
        if isinstance(write, Put) or (isinstance(write, Create | Ensure) and there is None):
            rank = None if write.rank is None or write.rank is UNSET else _number(write.rank, now)
            end = None if write.ttl is UNSET else _end(write.ttl, now)
            self._change(write.key, Record(write.key, write.value, revision, rank, end))
            return True
        if isinstance(write, Touch | Ensure) and there is not None:
            rank, end = there.rank, there.expires_at
            if write.rank is not UNSET:
                rank = None if write.rank is None else _number(write.rank, now)
            if write.ttl is not UNSET:
                end = _end(write.ttl, now)
            self.records[write.key] = Record(write.key, there.value, there.revision, rank, end)
        return False

    def _change(self, key: Key, record: Record | None) -> None:
        self.untold.add(key)
        self.ever_changed.add(key)
        if record is None:
            del self.records[key]
        else:
            self.records[key] = record


def _number(number: int | Now, now: int) -> int:
    if isinstance(number, int):
        return number
    at = now + number.offset
    while at % number.step:
        at += 1
    return at


def _end(ttl: Ttl | None, now: int) -> int | None:
    if ttl is None:
        return None
    if isinstance(ttl, Now):
        return _number(ttl, now)
    whole, rest = divmod(ttl, timedelta(milliseconds=1))
    return now + whole + (1 if rest else 0)


def _left(outcome: Outcome) -> bool:
    """What a repeat says of `remaining` is not compared: the promise leaves it open."""
    return isinstance(outcome, Committed) and outcome.remaining


def _same(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise Difference(f"{what}:\n  found    {found}\n  expected {expected}")
