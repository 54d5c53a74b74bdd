"""Turns whose end is part of a larger commit: seen within it, stored with it, and never twice or not at all."""

from typing import Any

import pytest

from sojourn.errors import InvalidError
from sojourn.kernel import Attempt, Reads, Store
from sojourn.snapshots import SnapshotInput, Snapshots, Status, Turn
from tests.documents.conftest import settled
from tests.snapshots import audit
from tests.snapshots.conftest import CHAT, add, info_of, newest, noise, records, state_of
from tests.snapshots.elsewhere import Start, elsewhere
from tests.snapshots.turning import OnPurposeError, turned

__all__ = ["elsewhere"]

COMPLETED, EXPIRED = Status.COMPLETED, Status.EXPIRED


def words(*texts: str) -> dict[str, Any]:
    return {"messages": list(texts)}


async def end_and_save(snapshots: Snapshots[Any], store: Store, turn: Turn[Any], **given: Any) -> None:
    """End a turn and save another snapshot of its session, both by one commit."""
    wanted = SnapshotInput(session_id="chat", state=words("beside"), **given)

    async def work(tx: Attempt) -> None:
        await turn.complete(tx=tx)
        await snapshots.save_snapshot("beside", lambda _: wanted, tx=tx)

    await store.run(work)


# == Another save in the same commit


async def test_a_turn_that_ends_with_a_save_in_one_commit_leaves_the_next_turn_a_true_head(
    snapshots: Snapshots[Any], store: Store
) -> None:
    """A new root beside it takes a number and a branch, which the next turns must not take again."""
    first = await turned(snapshots, "a")
    async with snapshots.turn("chat") as turn:
        turn.messages.append("b")
        await end_and_save(snapshots, store, turn, created_at="2001-01-01T00:00:00Z")
    second = turn.snapshot_id
    third = await turned(snapshots, "c")
    fork = await turned(snapshots, "d", after=second)
    expected = {
        first: words("a"),
        second: words("a", "b"),
        "beside": words("beside"),
        third: words("a", "b", "c"),
        fork: words("a", "b", "d"),
    }
    await audit.check(store, snapshots, expected, {"beside"})


async def test_after_a_newer_save_in_the_commit_of_its_end_the_next_turn_goes_on_from_that(
    snapshots: Snapshots[Any], store: Store
) -> None:
    async with snapshots.turn("chat") as turn:
        turn.messages.append("a")
        await end_and_save(snapshots, store, turn, created_at="2100-01-01T00:00:00Z")
    assert await newest(snapshots) == "beside"
    async with snapshots.turn("chat") as then:
        assert then.parent_id == "beside"


async def test_two_turns_that_end_in_one_commit_are_both_counted(snapshots: Snapshots[Any], store: Store) -> None:
    await add(snapshots, "root", None, words("root"))
    one, two = noise(1, 500), noise(2, 700)
    async with snapshots.turn("chat", after="root") as left, snapshots.turn("chat", after="root") as right:
        left.messages.append(one)
        right.messages.append(two)

        async def work(tx: Attempt) -> None:
            await left.complete(tx=tx)
            await right.complete(tx=tx)

        await store.run(work)
    last = await turned(snapshots, "on")
    expected = {
        "root": words("root"),
        left.snapshot_id: words("root", one),
        right.snapshot_id: words("root", two),
        last: words("root", two, "on"),
    }
    await audit.check(store, snapshots, expected, {"root"})


# == What is seen in the same commit


@pytest.mark.parametrize("is_partly_stored", [False, True], ids=["at its end only", "before, too"])
@pytest.mark.parametrize("by", ["snapshot_id", "session_id"])
async def test_the_end_of_a_turn_is_read_in_the_commit_that_makes_it(
    snapshots: Snapshots[Any], store: Store, by: str, *, is_partly_stored: bool
) -> None:
    async with snapshots.turn("chat") as turn:
        turn.messages.append("old")
        if is_partly_stored:
            await turn.store_partial()
        turn.messages.append("new")
        asked: dict[str, Any] = {by: getattr(turn, by)}

        async def work(tx: Attempt) -> tuple[Status, Any]:
            await turn.complete(tx=tx)
            found = await snapshots.get_snapshot(**asked, tx=tx)
            assert found is not None
            return found.status, found.state

        assert await store.run(work) == (COMPLETED, words("old", "new"))
    assert await state_of(snapshots, turn.snapshot_id) == words("old", "new")


# == A block that is left before the commit


async def test_a_turn_is_not_begun_within_a_commit(snapshots: Snapshots[Any], store: Store) -> None:
    """It would begin anew each time that the commit is tried again."""
    times: list[int] = []

    async def work(tx: Attempt) -> None:
        times.append(tx.number)
        await turned(snapshots, "never")

    with pytest.raises(InvalidError) as caught:
        await store.run(work)
    assert caught.value.name == "turn"
    assert times == [1]
    assert await records(store) == []


async def test_a_block_that_is_left_before_its_end_is_committed_is_refused_and_doubles_nothing(
    snapshots: Snapshots[Any], store: Store, elsewhere: Start
) -> None:
    taking = snapshots.turn("chat")
    turn = await taking.__aenter__()
    turn.messages.append("never")

    async def work(tx: Attempt) -> None:
        await turn.complete(tx=tx)
        await taking.__aexit__(None, None, None)

    with pytest.raises(InvalidError) as caught:
        await store.run(work)
    assert caught.value.name == "tx"
    for _ in range(100):  # it is given back in the background
        await settled(store)
        if (await store.read(Reads((CHAT.lease(0),)))).records.keys == (None,):
            break
    there = (await elsewhere()).snapshots
    left = await info_of(there, turn.snapshot_id)
    assert (left.status, left.state_bytes) == (EXPIRED, None), "its lease was given back, so no time has to pass"
    last = await turned(there, "on")
    await audit.check(store, snapshots, {turn.snapshot_id: None, last: words("on")}, set())


async def test_a_turn_whose_commit_was_given_up_goes_on_and_ends_by_itself(
    snapshots: Snapshots[Any], store: Store
) -> None:
    async with snapshots.turn("chat") as turn:
        turn.messages.append("a")

        async def work(tx: Attempt) -> None:
            await turn.complete(tx=tx)
            raise OnPurposeError

        with pytest.raises(OnPurposeError):
            await store.run(work)
        turn.messages.append("b")
    await audit.check(store, snapshots, {turn.snapshot_id: words("a", "b")}, set())
    assert (await info_of(snapshots, turn.snapshot_id)).status is COMPLETED
