"""What the function given to `Store.run` sees, and what becomes of it."""

import asyncio
from datetime import timedelta

import pytest

from sojourn import limits
from sojourn.engines.memory import MemoryEngine
from sojourn.errors import ClosedError, ConflictError, InvalidError, LimitError, UnavailableError
from sojourn.kernel import ids
from sojourn.kernel.attempt import PENDING, Attempt
from sojourn.kernel.keys import Key, Now, Span
from sojourn.kernel.store import Store
from sojourn.kernel.transaction import (
    Absent,
    Append,
    Create,
    Delete,
    DeleteSpan,
    Ensure,
    Put,
    Reads,
    Touch,
    Transaction,
    Write,
)
from sojourn.testing import FaultyEngine, ManualClock

A, B, C = (Key("t", "p", item) for item in "abc")
ALL = Span("t", "p")


async def values(store: Store) -> dict[str, bytes]:
    return {record.key.item: record.value async for record in store.scan(ALL)}


async def test_an_attempt_sees_its_own_writes(store: Store) -> None:
    await store.commit(Transaction(ids.new(), writes=(Put(A, b"1"), Put(B, b"2"))))

    async def work(tx: Attempt) -> None:
        tx.put(B, b"new", rank=Now(5), ttl=timedelta(seconds=1))
        tx.put(C, b"3")
        tx.delete(A)
        seen = await tx.get(B)
        assert seen is not None
        assert (seen.value, seen.revision) == (b"new", PENDING)
        assert seen.rank == (await tx.now()) + 5
        assert seen.expires_at == (await tx.now()) + 1_000
        assert await tx.get(A) is None
        assert [record.value for record in await tx.scan(ALL)] == [b"new", b"3"]

    await store.run(work)
    assert await values(store) == {"b": b"new", "c": b"3"}


async def test_a_deleted_span_is_gone_for_the_attempt_and_may_be_written_anew(store: Store) -> None:
    await store.commit(Transaction(ids.new(), writes=(Put(A, b"1"), Put(B, b"2"))))

    async def work(tx: Attempt) -> None:
        tx.put(B, b"before")
        tx.write(DeleteSpan(ALL))
        assert await tx.get(A) is None
        assert await tx.get(B) is None
        assert await tx.scan(ALL) == ()
        tx.put(C, b"after")
        assert [record.key for record in await tx.scan(ALL)] == [C]

    await store.run(work)
    assert await values(store) == {"c": b"after"}


async def test_a_full_page_guards_only_what_it_shows(store: Store) -> None:
    """Design 3.2: a scan guards up to the last record seen, so a write behind the page is no conflict."""
    await store.commit(Transaction(ids.new(), writes=(Put(A, b"1"), Put(C, b"3"))))
    attempts: list[int] = []

    async def work(tx: Attempt, rival: Key) -> None:
        attempts.append(tx.number)
        await tx.scan(Span("t", "p", limit=1))
        if tx.number == 1:
            await store.commit(Transaction(ids.new(), writes=(Put(rival, b"rival"),)))
        tx.put(Key("u", "p", ""), b"")

    await store.run(lambda tx: work(tx, B))
    assert attempts == [1]
    await store.run(lambda tx: work(tx, Key("t", "p", "Z")))
    assert attempts == [1, 1, 2]


@pytest.mark.promise(2)
async def test_what_was_read_as_empty_is_guarded_too(store: Store) -> None:
    """A phantom: a record that appears in a span that was read, though empty, makes the attempt run again."""
    seen: list[int] = []

    async def work(tx: Attempt) -> None:
        seen.append(len(await tx.scan(ALL)))
        if tx.number == 1:
            await store.commit(Transaction(ids.new(), writes=(Put(B, b"rival"),)))
        tx.put(A, b"mine")

    await store.run(work)
    assert seen == [0, 1]


async def test_an_exception_commits_nothing(store: Store) -> None:
    async def work(tx: Attempt) -> None:
        tx.put(A, b"half")
        raise LookupError

    with pytest.raises(LookupError):
        await store.run(work)
    assert await values(store) == {}


