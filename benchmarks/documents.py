"""Documents loaded, changed ten times, saved and given back, against a program that does so in two statements."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import sojourn
from benchmarks.commits import WARM_SECONDS
from benchmarks.figures import Figure, Pace, Row, count
from benchmarks.plain_documents import (
    KEYS,
    UPDATES,
    PlainDocuments,
    plain_documents_on_postgres,
    plain_documents_on_redis,
    plain_documents_on_sqlite,
)
from benchmarks.player import PLAYER, Player, earn
from benchmarks.rounds import Sample, alternated, by_tasks, processor_us, rates, ratios
from sojourn.documents import Documents
from tests.servers import DURABLE, Postgres, Redis

__all__ = ["measure"]

_TASKS: Final = 16
_PROMISE: Final = 0.8
_PROMISE_OF_MANY: Final = {"SQLite": 1.2, "PostgreSQL": 1.2, "Redis": 0.8}

_Samples = Mapping[str, Sequence[Sample]]


class _Players:
    """The documents of one store, and how often each of them was changed."""

    def __init__(self, documents: Documents[Player]) -> None:
        self._documents = documents
        self._earned: Counter[str] = Counter()

    async def run(self, tasks: int, seconds: float) -> Sample:
        """Load, change and unload from so many tasks, each with documents of its own."""
        return await by_tasks(tasks, seconds, KEYS, self._cycle)

    async def lost(self) -> int:
        """Return how many documents are not as their last update left them."""
        found = await asyncio.gather(*map(self._documents.peek, self._earned))
        return sum(
            player is None or player.coins != earned
            for player, earned in zip(found, self._earned.values(), strict=True)
        )

    async def _cycle(self, key: str) -> None:
        async with self._documents.open(key) as player:
            for _ in range(UPDATES):
                await player.update(earn)
        self._earned[key] += UPDATES


@asynccontextmanager
async def _players_on(url: str) -> AsyncGenerator[_Players]:
    async with sojourn.open(url) as store:
        yield _Players(Documents(store, "players", schema=Player, template=PLAYER))


async def measure(pace: Pace) -> Row:
    """Measure on SQLite, then on servers of their own, which force each commit to the disk."""
    figures: list[Figure] = []
    updates = await _updates(pace)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        plain = plain_documents_on_sqlite(path / "plain.db")
        figures += await _measured("SQLite", pace, f"sqlite:///{path / 'documents.db'}", plain)
    with Postgres() as postgres:
        async with plain_documents_on_postgres(postgres.url()) as plain:
            figures += await _measured("PostgreSQL", pace, postgres.url(), plain)
    with Redis("valkey", **DURABLE) as redis:
        async with plain_documents_on_redis(redis.url()) as plain:
            figures += await _measured("Redis", pace, redis.url(), plain)
    return Row(
        name="documents",
        title=f"Documents of 1 KB: load, {UPDATES} updates, save and give back, against a program with the lease in "
        "the record, which does so in two statements; Redis with `appendfsync always`",
        figures=(
            *figures,
            Figure(what=f"{UPDATES} updates in memory alone: processor time", rounds=updates, unit="us"),
        ),
        remarks=(
            "The plain program checks no update, and keeps no history, no log of changes and no receipts.",
            "It renews no lease, and watches for nobody who wants the document.",
            "On SQLite it is one loop, by sqlite3; else it has 16 connections, by psycopg or by redis-py and hiredis.",
            "The servers share the cores with both programs.",
        ),
    )


async def _updates(pace: Pace) -> tuple[float, ...]:
    """Return the microseconds of processor time that the updates of one cycle take, round by round."""
    async with sojourn.open("memory://") as store:
        players = Documents(store, "players", schema=Player, template=PLAYER)
        async with players.open(KEYS[0]) as player:
            samples = [
                await by_tasks(1, pace.seconds, KEYS[:1], lambda _: player.update(earn)) for _ in range(pace.rounds)
            ]
    return tuple(UPDATES * each for each in processor_us(samples))


async def _measured(engine: str, pace: Pace, url: str, plain: PlainDocuments) -> Iterator[Figure]:
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(_players_on(url))
        for run in (plain.run, ours.run):
            await run(_TASKS, min(pace.seconds, WARM_SECONDS))
        samples = await alternated(
            {
                "plain": partial(plain.run, _TASKS, pace.seconds),
                "many": partial(ours.run, _TASKS, pace.seconds),
                "plain one": partial(plain.run, 1, pace.seconds),
                "one": partial(ours.run, 1, pace.seconds),
            },
            pace.rounds,
        )
        lost = await ours.lost()
    return _figures(engine, samples, lost)


def _figures(engine: str, samples: _Samples, lost: int) -> Iterator[Figure]:
    many, plain, one, plain_one = (samples[name] for name in ("many", "plain", "one", "plain one"))
    yield Figure(what=f"{engine}: 1 task", rounds=ratios(one, plain_one), promise=_PROMISE)
    yield Figure(what=f"{engine}: 16 tasks", rounds=ratios(many, plain), promise=_PROMISE_OF_MANY[engine])
    yield count(f"{engine}: documents not as their last update left them", (lost,))
    for name, of in (("1 task", one), ("16 tasks", many)):
        yield Figure(what=f"{engine}: {name}: our processor time of one cycle", rounds=processor_us(of), unit="us")
    for name, of in (("1 task", plain_one), ("16 tasks", plain)):
        yield Figure(what=f"{engine}: {name}: that of the plain program", rounds=processor_us(of), unit="us")
    for name, of in (("1 task", one), ("16 tasks", many)):
        yield Figure(what=f"{engine}: {name}", rounds=rates(of), unit="/s")
    for name, of in (("1 task", plain_one), ("16 tasks", plain)):
        yield Figure(what=f"{engine}: {name}, the plain program", rounds=rates(of), unit="/s")
