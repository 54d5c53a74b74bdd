"""Documents between real processes: stopped beyond the lease, killed at any moment, and in the middle of a trade."""

import asyncio
import random
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import combinations

import pytest

import sojourn
from tests.proofs import paused, trading
from tools.holders import PATIENCE, prove

Start = Callable[..., Awaitable[Process]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Start a program of this folder as a process of its own; the end of the test is its end."""
    started: list[Process] = []

    async def start(program: str, *arguments: str) -> Process:
        command = [sys.executable, "-m", f"tests.proofs.{program}", *arguments]
        process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
        started.append(process)
        return process

    yield start
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def says(process: Process) -> str:
    """The next line of a process."""
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().strip()


@pytest.mark.row("D-N1", "D-N11", "D-LK13")
@pytest.mark.parametrize("how", ["itself", "idle"])
async def test_a_holder_that_was_stopped_beyond_its_lease_is_refused_and_told(
    shared_url: str, start: Start, how: str
) -> None:
    """Proves that what the next holder wrote stands, and that what the late one had not saved is handed over once."""
    late = await start("paused", shared_url, how)
    assert await says(late) == "unsaved"
    if how == "idle":
        late.send_signal(signal.SIGSTOP)
    async with sojourn.open(shared_url) as store:
        box = await paused.boxes(store).load(paused.KEY, wait=PATIENCE)
        assert box.value == 1, "what was saved, without what was not"
        await box.update_immutable(lambda _: 10)
        await box.save()
        late.send_signal(signal.SIGCONT)
        said, _ = await late.communicate(b"save\n")
        assert sorted(said.decode().splitlines()) == [
            "closed True",
            "lost box 2",
            *["refused 2"] * 3,
        ]
        assert late.returncode == 0
        assert await paused.boxes(store).peek(paused.KEY) == 10
        await box.update_immutable(lambda value: value + 1)
        await box.unload()
        assert await paused.boxes(store).peek(paused.KEY) == 11, "the late one took nothing from the next holder either"


@pytest.mark.row("D-N9", "D-ST36", "D-LK3")
async def test_the_next_holder_of_a_killed_one_has_all_that_was_acknowledged(shared_url: str) -> None:
    """Proves that a killed holder fails nobody who waits, and takes nothing with it. `make holders` does more of it."""
    sums = await prove(shared_url, times=6, seed=7)
    assert (sums.kills, sums.missing, sums.doubled) == (6, 0, 0)
    assert sums.acknowledged > 0


@pytest.mark.row("D-N5", "D-N8", "D-TI1")
async def test_traders_are_killed_and_nothing_is_lost_or_made(shared_url: str, start: Start) -> None:
    """Proves that a trade is there whole or not at all, and that who is left trades on with the same documents."""
    chance = random.Random(7)  # noqa: S311  repeatable by its seed
    left, *killed = [await start("trading", shared_url, str(seed)) for seed in range(4)]
    for trader in killed:
        for _ in range(chance.randint(5, 20)):
            await says(trader)
        trader.kill()
    killed_at = time.monotonic()
    wanted = {frozenset(pair) for pair in combinations(trading.BOXES, 2)}
    while wanted:
        began, *pair = (await says(left)).split()
        if float(began) > killed_at:
            wanted.discard(frozenset(pair))
    for trader in (left, *killed):
        if trader.returncode is None:
            trader.kill()
        await trader.communicate()
    async with sojourn.open(shared_url) as store:
        found = [await trading.boxes(store).peek(key) or 0 for key in trading.BOXES]
    assert sum(found) == len(trading.BOXES) * trading.EACH
    assert found != [trading.EACH] * len(trading.BOXES)
