"""The PostgreSQL engine keeps every promise of the port, on the newest and on the oldest server that it is tried on."""

from __future__ import annotations

import secrets
from pathlib import Path

import psycopg

from sojourn.engines.postgres import PostgresEngine
from sojourn.kernel.clock import Clock
from sojourn.testing import conformance
from sojourn.testing.conformance import Capability
from tests.servers import Name, shared


class Postgres18Harness:
    """A store is a schema of its own on a server that all tests share."""

    server: Name = "postgres18"
    capabilities = frozenset(Capability)

    async def create(self, folder: Path) -> str:  # noqa: ARG002
        """Name a schema that the engine will make when it opens."""
        return f"{shared(self.server)}?schema=t{secrets.token_hex(8)}"

    def engine(self, address: str, clock: Clock) -> PostgresEngine:
        """Make an engine over the schema."""
        return PostgresEngine(address, clock=clock)

    async def destroy(self, address: str) -> None:
        """Remove the schema and all that is in it."""
        url, _, schema = address.partition("?schema=")
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            await connection.execute("SET client_min_messages = warning")
            await connection.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE'.encode())


class Postgres16Harness(Postgres18Harness):
    """The same on the oldest server that is tried."""

    server: Name = "postgres16"


class TestPostgres18(conformance.EngineConformance):
    """All of the suite, on the newest server."""

    harness = Postgres18Harness()


class TestPostgres16(conformance.EngineConformance):
    """All of the suite, on the oldest server."""

    harness = Postgres16Harness()
