"""Values larger than one record: split inside the partition, with length and checksum.

The record at the key becomes a header, and the pieces follow it at items that sort right behind it. All of it is
written in one transaction, so a reader of one snapshot always finds a header with exactly its own pieces.
"""

from __future__ import annotations

import hashlib

import msgspec

from sojourn import limits
from sojourn.errors import CorruptError, LimitError
from sojourn.kernel.codec import CHUNKED
from sojourn.kernel.keys import Key, Number, Span
from sojourn.kernel.transaction import Delete, DeleteSpan, Put, Record, Ttl, Write

__all__ = ["delete", "join", "put", "span"]


class _Header(msgspec.Struct, frozen=True, array_like=True):
    size: int
    checksum: str


def span(key: Key) -> Span:
    """Return the span of a value's chunks, to be read beside its key in one snapshot."""
    return Span(key.space, key.partition, key.item + "\x01", key.item + "\x02", limit=_most_chunks())


def put(
    key: Key, value: bytes, *, replaces: Record | None, rank: Number | None = None, ttl: Ttl | None = None
) -> tuple[Write, ...]:
    """Return the writes that put the value at the key, in one record or in chunks, and leave no old chunk behind.

    `replaces` is the record that stands at the key, known through a guard of the same transaction.

    Raises:
        LimitError: the value is larger than `limits.CHUNKED_BYTES`.
    """
    cleared = _cleared(key, replaces)
    if len(value) <= limits.CHUNK_BYTES:
        return (*cleared, Put(key, value, rank, ttl))
    if len(value) > limits.CHUNKED_BYTES:
        raise LimitError("value", limit=limits.CHUNKED_BYTES, found=len(value), unit="bytes")
    header = CHUNKED + msgspec.json.encode(_Header(len(value), _checksum(value)))
    pieces = (
        Put(
            Key(key.space, key.partition, f"{key.item}\x01{start:08x}"),
            value[start : start + limits.CHUNK_BYTES],
            ttl=ttl,
        )
        for start in range(0, len(value), limits.CHUNK_BYTES)
    )
    return (*cleared, Put(key, header, rank, ttl), *pieces)


def join(head: Record, chunks: tuple[Record, ...]) -> bytes:
    """Return the value that `put` wrote, from the record at the key and the records of `span`.

    Raises:
        CorruptError: pieces are missing, too many or damaged.
    """
    if head.value[:1] != CHUNKED:
        return head.value
    try:
        header = msgspec.json.decode(head.value[1:], type=_Header)
    except msgspec.DecodeError as error:
        raise CorruptError(f"the header of a chunked value cannot be read: {error}") from error
    value = b"".join(chunk.value for chunk in chunks)
    if len(value) != header.size or _checksum(value) != header.checksum:
        raise CorruptError(f"a chunked value of {header.size} bytes was stored, {len(value)} bytes do not match it")
    return value


def delete(key: Key, *, replaces: Record | None) -> tuple[Write, ...]:
    """Return the writes that remove the value at the key with all its chunks; `replaces` is as for `put`."""
    return (*_cleared(key, replaces), Delete(key))


def _cleared(key: Key, replaces: Record | None) -> tuple[DeleteSpan, ...]:
    if replaces is None or replaces.value[:1] != CHUNKED:
        return ()
    return (DeleteSpan(span(key), at_most=_most_chunks()),)


def _most_chunks() -> int:
    return -(-limits.CHUNKED_BYTES // limits.CHUNK_BYTES)


def _checksum(value: bytes) -> str:
    return hashlib.blake2b(value, digest_size=16).hexdigest()
