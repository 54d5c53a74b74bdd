"""Waiting for what another process holds: a lock of the file, or SQLite's own.

Neither can be waited for as we need it. flock(2) waits for ever or not at all; SQLite's busy handler backs off blindly,
and tells two processes that wait for each other at once. So whoever waits asks again after a moment. It is one of the
engine's own threads, never the loop's; and it goes by the host's clock, not by an injected one, because the rival is
another process, which no clock of ours moves.
"""

from __future__ import annotations

import time
from datetime import timedelta

from sojourn import limits

__all__ = ["Patience"]


class Patience:
    """Lasts for a time, counted from the first pause: what is free at once costs no look at the clock."""

    def __init__(self, lasts: timedelta) -> None:
        self._lasts = lasts.total_seconds()
        self._give_up: float | None = None
        self._pause = limits.SQLITE_TURN_PAUSE

    def hurry(self) -> None:
        """Begin again with the shortest pause, as for something else that is waited for in the same time."""
        self._pause = limits.SQLITE_TURN_PAUSE

    def pause(self) -> bool:
        """Wait for a moment, each time twice as long up to `limits.SQLITE_TURN_PAUSE_MAX`, and return True.

        When the time is over it returns False at once.
        """
        now = time.monotonic()
        if self._give_up is None:
            self._give_up = now + self._lasts
        if now >= self._give_up:
            return False
        time.sleep(self._pause.total_seconds())
        self._pause = min(2 * self._pause, limits.SQLITE_TURN_PAUSE_MAX)
        return True
