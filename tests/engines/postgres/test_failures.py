"""Failures of the server and of the way to it: each has one of four names, and leaves nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta

import psycopg
import pytest
from psycopg.pq import DiagnosticField, ExecStatus

from sojourn import limits
from sojourn.engines.postgres import PostgresEngine, failures, install
from sojourn.engines.postgres.connections import (
    ConnectError,
    Connection,
    Connections,
    LostError,
    Statement,
    StatementError,
    connect,
)
from sojourn.engines.postgres.install import localized
from sojourn.engines.postgres.program import lock_number
from sojourn.errors import ClosedError, CommitUnknownError, CorruptError, SojournError, UnavailableError
from sojourn.kernel import (
    Append,
    BatchRefusedError,
    Committed,
    Key,
    Now,
    Put,
    RankSpan,
    Reads,
    Span,
    Store,
    Transaction,
    ids,
)
from sojourn.testing import ManualClock

KEY = Key("s", "p", "i")
PUT = Transaction(writes=(Put(KEY, b"v"),))
READ = Reads(keys=(KEY,))
SHORT = timedelta(milliseconds=50)


@pytest.fixture
def url(url: str) -> str:
    """As elsewhere, with a name by which the server tells this test's connections from all others."""
    return f"{url}&application_name={url[-12:]}"


@pytest.fixture
def backends(sql: psycopg.Connection, url: str) -> Callable[[], list[int]]:
    """Return the server's processes for this test's connections."""
    query = "SELECT pid FROM pg_stat_activity WHERE application_name = %s ORDER BY backend_start"
    return lambda: [pid for (pid,) in sql.execute(query, [url[-12:]]).fetchall()]


@pytest.fixture
def held(sql: psycopg.Connection, schema: str) -> Callable[[], AbstractContextManager[None]]:
    """Hold the lock of the partition `p` while within."""
    numbers = f"hashtext('\"{schema}\".store'), {lock_number('p')}"

    @contextmanager
    def holding() -> Iterator[None]:
        sql.execute(f"SELECT pg_advisory_lock({numbers})".encode())
        yield
        sql.execute(f"SELECT pg_advisory_unlock({numbers})".encode())

    return holding


