"""A process that holds a document with a change it has not saved, is stopped, and saves when it goes on.

It says line by line what becomes of that. `itself`: it stops itself, with nothing left to do but the save. `idle`: it
waits for a line, and somebody else stops it meanwhile.
"""

import asyncio
import os
import signal
import sys
from datetime import timedelta
from typing import Any

import sojourn
from sojourn.documents import Documents
from sojourn.errors import LeaseLostError
from sojourn.kernel import Store

KEY = "box"
LEASE = timedelta(seconds=2)


def boxes(store: Store, **options: Any) -> Documents[int]:
    """Boxes that hold a number; the test has the same."""
    return Documents(store, "boxes", schema=int, template=0, lease=LEASE, autosave=None, **options)


def say(*words: object) -> None:
    """Say it at once, whatever becomes of this process."""
    print(*words, flush=True)  # noqa: T201  this is what its parent reads


async def main(url: str, how: str) -> None:
    """Hold the box, be stopped, and save."""
    async with sojourn.open(url) as store:
        told = asyncio.Event()

        def lost(key: str, unsaved: int | None) -> None:
            say("lost", key, unsaved)
            told.set()

        box = await boxes(store, on_lease_lost=lost).load(KEY)
        await box.update_immutable(lambda _: 1)
        await box.save()
        await box.update_immutable(lambda _: 2)
        say("unsaved")
        if how == "idle":
            await asyncio.to_thread(sys.stdin.readline)
        else:
            os.kill(os.getpid(), signal.SIGSTOP)
        for attempt in (box.save, box.unload, box.get):
            try:
                await attempt()
            except LeaseLostError as error:
                say("refused", error.unsaved)
        await told.wait()
    say("closed", box.closed)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