async def test_an_exception_over_a_state_that_never_was_is_not_raised(store: Store) -> None:
    """Two reads straddle a rival's commit: what they show together never stood in the store, so work runs again."""
    await store.commit(Transaction(ids.new(), writes=(Put(A, b"1"), Put(B, b"1"))))

    async def work(tx: Attempt) -> int:
        first = await tx.get(A)
        if tx.number == 1:
            await store.commit(Transaction(ids.new(), writes=(Put(A, b"2"), Put(B, b"2"))))
        second = await tx.get(B)
        assert first is not None
        assert second is not None
        if first.value != second.value:
            raise LookupError("torn")
        return tx.number

    assert await store.run(work) == 2


async def test_work_that_only_reads_may_do_so_over_partitions_on_every_engine(store: Store) -> None:
    """Where the engine reaches one partition at a time, each is proved by itself: a rival's commit is still noticed."""
    other = Key("t", "another", "")
    attempts: list[int] = []

    async def work(tx: Attempt) -> bytes:
        attempts.append(tx.number)
        seen = await tx.get(A)
        if tx.number == 1:
            await store.commit(Transaction(ids.new(), writes=(Put(A, b"rival"),)))
        assert await tx.get(other) is None
        return b"" if seen is None else seen.value

    assert await store.run(work) == b"rival"
    assert attempts == [1, 2]


@pytest.mark.promise(10)
@pytest.mark.parametrize("raises", [False, True], ids=["a value", "an exception"])
async def test_what_cannot_be_proved_has_written_nothing(clock: ManualClock, *, raises: bool) -> None:
    """The proof of work that only reads is a commit too; a lost answer of it leaves nothing unknown."""
    async with Store(FaultyEngine(MemoryEngine(clock=clock), 1, lose=1), clock=clock) as store, clock.rushing():

        async def work(tx: Attempt) -> None:
            await tx.get(A)
            await tx.get(B)
            if raises:
                raise LookupError

        with pytest.raises(UnavailableError, match="nothing was written"):
            await store.run(work)


async def test_what_is_assumed_saves_a_trip_and_is_proved_by_the_commit(store: Store) -> None:
    await store.commit(Transaction(ids.new(), writes=(Put(A, b"1"),)))
    snapshot = await store.read(Reads((A, B)))
    shown: list[bytes | None] = []

    async def work(tx: Attempt) -> None:
        if tx.number == 1:
            tx.assume(dict(zip((A, B), snapshot.records.keys, strict=True)), snapshot.now)
        found = await tx.get(A)
        shown.append(None if found is None else found.value)
        tx.put(C, b"by " + (b"" if found is None else found.value))

    await store.run(work)
    await store.commit(Transaction(ids.new(), writes=(Put(A, b"2"),)))
    await store.run(work)
    assert shown == [b"1", b"1", b"2"]
    assert (await values(store))["c"] == b"by 2"


async def test_an_exception_over_what_was_wrongly_assumed_is_not_raised(store: Store) -> None:
    await store.commit(Transaction(ids.new(), writes=(Put(A, b"1"),)))

    async def work(tx: Attempt) -> int:
        if tx.number == 1:
            tx.assume({A: None}, 0)
        if await tx.get(A) is None:
            raise LookupError("there is one")
        return tx.number

    assert await store.run(work) == 2


async def test_the_value_is_that_of_the_attempt_that_was_committed(store: Store, clock: ManualClock) -> None:
    async def work(tx: Attempt) -> int:
        await tx.get(A)
        if tx.number < 3:
            await store.commit(Transaction(ids.new(), writes=(Put(A, b"%d" % tx.number),)))
        tx.put(A, b"mine")
        return tx.number

    async with clock.rushing():
        assert await store.run(work) == 3


