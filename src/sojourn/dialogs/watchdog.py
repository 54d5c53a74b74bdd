"""What has to happen when something takes too long: one task for all that is under way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from itertools import count
from types import TracebackType

from sojourn.kernel import Store

__all__ = ["Watchdog"]

_log = logging.getLogger(__name__)


class Watchdog:
    """Rings alarms by the store's clock. It sleeps until the next one, and not at all while there is none."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._alarms: dict[int, tuple[float, Callable[[], None]]] = {}
        self._numbers = count()
        self._task: asyncio.Task[None] | None = None
        self._wakes_at = 0.0

    def set(self, seconds: float, ring: Callable[[], None]) -> int:
        """Have `ring` called in so many seconds, unless the alarm of the returned number is cleared before."""
        number = next(self._numbers)
        at = self._store.clock.monotonic() + seconds
        self._alarms[number] = (at, ring)
        task = self._task
        if task is None or task.done():
            self._task = self._store.spawn(self._run(at))
            self._wakes_at = at
        elif at < self._wakes_at:
            task.cancel()
            self._task = self._store.spawn(self._run(at))
            self._wakes_at = at
        return number

    def clear(self, number: int) -> None:
        """Call nothing for this alarm. Clearing one that has rung is harmless."""
        self._alarms.pop(number, None)

    def limited(self, limit: timedelta) -> AbstractAsyncContextManager[None]:
        """Cut off what takes longer, by the store's clock, with a `TimeoutError`."""
        return _Limited(self, limit)

    async def _run(self, at: float) -> None:
        clock = self._store.clock
        while True:
            await clock.sleep(at - clock.monotonic())
            now = clock.monotonic()
            for number, (due, ring) in tuple(self._alarms.items()):
                if due <= now:
                    del self._alarms[number]
                    try:
                        ring()
                    except Exception:  # noqa: BLE001  what a platform raises must not silence the others' alarms
                        _log.exception("an alarm of dialogs failed")
            if not self._alarms:
                self._task = None
                return
            at = self._wakes_at = min(due for due, _ in self._alarms.values())


class _Limited(AbstractAsyncContextManager[None]):
    """A time limit by a watchdog. A class, and no generator: every click is under one."""

    def __init__(self, watchdog: Watchdog, limit: timedelta) -> None:
        self._watchdog = watchdog
        self._limit = limit
        self._timeout = asyncio.timeout(None)
        self._alarm = -1
        self._has_rung = False

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()
        self._alarm = self._watchdog.set(self._limit.total_seconds(), self._ring)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._watchdog.clear(self._alarm)
        try:
            await self._timeout.__aexit__(kind, error, traceback)
        except TimeoutError as late:
            raise TimeoutError(f"it took longer than {self._limit}; longer work belongs elsewhere") from late
        if self._has_rung and error is None:  # it swallowed that it was cut off
            raise TimeoutError(f"it took longer than {self._limit}, and would not stop")

    def _ring(self) -> None:
        self._has_rung = True
        self._timeout.reschedule(asyncio.get_running_loop().time())