async def until(condition: Callable[[], object]) -> None:
    """Let the loop run until the condition holds."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110  what it waits for happens in the server
            await asyncio.sleep(0)


def waiting(sql: psycopg.Connection, pids: list[int]) -> bool:
    """Say whether one of them waits for a lock."""
    query = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid = ANY (%s)"
    row = sql.execute(query, [pids]).fetchone()
    return row is not None and row[0] > 0


async def kill(sql: psycopg.Connection, pids: list[int]) -> None:
    for pid in pids:
        sql.execute("SELECT pg_terminate_backend(%s, 10000)", [pid])


@pytest.mark.promise(10)
async def test_connections_killed_while_idle_are_replaced(
    engine: PostgresEngine, sql: psycopg.Connection, backends: Callable[[], list[int]]
) -> None:
    await engine.commit([PUT])
    await asyncio.gather(*(engine.read(READ) for _ in range(limits.POSTGRES_READERS)))
    assert engine._opened is not None
    connections = [*engine._opened.commits._all, *engine._opened.reads._all]
    await kill(sql, backends())
    await until(lambda: not any(connection.is_open for connection in connections))
    await engine.commit([PUT])
    await asyncio.gather(*(engine.read(READ) for _ in range(limits.POSTGRES_READERS)))
    assert len(backends()) <= limits.POSTGRES_READERS + 2


@pytest.mark.promise(10, 13)
async def test_a_connection_killed_in_a_commit_leaves_it_unknown(
    engine: PostgresEngine,
    sql: psycopg.Connection,
    backends: Callable[[], list[int]],
    held: Callable[[], AbstractContextManager[None]],
) -> None:
    """Nothing was written, which cannot be known; the store finds out by repeating the id."""
    once = Transaction(ids.new(), writes=(Append("s", "p", "log/", b""),))
    await engine.commit([])
    with held():
        committing = asyncio.create_task(engine.commit([once]))
        await until(lambda: waiting(sql, backends()))
        await kill(sql, backends())
        with pytest.raises(CommitUnknownError):
            await committing
    (done,) = await engine.commit([once])
    assert isinstance(done, Committed)
    assert not done.repeated


@pytest.mark.promise(10)
async def test_a_lock_that_is_not_given_back_makes_it_unavailable(
    engine: PostgresEngine, sql: psycopg.Connection, schema: str, held: Callable[[], AbstractContextManager[None]]
) -> None:
    """The server gives up waiting before we do, so it is known that nothing was written."""
    for name in ("commit", "remove"):
        (setting,) = sql.execute(
            "SELECT proconfig FROM pg_proc WHERE pronamespace = %s::regnamespace AND proname = %s", [schema, name]
        ).fetchone() or ([],)
        assert f"lock_timeout={limits.POSTGRES_LOCK.total_seconds():g}s" in setting
    assert limits.POSTGRES_LOCK < limits.POSTGRES_ANSWER
    sql.execute(localized("ALTER FUNCTION sojourn.commit SET lock_timeout = '20ms'", schema).encode())
    with held(), pytest.raises(UnavailableError, match="locked"):
        await engine.commit([PUT])
    await engine.commit([PUT])


@pytest.mark.promise(10)
async def test_a_server_that_does_not_answer_a_commit_is_given_up(
    engine: PostgresEngine, held: Callable[[], AbstractContextManager[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    once = Transaction(ids.new(), writes=(Append("s", "p", "log/", b""),))
    await engine.commit([Transaction()])
    with held():
        monkeypatch.setattr(limits, "POSTGRES_ANSWER", SHORT)
        with pytest.raises(CommitUnknownError, match="no answer"):
            await engine.commit([once])
        monkeypatch.undo()
    (done,) = await engine.commit([once])
    assert isinstance(done, Committed)
    (log,) = (await engine.read(Reads(spans=(Span("s", "p"),)))).records.spans
    assert len(log) == 1


@pytest.mark.promise(10)
async def test_a_server_that_does_not_answer_a_read_is_given_up(
    engine: PostgresEngine, server: str, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await engine.read(READ)
    position = (await engine.changes(None, 0)).position
    with psycopg.connect(server) as holder:
        holder.execute(localized("LOCK TABLE sojourn.records, sojourn.store", schema).encode())
        monkeypatch.setattr(limits, "POSTGRES_ANSWER", SHORT)
        for call in (
            engine.read(READ),
            engine.rank(RankSpan("s")),
            engine.sweep(10),
            engine.changes(position, 0),
        ):
            with pytest.raises(UnavailableError, match="no answer"):
                await call
        monkeypatch.undo()
    assert (await engine.read(READ)).records.keys == (None,)


@pytest.mark.promise(10)
async def test_a_read_does_not_queue_behind_a_commit(
    engine: PostgresEngine,
    sql: psycopg.Connection,
    backends: Callable[[], list[int]],
    held: Callable[[], AbstractContextManager[None]],
) -> None:
    with held():
        committing = asyncio.create_task(engine.commit([PUT]))
        await until(lambda: waiting(sql, backends()))
        assert (await engine.read(READ)).records.keys == (None,)
    await committing


@pytest.mark.promise(12)
async def test_cancelled_reads_use_no_more_connections(
    engine: PostgresEngine, backends: Callable[[], list[int]]
) -> None:
    for rounds in range(60):
        reading = asyncio.create_task(engine.read(READ))
        for _ in range(rounds % 7):
            await asyncio.sleep(0)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    await asyncio.gather(*(engine.read(READ) for _ in range(20)))
    assert len(backends()) <= limits.POSTGRES_READERS + 2


@pytest.mark.promise(12)
async def test_closing_leaves_no_connection(engine: PostgresEngine, backends: Callable[[], list[int]]) -> None:
    """Neither of idle ones nor of those in the middle of something."""
    await engine.commit([PUT])
    calls = [asyncio.create_task(engine.read(READ)) for _ in range(9)]
    calls.append(asyncio.create_task(engine.commit([PUT])))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    await engine.close()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert not [result for result in results if isinstance(result, Exception) and not isinstance(result, SojournError)]
    await until(lambda: not backends())


@pytest.mark.promise(10, 12)
async def test_closing_ends_who_waits_for_changes(engine: PostgresEngine) -> None:
    position = (await engine.changes(None, 0)).position
    watching = asyncio.create_task(engine.changes(position, 30))
    await until(lambda: engine._opened is not None and engine._opened.bell._line is not None)
    await engine.close()
    with pytest.raises((ClosedError, UnavailableError)):
        await watching


@pytest.mark.promise(12)
async def test_closing_while_a_watcher_connects_leaves_no_connection(
    engine: PostgresEngine, backends: Callable[[], list[int]]
) -> None:
    position = (await engine.changes(None, 0)).position
    watching = asyncio.create_task(engine.changes(position, 30))
    assert engine._opened is not None
    await until(engine._opened.bell._connecting.locked)
    await engine.close()
    with pytest.raises(ClosedError):
        await watching
    await until(lambda: not backends())


@pytest.mark.promise(13)
async def test_one_id_in_two_partitions_at_once_is_committed_once(engine: PostgresEngine, url: str) -> None:
    """The locks of its attempts differ, so only the receipt can tell."""
    other = PostgresEngine(url, clock=engine._clock)
    await other.open()
    for _ in range(30):
        name = ids.new()
        attempts = [
            Transaction(name, writes=(Append("s", partition, "log/", b""),), attempt=number)
            for number, partition in enumerate(("left", "right"), 1)
        ]
        answers = await asyncio.gather(engine.commit(attempts[:1]), other.commit(attempts[1:]))
        done = [answer for (answer,) in answers if isinstance(answer, Committed)]
        assert sorted(committed.repeated for committed in done) == [False, True]
        assert len({(committed.revision, committed.attempt) for committed in done}) == 1
    await other.close()


@pytest.mark.promise(2)
async def test_a_transaction_of_very_many_partitions_takes_one_lock(
    engine: PostgresEngine, sql: psycopg.Connection, server: str, schema: str, backends: Callable[[], list[int]]
) -> None:
    """The table of locks is the server's, for all: past 512 of them the whole store is locked instead."""
    counts: list[int] = []
    await engine.commit([PUT])
    for partitions in (3, 1_200):
        many = Transaction(writes=tuple(Put(Key("s", f"p{number}", "i"), b"") for number in range(partitions)))
        with psycopg.connect(server) as holder:
            holder.execute(localized("LOCK TABLE sojourn.log", schema).encode())
            committing = asyncio.create_task(engine.commit([many]))
            await until(lambda: waiting(sql, backends()))
            query = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = ANY (%s)"
            counts.append((sql.execute(query, [backends()]).fetchone() or (0,))[0])
        (done,) = await committing
        assert isinstance(done, Committed)
    assert counts == [3 + 1, 1]


