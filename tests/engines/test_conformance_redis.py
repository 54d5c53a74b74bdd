"""The redis engine keeps every promise of the port: on Valkey, and on the oldest Redis that it takes."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from sojourn.engines.redis import RedisEngine
from sojourn.kernel.clock import Clock
from sojourn.testing import conformance
from sojourn.testing.conformance import Capability
from tests.servers import Name
from tests.servers.stores import fresh, remove


class _RedisHarness:
    """A store is a prefix on the server that the whole run shares, which writes each commit to its disk."""

    capabilities = frozenset(Capability)
    server: ClassVar[Name]

    async def create(self, folder: Path) -> str:  # noqa: ARG002  a store is no file here
        """Name a prefix that nobody has used; the engine makes the store."""
        return fresh(self.server)

    def engine(self, address: str, clock: Clock) -> RedisEngine:
        """Make an engine over the prefix."""
        return RedisEngine(address, clock=clock)

    async def destroy(self, address: str) -> None:
        """Remove the keys of the prefix."""
        remove(address)


class ValkeyHarness(_RedisHarness):
    """The newest server."""

    server = "valkey"


class OldRedisHarness(_RedisHarness):
    """The oldest server."""

    server = "redis"


class TestRedisEngineOnValkey(conformance.EngineConformance):
    """All of the suite, on the newest Valkey."""

    harness = ValkeyHarness()


class TestRedisEngineOnOldRedis(conformance.EngineConformance):
    """All of the suite, on Redis 6.2."""

    harness = OldRedisHarness()
