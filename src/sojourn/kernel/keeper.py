"""Keeping leases alive: one keeper for all leases that one `Leases` has granted, however many they are.

The walk of one lease: `expect` before its grant is sent, `keep` once it holds, then a renewal at a third of its time
to live, again and again, and a look at it whenever something is said to have happened to it; `drop` when it was lost or
given back. What costs anything is shared. One task sleeps until the next renewal is due, and none when no lease is
held. One subscription to each space of leases hears what happens there, from its first lease until the store closes.

The log names the keys that changed, and not who changed them: a grant is heard of by the process that asked for it too,
and looked at, for somebody may have ended or asked for the lease since. Leases that are heard of together are looked at
in one read, and those that have ended meanwhile in none.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import random
from collections.abc import Iterable
from itertools import count, islice
from typing import Final, Protocol

from sojourn import limits
from sojourn.errors import ClosedError
from sojourn.kernel.keys import Key, Space
from sojourn.kernel.store import Store
from sojourn.kernel.subscriptions import Changed
from sojourn.kernel.transaction import Reads, Record
from sojourn.kernel.waiting import first_of

__all__ = ["Keeper", "Kept", "request_key", "shown"]

_log = logging.getLogger(__name__)

_REQUEST: Final = "\x01request"
_STALE: Final = 100
"""Renewals of leases that are gone, which are left among those to come before it is worth while to remove them."""


def request_key(key: Key) -> Key:
    """Return where the holder of the lease at the key is asked to hand it over."""
    return Key(key.space, key.partition, key.item + _REQUEST)


def shown(key: Key) -> str:
    """Return the key as people read it."""
    return "/".join(key)


class Kept(Protocol):
    """A lease as its keeper sees it. `between` is the seconds between two renewals."""

    key: Key
    between: float
    safe_until: float
    is_ending: bool

    async def renew(self) -> None:
        """Prolong it, and `safe_until` with it."""
        ...

    def endanger(self, error: Exception) -> None:
        """Note that it was not renewed."""
        ...

    def lose(self) -> None:
        """Note that it is lost, and have it dropped."""
        ...

    def see(self, lease: Record | None, request: Record | None) -> None:
        """Note what stands at its key, and at that of a request for it."""
        ...


class Keeper:
    """Renews the leases of one process, and notices what happens to them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: dict[Key, Kept] = {}
        self._expected: dict[Key, bool] = {}
        self._due: list[tuple[float, int, Kept]] = []
        self._numbers = count()
        self._alarm: asyncio.Task[None] | None = None
        self._alarm_at = 0.0
        self._renewals: dict[Kept, asyncio.Task[None]] = {}
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._unseen: dict[Kept, None] = {}
        self._looking: asyncio.Task[None] | None = None

    # -- From the grant to the end ------------------------------------------------------------------------------------

    def expect(self, key: Key) -> None:
        """Take note of what happens from now on: a grant will be sent, and hold before its answer is here."""
        self._expected[key] = False

    def forget(self, key: Key) -> None:
        """Expect no grant any more."""
        self._expected.pop(key, None)

    def keep(self, lease: Kept) -> None:
        """Keep a lease that was granted, until it is dropped."""
        before = self._kept.get(lease.key)
        if before is not None:
            self.drop(before)
            if not before.is_ending:  # else whoever ends it is told by that commit
                before.lose()
        self._kept[lease.key] = lease
        self._plan(lease, lease.between)
        if not _is_on_its_way(self._watches.get(lease.key.space)):
            self._watches[lease.key.space] = self._store.spawn(self._follow(lease.key.space))
        if self._expected.pop(lease.key, False):
            self.look_at(lease)

    def keeps(self, lease: Kept) -> bool:
        """Say whether the lease is kept."""
        return self._kept.get(lease.key) is lease

    def drop(self, lease: Kept) -> None:
        """Keep the lease no more. A renewal on its way goes on."""
        if not self.keeps(lease):
            return
        del self._kept[lease.key]
        self._unseen.pop(lease, None)
        if not self._kept:
            self._rest()
        elif len(self._due) > 2 * len(self._kept) + _STALE:
            self._due = [entry for entry in self._due if self.keeps(entry[2])]
            heapq.heapify(self._due)

    async def stop(self, lease: Kept) -> None:
        """Keep the lease no more, and end a renewal on its way."""
        self.drop(lease)
        renewal = self._renewals.pop(lease, None)
        if renewal is not None:
            renewal.cancel()
            await asyncio.gather(renewal, return_exceptions=True)

    def _rest(self) -> None:
        """Nothing is kept: let nothing of it go on."""
        self._due.clear()
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    # -- Renewing -----------------------------------------------------------------------------------------------------

    def _plan(self, lease: Kept, pause: float) -> None:
        """Renew the lease after about so many seconds, but see to it no later than at its safe time."""
        jitter = random.uniform(0.8, 1.0)  # noqa: S311  so that leases taken together are not renewed together
        at = min(self._store.clock.monotonic() + pause * jitter, lease.safe_until)
        heapq.heappush(self._due, (at, next(self._numbers), lease))
        self._set_alarm()

    def _set_alarm(self) -> None:
        """Have one task sleep until the first lease is due, or a little less."""
        at = self._due[0][0]
        if self._alarm is not None and not self._alarm.done():
            if self._alarm_at <= at:
                return
            self._alarm.cancel()
        self._alarm, self._alarm_at = self._store.spawn(self._wake(at)), at

    async def _wake(self, at: float) -> None:
        """Sleep; then renew what is due, side by side, and set the next alarm."""
        clock = self._store.clock
        await clock.sleep(at - clock.monotonic())
        self._alarm = None
        now = max(clock.monotonic(), at)  # a clock may wake us a hair too early, again and again
        while self._due and self._due[0][0] <= now:
            lease = heapq.heappop(self._due)[2]
            if not self.keeps(lease):
                continue
            if now >= lease.safe_until:
                lease.lose()
            else:
                self._renewals[lease] = self._store.spawn(self._renew(lease))
        if self._due:
            self._set_alarm()

    async def _renew(self, lease: Kept) -> None:
        """Renew the lease. One failure is a warning; loss is declared at the safe time, even if the renewal hangs."""
        clock, pause = self._store.clock, lease.between
        try:
            await first_of(lease.renew(), clock.sleep(lease.safe_until - clock.monotonic()))
        except Exception as error:  # noqa: BLE001  whatever it is: a lease is renewed, or said to be lost
            pause /= 4
            if self.keeps(lease):
                lease.endanger(error)
        finally:
            self._renewals.pop(lease, None)
        if not self.keeps(lease):
            return
        if clock.monotonic() >= lease.safe_until:
            lease.lose()
        else:
            self._plan(lease, pause)

    # -- Noticing -----------------------------------------------------------------------------------------------------

    def look_at(self, *leases: Kept) -> None:
        """Find out what has happened to these leases, soon; what comes together is one read."""
        self._unseen.update(dict.fromkeys(leases))
        if self._unseen and not _is_on_its_way(self._looking):
            self._looking = self._store.spawn(self._look())

    async def _follow(self, space: str) -> None:
        """Hear what happens in the space, until the store is closed. While it cannot be heard, leases are renewed."""
        while True:
            try:
                async with self._store.watch(Space(space)) as changes:
                    self._notice_all(space)  # nobody tells of what happened before the watch was ready
                    async for change in changes:
                        if isinstance(change, Changed):
                            self._notice(change.keys)
                        else:
                            self._notice_all(space)
            except ClosedError:
                self._kept.clear()
                self._unseen.clear()
                self._rest()
                return
            except Exception as error:  # noqa: BLE001  whatever it is: leases are renewed meanwhile
                _log.warning("the leases in %s cannot be watched, trying again: %s", space, error)
                await self._store.clock.sleep(limits.REPEAT_BACKOFF_MAX.total_seconds())

    def _notice(self, keys: Iterable[Key]) -> None:
        for key in keys:
            place = Key(key.space, key.partition, key.item.removesuffix(_REQUEST))
            if place in self._expected:
                self._expected[place] = True
            if place in self._kept:
                self.look_at(self._kept[place])

    def _notice_all(self, space: str) -> None:
        self._expected.update({key: True for key in self._expected if key.space == space})
        self.look_at(*(lease for lease in self._kept.values() if lease.key.space == space))

    async def _look(self) -> None:
        """Look at every lease that may not be what it was. What cannot be read is looked at again later."""
        while self._unseen:
            leases = tuple(islice(self._unseen, limits.TRANSACTION_READS // 2))
            for lease in leases:
                del self._unseen[lease]
            keys = tuple(key for lease in leases for key in (lease.key, request_key(lease.key)))
            try:
                records = (await self._store.read(Reads(keys))).records.keys
            except ClosedError:
                return
            except Exception as error:  # noqa: BLE001  whatever it is: it is not known what happened
                _log.warning("%d leases could not be looked at, trying again: %s", len(leases), error)
                self._unseen.update((lease, None) for lease in leases if self.keeps(lease))
                await self._store.clock.sleep(leases[0].between / 4)
                continue
            for lease, record, request in zip(leases, records[::2], records[1::2], strict=True):
                if self.keeps(lease):
                    lease.see(record, request)


def _is_on_its_way(task: asyncio.Task[None] | None) -> bool:
    return task is not None and not task.done()
