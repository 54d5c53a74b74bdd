"""The baseline on PostgreSQL: a program without sojourn, which sends each guarded write by itself.

It is the fastest of four that were tried. Each of its connections has one cursor and one queue; a queue of idle
connections is a little slower, and lets some callers wait for a second.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TypeAlias

import psycopg

from benchmarks.plain import RECORDS, VALUES
from benchmarks.rounds import Sample, by_tasks

__all__ = ["PlainPostgres", "plain_postgres"]

_CONNECTIONS = 16
_SCHEMA = "CREATE TABLE plain (key TEXT PRIMARY KEY, revision BIGINT NOT NULL, value BYTEA NOT NULL)"
_WRITE = (
    "INSERT INTO plain VALUES (%s, 1, %s) ON CONFLICT (key) "
    "DO UPDATE SET revision = plain.revision + 1, value = excluded.value WHERE plain.revision = %s RETURNING revision"
)

_Connection: TypeAlias = tuple[asyncio.Lock, psycopg.AsyncCursor[tuple[int]]]


class PlainPostgres:
    """A table of 1,024 records of 1 KB, each write guarded by the record's revision; autocommit, prepared."""

    def __init__(self, connections: Sequence[_Connection]) -> None:
        self._connections = connections
        self._revisions = [0] * RECORDS
        self._values = itertools.cycle(VALUES)

    async def fill(self) -> None:
        """Make the records."""
        await asyncio.gather(*(self._write(_CONNECTIONS, number) for number in range(RECORDS)))

    async def run(self, tasks: int, seconds: float) -> Sample:
        """Write from so many tasks, over as many connections, but no more than 16."""
        return await by_tasks(tasks, seconds, range(RECORDS), partial(self._write, min(tasks, _CONNECTIONS)))

    async def _write(self, connections: int, number: int) -> None:
        lock, cursor = self._connections[number % connections]
        async with lock:
            given = (f"bench/{number:04}", next(self._values), self._revisions[number])
            await cursor.execute(_WRITE, given, prepare=True)
            written = await cursor.fetchone()
        assert written is not None, "the guard failed"
        (self._revisions[number],) = written


@asynccontextmanager
async def plain_postgres(url: str) -> AsyncGenerator[PlainPostgres]:
    """Connect, and make the table."""
    async with AsyncExitStack() as stack:
        connections = [
            await stack.enter_async_context(await psycopg.AsyncConnection.connect(url, autocommit=True))
            for _ in range(_CONNECTIONS)
        ]
        await connections[0].execute(_SCHEMA)
        plain = PlainPostgres([(asyncio.Lock(), connection.cursor()) for connection in connections])
        await plain.fill()
        yield plain
