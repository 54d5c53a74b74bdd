"""Turns whose callers go away, whose answers are lost, and that meet: acknowledged is there once, and nothing hangs."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import pytest

from sojourn.errors import (
    ClosedError,
    CommitUnknownError,
    InvalidError,
    LeaseHeldError,
    LeaseLostError,
    TurnAbortedError,
    UnavailableError,
)
from sojourn.kernel import Answer, Engine, Reads, Store, Transaction
from sojourn.kernel import Snapshot as EngineSnapshot
from sojourn.snapshots import Snapshots, Status
from tests.documents.conftest import HastyClock, Wire, faulty_store, insist, settled, until
from tests.snapshots.elsewhere import LEASE, RENEWAL, Start, elsewhere

__all__ = ["elsewhere", "faulty_store"]

PENDING, COMPLETED, FAILED = Status.PENDING, Status.COMPLETED, Status.FAILED
ABORTED, EXPIRED = Status.ABORTED, Status.EXPIRED

ROUNDS = 40


async def turned(snapshots: Snapshots[Any], text: str, **how: Any) -> str:
    async with snapshots.turn("chat", **how) as turn:
        turn.messages.append(text)
        await asyncio.sleep(0)
    return turn.snapshot_id


async def said(snapshots: Snapshots[Any], snapshot_id: str | None = None) -> list[Any]:
    asked: dict[str, Any] = {"session_id": "chat"} if snapshot_id is None else {"snapshot_id": snapshot_id}
    found = await snapshots.get_snapshot(**asked)
    return [] if found is None or found.state is None else list(found.state.get("messages", []))


async def statuses(snapshots: Snapshots[Any]) -> list[Status]:
    """Those of the whole session, as they were made."""
    return [node.info.status for node in (await snapshots.tree("chat")).nodes.values()]


# == Callers that go away


@pytest.mark.parametrize("steps", range(0, 60, 3))
async def test_a_turn_that_is_cancelled_at_any_step_stays_pending_nowhere(
    snapshots: Snapshots[Any], store: Store, steps: int
) -> None:
    await turned(snapshots, "hi")
    working = asyncio.create_task(turned(snapshots, "half"))
    for _ in range(steps):
        await asyncio.sleep(0)
    working.cancel()
    (outcome,) = await asyncio.gather(working, return_exceptions=True)
    await settled(store)
    for _ in range(1_000):  # its lease is given back in the background, which takes a trip or two
        if PENDING not in await statuses(snapshots):
            break
    assert PENDING not in await statuses(snapshots)
    await turned(snapshots, "on")
    last = await said(snapshots)
    assert last in (["hi", "on"], ["hi", "half", "on"])
    if isinstance(outcome, str):
        assert last == ["hi", "half", "on"]


@pytest.mark.parametrize("commits", [0, 1])
@pytest.mark.parametrize("again", [False, True], ids=["once", "twice"])
async def test_a_turn_that_is_cancelled_while_it_begins_or_ends_stays_pending_nowhere(
    snapshots: Snapshots[Any], elsewhere: Start, *, commits: int, again: bool
) -> None:
    """The commit is under way when its caller goes away, and arrives afterwards."""
    worker = await elsewhere()
    await turned(snapshots, "hi")
    at_work, goes_on = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        async with worker.snapshots.turn("chat") as turn:
            turn.messages.append("half")
            at_work.set()
            await goes_on.wait()

    if not commits:
        worker.wire.hold()
    working = asyncio.create_task(work())
    if commits:
        await at_work.wait()
        worker.wire.hold()
        goes_on.set()
    await until(lambda: worker.wire.held)
    for _ in range(1 + again):
        working.cancel()
        await asyncio.sleep(0)
    worker.wire.resume()
    with pytest.raises(asyncio.CancelledError):
        await working
    for _ in range(3):
        await settled(worker.store)
    found = await statuses(snapshots)
    assert PENDING not in found
    await turned(snapshots, "on")
    assert await said(snapshots) == (["hi", "half", "on"] if found[1:] == [COMPLETED] else ["hi", "on"])


async def test_who_is_cancelled_while_queueing_leaves_no_trace(snapshots: Snapshots[Any], elsewhere: Start) -> None:
    there = await elsewhere()
    async with snapshots.turn("chat") as turn:
        waiting = [asyncio.create_task(turned(there.snapshots, "no", if_busy="queue")) for _ in range(3)]
        await settled(there.store)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        turn.messages.append("hi")
    assert all(task.cancelled() for task in waiting)
    await turned(there.snapshots, "on")
    assert await said(snapshots) == ["hi", "on"]
    assert await statuses(snapshots) == [COMPLETED, COMPLETED]


async def test_who_swallows_the_cancellation_of_an_abort_is_told_at_the_end(snapshots: Snapshots[Any]) -> None:
    at_work = asyncio.Event()
    after: list[str] = []

    async def work() -> None:
        async with snapshots.turn("chat") as turn:
            at_work.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                turn.messages.append("going on")
            await asyncio.sleep(0)
            after.append(turn.snapshot_id)

    working = asyncio.create_task(work())
    await at_work.wait()
    found = await snapshots.get_info(session_id="chat")
    assert found is not None
    await snapshots.abort(found.snapshot_id)
    with pytest.raises(TurnAbortedError):
        await working
    assert after == [found.snapshot_id]
    assert not working.cancelling()
    assert await statuses(snapshots) == [ABORTED]


async def test_who_is_aborted_and_cancelled_too_is_cancelled(snapshots: Snapshots[Any]) -> None:
    at_work, cancelled, goes_on = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        async with snapshots.turn("chat"):
            at_work.set()
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()
                await goes_on.wait()

    working = asyncio.create_task(work())
    await at_work.wait()
    found = await snapshots.get_info(session_id="chat")
    assert found is not None
    await snapshots.abort(found.snapshot_id)
    await cancelled.wait()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert working.cancelled()


async def test_a_turn_within_the_cleanup_of_a_cancelled_task_is_told_of_its_abort(snapshots: Snapshots[Any]) -> None:
    """The task was cancelled before the turn began, which is not the turn's affair."""
    at_work, told = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            try:
                async with snapshots.turn("chat"):
                    at_work.set()
                    await asyncio.Event().wait()
            except TurnAbortedError:
                told.set()

    working = asyncio.create_task(work())
    await asyncio.sleep(0)
    working.cancel()
    await at_work.wait()
    found = await snapshots.get_info(session_id="chat")
    assert found is not None
    await snapshots.abort(found.snapshot_id)
    with pytest.raises(asyncio.CancelledError):
        await working
    assert told.is_set()


