"""An engine that fails on purpose, so that a test sees what its callers do then.

    engine = FaultyEngine(MemoryEngine(), seed=7, lose=0.1, repeat=0.1)
    ...
    assert engine.faults.lost                           # the faults really happened

Every fault is drawn from one seeded source, in the order of the calls: the same seed and the same calls fail alike.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import TypedDict, Unpack

import msgspec

from sojourn.errors import CommitUnknownError, InvalidError, UnavailableError
from sojourn.kernel.engine import (
    Answer,
    BatchRefusedError,
    Changes,
    Description,
    Engine,
    Finding,
    Position,
    RankPage,
    Swept,
)
from sojourn.kernel.keys import RankSpan
from sojourn.kernel.transaction import Reads, Snapshot, Transaction

__all__ = ["Faults", "FaultyEngine", "Rates"]

_DELAY_ROUNDS = 8


class Rates(TypedDict, total=False):
    """How often each fault strikes, from 0 (never; what is not given) to 1 (always)."""

    lose: float
    """The batch commits and its answer is lost: `CommitUnknownError`."""
    drop: float
    """The batch is lost on its way, which the caller cannot know: `CommitUnknownError`, nothing written."""
    repeat: float
    """The batch is delivered twice, and the second delivery is answered."""
    delay: float
    """The call lets the loop run some rounds before and after its work."""
    refuse: float
    """The batch is turned away: `UnavailableError`, nothing written."""
    fail: float
    """A read, a rank page, a question for changes or a sweep fails: `UnavailableError`."""


class _Rates(msgspec.Struct, frozen=True):
    lose: float = 0.0
    drop: float = 0.0
    repeat: float = 0.0
    delay: float = 0.0
    refuse: float = 0.0
    fail: float = 0.0


class Faults(msgspec.Struct, frozen=True):
    """What a faulty engine was asked, and how often each fault struck."""

    commits: int = 0
    reads: int = 0
    lost: int = 0
    dropped: int = 0
    repeated: int = 0
    delayed: int = 0
    refused: int = 0
    failed: int = 0
    poisoned: int = 0


class FaultyEngine:
    """An engine around another one, between which and its callers things go wrong.

    `poisoned` says of a transaction that the engine chokes on it: a batch that holds one is refused as a whole with
    `BatchRefusedError`, nothing written. `on_lost` is awaited after a batch was lost or dropped and before its caller
    learns of it: the place for a rival that commits between the first delivery and its repeat.
    """

    def __init__(
        self,
        inner: Engine,
        seed: int,
        *,
        poisoned: Callable[[Transaction], bool] | None = None,
        on_lost: Callable[[], Awaitable[None]] | None = None,
        **rates: Unpack[Rates],
    ) -> None:
        self.inner = inner
        self._random = Random(seed)  # noqa: S311  it must be repeatable, not secret
        self._poisoned = poisoned
        self._on_lost = on_lost
        self._rates = _Rates(**rates)
        for name, rate in msgspec.structs.asdict(self._rates).items():
            if not 0 <= rate <= 1:
                raise InvalidError(name, "a rate lies from 0 to 1")
        self._faults = Faults()

    @property
    def faults(self) -> Faults:
        """What happened so far."""
        return self._faults

    async def open(self) -> None:
        """Open the inner engine; this never fails on purpose."""
        await self.inner.open()

    async def close(self) -> None:
        """Close the inner engine; this never fails on purpose."""
        await self.inner.close()

    async def commit(self, batch: Sequence[Transaction]) -> Sequence[Answer]:
        """Commit by the inner engine, unless a fault strikes before, between or after.

        Raises:
            UnavailableError: the batch was turned away.
            CommitUnknownError: its answer was lost, or the batch itself.
            BatchRefusedError: it holds a poisoned transaction.
        """
        self._count(commits=1)
        rates = self._rates
        # All are drawn before the first takes effect, so that one fault does not shift the others of a seed.
        refused, dropped = self._strikes(rates.refuse), self._strikes(rates.drop)
        repeated, lost = self._strikes(rates.repeat), self._strikes(rates.lose)
        before, after = self._rounds(), self._rounds()
        await self._pause(before)
        if refused:
            self._count(refused=1)
            raise UnavailableError("the faulty engine turned the batch away on purpose")
        if dropped:
            self._count(dropped=1)
            await self._lose()
        if self._poisoned is not None and any(map(self._poisoned, batch)):
            self._count(poisoned=1)
            raise BatchRefusedError("the faulty engine was told to choke on this batch")
        outcomes = await self.inner.commit(batch)
        if repeated:
            self._count(repeated=1)
            outcomes = await self.inner.commit(batch)
        await self._pause(after)
        if lost:
            self._count(lost=1)
            await self._lose()
        return outcomes

    async def read(self, reads: Reads) -> Snapshot:
        """Read by the inner engine, or fail.

        Raises:
            UnavailableError: on purpose.
        """
        await self._reach()
        return await self.inner.read(reads)

    async def rank(self, span: RankSpan) -> RankPage:
        """List by the inner engine, or fail.

        Raises:
            UnavailableError: on purpose.
        """
        await self._reach()
        return await self.inner.rank(span)

    async def changes(self, since: Position | None, wait: float) -> Changes:
        """Ask the inner engine for changes, or fail.

        Raises:
            UnavailableError: on purpose.
        """
        await self._reach()
        return await self.inner.changes(since, wait)

    async def sweep(self, limit: int) -> Swept:
        """Sweep by the inner engine, or fail.

        Raises:
            UnavailableError: on purpose.
        """
        await self._reach()
        return await self.inner.sweep(limit)

    async def examine(self) -> Sequence[Finding]:
        """Return what the inner engine finds; this never fails on purpose."""
        return await self.inner.examine()

    def describe(self) -> Description:
        """Return what the inner engine says of itself, but for one batch at a time: so a seed gives the same faults."""
        return msgspec.structs.replace(self.inner.describe(), batches=1)

    def _strikes(self, rate: float) -> bool:
        return self._random.random() < rate

    def _rounds(self) -> int:
        rounds = self._random.randint(1, _DELAY_ROUNDS)
        return rounds if self._strikes(self._rates.delay) else 0

    async def _pause(self, rounds: int) -> None:
        self._count(delayed=min(rounds, 1))
        for _ in range(rounds):
            await asyncio.sleep(0)

    async def _lose(self) -> None:
        if self._on_lost is not None:
            await self._on_lost()
        raise CommitUnknownError("the faulty engine lost the answer on purpose")

    async def _reach(self) -> None:
        self._count(reads=1)
        failed, rounds = self._strikes(self._rates.fail), self._rounds()
        await self._pause(rounds)
        if failed:
            self._count(failed=1)
            raise UnavailableError("the faulty engine failed on purpose")

    def _count(self, **more: int) -> None:
        sums = {name: getattr(self._faults, name) + number for name, number in more.items()}
        self._faults = msgspec.structs.replace(self._faults, **sums)
