"""How soon a lease or a document that is given back is with the one who waits for it, here or in another process."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Final, NamedTuple, TypeAlias

import sojourn
from benchmarks.figures import Figure, Pace, Row, count
from benchmarks.partner import Partner, partner, say, told
from benchmarks.player import PLAYER, Player, earn, player_named
from benchmarks.rounds import Sample, alternated, wait_ms
from benchmarks.stores import SERVERS, store_on, store_on_sqlite
from sojourn.documents import Documents
from sojourn.kernel import Key, Leases

__all__ = ["measure"]

_KEY: Final = Key("bench", "leased", "lease")
_PLAYER: Final = player_named(0)
_WAIT: Final = 60.0
_A_SECOND: Final = 10
_WARMING: Final = 3
_UNTIL_WAITING: Final = (0.03, 0.05)
"""Seconds after which whoever was told to wait for the lease does so. They are drawn, so that whoever looks for changes
now and then is met at any point of it."""

_ACROSS: Final = "across processes"
_LEASE: Final = "a lease"
_DOCUMENT: Final = "a document"


class _Taken(NamedTuple):
    """The moment at which somebody was given it, what is greater each time, and how to give it back."""

    at: float
    mark: int
    give_back: Callable[[], Awaitable[None]]


_Take: TypeAlias = Callable[[], Awaitable[_Taken]]


async def measure(pace: Pace) -> Row:
    """Hand a lease and a document over again and again, on each engine and to each kind of waiter in turn."""
    times = max(1, round(pace.seconds * _A_SECOND))
    late: dict[str, list[int]] = {_LEASE: [], _DOCUMENT: []}
    async with AsyncExitStack() as stack:
        urls = {"SQLite": stack.enter_context(store_on_sqlite())}
        urls |= {name: stack.enter_context(store_on(server)) for name, server in SERVERS.items()}
        variants: dict[str, Callable[[], Awaitable[Sample]]] = {}
        for name, url in urls.items():
            store = await stack.enter_async_context(sojourn.open(url))
            other = await stack.enter_async_context(partner("benchmarks.hand_over", url))
            leases = Leases(store)
            first, second = _takes(leases), _takes(leases)
            for what, of_what in late.items():
                waits = {"in one process": partial(_pass_on, second[what]), _ACROSS: partial(_told, other, what)}
                for where, wait in waits.items():
                    await _hand_over(first[what], wait, _WARMING, [])
                    variants[f"{name}, {where}: {what}"] = partial(_hand_over, first[what], wait, times, of_what)
        samples = await alternated(variants, pace.rounds)
    return Row(
        name="hand-over",
        title="From giving a lease back to its being granted to the one who waits for it, both commits included; and "
        "from unloading a document of 1 KB that was changed to its being loaded by the one who waits for it",
        figures=(
            *(_half(name, of_one) for name, of_one in samples.items()),
            count("leases whose token was no greater than the one before", (sum(late[_LEASE]),)),
            count("documents that came without their last change", (sum(late[_DOCUMENT]),)),
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
    promise, aim = (50, 25) if name.startswith(f"SQLite, {_ACROSS}") else (10, 5)
    return Figure(what=name, rounds=wait_ms(samples, 0.5), unit="ms", promise=promise, aim=aim, at_most=True)


async def _hand_over(
    take: _Take, wait: Callable[[], Awaitable[tuple[float, int]]], times: int, late: list[int]
) -> Sample:
    """Take it, have somebody wait for it, and give it back, so many times."""
    waits: list[float] = []
    for _ in range(times):
        taken = await take()
        waiting = asyncio.ensure_future(wait())
        await asyncio.sleep(random.uniform(*_UNTIL_WAITING))  # noqa: S311  no secret
        released = time.perf_counter()
        await taken.give_back()
        at, mark = await waiting
        waits.append(at - released)
        late.append(mark <= taken.mark)
    return Sample(times, sum(waits), tuple(waits))


def _takes(leases: Leases) -> dict[str, _Take]:
    """Return how to take each of them; each time the document is taken by a holder of its own."""
    players = Documents(leases.store, "players", schema=Player, template=PLAYER)

    async def take_lease() -> _Taken:
        lease = await leases.acquire(_KEY, holder="bench", wait=_WAIT)
        return _Taken(time.perf_counter(), lease.token, lease.release)

    async def take_document() -> _Taken:
        player = await players.load(_PLAYER, wait=_WAIT)
        at, mark = time.perf_counter(), player.value.coins
        await player.update(earn)
        return _Taken(at, mark, player.unload)

    return {_LEASE: take_lease, _DOCUMENT: take_document}


async def _pass_on(take: _Take) -> tuple[float, int]:
    """Wait for it, take it, and give it back."""
    taken = await take()
    await taken.give_back()
    return taken.at, taken.mark


async def _told(other: Partner, what: str) -> tuple[float, int]:
    """Let the other process wait for it and take it."""
    other.tell(what)
    at, mark = (await other.hear()).split()
    return float(at), int(mark)


async def _main(url: str) -> None:
    async with sojourn.open(url) as store:
        takes = _takes(Leases(store))
        say("ready")
        while what := await told():
            at, mark = await _pass_on(takes[what])
            say(f"{at} {mark}")


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
