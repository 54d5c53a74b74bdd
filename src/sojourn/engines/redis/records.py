"""Records, keys and spans as they are kept on the server; the scripts know the same forms."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from struct import Struct
from typing import TypeAlias

from sojourn.kernel.keys import Key, Span
from sojourn.kernel.transaction import Reads, Record, Records

__all__ = ["PackedSpan", "pack_span", "unpack_key", "unpack_listed", "unpack_record", "unpack_records"]

PackedSpan: TypeAlias = tuple[str, str, int, bool]
"""Bounds of an index by code point, how many records at most, and whether from the end."""

_HEAD = Struct("<ddd")
_HEAD_BYTES = _HEAD.size
_unpack_head = _HEAD.unpack_from


def unpack_key(text: str) -> Key:
    """Return the key of this text. NUL, which no name holds, separates its parts, and sorts before everything else."""
    space, partition, item = text.split("\0")
    return Key(space, partition, item)


def pack_span(span: Span, most: int) -> PackedSpan:
    """Return the bounds within which the span's keys lie."""
    start = f"{span.space}\0{span.partition}"
    stop = f"({start}\1" if span.stop is None else f"({start}\0{span.stop}"
    return (f"[{start}\0{span.start}", stop, most, span.reverse)


def unpack_record(key: Key, packed: bytes) -> Record:
    """Return the record; a rank or an expiry that there is not is infinite when packed."""
    revision, rank, expires_at = _unpack_head(packed)
    return Record(
        key,
        packed[_HEAD_BYTES:],
        int(revision),
        None if rank == math.inf else int(rank),
        None if expires_at == math.inf else int(expires_at),
    )


def unpack_listed(listed: Iterable[bytes]) -> tuple[Record, ...]:
    """Return the records of a list of key, record, key, record."""
    pairs = iter(listed)
    return tuple(unpack_record(unpack_key(key.decode()), packed) for key, packed in zip(pairs, pairs, strict=True))


def unpack_records(reads: Reads, keys: Sequence[bytes | None], spans: Sequence[Sequence[bytes]]) -> Records:
    """Return what was found at the keys and in the spans that were asked for."""
    return Records(
        tuple(
            None if packed is None else unpack_record(key, packed) for key, packed in zip(reads.keys, keys, strict=True)
        ),
        tuple(map(unpack_listed, spans)),
    )
