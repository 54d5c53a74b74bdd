"""Commits and listings on a Redis cluster, against the same engine on one server."""

from __future__ import annotations

import itertools
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial

from benchmarks.commits import MANY, WARM_SECONDS
from benchmarks.figures import Figure, Pace, Row, count
from benchmarks.kernel import SPACE, Writes, writes_on
from benchmarks.rounds import Sample, alternated, rates, ratios, wait_ms
from benchmarks.stores import store_on
from sojourn import limits
from sojourn.kernel import RankSpan
from tests.servers import Redis

__all__ = ["measure"]

_PAGES_SHARE = 0.3
"""Part of a round's seconds that listing takes."""


async def measure(pace: Pace) -> Row:
    """Alternate the two, with 128 tasks over 1,024 partitions; in between, list pages by rank."""
    async with AsyncExitStack() as stack:
        server = stack.enter_context(Redis())
        single = await stack.enter_async_context(writes_on(server.url()))
        cluster = await stack.enter_async_context(writes_on(stack.enter_context(store_on("redis-cluster"))))
        for writes in (single, cluster):
            await writes.run(MANY, min(pace.seconds, WARM_SECONDS))
        variants: dict[str, Callable[[], Awaitable[Sample]]] = {
            "single": partial(single.run, MANY, pace.seconds),
            "cluster": partial(cluster.run, MANY, pace.seconds),
            "single pages": partial(_pages, single, pace.seconds * _PAGES_SHARE),
            "cluster pages": partial(_pages, cluster, pace.seconds * _PAGES_SHARE),
        }
        samples = await alternated(variants, pace.rounds)
        lost = (await single.lost(), await cluster.lost())
    return Row(
        name="cluster",
        title=f"Valkey {server.version} as a cluster of three masters and three replicas, {limits.REDIS_BUCKETS} "
        "buckets, against the same engine on one server, both in memory",
        figures=(
            Figure(what="commits of 128 tasks", rounds=ratios(samples["cluster"], samples["single"])),
            count("acknowledged writes not found", lost),
            Figure(what="commits of 128 tasks", rounds=rates(samples["cluster"]), unit="/s"),
            Figure(what="commits of 128 tasks, one server", rounds=rates(samples["single"]), unit="/s"),
            Figure(
                what="commits of 128 tasks: longest wait",
                rounds=wait_ms(samples["cluster"], 1),
                unit="ms",
                at_most=True,
            ),
            Figure(
                what="a page of 100 by rank over all buckets: half",
                rounds=wait_ms(samples["cluster pages"], 0.5),
                unit="ms",
            ),
            Figure(
                what="a page of 100 by rank, one server: half", rounds=wait_ms(samples["single pages"], 0.5), unit="ms"
            ),
        ),
        remarks=(
            "Seven servers and this program share the cores of one machine: the ratio says what a cluster costs.",
            "What it gains, it gains on machines of its own.",
        ),
    )


async def _pages(writes: Writes, seconds: float) -> Sample:
    """List the space page by page, over and over."""
    waits: list[float] = []
    start = time.perf_counter()
    after = None
    for _ in itertools.count():
        before = time.perf_counter()
        if waits and before >= start + seconds:
            break
        page = await writes.store.rank(RankSpan(SPACE, after=after))
        after = page.cursor
        waits.append(time.perf_counter() - before)
    return Sample(len(waits), time.perf_counter() - start, tuple(waits))
