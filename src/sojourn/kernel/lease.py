"""Leases: an exclusive claim that ends by itself, fenced at the data.

A lease is a record in the partition it protects, and its revision is its fencing token. Whoever writes under a lease
adds `lease.held` to the guards of that very transaction, so a holder that was paused past its time is refused by the
data, whatever its own clock says.

    lease = await leases.acquire(key, holder="worker 7", wait=10, reads=Reads(keys=(document,)))
    document = lease.granted.records.keys[0]                    # taken and read in one commit
    await store.commit(Transaction(ids.new(), guards=(lease.held,), writes=(Put(...), *lease.ending)))

Waiters queue in their process first and then watch the record: a release is taken over at once, in order.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final

import msgspec

from sojourn import limits
from sojourn.errors import (
    ClosedError,
    InvalidError,
    LeaseHeldError,
    LeaseLostError,
    LimitError,
    SojournError,
)
from sojourn.kernel import ids
from sojourn.kernel.attempt import Attempt
from sojourn.kernel.codec import codec
from sojourn.kernel.keys import Key, Now
from sojourn.kernel.store import Store, conflict_error
from sojourn.kernel.subscriptions import Subscription
from sojourn.kernel.transaction import (
    Absent,
    Committed,
    Conflict,
    Delete,
    Guard,
    Present,
    Put,
    Reads,
    Record,
    RevisionIs,
    Touch,
    Transaction,
    Write,
)
from sojourn.kernel.turns import Turns
from sojourn.kernel.waiting import first_of

__all__ = ["Lease", "LeaseInfo", "Leases", "ending"]

_log = logging.getLogger(__name__)


class _Claim(msgspec.Struct, frozen=True):
    holder: str


_CLAIM: Final = codec(_Claim)


class LeaseInfo(msgspec.Struct, frozen=True):
    """Who holds a lease: its token, the engine's time of the grant, and when it ends unless renewed."""

    holder: str
    token: int
    since: int
    expires_at: int

    @classmethod
    def of(cls, record: Record) -> LeaseInfo:
        """Return what the record of a lease says."""
        return cls(_CLAIM.decode(record.value).holder, record.revision, record.rank or 0, record.expires_at or 0)


def ending(key: Key) -> tuple[Write, ...]:
    """Return the writes that end the lease at the key, whoever holds it, and with it the request for it."""
    return (Delete(key), Delete(_request_key(key)))


