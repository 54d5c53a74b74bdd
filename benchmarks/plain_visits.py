"""The baseline of a heartbeat: a program without sojourn that keeps when each visitor was last active, indexed."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Protocol, TypeAlias

import psycopg

from benchmarks.filling import visitor_named
from benchmarks.plain import open_stdlib
from benchmarks.rounds import Sample, by_tasks

__all__ = ["PlainVisits", "plain_visits_on_postgres", "plain_visits_on_sqlite"]

_CONNECTIONS = 16
_TABLE = "CREATE TABLE visitors (id TEXT PRIMARY KEY, created_at BIGINT NOT NULL, last_active BIGINT NOT NULL)"
_INDEX = "CREATE INDEX visitors_by_activity ON visitors (last_active)"
_INSERT = "INSERT INTO visitors (id, created_at, last_active)"
_UPDATE = "ON CONFLICT (id) DO UPDATE SET last_active = excluded.last_active"
_ON_SQLITE = f"{_INSERT} VALUES (?1, ?2, ?2) {_UPDATE}"
_ON_POSTGRES = f"{_INSERT} VALUES (%(id)s, %(now)s, %(now)s) {_UPDATE}"

_Connection: TypeAlias = tuple[asyncio.Lock, psycopg.AsyncCursor[tuple[object]]]


class PlainVisits(Protocol):
    """A table of so many visitors, and upserts into it, each committed by itself."""

    async def run(self, tasks: int, seconds: float) -> Sample:
        """Upsert from so many tasks, each time a visitor drawn by lot."""
        ...


class _OnSqlite:
    """One loop, however many tasks there are: a second one would only wait for the first."""

    def __init__(self, path: Path, count: int) -> None:
        self._connection = open_stdlib(path)
        self._count = count
        self._connection.execute(_TABLE)
        self._connection.execute(_INDEX)
        self._connection.execute("BEGIN")
        for number in range(count):
            self._write(number)
        self._connection.execute("COMMIT")

    async def run(self, tasks: int, seconds: float) -> Sample:  # noqa: ARG002  as the other one
        done, start = 0, time.perf_counter()
        while time.perf_counter() < start + seconds:
            self._write(random.randrange(self._count))  # noqa: S311  no secret
            done += 1
        return Sample(done, time.perf_counter() - start)

    def _write(self, number: int) -> None:
        self._connection.execute(_ON_SQLITE, (visitor_named(number), time.time_ns() // 1_000_000))


class _OnPostgres:
    """As many connections as tasks, but no more than 16; autocommit, prepared."""

    def __init__(self, connections: Sequence[_Connection], count: int) -> None:
        self._connections = connections
        self._count = count

    async def fill(self) -> None:
        await asyncio.gather(*(self._write(number, number) for number in range(self._count)))

    async def run(self, tasks: int, seconds: float) -> Sample:
        async def write(task: int) -> None:
            await self._write(task, random.randrange(self._count))  # noqa: S311  no secret

        return await by_tasks(tasks, seconds, range(tasks), write)

    async def _write(self, task: int, number: int) -> None:
        lock, cursor = self._connections[task % _CONNECTIONS]
        async with lock:
            given = {"id": visitor_named(number), "now": time.time_ns() // 1_000_000}
            await cursor.execute(_ON_POSTGRES, given, prepare=True)


def plain_visits_on_sqlite(path: Path, count: int) -> PlainVisits:
    """Make the table with so many visitors."""
    return _OnSqlite(path, count)


@asynccontextmanager
async def plain_visits_on_postgres(url: str, count: int) -> AsyncGenerator[PlainVisits]:
    """Connect, and make the table with so many visitors."""
    async with AsyncExitStack() as stack:
        connections = [
            await stack.enter_async_context(await psycopg.AsyncConnection.connect(url, autocommit=True))
            for _ in range(_CONNECTIONS)
        ]
        for statement in (_TABLE, _INDEX):
            await connections[0].execute(statement)
        plain = _OnPostgres([(asyncio.Lock(), connection.cursor()) for connection in connections], count)
        await plain.fill()
        yield plain
