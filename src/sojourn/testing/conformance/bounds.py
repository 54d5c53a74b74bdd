"""Promise 11: what `limits` refuses is refused before any I/O, and what it allows, every engine takes."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sojourn import limits
from sojourn.errors import InvalidError, LimitError
from sojourn.kernel import ids
from sojourn.kernel.keys import Key, Now, RankSpan, Span
from sojourn.kernel.transaction import (
    Absent,
    Append,
    Create,
    Delete,
    DeleteSpan,
    Ensure,
    Present,
    Put,
    RankAtMost,
    Reads,
    SpanIs,
    Touch,
    Transaction,
    Write,
)
from sojourn.testing.conformance.trial import HOME, SPACE, Conformance, Trial, at, over

__all__ = ["Bounds"]

_MEBIBYTE = 1_048_576
_LONG = Key("s" * limits.SPACE_BYTES, "p" * limits.PARTITION_BYTES, "i" * limits.ITEM_BYTES)
_BAD_KEYS = {
    "space too long": Key("s" * (limits.SPACE_BYTES + 1), "p", "i"),
    "partition too long": Key("s", "p" * (limits.PARTITION_BYTES + 1), "i"),
    "item too long": Key("s", "p", "i" * (limits.ITEM_BYTES + 1)),
    "item too long in bytes": Key("s", "p", "\U0001f600" * (limits.ITEM_BYTES // 4 + 1)),
    "NUL in the space": Key("s\0", "p", "i"),
    "NUL in the partition": Key("s", "\0p", "i"),
    "NUL in the item": Key("s", "p", "i\0i"),
    "half a character": Key("s", "p", "\ud800"),
    "the other half": Key("s", "\udfff", "i"),
}
_BAD_WRITES: dict[str, Write] = {
    "value too large": Put(at(), bytes(limits.VALUE_BYTES + 1)),
    "appended value too large": Append(SPACE, HOME, "", bytes(limits.VALUE_BYTES + 1)),
    "prefix too long": Append(SPACE, HOME, "p" * (limits.ITEM_BYTES - 19), b""),
    "rank too great": Put(at(), b"", rank=limits.RANK_MAX + 1),
    "rank too low": Touch(at(), rank=-limits.RANK_MAX - 1),
    "offset too great": Ensure(at(), b"", rank=Now(limits.RANK_MAX + 1)),
    "no step": Create(at(), b"", rank=Now(0, step=0)),
    "no time to live": Put(at(), b"", ttl=timedelta()),
    "a moment to live": Put(at(), b"", ttl=timedelta(microseconds=999)),
    "ended before": Touch(at(), ttl=timedelta(seconds=-1)),
    "ended before now": Touch(at(), ttl=Now(0)),
    "lives too long": Put(at(), b"", ttl=limits.TTL_MAX + timedelta(milliseconds=1)),
    "rounded too far": Put(at(), b"", ttl=Now(1, step=2**60)),
    "deletes nothing": DeleteSpan(over(), at_most=0),
    "deletes too much": DeleteSpan(over(), at_most=limits.DELETE_SPAN_RECORDS + 1),
}
_MANY = tuple(at(f"{number}") for number in range(limits.TRANSACTION_WRITES + 1))
_HEAVY = tuple(Put(at(f"{number}"), bytes(_MEBIBYTE)) for number in range(limits.TRANSACTION_BYTES // _MEBIBYTE))
_BAD_TRANSACTIONS = {
    **{name: Transaction(ids.new(), writes=(write,)) for name, write in _BAD_WRITES.items()},
    **{name: Transaction(writes=(Put(key, b""),)) for name, key in _BAD_KEYS.items()},
    **{f"guard: {name}": Transaction(guards=(Absent(key),)) for name, key in _BAD_KEYS.items()},
    "written twice": Transaction(writes=(Put(at(), b""), Delete(at()))),
    "touched and created": Transaction(writes=(Touch(at()), Create(at(), b""))),
    "append without an id": Transaction(writes=(Append(SPACE, HOME, "", b""),)),
    "id too short": Transaction(b"short", writes=(Put(at(), b""),)),
    "too many guards": Transaction(guards=tuple(map(Absent, _MANY))),
    "too many writes": Transaction(writes=tuple(map(Delete, _MANY))),
    "too many reads": Transaction(reads=Reads(keys=_MANY[: limits.TRANSACTION_READS + 1])),
    "too many bytes": Transaction(writes=_HEAVY),
    "guards a span too large": Transaction(guards=(SpanIs(over(), limits.SPAN_GUARD_RECORDS + 1, 1),)),
    "guards a rank too great": Transaction(guards=(RankAtMost(at(), limits.RANK_MAX + 1),)),
    "reads a page too large": Transaction(reads=Reads(spans=(over(limit=limits.PAGE_MAX + 1),))),
    "reads an empty page": Transaction(reads=Reads(spans=(over(limit=0),))),
}
_BAD_READS = {
    **{name: Reads(keys=(key,)) for name, key in _BAD_KEYS.items()},
    "too many": Reads(keys=_MANY[: limits.TRANSACTION_READS], spans=(over(),)),
    "page too large": Reads(spans=(over(limit=limits.PAGE_MAX + 1),)),
    "page of less than nothing": Reads(spans=(over(limit=-1),)),
    "bound too long": Reads(spans=(over(stop="i" * (limits.ITEM_BYTES + 2)),)),
    "NUL in a bound": Reads(spans=(over("a\0"),)),
}
_BAD_RANKS = {
    "page too large": RankSpan(SPACE, limit=limits.PAGE_MAX + 1),
    "empty page": RankSpan(SPACE, limit=0),
    "bound too great": RankSpan(SPACE, high=limits.RANK_MAX + 1),
    "NUL": RankSpan("s\0"),
}


class Bounds(Conformance):
    """The same is refused everywhere, at once; all the rest is stored and found."""

    @pytest.mark.promise(11)
    @pytest.mark.parametrize("name", _BAD_TRANSACTIONS)
    async def test_a_transaction_is_refused_before_any_io(self, trial: Trial, name: str) -> None:
        """`LimitError` or `InvalidError`, with a sentence, and the engine was never asked."""
        engine = await trial.faulty()
        async with trial.store(engine) as store:
            with pytest.raises((LimitError, InvalidError), match=r"\w+: \w+"):
                await store.commit(_BAD_TRANSACTIONS[name])
        assert engine.faults.commits == engine.faults.reads == 0

    @pytest.mark.promise(11)
    @pytest.mark.parametrize("name", _BAD_READS)
    async def test_a_read_is_refused_before_any_io(self, trial: Trial, name: str) -> None:
        """What no commit could store or answer, no read asks for; nor can it be watched."""
        engine = await trial.faulty()
        reads = _BAD_READS[name]
        async with trial.store(engine) as store:
            with pytest.raises((LimitError, InvalidError)):
                await store.read(reads)
            for key in reads.keys if len(reads.keys) == 1 else ():
                with pytest.raises((LimitError, InvalidError)):
                    store.watch(key)
        assert engine.faults.reads == 0

    @pytest.mark.promise(11)
    @pytest.mark.parametrize("name", _BAD_RANKS)
    async def test_a_listing_is_refused_before_any_io(self, trial: Trial, name: str) -> None:
        """A listing by rank knows the same bounds."""
        engine = await trial.faulty()
        async with trial.store(engine) as store:
            with pytest.raises((LimitError, InvalidError)):
                await store.rank(_BAD_RANKS[name])
        assert engine.faults.reads == 0

    @pytest.mark.promise(11, 3)
    async def test_the_longest_key(self, trial: Trial) -> None:
        """Names of full length are stored, ranked, guarded, ended and found, and do not collide."""
        near = Key(_LONG.space, _LONG.partition, _LONG.item[:-1])
        async with trial.store() as store:
            day = timedelta(days=1)
            writes = (Put(_LONG, b"1", rank=1, ttl=day), Put(near, b"2", rank=1, ttl=day))
            await store.commit(Transaction(ids.new(), writes=writes))
            await store.commit(Transaction(guards=(Present(_LONG), Present(near))))
            found = (await store.read(Reads(keys=(_LONG, near), spans=(Span(*_LONG[:2], start=near.item),)))).records
            assert [record and record.value for record in found.keys] == [b"1", b"2"]
            assert [record.value for record in found.spans[0]] == [b"2", b"1"]
            page = await store.rank(RankSpan(_LONG.space, limit=1))
            assert page.cursor is not None
            rest = await store.rank(RankSpan(_LONG.space, after=page.cursor))
            assert [record.key for record in (*page.records, *rest.records)] == [near, _LONG]

    @pytest.mark.promise(11, 3)
    async def test_the_longest_appended_key(self, trial: Trial) -> None:
        """The prefix may be as long as leaves room for what the engine adds."""
        async with trial.store() as store:
            prefix = "p" * (limits.ITEM_BYTES - 20)
            await store.commit(Transaction(ids.new(), writes=(Append(SPACE, HOME, prefix, b"v"),)))
            (span,) = (await store.read(Reads(spans=(over(prefix),)))).records.spans
            assert [len(record.key.item) for record in span] == [limits.ITEM_BYTES]

    @pytest.mark.promise(11, 3)
    async def test_the_heaviest_transaction(self, trial: Trial) -> None:
        """As many bytes as a transaction may carry, in values of the greatest size, are stored and read back."""
        async with trial.store() as store:
            value = bytes(range(256)) * (limits.VALUE_BYTES // 256)
            keys = tuple(at(f"{number:02}") for number in range(limits.TRANSACTION_BYTES // limits.VALUE_BYTES - 1))
            await store.commit(Transaction(ids.new(), writes=tuple(Put(key, value) for key in keys)))
            found = (await store.read(Reads(keys=keys))).records.keys
            assert all(record is not None and record.value == value for record in found)

    @pytest.mark.promise(11, 1)
    async def test_the_most_guards_and_writes(self, trial: Trial) -> None:
        """As many guards and writes as a transaction may have are judged and applied."""
        keys = tuple(at(f"{number:04}") for number in range(limits.TRANSACTION_WRITES))
        reads = Reads(spans=(over("1995", limit=limits.PAGE_MAX),))
        async with trial.store() as store:
            guards = tuple(map(Absent, keys))
            done = await store.commit(Transaction(None, guards, tuple(Put(key, b"") for key in keys), reads))
            assert [record.key for record in done.records.spans[0]] == list(keys[1995:])
            await store.commit(Transaction(None, tuple(map(Present, keys)), tuple(map(Delete, keys))))
            assert (await store.read(reads)).records.spans == ((),)

    @pytest.mark.promise(11, 1)
    async def test_the_largest_span_deletion(self, trial: Trial) -> None:
        """It removes as many records as it may, the first ones, and says that one is left."""
        most = limits.DELETE_SPAN_RECORDS
        async with trial.store() as store:
            await store.commit(Transaction(writes=tuple(Put(at(f"{number:04}"), b"") for number in range(most + 1))))
            done = await store.commit(Transaction(writes=(DeleteSpan(over()),), reads=Reads(spans=(over(),))))
            assert done.remaining
            assert [record.key.item for record in done.records.spans[0]] == [f"{most:04}"]
            done = await store.commit(Transaction(writes=(DeleteSpan(over(reverse=True, limit=1)),)))
            assert not done.remaining

    @pytest.mark.promise(11, 5)
    async def test_the_greatest_numbers(self, trial: Trial) -> None:
        """Ranks and times to live at their bounds are kept exactly."""
        far = limits.TTL_MAX
        done = await trial.write(
            Put(at("high"), b"", rank=limits.RANK_MAX, ttl=far), Put(at("low"), b"", rank=-limits.RANK_MAX)
        )
        high, low = await trial.scan(over())
        assert (high.rank, low.rank) == (limits.RANK_MAX, -limits.RANK_MAX)
        assert high.expires_at == done.now + far // timedelta(milliseconds=1)
        assert await trial.ranked() == ["low", "high"]
        assert await trial.ranked(limits.RANK_MAX, limits.RANK_MAX) == ["high"]
