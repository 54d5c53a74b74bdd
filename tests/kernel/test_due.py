"""Timers and effects: performed on one process, whatever dies in between."""

import asyncio
import logging
from datetime import timedelta

import pytest

from sojourn import limits
from sojourn.kernel import ids
from sojourn.kernel.attempt import Attempt
from sojourn.kernel.keys import Key, Now
from sojourn.kernel.outbox import Effect, Outbox, effect
from sojourn.kernel.store import Store
from sojourn.kernel.timers import Timer, Timers, cancel_timer, set_timer
from sojourn.kernel.transaction import Put, Reads, Transaction, Write
from sojourn.testing import ManualClock

TIMER = Key("t.timer", "dialog", "expiry")
MARK = Key("t", "dialog", "mark")


async def commit(store: Store, *writes: Write) -> None:
    await store.commit(Transaction(ids.new(), writes=writes))


async def count_marks(timer: Timer, tx: Attempt) -> None:
    found = await tx.get(MARK)
    tx.put(MARK, b"%d" % (1 + int(found.value if found else 0)))


async def mark(store: Store) -> int:
    (found,) = (await store.read(Reads((MARK,)))).records.keys
    return int(found.value) if found else 0


async def test_a_timer_goes_off_once_at_its_instant(store: Store, clock: ManualClock) -> None:
    await commit(store, set_timer(TIMER, b'"gone"', at=Now(1_000)))
    timers = [Timers(store, "t.timer", count_marks) for _ in range(3)]
    clock.advance(timedelta(milliseconds=999))
    assert await timers[0].step() == pytest.approx(0.001)
    assert await mark(store) == 0
    clock.advance(timedelta(milliseconds=1))
    await asyncio.gather(*(worker.step() for worker in timers))
    await asyncio.gather(*(worker.step() for worker in timers))
    assert await mark(store) == 1


async def test_a_worker_that_dies_is_followed_by_another(store: Store, clock: ManualClock) -> None:
    started = asyncio.Event()

    async def hang(timer: Timer, tx: Attempt) -> None:
        started.set()
        await asyncio.Event().wait()

    await commit(store, set_timer(TIMER, b"1", at=Now()))
    dying = asyncio.create_task(Timers(store, "t.timer", hang).step())
    await started.wait()
    survivor = Timers(store, "t.timer", count_marks)
    await survivor.step()
    assert await mark(store) == 0, "the claim keeps others away"
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)
    clock.advance(limits.DUE_CLAIM)
    await survivor.step()
    assert await mark(store) == 1


async def test_a_slow_handler_keeps_its_claim(store: Store, clock: ManualClock) -> None:
    started, finish = asyncio.Event(), asyncio.Event()

    async def slow(timer: Timer, tx: Attempt) -> None:
        started.set()
        await finish.wait()
        await count_marks(timer, tx)

    await commit(store, set_timer(TIMER, b"1", at=Now()))
    working = asyncio.create_task(Timers(store, "t.timer", slow).step())
    await started.wait()
    other = Timers(store, "t.timer", count_marks)
    for _ in range(10):
        await clock.until_sleeping()
        clock.advance(limits.DUE_CLAIM / limits.LEASE_RENEWALS)
        await clock.until_sleeping()
        await other.step()
    finish.set()
    await working
    assert await mark(store) == 1


async def test_a_cancelled_timer_does_not_go_off_even_while_it_is_being_handled(store: Store) -> None:
    async def cancelled_meanwhile(timer: Timer, tx: Attempt) -> None:
        await commit(store, cancel_timer(TIMER))
        await count_marks(timer, tx)

    await commit(store, set_timer(TIMER, b"1", at=Now()))
    await Timers(store, "t.timer", cancelled_meanwhile).step()
    assert await mark(store) == 0


async def test_a_handler_that_sets_its_timer_again_is_a_schedule(store: Store, clock: ManualClock) -> None:
    async def daily(timer: Timer, tx: Attempt) -> None:
        await count_marks(timer, tx)
        tx.write(set_timer(timer.key, timer.payload, at=Now(60_000)))

    await commit(store, set_timer(TIMER, b"1", at=Now()))
    timers = Timers(store, "t.timer", daily)
    for _ in range(5):
        await timers.step()
        clock.advance(timedelta(minutes=1))
    assert await mark(store) == 5


async def test_what_fails_is_tried_again_later_and_holds_up_nobody(
    store: Store, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    performed: list[Effect] = []
    seen: list[str] = []

    async def send(sent: Effect) -> None:
        seen.append(sent.idempotency_key)
        if sent.payload == b'"bad"' and len(seen) < 4:
            raise ConnectionError
        performed.append(sent)

    outbox = Outbox(store, "t.outbox", {"send": send})
    await commit(store, effect("t.outbox", "dialog", "send", b'"bad"'), effect("t.outbox", "dialog", "send", b'"good"'))
    with caplog.at_level(logging.CRITICAL):
        await outbox.step()
        assert [done.payload for done in performed] == [b'"good"']
        for _ in range(6):
            clock.advance(limits.DUE_BACKOFF_MAX)
            await outbox.step()
    assert [done.payload for done in performed] == [b'"good"', b'"bad"']
    assert len(set(seen)) == 2, "each repeat carries the key of the first"


async def test_a_record_that_cannot_be_read_keeps_nobody_waiting(
    store: Store, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    await commit(store, Put(Key("t.timer", "dialog", "broken"), b"?", rank=Now(-1)), set_timer(TIMER, b"1", at=Now()))
    with caplog.at_level(logging.CRITICAL):
        await Timers(store, "t.timer", count_marks).step()
    assert await mark(store) == 1


async def test_a_running_worker_is_woken_by_what_falls_due(store: Store) -> None:
    """No clock moves here: the effect is performed because it was stored."""
    done = asyncio.Event()

    async def send(sent: Effect) -> None:
        done.set()

    async with asyncio.TaskGroup() as group:
        worker = group.create_task(Outbox(store, "t.outbox", {"send": send}).run())
        await commit(store, effect("t.outbox", "dialog", "send", b"1"))
        await done.wait()
        worker.cancel()


async def test_what_has_failed_a_thousand_times_still_harms_nobody(store: Store, clock: ManualClock) -> None:
    async def fail(sent: Effect) -> None:
        raise OSError

    entry = effect("t.outbox", "dialog", "send", b"1")
    failed = Put(entry.key, entry.value.replace(b",0]", b",5000]"), rank=Now())
    assert failed.value != entry.value
    await commit(store, failed)
    await Outbox(store, "t.outbox", {"send": fail}).step()
    (record,) = (await store.read(Reads((entry.key,)))).records.keys
    assert record is not None
    assert b"5001" in record.value
