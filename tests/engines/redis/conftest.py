"""A server of a test's own, which it may break, and an engine over it."""

from collections.abc import AsyncIterator, Iterator

import pytest
import redis

from sojourn.engines.redis import RedisEngine
from sojourn.testing import ManualClock
from tests.servers import Redis


@pytest.fixture
def server() -> Iterator[Redis]:
    """A Valkey of the test's own, which keeps everything in memory."""
    with Redis() as server:
        yield server


@pytest.fixture
def admin(server: Redis) -> Iterator[redis.Redis]:
    """An operator of that server, or whoever else may use it."""
    with redis.Redis(port=server.port, protocol=2) as admin:
        yield admin


@pytest.fixture
async def engine(server: Redis, clock: ManualClock) -> AsyncIterator[RedisEngine]:
    """An engine over that server, going by the clock of the test."""
    engine = RedisEngine(server.url("test"), clock=clock)
    await engine.open()
    yield engine
    await engine.close()
