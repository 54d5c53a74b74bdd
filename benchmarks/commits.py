"""Durable commits through the kernel on SQLite, against a loop that commits each write by itself."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

from benchmarks.figures import Figure, Pace, Row, count
from benchmarks.kernel import writes_on
from benchmarks.plain import Plain, open_apsw, open_stdlib
from benchmarks.rounds import alternated, processor_us, rates, ratios

__all__ = ["MANY", "WARM_SECONDS", "measure"]

MANY = 128
"""Tasks that commit at once, and writes of one group of the ceiling."""

WARM_SECONDS = 0.5
"""How long it takes, with a margin, until the write-ahead log has been full once and is used again."""


async def measure(pace: Pace) -> Row:
    """Alternate the kernel with 128 tasks and with one, the plain loop by either driver, and the ceiling."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plain, apsw, ceiling = (
            Plain(open_stdlib(folder / "stdlib.db")),
            Plain(open_apsw(folder / "apsw.db")),
            Plain(open_apsw(folder / "ceiling.db")),
        )
        for loops in (plain, apsw, ceiling):
            loops.warm()
        async with writes_on(f"sqlite:///{folder / 'kernel.db'}") as writes:
            await writes.run(MANY, min(pace.seconds, WARM_SECONDS))
            samples = await alternated(
                {
                    "plain": partial(plain.commits, pace.seconds),
                    "many": partial(writes.run, MANY, pace.seconds),
                    "apsw": partial(apsw.commits, pace.seconds),
                    "one": partial(writes.run, 1, pace.seconds),
                    "ceiling": partial(ceiling.groups, pace.seconds, MANY),
                },
                pace.rounds,
            )
            lost = await writes.lost()
    many, one, loop = samples["many"], samples["one"], samples["plain"]
    return Row(
        name="commits",
        title="Durable commits on SQLite (guard, put of 1 KB with rank, log, receipt), `synchronous=FULL`, against a "
        "plain loop that commits each guarded write",
        figures=(
            Figure(what="128 tasks", rounds=ratios(many, loop), promise=5, aim=8),
            Figure(what="1 task", rounds=ratios(one, loop), promise=0.45, aim=0.6),
            count("acknowledged writes not found", (lost,)),
            Figure(what="128 tasks, against the ceiling", rounds=ratios(many, samples["ceiling"])),
            Figure(
                what="the ceiling: 128 writes a transaction, no event loop", rounds=ratios(samples["ceiling"], loop)
            ),
            Figure(what="the plain loop through apsw", rounds=ratios(samples["apsw"], loop)),
            Figure(what="128 tasks: processor time of one", rounds=processor_us(many), unit="us"),
            Figure(what="the plain loop: processor time of one", rounds=processor_us(loop), unit="us"),
            Figure(what="128 tasks", rounds=rates(many), unit="/s"),
            Figure(what="1 task", rounds=rates(one), unit="/s"),
            Figure(what="the plain loop", rounds=rates(loop), unit="/s"),
        ),
        remarks=(
            "A group saves waiting for the disk, and the promise was made on one of 0.09 ms.",
            "On a faster one the plain loop hardly waits, and our processor time decides: see `slow-disk`.",
        ),
    )
