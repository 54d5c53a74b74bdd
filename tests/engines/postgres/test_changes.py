"""Watching: nothing is passed over, however transactions overlap, and other processes are told without a pause."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import psycopg
import pytest

from sojourn import limits
from sojourn.engines.postgres import PostgresEngine
from sojourn.engines.postgres import engine as engine_module
from sojourn.engines.postgres.install import localized
from sojourn.kernel import Delete, Key, Put, Transaction
from sojourn.testing import ManualClock

HOUR = timedelta(hours=1)
PATIENCE_S = 30.0


@pytest.fixture
async def other(url: str, clock: ManualClock) -> AsyncIterator[PostgresEngine]:
    """A second engine over the same store."""
    engine = PostgresEngine(url, clock=clock)
    await engine.open()
    yield engine
    await engine.close()


def key(item: str) -> Key:
    return Key("s", "p", item)


def put(*items: str) -> list[Transaction]:
    return [Transaction(writes=tuple(Put(key(item), b"") for item in items))]


async def position(engine: PostgresEngine) -> str:
    return (await engine.changes(None, 0)).position


_LOG = """
INSERT INTO sojourn.log (xid, at, spaces, partitions, items)
SELECT pg_current_xact_id(), coalesce(max(at), 0), ARRAY['s'], ARRAY['p'], ARRAY[%s] FROM sojourn.log
"""


def log(holder: psycopg.Connection, schema: str, item: str) -> None:
    """Write into the log as a commit does, in the transaction of the holder."""
    holder.execute(localized(_LOG, schema).encode(), [item])


@pytest.mark.promise(9)
async def test_a_slow_commit_is_told_when_a_later_one_has_been(
    engine: PostgresEngine, server: str, schema: str
) -> None:
    """Whoever looks in between is told of what is there, once, and of the older one when that commits."""
    start = await position(engine)
    with psycopg.connect(server) as slow:
        log(slow, schema, "slow")
        await engine.commit(put("quick"))
        first = await engine.changes(start, 0)
        assert first.keys == {key("quick")}
        assert (await engine.changes(first.position, 0)).keys == frozenset()
    second = await engine.changes(first.position, 0)
    assert second.keys == {key("slow")}
    assert not second.gap
    assert (await engine.changes(second.position, 0)).keys == frozenset()
    assert (await engine.changes(start, 0)).keys == {key("quick"), key("slow")}


@pytest.mark.promise(9)
async def test_a_commit_that_is_undone_is_never_told(engine: PostgresEngine, server: str, schema: str) -> None:
    start = await position(engine)
    with psycopg.connect(server) as undone:
        log(undone, schema, "undone")
        await engine.commit(put("done"))
        undone.rollback()
    assert (await engine.changes(start, 0)).keys == {key("done")}


@pytest.mark.promise(9)
async def test_a_transaction_that_stays_open_holds_up_no_watcher(
    engine: PostgresEngine, server: str, sql: psycopg.Connection, schema: str, clock: ManualClock
) -> None:
    """Not even one of another database, nor past the time that the log is kept: it is kept longer then."""
    sql.execute(f"CREATE DATABASE {schema}".encode())
    try:
        with psycopg.connect(server.removesuffix("postgres") + schema) as writer:
            writer.execute("SELECT pg_current_xact_id()")
            start = await position(engine)
            for item in "abc":
                await engine.commit(put(item))
                clock.advance(limits.CHANGE_LOG_KEEP * 2)
                await engine.sweep(100)
            told = await engine.changes(start, 0)
            assert told.keys == {key("a"), key("b"), key("c")}
            assert not told.gap
            again = await engine.changes(told.position, 0)
            assert (again.keys, again.gap) == (frozenset(), False)
    finally:
        sql.execute(f"DROP DATABASE {schema} WITH (FORCE)".encode())


@pytest.mark.promise(9)
async def test_a_watcher_that_stayed_away_is_told_of_a_gap(
    engine: PostgresEngine, clock: ManualClock, sql: psycopg.Connection, schema: str
) -> None:
    """What was trimmed since cannot be told; from the position of the answer on all is well again."""
    start = await position(engine)
    for item in "abc":
        await engine.commit(put(item))
    clock.advance(limits.CHANGE_LOG_KEEP * 2)
    while sql.execute(
        localized("SELECT 1 FROM sojourn.log", schema).encode()
    ).fetchone():  # others hold the horizon back for a moment
        await engine.sweep(2)
    told = await engine.changes(start, 0)
    assert told.gap
    await engine.commit(put("d"))
    assert (await engine.changes(told.position, 0)).keys == {key("d")}


@pytest.mark.promise(9)
async def test_the_log_has_a_greatest_length(
    engine: PostgresEngine, sql: psycopg.Connection, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "_LOG_ROWS", (3).to_bytes(8, "big"))
    for number in range(9):
        await engine.commit(put(str(number)))
    query = localized("SELECT array_agg(items[1] ORDER BY xid) FROM sojourn.log", schema).encode()
    while (left := (sql.execute(query).fetchone() or ([],))[0]) != ["6", "7", "8"]:
        assert len(left) > 3
        await engine.sweep(100)


async def test_a_sweep_leaves_alone_what_is_kept(engine: PostgresEngine, sql: psycopg.Connection, schema: str) -> None:
    """A row that is locked is written, too: an idle store would never rest."""
    await engine.commit(put("a"))
    rows = localized("SELECT xmax::text, pg_snapshot_xmin(pg_current_snapshot()) > xid FROM sojourn.log", schema)
    while not (row := sql.execute(rows.encode()).fetchone() or ("", True))[1]:
        pass  # others hold the horizon back for a moment
    await engine.sweep(100)
    assert row == ("0", True)
    assert sql.execute(rows.encode()).fetchone() == row


@pytest.mark.promise(9)
async def test_more_than_one_look_can_tell_is_a_gap(engine: PostgresEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "_LOG_KEYS", (3).to_bytes(4, "big"))
    start = await position(engine)
    await engine.commit(put("a", "b", "c"))
    assert (await engine.changes(start, 0)).keys == {key("a"), key("b"), key("c")}
    await engine.commit(put("d"))
    told = await engine.changes(start, 0)
    assert (told.keys, told.gap) == (frozenset(), True)
    await engine.commit([Transaction(writes=(Delete(key("d")),))])
    assert (await engine.changes(told.position, 0)).keys == {key("d")}


@pytest.mark.promise(9)
async def test_a_position_of_an_earlier_start_of_the_server_is_a_gap(engine: PostgresEngine) -> None:
    """The server may have lost what it had not yet made durable, or be another one by now."""
    snapshot, started, name = (await position(engine)).split("/")
    assert (await engine.changes(f"{snapshot}/{float(started) - 1}/{name}", 0)).gap
    ahead = ":".join(str(int(number) + 2**40) for number in snapshot.split(":")[:2])  # no server has come so far
    assert (await engine.changes(f"{ahead}:/{started}/{name}", 0)).gap
    assert (await engine.changes(f"nonsense/{started}/{name}", 0)).gap
    assert not (await engine.changes(f"{snapshot}/{started}/{name}", 0)).gap


@pytest.mark.promise(9)
async def test_a_number_that_may_be_given_out_again_has_not_been_seen(
    engine: PostgresEngine, server: str, sql: psycopg.Connection
) -> None:
    """When one of the server's processes crashes, it may forget who was undone last, and give the number to another."""
    await engine.commit(put("a"))
    with psycopg.connect(server) as undone:
        (number,) = undone.execute("SELECT pg_current_xact_id()::text").fetchone() or ("",)
        undone.rollback()
    snapshot = (await position(engine)).partition("/")[0]
    seen = sql.execute("SELECT pg_visible_in_snapshot(%s::xid8, %s::pg_snapshot)", [number, snapshot])
    assert seen.fetchone() == (False,)


