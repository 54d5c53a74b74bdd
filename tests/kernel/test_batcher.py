"""The batcher: engines that reach only a part of a batch, as a cluster does, and that take several at a time."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence

import msgspec
import pytest

from sojourn import limits
from sojourn.engines.memory import MemoryEngine
from sojourn.errors import (
    CapabilityError,
    ClosedError,
    CommitUnknownError,
    IncompatibleError,
    InvalidError,
    UnavailableError,
)
from sojourn.kernel import Answer, Append, Committed, Description, Span, Store, Transaction, ids
from sojourn.kernel.engine import BatchRefusedError
from sojourn.testing import FaultyEngine, ManualClock


class TornEngine(FaultyEngine):
    """Has two halves: the partition "well" always answers, what "ill" answers is decided by the test."""

    def __init__(self, answer: Callable[[int], str]) -> None:
        super().__init__(MemoryEngine(), seed=1)
        self.asked = Counter[str]()
        self._answer = answer

    async def commit(self, batch: Sequence[Transaction]) -> Sequence[Answer]:
        return [await self._one(transaction) for transaction in batch]

    async def _one(self, transaction: Transaction) -> Answer:
        half = _half(transaction)
        self.asked[half] += 1
        does = self._answer(self.asked[half]) if half == "ill" else "answers"
        if does == "is down":
            return UnavailableError("this half is down")
        if does == "loses the way there":
            return CommitUnknownError("this half did not answer")
        (outcome,) = await self.inner.commit([transaction])
        return outcome if does == "answers" else CommitUnknownError("this half did not answer")


def _half(transaction: Transaction) -> str:
    (write,) = transaction.writes
    assert isinstance(write, Append)
    return write.partition


def appending(half: str) -> Transaction:
    return Transaction(ids.new(), writes=(Append("test", half, "log/", b""),))


async def both(engine: TornEngine) -> tuple[Committed | BaseException, Committed | BaseException]:
    """Commit to both halves in one batch, and see that nothing stands anywhere twice."""
    clock = ManualClock()
    async with Store(engine, clock=clock) as store:
        async with clock.rushing():
            well, ill = await asyncio.gather(
                store.commit(appending("well")), store.commit(appending("ill")), return_exceptions=True
            )
        for half in ("well", "ill"):
            assert len([record async for record in store.scan(Span("test", half, "log/", "log0"))]) <= 1
    return well, ill


@pytest.mark.promise(10)
async def test_a_half_that_is_down_fails_its_own_callers_only() -> None:
    engine = TornEngine(lambda _: "is down")
    well, ill = await both(engine)
    assert isinstance(well, Committed)
    assert isinstance(ill, UnavailableError)
    assert engine.asked["ill"] == 1


@pytest.mark.promise(10, 13)
@pytest.mark.parametrize("lost", ["loses the way there", "loses the answer"])
async def test_only_what_was_lost_is_repeated(lost: str) -> None:
    engine = TornEngine(lambda time: lost if time == 1 else "answers")
    well, ill = await both(engine)
    assert isinstance(well, Committed)
    assert isinstance(ill, Committed)
    assert ill.repeated == (lost == "loses the answer")
    assert engine.asked == {"well": 1, "ill": 2}


@pytest.mark.promise(10, 13)
async def test_what_was_lost_stays_unknown_while_its_half_is_down() -> None:
    """Not reached now does not mean that nothing was written then."""
    engine = TornEngine(lambda time: "loses the answer" if time == 1 else "is down")
    well, ill = await both(engine)
    assert isinstance(well, Committed)
    assert isinstance(ill, CommitUnknownError)
    assert engine.asked["ill"] == limits.REPEAT_ATTEMPTS


class LosingEngine(FaultyEngine):
    """Applies the first batch and loses the answer, and fails the same way from then on."""

    def __init__(self, failure: Exception) -> None:
        super().__init__(MemoryEngine(), seed=1)
        self._failure = failure
        self._is_lost = False

    async def commit(self, batch: Sequence[Transaction]) -> Sequence[Answer]:
        if self._is_lost:
            raise self._failure
        self._is_lost = True
        await self.inner.commit(batch)
        raise CommitUnknownError("the answer was lost")


@pytest.mark.promise(10)
@pytest.mark.parametrize(
    "failure",
    [
        UnavailableError("it is down"),
        InvalidError("url", "it wants another password now"),
        ClosedError("it is closed"),
        IncompatibleError("somebody has upgraded it"),
        CapabilityError("cross_partition", "it has been replaced"),
        BatchRefusedError("it is full"),
        ZeroDivisionError(),
    ],
    ids=lambda failure: type(failure).__name__,
)
async def test_no_later_failure_makes_a_lost_answer_mean_that_nothing_was_written(failure: Exception) -> None:
    engine, clock = LosingEngine(failure), ManualClock()
    async with Store(engine, clock=clock) as store:
        async with clock.rushing():
            told = await asyncio.gather(*(store.commit(appending("p")) for _ in range(3)), return_exceptions=True)
        assert [type(error) for error in told] == [CommitUnknownError] * 3
        assert len([record async for record in store.scan(Span("test", "p"))]) == 3


class BusyEngine(FaultyEngine):
    """Takes two batches at a time, and answers each when it is told to."""

    def __init__(self) -> None:
        super().__init__(MemoryEngine(), seed=1)
        self.batches: list[tuple[int, asyncio.Event]] = []

    def describe(self) -> Description:
        return msgspec.structs.replace(super().describe(), batches=2)

    async def commit(self, batch: Sequence[Transaction]) -> Sequence[Answer]:
        answered = asyncio.Event()
        self.batches.append((len(batch), answered))
        await answered.wait()
        return await super().commit(batch)

    def sizes(self) -> list[int]:
        return [size for size, _ in self.batches]


async def settled() -> None:
    """Let everything happen that needs no answer."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_what_waits_is_shared_out_over_the_batches_that_an_engine_takes() -> None:
    """Half of a crowd goes ahead while the other half is prepared; what comes then waits, and goes in one batch."""
    engine = BusyEngine()
    async with Store(engine) as store:
        crowd = [asyncio.ensure_future(store.commit(appending("p"))) for _ in range(2 * limits.BATCH_SHARE + 10)]
        await settled()
        assert engine.sizes() == [limits.BATCH_SHARE + 5] * 2
        crowd += [asyncio.ensure_future(store.commit(appending("p"))) for _ in range(50)]
        await settled()
        assert len(engine.batches) == 2
        engine.batches[0][1].set()
        await settled()
        assert engine.sizes()[2:] == [50]
        for _, answered in engine.batches:
            answered.set()
        await asyncio.gather(*crowd)
        assert len([record async for record in store.scan(Span("test", "p", limit=1_000))]) == len(crowd)


async def test_a_few_are_not_worth_two_batches() -> None:
    engine = BusyEngine()
    async with Store(engine) as store:
        few = [asyncio.ensure_future(store.commit(appending("p"))) for _ in range(limits.BATCH_SHARE)]
        await settled()
        late = asyncio.ensure_future(store.commit(appending("p")))
        await settled()
        assert engine.sizes() == [limits.BATCH_SHARE, 1]
        for _, answered in engine.batches:
            answered.set()
        await asyncio.gather(*few, late)
