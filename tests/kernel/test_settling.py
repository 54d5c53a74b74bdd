"""What lives in memory beside the records: told what became of an attempt, exactly once, whatever happens."""

import asyncio
from collections.abc import Iterable

import pytest

from sojourn import limits
from sojourn.engines.memory import MemoryEngine
from sojourn.errors import CommitUnknownError, ConflictError, InvalidError, UnavailableError
from sojourn.kernel import ids
from sojourn.kernel.attempt import Attempt
from sojourn.kernel.keys import Key, Span
from sojourn.kernel.store import Store
from sojourn.kernel.transaction import Committed, Put, Reads, Transaction, Write
from sojourn.testing import FaultyEngine, ManualClock

A, B, C = (Key("t", "p", item) for item in "abc")
ALL = Span("t", "p")

Became = Committed | CommitUnknownError | None


async def values(store: Store) -> dict[str, bytes]:
    return {record.key.item: record.value async for record in store.scan(ALL)}


def rival(value: bytes) -> Transaction:
    return Transaction(ids.new(), writes=(Put(A, value),))


# == What became of it


async def test_what_was_committed_is_told_before_the_caller_knows(store: Store) -> None:
    told: list[Became] = []

    async def work(tx: Attempt) -> str:
        tx.when_settled(told.append)
        tx.put(A, b"1")
        return "done"

    assert await store.run(work) == "done"
    (became,) = told
    assert isinstance(became, Committed)
    (record,) = (await store.read(Reads((A,)))).records.keys
    assert record is not None
    assert became.revision == record.revision


async def test_who_is_told_is_told_in_the_order_in_which_they_asked(store: Store) -> None:
    order: list[int] = []

    async def work(tx: Attempt) -> None:
        for number in range(3):
            tx.when_settled(lambda _, number=number: order.append(number))  # type: ignore[misc]
        tx.put(A, b"1")

    await store.run(work)
    assert order == [0, 1, 2]


async def test_what_raised_was_not_written(store: Store) -> None:
    told: list[Became] = []

    async def work(tx: Attempt) -> None:
        tx.when_settled(told.append)
        tx.put(A, b"1")
        raise LookupError

    with pytest.raises(LookupError):
        await store.run(work)
    assert told == [None]


async def test_work_that_wrote_nothing_is_told_too(store: Store) -> None:
    told: list[Became] = []

    async def work(tx: Attempt) -> None:
        tx.when_settled(told.append)
        await tx.get(A)

    await store.run(work)
    assert len(told) == 1
    assert not isinstance(told[0], CommitUnknownError)


async def test_each_attempt_is_told_for_itself(store: Store) -> None:
    told: list[tuple[int, Became]] = []

    async def work(tx: Attempt) -> None:
        tx.when_settled(lambda became: told.append((tx.number, became)))
        found = await tx.get(A)
        if tx.number == 1:
            await store.commit(rival(b"rival"))
        tx.put(B, b"" if found is None else found.value)

    await store.run(work)
    assert [number for number, _ in told] == [1, 2]
    assert told[0][1] is None
    assert isinstance(told[1][1], Committed)


async def test_an_attempt_is_settled_before_the_next_one_begins(store: Store) -> None:
    log: list[str] = []

    async def work(tx: Attempt) -> None:
        log.append(f"begins {tx.number}")
        tx.when_settled(lambda _: log.append(f"settled {tx.number}"))
        await tx.get(A)
        if tx.number == 1:
            await store.commit(rival(b"rival"))
        tx.put(B, b"")

    await store.run(work)
    assert log == ["begins 1", "settled 1", "begins 2", "settled 2"]


async def test_a_lost_answer_that_is_given_in_the_end_is_no_doubt(clock: ManualClock) -> None:
    told: list[Became] = []
    engine = FaultyEngine(MemoryEngine(clock=clock), 1, lose=0.5)

    async def work(tx: Attempt) -> None:
        tx.when_settled(told.append)
        tx.put(A, b"1")

    async with Store(engine, clock=clock) as store, clock.rushing():
        for _ in range(20):
            await store.run(work)
    assert engine.faults.lost
    assert len(told) == 20
    assert all(isinstance(became, Committed) for became in told)


@pytest.mark.parametrize(
    ("rates", "error", "is_kept"),
    [({"lose": 1.0}, CommitUnknownError, True), ({"drop": 1.0}, CommitUnknownError, False)],
    ids=["answer lost", "commit lost"],
)
async def test_an_answer_that_is_lost_for_good_is_told_as_that(
    clock: ManualClock, rates: dict[str, float], error: type[Exception], *, is_kept: bool
) -> None:
    told: list[Became] = []
    engine = FaultyEngine(MemoryEngine(clock=clock), 1, **rates)  # type: ignore[arg-type]

    async def work(tx: Attempt) -> None:
        tx.when_settled(told.append)
        tx.put(A, b"1")

    async with Store(engine, clock=clock) as store, clock.rushing():
        with pytest.raises(error):
            await store.run(work)
        assert await values(store) == ({"a": b"1"} if is_kept else {})
    (became,) = told
    assert isinstance(became, CommitUnknownError)


async def test_a_commit_that_is_turned_away_has_written_nothing(clock: ManualClock) -> None:
    told: list[Became] = []
    engine = FaultyEngine(MemoryEngine(clock=clock), 1, refuse=1.0)

    async def work(tx: Attempt) -> None:
        tx.when_settled(told.append)
        tx.put(A, b"1")

    async with Store(engine, clock=clock) as store:
        with pytest.raises(UnavailableError):
            await store.run(work)
    assert told == [None]


