"""Connections of our own to the server: how a statement is sent, waited for and given up.

psycopg connects; from then on libpq is driven by the loop itself. So a statement costs little, every wait has an end,
and cancelling is safe: who asked leaves, the answer is awaited all the same, and only then the connection is used
again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import TypeAlias

import psycopg
from psycopg import AsyncConnection
from psycopg.pq import ConnStatus, DiagnosticField, ExecStatus
from psycopg.pq.abc import PGconn, PGresult

__all__ = [
    "ConnectError",
    "Connection",
    "Connections",
    "LostError",
    "Statement",
    "StatementError",
    "connect",
]

_BINARY = 1
_GOOD = frozenset({ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK})


class Statement:
    """A statement with a name, by which connections prepare it."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name.encode()
        self.text = text.encode()


class ConnectError(Exception):
    """There is no connection to be had; nothing was sent."""


class StatementError(Exception):
    """The server refused a statement and rolled it back."""

    def __init__(self, sqlstate: str, message: str) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate


class LostError(Exception):
    """The connection ended, or was given up, before the answer was there: nobody knows what became of the statement."""


class Connection:
    """One connection, for one statement at a time."""

    def __init__(self, connection: AsyncConnection, *, prepares: bool) -> None:
        self._connection = connection  # kept alive, since it closes itself when it is forgotten
        self._pgconn = connection.pgconn
        self._prepares = prepares
        self._loop = asyncio.get_running_loop()
        self._socket = self._pgconn.socket
        self._answer: asyncio.Future[PGresult] | None = None
        self._results: list[PGresult] = []
        self._patience: asyncio.TimerHandle | None = None
        self._is_writing = False
        self.is_open = True
        self.on_idle: Callable[[Connection], None] = _ignore
        self.on_notify: Callable[[int], None] = _ignore
        self._loop.add_reader(self._socket, self._receive)

    @property
    def backend(self) -> int:
        """Return the number of the server's process that we speak to."""
        return self._pgconn.backend_pid

    @property
    def server_version(self) -> int:
        """Return the server's version, as 180004 for 18.4."""
        return self._pgconn.server_version

    async def prepare(self, statement: Statement, patience: timedelta) -> None:
        """Let the server parse the statement, which `ask` may then run; a connection of a pooler does without.

        Raises:
            StatementError: the server refused it.
            LostError: the connection was lost, or there was no answer in so much time.
        """
        if self._prepares:
            await self._exchange(lambda: self._pgconn.send_prepare(statement.name, statement.text), patience)

    async def run(self, script: str, patience: timedelta) -> PGresult:
        """Run one or more statements without parameters and return the last answer.

        Raises:
            StatementError: the server refused one.
            LostError: the connection was lost, or there was no answer in so much time.
        """
        return await self._exchange(lambda: self._pgconn.send_query(script.encode()), patience)

    async def ask(self, statement: Statement, parameters: Sequence[bytes | None], patience: timedelta) -> PGresult:
        """Run a statement and return its answer when it is committed.

        Cancelled, the statement runs on, and the connection is busy until it is answered or given up.

        Raises:
            StatementError: the server refused it.
            LostError: the connection was lost, or there was no answer in so much time.
        """
        formats = [_BINARY] * len(parameters)
        if self._prepares:
            return await self._exchange(
                lambda: self._pgconn.send_query_prepared(statement.name, parameters, formats, _BINARY), patience
            )
        return await self._exchange(
            lambda: self._pgconn.send_query_params(statement.text, parameters, None, formats, _BINARY), patience
        )

    def close(self) -> None:
        """Close the connection; who still waits for an answer gets `LostError`."""
        self._end(LostError("the connection was closed"))

    async def _exchange(self, send: Callable[[], None], patience: timedelta) -> PGresult:
        if not self.is_open:
            raise LostError("the connection was closed")
        answer: asyncio.Future[PGresult] = self._loop.create_future()
        self._answer = answer
        self._patience = self._loop.call_later(
            patience.total_seconds(), self._end, LostError(f"no answer in {patience.total_seconds():g} s")
        )
        try:
            send()
            self._flush()
        except psycopg.Error as error:
            self._end(LostError(_sentence(str(error))))
        return await answer

    def _flush(self) -> None:
        is_writing = self._pgconn.flush() != 0
        if is_writing != self._is_writing:
            self._is_writing = is_writing
            if is_writing:
                self._loop.add_writer(self._socket, self._send_more)
            else:
                self._loop.remove_writer(self._socket)

    def _send_more(self) -> None:
        try:
            self._flush()
        except psycopg.Error as error:
            self._end(LostError(_sentence(str(error))))

    def _receive(self) -> None:
        pgconn = self._pgconn
        try:
            pgconn.consume_input()
            while (notify := pgconn.notifies()) is not None:
                self.on_notify(notify.be_pid)
            while self._answer is not None and not pgconn.is_busy():
                result = pgconn.get_result()
                if result is None:  # only now it is committed
                    self._settle()
                else:
                    self._results.append(result)
        except psycopg.Error as error:
            self._end(LostError(_sentence(str(error))))

    def _settle(self) -> None:
        results, self._results = self._results, []
        failed = next((result for result in results if result.status not in _GOOD), None)
        if self._pgconn.status != ConnStatus.OK or (failed is not None and _is_fatal(failed)):
            self._end(_lost(self._pgconn if failed is None else failed))
            return
        answer = self._free()
        if not answer.done():  # done here means cancelled
            if failed is None:
                answer.set_result(results[-1])
            else:
                answer.set_exception(_refusal(failed))
        self.on_idle(self)

    def _free(self) -> asyncio.Future[PGresult]:
        answer, self._answer = self._answer, None
        assert answer is not None
        assert self._patience is not None
        self._patience.cancel()
        return answer

    def _end(self, reason: LostError) -> None:
        if not self.is_open:
            return
        self.is_open = False
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._pgconn.finish()
        if self._answer is not None:
            answer = self._free()
            if not answer.done():
                answer.set_exception(reason)
            self.on_idle(self)


