"""Where two pieces of plain JSON data differ."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any, TypeAlias, cast

import msgspec
from msgspec import UNSET

__all__ = ["Difference", "differences"]


class Difference(msgspec.Struct, frozen=True):
    """One place at which two pieces of data differ, as a JSON pointer.

    `old` or `new` is UNSET where there is nothing at that place.
    """

    path: str
    old: Any = UNSET
    new: Any = UNSET


_Pair: TypeAlias = tuple[str, object, object]
"""A place, as a JSON pointer, and what is there on either side; UNSET: nothing."""


def differences(old: object, new: object) -> tuple[Difference, ...]:
    """Return the places at which they differ, in the order in which they stand: those of `old`, then what is new.

    Lists are compared place by place. 1, 1.0 and true are three values. What is there on one side only, or is another
    kind of thing, is one difference, however much is in it.
    """
    found = list[Difference]()
    pending: list[_Pair] = [("", old, new)]
    while pending:  # and not by recursion: data may be nested deeper than calls can be
        path, before, after = pending.pop()
        inside = _inside(path, before, after)
        if inside is not None:
            pending += reversed(inside)
        elif type(before) is not type(after) or before != after:
            found.append(Difference(path, before, after))
    return tuple(found)


def _inside(path: str, old: object, new: object) -> list[_Pair] | None:
    """Return what is in two dicts or two lists, side by side; None for everything else."""
    if isinstance(old, dict) and isinstance(new, dict):
        mine, theirs = cast("dict[str, object]", old), cast("dict[str, object]", new)
        return [(f"{path}/{_escaped(name)}", mine.get(name, UNSET), theirs.get(name, UNSET)) for name in mine | theirs]
    if isinstance(old, list) and isinstance(new, list):
        pairs = zip_longest(cast("list[object]", old), cast("list[object]", new), fillvalue=UNSET)
        return [(f"{path}/{place}", *pair) for place, pair in enumerate(pairs)]
    return None


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
