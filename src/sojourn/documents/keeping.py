"""Autosaving: each changed document is saved now and then, and never many of them at once."""

from __future__ import annotations

import asyncio
import heapq
import random
from datetime import timedelta
from itertools import count
from typing import Any, Final

from sojourn.documents.holding import Holding
from sojourn.kernel import Store
from sojourn.kernel.waiting import first_of

__all__ = ["Autosaver"]

_EARLIEST: Final = 0.9
"""Part of the interval after which, at the earliest, a document is looked at again."""


class _Entry:
    """When a document is looked at again; the document is dropped at once when it is no longer held."""

    __slots__ = ("due", "holding", "place")

    def __init__(self, due: float, place: int, holding: Holding[Any]) -> None:
        self.due = due
        self.place = place
        self.holding: Holding[Any] | None = holding

    def __lt__(self, other: _Entry) -> bool:
        return (self.due, self.place) < (other.due, other.place)


class Autosaver:
    """Saves the documents of one name in this process, each at a time of its own: the first within one interval."""

    def __init__(self, store: Store, interval: timedelta | None) -> None:
        self._store = store
        self._interval = 0.0 if interval is None else interval.total_seconds()
        self._entries: list[_Entry] = []
        self._by_key: dict[str, _Entry] = {}
        self._places = count()
        self._earlier = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def add(self, holding: Holding[Any]) -> None:
        """Save this document now and then, while it is held."""
        if not self._interval:
            return
        entry = _Entry(self._now() + random.uniform(0, self._interval), next(self._places), holding)  # noqa: S311
        self._by_key[holding.key] = entry
        heapq.heappush(self._entries, entry)
        if self._task is None:
            self._task = self._store.spawn(self._run())
        elif self._entries[0] is entry:
            self._earlier.set()

    def remove(self, holding: Holding[Any]) -> None:
        """Forget a document that is no longer held."""
        entry = self._by_key.get(holding.key)
        if entry is None or entry.holding is not holding:
            return
        del self._by_key[holding.key]
        entry.holding = None
        if len(self._entries) > 2 * len(self._by_key):
            self._entries = list(self._by_key.values())
            heapq.heapify(self._entries)
            self._earlier.set()

    async def _run(self) -> None:
        try:
            while self._entries:
                self._earlier.clear()
                entry = self._entries[0]
                if entry.due > self._now():
                    await first_of(self._earlier.wait(), self._store.clock.sleep(entry.due - self._now()))
                    continue
                heapq.heappop(self._entries)
                if entry.holding is not None:
                    _ = self._store.spawn(entry.holding.autosave())
                    entry.due = self._now() + self._interval * random.uniform(_EARLIEST, 1)  # noqa: S311  spread, not secret
                    heapq.heappush(self._entries, entry)
        finally:
            self._task = None

    def _now(self) -> float:
        return self._store.clock.monotonic()
