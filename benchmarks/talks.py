"""Conversations of several lengths in one store: turns of them are taken, and their states read, as programs do."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, NamedTuple

import sojourn
from benchmarks.conversation import Turn, turn_of
from benchmarks.rounds import Sample, in_turn
from sojourn.kernel import Store
from sojourn.snapshots import Snapshots

__all__ = ["Talks", "talks_on"]


class _Session(NamedTuple):
    """Whose newest state is wanted, where it is not that of an id."""

    length: int


class Talks:
    """Sessions of several lengths in one store."""

    def __init__(self, url: str, store: Store, lengths: tuple[int, ...]) -> None:
        self.lengths = lengths
        self._url = url
        self._snapshots: Snapshots[dict[str, Any]] = Snapshots(store)
        self._taken: dict[str, list[str]] = {}
        self._numbers = itertools.count()

    async def fill(self) -> None:
        """Take the turns that make them as long as they are to be."""
        await asyncio.gather(*(self._fill(str(length), length) for length in self.lengths))

    def turns(self, number: int) -> list[Turn]:
        """Return turns that nobody has taken so far."""
        return [turn_of(next(self._numbers)) for _ in range(number)]

    async def take(self, length: int, turns: int) -> Sample:
        """Take turns of the session of this length; of the shortest one there is another each time."""
        session = str(length)
        if length == self.lengths[0]:
            session = f"{length}, {next(self._numbers)}"
            await self._fill(session, length)
        return await in_turn(self.turns(turns), partial(self._take, self._snapshots, session))

    async def take_at_once(self, sessions: int, turns: int) -> Sample:
        """Take turns of so many sessions at the same time, of each one after another."""
        worked, start = time.process_time(), time.perf_counter()
        samples = await asyncio.gather(
            *(
                in_turn(self.turns(turns), partial(self._take, self._snapshots, f"one of {sessions}, {number}"))
                for number in range(sessions)
            )
        )
        waits = tuple(wait for sample in samples for wait in sample.waits)
        return Sample(len(waits), time.perf_counter() - start, waits, time.process_time() - worked)

    async def take_cold(self, length: int) -> Sample:
        """Take a turn of it in a program that has just been started."""
        async with sojourn.open(self._url) as store:
            return await in_turn(self.turns(1), partial(self._take, Snapshots(store), str(length)))

    async def newest(self, length: int, reads: int, *, by_id: bool = False) -> Sample:
        """Read the newest state again and again."""
        newest = self._taken[str(length)][-1] if by_id else _Session(length)
        return await in_turn([newest] * reads, partial(_read, self._snapshots))

    async def past(self, length: int, reads: int) -> Sample:
        """Read states that are drawn by lot, for the first time."""
        return await in_turn(self._drawn(length, reads), partial(_read, self._snapshots))

    async def past_again(self, length: int, reads: int) -> Sample:
        """Read states that are drawn by lot, each for the second time."""
        drawn = self._drawn(length, reads)
        await in_turn(drawn, partial(_read, self._snapshots))
        return await in_turn(drawn, partial(_read, self._snapshots))

    async def newest_cold(self, length: int) -> Sample:
        """Read the newest state in a program that has just been started."""
        return await self._cold([_Session(length)])

    async def past_cold(self, length: int, reads: int) -> Sample:
        """Read states that are drawn by lot, each in a program that has just been started."""
        return await self._cold(self._drawn(length, reads))

    async def branch(self, length: int) -> None:
        """Take the turn in the middle of a session again."""
        taken = self._taken[str(length)]
        async with self._snapshots.regenerate(taken[len(taken) // 2]) as turn:
            turn.messages.extend(self.turns(1)[0])

    async def lost(self) -> int:
        """Return how many turns are not where they were taken in the history of their session."""
        lost = 0
        for session, taken in self._taken.items():
            found = [info.snapshot_id async for info in self._snapshots.history(session)][::-1]
            lost += sum(one != other for one, other in itertools.zip_longest(taken, found))
        return lost

    async def _fill(self, session: str, length: int) -> None:
        await in_turn(self.turns(length), partial(self._take, self._snapshots, session))

    async def _take(self, snapshots: Snapshots[dict[str, Any]], session: str, messages: Turn) -> None:
        async with snapshots.turn(session) as turn:
            turn.messages.extend(messages)
        self._taken.setdefault(session, []).append(turn.snapshot_id)

    def _drawn(self, length: int, reads: int) -> list[str]:
        return random.choices(self._taken[str(length)], k=reads)  # noqa: S311  no secret

    async def _cold(self, wanted: Sequence[str | _Session]) -> Sample:
        waits: list[float] = []
        for one in wanted:
            async with sojourn.open(self._url) as store:
                waits += (await in_turn([one], partial(_read, Snapshots(store)))).waits
        return Sample(len(waits), sum(waits), tuple(waits))


async def _read(snapshots: Snapshots[dict[str, Any]], wanted: str | _Session) -> None:
    if isinstance(wanted, _Session):
        found = await snapshots.get_snapshot(session_id=str(wanted.length))
    else:
        found = await snapshots.get_snapshot(snapshot_id=wanted)
    assert found is not None, "it is gone"


@asynccontextmanager
async def talks_on(url: str, lengths: tuple[int, ...]) -> AsyncGenerator[Talks]:
    """Open a store, and take the turns that make the sessions as long as they are to be."""
    async with sojourn.open(url) as store:
        talks = Talks(url, store, lengths)
        await talks.fill()
        yield talks