@pytest.mark.promise(2)
async def test_locks_are_taken_in_one_order(engine: PostgresEngine, url: str) -> None:
    """Two engines that move between the same partitions in opposite directions do not lock each other out."""
    other = PostgresEngine(url, clock=engine._clock)
    await other.open()
    keys = [Key("s", f"p{number}", "i") for number in range(40)]
    there = Transaction(writes=tuple(Put(key, b"") for key in keys))
    back = Transaction(writes=tuple(Put(key, b"") for key in reversed(keys)))
    for _ in range(10):
        await asyncio.gather(engine.commit([there]), other.commit([back]))
    await other.close()


@pytest.mark.promise(10)
@pytest.mark.parametrize(
    "poison",
    [
        Put(Key("s", "p", "\0"), b""),
        Put(Key("s", "\ud800", ""), b""),
        Put(KEY, b"", rank=2**63),
        Put(KEY, b"", Now(2**63)),
    ],
    ids=["NUL", "half a character", "rank", "now"],
)
async def test_what_the_server_cannot_take_is_refused(engine: PostgresEngine, poison: Put) -> None:
    with pytest.raises(BatchRefusedError):
        await engine.commit([PUT, Transaction(writes=(poison,))])
    assert (await engine.read(READ)).records.keys == (None,)


