"""Promise 6: there is one clock, the engine's, and it never steps back."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest

from sojourn.kernel import ids
from sojourn.kernel.clock import SystemClock
from sojourn.kernel.keys import Now, RankSpan
from sojourn.kernel.store import Store
from sojourn.kernel.transaction import Committed, Present, Put, RankAtMost, Reads, Transaction
from sojourn.testing.conformance.trial import SPACE, Conformance, Trial, at

__all__ = ["OneClock"]


class OneClock(Conformance):
    """Every answer says what time it is, by the clock that decides."""

    @pytest.mark.promise(6)
    async def test_every_answer_tells_the_time(self, trial: Trial) -> None:
        """Commit, conflict, repeat, read and rank page all come back with the time of the clock given."""
        once = ids.new()
        for _ in range(3):
            trial.advance(1_234)
            now = trial.clock.now()
            committed = await trial.write(Put(at(), b""))
            conflict = await trial.conflict(guards=(Present(at("none")),))
            repeat = await trial.write(Put(at("once"), b""), id=once)
            read = await trial.engine.read(Reads())
            page = await trial.engine.rank(RankSpan(SPACE))
            assert [answer.now for answer in (committed, conflict, repeat, read, page)] == [now] * 5

    @pytest.mark.promise(6)
    async def test_a_batch_shares_one_reading(self, trial: Trial) -> None:
        """The outcomes of one batch are of one time, or of times in their order."""
        batch = [Transaction(writes=(Put(at(str(number)), b"", rank=Now()),)) for number in range(20)]
        times = [outcome.now for outcome in await trial.engine.commit(batch) if isinstance(outcome, Committed)]
        assert times == sorted(times)
        assert times[0] >= trial.clock.now()

    @pytest.mark.promise(6)
    async def test_it_does_not_step_back(self, trial: Trial) -> None:
        """When the host's clock is set back, time stands still until it is made up, and nothing expired returns."""
        await trial.write(Put(at("short"), b"", ttl=timedelta(seconds=1)))
        trial.advance(1_000)
        last = (await trial.write(Put(at("new"), b"", ttl=timedelta(seconds=10)))).now
        trial.clock.step_back(timedelta(seconds=5))
        for _ in range(7):
            assert await trial.get(at("short")) is None
            for now in (
                (await trial.write(Put(at(), b""))).now,
                (await trial.conflict(guards=(Present(at("none")),))).now,
                (await trial.engine.read(Reads())).now,
                (await trial.engine.rank(RankSpan(SPACE))).now,
            ):
                assert now >= last
                last = now
            trial.advance(1_000)
        assert last == (await trial.got(at("new"))).expires_at - 10_000 + 1_000  # type: ignore[operator]

    @pytest.mark.promise(6)
    async def test_the_host_may_be_set_back(self, trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
        """An engine that lives by the system's clock is not fooled either, when an operator sets that back."""

        def set_host(milliseconds: int) -> None:
            monkeypatch.setattr(time, "time_ns", lambda: milliseconds * 1_000_000)

        set_host(1_500_000_000_000)
        async with Store(await trial.fresh(SystemClock())) as store:
            await store.commit(Transaction(writes=(Put(at(), b"", ttl=timedelta(seconds=1)),)))
            last = 0
            for host in (1_500_000_001_000, 1_400_000_000_000, 1_500_000_000_500, 1_500_000_002_000, 1_500_000_001_999):
                set_host(host)
                for _ in range(2):
                    read = await store.read(Reads(keys=(at(),)))
                    done = await store.commit(Transaction(writes=(Put(at("b"), b""),)))
                    assert read.records.keys == (None,)
                    assert last <= read.now <= done.now
                    last = done.now

    @pytest.mark.promise(6)
    @pytest.mark.parametrize(
        ("number", "offset"),
        [(Now(), 0), (Now(7), 7), (Now(-7), -7), (Now(0, step=60_000), 20_000), (Now(-40_001, step=60_000), -40_000)],
    )
    async def test_now_is_a_rank(self, trial: Trial, number: Now, offset: int) -> None:
        """A rank given as `Now` is the engine's time plus the offset, rounded up to a multiple of the step."""
        assert trial.clock.now() % 60_000 == 40_000
        done = await trial.write(Put(at(), b"", rank=number))
        assert (await trial.got(at())).rank == done.now + offset
        await trial.write(guards=(RankAtMost(at(), number),))

    @pytest.mark.promise(6)
    async def test_a_multiple_of_the_step_stays(self, trial: Trial) -> None:
        """What lies on a step already is not moved to the next one, and a millisecond later it is."""
        trial.advance(20_000)
        now = trial.clock.now()
        assert now % 60_000 == 0
        await trial.write(Put(at("on"), b"", rank=Now(0, step=60_000)))
        trial.advance(1)
        await trial.write(Put(at("after"), b"", rank=Now(0, step=60_000)))
        assert (await trial.got(at("on"))).rank == now
        assert (await trial.got(at("after"))).rank == now + 60_000

    @pytest.mark.promise(6, 8)
    async def test_now_bounds_a_listing(self, trial: Trial) -> None:
        """Bounds given as `Now` move with the engine's clock, both of them included."""
        now = trial.clock.now()
        await trial.write(*(Put(at(f"{offset:+03}"), b"", rank=now + offset) for offset in (-10, -1, 0, 1, 10)))

        async def due(low: Now, high: Now) -> list[str]:
            page = await trial.engine.rank(RankSpan(SPACE, low, high))
            return [record.key.item for record in page.records]

        assert await due(Now(-10), Now()) == ["-10", "-01", "+00"]
        assert await due(Now(1), Now(9)) == ["+01"]
        trial.advance(1)
        assert await due(Now(-10), Now()) == ["-01", "+00", "+01"]

    @pytest.mark.promise(6)
    async def test_no_other_clock_decides(self, trial: Trial) -> None:
        """The host's clock, years ahead of the one given, ends no record and dates no answer."""
        done = await trial.write(Put(at(), b"", ttl=timedelta(seconds=1)))
        assert done.now == trial.clock.now()
        await trial.sweep()
        assert await trial.get(at()) is not None
        trial.clock.advance(timedelta(days=36_500))
        assert await trial.get(at()) is None
