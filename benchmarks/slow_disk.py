"""The same commits on a disk that takes longer to say that something is safe, as network volumes do.

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

from benchmarks.commits import MANY, WARM_SECONDS
from benchmarks.figures import Figure, Pace, Row, count
from benchmarks.kernel import writes_on_sqlite
from benchmarks.machine import fdatasync_ms
from benchmarks.plain import Plain, open_stdlib
from benchmarks.rounds import Sample, alternated, rates, ratios

__all__ = ["measure"]

_SLOW = 2_000
_USUAL = 100
_SOURCE = Path(__file__).with_name("slow_fsync.c")
_ROW = Row(
    name="slow-disk",
    title="The same on slower disks: a library adds 2 ms, or 0.1 ms, to each fsync and fdatasync",
    remarks=("The ratio is the disk's as much as ours: what a group saves is waiting for it.",),
)


class _Found(msgspec.Struct, frozen=True):
    """What a slowed process measured."""

    fdatasync_ms: float
    plain: tuple[Sample, ...]
    many: tuple[Sample, ...]
    one: tuple[Sample, ...]
    lost: int


async def measure(pace: Pace) -> Row:
    """Compile the library, and measure in processes that have it."""
    compiler = shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        return msgspec.structs.replace(_ROW, absent="it needs Linux and gcc.")
    with tempfile.TemporaryDirectory() as name:
        library = Path(name) / "slow_fsync.so"
        compiling = await asyncio.create_subprocess_exec(
            *(compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(_SOURCE), "-ldl")
        )
        if await compiling.wait():
            return msgspec.structs.replace(_ROW, absent="gcc could not compile the library.")
        slow = await _in_slowed_process(library, _SLOW, pace)
        usual = await _in_slowed_process(library, _USUAL, pace)
    if slow.fdatasync_ms < _SLOW / 1_000:
        return msgspec.structs.replace(_ROW, absent="the library has no effect here.")
    return msgspec.structs.replace(
        _ROW,
        figures=(
            Figure(what="2 ms: 128 tasks", rounds=ratios(slow.many, slow.plain), promise=40, aim=55),
            count("acknowledged writes not found", (slow.lost, usual.lost)),
            Figure(what="2 ms: 1 task", rounds=ratios(slow.one, slow.plain)),
            Figure(what="0.1 ms: 128 tasks", rounds=ratios(usual.many, usual.plain)),
            Figure(what="0.1 ms: 1 task", rounds=ratios(usual.one, usual.plain)),
            Figure(what="2 ms: 128 tasks", rounds=rates(slow.many), unit="/s"),
            Figure(what="2 ms: the plain loop", rounds=rates(slow.plain), unit="/s"),
            Figure(what="0.1 ms: 128 tasks", rounds=rates(usual.many), unit="/s"),
            Figure(what="0.1 ms: the plain loop", rounds=rates(usual.plain), unit="/s"),
            Figure(what="one fdatasync", rounds=(slow.fdatasync_ms, usual.fdatasync_ms), unit="ms"),
        ),
    )


async def _in_slowed_process(library: Path, microseconds: int, pace: Pace) -> _Found:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.slow_disk", str(pace.seconds), str(pace.rounds)),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "LD_PRELOAD": str(library), "SLOW_FSYNC_MICROSECONDS": str(microseconds)},
    )
    said, _ = await process.communicate()
    return msgspec.json.decode(said, type=_Found)


async def _measure_here(seconds: float, rounds: int) -> _Found:
    with tempfile.TemporaryDirectory() as name:
        plain = Plain(open_stdlib(Path(name) / "plain.db"))
        plain.warm()
        async with writes_on_sqlite(Path(name) / "kernel.db") as writes:
            await writes.run(MANY, WARM_SECONDS)
            samples = await alternated(
                {
                    "plain": partial(plain.commits, seconds),
                    "many": partial(writes.run, MANY, seconds),
                    "one": partial(writes.run, 1, seconds),
                },
                rounds,
            )
            found = _Found(
                fdatasync_ms(times=20), samples["plain"], samples["many"], samples["one"], await writes.lost()
            )
    return found


if __name__ == "__main__":
    told_seconds, told_rounds = sys.argv[1:]
    sys.stdout.buffer.write(msgspec.json.encode(asyncio.run(_measure_here(float(told_seconds), int(told_rounds)))))
