"""Behind a pooler in transaction mode: no transaction needs what an earlier one left on its connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from sojourn import limits
from sojourn.engines.postgres import PostgresEngine
from sojourn.errors import InvalidError
from sojourn.kernel import Attempt, Key, Put, Reads, Store, Transaction
from sojourn.testing import ManualClock
from sojourn.testing.conformance.history import History
from sojourn.testing.conformance.watch import Watch
from tests.engines.postgres.pooler import Pooler
from tests.engines.test_conformance_postgres import Postgres18Harness

KEY = Key("s", "p", "i")
PUT = Transaction(writes=(Put(KEY, b"0"),))


@pytest.fixture
async def pooler(server: str) -> AsyncIterator[Pooler]:
    parts = urlsplit(server)
    assert parts.hostname is not None
    assert parts.port is not None
    async with Pooler(parts.hostname, parts.port, 3).serving("postgres", "postgres") as pooler:
        yield pooler


def through(pooler: Pooler, url: str) -> str:
    """Return the URL of the same store through the pooler."""
    return f"postgresql://postgres@127.0.0.1:{pooler.port}/postgres?{url.partition('?')[2]}"


async def test_a_store_behind_a_pooler_counts_right(
    url: str, pooler: Pooler, sql: psycopg.Connection, schema: str
) -> None:
    """Three processes' worth of engines, two of them behind the pooler, share one counter."""

    async def increment(tx: Attempt) -> None:
        record = await tx.get(KEY)
        tx.put(KEY, b"%d" % (1 if record is None else int(record.value) + 1))

    behind = f"{through(pooler, url)}&pooled=true"
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(Store(PostgresEngine(place))) for place in (behind, behind, url)]
        await asyncio.gather(*(store.run(increment) for store in stores for _ in range(30)))
        (record,) = (await stores[0].read(Reads(keys=(KEY,)))).records.keys
    assert record is not None
    assert record.value == b"90"
    assert pooler.transactions > 60
    held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid::bigint = hashtext(%s) & 4294967295"
    assert sql.execute(held, [f'"{schema}".store']).fetchone() == (0,)


async def test_nothing_is_left_on_the_connections_of_the_server(url: str, pooler: Pooler, clock: ManualClock) -> None:
    engine = PostgresEngine(f"{through(pooler, url)}&pooled=true", clock=clock)
    await engine.open()
    position = (await engine.changes(None, 0)).position
    await engine.commit([PUT])
    assert (await engine.changes(position, 1)).keys == {KEY}
    await engine.sweep(10)
    await engine.close()
    async with await psycopg.AsyncConnection.connect(
        through(pooler, "?"), autocommit=True, prepare_threshold=None
    ) as db:
        for _ in range(6):
            cursor = await db.execute("""
                SELECT (SELECT count(*) FROM pg_prepared_statements), (SELECT count(*) FROM pg_listening_channels()),
                    (SELECT count(*) FROM pg_settings WHERE source = 'session')
            """)
            assert await cursor.fetchone() == (0, 0, 0)


async def test_watchers_behind_a_pooler_look_by_and_by(
    url: str, pooler: Pooler, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "POSTGRES_POLL_POOLED", timedelta(milliseconds=5))
    watcher = PostgresEngine(f"{through(pooler, url)}&pooled=true", clock=clock)
    writer = PostgresEngine(url, clock=clock)
    await watcher.open()
    await writer.open()
    position = (await watcher.changes(None, 0)).position
    watching = asyncio.create_task(watcher.changes(position, 30))
    await writer.commit([PUT])
    assert (await watching).keys == {KEY}
    await watcher.close()
    await writer.close()


async def test_a_pooler_that_was_not_announced_is_named(url: str, pooler: Pooler) -> None:
    engine = PostgresEngine(through(pooler, url))
    with pytest.raises(InvalidError, match="pooled=true"):
        await engine.open()


async def test_the_examination_sees_the_pooler(url: str, pooler: Pooler) -> None:
    found = {f.name: f for f in await PostgresEngine(f"{through(pooler, url)}&pooled=true").examine()}
    assert found["pooler"].found == "one stands between"
    assert found["pooler"].advice is None


class PooledHarness(Postgres18Harness):
    """A store that is used as if a pooler stood between."""

    async def create(self, folder: Path) -> str:
        """Name a schema, and a pooler."""
        return f"{await super().create(folder)}&pooled=true"

    async def destroy(self, address: str) -> None:
        """Remove the schema."""
        await super().destroy(address.removesuffix("&pooled=true"))


class TestPooledPostgres(History, Watch):
    """The parts of the suite that differ most when nothing is prepared and nobody is told."""

    harness = PooledHarness()
