"""The batcher, where an engine reaches only a part of its batch, as a cluster does while one of its nodes is down."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from sojourn import limits
from sojourn.engines.memory import MemoryEngine
from sojourn.errors import CommitUnknownError, UnavailableError
from sojourn.kernel import Answer, Append, Committed, Span, Store, Transaction, ids
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
