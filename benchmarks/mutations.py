"""A mutation over HTTP at 32 connections, against a bare Starlette route that commits each write."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

from benchmarks.figures import Figure, Pace, Row, count
from benchmarks.load import Asked, load
from benchmarks.rounds import Sample, alternated, rates, ratios, wait_ms
from benchmarks.servers import BARE, SOJOURN, serving

__all__ = ["measure"]

_CONNECTIONS = 32
_WARM_SECONDS = 0.5


async def measure(pace: Pace) -> Row:
    """Alternate the two servers, both running all the while, under the same client."""
    lost: list[int] = []

    async def sample(port: int, *, seconds: float = pace.seconds, shared: bool = False, ids: bool = True) -> Sample:
        said = await load(Asked(port, _CONNECTIONS, seconds, shared, ids))
        lost.append(said.lost)
        return said.sample

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with serving(BARE, folder / "bare.db") as bare, serving(SOJOURN, folder / "sojourn.db") as ours:
            for port in (bare, ours):
                await sample(port, seconds=_WARM_SECONDS)
            samples = await alternated(
                {
                    "bare": partial(sample, bare),
                    "own": partial(sample, ours),
                    "without": partial(sample, ours, ids=False),
                    "shared": partial(sample, ours, shared=True, ids=False),
                },
                pace.rounds,
            )
    own, plain = samples["own"], samples["bare"]
    return Row(
        name="http",
        title="A mutation over HTTP at 32 connections, each its own session, against a bare Starlette route that "
        "commits each write; the same uvicorn, one process each",
        figures=(
            Figure(what="with request ids, as browsers send them", rounds=ratios(own, plain), promise=1, aim=1.5),
            Figure(what="without request ids", rounds=ratios(samples["without"], plain), promise=1, aim=1.5),
            count("calls lost or doubled", tuple(lost)),
            Figure(what="all connections on one session, no ids", rounds=ratios(samples["shared"], plain)),
            Figure(what="sojourn, with request ids", rounds=rates(own), unit="/s"),
            Figure(what="the bare route", rounds=rates(plain), unit="/s"),
            Figure(what="sojourn, 99 of 100 calls", rounds=wait_ms(own, 0.99), unit="ms"),
            Figure(what="the bare route, 99 of 100 calls", rounds=wait_ms(plain, 0.99), unit="ms"),
        ),
        remarks=("The client shares the cores with the servers.",),
    )