async def test_a_turn_in_a_store_that_is_closed_is_over(elsewhere: Start, snapshots: Snapshots[Any]) -> None:
    worker = await elsewhere()
    turn = worker.snapshots.turn("chat")
    (await turn.__aenter__()).messages.append("hi")
    await worker.store.close()
    with pytest.raises((ClosedError, LeaseLostError)):
        await turn.__aexit__(None, None, None)
    await turned(snapshots, "on", if_busy="branch")


async def test_a_turn_whose_state_cannot_be_stored_has_failed(snapshots: Snapshots[Any]) -> None:
    await turned(snapshots, "hi")

    async def work() -> None:
        async with snapshots.turn("chat") as turn:
            turn.state["custom"] = object()

    with pytest.raises(InvalidError):
        await work()
    assert await statuses(snapshots) == [COMPLETED, FAILED]
    assert await turned(snapshots, "on")


async def test_what_a_turn_is_at_work_on_cannot_be_deleted(snapshots: Snapshots[Any], elsewhere: Start) -> None:
    there = await elsewhere()
    async with snapshots.turn("chat") as turn:
        turn.messages.append("hi")
        with pytest.raises(LeaseHeldError):
            await there.snapshots.delete(turn.snapshot_id)
    assert await said(snapshots) == ["hi"]


# == Answers that are lost


async def test_a_lost_answer_at_the_beginning_or_the_end_doubles_nothing(
    snapshots: Snapshots[Any], elsewhere: Start
) -> None:
    worker = await elsewhere()
    await turned(snapshots, "hi")
    worker.wire.losses = 1
    async with worker.snapshots.turn("chat") as turn:
        turn.messages.append("on")
        worker.wire.losses = 1
    assert worker.wire.losses == 0
    assert await said(snapshots) == ["hi", "on"]
    assert await statuses(snapshots) == [COMPLETED, COMPLETED]
    await turned(snapshots, "more")
    assert await said(snapshots) == ["hi", "on", "more"]


