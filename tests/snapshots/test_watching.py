"""Watching one snapshot: told once of each status, from any process, and of nothing else."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sojourn import limits
from sojourn.errors import ClosedError, InvalidError
from sojourn.kernel import Changes, Position, Put, Store, Transaction, ids
from sojourn.kernel.clock import moment
from sojourn.snapshots import SnapshotInfo, Snapshots, Status, layout
from sojourn.snapshots.watching import tell
from tests.documents.conftest import HastyClock, Wire, settled, until
from tests.snapshots.elsewhere import LEASE, RENEWAL, Start, becoming, elsewhere, pass_time, saying

__all__ = ["elsewhere"]

MILLISECOND = timedelta(milliseconds=1)
PENDING, COMPLETED, ABORTED, EXPIRED = Status.PENDING, Status.COMPLETED, Status.ABORTED, Status.EXPIRED


class Told:
    """What whoever watches was told, as it comes, and the task that ends when there is no more."""

    def __init__(self, watched: AsyncIterator[SnapshotInfo]) -> None:
        self.infos: list[SnapshotInfo] = []
        self.end = asyncio.create_task(self._listen(watched))

    @property
    def statuses(self) -> list[Status]:
        return [info.status for info in self.infos]

    async def _listen(self, watched: AsyncIterator[SnapshotInfo]) -> None:
        async for info in watched:
            self.infos.append(info)


async def _saved(snapshots: Snapshots[Any], text: str, status: Status, **more: Any) -> str:
    snapshot_id = await snapshots.save_snapshot(None, saying(text, status, **more))
    assert snapshot_id is not None
    return snapshot_id


# == What is told


@pytest.mark.row("S-4.1.16", "S-4.2.8", "S-4.3.5")
async def test_a_watcher_is_told_the_present_status_and_each_change_and_then_it_is_over(
    snapshots: Snapshots[Any],
) -> None:
    snapshot_id = await _saved(snapshots, "hi", PENDING)
    told = Told(snapshots.watch(snapshot_id))
    await until(lambda: told.statuses == [PENDING])
    assert await snapshots.abort(snapshot_id) is PENDING
    await told.end
    assert told.statuses == [PENDING, ABORTED]
    assert {info.snapshot_id for info in told.infos} == {snapshot_id}
    assert told.infos[-1] == await snapshots.get_info(snapshot_id=snapshot_id)


@pytest.mark.row("S-4.1.17", "S-4.3.5")
async def test_of_a_settled_snapshot_a_watcher_is_told_once_without_any_write(snapshots: Snapshots[Any]) -> None:
    snapshot_id = await _saved(snapshots, "hi", COMPLETED)
    assert [info.status async for info in snapshots.watch(snapshot_id)] == [COMPLETED]
    called: list[SnapshotInfo] = []
    snapshots.on_snapshot_state_change(snapshot_id, called.append)
    await until(lambda: called)
    assert called == [await snapshots.get_info(snapshot_id=snapshot_id)]


@pytest.mark.row("S-4.3.5")
@pytest.mark.parametrize("snapshot_id", ["a-name", "5a1c2a4e-6f0e-4b0c-9d55-0d2f0a4e8b11"])
async def test_a_watcher_of_an_id_that_is_not_there_waits_for_it(
    snapshots: Snapshots[Any], store: Store, snapshot_id: str
) -> None:
    told = Told(snapshots.watch(snapshot_id))
    await _saved(snapshots, "another", COMPLETED)
    await settled(store)
    assert not told.infos
    await snapshots.save_snapshot(snapshot_id, saying("hi", PENDING))
    await until(lambda: told.statuses == [PENDING])
    await snapshots.save_snapshot(snapshot_id, becoming(COMPLETED))
    await told.end
    assert told.statuses == [PENDING, COMPLETED]


async def test_an_id_whose_session_is_known_before_its_snapshot_is_there_is_waited_for(
    snapshots: Snapshots[Any], store: Store
) -> None:
    """As on engines that cannot write both at once; whoever saves it may die in between."""
    told = Told(snapshots.watch("one"))
    await settled(store)
    noted = Put(layout.index("", "one"), b"chat")
    await store.commit(Transaction(ids.new(), writes=(noted,)))
    await settled(store)
    await snapshots.save_snapshot("one", saying("hi"))
    await told.end
    assert told.statuses == [COMPLETED]


async def test_an_id_that_names_the_place_of_another_snapshot_is_none(snapshots: Snapshots[Any], store: Store) -> None:
    async with snapshots.turn("chat") as turn:
        turn.messages.append("hi")
    forged = turn.snapshot_id[:-12] + "0" * 12
    assert forged != turn.snapshot_id
    told = Told(snapshots.watch(forged))
    async with snapshots.turn("chat") as turn:
        turn.messages.append("on")
    await settled(store)
    assert not told.infos
    told.end.cancel()


@pytest.mark.parametrize(
    "forged", ["%00.0-1-aaaaaaaaaaaa", "%20.0-1-aaaaaaaaaaaa", "x." + "f" * 300 + "-1-aaaaaaaaaaaa"]
)
async def test_an_id_that_names_a_place_that_cannot_be_is_like_any_other(
    snapshots: Snapshots[Any], store: Store, forged: str
) -> None:
    assert await snapshots.get_info(snapshot_id=forged) is None
    told = Told(snapshots.watch(forged))
    await settled(store)
    assert not told.end.done()
    await snapshots.save_snapshot(forged, saying("hi"))
    await told.end
    assert told.statuses == [COMPLETED]


@pytest.mark.row("S-4.3.5", "S-4.3.11", "S-5.13")
async def test_neither_a_heartbeat_nor_a_rewrite_with_the_same_status_is_told(
    snapshots: Snapshots[Any], store: Store
) -> None:
    snapshot_id = await _saved(snapshots, "hi", PENDING)
    told = Told(snapshots.watch(snapshot_id))
    await until(lambda: told.statuses == [PENDING])
    for text in ("a", "b", "c"):
        await snapshots.save_snapshot(snapshot_id, becoming(PENDING, state={"messages": [text]}))
        await settled(store)
    await snapshots.save_snapshot(snapshot_id, becoming(COMPLETED))
    await told.end
    assert told.statuses == [PENDING, COMPLETED]


@pytest.mark.row("S-4.3.11", "S-5.13", "S-5.16")
async def test_the_heartbeats_of_a_turn_wake_nobody(store: Store, elsewhere: Start, clock: HastyClock) -> None:
    worker, watcher = await elsewhere(), await elsewhere()
    async with worker.snapshots.turn("chat") as turn:
        told = Told(watcher.snapshots.watch(turn.snapshot_id))
        await until(lambda: told.statuses == [PENDING])
        await clock.until_sleeping(2)
        watcher.wire.clear()
        worker.wire.clear()
        await pass_time(store, clock, 2 * RENEWAL)
        assert worker.wire.sent
        assert not worker.puts, "a heartbeat writes nothing but its time"
        assert not watcher.wire.asked
    await told.end
    assert told.statuses == [PENDING, COMPLETED]


async def test_watching_reads_no_state(elsewhere: Start, snapshots: Snapshots[Any]) -> None:
    snapshot_id = await _saved(snapshots, "hi", PENDING)
    there = await elsewhere()
    told = Told(there.snapshots.watch(snapshot_id))
    await until(lambda: told.infos)
    await snapshots.save_snapshot(snapshot_id, becoming(COMPLETED))
    await told.end
    read = {key.space for asked in there.wire.asked for key in asked.keys}
    read |= {span.space for asked in there.wire.asked for span in asked.spans}
    assert "snapshot" in read
    assert "snapshot.state" not in read


@pytest.mark.row("S-4.1.19", "S-4.2.19")
async def test_a_watcher_is_told_of_its_own_tenant_only(store: Store) -> None:
    snapshots: Snapshots[Any] = Snapshots(store, tenant=lambda context: context["user"])
    ada, bob = {"user": "ada"}, {"user": "bob"}
    await snapshots.save_snapshot("one", saying("hi", PENDING), context=ada)
    theirs, others = Told(snapshots.watch("one", context=ada)), Told(snapshots.watch("one", context=bob))
    called: list[Status] = []
    snapshots.on_snapshot_state_change("one", lambda info: called.append(info.status), context=ada)
    await until(lambda: theirs.infos and called)
    assert await snapshots.abort("one", context=bob) is None
    assert await snapshots.abort("one", context=ada) is PENDING
    await theirs.end
    await until(lambda: len(called) == 2)
    assert theirs.statuses == called == [PENDING, ABORTED]
    assert not others.infos
    others.end.cancel()


async def test_watching_a_snapshot_that_is_deleted_ends(snapshots: Snapshots[Any]) -> None:
    snapshot_id = await _saved(snapshots, "hi", PENDING)
    told = Told(snapshots.watch(snapshot_id))
    await until(lambda: told.infos)
    assert await snapshots.delete(snapshot_id)
    await told.end
    assert told.statuses == [PENDING]


@pytest.mark.row("S-4.3.5")
async def test_a_watch_that_is_closed_leaves_nothing_behind(snapshots: Snapshots[Any]) -> None:
    snapshot_id = await _saved(snapshots, "hi", PENDING)
    before = asyncio.all_tasks()
    async with aclosing(snapshots.watch(snapshot_id)) as watched:
        assert (await anext(watched)).status is PENDING
        assert asyncio.all_tasks() > before, "the changes are followed"
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize("blank", ["", " ", "a/b", ".."])
async def test_what_is_no_id_cannot_be_watched(snapshots: Snapshots[Any], blank: str) -> None:
    with pytest.raises(InvalidError):
        await anext(snapshots.watch(blank))
    with pytest.raises(InvalidError):
        snapshots.on_snapshot_state_change(blank, print)


# == From elsewhere


@pytest.mark.row("S-4.3.13", "S-5.18")
async def test_a_change_of_another_process_is_told(snapshots: Snapshots[Any], elsewhere: Start) -> None:
    snapshot_id = await _saved(snapshots, "hi", PENDING)
    here, there = Told(snapshots.watch(snapshot_id)), await elsewhere()
    await until(lambda: here.infos)
    assert await there.snapshots.abort(snapshot_id) is PENDING
    await here.end
    assert here.statuses == [PENDING, ABORTED]


class Forgetful(Wire):
    """A way to the engine on which it is forgotten what has changed, and said so."""

    async def changes(self, since: Position | None, wait: float) -> Changes:
        found = await super().changes(since, wait)
        return Changes(found.position, gap=bool(found.keys))


async def test_where_changes_were_missed_the_snapshot_is_read_again(snapshots: Snapshots[Any], store: Store) -> None:
    snapshot_id = await _saved(snapshots, "hi", PENDING)
    async with Store(Forgetful(store.engine), clock=store.clock) as beside:
        told = Told(Snapshots[Any](beside).watch(snapshot_id))
        await until(lambda: told.infos)
        await snapshots.abort(snapshot_id)
        await told.end
    assert told.statuses == [PENDING, ABORTED]


async def test_a_store_that_goes_away_is_waited_for(
    snapshots: Snapshots[Any], elsewhere: Start, clock: HastyClock
) -> None:
    snapshot_id = await _saved(snapshots, "hi", PENDING)
    there = await elsewhere()
    told = Told(there.snapshots.watch(snapshot_id))
    await until(lambda: told.infos)
    there.wire.cut()
    await snapshots.abort(snapshot_id)
    await clock.until_sleeping()
    there.wire.resume()
    with clock.hasty(limits.DUE_POLL.total_seconds()):
        clock.advance(limits.DUE_POLL)
        await told.end
    assert told.statuses == [PENDING, ABORTED]


# == Whose worker is gone


@pytest.mark.row("S-4.3.10")
async def test_of_a_worker_that_died_a_watcher_is_told_when_its_lease_is_over(
    snapshots: Snapshots[Any], store: Store, elsewhere: Start, clock: HastyClock
) -> None:
    worker = await elsewhere()
    working = worker.snapshots.turn("chat")
    turn = await working.__aenter__()
    told = Told(snapshots.watch(turn.snapshot_id))
    await until(lambda: told.infos)
    await worker.crash()
    await clock.until_sleeping()
    clock.advance(LEASE - MILLISECOND)
    await settled(store)
    assert told.statuses == [PENDING]
    clock.advance(MILLISECOND)
    await told.end
    assert told.statuses == [PENDING, EXPIRED]
    assert await snapshots.expire() == 0, "it is stored already"


async def test_a_watcher_asks_no_more_often_than_a_lease_lasts(
    store: Store, elsewhere: Start, clock: HastyClock
) -> None:
    worker, watcher = await elsewhere(), await elsewhere()
    async with worker.snapshots.turn("chat") as turn:
        told = Told(watcher.snapshots.watch(turn.snapshot_id))
        await until(lambda: told.infos)
        await clock.until_sleeping(2)
        watcher.wire.clear()
        await pass_time(store, clock, 3 * LEASE)
        assert 1 <= len(watcher.wire.asked) <= 5
        assert told.statuses == [PENDING]
    await told.end


@pytest.mark.row("S-4.3.11")
async def test_a_pending_snapshot_that_no_turn_made_expires_by_its_heartbeat(
    snapshots: Snapshots[Any], store: Store, clock: HastyClock
) -> None:
    beat = moment(clock.now())
    snapshot_id = await _saved(snapshots, "hi", PENDING, heartbeat_at=beat)
    told = Told(snapshots.watch(snapshot_id))
    await until(lambda: told.infos)
    await clock.until_sleeping()
    clock.advance(limits.SNAPSHOT_STALE / 2)
    again = becoming(PENDING, heartbeat_at=beat + limits.SNAPSHOT_STALE / 2)
    await snapshots.save_snapshot(snapshot_id, again)
    clock.advance(limits.SNAPSHOT_STALE - MILLISECOND)
    await settled(store)
    assert told.statuses == [PENDING], "the second sign of life counts"
    await clock.until_sleeping()
    clock.advance(MILLISECOND)
    await told.end
    assert told.statuses == [PENDING, EXPIRED]


async def test_a_pending_snapshot_without_any_heartbeat_is_waited_for(
    snapshots: Snapshots[Any], store: Store, clock: HastyClock
) -> None:
    snapshot_id = await _saved(snapshots, "hi", PENDING)
    told = Told(snapshots.watch(snapshot_id))
    await until(lambda: told.infos)
    clock.advance(timedelta(days=1))
    await settled(store)
    await snapshots.save_snapshot(snapshot_id, becoming(COMPLETED))
    await told.end
    assert told.statuses == [PENDING, COMPLETED]


# == Callbacks


@pytest.mark.row("S-4.1.18")
async def test_a_callback_that_was_stopped_is_called_no_more(snapshots: Snapshots[Any]) -> None:
    snapshot_id = await _saved(snapshots, "hi", PENDING)
    stopped: list[Status] = []
    going: list[Status] = []
    stop = snapshots.on_snapshot_state_change(snapshot_id, lambda info: stopped.append(info.status))
    snapshots.on_snapshot_state_change(snapshot_id, lambda info: going.append(info.status))
    await until(lambda: stopped and going)
    stop()
    await snapshots.abort(snapshot_id)
    await until(lambda: len(going) == 2)
    assert stopped == [PENDING]
    stop()


async def test_a_callback_that_was_stopped_leaves_nothing_behind(snapshots: Snapshots[Any]) -> None:
    snapshot_id = await _saved(snapshots, "hi", PENDING)
    before = asyncio.all_tasks()
    called: list[Status] = []
    stop = snapshots.on_snapshot_state_change(snapshot_id, lambda info: called.append(info.status))
    await until(lambda: called)
    stop()
    await until(lambda: asyncio.all_tasks() == before)


def _info(status: Status) -> SnapshotInfo:
    created_at = datetime(2026, 1, 1, tzinfo=UTC)
    return SnapshotInfo(snapshot_id="one", session_id="chat", parent_id=None, created_at=created_at, status=status)


async def test_a_callback_that_is_stopped_while_the_snapshot_is_read_is_not_called(store: Store) -> None:
    """Shown from below: the answer is there, and whoever waits for it has not gone on yet."""
    called: list[SnapshotInfo] = []
    answer: asyncio.Future[SnapshotInfo] = asyncio.get_running_loop().create_future()
    asked = asyncio.Event()

    async def following() -> AsyncGenerator[SnapshotInfo, None]:
        asked.set()
        yield await answer

    stop = tell(store, following(), called.append)
    await asked.wait()
    answer.set_result(_info(PENDING))
    stop()
    await settled(store)
    assert not called


async def test_a_callback_that_stops_itself_is_not_called_though_the_next_is_there_already(store: Store) -> None:
    """Shown from below: there is no await in between at which a cancellation could arrive."""
    called: list[Status] = []

    async def following() -> AsyncGenerator[SnapshotInfo, None]:
        yield _info(PENDING)
        yield _info(COMPLETED)

    def once(info: SnapshotInfo) -> None:
        called.append(info.status)
        stop()

    stop = tell(store, following(), once)
    await settled(store)
    assert called == [PENDING]


@pytest.mark.row("S-5.9")
async def test_what_a_callback_raises_is_logged_and_reaches_nobody(
    snapshots: Snapshots[Any], caplog: pytest.LogCaptureFixture
) -> None:
    snapshot_id = await _saved(snapshots, "hi", PENDING)
    raised: list[Status] = []
    heard: list[Status] = []

    def bad(info: SnapshotInfo) -> None:
        raised.append(info.status)
        raise RuntimeError("on purpose")

    async def worse(info: SnapshotInfo) -> None:
        bad(info)

    for callback in (bad, worse):
        snapshots.on_snapshot_state_change(snapshot_id, callback)
    snapshots.on_snapshot_state_change(snapshot_id, lambda info: heard.append(info.status))
    await until(lambda: len(raised) == 2 and heard)
    await snapshots.abort(snapshot_id)
    await until(lambda: len(raised) == 4 and len(heard) == 2)
    assert heard == [PENDING, ABORTED]
    assert caplog.text.count("a callback of snapshots failed") == 4


@pytest.mark.row("S-5.9")
async def test_a_callback_that_stops_itself_costs_its_neighbours_nothing(snapshots: Snapshots[Any]) -> None:
    snapshot_id = await _saved(snapshots, "hi", PENDING)
    once: list[Status] = []
    heard: list[Status] = []

    def first(info: SnapshotInfo) -> None:
        once.append(info.status)
        stop()

    stop = snapshots.on_snapshot_state_change(snapshot_id, first)
    snapshots.on_snapshot_state_change(snapshot_id, lambda info: heard.append(info.status))
    await until(lambda: once and heard)
    await snapshots.abort(snapshot_id)
    await until(lambda: len(heard) == 2)
    assert once == [PENDING]


async def test_a_coroutine_is_told_in_order_and_what_it_began_it_ends(snapshots: Snapshots[Any]) -> None:
    snapshot_id = await _saved(snapshots, "hi", PENDING)
    steps: list[str] = []
    goes_on = asyncio.Event()

    async def slow(info: SnapshotInfo) -> None:
        steps.append(f"begins {info.status}")
        await goes_on.wait()
        if info.status is ABORTED:
            stop()
            await asyncio.sleep(0)
        steps.append(f"ends {info.status}")

    stop = snapshots.on_snapshot_state_change(snapshot_id, slow)
    await until(lambda: steps)
    await snapshots.abort(snapshot_id)
    assert steps == ["begins pending"]
    goes_on.set()
    await until(lambda: len(steps) == 4)
    assert steps == ["begins pending", "ends pending", "begins aborted", "ends aborted"]


async def test_what_cannot_be_called_is_refused(snapshots: Snapshots[Any]) -> None:
    with pytest.raises(InvalidError, match="callback"):
        snapshots.on_snapshot_state_change("one", None)  # type: ignore[arg-type]


async def test_closing_the_store_ends_every_watch(elsewhere: Start) -> None:
    before = asyncio.all_tasks()
    there = await elsewhere()
    snapshot_id = await _saved(there.snapshots, "hi", PENDING)
    called: list[Status] = []
    stop = there.snapshots.on_snapshot_state_change(snapshot_id, lambda info: called.append(info.status))
    told = Told(there.snapshots.watch(snapshot_id))
    await until(lambda: told.infos and called)
    await there.store.close()
    with pytest.raises(ClosedError):
        await told.end
    assert asyncio.all_tasks() == before
    stop()
    with pytest.raises(ClosedError):
        there.snapshots.on_snapshot_state_change(snapshot_id, print)
    with pytest.raises(ClosedError):
        await anext(there.snapshots.watch(snapshot_id))
