"""Opening: a store is made once, by whoever comes first, and what cannot hold one is refused in one clear sentence."""

from __future__ import annotations

import asyncio
import secrets
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

import sojourn.engines
from sojourn.engines.postgres import PostgresEngine, install
from sojourn.engines.postgres.connections import connect
from sojourn.engines.postgres.install import localized
from sojourn.errors import (
    IncompatibleError,
    InvalidError,
    MissingExtraError,
    SojournError,
    UnavailableError,
)
from sojourn.kernel import Key, Put, Reads, Transaction
from tests.servers.process import free_port

KEY = Key("s", "p", "i")
PUT = Transaction(writes=(Put(KEY, b"v"),))


@pytest.fixture
def role(sql: psycopg.Connection) -> Iterator[str]:
    """A role that may log in with the password `pass@word/%:x`, and has no rights of its own."""
    name = f"r{secrets.token_hex(8)}"
    sql.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'pass@word/%:x'".encode())
    yield name
    sql.execute(f"DROP OWNED BY {name} CASCADE; DROP ROLE {name}".encode())


@pytest.fixture
def database(sql: psycopg.Connection) -> Iterator[Callable[[str], str]]:
    """Makes databases with what is given, and removes them after the test."""
    made: list[str] = []

    def create(options: str) -> str:
        made.append(f"d{secrets.token_hex(8)}")
        sql.execute(f"CREATE DATABASE {made[-1]} {options}".encode())
        return made[-1]

    yield create
    for name in made:
        sql.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def as_role(url: str, role: str, password: str = "pass%40word%2F%25%3Ax") -> str:  # noqa: S107  the fixture's own
    return url.replace("//postgres@", f"//{role}:{password}@")


