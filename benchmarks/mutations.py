"""A mutation over HTTP at 32 connections, against a bare Starlette route that commits each write."""

from __future__ import annotations

import tempfile
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from benchmarks.disk import USUAL, NoSlowDiskError, slow_disk
from benchmarks.figures import Figure, Pace, Row, count
from benchmarks.load import Asked, load
from benchmarks.rounds import Sample, alternated, rates, ratios, wait_ms
from benchmarks.servers import BARE, SOJOURN, serving

__all__ = ["measure"]

_CONNECTIONS = 32
_WARM_SECONDS = 0.5


async def measure(pace: Pace) -> Row:
    """Alternate the two servers, both running all the while, under the same client; and so on a slower disk."""
    lost: list[int] = []

    async def sample(port: int, *, seconds: float = pace.seconds, shared: bool = False, ids: bool = True) -> Sample:
        said = await load(Asked(port, _CONNECTIONS, seconds, shared, ids))
        lost.append(said.lost)
        return said.sample

    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        bare = await stack.enter_async_context(serving(BARE, folder / "bare.db"))
        ours = await stack.enter_async_context(serving(SOJOURN, folder / "sojourn.db"))
        variants = {
            "bare": partial(sample, bare),
            "ours": partial(sample, ours),
            "without ids": partial(sample, ours, ids=False),
            "one session": partial(sample, ours, shared=True, ids=False),
        }
        ports = [bare, ours]
        try:
            usual = (await stack.enter_async_context(slow_disk()))(USUAL)
        except NoSlowDiskError:
            pass
        else:
            slow_bare = await stack.enter_async_context(serving(BARE, folder / "slow-bare.db", usual))
            slow_ours = await stack.enter_async_context(serving(SOJOURN, folder / "slow-sojourn.db", usual))
            variants |= {"slow bare": partial(sample, slow_bare), "slow ours": partial(sample, slow_ours)}
            ports += [slow_bare, slow_ours]
        for port in ports:
            await sample(port, seconds=min(pace.seconds, _WARM_SECONDS))
        samples = await alternated(variants, pace.rounds)
    return _row(samples, lost)


def _row(samples: dict[str, tuple[Sample, ...]], lost: list[int]) -> Row:
    plain, ours = samples["bare"], samples["ours"]
    figures = [
        Figure(what="with request ids, as browsers send them", rounds=ratios(ours, plain), promise=1, aim=1.5),
        Figure(what="without request ids", rounds=ratios(samples["without ids"], plain), promise=1, aim=1.5),
        count("calls lost or doubled", tuple(lost)),
    ]
    if "slow bare" in samples:
        slower = ratios(samples["slow ours"], samples["slow bare"])
        figures.append(Figure(what="with request ids, on a disk 0.1 ms slower", rounds=slower))
    figures += [
        Figure(what="all connections on one session, without ids", rounds=ratios(samples["one session"], plain)),
        Figure(what="sojourn, with request ids", rounds=rates(ours), unit="/s"),
        Figure(what="the bare route", rounds=rates(plain), unit="/s"),
        Figure(what="sojourn, 99 of 100 calls", rounds=wait_ms(ours, 0.99), unit="ms"),
        Figure(what="the bare route, 99 of 100 calls", rounds=wait_ms(plain, 0.99), unit="ms"),
    ]
    return Row(
        name="http",
        title="A mutation over HTTP at 32 connections, each its own session, against a bare Starlette route that "
        "commits each write; the same uvicorn, one process each",
        figures=tuple(figures),
        remarks=(
            "The client shares the cores with the servers.",
            "The bare route knows no sessions, checks nothing, and does twice what comes twice.",
            "The promise was made on a disk of 0.09 ms. On a faster one the processor decides.",
            "A call is two reads and a commit: the session with its token, the value that changes, both as guards.",
            "Taking the session as it was just read saved a third read; what is left is spread thin.",
        ),
    )