async def test_a_rival_that_never_yields_ends_in_a_conflict_not_in_a_loop(clock: ManualClock) -> None:
    async with Store(MemoryEngine(clock=clock), clock=clock) as store, clock.rushing():
        attempts = 0

        async def work(tx: Attempt) -> None:
            nonlocal attempts
            attempts += 1
            await tx.get(A)
            await store.commit(Transaction(ids.new(), writes=(Put(A, b"%d" % attempts),)))
            tx.put(A, b"mine")

        with pytest.raises(ConflictError, match="nothing was written"):
            await store.run(work)
        assert attempts == limits.RUN_ATTEMPTS
        assert await values(store) == {"a": b"%d" % attempts}


async def test_cancelled_while_it_waits_its_turn_a_run_leaves_the_queue_usable(store: Store) -> None:
    """Promise 12 for the queue of `run`: a cancelled waiter neither keeps the turn nor loses it for others."""
    entered, release = asyncio.Event(), asyncio.Event()

    async def slow(tx: Attempt) -> None:
        await tx.get(A)
        if tx.number == 1:
            await store.commit(Transaction(ids.new(), writes=(Put(A, b"rival"),)))
        else:
            entered.set()
            await release.wait()
        tx.put(A, b"slow")

    async def quick(tx: Attempt) -> int:
        found = await tx.get(A)
        tx.put(A, b"quick")
        assert found is not None
        return found.revision

    holder = asyncio.create_task(store.run(slow))
    await entered.wait()
    waiters = [asyncio.create_task(store.run(quick)) for _ in range(3)]
    await asyncio.sleep(0)
    waiters[1].cancel()
    release.set()
    first, cancelled, last = await asyncio.gather(*waiters, return_exceptions=True)
    await holder
    assert isinstance(cancelled, asyncio.CancelledError)
    assert isinstance(first, int)
    assert isinstance(last, int)
    assert first < last
    assert await store.run(quick) > last


@pytest.mark.parametrize(
    ("writes", "left"),
    [
        ((Put(A, b"1"), Put(A, b"2")), b"2"),
        ((Put(A, b"1"), Delete(A)), None),
        ((Delete(A), Create(A, b"2")), b"2"),
        ((Delete(A), Ensure(A, b"2")), b"2"),
        ((Delete(A), Touch(A, rank=1)), None),
        ((Put(A, b"1"), Create(A, b"2")), b"1"),
        ((Put(A, b"1"), Ensure(A, b"2", rank=3)), b"1"),
        ((Create(A, b"1"), Create(A, b"2")), b"old"),
        ((Touch(A, rank=1), Touch(A, rank=2)), b"old"),
    ],
)
async def test_two_writes_of_one_key_become_the_one_that_does_both(
    store: Store, writes: tuple[Write, ...], left: bytes | None
) -> None:
    await store.commit(Transaction(ids.new(), writes=(Put(A, b"old"),)))

    async def work(tx: Attempt) -> None:
        tx.write(*writes)

    await store.run(work)
    assert (await values(store)).get("a") == left


async def test_two_writes_that_cannot_be_one_are_refused(store: Store) -> None:
    async def work(tx: Attempt) -> None:
        tx.write(Create(A, b"1"), Touch(A, rank=1))

    with pytest.raises(InvalidError, match="cannot be made one"):
        await store.run(work)


async def test_appends_of_one_attempt_stand_in_the_order_given(store: Store) -> None:
    async def work(tx: Attempt) -> None:
        for value in (b"1", b"2"):
            tx.write(Append("t", "p", "log/", value))

    await store.run(work)
    await store.run(work)
    assert list((await values(store)).values()) == [b"1", b"2", b"1", b"2"]


async def test_a_span_larger_than_a_guard_may_cover_is_refused(store: Store) -> None:
    with pytest.raises(LimitError):
        await store.run(lambda tx: tx.scan(Span("t", "p", limit=limits.SPAN_GUARD_RECORDS + 1)))


