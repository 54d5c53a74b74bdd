"""FaultyEngine: what it says it did is what happened, and the same seed fails alike."""

import asyncio

import pytest

from sojourn.engines.memory import MemoryEngine
from sojourn.errors import CommitUnknownError, InvalidError, SojournError, UnavailableError
from sojourn.kernel import ids
from sojourn.kernel.engine import BatchRefusedError
from sojourn.kernel.keys import Key, RankSpan, Span
from sojourn.kernel.transaction import Append, Committed, Put, Reads, Transaction
from sojourn.testing import Faults, FaultyEngine

EVERYTHING = Reads(spans=(Span("s", "p"),))


def appended() -> Transaction:
    return Transaction(ids.new(), writes=(Append("s", "p", "", b""),))


async def count(engine: MemoryEngine) -> int:
    return len((await engine.read(EVERYTHING)).records.spans[0])


async def test_without_rates_it_only_counts() -> None:
    inner = MemoryEngine()
    engine = FaultyEngine(inner, 1)
    await engine.open()
    (outcome,) = await engine.commit([appended()])
    assert isinstance(outcome, Committed)
    assert (await engine.read(EVERYTHING)).records == (await inner.read(EVERYTHING)).records
    await engine.rank(RankSpan("s"))
    await engine.changes(None, 0)
    await engine.sweep(1)
    assert engine.describe() == inner.describe()
    assert engine.faults == Faults(commits=1, reads=4)
    await engine.close()


async def test_a_lost_answer_was_committed() -> None:
    inner = MemoryEngine()
    engine = FaultyEngine(inner, 1, lose=1)
    with pytest.raises(CommitUnknownError):
        await engine.commit([appended()])
    assert await count(inner) == 1
    assert engine.faults == Faults(commits=1, lost=1)


async def test_a_dropped_batch_was_not() -> None:
    inner = MemoryEngine()
    engine = FaultyEngine(inner, 1, drop=1)
    with pytest.raises(CommitUnknownError):
        await engine.commit([appended()])
    assert await count(inner) == 0
    assert engine.faults == Faults(commits=1, dropped=1)


async def test_a_refused_batch_was_not() -> None:
    inner = MemoryEngine()
    engine = FaultyEngine(inner, 1, refuse=1)
    with pytest.raises(UnavailableError):
        await engine.commit([appended()])
    assert await count(inner) == 0
    assert engine.faults == Faults(commits=1, refused=1)


async def test_a_repeated_batch_answers_the_second_delivery() -> None:
    engine = FaultyEngine(MemoryEngine(), 1, repeat=1)
    (outcome,) = await engine.commit([appended()])
    assert isinstance(outcome, Committed)
    assert outcome.repeated
    assert engine.faults == Faults(commits=1, repeated=1)


async def test_a_delayed_call_lets_others_go_first() -> None:
    engine = FaultyEngine(MemoryEngine(), 1, delay=1)
    order: list[str] = []

    async def commit() -> None:
        await engine.commit([appended()])
        order.append("commit")

    async def other() -> None:
        order.append("other")

    await asyncio.gather(commit(), other())
    assert order == ["other", "commit"]
    assert engine.faults.delayed == 2


async def test_every_question_can_fail() -> None:
    engine = FaultyEngine(MemoryEngine(), 1, fail=1)
    for call in (engine.read(EVERYTHING), engine.rank(RankSpan("s")), engine.changes(None, 0), engine.sweep(1)):
        with pytest.raises(UnavailableError):
            await call
    assert engine.faults == Faults(reads=4, failed=4)


async def test_poison_refuses_the_whole_batch() -> None:
    inner = MemoryEngine()
    poison = Transaction(writes=(Put(Key("s", "p", "i"), b"poison"),))
    engine = FaultyEngine(inner, 1, poisoned=poison.__eq__)
    with pytest.raises(BatchRefusedError):
        await engine.commit([appended(), poison])
    assert await count(inner) == 0
    await engine.commit([appended()])
    assert engine.faults == Faults(commits=2, poisoned=1)


@pytest.mark.parametrize(("fault", "there"), [("lose", 2), ("drop", 1)])
async def test_the_rival_comes_between_the_loss_and_its_news(fault: str, there: int) -> None:
    inner = MemoryEngine()
    seen: list[int] = []

    async def rival() -> None:
        await inner.commit([appended()])
        seen.append(await count(inner))

    engine = FaultyEngine(inner, 1, on_lost=rival, **{fault: 1})  # type: ignore[arg-type]
    with pytest.raises(CommitUnknownError):
        await engine.commit([appended()])
    assert seen == [there]


async def test_the_same_seed_fails_alike_and_another_differently() -> None:
    async def run(seed: int) -> list[str]:
        engine = FaultyEngine(MemoryEngine(), seed, lose=0.3, drop=0.1, repeat=0.3, refuse=0.3, fail=0.5, delay=0.3)
        told: list[str] = []
        for _ in range(60):
            for call in (engine.commit([appended()]), engine.read(Reads())):
                try:
                    told.append(type(await call).__name__)
                except SojournError as error:
                    told.append(type(error).__name__)
        return told

    assert await run(7) == await run(7)
    assert await run(7) != await run(8)


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
def test_a_rate_is_a_share(rate: float) -> None:
    with pytest.raises(InvalidError):
        FaultyEngine(MemoryEngine(), 1, lose=rate)


def test_an_unknown_rate_is_an_error() -> None:
    with pytest.raises(TypeError):
        FaultyEngine(MemoryEngine(), 1, loose=0.5)  # type: ignore[call-arg]