async def test_rivals_that_never_yield_are_told_attempt_by_attempt(clock: ManualClock) -> None:
    told: list[Became] = []

    async with Store(MemoryEngine(clock=clock), clock=clock) as store, clock.rushing():

        async def work(tx: Attempt) -> None:
            tx.when_settled(told.append)
            await tx.get(A)
            await store.commit(rival(str(tx.number).encode()))
            tx.put(B, b"")

        with pytest.raises(ConflictError):
            await store.run(work)
    assert told == [None] * limits.RUN_ATTEMPTS


# == Cancelling


@pytest.mark.parametrize("steps", range(12))
async def test_cancelled_at_any_step_it_is_told_once_and_truly(clock: ManualClock, steps: int) -> None:
    told: list[Became] = []
    engine = FaultyEngine(MemoryEngine(clock=clock), 1, delay=1.0)

    async with Store(engine, clock=clock) as store:

        async def work(tx: Attempt) -> None:
            tx.when_settled(told.append)
            await tx.get(A)
            tx.put(A, b"1")

        running = asyncio.create_task(store.run(work))
        for _ in range(3 * steps):
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        for _ in range(100):
            await asyncio.sleep(0)
        kept = await values(store)
    assert len(told) == (1 if steps else 0)
    if told and not isinstance(told[0], CommitUnknownError):
        assert kept == ({} if told[0] is None else {"a": b"1"})


async def test_a_commit_is_finished_for_who_wants_to_be_told_though_its_caller_went_away(clock: ManualClock) -> None:
    told: list[Became] = []
    engine = FaultyEngine(MemoryEngine(clock=clock), 1, delay=1.0)
    sent = asyncio.Event()

    async with Store(engine, clock=clock) as store:

        async def work(tx: Attempt) -> None:
            tx.when_settled(told.append)
            tx.defer(noted)

        def noted() -> Iterable[Write]:
            sent.set()
            yield Put(A, b"1")

        running = asyncio.create_task(store.run(work))
        await sent.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert running.cancelled()
    (became,) = told
    assert isinstance(became, Committed), "closing waits for it"


# == Writes that are made when the work is done


async def test_deferred_writes_are_made_once_the_work_is_done_and_go_with_the_rest(store: Store) -> None:
    numbers: list[int] = []

    async def work(tx: Attempt) -> None:
        tx.defer(lambda: [Put(B, str(sum(numbers)).encode())])
        tx.put(A, b"1")
        assert await tx.get(B) is None, "no read shows them"
        numbers.extend((1, 2))

    await store.run(work)
    assert await values(store) == {"a": b"1", "b": b"3"}


async def test_deferred_writes_are_made_anew_in_each_attempt_and_not_when_the_work_raised(store: Store) -> None:
    made: list[int] = []

    async def work(tx: Attempt) -> None:
        number = tx.number

        def make() -> Iterable[Write]:
            made.append(number)
            return [Put(B, str(number).encode())]

        tx.defer(make)
        await tx.get(A)
        if number == 1:
            await store.commit(rival(b"rival"))

    await store.run(work)
    assert made == [1, 2]
    assert await values(store) == {"a": b"rival", "b": b"2"}

    async def fails(tx: Attempt) -> None:
        await work(tx)
        raise LookupError

    made.clear()
    await store.commit(rival(b"rival"))
    with pytest.raises(LookupError):
        await store.run(fails)
    assert (await values(store))["b"] == b"2"


async def test_undo_does_not_take_deferred_writes_back(store: Store) -> None:
    async def work(tx: Attempt) -> None:
        mark = tx.mark()
        tx.put(A, b"1")
        tx.defer(lambda: [Put(B, b"2")])
        tx.undo(mark)

    await store.run(work)
    assert await values(store) == {"b": b"2"}


async def test_a_deferred_write_completes_one_that_was_made_at_once(store: Store) -> None:
    async def work(tx: Attempt) -> None:
        tx.defer(lambda: [Put(A, b"late")])
        tx.put(A, b"early")

    await store.run(work)
    assert await values(store) == {"a": b"late"}


async def test_what_making_them_raises_is_raised_and_nothing_is_written(store: Store) -> None:
    told: list[Became] = []

    def make() -> Iterable[Write]:
        raise ZeroDivisionError

    async def work(tx: Attempt) -> None:
        tx.when_settled(told.append)
        tx.put(A, b"1")
        tx.defer(make)

    with pytest.raises(ZeroDivisionError):
        await store.run(work)
    assert await values(store) == {}
    assert told == [None]


async def test_deferring_nothing_is_work_that_only_reads(store: Store) -> None:
    async def work(tx: Attempt) -> int:
        tx.defer(list)
        return await tx.now()

    assert await store.run(work)
    assert await values(store) == {}


# == An attempt that is over


async def test_an_attempt_that_is_over_takes_nothing_more(store: Store) -> None:
    kept: list[Attempt] = []

    async def work(tx: Attempt) -> None:
        kept.append(tx)
        tx.check_lasting()

    await store.run(work)
    with pytest.raises(InvalidError, match="tx"):
        kept[0].when_settled(print)
    with pytest.raises(InvalidError, match="tx"):
        kept[0].defer(list)
    with pytest.raises(InvalidError, match="tx"):
        kept[0].check_lasting()
