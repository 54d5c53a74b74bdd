"""Random transactions for the history test: small worlds, where everything meets everything else."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from random import Random
from typing import TypeVar

from msgspec import UNSET, UnsetType

from sojourn.kernel.keys import Key, Now, Number, RankSpan, Span
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
    Reads,
    RevisionIs,
    SpanIs,
    Touch,
    Transaction,
    Ttl,
    Write,
)
from sojourn.testing.conformance.model import Model

__all__ = ["World"]

T = TypeVar("T")

_PARTITIONS = ("p", "", "p\x01", "é")
_SPACES = ("history", "history2")
_ITEMS = ("", "a", "a/1", "a/2", "b", "é", "\uffff", "\U0001f600")
_OLD_IDS = 40


class World:
    """Draws what happens next from one seed, with an eye on the model so that most guards have a chance to hold."""

    def __init__(self, seed: int, model: Model, *, cross_partition: bool) -> None:
        self.random = Random(seed)  # noqa: S311  it must be repeatable, not secret
        self.spaces = _SPACES
        self._model = model
        self._cross_partition = cross_partition
        self._partitions: tuple[str, ...] = _PARTITIONS
        self._ids = 0
        self._sent: list[Transaction] = []

    def batch(self, now: int) -> list[Transaction]:
        """Draw the next batch."""
        size = self.random.choice((1, 1, 2, 3, 4, 6, 6, 25))
        batch = list[Transaction]()
        for _ in range(size):
            transaction = self._transaction(now)
            batch.append(transaction)
            if transaction.id is not None:
                self._sent.append(transaction)
        return batch

    def listing(self) -> RankSpan:
        """Draw a listing by rank."""
        low, high = self._number(), self._number()
        whole = self._chance(0.3)
        return RankSpan(
            self.random.choice(_SPACES),
            -(2**52) if whole else low,
            2**52 if whole else high,
            limit=self.random.choice((1, 2, 3, 10, 100)),
            reverse=self._chance(0.4),
        )

    def everything(self) -> Reads:
        """Return the spans that together hold every record."""
        return Reads(spans=tuple(Span(space, partition, limit=1_000) for space in _SPACES for partition in _PARTITIONS))

    def _chance(self, likely: float) -> bool:
        return self.random.random() < likely

    def _transaction(self, now: int) -> Transaction:
        known = [sent for sent in self._sent[-_OLD_IDS:] if sent.id in self._model.receipts]
        if known and self._chance(0.08):
            return self.random.choice(known)
        if self._sent and self._chance(0.03):
            # Sent just now or long ago, perhaps in this very batch, perhaps in conflict: whatever the model says.
            latest = self._sent[-1]
            if latest.id in self._model.receipts or len(self._sent) == 1:
                return latest
        if self._cross_partition and self._chance(0.4):
            self._partitions = _PARTITIONS
        else:
            self._partitions = (self.random.choice(_PARTITIONS),)
        writes = self._writes()
        appends = any(isinstance(write, Append) for write in writes)
        name, attempt = None, 1
        # Without `cross_partition` an id is remembered only where it was used, and these writes may be elsewhere.
        if self._cross_partition and known and self._chance(0.04):
            again = self.random.choice(known)
            name, attempt = again.id, again.attempt + 1
        elif appends or self._chance(0.6):
            self._ids += 1
            name = self._ids.to_bytes(16, "big")
        return Transaction(name, self._guards(now), writes, self._reads(), attempt)

    def _guards(self, now: int) -> tuple[Guard, ...]:
        number = self.random.choice((0, 0, 1, 1, 2))
        guards = list[Guard]()
        while len(guards) < number:
            guard = self._guard(now)
            # A blind draw would hardly ever hold, and then hardly anything would be written.
            if self._model.holds(guard, now) or self._chance(0.15):
                guards.append(guard)
        return tuple(guards)

    def _guard(self, now: int) -> Guard:
        key = self._key()
        record = self._model.live(key, now)
        kinds: tuple[Callable[[], Guard], ...] = (
            lambda: Absent(key),
            lambda: Present(key),
            lambda: RevisionIs(key, 0 if record is None else record.revision - self._chance(0.1)),
            lambda: RankAtMost(key, self._number()),
            lambda: self._span_guard(now),
        )
        return self.random.choice(kinds)()

    def _span_guard(self, now: int) -> SpanIs:
        span = self._span()
        revisions = [record.revision for record in self._model.inside(span, now)]
        count = max(0, len(revisions) + self.random.choice((0, 0, 0, 0, 1, -1)))
        return SpanIs(span, count, max(revisions, default=0))

    def _writes(self) -> tuple[Write, ...]:
        writes = list[Write]()
        written = set[Key]()
        for _ in range(self.random.choice((0, 1, 1, 1, 2, 2, 3, 5))):
            write = self._write()
            if not isinstance(write, Append | DeleteSpan):
                if write.key in written:
                    continue
                written.add(write.key)
            writes.append(write)
        return tuple(writes)

    def _write(self) -> Write:
        key = self._key()
        kinds: tuple[Callable[[], Write], ...] = (
            lambda: Put(key, self._value(), self._rank(), self._ttl()),
            lambda: Put(key, self._value(), self._rank(), self._ttl()),
            lambda: Create(key, self._value(), self._rank(), self._ttl()),
            lambda: Ensure(key, self._value(), self._kept(self._rank), self._kept(self._ttl)),
            lambda: Touch(key, self._kept(self._rank), self._kept(self._ttl)),
            lambda: Append(key.space, key.partition, self.random.choice(("", "a/", "z")), self._value(), self._ttl()),
            lambda: Delete(key),
            lambda: DeleteSpan(self._span(), self.random.choice((1, 2, 3, 1_000))),
        )
        return self.random.choice(kinds)()

    def _reads(self) -> Reads:
        keys = tuple(self._key() for _ in range(self.random.choice((0, 0, 1, 3))))
        spans = tuple(self._span() for _ in range(self.random.choice((0, 0, 1, 2))))
        return Reads(keys, spans)

    def _key(self) -> Key:
        partition = self.random.choice(self._partitions)
        known = [key for key in self._model.records if key.partition == partition]
        if known and self._chance(0.3):
            return self.random.choice(known)  # appended records too
        return Key(self.random.choice(_SPACES), partition, self.random.choice(_ITEMS))

    def _span(self) -> Span:
        return Span(
            self.random.choice(_SPACES),
            self.random.choice(self._partitions),
            self.random.choice(("", "", *_ITEMS)),
            self.random.choice((None, None, *_ITEMS)),
            self.random.choice((1, 2, 5, 100)),
            self._chance(0.4),
        )

    def _value(self) -> bytes:
        return self.random.randbytes(self.random.choice((0, 1, 8, 40)))

    def _number(self) -> Number:
        if self._chance(0.5):
            return self.random.randint(-3, 3)
        return Now(self.random.randint(-2_000, 2_000), self.random.choice((1, 1, 7, 500)))

    def _rank(self) -> Number | None:
        return self._number() if self._chance(0.6) else None

    def _ttl(self) -> Ttl | None:
        if self._chance(0.5):
            return None
        if self._chance(0.5):
            return timedelta(microseconds=self.random.randint(1_000, 4_000_000))
        return Now(self.random.randint(1, 4_000), self.random.choice((1, 1, 250, 1_000)))

    def _kept(self, draw: Callable[[], T]) -> T | UnsetType:
        return UNSET if self._chance(0.4) else draw()
