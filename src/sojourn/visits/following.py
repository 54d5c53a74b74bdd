"""Following who is there: the one mechanism behind watching the active and watching a room.

A record stands for somebody who is there. Its creation and its deletion arrive as changes; a heartbeat only touches it
and wakes nobody. Nobody announces that it expires, so whoever follows sets a timer for the earliest one and then reads
again: what has been touched meanwhile lives on, what is gone has left.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Hashable, Iterable, Iterator

import msgspec
from sortedcontainers import SortedSet

from sojourn import limits
from sojourn.errors import UnavailableError
from sojourn.kernel import Change, Changed, Key, Reads, Record, Space, Span, Store, Subscription
from sojourn.kernel.waiting import first_of
from sojourn.visits.model import ActiveChange, ChangeKind

__all__ = ["Crowd", "follow"]

_log = logging.getLogger(__name__)

_NOTHING = Changed(frozenset())


class Crowd(msgspec.Struct, frozen=True):
    """Whom to follow: the records of a scope, a listing of all of them, and what to make of one.

    `name` is whom a record stands for. `stay` is what remains the same of it until that one leaves: a record with
    another is there because somebody has left and come back.
    """

    scope: Space | Span
    everybody: Callable[[], AsyncIterator[Record]]
    name: Callable[[Key], str]
    stay: Callable[[Record], Hashable]


async def follow(store: Store, crowd: Crowd) -> AsyncGenerator[ActiveChange, None]:
    """Yield a join for each who is there, then each join and leave, until closed.

    A store that goes away is waited for. What happens while it is away, or while the caller is busy, is merged: who
    came and went again meanwhile is not told of.

    Raises:
        ClosedError: the store is not open, or was closed.
    """
    known = _Known(store, crowd)
    while True:
        try:
            async with store.watch(crowd.scope) as changes:
                for told in await known.look_around():
                    yield told
                while True:
                    change = await known.wait(changes)
                    found = known.look(change.keys) if isinstance(change, Changed) else known.look_around()
                    for told in await found:
                        yield told
        except UnavailableError as error:
            _log.warning("watching %s waits for the store: %s", crowd.scope, error)
            await store.clock.sleep(limits.DUE_POLL.total_seconds())


class _Known:
    """Who was there at the last look, and when to look again."""

    def __init__(self, store: Store, crowd: Crowd) -> None:
        self._store = store
        self._crowd = crowd
        self._stays: dict[Key, Hashable] = {}
        self._ends: dict[Key, int] = {}
        self._due: SortedSet[tuple[int, Key]] = SortedSet()
        self._now = 0
        self._looked_at = 0.0

    async def wait(self, changes: Subscription) -> Change:
        """Wait for a change, or until somebody's time is over; then nothing has changed."""
        if not self._due:
            return await anext(changes)
        pause = (self._due[0][0] - self._now) / 1_000 - self._since_look()
        return await first_of(anext(changes), self._store.clock.sleep(pause), default=_NOTHING)

    async def look(self, changed: Iterable[Key]) -> list[ActiveChange]:
        """Read what has changed and whose time is over, and return what that means.

        Raises:
            UnavailableError: the store could not be reached; all that is known stays as it was.
        """
        keys = tuple(dict.fromkeys((*self._over(), *changed)))
        found: dict[Key, Record | None] = {}
        for start in range(0, len(keys), limits.TRANSACTION_READS):
            step = keys[start : start + limits.TRANSACTION_READS]
            snapshot = await self._store.read(Reads(step))
            self._note_time(snapshot.now)
            found.update(zip(step, snapshot.records.keys, strict=True))
        return [told for key, record in found.items() for told in self._note(key, record)]

    async def look_around(self) -> list[ActiveChange]:
        """List everybody, and return in what that differs from what was known.

        Raises:
            UnavailableError: the store could not be reached; all that is known stays as it was.
        """
        self._note_time((await self._store.read(Reads())).now)
        found: dict[Key, Record | None] = dict.fromkeys(self._stays)
        async for record in self._crowd.everybody():
            found[record.key] = record
        return [told for key, record in found.items() for told in self._note(key, record)]

    def _over(self) -> Iterator[Key]:
        """Yield those whose time is over, unless a heartbeat has come meanwhile."""
        now = self._now + round(self._since_look() * 1_000)
        for ends, key in self._due:
            if ends > now:
                return
            yield key

    def _note(self, key: Key, record: Record | None) -> Iterator[ActiveChange]:
        """Take note of what stands at a key now, and yield what that means."""
        self._set_timer(key, None if record is None else record.expires_at)
        before, stay = self._stays.get(key), None if record is None else self._crowd.stay(record)
        if stay == before:
            return
        if before is not None:
            del self._stays[key]
            yield ActiveChange(ChangeKind.LEAVE, self._crowd.name(key))
        if stay is not None:
            self._stays[key] = stay
            yield ActiveChange(ChangeKind.JOIN, self._crowd.name(key))

    def _set_timer(self, key: Key, ends: int | None) -> None:
        before = self._ends.pop(key, None)
        if before is not None:
            self._due.remove((before, key))
        # Who is one too many is told of when the sweep has found the record, like every other change.
        if ends is not None and len(self._ends) < limits.ACTIVE_WATCHED:
            self._ends[key] = ends
            self._due.add((ends, key))

    def _note_time(self, now: int) -> None:
        self._now = now
        self._looked_at = self._store.clock.monotonic()

    def _since_look(self) -> float:
        return self._store.clock.monotonic() - self._looked_at
