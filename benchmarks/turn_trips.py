"""How often a turn of a session waits for an answer over the wire, and what it says there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final

import sojourn
from benchmarks.conversation import turn_of
from benchmarks.figures import Figure, Pace, Row, count
from benchmarks.stores import SERVERS, store_on
from benchmarks.wire import HELD, Traffic, Wire
from sojourn.snapshots import Snapshots

__all__ = ["measure"]

_TURNS: Final = 400
_WARMING: Final = 8
"""Turns after which statements are prepared and scripts are known."""

_SESSION: Final = "conversation"
_BEGINNING: Final = "beginning a turn"
_ENDING: Final = "ending it, with 1 KB that it recorded"
_NEWEST: Final = "the newest state"
_FIRST: Final = "for the first time: "
_AT_MOST: Final = {_BEGINNING: 1, _ENDING: 1, _NEWEST: 1, _FIRST + _BEGINNING: 2, _FIRST + _NEWEST: 1}


async def measure(pace: Pace) -> Row:
    """Take turns of one session, on each engine, with nothing else on the wire."""
    turns = min(_TURNS, pace.sessions)
    figures: list[Figure] = []
    for name, server in SERVERS.items():
        with store_on(server) as url:
            async with Wire(url) as wire:
                calls = _Calls(wire)
                await calls.run(turns, pace.rounds)
                await calls.run_for_the_first_time(pace.rounds)
        figures += _figures(name, calls.counted)
    return Row(
        name="turn-trips",
        title=f"Round trips that a turn waits for in a session of {turns:,} turns, counted by a proxy between the "
        "engine and its server",
        figures=tuple(figures),
        remarks=("For the first time is in a program that has seen other sessions, but nothing of this one.",),
    )


def _figures(name: str, counted: dict[str, list[Traffic]]) -> Iterator[Figure]:
    for what, most in _AT_MOST.items():
        yield count(f"{name}: {what}", tuple(one.trips for one in counted[what]), most=most)
    for what in (_BEGINNING, _ENDING, _FIRST + _BEGINNING):
        sent, received = (tuple(one[way] for one in counted[what]) for way in (1, 2))
        yield Figure(what=f"{name}: {what}: sent", rounds=sent, unit="bytes", at_most=True)
        yield Figure(what=f"{name}: {what}: answered", rounds=received, unit="bytes", at_most=True)


class _Calls:
    """What callers do, each time counted from the call to its return."""

    def __init__(self, wire: Wire) -> None:
        self.counted: defaultdict[str, list[Traffic]] = defaultdict(list)
        self._wire = wire

    async def run(self, turns: int, rounds: int) -> None:
        """Take so many turns, then some that are counted, one each round."""
        async with self._snapshots() as snapshots:
            self._wire.held = 0
            await _take(snapshots, _SESSION, turns)
            self._wire.held = HELD
            for _ in range(rounds):
                await self._take_counted(snapshots, "")
                async with self._counting(_NEWEST):
                    await snapshots.get_snapshot(session_id=_SESSION)

    async def run_for_the_first_time(self, rounds: int) -> None:
        """Do so in a program of its own each round."""
        for _ in range(rounds):
            async with self._snapshots() as snapshots:
                await self._take_counted(snapshots, _FIRST)
            async with self._snapshots() as snapshots, self._counting(_FIRST + _NEWEST):
                await snapshots.get_snapshot(session_id=_SESSION)

    async def _take_counted(self, snapshots: Snapshots[dict[str, Any]], when: str) -> None:
        taking = snapshots.turn(_SESSION)
        async with self._counting(when + _BEGINNING):
            turn = await taking.__aenter__()
        turn.messages.extend(turn_of(0))
        async with self._counting(when + _ENDING):
            await taking.__aexit__(None, None, None)

    @asynccontextmanager
    async def _snapshots(self) -> AsyncGenerator[Snapshots[dict[str, Any]]]:
        """Open a store through the wire that has done everything, but not with the session that is counted."""
        self._wire.held = 0
        async with sojourn.open(self._wire.url) as store:
            snapshots: Snapshots[dict[str, Any]] = Snapshots(store)
            await _take(snapshots, "another", _WARMING)
            self._wire.held = HELD
            yield snapshots

    @asynccontextmanager
    async def _counting(self, what: str) -> AsyncGenerator[None]:
        await self._wire.quiet()
        before = self._wire.traffic
        yield
        self.counted[what].append(self._wire.traffic.since(before))


async def _take(snapshots: Snapshots[dict[str, Any]], session: str, turns: int) -> None:
    for number in range(turns):
        async with snapshots.turn(session) as turn:
            turn.messages.extend(turn_of(number))
