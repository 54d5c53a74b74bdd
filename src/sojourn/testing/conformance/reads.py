"""Promise 3: a transaction reads what it wrote, and a read sees every commit that returned before it began."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sojourn import limits
from sojourn.kernel import ids
from sojourn.kernel.keys import Key, RankSpan, Span
from sojourn.kernel.transaction import (
    Append,
    Create,
    Delete,
    DeleteSpan,
    Ensure,
    Put,
    Reads,
    Record,
    Records,
    Touch,
    Transaction,
)
from sojourn.testing.conformance.harness import Capability
from sojourn.testing.conformance.trial import HOME, SPACE, Conformance, Trial, at, over

__all__ = ["ReadYourCommit"]

_NAMES = ("", "a", "A", "a/b", " ", "\x01", "\x7f", "é", "e\u0301", "%_'\"\\", "\uffff", "\U0001f600", "x" * 300)
_RANKS = RankSpan(SPACE)


class ReadYourCommit(Conformance):
    """What was committed is what is read, at once and byte for byte."""

    @pytest.mark.promise(3)
    async def test_a_transaction_reads_its_own_writes(self, trial: Trial) -> None:
        """Its reads are answered as of right after all of its writes."""
        await trial.write(*(Put(at(item), b"old", rank=1) for item in ("b", "c", "d", "e")))
        reads = Reads(keys=tuple(at(item) for item in "abcde"), spans=(over(), over("b", "d", reverse=True)))
        done = await trial.write(
            Put(at("a"), b"new"),
            Delete(at("b")),
            Create(at("c"), b"new"),
            Touch(at("d"), rank=2),
            Ensure(at("e"), b"new", rank=3),
            reads=reads,
        )
        a, b, c, d, e = done.records.keys
        assert a == Record(at("a"), b"new", done.revision or 0)
        assert b is None
        assert (c and c.value, d and d.rank, e and e.value, e and e.rank) == (b"old", 2, b"old", 3)
        assert done.records.spans == ((a, c, d, e), (c,))
        assert (await trial.engine.read(reads)).records == done.records

    @pytest.mark.promise(3, 4)
    async def test_appended_and_deleted_spans_show_in_the_reads(self, trial: Trial) -> None:
        """A span read beside an append and a span deletion shows the one and no longer the other."""
        await trial.write(Put(at("log/1"), b"old"), Put(at("log/2"), b"old"))
        done = await trial.write(
            DeleteSpan(over("log/", "log0")),
            Append(SPACE, HOME, "log/", b"new"),
            id=ids.new(),
            reads=Reads(spans=(over("log/", "log0"),)),
        )
        (span,) = done.records.spans
        assert [(record.key.item, record.value) for record in span] == [(f"log/{done.revision:016x}0001", b"new")]

    @pytest.mark.promise(3)
    async def test_answers_come_in_the_order_asked(self, trial: Trial) -> None:
        """Each key gets its record or None, each span its tuple, also when something is asked twice."""
        await trial.write(Put(at("a"), b"1"), Put(at("b"), b"2"))
        a, b = await trial.got(at("a")), await trial.got(at("b"))
        reads = Reads(
            keys=(at("b"), at("none"), at("a"), at("b")), spans=(over("x"), over(limit=1), over(), over(limit=1))
        )
        expected = Records((b, None, a, b), ((), (a,), (a, b), (a,)))
        assert (await trial.engine.read(reads)).records == expected
        assert (await trial.write(reads=reads)).records == expected
        assert (await trial.engine.read(Reads())).records == Records()

    @pytest.mark.promise(3)
    async def test_reads_of_many(self, trial: Trial) -> None:
        """As many keys as `limits` allows are read as one snapshot."""
        most = limits.TRANSACTION_READS
        keys = tuple(at(f"{number:04}") for number in range(most))
        await trial.write(*(Put(key, key.item.encode()) for key in keys[::2]))
        found = (await trial.engine.read(Reads(keys=keys))).records.keys
        assert [record and record.value for record in found] == [
            None if number % 2 else key.item.encode() for number, key in enumerate(keys)
        ]

    @pytest.mark.promise(3)
    @pytest.mark.parametrize("item", _NAMES, ids=ascii)
    async def test_any_name_is_kept_exactly(self, trial: Trial, item: str) -> None:
        """Names differ as their code points do: no folding of case, no normal form, no wildcard, no trimming."""
        key = Key(SPACE, item, item)
        others = [Key(SPACE, item, other) for other in _NAMES if other != item]
        await trial.write(Put(key, b"mine"), *(Put(other, b"other") for other in others))
        assert (await trial.got(key)).key == key
        await trial.write(Delete(key))
        assert await trial.get(key) is None
        left = await trial.scan(Span(SPACE, item))
        assert {record.key for record in left} == set(others)

    @pytest.mark.promise(3)
    @pytest.mark.parametrize("value", [b"", b"\0", bytes(range(256)), b"\xff" * 70_000], ids=len)
    async def test_any_value_is_kept_exactly(self, trial: Trial, value: bytes) -> None:
        """A value comes back byte for byte, and as `bytes`."""
        await trial.write(Put(at("put"), value), Create(at("create"), value), Ensure(at("ensure"), value))
        await trial.write(Append(SPACE, HOME, "append/", value), id=ids.new())
        found = await trial.scan(over())
        assert [record.value for record in found] == [value] * 4
        assert {type(record.value) for record in found} == {bytes}

    @pytest.mark.promise(3)
    async def test_every_field_comes_back(self, trial: Trial) -> None:
        """A record read alone, in a span, by rank and in a commit is one and the same."""
        lasting = timedelta(minutes=5)
        done = await trial.write(Put(at(), b"v", rank=-7, ttl=lasting), reads=Reads(keys=(at(),)))
        assert done.revision is not None
        expected = Record(at(), b"v", done.revision, rank=-7, expires_at=done.now + 300_000)
        page = await trial.engine.rank(_RANKS)
        assert [*done.records.keys, await trial.get(at()), *await trial.scan(over()), *page.records] == [expected] * 4

    @pytest.mark.promise(3)
    async def test_a_put_replaces_everything(self, trial: Trial) -> None:
        """Nothing of the earlier record is left: neither its rank nor its expiry."""
        await trial.write(Put(at(), b"old", rank=5, ttl=timedelta(seconds=1)))
        await trial.write(Put(at(), b"new"))
        record = await trial.got(at())
        assert (record.value, record.rank, record.expires_at) == (b"new", None, None)
        assert await trial.ranked() == []

    @pytest.mark.promise(3)
    async def test_each_read_sees_the_commit_before_it(self, trial: Trial) -> None:
        """However often commit and read alternate, alone or by rank, the read is never behind."""
        for number in range(100):
            await trial.write(Put(at(), b"%d" % number, rank=number))
            assert (await trial.got(at())).value == b"%d" % number
            assert [record.rank for record in (await trial.engine.rank(_RANKS)).records] == [number]

    @pytest.mark.promise(3)
    async def test_another_engine_sees_the_commit(self, trial: Trial) -> None:
        """A read through a second engine over the same store is not behind either, in both directions."""
        with trial.needs(Capability.CROSS_PROCESS):
            async with trial.beside() as other:
                for number in range(0, 40, 2):
                    await trial.write(Put(at(), b"%d" % number))
                    (seen,) = (await other.read(Reads(keys=(at(),)))).records.keys
                    assert seen is not None
                    assert seen.value == b"%d" % number
                    await other.commit([Transaction(writes=(Put(at(), b"%d" % (number + 1)),))])
                    assert (await trial.got(at())).value == b"%d" % (number + 1)

    @pytest.mark.promise(3)
    async def test_a_store_reads_its_own_commit(self, trial: Trial) -> None:
        """The kernel does not have sent back what was just written, and answers the same as if it had."""
        async with trial.store() as store:
            await store.commit(Transaction(writes=(Put(at("kept"), b"old"), Put(at("gone"), b"old"))))
            keys = (at("put"), at("kept"), at("gone"), at("none"))
            done = await store.commit(
                Transaction(
                    writes=(Put(at("put"), b"new", rank=3, ttl=timedelta(seconds=2)), Delete(at("gone"))),
                    reads=Reads(keys=keys, spans=(over(),)),
                )
            )
            again = await store.read(Reads(keys=keys, spans=(over(),)))
            assert done.records == again.records
            assert done.records.keys[0] is not None
            assert done.records.keys[0].rank == 3
