"""The same commits on a disk that takes 2 ms longer to say that something is safe, as network volumes do.

The disk is slowed by a library that is preloaded into a process of its own: `slow_fsync.c`, compiled on the spot.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path

import msgspec

from benchmarks import machine
from benchmarks.commits import MANY
from benchmarks.figures import Figure, Pace, Row
from benchmarks.kernel import writes_on_sqlite
from benchmarks.plain import Plain, open_stdlib
from benchmarks.rounds import Sample, alternated, ratios

__all__ = ["measure"]

_MICROSECONDS = 2_000
_SOURCE = Path(__file__).with_name("slow_fsync.c")
_TITLE = "The same on a disk that takes 2 ms longer (a library adds them to each fsync and fdatasync)"
_WARM_SECONDS = 0.5


class _Slow(msgspec.Struct, frozen=True):
    """What the slowed process measured."""

    fdatasync_ms: float
    many: tuple[Sample, ...]
    plain: tuple[Sample, ...]
    lost: int


async def measure(pace: Pace) -> Row:
    """Compile the library, and measure in a process that has it."""
    compiler = shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        return Row(name="slow-disk", title=_TITLE, absent="It needs Linux and gcc.")
    with tempfile.TemporaryDirectory() as name:
        library = Path(name) / "slow_fsync.so"
        compiling = await asyncio.create_subprocess_exec(
            compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(_SOURCE), "-ldl"
        )
        if await compiling.wait():
            return Row(name="slow-disk", title=_TITLE, absent="gcc could not compile the library.")
        slow = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.slow_disk", str(pace.seconds), str(pace.rounds)),
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "LD_PRELOAD": str(library), "SLOW_FSYNC_MICROSECONDS": str(_MICROSECONDS)},
        )
        said, _ = await slow.communicate()
    found = msgspec.json.decode(said, type=_Slow)
    if found.fdatasync_ms < _MICROSECONDS / 1_000:
        return Row(name="slow-disk", title=_TITLE, absent="The library was not preloaded here.")
    return Row(
        name="slow-disk",
        title=_TITLE,
        figures=(
            Figure(what="128 tasks", rounds=ratios(found.many, found.plain), promise=40, aim=55),
            Figure(what="acknowledged writes not found", rounds=(found.lost,), unit="", promise=0, at_most=True, exact=True),
            Figure(what="128 tasks", rounds=tuple(sample.rate for sample in found.many), unit="/s"),
            Figure(what="the plain loop", rounds=tuple(sample.rate for sample in found.plain), unit="/s"),
            Figure(what="one fdatasync there", rounds=(found.fdatasync_ms,), unit="ms"),
        ),
    )


async def _measure_slowed(pace: Pace) -> _Slow:
    with tempfile.TemporaryDirectory() as name:
        plain = Plain(open_stdlib(Path(name) / "plain.db"))
        plain.warm()
        async with writes_on_sqlite(Path(name) / "kernel.db") as writes:
            await writes.run(MANY, _WARM_SECONDS)
            samples = await alternated(
                {"plain": partial(plain.commits, pace.seconds), "many": partial(writes.run, MANY, pace.seconds)},
                pace.rounds,
            )
            stripped = {of: tuple(msgspec.structs.replace(one, waits=()) for one in samples[of]) for of in samples}
            return _Slow(machine.fdatasync_ms(times=20), stripped["many"], stripped["plain"], await writes.lost())


if __name__ == "__main__":
    seconds, rounds = sys.argv[1:]
    measured = asyncio.run(_measure_slowed(Pace(float(seconds), int(rounds), 0)))
    sys.stdout.buffer.write(msgspec.json.encode(measured))
