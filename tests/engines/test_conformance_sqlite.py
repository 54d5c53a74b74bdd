"""The sqlite engine keeps every promise of the port."""

from __future__ import annotations

from pathlib import Path

from sojourn.engines.sqlite import SqliteEngine
from sojourn.kernel.clock import Clock
from sojourn.testing import conformance
from sojourn.testing.conformance import Capability


class SqliteHarness:
    """A store is a file, which any process can open."""

    capabilities = frozenset(Capability)

    async def create(self, folder: Path) -> str:
        """Name a file that the engine will make when it opens."""
        return str(folder / "store.db")

    def engine(self, address: str, clock: Clock) -> SqliteEngine:
        """Make an engine over the file."""
        return SqliteEngine(address, clock=clock)

    async def destroy(self, address: str) -> None:
        """Do nothing: the file goes with its folder."""


class TestSqliteEngine(conformance.EngineConformance):
    """All of the suite, on the embedded default."""

    harness = SqliteHarness()
