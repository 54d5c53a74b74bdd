"""Turns: one snapshot each, pending while somebody is at work on it, and then settled once and for all."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from sojourn.errors import (
    ClosedError,
    ConflictError,
    InvalidError,
    LeaseHeldError,
    LeaseLostError,
    NotResumableError,
    SnapshotUnknownError,
    TurnAbortedError,
)
from sojourn.kernel import Attempt, Key, Store
from sojourn.snapshots import FinishReason, Snapshot, Snapshots
from tests.capabilities import needs
from tests.documents.conftest import HastyClock, settled
from tests.snapshots.elsewhere import Start, becoming, elsewhere, saying
from tests.snapshots.turning import (
    ABORTED,
    COMPLETED,
    FAILED,
    LATE,
    PENDING,
    OnPurposeError,
    aborted,
    end,
    failed,
    info,
    messages,
    path,
    turned,
)

__all__ = ["elsewhere"]

# == From beginning to end


@pytest.mark.row("S-4.2.20")
async def test_turns_go_on_from_each_other(snapshots: Snapshots[Any]) -> None:
    first = await turned(snapshots, "hi")
    async with snapshots.turn("chat") as turn:
        assert turn.parent_id == first
        assert list(turn.messages) == ["hi"]
        turn.messages.extend(["how", "are you"])
    assert await messages(snapshots) == ["hi", "how", "are you"]
    assert await messages(snapshots, first) == ["hi"]
    assert await path(snapshots) == [turn.snapshot_id, first]


async def test_a_turn_is_there_as_pending_from_its_first_step_on(snapshots: Snapshots[Any], elsewhere: Start) -> None:
    there = await elsewhere()
    root = await turned(snapshots, "hi")
    async with snapshots.turn("chat") as turn:
        seen = await info(there.snapshots)
        assert (seen.snapshot_id, seen.parent_id, seen.status) == (turn.snapshot_id, root, PENDING)
        assert seen.heartbeat_at is not None
        assert seen.updated_at is None
    seen = await info(there.snapshots)
    assert (seen.snapshot_id, seen.parent_id, seen.status) == (turn.snapshot_id, root, COMPLETED)


async def test_beginning_and_ending_are_a_commit_each(elsewhere: Start) -> None:
    there = await elsewhere()
    await turned(there.snapshots, "hi")
    there.wire.clear()
    async with there.snapshots.turn("chat") as turn:
        assert len(there.wire.sent) == 1
        turn.messages.append("on")
    assert len(there.wire.sent) == 2


async def test_a_turn_that_says_nothing_is_a_snapshot_all_the_same(snapshots: Snapshots[Any]) -> None:
    await turned(snapshots, "hi")
    async with snapshots.turn("chat") as turn:
        pass
    assert await messages(snapshots, turn.snapshot_id) == ["hi"]
    assert (await info(snapshots)).snapshot_id == turn.snapshot_id


async def test_what_a_turn_is_told_to_end_of_is_kept(snapshots: Snapshots[Any]) -> None:
    async with snapshots.turn("chat") as turn:
        turn.messages.append("hi")
        await turn.complete("length")
    found = await info(snapshots)
    assert (found.status, found.finish_reason) == (COMPLETED, FinishReason.LENGTH)


async def test_a_turn_ends_once(snapshots: Snapshots[Any]) -> None:
    async with snapshots.turn("chat") as turn:
        await turn.complete()
        with pytest.raises(ClosedError):
            await turn.complete()
        with pytest.raises(ClosedError):
            await turn.fail(OnPurposeError("late"))
    assert (await info(snapshots)).status is COMPLETED


async def test_what_is_raised_behind_the_end_comes_back_and_changes_nothing(snapshots: Snapshots[Any]) -> None:
    async def work() -> None:
        async with snapshots.turn("chat") as turn:
            turn.messages.append("hi")
            await turn.complete()
            raise OnPurposeError

    with pytest.raises(OnPurposeError):
        await work()
    assert (await info(snapshots)).status is COMPLETED


@pytest.mark.row("S-5.8", "S-4.2.16")
async def test_when_a_turn_was_made_never_moves_and_when_it_ended_is_noted(
    snapshots: Snapshots[Any], clock: HastyClock
) -> None:
    async with snapshots.turn("chat") as turn:
        began = (await info(snapshots)).created_at
        clock.advance(timedelta(seconds=1))
    found = await info(snapshots, turn.snapshot_id)
    assert found.created_at == began
    assert found.updated_at == began + timedelta(seconds=1)


async def test_what_ends_a_turn_can_be_one_commit_with_more(snapshots: Snapshots[Any], store: Store) -> None:
    other = Key("t", "t", "other")
    with needs(store, "cross_partition"):
        async with snapshots.turn("chat") as turn:
            turn.messages.append("hi")

            async def end(tx: Attempt) -> None:
                tx.put(other, b"1")
                await turn.complete(tx=tx)

            await store.run(end)
        assert (await info(snapshots)).status is COMPLETED


async def test_an_end_within_a_commit_that_fails_has_not_been(snapshots: Snapshots[Any], store: Store) -> None:
    async with snapshots.turn("chat") as turn:
        turn.messages.append("hi")

        async def end(tx: Attempt) -> None:
            await turn.complete("stop", tx=tx)
            raise OnPurposeError

        with pytest.raises(OnPurposeError):
            await store.run(end)
        assert (await info(snapshots)).status is PENDING
        turn.messages.append("on")
    assert await messages(snapshots) == ["hi", "on"]
    assert (await info(snapshots)).status is COMPLETED


# == That fail


async def test_a_turn_that_raises_has_failed_with_what_was_said_by_then(snapshots: Snapshots[Any]) -> None:
    snapshot_id = await failed(snapshots, "hi", "the model is out")
    found = await info(snapshots)
    assert (found.snapshot_id, found.status, found.finish_reason) == (snapshot_id, FAILED, FinishReason.FAILED)
    assert found.error is not None
    assert found.error.message == "the model is out"
    assert await messages(snapshots) == ["hi"]


@pytest.mark.row("S-4.3.10")
async def test_a_turn_goes_on_from_the_last_completed_one(snapshots: Snapshots[Any]) -> None:
    first = await turned(snapshots, "hi")
    await failed(snapshots, "bad")
    stopped = await aborted(snapshots, snapshots, "worse")
    assert (await info(snapshots)).snapshot_id == stopped, "the newest leaf is returned as it is"
    async with snapshots.turn("chat") as turn:
        assert turn.parent_id == first
        assert list(turn.messages) == ["hi"]


async def test_a_session_in_which_nothing_was_completed_begins_anew(snapshots: Snapshots[Any]) -> None:
    await failed(snapshots, "bad")
    async with snapshots.turn("chat") as turn:
        assert turn.parent_id is None
        assert list(turn.messages) == []


# == Beside each other


async def test_where_a_turn_is_at_work_another_is_refused(snapshots: Snapshots[Any], elsewhere: Start) -> None:
    there = await elsewhere()
    async with snapshots.turn("chat"):
        for elsewhere_or_here in (snapshots, there.snapshots):
            with pytest.raises(LeaseHeldError):
                await turned(elsewhere_or_here, "no")
    await turned(there.snapshots, "yes")
    assert await messages(snapshots) == ["yes"]
    assert len(await path(snapshots)) == 2


async def test_a_turn_that_is_to_queue_goes_on_from_the_one_before(snapshots: Snapshots[Any], elsewhere: Start) -> None:
    there = await elsewhere()
    async with snapshots.turn("chat") as first:
        behind = [
            asyncio.create_task(turned(each, text, if_busy="queue"))
            for each, text in ((there.snapshots, "there"), (snapshots, "here"))
        ]
        await settled(there.store)
        assert not any(task.done() for task in behind)
        first.messages.append("first")
    await asyncio.gather(*behind)
    assert len(await path(snapshots)) == 3
    said = await messages(snapshots)
    assert said[0] == "first"
    assert set(said) == {"first", "here", "there"}


async def test_who_queued_longer_than_it_would_wait_is_refused(
    snapshots: Snapshots[Any], elsewhere: Start, clock: HastyClock
) -> None:
    there = await elsewhere()
    async with snapshots.turn("chat"):
        waiting = asyncio.create_task(turned(there.snapshots, "no", if_busy="queue", wait=timedelta(seconds=5)))
        await clock.until_sleeping(2)
        clock.advance(timedelta(seconds=5))
        with pytest.raises(LeaseHeldError):
            await waiting
    assert len(await path(snapshots)) == 1


async def test_a_turn_beside_another_goes_on_from_the_same(snapshots: Snapshots[Any], elsewhere: Start) -> None:
    there = await elsewhere()
    root = await turned(snapshots, "hi")
    async with snapshots.turn("chat") as one:
        one.messages.append("one")
        async with there.snapshots.turn("chat", if_busy="branch") as two:
            assert two.parent_id == one.parent_id == root
            two.messages.append("two")
    assert await messages(snapshots, one.snapshot_id) == ["hi", "one"]
    assert await messages(snapshots, two.snapshot_id) == ["hi", "two"]
    tree = await snapshots.tree("chat")
    assert set(tree.leaves) == {one.snapshot_id, two.snapshot_id}


async def test_of_two_that_begin_a_session_at_once_each_has_a_root(snapshots: Snapshots[Any], elsewhere: Start) -> None:
    there = await elsewhere()
    await asyncio.gather(*(turned(each, "hi", if_busy="branch") for each in (snapshots, there.snapshots)))
    tree = await snapshots.tree("chat")
    assert len(tree.nodes) == len(tree.leaves) + len([node for node in tree.nodes.values() if node.children]) == 2


async def test_the_snapshot_of_another_can_be_the_one_to_go_on_from(snapshots: Snapshots[Any]) -> None:
    first, second = [await turned(snapshots, text) for text in ("a", "b")]
    assert await turned(snapshots, "c", after=first) != second
    assert await messages(snapshots) == ["a", "c"]
    assert await messages(snapshots, second) == ["a", "b"]


async def test_what_cannot_be_gone_on_from_is_refused(snapshots: Snapshots[Any]) -> None:
    with pytest.raises(SnapshotUnknownError):
        await turned(snapshots, "no", after="nobody")
    foreign = await snapshots.save_snapshot(None, saying("hi", session_id="another"))
    with pytest.raises(InvalidError):
        await turned(snapshots, "no", after=foreign)
    statuses = {FAILED: "failed", ABORTED: "aborted", PENDING: "pending"}
    for status, text in statuses.items():
        kept = await snapshots.save_snapshot(None, saying("hi", status))
        with pytest.raises(NotResumableError) as refused:
            await turned(snapshots, "no", after=kept)
        assert refused.value.status == text
    assert len((await snapshots.tree("chat")).nodes) == len(statuses), "nothing was written"


async def test_a_turn_again_is_a_sibling(snapshots: Snapshots[Any]) -> None:
    first, second = [await turned(snapshots, text) for text in ("a", "b")]
    async with snapshots.regenerate(second) as turn:
        assert turn.parent_id == first
        turn.messages.append("c")
    async with snapshots.regenerate(first) as root:
        assert root.parent_id is None
        assert list(root.messages) == []
    assert await messages(snapshots, turn.snapshot_id) == ["a", "c"]
    assert await messages(snapshots, second) == ["a", "b"]


async def test_a_turn_again_of_one_that_is_at_work_stands_beside_it(snapshots: Snapshots[Any]) -> None:
    root = await turned(snapshots, "hi")
    async with snapshots.turn("chat") as one, snapshots.regenerate(one.snapshot_id) as two:
        assert two.parent_id == root
    assert len((await snapshots.tree("chat")).leaves) == 2


async def test_turns_of_a_named_branch_are_their_own(snapshots: Snapshots[Any]) -> None:
    root = await turned(snapshots, "hi")
    await turned(snapshots, "main")
    await snapshots.fork(root, "draft")
    async with snapshots.turn("chat") as main, snapshots.turn("chat", branch="draft") as draft:
        assert draft.parent_id == root
        main.messages.append("on")
        draft.messages.append("other")
    again = await turned(snapshots, "more", branch="draft")
    assert await messages(snapshots, again) == ["hi", "other", "more"]
    assert await messages(snapshots, main.snapshot_id) == ["hi", "main", "on"]
    assert (await snapshots.branches("chat"))["draft"] == again


# == That are aborted


@pytest.mark.row("S-4.2.7", "S-4.3.2")
async def test_an_abort_says_what_the_status_was_and_changes_only_a_pending_one(snapshots: Snapshots[Any]) -> None:
    root = await turned(snapshots, "hi")
    before = await snapshots.get_snapshot(snapshot_id=root)
    assert await snapshots.abort(root) is COMPLETED
    assert await snapshots.get_snapshot(snapshot_id=root) == before
    assert await snapshots.abort("nobody") is None
    pending = await snapshots.save_snapshot(None, saying("on", PENDING, parent_id=root))
    assert pending is not None
    assert await snapshots.abort(pending) is PENDING
    assert await snapshots.abort(pending) is ABORTED
    found = await info(snapshots)
    assert (found.snapshot_id, found.status) == (pending, ABORTED), "the newest leaf is still this one"


@pytest.mark.row("S-4.3.2", "S-5.18")
async def test_an_abort_from_elsewhere_cancels_what_the_turn_does(snapshots: Snapshots[Any], elsewhere: Start) -> None:
    there = await elsewhere()
    at_work = asyncio.Event()
    cancelled: list[str] = []

    async def work() -> None:
        async with snapshots.turn("chat") as turn:
            turn.messages.append("half")
            at_work.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(turn.snapshot_id)
                raise

    working = asyncio.create_task(work())
    await at_work.wait()
    snapshot_id = (await info(there.snapshots)).snapshot_id
    assert await there.snapshots.abort(snapshot_id) is PENDING
    with pytest.raises(TurnAbortedError):
        await working
    assert cancelled == [snapshot_id]
    assert not working.cancelling(), "who called is not cancelled, but told"
    assert (await info(snapshots)).status is ABORTED


async def test_an_abort_that_came_first_stands_whatever_the_turn_does(
    snapshots: Snapshots[Any], elsewhere: Start
) -> None:
    there = await elsewhere()
    turns: list[Any] = []

    async def work(late: str) -> None:
        async with snapshots.turn("chat") as turn:
            turns.append(turn)
            turn.messages.append("hi")
            await there.snapshots.abort(turn.snapshot_id)
            await end(turn, late)

    for late in LATE:
        with pytest.raises(TurnAbortedError):
            await work(late)
    assert [(await info(snapshots, turn.snapshot_id)).status for turn in turns] == [ABORTED] * len(LATE)


async def test_who_is_cancelled_and_not_aborted_is_cancelled(snapshots: Snapshots[Any]) -> None:
    at_work = asyncio.Event()

    async def work() -> None:
        async with snapshots.turn("chat") as turn:
            turn.messages.append("half")
            at_work.set()
            await asyncio.Event().wait()

    working = asyncio.create_task(work())
    await at_work.wait()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    found = await info(snapshots)
    assert found.status in {FAILED, ABORTED}, "it does not stay pending"
    assert await messages(snapshots) == ["half"]


async def test_an_aborted_session_is_free_at_once(snapshots: Snapshots[Any], elsewhere: Start) -> None:
    """Though the body of the one before still clears up."""
    there = await elsewhere()
    at_work, goes_on = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        async with snapshots.turn("chat") as turn:
            turn.messages.append("half")
            at_work.set()
            try:
                await asyncio.Event().wait()
            finally:
                await goes_on.wait()

    working = asyncio.create_task(work())
    await at_work.wait()
    await there.snapshots.abort((await info(there.snapshots)).snapshot_id)
    await turned(there.snapshots, "next")
    goes_on.set()
    with pytest.raises(TurnAbortedError):
        await working
    assert await messages(snapshots) == ["next"]


# == What callers do to the record of a turn


async def test_a_pending_turn_cannot_be_taken_over_by_a_save(snapshots: Snapshots[Any]) -> None:
    """Whoever settles it by hand ends it, as an abort does; its worker is refused."""

    async def work() -> None:
        async with snapshots.turn("chat") as turn:
            turn.messages.append("hi")
            await snapshots.save_snapshot(turn.snapshot_id, becoming(FAILED))

    with pytest.raises((TurnAbortedError, LeaseLostError)):
        await work()
    assert (await info(snapshots)).status is FAILED


async def test_a_turn_whose_session_is_deleted_is_over(snapshots: Snapshots[Any], store: Store) -> None:
    async def work() -> None:
        async with snapshots.turn("chat") as turn:
            turn.messages.append("hi")
            assert await snapshots.delete_session("chat")

    with pytest.raises(ConflictError):
        await work()
    assert await snapshots.get_info(session_id="chat") is None
    assert await snapshots.get_session("chat") is None


async def test_the_newest_is_a_turn_though_others_come_from_the_future(snapshots: Snapshots[Any]) -> None:
    await snapshots.save_snapshot(None, saying("hi", created_at="2999-01-01T00:00:00Z"))
    turn = await turned(snapshots, "on")
    assert (await info(snapshots)).snapshot_id == turn


async def test_a_state_is_a_copy_of_its_own(snapshots: Snapshots[Any]) -> None:
    said = {"role": "user", "content": ["hi"]}
    async with snapshots.turn("chat") as turn:
        turn.messages.append(said)
        said["content"] = ["changed later"]
    first: Snapshot[Any] | None = await snapshots.get_snapshot(session_id="chat")
    assert first is not None
    assert first.state is not None
    first.state["messages"].clear()
    assert await messages(snapshots) == [{"role": "user", "content": ["hi"]}]
