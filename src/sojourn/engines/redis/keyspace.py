"""The keys of a store: a few for each bucket, all with the store's prefix and with the bucket as their hash tag.

sojourn:records:{0}      HASH    encoded key -> packed record
sojourn:items:{0}        ZSET    encoded keys, by code point
sojourn:ranks:{0}        ZSET    space, rank, partition and item of each record that has a rank, in that order
sojourn:expiries:{0}     ZSET    encoded key -> the instant at which its record ends
sojourn:receipts-0:{0}   HASH    transaction id -> receipt, of the periods with an even number
sojourn:receipts-1:{0}   HASH    the same, of those with an odd number
sojourn:changes:{0}      STREAM  the change log
sojourn:meta:{0}         HASH    what the bucket is, and where its counters stand
"""

from __future__ import annotations

from binascii import crc32
from functools import cached_property
from typing import Final

__all__ = ["Keyspace", "LAST_CHANGE"]

LAST_CHANGE: Final = b"last"
"""The field of a bucket's meta data that has the position of its newest change, in decimal; missing when there is none.

It is also the greatest revision ever drawn: whatever draws one is a change. Trimming the log leaves it alone.
"""

_KINDS: Final = ("meta", "records", "items", "ranks", "expiries", "receipts-0", "receipts-1", "changes")


class Keyspace:
    """The names of a store's keys, and the bucket in which each partition lives."""

    def __init__(self, prefix: str, buckets: int) -> None:
        self.prefix = prefix
        self.buckets = buckets

    @cached_property
    def keys(self) -> tuple[tuple[bytes, ...], ...]:
        """The keys of each bucket, in the order in which every script declares them."""
        return tuple(tuple(self._key(kind, bucket) for kind in _KINDS) for bucket in range(self.buckets))

    def changes(self, bucket: int) -> bytes:
        """Return the key of the bucket's stream. On every bucket it begins with `changes_prefix`, and no other does."""
        return self._key("changes", bucket)

    def meta(self, bucket: int) -> bytes:
        """Return the key of the bucket's meta data."""
        return self._key("meta", bucket)

    @property
    def changes_prefix(self) -> bytes:
        """What the streams' keys begin with."""
        return f"{self.prefix}:changes:".encode()

    def bucket(self, partition: str) -> int:
        """Return the bucket of a partition: the same in every process and for ever."""
        return crc32(partition.encode()) % self.buckets if self.buckets > 1 else 0

    def _key(self, kind: str, bucket: int) -> bytes:
        return f"{self.prefix}:{kind}:{{{bucket}}}".encode()
