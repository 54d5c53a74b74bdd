"""When something is to be read again though nobody tells of a change: a record expires, a store may be back."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import count
from typing import Final

from sojourn.kernel.clock import Clock
from sojourn.kernel.live.followed import Followed

__all__ = ["Alarms"]

_STALE: Final = 64
"""Alarms beside those that are meant, beyond which they are sorted out."""


class Alarms:
    """Alarms by the engine's clock, of which is known what it showed last and how long ago that was."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, Followed]] = []
        self._order = count()
        self._size = 0
        self.now = 0
        """The latest that the engine's clock is known to have shown, in milliseconds."""
        self._seen_at = 0.0

    def __len__(self) -> int:
        """How many are kept, also of those that are not meant any more."""
        return len(self._heap)

    def see(self, now: int) -> None:
        """Take note of what the engine's clock shows."""
        if now >= self.now:
            self.now, self._seen_at = now, self._clock.monotonic()

    def set(self, followed: Followed, at: float | None) -> None:
        """Set the alarm of a reading to an instant of the engine's clock, in place of the one it has; None: none."""
        if followed.alarm == at:
            return
        followed.alarm = at
        if at is None:
            return
        heapq.heappush(self._heap, (at, next(self._order), followed))
        if len(self._heap) > 2 * self._size + _STALE:
            self._heap = [entry for entry in self._heap if entry[2].alarm == entry[0]]
            heapq.heapify(self._heap)
            self._size = len(self._heap)

    def set_in(self, followed: Followed, seconds: float) -> None:
        """Set the alarm of a reading to so many seconds from now."""
        self.set(followed, self._shown() + 1_000 * seconds)

    def due(self) -> Iterator[Followed]:
        """Iterate over the readings whose alarm is due by now; each has none then."""
        shown = self._shown()
        while self._heap and self._heap[0][0] <= shown:
            at, _, followed = heapq.heappop(self._heap)
            if followed.alarm == at:
                followed.alarm = None
                yield followed

    @property
    def left(self) -> float | None:
        """The seconds until the first of them, about."""
        return (self._heap[0][0] - self._shown()) / 1_000 if self._heap else None

    def _shown(self) -> float:
        """Return about what the engine's clock shows now."""
        return self.now + 1_000 * (self._clock.monotonic() - self._seen_at)
