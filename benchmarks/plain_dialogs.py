"""The baseline of dialogs: a program without sojourn that handles a click in two trips, from any process.

Taking the lease returns what the dialog holds; writing it gives the lease back, and holds only under the token of the
lease. Who finds it taken tries again a little later. A click that comes twice is counted twice, nothing ends by itself,
and what a person is told is forgotten with the process.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

import psycopg
from redis.asyncio import BlockingConnectionPool, Redis

from benchmarks.plain import open_stdlib
from benchmarks.rounds import Sample, by_tasks

__all__ = [
    "CLICKERS",
    "PlainDialogs",
    "clicked",
    "plain_dialogs_on_postgres",
    "plain_dialogs_on_redis",
    "plain_dialogs_on_sqlite",
]

CLICKERS: Final = 16
"""Tasks that click, and as many dialogs."""

_NAMES: Final = tuple(f"dialog-{number:02}" for number in range(CLICKERS))
_EMPTY: Final = json.dumps({"owner": "ann", "place": "test", "deadline": None, "votes": 0})
_LEASE_MS: Final = 30_000
_HOLDER: Final = "bench"
_PAUSE: Final = (0.001, 0.005)
"""Seconds after which whoever found a dialog taken tries again."""

_TABLE: Final = (
    "CREATE TABLE dialogs (name TEXT PRIMARY KEY, token BIGINT NOT NULL, holder TEXT, until BIGINT NOT NULL, "
    "value TEXT NOT NULL)"
)
_INSERT: Final = "INSERT INTO dialogs VALUES (?, 0, NULL, 0, ?)"
_TAKE: Final = (
    "UPDATE dialogs SET token = token + 1, holder = ?, until = ? "
    "WHERE name = ? AND (holder IS NULL OR until < ?) RETURNING token, value"
)
_WRITE: Final = "UPDATE dialogs SET value = ?, holder = NULL WHERE name = ? AND token = ? RETURNING token"
_INSERT_ON_POSTGRES, _TAKE_ON_POSTGRES, _WRITE_ON_POSTGRES = (
    statement.replace("?", "%s") for statement in (_INSERT, _TAKE, _WRITE)
)

_TAKE_ON_REDIS: Final = """
    local now = redis.call('TIME')
    now = now[1] * 1000 + math.floor(now[2] / 1000)
    local found = redis.call('HMGET', KEYS[1], 'until', 'value')
    if found[1] and tonumber(found[1]) >= now then return false end
    redis.call('HSET', KEYS[1], 'holder', ARGV[1], 'until', now + ARGV[2])
    return {redis.call('HINCRBY', KEYS[1], 'token', 1), found[2]}
"""
_WRITE_ON_REDIS: Final = """
    if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return false end
    redis.call('HSET', KEYS[1], 'value', ARGV[2])
    redis.call('HDEL', KEYS[1], 'holder', 'until')
    return 1
