"""One server: the connections that a store keeps to it, and what becomes of a call when one of them fails.

Nothing waits for what it has nothing to do with: commits and sweeps have a connection of their own, reads share two,
and whoever blocks takes one apart by `connect`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, Final, TypeAlias

import hiredis

from sojourn import limits
from sojourn.engines.redis.connection import Command, Connection, Push
from sojourn.engines.redis.failures import LostError, code, lost
from sojourn.engines.redis.location import Access
from sojourn.engines.redis.nodes import Call, Reply
from sojourn.engines.redis.slots import Address
from sojourn.errors import ClosedError, InvalidError, UnavailableError

__all__ = ["Lane", "RawReply", "Server"]

RawReply: TypeAlias = Reply
"""A `Reply`, or the `hiredis.ReplyError` that stands in its place, or a `SojournError` when there is neither."""

_ANSWER_S: Final = limits.REDIS_ANSWER.total_seconds()
_READ_CONNECTIONS: Final = 2
_CLOSED: Final = "the store is closed; open it again to use it"

# Says that a script writes nothing, so that a server which takes no writes for a while runs it all the same.
_SINCE_READ_ONLY_EVAL: Final = (7,)


class Lane(Enum):
    """What a call is sent with."""

    WRITE = "write"
    READ = "read"


class Server:
    """The lanes to one server. Each is connected when it is first needed, and again when it has failed."""

    def __init__(self, address: Address, access: Access) -> None:
        self.address = address
        self._access = access
        self._was_reached = False
        self._is_closed = False
        self._lines = {
            Lane.WRITE: [_Line(self)],
            Lane.READ: [_Line(self) for _ in range(_READ_CONNECTIONS)],
        }

    async def open(self) -> None:
        """Connect every lane that is not connected. Calls that come meanwhile do so themselves.

        Raises:
            UnavailableError: the server cannot be reached.
            InvalidError: it refuses us from the beginning; the message says what to change.
        """
        for lines in self._lines.values():
            for line in lines:
                await line.connected()

    async def connect(self, on_push: Push | None = None, on_close: Callable[[], None] | None = None) -> Connection:
        """Open a connection of the caller's own, who closes it; see `Connection.open`.

        Raises:
            UnavailableError: the server cannot be reached; or it refuses us, and did not before.
            InvalidError: it refuses us from the beginning; the message says what to change.
        """
        try:
            connection = await Connection.open(self.address, self._access, on_push, on_close)
        except InvalidError as error:
            if self._was_reached:
                raise UnavailableError(str(error)) from error
            raise
        self._was_reached = True
        if self._is_closed:  # meanwhile
            connection.close()
            raise ClosedError(_CLOSED)
        return connection

    async def ask(self, lane: Lane, commands: Sequence[Command]) -> list[Any]:
        """Send plain commands and return an answer for each, a `hiredis.ReplyError` where one is refused.

        Raises:
            UnavailableError: the server was not reached; nothing was sent.
            InvalidError: it refuses us from the beginning.
            LostError: the connection ended before the last answer.
        """
        connection = await self._connection(lane)
        return await connection.ask(commands, _ANSWER_S)

    async def run(self, lane: Lane, calls: Sequence[Call]) -> list[RawReply]:
        """Run scripts in one pipeline, in order, and answer each in its place.

        A script that the server does not have is handed over, once all the others are done.

        Raises:
            UnavailableError: the server was not reached; nothing was sent.
            InvalidError: it refuses us from the beginning.
            ClosedError: the store was closed.
        """
        connection = await self._connection(lane)
        writing = lane is Lane.WRITE
        replies = await self._evaluate(connection, calls, b"EVALSHA", writing=writing)
        unknown = [place for place, reply in enumerate(replies) if _says_noscript(reply)]
        if unknown:
            again = await self._evaluate(connection, [calls[place] for place in unknown], b"EVAL", writing=writing)
            for place, reply in zip(unknown, again, strict=True):
                replies[place] = reply
        return replies

    def close(self) -> None:
        """End the lanes for good; who waits for an answer gets none."""
        self._is_closed = True
        for lines in self._lines.values():
            for line in lines:
                line.close()

    async def _evaluate(
        self, connection: Connection, calls: Sequence[Call], verb: bytes, *, writing: bool
    ) -> list[RawReply]:
        read_verb = verb + b"_RO" if connection.version >= _SINCE_READ_ONLY_EVAL else verb
        commands: list[Command] = []
        for call in calls:
            script = call.script
            name = script.digest if verb == b"EVALSHA" else script.text
            keys = call.keys
            commands.append(
                (
                    read_verb if script.only_reads else verb,
                    name,
                    b"%d" % len(keys),
                    *keys,
                    *call.arguments,
                )
            )
        try:
            return await connection.ask(commands, _ANSWER_S)
        except LostError as error:
            return [lost(error, self.address, writing=writing)] * len(calls)

    async def _connection(self, lane: Lane) -> Connection:
        if self._is_closed:
            raise ClosedError(_CLOSED)
        lines = self._lines[lane]
        line = lines[0] if len(lines) == 1 else min(lines, key=_Line.load)
        return await line.connected()


class _Line:
    """A connection that is made anew when it has ended."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._connecting = asyncio.Lock()
        self._connection: Connection | None = None
        self._failure: UnavailableError | None = None

    def load(self) -> int:
        return 0 if self._connection is None else self._connection.outstanding

    async def connected(self) -> Connection:
        connection = self._connection
        if connection is not None and not connection.is_closed:
            return connection
        before = self._failure
        async with self._connecting:
            if self._connection is None or self._connection.is_closed:
                if self._failure is not before:  # or many would try one behind the other, each in vain
                    raise UnavailableError(str(self._failure)) from self._failure
                self._connection = await self._connect()
            return self._connection

    async def _connect(self) -> Connection:
        try:
            return await self._server.connect()
        except UnavailableError as failure:
            self._failure = failure
            raise

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


def _says_noscript(reply: RawReply) -> bool:
    return isinstance(reply, hiredis.ReplyError) and code(reply) == "NOSCRIPT"
