"""Promise 10: four failures, each with its name, and nothing else leaves an engine."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Sequence

import pytest

from sojourn.errors import CommitUnknownError, ConflictError, Retry, SojournError, UnavailableError
from sojourn.kernel import ids
from sojourn.kernel.engine import Answer, Engine
from sojourn.kernel.keys import RankSpan
from sojourn.kernel.transaction import (
    Absent,
    Append,
    Committed,
    Conflict,
    Guard,
    Present,
    Put,
    RankAtMost,
    Reads,
    RevisionIs,
    SpanIs,
    Transaction,
)
from sojourn.testing.conformance.trial import HOME, SPACE, Conformance, Trial, at, over

__all__ = ["Failures"]


class Failures(Conformance):
    """Whoever gets a failure knows whether anything was written, and what to do."""

    @pytest.mark.promise(10, 2)
    async def test_a_conflict_says_what_it_met(self, trial: Trial) -> None:
        """It carries the guard that failed, the record that stands at its key, and the time: no second trip."""
        await trial.write(Put(at(), b"v", rank=5))
        record = await trial.got(at())
        guards: tuple[Guard, ...] = (
            Absent(at()),
            RevisionIs(at(), record.revision + 1),
            RankAtMost(at(), 4),
            Present(at("none")),
            SpanIs(over(), 2, record.revision),
        )
        for guard in guards:
            outcome = await trial.conflict(Put(at("never"), b""), guards=(Present(at()), guard))
            found = record if guard in guards[:3] else None
            assert outcome == Conflict(guard, found, trial.clock.now())

    @pytest.mark.promise(10)
    async def test_a_store_raises_the_conflict(self, trial: Trial) -> None:
        """Above the engine the same facts come as `ConflictError`, which says to read again."""
        async with trial.store() as store:
            await store.commit(Transaction(writes=(Put(at(), b"v"),)))
            (record,) = (await store.read(Reads(keys=(at(),)))).records.keys
            with pytest.raises(ConflictError) as caught:
                await store.commit(Transaction(guards=(Absent(at()),), writes=(Put(at(), b"w"),)))
            error = caught.value
            assert (error.guard, error.found, error.now) == (Absent(at()), record, store.clock.now())
            assert (error.retry, error.written) == (Retry.AFTER_READING, "no")

    @pytest.mark.promise(10)
    async def test_unavailable_wrote_nothing(self, trial: Trial) -> None:
        """After `UnavailableError` nothing is there, and the same transaction may commit for the first time."""
        engine = await trial.faulty(refuse=1)
        once = Transaction(ids.new(), writes=(Append(SPACE, HOME, "log/", b""),))
        async with trial.store(engine) as store:
            with pytest.raises(UnavailableError):
                await store.commit(once)
            done = _only(await engine.inner.commit([once]))
            assert not done.repeated
            assert await _count(engine.inner) == 1

    @pytest.mark.promise(10, 13)
    @pytest.mark.parametrize("fault", ["lose", "drop"])
    async def test_unknown_may_be_asked_again(self, trial: Trial, fault: str) -> None:
        """After `CommitUnknownError` the same id tells whether it was written, and it is written once in the end."""
        engine = await trial.faulty(**{fault: 1})
        once = Transaction(ids.new(), writes=(Append(SPACE, HOME, "log/", b""),))
        async with trial.store(engine) as store:
            with pytest.raises(CommitUnknownError) as caught:
                await store.commit(once)
            assert (caught.value.retry, caught.value.written) == (Retry.SAME_ID, "perhaps")
            assert await _count(engine.inner) == (1 if fault == "lose" else 0)
            done = _only(await engine.inner.commit([once]))
            assert done.repeated == (fault == "lose")
            assert await _count(engine.inner) == 1

    @pytest.mark.promise(10, 13)
    async def test_a_lost_answer_is_found_out(self, trial: Trial) -> None:
        """The kernel itself repeats the same id, so that a caller hardly ever sees an unknown outcome."""
        engine = await trial.faulty(seed=2, lose=0.3, drop=0.2)
        async with trial.store(engine) as store:
            for _ in range(40):
                await store.commit(Transaction(ids.new(), writes=(Append(SPACE, HOME, "log/", b""),)))
            assert await _count(engine.inner) == 40
        assert engine.faults.lost
        assert engine.faults.dropped

    @pytest.mark.promise(10)
    async def test_reads_fail_as_unavailable(self, trial: Trial) -> None:
        """A read, a rank page and a sweep that cannot be answered say so, by the same name."""
        async with trial.store(await trial.faulty(fail=1)) as store:
            calls: list[Awaitable[object]] = [store.read(Reads()), store.rank(RankSpan(SPACE)), store.sweep()]
            for call in calls:
                with pytest.raises(UnavailableError):
                    await call

    @pytest.mark.promise(10)
    async def test_a_closed_engine_answers_by_name(self, trial: Trial) -> None:
        """Asked after it was closed, an engine still answers or fails by one of our names, never by its driver's."""
        await trial.write(Put(at(), b""))
        engine = trial.engine
        await engine.close()
        calls: list[Awaitable[object]] = [
            engine.commit([Transaction(writes=(Put(at(), b""),))]),
            engine.read(Reads(keys=(at(),))),
            engine.rank(RankSpan(SPACE)),
            engine.changes(None, 0),
            engine.sweep(10),
        ]
        for call in calls:
            with contextlib.suppress(SojournError):
                await call


def _only(outcomes: Sequence[Answer]) -> Committed:
    (outcome,) = outcomes
    assert isinstance(outcome, Committed)
    return outcome


async def _count(engine: Engine) -> int:
    (records,) = (await engine.read(Reads(spans=(over(),)))).records.spans
    return len(records)
