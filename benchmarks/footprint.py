"""What is left after thousands of sessions, documents or dialogs have come and gone: records, and memory."""

from __future__ import annotations

import asyncio
import gc
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

import apsw
import msgspec

from benchmarks.figures import Figure, Pace, Row, count
from benchmarks.machine import resident_bytes
from benchmarks.player import PLAYER, Player, earn, player_named
from benchmarks.rounds import for_each
from sojourn import limits
from sojourn.dialogs import Context, Dialog, Dialogs, End, button
from sojourn.documents import Documents
from sojourn.engines.memory import MemoryEngine
from sojourn.engines.sqlite import SqliteEngine
from sojourn.kernel import Store
from sojourn.kernel.sweep import sweep_all
from sojourn.sessions import Sessions
from sojourn.testing import ManualClock
from sojourn.testing import dialogs as people
from sojourn.testing.dialogs import Screen

__all__ = ["measure"]

_TASKS = 64
_TABLES = ("records", "receipts", "log")
"""What the engines that are measured call them, each in its own way."""
_MARGIN = 1.05
_ROUNDS = 3
_FIRST = -1
"""The number of one that comes and goes before anything is counted."""

_ComeAndGo: TypeAlias = Callable[[int], Awaitable[None]]


class _Left(msgspec.Struct, frozen=True):
    """What there is between two rounds."""

    rows: dict[str, int]
    memory: int
    blocks: int
    objects: int

    @property
    def total(self) -> int:
        """All rows."""
        return sum(self.rows.values())


async def measure(pace: Pace) -> Row:
    """Measure each in a process of its own, whose memory nobody else has used."""
    figures = [figure for kind in _KINDS for figure in await _measured(kind, pace.sessions)]
    return Row(
        name="footprint",
        title=f"{pace.sessions:,} sessions issued, resolved, their state changed, revoked and swept; "
        f"{pace.sessions:,} documents of 1 KB loaded, changed and unloaded, and as many more loaded and unloaded only; "
        f"{pace.sessions:,} dialogs started, clicked on, and ended by a second click, and their ends forgotten; "
        "then again, twice",
        figures=tuple(figures),
        remarks=(
            "Rows are those of records, receipts and change log. Memory includes SQLite's caches.",
            "Blocks are those that Python's own allocator has given out.",
            "Of a store in memory the C library keeps some of what was freed, a tenth more or less: no promise there.",
            "Of each document that was changed two rows stay: itself, and the one saved revision that is kept here.",
        ),
    )


async def _measured(kind: str, number: int) -> Iterator[Figure]:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.footprint", kind, str(number)), stdout=asyncio.subprocess.PIPE
    )
    said, _ = await child.communicate()
    return _figures(kind, number, *msgspec.json.decode(said, type=list[_Left]))


def _figures(kind: str, number: int, empty: _Left, first: _Left, *later: _Left) -> Iterator[Figure]:
    stay = number * _KINDS[kind].rows
    grown = tuple(float(left.total - empty.total - stay) for left in (first, *later))
    yield count(f"{kind}: rows more than {'those that stay' if stay else 'before'}", grown)
    if first.memory:
        against_first = tuple(left.memory / first.memory for left in later)
        what = f"{kind}: memory against the first time"
        promise = None if _KINDS[kind].in_memory else _MARGIN
        yield Figure(what=what, rounds=against_first, promise=promise, at_most=True)
        memory = tuple(left.memory / 2**20 for left in (first, *later))
        yield Figure(what=f"{kind}: memory", rounds=memory, unit="MiB")
    blocks = tuple(left.blocks / first.blocks for left in later)
    what = f"{kind}: blocks of Python's allocator against the first time"
    yield Figure(what=what, rounds=blocks, promise=_MARGIN, at_most=True)
    yield Figure(
        what=f"{kind}: Python objects more than after the first time, for each",
        rounds=tuple((left.objects - first.objects) / number for left in later),
        unit="",
        at_most=True,
    )