async def connect(conninfo: str, *, prepares: bool) -> Connection:
    """Connect to the server.

    Raises:
        ConnectError: that was not possible.
    """
    try:
        return Connection(await AsyncConnection.connect(conninfo, autocommit=True), prepares=prepares)
    except (psycopg.Error, OSError, UnicodeError) as error:
        raise ConnectError(_sentence(str(error))) from error


Connect: TypeAlias = Callable[[], Awaitable[Connection]]


class Connections:
    """Up to so many connections, made when they are needed; each serves one at a time, in the order of arrival."""

    def __init__(self, connect: Connect, most: int) -> None:
        self._connect = connect
        self._turns = asyncio.Semaphore(most)
        self._most = most
        self._is_closed = False
        self._idle: deque[Connection] = deque()
        self._all: set[Connection] = set()

    async def ask(self, statement: Statement, parameters: Sequence[bytes | None], patience: timedelta) -> PGresult:
        """Run a statement on a connection of these, replacing one that is lost, and return the answer.

        Raises:
            ConnectError: there was no connection to be had; nothing was sent.
            StatementError: the server refused it.
            LostError: the connection was lost, or there was no answer in so much time.
        """
        connection = await self._take(patience)
        return await connection.ask(statement, parameters, patience)

    def adopt(self, connection: Connection) -> None:
        """Take a connection that was made elsewhere, and is at rest, as the first of these."""
        connection.on_idle = self._leave
        self._all.add(connection)
        self._idle.append(connection)

    def close(self) -> None:
        """Close all connections at once, and make no more."""
        self._is_closed = True
        for connection in tuple(self._all):
            connection.close()

    async def finish(self) -> None:
        """Close all connections when they have answered what was asked, and make no more."""
        for _ in range(self._most):
            await self._turns.acquire()
        self.close()
        for _ in range(self._most):
            self._turns.release()

    async def _take(self, patience: timedelta) -> Connection:
        if self._turns.locked():
            try:
                async with asyncio.timeout(patience.total_seconds()):
                    await self._turns.acquire()
            except TimeoutError as error:
                raise ConnectError(f"no connection was free for {patience.total_seconds():g} s") from error
        else:
            await self._turns.acquire()  # at once
        try:
            return self._rested() or await self._made()
        except BaseException:
            self._turns.release()
            raise

    def _rested(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
            self._all.discard(connection)
        return None

    async def _made(self) -> Connection:
        try:
            connection = await self._connect()
        except LostError as error:  # in the making; what it is for was not sent
            raise ConnectError(str(error)) from error
        if self._is_closed:  # while we connected
            connection.close()
        if not connection.is_open:
            raise ConnectError("the connection was closed before it was used")
        connection.on_idle = self._leave
        self._all.add(connection)
        return connection

    def _leave(self, connection: Connection) -> None:
        if connection.is_open:
            self._idle.append(connection)
        else:
            self._all.discard(connection)
        self._turns.release()


def _is_fatal(result: PGresult) -> bool:
    """Say whether the server ends the connection with this error: then nobody knows whether it has committed."""
    return result.error_field(DiagnosticField.SEVERITY_NONLOCALIZED) != b"ERROR"


def _lost(said: PGconn | PGresult) -> LostError:
    return LostError(_sentence(said.get_error_message()))


def _refusal(result: PGresult) -> StatementError:
    sqlstate = result.error_field(DiagnosticField.SQLSTATE) or b""
    message = result.error_field(DiagnosticField.MESSAGE_PRIMARY) or b""
    return StatementError(sqlstate.decode(), message.decode(errors="replace"))


def _sentence(text: str) -> str:
    """Return the first line that is said; what follows are guesses, or the same of other hosts."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "no reason was given")


def _ignore(_: object) -> None:
    """Nobody wants to know."""
