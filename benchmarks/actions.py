"""An action of a visitor with a million of them, against one with a thousand."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Final

import sojourn
from benchmarks.commits import WARM_SECONDS
from benchmarks.figures import Figure, Pace, Row, count
from benchmarks.filling import fill_actions, visitor_named
from benchmarks.resolve import CountingEngine
from benchmarks.rounds import Sample, alternated, by_tasks, rates, ratios
from benchmarks.visits import FEW, MANY
from sojourn.kernel import Answer, Store, Transaction
from sojourn.kernel.checks import transaction_bytes
from sojourn.visits import Visits
from tests.servers import Postgres

__all__ = ["measure"]

_NAME: Final = visitor_named(1)
_TASKS: Final = 16
_PROMISE: Final = 1 / 1.3
"""At most 1.3 times the time."""

_ACTION: Final = ("click", "buy", {"sku": "book", "price": 12})

_Samples = Mapping[str, Sequence[Sample]]


class _WeighingEngine(CountingEngine):
    """An engine that also notes how much it is given to write."""

    writes: int = 0
    size: int = 0

    async def commit(self, batch: Sequence[Transaction]) -> Sequence[Answer]:
        """Note it, and hand it on."""
        self.writes += sum(len(transaction.writes) for transaction in batch)
        self.size += sum(map(transaction_bytes, batch))
        return await super().commit(batch)


async def measure(pace: Pace) -> Row:
    """Measure on SQLite, then on a PostgreSQL server of its own."""
    many, few = MANY * pace.sessions, round(FEW * pace.sessions)
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        urls = tuple(f"sqlite:///{folder / file}" for file in ("many.db", "few.db"))
        figures += await _measured("SQLite", pace, urls)
    with Postgres() as server:
        figures += await _measured("PostgreSQL", pace, (server.url("many"), server.url("few")))
    return Row(
        name="actions",
        title=f"An action of a visitor with {many:,} actions, against one of a visitor with {few:,}, each alone in "
        "its store",
        figures=tuple(figures),
        remarks=("An action is one commit: its own record, and the three of the sign of life that it is.",),
    )


async def _measured(engine: str, pace: Pace, urls: Sequence[str]) -> Iterator[Figure]:
    counts = MANY * pace.sessions, round(FEW * pace.sessions)
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(sojourn.open(url)) for url in urls]
        for store, actions in zip(stores, counts, strict=True):
            await fill_actions(store, _NAME, actions)
            await _act(store, _TASKS, min(pace.seconds, WARM_SECONDS))
        many, few = (partial(_act, store) for store in stores)
        samples = await alternated(
            {
                "many one": partial(many, 1, pace.seconds),
                "few one": partial(few, 1, pace.seconds),
                "many": partial(many, _TASKS, pace.seconds),
                "few": partial(few, _TASKS, pace.seconds),
            },
            pace.rounds,
        )
    return _figures(engine, samples, [await _weigh(url) for url in urls])


async def _act(store: Store, tasks: int, seconds: float) -> Sample:
    visits = Visits(store)

    async def act(_: int) -> None:
        await visits.track_user_action(_NAME, *_ACTION)

    return await by_tasks(tasks, seconds, range(tasks), act)


async def _weigh(url: str) -> tuple[int, int]:
    """Return how many records an action writes, and how many bytes of keys and values these have."""
    engine = _WeighingEngine(sojourn.open(url).engine)
    async with Store(engine) as store:
        await Visits(store).track_user_action(_NAME, *_ACTION)
    return engine.writes, engine.size


def _figures(engine: str, samples: _Samples, weights: Sequence[tuple[int, int]]) -> Iterator[Figure]:
    (records, size), (fewer_records, fewer_size) = weights
    for name, tasks in ("many one", "1 task"), ("many", "16 tasks"):
        against = ratios(samples[name], samples[name.replace("many", "few")])
        yield Figure(what=f"{engine}: {tasks}", rounds=against, promise=_PROMISE)
    yield count(f"{engine}: records written more", (records - fewer_records,))
    yield count(f"{engine}: bytes written more", (size - fewer_size,))
    yield Figure(what=f"{engine}: records of an action", rounds=(records,), unit="")
    yield Figure(what=f"{engine}: bytes of keys and values of an action", rounds=(size,), unit="")
    yield Figure(what=f"{engine}: many actions, 1 task", rounds=rates(samples["many one"]), unit="/s")
    yield Figure(what=f"{engine}: many actions, 16 tasks", rounds=rates(samples["many"]), unit="/s")