async def _measure_here(kind: str, number: int) -> list[_Left]:
    clock = ManualClock()
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "footprint.db"
        in_memory = _KINDS[kind].in_memory
        engine = MemoryEngine(clock=clock) if in_memory else SqliteEngine(path, clock=clock)
        rows = partial(_rows_in_memory, engine) if in_memory else partial(_rows_on_disk, path)
        async with Store(engine, clock=clock) as store:
            come_and_go = _KINDS[kind].of(store)
            await come_and_go(_FIRST)  # makes what is made once: the keys of the tokens, the name of the documents
            found = [await _left(store, clock, rows)]
            for _ in range(_ROUNDS):
                await for_each(range(number), come_and_go, _TASKS)
                found.append(await _left(store, clock, rows))
    return found


def _sessions_of(store: Store) -> _ComeAndGo:
    sessions = Sessions(store)

    async def come_and_go(_: int) -> None:
        issued = await sessions.issue()
        session = await sessions.resolve(issued.token)
        await session.state("counter", int).update(lambda value: value + 1)
        await sessions.revoke(session.id)

    return come_and_go


def _documents_of(store: Store) -> _ComeAndGo:
    players = Documents(store, "players", schema=Player, template=PLAYER, history=1)

    async def come_and_go(number: int) -> None:
        async with players.open(player_named(number)) as player:
            await player.update(earn)
        async with players.open(f"visitor-{number}"):  # it comes, looks, and leaves nothing behind
            pass

    return come_and_go


class _Greeting(Dialog[int]):
    data: int

    async def start(self, ctx: Context) -> None:
        """Ask."""
        await ctx.reply("Good morning.", ctx.button("Good morning!", self.greet), ctx.button("Bye!", self.leave))

    @button
    async def greet(self, ctx: Context) -> None:
        """Say so again."""
        self.data += 1
        await ctx.notify("Good morning!")

    @button
    async def leave(self, ctx: Context) -> End:
        """End it."""
        return ctx.end(self.data)


def _dialogs_of(store: Store) -> _ComeAndGo:
    dialogs = Dialogs(store)
    dialogs.register("greeting")(_Greeting)

    async def come_and_go(_: int) -> None:
        screen = Screen()  # it remembers what it shows
        handle = await dialogs.start(_Greeting, people.command(platform=screen))
        await dialogs.dispatch(people.button(handle.id, _Greeting.greet, platform=screen))
        await dialogs.dispatch(people.button(handle.id, _Greeting.leave, platform=screen))
        assert (await handle.wait()).result == 1

    return come_and_go


class _Kind(NamedTuple):
    """What comes and goes in a store, and how many rows of each are to stay."""

    of: Callable[[Store], _ComeAndGo]
    rows: int = 0
    in_memory: bool = False


_KINDS: Final = {
    "sessions": _Kind(_sessions_of),
    "documents": _Kind(_documents_of, rows=2),
    "dialogs": _Kind(_dialogs_of),
    "dialogs, in memory": _Kind(_dialogs_of, in_memory=True),
}


async def _left(store: Store, clock: ManualClock, rows: Callable[[], dict[str, int]]) -> _Left:
    """Let pass what is kept of an ended session, sweep, and count."""
    clock.advance(limits.SESSION_ABSOLUTE + 2 * limits.SESSION_TOMBSTONE)
    await sweep_all(store)
    clock.advance(2 * limits.CHANGE_LOG_KEEP)  # sweeping is announced in the log
    await sweep_all(store)
    gc.collect()
    return _Left(rows(), resident_bytes(), sys.getallocatedblocks(), len(gc.get_objects()))


def _rows_on_disk(path: Path) -> dict[str, int]:
    # The engine's own driver: two builds of SQLite in one process would drop each other's locks.
    connection = apsw.Connection(str(path), apsw.SQLITE_OPEN_READONLY)
    rows = {table: connection.execute(f"SELECT count(*) FROM {table}").get for table in _TABLES}  # noqa: S608  ours
    connection.close()
    return rows


def _rows_in_memory(engine: object) -> dict[str, int]:
    return {table: len(vars(engine)[f"_{table}"]) for table in _TABLES}


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(asyncio.run(_measure_here(sys.argv[1], int(sys.argv[2])))))
