"""Heartbeats and the first page of who is here: a million visits against a thousand, and against a plain upsert."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Final

import sojourn
from benchmarks.commits import WARM_SECONDS
from benchmarks.figures import Figure, Pace, Row, count
from benchmarks.filling import fill_visitors, visitor_named
from benchmarks.plain_visits import PlainVisits, plain_visits_on_postgres, plain_visits_on_sqlite
from benchmarks.rounds import Sample, alternated, by_tasks, rates, ratios
from sojourn import limits
from sojourn.kernel import Store
from sojourn.visits import Visits
from tests.servers import Postgres

__all__ = ["FEW", "MANY", "measure"]

MANY: Final = 100
FEW: Final = 0.1
"""How many there are, for each of the pace's sessions: a million and a thousand at full pace."""

_TASKS: Final = 16
_ENOUGH: Final = {"SQLite": 2.0, "PostgreSQL": 1.2}

_Samples = Mapping[str, Sequence[Sample]]


class _Beaten:
    """The visitors of one store, all of whom are here."""

    def __init__(self, store: Store, visitors: int) -> None:
        self.begun = 0
        self._store = store
        self._visitors = visitors
        self._coarse = Visits(store)
        # Each heartbeat writes: within a step of a minute most would not, the fewer visitors the more.
        self._fine = Visits(store, precision=limits.VISIT_PRECISION_MIN)

    async def fill(self, seconds: float) -> None:
        """Make the visitors, and do everything once."""
        await fill_visitors(self._store, self._visitors)
        for run in (self.run, self.within_a_step):
            await run(_TASKS, seconds)

    async def run(self, tasks: int, seconds: float) -> Sample:
        """Beat from so many tasks, each time for a visitor drawn by lot; every heartbeat writes."""
        return await by_tasks(tasks, seconds, range(tasks), partial(self._beat, self._fine, self._visitors))

    async def within_a_step(self, tasks: int, seconds: float) -> Sample:
        """Beat again and again for the same few visitors, so that hardly a heartbeat writes."""
        return await by_tasks(tasks, seconds, range(tasks), partial(self._beat, self._coarse, tasks))

    async def pages(self, seconds: float) -> Sample:
        """Read the first page of who is here."""

        async def page(_: int) -> None:
            await self._coarse.get_active_sessions()

        return await by_tasks(1, seconds, range(1), page)

    async def _beat(self, visits: Visits, among: int, _: int) -> None:
        visitor = await visits.track_session(visitor_named(random.randrange(among)))  # noqa: S311  no secret
        self.begun += visitor.visit.index != 1


async def measure(pace: Pace) -> Row:
    """Measure on SQLite, then on a PostgreSQL server of its own."""
    few = round(FEW * pace.sessions)
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        urls = tuple(f"sqlite:///{folder / file}" for file in ("many.db", "few.db"))
        plain = plain_visits_on_sqlite(folder / "plain.db", few)
        figures += await _measured("SQLite", pace, urls, plain)
    with Postgres() as server:
        urls = server.url("many"), server.url("few")
        async with plain_visits_on_postgres(server.url(), few) as plain:
            figures += await _measured("PostgreSQL", pace, urls, plain)
    return Row(
        name="visits",
        title=f"Heartbeats that write, and the first page of who is here: {MANY * pace.sessions:,} visitors who are "
        f"all here, against {few:,}; and {few:,} against a plain upsert into a table of as many, with an index",
        figures=tuple(figures),
        remarks=(
            "A heartbeat that writes moves three records: the visitor, the mark that it is here, and the visit's end.",
            "Whose last one is in the same step of a minute writes nothing: `within a step`.",
            "With many visitors each write meets pages of its own; with a thousand a group shares them.",
            "The plain program knows neither visits nor who has left. On SQLite it is one loop that commits each.",
        ),
    )


async def _measured(engine: str, pace: Pace, urls: Sequence[str], plain: PlainVisits) -> Iterator[Figure]:
    """Alternate all of it; each but the heartbeats of one task for half of the pace's seconds."""
    seconds = pace.seconds / 2
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(sojourn.open(url)) for url in urls]
        many, few = _Beaten(stores[0], MANY * pace.sessions), _Beaten(stores[1], round(FEW * pace.sessions))
        for beaten in (many, few):
            await beaten.fill(min(seconds, WARM_SECONDS))
        samples = await alternated(
            {
                "plain": partial(plain.run, _TASKS, seconds),
                "few": partial(few.run, _TASKS, seconds),
                "many": partial(many.run, _TASKS, seconds),
                "plain one": partial(plain.run, 1, seconds),
                "few one": partial(few.run, 1, seconds),
                "many one": partial(many.run, 1, seconds),
                "few pages": partial(few.pages, seconds),
                "many pages": partial(many.pages, seconds),
                "within": partial(many.within_a_step, _TASKS, seconds),
            },
            pace.rounds,
        )
    return _figures(engine, samples, many.begun + few.begun)


def _figures(engine: str, samples: _Samples, begun: int) -> Iterator[Figure]:
    against = f"{engine}: many visitors against few"
    upsert = f"{engine}: against a plain upsert"
    yield Figure(what=f"{against}, 1 task", rounds=ratios(samples["many one"], samples["few one"]), promise=0.7)
    yield Figure(what=f"{against}, 16 tasks", rounds=ratios(samples["many"], samples["few"]), promise=0.7)
    yield Figure(
        what=f"{against}, first page", rounds=ratios(samples["many pages"], samples["few pages"]), promise=1 / 3
    )
    yield Figure(what=f"{upsert}, 1 task", rounds=ratios(samples["few one"], samples["plain one"]), promise=0.6)
    yield Figure(what=f"{upsert}, 16 tasks", rounds=ratios(samples["few"], samples["plain"]), promise=_ENOUGH[engine])
    yield count(f"{engine}: visits that began though none was due", (begun,))
    yield Figure(what=f"{upsert}, within a step, 16 tasks", rounds=ratios(samples["within"], samples["plain"]))
    yield Figure(what=f"{engine}: within a step, 16 tasks", rounds=rates(samples["within"]), unit="/s")
    for name, what in (("few", "few visitors, 16 tasks"), ("few one", "few visitors, 1 task")):
        yield Figure(what=f"{engine}: {what}", rounds=rates(samples[name]), unit="/s")
    yield Figure(what=f"{engine}: the plain upsert, 16 tasks", rounds=rates(samples["plain"]), unit="/s")
    yield Figure(what=f"{engine}: first pages of 100, many visitors", rounds=rates(samples["many pages"]), unit="/s")