class Lease:
    """A granted lease, kept alive by a task of the store until it is released or lost.

    `granted` is the outcome of the commit that took it, with what was read in it. `lost` and `requested` say what
    happened to it, `endangered` that it was not renewed when it should have been: the time to save. Whoever has no
    task that waits for these sets `tell`, which is called at each of them. A holder that sends a transaction with
    `ending` sets `is_ending` before, and takes it back if that failed.
    """

    def __init__(self, leases: Leases, key: Key, granted: Committed, ttl: timedelta, started: float) -> None:
        assert granted.revision is not None
        self.key = key
        self.token = granted.revision
        self.granted = granted
        self.ttl = ttl
        self.lost = asyncio.Event()
        self.requested = asyncio.Event()
        self.endangered = asyncio.Event()
        self.is_ending = False
        self.tell: Callable[[], None] | None = None
        self._leases = leases
        self._between = ttl.total_seconds() / limits.LEASE_RENEWALS
        self._safe_until = started + ttl.total_seconds()
        self._keeper: asyncio.Task[None] | None = None
        self._told = 0

    @property
    def held(self) -> Guard:
        """The guard that holds while nobody has taken the lease since."""
        return RevisionIs(self.key, self.token)

    @property
    def ending(self) -> tuple[Write, ...]:
        """The writes that release the lease, for a transaction that does so with its last save."""
        return ending(self.key)

    @property
    def is_held(self) -> bool:
        """Say whether the lease is surely held, by this process's monotonic clock; `held` is what decides."""
        return not self.lost.is_set() and self._leases.store.clock.monotonic() < self._safe_until

    async def renew(self) -> None:
        """Prolong the lease by its time to live. The keeper does this; call it after a long pause of your own.

        Raises:
            LeaseLostError: it ended or was taken; nothing was written.
            UnavailableError: the store could not be reached; the lease still ends when its time is over.
        """
        started = self._leases.store.clock.monotonic()
        transaction = Transaction(guards=(self.held,), writes=(Touch(self.key, ttl=self.ttl),))
        outcome = await self._leases.store.submit(transaction)
        if isinstance(outcome, Conflict):
            self._lose()
            raise LeaseLostError(
                f"the lease {_shown(self.key)} ended or was taken; acquire it anew",
                guard=outcome.guard,
                found=outcome.found,
                now=outcome.now,
            )
        self._safe_until = started + self.ttl.total_seconds()
        self.endangered.clear()

    async def release(self) -> None:
        """Give the lease back: whoever waits takes it over at once. Releasing a lost lease does nothing.

        Cancelled, the release goes on in the background.

        Raises:
            UnavailableError: the store could not be reached; the lease ends when its time is over.
        """
        giving = None
        if not self.lost.is_set():
            self.lost.set()
            giving = self._leases.store.spawn(self._leases.give_back(self.key, self.token), finish=True)
        await self.stop_keeping()
        if giving is not None:
            await asyncio.shield(giving)

    async def stop_keeping(self) -> None:
        """Renew the lease no more, because a transaction with `ending` has released it."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)

    def keep_on(self) -> None:
        """Take back `is_ending`, because that transaction failed, and look at what happened meanwhile."""
        self.is_ending = False
        _ = self._leases.store.spawn(self._look_again())

    def keep(self) -> None:
        """Start renewing at a third of the time to live, and watching for requests and for takers."""
        if self._keeper is None:
            self._keeper = self._leases.store.spawn(self._keep())

    async def _keep(self) -> None:
        """Renew until lost. One failed renewal is a warning; loss is declared when the safe time has passed."""
        while not self.lost.is_set():
            try:
                async with self._leases.store.watch(self.key, _request_key(self.key)) as changes:
                    await first_of(
                        self._look(), self._pause(math.inf)
                    )  # nobody tells of what happened before the watch was ready
                    await self._follow(changes)
            except ClosedError:
                return
            except Exception as error:  # noqa: BLE001  whatever it is: a lease is renewed, or said to be lost
                _log.warning("the lease %s cannot be watched, trying again: %s", _shown(self.key), error)
                await self._is_renewed()
                await self._pause(self._between / 4)

    async def _follow(self, changes: Subscription) -> None:
        pause = self._between
        while not self.lost.is_set():
            jitter = random.uniform(0.8, 1.0)  # noqa: S311  so that leases taken together are not renewed together
            if await first_of(anext(changes), self._pause(pause * jitter)) is not None:
                await first_of(self._look(), self._pause(math.inf))
            elif not self.lost.is_set():
                pause = self._between if await self._is_renewed() else self._between / 4

    async def _pause(self, seconds: float) -> None:
        """Sleep, but not beyond the safe time, at which the lease is lost."""
        clock = self._leases.store.clock
        await clock.sleep(min(seconds, self._safe_until - clock.monotonic()))
        if clock.monotonic() >= self._safe_until:
            self._lose()

    async def _is_renewed(self) -> bool:
        """Renew the lease; a renewal that hangs ends with the safe time, for then the lease is lost."""
        try:
            await first_of(self.renew(), self._pause(math.inf))
        except SojournError as error:
            if not self.lost.is_set():
                self._happened(self.endangered)
                _log.warning("the lease %s was not renewed, trying again: %s", _shown(self.key), error)
            return False
        return not self.lost.is_set()

    async def _look(self) -> None:
        """Find out what a change means: the lease was taken, or somebody asks for it."""
        keys = (self.key, _request_key(self.key))
        lease, request = (await self._leases.store.read(Reads(keys))).records.keys
        if self.is_ending:
            return  # whoever ends it is told by that commit
        if lease is None or lease.revision != self.token:
            self._lose()
        elif request is not None and request.revision != self._told:
            self._told = request.revision  # the first look and the change that it came by may both find it
            self._happened(self.requested)

    async def _look_again(self) -> None:
        try:
            await self._look()
        except SojournError as error:
            _log.warning("the lease %s could not be looked at: %s", _shown(self.key), error)

    def _lose(self) -> None:
        if not self.lost.is_set():
            _log.warning("the lease %s with token %d is lost", _shown(self.key), self.token)
            self._happened(self.lost)

    def _happened(self, event: asyncio.Event) -> None:
        event.set()
        if self.tell is not None:
            self.tell()


class Leases:
    """Grants the leases of one store to callers of this process."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._turns: Turns[Key] = Turns()

    async def acquire(  # noqa: PLR0913  each is one independent choice of the caller
        self,
        key: Key,
        *,
        holder: str,
        ttl: timedelta = limits.LEASE_TTL,
        wait: float = 0,
        ask: bool = False,
        steal_after: float | None = None,
        guards: Sequence[Guard] = (),
        writes: Sequence[Write] = (),
        reads: Reads | None = None,
    ) -> Lease:
        """Take the lease and read what it protects, in one commit; wait up to `wait` seconds for it.

        `holder` says to people who holds it. With `ask` the present holder is requested to hand it over. With
        `steal_after` it is taken from a holder that has kept it that many seconds longer: the old holder is fenced.
        `guards` and `writes` join the commit. Cancelled, a lease that was just granted is given back.

        Raises:
            LeaseHeldError: somebody else still holds it when the wait is over; nothing was written.
            ConflictError: one of `guards` failed; nothing was written.
            LimitError: `limits.LEASE_WAITERS` callers of this process wait for it already.
            UnavailableError: the store could not be reached; nothing was written.
            CommitUnknownError: the answer was lost; if the lease was taken it ends when its time is over.
        """
        if ttl < limits.LEASE_TTL_MIN:
            raise InvalidError("ttl", f"a lease lives at least {limits.LEASE_TTL_MIN}")
        deadline = self.store.clock.monotonic() + wait
        if self._turns.queued(key) >= limits.LEASE_WAITERS:
            raise LimitError(
                "waiters", limit=limits.LEASE_WAITERS, found=self._turns.queued(key) + 1, unit="callers waiting"
            )
        grant = _Grant(key, holder, ttl, tuple(guards), tuple(writes), reads or Reads())
        await self._take_turn(key, deadline)
        try:
            found = await self._try(grant, Absent(key))
            if isinstance(found, Lease):
                return found
            return await self._wait(grant, deadline, ask=ask, steal_after=steal_after)
        finally:
            self._turns.give_back((key,))

    async def probe(self, key: Key) -> LeaseInfo | None:
        """Return who holds the lease, or None.

        Raises:
            UnavailableError: the store could not be reached.
        """
        (record,) = (await self.store.read(Reads(keys=(key,)))).records.keys
        return None if record is None else LeaseInfo.of(record)

    async def ask(self, key: Key, *, holder: str) -> bool:
        """Request whoever holds the lease to hand it over, for `holder`; False when nobody holds it.

        Raises:
            UnavailableError: the store could not be reached; nothing was written.
        """
        request = Put(_request_key(key), _CLAIM.encode(_Claim(holder)), ttl=limits.LEASE_TTL)
        return isinstance(await self.store.submit(Transaction(guards=(Present(key),), writes=(request,))), Committed)

    async def revoke(self, key: Key) -> LeaseInfo | None:
        """Take the lease from whoever holds it, and return who did; the old holder is fenced and told.

        Raises:
            UnavailableError: the store could not be reached; nothing was written.
        """

        async def remove(tx: Attempt) -> LeaseInfo | None:
            record = await tx.get(key)
            if record is None:
                return None
            tx.write(*ending(key))
            return LeaseInfo.of(record)

        return await self.store.run(remove)

    async def give_back(self, key: Key, token: int) -> None:
        """Remove the lease if it still has this token.

        Raises:
            UnavailableError: the store could not be reached; the lease ends when its time is over.
        """
        # Done twice it is harmless, so it needs no id: the second time the guard fails.
        await self.store.submit(Transaction(guards=(RevisionIs(key, token),), writes=ending(key)))

    async def _take_turn(self, key: Key, deadline: float) -> None:
        if not self._turns.is_busy(key):
            await self._turns.take((key,))
            return
        left = deadline - self.store.clock.monotonic()
        if not await self._turns.take_within((key,), self.store.clock.sleep(left)):
            raise LeaseHeldError(f"others in this process wait for {_shown(key)} and it was not released in time")

    async def _try(self, grant: _Grant, guard: Guard) -> Lease | Conflict:
        """Try to take the lease once. The commit is shielded: a cancelled caller gives back what it was granted."""
        started = self.store.clock.monotonic()
        commit = self.store.spawn(self.store.submit(grant.transaction(guard)), finish=True)
        try:
            outcome = await asyncio.shield(commit)
        except asyncio.CancelledError:
            _ = self.store.spawn(self._undo(commit, grant.key), finish=True)
            raise
        if isinstance(outcome, Conflict):
            if outcome.guard != guard:
                raise conflict_error(outcome)
            return outcome
        lease = Lease(self, grant.key, outcome, grant.ttl, started)
        lease.keep()
        return lease

    async def _undo(self, commit: asyncio.Task[Committed | Conflict], key: Key) -> None:
        try:
            outcome = await commit
            if isinstance(outcome, Committed) and outcome.revision is not None:
                await self.give_back(key, outcome.revision)
        except SojournError as error:
            _log.warning("the lease %s may have been taken for a cancelled caller: %s", _shown(key), error)

    async def _wait(self, grant: _Grant, deadline: float, *, ask: bool, steal_after: float | None) -> Lease:
        """Watch the lease and try again whenever it may be free; whoever gets here is first in this process."""
        granted: Lease | None = None
        try:
            async with self.store.watch(grant.key) as changes:
                granted = await self._watched(grant, changes, deadline, ask=ask, steal_after=steal_after)
        except BaseException:
            if granted is not None:  # leaving the watch takes a moment, in which the caller can be cancelled
                _ = self.store.spawn(granted.release(), finish=True)
            raise
        return granted

    async def _watched(
        self, grant: _Grant, changes: Subscription, deadline: float, *, ask: bool, steal_after: float | None
    ) -> Lease:
        clock = self.store.clock
        steal_at = None if steal_after is None else clock.monotonic() + steal_after
        asked = 0
        while True:
            found = await self._try(grant, Absent(grant.key))
            if isinstance(found, Lease):
                return found
            record = found.found
            now = clock.monotonic()
            if record is not None and steal_at is not None and now >= steal_at:
                stolen = await self._try(grant, RevisionIs(grant.key, record.revision))
                if isinstance(stolen, Lease):
                    return stolen
                continue
            if now >= deadline:
                raise _held_error(found)
            if ask and record is not None and record.revision != asked:
                asked = record.revision  # each holder is asked once
                await self.ask(grant.key, holder=grant.holder)
            until = [deadline - now]
            if record is not None and record.expires_at is not None:
                until.append((record.expires_at - found.now) / 1_000)
            if steal_at is not None:
                until.append(steal_at - now)
            await first_of(anext(changes), clock.sleep(min(until)))


class _Grant(msgspec.Struct, frozen=True):
    key: Key
    holder: str
    ttl: timedelta
    guards: tuple[Guard, ...]
    writes: tuple[Write, ...]
    reads: Reads

    def transaction(self, guard: Guard) -> Transaction:
        claim = Put(self.key, _CLAIM.encode(_Claim(self.holder)), rank=Now(), ttl=self.ttl)
        # A request was for whoever held the lease before: an expired or stolen lease leaves it behind.
        answered = Delete(_request_key(self.key))
        return Transaction(ids.new(), (guard, *self.guards), (claim, answered, *self.writes), self.reads)


def _request_key(key: Key) -> Key:
    return Key(key.space, key.partition, key.item + "\x01request")


def _held_error(conflict: Conflict) -> LeaseHeldError:
    found = conflict.found
    holder = "somebody" if found is None else repr(_CLAIM.decode(found.value).holder)
    return LeaseHeldError(
        f"the lease is held by {holder}; wait longer, or ask for it",
        guard=conflict.guard,
        found=found,
        now=conflict.now,
    )


def _shown(key: Key) -> str:
    return "/".join(key)
