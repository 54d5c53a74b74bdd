"""The change log: what was written or removed, in the order of the commits.

A position names the store and a row of its log. The row that a reader asks from is still there if, and only if,
nothing after it has been trimmed, so one statement both proves that and answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

import msgspec

from sojourn import limits
from sojourn.engines.sqlite.driver import Execute
from sojourn.engines.sqlite.statements import query
from sojourn.kernel.engine import Changes, Position
from sojourn.kernel.keys import Key

__all__ = ["Head", "append", "changes_since", "head", "trim"]

_NEWEST = query("newest")
_APPEND = query("append to log")
_SINCE = query("log since")
_NEW_FLOOR = query("new floor")
_TRIM = query("trim log")

_KEEP_MS = limits.CHANGE_LOG_KEEP // timedelta(milliseconds=1)

# All numbers of so many digits fit a row number of SQLite.
_POSITION_DIGITS = 18

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[str, tuple[tuple[str, str], ...]]).decode


class Head(NamedTuple):
    """The newest row of the log: its position, and the last revision that was drawn."""

    position: int
    revision: int


def head(execute: Execute) -> Head:
    """Return the head of the log."""
    return Head(*execute(_NEWEST).get)


def append(execute: Execute, at: Head, now: int, keys: Sequence[Key]) -> None:
    """Add the row that is to be the head. The keys of a partition name it once: most commits write to one only."""
    by_partition: dict[str, list[tuple[str, str]]] = {}
    for space, partition, item in keys:
        by_partition.setdefault(partition, []).append((space, item))
    execute(_APPEND, (at.position, now, at.revision, _encode(by_partition)))


def trim(execute: Execute, now: int, limit: int) -> int:
    """Forget up to `limit` rows that are kept too long, and return how many."""
    floor, new_floor = execute(_NEW_FLOOR, (limit, now - _KEEP_MS, limits.CHANGE_LOG_ROWS)).get
    if new_floor is None:
        return 0
    execute(_TRIM, (new_floor,))
    return int(new_floor - floor)


def changes_since(execute: Execute, identity: str, since: Position | None) -> Changes:
    """Return what changed since the position, within a transaction that is already open.

    With many changes it returns the first of them, and a position from which to ask for the rest.
    """
    start = _row(identity, since)
    if start is None:
        return Changes(f"{identity}-{head(execute).position}", gap=since is not None)
    rows = iter(execute(_SINCE, (start,)))
    if next(rows, (None,))[0] != start:
        return Changes(f"{identity}-{head(execute).position}", gap=True)
    reached, keys, more = start, set[Key](), False
    for position, packed in rows:
        reached = position
        for partition, changed in _decode(packed).items():
            keys.update(Key(space, partition, item) for space, item in changed)
        if len(keys) >= limits.SQLITE_LOG_KEYS:
            more = True
            break
    return Changes(f"{identity}-{reached}", frozenset(keys), more=more)


def _row(identity: str, position: Position | None) -> int | None:
    if position is None:
        return None
    owner, _, number = position.rpartition("-")
    return int(number) if owner == identity and number.isdecimal() and len(number) <= _POSITION_DIGITS else None
