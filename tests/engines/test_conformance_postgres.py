"""The PostgreSQL engine keeps every promise of the port, on the newest and on the oldest server that it is tried on."""

from __future__ import annotations

from pathlib import Path

from sojourn.engines.postgres import PostgresEngine
from sojourn.kernel.clock import Clock
from sojourn.testing import conformance
from sojourn.testing.conformance import Capability
from tests.servers import Name
from tests.servers.stores import fresh, leave


class Postgres18Harness:
    """A store is a schema of its own on a server that all tests share."""

    server: Name = "postgres18"
    capabilities = frozenset(Capability)

    async def create(self, folder: Path) -> str:  # noqa: ARG002
        """Name a schema that the engine will make when it opens, or one that it cannot tell from a new one."""
        return fresh(self.server)

    def engine(self, address: str, clock: Clock) -> PostgresEngine:
        """Make an engine over the schema."""
        return PostgresEngine(address, clock=clock)

    async def destroy(self, address: str) -> None:
        """Remove all that is in the schema."""
        leave(address)


class Postgres16Harness(Postgres18Harness):
    """The same on the oldest server that is tried."""

    server: Name = "postgres16"


class TestPostgres18(conformance.EngineConformance):
    """All of the suite, on the newest server."""

    harness = Postgres18Harness()


class TestPostgres16(conformance.EngineConformance):
    """All of the suite, on the oldest server."""

    harness = Postgres16Harness()