@pytest.mark.promise(10)
async def test_a_store_that_is_gone_is_unavailable(
    engine: PostgresEngine, sql: psycopg.Connection, schema: str
) -> None:
    await engine.commit([PUT])
    sql.execute(f"DROP SCHEMA {schema} CASCADE".encode())
    for call in (engine.commit([PUT]), engine.read(READ)):
        with pytest.raises(UnavailableError, match="open the store again"):
            await call


@pytest.mark.promise(2)
async def test_another_isolation_level_is_not_used(url: str, sql: psycopg.Connection) -> None:
    """Under it what is read after a lock is older than the lock: it is set back, or refused where it cannot be."""
    target = url.replace(
        "&application_name", "&options=-c%20default_transaction_isolation%3Dserializable&application_name"
    )
    async with Store(PostgresEngine(target)) as store:
        with pytest.raises(UnavailableError, match="isolation"):
            await store.commit(PUT)
    async with Store(PostgresEngine(url)) as store:
        await store.commit(PUT)


def refused(sqlstate: str) -> StatementError:
    return StatementError(sqlstate, "what the server says")


@pytest.mark.promise(10)
@pytest.mark.parametrize("sqlstate", ["40001", "40P01", "53100", "53300", "55P03", "57014", "58030", "25006", "42501"])
def test_what_may_pass_wrote_nothing(sqlstate: str) -> None:
    for explain in (failures.while_committing, failures.while_reading, failures.while_opening):
        assert not isinstance(explain(refused(sqlstate)), CommitUnknownError | BatchRefusedError)
    assert type(failures.while_committing(refused(sqlstate))) is UnavailableError


@pytest.mark.promise(10)
@pytest.mark.parametrize("sqlstate", ["22021", "22P02", "23502", "54000", "XX000", "P0001"])
def test_what_cannot_pass_is_refused(sqlstate: str) -> None:
    assert isinstance(failures.while_committing(refused(sqlstate)), BatchRefusedError)
    assert type(failures.while_reading(refused(sqlstate))) is UnavailableError


@pytest.mark.promise(10)
@pytest.mark.parametrize("explain", [failures.while_committing, failures.while_reading, failures.while_opening])
def test_damage_is_called_damage(explain: Callable[[StatementError], Exception]) -> None:
    assert isinstance(explain(refused("XX001")), CorruptError)


@pytest.mark.promise(10)
def test_a_lost_answer_is_unknown_only_to_a_commit() -> None:
    assert isinstance(failures.while_committing(LostError("gone")), CommitUnknownError)
    assert type(failures.while_reading(LostError("gone"))) is UnavailableError
    assert type(failures.while_committing(ConnectError("gone"))) is UnavailableError


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ('FATAL:  password authentication failed for user "u"', "password"),
        ('FATAL:  no pg_hba.conf entry for host "::1", user "u", database "d", no encryption', "pg_hba.conf"),
        ('server certificate for "a" does not match host name "b"', "sslmode"),
        ('root certificate file "/r.crt" does not exist', "sslmode"),
        ("server does not support SSL, but SSL was required", "sslmode"),
        ('FATAL:  role "u" is not permitted to log in', "user"),
        ("FATAL:  unsupported startup parameter in options: statement_timeout", "pooled"),
    ],
)
def test_what_the_server_says_names_the_part_of_the_url(said: str, named: str) -> None:
    error = failures.while_opening(ConnectError(said))
    assert not isinstance(error, UnavailableError)
    assert named in str(error)


@pytest.mark.promise(5)
async def test_what_is_written_while_the_sweep_waits_for_it_stays(
    engine: PostgresEngine,
    sql: psycopg.Connection,
    schema: str,
    backends: Callable[[], list[int]],
    held: Callable[[], AbstractContextManager[None]],
) -> None:
    """It is looked for without a lock, so it is judged again under it."""
    await engine.commit([Transaction(writes=(Put(KEY, b"", ttl=timedelta(seconds=1)),))])
    clock = engine._clock
    assert isinstance(clock, ManualClock)
    clock.advance(timedelta(seconds=1))
    with held():
        sweeping = asyncio.create_task(engine.sweep(10))
        await until(lambda: waiting(sql, backends()))
        sql.execute(localized("UPDATE sojourn.records SET expires_at = NULL", schema).encode())
    assert (await sweeping).expired == 0
    assert (await engine.read(READ)).records.keys != (None,)


