"""A batch of transactions as `commit.lua` takes it, and its outcomes as it gives them.

What is asked is packed into one argument, which both sides handle faster than many; the values stand beside it, since
the server's unpacker takes no bytes. A key is named once, and by its place from then on.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from sojourn.engines.redis.nodes import Reply
from sojourn.engines.redis.records import PackedSpan, pack_span, unpack_record, unpack_records
from sojourn.kernel.engine import BatchRefusedError
from sojourn.kernel.keys import Key, Number
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
    Refused,
    RevisionIs,
    SpanIs,
    Touch,
    Transaction,
    Ttl,
    Write,
)

__all__ = ["PackedNumber", "pack", "pack_number", "unpack"]

PackedNumber: TypeAlias = int | tuple[int, int] | bool
"""A number; an offset and a step from now on; False for none; True for what is there already."""

_COMMITTED, _CONFLICT = 1, 2

_ARGUMENTS_BEFORE_VALUES: Final = 7

_MILLISECOND: Final = timedelta(milliseconds=1)

_encode = msgspec.msgpack.Encoder().encode


class _Places(dict[Key, int]):
    """The place of each key, given when it is first asked for."""

    def __missing__(self, key: Key) -> int:
        place = self[key] = len(self) + 1
        return place


class Packed(NamedTuple):
    """The arguments that are the batch."""

    ids: bytes
    work: bytes
    values: Sequence[bytes]


def pack(batch: Sequence[Transaction]) -> Packed:
    """Return the batch as arguments.

    Raises:
        BatchRefusedError: something in it cannot be packed; only who passes the kernel by can bring that about.
    """
    places, ids, values = _Places(), list[bytes](), list[bytes]()
    try:
        transactions = [_transaction(transaction, places, ids, values) for transaction in batch]
        work = _encode((["\0".join(key) for key in places], transactions))
        if not all(isinstance(value, bytes) for value in values):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError("a value is not bytes")  # noqa: TRY301  as if it were packed here, too
    except (ValueError, TypeError, OverflowError) as error:
        raise BatchRefusedError(f"{type(error).__name__}: {error}") from error
    return Packed(b"".join(ids), work, values)


def pack_number(number: Number) -> PackedNumber:
    """Return a number, or an offset from now on, as the scripts take it."""
    return number if isinstance(number, int) else (number.offset, number.step)


def unpack(reply: Reply, batch: Sequence[Transaction]) -> tuple[int, list[Outcome]]:
    """Return the server's time, and the outcome of each transaction."""
    now, answers = reply
    return now, [
        Committed(answer or None, now, attempt=transaction.attempt)
        if type(answer) is int
        else _outcome(answer, transaction, now)
        for transaction, answer in zip(batch, answers, strict=True)
    ]


def _transaction(transaction: Transaction, places: _Places, ids: list[bytes], values: list[bytes]) -> tuple[Any, ...]:
    if transaction.id is None:
        id_place = 0
    else:
        ids.append(transaction.id)
        id_place = len(ids)
    guards = list[Any]()
    for guard in transaction.guards:
        guards += _guard(guard, places)
    writes = list[Any]()
    for write in transaction.writes:
        writes += _write(write, places, values)
    reads = transaction.reads
    if not reads.keys and not reads.spans:
        return (id_place, transaction.attempt, guards, writes)
    keys = [places[key] for key in reads.keys]
    return (id_place, transaction.attempt, guards, writes, keys, [pack_span(span, span.limit) for span in reads.spans])


def _guard(guard: Guard, places: _Places) -> tuple[str, int | PackedSpan, PackedNumber]:
    match guard:
        case RevisionIs():
            return ("revision", places[guard.key], guard.revision)
        case Absent():
            return ("absent", places[guard.key], 0)
        case Present():
            return ("present", places[guard.key], 0)
        case RankAtMost():
            return ("rank", places[guard.key], pack_number(guard.rank))
        case SpanIs():
            forward = msgspec.structs.replace(guard.span, reverse=False)
            return ("span", pack_span(forward, guard.count), guard.newest)


def _write(
    write: Write, places: _Places, values: list[bytes]
) -> tuple[str, int | str | PackedSpan, int, PackedNumber, PackedNumber]:
    match write:
        case Put() | Create() | Ensure():
            kind = "put" if isinstance(write, Put) else "create" if isinstance(write, Create) else "ensure"
            values.append(write.value)
            place = _ARGUMENTS_BEFORE_VALUES + len(values)
            return (kind, places[write.key], place, _rank(write.rank), _expiry(write.ttl))
        case Touch():
            return ("touch", places[write.key], 0, _rank(write.rank), _expiry(write.ttl))
        case Delete():
            return ("delete", places[write.key], 0, False, False)
        case Append():
            values.append(write.value)
            key = f"{write.space}\0{write.partition}\0{write.prefix}"
            return ("append", key, _ARGUMENTS_BEFORE_VALUES + len(values), False, _expiry(write.ttl))
        case DeleteSpan():
            forward = msgspec.structs.replace(write.span, reverse=False)
            return ("delete span", pack_span(forward, write.at_most), 0, False, False)


def _rank(rank: Number | UnsetType | None) -> PackedNumber:
    if rank is None:
        return False
    return True if rank is UNSET else pack_number(rank)


def _expiry(ttl: Ttl | UnsetType | None) -> PackedNumber:
    if ttl is None:
        return False
    if isinstance(ttl, timedelta):
        return (-(-ttl // _MILLISECOND), 1)
    return True if ttl is UNSET else (ttl.offset, ttl.step)


def _outcome(answer: Sequence[Any], transaction: Transaction, now: int) -> Outcome:
    kind = answer[0]
    if kind == _COMMITTED:
        _, revision, attempt, remaining, repeated, keys, spans = answer
        records = unpack_records(transaction.reads, keys, spans)
        return Committed(revision or None, now, records, bool(remaining), bool(repeated), attempt)
    if kind == _CONFLICT:
        place: int = answer[1]
        packed: bytes | None = answer[2]
        guard: Guard = transaction.guards[place]
        found = None if packed is None or isinstance(guard, SpanIs) else unpack_record(guard.key, packed)
        return Conflict(guard, found, now)
    return Refused(str(answer[1].decode(errors="replace")))
