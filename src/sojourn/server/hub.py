"""The hub: who is connected to this process to watch, from the first handshake to the last goodbye."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Generator
from contextlib import contextmanager
from datetime import timedelta

from sojourn import limits
from sojourn.errors import ClosedError, OverloadedError, RateLimitedError, UnavailableError
from sojourn.functions import Bound
from sojourn.kernel import Reads, Store
from sojourn.kernel.waiting import first_of, seen
from sojourn.server.exchange import Send
from sojourn.server.rate import Budget
from sojourn.server.tickets import Holder, Tickets
from sojourn.server.viewer import Viewer
from sojourn.server.voice import Voice
from sojourn.sessions import Sessions

__all__ = ["Hub", "whichever"]


class Hub:
    """The live connections of one process. `calls` is the budget that messages of clients are counted against."""

    def __init__(self, store: Store, sessions: Sessions, bound: Bound | None, calls: Budget) -> None:
        self.tickets = Tickets(store)
        self.clock = store.clock
        self.transitions = 0
        """How many were sent."""
        self._store = store
        self._sessions = sessions
        self._bound = bound
        self._calls = calls
        self._ends = set[asyncio.Future[None]]()
        self._emptied = asyncio.Event()
        self._is_closed = False

    @property
    def connections(self) -> int:
        """How many there are now."""
        return len(self._ends)

    def check(self) -> None:
        """Let one more connection come, or not.

        Raises:
            ClosedError: the server stops.
            OverloadedError: there are `limits.LIVE_WATCHES` of them.
        """
        if self._is_closed:
            raise ClosedError("the server stops; another may be there")
        if len(self._ends) >= limits.LIVE_WATCHES:
            raise OverloadedError(f"this server has {limits.LIVE_WATCHES} live connections already")

    @contextmanager
    def connected(self) -> Generator[asyncio.Future[None]]:
        """Count a connection while the block runs. What is given fails when the connection is to end, and says why."""
        end = asyncio.get_running_loop().create_future()
        end.add_done_callback(seen)
        try:
            self.check()
        except (ClosedError, OverloadedError) as error:
            end.set_exception(error)
        self._ends.add(end)
        try:
            yield end
        finally:
            end.cancel()
            self._ends.discard(end)
            if not self._ends:
                self._emptied.set()

    def open(self) -> None:
        """Take connections, as it does from the beginning, also after it was closed."""
        self._is_closed = False

    async def close(self) -> None:
        """End every connection with a goodbye, and take no more. What is not over in `limits.STOP_GRACE` is left."""
        self._is_closed = True
        for end in self._ends:
            if not end.done():
                end.set_exception(ClosedError("the server stops; another may be there"))
        if self._ends:
            self._emptied.clear()
            await first_of(self._emptied.wait(), self._store.clock.sleep(limits.STOP_GRACE.total_seconds()))

    async def viewer(self, holder: Holder, seen: int | None) -> Viewer:
        """Begin to watch for a holder, from later on than the version that it has seen. Close what is returned.

        Raises:
            SessionInvalidError: its token opens no session.
            UnavailableError: the store could not be reached, or its clock is more than `limits.LIVE_BEHIND` behind.
        """
        session = None if holder.token is None else await self._sessions.resolve(holder.token)
        version = await self._later_than(seen)
        return Viewer(self._sessions, self._bound, holder, session, version, self._store.live.watch())

    def voice(self, send: Send) -> Voice:
        """Return the means to speak over a connection."""
        return Voice(self._store.clock, send)

    async def count(self, address: str) -> None:
        """Count a message of a client.

        Raises:
            RateLimitedError: there are more than this address may send.
        """
        try:
            await self._calls.spend(address)
        except RateLimitedError:
            raise
        except UnavailableError:
            pass  # what it asks for waits for the store as well

    async def _later_than(self, version: int | None) -> int:
        """Wait until what is read is later than this version, and return one to begin from."""
        now = await self._now()
        if version is None or now * 1_000 > version:
            return now * 1_000
        behind = timedelta(milliseconds=version // 1_000 + 1 - now)
        if behind <= limits.LIVE_BEHIND:
            await self._store.clock.sleep(behind.total_seconds())
            now = await self._now()
        if now * 1_000 <= version:
            raise UnavailableError("what this server could show is older than what was seen already")
        return now * 1_000

    async def _now(self) -> int:
        return (await self._store.read(Reads())).now


async def whichever(*works: Awaitable[None]) -> None:
    """Run all of these until one is over, end the others, and raise what that one raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
