"""What can befall a database while it is used: killed, frozen, its connections cut. Each ends with a comparison.

The tests run each once with a fixed seed, `make soak` again and again with new ones.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import Any, Final, Self, TypeAlias

import msgspec

import sojourn
from tests.failures.load import Load, Sums, ViolationError
from tests.servers.postgres import Postgres
from tests.servers.proxy import Proxy
from tests.servers.redis import DURABLE, Redis
from tests.servers.server import Server

RECOVERY_S: Final = 20.0
"""How long everything may take to work again by itself, from the moment the database is back."""
SETTLING_S: Final = 60.0
"""How long a caller may wait for an answer that will not come, until it is told so."""
_KILLS: Final = 3
_CUTS: Final = 30
_STORES: Final = 2
"""One writes, one watches."""
_COMMITS: Final = 150
"""How much is acknowledged before, between and after."""

Scenario: TypeAlias = Callable[[Server, int], Coroutine[Any, Any, Sums]]

SERVERS: Final[dict[str, Callable[[], Server]]] = {
    "postgres": Postgres,
    "redis": lambda: Redis("redis", **DURABLE),
    "valkey": lambda: Redis("valkey", **DURABLE),
    "valkey-memory": Redis,
}


async def killed(server: Server, seed: int) -> Sums:
    """Kill the server in mid-commit and start it again, three times."""
    chance = random.Random(seed)  # noqa: S311  repeatable by its seed
    async with _Use(server, server.port, chance) as use:
        for _ in range(_KILLS):
            await use.goes_on(chance.randrange(_COMMITS))
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            await use.recovers()
        return await use.ends()


async def frozen(server: Server, seed: int) -> Sums:
    """Freeze the server until every caller has been told of it, and let it go on with what it had in hand."""
    chance = random.Random(seed)  # noqa: S311  repeatable by its seed
    async with _Use(server, server.port, chance) as use:
        await use.goes_on(chance.randrange(_COMMITS))
        server.pause()
        try:
            await use.all_are_told()
        finally:
            server.resume()
        await use.recovers()
        return await use.ends()


async def cut(server: Server, seed: int) -> Sums:
    """Cut every connection somewhere in the middle of what it carries, thirty times."""
    async with Proxy(server.port, seed) as proxy, _Use(server, proxy.port, random.Random(seed)) as use:  # noqa: S311  repeatable
        proxy.is_cutting = True
        async with _within(SETTLING_S, "so many connections have been cut"):
            await proxy.reaches(_CUTS)
        proxy.is_cutting = False
        await use.recovers()
        return await use.ends()


SCENARIOS: Final[dict[str, Scenario]] = {"cut": cut, "frozen": frozen, "killed": killed}


class _Use:
    """A new store in hard use on a server, which is reached by this port: its own, or that of a proxy before it.

    When it is left, no task and no connection is left either.
    """

    def __init__(self, server: Server, port: int, chance: random.Random) -> None:
        self._server = server
        self._direct = server.url(f"failures_{secrets.token_hex(4)}")
        self._url = self._direct.replace(f":{server.port}/", f":{port}/")
        self._chance = chance
        self._stack = AsyncExitStack()
        self._recovery_s = 0.0

    async def __aenter__(self) -> Self:
        self._running = asyncio.all_tasks()
        self._connected = await self._connections()
        async with self._stack as stack:
            writing = await stack.enter_async_context(sojourn.open(self._url))
            watching = await stack.enter_async_context(sojourn.open(self._url))
            self._load = Load(writing, watching, self._chance)
            stack.push_async_callback(self._load.end)
            await self._load.start()
            await self.goes_on(_COMMITS)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.aclose()
        if error is None:
            await self._connections_fall_to(self._connected)
            if left := asyncio.all_tasks() - self._running:
                raise ViolationError(f"tasks that nobody ended: {left}")

    async def goes_on(self, commits: int) -> None:
        """Wait until so much more has been acknowledged."""
        async with _within(SETTLING_S, "the callers get on"):
            await self._load.reaches(commits)

    async def all_are_told(self) -> None:
        """Wait until every caller that waits for an answer of the server has been told that it does not come."""
        async with _within(SETTLING_S, "every caller has been told"):
            await self._load.all_failed()

    async def recovers(self) -> None:
        """Wait until everything works again, by itself."""
        began = time.perf_counter()
        async with _within(RECOVERY_S, "everything works again"):
            await self._load.reaches(_COMMITS)
        self._recovery_s = max(self._recovery_s, round(time.perf_counter() - began, 3))
        self._load.recovered()

    async def ends(self) -> Sums:
        """Stop the callers, and compare what they were told with what a store opened now finds."""
        await self.goes_on(_COMMITS)
        await self._connections_fall_to(self._connected + _STORES * self._server.store_connections)
        async with _within(RECOVERY_S, "the watcher has seen what was acknowledged"):
            await self._load.stop()
        connections = await self._connections()
        async with sojourn.open(self._direct) as store:
            sums = await self._load.judge(store)
        return msgspec.structs.replace(sums, connections=connections, recovery_s=self._recovery_s)

    async def _connections(self) -> int:
        return await asyncio.to_thread(self._server.connections)

    async def _connections_fall_to(self, most: int) -> None:
        async with _within(RECOVERY_S, f"no more than {most} connections are left"):
            while await self._connections() > most:
                pass  # asking takes its time


@asynccontextmanager
async def _within(seconds: float, what: str) -> AsyncIterator[None]:
    """Bound what is waited for."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise ViolationError(f"after {seconds:g} s it still does not hold that {what}") from None
