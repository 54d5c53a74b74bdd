"""The one thread that writes: it takes work from the loop, one transaction of SQLite for each piece."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, TypeVar

import apsw

from sojourn import limits
from sojourn.engines.sqlite import failures
from sojourn.engines.sqlite.batch import Batch
from sojourn.engines.sqlite.database import connect_writer
from sojourn.engines.sqlite.driver import Cursor, new_cursor
from sojourn.engines.sqlite.patience import Patience
from sojourn.engines.sqlite.statements import query
from sojourn.engines.sqlite.turn import Turn
from sojourn.kernel.clock import Clock

__all__ = ["Work", "Writer"]

T = TypeVar("T")

Work: TypeAlias = Callable[[Batch], Any]
"""What is to be done within one transaction of SQLite."""

_BEGIN = query("begin writing")
_COMMIT = query("commit")
_ROLL_BACK = query("roll back")


class _Answer(NamedTuple):
    result: object = None
    error: Exception | None = None
    changed: bool = False


class Writer:
    """A thread with a connection of its own. Work is done in the order it is given, and answered on the giver's loop.

    The thread is a daemon: a program that ends without closing the engine is not held up. What is in flight then is
    committed or not, never half, as after a kill.
    """

    def __init__(self, connection: apsw.Connection, path: Path, clock: Clock, on_change: Callable[[], None]) -> None:
        self._path = path
        self._clock = clock
        self._on_change = on_change
        self._turn = Turn(path)
        self._connection: apsw.Connection | None = connection
        self._cursor = new_cursor(connection)
        self._tasks: queue.SimpleQueue[tuple[Work, asyncio.Future[Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="sojourn-sqlite-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[Batch], T]) -> asyncio.Future[T]:
        """Queue the work; the future gets what it returns once that is durable, or one of the port's errors.

        Cancelling the future takes nothing back.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._tasks.put((work, future))
        return future

    def stop(self) -> None:
        """Finish what is queued, close the connection and end the thread; returns when that is done."""
        self._tasks.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            work, future = task
            try:
                answer = self._transact(work)
            except Exception as error:  # noqa: BLE001  told to the one who waits
                answer = _Answer(error=error)
            with contextlib.suppress(RuntimeError):  # the loop has been closed, and nobody waits any more
                future.get_loop().call_soon_threadsafe(self._deliver, future, answer)
            del task, work, future, answer  # not kept alive while the thread waits
        self._turn.close()
        self._disconnect()

    def _deliver(self, future: asyncio.Future[Any], answer: _Answer) -> None:
        if answer.changed:
            self._on_change()
        if future.done():  # cancelled by the one who waited
            return
        if answer.error is None:
            future.set_result(answer.result)
        else:
            future.set_exception(answer.error)

    def _transact(self, work: Work) -> _Answer:
        try:
            cursor = self._begin()
            try:
                # The clock is read under the lock: nothing that was committed before is in its future.
                batch = Batch(cursor, self._clock.now())
                result = work(batch)
                changed = batch.finish()
            except Exception as error:
                self._roll_back()
                raise failures.before_commit(error, self._path) from error
            try:
                cursor.execute(_COMMIT)
            except apsw.Error as error:
                self._disconnect()
                raise failures.at_commit(error, self._path) from error
            return _Answer(result, changed=changed)
        finally:
            self._turn.leave()

    def _begin(self) -> Cursor:
        """Take SQLite's lock for writing, in our turn if it can be had."""
        patience = Patience(limits.SQLITE_BUSY)
        try:
            cursor = self._connected()
            while True:
                self._turn.wait()
                try:
                    cursor.execute(_BEGIN)
                except apsw.BusyError:
                    if not patience.pause():
                        raise
                else:
                    return cursor
        except apsw.Error as error:
            raise failures.before_commit(error, self._path) from error

    def _connected(self) -> Cursor:
        if self._connection is None:
            self._connection = connect_writer(self._path)
            self._cursor = new_cursor(self._connection)
        return self._cursor

    def _roll_back(self) -> None:
        """Undo the batch; a connection that cannot do even that is given up, and closing it undoes as well."""
        assert self._connection is not None
        try:
            if self._connection.in_transaction:  # some errors have rolled back already
                self._cursor.execute(_ROLL_BACK)
        except apsw.Error:
            self._disconnect()

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(apsw.Error):
                connection.close(force=True)
