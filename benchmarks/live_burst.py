"""A thousand commits while one who watches reads nothing: what the server keeps for it, and what it sees in the end."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from benchmarks.figures import Figure, Pace, Row, count
from benchmarks.live_app import MODULE
from benchmarks.live_sockets import Query, calling, viewing
from benchmarks.servers import SOJOURN, serving

__all__ = ["measure"]

_OF_SESSIONS: Final = 10
"""For so many of the pace's sessions there is one commit."""
_CHARACTERS: Final = 100_000
_PLACE: Final = "busy"
_LOOKS: Final = 20
"""In so many places of a burst it is looked at how much memory the server has."""
_MEGABYTE: Final = 1_000_000
_PATIENCE: Final = 30.0


async def measure(pace: Pace) -> Row:
    """Change what is watched, again and again, while the connection is not read; then read on."""
    commits = max(_LOOKS, pace.sessions // _OF_SESSIONS)
    bursts: list[_Burst] = []
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        port = await stack.enter_async_context(serving(SOJOURN, f"sqlite:///{folder}/burst.db", module=MODULE))
        attentive = _Burst(port, commits, reads=True)
        await attentive.run(0)  # so that what a server takes anyway is taken
        for number in range(1, pace.rounds + 1):
            burst = _Burst(port, commits, reads=False)
            await burst.run(number * commits)
            bursts.append(burst)
    whole = commits * _CHARACTERS / _MEGABYTE
    grown = tuple(burst.grown / _MEGABYTE for burst in bursts)
    return Row(
        name="live-burst",
        title=f"{commits:,} commits one after another, each of which changes a result of {_CHARACTERS // 1_000:,} KB, "
        "while the only one who watches it reads nothing from its WebSocket, and reads on afterwards",
        figures=(
            count("those whose last result did not arrive", tuple(float(not burst.has_last) for burst in bursts)),
            Figure(
                what="what the server took beyond the memory it had, at most",
                rounds=grown,
                unit="MB",
                promise=16,
                at_most=True,
            ),
            Figure(
                what="the same, as a share of all results", rounds=tuple(100 * one / whole for one in grown), unit="%"
            ),
            Figure(what="transitions that were sent", rounds=tuple(float(burst.pushes) for burst in bursts), unit=""),
            Figure(what="evaluations", rounds=tuple(float(burst.evaluations) for burst in bursts), unit=""),
            Figure(what="who reads at once: transitions", rounds=(float(attentive.pushes),), unit=""),
            Figure(what="all results together", rounds=(whole,), unit="MB"),
        ),
        remarks=("What the sockets of the system hold is not counted.",),
    )


class _Burst:
    """One burst of commits, and what became of it."""

    def __init__(self, port: int, commits: int, *, reads: bool) -> None:
        self.pushes = self.evaluations = self.grown = 0
        self.has_last = False
        self._port, self._commits, self._reads = port, commits, reads
        self._last = 0
        self._arrived = asyncio.Event()

    async def run(self, begin: int) -> None:
        """Commit numbers from `begin` on, and wait until the last is shown."""
        async with calling(self._port) as caller:
            query = Query("long", {"place": _PLACE, "characters": _CHARACTERS})
            self._last = begin
            viewer = await viewing(self._port, self._note, await caller.ticket(), (query,))
            try:
                await self._shown()
                before = await caller.state()
                if not self._reads:
                    viewer.pause()
                pushed = viewer.pushes
                self._last = begin + self._commits
                self._arrived.clear()
                resident = [before.resident]
                for number in range(1, self._commits + 1):
                    await caller.put(_PLACE, begin + number)
                    if not number % (self._commits // _LOOKS):
                        resident.append((await caller.state()).resident)
                viewer.resume()
                self.has_last = await self._shown()
                self.pushes = viewer.pushes - pushed
                self.evaluations = (await caller.state()).evaluations - before.evaluations
                self.grown = max(resident) - before.resident
            finally:
                viewer.close()

    async def _shown(self) -> bool:
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._arrived.wait()
        except TimeoutError:
            return False
        return True

    def _note(self, number: int) -> None:
        if number == self._last:
            self._arrived.set()
