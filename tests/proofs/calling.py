"""A process that runs scheduled calls and crons, and says what becomes of them; `crew` talks to it.

What happens without being asked begins with a star. Asked to `stop` somewhere, the process says so when it comes there,
and stops itself, with everything as it is at that instant.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import sojourn
from sojourn.functions import ActionCtx, Bound, Functions, MutationCtx
from sojourn.kernel import Attempt, Committed, Store
from sojourn.sessions import SessionId, Sessions
from tests.proofs.clicking import _stops, reach, say
from tests.proofs.passing import SharedClock


class Calling:
    """An application that counts: each call under a name of its own, so that one too many shows."""

    def __init__(self, store: Store, *, crons: bool = False) -> None:
        self.functions = functions = Functions(Sessions(store))
        self.counts = counts = functions.collection("counts", dict[str, int], by=SessionId)
        self.totals = totals = functions.collection("totals", int, by=str)

        @functions.mutation
        async def count(ctx: MutationCtx, session_id: SessionId, *, name: str) -> None:
            reach("handler")
            await ctx.db(counts).update(session_id, lambda counted: {**counted, name: counted.get(name, 0) + 1})
            _when_committed(ctx.tx, name)
            reach("ran")

        @functions.mutation.sessionless
        async def add(ctx: MutationCtx, *, name: str) -> None:
            reach("handler")
            await ctx.db(totals).update(name, lambda total: total + 1)
            _when_committed(ctx.tx, name)
            reach("ran")

        @functions.action
        async def act(ctx: ActionCtx, session_id: SessionId, *, name: str) -> str:
            say("*", "acting", name)
            reach("acting")
            await ctx.run_mutation(count, name=name)
            reach("acted")
            return name

        self.count, self.add, self.act = count, add, act
        if crons:
            functions.crons.interval("each minute", add, minutes=1, arguments={"name": "minute"})
        self.bound: Bound = functions.bind(store)

    async def stop(self, point: str) -> str:
        """Stop there."""
        _stops.add(point)
        return "will"

    async def forget(self) -> str:
        """Stop nowhere any more."""
        _stops.clear()
        return "will"

    async def hear(self) -> str:
        """Answer: whoever hears this has heard all that was said before."""
        return "yes"


def _when_committed(tx: Attempt, name: str) -> None:
    """Say that this attempt was committed, and stop there if that was asked for."""

    def settled(became: object) -> None:
        if isinstance(became, Committed):
            say("*", "committed", name)
            reach("committed")

    tx.when_settled(settled)


async def main(url: str, clock: str, *options: str) -> None:
    """Run what is due until nobody asks any more."""
    async with sojourn.open(url, clock=SharedClock(Path(clock))) as store:
        here = Calling(store, crons="crons" in options)
        running = asyncio.create_task(here.bound.schedules.run())

        async def answer(number: str, verb: Callable[..., Awaitable[str]], words: list[str]) -> None:
            say(number, await verb(*words))

        say("*", "ready")
        async with asyncio.TaskGroup() as tasks:
            while line := await asyncio.to_thread(sys.stdin.readline):
                number, verb, *words = line.split()
                tasks.create_task(answer(number, getattr(here, verb), words))
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
