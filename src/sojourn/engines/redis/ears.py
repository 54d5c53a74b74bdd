"""Who hears that a stream has grown: one connection to each master of a cluster, which it tells so.

A cluster lets nobody wait for streams of several slots at a time. But a server can be asked to name the keys that
change: CLIENT TRACKING, with a prefix that only the streams have. So the ends of the streams are looked at once, and
again where a server has named them since.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import hiredis

from sojourn import limits
from sojourn.engines.redis import failures
from sojourn.engines.redis.connection import Connection
from sojourn.engines.redis.failures import LostError
from sojourn.engines.redis.keyspace import LAST_CHANGE, Keyspace
from sojourn.engines.redis.server import Server
from sojourn.engines.redis.slots import Address

__all__ = ["Ears"]

_ANSWER_S: Final = limits.REDIS_ANSWER.total_seconds()
_GROWN: Final = -1
"""Stands for the end of a stream that has grown since it was looked at, and is no end of any."""


class Ears:
    """The ends of the streams, as far as they are known, and the connections by which they stay known."""

    def __init__(self, keyspace: Keyspace) -> None:
        self.woken = asyncio.Event()
        self._keyspace = keyspace
        self._prefix = len(keyspace.changes_prefix)
        self._ends: dict[int, int] = {}
        # What is told while a look is on its way may be newer than what is seen, so each telling has a number.
        self._tellings = 0
        self._told_at: dict[int, int] = {}
        self._forgot_at = 0
        self._connections: dict[Address, Connection] = {}
        self._connecting: dict[Address, asyncio.Lock] = {}

    def unknown(self, buckets: Collection[int]) -> list[int]:
        """Return the buckets whose streams must be looked at."""
        return [bucket for bucket in buckets if bucket not in self._ends]

    def changed(self, positions: Mapping[int, int]) -> list[int]:
        """Return the buckets whose streams are known to end elsewhere than at these positions."""
        ends = self._ends
        changed = [bucket for bucket, position in positions.items() if ends.get(bucket, position) != position]
        for bucket in changed:
            if ends[bucket] == _GROWN:
                del ends[bucket]  # told once; where it ends now is to be seen
        return changed

    def forget(self) -> None:
        """Know nothing any more, and let whoever waits look again."""
        self._tellings += 1
        self._forgot_at = self._tellings
        self._ends.clear()
        self._wake()

    def keep(self, addresses: Collection[Address]) -> None:
        """Listen to nobody but these servers any longer, and look at everything anew."""
        for address in self._connections.keys() - addresses:
            self._connections.pop(address).close()
        self.forget()

    async def look(self, server: Server, buckets: Sequence[int]) -> list[Any]:
        """Look at the ends of streams, and be told from now on when they grow; return what the server says for each.

        Raises:
            UnavailableError: the server cannot be asked.
            InvalidError: it refuses us from the beginning.
        """
        commands = [(b"HGET", self._keyspace.meta(bucket), LAST_CHANGE) for bucket in buckets]
        begun_at = self._tellings
        try:
            connection = await self._connection(server)
            replies = await connection.ask(commands, _ANSWER_S)
        except LostError as error:
            raise failures.lost(error, server.address, writing=False) from error
        if self._forgot_at <= begun_at:
            for bucket, reply in zip(buckets, replies, strict=True):
                if not isinstance(reply, hiredis.ReplyError):
                    is_old = self._told_at.get(bucket, 0) > begun_at
                    self._ends[bucket] = _GROWN if is_old else int(reply or 0)
        return replies

    def close(self) -> None:
        """End the connections."""
        for connection in self._connections.values():
            connection.close()

    async def _connection(self, server: Server) -> Connection:
        address = server.address
        async with self._connecting.setdefault(address, asyncio.Lock()):
            connection = self._connections.get(address)
            if connection is None or connection.is_closed:
                connection = self._connections[address] = await self._connect(server)
            return connection

    async def _connect(self, server: Server) -> Connection:
        connection = await server.connect(self._told, self.forget)
        track = (b"CLIENT", b"TRACKING", b"ON", b"BCAST", b"PREFIX", self._keyspace.changes_prefix)
        try:
            (reply,) = await connection.ask((track,), _ANSWER_S)
        except BaseException:
            connection.close()
            raise
        if isinstance(reply, hiredis.ReplyError):
            connection.close()
            raise failures.refusal(reply, server.address, writing=False)
        return connection

    def _told(self, push: Sequence[Any]) -> None:
        kind, keys, *_ = push
        if kind != b"invalidate":
            return
        if keys is None:  # every key, by FLUSHALL
            self.forget()
            return
        self._tellings += 1
        for key in keys:
            bucket = int(key[self._prefix + 1 : -1])
            self._ends[bucket] = _GROWN
            self._told_at[bucket] = self._tellings
        self._wake()

    def _wake(self) -> None:
        self.woken.set()
        self.woken = asyncio.Event()