"""

_Cursor: TypeAlias = psycopg.AsyncCursor[tuple[Any, ...]]


class PlainDialogs(Protocol):
    """Sixteen dialogs, each of which counts the clicks on it."""

    async def run(self, tasks: int, dialogs: int, seconds: float) -> Sample:
        """Click from so many tasks, on the first so many dialogs."""
        ...


class _OnSqlite:
    """One connection on the loop: nobody comes in between, so nobody has to wait for a lease."""

    def __init__(self, path: Path) -> None:
        self._connection = open_stdlib(path)
        self._connection.execute(_TABLE)
        for name in _NAMES:
            self._connection.execute(_INSERT, (name, _EMPTY))

    async def run(self, tasks: int, dialogs: int, seconds: float) -> Sample:
        return await by_tasks(tasks, seconds, clicked(_NAMES, tasks, dialogs), self._click)

    async def _click(self, name: str) -> None:
        # No row would say that somebody else has the dialog.
        ((token, value),) = self._connection.execute(_TAKE, _taking(name)).fetchall()
        ((_,),) = self._connection.execute(_WRITE, (_changed(value), name, token)).fetchall()
        await asyncio.sleep(0)  # the others' turn


class _OnPostgres:
    """A connection for each task; autocommit, prepared."""

    def __init__(self, cursors: Sequence[_Cursor]) -> None:
        self._cursors = cursors

    async def run(self, tasks: int, dialogs: int, seconds: float) -> Sample:
        named = tuple(enumerate(clicked(_NAMES, tasks, dialogs)))
        return await by_tasks(tasks, seconds, named, self._click)

    async def _click(self, named: tuple[int, str]) -> None:
        number, name = named
        cursor = self._cursors[number]
        while True:
            await cursor.execute(_TAKE_ON_POSTGRES, _taking(name), prepare=True)
            taken = await cursor.fetchone()
            if taken is not None:
                break
            await _pause()
        token, value = taken
        await cursor.execute(_WRITE_ON_POSTGRES, (_changed(value), name, token), prepare=True)
        assert await cursor.fetchone() is not None, "the lease was lost"


class _OnRedis:
    """One script call to take a dialog, and one to write it and give it back."""

    def __init__(self, client: Redis, take: str, write: str) -> None:
        self._client = client
        self._take = take
        self._write = write

    async def run(self, tasks: int, dialogs: int, seconds: float) -> Sample:
        return await by_tasks(tasks, seconds, clicked(_NAMES, tasks, dialogs), self._click)

    async def _click(self, name: str) -> None:
        record = f"plain:{name}"
        while (taken := await self._client.evalsha(self._take, 1, record, _HOLDER, _LEASE_MS)) is None:
            await _pause()
        token, value = taken
        written = await self._client.evalsha(self._write, 1, record, token, _changed(value))
        assert written is not None, "the lease was lost"


def clicked(names: Sequence[str], tasks: int, dialogs: int) -> tuple[str, ...]:
    """Return which dialog each of so many tasks clicks on, where there are so many."""
    return tuple(names[number % dialogs] for number in range(tasks))


def plain_dialogs_on_sqlite(path: Path) -> PlainDialogs:
    """Make the table with the dialogs."""
    return _OnSqlite(path)


@asynccontextmanager
async def plain_dialogs_on_postgres(url: str) -> AsyncGenerator[PlainDialogs]:
    """Connect, and make the table with the dialogs."""
    async with AsyncExitStack() as stack:
        connections = [
            await stack.enter_async_context(await psycopg.AsyncConnection.connect(url, autocommit=True))
            for _ in range(CLICKERS)
        ]
        await connections[0].execute(_TABLE)
        async with connections[0].cursor() as cursor:
            await cursor.executemany(_INSERT_ON_POSTGRES, [(name, _EMPTY) for name in _NAMES])
        yield _OnPostgres([connection.cursor() for connection in connections])


@asynccontextmanager
async def plain_dialogs_on_redis(url: str) -> AsyncGenerator[PlainDialogs]:
    """Connect by the pool that people use, and make the dialogs."""
    pool = BlockingConnectionPool.from_url(url, max_connections=CLICKERS, timeout=None)
    async with Redis.from_pool(pool) as client:
        for name in _NAMES:
            await client.hset(f"plain:{name}", mapping={"token": 0, "value": _EMPTY})
        take, write = [await client.script_load(script) for script in (_TAKE_ON_REDIS, _WRITE_ON_REDIS)]
        yield _OnRedis(client, take, write)


async def _pause() -> None:
    await asyncio.sleep(random.uniform(*_PAUSE))  # noqa: S311  no secret


def _taking(name: str) -> tuple[object, ...]:
    now = time.time_ns() // 1_000_000
    return _HOLDER, now + _LEASE_MS, name, now


def _changed(text: str | bytes) -> str:
    """Return the value as it is after the click."""
    value = json.loads(text)
    value["votes"] += 1
    return json.dumps(value)
