"""Places in the change log: the store's name, and how far the log of each bucket was read.

The numbers are those of the buckets' streams. They follow the time, so those of a log that was lost and begun anew are
greater; and every entry names the one before it, so a place that a log has never reached, or no longer has, shows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from sojourn.kernel.engine import Position

__all__ = ["read_position", "write_position"]

# 2^53, up to which scripts count exactly, has so many.
_DIGITS: Final = 14
_NUMBER: Final = re.compile(rf"[0-9a-f]{{1,{_DIGITS}}}")


def write_position(store: str, places: Mapping[int, int]) -> Position:
    """Return the text of a place in the log of every bucket, in their order."""
    return f"{store}-{'.'.join(f'{places[bucket]:x}' for bucket in range(len(places)))}"


def read_position(text: Position, store: str, buckets: int) -> dict[int, int] | None:
    """Return the place in the log of each bucket; None if the text is not of this store's log."""
    if len(text) > len(store) + buckets * (_DIGITS + 1):
        return None
    name, _, rest = text.partition("-")
    numbers = rest.split(".")
    if name != store or len(numbers) != buckets or not all(map(_NUMBER.fullmatch, numbers)):
        return None
    return {bucket: int(number, 16) for bucket, number in enumerate(numbers)}