async def test_a_beginning_that_nobody_answered_expires(
    snapshots: Snapshots[Any], elsewhere: Start, clock: HastyClock
) -> None:
    worker = await elsewhere()
    worker.wire.losses = 1_000
    with clock.hasty(), pytest.raises(CommitUnknownError):
        await turned(worker.snapshots, "lost")
    worker.wire.losses = 0
    for _ in range(3):
        await settled(worker.store)
    clock.advance(LEASE)
    assert await statuses(snapshots) in ([], [EXPIRED])
    await turned(snapshots, "hi")
    assert await said(snapshots) == ["hi"]


@pytest.mark.parametrize("arrives", [True, False])
async def test_an_end_that_nobody_answered_was_there_or_expires(
    snapshots: Snapshots[Any], elsewhere: Start, clock: HastyClock, *, arrives: bool
) -> None:
    """Its process lives on and reaches the store again, and still does not keep the turn alive for ever."""
    worker = await elsewhere()
    turn = worker.snapshots.turn("chat")
    (await turn.__aenter__()).messages.append("hi")
    worker.wire.losses, worker.wire.drops = (1_000, 0) if arrives else (0, 1_000)
    with clock.hasty(), pytest.raises(CommitUnknownError):
        await turn.__aexit__(None, None, None)
    worker.wire.losses = worker.wire.drops = 0
    for _ in range(5):
        clock.advance(RENEWAL)
        for _ in range(3):
            await settled(worker.store)
    assert await statuses(snapshots) == [COMPLETED if arrives else EXPIRED]
    await turned(snapshots, "on")
    assert await said(snapshots) == (["hi", "on"] if arrives else ["on"])


async def test_an_end_that_is_turned_away_says_so_and_expires(
    snapshots: Snapshots[Any], elsewhere: Start, clock: HastyClock
) -> None:
    worker = await elsewhere()
    turn = worker.snapshots.turn("chat")
    (await turn.__aenter__()).messages.append("hi")
    worker.wire.cut()
    with clock.hasty(), pytest.raises(UnavailableError):
        await turn.__aexit__(None, None, None)
    worker.wire.resume()
    for _ in range(5):
        clock.advance(RENEWAL)
        for _ in range(3):
            await settled(worker.store)
    assert await statuses(snapshots) in ([EXPIRED], [FAILED])


async def test_what_a_turn_acknowledged_is_there_once_though_answers_are_lost(faulty_store: Store) -> None:
    """Each try says something of its own, so that one that took effect without an answer shows itself."""
    snapshots: Snapshots[Any] = Snapshots(faulty_store)
    done: list[str] = []
    for number in range(ROUNDS):
        for attempt in range(1_000):
            text = f"{number}.{attempt}"
            try:
                async with snapshots.turn("chat", if_busy="branch") as turn:
                    turn.messages.append(text)
            except (UnavailableError, CommitUnknownError, LeaseLostError):
                continue
            done.append(text)
            break
    assert len(done) == ROUNDS
    last = await insist(lambda: said(snapshots))
    assert [text for text in last if text in done] == done
    assert len(set(last)) == len(last)


async def test_an_abort_whose_answer_was_lost_aborts_once(snapshots: Snapshots[Any], elsewhere: Start) -> None:
    there = await elsewhere()

    async def work() -> None:
        async with snapshots.turn("chat") as turn:
            there.wire.losses = 1
            assert await there.snapshots.abort(turn.snapshot_id) is PENDING

    with pytest.raises(TurnAbortedError):
        await work()
    assert await statuses(snapshots) == [ABORTED]


# == Many at once


