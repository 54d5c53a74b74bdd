"""Promise 7: what was committed is still there when another engine opens the store."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sojourn import limits
from sojourn.kernel import ids
from sojourn.kernel.keys import RankSpan
from sojourn.kernel.transaction import (
    Absent,
    Append,
    Committed,
    Create,
    Delete,
    DeleteSpan,
    Put,
    SpanIs,
    Touch,
    Transaction,
)
from sojourn.testing.conformance.harness import Capability
from sojourn.testing.conformance.trial import HOME, SPACE, Conformance, Trial, at, over

__all__ = ["Durability"]


class Durability(Conformance):
    """An engine that is closed, or was never closed properly, loses nothing that it acknowledged."""

    @pytest.mark.promise(7)
    async def test_it_says_what_it_promises(self, trial: Trial) -> None:
        """`describe` declares the very capabilities that the engine is tried for, and bounds its batches."""
        said = trial.engine.describe()
        declared = trial.harness.capabilities
        assert said.durable == (Capability.DURABLE in declared)
        assert said.cross_partition == (Capability.CROSS_PARTITION in declared)
        assert said.cross_process_watch == (Capability.CROSS_PROCESS_WATCH in declared)
        assert said.engine
        assert said.version
        assert 1 <= said.batch_transactions <= limits.BATCH_TRANSACTIONS
        assert 1 <= said.batch_bytes <= limits.BATCH_BYTES

    @pytest.mark.promise(7)
    async def test_every_record_is_found_again(self, trial: Trial) -> None:
        """Values, revisions, ranks and expiries are the same after a restart, and what was removed stays removed."""
        with trial.needs(Capability.DURABLE):
            lasting = timedelta(hours=1)
            await trial.write(*(Put(at(f"{number}"), b"%d" % number, rank=number, ttl=lasting) for number in range(9)))
            await trial.write(Append(SPACE, HOME, "log/", b"\x00\xff"), Create(at("é\U0001f600"), b""), id=ids.new())
            await trial.write(Delete(at("3")), Touch(at("4"), rank=-1, ttl=None), DeleteSpan(over("5", "7")))
            before = await trial.scan(over()), (await trial.engine.rank(RankSpan(SPACE))).records
            await trial.reopen()
            assert (await trial.scan(over()), (await trial.engine.rank(RankSpan(SPACE))).records) == before
            trial.advance(3_600_000)
            assert await trial.ranked() == ["4"]

    @pytest.mark.promise(7, 13)
    async def test_receipts_are_found_again(self, trial: Trial) -> None:
        """A transaction repeated after a restart is recognised, with its revision and its attempt."""
        with trial.needs(Capability.DURABLE):
            once = Transaction(ids.new(), (Absent(at()),), (Put(at(), b""),), attempt=3)
            (first,) = await trial.engine.commit([once])
            assert isinstance(first, Committed)
            await trial.reopen()
            (again,) = await trial.engine.commit([once])
            assert isinstance(again, Committed)
            assert (again.repeated, again.revision, again.attempt) == (True, first.revision, 3)

    @pytest.mark.promise(7, 9)
    async def test_the_change_log_is_found_again(self, trial: Trial) -> None:
        """A watcher that kept its position over a restart misses nothing; a gap would be honest, silence is not."""
        with trial.needs(Capability.DURABLE):
            await trial.write(Put(at("before"), b""))
            position = await trial.position()
            await trial.write(Put(at("during"), b""))
            await trial.reopen()
            await trial.write(Put(at("after"), b""))
            answer = await trial.changes(position)
            assert answer.gap or answer.keys == {at("during"), at("after")}

    @pytest.mark.promise(7, 2)
    async def test_guards_hold_across_a_restart(self, trial: Trial) -> None:
        """What was seen before a restart is still the same record after it."""
        with trial.needs(Capability.DURABLE):
            newest = (await trial.write(Put(at("a"), b""), Put(at("b"), b""))).revision
            assert newest is not None
            await trial.reopen()
            await trial.write(guards=(SpanIs(over(), 2, newest),))

    @pytest.mark.promise(7)
    async def test_opening_changes_nothing(self, trial: Trial) -> None:
        """A store opened and closed many times is still the same, and takes new commits each time."""
        with trial.needs(Capability.DURABLE):
            for number in range(6):
                await trial.write(Put(at(str(number)), b""))
                await trial.reopen()
                assert await trial.items(over()) == [str(seen) for seen in range(number + 1)]

    @pytest.mark.promise(7, 12)
    async def test_closing_twice_is_harmless(self, trial: Trial) -> None:
        """Closing a closed engine, or one never opened, does nothing."""
        await trial.write(Put(at(), b""))
        await trial.engine.close()
        await trial.engine.close()
        await (await trial.fresh()).close()
