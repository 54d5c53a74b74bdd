"""The engine port over one schema of a PostgreSQL database: the side of the loop."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Final

import msgspec
from psycopg.pq.abc import PGresult

from sojourn import limits
from sojourn.engines.postgres import failures, wire
from sojourn.engines.postgres.answers import answers
from sojourn.engines.postgres.changes import Bell, changes
from sojourn.engines.postgres.connections import (
    ConnectError,
    Connection,
    Connections,
    LostError,
    Statement,
    StatementError,
    connect,
)
from sojourn.engines.postgres.examination import examine
from sojourn.engines.postgres.install import Settings, install
from sojourn.engines.postgres.program import Program
from sojourn.engines.postgres.reader import page, rank_parameters, read_parameters, snapshot
from sojourn.engines.postgres.statements import Statements
from sojourn.engines.postgres.sweep import expired_keys, remove_parameters
from sojourn.engines.postgres.url import Target, parse
from sojourn.errors import ClosedError
from sojourn.kernel.clock import Clock
from sojourn.kernel.engine import BatchRefusedError, Changes, Description, Finding, Position, RankPage, Swept
from sojourn.kernel.keys import RankSpan
from sojourn.kernel.transaction import Outcome, Reads, Snapshot, Transaction

__all__ = ["PostgresEngine"]

_FAILURES = (ConnectError, LostError, StatementError)
_TAKEN: Final = "23505"
_UNREADABLE: Final = "22"

_MILLISECOND = timedelta(milliseconds=1)
_RECEIPT_KEEP = wire.bigint(limits.RECEIPT_KEEP // _MILLISECOND)
_HOPEFUL = wire.boolean(value=False)
_DOUBTFUL = wire.boolean(value=True)
_LOG_KEEP = wire.bigint(limits.CHANGE_LOG_KEEP // _MILLISECOND)
_LOG_ROWS = wire.bigint(limits.CHANGE_LOG_ROWS)
_LOG_KEYS = wire.integer(limits.POSTGRES_LOG_KEYS)


class PostgresEngine:
    """Sessions in one schema of a PostgreSQL database, for any number of processes. No I/O is done before `open`.

    Up to `limits.POSTGRES_WRITERS` connections commit, up to `limits.POSTGRES_READERS` read, and one tells other
    processes of changes. A connection that is lost is replaced when it is needed next. Every statement is a transaction
    of its own, so a pooler in transaction mode may stand between; it needs `?pooled=true` in the URL, and then nothing
    is prepared, nothing is set for a session, and watchers look every `limits.POSTGRES_POLL_POOLED` instead of being
    told.
    """

    def __init__(self, url: str, *, clock: Clock | None = None) -> None:
        self._target = parse(url)
        self._clock = clock
        self._seen = 0
        self._changing = asyncio.Lock()
        self._opened: _Opened | None = None
        self._description = Description(
            "postgres",
            "unknown",
            durable=True,
            cross_partition=True,
            cross_process_watch=True,
            batches=limits.POSTGRES_WRITERS,
        )

    async def open(self) -> None:
        """Connect, and make a store in the schema if it is new or empty. Opening an open engine does nothing.

        Raises:
            InvalidError: the URL, the database or the role cannot hold a store; the message says what to change.
            IncompatibleError: what is in the schema is not a store, or one of a newer release.
            UnavailableError: the server cannot be reached, or takes no writes.
        """
        async with self._changing:
            if self._opened is not None:
                return
            try:
                self._opened, settings = await _open(self._target)
            except _FAILURES as error:
                raise failures.while_opening(error) from error
            self._description = msgspec.structs.replace(
                self._description, version=settings.version, durable=settings.durable
            )

    async def close(self) -> None:
        """Wait for the commits in flight, then close every connection. Closing twice is harmless."""
        async with self._changing:
            opened, self._opened = self._opened, None
            if opened is not None:
                await opened.close()

    async def commit(self, batch: Sequence[Transaction]) -> Sequence[Outcome]:
        """Apply the batch in one trip. Cancelled, it is applied all the same if it was sent.

        Raises:
            ClosedError: the engine is not open.
            UnavailableError: nothing was written.
            CommitUnknownError: the answer was lost.
            BatchRefusedError: the batch was refused and rolled back.
            CorruptError: the server found its data damaged; nothing was written.
        """
        opened = self._used()
        if not batch:
            return []
        try:
            program = Program(batch).parameters()
        except (UnicodeEncodeError, struct.error) as error:
            raise BatchRefusedError(f"{type(error).__name__}: {error}") from error
        try:
            result = await self._apply(opened, program)
        except _FAILURES as error:
            raise failures.while_committing(error) from error
        told = answers(batch, result)
        self._seen = max(self._seen, told.now)
        if told.changed:
            opened.bell.ring()
        return told.outcomes

    async def read(self, reads: Reads) -> Snapshot:
        """Read as of one instant, on a connection that no commit uses.

        Raises:
            ClosedError: the engine is not open.
            UnavailableError: the server cannot be reached, or gave no answer in time.
            CorruptError: the server found its data damaged.
        """
        read = snapshot(reads, await self._ask(self._used().statements.read, [*self._time(), *read_parameters(reads)]))
        self._seen = max(self._seen, read.now)
        return read

    async def rank(self, span: RankSpan) -> RankPage:
        """Read one page of the index of ranks; on this engine a page is one snapshot.

        Raises:
            ClosedError: the engine is not open.
            UnavailableError: the server cannot be reached, or gave no answer in time.
            CorruptError: the server found its data damaged.
        """
        ranked = page(span, await self._ask(self._used().statements.ranked, [*self._time(), *rank_parameters(span)]))
        self._seen = max(self._seen, ranked.now)
        return ranked

    async def changes(self, since: Position | None, wait: float) -> Changes:
        """Look into the log. While it has nothing new, look again when the bell rings, and by and by.

        Raises:
            ClosedError: the engine is not open, or has been closed meanwhile.
            UnavailableError: the server cannot be reached, or gave no answer in time.
            CorruptError: the server found its data damaged.
        """
        loop = asyncio.get_running_loop()
        give_up = loop.time() + wait
        while True:
            bell = self._used().bell
            rung = bell.rung
            if since is not None and wait > 0:
                await self._listen(bell)
            found = await self._look(since)
            left = give_up - loop.time()
            if found.keys or found.gap or since is None or left <= 0:
                return found
            since = found.position
            await bell.wait(rung, left)

    async def sweep(self, limit: int) -> Swept:
        """Remove what has expired, in order with the commits.

        Raises:
            ClosedError: the engine is not open.
            UnavailableError: the server cannot be reached, or gave no answer in time.
            CorruptError: the server found its data damaged.
        """
        opened = self._used()
        most = wire.bigint(limit)
        due = expired_keys(await self._ask(opened.statements.expired, [*self._time(), most]))
        parameters = [wire.bigint(due.now), _LOG_KEEP, _LOG_ROWS, most, *remove_parameters(due.keys)]
        try:
            result = await opened.commits.ask(opened.statements.remove, parameters, limits.POSTGRES_ANSWER)
        except _FAILURES as error:
            raise failures.while_reading(error) from error
        expired, log_rows, receipts = [wire.whole(result.get_value(0, column) or b"") for column in range(3)]
        if expired:
            opened.bell.ring()
        return Swept(expired, log_rows, receipts, more=limit in {expired, log_rows, receipts})

    async def examine(self) -> Sequence[Finding]:
        """Look at the server, its settings and our rights in it.

        Raises:
            UnavailableError: the server cannot be reached, or gave no answer in time.
        """
        try:
            connection = await _connected(self._target)
            try:
                return await examine(connection, self._target)
            finally:
                connection.close()
        except _FAILURES as error:
            raise failures.while_reading(error) from error

    def describe(self) -> Description:
        """Declare every promise; not durable where the server is set to promise less, which is known once opened."""
        return self._description

    def _used(self) -> _Opened:
        if self._opened is None:
            raise ClosedError("the store in PostgreSQL is not open")
        return self._opened

    def _time(self) -> list[bytes | None]:
        """Return the time for the server to take: that of an injected clock, or none, and what it must not go below."""
        return [None if self._clock is None else wire.bigint(self._clock.now()), wire.bigint(self._seen)]

    async def _apply(self, opened: _Opened, program: Sequence[bytes]) -> PGresult:
        before = [*self._time(), _RECEIPT_KEEP]
        try:
            return await opened.commits.ask(
                opened.statements.commit, [*before, _HOPEFUL, *program], limits.POSTGRES_ANSWER
            )
        except StatementError as error:
            if error.sqlstate != _TAKEN:
                raise
        # An id was committed earlier, and it is not the one of a transaction whose guards fail.
        return await opened.commits.ask(
            opened.statements.commit, [*before, _DOUBTFUL, *program], limits.POSTGRES_ANSWER
        )

    async def _ask(self, statement: Statement, parameters: Sequence[bytes | None]) -> PGresult:
        try:
            return await self._used().reads.ask(statement, parameters, limits.POSTGRES_ANSWER)
        except _FAILURES as error:
            raise failures.while_reading(error) from error

    async def _listen(self, bell: Bell) -> None:
        try:
            await bell.listen()
        except _FAILURES as error:
            raise failures.while_reading(error) from error

    async def _look(self, since: Position | None) -> Changes:
        opened = self._used()
        try:
            position = None if since is None else wire.text(since)
            return changes(
                await opened.reads.ask(opened.statements.changes, [position, _LOG_KEYS], limits.POSTGRES_ANSWER)
            )
        except (UnicodeEncodeError, *_FAILURES) as error:
            if isinstance(error, UnicodeEncodeError) or _is_unreadable(error):
                return Changes((await self._look(None)).position, gap=True)  # no position of any log
            raise failures.while_reading(error) from error


class _Opened:
    """What an open engine holds: its statements and its connections."""

    def __init__(self, target: Target, statements: Statements) -> None:
        self.statements = statements
        self.commits = Connections(lambda: _connected(target, *statements.committing), limits.POSTGRES_WRITERS)
        self.reads = Connections(lambda: _connected(target, *statements.reading), limits.POSTGRES_READERS)
        self.bell = Bell(lambda: _connected(target), target.schema, listens=not target.pooled)

    async def close(self) -> None:
        """Let the commits in flight end, and give up all else; if cancelled, them too."""
        self.reads.close()
        try:
            await self.bell.close()
            await self.commits.finish()
        finally:
            self.commits.close()


async def _open(target: Target) -> tuple[_Opened, Settings]:
    """Find or make the store, and go on with the same connection."""
    connection = await _connected(target)
    try:
        settings = await install(connection, target.schema)
        statements = Statements(target.schema)
        await _prepare(connection, statements.committing)
    except BaseException:
        connection.close()
        raise
    opened = _Opened(target, statements)
    opened.commits.adopt(connection)
    return opened, settings


async def _connected(target: Target, *statements: Statement) -> Connection:
    """Return a connection that has these statements prepared."""
    connection = await connect(target.conninfo, prepares=not target.pooled)
    try:
        await _prepare(connection, statements)
    except BaseException:
        connection.close()
        raise
    return connection


async def _prepare(connection: Connection, statements: Iterable[Statement]) -> None:
    for statement in statements:
        await connection.prepare(statement, limits.POSTGRES_ANSWER)


def _is_unreadable(error: Exception) -> bool:
    return isinstance(error, StatementError) and error.sqlstate.startswith(_UNREADABLE)
