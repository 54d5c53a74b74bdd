"""Who watches a snapshot is told what it is, and then each change of its status."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from sojourn.snapshots.model import SnapshotInfo, Status
from sojourn.testing.session_stores.trial import Capability, Told, Trial, TrialCase, at

__all__ = ["Watching"]


class Watching(TrialCase):
    """What `on_snapshot_state_change` calls back with, and until when."""

    @pytest.mark.row("S-4.1.16", "S-4.2.8")
    async def test_a_change_of_status_is_told(self, trial: Trial) -> None:
        """The current one first, then what became of it."""
        await trial.save("turn", created_at=at(0), status="pending")
        told = trial.watch("turn")
        await told.until(Status.PENDING)
        await trial.move("turn", Status.ABORTED)
        await told.until(Status.ABORTED)
        assert told.statuses == [Status.PENDING, Status.ABORTED]
        assert {info.snapshot_id for info in told.infos} == {"turn"}

    @pytest.mark.row("S-4.1.17")
    async def test_what_is_there_is_told_without_a_write(self, trial: Trial) -> None:
        """Also of a snapshot that is settled, which will never change."""
        await trial.save("done", created_at=at(0), finish_reason="stop")
        told = trial.watch("done")
        await told.until(Status.COMPLETED)
        assert told.infos[0].created_at == at(0)
        assert told.infos[0].session_id == "session"

    @pytest.mark.row("S-4.3.5")
    async def test_an_unknown_snapshot_is_waited_for(self, trial: Trial) -> None:
        """Nothing is told before it is there, and then all that becomes of it."""
        told = trial.watch("turn")
        await trial.save("other", created_at=at(0))
        await trial.watch("other").until(Status.COMPLETED)
        assert told.statuses == []
        await trial.save("turn", created_at=at(1), status="pending")
        await told.until(Status.PENDING)
        await trial.move("turn", Status.COMPLETED)
        await told.until(Status.COMPLETED)
        assert told.statuses == [Status.PENDING, Status.COMPLETED]

    @pytest.mark.row("S-4.1.18")
    async def test_who_was_told_to_stop_is_called_no_more(self, trial: Trial) -> None:
        """Not by what others are told afterwards; to stop twice is no error."""
        await trial.save("turn", created_at=at(0), status="pending")
        told, other = Told(), trial.watch("turn")
        stop = trial.store.on_snapshot_state_change("turn", told)
        await told.until(Status.PENDING)
        await other.until(Status.PENDING)
        stop()
        stop()
        await trial.move("turn", Status.COMPLETED)
        await other.until(Status.COMPLETED)
        assert told.statuses == [Status.PENDING]

    @pytest.mark.row("S-5.13", "S-4.3.11")
    async def test_a_sign_of_life_is_not_told(self, trial: Trial) -> None:
        """Rewrites with the same status wake nobody; they move `heartbeat_at`, and neither the newest leaf."""
        await trial.save("turn", created_at=at(0), status="pending", heartbeat_at=at(0))
        await trial.save("newer", created_at=at(1))
        told = trial.watch("turn")
        await told.until(Status.PENDING)
        for seconds in (1, 2, 3):
            await trial.save("turn", status="pending", heartbeat_at=at(seconds))
        found = await trial.got("turn")
        assert (found.heartbeat_at, found.updated_at, found.created_at) == (at(3), None, at(0))
        assert await trial.newest() == "newer"
        await trial.move("turn", Status.COMPLETED)
        await told.until(Status.COMPLETED)
        assert told.statuses == [Status.PENDING, Status.COMPLETED]

    @pytest.mark.row("S-5.9")
    async def test_a_callback_that_raises_harms_nobody_else(self, trial: Trial) -> None:
        """Neither the save that it is told of, nor its neighbours, whether they came before it or after."""
        calls = 0

        def fail(_: SnapshotInfo) -> None:
            nonlocal calls
            calls += 1
            raise LookupError("the window is closed")

        await trial.save("turn", created_at=at(0), status="pending")
        before = trial.watch("turn")
        stop = trial.store.on_snapshot_state_change("turn", fail)
        after = trial.watch("turn")
        for told in (before, after):
            await told.until(Status.PENDING)
        await trial.move("turn", Status.COMPLETED)
        for told in (before, after):
            await told.until(Status.COMPLETED)
            assert told.statuses == [Status.PENDING, Status.COMPLETED]
        stop()
        assert calls
        assert (await trial.got("turn")).status is Status.COMPLETED

    @pytest.mark.row("S-5.9")
    async def test_a_callback_that_stops_itself_costs_its_neighbours_nothing(self, trial: Trial) -> None:
        """They are told the very change at which it went."""
        stops: list[Callable[[], None]] = []
        once = Told()

        def stops_itself(info: SnapshotInfo) -> None:
            once(info)
            stops[0]()

        neighbours = [trial.watch("turn")]
        stops.append(trial.store.on_snapshot_state_change("turn", stops_itself))
        neighbours.append(trial.watch("turn"))
        await trial.save("turn", created_at=at(0), status="pending")
        for told in (once, *neighbours):
            await told.until(Status.PENDING)
        await trial.move("turn", Status.COMPLETED)
        for told in neighbours:
            await told.until(Status.COMPLETED)
            assert told.statuses == [Status.PENDING, Status.COMPLETED]
        assert once.statuses == [Status.PENDING]

    @pytest.mark.row("S-4.1.16")
    async def test_a_callback_may_be_a_coroutine_function(self, trial: Trial) -> None:
        """What it does is done before it is called again."""
        told, running = Told(), 0

        async def slow(info: SnapshotInfo) -> None:
            nonlocal running
            running += 1
            assert running == 1
            await asyncio.sleep(0)
            running -= 1
            told(info)

        await trial.save("turn", created_at=at(0), status="pending")
        stop = trial.store.on_snapshot_state_change("turn", slow)
        await told.until(Status.PENDING)
        await trial.move("turn", Status.COMPLETED)
        await told.until(Status.COMPLETED)
        stop()

    @pytest.mark.row("S-4.3.13")
    async def test_what_another_store_does_is_told(self, trial: Trial) -> None:
        """A watcher here sees the abort of somebody else, as from another process."""
        with trial.needs(Capability.SHARED):
            other = await trial.beside(Capability.SHARED)
            await trial.save("turn", created_at=at(0), status="pending")
            told = Told()
            stop = other.on_snapshot_state_change("turn", told)
            await told.until(Status.PENDING)
            await trial.move("turn", Status.ABORTED)
            await told.until(Status.ABORTED)
            stop()
