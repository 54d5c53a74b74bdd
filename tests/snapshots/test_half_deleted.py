"""A deletion of a session that stopped half way: nothing is seen of it, and whoever goes on finishes it first."""

from typing import Any

import pytest

from sojourn.errors import CommitUnknownError, SnapshotUnknownError, UnavailableError
from sojourn.kernel import Store
from sojourn.snapshots import Snapshot, SnapshotInput, Snapshots
from tests.documents.conftest import HastyClock
from tests.snapshots import audit
from tests.snapshots.conftest import add, chain, history, newest, records, said, state_of
from tests.snapshots.elsewhere import Start, elsewhere
from tests.snapshots.turning import turned

__all__ = ["elsewhere"]

IDS = {"a", "b", "c"}


@pytest.fixture(autouse=True)
async def half_deleted(snapshots: Snapshots[Any], elsewhere: Start, clock: HastyClock, store: Store) -> None:
    """Delete the session `chat` by a process that dies once it has said so."""
    await chain(snapshots, "a", "b", "c")
    await turned(snapshots, "hi")
    there = await elsewhere()
    there.wire.break_after(1, arrives=False)
    with clock.hasty(), pytest.raises((UnavailableError, CommitUnknownError)):
        await there.snapshots.delete_session("chat")
    there.wire.resume()
    assert len(await records(store)) > 10, "most of it is still there"


async def test_nothing_of_the_session_is_seen(snapshots: Snapshots[Any], elsewhere: Start) -> None:
    await chain(snapshots, "other", session="other")
    for each in (snapshots, (await elsewhere()).snapshots):
        assert await newest(each) is None
        assert await each.get_snapshot(session_id="chat") is None
        assert await each.get_session("chat") is None
        assert [session.session_id async for session in each.sessions()] == ["other"]
        tree = await each.tree("chat")
        assert (tree.nodes, tree.leaves, tree.newest) == ({}, (), None)
        assert await history(each) == []
        assert await each.timeline("chat").rows() == []


async def test_a_save_under_an_id_of_before_finds_nothing_there(snapshots: Snapshots[Any], store: Store) -> None:
    seen: list[str | None] = []

    def mutator(current: Snapshot[Any] | None) -> SnapshotInput[Any]:
        seen.append(None if current is None else current.snapshot_id)
        return SnapshotInput(session_id="chat", state=said("anew"))

    assert await snapshots.save_snapshot("b", mutator) == "b"
    assert seen[-1] is None, "what it returned last was not made of what is gone"
    await audit.check(store, snapshots, {"b": said("anew")}, IDS)


async def test_a_save_under_a_new_id_begins_the_session_anew(snapshots: Snapshots[Any], store: Store) -> None:
    await add(snapshots, "new", "c", said("anew"))
    await audit.check(store, snapshots, {"new": said("anew")}, IDS)


async def test_a_turn_begins_the_session_anew(snapshots: Snapshots[Any], store: Store) -> None:
    """The process knows the session from before, and must not go by that."""
    last = await turned(snapshots, "anew")
    assert await state_of(snapshots, last) == {"messages": ["anew"]}
    await audit.check(store, snapshots, {last: {"messages": ["anew"]}}, IDS)


async def test_a_snapshot_of_it_cannot_be_forked(snapshots: Snapshots[Any], store: Store) -> None:
    with pytest.raises(SnapshotUnknownError):
        await snapshots.fork("b", "way")
    assert await records(store) == []
    assert await snapshots.branches("chat") == {}


@pytest.mark.parametrize("snapshot_id", ["b", "new"])
async def test_a_save_in_a_larger_commit_begins_the_session_anew(
    snapshots: Snapshots[Any], store: Store, snapshot_id: str
) -> None:
    wanted = SnapshotInput(session_id="chat", state=said("anew"))
    await store.run(lambda tx: snapshots.save_snapshot(snapshot_id, lambda _: wanted, tx=tx))
    await audit.check(store, snapshots, {snapshot_id: said("anew")}, IDS)


async def test_who_deletes_it_once_more_finishes_that(snapshots: Snapshots[Any], store: Store) -> None:
    assert await snapshots.delete_session("chat")
    assert not await snapshots.delete_session("chat")
    assert await records(store) == []
