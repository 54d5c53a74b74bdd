"""The baseline on Redis: a program without sojourn, which sends each guarded write by itself, as one script call."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from redis.asyncio import BlockingConnectionPool, Redis

from benchmarks.plain import RECORDS, VALUES
from benchmarks.rounds import Sample, by_tasks

__all__ = ["PlainRedis", "pinned_redis", "pooled_redis"]

_CONNECTIONS = 32
_RANKS = "plain:ranks"
_WRITE = """
    local found = redis.call('HGET', KEYS[1], 'revision') or '0'
    if found ~= ARGV[1] then return false end
    redis.call('HSET', KEYS[1], 'revision', ARGV[1] + 1, 'value', ARGV[2])
    redis.call('ZADD', KEYS[2], ARGV[3], KEYS[1])
    return ARGV[1] + 1
"""


class PlainRedis:
    """1,024 hashes of 1 KB and a sorted set of their ranks, each write guarded by the hash's revision."""

    def __init__(self, clients: Sequence[Redis], script: str, name: str) -> None:
        self._clients = clients
        self._script = script
        self._name = name
        self._revisions = [0] * RECORDS
        self._values = itertools.cycle(VALUES)
        self._ranks = itertools.count(1)

    async def fill(self) -> None:
        """Make the records."""
        await asyncio.gather(*map(self._write, range(RECORDS)))

    async def run(self, tasks: int, seconds: float) -> Sample:
        """Write from so many tasks."""
        return await by_tasks(tasks, seconds, range(RECORDS), self._write)

    async def _write(self, number: int) -> None:
        client = self._clients[number % len(self._clients)]
        given = (self._revisions[number], next(self._values), next(self._ranks))
        keys = (f"plain:{self._name}:{number:04}", _RANKS)
        revision = await client.evalsha(self._script, len(keys), *keys, *given)
        assert revision is not None, "the guard failed"
        self._revisions[number] = revision


@asynccontextmanager
async def pooled_redis(url: str) -> AsyncGenerator[PlainRedis]:
    """Connect by the pool that people use, of 32 connections."""
    pool = BlockingConnectionPool.from_url(url, max_connections=_CONNECTIONS, timeout=None)
    async with Redis.from_pool(pool) as client:
        yield await _filled([client], "pooled")


@asynccontextmanager
async def pinned_redis(url: str) -> AsyncGenerator[PlainRedis]:
    """Connect by 32 clients with one connection each, which leaves out what the pool costs."""
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(Redis.from_url(url, single_connection_client=True))
            for _ in range(_CONNECTIONS)
        ]
        yield await _filled(clients, "pinned")


async def _filled(clients: Sequence[Redis], name: str) -> PlainRedis:
    plain = PlainRedis(clients, await clients[0].script_load(_WRITE), name)
    await plain.fill()
    return plain
