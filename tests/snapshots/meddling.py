"""A process into whose way others come: they get something done just before one of its reads or commits arrives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from contextvars import Context
from typing import Any

from sojourn.kernel import Answer, Engine, Reads, Store, Transaction
from sojourn.kernel import Snapshot as Seen
from sojourn.snapshots import Snapshots
from tests.documents.conftest import HastyClock, Wire


class Meddled(Wire):
    """The way of that process to the engine. `left` is below 0 once the others have come."""

    def __init__(self, engine: Engine, before: int, meddle: Callable[[], Awaitable[object]]) -> None:
        super().__init__(engine)
        self.left = before
        self._meddle = meddle

    async def read(self, reads: Reads) -> Seen:
        await self._step()
        return await super().read(reads)

    async def commit(self, batch: Sequence[Transaction]) -> Sequence[Answer]:
        await self._step()
        return await super().commit(batch)

    async def _step(self) -> None:
        self.left -= 1
        if self.left == -1:  # they know nothing of the attempt in progress here
            await asyncio.create_task(self._meddled(), context=Context())

    async def _meddled(self) -> None:
        await self._meddle()


@asynccontextmanager
async def meddled(
    store: Store, clock: HastyClock, before: int, meddle: Callable[[], Awaitable[object]]
) -> AsyncGenerator[tuple[Meddled, Snapshots[Any]]]:
    """Another process, into whose way others come after so many of its reads and commits."""
    wire = Meddled(store.engine, before, meddle)
    async with Store(wire, clock=clock) as beside:
        yield wire, Snapshots(beside)
