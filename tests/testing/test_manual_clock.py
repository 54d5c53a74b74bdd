"""ManualClock: time that moves when a test says so."""

import asyncio
import threading
from datetime import timedelta

import pytest

from sojourn.errors import InvalidError
from sojourn.testing import ManualClock

SECOND = timedelta(seconds=1)


async def test_time_stands_still_until_it_is_advanced() -> None:
    clock = ManualClock(start_ms=5_000)
    assert (clock.now(), clock.monotonic()) == (5_000, 0.0)
    await asyncio.sleep(0)
    assert clock.now() == 5_000
    clock.advance(timedelta(milliseconds=1_500))
    assert (clock.now(), clock.monotonic()) == (6_500, 1.5)


def test_parts_of_a_millisecond_add_up() -> None:
    clock = ManualClock(start_ms=0)
    for _ in range(4):
        clock.advance(timedelta(microseconds=300))
    assert clock.now() == 1


async def test_a_sleeper_wakes_at_its_instant_and_not_before() -> None:
    clock = ManualClock()
    sleeper = asyncio.create_task(clock.sleep(2))
    await clock.until_sleeping()
    clock.advance(2 * SECOND - timedelta(microseconds=1))
    await asyncio.sleep(0)
    assert not sleeper.done()
    clock.advance(timedelta(microseconds=1))
    await sleeper
    assert clock.sleepers == 0


@pytest.mark.parametrize("seconds", [0, -1, -0.5])
async def test_nobody_sleeps_for_no_time(seconds: float) -> None:
    await ManualClock().sleep(seconds)


async def test_the_shortest_sleep_still_waits() -> None:
    clock = ManualClock()
    sleeper = asyncio.create_task(clock.sleep(1e-12))
    await clock.until_sleeping()
    clock.advance(timedelta.resolution)
    await sleeper


async def test_sleepers_wake_in_the_order_of_their_instants() -> None:
    clock = ManualClock()
    woken: list[float] = []

    async def sleep(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(seconds)

    async with asyncio.TaskGroup() as tasks:
        for seconds in (3, 1, 2, 1.5):
            tasks.create_task(sleep(seconds))
        await clock.until_sleeping(4)
        clock.advance(10 * SECOND)
    assert woken == [1, 1.5, 2, 3]


async def test_who_slept_equally_long_wakes_in_the_order_of_arrival() -> None:
    clock = ManualClock()
    woken: list[int] = []

    async def sleep(number: int) -> None:
        await clock.sleep(1)
        woken.append(number)

    async with asyncio.TaskGroup() as tasks:
        for number in range(5):
            tasks.create_task(sleep(number))
        await clock.until_sleeping(5)
        clock.advance(SECOND)
    assert woken == [0, 1, 2, 3, 4]


async def test_a_cancelled_sleeper_is_forgotten() -> None:
    clock = ManualClock()
    sleeper = asyncio.create_task(clock.sleep(1))
    await clock.until_sleeping()
    sleeper.cancel()
    await asyncio.gather(sleeper, return_exceptions=True)
    assert clock.sleepers == 0
    clock.advance(SECOND)


async def test_a_host_set_back_makes_time_stand_still() -> None:
    """Proves that now never shrinks, that it goes on once the host has caught up, and that durations are untouched."""
    clock = ManualClock(start_ms=10_000)
    sleeper = asyncio.create_task(clock.sleep(3))
    await clock.until_sleeping()
    clock.step_back(5 * SECOND)
    assert clock.now() == 10_000
    clock.advance(3 * SECOND)
    await sleeper
    assert (clock.now(), clock.monotonic()) == (10_000, 3.0)
    clock.advance(3 * SECOND)
    assert clock.now() == 11_000


def test_time_moves_one_way() -> None:
    clock = ManualClock()
    for move in (clock.advance, clock.step_back):
        with pytest.raises(InvalidError):
            move(-SECOND)
    assert clock.monotonic() == 0


async def test_rushing_passes_every_pause_in_order() -> None:
    clock = ManualClock(start_ms=0)
    passed: list[int] = []

    async def pause(seconds: int) -> None:
        for _ in range(2):
            await clock.sleep(seconds)
            passed.append(clock.now())

    async with clock.rushing():
        await asyncio.gather(pause(5), pause(2), pause(60))
    assert passed == [2_000, 4_000, 5_000, 10_000, 60_000, 120_000]
    sleeper = asyncio.create_task(clock.sleep(1))
    await clock.until_sleeping()
    assert clock.now() == 120_000, "outside, time stands still again"
    sleeper.cancel()


async def test_it_may_be_advanced_from_another_thread() -> None:
    clock = ManualClock()
    sleeper = asyncio.create_task(clock.sleep(1))
    await clock.until_sleeping()
    thread = threading.Thread(target=clock.advance, args=(SECOND,))
    thread.start()
    await sleeper
    thread.join()


def test_a_sleeper_of_a_closed_loop_is_passed_over() -> None:
    clock = ManualClock()
    loop = asyncio.new_event_loop()

    async def fall_asleep() -> None:
        sleepers.append(asyncio.create_task(clock.sleep(1)))
        await clock.until_sleeping()

    sleepers: list[asyncio.Task[None]] = []
    loop.run_until_complete(fall_asleep())
    loop.close()
    clock.advance(SECOND)
    (sleeper,) = sleepers
    assert not sleeper.done()
    sleeper.get_coro().close()
    sleeper._log_destroy_pending = False  # type: ignore[attr-defined]
