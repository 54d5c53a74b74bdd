"""The engine port over one SQLite file: the side of the loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import apsw

from sojourn import limits
from sojourn.engines.sqlite import failures
from sojourn.engines.sqlite.database import connect_reader, identity, prepare
from sojourn.engines.sqlite.reader import Reader, TooLongError
from sojourn.engines.sqlite.writer import Writer
from sojourn.errors import ClosedError
from sojourn.kernel.clock import Clock, SystemClock
from sojourn.kernel.engine import Changes, Description, Finding, Position, RankPage, Swept
from sojourn.kernel.keys import RankSpan
from sojourn.kernel.transaction import Outcome, Reads, Snapshot, Transaction

__all__ = ["SqliteEngine"]

T = TypeVar("T")


class SqliteEngine:
    """Sessions in one file. Safe to make anywhere: no I/O is done before `open`.

    Commits go to one writer thread. Short reads run where they are asked, on the loop's thread: they take a few
    microseconds, less than any way to another thread. Long ones run on a reader thread. A read sees the last commit
    and waits for none.
    """

    def __init__(self, path: str | os.PathLike[str], *, clock: Clock | None = None) -> None:
        self._path = Path(path).absolute()
        self._clock = clock or SystemClock()
        self._changing = asyncio.Lock()
        self._opened: _Opened | None = None

    async def examine(self) -> Sequence[Finding]:
        """Say how the file is written; nothing about it can be configured."""
        return (Finding("journal", "write-ahead log, on the disk before a commit returns (FULL)"),)

    def describe(self) -> Description:
        """Declare every promise: SQLite keeps them all, on one machine."""
        return Description(
            "sqlite",
            apsw.sqlite_lib_version(),
            durable=True,
            cross_partition=True,
            cross_process_watch=True,
        )

    async def open(self) -> None:
        """Open the file, making a store of it if it is new or empty. Opening an open engine does nothing.

        Cancelled, it first undoes what it has begun, which takes as long as opening does.

        Raises:
            InvalidError: the path cannot hold a store; the message says what to change.
            IncompatibleError: what stands there is not a store, or one of a newer release.
            UnavailableError: the file cannot be opened for now.
        """
        async with self._changing:
            if self._opened is None:
                self._opened = await _open(self._path, self._clock)

    async def close(self) -> None:
        """Finish what has been handed over, then release threads, connections and files.

        The last process to close copies the log into the database and removes it. Cancelled, it goes on closing.
        """
        async with self._changing:
            opened, self._opened = self._opened, None
            if opened is not None:
                await asyncio.shield(asyncio.ensure_future(opened.close()))

    async def commit(self, batch: Sequence[Transaction]) -> Sequence[Outcome]:
        """Apply the batch in the writer thread. Cancelled, it is applied all the same.

        Raises:
            ClosedError: the engine is not open.
            UnavailableError: the file cannot be written for now; nothing was written.
            CommitUnknownError: the disk did not confirm the commit.
            BatchRefusedError: the batch was refused and rolled back.
            CorruptError: the file is damaged; nothing was written.
        """
        return await self._used().writer.submit(lambda work: work.apply(batch))

    async def read(self, reads: Reads) -> Snapshot:
        """Read as of one instant: the last commit, of whatever process.

        Raises:
            ClosedError: the engine is not open.
            UnavailableError: the file cannot be read for now.
            CorruptError: the file is damaged.
        """
        records = len(reads.keys) + sum(span.limit for span in reads.spans)
        return await self._read(lambda reader: reader.snapshot(reads), records)

    async def rank(self, span: RankSpan) -> RankPage:
        """Read one page of the index of ranks; on this engine a page is one snapshot.

        Raises:
            ClosedError: the engine is not open.
            UnavailableError: the file cannot be read for now.
            CorruptError: the file is damaged.
        """
        return await self._read(lambda reader: reader.page(span), span.limit)

    async def changes(self, since: Position | None, wait: float) -> Changes:
        """Read the log. While it has nothing new, look again after each commit of this process, and by and by.

        Raises:
            ClosedError: the engine is not open, or has been closed meanwhile.
            UnavailableError: the file cannot be read for now.
            CorruptError: the file is damaged.
        """
        loop = asyncio.get_running_loop()
        give_up = loop.time() + wait
        while True:
            changed = self._used().changed  # before looking: a commit just after the look must not be slept through
            changes = await self._read(lambda reader: reader.changes(since), 1)
            left = give_up - loop.time()
            if changes.keys or changes.gap or since is None or left <= 0:
                return changes
            try:
                async with asyncio.timeout(min(left, limits.SQLITE_POLL.total_seconds())):
                    await changed.wait()
            except TimeoutError:
                pass  # another process may have committed

    async def sweep(self, limit: int) -> Swept:
        """Remove what has expired in the writer thread, in order with the commits.

        Raises:
            ClosedError: the engine is not open.
            UnavailableError: the file cannot be written for now; nothing was removed.
            CorruptError: the file is damaged; nothing was removed.
        """
        return await self._used().writer.submit(lambda work: work.sweep(limit))

    def _used(self) -> _Opened:
        if self._opened is None:
            raise ClosedError(f"the store at {self._path} is not open")
        return self._opened

    async def _read(self, ask: Callable[[Reader], T], records: int) -> T:
        opened = self._used()
        try:
            if records <= limits.SQLITE_LOOP_RECORDS:
                try:
                    return ask(opened.reader)
                except (TooLongError, apsw.BusyError):
                    pass  # both are for the thread that may take its time
            return await asyncio.get_running_loop().run_in_executor(opened.threads, ask, opened.patient_reader)
        except apsw.Error as error:
            raise failures.while_reading(error, opened.path) from error


class _Opened:
    """What an open engine holds: three connections and two threads."""

    def __init__(self, path: Path, clock: Clock, threads: ThreadPoolExecutor) -> None:
        self.path = path
        self.threads = threads
        self.changed = asyncio.Event()
        connection = prepare(path)
        try:
            name = identity(connection)
            self.reader = Reader(connect_reader(path, timedelta()), name, clock, most_bytes=limits.SQLITE_LOOP_BYTES)
            self.patient_reader = Reader(connect_reader(path, limits.SQLITE_BUSY), name, clock)
        except apsw.Error as error:
            connection.close(force=True)
            raise failures.while_opening(error, path) from error
        self.writer = Writer(connection, path, clock, self._wake)

    def _wake(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()

    async def close(self) -> None:
        """Release everything, when all that was handed over before is done."""
        self._wake()  # whoever waits for changes learns that there will be none
        try:
            await asyncio.get_running_loop().run_in_executor(self.threads, self._release)
        finally:
            self.threads.shutdown()

    def _release(self) -> None:
        try:
            self.reader.close()
            self.patient_reader.close()
        finally:
            self.writer.stop()  # the last connection: closing it copies the log into the database


async def _open(path: Path, clock: Clock) -> _Opened:
    threads = ThreadPoolExecutor(1, thread_name_prefix="sojourn-sqlite-reader")
    opening = asyncio.get_running_loop().run_in_executor(threads, _Opened, path, clock, threads)
    try:
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            # The thread cannot be stopped half-way; what it opens is closed again.
            await (await opening).close()
            raise
    except BaseException:
        threads.shutdown(wait=opening.done())  # at once, or, cancelled a second time, when the thread gets there
        raise
