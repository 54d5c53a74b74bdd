"""Rows about turns and upkeep: detaching, aborting late, the instant of change, a window of snapshots."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from sojourn.kernel import Store
from sojourn.snapshots import Snapshots, Status, Turn
from tests.documents.conftest import HastyClock, until
from tests.snapshots.conftest import add, chain, history, info_of, message, newest, records, said, state_of
from tests.snapshots.elsewhere import Start, becoming, elsewhere

__all__ = ["elsewhere"]


async def say(snapshots: Snapshots[Any], *texts: str) -> str:
    """Take a turn that says this."""
    async with snapshots.turn("chat") as turn:
        turn.messages.extend(message(text) for text in texts)
    return turn.snapshot_id


@pytest.mark.row("S-4.3.4")
async def test_an_abort_that_was_overtaken_tells_what_it_found(snapshots: Snapshots[Any], elsewhere: Start) -> None:
    """Proves that the answer is that of the attempt that counts: completed, and not the pending that it saw first."""
    await add(snapshots, "turn", None, said("hello"), status="pending")
    other = await elsewhere()
    other.wire.hold()
    aborting = asyncio.create_task(other.snapshots.abort("turn"))
    await until(lambda: other.wire.held)
    await snapshots.save_snapshot("turn", becoming("completed"))
    before = await info_of(snapshots, "turn")
    other.wire.resume()
    assert await aborting is Status.COMPLETED
    assert await info_of(snapshots, "turn") == before


@pytest.mark.row("S-4.3.4", "S-4.3.2")
async def test_an_abort_never_invents_a_status(snapshots: Snapshots[Any]) -> None:
    assert await snapshots.abort("unknown") is None
    for status in (Status.COMPLETED, Status.FAILED, Status.ABORTED):
        await add(snapshots, status.value, None, said("x"), status=status)
        assert await snapshots.abort(status.value) is status
        assert (await info_of(snapshots, status.value)).status is status
    await add(snapshots, "turn", None, said("x"), status="pending")
    assert await snapshots.abort("turn") is Status.PENDING
    assert await snapshots.abort("turn") is Status.ABORTED


@pytest.mark.row("S-5.2", "S-5.3")
async def test_a_turn_that_is_detached_while_it_runs_is_finished_where_it_began(
    snapshots: Snapshots[Any], store: Store
) -> None:
    """Proves that what was said before and after it was detached is stored, behind the turn before, once."""
    first = await say(snapshots, "question")
    go_on = asyncio.Event()

    async def work(turn: Turn[Any]) -> None:
        await go_on.wait()
        turn.messages.append(message("after"))

    async with snapshots.turn("chat") as turn:
        turn.messages.append(message("before"))
        detached = turn.detach(work)
    pending = await info_of(snapshots, detached.snapshot_id)
    assert (pending.status, pending.parent_id) == (Status.PENDING, first)
    assert await newest(snapshots) == detached.snapshot_id
    go_on.set()
    await detached.wait()
    found = await info_of(snapshots, detached.snapshot_id)
    assert (found.status, found.parent_id) == (Status.COMPLETED, first)
    assert await state_of(snapshots, detached.snapshot_id) == said("question", "before", "after")
    assert await history(snapshots) == [detached.snapshot_id, first]
    assert await say(snapshots, "next") == await newest(snapshots)


@pytest.mark.row("S-5.14", "S-5.8", "S-4.2.16")
async def test_a_turn_sets_the_instant_of_change_when_it_ends(snapshots: Snapshots[Any], clock: HastyClock) -> None:
    async with snapshots.turn("chat") as turn:
        begun = await info_of(snapshots, turn.snapshot_id)
        assert begun.updated_at is None
        clock.advance(timedelta(seconds=3))
    ended = await info_of(snapshots, turn.snapshot_id)
    assert ended.created_at == begun.created_at
    assert ended.updated_at == begun.created_at + timedelta(seconds=3)


@pytest.mark.row("S-4.1.10", "S-4.3.6")
async def test_of_a_chain_the_newest_are_kept(snapshots: Snapshots[Any], store: Store) -> None:
    """Proves that those are read as before, and nothing is left of the others."""
    await chain(snapshots, "a", "b", "c")
    pruned = await snapshots.prune("chat", keep=2)
    assert (pruned.removed, pruned.kept) == (1, 2)
    assert await snapshots.get_snapshot(snapshot_id="a") is None
    assert await state_of(snapshots, "b") == said("a", "b")
    assert await state_of(snapshots, "c") == said("a", "b", "c")
    assert await history(snapshots) == ["c", "b"]
    assert len([record for record in await records(store) if record.key.space == "snapshot"]) == 2


@pytest.mark.row("S-4.3.6")
async def test_a_window_of_snapshots_moves_on_with_each_turn(snapshots: Snapshots[Any], elsewhere: Start) -> None:
    made: list[str] = []
    for number in range(5):
        made.append(await say(snapshots, f"{number}"))
        await snapshots.prune("chat", keep=3)
        cold = (await elsewhere()).snapshots
        assert await newest(cold) == made[-1]
        assert await history(cold) == made[::-1][:3]
        for turn in made[-3:]:
            texts = [f"{number}" for number in range(made.index(turn) + 1)]
            assert await state_of(cold, turn) == said(*texts)
