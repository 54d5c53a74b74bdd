"""Promise 12: cancelled, a commit is applied or not, never half, and nothing is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine, Sequence
from typing import Any

import pytest

from sojourn.kernel import ids
from sojourn.kernel.attempt import Attempt
from sojourn.kernel.engine import Answer, Engine
from sojourn.kernel.transaction import Append, Committed, Put, Reads, Transaction
from sojourn.testing.conformance.trial import HOME, SPACE, Conformance, Trial, at, over
from sojourn.testing.faults import FaultyEngine

__all__ = ["Cancellation"]

_ROUNDS = range(12)


class Cancellation(Conformance):
    """Whoever stops waiting leaves no half commit, no lost connection, no turn that nobody gives back."""

    @pytest.mark.promise(12, 1)
    async def test_a_cancelled_commit_is_whole(self, trial: Trial) -> None:
        """At whatever step an engine's commit is cancelled, both records are there or none; a repeat settles it."""
        for rounds in _ROUNDS:
            keys = (at(f"left{rounds}"), at(f"right{rounds}"))
            log = Append(SPACE, HOME, f"log{rounds:02}/", b"")
            once = Transaction(ids.new(), writes=(Put(keys[0], b""), Put(keys[1], b""), log))
            await _cancel_after(rounds, trial.engine.commit([once]))
            left, right = (await trial.engine.read(Reads(keys=keys))).records.keys
            (outcome,) = await trial.engine.commit([once])
            assert isinstance(outcome, Committed)
            # Not yet there is no contradiction: a commit in flight may have ended between the two.
            assert outcome.repeated or (left is None and right is None)
            left, right = (await trial.engine.read(Reads(keys=keys))).records.keys
            assert left is not None
            assert right is not None
            assert left.revision == right.revision == outcome.revision
            assert len(await trial.scan(over(log.prefix, f"log{rounds:02}0"))) == 1

    @pytest.mark.promise(12)
    async def test_cancelled_reads_leave_nothing(self, trial: Trial) -> None:
        """However many reads, listings and sweeps are cancelled, the engine answers the next one."""
        await trial.write(*(Put(at(f"{number:04}"), bytes(100)) for number in range(1_000)))
        tasks = asyncio.all_tasks()
        for rounds in _ROUNDS:
            for _ in range(4):
                await _cancel_after(rounds, trial.engine.read(Reads(spans=(over(limit=1_000),))))
                await _cancel_after(rounds, trial.engine.sweep(10))
                await _cancel_after(rounds, trial.engine.changes(None, 0))
        assert len(await trial.scan(over(limit=1_000))) == 1_000
        assert asyncio.all_tasks() == tasks

    @pytest.mark.promise(12)
    async def test_closing_after_a_cancelled_commit(self, trial: Trial) -> None:
        """A commit left in flight does not keep the engine from closing, and no thread of it stays behind."""
        before = _threads()
        for rounds in _ROUNDS:
            engine = await trial.fresh()
            await engine.open()
            await _cancel_after(rounds, engine.commit([Transaction(writes=(Put(at(), bytes(10_000)),))]))
            await engine.close()
        assert _threads() == before

    @pytest.mark.promise(12)
    async def test_cancelled_in_the_queue_it_is_not_written(self, trial: Trial) -> None:
        """A transaction whose caller leaves while it waits for its batch never reaches the engine."""
        engine = _Held(await trial.fresh(), 1)
        async with trial.store(engine) as store:
            first = asyncio.create_task(store.commit(_appended("first")))
            await engine.arrived.wait()
            waiting = [asyncio.create_task(store.commit(_appended(f"{number}"))) for number in range(6)]
            await asyncio.sleep(0)
            for task in waiting[::2]:
                task.cancel()
            engine.let_go.set()
            results = await asyncio.gather(first, *waiting, return_exceptions=True)
            (span,) = (await store.read(Reads(spans=(over(),)))).records.spans
        assert [isinstance(result, asyncio.CancelledError) for result in results] == [False, *[True, False] * 3]
        assert [record.value for record in span] == [b"first", b"1", b"3", b"5"]
        assert engine.faults.commits == 2

    @pytest.mark.promise(12, 13)
    async def test_cancelled_in_flight_it_is_whole(self, trial: Trial) -> None:
        """A commit of the store, cancelled at any step, is applied once or not at all; the same id tells which."""
        engine = await trial.faulty(delay=1, repeat=0.3, lose=0.1)
        async with trial.store(engine) as store:
            for rounds in range(30):
                once = _appended(f"{rounds:02}")
                await _cancel_after(rounds, store.commit(once))
                await store.commit(once)
            (span,) = (await store.read(Reads(spans=(over(),)))).records.spans
        assert [record.value for record in span] == [b"%02d" % rounds for rounds in range(30)]

    @pytest.mark.promise(12, 7)
    async def test_closing_finishes_what_was_accepted(self, trial: Trial) -> None:
        """A store that closes commits what its callers still wait for, and leaves no task behind."""
        before = asyncio.all_tasks()
        engine = await trial.faulty(delay=1)
        async with trial.store(engine) as store:
            tasks = [asyncio.create_task(store.commit(_appended(f"{number}"))) for number in range(9)]
            await asyncio.sleep(0)
            await store.close()
            assert all(isinstance(task.result(), Committed) for task in tasks if task.done())
            assert len(await asyncio.gather(*tasks)) == 9
        assert asyncio.all_tasks() == before

    @pytest.mark.promise(12, 2)
    async def test_a_cancelled_run_gives_its_turn_back(self, trial: Trial) -> None:
        """Callers that wait for a busy record do not wait for one who has left."""
        engine = await trial.faulty(delay=1)

        async def increment(tx: Attempt) -> None:
            record = await tx.get(at())
            tx.put(at(), b"%d" % (1 if record is None else int(record.value) + 1))

        async with trial.store(engine) as store:
            tasks = [asyncio.create_task(store.run(increment)) for _ in range(24)]
            for number, task in enumerate(tasks[::2]):
                for _ in range(number):
                    await asyncio.sleep(0)
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            (record,) = (await store.read(Reads(keys=(at(),)))).records.keys
            told = sum(result is None for result in results)
            assert all(result is None for result in results[1::2])
            assert record is not None
            assert told <= int(record.value) <= len(tasks)
            await store.run(increment)


class _Held(FaultyEngine):
    """Holds each batch until it is let go."""

    def __init__(self, inner: Engine, seed: int) -> None:
        super().__init__(inner, seed)
        self.arrived = asyncio.Event()
        self.let_go = asyncio.Event()

    async def commit(self, batch: Sequence[Transaction]) -> Sequence[Answer]:
        self.arrived.set()
        await self.let_go.wait()
        return await super().commit(batch)


def _threads() -> set[threading.Thread]:
    """Return the threads that run, but for those that the loop itself keeps for later."""
    return {thread for thread in threading.enumerate() if not thread.name.startswith("asyncio_")}


async def _cancel_after(rounds: int, work: Coroutine[Any, Any, object]) -> None:
    """Start the work, let the loop run so many rounds, then cancel it and wait until it has ended."""
    task = asyncio.create_task(work)
    for _ in range(rounds):
        await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _appended(value: str) -> Transaction:
    return Transaction(ids.new(), writes=(Append(SPACE, HOME, "log/", value.encode()),))
