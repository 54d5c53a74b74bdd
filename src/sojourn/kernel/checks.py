"""What is refused before any I/O, alike on every engine: promise 11 of the port.

Each check raises and returns nothing, but for `transaction_bytes`, which also answers how heavy the transaction is.
"""

from __future__ import annotations

from datetime import timedelta

from msgspec import UNSET, UnsetType

from sojourn import limits
from sojourn.errors import InvalidError, LimitError
from sojourn.kernel.keys import Key, Now, Number, RankSpan, Space, Span
from sojourn.kernel.transaction import (
    Append,
    Delete,
    DeleteSpan,
    Guard,
    RankAtMost,
    Reads,
    SpanIs,
    Touch,
    Transaction,
    Ttl,
    Write,
)

__all__ = ["check_rank_span", "check_reads", "check_scope", "transaction_bytes"]

# An append adds 16 hex digits of the revision and 4 of its place to its prefix.
_APPENDED_BYTES = 20


def transaction_bytes(transaction: Transaction) -> int:
    """Check a whole transaction and return the bytes of keys and values it carries.

    Raises:
        LimitError: something is longer, larger or more than `limits` allows.
        InvalidError: a key cannot be stored everywhere, a number is out of form, or a key is written twice.
    """
    guards, writes = transaction.guards, transaction.writes
    _check_most("guards of a transaction", len(guards), limits.TRANSACTION_GUARDS, "guards")
    _check_most("writes of a transaction", len(writes), limits.TRANSACTION_WRITES, "writes")
    names = _Names()
    size = 0
    for guard in guards:
        size += _guard_bytes(guard, names)
    written = set[Key]()
    for write in writes:
        size += _write_bytes(write, transaction, names)
        if not isinstance(write, Append | DeleteSpan):
            if write.key in written:
                raise InvalidError("writes", f"{_shown(write.key)} is written twice; one transaction writes a key once")
            written.add(write.key)
    if transaction.reads.keys or transaction.reads.spans:
        size += _reads_bytes(transaction.reads, names)
    _check_most("transaction", size, limits.TRANSACTION_BYTES, "bytes")
    if transaction.id is not None and len(transaction.id) != 16:  # noqa: PLR2004  documented on TransactionId
        raise InvalidError("id", "a transaction id has 16 bytes; make it with ids.new()")
    return size


def check_reads(reads: Reads) -> None:
    """Check keys and spans to read.

    Raises:
        LimitError: too many, or a page beyond `limits.PAGE_MAX`.
        InvalidError: a key or bound cannot be stored everywhere.
    """
    _reads_bytes(reads, _Names())


class _Names(dict[Key, int]):
    """The bytes of each key's name; one that stands in guard, write and read is checked once."""

    def __missing__(self, key: Key) -> int:
        size = self[key] = _key_bytes(key)
        return size


def _reads_bytes(reads: Reads, names: _Names) -> int:
    _check_most("reads", len(reads.keys) + len(reads.spans), limits.TRANSACTION_READS, "keys and spans")
    size = 0
    for key in reads.keys:
        size += names[key]
    for span in reads.spans:
        size += _span_bytes(span)
        _check_page(span.limit)
    return size


def check_rank_span(span: RankSpan) -> None:
    """Check what a listing by rank asks for.

    Raises:
        LimitError: a page beyond `limits.PAGE_MAX`, or a cursor with a name that is too long.
        InvalidError: a bound, the space or the cursor is out of form.
    """
    _text_bytes("space", span.space, limits.SPACE_BYTES)
    _check_number("low", span.low)
    _check_number("high", span.high)
    if span.after is not None:  # it comes from outside, where it may have been made up
        _check_number("cursor", span.after.rank)
        _key_bytes(Key(span.space, span.after.partition, span.after.item))
    _check_page(span.limit)


def check_scope(scope: Key | Span | Space) -> None:
    """Check what is to be watched.

    Raises:
        LimitError: a name is too long.
        InvalidError: a name cannot be stored everywhere.
    """
    if isinstance(scope, Key):
        _key_bytes(scope)
    elif isinstance(scope, Span):
        _span_bytes(scope)
    else:
        _text_bytes("space", scope.name, limits.SPACE_BYTES)


