"""A schema of its own for each test, an engine over it, and plain SQL beside it."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest

from sojourn.engines.postgres import PostgresEngine
from sojourn.testing import ManualClock
from tests.servers import shared


@pytest.fixture
def server() -> str:
    """The URL of a server, without a schema, as a user who may do everything."""
    return shared("postgres18")


@pytest.fixture
def sql(server: str) -> Iterator[psycopg.Connection]:
    """A connection for plain SQL, each statement a transaction of its own."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("SET client_min_messages = warning")
        yield connection


@pytest.fixture
def schema(sql: psycopg.Connection) -> Iterator[str]:
    """The name of a schema that is not there yet; it is removed after the test."""
    name = f"t{secrets.token_hex(8)}"
    yield name
    sql.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE".encode())


@pytest.fixture
def url(server: str, schema: str) -> str:
    return f"{server}?schema={schema}"


@pytest.fixture
async def engine(url: str, clock: ManualClock) -> AsyncIterator[PostgresEngine]:
    engine = PostgresEngine(url, clock=clock)
    await engine.open()
    yield engine
    await engine.close()
