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
from collections.abc import Callable, Coroutine, Sequence
from datetime import timedelta
from typing import Any, Final

import msgspec

from sojourn import limits
from sojourn.errors import (
    InvalidError,
    LeaseHeldError,
    LeaseLostError,
    LimitError,
    SojournError,
)
from sojourn.kernel import ids
from sojourn.kernel.attempt import Attempt
from sojourn.kernel.codec import codec
from sojourn.kernel.keeper import Keeper, request_key, shown
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
    Records,
    RevisionIs,
    Touch,
    Transaction,
    Write,
)
from sojourn.kernel.turns import Turns
from sojourn.kernel.waiting import first_of, seen

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
    return (Delete(key), Delete(request_key(key)))


class Notice:
    """Something that has happened to a lease, or not: an `asyncio.Event`, without its weight while nobody waits."""

    __slots__ = ("_event", "_is_set")

    def __init__(self) -> None:
        self._is_set = False
        self._event: asyncio.Event | None = None

    def is_set(self) -> bool:
        """Say whether it has happened."""
        return self._is_set

    def set(self) -> None:
        """Say that it has, and wake whoever waits for it."""
        self._is_set = True
        if self._event is not None:
            self._event.set()

    def clear(self) -> None:
        """Say that it has not, or that it is dealt with."""
        self._is_set = False
        if self._event is not None:
            self._event.clear()

    async def wait(self) -> None:
        """Wait until it has happened."""
        if not self._is_set:
            if self._event is None:
                self._event = asyncio.Event()
            await self._event.wait()


class Lease:
    """A granted lease, kept alive in the background until it is released or lost.

    `granted` is the outcome of the commit that took it, with what was read in it. `lost` and `requested` say what
    happened to it, `endangered` that it was not renewed when it should have been: the time to save. Whoever has no
    task that waits for these sets `tell`, which is called at each of them; whoever says itself that it was lost unsets
    `warns`. A holder that sends a transaction with `ending` sets `is_ending` before, and takes it back if that failed.
    """

    def __init__(self, leases: Leases, key: Key, granted: Committed, ttl: timedelta, started: float) -> None:
        assert granted.revision is not None
        self.key = key
        self.token = granted.revision
        self.granted = granted
        self.ttl = ttl
        self.lost = Notice()
        self.requested = Notice()
        self.endangered = Notice()
        self.is_ending = False
        self.warns = True
        self.tell: Callable[[], None] | None = None
        self.between = ttl.total_seconds() / limits.LEASE_RENEWALS
        self.safe_until = started + ttl.total_seconds()
        self._leases = leases
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
        return not self.lost.is_set() and self._leases.store.clock.monotonic() < self.safe_until

    def forget_records(self) -> None:
        """Let go of what was read with the grant: a lease may be held for long."""
        self.granted = msgspec.structs.replace(self.granted, records=Records())

    async def renew(self) -> None:
        """Prolong the lease by its time to live. This happens by itself; call it after a long pause of your own.

        Raises:
            LeaseLostError: it ended or was taken; nothing was written.
            UnavailableError: the store could not be reached; the lease still ends when its time is over.
        """
        started = self._leases.store.clock.monotonic()
        transaction = Transaction(guards=(self.held,), writes=(Touch(self.key, ttl=self.ttl),))
        outcome = await self._leases.store.submit(transaction)
        if isinstance(outcome, Conflict):
            self.lose()
            raise LeaseLostError(
                f"the lease {shown(self.key)} ended or was taken; acquire it anew",
                guard=outcome.guard,
                found=outcome.found,
                now=outcome.now,
            )
        self.safe_until = started + self.ttl.total_seconds()
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
        await self._leases.keeper.stop(self)

    def let_go(self) -> None:
        """Renew the lease no more, as `stop_keeping`, for who cannot wait: a renewal on its way finds nothing."""
        self.lost.set()
        self._leases.keeper.drop(self)

    def keep_on(self) -> None:
        """Take back `is_ending`, because that transaction failed, and look at what happened meanwhile."""
        self.is_ending = False
        if self._leases.keeper.keeps(self):
            self._leases.keeper.look_at(self)
        else:  # this process was granted it anew
            self.lose()

    def see(self, lease: Record | None, request: Record | None) -> None:
        """Note what stands at the key: the lease may have been taken, or somebody asks for it. The keeper does this."""
        if self.is_ending:
            return  # whoever ends it is told by that commit
        if lease is None or lease.revision != self.token:
            self.lose()
        elif request is not None and request.revision != self._told:
            self._told = request.revision  # what was said of it twice may be looked at twice
            self._happened(self.requested)

    def endanger(self, error: Exception) -> None:
        """Note that the lease was not renewed when it should have been. The keeper does this, and tries again."""
        self._happened(self.endangered)
        _log.warning("the lease %s was not renewed, trying again: %s", shown(self.key), error)

    def lose(self) -> None:
        """Note that the lease is lost. The keeper does this."""
        self._leases.keeper.drop(self)
        if not self.lost.is_set():
            level = logging.WARNING if self.warns else logging.DEBUG
            _log.log(level, "the lease %s with token %d is lost", shown(self.key), self.token)
            self._happened(self.lost)

    def _happened(self, notice: Notice) -> None:
        notice.set()
        if self.tell is not None:
            self.tell()


