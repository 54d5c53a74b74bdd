"""The baseline of snapshots: a program without sojourn that appends a row for each turn, and can read no past state."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import psycopg

from benchmarks.conversation import Keeper, Message, Turn
from benchmarks.plain import open_stdlib

__all__ = ["plain_turns_on_postgres", "plain_turns_on_sqlite"]

_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS turns (session TEXT, number BIGINT, messages TEXT, PRIMARY KEY (session, number))"
)
_INSERT: Final = "INSERT INTO turns VALUES (?, ?, ?)"
_SELECT: Final = "SELECT messages FROM turns WHERE session = ? ORDER BY number"
_INSERT_ON_POSTGRES, _SELECT_ON_POSTGRES = (statement.replace("?", "%s") for statement in (_INSERT, _SELECT))
_SESSION: Final = "conversation"


class _OnSqlite:
    """One connection, which commits each row and forces it to the disk."""

    def __init__(self, path: Path, turns: int) -> None:
        self._connection = open_stdlib(path)
        self._numbers = itertools.count(turns)
        self._connection.execute(_TABLE)

    async def save(self, turn: Turn) -> None:
        self._connection.execute(_INSERT, (_SESSION, next(self._numbers), _text_of(turn)))

    async def latest(self) -> int:
        return _messages_in(self._connection.execute(_SELECT, (_SESSION,)).fetchall())

    def close(self) -> None:
        self._connection.close()


class _OnPostgres:
    """One connection; autocommit, prepared."""

    def __init__(self, connection: psycopg.AsyncConnection) -> None:
        self._connection = connection
        self._numbers = itertools.count()

    async def save(self, turn: Turn) -> None:
        row = (_SESSION, next(self._numbers), _text_of(turn))
        await self._connection.execute(_INSERT_ON_POSTGRES, row, prepare=True)

    async def latest(self) -> int:
        found = await self._connection.execute(_SELECT_ON_POSTGRES, (_SESSION,), prepare=True)
        return _messages_in(await found.fetchall())


@asynccontextmanager
async def plain_turns_on_sqlite(folder: Path, before: Sequence[Message] = ()) -> AsyncGenerator[Keeper]:
    """Open the table in a folder, or make it."""
    turns = _OnSqlite(folder / "plain.db", len(before) // 2)
    yield turns
    turns.close()


@asynccontextmanager
async def plain_turns_on_postgres(url: str) -> AsyncGenerator[Keeper]:
    """Connect, and make the table."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(_TABLE)
        yield _OnPostgres(connection)


def _text_of(turn: Turn) -> str:
    return json.dumps(turn, separators=(",", ":"))


def _messages_in(rows: Sequence[tuple[str, ...]]) -> int:
    return sum(len(json.loads(messages)) for (messages,) in rows)
