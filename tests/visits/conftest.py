"""Visits over the shared store, with durations that are easy to reckon with, and what their tests look with."""

from datetime import datetime, timedelta

import pytest

from sojourn.kernel import Committed, Conflict, Reads, Snapshot, Store, Transaction
from sojourn.testing import FaultyEngine, ManualClock
from sojourn.visits import Visits
from sojourn.visits.model import moment

ACTIVE_FOR, IDLE, LONGEST = timedelta(minutes=15), timedelta(minutes=30), timedelta(hours=24)
STEP, RETENTION = timedelta(minutes=1), timedelta(days=14)


class Beside(FaultyEngine):
    """The engine of another store, as another process has it: not opened or closed twice, and faulty if asked for."""

    async def open(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""


class Trips:
    """Every trip that a store makes to its engine from now on."""

    def __init__(self, store: Store) -> None:
        self.commits: list[Transaction] = []
        self.reads: list[Reads] = []
        self._submit, self._read = store.submit, store.read
        store.submit = self.submit  # type: ignore[method-assign]
        store.read = self.read  # type: ignore[method-assign]

    async def submit(self, transaction: Transaction) -> Committed | Conflict:
        self.commits.append(transaction)
        return await self._submit(transaction)

    async def read(self, reads: Reads) -> Snapshot:
        self.reads.append(reads)
        return await self._read(reads)

    def clear(self) -> None:
        """Forget what was seen."""
        self.commits.clear()
        self.reads.clear()


@pytest.fixture
def visits(store: Store) -> Visits:
    return Visits(store, active_for=ACTIVE_FOR, idle=IDLE, longest=LONGEST, precision=STEP, retention=RETENTION)


@pytest.fixture
def trips(store: Store) -> Trips:
    return Trips(store)


def align(clock: ManualClock) -> None:
    """Move the time to where a step begins."""
    clock.advance(-clock.now() % (STEP // timedelta(milliseconds=1)) * timedelta(milliseconds=1))


def now(clock: ManualClock) -> datetime:
    """The clock's time as the face shows it."""
    return moment(clock.now())