@pytest.mark.promise(9)
async def test_another_process_is_told_without_looking(
    engine: PostgresEngine, other: PostgresEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "POSTGRES_POLL", HOUR)
    start = await position(other)
    for number in range(5):
        watching = asyncio.create_task(other.changes(start, PATIENCE_S))
        await engine.commit(put(str(number)))
        told = await watching
        assert told.keys == {key(str(number))}
        start = told.position


@pytest.mark.promise(9)
async def test_what_the_sweep_ends_is_told_as_well(
    engine: PostgresEngine, other: PostgresEngine, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "POSTGRES_POLL", HOUR)
    await engine.commit([Transaction(writes=(Put(key("short"), b"", ttl=timedelta(seconds=1)),))])
    start = await position(other)
    watching = asyncio.create_task(other.changes(start, PATIENCE_S))
    clock.advance(timedelta(seconds=1))
    await engine.sweep(10)
    assert (await watching).keys == {key("short")}


@pytest.mark.promise(9)
async def test_a_lost_nudge_costs_a_pause_and_nothing_else(
    engine: PostgresEngine, other: PostgresEngine, sql: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "POSTGRES_POLL", timedelta(milliseconds=20))
    start = await position(other)
    watching = asyncio.create_task(other.changes(start, HOUR.total_seconds()))
    assert other._opened is not None
    line = await other._opened.bell._connected()
    line.on_notify = lambda _: None
    await engine.commit(put("a"))
    async with asyncio.timeout(PATIENCE_S):
        assert (await watching).keys == {key("a")}
    line.close()
    again = await other.changes((await watching).position, 0.05)
    assert again.keys == frozenset()
    assert (await other._opened.bell._connected()).is_open


@pytest.mark.promise(9)
async def test_one_nudge_stands_for_many_commits(
    engine: PostgresEngine, server: str, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And it is sent beside them: a commit waits for none."""
    monkeypatch.setattr(limits, "POSTGRES_NUDGE", HOUR)
    with psycopg.connect(server, autocommit=True) as listener:
        listener.execute(f"LISTEN sojourn_{schema}".encode())
        for number in range(50):
            await engine.commit(put(str(number)))
        assert (
            len(list(await asyncio.to_thread(lambda: list(listener.notifies(timeout=PATIENCE_S, stop_after=1))))) == 1
        )
        for number in range(50):
            await engine.commit(put(str(number)))
        assert list(listener.notifies(timeout=0)) == []


@pytest.mark.promise(9)
async def test_our_own_nudge_wakes_nobody_twice(engine: PostgresEngine) -> None:
    start = await position(engine)
    watching = asyncio.create_task(engine.changes(start, PATIENCE_S))
    await engine.commit(put("a"))
    told = await watching
    assert engine._opened is not None
    bell = engine._opened.bell
    line = await bell._connected()
    rung = bell.rung
    bell._heard(line.backend)
    assert not rung.is_set()
    bell._heard(line.backend + 1)
    assert rung.is_set()
    assert (await engine.changes(told.position, 0)).keys == frozenset()
