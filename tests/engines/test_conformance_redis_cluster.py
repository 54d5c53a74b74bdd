"""The redis engine keeps every promise of the port on a cluster too, but that of transactions over many partitions."""

from __future__ import annotations

from pathlib import Path

from sojourn.engines.redis import RedisEngine
from sojourn.kernel.clock import Clock
from sojourn.testing import conformance
from sojourn.testing.conformance import Capability
from tests.servers.stores import fresh, remove


class ClusterHarness:
    """A store is a prefix on the run's cluster. Its masters have replicas, so it is not durable."""

    capabilities = frozenset({Capability.CROSS_PROCESS, Capability.CROSS_PROCESS_WATCH})

    async def create(self, folder: Path) -> str:  # noqa: ARG002  the servers have one of their own
        """Name a prefix that nobody uses."""
        return fresh("redis-cluster")

    def engine(self, address: str, clock: Clock) -> RedisEngine:
        """Make an engine over the prefix."""
        return RedisEngine(address, clock=clock)

    async def destroy(self, address: str) -> None:
        """Remove the keys."""
        remove(address)


class TestRedisCluster(conformance.EngineConformance):
    """All of the suite, on three masters."""

    harness = ClusterHarness()
