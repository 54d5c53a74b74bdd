"""A clock that moves only when a test says so.

clock = ManualClock()
store = Store(MemoryEngine(clock=clock), clock=clock)
...
clock.advance(timedelta(minutes=30))                # what should have expired has expired, in no time at all
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import count
from typing import NamedTuple

from sojourn.errors import InvalidError

__all__ = ["ManualClock"]

_MILLISECOND = timedelta(milliseconds=1)
_ROUNDS = 8


class _Sleeper(NamedTuple):
    until: timedelta
    place: int
    awake: asyncio.Future[None]


class ManualClock:
    """A `Clock` whose time stands still until `advance` moves it.

    It starts in September 2001, so that a test notices whoever asks the host's clock instead.
    """

    def __init__(self, start_ms: int = 1_000_000_000_000) -> None:
        self._start_ms = start_ms
        self._seen_ms = start_ms
        self._elapsed = timedelta()
        self._set_back = timedelta()
        self._sleepers: list[_Sleeper] = []
        self._places = count()
        self._arrivals: list[tuple[int, asyncio.Future[None]]] = []

    def now(self) -> int:
        """Return the time in milliseconds since 1970; never less than it returned before, even after `step_back`."""
        host = self._start_ms + (self._elapsed - self._set_back) // _MILLISECOND
        self._seen_ms = seen = max(host, self._seen_ms)
        return seen

    def monotonic(self) -> float:
        """Return the seconds that the clock was advanced by so far."""
        return self._elapsed.total_seconds()

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock has been advanced by that much; returns at once when it is not above 0."""
        if seconds <= 0:
            return
        until = self._elapsed + max(timedelta(seconds=seconds), timedelta.resolution)
        sleeper = _Sleeper(until, next(self._places), asyncio.get_running_loop().create_future())
        heapq.heappush(self._sleepers, sleeper)
        self._greet()
        try:
            await sleeper.awake
        finally:
            if sleeper in self._sleepers:
                self._sleepers.remove(sleeper)
                heapq.heapify(self._sleepers)

    def advance(self, duration: timedelta) -> None:
        """Move the time forward in one step, and wake whoever slept until then, the earliest first.

        Who wakes sees the new time, as after a pause of the whole host: a loop of short sleeps runs once, however far
        the clock moved. Advance in that loop's steps to have it run as often.
        """
        if duration < timedelta():
            raise InvalidError("duration", "time only moves forward; step_back sets the host's clock back")
        self._elapsed += duration
        while self._sleepers and self._sleepers[0].until <= self._elapsed:
            _wake(heapq.heappop(self._sleepers).awake)

    def step_back(self, duration: timedelta) -> None:
        """Set the host's clock back, as an operator or a time server may.

        As the clock's contract asks, `now` stands still until the host's time has caught up with what was last
        returned. `monotonic` and sleepers notice nothing.
        """
        if duration < timedelta():
            raise InvalidError("duration", "a negative step back is an advance")
        self.now()
        self._set_back += duration

    @property
    def sleepers(self) -> int:
        """How many are asleep."""
        return len(self._sleepers)

    async def until_sleeping(self, sleepers: int = 1) -> None:
        """Wait, without a pause in real time, until at least so many are asleep: then it makes sense to advance."""
        if len(self._sleepers) < sleepers:
            arrival = asyncio.get_running_loop().create_future()
            self._arrivals.append((sleepers, arrival))
            await arrival

    @asynccontextmanager
    async def rushing(self) -> AsyncGenerator[None]:
        """Within, time moves by itself: whenever somebody sleeps, at once to the instant the first of them waits for.

        So pauses and back-offs pass in no time, and in their order as far as the loop alone decides it: the clock does
        not wait for threads or processes. Not for what sleeps for ever, as a heartbeat does: it would run away.
        """
        rush = asyncio.create_task(self._rush())
        try:
            yield
        finally:
            rush.cancel()
            await asyncio.gather(rush, return_exceptions=True)

    async def _rush(self) -> None:
        while True:
            await self.until_sleeping()
            if self._sleepers:
                self.advance(max(self._sleepers[0].until - self._elapsed, timedelta()))
            # Who woke may be about to sleep again, for less than those who still do.
            for _ in range(_ROUNDS):
                await asyncio.sleep(0)

    def _greet(self) -> None:
        waiting, self._arrivals = self._arrivals, []
        for sleepers, arrival in waiting:
            if len(self._sleepers) >= sleepers:
                _wake(arrival)
            else:
                self._arrivals.append((sleepers, arrival))


def _wake(future: asyncio.Future[None]) -> None:
    # The clock may be moved from another thread than the sleeper's, and the sleeper's loop may be gone.
    loop = future.get_loop()
    if not loop.is_closed():
        loop.call_soon_threadsafe(_settle, future)


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
