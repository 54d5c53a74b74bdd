"""Those who watch: so many WebSockets in a process of their own, and one connection by which numbers are changed.

Told how often, it changes a number as often, each time until everybody who is to see it has seen it, and says what that
took.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from benchmarks.live_app import allow_many_connections
from benchmarks.live_sockets import Caller, Query, Viewer, calling, viewing
from benchmarks.partner import Partner, partner, say, told
from benchmarks.rounds import Sample

__all__ = ["Asked", "Seen", "Viewers", "viewers"]

_AT_ONCE: Final = 16
"""So many connect at the same time."""
_PATIENCE: Final = 60.0


class Asked(msgspec.Struct, frozen=True):
    """Where to watch and where to change, how many watch, and what: a place of their own `each`, or all this one.

    A bare server gives no tickets and is not asked for anything.
    """

    watched: int
    called: int
    viewers: int
    place: str = "everywhere"
    each: bool = False
    bare: bool = False


class Seen(msgspec.Struct, frozen=True):
    """What came of some changes: for each who was to see one, how long that took from the call on.

    `seconds` of the sample are those until the last had seen it; `answered` says when the call itself was answered.
    `pushes` counts what was received, wanted or not, and `received` its bytes.
    """

    sample: Sample
    answered: tuple[float, ...]
    pushes: int
    received: int


class Viewers:
    """The process of those who watch, from the side that started it."""

    def __init__(self, other: Partner) -> None:
        self._other = other

    async def see(self, changes: int) -> Seen:
        """Change so many numbers, one after another, and say how soon they were seen."""
        self._other.tell(str(changes))
        return msgspec.json.decode(await self._other.hear(), type=Seen)


@asynccontextmanager
async def viewers(asked: Asked) -> AsyncGenerator[Viewers]:
    """Let so many watch, in a process of their own, until the block ends; when it begins all have seen something."""
    async with partner("benchmarks.live_viewers", msgspec.json.encode(asked).decode()) as other:
        yield Viewers(other)


class _Audience:
    """All who watch here, and what they are to see next."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._all: list[Viewer] = []
        self._number = 0
        self._awaited = 0
        self._begun = 0.0
        self._waits: list[float] = []
        self._seen = asyncio.Event()

    async def gather(self) -> None:
        """Connect everybody, and return when each has been shown the number from before all changes."""
        self._expect(self._asked.viewers)
        places = iter(range(self._asked.viewers))
        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(self._connect(places))
        await self._all_have_seen()

    async def _connect(self, places: Iterator[int]) -> None:
        asked = self._asked
        async with calling(asked.watched) as caller:
            for place in places:
                if asked.bare:
                    self._all.append(await viewing(asked.watched, self._note))
                else:
                    query = Query("shown", {"place": self._place(place)})
                    self._all.append(await viewing(asked.watched, self._note, await caller.ticket(), (query,)))

    async def see(self, caller: Caller, changes: int) -> Seen:
        """Change so many numbers, each when the last has been seen."""
        self._waits.clear()
        answered: list[float] = []
        seconds = 0.0
        before = self._pushes, self._received
        for _ in range(changes):
            self._number += 1
            self._expect(1 if self._asked.each else self._asked.viewers)
            await caller.put(self._place(self._number % self._asked.viewers), self._number)
            answered.append(time.perf_counter() - self._begun)
            await self._all_have_seen()
            seconds += max(self._waits[-1], answered[-1])
        sample = Sample(changes, seconds, tuple(self._waits))
        return Seen(sample, tuple(answered), self._pushes - before[0], self._received - before[1])

    @property
    def _pushes(self) -> int:
        return sum(viewer.pushes for viewer in self._all)

    @property
    def _received(self) -> int:
        return sum(viewer.received for viewer in self._all)

    def _place(self, number: int) -> str:
        return f"{self._asked.place} {number}" if self._asked.each else self._asked.place

    def _expect(self, times: int) -> None:
        self._awaited = times
        self._seen.clear()
        self._begun = time.perf_counter()

    async def _all_have_seen(self) -> None:
        async with asyncio.timeout(_PATIENCE):
            await self._seen.wait()

    def _note(self, number: int) -> None:
        if number == self._number:
            self._waits.append(time.perf_counter() - self._begun)
            self._awaited -= 1
            if not self._awaited:
                self._seen.set()


async def _main(asked: Asked) -> None:
    audience = _Audience(asked)
    await audience.gather()
    say("ready")
    while changes := await told():
        async with calling(asked.called) as caller:  # anew each time: a server hangs up on who is silent for long
            say(msgspec.json.encode(await audience.see(caller, int(changes))).decode())


if __name__ == "__main__":
    allow_many_connections()
    asyncio.run(_main(msgspec.json.decode(sys.argv[1], type=Asked)))
