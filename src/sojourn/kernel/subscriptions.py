"""Following changes: one reader of the engine's log per store, any number of subscribers.

    async with store.watch(key, Span("visit", visitor)) as changes:
        async for change in changes:
            ...                       # Changed(keys) or Gap(): read again what you depend on

The engine is asked for changes once for all subscribers of the process; each change is matched here. Changes that
arrive while a subscriber is busy are merged, so a slow one costs bounded memory and skips to the newest state.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterable
from types import TracebackType
from typing import Protocol, Self, TypeAlias

import msgspec

from sojourn import limits
from sojourn.errors import ClosedError, UnavailableError
from sojourn.kernel.clock import Clock
from sojourn.kernel.engine import Changes, Engine, Position
from sojourn.kernel.keys import Key, Scope, Space

__all__ = ["Change", "Changed", "Gap", "Listener", "Subscription", "Subscriptions"]

_log = logging.getLogger(__name__)


class Changed(msgspec.Struct, frozen=True):
    """These keys were written or removed since the last answer."""

    keys: frozenset[Key]


class Gap(msgspec.Struct, frozen=True):
    """Changes may be missing: read again everything that you depend on."""


Change: TypeAlias = Changed | Gap


class Listener(Protocol):
    """Who is told of every change, and matches it himself."""

    def offer(self, key: Key) -> None:
        """Take note of a changed key."""
        ...

    def miss(self) -> None:
        """Take note that changes may be missing."""
        ...

    def fail(self, error: Exception) -> None:
        """Take note that there will be no more changes."""
        ...


class Subscription:
    """The changes of some scopes, from the moment it is entered. Iterate it; leave it to end it."""

    def __init__(self, subscriptions: Subscriptions, scopes: tuple[Scope, ...]) -> None:
        self.scopes = scopes
        self._subscriptions = subscriptions
        self._pending = set[Key]()
        self._gap = False
        self._failure: Exception | None = None
        self._woken = asyncio.Event()

    async def __aenter__(self) -> Self:
        """Become ready: each later change is delivered at least once.

        Raises:
            UnavailableError: the engine could not be reached.
        """
        await self._subscriptions.add(self, self.scopes)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the subscription."""
        await self._subscriptions.remove(self, self.scopes)

    def __aiter__(self) -> Self:
        """Iterate over the changes, without end."""
        return self

    async def __anext__(self) -> Change:
        """Wait for the next change. Cancelled, it loses none.

        Raises:
            ClosedError: the store has been closed.
        """
        await self._woken.wait()
        if self._failure is not None:
            raise self._failure
        self._woken.clear()
        keys, self._pending = self._pending, set[Key]()
        if self._gap:
            self._gap = False
            return Gap()
        return Changed(frozenset(keys))

    def offer(self, key: Key) -> None:
        """Take note of a changed key if it lies in one of the scopes."""
        if self._gap or not any(key == scope if isinstance(scope, Key) else key in scope for scope in self.scopes):
            return
        self._pending.add(key)
        if len(self._pending) > limits.SUBSCRIPTION_KEYS:
            self.miss()
        self._woken.set()

    def miss(self) -> None:
        """Take note that changes may be missing."""
        self._gap = True
        self._pending.clear()
        self._woken.set()

    def fail(self, error: Exception) -> None:
        """End the iteration with this error."""
        self._failure = error
        self._woken.set()


