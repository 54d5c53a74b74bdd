"""The baseline: a program without sojourn, which commits each guarded write by itself."""

from __future__ import annotations

import itertools
import os
import sqlite3
import time
from pathlib import Path
from typing import Any, Protocol

import apsw

from benchmarks.rounds import Sample

__all__ = ["RECORDS", "VALUES", "Plain", "open_apsw", "open_stdlib", "sqlite_versions"]

RECORDS = 1_024
VALUES = tuple(os.urandom(1_024) for _ in range(16))
"""Values of 1 KB, made beforehand: neither side is to be measured making them."""

_SCHEMA = "CREATE TABLE records (key TEXT PRIMARY KEY, revision INTEGER NOT NULL, value BLOB NOT NULL)"
_WRITE = (
    "INSERT INTO records VALUES (?1, 1, ?2) ON CONFLICT (key) "
    "DO UPDATE SET revision = revision + 1, value = excluded.value WHERE revision = ?3 RETURNING revision"
)
_SELECT = "SELECT revision, value FROM records WHERE key = ?1"
_WARMING = 2_000


class _Connection(Protocol):
    def execute(self, statement: str, bindings: tuple[object, ...] = (), /) -> Any:  # noqa: ANN401  a cursor
        """Run a statement."""

    def close(self) -> None:
        """Let go of the file."""


def open_stdlib(path: Path) -> _Connection:
    """Connect by the interpreter's own module."""
    return _configured(sqlite3.connect(path, isolation_level=None))


def open_apsw(path: Path) -> _Connection:
    """Connect by the driver that sojourn uses, which brings its own SQLite."""
    return _configured(apsw.Connection(str(path)))


def sqlite_versions() -> tuple[str, str]:
    """Return the SQLite of the interpreter and that of apsw."""
    return sqlite3.sqlite_version, apsw.sqlite_lib_version()


class Plain:
    """A table of 1,024 records of 1 KB, each write guarded by the record's revision."""

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection
        self._execute = connection.execute
        self._revisions = dict.fromkeys((f"bench/{number:04}" for number in range(RECORDS)), 0)
        self._keys = itertools.cycle(self._revisions)
        self._values = itertools.cycle(VALUES)
        self._execute(_SCHEMA)

    def warm(self) -> None:
        """Write until the log has wrapped: a log that still grows also forces the file's size to the disk."""
        self._execute("PRAGMA synchronous = OFF")
        for _ in range(_WARMING):
            self._write()
        self._execute("PRAGMA synchronous = FULL")

    async def commits(self, seconds: float) -> Sample:
        """Commit write by write."""
        waits: list[float] = []
        worked = time.process_time()
        before = start = time.perf_counter()
        while before < start + seconds:
            self._write()
            after = time.perf_counter()
            waits.append(after - before)
            before = after
        return Sample(len(waits), before - start, tuple(waits), time.process_time() - worked)

    async def groups(self, seconds: float, size: int) -> Sample:
        """Commit so many writes at a time: what no program that also has callers can surpass."""
        done = 0
        start = time.perf_counter()
        while time.perf_counter() < start + seconds:
            self._execute("BEGIN IMMEDIATE")
            for _ in range(size):
                self._write()
            self._execute("COMMIT")
            done += size
        return Sample(done, time.perf_counter() - start)

    async def selects(self, seconds: float) -> Sample:
        """Read record by record."""
        done = 0
        start = time.perf_counter()
        while time.perf_counter() < start + seconds:
            self._execute(_SELECT, (next(self._keys),)).fetchall()
            done += 1
        return Sample(done, time.perf_counter() - start)

    def _write(self) -> None:
        key = next(self._keys)
        # No row would say that the guard failed.
        ((revision,),) = self._execute(_WRITE, (key, next(self._values), self._revisions[key])).fetchall()
        self._revisions[key] = revision


def _configured(connection: _Connection) -> _Connection:
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    connection.execute("PRAGMA synchronous = FULL")
    return connection
