"""Resolving a session: how often the engine is asked, and how often a second."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path

from benchmarks.figures import Figure, Pace, Row, count
from benchmarks.plain import Plain, open_apsw, open_stdlib
from benchmarks.rounds import Sample, alternated, rates, ratios
from sojourn import limits
from sojourn.engines.sqlite import SqliteEngine
from sojourn.kernel import (
    Answer,
    Changes,
    Description,
    Engine,
    Finding,
    Position,
    RankPage,
    RankSpan,
    Reads,
    Snapshot,
    Store,
    Swept,
    Transaction,
)
from sojourn.sessions import Sessions
from sojourn.testing import ManualClock

__all__ = ["CountingEngine", "measure"]

_SESSIONS = 1_000


class CountingEngine:
    """An engine that counts how often it is asked for records or given a batch."""

    def __init__(self, inner: Engine) -> None:
        self.trips = 0
        self._inner = inner

    async def open(self) -> None:
        """Hand it on."""
        await self._inner.open()

    async def close(self) -> None:
        """Hand it on."""
        await self._inner.close()

    async def examine(self) -> Sequence[Finding]:
        """Hand it on."""
        return await self._inner.examine()

    async def commit(self, batch: Sequence[Transaction]) -> Sequence[Answer]:
        """Count it, and hand it on."""
        self.trips += 1
        return await self._inner.commit(batch)

    async def read(self, reads: Reads) -> Snapshot:
        """Count it, and hand it on."""
        self.trips += 1
        return await self._inner.read(reads)

    async def rank(self, span: RankSpan) -> RankPage:
        """Count it, and hand it on."""
        self.trips += 1
        return await self._inner.rank(span)

    async def changes(self, since: Position | None, wait: float) -> Changes:
        """Hand it on."""
        return await self._inner.changes(since, wait)

    async def sweep(self, limit: int) -> Swept:
        """Hand it on."""
        return await self._inner.sweep(limit)

    def describe(self) -> Description:
        """Hand it on."""
        return self._inner.describe()


async def measure(pace: Pace) -> Row:
    """Count the trips under a clock that stands still, then measure under the host's."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fresh, due = await _trips(folder / "trips.db")
        plain = Plain(open_stdlib(folder / "stdlib.db"))
        apsw = Plain(open_apsw(folder / "apsw.db"))
        plain.warm()
        apsw.warm()
        async with Store(SqliteEngine(folder / "rate.db")) as store:
            sessions = Sessions(store)
            tokens = [(await sessions.issue()).token for _ in range(_SESSIONS)]
            samples = await alternated(
                {
                    "plain": partial(plain.selects, pace.seconds),
                    "resolve": partial(_resolves, sessions, tokens, pace.seconds),
                    "apsw": partial(apsw.selects, pace.seconds),
                },
                pace.rounds,
            )
    resolved = samples["resolve"]
    return Row(
        name="resolve",
        title="Resolving a session by its token",
        figures=(
            count("trips to the engine", (fresh,), most=1),
            count("trips when its use is due to be noted, once a minute", (due,), most=2),
            Figure(what="against a plain SELECT of one row of 1 KB", rounds=ratios(resolved, samples["plain"])),
            Figure(what="a plain SELECT through apsw", rounds=ratios(samples["apsw"], samples["plain"])),
            Figure(what="resolved, one task", rounds=rates(resolved), unit="/s"),
        ),
        remarks=("A session is four records, read as one snapshot; the token is checked against a keyed hash.",),
    )


async def _trips(path: Path) -> tuple[int, int]:
    """Return the trips of a resolve just after another, and of one whose use has to be noted."""
    clock = ManualClock()
    engine = CountingEngine(SqliteEngine(path, clock=clock))
    async with Store(engine, clock=clock) as store:
        sessions = Sessions(store)
        token = (await sessions.issue()).token
        engine.trips = 0
        await sessions.resolve(token)
        fresh = engine.trips
        clock.advance(limits.SESSION_TOUCH_MAX + timedelta(milliseconds=1))
        await sessions.resolve(token)
        return fresh, engine.trips - fresh


async def _resolves(sessions: Sessions, tokens: Sequence[str], seconds: float) -> Sample:
    done = 0
    start = time.perf_counter()
    for token in itertools.cycle(tokens):
        await sessions.resolve(token)
        done += 1
        if time.perf_counter() >= start + seconds:
            break
    return Sample(done, time.perf_counter() - start)
