"""The same commits on a disk that takes longer to say that something is safe, as network volumes do."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from functools import partial
from pathlib import Path

import msgspec

from benchmarks.commits import MANY, WARM_SECONDS
from benchmarks.disk import SLOW, USUAL, Environment, NoSlowDiskError, slow_disk
from benchmarks.figures import Figure, Pace, Row, count
from benchmarks.kernel import writes_on
from benchmarks.machine import fdatasync_ms
from benchmarks.plain import Plain, open_stdlib
from benchmarks.rounds import Sample, alternated, rates, ratios

__all__ = ["measure"]

_ROW = Row(
    name="slow-disk",
    title="The same on slower disks: a library adds 2 ms, or 0.1 ms, to each fsync and fdatasync",
    remarks=("What a group saves is waiting for the disk, so the ratio is the disk's as much as ours.",),
)


class _Found(msgspec.Struct, frozen=True):
    """What a process on such a disk measured."""

    fdatasync_ms: float
    plain: tuple[Sample, ...]
    many: tuple[Sample, ...]
    one: tuple[Sample, ...]
    lost: int


async def measure(pace: Pace) -> Row:
    """Measure in a process that has such a disk."""
    try:
        async with slow_disk() as environment:
            slow = await _measure_in(environment(SLOW), pace)
            usual = await _measure_in(environment(USUAL), pace)
    except NoSlowDiskError as error:
        return msgspec.structs.replace(_ROW, absent=f"{error}.")
    if slow.fdatasync_ms < SLOW / 1_000:
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
            Figure(what="2 ms: one fdatasync", rounds=(slow.fdatasync_ms,), unit="ms"),
            Figure(what="0.1 ms: one fdatasync", rounds=(usual.fdatasync_ms,), unit="ms"),
        ),
    )


async def _measure_in(environment: Environment, pace: Pace) -> _Found:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.slow_disk", str(pace.seconds), str(pace.rounds)),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, **environment},
    )
    said, _ = await process.communicate()
    return msgspec.json.decode(said, type=_Found)


async def _measure_here(seconds: float, rounds: int) -> _Found:
    with tempfile.TemporaryDirectory() as name:
        plain = Plain(open_stdlib(Path(name) / "plain.db"))
        plain.warm()
        async with writes_on(f"sqlite:///{Path(name) / 'kernel.db'}") as writes:
            await writes.run(MANY, min(seconds, WARM_SECONDS))
            samples = await alternated(
                {
                    "plain": partial(plain.commits, seconds),
                    "many": partial(writes.run, MANY, seconds),
                    "one": partial(writes.run, 1, seconds),
                },
                rounds,
            )
            lost = await writes.lost()
    return _Found(fdatasync_ms(times=20), samples["plain"], samples["many"], samples["one"], lost)


if __name__ == "__main__":
    told_seconds, told_rounds = sys.argv[1:]
    sys.stdout.buffer.write(msgspec.json.encode(asyncio.run(_measure_here(float(told_seconds), int(told_rounds)))))
