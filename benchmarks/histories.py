"""What a conversation takes up on the disk when every past state can be read, and what saving whole states costs."""

from __future__ import annotations

import random
import shutil
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import apsw

import sojourn
from benchmarks.conversation import TURN_BYTES, Keeper, Message, Turn, grow, turn_of
from benchmarks.figures import Figure, Pace, Row, count
from sojourn import limits
from sojourn.engines.sqlite import SqliteEngine
from sojourn.kernel import Store
from sojourn.kernel.sweep import sweep_all
from sojourn.snapshots import Snapshot, SnapshotInput, Snapshots
from sojourn.testing import ManualClock

__all__ = ["OURS", "measure", "turns_in"]

OURS: Final = "sojourn, by turns"
_WHOLE: Final = "whole states, by save_snapshot"
_TURNS: Final = (400, 2_000, 10_000)
_TURNS_SAVED_WHOLE: Final = (10, 400, 2_000)
_PATIENCE: Final = 600.0
_SAMPLE: Final = 12
_FILE: Final = "sojourn.db"
_SESSION: Final = "conversation"


class _Turns:
    """A turn that appends two messages."""

    def __init__(self, snapshots: Snapshots[dict[str, Any]]) -> None:
        self._snapshots = snapshots

    async def save(self, turn: Turn) -> None:
        async with self._snapshots.turn(_SESSION) as taken:
            taken.messages.extend(turn)

    async def latest(self) -> int:
        return _messages_of(await self._snapshots.get_snapshot(session_id=_SESSION))


class _WholeStates(_Turns):
    """Somebody who has the whole state, and hands it over each time."""

    def __init__(self, snapshots: Snapshots[dict[str, Any]], before: Sequence[Message]) -> None:
        super().__init__(snapshots)
        self._messages = list(before)
        self._parent: str | None = None

    async def save(self, turn: Turn) -> None:
        self._messages += turn
        state = {"messages": self._messages}
        if self._parent is None and (newest := await self._snapshots.get_info(session_id=_SESSION)) is not None:
            self._parent = newest.snapshot_id
        whole = SnapshotInput(session_id=_SESSION, parent_id=self._parent, state=state)
        self._parent = await self._snapshots.save_snapshot(None, lambda _: whole)


@asynccontextmanager
async def turns_in(folder: Path, _: Sequence[Message]) -> AsyncGenerator[Keeper]:
    """Open a store in a folder, and add to the conversation turn by turn."""
    async with sojourn.open(f"sqlite:///{folder / _FILE}") as store:
        yield _Turns(Snapshots(store))


@asynccontextmanager
async def _whole_states_in(folder: Path, before: Sequence[Message]) -> AsyncGenerator[Keeper]:
    async with sojourn.open(f"sqlite:///{folder / _FILE}") as store:
        yield _WholeStates(Snapshots(store), before)


async def measure(pace: Pace) -> Row:
    """Let a conversation grow turn by turn, and another one by whole states."""
    figures = [*await _by_turns(_up_to(_TURNS, pace)), *await _by_whole_states(_up_to(_TURNS_SAVED_WHOLE, pace))]
    return Row(
        name="histories",
        title="Bytes of a conversation of 1 KB turns on SQLite, every past state readable, against those of its "
        "messages; and the same saved whole, state by state, each compared with the one before",
        figures=tuple(figures),
        remarks=(
            "The text is drawn by lot, so that it hardly gets smaller by compressing it.",
            "The turns are taken within seconds, so that all of their receipts and of the log of changes are there.",
            "Those are forgotten after minutes: `without` are the pages in use of the same file then, once swept.",
        ),
    )


def _up_to(turns: tuple[int, ...], pace: Pace) -> tuple[int, ...]:
    return tuple(dict.fromkeys(min(number, pace.sessions) for number in turns))


async def _by_turns(turns: tuple[int, ...]) -> list[Figure]:
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async for stage in grow(turns_in, folder, turns, _PATIENCE):
            of = f"{stage.turns:,} turns: bytes"
            aged = await _aged_bytes(folder) / (stage.turns * TURN_BYTES)
            for what, times in ((of, stage.times_content), (f"{of} without receipts and log", aged)):
                figures.append(Figure(what=what, rounds=(times,), promise=2, aim=1.4, at_most=True))
        wrong = await _wrong_states(folder, turns[-1])
    return [*figures, count("past states that are not what they were", (wrong,))]


async def _by_whole_states(turns: tuple[int, ...]) -> list[Figure]:
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async for stage in grow(_whole_states_in, folder, turns, _PATIENCE):
            of = f"{_WHOLE}: {stage.turns:,} turns"
            figures.append(Figure(what=f"{of}: bytes", rounds=(stage.times_content,), at_most=True))
            figures.append(Figure(what=f"{of}: one save", rounds=(stage.save_ms,), unit="ms"))
        wrong = await _wrong_states(folder, turns[-1])
    return [*figures, count(f"{_WHOLE}: past states that are not what they were", (wrong,))]


async def _wrong_states(folder: Path, turns: int) -> int:
    """Return how many of some past states, drawn by lot, do not hold exactly the messages of their time."""
    messages = [message for number in range(turns) for message in turn_of(number)]
    async with sojourn.open(f"sqlite:///{folder / _FILE}") as store:
        snapshots: Snapshots[dict[str, Any]] = Snapshots(store)
        found = [info.snapshot_id async for info in snapshots.history(_SESSION)][::-1]
        wrong = abs(turns - len(found))
        for number in random.sample(range(len(found)), min(_SAMPLE, len(found))):
            snapshot = await snapshots.get_snapshot(snapshot_id=found[number])
            wrong += snapshot is None or snapshot.state != {"messages": messages[: 2 * (number + 1)]}
    return wrong


async def _aged_bytes(folder: Path) -> int:
    """Return the bytes in use once nobody remembers the transactions, and the log has been forgotten."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / _FILE
        shutil.copyfile(folder / _FILE, path)
        clock = ManualClock(int(1_000 * time.time()))
        clock.advance(2 * (limits.RECEIPT_KEEP + limits.CHANGE_LOG_KEEP))
        async with Store(SqliteEngine(path, clock=clock), clock=clock) as store:
            await sweep_all(store)
        # The engine's own driver: two builds of SQLite in one process would drop each other's locks.
        connection = apsw.Connection(str(path), apsw.SQLITE_OPEN_READONLY)
        pages, free, size = (
            int(connection.execute(f"PRAGMA {name}").get) for name in ("page_count", "freelist_count", "page_size")
        )
        connection.close()
    return (pages - free) * size


def _messages_of(snapshot: Snapshot[dict[str, Any]] | None) -> int:
    return 0 if snapshot is None or snapshot.state is None else len(snapshot.state["messages"])
