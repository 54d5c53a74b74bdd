"""Updates of one chat, one after another."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from aiogram.fsm.storage.base import StorageKey

import sojourn
from sojourn.adapters.aiogram import DurableStorage, LeaseIsolation
from sojourn.adapters.aiogram.isolation import _held as held
from sojourn.engines.memory import MemoryEngine
from sojourn.errors import LeaseHeldError, LeaseLostError, UnavailableError
from sojourn.kernel import Key, Leases, Outcome, Reads, Store, Transaction
from sojourn.testing import ManualClock

KEY = StorageKey(bot_id=42, chat_id=-7, user_id=7)
PARTITION = "\x0142\x01-7\x017\x01\x01"
PLACE = Key("aiogram.lease", PARTITION, "default")


class Wavering(MemoryEngine):
    """An engine that can be sent away."""

    is_away = False

    async def commit(self, batch: Sequence[Transaction]) -> Sequence[Outcome]:
        if self.is_away:
            raise UnavailableError("away")
        return await super().commit(batch)


@pytest.fixture
def isolation(store: Store) -> LeaseIsolation:
    return LeaseIsolation(store)


@pytest.fixture
async def elsewhere(shared_url: str, clock: ManualClock) -> AsyncIterator[tuple[Store, Store]]:
    """Two stores on one database, as two processes have them."""
    async with sojourn.open(shared_url, clock=clock) as one, sojourn.open(shared_url, clock=clock) as other:
        yield one, other


async def add_one(isolation: LeaseIsolation, storage: DurableStorage) -> None:
    """Do what a handler does: read, take its time, write."""
    async with isolation.lock(KEY):
        count = await storage.get_value(KEY, "count", 0)
        await asyncio.sleep(0)
        await storage.set_data(KEY, {"count": count + 1})


async def test_updates_of_one_key_are_handled_one_after_another_in_order(
    isolation: LeaseIsolation, store: Store
) -> None:
    order: list[int] = []

    async def handle(number: int) -> None:
        async with isolation.lock(KEY):
            order.append(number)
            await asyncio.sleep(0)
            order.append(number)

    await asyncio.gather(*(handle(number) for number in range(8)))
    assert order == [number for number in range(8) for _ in range(2)]
    assert (await store.read(Reads(keys=(PLACE,)))).records.keys == (None,)


async def test_no_update_is_lost_over_processes(elsewhere: tuple[Store, Store]) -> None:
    handlers = [(LeaseIsolation(store), DurableStorage(store)) for store in elsewhere]
    await asyncio.gather(*(add_one(*handler) for handler in handlers for _ in range(10)))
    assert await handlers[0][1].get_data(KEY) == {"count": 20}


async def test_keys_do_not_wait_for_each_other(isolation: LeaseIsolation) -> None:
    async with (
        isolation.lock(KEY),
        isolation.lock(replace(KEY, destiny="history")),
        isolation.lock(replace(KEY, user_id=8)),
        isolation.lock(replace(KEY, thread_id=1)),
    ):
        pass


async def test_what_a_handler_raises_comes_out_and_gives_the_lease_back(isolation: LeaseIsolation) -> None:
    with pytest.raises(ZeroDivisionError):
        async with isolation.lock(KEY):
            raise ZeroDivisionError
    async with isolation.lock(KEY):
        pass


async def test_a_handler_that_is_cancelled_gives_the_lease_back(isolation: LeaseIsolation) -> None:
    entered = asyncio.Event()

    async def handle() -> None:
        async with isolation.lock(KEY):
            entered.set()
            await asyncio.Event().wait()

    handler = asyncio.ensure_future(handle())
    await entered.wait()
    handler.cancel()
    with pytest.raises(asyncio.CancelledError):
        await handler
    async with isolation.lock(KEY):
        pass


async def test_an_update_does_not_wait_for_ever(store: Store, isolation: LeaseIsolation) -> None:
    hasty = LeaseIsolation(store, wait=timedelta())
    async with isolation.lock(KEY):
        with pytest.raises(LeaseHeldError):
            async with hasty.lock(KEY):
                pytest.fail("two handlers at once")


async def test_a_process_that_died_holds_a_chat_no_longer_than_the_lease_lives(
    store: Store, clock: ManualClock, isolation: LeaseIsolation
) -> None:
    lease = await Leases(store).acquire(PLACE, holder="dead", ttl=timedelta(seconds=5))
    await lease.stop_keeping()
    clock.advance(timedelta(seconds=6))
    async with isolation.lock(KEY):
        pass


async def test_a_handler_whose_lease_was_lost_goes_on_but_writes_no_more(
    store: Store, isolation: LeaseIsolation, caplog: pytest.LogCaptureFixture
) -> None:
    storage = DurableStorage(store)
    with caplog.at_level(logging.WARNING):
        async with isolation.lock(KEY):
            await Leases(store).revoke(PLACE)
            with pytest.raises(LeaseLostError):
                await storage.set_state(replace(KEY, destiny="history"), "late")
    assert "lost before its handler ended" in caplog.text


async def test_what_a_paused_handler_writes_late_is_refused(elsewhere: tuple[Store, Store]) -> None:
    paused, other = elsewhere
    storage = DurableStorage(paused)
    async with LeaseIsolation(paused).lock(KEY):
        count = await storage.get_value(KEY, "count", 0)
        await Leases(other).revoke(PLACE)
        await add_one(LeaseIsolation(other), DurableStorage(other))
        for change in (storage.set_data(KEY, {"count": count + 1}), storage.update_data(KEY, {"count": count + 1})):
            with pytest.raises(LeaseLostError):
                await change
        with pytest.raises(LeaseLostError):
            await storage.set_state(KEY, "late")
        await storage.set_state(replace(KEY, user_id=8), "another chat")
    assert await storage.get_data(KEY) == {"count": 1}
    await storage.set_state(KEY, "outside of any handler")


async def test_what_a_handler_left_behind_may_write_when_the_handler_is_over(
    store: Store, isolation: LeaseIsolation
) -> None:
    storage = DurableStorage(store)
    over = asyncio.Event()

    async def later() -> None:
        await over.wait()
        await storage.set_state(KEY, "later")

    async with isolation.lock(KEY):
        task = asyncio.ensure_future(later())
    over.set()
    await task
    assert await storage.get_state(KEY) == "later"


async def test_a_lease_that_cannot_be_given_back_does_not_undo_what_the_handler_did(
    clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    engine = Wavering(clock=clock)
    async with Store(engine, clock=clock) as store:
        async with LeaseIsolation(store).lock(KEY):
            engine.is_away = True
        assert "was not given back" in caplog.text
        with pytest.raises(UnavailableError):
            async with LeaseIsolation(store).lock(KEY):
                pytest.fail("a handler without a lease")


async def test_closing_a_dispatcher_leaves_the_store_open(isolation: LeaseIsolation) -> None:
    await isolation.close()
    async with isolation.lock(KEY):
        pass


async def test_a_task_that_handles_one_update_after_another_remembers_none(isolation: LeaseIsolation) -> None:
    for _ in range(3):
        async with isolation.lock(KEY), isolation.lock(replace(KEY, destiny="history")):
            assert len(held.get()) == 2
    assert held.get() == ()
