"""Clicks on one dialog, on sixteen, and of sixteen tasks on one, against a program with the lease in the record."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

import sojourn
from benchmarks.bots import AIOGRAM, bot_on_redis
from benchmarks.commits import WARM_SECONDS
from benchmarks.figures import Figure, Pace, Row, count
from benchmarks.partner import Partner, partner, say, told
from benchmarks.plain_dialogs import (
    CLICKERS,
    PlainDialogs,
    clicked,
    plain_dialogs_on_postgres,
    plain_dialogs_on_redis,
    plain_dialogs_on_sqlite,
)
from benchmarks.rounds import Sample, alternated, by_tasks, processor_us, rates, ratios, wait_ms
from sojourn.dialogs import Context, Dialog, Dialogs, End, button
from sojourn.testing import dialogs as people
from tests.servers import DURABLE, Postgres, Redis

__all__ = ["measure"]

_CASES: Final = {"1 dialog": (1, 1), "16 dialogs": (CLICKERS, CLICKERS), "16 tasks on one": (CLICKERS, 1)}
"""From how many tasks, on how many dialogs."""

_CROWD: Final = "16 tasks on one"
_TWO: Final = "2 processes of 8 tasks on one"
_AIMS: Final = {"1 dialog": 0.7, "16 dialogs": 0.7, _CROWD: 1.0}
_AIM_IN_MEMORY: Final = 15_000
_LONGEST_MS: Final = 100
_SCREEN: Final = people.Screen()

_Samples: TypeAlias = Mapping[str, Sequence[Sample]]
_Runs: TypeAlias = dict[str, Callable[[], Awaitable[Sample]]]


class _Votes(msgspec.Struct):
    count: int = 0


class _Poll(Dialog[int]):
    """Counts who clicks, until it is closed."""

    data: _Votes
    ttl = None

    @button
    async def vote(self, _: Context) -> None:
        """Count a click."""
        self.data.count += 1

    @button
    async def close(self, ctx: Context) -> End:
        """Say how many there were."""
        return ctx.end(self.data.count)


class _Clicks:
    """The dialogs of one store, and how many clicks on each of them were acknowledged."""

    def __init__(self, dialogs: Dialogs, names: Sequence[str] = ()) -> None:
        dialogs.register("poll")(_Poll)
        self._dialogs = dialogs
        self.names = names
        self.refused = 0
        self._acknowledged: Counter[str] = Counter()

    async def begin(self) -> None:
        """Start the dialogs that are clicked on."""
        started = [await self._dialogs.start(_Poll, people.command(platform=_SCREEN)) for _ in range(CLICKERS)]
        self.names = tuple(handle.id for handle in started)

    async def run(self, tasks: int, dialogs: int, seconds: float) -> Sample:
        """Click from so many tasks, on the first so many dialogs."""
        return await by_tasks(tasks, seconds, clicked(self.names, tasks, dialogs), self._click)

    async def run_with(self, other: Partner, seconds: float) -> Sample:
        """Click on the first dialog from two processes, half of the tasks in each."""
        name, tasks = self.names[0], CLICKERS // 2
        other.tell(f"{name} {tasks} {seconds}")
        here = await self.run(tasks, 1, seconds)
        there = msgspec.json.decode(await other.hear(), type=_There)
        self.refused += there.refused
        self._acknowledged[name] += there.done - there.refused
        done = here.done + there.done
        return Sample(done, max(here.seconds, there.seconds), (*here.waits, there.longest))

    async def lost(self) -> int:
        """Close all dialogs, and return how many clicks were refused, lost or counted twice."""
        return self.refused + sum([abs(await self._votes(name) - self._acknowledged[name]) for name in self.names])

    async def _click(self, name: str) -> None:
        said = await self._dialogs.dispatch(people.button(name, _Poll.vote, platform=_SCREEN))
        if said.result == "kept":
            self._acknowledged[name] += 1
        else:
            self.refused += 1

    async def _votes(self, name: str) -> int:
        said = await self._dialogs.dispatch(people.button(name, _Poll.close, platform=_SCREEN))
        assert said.ended is not None, said
        assert isinstance(said.ended.result, int)
        return said.ended.result


class _There(msgspec.Struct):
    """What the other process says of its clicks."""

    done: int
    refused: int
    seconds: float
    longest: float


@asynccontextmanager
async def _clicks_on(url: str) -> AsyncGenerator[_Clicks]:
    async with sojourn.open(url) as store, Dialogs(store) as dialogs:
        clicks = _Clicks(dialogs)
        await clicks.begin()
        yield clicks


async def measure(pace: Pace) -> Row:
    """Measure in memory, on SQLite, then on servers of their own, which force each commit to the disk."""
    figures = [*await _in_memory(pace)]
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        plain = plain_dialogs_on_sqlite(path / "plain.db")
        figures += await _measured("SQLite", pace, f"sqlite:///{path / 'dialogs.db'}", plain, {})
    with Postgres() as postgres:
        async with plain_dialogs_on_postgres(postgres.url()) as plain:
            figures += await _measured("PostgreSQL", pace, postgres.url(), plain, {})
    with Redis("valkey", **DURABLE) as redis:
        async with plain_dialogs_on_redis(redis.url()) as plain, bot_on_redis(redis.url()) as bot:
            peer: _Runs = {AIOGRAM: partial(bot.run, CLICKERS, pace.seconds)}
            figures += await _measured("Redis", pace, redis.url(), plain, peer)
    return Row(
        name="dialogs",
        title="Clicks on dialogs, of which each counts up a number in what the dialog holds, against a program that "
        "does so in two statements, with the lease in the record; Redis with `appendfsync always`",
        figures=tuple(figures),
        remarks=(
            "The plain program knows no deadlines, and no delivery that comes twice; it keeps no log and no receipts.",
            "Where somebody else has the dialog it tries again 1 to 5 ms later.",
            "On SQLite it is one loop, by sqlite3; else it has 16 connections, by psycopg or by redis-py and hiredis.",
            "The bot's framework takes a lock, reads state and data, writes the data and gives the lock back.",
            "The servers share the cores with all of them.",
        ),
    )


async def _in_memory(pace: Pace) -> Iterator[Figure]:
    async with _clicks_on("memory://") as clicks:
        await clicks.run(CLICKERS, CLICKERS, min(pace.seconds, WARM_SECONDS))
        variants = {name: partial(clicks.run, *case, pace.seconds) for name, case in _CASES.items()}
        samples = await alternated(variants, pace.rounds)
        lost = await clicks.lost()
    return _figures_in_memory(samples, lost)


def _figures_in_memory(samples: _Samples, lost: int) -> Iterator[Figure]:
    for case in _CASES:
        yield Figure(what=f"in memory: {case}", rounds=rates(samples[case]), unit="/s", aim=_AIM_IN_MEMORY)
    for case in _CASES:
        what = f"in memory: {case}: processor time of one"
        yield Figure(what=what, rounds=processor_us(samples[case]), unit="us")
    yield _longest(f"in memory: {_CROWD}", samples[_CROWD], aim=_LONGEST_MS)
    yield count("in memory: clicks refused, lost or counted twice", (lost,))


async def _measured(engine: str, pace: Pace, url: str, plain: PlainDialogs, peers: _Runs) -> Iterator[Figure]:
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(_clicks_on(url))
        other = await stack.enter_async_context(partner("benchmarks.dialogs", url))
        for run in (plain.run, ours.run):
            await run(CLICKERS, CLICKERS, min(pace.seconds, WARM_SECONDS))
        variants: _Runs = {}
        for name, case in _CASES.items():
            variants[_plain(name)] = partial(plain.run, *case, pace.seconds)
            variants[name] = partial(ours.run, *case, pace.seconds)
        variants[_TWO] = partial(ours.run_with, other, pace.seconds)
        samples = await alternated(variants | peers, pace.rounds)
        lost = await ours.lost()
    return _figures(engine, samples, lost, peers)


def _figures(engine: str, samples: _Samples, lost: int, peers: Mapping[str, object]) -> Iterator[Figure]:
    for case in _CASES:
        against = ratios(samples[case], samples[_plain(case)])
        yield Figure(what=f"{engine}: {case}", rounds=against, aim=_AIMS[case])
    for peer in peers:
        yield Figure(what=f"{engine}: {_CROWD}: {peer}", rounds=ratios(samples[peer], samples[_plain(_CROWD)]))
    for case in (_CROWD, _TWO):
        yield _longest(f"{engine}: {case}", samples[case], aim=_LONGEST_MS)
    for case in (_plain(_CROWD), *peers):
        yield _longest(f"{engine}: {_CROWD}: {case}" if case in peers else f"{engine}: {case}", samples[case])
    yield count(f"{engine}: clicks refused, lost or counted twice", (lost,))
    for case in _CASES:
        what = f"{engine}: {case}: processor time of one"
        yield Figure(what=what, rounds=processor_us(samples[case]), unit="us")
    for case in samples:
        yield Figure(what=f"{engine}: {case}", rounds=rates(samples[case]), unit="/s")


def _plain(case: str) -> str:
    return f"{case}, the plain program"


def _longest(of: str, samples: Sequence[Sample], aim: float | None = None) -> Figure:
    return Figure(what=f"{of}: longest wait", rounds=wait_ms(samples, 1), unit="ms", aim=aim, at_most=True)


async def _main(url: str) -> None:
    async with sojourn.open(url) as store, Dialogs(store) as dialogs:
        say("ready")
        clicks = _Clicks(dialogs)
        while asked := await told():
            name, tasks, seconds = asked.split()
            clicks.names, clicks.refused = (name,), 0
            found = await clicks.run(int(tasks), 1, float(seconds))
            there = _There(found.done, clicks.refused, found.seconds, max(found.waits))
            say(msgspec.json.encode(there).decode())


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
