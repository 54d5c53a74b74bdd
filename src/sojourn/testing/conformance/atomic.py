"""Promise 1: all writes of a transaction, or none."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from sojourn.kernel import ids
from sojourn.kernel.engine import BatchRefusedError
from sojourn.kernel.keys import Key
from sojourn.kernel.transaction import (
    Absent,
    Append,
    Committed,
    Conflict,
    Create,
    Delete,
    DeleteSpan,
    Ensure,
    Guard,
    Present,
    Put,
    RankAtMost,
    Reads,
    Record,
    Refused,
    RevisionIs,
    SpanIs,
    Touch,
    Transaction,
    Write,
)
from sojourn.testing.conformance.harness import Capability
from sojourn.testing.conformance.trial import HOME, SPACE, Conformance, Trial, at, over

__all__ = ["Atomic"]

_EVERY_KIND: tuple[Write, ...] = (
    DeleteSpan(over("span/", "span0")),
    Put(at("put"), b"new", rank=1),
    Create(at("create"), b"new"),
    Ensure(at("ensure"), b"new", ttl=timedelta(minutes=1)),
    Append(SPACE, HOME, "log/", b"new"),
    Touch(at("touch"), rank=9),
    Delete(at("delete")),
)
_FAILING: tuple[Guard, ...] = (
    Absent(at("touch")),
    Present(at("nothing")),
    RevisionIs(at("touch"), 0),
    RankAtMost(at("touch"), 0),
    SpanIs(over("span/", "span0"), 1, 0),
)


class Atomic(Conformance):
    """A transaction takes effect as a whole."""

    @pytest.mark.promise(1)
    async def test_every_write_of_a_committed_transaction_takes_effect(self, trial: Trial) -> None:
        """One transaction may mix all kinds of writes, and all of them are there when it has committed."""
        await _prepare(trial)
        done = await trial.write(*_EVERY_KIND, id=ids.new())
        records = {record.key.item: record for record in await trial.scan(over())}
        log = f"log/{done.revision:016x}0004"
        assert set(records) == {"put", "create", "ensure", log, "touch"}
        assert {item for item, record in records.items() if record.value == b"new"} == {"put", "create", "ensure", log}
        assert records["touch"].rank == 9
        assert await trial.ranked() == ["put", "touch"]

    @pytest.mark.promise(1, 2)
    @pytest.mark.parametrize("guard", _FAILING, ids=lambda guard: type(guard).__name__)
    async def test_a_failed_guard_leaves_no_trace(self, trial: Trial, guard: Guard) -> None:
        """When one guard fails, the last of several, no record, rank, expiry or change is left behind."""
        await _prepare(trial)
        before = await _everything(trial)
        position = await trial.position()
        outcome = await trial.commit(*_EVERY_KIND, id=ids.new(), guards=(Present(at("touch")), guard))
        assert isinstance(outcome, Conflict)
        assert outcome.guard == guard
        assert await _everything(trial) == before
        assert await trial.changed(position) == frozenset()
        trial.advance(120_000)
        assert await _everything(trial) == before

    @pytest.mark.promise(1, 13)
    async def test_a_failed_guard_leaves_no_receipt(self, trial: Trial) -> None:
        """A transaction that conflicted was not committed: the same id may still commit, for the first time."""
        transaction = Transaction(ids.new(), (Absent(at()),), (Put(at(), b"mine"),))
        await trial.write(Put(at(), b"other"))
        (conflict,) = await trial.engine.commit([transaction])
        assert isinstance(conflict, Conflict)
        await trial.write(Delete(at()))
        (done,) = await trial.engine.commit([transaction])
        assert isinstance(done, Committed)
        assert not done.repeated
        assert (await trial.got(at())).value == b"mine"

    @pytest.mark.promise(1, 2)
    async def test_a_conflict_does_not_touch_its_neighbours(self, trial: Trial) -> None:
        """In one batch, what stands before and after a transaction in conflict commits whole."""
        batch = [
            Transaction(writes=(Put(at("a"), b"1"), Put(at("b"), b"1"))),
            Transaction(guards=(Absent(at("a")),), writes=(Put(at("a"), b"2"), Put(at("c"), b"2"))),
            Transaction(writes=(Put(at("d"), b"3"), Put(at("e"), b"3"))),
        ]
        kinds = [type(outcome) for outcome in await trial.engine.commit(batch)]
        assert kinds == [Committed, Conflict, Committed]
        found = {record.key.item: record.value for record in await trial.scan(over())}
        assert found == {"a": b"1", "b": b"1", "d": b"3", "e": b"3"}

    @pytest.mark.promise(1)
    async def test_partitions_and_spaces_change_together(self, trial: Trial) -> None:
        """A transaction over several partitions and spaces holds in all of them or in none."""
        keys = [at("x", f"p{number}", f"s{number % 3}") for number in range(12)]
        with trial.needs(Capability.CROSS_PARTITION):
            await trial.write(*(Put(key, b"1") for key in keys))
            assert [record and record.value for record in await _values(trial, keys)] == [b"1"] * 12
            await trial.conflict(*(Put(key, b"2") for key in keys), guards=(Absent(keys[7]),))
            assert [record and record.value for record in await _values(trial, keys)] == [b"1"] * 12

    @pytest.mark.promise(1, 3)
    async def test_no_reader_sees_half_a_transaction(self, trial: Trial) -> None:
        """A read beside a commit shows both of its records as before, or both as after."""
        keys = [at("left"), at("right")]
        await trial.write(*(Put(key, b"0") for key in keys))
        for number in range(1, 40):
            value = str(number).encode()
            writer = asyncio.create_task(trial.write(*(Put(key, value) for key in keys)))
            for left, right in await asyncio.gather(*(_values(trial, keys) for _ in range(3))):
                assert left is not None
                assert right is not None
                assert left.value == right.value
                assert left.revision == right.revision
            await writer

    @pytest.mark.promise(1, 10)
    @pytest.mark.parametrize("poison", [Put(at("\ud800"), b"2"), Put(at("p"), b"2", rank=2**70)], ids=["text", "rank"])
    async def test_what_cannot_be_stored_takes_nothing_half(self, trial: Trial, poison: Put) -> None:
        """A value that the kernel would have stopped is refused, alone or with its batch, or stored: never in part."""
        batch = [
            Transaction(writes=(Put(at("a"), b"1"),)),
            Transaction(writes=(Put(at("b"), b"2"), poison, Put(at("c"), b"2"))),
            Transaction(writes=(Put(at("d"), b"3"),)),
        ]
        try:
            outcomes = await trial.engine.commit(batch)
        except BatchRefusedError:
            written = set[str]()
        else:
            refused = isinstance(outcomes[1], Refused)
            written = {"a", "d"} if refused else {"a", "b", "c", "d"}
        keys = [at(item) for item in "abcd"]
        assert {record.key.item for record in await _values(trial, keys) if record is not None} == written
        await trial.write(Put(at("e"), b"4"))


async def _prepare(trial: Trial) -> None:
    await trial.write(
        Put(at("put"), b"old", ttl=timedelta(hours=1)),
        Put(at("touch"), b"old", rank=5),
        Put(at("delete"), b"old", rank=6),
        Put(at("span/1"), b"old", rank=7),
        Put(at("span/2"), b"old"),
    )


async def _everything(trial: Trial) -> tuple[tuple[Record, ...], list[str]]:
    return await trial.scan(over()), await trial.ranked()


async def _values(trial: Trial, keys: list[Key]) -> tuple[Record | None, ...]:
    return (await trial.engine.read(Reads(keys=tuple(keys)))).records.keys
