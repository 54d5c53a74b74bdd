"""First come, first served, per name, inside one process.

Two users: attempts of `Store.run` on one busy partition, and waiters for one lease. A turn is not a lock on data
(the guards of a transaction are): it only saves callers of one process from conflicting with each other for ever.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Hashable, Iterable
from typing import Final, Generic, TypeVar

from sojourn.kernel.waiting import first_of

__all__ = ["Turns"]

Name = TypeVar("Name", bound=Hashable)

_LATE: Final = object()


class Turns(Generic[Name]):
    """Hands out turns. A name is known here only while somebody has, or waits for, its turn."""

    def __init__(self) -> None:
        self._waiting: dict[Name, deque[asyncio.Future[None]]] = {}

    def is_busy(self, name: Name) -> bool:
        """Say whether somebody has the turn of this name."""
        return name in self._waiting

    def queued(self, name: Name) -> int:
        """Return how many wait for the turn of this name, not counting who has it."""
        return len(self._waiting.get(name, ()))

    async def take(self, names: Iterable[Name]) -> None:
        """Wait for the turns of all names, one after another in the order given; callers give them in sorted order.

        Cancelled, it holds none of them.
        """
        taken: list[Name] = []
        try:
            for name in names:
                await self._take_one(name)
                taken.append(name)
        except BaseException:
            self.give_back(taken)
            raise

    async def take_within(self, names: Iterable[Name], limit: Awaitable[None]) -> bool:
        """Wait for the turns as `take` does, but no longer than `limit`; False: it was over first, and none is held."""
        names = tuple(names)
        turns = asyncio.ensure_future(self.take(names))
        try:
            return await first_of(turns, limit, default=_LATE) is not _LATE
        except BaseException:
            if turns.done() and not turns.cancelled():
                self.give_back(names)  # they came in the same step as the cancellation
            raise

    def give_back(self, names: Iterable[Name]) -> None:
        """Pass the turns on to whoever has waited longest."""
        for name in names:
            queue = self._waiting[name]
            while queue:
                next_one = queue.popleft()
                if not next_one.done():
                    next_one.set_result(None)
                    break
            else:
                del self._waiting[name]

    async def _take_one(self, name: Name) -> None:
        queue = self._waiting.get(name)
        if queue is None:
            self._waiting[name] = deque()
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(turn)
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self.give_back([name])  # the turn came in the same step as the cancellation
            elif turn in queue:  # or it was passed over, in the same step as the cancellation
                queue.remove(turn)
            raise
