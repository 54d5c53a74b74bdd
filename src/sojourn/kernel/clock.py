"""Time as a parameter: what tells it, and what waits by it.

Engines ask a clock for "now" where the database server has none of its own; the kernel waits by one. Tests inject
`sojourn.testing.ManualClock` into both.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol

__all__ = ["Clock", "SystemClock", "moment"]


def moment(milliseconds: int) -> datetime:
    """Return engine time as a datetime in UTC."""
    return datetime.fromtimestamp(milliseconds / 1_000, UTC)


class Clock(Protocol):
    """What the kernel asks about time."""

    def now(self) -> int:
        """Return the time in milliseconds since 1970 (UTC); never less than it returned before."""
        ...

    def monotonic(self) -> float:
        """Return seconds that only grow, for durations within this process."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait for that many seconds; returns at once when they are not above 0."""
        ...


class SystemClock:
    """The host's clock, kept from stepping back within this process."""

    def __init__(self) -> None:
        self._seen = 0

    def now(self) -> int:
        """Return the host's time, or what was returned last if the host's clock has been set back."""
        now = time.time_ns() // 1_000_000
        # Two threads may both get here; the later assignment can only be a few microseconds behind the other.
        self._seen = seen = max(now, self._seen)
        return seen

    def monotonic(self) -> float:
        """Return the host's monotonic seconds."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait on the running loop."""
        if seconds > 0:
            await asyncio.sleep(seconds)