async def refusal(url: str) -> SojournError:
    """Return what opening is refused with; it is one sentence, without the password, and leaves nothing open."""
    engine = PostgresEngine(url)
    with pytest.raises(SojournError) as caught:
        await engine.open()
    await engine.close()
    assert "pass@word" not in str(caught.value)
    assert "pass%40word" not in repr(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value


async def test_a_store_is_made_once_and_found_again(url: str, schema: str, sql: psycopg.Connection) -> None:
    for _ in range(2):
        engine = PostgresEngine(url)
        await engine.open()
        await engine.open()
        await engine.commit([PUT])
        (record,) = (await engine.read(Reads(keys=(KEY,)))).records.keys
        assert record is not None
        await engine.close()
        await engine.close()
    applied = sql.execute(
        localized("SELECT version, name FROM sojourn.migrations ORDER BY version", schema).encode()
    ).fetchall()
    assert applied == [(migration.version, migration.name) for migration in install.MIGRATIONS]


async def test_many_open_a_new_store_at_once(url: str) -> None:
    engines = [PostgresEngine(url) for _ in range(8)]
    await asyncio.gather(*(engine.open() for engine in engines))
    await asyncio.gather(*(engine.commit([PUT]) for engine in engines))
    for engine in engines:
        await engine.close()


async def test_stores_in_one_database_do_not_see_each_other(url: str, sql: psycopg.Connection) -> None:
    other = f"{url}2"
    engines = [PostgresEngine(url), PostgresEngine(other)]
    for engine in engines:
        await engine.open()
    await engines[0].commit([PUT])
    assert (await engines[1].read(Reads(keys=(KEY,)))).records.keys == (None,)
    for engine in engines:
        await engine.close()
    sql.execute(f"DROP SCHEMA {other.partition('schema=')[2]} CASCADE".encode())


async def test_a_store_of_an_older_release_is_brought_up_to_date(
    url: str, schema: str, sql: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as older:
        older.setattr(install, "MIGRATIONS", install.MIGRATIONS[:-1])
        engine = PostgresEngine(url)
        await engine.open()
        await engine.commit([PUT])
        await engine.close()
    assert sql.execute(localized("SELECT to_regclass('sojourn.sessions')", schema).encode()).fetchone() == (None,)
    engine = PostgresEngine(url)
    await engine.open()
    assert (await engine.read(Reads(keys=(KEY,)))).records.keys != (None,)
    await engine.close()
    assert sql.execute(localized("SELECT count(*) FROM sojourn.sessions", schema).encode()).fetchone() == (0,)


async def test_a_store_of_a_newer_release_is_left_alone(
    url: str, schema: str, sql: psycopg.Connection, engine: PostgresEngine
) -> None:
    await engine.close()
    sql.execute(localized("INSERT INTO sojourn.migrations (version, name) VALUES (9999, 'later')", schema).encode())
    error = await refusal(url)
    assert isinstance(error, IncompatibleError)
    assert "upgrade" in str(error)


async def test_a_schema_of_another_program_is_left_alone(url: str, schema: str, sql: psycopg.Connection) -> None:
    sql.execute(f"CREATE SCHEMA {schema}; CREATE TABLE {schema}.records (mine integer)".encode())
    error = await refusal(url)
    assert isinstance(error, IncompatibleError)
    assert "?schema=" in str(error)
    assert sql.execute("SELECT count(*) FROM pg_class WHERE relnamespace = %s::regnamespace", [schema]).fetchone() == (
        1,
    )


@pytest.mark.parametrize("migrations", ["(id integer)", "(version integer)", "(version text)"])
async def test_tables_of_the_same_names_are_not_taken_for_ours(
    url: str, schema: str, sql: psycopg.Connection, migrations: str
) -> None:
    """Other programs keep their migrations in a table of that name, too."""
    make = f"CREATE SCHEMA {schema}; CREATE TABLE {schema}.records (); CREATE TABLE {schema}.migrations {migrations}"
    sql.execute(make.encode())
    error = await refusal(url)
    assert isinstance(error, IncompatibleError)
    assert "another program" in str(error)


async def test_a_store_that_has_forgotten_its_version_is_not_made_anew(
    url: str, schema: str, sql: psycopg.Connection, engine: PostgresEngine
) -> None:
    await engine.commit([PUT])
    await engine.close()
    sql.execute(localized("DELETE FROM sojourn.migrations", schema).encode())
    assert "already exists" in str(await refusal(url))
    assert sql.execute(localized("SELECT count(*) FROM sojourn.records", schema).encode()).fetchone() == (1,)


async def test_a_store_without_its_functions_leaves_nothing_behind(
    url: str, schema: str, sql: psycopg.Connection, engine: PostgresEngine
) -> None:
    await engine.close()
    sql.execute(localized("DROP FUNCTION sojourn.commit", schema).encode())
    tasks = asyncio.all_tasks()
    error = await refusal(url)
    assert type(error) is UnavailableError
    assert asyncio.all_tasks() == tasks


async def test_a_role_uses_the_schema_that_it_was_given(
    url: str, schema: str, sql: psycopg.Connection, role: str
) -> None:
    """Without any right in the database but that: and with a password that has to be percent-encoded."""
    sql.execute(f"CREATE SCHEMA {schema} AUTHORIZATION {role}".encode())
    engine = PostgresEngine(as_role(url, role))
    await engine.open()
    await engine.commit([PUT])
    await engine.close()


async def test_a_role_that_may_create_nothing_is_told_whom_to_ask(url: str, role: str) -> None:
    error = await refusal(as_role(url, role))
    assert isinstance(error, InvalidError)
    assert "CREATE SCHEMA" in str(error)


async def test_a_role_that_may_not_use_the_store_is_told(url: str, role: str, engine: PostgresEngine) -> None:
    await engine.close()
    error = await refusal(as_role(url, role))
    assert isinstance(error, InvalidError)
    assert "right" in str(error)


@pytest.mark.parametrize("password", ["wrong", "pass%2540word"])
async def test_a_wrong_password_is_named(url: str, role: str, password: str) -> None:
    error = await refusal(as_role(url, role, password))
    assert isinstance(error, InvalidError)
    assert "password" in str(error)
    assert password not in str(error)


async def test_a_missing_password_is_named(url: str, role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PGPASSWORD", raising=False)
    error = await refusal(url.replace("//postgres@", f"//{role}@"))
    assert isinstance(error, InvalidError)
    assert "password" in str(error)


async def test_a_missing_role_is_named(url: str) -> None:
    error = await refusal(as_role(url, "nobody_of_that_name"))
    assert isinstance(error, InvalidError)
    assert "user" in str(error)


async def test_a_missing_database_is_named(url: str) -> None:
    error = await refusal(url.replace("/postgres?", "/nowhere?"))
    assert isinstance(error, InvalidError)
    assert "database" in str(error)


async def test_a_database_that_cannot_hold_every_text_is_named(url: str, database: Callable[[str], str]) -> None:
    name = database("ENCODING 'SQL_ASCII' TEMPLATE template0")
    error = await refusal(url.replace("/postgres?", f"/{name}?"))
    assert isinstance(error, InvalidError)
    assert "SQL_ASCII" in str(error)
    assert "UTF8" in str(error)


async def test_keys_sort_by_code_point_whatever_the_database_does(
    schema: str, sql: psycopg.Connection, engine: PostgresEngine
) -> None:
    query = """
        SELECT attname, collname FROM pg_attribute JOIN pg_collation ON pg_collation.oid = attcollation
        WHERE attrelid = %s::regclass AND attnum > 0
    """
    found = sql.execute(query, [f"{schema}.records"]).fetchall()
    assert found == [("space", "C"), ("partition", "C"), ("item", "C")]


async def test_a_role_that_may_only_read_is_told(url: str, role: str, sql: psycopg.Connection) -> None:
    sql.execute(f"ALTER ROLE {role} SET default_transaction_read_only = on".encode())
    error = await refusal(as_role(url, role))
    assert isinstance(error, UnavailableError)
    assert "default_transaction_read_only" in str(error)


async def test_a_server_without_tls_is_named(url: str) -> None:
    error = await refusal(f"{url}&sslmode=require")
    assert isinstance(error, InvalidError)
    assert "sslmode" in str(error)


async def test_a_server_that_is_too_old_is_named(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "FLOOR", 99)
    error = await refusal(url)
    assert isinstance(error, InvalidError)
    assert "99 or newer" in str(error)


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    error = await refusal(f"postgresql://u:pass%40word@127.0.0.1:{free_port()}/d")
    assert type(error) is UnavailableError


async def test_a_host_that_is_not_there_is_unavailable() -> None:
    error = await refusal("postgresql://u:pass%40word@nowhere.invalid/d")
    assert type(error) is UnavailableError


@pytest.mark.parametrize("host", ["a..b", "a" * 64], ids=["empty", "long"])
async def test_what_is_no_name_of_a_host_is_named(host: str) -> None:
    error = await refusal(f"postgresql://u:pass%40word@{host}/d")
    assert isinstance(error, InvalidError)
    assert "host" in str(error)


async def test_a_server_with_no_connection_left_is_unavailable(url: str, role: str, sql: psycopg.Connection) -> None:
    sql.execute(f"ALTER ROLE {role} CONNECTION LIMIT 0".encode())
    error = await refusal(as_role(url, role))
    assert type(error) is UnavailableError
    assert "too many" in str(error)


async def test_nothing_is_asked_of_the_network_before_it_is_opened() -> None:
    engine = PostgresEngine("postgresql://nowhere.invalid/d")
    assert engine.describe().engine == "postgres"
    await engine.close()


async def test_a_server_that_promises_less_is_said_to(
    url: str, role: str, sql: psycopg.Connection, schema: str
) -> None:
    sql.execute(f"CREATE SCHEMA {schema} AUTHORIZATION {role}".encode())
    engine = PostgresEngine(as_role(url, role))
    await engine.open()
    assert engine.describe().durable
    await engine.close()
    sql.execute(f"ALTER ROLE {role} SET synchronous_commit = off".encode())
    await engine.open()
    assert not engine.describe().durable
    await engine.close()


async def test_opening_may_be_cancelled_at_any_step(url: str, sql: psycopg.Connection) -> None:
    """What was begun is undone, no connection stays, and the next one opens."""
    engine = PostgresEngine(f"{url}&application_name=cancelled")
    for rounds in range(0, 60, 3):
        opening = asyncio.create_task(engine.open())
        for _ in range(rounds):
            await asyncio.sleep(0)
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)
        await engine.close()
    await engine.open()
    await engine.commit([PUT])
    await engine.close()


async def test_a_migration_names_the_schema_only_where_it_may_be_replaced() -> None:
    for migration in install.MIGRATIONS:
        moved = install.localized(migration.text, "elsewhere")
        code = "\n".join(line.partition("--")[0] for line in moved.splitlines())
        assert "sojourn." not in code
        assert '"elsewhere".' in code


async def test_the_migrations_are_numbered_without_a_gap() -> None:
    assert [migration.version for migration in install.MIGRATIONS] == list(range(1, len(install.MIGRATIONS) + 1))


def test_without_the_driver_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("sojourn.engines.postgres", "psycopg"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(sojourn.engines, "postgres")
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtraError, match=r"sojourn\[postgres\]"):
        sojourn.open("postgresql:///d")


async def test_a_connection_does_not_show_how_it_was_made(server: str) -> None:
    connection = await connect(server, prepares=True)
    assert "postgres@" not in repr(connection)
    connection.close()


def test_the_sql_goes_into_the_package() -> None:
    folder = Path(install.__file__).parent / "migrations"
    assert {file.suffix for file in folder.iterdir()} == {".sql"}
