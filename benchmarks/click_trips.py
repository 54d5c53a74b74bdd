"""How often whoever clicks waits for an answer over the wire, and what is said there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

import msgspec

import sojourn
from benchmarks.figures import Figure, Pace, Row, count
from benchmarks.stores import SERVERS, store_on
from benchmarks.wire import HELD, Traffic, Wire
from sojourn.dialogs import Context, Dialog, Dialogs, button
from sojourn.testing import ManualClock
from sojourn.testing import dialogs as people

__all__ = ["measure"]

_WARMING: Final = 8
"""Rounds after which statements are prepared and scripts are known."""

_STARTING: Final = "starting a dialog that says something"
_STEP: Final = "a step"
_SAYING: Final = "a step that says something, until it is said"
_AGAIN: Final = "a delivery that was handled before"
_ENDING: Final = "ending it from outside"
_WAITING: Final = "waiting for one that has ended"
_LOOKING: Final = "looking at it"
_AT_MOST: Final = {_STARTING: 2, _STEP: 2, _SAYING: 3, _AGAIN: 1, _ENDING: 2, _WAITING: 2, _LOOKING: 1}


class _Call(NamedTuple):
    """What went over the wire until somebody had an answer, and how many trips of it were one after another."""

    in_turn: int
    traffic: Traffic


class _Votes(msgspec.Struct):
    count: int = 0


class _Poll(Dialog[int]):
    data: _Votes

    async def start(self, ctx: Context) -> None:
        """Ask."""
        await ctx.reply("Do you agree?", ctx.button("Yes", self.vote), ctx.button("Say how many do", self.say))

    @button
    async def vote(self, _: Context) -> None:
        """Count a click."""
        self.data.count += 1

    @button
    async def say(self, ctx: Context) -> None:
        """Count a click, and say how many there were."""
        self.data.count += 1
        await ctx.notify(f"{self.data.count} agree.")


async def measure(pace: Pace) -> Row:
    """Do each of them once a round, on each engine, with nothing else on the wire."""
    figures: list[Figure] = []
    for name, server in SERVERS.items():
        with store_on(server) as url:
            counted = await _counted(url, pace.rounds)
        figures += _figures(name, counted)
    return Row(
        name="click-trips",
        title="Round trips that a person waits for who clicks, counted by a proxy between the engine and its server",
        figures=tuple(figures),
        remarks=(
            "What a step says is removed from the store once it is said; then the click is answered.",
            "Counted are trips one after another: PostgreSQL's word to other processes travels beside the next commit.",
            "What is looked after in the background does not run meanwhile: time stands still.",
        ),
    )


async def _counted(url: str, rounds: int) -> dict[str, list[_Call]]:
    # Time stands still, so that nothing falls due in the background.
    async with (
        Wire(url) as wire,
        sojourn.open(wire.url, clock=ManualClock()) as store,
        Dialogs(store) as dialogs,
    ):
        dialogs.register("poll")(_Poll)
        calls = _Calls(dialogs, wire)
        await calls.run(_WARMING)
        wire.held = HELD
        calls.counted.clear()
        await calls.run(rounds)
        return calls.counted


def _figures(name: str, counted: dict[str, list[_Call]]) -> Iterator[Figure]:
    for what, most in _AT_MOST.items():
        yield count(f"{name}: {what}", tuple(one.in_turn for one in counted[what]), most=most)
    for what in _AT_MOST:
        sent, received = (tuple(one.traffic[way] for one in counted[what]) for way in (1, 2))
        yield Figure(what=f"{name}: {what}: sent", rounds=sent, unit="bytes", at_most=True)
        yield Figure(what=f"{name}: {what}: answered", rounds=received, unit="bytes", at_most=True)


class _Calls:
    """What people do, each time counted from the call to its return."""

    def __init__(self, dialogs: Dialogs, wire: Wire) -> None:
        self.counted: defaultdict[str, list[_Call]] = defaultdict(list)
        self._dialogs = dialogs
        self._wire = wire
        self._screen = people.Screen()

    async def run(self, rounds: int) -> None:
        """Do everything so many times, each time with a dialog of its own."""
        dialogs = self._dialogs
        for _ in range(rounds):
            async with self._counting(_STARTING):
                handle = await dialogs.start(_Poll, people.command(platform=self._screen))
            click = people.button(handle.id, _Poll.vote, platform=self._screen)
            async with self._counting(_STEP):
                await dialogs.dispatch(click)
            async with self._counting(_SAYING):
                await dialogs.dispatch(people.button(handle.id, _Poll.say, platform=self._screen))
            async with self._counting(_AGAIN):
                await dialogs.dispatch(click)
            async with self._counting(_LOOKING):
                await handle.info()
            async with self._counting(_ENDING):
                await handle.end(result=1)
            async with self._counting(_WAITING):
                await handle.wait()

    @asynccontextmanager
    async def _counting(self, what: str) -> AsyncGenerator[None]:
        await self._wire.quiet()
        in_turn, traffic = self._wire.in_turn, self._wire.traffic
        yield
        self.counted[what].append(_Call(self._wire.in_turn - in_turn, self._wire.traffic.since(traffic)))
