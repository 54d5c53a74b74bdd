"""What it costs a mutation that somebody watches what it writes."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Final

import sojourn
from benchmarks.figures import Figure, Pace, Row, count
from benchmarks.rounds import Sample, alternated, by_tasks, processor_us, rates, ratios
from sojourn.functions import Functions, MutationCtx, QueryCtx
from sojourn.kernel import Store
from sojourn.sessions import Sessions

__all__ = ["measure"]

_TASKS: Final = 32
_PLACES: Final = tuple(f"place {number}" for number in range(_TASKS))
"""One for each task."""
_OF_SESSIONS: Final = 10
"""For so many of the pace's sessions there is one watch."""
_PATIENCE: Final = 30.0


class _Side:
    """A store, and those who watch in it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        functions = Functions(Sessions(store))
        counts = functions.collection("counts", int, by=str)

        @functions.mutation.sessionless
        async def add(ctx: MutationCtx, *, place: str) -> int:
            return await ctx.db(counts).update(place, lambda count: count + 1)

        @functions.query.sessionless
        async def shown(ctx: QueryCtx, *, place: str) -> int:
            return await ctx.db(counts).get(place, default=0)

        self._bound = functions.bind(store)
        self._add, self._shown = add, shown
        self._counts: dict[str, int] = {}
        self._seen: dict[str, int] = {}
        self._told = asyncio.Event()
        self.evaluations: list[float] = []
        self.unseen: list[float] = []

    async def watch(self, places: Sequence[str], stack: AsyncExitStack) -> None:
        """Watch each of these places until the stack is left; return when all have been shown."""
        tasks = [asyncio.create_task(self._watch(place)) for place in places]
        stack.push_async_callback(_end, tasks)
        await self._until(lambda: len(self._seen) == len(places))

    async def sample(self, seconds: float) -> Sample:
        """Let one round pass, until what was written last is shown where it is watched."""
        before = self._store.live.evaluations
        sample = await by_tasks(_TASKS, seconds, _PLACES, self._write)
        watched = self._seen.keys() & self._counts.keys()
        await self._until(lambda: all(self._seen[place] == self._counts[place] for place in watched))
        self.unseen.append(sum(self._seen[place] != self._counts[place] for place in watched))
        self.evaluations.append((self._store.live.evaluations - before) / sample.done)
        return sample

    async def _write(self, place: str) -> None:
        self._counts[place] = await self._bound.run(self._add, place=place)

    async def _watch(self, place: str) -> None:
        async for number in self._bound.watch(self._shown, place=place):
            self._seen[place] = number
            self._told.set()

    async def _until(self, holds: Callable[[], bool]) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                while not holds():
                    self._told.clear()
                    await self._told.wait()


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def measure(pace: Pace) -> Row:
    """Write while nobody watches, and beside those who do, each variant in a store of its own."""
    many = max(1, pace.sessions // _OF_SESSIONS)
    watched = {"alone": (), "elsewhere": tuple(f"elsewhere {number}" for number in range(many)), "each": _PLACES}
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        sides: dict[str, _Side] = {}
        for name, places in watched.items():
            store = await stack.enter_async_context(sojourn.open(f"sqlite:///{Path(folder) / name}.db"))
            sides[name] = _Side(store)
            await sides[name].watch(places, stack)
        variants = {name: partial(side.sample, pace.seconds) for name, side in sides.items()}
        samples = await alternated(variants, pace.rounds)
    alone, elsewhere, each = (samples[name] for name in watched)
    return Row(
        name="live-mutations",
        title=f"A mutation on SQLite by {_TASKS} tasks, each at a place of its own, while somebody watches, against "
        "the same while nobody does",
        figures=(
            count("places whose last number was not shown", tuple(sides["each"].unseen)),
            count("evaluations, while others are watched", tuple(sides["elsewhere"].evaluations)),
            Figure(what=f"{many:,} other places are watched", rounds=ratios(elsewhere, alone)),
            Figure(what="each place is watched, in the same process", rounds=ratios(each, alone)),
            Figure(
                what="each is watched: evaluations for a mutation", rounds=tuple(sides["each"].evaluations), unit=""
            ),
            Figure(what="nobody watches: processor time of a mutation", rounds=processor_us(alone), unit="us"),
            Figure(what="others are watched: the same", rounds=processor_us(elsewhere), unit="us"),
            Figure(what="each is watched: the same, with its pushes", rounds=processor_us(each), unit="us"),
            Figure(what="nobody watches", rounds=rates(alone), unit="/s"),
        ),
        remarks=("Of numbers that follow each other quickly some are not shown, never the last.",),
    )
