"""The longest wait of any caller while 128 tasks commit."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

from benchmarks.commits import MANY, WARM_SECONDS
from benchmarks.figures import Figure, Pace, Row
from benchmarks.kernel import writes_on
from benchmarks.plain import Plain, open_stdlib
from benchmarks.rounds import alternated, wait_ms

__all__ = ["measure"]


async def measure(pace: Pace) -> Row:
    """Note every caller's wait, and beside it those of the plain loop: what the machine itself delays."""
    with tempfile.TemporaryDirectory() as name:
        plain = Plain(open_stdlib(Path(name) / "plain.db"))
        plain.warm()
        async with writes_on(f"sqlite:///{Path(name) / 'kernel.db'}") as writes:
            await writes.run(MANY, min(pace.seconds, WARM_SECONDS))
            samples = await alternated(
                {"plain": partial(plain.commits, pace.seconds), "many": partial(writes.run, MANY, pace.seconds)},
                pace.rounds,
            )
    many = samples["many"]
    return Row(
        name="waits",
        title="How long a caller waits for its commit on SQLite at 128 tasks",
        figures=(
            Figure(what="longest of all", rounds=wait_ms(many, 1), unit="ms", promise=50, aim=20, at_most=True),
            Figure(what="99 of 100", rounds=wait_ms(many, 0.99), unit="ms"),
            Figure(what="half", rounds=wait_ms(many, 0.5), unit="ms"),
            Figure(
                what="longest commit of the plain loop", rounds=wait_ms(samples["plain"], 1), unit="ms", at_most=True
            ),
        ),
        remarks=("The longest wait is the worst of all rounds, whatever else the machine did.",),
    )