def _guard_bytes(guard: Guard, names: _Names) -> int:
    if isinstance(guard, SpanIs):
        _check_most("guarded span", guard.count, limits.SPAN_GUARD_RECORDS, "records")
        return _span_bytes(guard.span)
    if isinstance(guard, RankAtMost):
        _check_number("rank", guard.rank)
    return names[guard.key]


def _write_bytes(write: Write, transaction: Transaction, names: _Names) -> int:
    if isinstance(write, DeleteSpan):
        _check_most("deleted span", write.at_most, limits.DELETE_SPAN_RECORDS, "records")
        if write.at_most < 1:
            raise InvalidError("at_most", "a deletion of a span removes at least 1 record")
        return _span_bytes(write.span)
    if isinstance(write, Append):
        if transaction.id is None:
            raise InvalidError("id", "an append done twice is not harmless; give the transaction an id")
        _check_ttl(write.ttl)
        size = _key_bytes(Key(write.space, write.partition, write.prefix), spare=_APPENDED_BYTES)
        return size + _value_bytes(write.value)
    if isinstance(write, Delete):
        return names[write.key]
    rank = write.rank
    if rank is not None and rank is not UNSET:
        _check_number("rank", rank)
    _check_ttl(write.ttl)
    if isinstance(write, Touch):
        return names[write.key]
    return names[write.key] + _value_bytes(write.value)


def _value_bytes(value: bytes) -> int:
    _check_most("value of a record", len(value), limits.VALUE_BYTES, "bytes")
    return len(value)


def _key_bytes(key: Key, spare: int = 0) -> int:
    return (
        _text_bytes("space", key.space, limits.SPACE_BYTES)
        + _text_bytes("partition", key.partition, limits.PARTITION_BYTES)
        + _text_bytes("item", key.item, limits.ITEM_BYTES - spare)
    )


def _span_bytes(span: Span) -> int:
    # A bound made by `following` is one character longer than any item.
    size = _key_bytes(Key(span.space, span.partition, span.start), spare=-1)
    return size if span.stop is None else size + _text_bytes("stop", span.stop, limits.ITEM_BYTES + 1)


def _text_bytes(name: str, text: str, most: int) -> int:
    size = len(text)
    if not text.isascii():
        try:
            size = len(text.encode())
        except UnicodeEncodeError as error:
            raise InvalidError(name, "it holds half a character (a lone surrogate)") from error
    if size > most:
        raise LimitError(name, limit=most, found=size, unit="bytes")
    if "\0" in text:
        raise InvalidError(name, "it holds a NUL character")
    return size


def _check_number(name: str, number: Number) -> None:
    if isinstance(number, Now):
        if number.step < 1:
            raise InvalidError(name, "the step of Now is at least 1 millisecond")
        number = abs(number.offset) + number.step
    if not -limits.RANK_MAX <= number <= limits.RANK_MAX:
        raise InvalidError(name, f"a rank lies within ±{limits.RANK_MAX}")


_TTL_MIN = timedelta(milliseconds=1)
_TTL_MAX_MS = limits.TTL_MAX // _TTL_MIN


def _check_ttl(ttl: Ttl | UnsetType | None) -> None:
    if ttl is None or ttl is UNSET:
        return
    if isinstance(ttl, Now):
        fits = 1 <= ttl.offset <= _TTL_MAX_MS and 1 <= ttl.step <= _TTL_MAX_MS
    else:
        fits = _TTL_MIN <= ttl <= limits.TTL_MAX
    if not fits:
        raise InvalidError("ttl", f"a time to live lies between 1 millisecond and {limits.TTL_MAX.days} days")


def _check_page(limit: int) -> None:
    if limit < 1:
        raise InvalidError("limit", "a page holds at least 1 record")
    _check_most("limit", limit, limits.PAGE_MAX, "records")


def _check_most(name: str, found: int, most: int, unit: str) -> None:
    if found > most:
        raise LimitError(name, limit=most, found=found, unit=unit)


def _shown(key: Key) -> str:
    return "/".join(key)
