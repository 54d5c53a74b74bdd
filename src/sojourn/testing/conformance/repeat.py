"""Promise 13: a transaction id commits at most once, and a repeat is told so."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import msgspec
import pytest

from sojourn import limits
from sojourn.errors import ConflictError
from sojourn.kernel import ids
from sojourn.kernel.attempt import Attempt
from sojourn.kernel.store import Store
from sojourn.kernel.transaction import (
    Absent,
    Append,
    Committed,
    Conflict,
    Create,
    Delete,
    DeleteSpan,
    Present,
    Put,
    Reads,
    RevisionIs,
    Touch,
    Transaction,
    Write,
)
from sojourn.testing.conformance.trial import HOME, SPACE, Conformance, Trial, at, over

__all__ = ["LostAnswers", "Repeats"]

_SEEDS = (11, 12, 13)


class Repeats(Conformance):
    """Delivered twice, late, or beside itself: it counts once."""

    @pytest.mark.promise(13)
    async def test_a_repeat_answers_the_first_revision(self, trial: Trial) -> None:
        """It says `repeated`, changes nothing, and shows the records of now."""
        once = Transaction(ids.new(), writes=(Append(SPACE, HOME, "log/", b""),), reads=Reads(spans=(over(),)))
        first = await _commit(trial, once)
        assert not first.repeated
        for _ in range(3):
            again = await _commit(trial, once)
            assert (again.repeated, again.revision) == (True, first.revision)
            assert again.records == first.records

    @pytest.mark.promise(13)
    @pytest.mark.parametrize(
        "rival", [Put(at(), b"rival"), Delete(at()), Touch(at(), rank=9)], ids=["put", "delete", "touch"]
    )
    @pytest.mark.parametrize("guarded", [False, True])
    async def test_a_repeat_after_others_wrote(self, trial: Trial, rival: Write, *, guarded: bool) -> None:
        """Whatever has happened to its records since, it is recognised and undoes nothing, guarded or blind."""
        guards = (Absent(at()),) if guarded else ()
        once = Transaction(ids.new(), guards, (Put(at(), b"mine"),), Reads(keys=(at(),)))
        first = await _commit(trial, once)
        await trial.write(rival)
        now_there = await trial.get(at())
        again = await _commit(trial, once)
        assert (again.repeated, again.revision, again.records.keys) == (True, first.revision, (now_there,))
        assert await trial.get(at()) == now_there

    @pytest.mark.promise(13)
    async def test_a_repeat_inside_one_batch(self, trial: Trial) -> None:
        """Of two deliveries in one batch the first commits, the second is its repeat, also with others between."""
        once = Transaction(ids.new(), writes=(Append(SPACE, HOME, "log/", b"once"),))
        between = Transaction(ids.new(), writes=(Append(SPACE, HOME, "log/", b"between"),))
        outcomes = await trial.engine.commit([once, once, between, once])
        answers = [(outcome.repeated, outcome.revision) for outcome in outcomes if isinstance(outcome, Committed)]
        (_, first), _, (_, second), _ = answers
        assert answers == [(False, first), (True, first), (False, second), (True, first)]
        assert [record.value for record in await trial.scan(over())] == [b"once", b"between"]

    @pytest.mark.promise(13)
    @pytest.mark.parametrize(
        "write",
        [
            Delete(at()),
            DeleteSpan(over()),
            Touch(at(), rank=2),
            Create(at(), b"other"),
            Touch(at("none"), rank=1),
            None,
        ],
        ids=lambda write: type(write).__name__,
    )
    async def test_a_receipt_for_what_draws_no_revision(self, trial: Trial, write: Write | None) -> None:
        """Deletions, touches, no-ops and bare guards are recognised too: saving and letting go ends in a deletion."""
        await trial.write(Put(at(), b"v", rank=1))
        once = Transaction(ids.new(), (Present(at()),), () if write is None else (write,))
        first = await _commit(trial, once)
        assert (first.repeated, first.revision) == (False, None)
        await trial.write(Put(at(), b"new", rank=1))
        again = await _commit(trial, once)
        assert (again.repeated, again.revision) == (True, None)
        record = await trial.got(at())
        assert (record.value, record.rank) == (b"new", 1)

    @pytest.mark.promise(13)
    async def test_the_attempt_that_committed_comes_back(self, trial: Trial) -> None:
        """Attempts of one id may differ; the answer numbers the one that was committed, late ones change nothing."""
        name = ids.new()

        def attempt(number: int, *guards: Absent | Present) -> Transaction:
            return Transaction(name, guards, (Put(at(), b"%d" % number),), attempt=number)

        (lost,) = await trial.engine.commit([attempt(1, Present(at("none")))])
        assert isinstance(lost, Conflict)
        second = await _commit(trial, attempt(2))
        assert (second.repeated, second.attempt) == (False, 2)
        for late in (attempt(1, Present(at("none"))), attempt(1), attempt(3), attempt(2)):
            again = await _commit(trial, late)
            assert (again.repeated, again.attempt, again.revision) == (True, 2, second.revision)
        assert (await trial.got(at())).value == b"2"

    @pytest.mark.promise(13)
    async def test_without_an_id_it_is_done_again(self, trial: Trial) -> None:
        """None says that doing it twice is harmless, so it is done twice."""
        blind = Transaction(writes=(Put(at(), b""),))
        first, second = await trial.engine.commit([blind, blind])
        assert isinstance(first, Committed)
        assert isinstance(second, Committed)
        assert not second.repeated
        assert (second.revision or 0) > (first.revision or 0)

    @pytest.mark.promise(13)
    async def test_ids_differ_in_every_bit(self, trial: Trial) -> None:
        """Ids that are neighbours, or hold any byte, are not taken for one another."""
        name = bytes(16)
        names = [
            name,
            *(bytes([*name[:place], 1 << bit, *name[place + 1 :]]) for place in (0, 7, 15) for bit in range(8)),
        ]
        names += [b"\xff" * 16, b"\x00" * 15 + b"'"]
        for _ in range(2):
            for number, other in enumerate(names):
                await trial.engine.commit([Transaction(other, writes=(Append(SPACE, HOME, f"{number:02}/", b""),))])
        found = [item[:2] for item in await trial.items(over())]
        assert found == [f"{number:02}" for number in range(len(names))]

    @pytest.mark.promise(13, 2)
    async def test_a_large_batch_delivered_twice(self, trial: Trial) -> None:
        """Repeats mixed with new transactions and conflicts are each told apart, in their order."""
        batch = [
            Transaction(ids.new(), (Absent(at(str(number // 2))),), (Put(at(str(number // 2)), b"%d" % number),))
            for number in range(40)
        ]
        first = await trial.engine.commit(batch)
        fresh = [Transaction(ids.new(), writes=(Append(SPACE, HOME, "log/", b""),)) for _ in range(40)]
        mixed = [transaction for pair in zip(batch, fresh, strict=True) for transaction in pair]
        second = await trial.engine.commit(mixed)
        for number, outcome in enumerate(second):
            earlier = first[number // 2]
            if number % 2:
                assert isinstance(outcome, Committed)
                assert not outcome.repeated
            elif isinstance(earlier, Committed):
                assert isinstance(outcome, Committed)
                assert (outcome.repeated, outcome.revision) == (True, earlier.revision)
            else:
                assert isinstance(outcome, Conflict)
        assert len(await trial.scan(over("log/", "log0"))) == 40

    @pytest.mark.promise(13)
    async def test_a_receipt_is_kept_long_enough(self, trial: Trial) -> None:
        """A repeat is recognised until `limits.RECEIPT_KEEP` has passed, however often is swept."""
        once = Transaction(ids.new(), writes=(Append(SPACE, HOME, "log/", b""),))
        first = await _commit(trial, once)
        for _ in range(3):
            trial.clock.advance(limits.RECEIPT_KEEP / 3 - timedelta(milliseconds=1))
            await trial.sweep()
            again = await _commit(trial, once)
            assert (again.repeated, again.revision) == (True, first.revision)

    @pytest.mark.promise(13)
    async def test_a_receipt_is_not_kept_for_ever(self, trial: Trial) -> None:
        """Long after, and swept, an id is forgotten: receipts take room, and nobody repeats that late."""
        once = Transaction(ids.new(), writes=(Append(SPACE, HOME, "log/", b""),))
        await _commit(trial, once)
        for _ in range(3):
            trial.clock.advance(limits.RECEIPT_KEEP)
            await trial.sweep()
        assert not (await _commit(trial, once)).repeated


class LostAnswers(Conformance):
    """With answers lost and a rival writing before each repeat, nothing is doubled and nothing is lost."""

    @pytest.mark.promise(13, 2, 10)
    @pytest.mark.parametrize("seed", _SEEDS)
    async def test_run_counts_once(self, trial: Trial, seed: int) -> None:
        """A counter run up through a faulty engine holds each acknowledged increment, and each of the rival's, once."""
        rivals = 0

        async def rival() -> None:
            nonlocal rivals
            rivals += 1
            (now,) = (await engine.inner.read(Reads(keys=(at(),)))).records.keys
            value = 0 if now is None else int(now.value)
            await engine.inner.commit([Transaction(writes=(Put(at(), b"%d" % (value + 1)),))])

        engine = await trial.faulty(seed, lose=0.15, drop=0.05, repeat=0.2, delay=0.3, on_lost=rival)
        async with trial.store(engine) as store:
            seen = [await store.run(_increment) for _ in range(60)]
            (record,) = (await store.read(Reads(keys=(at(),)))).records.keys
        assert record is not None
        assert int(record.value) == 60 + rivals
        assert seen == sorted(set(seen)), "each increment was told the number it made, and no two the same"
        assert rivals == engine.faults.lost + engine.faults.dropped > 0
        assert engine.faults.repeated

    @pytest.mark.promise(13, 1)
    @pytest.mark.parametrize("seed", _SEEDS)
    async def test_saving_and_letting_go_counts_once(self, trial: Trial, seed: int) -> None:
        """A commit that ends in deleting its own guard is recognised although the rival took the place at once."""

        async def rival() -> None:
            await engine.inner.commit([Transaction(writes=(Create(at("lease"), b"rival"),))])

        engine = await trial.faulty(seed, lose=0.15, drop=0.05, repeat=0.2, on_lost=rival)
        async with trial.store(engine) as store:
            saved = 0
            for number in range(40):
                held = await store.commit(Transaction(writes=(Put(at("lease"), b"mine"),)))
                assert held.revision is not None
                save = Transaction(
                    ids.new(),
                    (RevisionIs(at("lease"), held.revision),),
                    (Append(SPACE, HOME, "saved/", b"%d" % number), Delete(at("lease"))),
                )
                saved += await _held(store, save)
            (span,) = (await store.read(Reads(spans=(over("saved/", "saved0"),)))).records.spans
        assert len(span) == saved
        assert saved == 40, "only the first delivery of each save decides, and nobody else had the lease then"
        assert engine.faults.lost
        assert engine.faults.repeated

    @pytest.mark.promise(13, 10)
    @pytest.mark.parametrize("seed", _SEEDS)
    async def test_many_callers_share_the_faults(self, trial: Trial, seed: int) -> None:
        """Batches of many callers, lost, repeated and halved, give each caller its own answer, once."""

        def poisoned(transaction: Transaction) -> bool:
            return any(isinstance(write, Put) and write.value == b"poison" for write in transaction.writes)

        engine = await trial.faulty(seed, lose=0.2, repeat=0.2, delay=0.5, poisoned=poisoned)
        transactions = [
            Transaction(ids.new(), writes=(Append(SPACE, HOME, "log/", b"%d" % number),)) for number in range(90)
        ]
        for number in (7, 8, 50):
            transactions[number] = msgspec.structs.replace(transactions[number], writes=(Put(at(), b"poison"),))
        async with trial.store(engine) as store:
            results = await asyncio.gather(*map(store.commit, transactions), return_exceptions=True)
            (span,) = (await store.read(Reads(spans=(over("log/"),)))).records.spans
        good = [number for number in range(90) if number not in {7, 8, 50}]
        assert [int(record.value) for record in span] == sorted(int(record.value) for record in span) == good
        for number, result in enumerate(results):
            assert isinstance(result, Committed) == (number in good), (number, result)
        assert engine.faults.poisoned


async def _commit(trial: Trial, transaction: Transaction) -> Committed:
    (outcome,) = await trial.engine.commit([transaction])
    assert isinstance(outcome, Committed), outcome
    return outcome


async def _increment(tx: Attempt) -> int:
    record = await tx.get(at())
    number = 1 if record is None else int(record.value) + 1
    tx.put(at(), b"%d" % number)
    return number


async def _held(store: Store, transaction: Transaction) -> bool:
    try:
        await store.commit(transaction)
    except ConflictError:
        return False
    return True
