"""How soon a lease that is given back is with the one who waits for it, in the same process and in another."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Final, NamedTuple

import sojourn
from benchmarks.figures import Figure, Pace, Row, count
from benchmarks.partner import Partner, partner, say, told
from benchmarks.rounds import Sample, alternated, wait_ms
from benchmarks.stores import SERVERS, store_on, store_on_sqlite
from sojourn.kernel import Key, Leases

__all__ = ["measure"]

_KEY: Final = Key("bench", "leased", "lease")
_WAIT: Final = 60.0
_A_SECOND: Final = 10
_WARMING: Final = 3
_UNTIL_WAITING: Final = (0.03, 0.05)
"""Seconds after which whoever was told to wait for the lease does so. They are drawn, so that whoever looks for changes
now and then is met at any point of it."""

_ACROSS_ON_SQLITE: Final = "SQLite, across processes"


class _Taken(NamedTuple):
    """The moment at which a waiter was granted the lease, and its token."""

    at: float
    token: int


async def measure(pace: Pace) -> Row:
    """Hand a lease over again and again, on each engine and to each kind of waiter in turn."""
    times = max(1, round(pace.seconds * _A_SECOND))
    late: list[int] = []
    async with AsyncExitStack() as stack:
        urls = {"SQLite": stack.enter_context(store_on_sqlite())}
        urls |= {name: stack.enter_context(store_on(server)) for name, server in SERVERS.items()}
        variants: dict[str, Callable[[], Awaitable[Sample]]] = {}
        for name, url in urls.items():
            leases = Leases(await stack.enter_async_context(sojourn.open(url)))
            other = await stack.enter_async_context(partner("benchmarks.hand_over", url))
            for where, wait in ("in one process", partial(_take, leases)), ("across processes", partial(_told, other)):
                await _hand_over(leases, wait, _WARMING, [])
                variants[f"{name}, {where}"] = partial(_hand_over, leases, wait, times, late)
        samples = await alternated(variants, pace.rounds)
    return Row(
        name="hand-over",
        title="From giving a lease back to its being granted to the one who waits for it, both commits included",
        figures=(
            *(_half(name, of_one) for name, of_one in samples.items()),
            count("grants whose token was no greater than the one before", (sum(late),)),
            *(
                Figure(what=f"{name}: longest", rounds=wait_ms(of_one, 1), unit="ms", at_most=True)
                for name, of_one in samples.items()
            ),
        ),
        remarks=(
            "PostgreSQL 18 with fsync, Valkey with `appendfsync always`. Half of the waits are as long at most.",
            "On SQLite another process finds a change by looking for it every 10 ms.",
        ),
    )


def _half(name: str, samples: tuple[Sample, ...]) -> Figure:
    promise, aim = (50, 25) if name == _ACROSS_ON_SQLITE else (10, 5)
    return Figure(what=name, rounds=wait_ms(samples, 0.5), unit="ms", promise=promise, aim=aim, at_most=True)


async def _hand_over(leases: Leases, wait: Callable[[], Awaitable[_Taken]], times: int, late: list[int]) -> Sample:
    """Take the lease, have somebody wait for it, and give it back, so many times."""
    waits: list[float] = []
    for _ in range(times):
        lease = await leases.acquire(_KEY, holder="the first", wait=_WAIT)
        waiting = asyncio.ensure_future(wait())
        await asyncio.sleep(random.uniform(*_UNTIL_WAITING))  # noqa: S311  no secret
        released = time.perf_counter()
        await lease.release()
        taken = await waiting
        waits.append(taken.at - released)
        late.append(taken.token <= lease.token)
    return Sample(times, sum(waits), tuple(waits))


async def _take(leases: Leases) -> _Taken:
    """Wait for the lease, take it, and give it back."""
    lease = await leases.acquire(_KEY, holder="the waiter", wait=_WAIT)
    taken = _Taken(time.perf_counter(), lease.token)
    await lease.release()
    return taken


async def _told(other: Partner) -> _Taken:
    """Let the other process wait for the lease and take it."""
    other.tell("take")
    at, token = (await other.hear()).split()
    return _Taken(float(at), int(token))


async def _main(url: str) -> None:
    async with sojourn.open(url) as store:
        leases = Leases(store)
        say("ready")
        while await told():
            taken = await _take(leases)
            say(f"{taken.at} {taken.token}")


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
