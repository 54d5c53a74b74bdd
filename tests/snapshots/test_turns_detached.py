"""Turns that go on in the background: seen, watched and aborted from anywhere, and ended whatever becomes of them."""

import asyncio
from contextlib import nullcontext
from datetime import timedelta
from typing import Any

import pytest

from sojourn.errors import ClosedError, InvalidError, LeaseHeldError, TurnAbortedError
from sojourn.kernel import Store
from sojourn.snapshots import Detached, SnapshotInfo, Snapshots, Status, Turn
from tests.documents.conftest import HastyClock
from tests.snapshots.elsewhere import LEASE, Start, elsewhere, pass_time

__all__ = ["elsewhere"]

PENDING, COMPLETED, FAILED = Status.PENDING, Status.COMPLETED, Status.FAILED
ABORTED, EXPIRED = Status.ABORTED, Status.EXPIRED

PATIENCE_S = 30.0
"""After that much real time something that never happens is a failure, and not a run that hangs."""


class OnPurposeError(Exception):
    """What work fails of here."""


class Work:
    """Work that says something and then goes on when the test wants it to."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.goes_on = asyncio.Event()
        self.fails = False

    async def __call__(self, turn: Turn[Any]) -> None:
        self.begun.set()
        await self.goes_on.wait()
        turn.messages.append("answer")
        if self.fails:
            raise OnPurposeError("the model is out")


@pytest.fixture
def work() -> Work:
    return Work()


async def detached(snapshots: Snapshots[Any], work: Work) -> Detached[Any]:
    async with snapshots.turn("chat") as turn:
        turn.messages.append("question")
        return turn.detach(work)


async def found(snapshots: Snapshots[Any], snapshot_id: str) -> SnapshotInfo:
    info = await snapshots.get_info(snapshot_id=snapshot_id)
    assert info is not None
    return info


async def said(snapshots: Snapshots[Any]) -> list[Any]:
    newest = await snapshots.get_snapshot(session_id="chat")
    assert newest is not None
    assert newest.state is not None
    return list(newest.state["messages"])


async def turned(snapshots: Snapshots[Any], text: str) -> str:
    async with snapshots.turn("chat") as turn:
        turn.messages.append(text)
    return turn.snapshot_id


@pytest.mark.row("S-5.2", "S-5.3", "S-5.8")
async def test_what_is_done_in_the_background_is_stored_under_the_same_snapshot(
    snapshots: Snapshots[Any], clock: HastyClock, work: Work
) -> None:
    root = await turned(snapshots, "hi")
    going = await detached(snapshots, work)
    before = await found(snapshots, going.snapshot_id)
    assert (before.status, before.parent_id) == (PENDING, root)
    assert await said(snapshots) == ["hi", "question"], "what was said by then is there for all to see"
    clock.advance(timedelta(seconds=1))
    work.goes_on.set()
    await going.wait()
    after = await found(snapshots, going.snapshot_id)
    assert (after.status, after.parent_id, after.created_at) == (COMPLETED, root, before.created_at)
    assert after.updated_at == before.created_at + timedelta(seconds=1)
    assert await said(snapshots) == ["hi", "question", "answer"]
    assert (await snapshots.tree("chat")).leaves == (going.snapshot_id,)


async def test_work_that_fails_has_failed_with_what_it_said(snapshots: Snapshots[Any], work: Work) -> None:
    work.fails = True
    going = await detached(snapshots, work)
    work.goes_on.set()
    await going.wait()
    info = await found(snapshots, going.snapshot_id)
    assert info.status is FAILED
    assert info.error is not None
    assert info.error.message == "the model is out"
    assert await said(snapshots) == ["question", "answer"]


async def test_work_in_the_background_is_aborted_from_elsewhere(
    snapshots: Snapshots[Any], elsewhere: Start, work: Work
) -> None:
    there = await elsewhere()
    going = await detached(snapshots, work)
    await work.begun.wait()
    assert await there.snapshots.abort(going.snapshot_id) is PENDING
    await going.wait()
    assert (await found(snapshots, going.snapshot_id)).status is ABORTED
    assert await said(snapshots) == ["question"]


async def test_work_in_the_background_is_aborted_before_it_begins(snapshots: Snapshots[Any], work: Work) -> None:
    going = await detached(snapshots, work)
    await snapshots.abort(going.snapshot_id)
    work.goes_on.set()
    await going.wait()
    assert (await found(snapshots, going.snapshot_id)).status is ABORTED


async def test_work_in_the_background_is_kept_alive(
    snapshots: Snapshots[Any], store: Store, elsewhere: Start, clock: HastyClock, work: Work
) -> None:
    there = await elsewhere()
    going = await detached(snapshots, work)
    with pytest.raises(LeaseHeldError):
        await turned(there.snapshots, "no")
    await pass_time(store, clock, 3 * LEASE)
    assert (await found(there.snapshots, going.snapshot_id)).status is PENDING
    work.goes_on.set()
    await going.wait()
    assert (await found(there.snapshots, going.snapshot_id)).status is COMPLETED


async def test_closing_the_store_ends_work_in_the_background(
    snapshots: Snapshots[Any], elsewhere: Start, work: Work
) -> None:
    there = await elsewhere()
    going = await detached(there.snapshots, work)
    await work.begun.wait()
    await there.store.close()
    await going.wait()
    assert (await found(snapshots, going.snapshot_id)).status is FAILED
    assert await turned(snapshots, "on")


async def test_work_in_a_process_that_died_expires(
    snapshots: Snapshots[Any], elsewhere: Start, clock: HastyClock, work: Work
) -> None:
    there = await elsewhere()
    going = await detached(there.snapshots, work)
    await work.begun.wait()
    await there.crash()
    clock.advance(LEASE)
    assert (await found(snapshots, going.snapshot_id)).status is EXPIRED
    assert await said(snapshots) == ["question"]


async def test_an_exception_behind_a_detach_fails_the_turn(snapshots: Snapshots[Any], work: Work) -> None:
    async def begin() -> None:
        async with snapshots.turn("chat") as turn:
            turn.detach(work)
            raise OnPurposeError

    with pytest.raises(OnPurposeError):
        await begin()
    info = await snapshots.get_info(session_id="chat")
    assert info is not None
    assert info.status is FAILED
    assert not work.begun.is_set()


async def test_a_turn_is_detached_once_and_not_after_its_end(snapshots: Snapshots[Any], work: Work) -> None:
    work.goes_on.set()
    async with snapshots.turn("chat") as turn:
        with pytest.raises(InvalidError):
            turn.detach(None)  # type: ignore[arg-type]
        going = turn.detach(work)
        with pytest.raises(ClosedError):
            turn.detach(work)
    await going.wait()
    async with snapshots.turn("chat") as turn:
        await turn.complete()
        with pytest.raises(ClosedError):
            turn.detach(work)


async def test_work_may_end_its_turn_itself(snapshots: Snapshots[Any]) -> None:
    async def work(turn: Turn[Any]) -> None:
        turn.messages.append("short")
        await turn.complete("length")

    async with snapshots.turn("chat") as turn:
        going = turn.detach(work)
    await going.wait()
    info = await found(snapshots, going.snapshot_id)
    assert (info.status, info.finish_reason) == (COMPLETED, "length")


# == Those that never go on in the background


class Ending:
    """A turn that is detached and then does not come so far, in one of the ways that there are."""

    def __init__(self, snapshots: Snapshots[Any], work: Work) -> None:
        self._snapshots = snapshots
        self._work = work
        self.going: Detached[Any] | None = None

    async def take(self, how: str) -> None:
        async with self._snapshots.turn("chat") as turn:
            turn.messages.append("question")
            self.going = turn.detach(self._work)
            if how == "it raises":
                raise OnPurposeError
            if how == "it is completed by hand":
                await turn.complete()
            if how == "it fails by hand":
                await turn.fail("on purpose")
            if how == "it cannot be stored":
                turn.state["custom"] = object()
            if how.startswith("it is aborted"):
                assert await self._snapshots.abort(turn.snapshot_id) is PENDING
            if how == "it is aborted and waits":
                await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("how", "error", "status"),
    [
        ("it raises", OnPurposeError, FAILED),
        ("it is completed by hand", None, COMPLETED),
        ("it fails by hand", None, FAILED),
        ("it cannot be stored", InvalidError, FAILED),
        ("it is aborted", TurnAbortedError, ABORTED),
        ("it is aborted and waits", TurnAbortedError, ABORTED),
    ],
    ids=lambda each: each if isinstance(each, str) and each.startswith("it ") else "",
)
async def test_who_waits_for_a_turn_that_never_went_on_is_told(
    snapshots: Snapshots[Any], clock: HastyClock, work: Work, how: str, error: type[Exception] | None, status: Status
) -> None:
    ending = Ending(snapshots, work)
    with nullcontext() if error is None else pytest.raises(error):
        await ending.take(how)
    going = ending.going
    assert going is not None
    await asyncio.wait_for(going.wait(), PATIENCE_S)
    assert (await found(snapshots, going.snapshot_id)).status is status
    assert not work.begun.is_set()
    assert await turned(snapshots, "on"), "nobody holds the session any more"


async def test_a_turn_that_raises_behind_a_detach_while_the_store_is_away_expires(
    snapshots: Snapshots[Any], elsewhere: Start, clock: HastyClock, work: Work
) -> None:
    """Nobody keeps it alive any more, though its process lives on."""
    there = await elsewhere()
    going: list[Detached[Any]] = []

    async def begin() -> None:
        async with there.snapshots.turn("chat") as turn:
            going.append(turn.detach(work))
            there.wire.cut()
            raise OnPurposeError

    with clock.hasty(), pytest.raises(OnPurposeError):
        await begin()
    await asyncio.wait_for(going[0].wait(), PATIENCE_S)
    there.wire.resume()
    await pass_time(there.store, clock, 2 * LEASE)
    assert (await found(snapshots, going[0].snapshot_id)).status is EXPIRED
    assert not work.begun.is_set()
    assert await turned(snapshots, "on")
