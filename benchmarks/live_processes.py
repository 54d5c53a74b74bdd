"""A number that one server changes, and another server's viewers see."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Final

from benchmarks.figures import Figure, Pace, Row, count
from benchmarks.live_app import MODULE
from benchmarks.live_viewers import Asked, Seen, Viewers, viewers
from benchmarks.rounds import Sample, alternated, ratios, wait_ms
from benchmarks.servers import SOJOURN, serving
from benchmarks.stores import SERVERS, store_on, store_on_sqlite

__all__ = ["measure"]

_WATCHING: Final = 10
_CHANGES_A_SECOND: Final = 50
_WARMING: Final = 5


class _Way:
    """Those who watch one server of a store, and change it through the same, or through another."""

    def __init__(self, audience: Viewers, changes: int) -> None:
        self.seen: list[Seen] = []
        self._audience, self._changes = audience, changes

    async def sample(self) -> Sample:
        """Let one round pass."""
        self.seen.append(await self._audience.see(self._changes))
        return self.seen[-1].sample

    def missed(self) -> tuple[float, ...]:
        """How many of those who watch were not told of a change, in each round."""
        return tuple(float(self._changes * _WATCHING - len(seen.sample.waits)) for seen in self.seen)


async def measure(pace: Pace) -> Row:
    """Change numbers one after another on each engine, by the server that is watched and by another, in turn."""
    changes = max(2, round(pace.seconds * _CHANGES_A_SECOND))
    ways: dict[str, _Way] = {}
    async with AsyncExitStack() as stack:
        urls = {"SQLite": stack.enter_context(store_on_sqlite())}
        urls |= {name: stack.enter_context(store_on(server)) for name, server in SERVERS.items()}
        for name, url in urls.items():
            here = await stack.enter_async_context(serving(SOJOURN, url, module=MODULE))
            there = await stack.enter_async_context(serving(SOJOURN, url, module=MODULE))
            for way, called in ((name, there), (_alone(name), here)):
                audience = await stack.enter_async_context(viewers(Asked(here, called, _WATCHING, place=way)))
                await audience.see(_WARMING)
                ways[way] = _Way(audience, changes)
        samples = await alternated({name: way.sample for name, way in ways.items()}, pace.rounds)
    return Row(
        name="live-processes",
        title=f"A commit of one server, and its arrival at {_WATCHING} who watch another server of the same store",
        figures=(
            count("those not told of a change", tuple(missed for way in ways.values() for missed in way.missed())),
            *(Figure(what=f"{name}: half", rounds=wait_ms(samples[name], 0.5), unit="ms") for name in urls),
            *(Figure(what=f"{name}: the longest", rounds=wait_ms(samples[name], 1), unit="ms") for name in urls),
            *(
                Figure(
                    what=f"{name}: as a rate, against one server", rounds=ratios(samples[name], samples[_alone(name)])
                )
                for name in urls
            ),
            *(
                Figure(what=f"{name}: one server, half", rounds=wait_ms(samples[_alone(name)], 0.5), unit="ms")
                for name in urls
            ),
        ),
        remarks=("The call of the mutation and its commit are included. Servers of databases as in `hand-over`.",),
    )


def _alone(name: str) -> str:
    return f"{name}, one server"
