"""Processes that talk in one session of snapshots, and say line by line what becomes of each turn.

`talk`: it takes turns one after another, once it is told to. `hold`: it begins a turn, says which, and ends it when it
is told to. `race`: it does that again and again, and ends each after a moment of its own. `watch`: it says each status
of the snapshots that it is asked for.
"""

import asyncio
import random
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import sojourn
from sojourn.errors import LeaseHeldError, LeaseLostError, TurnAbortedError
from sojourn.kernel import Store, SystemClock
from sojourn.snapshots import Snapshots

SESSION = "chat"
LEASE = timedelta(seconds=2)
LONGEST_S = 0.02
"""How long a turn of a race lasts at most, which is about as long as an abort takes."""


def chats(store: Store) -> Snapshots[Any]:
    """What all of them talk in; the test has the same."""
    return Snapshots(store, lease=LEASE)


def say(*words: object) -> None:
    """Say it at once, whatever becomes of this process."""
    print(*words, flush=True)  # noqa: T201  this is what its parent reads


async def heard() -> str:
    """The next line that this process is told."""
    line: str = await asyncio.to_thread(sys.stdin.readline)
    return line.strip()


async def talk(snapshots: Snapshots[Any], name: str, policy: Any, times: str) -> None:
    """Take so many turns, each of which says something of its own."""
    say("ready")
    await heard()
    for number in range(int(times)):
        text = f"{name}-{number}"
        try:
            async with snapshots.turn(SESSION, if_busy=policy) as turn:
                turn.messages.append(text)
        except LeaseHeldError:
            say("refused", text)
        else:
            say("done", text, turn.snapshot_id)
    say("end")


async def hold(snapshots: Snapshots[Any]) -> None:
    """Begin a turn, and end it when this is told."""
    try:
        async with snapshots.turn(SESSION) as turn:
            turn.messages.append("held")
            say(turn.snapshot_id)
            await heard()
    except (LeaseLostError, TurnAbortedError) as error:
        say(error.code)
    else:
        say("completed")


async def race(snapshots: Snapshots[Any], times: str, seed: str) -> None:
    """Begin a turn so many times, and end each after a moment, unless somebody aborts it before.

    The first is left to whoever aborts it.
    """
    chance = random.Random(seed)  # noqa: S311  repeatable by its seed
    for number in range(int(times)):
        await heard()
        try:
            async with snapshots.turn(SESSION) as turn:
                say(turn.snapshot_id)
                await (SystemClock().sleep(chance.uniform(0, LONGEST_S)) if number else asyncio.Event().wait())
        except TurnAbortedError:
            say("aborted")
        else:
            say("completed")


async def watch(snapshots: Snapshots[Any]) -> None:
    """Say each status of a snapshot; which one it is told."""
    say("ready")
    async for info in snapshots.watch(await heard()):
        say(info.status)


PARTS: dict[str, Callable[..., Awaitable[None]]] = {"talk": talk, "hold": hold, "race": race, "watch": watch}


async def main(part: str, url: str, *arguments: str) -> None:
    """Play one of the parts."""
    async with sojourn.open(url) as store:
        await PARTS[part](chats(store), *arguments)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