class Meeting(Wire):
    """A way to the engine on which somebody else is faster, right before one of the commits or of the test's reads."""

    def __init__(self, engine: Engine, at: int, rival: Callable[[], Awaitable[object]]) -> None:
        super().__init__(engine)
        self.left = at
        self._rival = rival
        self._caller = asyncio.current_task()

    async def commit(self, batch: Sequence[Transaction]) -> Sequence[Answer]:
        await self._meet()
        return await super().commit(batch)

    async def read(self, reads: Reads) -> EngineSnapshot:
        if asyncio.current_task() is self._caller:
            await self._meet()
        return await super().read(reads)

    async def _meet(self) -> None:
        self.left -= 1
        if self.left == 0:
            await self._rival()


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
@pytest.mark.parametrize("step", range(1, 4))
@pytest.mark.parametrize("policy", ["reject", "queue"])
async def test_a_turn_that_meets_another_at_any_step_stays_in_line(
    snapshots: Snapshots[Any], store: Store, policy: str, step: int, *, warm: bool
) -> None:
    await turned(snapshots, "hi")

    async def rival() -> None:
        with suppress(LeaseHeldError):
            await turned(snapshots, "rival")

    wire = Meeting(store.engine, 0, rival)
    async with Store(wire, clock=store.clock) as beside:
        there: Snapshots[Any] = Snapshots(beside)
        if warm:
            await turned(there, "warm")
        wire.left = step
        await turned(there, "here", if_busy=policy)
        assert wire.left <= 0 or (warm and step == 3), "they met"
    tree = await snapshots.tree("chat")
    assert len(tree.leaves) == 1
    assert "here" in await said(snapshots)


@pytest.mark.parametrize("step", range(1, 4))
async def test_a_turn_that_meets_one_that_begins_is_refused_or_refuses_it(
    snapshots: Snapshots[Any], store: Store, step: int
) -> None:
    await turned(snapshots, "hi")
    rival = snapshots.turn("chat")
    refused: list[str] = []

    async def begin() -> None:
        try:
            await rival.__aenter__()
        except LeaseHeldError:
            refused.append("rival")

    wire = Meeting(store.engine, step, begin)
    async with Store(wire, clock=store.clock) as beside:
        try:
            await turned(Snapshots(beside), "here")
        except LeaseHeldError:
            refused.append("here")
    assert wire.left <= 0, "they met"
    assert len(refused) == 1
    if refused == ["here"]:
        await rival.__aexit__(None, None, None)
    assert len((await snapshots.tree("chat")).leaves) == 1
    assert await statuses(snapshots) == [COMPLETED, COMPLETED]


async def _many(snapshots: list[Snapshots[Any]], policy: str, times: int) -> list[str | BaseException]:
    return await asyncio.gather(
        *(turned(snapshots[number % len(snapshots)], str(number), if_busy=policy) for number in range(times)),
        return_exceptions=True,
    )


@pytest.mark.parametrize("policy", ["reject", "branch", "queue"])
async def test_many_turns_at_once_are_each_there_or_refused(
    snapshots: Snapshots[Any], elsewhere: Start, clock: HastyClock, policy: str
) -> None:
    times = 24
    several = [snapshots, (await elsewhere()).snapshots]
    with clock.hasty():
        outcomes = await _many(several, policy, times)
    made = [outcome for outcome in outcomes if isinstance(outcome, str)]
    refused = [outcome for outcome in outcomes if isinstance(outcome, LeaseHeldError)]
    assert len(made) + len(refused) == times, outcomes
    tree = await snapshots.tree("chat")
    assert set(tree.nodes) == set(made)
    assert set(await statuses(snapshots)) == {COMPLETED}
    if policy != "branch":
        assert len(tree.leaves) == 1
    if policy != "reject":
        assert not refused
    if policy == "queue":
        assert sorted(await said(snapshots), key=int) == [str(number) for number in range(times)]
    for number, outcome in enumerate(outcomes):
        if isinstance(outcome, str):
            assert (await said(snapshots, outcome))[-1] == str(number)


@pytest.mark.parametrize("step", range(1, 5))
async def test_a_turn_on_a_new_branch_that_meets_a_fork_of_this_name_goes_on_from_there_or_was_first(
    snapshots: Snapshots[Any], store: Store, step: int
) -> None:
    first = await turned(snapshots, "hi")
    second = await turned(snapshots, "more")
    refused: list[str] = []

    async def rival() -> None:
        try:
            await snapshots.fork(first, "way")
        except InvalidError as error:
            refused.append(error.name)

    wire = Meeting(store.engine, step, rival)
    async with Store(wire, clock=store.clock) as beside:
        here = await turned(Snapshots(beside), "here", branch="way")
    assert wire.left <= 0, "they met"
    found = await snapshots.get_info(snapshot_id=here)
    assert found is not None
    assert (found.parent_id, refused) in [(first, []), (second, ["branch"])]
    assert await snapshots.branches("chat") == {"way": here}
