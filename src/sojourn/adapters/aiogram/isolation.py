"""Updates of one chat, one after another, in however many processes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from datetime import timedelta

from aiogram.fsm.storage.base import BaseEventIsolation, StorageKey

from sojourn import limits
from sojourn.adapters.aiogram.layout import Layout
from sojourn.errors import LeaseLostError, SojournError
from sojourn.kernel import Attempt, Conflict, Key, Lease, Leases, Record, Store, Transaction
from sojourn.kernel.waiting import seen

__all__ = ["LeaseIsolation", "fetch"]

_log = logging.getLogger(__name__)

_held: ContextVar[tuple[_Held, ...]] = ContextVar("_held", default=())
"""The leases that the present handler runs under."""


class LeaseIsolation(BaseEventIsolation):
    """An event isolation for aiogram's dispatcher, on any engine, shared by any number of processes.

        dispatcher = Dispatcher(storage=DurableStorage(store), events_isolation=LeaseIsolation(store))

    Each key has a lease while an update of it is handled; the lease is renewed as long as the handler runs, and ends by
    itself, after `ttl` at the latest, when its process dies. Who waits in one process is served in order. `wait` is how
    long an update waits. `tenant` is as for `DurableStorage`, and must be the same.

    A lease is lost when its process stood still for longer than `ttl`, or when somebody revoked it: another update may
    then be handled at the same time. The handler goes on, and the log says so; but what it then writes to a
    `DurableStorage` of the same store is refused with `LeaseLostError`, since it would undo what the other has written.
    """

    def __init__(
        self,
        store: Store,
        *,
        ttl: timedelta = limits.LEASE_TTL,
        wait: timedelta = limits.UPDATE_WAIT,
        tenant: str = "",
    ) -> None:
        self._store = store
        self._leases = Leases(store)
        self._layout = Layout(tenant)
        self._ttl = ttl
        self._wait = wait

    @asynccontextmanager
    async def lock(self, key: StorageKey) -> AsyncGenerator[None, None]:
        """Hold the lease of a key while the body runs. Cancelled, it is given back.

        A lease that cannot be given back is logged, and ends when its time is over.

        Raises:
            LeaseHeldError: others held it all the time that this one may wait; the body did not run.
            LimitError: `limits.LEASE_WAITERS` updates of this process wait for it already.
            UnavailableError: the store could not be reached; the body did not run.
        """
        lease = await self._leases.acquire(
            self._layout.lease(key), holder="aiogram", ttl=self._ttl, wait=self._wait.total_seconds()
        )
        held = _Held(self._store, lease)
        before = _held.set((*_held.get(), held))
        try:
            yield
        finally:
            _held.reset(before)
            await held.end()

    async def close(self) -> None:
        """Do nothing: the store is closed by whoever opened it."""


class _Held:
    """A lease for as long as its handler runs. A task that the handler has left behind runs under it no more."""

    def __init__(self, store: Store, lease: Lease) -> None:
        self._store = store
        self._lease = lease
        self._is_over = False

    def protects(self, store: Store, partition: str) -> bool:
        return not self._is_over and self._store is store and self._lease.key.partition == partition

    @property
    def key(self) -> Key:
        return self._lease.key

    def is_in(self, record: Record | None) -> bool:
        return record is not None and record.revision == self._lease.token

    async def end(self) -> None:
        """Give the lease back; cancelled, it is given back in the background. What it says goes to the log."""
        self._is_over = True
        self._lease.is_ending = True
        giving = Transaction(guards=(self._lease.held,), writes=self._lease.ending)
        task = self._store.spawn(self._store.submit(giving), finish=True)
        task.add_done_callback(seen)
        try:
            outcome = await asyncio.shield(task)
        except SojournError as error:
            _log.warning("the lease of an update was not given back, and ends by itself: %s", error)
        else:
            if isinstance(outcome, Conflict):
                _log.warning("the lease of an update was lost before its handler ended; another may run meanwhile")
        finally:
            self._lease.let_go()


async def fetch(tx: Attempt, store: Store, key: Key) -> Record | None:
    """Return the record at a key, and have the attempt hold only while the present handler has what protects it.

    That is each lease that it took in the partition of the key.

    Raises:
        LeaseLostError: one of them is lost.
        UnavailableError: the store could not be reached.
    """
    protecting = [held for held in _held.get() if held.protects(store, key.partition)]
    await tx.fetch((key, *(held.key for held in protecting)))
    for held in protecting:
        if not held.is_in(await tx.get(held.key)):
            raise LeaseLostError("another update of this chat is handled meanwhile; what this one writes is refused")
    return await tx.get(key)
