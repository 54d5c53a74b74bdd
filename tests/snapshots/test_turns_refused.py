"""Turns that do not begin where the session has branched, and what a turn refuses once it has ended."""

import pytest

from sojourn.errors import BranchedError, ClosedError
from sojourn.kernel import Store
from sojourn.snapshots import Snapshots


@pytest.mark.row("S-4.1.8")
async def test_whoever_has_just_branched_a_session_is_refused_a_turn_on_it_like_anybody_else(store: Store) -> None:
    snapshots = Snapshots(store, reject_branching=True)
    async with snapshots.turn("chat") as root:
        root.messages.append("Hello")
    async with snapshots.turn("chat") as first:
        first.messages.append("Hi")
    async with snapshots.regenerate(first.snapshot_id):  # of this turn the process knows all that the next one needs
        pass

    with pytest.raises(BranchedError):
        async with snapshots.turn("chat"):
            pass
    async with snapshots.turn("chat", after=first.snapshot_id) as named:
        assert named.parent_id == first.snapshot_id


async def test_a_turn_that_has_ended_stores_nothing_more_and_says_why(store: Store) -> None:
    snapshots = Snapshots(store)
    async with snapshots.turn("chat") as turn:
        turn.messages.append("Hello")

    with pytest.raises(ClosedError):
        turn.messages.append("Too late")
    with pytest.raises(ClosedError):
        turn.state = {"messages": ["Too late"]}
    with pytest.raises(ClosedError):
        turn.session.add_messages("Too late")
    with pytest.raises(ClosedError, match="ended already"):
        await turn.store_partial()
    assert list(turn.messages) == ["Hello"], "what it said can still be read"

    stored = await snapshots.get_snapshot(snapshot_id=turn.snapshot_id)
    assert stored is not None
    assert stored.state == {"messages": ["Hello"]}
