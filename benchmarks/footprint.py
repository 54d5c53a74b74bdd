"""What is left after thousands of sessions have come and gone: records in the file, memory of the process."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import tempfile
from pathlib import Path

import apsw
import msgspec

from benchmarks.figures import Figure, Pace, Row, count
from sojourn import limits
from sojourn.engines.sqlite import SqliteEngine
from sojourn.kernel import Store
from sojourn.kernel.sweep import sweep_all
from sojourn.sessions import Sessions
from sojourn.testing import ManualClock

__all__ = ["measure"]

_TASKS = 64
_TABLES = ("records", "receipts", "log")
_MARGIN = 1.05
_ROUNDS = 3


class _Left(msgspec.Struct, frozen=True):
    """What there is between two rounds."""

    rows: dict[str, int]
    memory: int
    objects: int


async def measure(pace: Pace) -> Row:
    """Measure in a process of its own, whose memory nobody else has used."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.footprint", str(pace.sessions)), stdout=asyncio.subprocess.PIPE
    )
    said, _ = await child.communicate()
    empty, first, *later = msgspec.json.decode(said, type=list[_Left])
    grown = tuple(float(sum(left.rows.values()) - sum(empty.rows.values())) for left in (first, *later))
    figures = [
        count("rows more than before", grown),
        Figure(
            what="Python objects more than after the first time, for each session",
            rounds=tuple((left.objects - first.objects) / pace.sessions for left in later),
            unit="",
            at_most=True,
        ),
    ]
    if first.memory:
        against_first = tuple(left.memory / first.memory for left in later)
        figures[1:1] = [
            Figure(what="memory against the first time", rounds=against_first, promise=_MARGIN, at_most=True),
            Figure(what="memory", rounds=tuple(left.memory / 2**20 for left in (first, *later)), unit="MiB"),
        ]
    return Row(
        name="footprint",
        title=f"{pace.sessions:,} sessions issued, resolved, their state changed, revoked and swept; then again, twice",
        figures=tuple(figures),
        remarks=("Rows are those of records, receipts and change log. Memory includes SQLite's caches.",),
    )


async def _measure_here(count: int) -> list[_Left]:
    clock = ManualClock()
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "footprint.db"
        async with Store(SqliteEngine(path, clock=clock), clock=clock) as store:
            sessions = Sessions(store)
            await _come_and_go(sessions, 1)  # makes what is made once: the keys of the tokens
            found = [await _left(store, clock, path)]
            for _ in range(_ROUNDS):
                await _come_and_go(sessions, count)
                found.append(await _left(store, clock, path))
    return found


async def _come_and_go(sessions: Sessions, count: int) -> None:
    waiting = iter(range(count))

    async def task() -> None:
        for _ in waiting:
            issued = await sessions.issue()
            session = await sessions.resolve(issued.token)
            await session.state("counter", int).update(lambda value: value + 1)
            await sessions.revoke(session.id)

    async with asyncio.TaskGroup() as group:
        for _ in range(_TASKS):
            group.create_task(task())


async def _left(store: Store, clock: ManualClock, path: Path) -> _Left:
    """Let pass what is kept of an ended session, sweep, and count."""
    clock.advance(limits.SESSION_ABSOLUTE + 2 * limits.SESSION_TOMBSTONE)
    await sweep_all(store)
    clock.advance(2 * limits.CHANGE_LOG_KEEP)  # sweeping is announced in the log
    await sweep_all(store)
    # The engine's own driver: two builds of SQLite in one process would drop each other's locks.
    connection = apsw.Connection(str(path), apsw.SQLITE_OPEN_READONLY)
    rows = {table: connection.execute(f"SELECT count(*) FROM {table}").get for table in _TABLES}  # noqa: S608  ours
    connection.close()
    gc.collect()
    return _Left(rows, _resident_bytes(), len(gc.get_objects()))


def _resident_bytes() -> int:
    """Return the memory of this process, 0 where the system does not say."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE") if statm.exists() else 0


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(asyncio.run(_measure_here(int(sys.argv[1])))))
