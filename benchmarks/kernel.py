"""The same writes through the kernel: a guard, a put of 1 KB with a rank, and the record read back."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import sojourn
from benchmarks.plain import RECORDS, VALUES
from benchmarks.rounds import Sample, by_tasks
from sojourn.kernel import Key, Put, Reads, RevisionIs, Store, Transaction, ids

__all__ = ["SPACE", "Writes", "writes_on"]

SPACE = "bench"


class Writes:
    """1,024 records of 1 KB, each in a partition of its own."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._revisions = {Key(SPACE, f"{number:04}", ""): 0 for number in range(RECORDS)}
        self._values = itertools.cycle(VALUES)
        self._ranks = itertools.count(1)

    async def fill(self) -> None:
        """Make the records, each by a commit of its own: together they may be more than one commit can hold."""

        async def make(key: Key) -> None:
            committed = await self.store.commit(Transaction(ids.new(), writes=(Put(key, VALUES[0], rank=0),)))
            assert committed.revision is not None
            self._revisions[key] = committed.revision

        await asyncio.gather(*map(make, self._revisions))

    async def run(self, tasks: int, seconds: float) -> Sample:
        """Commit from so many tasks, each with records of its own."""
        return await by_tasks(tasks, seconds, tuple(self._revisions), self._write)

    async def lost(self) -> int:
        """Return how many records are not as their last acknowledged write left them."""
        kept = await asyncio.gather(*map(self._is_kept, self._revisions.items()))
        return kept.count(False)

    async def _is_kept(self, written: tuple[Key, int]) -> bool:
        key, revision = written
        (found,) = (await self.store.read(Reads((key,)))).records.keys
        return found is not None and found.revision == revision

    async def _write(self, key: Key) -> None:
        guard = RevisionIs(key, self._revisions[key])
        put = Put(key, next(self._values), rank=next(self._ranks))
        committed = await self.store.commit(Transaction(ids.new(), (guard,), (put,), Reads((key,))))
        (record,) = committed.records.keys
        assert record is not None
        self._revisions[key] = record.revision


@asynccontextmanager
async def writes_on(url: str) -> AsyncGenerator[Writes]:
    """Open a store, with the records in it."""
    async with sojourn.open(url) as store:
        writes = Writes(store)
        await writes.fill()
        yield writes
