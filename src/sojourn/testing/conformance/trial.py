"""One engine on trial: a fresh store, its clock, and short words for what every test does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import pytest
import pytest_asyncio

from sojourn.errors import CapabilityError, SojournError
from sojourn.kernel.clock import Clock
from sojourn.kernel.engine import Changes, Engine, Position
from sojourn.kernel.keys import Key, RankSpan, Span
from sojourn.kernel.store import Store
from sojourn.kernel.transaction import (
    Committed,
    Conflict,
    Guard,
    Outcome,
    Reads,
    Record,
    Transaction,
    TransactionId,
    Write,
)
from sojourn.testing.clock import ManualClock
from sojourn.testing.conformance.harness import Capability, Harness
from sojourn.testing.faults import FaultyEngine

__all__ = ["Conformance", "HOME", "PATIENCE_S", "SPACE", "Trial", "at", "over"]

SPACE = "conformance"
HOME = "home"

PATIENCE_S = 30.0
"""Real seconds after which a test that waits for something is ended. None that passes comes near it."""

_STEPS = 1_000


def at(item: str = "a", partition: str = HOME, space: str = SPACE) -> Key:
    """Return a key of the test's own space."""
    return Key(space, partition, item)


def over(start: str = "", stop: str | None = None, partition: str = HOME, **rest: Any) -> Span:
    """Return a span of the test's own space; `rest` are limit and direction."""
    return Span(SPACE, partition, start, stop, **rest)


