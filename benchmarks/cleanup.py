"""Cleaning up half a million visitors while others are here: killed twice, and how long a heartbeat waits."""

from __future__ import annotations

import asyncio
import itertools
import math
import random
import sys
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

import msgspec

import sojourn
from benchmarks.figures import Figure, Pace, Row, count
from benchmarks.filling import fill, fill_visitors, now_of, visitor_named, visitor_value
from benchmarks.rounds import Sample, wait_ms
from benchmarks.stores import store_on_sqlite
from sojourn import limits
from sojourn.errors import SojournError
from sojourn.kernel import Append, Put, RankSpan, Reads, Store, Write
from sojourn.visits import Visits, layout
from tests.servers import Postgres

__all__ = ["measure"]

_STALE: Final = {"SQLite": 50, "PostgreSQL": 10}
"""How many stay away, for each of the pace's sessions: half a million at full pace, fewer where one takes longer."""

_HERE: Final = 1_000
_TASKS: Final = 8
_PAUSE: Final = 0.01
_LOOK: Final = 0.02
_KILLED_AT: Final = (1 / 3, 2 / 3)
_AWAY: Final = timedelta(days=40)
_OWNING: Final = 10
"""Of so many visitors who stay away one still owns an action: those of the others have expired."""

_REVIVING: Final = 10
"""Of so many heartbeats one is that of a visitor who was away, and whom the cleanup has all but reached."""

_AHEAD: Final = 4 * limits.CLEANUP_VISITORS


class _Done(msgspec.Struct, frozen=True):
    """What a cleanup says that was not killed: how many it deleted, and its largest batch."""

    deleted: int
    largest_batch: int


class _Found(msgspec.Struct, frozen=True):
    """What one engine's cleanup came to."""

    alone: Sample
    beside: Sample
    cleaned: int
    seconds: float
    largest_batch: int
    killed: int
    failed: int
    lost: int
    left: int


async def measure(pace: Pace) -> Row:
    """Clean up on SQLite, then on a PostgreSQL server of its own."""
    stale = {engine: times * pace.sessions for engine, times in _STALE.items()}
    with store_on_sqlite() as url:
        found = {"SQLite": await _cleaned(url, stale["SQLite"], pace.seconds)}
    with Postgres() as server:
        found["PostgreSQL"] = await _cleaned(server.url(), stale["PostgreSQL"], pace.seconds)
    return Row(
        name="cleanup",
        title=f"A cleanup of {' and of '.join(f'{many:,} visitors on {engine}' for engine, many in stale.items())}, "
        "each killed by `kill -9` after a third and after two thirds of them and begun again, while 8 tasks of another "
        "process give signs of life for others and for some of these",
        figures=tuple(itertools.chain.from_iterable(_figures(name, one) for name, one in found.items())),
        remarks=(
            "A heartbeat waits for steps of the cleanup, each of at most 50 visitors, and for the disk.",
            "The cleanup, the heartbeats and a server share the cores; a process that starts takes its share as well.",
        ),
    )


def _figures(name: str, found: _Found) -> Iterator[Figure]:
    yield count(f"{name}: visitors lost who came back", (found.lost,))
    yield count(f"{name}: heartbeats that failed", (found.failed,))
    yield count(f"{name}: visitors left who stayed away", (found.left,))
    yield count(f"{name}: transactions of its largest batch", (found.largest_batch,), most=limits.CLEANUP_VISITORS)
    yield Figure(what=f"{name}: times it was killed", rounds=(found.killed,), unit="")
    yield Figure(what=f"{name}: longest wait of a heartbeat", rounds=wait_ms((found.beside,), 1), unit="ms")
    yield Figure(what=f"{name}: 99 of 100 heartbeats", rounds=wait_ms((found.beside,), 0.99), unit="ms")
    yield Figure(what=f"{name}: longest wait without a cleanup", rounds=wait_ms((found.alone,), 1), unit="ms")
    yield Figure(what=f"{name}: visitors deleted", rounds=(found.cleaned / found.seconds,), unit="/s")


