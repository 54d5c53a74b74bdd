"""Watching: how who waits learns that it is time to look into the log.

Commits of this process wake its own waiters. Other processes are nudged by NOTIFY, sent beside the commits and never
within one, where it would make all committers of the database wait for each other. A nudge says nothing but "look", so
one stands for many; and since everybody looks by and by without any, a lost one costs a moment and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

from psycopg.pq.abc import PGresult

from sojourn import limits
from sojourn.engines.postgres import wire
from sojourn.engines.postgres.connections import ConnectError, Connection, LostError, Statement, StatementError
from sojourn.kernel.engine import Changes
from sojourn.kernel.keys import Key

__all__ = ["Bell", "changes"]

_END: Final = 0
_GAP: Final = 2

# Nobody depends on a nudge, so its transaction need not wait for the disk.
_NUDGE = Statement("nudge", "SELECT set_config('synchronous_commit', 'off', true), pg_notify($1, '')")


def changes(result: PGresult) -> Changes:
    """Read what `changes` answered: keys, then the position."""
    last = result.ntuples - 1
    kind, position = wire.whole(result.get_value(last, 0) or b""), (result.get_value(last, 1) or b"").decode()
    if kind == _GAP:
        return Changes(position, gap=True)
    return Changes(position, frozenset(_key(result, row) for row in range(last)))


def _key(result: PGresult, row: int) -> Key:
    space, partition, item = [(result.get_value(row, column) or b"").decode() for column in (1, 2, 3)]
    return Key(space, partition, item)


class Bell:
    """Rings when there may be changes, and is heard in all processes.

    Behind a pooler nobody can listen; then one looks more often.
    """

    def __init__(self, connect: Callable[[], Awaitable[Connection]], schema: str, *, listens: bool) -> None:
        self._connect = connect
        self._channel = f"sojourn_{schema}"
        self._listens = listens
        self._line: Connection | None = None
        self._connecting = asyncio.Lock()
        self._is_closed = False
        self._rung = asyncio.Event()
        self._changed = asyncio.Event()
        self._ringing = asyncio.create_task(self._nudge_others())

    def ring(self) -> None:
        """Tell this process at once, and others soon, that there are changes."""
        self._wake()
        self._changed.set()

    @property
    def rung(self) -> asyncio.Event:
        """Return the event of the next ring. Take it before looking: a change just after must not be slept through."""
        return self._rung

    async def wait(self, rung: asyncio.Event, seconds: float) -> None:
        """Wait for the event, up to so many seconds; return earlier when it is time to look without a nudge."""
        patience = limits.POSTGRES_POLL if self._listens else limits.POSTGRES_POLL_POOLED
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(seconds, patience.total_seconds())):
                await rung.wait()

    async def listen(self) -> None:
        """See to it that nudges are heard from now on.

        Raises:
            ConnectError: there is no connection to be had.
            StatementError: the server refused to listen.
            LostError: the connection was lost.
        """
        if self._listens:
            await self._connected()

    async def close(self) -> None:
        """Wake everybody who waits, and ring no more."""
        self._is_closed = True
        self._wake()
        self._ringing.cancel()
        if self._line is not None:
            self._line.close()
        await asyncio.gather(self._ringing, return_exceptions=True)

    def _wake(self) -> None:
        self._rung.set()
        self._rung = asyncio.Event()

    async def _nudge_others(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            with contextlib.suppress(ConnectError, StatementError, LostError):  # they look by and by
                line = await self._connected()
                await line.ask(_NUDGE, [wire.text(self._channel)], limits.POSTGRES_ANSWER)
            await asyncio.sleep(limits.POSTGRES_NUDGE.total_seconds())

    async def _connected(self) -> Connection:
        async with self._connecting:
            if self._is_closed:
                raise ConnectError("the store has been closed")
            if self._line is None or not self._line.is_open:
                line = await self._connect()
                try:
                    await line.prepare(_NUDGE, limits.POSTGRES_ANSWER)
                    if self._listens:
                        line.on_notify = self._heard
                        await line.run(f'LISTEN "{self._channel}"', limits.POSTGRES_ANSWER)
                except BaseException:
                    line.close()
                    raise
                self._line = line
                if self._is_closed:  # while we connected
                    line.close()
            return self._line

    def _heard(self, backend: int) -> None:
        if self._line is None or backend != self._line.backend:  # our own nudge comes back to us, too
            self._wake()
