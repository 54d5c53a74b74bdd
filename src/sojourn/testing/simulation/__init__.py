"""A simulation of several servers on virtual time, from one seed: what may go wrong does, and a canon judges.

    report = simulation.run(7)
    assert report.is_sound, report.violations

The servers load, change, save, trade and hand on the same few documents, while some of them crash, are paused beyond
their leases, are cut off, or have their clocks set; while answers are lost and calls arrive late or twice. The canon
looks at every state that was stored, and at what each server was told. The same seed gives the same run, event by
event, in every process.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import random
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from sojourn.testing.simulation.loop import VirtualLoop
from sojourn.testing.simulation.report import Report, Telling
from sojourn.testing.simulation.world import World

__all__ = ["Report", "STEPS", "run"]

STEPS: Final = 150
"""Events of a run, when nothing else is said."""


def run(seed: int, *, steps: int = STEPS) -> Report:
    """Live through the world of this seed, for so many events, and return what happened.

    Not to be called where a loop is running. While it runs, `random` is seeded, log messages are held back and garbage
    is not collected; afterwards all of it is as before.
    """
    telling = Telling()
    with _still(seed), asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualLoop)
        runner.run(_live(World(seed, telling, loop), steps))
    return telling.report(seed)


async def _live(world: World, steps: int) -> None:
    try:
        await world.live(steps)
    finally:
        await world.end()


@contextmanager
def _still(seed: int) -> Generator[None]:
    """Hold still what would make two runs differ."""
    log, state, collects = logging.getLogger("sojourn"), random.getstate(), gc.isenabled()
    level = log.level
    log.setLevel(logging.CRITICAL)
    random.seed(seed)
    gc.disable()
    try:
        yield
    finally:
        log.setLevel(level)
        random.setstate(state)
        if collects:
            gc.enable()