async def _cleaned(url: str, stale: int, seconds: float) -> _Found:
    """Fill a store, clean it up by other processes, and look at what is left."""
    async with sojourn.open(url) as store:
        await fill_visitors(store, _HERE)
        oldest = await _fill_stale(store, stale)
        heartbeats = _Heartbeats(store, stale, oldest)
        async with heartbeats.beating(reviving=False) as alone:
            await asyncio.sleep(seconds)
        began = time.perf_counter()
        async with heartbeats.beating(reviving=True) as beside:
            runs = [await _clean(url, heartbeats, share * stale) for share in (*_KILLED_AT, math.inf)]
        took = time.perf_counter() - began
        left = await _left(store, oldest + stale)
        lost = await heartbeats.lost()
    done = runs[-1]
    assert done is not None, "the last one failed"
    return _Found(
        Sample(len(alone), seconds, tuple(alone)),
        Sample(len(beside), took, tuple(beside)),
        stale,
        took,
        done.largest_batch,
        runs.count(None),
        heartbeats.failed,
        lost,
        left,
    )


async def _fill_stale(store: Store, stale: int) -> int:
    """Let so many visitors have been away for long, each since a millisecond later; return since when the first."""
    oldest = await now_of(store) - _AWAY // timedelta(milliseconds=1)
    value = visitor_value(oldest)

    def records(number: int) -> tuple[Write, ...]:
        name = visitor_named(_HERE + number)
        known = Put(layout.visitor(name), value, rank=oldest + number)
        if number % _OWNING:
            return (known,)
        return known, Append(layout.ACTION, name, "", b"j{}", ttl=limits.VISIT_RETENTION)

    await fill(store, map(records, range(stale)))
    return oldest


class _Heartbeats:
    """Signs of life, from a few tasks and with a pause after each, and who gave one."""

    def __init__(self, store: Store, stale: int, oldest: int) -> None:
        self.failed = 0
        self._store = store
        self._visits = Visits(store)
        self._stale = stale
        self._oldest = oldest
        self._gone = 0
        self._beaten = set[str]()

    @asynccontextmanager
    async def beating(self, *, reviving: bool) -> AsyncGenerator[list[float]]:
        """Beat until the block ends; give the waits, in seconds."""
        waits: list[float] = []
        beating = True

        async def task() -> None:
            while beating:
                revived = reviving and not random.randrange(_REVIVING)  # noqa: S311  no secret
                number = self._next_to_go() if revived else random.randrange(_HERE)  # noqa: S311
                waits.append(await self._beat(visitor_named(number)))
                await asyncio.sleep(_PAUSE)

        async with asyncio.TaskGroup() as group:
            for _ in range(_TASKS):
                group.create_task(task())
            try:
                yield waits
            finally:
                beating = False

    async def look(self) -> int:
        """Return how many of those who stayed away have been deleted, or have come back."""
        (first, *_) = (await self._store.rank(RankSpan(layout.VISIT, limit=1))).records
        self._gone = min((first.rank or 0) - self._oldest, self._stale)
        return self._gone

    async def lost(self) -> int:
        """Return how many of those who gave a sign of life are not known."""
        lost = 0
        waiting = map(layout.visitor, self._beaten)
        while some := tuple(itertools.islice(waiting, limits.TRANSACTION_READS)):
            snapshot = await self._store.read(Reads(some))
            lost += snapshot.records.keys.count(None)
        return lost

    def _next_to_go(self) -> int:
        """Draw one whom the cleanup is about to delete, or is deleting."""
        ahead = self._gone + random.randrange(_AHEAD)  # noqa: S311  no secret
        return _HERE + min(ahead, self._stale - 1)

    async def _beat(self, name: str) -> float:
        before = time.perf_counter()
        try:
            await self._visits.track_session(name)
        except SojournError:
            self.failed += 1
        else:
            self._beaten.add(name)
        return time.perf_counter() - before


async def _clean(url: str, heartbeats: _Heartbeats, killed_after: float) -> _Done | None:
    """Clean up in another process, and kill it once so many are gone; return what it says, None if it was killed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.cleanup", url), stdout=asyncio.subprocess.PIPE
    )
    while process.returncode is None:
        if await heartbeats.look() >= killed_after:
            process.kill()
            break
        await asyncio.sleep(_LOOK)
    said, _ = await process.communicate()
    return msgspec.json.decode(said, type=_Done) if said else None


async def _left(store: Store, rank: int) -> int:
    """Return how many visitors are there who were last active before then."""
    span = RankSpan(layout.VISIT, high=rank, limit=limits.PAGE_MAX)
    left = 0
    while True:
        page = await store.rank(span)
        left += len(page.records)
        if page.cursor is None:
            return left
        span = msgspec.structs.replace(span, after=page.cursor)


async def _clean_here(url: str) -> _Done:
    async with sojourn.open(url) as store:
        cleaned = await Visits(store).cleanup_old_sessions()
        return _Done(cleaned.deleted_count, store.statistics().largest_batch)


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(asyncio.run(_clean_here(sys.argv[1]))))
