"""What the kernel does above every engine when callers are many: order, poison, back-pressure, fairness."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from sojourn import limits
from sojourn.errors import ClosedError, OverloadedError, RefusedError, UnavailableError
from sojourn.kernel import ids
from sojourn.kernel.attempt import Attempt
from sojourn.kernel.engine import BatchRefusedError
from sojourn.kernel.store import Store
from sojourn.kernel.transaction import (
    Absent,
    Append,
    Committed,
    Put,
    Reads,
    Transaction,
)
from sojourn.testing.conformance.harness import Capability
from sojourn.testing.conformance.trial import HOME, SPACE, Conformance, Trial, at, over

__all__ = ["Batching"]

_CALLERS = 64


class Batching(Conformance):
    """Many callers share commits without hurting one another."""

    @pytest.mark.promise(2)
    async def test_first_come_first_served(self, trial: Trial) -> None:
        """Transactions of many callers commit in the order in which they were given, in fewer batches than callers."""
        engine = await trial.faulty(delay=1)
        async with trial.store(engine) as store:
            done = await asyncio.gather(*(store.commit(_appended(number)) for number in range(_CALLERS)))
            (span,) = (await store.read(Reads(spans=(over(),)))).records.spans
        assert [int(record.value) for record in span] == list(range(_CALLERS))
        assert [record.revision for record in span] == [committed.revision for committed in done]
        assert engine.faults.commits < _CALLERS / 4

    @pytest.mark.promise(10, 1)
    @pytest.mark.parametrize(
        "bad", [{0}, {_CALLERS - 1}, {20, 21, 40}, set(range(0, _CALLERS, 2)), set(range(_CALLERS))], ids=len
    )
    async def test_poison_hurts_only_itself(self, trial: Trial, bad: set[int]) -> None:
        """A batch that the engine cannot take is halved until only the culprits are refused; the order stays."""

        def poisoned(transaction: Transaction) -> bool:
            return _number(transaction) in bad

        engine = await trial.faulty(poisoned=poisoned)
        async with trial.store(engine) as store:
            work = (store.commit(_appended(number)) for number in range(_CALLERS))
            results = await asyncio.gather(*work, return_exceptions=True)
            (span,) = (await store.read(Reads(spans=(over(),)))).records.spans
        good = [number for number in range(_CALLERS) if number not in bad]
        assert [int(record.value) for record in span] == good
        assert {number for number, result in enumerate(results) if isinstance(result, RefusedError)} == bad
        assert {number for number, result in enumerate(results) if isinstance(result, Committed)} == set(good)
        assert engine.faults.poisoned

    @pytest.mark.promise(10)
    async def test_poison_at_the_engine(self, trial: Trial) -> None:
        """An engine that refuses a batch as a whole has rolled it back: its good half may be sent again."""
        good = [Transaction(ids.new(), (Absent(at(item)),), (Put(at(item), b""),)) for item in "abcd"]
        poison = Transaction(ids.new(), writes=(Put(at("\ud800"), b""),))
        try:
            outcomes: Sequence[object] = await trial.engine.commit([*good[:2], poison, *good[2:]])
        except BatchRefusedError:
            outcomes = await trial.engine.commit(good)
        kept = [outcome for outcome in outcomes if isinstance(outcome, Committed) and not outcome.repeated]
        assert len(kept) >= len(good)

    @pytest.mark.promise(10, 11)
    async def test_too_many_waiting_are_told_at_once(self, trial: Trial) -> None:
        """Past `limits.WAITING_TRANSACTIONS` callers get `OverloadedError` instead of a place in an endless queue."""
        engine = await trial.faulty(refuse=1)
        async with trial.store(engine) as store:
            surplus = 10
            work = (store.commit(_appended(number)) for number in range(limits.WAITING_TRANSACTIONS + surplus))
            results = await asyncio.gather(*work, return_exceptions=True)
            kinds = [type(result) for result in results]
            assert kinds == [UnavailableError] * limits.WAITING_TRANSACTIONS + [OverloadedError] * surplus

    @pytest.mark.promise(10, 11)
    async def test_too_much_waiting_is_told_at_once(self, trial: Trial) -> None:
        """Bytes count as well as transactions; once the queue has drained, callers are welcome again."""
        engine = await trial.faulty(refuse=1)
        value = bytes(limits.VALUE_BYTES)
        async with trial.store(engine) as store:
            work = (store.commit(Transaction(writes=(Put(at(str(number)), value),))) for number in range(80))
            results = await asyncio.gather(*work, return_exceptions=True)
            fits = limits.WAITING_BYTES // (limits.VALUE_BYTES + len("conformancehome00"))
            kinds = [type(result) for result in results]
            assert kinds[:fits] == [UnavailableError] * fits
            assert set(kinds[fits + 1 :]) == {OverloadedError}
            with pytest.raises(UnavailableError) as caught:
                await store.commit(_appended(1))
            assert type(caught.value) is UnavailableError

    @pytest.mark.promise(2, 10)
    async def test_a_hot_record_is_shared_fairly(self, trial: Trial) -> None:
        """Of many tasks that increment one record none is refused, none needs many attempts, nothing is lost."""
        engine = await trial.faulty(delay=1)
        each = 4
        async with trial.store(engine) as store:

            async def worker() -> list[int]:
                return [await store.run(_increment) for _ in range(each)]

            attempts = await asyncio.gather(*(worker() for _ in range(_CALLERS)))
            (record,) = (await store.read(Reads(keys=(at(),)))).records.keys
        assert record is not None
        assert int(record.value) == _CALLERS * each
        flat = [number for worker in attempts for number in worker]
        assert max(flat) <= 4
        assert sum(flat) <= 2 * len(flat)

    @pytest.mark.promise(2, 12)
    async def test_busy_partitions_do_not_lock_each_other(self, trial: Trial) -> None:
        """Tasks that move something between two of several partitions, in any order, all finish, and the sum stays.

        Neither does it matter that some of them are cancelled while they wait.
        """
        names = ("a", "b", "c")
        engine = await trial.faulty(delay=1)

        async def move(store: Store, giver: str, taker: str) -> None:
            async def work(tx: Attempt) -> None:
                for name, change in ((giver, -1), (taker, 1)):
                    record = await tx.get(at("sum", name))
                    tx.put(at("sum", name), b"%d" % (change if record is None else int(record.value) + change))

            await store.run(work)

        pairs = [(giver, taker) for giver in names for taker in names if giver != taker] * 6
        with trial.needs(Capability.CROSS_PARTITION):
            async with trial.store(engine) as store:
                tasks = [asyncio.create_task(move(store, giver, taker)) for giver, taker in pairs]
                for task in tasks[::2]:
                    for _ in range(9):
                        await asyncio.sleep(0)
                    task.cancel()
                results = await asyncio.gather(*tasks, return_exceptions=True)
                found = (await store.read(Reads(keys=tuple(at("sum", name) for name in names)))).records.keys
            for result in results:
                if isinstance(result, Exception):
                    raise result
            assert sum(int(record.value) for record in found if record is not None) == 0
            assert sum(isinstance(result, asyncio.CancelledError) for result in results) <= len(tasks[::2])

    @pytest.mark.promise(10, 12)
    async def test_a_closed_store_refuses(self, trial: Trial) -> None:
        """Before it is opened and after it is closed every call is refused by name; closing twice is harmless."""
        async with trial.store() as store:
            await store.commit(_appended(1))
        await store.close()
        with pytest.raises(ClosedError):
            await store.commit(_appended(2))
        with pytest.raises(ClosedError):
            await store.read(Reads())
        with pytest.raises(ClosedError):
            await store.run(_increment)


async def _increment(tx: Attempt) -> int:
    record = await tx.get(at())
    tx.put(at(), b"%d" % (1 if record is None else int(record.value) + 1))
    return tx.number


def _appended(number: int) -> Transaction:
    return Transaction(ids.new(), writes=(Append(SPACE, HOME, "log/", b"%d" % number),))


def _number(transaction: Transaction) -> int:
    (write,) = transaction.writes
    assert isinstance(write, Append)
    return int(write.value)
