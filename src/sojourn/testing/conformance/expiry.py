"""Promise 5: from its instant on an expired record is absent everywhere, swept or not."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sojourn import limits
from sojourn.kernel.keys import Now
from sojourn.kernel.transaction import (
    Absent,
    Create,
    Delete,
    DeleteSpan,
    Ensure,
    Present,
    Put,
    RankAtMost,
    Reads,
    RevisionIs,
    SpanIs,
    Touch,
    Ttl,
)
from sojourn.testing.conformance.trial import Conformance, Trial, at, over

__all__ = ["Expiry", "Sweeps"]

_SECOND = timedelta(seconds=1)


class Expiry(Conformance):
    """Whether a record is there is a question of the engine's clock alone."""

    @pytest.mark.promise(5)
    async def test_it_ends_at_its_instant(self, trial: Trial) -> None:
        """One millisecond before `expires_at` the record is there; at `expires_at` it is not."""
        done = await trial.write(Put(at(), b"", ttl=_SECOND))
        assert (await trial.got(at())).expires_at == done.now + 1_000
        trial.advance(999)
        await trial.write(guards=(Present(at()),))
        assert await trial.get(at()) is not None
        trial.advance(1)
        await trial.write(guards=(Absent(at()),))
        assert await trial.get(at()) is None

    @pytest.mark.promise(5)
    async def test_it_is_absent_everywhere(self, trial: Trial) -> None:
        """Reads, spans, listings by rank and every guard treat it as if it were not there."""
        done = await trial.write(Put(at("a"), b"", rank=1, ttl=_SECOND), Put(at("b"), b"", rank=2))
        revision = done.revision or 0
        trial.advance(1_000)
        reads = Reads(keys=(at("a"),), spans=(over(), over(reverse=True), over(limit=1)))
        b = await trial.got(at("b"))
        for records in ((await trial.engine.read(reads)).records, (await trial.write(reads=reads)).records):
            assert records.keys == (None,)
            assert records.spans == ((b,), (b,), (b,))
        assert await trial.ranked() == ["b"]
        await trial.write(guards=(Absent(at("a")), SpanIs(over(), 1, revision)))
        for guard in (Present(at("a")), RevisionIs(at("a"), revision), RankAtMost(at("a"), 9)):
            assert (await trial.conflict(guards=(guard,))).found is None
        await trial.conflict(guards=(SpanIs(over(), 2, revision),))

    @pytest.mark.promise(5)
    async def test_nothing_brings_it_back(self, trial: Trial) -> None:
        """A touch does not revive it, a deletion of it does nothing, and both leave it absent."""
        await trial.write(Put(at(), b"", ttl=_SECOND))
        trial.advance(1_000)
        done = await trial.write(Touch(at(), rank=1, ttl=timedelta(hours=1)), reads=Reads(keys=(at(),)))
        assert (done.revision, done.records.keys) == (None, (None,))
        assert (await trial.write(Delete(at()))).revision is None
        await trial.write(Touch(at(), ttl=None))
        await trial.sweep()
        assert await trial.get(at()) is None

    @pytest.mark.promise(5, 4)
    @pytest.mark.parametrize("kind", [Create, Ensure, Put])
    @pytest.mark.parametrize("swept", [False, True])
    async def test_a_create_on_it_succeeds(
        self, trial: Trial, kind: type[Create | Ensure | Put], *, swept: bool
    ) -> None:
        """It is as if nothing stood there: the new record has nothing of the old one, and lives."""
        old = await trial.write(Put(at(), b"old", rank=5, ttl=_SECOND))
        trial.advance(1_000)
        if swept:
            await trial.sweep()
        done = await trial.write(kind(at(), b"new"), guards=(Absent(at()),))
        assert done.revision is not None
        assert done.revision > (old.revision or 0)
        record = await trial.got(at())
        assert (record.value, record.revision, record.rank, record.expires_at) == (b"new", done.revision, None, None)
        assert await trial.ranked() == []
        await trial.sweep()
        assert await trial.got(at()) == record

    @pytest.mark.promise(5)
    async def test_a_span_deletion_passes_it_over(self, trial: Trial) -> None:
        """What has expired counts neither among the records to remove nor among those that remain."""
        await trial.write(*(Put(at(item), b"", ttl=_SECOND) for item in "ace"))
        await trial.write(*(Put(at(item), b"") for item in "bdf"))
        trial.advance(1_000)
        done = await trial.write(DeleteSpan(over(), at_most=2))
        assert done.remaining
        assert await trial.items(over()) == ["f"]
        assert not (await trial.write(DeleteSpan(over(), at_most=1))).remaining

    @pytest.mark.promise(5, 6)
    @pytest.mark.parametrize(
        ("ttl", "milliseconds"),
        [
            (timedelta(milliseconds=1), 1),
            (timedelta(microseconds=1_001), 2),
            (timedelta(microseconds=1_999), 2),
            (timedelta(days=400), 400 * 86_400_000),
            (limits.TTL_MAX, limits.TTL_MAX // timedelta(milliseconds=1)),
            (Now(1), 1),
            (Now(2_500), 2_500),
            (Now(2_500, step=1_000), 3_000),
            (Now(3_000, step=1_000), 3_000),
        ],
    )
    async def test_a_time_to_live(self, trial: Trial, ttl: Ttl, milliseconds: int) -> None:
        """It counts from the engine's clock, fractions of a millisecond whole, and `Now` rounds up to its step."""
        assert trial.clock.now() % 1_000 == 0
        done = await trial.write(
            Put(at("put"), b"", ttl=ttl), Create(at("create"), b"", ttl=ttl), Ensure(at("ensure"), b"", ttl=ttl)
        )
        assert {record.expires_at for record in await trial.scan(over())} == {done.now + milliseconds}
        await trial.write(Touch(at("put"), ttl=None))
        await trial.write(Touch(at("put"), ttl=ttl))
        assert (await trial.got(at("put"))).expires_at == done.now + milliseconds

    @pytest.mark.promise(5)
    async def test_a_later_end_counts(self, trial: Trial) -> None:
        """A record that was touched or written to live longer is not ended by its first instant, swept or not."""
        await trial.write(*(Put(at(item), b"", ttl=_SECOND) for item in ("touched", "freed", "put")))
        await trial.write(Touch(at("touched"), ttl=5 * _SECOND), Touch(at("freed"), ttl=None), Put(at("put"), b""))
        trial.advance(2_000)
        await trial.sweep()
        assert await trial.items(over()) == ["freed", "put", "touched"]
        trial.advance(3_000)
        assert await trial.items(over()) == ["freed", "put"]

    @pytest.mark.promise(5)
    async def test_an_earlier_end_counts(self, trial: Trial) -> None:
        """A record that was touched to end sooner does."""
        await trial.write(Put(at(), b"", ttl=5 * _SECOND))
        await trial.write(Touch(at(), ttl=_SECOND))
        trial.advance(1_000)
        assert await trial.get(at()) is None


class Sweeps(Conformance):
    """A sweep removes what has expired, in bounded steps, and announces it."""

    @pytest.mark.promise(5, 9)
    async def test_it_announces_the_end_as_a_change(self, trial: Trial) -> None:
        """Who watches learns of an expiry at the sweep, at the latest, and only of what has expired."""
        await trial.write(*(Put(at(f"short{number}"), b"", ttl=_SECOND) for number in range(5)))
        await trial.write(Put(at("long"), b"", ttl=5 * _SECOND), Put(at("for ever"), b""))
        position = await trial.position()
        await trial.sweep()
        assert await trial.changed(position) == frozenset()
        trial.advance(1_000)
        await trial.sweep()
        assert await trial.changed(position) == {at(f"short{number}") for number in range(5)}
        assert await trial.items(over()) == ["for ever", "long"]

    @pytest.mark.promise(5, 9)
    @pytest.mark.parametrize("kind", [Delete, Touch])
    async def test_it_announces_what_was_meddled_with(self, trial: Trial, kind: type[Delete | Touch]) -> None:
        """An expired record that somebody tried to delete or touch is announced all the same."""
        await trial.write(Put(at(), b"", ttl=_SECOND))
        position = await trial.position()
        trial.advance(1_000)
        await trial.write(kind(at()), DeleteSpan(over("b")))
        await trial.sweep()
        assert await trial.changed(position) == {at()}

    @pytest.mark.promise(5, 8)
    async def test_it_goes_in_steps(self, trial: Trial) -> None:
        """One step removes no more than it was allowed and says whether there is more."""
        await trial.write(*(Put(at(f"{number:02}"), b"", ttl=_SECOND) for number in range(25)))
        await trial.write(Put(at("stays"), b""))
        trial.advance(1_000)
        expired, more = 0, True
        for _ in range(10):
            step = await trial.engine.sweep(10)
            assert step.expired <= 10
            expired, more = expired + step.expired, step.more
            assert more or expired == 25
            if not more:
                break
        assert not more
        assert await trial.items(over()) == ["stays"]
        assert (await trial.engine.sweep(10)).expired == 0

    @pytest.mark.promise(5)
    async def test_it_is_no_change_to_what_is_read(self, trial: Trial) -> None:
        """Reads and listings are the same right before and right after it."""
        await trial.write(
            *(Put(at(item), b"", rank=number, ttl=number * _SECOND) for number, item in enumerate("abcdef", 1))
        )
        trial.advance(3_000)
        before = await trial.scan(over()), await trial.ranked()
        await trial.sweep()
        assert (await trial.scan(over()), await trial.ranked()) == before
        assert before[1] == ["d", "e", "f"]
