"""Signs of life: a turn is kept alive while its process lives, and expires when it gives none any more."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from sojourn.errors import (
    LeaseLostError,
)
from sojourn.kernel import Store
from sojourn.snapshots import Snapshots
from tests.documents.conftest import HastyClock
from tests.snapshots.elsewhere import LEASE, RENEWAL, Start, elsewhere, pass_time, saying
from tests.snapshots.turning import COMPLETED, EXPIRED, LATE, PENDING, begun, end, info, messages, turned

__all__ = ["elsewhere"]


@pytest.mark.row("S-4.3.11", "S-5.16")
async def test_a_heartbeat_moves_itself_and_nothing_else(
    snapshots: Snapshots[Any], store: Store, elsewhere: Start, clock: HastyClock
) -> None:
    worker = await elsewhere()
    turn = await begun(worker)
    newer = await snapshots.save_snapshot(None, saying("newer"))
    before = await info(snapshots, turn.snapshot_id)
    worker.wire.clear()
    await pass_time(store, clock, 2 * RENEWAL)
    assert worker.wire.sent
    after = await info(snapshots, turn.snapshot_id)
    assert before.heartbeat_at is not None
    assert after.heartbeat_at is not None
    assert after.heartbeat_at > before.heartbeat_at
    assert (after.created_at, after.updated_at, after.status) == (before.created_at, None, PENDING)
    assert (await info(snapshots)).snapshot_id == newer, "what is the newest does not change by a sign of life"
    assert not worker.puts, "no record is written anew, and no state"


@pytest.mark.row("S-4.3.11")
async def test_a_settled_turn_gives_no_more_signs_of_life(store: Store, elsewhere: Start, clock: HastyClock) -> None:
    worker = await elsewhere()
    await turned(worker.snapshots, "hi")
    worker.wire.clear()
    await pass_time(store, clock, LEASE)
    assert not worker.wire.sent
    assert clock.sleepers == 0


async def test_a_turn_that_takes_long_is_kept_alive(
    snapshots: Snapshots[Any], store: Store, elsewhere: Start, clock: HastyClock
) -> None:
    worker = await elsewhere()
    async with worker.snapshots.turn("chat") as turn:
        await pass_time(store, clock, 3 * LEASE)
        assert (await info(snapshots, turn.snapshot_id)).status is PENDING
    assert (await info(snapshots, turn.snapshot_id)).status is COMPLETED


@pytest.mark.row("S-4.3.10")
async def test_a_turn_whose_process_died_expires_and_that_is_stored(
    snapshots: Snapshots[Any], elsewhere: Start, clock: HastyClock
) -> None:
    root = await turned(snapshots, "hi")
    worker = await elsewhere()
    turn = await begun(worker)
    await worker.crash()
    clock.advance(LEASE - timedelta(milliseconds=1))
    assert (await info(snapshots)).status is PENDING
    clock.advance(timedelta(milliseconds=1))
    found = await info(snapshots)
    assert (found.snapshot_id, found.status) == (turn.snapshot_id, EXPIRED)
    assert await snapshots.expire() == 0, "who looked has stored it"
    assert await snapshots.abort(turn.snapshot_id) is EXPIRED
    async with snapshots.turn("chat") as after:
        assert after.parent_id == root


async def test_what_expired_is_stored_without_anybody_looking(
    snapshots: Snapshots[Any], store: Store, elsewhere: Start, clock: HastyClock
) -> None:
    workers = [await elsewhere() for _ in range(3)]
    turns = [await begun(worker, if_busy="branch") for worker in workers]
    for worker in workers[1:]:
        await worker.crash()
    assert await snapshots.expire() == 0
    await pass_time(store, clock, LEASE)
    assert await snapshots.expire() == 2
    assert await snapshots.expire() == 0
    statuses = [(await info(snapshots, turn.snapshot_id)).status for turn in turns]
    assert statuses == [PENDING, EXPIRED, EXPIRED]


async def test_what_cannot_expire_keeps_nobody_from_storing_what_has(
    snapshots: Snapshots[Any], store: Store, elsewhere: Start, clock: HastyClock
) -> None:
    """Proves that those which callers keep pending, and live turns, do not use up the limit."""
    for number in range(4):
        await snapshots.save_snapshot(f"kept {number}", saying("kept", PENDING, session_id=f"kept {number}"))
    living, dying = await elsewhere(), await elsewhere()
    live = await begun(living)
    dead = [await begun(dying, if_busy="branch") for _ in range(3)]
    await dying.crash()
    await pass_time(store, clock, LEASE)
    assert [await snapshots.expire(2) for _ in range(3)] == [2, 1, 0]
    assert (await info(snapshots, live.snapshot_id)).status is PENDING
    assert {(await info(snapshots, turn.snapshot_id)).status for turn in dead} == {EXPIRED}


async def test_the_newest_leaf_of_a_dead_process_holds_nobody_up(
    snapshots: Snapshots[Any], elsewhere: Start, clock: HastyClock
) -> None:
    worker = await elsewhere()
    await begun(worker)
    await worker.crash()
    waiting = asyncio.create_task(turned(snapshots, "hi", if_busy="queue"))
    await clock.until_sleeping()
    clock.advance(LEASE)
    await waiting
    assert await messages(snapshots) == ["hi"]
    statuses = sorted(node.info.status for node in (await snapshots.tree("chat")).nodes.values())
    assert statuses == [COMPLETED, EXPIRED]


@pytest.mark.parametrize("late", LATE)
async def test_who_wakes_up_after_its_lease_is_refused(
    snapshots: Snapshots[Any], elsewhere: Start, clock: HastyClock, late: str
) -> None:
    """Whoever was stopped thinks that no time has passed: its own clock has not moved, and it hears of nothing."""
    worker = await elsewhere(HastyClock())
    turns: list[Any] = []

    async def work() -> None:
        async with worker.snapshots.turn("chat") as turn:
            turns.append(turn)
            turn.messages.append("late")
            worker.wire.pause()
            clock.advance(LEASE)
            assert (await info(snapshots, turn.snapshot_id)).status is EXPIRED
            await turned(snapshots, "next")
            worker.wire.resume()
            await end(turn, late)

    with pytest.raises(LeaseLostError):
        await work()
    assert (await info(snapshots, turns[0].snapshot_id)).status is EXPIRED
    assert await messages(snapshots) == ["next"]


async def test_who_wakes_up_after_its_lease_that_nobody_noticed_is_refused_too(
    snapshots: Snapshots[Any], elsewhere: Start, clock: HastyClock
) -> None:
    worker = await elsewhere(HastyClock())
    turn = worker.snapshots.turn("chat")
    (await turn.__aenter__()).messages.append("late")
    clock.advance(LEASE)
    with pytest.raises(LeaseLostError):
        await turn.__aexit__(None, None, None)
    assert (await info(snapshots)).status is EXPIRED


async def test_a_turn_that_loses_its_lease_is_cancelled(
    snapshots: Snapshots[Any], elsewhere: Start, clock: HastyClock
) -> None:
    worker = await elsewhere()
    at_work = asyncio.Event()

    async def work() -> None:
        async with worker.snapshots.turn("chat"):
            at_work.set()
            await asyncio.Event().wait()

    working = asyncio.create_task(work())
    await at_work.wait()
    worker.wire.cut()
    await clock.until_sleeping()
    with clock.hasty(LEASE.total_seconds()):
        clock.advance(RENEWAL)
        with pytest.raises(LeaseLostError):
            await working
    worker.wire.resume()
    assert (await info(snapshots)).status is EXPIRED
