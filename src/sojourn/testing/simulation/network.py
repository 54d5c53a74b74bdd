"""The way between one server and the engine that all share: slow, lossy, sometimes cut off.

A call that was sent is on its own: it arrives, soon or late, whatever has become of the server meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import TypeVar, TypeVarTuple

import msgspec

from sojourn.errors import CommitUnknownError, UnavailableError
from sojourn.kernel.engine import Answer, Changes, Description, Finding, Position, RankPage, Swept
from sojourn.kernel.keys import RankSpan
from sojourn.kernel.transaction import Committed, Reads, Snapshot, Transaction
from sojourn.testing.simulation.canon import Name
from sojourn.testing.simulation.loop import Host, outside, pause
from sojourn.testing.simulation.report import Telling
from sojourn.testing.simulation.witness import Witness

__all__ = ["Line", "Weather"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_NEAR = 0.005
_LATE = 25.0


class Weather(msgspec.Struct):
    """How often each fault strikes, from 0 to 1."""

    refuse: float = 0.0
    """The batch is turned away: `UnavailableError`."""
    drop: float = 0.0
    """It is lost on its way: `CommitUnknownError`, nothing written."""
    lose: float = 0.0
    """Its answer is lost: `CommitUnknownError`, written."""
    late: float = 0.0
    """It arrives only long after the caller was told that its answer is lost."""
    repeat: float = 0.0
    """It was committed, and arrives a second time, later; nobody waits for that answer."""
    fail: float = 0.0
    """A read fails: `UnavailableError`."""
    slow: float = 0.0
    """The call takes seconds, one way or the other; now and then longer than a lease."""


class Line:
    """The engine, as one server reaches it."""

    def __init__(self, host: Host, witness: Witness, random: Random, weather: Weather, telling: Telling) -> None:
        self.is_cut = False
        self.troubled_at = float("-inf")
        self._host = host
        self._witness = witness
        self._random = random
        self._weather = weather
        self._telling = telling

    async def open(self) -> None:
        """Do nothing: the engine is open."""

    async def close(self) -> None:
        """Do nothing: others use the engine."""

    async def commit(self, batch: Sequence[Transaction]) -> Sequence[Answer]:
        """Carry a batch to the engine and its answer back, unless something happens on the way.

        Raises:
            UnavailableError: it was turned away.
            CommitUnknownError: it was lost, or its answer was, or it has not arrived yet.
        """
        self._reach()
        self._witness.sent(self._host.name, batch)
        return await outside(self._witness.carrying(self._commit(batch)))

    async def read(self, reads: Reads) -> Snapshot:
        """Read by the engine, or fail.

        Raises:
            UnavailableError: on purpose.
        """
        self._reach()
        return await outside(self._ask(self._witness.inner.read, reads))

    async def rank(self, span: RankSpan) -> RankPage:
        """List by the engine, or fail.

        Raises:
            UnavailableError: on purpose.
        """
        self._reach()
        return await outside(self._ask(self._witness.inner.rank, span))

    async def changes(self, since: Position | None, wait: float) -> Changes:
        """Ask the engine for changes, or fail.

        Raises:
            UnavailableError: on purpose.
        """
        self._reach()
        return await outside(self._ask(self._witness.changes, since, wait))

    async def sweep(self, limit: int) -> Swept:
        """Sweep by the engine, or fail.

        Raises:
            UnavailableError: on purpose.
        """
        self._reach()
        return await outside(self._ask(self._witness.inner.sweep, limit))

    async def examine(self) -> Sequence[Finding]:
        """Find nothing."""
        return ()

    def describe(self) -> Description:
        """Return what the engine says of itself."""
        return self._witness.inner.describe()

    def token(self, name: Name) -> int:
        """Return the token that this server was granted last for a document."""
        return self._witness.token(self._host.name, name)

    def stands(self, name: Name, token: int) -> bool:
        """Say whether nobody has ended or taken a lease."""
        return self._witness.stands(name, token)

    def held(self) -> list[Name]:
        """Name the documents whose leases this server was granted and nobody has ended or taken."""
        return self._witness.held(self._host.name)

    def was_asked(self, name: Name, token: int) -> bool:
        """Say whether somebody has asked for a lease."""
        return self._witness.was_asked(name, token)

    def _reach(self) -> None:
        if self._host.is_dead:
            raise asyncio.CancelledError

    async def _commit(self, batch: Sequence[Transaction]) -> Sequence[Answer]:
        fate = self._fate()
        await self._travel()
        if fate == "refuse":
            raise UnavailableError("the batch was turned away on purpose")
        if fate == "drop":
            raise CommitUnknownError("the batch was lost on purpose")
        if fate == "late":
            self._later(batch)
            raise CommitUnknownError("the batch is late on purpose")
        answers = await self._witness.commit(self._host.name, batch)
        if fate == "repeat" and all(isinstance(answer, Committed) for answer in answers):
            self._later(batch)
        await self._travel()
        if fate == "lose":
            raise CommitUnknownError("the answer was lost on purpose")
        return answers

    async def _ask(self, question: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T:
        fails = self._strikes("fail") or self.is_cut
        await self._travel()
        if fails:
            self._trouble("fail")
            raise UnavailableError("the question was lost on purpose")
        answer = await question(*args)
        await self._travel()
        return answer

    def _fate(self) -> str:
        """Draw what becomes of a batch; all are drawn each time, so that one does not shift the others of a seed."""
        struck = [fate for fate in ("refuse", "drop", "late", "lose", "repeat") if self._strikes(fate)]
        if self.is_cut:
            struck = [self._random.choice(("refuse", "drop", "late", "lose"))]
        if not struck:
            return ""
        self._trouble(struck[0])
        return struck[0]

    def _strikes(self, name: str) -> bool:
        rate: float = getattr(self._weather, name)
        return self._random.random() < rate

    async def _travel(self) -> None:
        slow, share = self._strikes("slow"), self._random.random()
        if slow:
            self._trouble("slow")
        await pause(_LATE * share**4 if slow else _NEAR * share)

    def _later(self, batch: Sequence[Transaction]) -> None:
        seconds = _LATE * self._random.random() ** 2

        async def arrive() -> None:
            await pause(seconds)
            await self._witness.commit(self._host.name, batch)

        self._witness.keep(asyncio.create_task(arrive()))

    def _trouble(self, what: str) -> None:
        self._telling.sums[what] += 1
        self._telling.say(self._host.name, f"~ {what}")
        self.troubled_at = asyncio.get_running_loop().time()
