"""Random saves and deletions, compared with a dictionary: the same refusals, states, histories and newest leaves.

Two processes take turns, so that what one has kept in memory is what the other has changed meanwhile.
"""

from random import Random
from typing import Any, NamedTuple

import pytest

from sojourn.errors import RefusedError
from sojourn.kernel import Store
from sojourn.snapshots import SessionStore, Snapshot, SnapshotInput, Snapshots
from sojourn.testing.session_stores.trial import at
from tests.documents.conftest import HastyClock, Wire
from tests.testing.dict_store import Data, DictStore

STEPS = 80
IDS = [f"n{number}" for number in range(9)]
SESSIONS = ["one", "two"]
TEXTS = ["", "x", "ж" * 50, "long " * 400]


class Step(NamedTuple):
    """One save."""

    snapshot_id: str | None
    given: dict[str, Any]
    change: int | None
    """What is appended to the state that is there, in place of a state of its own."""

    def mutator(self, current: Snapshot[Any] | None) -> SnapshotInput[Any]:
        given = dict(self.given)
        if self.change is not None and current is not None and current.state is not None:
            given["state"] = current.state | {"messages": [*current.state.get("messages", ()), self.change]}
        return SnapshotInput(**given)


def drawn(random: Random, number: int) -> Step:
    """Draw a save that has a fair chance to be one."""
    session = random.choice(SESSIONS)
    given: dict[str, Any] = {"session_id": None if random.random() < 0.1 else session}
    if random.random() < 0.8:
        given["parent_id"] = random.choice(IDS)
    if random.random() < 0.8:
        messages = [random.choice(TEXTS) for _ in range(random.randrange(6))]
        custom = {"n": random.choice([None, number, {"deep": [number]}])}
        named = {"sessionId": session} if random.random() < 0.2 else {}
        given["state"] = {"messages": messages, "custom": custom} | named
    given["status"] = random.choice(["pending", "pending", "completed", "failed", "aborted"])
    given["created_at"] = at(random.randrange(4))
    return Step(random.choice(IDS), given, number if random.random() < 0.3 else None)


def is_inner(canon: DictStore, snapshot_id: str) -> bool:
    """Say whether a snapshot stands between two; which of them is a leaf without it, is not for a dictionary to say."""
    row = canon.data.rows.get(("", snapshot_id))
    session = {} if row is None else canon.session("", row.session_id)
    return (
        row is not None and row.parent_id in session and any(each.parent_id == snapshot_id for each in session.values())
    )


async def outcome(store: DictStore | Snapshots[Any], step: Step | str) -> object:
    """Take the step, and return the id, or whether there was something to delete, or how it was refused."""
    try:
        if isinstance(step, str):
            return await store.delete(step)
        return await store.save_snapshot(step.snapshot_id, step.mutator)
    except RefusedError as error:
        return type(error)


async def shown(store: SessionStore[Any]) -> dict[str, Any]:
    """All that can be read: each snapshot, and the newest leaf of each session, as far as callers give it."""
    found: dict[str, Any] = {}
    for snapshot_id in IDS:
        found[snapshot_id] = _given(await store.get_snapshot(snapshot_id=snapshot_id))
    for session in SESSIONS:
        found[session] = _given(await store.get_snapshot(session_id=session))
    return found


def walked(known: dict[str, Any], session: str) -> list[str]:
    """The ids from the newest leaf of a session to where its parent is not there."""
    found: list[str] = []
    row = known[session]
    while row is not None and row["session_id"] == session:
        found.append(row["snapshot_id"])
        row = known.get(row["parent_id"])
    return found


async def agree(snapshots: Snapshots[Any], session: str, newest: dict[str, Any] | None) -> None:
    """Check that the tree of a session, what is known of it as a whole, and its newest leaf say the same."""
    tree, info = await snapshots.tree(session), await snapshots.get_session(session)
    if newest is None:
        assert (tree.nodes, info) == ({}, None)
        return
    assert info is not None
    assert tree.newest == info.newest == newest["snapshot_id"]
    assert (info.snapshots, info.leaves) == (len(tree.nodes), len(tree.leaves))
    assert info.stored_bytes == sum(node.info.stored_bytes for node in tree.nodes.values())


def _given(snapshot: Snapshot[Any] | None) -> dict[str, Any] | None:
    return None if snapshot is None else {name: getattr(snapshot, name) for name in SnapshotInput.__struct_fields__}


@pytest.mark.row("S-4.2.3", "S-4.3.16", "S-5.4", "S-5.15")
@pytest.mark.parametrize("seed", range(8))
async def test_random_saves_and_deletions_do_what_a_dictionary_does(store: Store, clock: HastyClock, seed: int) -> None:
    random, canon = Random(seed), DictStore(Data())  # noqa: S311  it must be repeatable, not secret
    async with Store(Wire(store.engine), clock=clock) as beside:
        pair: list[Snapshots[Any]] = [Snapshots(store), Snapshots(beside)]
        refused = 0
        for number in range(STEPS):
            doomed = random.choice(IDS)
            is_drawn = random.random() < 0.9 or is_inner(canon, doomed)
            step = drawn(random, number) if is_drawn else doomed
            expected = await outcome(canon, step)
            assert await outcome(random.choice(pair), step) == expected, (number, step)
            refused += isinstance(expected, type)
            if number % 10 == 9:
                known = await shown(canon)
                for each in pair:
                    assert await shown(each) == known, number
                    for session in SESSIONS:
                        await agree(each, session, known[session])
                        assert [info.snapshot_id async for info in each.history(session)] == walked(known, session)
        assert 0 < refused < STEPS