@pytest.mark.promise(6)
async def test_the_clock_of_the_server_may_be_set_back(url: str, sql: psycopg.Connection, schema: str) -> None:
    """Where no clock is injected it is the server's that counts, and it stands still until it is made up."""
    engine = PostgresEngine(url)
    await engine.open()
    (done,) = await engine.commit([PUT])
    assert isinstance(done, Committed)
    text = next(migration.text for migration in install.MIGRATIONS if migration.name == "commit")
    function = next(part for part in text.split("\n\n") if "FUNCTION sojourn.now(" in part)
    slow = (
        function[function.index("CREATE") :]
        .replace("CREATE", "CREATE OR REPLACE")
        .replace("* 1000)", "* 1000 - 60000)")
    )
    sql.execute(localized(slow, schema).encode())
    (later,) = await engine.commit([PUT])
    assert isinstance(later, Committed)
    times = [done.now, later.now, (await engine.read(READ)).now, (await engine.rank(RankSpan("s"))).now]
    assert times == [done.now] * 4
    await engine.close()


class _Ending:
    """An answer that ends the connection, although the end of it has not been seen yet."""

    status = ExecStatus.FATAL_ERROR

    def error_field(self, field: int) -> bytes:
        return {DiagnosticField.SEVERITY_NONLOCALIZED: b"FATAL", DiagnosticField.SQLSTATE: b"57P01"}[
            DiagnosticField(field)
        ]

    def get_error_message(self) -> str:
        return "FATAL:  terminating connection due to administrator command"


@pytest.mark.promise(10)
async def test_an_error_that_ends_the_connection_leaves_a_commit_unknown(
    engine: PostgresEngine,
    sql: psycopg.Connection,
    backends: Callable[[], list[int]],
    held: Callable[[], AbstractContextManager[None]],
) -> None:
    """The server may send it when it has already committed."""
    with held():
        committing = asyncio.create_task(engine.commit([PUT]))
        await until(lambda: waiting(sql, backends()))
        assert engine._opened is not None
        (connection,) = engine._opened.commits._all
        connection._results.append(_Ending())  # type: ignore[arg-type]  # as much of an answer as is looked at
        connection._settle()
        with pytest.raises(CommitUnknownError):
            await committing
    assert not connection.is_open


async def _lost_in_the_making() -> Connection:
    raise LostError("no answer in 10 s")


@pytest.mark.promise(10)
async def test_a_connection_that_fails_in_the_making_has_sent_nothing(server: str) -> None:
    """So a commit that asked for it is not unknown; and the next one may try again."""

    async def ended() -> Connection:
        connection = await connect(server, prepares=True)
        connection.close()
        return connection

    for making in (_lost_in_the_making, ended):
        connections = Connections(making, 1)
        for _ in range(2):
            with pytest.raises(ConnectError, match=r"no answer|closed"):
                await connections.ask(Statement("one", "SELECT 1"), [], limits.POSTGRES_ANSWER)


@pytest.mark.promise(12)
async def test_closing_may_be_cancelled_at_any_step(
    url: str,
    sql: psycopg.Connection,
    backends: Callable[[], list[int]],
    held: Callable[[], AbstractContextManager[None]],
) -> None:
    """Then commits in flight are given up, and still no connection stays."""
    for rounds in range(6):
        engine = PostgresEngine(url)
        await engine.open()
        position = (await engine.changes(None, 0)).position
        await engine.changes(position, 0.001)  # from now on it listens
        with held():
            committing = asyncio.create_task(engine.commit([PUT]))
            await until(lambda: waiting(sql, backends()))
            closing = asyncio.create_task(engine.close())
            for _ in range(rounds):
                await asyncio.sleep(0)
            closing.cancel()
            await asyncio.gather(closing, return_exceptions=True)
        await asyncio.gather(committing, return_exceptions=True)
        await engine.close()  # the first time, if the other had not begun
        await until(lambda: not backends())
