"""What can be watched, and what its watchers are told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import NamedTuple

import msgspec

from sojourn.kernel.attempt import Attempt

__all__ = ["Reading", "Transition", "Update"]


class Reading(NamedTuple):
    """A function of the store that only reads, and gives bytes. Of one key there is one evaluation for all who watch.

    `work` reads by the attempt that it is given, or by any verb over the same store that takes none. It may run at any
    time and often, and must have no effect. What it raises is its answer, until something that it read changes.
    """

    key: Hashable
    work: Callable[[Attempt], Awaitable[bytes]]


class Update(msgspec.Struct, frozen=True):
    """The new answer of one reading of a watch: a result, or the error that stands in its place."""

    id: int
    result: bytes | None
    error: Exception | None = None


class Transition(msgspec.Struct, frozen=True):
    """How a watch goes on to a later instant: the answers that are different there. The others are the same.

    `version` grows from one to the next, over all watches of a process: milliseconds of the engine's clock, times a
    thousand, and a count within one. `synced` are the numbers given to `Watch.sync` that this one answers.
    """

    version: int
    updates: tuple[Update, ...]
    synced: tuple[int, ...] = ()
