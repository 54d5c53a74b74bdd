"""The same writes through the kernel: a guard, a put of 1 KB with a rank, and the record read back."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import sojourn
from benchmarks.plain import RECORDS, VALUES
from benchmarks.rounds import Sample
from sojourn.kernel import Key, Put, Reads, RevisionIs, Store, Transaction, ids

__all__ = ["Writes", "writes_on_sqlite"]


class Writes:
    """1,024 records of 1 KB, each in a partition of its own."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._revisions: dict[Key, int] = {}
        self._values = itertools.cycle(VALUES)
        self._ranks = itertools.count(1)

    async def fill(self) -> None:
        """Make the records."""
        writes = tuple(Put(Key("bench", f"{number:04}", ""), VALUES[0], rank=0) for number in range(RECORDS))
        committed = await self._store.commit(Transaction(ids.new(), writes=writes))
        assert committed.revision is not None
        self._revisions = dict.fromkeys((put.key for put in writes), committed.revision)

    async def run(self, tasks: int, seconds: float) -> Sample:
        """Commit from so many tasks, each with records of its own, so that no guard ever fails."""
        keys = list(self._revisions)
        waits: list[float] = []
        worked = time.process_time()
        start = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for number in range(tasks):
                group.create_task(self._task(keys[number::tasks], start + seconds, waits))
        return Sample(len(waits), time.perf_counter() - start, tuple(waits), time.process_time() - worked)

    async def lost(self) -> int:
        """Return how many records are not as their last acknowledged write left them."""
        wrong = 0
        for key, revision in self._revisions.items():
            (found,) = (await self._store.read(Reads((key,)))).records.keys
            wrong += found is None or found.revision != revision
        return wrong

    async def _task(self, keys: Sequence[Key], until: float, waits: list[float]) -> None:
        commit, revisions, clock = self._store.commit, self._revisions, time.perf_counter
        for key in itertools.cycle(keys):
            before = clock()
            if before >= until:
                return
            guard = RevisionIs(key, revisions[key])
            put = Put(key, next(self._values), rank=next(self._ranks))
            committed = await commit(Transaction(ids.new(), (guard,), (put,), Reads((key,))))
            (record,) = committed.records.keys
            assert record is not None
            revisions[key] = record.revision
            waits.append(clock() - before)


@asynccontextmanager
async def writes_on_sqlite(path: Path) -> AsyncGenerator[Writes]:
    """Open a store on SQLite, with the records in it."""
    async with sojourn.open(f"sqlite:///{path}") as store:
        writes = Writes(store)
        await writes.fill()
        yield writes
