"""Records that fall due: the one mechanism behind timers and the outbox.

A due record has the instant it falls due as its rank. A worker claims it by writing it anew with a later rank, so the
record is its own lease: the new revision is the fencing token, touching the rank renews the claim, and a worker that
dies is followed by another when the rank is reached. Whoever finishes removes the record under its token.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from sojourn import limits
from sojourn.errors import ConflictError, CorruptError, SojournError
from sojourn.kernel import ids
from sojourn.kernel.codec import codec
from sojourn.kernel.keys import Key, Now, Number, RankSpan, Space
from sojourn.kernel.store import Store
from sojourn.kernel.transaction import (
    Committed,
    Delete,
    Guard,
    Put,
    RankAtMost,
    Record,
    RevisionIs,
    Touch,
    Transaction,
    Write,
)
from sojourn.kernel.waiting import first_of

__all__ = ["Claimed", "DueWorker", "due"]

_log = logging.getLogger(__name__)


class _Entry(msgspec.Struct, frozen=True, array_like=True):
    payload: msgspec.Raw
    failures: int = 0


_ENTRY: Final = codec(_Entry)
_CLAIM_MS: Final = int(limits.DUE_CLAIM.total_seconds() * 1_000)


def due(key: Key, payload: bytes, at: Number | None) -> Put:
    """Return the write that makes the record fall due at that instant; `payload` is JSON text.

    None: who writes it has claimed it by that, and goes on with `DueWorker.finish`. It falls due when he is gone.
    """
    return Put(key, _ENTRY.encode(_Entry(msgspec.Raw(payload))), rank=Now(_CLAIM_MS) if at is None else at)


class Claimed(msgspec.Struct, frozen=True):
    """A due record that this worker has claimed. `failures` counts the attempts that failed before."""

    key: Key
    payload: bytes
    failures: int
    token: int

    @property
    def held(self) -> Guard:
        """The guard that holds while nobody else has claimed the record since."""
        return RevisionIs(self.key, self.token)

    @property
    def ending(self) -> Write:
        """The write that removes the record, for the transaction that finishes the work."""
        return Delete(self.key)


class DueWorker:
    """Claims what falls due in one space, performs it, and tries again later what failed.

    Any number of processes may run a worker over the same space. `perform` gets what was claimed and finishes it by a
    commit with its `held` and `ending`; if it raises, the record falls due again after a growing pause.
    """

    def __init__(self, store: Store, space: str, perform: Callable[[Claimed], Awaitable[None]]) -> None:
        self._store = store
        self._space = space
        self._perform = perform

    async def run(self) -> None:
        """Work until cancelled. A store that goes away is waited for."""
        while True:
            try:
                async with self._store.watch(Space(self._space)) as changes:
                    while True:
                        pause = await self.step()
                        await first_of(anext(changes), self._store.clock.sleep(pause))
            except SojournError as error:
                _log.warning("due work in %s waits for the store: %s", self._space, error)
                await self._store.clock.sleep(limits.DUE_POLL.total_seconds())

    async def step(self) -> float:
        """Perform what is due now, at most one page; return the seconds until there may be something to do.

        Raises:
            UnavailableError: the store could not be reached.
        """
        page = await self._store.rank(RankSpan(self._space, limit=limits.DUE_PAGE))
        for record in page.records:
            if record.rank is not None and record.rank > page.now:
                return min((record.rank - page.now) / 1_000, limits.DUE_POLL.total_seconds())
            claimed = await self._claim(record)
            if claimed is not None:
                await self._work(claimed)
        return 0 if page.cursor is not None else limits.DUE_POLL.total_seconds()

    async def finish(self, key: Key, payload: bytes, token: int) -> None:
        """Perform what this process has claimed by writing it: `token` is the revision of that write.

        What fails is tried again later, as by `step`.

        Raises:
            UnavailableError: the store could not be reached; it falls due when the claim ends.
        """
        await self._work(Claimed(key, payload, 0, token))

    async def _claim(self, record: Record) -> Claimed | None:
        key = record.key
        outcome = await self._store.submit(
            Transaction(
                ids.new(),
                (RevisionIs(key, record.revision), RankAtMost(key, Now())),
                (Put(key, record.value, rank=Now(_CLAIM_MS)),),
            )
        )
        if not isinstance(outcome, Committed) or outcome.revision is None:
            return None  # another worker was faster
        try:
            entry = _ENTRY.decode(record.value)
        except CorruptError:
            # It stays claimed for a while, so that it does not keep the worker from what stands behind it.
            _log.exception("%s cannot be read", "/".join(key))
            return None
        return Claimed(key, bytes(entry.payload), entry.failures, outcome.revision)

    async def _work(self, claimed: Claimed) -> None:
        keeper = self._store.spawn(self._keep(claimed))
        try:
            await self._perform(claimed)
        except ConflictError as error:
            if error.guard == claimed.held:
                _log.warning("%s was taken over by another worker", "/".join(claimed.key))
            else:
                await self._postpone(claimed, error)
        except Exception as error:  # noqa: BLE001  reported, and tried again later
            await self._postpone(claimed, error)
        finally:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)

    async def _keep(self, claimed: Claimed) -> None:
        while True:
            await self._store.clock.sleep(limits.DUE_CLAIM.total_seconds() / limits.LEASE_RENEWALS)
            renewal = Transaction(guards=(claimed.held,), writes=(Touch(claimed.key, rank=Now(_CLAIM_MS)),))
            try:
                await self._store.submit(renewal)
            except SojournError as error:
                _log.warning("the claim on %s was not renewed: %s", "/".join(claimed.key), error)

    async def _postpone(self, claimed: Claimed, error: Exception) -> None:
        failures = claimed.failures + 1
        pause = min(2.0 ** min(failures, 16), limits.DUE_BACKOFF_MAX.total_seconds())
        _log.error("%s failed and is tried again in %.0f s", "/".join(claimed.key), pause, exc_info=error)
        value = _ENTRY.encode(_Entry(msgspec.Raw(claimed.payload), failures))
        again = Put(claimed.key, value, rank=Now(int(pause * 1_000)))
        await self._store.submit(Transaction(ids.new(), (claimed.held,), (again,)))
