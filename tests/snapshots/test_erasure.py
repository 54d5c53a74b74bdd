"""Taking a whole session away: nothing of it stays, whatever comes between, and who begins anew sees nothing of it."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from sojourn import limits
from sojourn.errors import (
    CommitUnknownError,
    ConflictError,
    LeaseLostError,
    SnapshotSettledError,
    SojournError,
    UnavailableError,
)
from sojourn.kernel import Reads, Store
from sojourn.snapshots import SnapshotInput, Snapshots
from sojourn.snapshots.layout import Place, index
from tests.documents.conftest import HastyClock, settled, until
from tests.snapshots.audit import check, rows_of
from tests.snapshots.conftest import add, chain, message, noise, records, said, state_of
from tests.snapshots.elsewhere import Start, elsewhere
from tests.snapshots.meddling import meddled

__all__ = ["elsewhere"]

IDS = ("a", "b", "c", "d", "e")


async def say(snapshots: Snapshots[Any], text: str, **how: Any) -> str:
    """Take a turn that says this."""
    async with snapshots.turn("chat", **how) as turn:
        turn.messages.append(message(text))
    return turn.snapshot_id


async def grow(snapshots: Snapshots[Any]) -> None:
    """Make a session of every kind of record."""
    await chain(snapshots, *IDS)
    await add(snapshots, "beside", "b", said(noise("large", 2 * limits.CHUNK_BYTES)))
    await add(snapshots, "orphan", "unknown")
    await snapshots.fork("c", "a name")
    await say(snapshots, "on", after="e")


async def nothing_left(store: Store, *ids: str) -> bool:
    """Say whether the session has no record any more, and of none of these ids is it known where it is."""
    keys = tuple(index("", snapshot_id) for snapshot_id in ids)
    entries = (await store.read(Reads(keys))).records.keys if keys else ()
    return await records(store) == [] and all(entry is None for entry in entries)


async def test_nothing_of_a_session_stays(snapshots: Snapshots[Any], store: Store) -> None:
    await grow(snapshots)
    assert await snapshots.delete_session("chat")
    assert await nothing_left(store, *IDS, "beside", "orphan")
    assert not await snapshots.delete_session("chat")
    assert await snapshots.get_session("chat") is None
    assert [info async for info in snapshots.sessions()] == []
    assert await snapshots.get_snapshot(session_id="chat") is None
    assert await snapshots.get_snapshot(snapshot_id="a") is None


async def test_a_large_session_goes_in_steps(
    snapshots: Snapshots[Any], store: Store, monkeypatch: pytest.MonkeyPatch, elsewhere: Start
) -> None:
    monkeypatch.setattr(limits, "SNAPSHOT_STEP", 2)
    await grow(snapshots)
    there = await elsewhere()
    assert await there.snapshots.delete_session("chat")
    assert await nothing_left(store, *IDS, "beside", "orphan")
    assert len(there.wire.sent) > 12


async def test_others_are_left_alone(store: Store) -> None:
    tenants: Snapshots[Any] = Snapshots(store, tenant=lambda context: context["tenant"])
    for tenant in ("t1", "t2"):
        for session in ("chat", "chat2"):
            timeline = tenants.timeline(session, context={"tenant": tenant})
            await timeline.save("a", lambda _: SnapshotInput(state=said("x")))
    assert await tenants.delete_session("chat", context={"tenant": "t1"})
    assert await records(store, Place("t1", "chat")) == []
    for tenant, session in (("t1", "chat2"), ("t2", "chat"), ("t2", "chat2")):
        found = await tenants.get_snapshot(session_id=session, context={"tenant": tenant})
        assert found is not None
        assert found.state == said("x")


async def test_the_id_of_a_snapshot_that_went_is_anybodys(snapshots: Snapshots[Any]) -> None:
    await chain(snapshots, "a", "b")
    await chain(snapshots, "mine", session="other")
    await snapshots.delete_session("chat")
    await add(snapshots, "a", session="other", state=said("new"))
    assert await state_of(snapshots, "a") == said("new")
    with pytest.raises(SnapshotSettledError):
        await add(snapshots, "mine", session="chat")


async def test_an_emptied_session_is_none(snapshots: Snapshots[Any], store: Store) -> None:
    await chain(snapshots, "a")
    await snapshots.delete("a")
    assert not await snapshots.delete_session("chat")
    assert await nothing_left(store, "a")


async def test_a_turn_in_progress_is_stopped_and_nothing_of_it_is_stored(
    snapshots: Snapshots[Any], store: Store, elsewhere: Start
) -> None:
    await say(snapshots, "hi")
    there = await elsewhere()
    begun, went_on = asyncio.Event(), False

    async def work() -> None:
        nonlocal went_on
        async with there.snapshots.turn("chat") as turn:
            turn.messages.append(message("on"))
            begun.set()
            await asyncio.Event().wait()
            went_on = True

    working = asyncio.create_task(work())
    await begun.wait()
    assert await snapshots.delete_session("chat")
    with pytest.raises(LeaseLostError):
        await working
    assert not went_on
    assert await nothing_left(store)


async def test_a_turn_that_ends_after_its_session_does_not_bring_it_back(
    snapshots: Snapshots[Any], store: Store, elsewhere: Start
) -> None:
    there = await elsewhere()
    ending = asyncio.Event()

    async def work() -> None:
        async with there.snapshots.turn("chat") as turn:
            turn.messages.append(message("on"))
            there.wire.hold()
            ending.set()

    working = asyncio.create_task(work())
    await ending.wait()
    await until(lambda: there.wire.held)
    assert await snapshots.delete_session("chat")
    await say(snapshots, "anew")
    there.wire.resume()
    with pytest.raises(LeaseLostError):
        await working
    session = await snapshots.get_session("chat")
    assert session is not None
    assert session.snapshots == 1
    assert len(await rows_of(store)) == 1


# == Half done

BEGINNINGS: dict[str, Callable[[Snapshots[Any]], Awaitable[object]]] = {
    "a save": lambda rival: add(rival, "a", None, said("anew")),
    "a save of another": lambda rival: add(rival, "new", "b", said("anew")),
    "a turn": lambda rival: say(rival, "anew"),
    "a turn on a branch": lambda rival: say(rival, "anew", branch="a name"),
    "another deletion": lambda rival: rival.delete_session("chat"),
}


@pytest.mark.parametrize("beginning", BEGINNINGS)
async def test_a_deletion_that_is_killed_at_any_step_is_finished_by_whoever_comes_next(
    snapshots: Snapshots[Any],
    store: Store,
    clock: HastyClock,
    elsewhere: Start,
    monkeypatch: pytest.MonkeyPatch,
    beginning: str,
) -> None:
    monkeypatch.setattr(limits, "SNAPSHOT_STEP", 3)
    for arrives in (False, True):
        commits = 0 if arrives else 1  # the first one that does not arrive is the mark
        is_through = False
        while not is_through:
            await grow(snapshots)
            killed = await elsewhere()
            killed.wire.break_after(commits, arrives=arrives)
            try:
                with clock.hasty():
                    await killed.snapshots.delete_session("chat")
                is_through = True
            except (UnavailableError, CommitUnknownError):
                await killed.crash()
            assert await snapshots.get_info(session_id="chat") is None
            assert await snapshots.get_session("chat") is None
            assert [info async for info in snapshots.sessions()] == []
            assert (await snapshots.prune("chat", keep=1)).removed == 0
            await BEGINNINGS[beginning](snapshots)
            left = {name: await state_of(snapshots, name) for name in await rows_of(store)}
            assert list(left.values()) == ([] if beginning == "another deletion" else [said("anew")])
            await check(store, snapshots, left, {*IDS, "beside", "orphan"})
            await snapshots.delete_session("chat")
            commits += 1
        assert commits > 5


async def test_a_deletion_that_was_overtaken_takes_nothing_of_what_is_new(
    snapshots: Snapshots[Any], store: Store, clock: HastyClock
) -> None:
    """Others finish it, and begin anew with the same ids, before each of its reads and commits in turn."""

    async def overtake() -> None:
        await snapshots.delete_session("chat")
        await chain(snapshots, *IDS)

    before = 0
    is_through = False
    while not is_through:
        await grow(snapshots)
        async with meddled(store, clock, before, overtake) as (wire, late):
            assert await late.delete_session("chat")
            is_through = wire.left >= 0
        marked = before > 1  # before that it was the session begun anew that it deleted
        left = {name: said(*IDS[: place + 1]) for place, name in enumerate(IDS)} if marked and not is_through else {}
        await check(store, Snapshots(store), left, {*IDS, "beside", "orphan"})
        await snapshots.delete_session("chat")
        before += 1
    assert before > 10


async def test_a_turn_that_ends_in_a_session_half_deleted_is_refused(
    snapshots: Snapshots[Any], store: Store, clock: HastyClock, elsewhere: Start
) -> None:
    there, killed = await elsewhere(), await elsewhere()
    ending = asyncio.Event()

    async def work() -> None:
        async with there.snapshots.turn("chat") as turn:
            turn.messages.append(message("on"))
            there.wire.hold()
            ending.set()

    working = asyncio.create_task(work())
    await ending.wait()
    await until(lambda: there.wire.held)
    killed.wire.break_after(0, arrives=True)
    with clock.hasty(), pytest.raises((UnavailableError, CommitUnknownError)):
        await killed.snapshots.delete_session("chat")
    there.wire.resume()
    with pytest.raises(LeaseLostError):
        await working
    assert await snapshots.delete_session("chat")
    assert await nothing_left(store)


async def test_who_deletes_and_who_saves_at_the_same_time_leave_a_sound_session(
    snapshots: Snapshots[Any], store: Store, clock: HastyClock, elsewhere: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SNAPSHOT_STEP", 2)
    there, yonder = (await elsewhere()).snapshots, (await elsewhere()).snapshots
    saved = 0

    async def save(by: Snapshots[Any], name: str) -> None:
        nonlocal saved
        for number in range(15):
            await add(by, f"{name}{number % 5}", f"{name}{number % 5 - 1}" if number % 5 else None, said(name))
            saved += 1

    async def turn(by: Snapshots[Any]) -> None:
        nonlocal saved
        for number in range(10):
            with suppress(LeaseLostError, ConflictError):
                await say(by, f"{number}", if_busy="branch")
            saved += 1

    async def delete(by: Snapshots[Any]) -> None:
        while saved < 55:
            with suppress(SojournError):
                await by.delete_session("chat")
            await asyncio.sleep(0)

    with clock.hasty():
        await asyncio.gather(save(snapshots, "x"), save(there, "y"), save(snapshots, "z"), turn(there), delete(yonder))
    await settled(store)
    left = {name: await state_of(snapshots, name) for name in await rows_of(store)}
    used = {f"{name}{number}" for name in "xyz" for number in range(5)}
    await check(store, Snapshots(store), left, used)
    await snapshots.delete_session("chat")
    assert await nothing_left(store, *used)
