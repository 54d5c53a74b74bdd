"""Where a record lives: keys, spans and the cursors that resume a listing.

A key names a space (owned by one face), a partition (the unit of co-location and of order) and an item (the order
inside the partition). Text sorts by code point, which is also the order of its bytes in UTF-8, on every engine.
"""

from __future__ import annotations

import base64
import binascii
from typing import NamedTuple, TypeAlias

import msgspec

from sojourn import limits
from sojourn.errors import InvalidError

__all__ = ["Cursor", "Key", "Now", "Number", "RankSpan", "Scope", "Space", "Span", "following"]


class Key(NamedTuple):
    """The name of one record."""

    space: str
    partition: str
    item: str


class Span(msgspec.Struct, frozen=True):
    """The records of one partition from `start` up to, but not including, `stop` (None: to the end).

    `limit` bounds how many are read; `reverse` reads them from the end. Neither changes what the span covers.
    """

    space: str
    partition: str
    start: str = ""
    stop: str | None = None
    limit: int = limits.PAGE
    reverse: bool = False

    def __contains__(self, key: Key) -> bool:
        """Say whether the key lies in the span, whether or not a record is there."""
        return (
            key.space == self.space
            and key.partition == self.partition
            and key.item >= self.start
            and (self.stop is None or key.item < self.stop)
        )


class Space(msgspec.Struct, frozen=True):
    """Every record of one space, as something to watch."""

    name: str

    def __contains__(self, key: Key) -> bool:
        """Say whether the key lies in the space."""
        return key.space == self.name


class Now(msgspec.Struct, frozen=True, tag=True):
    """The engine's clock plus `offset` milliseconds, rounded up to a multiple of `step` milliseconds.

    The clock is the engine's at the commit or read, so that no caller's clock decides anything.
    """

    offset: int = 0
    step: int = 1


Number: TypeAlias = int | Now
"""A rank or a bound: a plain number, or one that the engine's clock completes."""


class Cursor(NamedTuple):
    """The place after which a listing goes on: that of the last record seen."""

    rank: int
    partition: str
    item: str

    def encode(self, space: str) -> str:
        """Write the cursor as opaque text that only a listing of the same space takes back."""
        packed = msgspec.json.encode((space, *self))
        return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()

    @classmethod
    def decode(cls, text: str, space: str) -> Cursor:
        """Read back what `encode` wrote.

        Raises:
            InvalidError: the text is no cursor, or one of another listing.
        """
        problem = "this is not a cursor of this listing; start again without one"
        if len(text) > limits.CURSOR_CHARS:
            raise InvalidError("cursor", problem)
        try:
            packed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            owner, rank, partition, item = msgspec.json.decode(packed, type=tuple[str, int, str, str])
        except (binascii.Error, ValueError, msgspec.DecodeError) as error:
            raise InvalidError("cursor", problem) from error
        if owner != space:
            raise InvalidError("cursor", problem)
        return cls(rank, partition, item)


class RankSpan(msgspec.Struct, frozen=True):
    """The records of one space, over all partitions, whose rank lies from `low` to `high`, both included.

    Records come in the order of (rank, partition, item); `after` resumes behind the record it was made from.
    """

    space: str
    low: Number = -limits.RANK_MAX
    high: Number = limits.RANK_MAX
    after: Cursor | None = None
    limit: int = limits.PAGE
    reverse: bool = False


Scope: TypeAlias = Key | Span | Space
"""What can be watched."""


def following(item: str) -> str:
    """Return the least item greater than the given one: NUL is refused in keys, so U+0001 is the least to append."""
    return item + "\x01"
