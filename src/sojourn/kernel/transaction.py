"""A transaction is a value: guards, writes and reads that an engine applies whole or not at all.

    Transaction(
        id=ids.new(),                                       # made once, before any retry
        guards=(RevisionIs(key, seen), lease.held),
        writes=(Put(key, body, ttl=timedelta(minutes=30)),),
    )

As a value it can be checked before any I/O, repeated after a lost answer, logged and compared with a model.
Deletions of spans apply first, then the other writes; one key is written at most once.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from sojourn import limits
from sojourn.kernel.keys import Key, Now, Number, Span

__all__ = [
    "Absent",
    "Append",
    "Committed",
    "Conflict",
    "Create",
    "Delete",
    "DeleteSpan",
    "Ensure",
    "Guard",
    "Outcome",
    "Present",
    "Put",
    "RankAtMost",
    "Reads",
    "Record",
    "Records",
    "Refused",
    "RevisionIs",
    "Snapshot",
    "SpanIs",
    "Touch",
    "Transaction",
    "TransactionId",
    "Ttl",
    "Write",
    "append_key",
    "applied",
    "expiry",
    "instant",
]

TransactionId: TypeAlias = bytes
"""Sixteen bytes by which a repeat is recognised; `ids.new()` makes them."""

Ttl: TypeAlias = timedelta | Now
"""Time to live, from the engine's clock on: a duration, or `Now(offset, step)` to round the expiry up to a step."""


class Record(msgspec.Struct, frozen=True):
    """One record as the engine holds it. `expires_at` is engine time in milliseconds; from then on it is absent."""

    key: Key
    value: bytes
    revision: int
    rank: int | None = None
    expires_at: int | None = None


class Absent(msgspec.Struct, frozen=True, tag=True):
    """Holds when no record stands at the key."""

    key: Key


class Present(msgspec.Struct, frozen=True, tag=True):
    """Holds when a record stands at the key."""

    key: Key


class RevisionIs(msgspec.Struct, frozen=True, tag=True):
    """Holds when the record at the key has exactly this revision."""

    key: Key
    revision: int


class RankAtMost(msgspec.Struct, frozen=True, tag=True):
    """Holds when the record at the key has a rank, and it is at most this. Fails on an absent or rankless record."""

    key: Key
    rank: Number


class SpanIs(msgspec.Struct, frozen=True, tag=True):
    """Holds when the span still covers exactly the records that were seen there.

    `count` of them, the newest with revision `newest` (0 when there are none). This is exact because a partition's
    revisions grow in commit order: what is present with a revision up to `newest` was present then, unchanged.
    """

    span: Span
    count: int
    newest: int


Guard: TypeAlias = Absent | Present | RevisionIs | RankAtMost | SpanIs


class Put(msgspec.Struct, frozen=True, tag=True):
    """Write the record whole, whatever stands there."""

    key: Key
    value: bytes
    rank: Number | None = None
    ttl: Ttl | None = None


class Create(msgspec.Struct, frozen=True, tag=True):
    """Write the record if none stands there; else do nothing."""

    key: Key
    value: bytes
    rank: Number | None = None
    ttl: Ttl | None = None


class Ensure(msgspec.Struct, frozen=True, tag=True):
    """Write the record if none stands there; else touch it, as `Touch` does."""

    key: Key
    value: bytes
    rank: Number | UnsetType | None = UNSET
    ttl: Ttl | UnsetType | None = UNSET


class Append(msgspec.Struct, frozen=True, tag=True):
    """Write a new record behind all earlier ones with the same prefix.

    Its item is the prefix, 16 hex digits of the revision and 4 of its place among the transaction's writes, so
    `append_key` tells it from the outcome. The transaction must have an id.
    """

    space: str
    partition: str
    prefix: str
    value: bytes
    ttl: Ttl | None = None


class Touch(msgspec.Struct, frozen=True, tag=True):
    """Change rank or expiry only: no new revision, and nobody who watches is woken.

    What is omitted stays, None removes it. Touching an absent record does nothing.
    """

    key: Key
    rank: Number | UnsetType | None = UNSET
    ttl: Ttl | UnsetType | None = UNSET


class Delete(msgspec.Struct, frozen=True, tag=True):
    """Remove the record; does nothing when there is none."""

    key: Key


class DeleteSpan(msgspec.Struct, frozen=True, tag=True):
    """Remove the first `at_most` records of the span, before the transaction's other writes apply.

    `Committed.remaining` says whether records are left in it. The span's own limit and direction do not matter.
    """

    span: Span
    at_most: int = limits.DELETE_SPAN_RECORDS