class Trial:
    """An opened engine over a store of its own, its clock, and the harness that both come from."""

    def __init__(self, harness: Harness, folder: Path) -> None:
        self.harness = harness
        self.clock = ManualClock()
        self.address = ""
        self._folder = folder
        self._numbers = count(1)
        self._addresses: list[str] = []
        self._engine: Engine | None = None

    @property
    def engine(self) -> Engine:
        """The engine on trial, open."""
        assert self._engine is not None, "the trial has not begun"
        return self._engine

    async def begin(self) -> None:
        """Make a store and open an engine over it."""
        self.address = await self.create()
        self._engine = self.harness.engine(self.address, self.clock)
        await self._engine.open()

    async def end(self) -> None:
        """Close the engine and remove every store."""
        if self._engine is not None:
            await self._engine.close()
        for address in self._addresses:
            await self.harness.destroy(address)

    async def create(self) -> str:
        """Make one more empty store and return its address."""
        folder = self._folder / f"store-{next(self._numbers)}"
        folder.mkdir()
        address = await self.harness.create(folder)
        self._addresses.append(address)
        return address

    # -- What not every engine can do ------------------------------------------------------------------------------

    @contextmanager
    def needs(self, *capabilities: Capability) -> Generator[None]:
        """Run what follows where all of these are declared; else expect that it ends in `CapabilityError`."""
        missing = [capability for capability in capabilities if capability not in self.harness.capabilities]
        if not missing:
            yield
            return
        with pytest.raises(CapabilityError) as caught:
            yield
        assert caught.value.capability in missing

    async def reopen(self) -> None:
        """Close the engine and open another one over the same store, as after a restart."""
        self._require(Capability.DURABLE)
        await self.engine.close()
        self._engine = self.harness.engine(self.address, self.clock)
        await self._engine.open()

    @asynccontextmanager
    async def beside(self) -> AsyncGenerator[Engine]:
        """Open a second engine over the same store while the first is at work."""
        self._require(Capability.CROSS_PROCESS)
        engine = self.harness.engine(self.address, self.clock)
        await engine.open()
        try:
            yield engine
        finally:
            await engine.close()

    def use(self, engine: Engine) -> None:
        """Let the short words below speak to this engine, which is over the same store."""
        self._engine = engine

    def reach(self, *also: Capability) -> str:
        """Return the address, for a child process of a test that needs these too."""
        for capability in (Capability.CROSS_PROCESS, *also):
            self._require(capability)
        return self.address

    def _require(self, capability: Capability) -> None:
        if capability not in self.harness.capabilities:
            raise CapabilityError(capability, "its harness does not declare it")

    # -- The kernel above a fresh engine ---------------------------------------------------------------------------

    async def fresh(self, clock: Clock | None = None) -> Engine:
        """Return an engine over one more empty store, not opened."""
        return self.harness.engine(await self.create(), clock or self.clock)

    @asynccontextmanager
    async def store(self, engine: Engine | None = None) -> AsyncGenerator[Store]:
        """Open a store over the engine, or over a fresh one, and let its pauses pass in no time."""
        async with self.clock.rushing(), Store(engine or await self.fresh(), clock=self.clock) as store:
            yield store

    async def faulty(self, seed: int = 1, **settings: Any) -> FaultyEngine:
        """Return a faulty engine around a fresh one, not opened."""
        return FaultyEngine(await self.fresh(), seed, **settings)

    # -- Short words -----------------------------------------------------------------------------------------------

    def advance(self, milliseconds: int) -> None:
        """Move the clock."""
        self.clock.advance(timedelta(milliseconds=milliseconds))

    async def commit(
        self,
        *writes: Write,
        guards: tuple[Guard, ...] = (),
        reads: Reads = Reads(),  # noqa: B008  frozen
        id: TransactionId | None = None,  # noqa: A002  named as the transaction's
        attempt: int = 1,
    ) -> Outcome:
        """Commit one transaction, alone in its batch."""
        (answer,) = await self.engine.commit([Transaction(id, guards, writes, reads, attempt)])
        if isinstance(answer, SojournError):
            raise answer
        return answer

    async def write(self, *writes: Write, **rest: Any) -> Committed:
        """Commit one transaction that must hold."""
        outcome = await self.commit(*writes, **rest)
        assert isinstance(outcome, Committed), outcome
        return outcome

    async def conflict(self, *writes: Write, **rest: Any) -> Conflict:
        """Commit one transaction that must conflict."""
        outcome = await self.commit(*writes, **rest)
        assert isinstance(outcome, Conflict), outcome
        return outcome

    async def get(self, key: Key) -> Record | None:
        """Read one record."""
        (record,) = (await self.engine.read(Reads(keys=(key,)))).records.keys
        return record

    async def got(self, key: Key) -> Record:
        """Read one record that must be there."""
        record = await self.get(key)
        assert record is not None, f"{key} is absent"
        return record

    async def scan(self, span: Span) -> tuple[Record, ...]:
        """Read one span."""
        (records,) = (await self.engine.read(Reads(spans=(span,)))).records.spans
        return records

    async def items(self, span: Span) -> list[str]:
        """Read one span and return only the items, in the order given."""
        return [record.key.item for record in await self.scan(span)]

    async def ranked(self, low: int = -(2**52), high: int = 2**52) -> list[str]:
        """List the test's space by rank and return only the items."""
        page = await self.engine.rank(RankSpan(SPACE, low, high))
        return [record.key.item for record in page.records]

    async def position(self) -> Position:
        """Return the place in the change log as of now."""
        answer = await self.engine.changes(None, 0)
        assert not answer.keys
        assert not answer.gap
        return answer.position

    async def changes(self, since: Position) -> Changes:
        """Ask for changes without waiting, again and again until there are no more, and return them as one."""
        whole = Changes(since)
        for _ in range(_STEPS):
            answer = await self.engine.changes(whole.position, 0)
            whole = Changes(answer.position, whole.keys | answer.keys, gap=whole.gap or answer.gap)
            if not answer.keys:
                return whole
        pytest.fail("the log says for ever that there is more")

    async def changed(self, since: Position) -> frozenset[Key]:
        """Return what changed since the position, of which nothing may be missing."""
        answer = await self.changes(since)
        assert not answer.gap, "nothing happened that excuses a gap"
        return answer.keys

    async def sweep(self) -> None:
        """Sweep until there is nothing left to do."""
        for _ in range(_STEPS):
            if not (await self.engine.sweep(100)).more:
                return
        pytest.fail("the sweep says for ever that there is more to do")


@pytest.mark.asyncio(loop_scope="function")
class Conformance:
    """What every part of the suite has: a harness, named by the engine's author, and a trial for each test."""

    harness: ClassVar[Harness]

    @pytest_asyncio.fixture(loop_scope="function")
    async def trial(self, tmp_path: Path) -> AsyncGenerator[Trial]:
        """Give a test an opened engine over a store of its own."""
        trial = Trial(self.harness, tmp_path)
        # Nothing is measured by it: it only makes a failure of what would hang for ever.
        net = asyncio.get_running_loop().call_later(PATIENCE_S, _give_up)
        try:
            await trial.begin()
            yield trial
        finally:
            net.cancel()
            await trial.end()


def _give_up() -> None:
    for task in asyncio.all_tasks():
        task.cancel(f"still waiting after {PATIENCE_S:g} seconds")
