"""Watching: nothing is missed from the moment a subscription is ready, and a slow reader costs bounded memory."""

import asyncio
import contextlib

import pytest

from sojourn import limits
from sojourn.engines.memory import MemoryEngine
from sojourn.errors import ClosedError, InvalidError, UnavailableError
from sojourn.kernel import ids
from sojourn.kernel.keys import Key, Space, Span
from sojourn.kernel.store import Store
from sojourn.kernel.subscriptions import Changed, Gap, Subscription
from sojourn.kernel.transaction import Delete, Put, Transaction
from sojourn.testing import FaultyEngine, ManualClock

A, B = Key("t", "p", "a"), Key("t", "p", "b")


async def put(store: Store, *keys: Key) -> None:
    await store.commit(Transaction(ids.new(), writes=tuple(Put(key, b"1") for key in keys)))


async def until(changes: Subscription, *wanted: Key) -> set[Key]:
    """Return what has changed when all that is wanted has: it may come in one answer or in several."""
    seen = set[Key]()
    async for change in changes:
        assert isinstance(change, Changed)
        seen |= change.keys
        if seen.issuperset(wanted):
            break
    return seen


@pytest.mark.promise(9)
async def test_each_scope_gets_its_own_changes_and_no_others(store: Store) -> None:
    async with (
        store.watch(A) as one,
        store.watch(Span("t", "p", "b")) as span,
        store.watch(Space("t")) as space,
        store.watch(A, Span("t", "q"), Space("u")) as several,
    ):
        await put(store, B)
        await put(store, Key("u", "p", "y"), A)
        await put(store, Key("t", "q", "z"))
        last = Key("t", "q", "z")
        assert await until(one, A) == {A}
        assert await until(span, B) == {B}
        assert await until(space, A, B, last) == {A, B, last}
        assert await until(several, A, Key("u", "p", "y"), last) == {A, Key("u", "p", "y"), last}


@pytest.mark.promise(9)
async def test_a_reader_that_is_cancelled_loses_no_change(store: Store) -> None:
    async with store.watch(A) as changes:
        waiting = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await put(store, A)
        assert await anext(changes) == Changed(frozenset({A}))


async def test_a_deletion_is_a_change(store: Store) -> None:
    await put(store, A)
    async with store.watch(A) as changes:
        await store.commit(Transaction(ids.new(), writes=(Delete(A),)))
        assert await anext(changes) == Changed(frozenset({A}))


async def test_a_slow_reader_is_told_of_a_gap_instead_of_filling_the_memory(store: Store) -> None:
    async with store.watch(Space("t")) as slow, store.watch(A) as quick:
        for start in range(0, limits.SUBSCRIPTION_KEYS + 1_000, 1_000):
            await put(store, *(Key("t", "p", str(start + i)) for i in range(1_000)))
        await put(store, A)
        await anext(quick)
        assert await anext(slow) == Gap()
        await put(store, B)
        assert await anext(slow) == Changed(frozenset({B}))


async def test_an_engine_that_goes_away_is_waited_for(clock: ManualClock) -> None:
    engine = FaultyEngine(MemoryEngine(clock=clock), 7, fail=0.5)
    async with Store(engine, clock=clock) as store, clock.rushing():
        watched = refused = 0
        while watched < 10:
            async with contextlib.AsyncExitStack() as stack:
                try:
                    changes = await stack.enter_async_context(store.watch(A))
                except UnavailableError:
                    refused += 1  # a watch begins with a question, which is not waited for
                    continue
                await put(store, A)
                assert await anext(changes) == Changed(frozenset({A}))
                watched += 1
    assert refused
    assert engine.faults.failed > refused, "others failed while somebody watched, and were asked again"


async def test_closing_the_store_ends_every_subscription(clock: ManualClock) -> None:
    store = Store(MemoryEngine(clock=clock))
    await store.open()
    async with store.watch(A) as changes:
        waiting = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(0)
        await store.close()
        with pytest.raises(ClosedError):
            await waiting


async def test_the_log_is_read_only_while_somebody_watches(clock: ManualClock) -> None:
    before = asyncio.all_tasks()
    async with Store(MemoryEngine(clock=clock)) as store:
        async with store.watch(A), store.watch(B):
            assert len(asyncio.all_tasks() - before) == 1
        assert asyncio.all_tasks() == before


@pytest.mark.promise(9)
async def test_who_has_caught_up_was_told_of_all_that_was_committed_before(store: Store) -> None:
    """Although nobody had asked for it yet: the reader was in the midst of a long wait."""
    subscriptions = store._subscriptions
    async with store.watch(Space("t")) as changes:
        for number in range(10):
            keys = [Key("t", "p", f"{number}-{place}") for place in range(3)]
            await asyncio.gather(*(put(store, key) for key in keys))
            await asyncio.gather(*(subscriptions.catch_up() for _ in range(3)))
            assert await anext(changes) == Changed(frozenset(keys))
    with pytest.raises(ClosedError):
        await subscriptions.catch_up()


async def test_while_the_log_cannot_be_read_nobody_catches_up(clock: ManualClock) -> None:
    engine = FaultyEngine(MemoryEngine(clock=clock), 3, fail=0.5)
    async with Store(engine, clock=clock) as store, clock.rushing(), contextlib.AsyncExitStack() as stack:
        while True:
            changes = store.watch(A)
            with contextlib.suppress(UnavailableError):
                await stack.enter_async_context(changes)
                break
        caught_up = refused = 0
        while not (caught_up and refused):
            await put(store, A)
            try:
                await store._subscriptions.catch_up()
            except UnavailableError:
                refused += 1
            else:
                caught_up += 1
                assert await anext(changes) == Changed(frozenset({A}))


async def test_what_cannot_be_a_key_cannot_be_watched(store: Store) -> None:
    with pytest.raises(InvalidError, match="NUL"):
        store.watch(Key("t", "p", "\0"))
