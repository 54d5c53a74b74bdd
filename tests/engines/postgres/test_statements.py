"""The SQL: no function walks through a table, and what is written in two places is the same in both."""

from __future__ import annotations

import re
from datetime import timedelta

import psycopg
import pytest

from sojourn.engines.postgres import PostgresEngine, install, program
from sojourn.engines.postgres.install import localized
from sojourn.engines.postgres.program import Program
from sojourn.kernel import (
    Absent,
    Append,
    Create,
    Delete,
    DeleteSpan,
    Ensure,
    Key,
    Present,
    Put,
    RankSpan,
    Reads,
    Span,
    SpanIs,
    Touch,
    Transaction,
    ids,
)
from sojourn.testing import ManualClock


@pytest.mark.parametrize("rows", [0, 300])
async def test_every_row_is_found_by_an_index(
    engine: PostgresEngine, sql: psycopg.Connection, schema: str, clock: ManualClock, rows: int
) -> None:
    """In an empty store, whose plans are kept while it grows, and in one that has grown."""
    old = tuple(Put(Key("s", "old", f"{number:04}"), b"", rank=number) for number in range(rows))
    await engine.commit([Transaction(writes=old)])
    sql.execute(localized("ANALYZE sojourn.records, sojourn.log, sojourn.receipts", schema).encode())
    # What opening has done does not count. It is told when its connection ends, and another one takes its place.
    assert engine._opened is not None
    (opening,) = engine._opened.commits._all
    backend = opening.backend
    opening.close()
    while sql.execute("SELECT FROM pg_stat_activity WHERE pid = %s", [backend]).fetchone() is not None:
        pass
    sql.execute(
        "SELECT pg_stat_reset_single_table_counters(oid) FROM pg_class WHERE relnamespace = %s::regnamespace", [schema]
    )
    key, span = Key("s", "p", "i"), Span("s", "p")
    position = (await engine.changes(None, 0)).position
    work = Transaction(
        ids.new(),
        (Absent(key), SpanIs(span, 0, 0)),
        (DeleteSpan(span), Put(key, b"", rank=1, ttl=timedelta(seconds=1)), Append("s", "p", "log/", b"")),
        Reads((key,), (span,)),
    )
    await engine.commit([work, work])
    await engine.commit(
        [Transaction(ids.new(), (Present(Key("s", "p", "none")),)), Transaction(writes=(Create(key, b""),))]
    )
    await engine.commit(
        [Transaction(writes=(Touch(key, rank=2), Ensure(Key("s", "p", "j"), b""), Delete(Key("s", "p", "k"))))]
    )
    await engine.read(Reads((key,), (span, Span("s", "old", reverse=True))))
    await engine.rank(RankSpan("s"))
    await engine.rank(RankSpan("s", reverse=True))
    await engine.changes(position, 0)
    clock.advance(timedelta(hours=1))
    await engine.sweep(100)
    await engine.close()  # whoever leaves tells what he has done
    query = (
        "SELECT relname, seq_scan, idx_scan > 0 FROM pg_stat_user_tables WHERE schemaname = %s AND relname = ANY (%s)"
    )
    tables = ["log", "receipts", "records"]
    while len(found := sorted(sql.execute(query, [schema, tables]).fetchall())) < 3 or not all(row[2] for row in found):
        assert all(scans == 0 for _, scans, _ in found)
    assert [(table, scans) for table, scans, _ in found] == [(table, 0) for table in tables]


async def test_a_deletion_looks_at_its_span_and_not_at_the_partition(
    engine: PostgresEngine, sql: psycopg.Connection, schema: str
) -> None:
    """Not even where the server does not know yet how large that has become."""
    grown = """
        ALTER TABLE sojourn.records SET (autovacuum_enabled = off);
        INSERT INTO sojourn.records (space, partition, item, revision, value)
        SELECT 's', 'p', lpad(number::text, 5, '0'), number, '' FROM generate_series(1, 20000) AS number
    """
    sql.execute(localized(grown, schema).encode())
    await engine.commit([Transaction(writes=(DeleteSpan(Span("s", "p"), at_most=3),))])
    await engine.close()  # whoever leaves tells what he has done
    query = "SELECT idx_tup_read FROM pg_stat_user_indexes WHERE schemaname = %s AND indexrelname = 'records_pkey'"
    while (looked_at := sql.execute(query, [schema]).fetchone()) in {None, (0,)}:
        pass
    assert looked_at is not None
    assert looked_at[0] < 100


def test_the_locks_of_a_batch_are_in_order() -> None:
    """In that of all other batches, whatever the order of its transactions is, and each once."""
    partitions = [f"p{number}" for number in range(200)]
    forth = [Transaction(writes=(Put(Key("s", partition, "i"), b""),)) for partition in partitions]
    locks = Program(forth).parameters()[0]
    assert Program(forth[::-1]).parameters()[0] == locks
    assert Program([*forth, *forth]).parameters()[0] == locks
    numbers = [int.from_bytes(locks[at : at + 4], "big") for at in range(24, len(locks), 8)]
    assert numbers == sorted({program.lock_number(partition) for partition in partitions})


@pytest.mark.parametrize(("partition", "number"), [("", 0), ("p", 3_761), ("é", 3_390)])
def test_the_lock_of_a_partition_is_the_same_in_every_release(partition: str, number: int) -> None:
    assert program.lock_number(partition) == number


def test_whatever_a_transaction_touches_is_locked() -> None:
    """Its guards, writes and reads; keys, spans and appends."""
    keys = [Key("s", f"p{number}", "i") for number in range(8)]
    spans = [Span("s", key.partition) for key in keys]
    whole = Transaction(
        ids.new(),
        (Absent(keys[0]), SpanIs(spans[1], 0, 0)),
        (Put(keys[2], b""), Append("s", "p3", "", b""), DeleteSpan(spans[4]), Touch(keys[5])),
        Reads((keys[6],), (spans[7],)),
    )
    locks = Program([whole]).parameters()[0]
    assert int.from_bytes(locks[12:16], "big") == len({program.lock_number(key.partition) for key in keys})


def test_the_kinds_of_steps_are_those_of_the_function() -> None:
    kinds = {
        value for name, value in vars(program).items() if re.fullmatch(r"_[A-Z_]+", name) and isinstance(value, int)
    }
    text = next(migration.text for migration in install.MIGRATIONS if migration.name == "commit")
    named = {int(number) for number in re.findall(r"kind = (\d+)", text)}
    assert named <= kinds
    assert {1, 2, 3, 4, 10, 14, 15, 20, 21, 30, 40, 41, 42, 43} <= named
