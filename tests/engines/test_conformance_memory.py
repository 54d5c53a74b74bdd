"""The memory engine keeps every promise of the port."""

from __future__ import annotations

from pathlib import Path

from sojourn.engines.memory import MemoryEngine
from sojourn.kernel.clock import Clock
from sojourn.testing import conformance
from sojourn.testing.conformance import Capability


class MemoryHarness:
    """A store is the engine itself, so each address leads nowhere and each engine is a new store."""

    capabilities = frozenset({Capability.CROSS_PARTITION})

    async def create(self, folder: Path) -> str:
        """Name the store after its folder, which stays empty."""
        return str(folder)

    def engine(self, address: str, clock: Clock) -> MemoryEngine:  # noqa: ARG002
        """Make an empty engine."""
        return MemoryEngine(clock=clock)

    async def destroy(self, address: str) -> None:
        """Do nothing: the store ends with its engine."""


class TestMemoryEngine(conformance.EngineConformance):
    """All of the suite, on the reference engine."""

    harness = MemoryHarness()