class Subscriptions:
    """All subscriptions of one store, and the one task that feeds them while there are any."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        # As sets, but in the order in which they came: they are woken in the same order in each run of a program.
        self._by_partition: defaultdict[tuple[str, str], dict[Listener, None]] = defaultdict(dict)
        self._by_space: defaultdict[str, dict[Listener, None]] = defaultdict(dict)
        self._of_all: dict[Listener, None] = {}
        self._all: dict[Listener, None] = {}
        self._reader: asyncio.Task[None] | None = None
        self._looking: asyncio.Future[Changes] | None = None
        self._asked: list[asyncio.Future[None]] = []
        self._starting = asyncio.Lock()

    async def add(self, listener: Listener, scopes: Iterable[Scope] | None) -> None:
        """Feed the listener from now on, with what lies in these scopes, or with everything.

        Raises:
            UnavailableError: the engine could not be reached.
        """
        async with self._starting:
            if self._reader is None:
                position = (await self._engine.changes(None, 0)).position
                self._reader = asyncio.create_task(self._follow(position))
        self._all[listener] = None
        if scopes is None:
            self._of_all[listener] = None
            return
        for scope in scopes:
            self._listeners(scope)[listener] = None

    async def remove(self, listener: Listener, scopes: Iterable[Scope] | None) -> None:
        """Feed the listener no more; stop reading the log if it was the last."""
        self._all.pop(listener, None)
        self._of_all.pop(listener, None)
        for scope in scopes or ():
            self._listeners(scope).pop(listener, None)
            self._forget(scope)
        async with self._starting:
            if not self._all:
                await self._stop()

    async def catch_up(self) -> None:
        """Return once every change that was committed before this call has been offered.

        Raises:
            UnavailableError: the log cannot be read for now, or a part of it.
            ClosedError: nobody reads the log any more; whoever listened has been told.
        """
        if self._reader is None:
            raise ClosedError("the log is not read")
        told = asyncio.get_running_loop().create_future()
        self._asked.append(told)
        if self._looking is not None:
            self._looking.cancel()  # it may wait for long; the next look does not
        await told

    async def close(self) -> None:
        """End every subscription with `ClosedError`."""
        for listener in tuple(self._all):
            listener.fail(ClosedError("the store has been closed"))
        await self._stop()

    async def _stop(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
            self._give_up(_unread())

    async def _follow(self, position: Position) -> None:
        pause = 0.01
        while True:
            asked = len(self._asked)
            try:
                changes = await self._look(position, 0 if asked else limits.CHANGES_WAIT.total_seconds())
            except UnavailableError as error:
                _log.warning("changes cannot be read, trying again: %s", error)
                self._give_up(error)
                await self._clock.sleep(pause)
                pause = min(2 * pause, limits.REPEAT_BACKOFF_MAX.total_seconds())
                continue
            except Exception as error:  # noqa: BLE001  reported to every subscriber
                _log.exception("changes cannot be read any more")
                self._reader = None  # whoever comes next starts another
                for listener in tuple(self._all):
                    listener.fail(error)
                self._give_up(_unread())
                return
            if changes is None:
                continue
            position = changes.position
            self._hand_out(changes.keys, gap=changes.gap)
            if not changes.more:
                pause = 0.01
                told, self._asked = self._asked[:asked], self._asked[asked:]
                for one in told:
                    if not one.done():
                        one.set_result(None)
            elif not changes.keys:
                self._give_up(UnavailableError("a part of the changes cannot be read"))
                await self._clock.sleep(pause)

    async def _look(self, position: Position, wait: float) -> Changes | None:
        """Ask the engine; None when somebody wants to be caught up, who is not to wait."""
        looking = asyncio.ensure_future(self._engine.changes(position, wait))
        self._looking = looking if wait else None
        try:
            return await looking
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not looking.cancelled() or (task is not None and task.cancelling()):
                raise
            return None
        finally:
            self._looking = None

    def _give_up(self, error: Exception) -> None:
        """Tell this to those who want to be caught up."""
        asked, self._asked = self._asked, []
        for one in asked:
            if not one.done():
                one.set_exception(error)

    def _hand_out(self, keys: Iterable[Key], *, gap: bool) -> None:
        if gap:
            for listener in self._all:
                listener.miss()
            return
        for key in keys:
            for listener in self._by_partition.get(key[:2], ()):
                listener.offer(key)
            for listener in self._by_space.get(key.space, ()):
                listener.offer(key)
            for listener in self._of_all:
                listener.offer(key)

    def _listeners(self, scope: Scope) -> dict[Listener, None]:
        if isinstance(scope, Space):
            return self._by_space[scope.name]
        return self._by_partition[scope.space, scope.partition]

    def _forget(self, scope: Scope) -> None:
        if isinstance(scope, Space):
            if not self._by_space[scope.name]:
                del self._by_space[scope.name]
        elif not self._by_partition[scope.space, scope.partition]:
            del self._by_partition[scope.space, scope.partition]


def _unread() -> ClosedError:
    return ClosedError("the log is not read any more")
