"""Live readings between real processes: one writes and is killed, the other watches and misses nothing."""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

import sojourn
from sojourn.kernel import Attempt, Key
from sojourn.kernel.live import Reading, Watch

from .writing import ONE, OTHER, found

PATIENCE_S = 60
"""After that much real time something that never happens is a failure, and not a run that hangs."""


@asynccontextmanager
async def writer(url: str, times: int) -> AsyncGenerator[Process]:
    """Run one; the end of this is its end."""
    command = [sys.executable, "-m", "tests.proofs.writing", url, str(times)]
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def said(process: Process) -> int:
    """The next number that was committed, or 0 at the end."""
    assert process.stdout is not None
    line = await process.stdout.readline()
    return int(line) if line.endswith(b"\n") else 0


def number_at(key: Key) -> Reading:
    """The number at a key."""

    async def work(tx: Attempt) -> bytes:
        return b"%d" % await found(tx, key)

    return Reading(key, work)


class Pair:
    """Watches both numbers. They are always equal, and never go back; `seen` are all that were shown."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.seen: list[int] = [0]
        self._shown = {1: 0, 2: 0}
        self._next_sync = 0

    async def next(self) -> tuple[int, ...]:
        """Take the next transition; return what it answers."""
        transition = await anext(self.watch)
        self._shown |= {update.id: int(update.result or b"-1") for update in transition.updates}
        assert self._shown[1] == self._shown[2], "of two instants"
        assert self._shown[1] >= self.seen[-1], "of an instant before"
        self.seen.append(self._shown[1])
        return transition.synced

    async def caught_up(self) -> int:
        """Return what is shown of all that was committed before this call."""
        self._next_sync += 1
        self.watch.sync(self._next_sync)
        while self._next_sync not in await self.next():
            pass
        return self.seen[-1]


@pytest.mark.row("F-L2", "F-L4", "F-L5", "F-C70", "F-C71")
@pytest.mark.parametrize("shared_url", ["sqlite", "postgres18"], indirect=True)
async def test_what_another_process_commits_is_seen_though_it_is_killed(shared_url: str) -> None:
    """Proves that what was acknowledged is shown when asked for, and what was not is shown whole or not at all."""
    committed = 0
    async with asyncio.timeout(PATIENCE_S), sojourn.open(shared_url) as store, store.live.watch() as watch:
        watch.change({1: number_at(ONE), 2: number_at(OTHER)})
        pair = Pair(watch)
        for _ in range(3):
            async with writer(shared_url, 1_000_000) as process:
                for _ in range(15):
                    committed = await said(process)
                    assert await pair.caught_up() >= committed
                process.kill()
                while heard := await said(process):
                    committed = heard
            shown = await pair.caught_up()
            assert shown in {committed, committed + 1}, "one may have been committed whose answer was lost"
            assert shown == await store.run(lambda tx: found(tx, ONE))
        async with writer(shared_url, 20) as process:
            while heard := await said(process):
                committed = heard
        while pair.seen[-1] < committed:  # without any question: it comes by itself
            await pair.next()
        assert pair.seen[-1] == committed
