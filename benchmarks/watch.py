"""How soon one process learns of what another has committed."""

from __future__ import annotations

import asyncio
import itertools
import random
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import Final

import sojourn
from benchmarks.figures import Figure, Pace, Row, count
from benchmarks.partner import Partner, partner, say, told
from benchmarks.rounds import Sample, alternated, wait_ms
from benchmarks.stores import SERVERS, store_on, store_on_sqlite
from sojourn.kernel import Changed, Key, Put, Span, Store, Subscription, Transaction, ids

__all__ = ["measure"]

_SPAN: Final = Span("bench", "watched")
_A_SECOND: Final = 100
_WARMING: Final = 5
_PATIENCE: Final = 30.0
_PAUSE_MAX: Final = 0.02
"""Seconds between two commits at most. They are drawn, so that the watcher is met at any point of what it does."""


async def measure(pace: Pace) -> Row:
    """Commit one change after another on each engine in turn, while another process watches."""
    times = max(1, round(pace.seconds * _A_SECOND))
    async with AsyncExitStack() as stack:
        urls = {"SQLite": stack.enter_context(store_on_sqlite())}
        urls |= {name: stack.enter_context(store_on(server)) for name, server in SERVERS.items()}
        variants: dict[str, Callable[[], Awaitable[Sample]]] = {}
        for name, url in urls.items():
            store = await stack.enter_async_context(sojourn.open(url))
            watcher = await stack.enter_async_context(partner("benchmarks.watch", url))
            numbers = itertools.count()
            await _change(store, watcher, numbers, _WARMING)
            variants[name] = partial(_change, store, watcher, numbers, times)
        samples = await alternated(variants, pace.rounds)
    return Row(
        name="watch",
        title="From the call that commits a change to its arrival in another process that watches",
        figures=(
            *(Figure(what=f"{name}: half", rounds=wait_ms(samples[name], 0.5), unit="ms") for name in urls),
            *(Figure(what=f"{name}: 99 of 100", rounds=wait_ms(samples[name], 0.99), unit="ms") for name in urls),
            count(
                "changes that did not arrive", tuple(float(times - one.done) for of in samples.values() for one in of)
            ),
        ),
        remarks=("The commit itself is included. Servers as in `hand-over`.",),
    )


async def _change(store: Store, watcher: Partner, numbers: Iterator[int], times: int) -> Sample:
    """Commit so many changes, a little while apart, and wait until all have arrived."""
    called: dict[str, float] = {}
    for number in itertools.islice(numbers, times):
        await asyncio.sleep(random.uniform(0, _PAUSE_MAX))  # noqa: S311  no secret
        item = f"{number:08}"
        called[item] = time.perf_counter()
        await store.commit(Transaction(ids.new(), writes=(Put(Key(_SPAN.space, _SPAN.partition, item), b""),)))
    waits: list[float] = []
    with suppress(TimeoutError):
        async with asyncio.timeout(_PATIENCE):
            while called:
                at, *items = (await watcher.hear()).split()
                waits += [float(at) - called.pop(item) for item in items if item in called]
    return Sample(len(waits), sum(waits), tuple(waits))


async def _main(url: str) -> None:
    async with sojourn.open(url) as store, store.watch(_SPAN) as changes:
        saying = asyncio.create_task(_say_all(changes))
        say("ready")
        await told()
        saying.cancel()


async def _say_all(changes: Subscription) -> None:
    async for change in changes:
        assert isinstance(change, Changed), "changes may be missing"
        say(" ".join((str(time.perf_counter()), *(key.item for key in change.keys))))


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
