"""The baseline of documents: a program without sojourn that keeps the lease in the record, in two trips a cycle.

Taking the lease returns the value; saving it gives the lease back, and holds only under the token of the lease. Between
the two the program counts up a number ten times, in plain JSON data that nobody checks.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final, Protocol, TypeAlias

import psycopg
from redis.asyncio import BlockingConnectionPool, Redis

from benchmarks.plain import open_stdlib
from benchmarks.player import PLAYER_TEXT, player_named
from benchmarks.rounds import Sample, by_tasks

__all__ = [
    "KEYS",
    "UPDATES",
    "PlainDocuments",
    "plain_documents_on_postgres",
    "plain_documents_on_redis",
    "plain_documents_on_sqlite",
]

KEYS: Final = tuple(map(player_named, range(1_024)))
UPDATES: Final = 10
"""How often a document is changed in memory between its load and its unload."""

_CONNECTIONS: Final = 16
_LEASE_MS: Final = 30_000
_HOLDER: Final = "bench"

_TABLE: Final = (
    "CREATE TABLE documents (key TEXT PRIMARY KEY, token BIGINT NOT NULL, holder TEXT, until BIGINT NOT NULL, "
    "value TEXT NOT NULL)"
)
_INSERT: Final = "INSERT INTO documents VALUES (?, 0, NULL, 0, ?)"
_TAKE: Final = (
    "UPDATE documents SET token = token + 1, holder = ?, until = ? "
    "WHERE key = ? AND (holder IS NULL OR until < ?) RETURNING token, value"
)
_GIVE_BACK: Final = "UPDATE documents SET value = ?, holder = NULL WHERE key = ? AND token = ? RETURNING token"
_INSERT_ON_POSTGRES, _TAKE_ON_POSTGRES, _GIVE_BACK_ON_POSTGRES = (
    statement.replace("?", "%s") for statement in (_INSERT, _TAKE, _GIVE_BACK)
)

_TAKE_ON_REDIS: Final = """
    local now = redis.call('TIME')
    now = now[1] * 1000 + math.floor(now[2] / 1000)
    local found = redis.call('HMGET', KEYS[1], 'until', 'value')
    if found[1] and tonumber(found[1]) >= now then return false end
    redis.call('HSET', KEYS[1], 'holder', ARGV[1], 'until', now + ARGV[2])
    return {redis.call('HINCRBY', KEYS[1], 'token', 1), found[2]}
"""
_GIVE_BACK_ON_REDIS: Final = """
    if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return false end
    redis.call('HSET', KEYS[1], 'value', ARGV[2])
    redis.call('HDEL', KEYS[1], 'holder', 'until')
    return 1
"""

_Connection: TypeAlias = tuple[asyncio.Lock, psycopg.AsyncCursor[tuple[int, str]]]


class PlainDocuments(Protocol):
    """1,024 documents of 1 KB, each taken, changed ten times, saved and given back."""

    async def run(self, tasks: int, seconds: float) -> Sample:
        """Do so from so many tasks, each with documents of its own."""
        ...


class _OnSqlite:
    """One loop, however many tasks there are: a second one would only wait for the first."""

    def __init__(self, path: Path) -> None:
        self._connection = open_stdlib(path)
        self._keys = itertools.cycle(KEYS)
        self._connection.execute(_TABLE)
        self._connection.execute("BEGIN")
        for key in KEYS:
            self._connection.execute(_INSERT, (key, PLAYER_TEXT.decode()))
        self._connection.execute("COMMIT")

    async def run(self, tasks: int, seconds: float) -> Sample:  # noqa: ARG002  as the others
        done, worked, start = 0, time.process_time(), time.perf_counter()
        while time.perf_counter() < start + seconds:
            self._cycle(next(self._keys))
            done += 1
        return Sample(done, time.perf_counter() - start, processor=time.process_time() - worked)

    def _cycle(self, key: str) -> None:
        # No row would say that somebody else has the document.
        ((token, value),) = self._connection.execute(_TAKE, _taking(key)).fetchall()
        ((_,),) = self._connection.execute(_GIVE_BACK, (_changed(value), key, token)).fetchall()


class _OnPostgres:
    """As many connections as tasks, but no more than 16; autocommit, prepared."""

    def __init__(self, connections: Sequence[_Connection]) -> None:
        self._connections = connections

    async def run(self, tasks: int, seconds: float) -> Sample:
        return await by_tasks(tasks, seconds, tuple(enumerate(KEYS)), self._cycle)

    async def _cycle(self, numbered: tuple[int, str]) -> None:
        number, key = numbered
        lock, cursor = self._connections[number % _CONNECTIONS]
        async with lock:
            await cursor.execute(_TAKE_ON_POSTGRES, _taking(key), prepare=True)
            taken = await cursor.fetchone()
        assert taken is not None, "somebody else has the document"
        token, value = taken
        async with lock:
            await cursor.execute(_GIVE_BACK_ON_POSTGRES, (_changed(value), key, token), prepare=True)
            given = await cursor.fetchone()
        assert given is not None, "the lease was lost"


class _OnRedis:
    """One script call to take a document, and one to save it and give it back."""

    def __init__(self, client: Redis, take: str, give_back: str) -> None:
        self._client = client
        self._take = take
        self._give_back = give_back

    async def run(self, tasks: int, seconds: float) -> Sample:
        return await by_tasks(tasks, seconds, KEYS, self._cycle)

    async def _cycle(self, key: str) -> None:
        record = f"plain:{key}"
        taken = await self._client.evalsha(self._take, 1, record, _HOLDER, _LEASE_MS)
        assert taken is not None, "somebody else has the document"
        token, value = taken
        given = await self._client.evalsha(self._give_back, 1, record, token, _changed(value))
        assert given is not None, "the lease was lost"


def plain_documents_on_sqlite(path: Path) -> PlainDocuments:
    """Make the table with the documents."""
    return _OnSqlite(path)


@asynccontextmanager
async def plain_documents_on_postgres(url: str) -> AsyncGenerator[PlainDocuments]:
    """Connect, and make the table with the documents."""
    async with AsyncExitStack() as stack:
        connections = [
            await stack.enter_async_context(await psycopg.AsyncConnection.connect(url, autocommit=True))
            for _ in range(_CONNECTIONS)
        ]
        await connections[0].execute(_TABLE)
        async with connections[0].cursor() as cursor:
            await cursor.executemany(_INSERT_ON_POSTGRES, [(key, PLAYER_TEXT.decode()) for key in KEYS])
        yield _OnPostgres([(asyncio.Lock(), connection.cursor()) for connection in connections])


@asynccontextmanager
async def plain_documents_on_redis(url: str) -> AsyncGenerator[PlainDocuments]:
    """Connect by the pool that people use, and make the documents."""
    pool = BlockingConnectionPool.from_url(url, max_connections=_CONNECTIONS, timeout=None)
    async with Redis.from_pool(pool) as client:
        for key in KEYS:
            await client.hset(f"plain:{key}", mapping={"token": 0, "value": PLAYER_TEXT})
        take, give_back = [await client.script_load(script) for script in (_TAKE_ON_REDIS, _GIVE_BACK_ON_REDIS)]
        yield _OnRedis(client, take, give_back)


def _taking(key: str) -> tuple[object, ...]:
    now = time.time_ns() // 1_000_000
    return _HOLDER, now + _LEASE_MS, key, now


def _changed(text: str | bytes) -> str:
    """Return the value as it is after the updates."""
    value = json.loads(text)
    for _ in range(UPDATES):
        value["coins"] += 1
    return json.dumps(value)
