"""One server, which holds the one bucket of its store."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import hiredis

from sojourn import limits
from sojourn.engines.redis.connection import Connection
from sojourn.engines.redis.facts import look
from sojourn.engines.redis.failures import LostError, lost, refusal
from sojourn.engines.redis.keyspace import Keyspace
from sojourn.engines.redis.location import Location
from sojourn.engines.redis.nodes import Call, NodeFacts, Reply
from sojourn.engines.redis.server import Lane, Server
from sojourn.errors import InvalidError, SojournError

__all__ = ["Single"]

_BUCKET = 0


class Single:
    """The server that the URL names. Whoever waits for changes has a connection of his own, kept for the next."""

    def __init__(self, location: Location) -> None:
        self.buckets = 1
        self._stream = Keyspace(location.prefix, self.buckets).changes(_BUCKET)
        (address,) = location.addresses
        self._server = Server(address, location.access)
        self._idle: list[Connection] = []
        self._waiting: set[Connection] = set()

    async def open(self) -> None:
        """Connect. A replica, or a part of a cluster, is refused: it might take no writes, now or some day."""
        await self._server.open()
        info = (await look(self._server)).info
        if info.get("cluster_enabled") == "1":
            raise InvalidError("url", f"{self._server.address} is part of a cluster; write redis+cluster://")
        if info.get("role", "master") != "master":
            raise InvalidError("url", f"{self._server.address} is a replica, which takes no writes; name its primary")

    async def close(self) -> None:
        """End every connection."""
        self._server.close()
        for connection in (*self._idle, *self._waiting):
            connection.close()

    async def write(self, calls: Sequence[Call]) -> list[Reply | SojournError]:
        """Run the calls in one pipeline."""
        return await self._run(Lane.WRITE, calls)

    async def read(self, calls: Sequence[Call]) -> list[Reply | SojournError]:
        """Run read-only calls in one pipeline."""
        return await self._run(Lane.READ, calls)

    async def nudged(self, positions: Mapping[int, int], wait: float) -> Collection[int]:
        """Block on the stream. Cancelled, or without an answer, the connection is given up."""
        milliseconds = max(1, int(wait * 1_000))  # 0 would be for ever
        position = b"%d" % positions[_BUCKET]
        command = (b"XREAD", b"COUNT", b"1", b"BLOCK", b"%d" % milliseconds, b"STREAMS", self._stream, position)
        connection = self._idle.pop() if self._idle else await self._server.connect()
        self._waiting.add(connection)
        try:
            (reply,) = await connection.ask([command], wait + limits.REDIS_ANSWER.total_seconds())
        except LostError as error:
            raise lost(error, self._server.address, writing=False) from error
        except BaseException:
            connection.close()
            raise
        finally:
            self._waiting.discard(connection)
        self._idle.append(connection)
        if isinstance(reply, hiredis.ReplyError):
            raise refusal(reply, self._server.address, writing=False)
        return (_BUCKET,) if reply else ()

    async def facts(self) -> Sequence[NodeFacts]:
        """Ask the server."""
        return (await look(self._server),)

    async def _run(self, lane: Lane, calls: Sequence[Call]) -> list[Reply | SojournError]:
        try:
            replies = await self._server.run(lane, calls)
        except SojournError as error:
            return [error] * len(calls)
        writing = lane is Lane.WRITE
        return [
            refusal(reply, self._server.address, writing=writing) if isinstance(reply, hiredis.ReplyError) else reply
            for reply in replies
        ]
