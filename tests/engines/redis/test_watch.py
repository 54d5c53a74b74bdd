"""Following the log where it breaks off: lost, trimmed, set back; and what waking up costs."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from sojourn import limits
from sojourn.engines.redis import RedisEngine
from sojourn.engines.redis.position import read_position, write_position
from sojourn.kernel import ids
from sojourn.kernel.keys import Key
from sojourn.kernel.transaction import Put, Transaction
from sojourn.testing import ManualClock
from tests.engines.redis.waiting import until_blocked
from tests.servers import Redis

KEY = Key("s", "p", "i")


@pytest.fixture
async def other(server: Redis, clock: ManualClock) -> AsyncIterator[RedisEngine]:
    """Another process, as it were."""
    engine = RedisEngine(server.url("test"), clock=clock)
    await engine.open()
    yield engine
    await engine.close()


async def put(engine: RedisEngine, item: str) -> Key:
    key = KEY._replace(item=item)
    await engine.commit([Transaction(ids.new(), writes=(Put(key, b""),))])
    return key


async def position(engine: RedisEngine) -> str:
    return (await engine.changes(None, 0)).position


@pytest.mark.promise(9)
@pytest.mark.parametrize("written", [0, 1, 9])
@pytest.mark.parametrize("wait", [0, 60])
async def test_a_log_that_was_lost_is_a_gap(
    engine: RedisEngine, admin: Any, clock: ManualClock, written: int, wait: float
) -> None:
    """Whether or not it has gone on since, and however far: at once, not when somebody has waited."""
    for number in range(5):
        await put(engine, str(number))
    before = await position(engine)
    admin.flushall()
    clock.advance(timedelta(milliseconds=1))
    for number in range(written):
        await put(engine, f"new{number}")
    answer = await engine.changes(before, wait)
    assert answer.gap
    key = await put(engine, "after")
    answer = await engine.changes(answer.position, wait)
    assert (answer.keys, answer.gap) == (frozenset({key}), False)


@pytest.mark.promise(9)
@pytest.mark.parametrize("written", [0, 1, 9])
async def test_a_log_that_lost_its_end_is_a_gap(
    engine: RedisEngine, admin: Any, clock: ManualClock, written: int
) -> None:
    """As a failover leaves it: the store is there, but for the newest commits."""
    await put(engine, "kept")
    copies = {key: admin.dump(key) for key in admin.scan_iter()}
    clock.advance(timedelta(milliseconds=1))
    await put(engine, "lost")
    before = await position(engine)
    admin.flushall()
    for key, copy in copies.items():
        admin.restore(key, 0, copy)
    clock.advance(timedelta(milliseconds=1))
    for number in range(written):
        await put(engine, f"new{number}")
    assert (await engine.changes(before, 60)).gap


@pytest.mark.promise(9)
async def test_who_waits_learns_of_a_loss_in_the_end(engine: RedisEngine, admin: Any) -> None:
    """A log that is gone wakes nobody; who has waited in vain looks whether it is still the one he knew."""
    await put(engine, "a")
    before = await position(engine)
    assert not (await engine.changes(before, 0)).gap
    waiting = asyncio.create_task(engine.changes(before, 0.2))
    await until_blocked(admin)
    admin.flushall()
    assert (await waiting).gap


@pytest.mark.promise(9)
async def test_a_long_log_is_read_in_steps(engine: RedisEngine, other: RedisEngine) -> None:
    before = await position(engine)
    many = 2 * limits.REDIS_LOG_ENTRIES + 1
    keys = {await put(other, f"{number:04}") for number in range(many)}
    seen, steps = set[Key](), 0
    while seen != keys:
        answer = await engine.changes(before, 60)
        assert not answer.gap
        assert len(answer.keys) <= limits.REDIS_LOG_ENTRIES
        before, seen, steps = answer.position, seen | answer.keys, steps + 1
    assert steps == 3


@pytest.mark.promise(9)
async def test_one_question_in_a_row_costs_one_look(engine: RedisEngine, other: RedisEngine, admin: Any) -> None:
    """Who goes on from the last answer is woken, looks once, and has it."""
    answer = await engine.changes(await position(engine), 0)
    for number in range(5):
        admin.config_resetstat()
        waiting = asyncio.create_task(engine.changes(answer.position, 60))
        await until_blocked(admin)
        key = await put(other, str(number))
        answer = await waiting
        assert answer.keys == {key}
        assert admin.info("commandstats")["cmdstat_evalsha_ro"]["calls"] == 1


@pytest.mark.promise(9)
async def test_a_sweep_trims_by_age_and_number(
    engine: RedisEngine, clock: ManualClock, admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old entries go, in whole blocks; the newest stays, however old."""
    before = await position(engine)
    for number in range(250):
        await put(engine, str(number))
    clock.advance(limits.CHANGE_LOG_KEEP - timedelta(milliseconds=1))
    assert (await engine.sweep(10)).log_rows == 0
    clock.advance(timedelta(milliseconds=1, seconds=1))
    swept = await engine.sweep(10)
    assert swept.log_rows >= 200
    assert swept.more
    assert 1 <= admin.xlen("test:changes:{0}") <= 50
    assert (await engine.changes(before, 0)).gap
    for number in range(250):
        await put(engine, str(number))
    monkeypatch.setattr(limits, "CHANGE_LOG_ROWS", 50)
    assert (await engine.sweep(10)).log_rows
    assert admin.xlen("test:changes:{0}") < 250


@pytest.mark.parametrize("buckets", [1, 128])
def test_a_position_is_read_as_it_was_written(buckets: int) -> None:
    places = {bucket: 2**53 // (bucket + 1) for bucket in range(buckets)}
    text = write_position("name", places)
    assert read_position(text, "name", buckets) == places
    assert len(text) < 2_000
    for wrong in (text[:-1] + "g", text + ".1", text + "0" * 14, text.replace("name", "other"), text + "\n", "name-"):
        assert read_position(wrong, "name", buckets) is None
