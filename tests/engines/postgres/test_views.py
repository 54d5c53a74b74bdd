"""The views: an operator sees what is there with plain SQL, whatever is stored."""

from __future__ import annotations

from datetime import timedelta

import psycopg
import pytest

import sojourn
from sojourn.engines.postgres import PostgresEngine
from sojourn.engines.postgres.install import localized
from sojourn.kernel import Delete, Key, Put, Touch, Transaction
from sojourn.sessions import Sessions

AWKWARD = {
    "empty": b"",
    "chunked": b"c\x00\x01",
    "compressed": b"z\x28\xb5\x2f\xfd",
    "no JSON": b"j{",
    "no text": b"j\xff\xfe",
    "no JSON for jsonb": b'j{"a": "\\u0000"}',
    "a number beyond reason": b"j1e1000000",
    "nested beyond reason": b"j" + b"[" * 100_000,
    "half a character": b'j"\\ud800"',
}


async def test_sessions_are_shown_with_what_a_person_asks_for(url: str, schema: str, sql: psycopg.Connection) -> None:
    async with sojourn.open(url) as store:
        sessions = Sessions(store)
        mine = await sessions.issue(subject="ann", label="Firefox")
        gone = await sessions.issue(subject="ann")
        await sessions.revoke(gone.session.id)
        found = sql.execute(
            localized(
                "SELECT id, subject, label, created_at, idle_until, ends_at FROM sojourn.sessions", schema
            ).encode()
        )
        ((name, subject, label, created, idle, ends),) = found.fetchall()
    assert (name, subject, label) == (mine.session.id, "ann", "Firefox")
    assert created < idle < ends


async def test_what_no_session_holds_breaks_no_view(
    engine: PostgresEngine, schema: str, sql: psycopg.Connection
) -> None:
    await engine.commit(
        [
            Transaction(writes=(Put(Key(space, name, ""), value),))
            for name, value in AWKWARD.items()
            for space in ("session", "session.idle", "session.trace", "other")
        ]
    )
    sessions = sql.execute(
        localized("SELECT id, subject, created_at FROM sojourn.sessions", schema).encode()
    ).fetchall()
    assert sorted(sessions) == sorted((name, None, None) for name in AWKWARD)
    records = sql.execute(
        localized("SELECT partition, json FROM sojourn.live_records WHERE space = 'other'", schema).encode()
    ).fetchall()
    assert dict(records) == dict.fromkeys(AWKWARD)


async def test_only_what_lives_is_shown_as_living(url: str, schema: str, sql: psycopg.Connection) -> None:
    engine = PostgresEngine(url)
    await engine.open()
    lasting, short = Key("s", "p", "lasting"), Key("s", "p", "short")
    writes = (Put(lasting, b'j{"a":1}', rank=7, ttl=timedelta(hours=1)), Put(short, b"", ttl=timedelta(milliseconds=1)))
    await engine.commit([Transaction(writes=writes)])
    query = localized("SELECT item, rank, json FROM sojourn.live_records", schema).encode()
    while len(found := sql.execute(query).fetchall()) == 2:
        pass  # its millisecond is not over yet
    await engine.close()
    assert found == [("lasting", 7, {"a": 1})]


@pytest.mark.promise(9)
async def test_changes_are_shown_key_by_key(engine: PostgresEngine, schema: str, sql: psycopg.Connection) -> None:
    keys = [Key("s", "p", item) for item in "ab"]
    await engine.commit([Transaction(writes=tuple(Put(key, b"") for key in keys))])
    await engine.commit([Transaction(writes=(Delete(keys[0]), Touch(keys[1], rank=1)))])
    found = sql.execute(
        localized("SELECT space, partition, item FROM sojourn.changes ORDER BY xid, item", schema).encode()
    ).fetchall()
    assert found == [tuple(key) for key in (*keys, keys[0])]