Write: TypeAlias = Put | Create | Ensure | Append | Touch | Delete | DeleteSpan


class Reads(msgspec.Struct, frozen=True):
    """What to read, as one snapshot: single keys and spans."""

    keys: tuple[Key, ...] = ()
    spans: tuple[Span, ...] = ()


class Records(msgspec.Struct, frozen=True):
    """The answer to `Reads`, in the order asked: `keys` one record or None each, `spans` one tuple each."""

    keys: tuple[Record | None, ...] = ()
    spans: tuple[tuple[Record, ...], ...] = ()


class Snapshot(msgspec.Struct, frozen=True):
    """Records as of one instant, and that instant of the engine's clock in milliseconds."""

    records: Records
    now: int


class Transaction(msgspec.Struct, frozen=True):
    """Guards, writes and reads that commit together.

    `id` is made before the first attempt and recognises a repeat; None says that doing it twice is harmless.
    `reads` are answered as of right after the writes. `attempt` numbers the attempts of one id and comes back with
    the outcome, so that a caller knows which of its attempts was the one committed.
    """

    id: TransactionId | None = None
    guards: tuple[Guard, ...] = ()
    writes: tuple[Write, ...] = ()
    reads: Reads = Reads()
    attempt: int = 1


class Committed(msgspec.Struct, frozen=True):
    """The transaction holds, now and after any crash.

    `revision` is that of every record it wrote anew, None when it wrote none. `now` is the engine's time. `remaining`
    says that a deletion of a span stopped at its bound and records are left; after a repeat, when nobody remembers,
    that there may be some. With `repeated` an earlier delivery of the same id had been applied: `revision` and
    `attempt` are that one's, the records those of now.
    """

    revision: int | None
    now: int
    records: Records = Records()
    remaining: bool = False
    repeated: bool = False
    attempt: int = 1


class Conflict(msgspec.Struct, frozen=True):
    """A guard failed and nothing was written. `found` is what stands at its key (None for a span)."""

    guard: Guard
    found: Record | None
    now: int


class Refused(msgspec.Struct, frozen=True):
    """The engine can never apply this transaction, and wrote nothing of it. `cause` says why, without secrets."""

    cause: str


Outcome: TypeAlias = Committed | Conflict | Refused


_MILLISECOND = timedelta(milliseconds=1)


def instant(number: Number, now: int) -> int:
    """Return the number itself, or the instant that `Now` stands for when the engine's clock shows `now`."""
    if isinstance(number, int):
        return number
    at = now + number.offset
    return at if number.step == 1 else -(-at // number.step) * number.step


def expiry(ttl: Ttl | None, now: int) -> int | None:
    """Return the instant at which a record with this time to live ends; fractions of a millisecond count whole."""
    if ttl is None:
        return None
    if isinstance(ttl, Now):
        return instant(ttl, now)
    return now - (-ttl // _MILLISECOND)


def append_key(append: Append, revision: int, place: int) -> Key:
    """Return the key of an appended record from the transaction's revision and its place among the writes."""
    return Key(append.space, append.partition, f"{append.prefix}{revision:016x}{place:04x}")


def applied(
    write: Put | Create | Ensure | Touch | Delete, found: Record | None, now: int, revision: int
) -> Record | None:
    """Return what stands at the key after the write, given what stood there: the meaning of each write, once.

    A result that is `found` itself says that nothing changed. A changed revision says that the write drew one.
    """
    if not isinstance(write, Put):  # the commonest write needs none of the questions below
        match write:
            case Delete():
                return None
            case Touch(rank=rank, ttl=ttl) | Ensure(rank=rank, ttl=ttl) if found is not None:
                new_rank = found.rank if rank is UNSET else None if rank is None else instant(rank, now)
                new_expiry = found.expires_at if ttl is UNSET else expiry(ttl, now)
                if new_rank == found.rank and new_expiry == found.expires_at:
                    return found
                return msgspec.structs.replace(found, rank=new_rank, expires_at=new_expiry)
            case Touch():
                return None
            case Create() if found is not None:
                return found
            case Create() | Ensure():
                pass
    rank, ttl = write.rank, write.ttl
    return Record(
        write.key,
        write.value,
        revision,
        rank=None if rank is None or rank is UNSET else instant(rank, now),
        expires_at=None if ttl is UNSET else expiry(ttl, now),
    )