@pytest.mark.promise(2)
async def test_reading_twice_is_proved_and_reading_once_needs_no_proof(store: Store) -> None:
    """What was read of one instant holds; what was read of two is proved by a commit of guards alone."""
    await store.commit(Transaction(ids.new(), writes=(Put(A, b"1"), Put(B, b"1"))))

    async def work(tx: Attempt, *keys: Key) -> int:
        for key in keys:
            await tx.get(key)
        if tx.number == 1:
            await store.commit(Transaction(ids.new(), writes=(Put(A, b"rival"),)))
        assert tx.transaction(ids.new()).id is None, "reading twice is harmless, so it needs no receipt"
        return tx.number

    assert await store.run(lambda tx: work(tx, A)) == 1
    assert await store.run(lambda tx: work(tx, A, B)) == 2


async def test_own_writes_are_read_back_without_being_sent_back(store: Store) -> None:
    """Promise 3: what a transaction reads of its own writes is what the engine would have answered."""
    put = Transaction(
        ids.new(),
        (Absent(A),),
        (Put(A, b"1", rank=Now(step=1_000), ttl=timedelta(seconds=3)), Delete(C)),
        Reads((A, B, C)),
    )
    committed = await store.commit(put)
    assert committed.records == (await store.read(put.reads)).records
    assert committed.records.keys[0] is not None
    again = await store.commit(Transaction(put.id, put.guards, put.writes, put.reads))
    assert again.repeated
    assert again.records == committed.records


async def test_a_store_that_is_not_open_says_so() -> None:
    store = Store(MemoryEngine())
    for call in (store.commit(Transaction()), store.read(Reads()), store.sweep(), store.run(lambda tx: tx.get(A))):
        with pytest.raises(ClosedError, match="open"):
            await call
    async with store:
        await store.commit(Transaction(writes=(Put(A, b"1"),)))
    with pytest.raises(ClosedError):
        await store.commit(Transaction(writes=(Put(A, b"2"),)))
    await store.close()


@pytest.mark.promise(13)
async def test_a_loop_over_a_span_goes_on_after_a_lost_answer(clock: ManualClock) -> None:
    """A repeat cannot know whether records were left, so it says that there may be some."""
    engine = FaultyEngine(MemoryEngine(clock=clock), 1, lose=0.5)
    async with Store(engine, clock=clock) as store, clock.rushing():
        await store.commit(Transaction(ids.new(), writes=tuple(Put(Key("t", "p", str(i)), b"") for i in range(20))))
        rounds = 0
        while (await store.commit(Transaction(ids.new(), writes=(DeleteSpan(ALL, at_most=2),)))).remaining:
            rounds += 1
        assert await values(store) == {}
        assert rounds >= 9
    assert engine.faults.lost


@pytest.mark.parametrize("reverse", [False, True])
async def test_a_page_is_full_although_some_of_it_was_just_deleted(store: Store, *, reverse: bool) -> None:
    keys = [Key("t", "p", f"{place:03}") for place in range(40)]
    await store.commit(Transaction(ids.new(), writes=tuple(Put(key, b"") for key in keys)))

    async def work(tx: Attempt) -> list[str]:
        gone = keys[-15:] if reverse else keys[:15]
        for key in gone:
            tx.delete(key)
        return [record.key.item for record in await tx.scan(Span("t", "p", limit=10, reverse=reverse))]

    expected = range(24, 14, -1) if reverse else range(15, 25)
    assert await store.run(work) == [f"{place:03}" for place in expected]


async def test_opening_and_closing_wait_for_each_other(clock: ManualClock) -> None:
    """Opened twice at once the engine is opened once; a close that is cancelled closes all the same."""
    calls: list[str] = []

    class Counting(MemoryEngine):
        async def open(self) -> None:
            calls.append("open")
            await asyncio.sleep(0)

        async def close(self) -> None:
            calls.append("close")

    store = Store(Counting(clock=clock), clock=clock)
    await asyncio.gather(store.open(), store.open())
    closing = asyncio.create_task(store.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.gather(closing, return_exceptions=True)
    await store.close()
    assert calls == ["open", "close"]
