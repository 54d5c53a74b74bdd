"""Taking snapshots away: what goes, what always stays, and what others see who are at work meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from sojourn import limits
from sojourn.errors import (
    BranchedError,
    CommitUnknownError,
    LeaseHeldError,
    SnapshotSettledError,
    SnapshotUnknownError,
    StateLostError,
    UnavailableError,
)
from sojourn.kernel import Store
from sojourn.snapshots import Snapshots, Status
from tests.documents.conftest import HastyClock
from tests.snapshots.audit import check, rows_of
from tests.snapshots.conftest import (
    CHAT,
    add,
    chain,
    history,
    info_of,
    message,
    newest,
    noise,
    place_of,
    records,
    said,
    spoil,
    state_of,
    states,
)
from tests.snapshots.elsewhere import LEASE, Start, elsewhere
from tests.snapshots.meddling import meddled

__all__ = ["elsewhere"]


async def say(snapshots: Snapshots[Any], text: str, **how: Any) -> str:
    """Take a turn that says this."""
    async with snapshots.turn("chat", **how) as turn:
        turn.messages.append(message(text))
    return turn.snapshot_id


async def grow(snapshots: Snapshots[Any]) -> dict[str, Any]:
    """Make a session of several lines, some ids chosen and some made here; return the state of each snapshot."""
    await chain(snapshots, "a", "b", "c", "d", "e")
    await add(snapshots, "b2", "b", said("a", "b", "b2"))
    await add(snapshots, "c2", "b2", said("a", "b", "b2", "c2"))
    await add(snapshots, "bare", "b2")
    await add(snapshots, "orphan", "unknown", said("orphan"))
    await snapshots.fork("c2", "beside")
    turns = [await say(snapshots, "f", after="e"), await say(snapshots, "g")]
    known = {name: await state_of(snapshots, name) for name in await rows_of_ids(snapshots)}
    assert set(turns) <= set(known)
    return known


async def rows_of_ids(snapshots: Snapshots[Any]) -> list[str]:
    """The ids of all snapshots of the session."""
    return list((await snapshots.tree("chat")).nodes)


async def without(known: dict[str, Any], snapshots: Snapshots[Any]) -> dict[str, Any]:
    """What is left of these."""
    there = await rows_of_ids(snapshots)
    return {name: state for name, state in known.items() if name in there}


# == What goes, and what stays


@pytest.mark.row("S-4.1.10")
async def test_of_each_line_so_many_are_kept_as_was_said(snapshots: Snapshots[Any], store: Store) -> None:
    known = await grow(snapshots)
    pruned = await snapshots.prune("chat", keep=2)
    left = await without(known, snapshots)
    assert set(known) - set(left) == {"a", "b", "c", "d", "e"} - ({"b"} & set(left))
    assert pruned.removed == len(known) - len(left)
    assert pruned.kept == len(left)
    await check(store, snapshots, left, set(known))


async def test_what_would_be_taken_is_told_and_not_taken(snapshots: Snapshots[Any], store: Store) -> None:
    known = await grow(snapshots)
    planned = await snapshots.prune("chat", keep=1, dry_run=True)
    await check(store, snapshots, known, set(known))
    stored = {name: (await info_of(snapshots, name)).stored_bytes for name in known}
    assert await snapshots.prune("chat", keep=1) == planned
    left = await without(known, snapshots)
    assert planned.freed_bytes == sum(stored[name] for name in known if name not in left)
    assert await snapshots.prune("chat", keep=1) == (type(planned))(0, len(left), 0)


async def test_rules_that_are_given_together_must_all_name_what_goes(
    snapshots: Snapshots[Any], clock: HastyClock
) -> None:
    for number in range(6):
        status = Status.FAILED if number % 2 else Status.COMPLETED
        parent = f"s{number - 1}" if number else None
        await add(snapshots, f"s{number}", parent, said(f"{number}"), status=status)
        clock.advance(timedelta(hours=1))
    age = timedelta(hours=2, minutes=30)
    assert (await snapshots.prune("chat", keep=5, older_than=age, status=[Status.FAILED])).removed == 0
    await snapshots.prune("chat", keep=2, older_than=age, status=[Status.FAILED])
    assert await rows_of_ids(snapshots) == ["s0", "s2", "s4", "s5"]
    await snapshots.prune("chat", older_than=age)
    assert await rows_of_ids(snapshots) == ["s4", "s5"]
    await snapshots.prune("chat", older_than=timedelta(0))
    assert await rows_of_ids(snapshots) == ["s5"]


async def test_the_newest_leaf_stays_whatever_the_rules_are(snapshots: Snapshots[Any], clock: HastyClock) -> None:
    await chain(snapshots, "a", "b")
    clock.advance(timedelta(days=1))
    await snapshots.prune("chat", keep=1, older_than=timedelta(0), status=list(Status))
    assert await rows_of_ids(snapshots) == ["b"]


async def test_what_a_turn_is_at_work_on_stays_and_what_it_goes_on_from(
    snapshots: Snapshots[Any], clock: HastyClock
) -> None:
    ids = [await say(snapshots, f"{number}") for number in range(4)]
    async with snapshots.turn("chat", after=ids[1]) as turn:
        turn.messages.append(message("beside"))
        await add(snapshots, "newest", ids[3], said("x"))
        clock.advance(timedelta(seconds=1))
        await snapshots.prune("chat", older_than=timedelta(0), status=list(Status))
        assert await rows_of_ids(snapshots) == [ids[1], turn.snapshot_id, "newest"]
    assert await state_of(snapshots, turn.snapshot_id) == said("0", "1", "beside")


async def test_the_last_snapshot_of_a_named_branch_stays_and_where_one_begins(
    snapshots: Snapshots[Any], clock: HastyClock
) -> None:
    await chain(snapshots, "a", "b", "c")
    await add(snapshots, "b2", "b", said("b2"))
    await snapshots.fork("a", "from a")
    last = await say(snapshots, "on", branch="other")
    await say(snapshots, "and on", after="b2")
    clock.advance(timedelta(seconds=1))
    await snapshots.prune("chat", older_than=timedelta(0), status=list(Status))
    assert set(await rows_of_ids(snapshots)) == {"a", last, await newest(snapshots)}
    assert dict(await snapshots.branches("chat")) == {"from a": "a", "other": last}


async def test_whose_worker_is_gone_is_taken_away_as_expired(
    snapshots: Snapshots[Any], elsewhere: Start, clock: HastyClock
) -> None:
    gone = await elsewhere()
    turn = await gone.snapshots.turn("chat").__aenter__()
    await gone.crash()
    last = await say(snapshots, "on", if_busy="branch")
    assert (await snapshots.prune("chat", status=[Status.EXPIRED])).removed == 0
    clock.advance(LEASE)
    assert (await snapshots.prune("chat", status=[Status.EXPIRED])).removed == 1
    assert await rows_of_ids(snapshots) == [last]
    assert turn.snapshot_id != last


@pytest.mark.row("S-4.3.6")
async def test_what_is_left_takes_the_room_of_one_state_and_some_turns(snapshots: Snapshots[Any], store: Store) -> None:
    for number in range(60):
        await say(snapshots, f"{number}")
    before = await info_of(snapshots, await newest(snapshots) or "")
    assert before.state_bytes is not None
    await snapshots.prune("chat", keep=10)
    size = sum(len(record.value) for record in await records(store))
    assert size < before.state_bytes + 10 * 1_000
    session = await snapshots.get_session("chat")
    assert session is not None
    assert session.stored_bytes < before.state_bytes + 10 * 500


@pytest.mark.row("S-4.2.14")
async def test_a_large_state_goes_with_all_its_pieces(snapshots: Snapshots[Any], store: Store) -> None:
    large = {"messages": [{"text": noise("large", 3 * limits.CHUNK_BYTES)}]}
    await add(snapshots, "large", None, large)
    await add(snapshots, "edge", "large", {"messages": [noise("edge", limits.SNAPSHOT_APART_BYTES)]})
    await add(snapshots, "last", "edge", {"messages": [*large["messages"], message("x")]})
    pieces = [record for record in await records(store) if record.key.space == "snapshot.large"]
    assert len(pieces) > 5
    await snapshots.prune("chat", keep=1)
    await check(store, snapshots, {"last": {"messages": [*large["messages"], message("x")]}}, {"large", "edge"})
    await snapshots.delete("last")
    await check(store, snapshots, {}, {"large", "edge", "last"})


async def test_a_prune_is_no_activity_of_a_session(snapshots: Snapshots[Any], clock: HastyClock) -> None:
    for session in ("old", "new"):
        await chain(snapshots, f"{session}-a", f"{session}-b", session=session)
        clock.advance(timedelta(seconds=1))
    await snapshots.prune("old", keep=1)
    assert [info.session_id async for info in snapshots.sessions()] == ["new", "old"]


# == Deletion by id


async def test_whatever_is_deleted_the_others_read_as_before(snapshots: Snapshots[Any], store: Store) -> None:
    known = await grow(snapshots)
    left = dict(known)
    for name in ("b", "a", "d", "bare", "orphan", "b2"):
        assert await snapshots.delete(name)
        assert not await snapshots.delete(name)
        del left[name]
        await check(store, snapshots, left, set(known))
    assert await snapshots.timeline("chat").delete(*left, "unknown") == len(left)
    await check(store, snapshots, {}, set(known))
    assert await snapshots.get_session("chat") is None
    assert await snapshots.branches("chat") == {}


async def test_a_line_from_whose_middle_one_is_taken_has_not_branched(snapshots: Snapshots[Any]) -> None:
    await chain(snapshots, "a", "b", "c")
    await snapshots.delete("b")
    found = await snapshots.get_info(session_id="chat", reject_branching=True)
    assert found is not None
    assert found.snapshot_id == "c"
    assert (await snapshots.tree("chat")).leaves == ("c",)
    await snapshots.delete("c")
    assert await newest(snapshots) == "a"
    await add(snapshots, "d", "a", said("d"))
    await add(snapshots, "e", "a", said("e"))
    with pytest.raises(BranchedError):
        await snapshots.get_info(session_id="chat", reject_branching=True)


async def test_an_id_that_was_deleted_is_anybodys(snapshots: Snapshots[Any], store: Store) -> None:
    await chain(snapshots, "a", "b")
    with pytest.raises(SnapshotSettledError):
        await add(snapshots, "a", session="other")
    await snapshots.delete("a")
    await add(snapshots, "a", session="other", state=said("new"))
    assert (await info_of(snapshots, "a")).session_id == "other"
    await snapshots.delete("b")
    await add(snapshots, "b", None, said("again"))
    await check(store, snapshots, {"b": said("again")}, set())


async def test_a_parent_that_comes_again_has_its_children_behind_it(snapshots: Snapshots[Any], store: Store) -> None:
    await chain(snapshots, "a", "b", "c")
    await snapshots.delete("b")
    assert await history(snapshots) == ["c"]
    await add(snapshots, "b", "a", said("b again"))
    assert await history(snapshots) == ["c", "b", "a"]
    expected = {"a": said("a"), "b": said("b again"), "c": said("a", "b", "c")}
    await check(store, snapshots, expected, set())


async def test_names_stand_for_the_nearest_that_stays(snapshots: Snapshots[Any]) -> None:
    await chain(snapshots, "a", "b", "c")
    await add(snapshots, "b2", "b", said("b2"))
    await snapshots.fork("c", "main")
    await snapshots.fork("b2", "beside")
    await snapshots.fork("b", "from b")
    await snapshots.delete("c")
    assert dict(await snapshots.branches("chat")) == {"main": "b", "beside": "b2", "from b": "b"}
    await snapshots.delete("b")
    assert dict(await snapshots.branches("chat")) == {"main": "a", "beside": "b2", "from b": "a"}
    one, two, three = [await say(snapshots, text, branch="main") for text in ("one", "two", "three")]
    await snapshots.timeline("chat").delete("a", "b2")
    assert dict(await snapshots.branches("chat")) == {"main": three}
    await snapshots.delete(two)
    await snapshots.delete(three)
    assert dict(await snapshots.branches("chat")) == {"main": one}


async def test_what_a_turn_is_at_work_on_or_goes_on_from_is_not_deleted(snapshots: Snapshots[Any]) -> None:
    await chain(snapshots, "a", "b", "c")
    async with snapshots.turn("chat", after="b") as turn:
        turn.messages.append(message("on"))
        for name in (turn.snapshot_id, "b"):
            with pytest.raises(LeaseHeldError):
                await snapshots.delete(name)
        with pytest.raises(LeaseHeldError):
            await snapshots.timeline("chat").delete("a", "b", "c")
        assert await snapshots.delete("a")
        assert await snapshots.delete("c")
    assert await history(snapshots) == [turn.snapshot_id, "b"]
    assert await state_of(snapshots, turn.snapshot_id) == said("a", "b", "on")
    assert await snapshots.delete("b")
    assert await state_of(snapshots, turn.snapshot_id) == said("a", "b", "on")


@pytest.mark.row("S-4.2.18")
async def test_what_cannot_be_put_on_its_own_keeps_what_it_is_made_of(snapshots: Snapshots[Any], store: Store) -> None:
    await chain(snapshots, "a", "b", "c", "d")
    (record,) = await states(store, await place_of(store, "b"))
    await spoil(store, record.key, b"spoiled")
    cold = Snapshots[Any](store)
    with pytest.raises(StateLostError) as caught:
        await cold.delete("c")
    assert (caught.value.snapshot_id, caught.value.readable) == ("d", "a")
    assert await rows_of_ids(cold) == ["a", "b", "c", "d"]
    assert await cold.timeline("chat").delete("b", "c", "d") == 3
    await check(store, cold, {"a": said("a")}, {"b", "c", "d"})


# == Others at work meanwhile


async def test_a_reader_in_the_midst_of_a_prune_reads_what_was_saved(
    snapshots: Snapshots[Any], store: Store, clock: HastyClock
) -> None:
    """Before each of its reads in turn, of a line that leaves one branch for another with each snapshot."""
    before = 0
    is_through = False
    while not is_through:
        ids = [f"s{number}" for number in range(8)]
        for number, name in enumerate(ids):
            parent = ids[number - 1] if number else None
            await add(snapshots, f"{name}-first", parent, said(name))
            await add(snapshots, name, parent, said(*ids[: number + 1]))

        async with meddled(store, clock, before, lambda: snapshots.prune("chat", keep=2)) as (wire, reader):
            found = await reader.get_snapshot(snapshot_id=ids[-1])
            is_through = wire.left >= 0
        assert found is not None
        assert found.state == said(*ids)
        await snapshots.delete_session("chat")
        before += 1
    assert before > 3


MEDDLERS: dict[str, Callable[[Snapshots[Any]], Awaitable[object]]] = {
    "a turn at the end": lambda rival: say(rival, "on"),
    "a turn on what is to go": lambda rival: say(rival, "beside", after="c"),
    "a turn on a leaf that is to go": lambda rival: say(rival, "beside", after="c2"),
    "a fork of what is to go": lambda rival: rival.fork("c", "a name"),
    "a fork of what goes last": lambda rival: rival.fork("a", "a name"),
    "another version of one": lambda rival: add(rival, "c2", "b2", said("another")),
    "a deletion of one that is to go": lambda rival: rival.delete("c"),
    "a deletion of one that stays": lambda rival: rival.delete("e"),
    "another prune": lambda rival: rival.prune("chat", keep=2),
    "the end of the session": lambda rival: rival.delete_session("chat"),
}


@pytest.mark.parametrize("meddler", MEDDLERS)
async def test_whoever_comes_into_its_way_loses_nothing(
    snapshots: Snapshots[Any], store: Store, clock: HastyClock, monkeypatch: pytest.MonkeyPatch, meddler: str
) -> None:
    """Before each of its reads and commits in turn."""
    monkeypatch.setattr(limits, "SNAPSHOT_STEP", 3)
    before = 0
    is_through = False
    while not is_through:
        known = await grow(snapshots)

        async def meddle() -> None:
            with suppress(SnapshotSettledError, SnapshotUnknownError):
                result = await MEDDLERS[meddler](snapshots)
                if isinstance(result, str):
                    known[result] = await state_of(snapshots, result)  # noqa: B023  called within the same round
            if meddler == "another version of one":
                known["c2"] = said("another")  # noqa: B023  the same

        async with meddled(store, clock, before, meddle) as (wire, pruner):
            await pruner.timeline("chat").delete("a", "c", "c2", "orphan")
            is_through = wire.left >= 0
        left = await without(known, snapshots)
        if "deletion" not in meddler and "prune" not in meddler and "end" not in meddler:
            assert set(known) - set(left) <= {"a", "c", "c2", "orphan"}
        await check(store, Snapshots(store), left, set(known))
        await snapshots.delete_session("chat")
        before += 1
    assert before > 5


async def test_two_who_take_the_last_two_children_leave_a_leaf(
    snapshots: Snapshots[Any], store: Store, clock: HastyClock
) -> None:
    before = 0
    is_through = False
    while not is_through:
        await chain(snapshots, "a", "b")
        await add(snapshots, "b2", "a", said("a", "b2"))
        async with meddled(store, clock, before, lambda: snapshots.delete("b2")) as (wire, rival):
            assert await rival.delete("b")
            is_through = wire.left >= 0
        if not is_through:
            await check(store, Snapshots(store), {"a": said("a")}, {"b", "b2"})
        await snapshots.delete_session("chat")
        before += 1
    assert before > 3


@pytest.mark.row("S-4.3.6")
@pytest.mark.parametrize("arrives", [False, True])
async def test_a_prune_that_is_killed_at_any_step_leaves_a_sound_session(
    snapshots: Snapshots[Any],
    store: Store,
    clock: HastyClock,
    elsewhere: Start,
    monkeypatch: pytest.MonkeyPatch,
    arrives: bool,  # noqa: FBT001
) -> None:
    monkeypatch.setattr(limits, "SNAPSHOT_STEP", 2)
    commits = 0
    is_through = False
    while not is_through:
        known = await grow(snapshots)
        killed = await elsewhere()
        killed.wire.break_after(commits, arrives=arrives)
        try:
            with clock.hasty():
                await killed.snapshots.prune("chat", keep=2)
            is_through = True
        except (UnavailableError, CommitUnknownError):
            await killed.crash()
        left = await without(known, snapshots)
        await check(store, Snapshots(store), left, set(known))
        assert set(known) - set(left) <= {"a", "b", "c", "d", "e"}
        await snapshots.prune("chat", keep=2)
        left = await without(known, snapshots)
        await check(store, Snapshots(store), left, set(known))
        assert {"c", "d", "e"} & set(left) == set()
        await snapshots.delete_session("chat")
        commits += 1
    assert commits > 4


async def test_turns_and_prunes_at_the_same_time_keep_what_they_promise(
    snapshots: Snapshots[Any], store: Store, clock: HastyClock, elsewhere: Start
) -> None:
    there = (await elsewhere()).snapshots
    said_so_far: list[str] = []
    made: dict[str, Any] = {}
    removed: list[int] = []

    async def talk() -> None:
        for number in range(20):
            said_so_far.append(f"{number}")
            made[await say(snapshots, f"{number}")] = said(*said_so_far)

    async def prune(by: Snapshots[Any]) -> None:
        while len(made) < 20:
            removed.append((await by.prune("chat", keep=3)).removed)
            await asyncio.sleep(0)

    with clock.hasty():
        await asyncio.gather(talk(), prune(there), prune(snapshots))
        removed.append((await there.prune("chat", keep=3)).removed)
    left = await without(made, snapshots)
    assert list(left) == list(made)[-3:]
    assert sum(removed) == 17
    await check(store, snapshots, left, set())
    await check(store, Snapshots(store), left, set())


async def test_what_others_have_read_before_is_not_read_anew_after_a_prune(
    snapshots: Snapshots[Any], elsewhere: Start
) -> None:
    """Proves that a state stored whole is known to be the same."""
    last = [await say(snapshots, f"{number}") for number in range(12)][-1]
    warm = await elsewhere()
    await state_of(warm.snapshots, last)
    await snapshots.prune("chat", keep=3)
    warm.wire.clear()
    assert await state_of(warm.snapshots, last) == said(*(f"{number}" for number in range(12)))
    assert len(warm.wire.asked) == 1
    rows = await rows_of(warm.store, CHAT)
    assert len(rows) == 3
