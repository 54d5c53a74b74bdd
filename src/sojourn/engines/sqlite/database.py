"""The file: connecting to it, and finding or making a store in it."""

from __future__ import annotations

import secrets
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import apsw

from sojourn import limits
from sojourn.engines.sqlite import changes, failures
from sojourn.engines.sqlite.driver import new_cursor
from sojourn.engines.sqlite.patience import Patience
from sojourn.engines.sqlite.statements import SCHEMA, query
from sojourn.errors import IncompatibleError, InvalidError, SojournError

__all__ = ["APPLICATION_ID", "SCHEMA_VERSION", "connect_reader", "connect_writer", "identity", "prepare"]

APPLICATION_ID: Final = 0x736F6A6E
"""The four letters "sojn" in the header of the file, by which a store is told from any other SQLite database."""

SCHEMA_VERSION: Final = 1
"""The `user_version` of the file."""


def prepare(path: Path) -> apsw.Connection:
    """Make sure that a store is at the path, and return a connection that may write to it.

    Any number of processes may do so at once: one of them creates the store, the others find it.

    Raises:
        InvalidError: the path cannot hold a store; the message says what to change.
        IncompatibleError: what stands there is not a store, or one of a newer release.
        UnavailableError: the file cannot be opened for now.
    """
    try:
        connection = _connect(path, apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE)
    except apsw.Error as error:
        raise failures.while_opening(error, path) from error
    try:
        if connection.readonly("main"):
            raise apsw.ReadOnlyError("it was opened for reading only")
        _make_store(connection, path)
        _configure_writer(connection)
    except apsw.Error as error:
        connection.close(force=True)
        raise failures.while_opening(error, path) from error
    except SojournError:
        connection.close(force=True)
        raise
    return connection


def connect_writer(path: Path) -> apsw.Connection:
    """Connect again to a store that `prepare` has seen; a file that is gone is not made anew.

    Raises:
        apsw.Error: the file cannot be opened for now.
    """
    connection = _connect(path, apsw.SQLITE_OPEN_READWRITE)
    _configure_writer(connection)
    return connection


def connect_reader(path: Path, patience: timedelta) -> apsw.Connection:
    """Connect for reading only, with so much patience for a file that another process is repairing after a crash.

    Raises:
        apsw.Error: the file cannot be opened for now.
    """
    connection = _connect(path, apsw.SQLITE_OPEN_READONLY, patience)
    _pragma(connection, f"cache_size = {-limits.SQLITE_CACHE_BYTES // 1024}")
    return connection


def identity(connection: apsw.Connection) -> str:
    """Return what tells this store from all others."""
    return str(new_cursor(connection).execute(query("identity")).get)


def _connect(path: Path, flags: int, patience: timedelta = limits.SQLITE_BUSY) -> apsw.Connection:
    connection = apsw.Connection(str(path), flags)
    connection.set_busy_timeout(patience // timedelta(milliseconds=1))
    return connection


def _configure_writer(connection: apsw.Connection) -> None:
    # FULL forces the log to the disk in every commit. Batches share that cost, so there is nothing to gain by less.
    _pragma(connection, "synchronous = FULL")
    _pragma(connection, f"cache_size = {-limits.SQLITE_CACHE_BYTES // 1024}")
    _pragma(connection, f"wal_autocheckpoint = {limits.SQLITE_CHECKPOINT_PAGES}")
    _pragma(connection, f"journal_size_limit = {limits.SQLITE_WAL_BYTES}")
    # From here on the writer has a patience of its own: see `Turn`.
    connection.set_busy_timeout(0)


def _make_store(connection: apsw.Connection, path: Path) -> None:
    fresh = _is_fresh(connection, path)
    # Only now, when the file is known to be ours or empty, may anything be written to it.
    _use_wal(connection, path)
    if not fresh:
        return
    execute = new_cursor(connection).execute
    execute(query("begin writing"))
    # Under the lock nobody else creates; somebody may have done so just before.
    if _is_fresh(connection, path):
        execute(SCHEMA).fetchall()  # of several statements the driver runs only as many as it is asked for rows
        execute(query("make identity"), (secrets.token_hex(8),))
        changes.append(execute, changes.Head(0, 0), 0, ())
        _pragma(connection, f"application_id = {APPLICATION_ID}")
        _pragma(connection, f"user_version = {SCHEMA_VERSION}")
    execute(query("commit"))


def _is_fresh(connection: apsw.Connection, path: Path) -> bool:
    """Say whether the file is still empty; refuse one that is neither empty nor a store of this release."""
    application, version, has_tables = new_cursor(connection).execute(query("marks")).get
    if application == APPLICATION_ID:
        if version > SCHEMA_VERSION:
            problem = f"its format is {version}, and this release reads up to {SCHEMA_VERSION}; upgrade sojourn"
            raise IncompatibleError(f"{path} was written by a newer release: {problem}")
        return False
    if application or version or has_tables:
        raise IncompatibleError(f"{path} is a database of another program; name another file")
    return True


def _use_wal(connection: apsw.Connection, path: Path) -> None:
    """Put the file into write-ahead mode, where readers and the writer do not wait for each other."""
    patience = Patience(limits.SQLITE_BUSY)
    while True:
        try:
            mode = _pragma(connection, "journal_mode = WAL")
        except apsw.BusyError:
            # Somebody else changes the mode at the same time. The file has the right one as soon as either succeeds.
            if not patience.pause():
                raise
            continue
        if mode != "wal":
            problem = f"the file system of {path.parent} cannot share memory between processes"
            raise InvalidError("path", f"{problem}; name a file on a local disk")
        return


def _pragma(connection: apsw.Connection, text: str) -> Any:  # noqa: ANN401  what a pragma answers depends on it
    return new_cursor(connection).execute(f"PRAGMA {text}").get