class Leases:
    """Grants the leases of one store to callers of this process."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.keeper = Keeper(store)
        self._giving_back = set[asyncio.Task[None]]()
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
        renewed: bool = True,
        guards: Sequence[Guard] = (),
        writes: Sequence[Write] = (),
        reads: Reads | None = None,
    ) -> Lease:
        """Take the lease and read what it protects, in one commit; wait up to `wait` seconds for it.

        `holder` says to people who holds it. With `ask` the present holder is requested to hand it over. With
        `steal_after` it is taken from a holder that has kept it that many seconds longer: the old holder is fenced.
        Without `renewed` nobody keeps it: it ends with its time to live, and only the data tell that it was lost.
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
        grant = _Grant(key, holder, ttl, renewed, tuple(guards), tuple(writes), reads or Reads())
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
        request = Put(request_key(key), _CLAIM.encode(_Claim(holder)), ttl=limits.LEASE_TTL)
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

    async def settled(self) -> None:
        """Wait until what was granted to callers that were cancelled meanwhile is given back, as far as it can be."""
        while self._giving_back:
            await asyncio.wait(tuple(self._giving_back))

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
            raise LeaseHeldError(f"others in this process wait for {shown(key)} and it was not released in time")

    async def _try(self, grant: _Grant, guard: Guard) -> Lease | Conflict:
        """Try to take the lease once."""
        if grant.renewed:
            self.keeper.expect(grant.key)
        try:
            started = self.store.clock.monotonic()
            outcome = await self._granted(grant, guard)
            if isinstance(outcome, Committed):
                lease = Lease(self, grant.key, outcome, grant.ttl, started)
                if grant.renewed:
                    self.keeper.keep(lease)
                return lease
        finally:
            self.keeper.forget(grant.key)
        if outcome.guard != guard:
            raise conflict_error(outcome)
        return outcome

    async def _granted(self, grant: _Grant, guard: Guard) -> Committed | Conflict:
        """Commit the grant. The commit is shielded: a cancelled caller gives back what it was granted."""
        commit = self.store.spawn(self.store.submit(grant.transaction(guard)), finish=True)
        try:
            return await asyncio.shield(commit)
        except asyncio.CancelledError:
            self._give_back_later(self._undo(commit, grant.key))
            raise

    def _give_back_later(self, work: Coroutine[Any, Any, None]) -> None:
        task = self.store.spawn(work, finish=True)
        self._giving_back.add(task)
        task.add_done_callback(self._giving_back.discard)
        task.add_done_callback(seen)

    async def _undo(self, commit: asyncio.Task[Committed | Conflict], key: Key) -> None:
        try:
            outcome = await commit
            if isinstance(outcome, Committed) and outcome.revision is not None:
                await self.give_back(key, outcome.revision)
        except SojournError as error:
            _log.warning("the lease %s may have been taken for a cancelled caller: %s", shown(key), error)

    async def _wait(self, grant: _Grant, deadline: float, *, ask: bool, steal_after: float | None) -> Lease:
        """Watch the lease and try again whenever it may be free; whoever gets here is first in this process."""
        granted: Lease | None = None
        try:
            async with self.store.watch(grant.key) as changes:
                granted = await self._watched(grant, changes, deadline, ask=ask, steal_after=steal_after)
        except BaseException:
            if granted is not None:  # leaving the watch takes a moment, in which the caller can be cancelled
                self._give_back_later(granted.release())
            raise
        return granted

    async def _watched(
        self, grant: _Grant, changes: Subscription, deadline: float, *, ask: bool, steal_after: float | None
    ) -> Lease:
        clock = self.store.clock
        steal_at = None if steal_after is None else clock.monotonic() + steal_after
        asked, ask_again_at = 0, clock.monotonic()
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
                raise _held_error(grant.key, found)
            if ask and record is not None and (record.revision != asked or now >= ask_again_at):
                # Each holder at once, and one that could not hand over again: a request ends with its time.
                asked, ask_again_at = record.revision, now + limits.LEASE_TTL.total_seconds() / 2
                await self.ask(grant.key, holder=grant.holder)
            until = [deadline - now]
            if ask:
                until.append(max(ask_again_at - now, 0))
            if record is not None and record.expires_at is not None:
                until.append((record.expires_at - found.now) / 1_000)
            if steal_at is not None:
                until.append(steal_at - now)
            await first_of(anext(changes), clock.sleep(min(until)))


class _Grant(msgspec.Struct, frozen=True):
    key: Key
    holder: str
    ttl: timedelta
    renewed: bool
    guards: tuple[Guard, ...]
    writes: tuple[Write, ...]
    reads: Reads

    def transaction(self, guard: Guard) -> Transaction:
        claim = Put(self.key, _CLAIM.encode(_Claim(self.holder)), rank=Now(), ttl=self.ttl)
        # A request was for whoever held the lease before: an expired or stolen lease leaves it behind.
        answered = Delete(request_key(self.key))
        return Transaction(ids.new(), (guard, *self.guards), (claim, answered, *self.writes), self.reads)


def _held_error(key: Key, conflict: Conflict) -> LeaseHeldError:
    found = conflict.found
    holder = "somebody" if found is None else repr(_CLAIM.decode(found.value).holder)
    return LeaseHeldError(
        f"the lease {shown(key)} is held by {holder}; wait longer, or ask for it",
        guard=conflict.guard,
        found=found,
        now=conflict.now,
    )
