"""Sweeping: what has expired is looked for without a lock, and removed under the locks of its partitions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from psycopg.pq.abc import PGresult

from sojourn.engines.postgres import wire
from sojourn.engines.postgres.program import lock_number
from sojourn.kernel.keys import Key

__all__ = ["Due", "expired_keys", "remove_parameters"]


class Due(NamedTuple):
    """Keys of records that have expired, and the time by which they have."""

    keys: list[Key]
    now: int


def expired_keys(result: PGresult) -> Due:
    """Read what `expired` answered: keys, and the time in the last row."""
    last = result.ntuples - 1
    return Due([_key(result, row) for row in range(last)], wire.whole(result.get_value(last, 3) or b""))


def remove_parameters(keys: Sequence[Key]) -> list[bytes]:
    """Return what `remove` is given from the locks on."""
    spaces, partitions, items = zip(*keys, strict=True) if keys else ((), (), ())
    locks = sorted(set(map(lock_number, partitions)))
    return [wire.integers(locks), wire.texts(spaces), wire.texts(partitions), wire.texts(items)]


def _key(result: PGresult, row: int) -> Key:
    space, partition, item = [(result.get_value(row, column) or b"").decode() for column in range(3)]
    return Key(space, partition, item)
