"""How snapshots are kept: differences where these are shorter, no piece too many, and one commit for what is one."""

import asyncio
from functools import partial
from typing import Any

import pytest

from sojourn import limits
from sojourn.errors import CommitUnknownError, InvalidError, UnavailableError
from sojourn.kernel import Attempt, Engine, Reads, Store
from sojourn.kernel import Snapshot as Answer
from sojourn.snapshots import Snapshot, SnapshotInput, Snapshots
from tests.documents.conftest import HastyClock, Wire, until
from tests.snapshots.conftest import (
    CHAT,
    add,
    chain,
    history,
    info_of,
    newest,
    noise,
    place_of,
    records,
    said,
    spoil,
    state_of,
    states,
)
from tests.snapshots.elsewhere import Start, elsewhere

__all__ = ["elsewhere"]


class Counting(Wire):
    """A way to the engine that counts the records of each answer, and the bytes of all."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.counts: list[int] = []
        self.bytes = 0

    async def read(self, reads: Reads) -> Answer:
        answer = await super().read(reads)
        found = [record for record in answer.records.keys if record is not None]
        found += [record for records in answer.records.spans for record in records]
        self.counts.append(len(found))
        self.bytes += sum(len(record.value) for record in found)
        return answer


@pytest.mark.row("S-4.1.15")
async def test_listings_show_what_was_saved_and_nothing_else(snapshots: Snapshots[Any], store: Store) -> None:
    await add(snapshots, "only", "never seen", said("hello"))
    await snapshots.fork("only", "a name")
    assert len(await records(store)) > 3
    assert await history(snapshots) == ["only"]
    assert list((await snapshots.tree("chat")).nodes) == ["only"]
    assert [(each.session_id, each.snapshots) async for each in snapshots.sessions()] == [("chat", 1)]


@pytest.mark.row("S-4.1.32", "S-5.6")
@pytest.mark.parametrize("snapshot_id", ["../../escaped", "a/b", "..", " ", "\0"])
async def test_what_is_no_id_is_refused_before_anything_is_read_or_written(elsewhere: Start, snapshot_id: str) -> None:
    here = await elsewhere()
    here.wire.clear()
    wanted = SnapshotInput(session_id="chat", state=said("hello"))
    calls = [
        here.snapshots.get_snapshot(snapshot_id=snapshot_id),
        here.snapshots.get_info(snapshot_id=snapshot_id),
        here.snapshots.save_snapshot(snapshot_id, lambda _: wanted),
        here.snapshots.abort(snapshot_id),
        here.snapshots.delete(snapshot_id),
        here.snapshots.fork(snapshot_id, "branch"),
        here.snapshots.diff(snapshot_id, "other"),
        here.snapshots.diff("other", snapshot_id),
    ]
    for call in calls:
        with pytest.raises(InvalidError) as caught:
            await call
        assert caught.value.code == "invalid"
    assert here.wire.asked == []
    assert here.wire.sent == []


@pytest.mark.row("S-4.2.11")
async def test_what_is_known_of_a_session_as_a_whole_holds_no_state(snapshots: Snapshots[Any], store: Store) -> None:
    await add(snapshots, "large", None, said(noise(1, 100_000)))
    await add(snapshots, "small", None, said("x"))
    (head,) = [record for record in await records(store) if record.key == CHAT.head]
    assert len(head.value) < 300


@pytest.mark.row("S-4.2.3", "S-4.2.17")
async def test_of_a_state_that_grows_only_what_is_new_is_stored(snapshots: Snapshots[Any], store: Store) -> None:
    texts = [noise(number, 2_000) for number in range(12)]
    plan = {"name": "plan", "parts": [{"text": noise("plan", 2_000)}]}
    await add(snapshots, "n0", None, {**said(*texts[:10]), "artifacts": [plan]})
    await add(snapshots, "n1", "n0", {**said(*texts[:11]), "artifacts": [plan]})
    await add(snapshots, "n2", "n1", {**said(*texts), "artifacts": [plan, {"name": "map", "parts": []}]})
    for snapshot_id in ("n1", "n2"):
        info = await info_of(snapshots, snapshot_id)
        assert info.state_bytes is not None
        assert info.state_bytes > 20_000
        assert 2_000 < info.stored_bytes < 2_500
        (record,) = await states(store, await place_of(store, snapshot_id))
        assert len(record.value) < 2_700
    assert (await state_of(snapshots, "n2")) == {**said(*texts), "artifacts": [plan, {"name": "map", "parts": []}]}


@pytest.mark.row("S-4.2.9")
async def test_in_a_long_chain_whole_states_stand_as_often_as_the_differences_outweigh_them(
    snapshots: Snapshots[Any], elsewhere: Start
) -> None:
    turns, body = 120, noise("body", 1_000)
    for turn in range(turns):
        await add(snapshots, f"n{turn}", f"n{turn - 1}" if turn else None, {"body": body, "turn": turn})
    cold = (await elsewhere()).snapshots
    for turn in (turns - 1, turns // 2, 12, 0):
        assert await state_of(cold, f"n{turn}") == {"body": body, "turn": turn}
    infos = [info async for info in snapshots.history("chat")]
    wholes = [info for info in infos if info.stored_bytes == info.state_bytes]
    assert len(infos) == turns
    assert turns // 50 < len(wholes) < turns // 10
    assert sum(info.stored_bytes for info in infos) < 10 * len(body)


@pytest.mark.row("S-4.2.13")
async def test_what_shares_nothing_with_its_parent_is_stored_whole(snapshots: Snapshots[Any], store: Store) -> None:
    """Proves it of a new snapshot and of one that is rewritten; both come back exactly, from several pieces."""
    first, second, third = (said(*(noise((which, number), 1_000) for number in range(900))) for which in range(3))
    await add(snapshots, "root", None, first)
    await add(snapshots, "new", "root", second)
    await add(snapshots, "leaf", "root", first, status="pending")
    await add(snapshots, "leaf", "root", third, status="pending")
    for snapshot_id, state in (("new", second), ("leaf", third)):
        info = await info_of(snapshots, snapshot_id)
        assert info.stored_bytes == info.state_bytes
        assert len(await states(store, await place_of(store, snapshot_id))) > 2
        assert await state_of(snapshots, snapshot_id) == state


@pytest.mark.row("S-4.2.14", "S-4.2.10")
async def test_the_pieces_of_a_large_state_go_when_it_becomes_small(snapshots: Snapshots[Any], store: Store) -> None:
    await add(snapshots, "turn", None, said(*(noise(number, 1_000) for number in range(900))), status="pending")
    at = await place_of(store, "turn")
    assert len(await states(store, at)) > 2
    await add(snapshots, "turn", None, said("less"), status="pending")
    assert len(await states(store, at)) == 1
    assert await state_of(snapshots, "turn") == said("less")
    assert [each.stored_bytes async for each in snapshots.sessions()] == [
        (await info_of(snapshots, "turn")).stored_bytes
    ]


@pytest.mark.row("S-4.1.11")
@pytest.mark.parametrize("arrives", [False, True])
@pytest.mark.parametrize("commits", [0, 1])
async def test_a_snapshot_and_the_newest_leaf_are_one_commit(
    snapshots: Snapshots[Any], elsewhere: Start, clock: HastyClock, commits: int, *, arrives: bool
) -> None:
    """Proves that whoever dies while it saves leaves both as they were, or both new."""
    await add(snapshots, "a", None, said("a"))
    dying = await elsewhere()
    dying.wire.break_after(commits, arrives=arrives)
    with clock.hasty(60):
        try:
            await add(dying.snapshots, "b", "a", said("a", "b"))
        except (CommitUnknownError, UnavailableError):
            assert dying.wire.broken.is_set()
    saved = await snapshots.get_snapshot(snapshot_id="b")
    assert await newest(snapshots) == ("a" if saved is None else "b")
    assert await history(snapshots) == (["a"] if saved is None else ["b", "a"])
    await add(snapshots, "b", "a", said("a", "b"))
    assert await history(snapshots) == ["b", "a"]


@pytest.mark.row("S-4.1.12", "S-5.7")
async def test_a_damaged_ancestor_does_not_disturb_the_newest_leaf(
    snapshots: Snapshots[Any], store: Store, elsewhere: Start
) -> None:
    await chain(snapshots, "a", "b")
    await spoil(store, CHAT.row(await place_of(store, "a")), b"j{")
    cold = (await elsewhere()).snapshots
    found = await cold.get_snapshot(session_id="chat")
    assert found is not None
    assert (found.snapshot_id, found.state) == ("b", said("a", "b"))


@pytest.mark.row("S-5.11")
async def test_a_look_up_by_session_costs_the_same_however_long_the_session_is(
    snapshots: Snapshots[Any], store: Store, clock: HastyClock
) -> None:
    costs: list[list[int]] = []
    wire = Counting(store.engine)
    async with Store(wire, clock=clock) as beside:
        cold: Snapshots[Any] = Snapshots(beside)
        for turn in range(150):
            await add(snapshots, f"n{turn}", f"n{turn - 1}" if turn else None, said(f"{turn}"))
            if turn in {9, 149}:
                wire.counts.clear()
                assert await newest(cold) == f"n{turn}"
                costs.append([*wire.counts])
    assert costs[0] == costs[1]
    assert len(costs[0]) == 1


@pytest.mark.row("S-4.2.4")
async def test_a_mutator_may_be_called_again_and_sees_what_a_rival_stored(
    snapshots: Snapshots[Any], elsewhere: Start
) -> None:
    await add(snapshots, "turn", None, {"n": 0}, status="pending")
    slow = await elsewhere()
    seen: list[int] = []

    def count(current: Snapshot[Any] | None) -> SnapshotInput[Any]:
        assert current is not None
        state: Any = current.state
        seen.append(state["n"])
        return SnapshotInput(status="pending", state={"n": state["n"] + 1})

    slow.wire.hold()
    saving = asyncio.create_task(slow.snapshots.save_snapshot("turn", count))
    await until(lambda: slow.wire.held)
    await add(snapshots, "turn", None, {"n": 10}, status="pending")
    slow.wire.resume()
    assert await saving == "turn"
    assert seen == [0, 10]
    assert await state_of(snapshots, "turn") == {"n": 11}


# == Large states, and long lines


@pytest.mark.parametrize("which", ["first", "0", "30", "59", "last"])
@pytest.mark.parametrize("by", ["snapshot_id", "session_id"])
async def test_a_read_costs_what_it_reads_whatever_large_states_stand_beside_it(
    snapshots: Snapshots[Any], store: Store, which: str, by: str
) -> None:
    """Proves it of a process that has seen nothing of the session, in bytes of what it is answered."""
    little, large = 2_000, 40_000
    names = ["first", *map(str, range(60)), "last"]
    for name in names[: names.index(which) + 1] if by == "session_id" else names:
        size = little if name in {"first", "last"} else large
        parent = names[names.index(name) - 1] if name != "first" else None
        await add(snapshots, name, parent, {"blob": noise(name, size)})
    wire = Counting(store.engine)
    async with Store(wire, clock=store.clock) as beside:
        cold: Snapshots[Any] = Snapshots(beside)
        asked: dict[str, Any] = {by: which if by == "snapshot_id" else "chat"}
        found = await cold.get_snapshot(**asked)
    assert found is not None
    own = little if which in {"first", "last"} else large
    assert found.snapshot_id == which
    assert found.state == {"blob": noise(which, own)}
    # A record of each state is small and may come along; what the large ones hold does not.
    assert wire.bytes < own + 2 * little + 62 * 200


async def test_a_snapshot_deleted_from_a_long_line_is_saved_anew_in_its_place(
    snapshots: Snapshots[Any], store: Store
) -> None:
    """Proves that a line may be longer than what one transaction may be guarded by."""
    length, at_once = limits.TRANSACTION_GUARDS + 500, 100
    line = snapshots.timeline("chat")

    async def save(tx: Attempt, number: int) -> None:
        parent = str(number - 1) if number else None
        await line.save(str(number), lambda _: SnapshotInput(parent_id=parent), tx=tx)

    async def grow(tx: Attempt, start: int) -> None:
        for number in range(start, min(start + at_once, length)):
            await save(tx, number)

    for start in range(0, length, at_once):
        await store.run(partial(grow, start=start))
    gone = length - 2
    assert await line.delete(str(gone)) == 1
    await store.run(partial(save, number=gone))
    assert await line.info(str(gone)) is not None
    found = [info.snapshot_id async for info in line.history(limit=limits.PAGE_MAX)]
    assert found == [str(number) for number in reversed(range(length))]
    assert (await line.tree()).leaves == (str(length - 1),)
