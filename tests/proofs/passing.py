"""A clock that several processes share: it goes as the host's does, and a test lets more time pass for all of them."""

import mmap
from datetime import timedelta
from pathlib import Path

from sojourn.kernel import SystemClock

LOOK_S = 0.01
"""How often who sleeps looks whether time has passed."""

_MILLISECOND = timedelta(milliseconds=1)


class SharedClock:
    """A `Clock` of which each process has one, over the same file. It also passes for a process that is stopped."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._passed = memoryview(mmap.mmap(file.fileno(), 8)).cast("q")
        self._host = SystemClock()

    @classmethod
    def make(cls, path: Path) -> "SharedClock":
        """Make the file, and return the clock over it."""
        path.write_bytes(bytes(8))
        return cls(path)

    def advance(self, duration: timedelta) -> None:
        """Let so much time pass, in every process."""
        self._passed[0] += duration // _MILLISECOND

    def now(self) -> int:
        """Return the milliseconds since 1970, with what a test has let pass."""
        return self._host.now() + self._passed[0]

    def monotonic(self) -> float:
        """Return seconds that only grow."""
        return self._host.monotonic() + self._passed[0] / 1_000

    async def sleep(self, seconds: float) -> None:
        """Wait for that many seconds, fewer where a test lets them pass."""
        until = self.monotonic() + seconds
        while (left := until - self.monotonic()) > 0:
            await self._host.sleep(min(left, LOOK_S))
