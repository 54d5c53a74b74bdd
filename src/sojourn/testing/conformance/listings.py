"""Promise 8: listings are ordered by code point, bounded by a page, and resume exactly."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest

from sojourn import limits
from sojourn.kernel.keys import Cursor, RankSpan, following
from sojourn.kernel.transaction import Delete, Put, Reads, Record, Touch
from sojourn.testing.conformance.harness import Capability
from sojourn.testing.conformance.trial import SPACE, Conformance, Trial, at, over

__all__ = ["RankListings", "SpanListings"]

# Ordered by code point; as UTF-16 the last but one would come before the two in front of it.
_ORDERED = ("", "\x01", " ", "A", "Z", "a", "aa", "b", "é", "\u20ac", "\ue000", "\uffff", "\U00010000", "\U0010ffff")


class SpanListings(Conformance):
    """The records of a span, in the order of their items."""

    @pytest.mark.promise(8)
    async def test_order_is_by_code_point(self, trial: Trial) -> None:
        """Neither case nor language nor UTF-16 decides the order, in both directions."""
        assert list(_ORDERED) == sorted(_ORDERED)
        await trial.write(*(Put(at(item), b"") for item in reversed(_ORDERED)))
        assert await trial.items(over()) == list(_ORDERED)
        assert await trial.items(over(reverse=True)) == list(reversed(_ORDERED))

    @pytest.mark.promise(8)
    @pytest.mark.parametrize("position", range(0, len(_ORDERED), 2))
    async def test_start_is_included_and_stop_is_not(self, trial: Trial, position: int) -> None:
        """Any item may bound a span, present or not, and a span may be empty or inside out."""
        await trial.write(*(Put(at(item), b"") for item in _ORDERED))
        item = _ORDERED[position]
        assert await trial.items(over(start=item)) == list(_ORDERED[position:])
        assert await trial.items(over(stop=item)) == list(_ORDERED[:position])
        assert await trial.items(over(following(item))) == [other for other in _ORDERED if other > item + "\x00"]
        assert await trial.items(over(item, item)) == []
        assert await trial.items(over("b", "a")) == []

    @pytest.mark.promise(8)
    async def test_a_span_stays_in_its_partition(self, trial: Trial) -> None:
        """Partitions and spaces whose names begin alike, or end where others begin, do not mix."""
        keys = [
            at("x", "home"),
            at("x", "hom"),
            at("x", "home\x01"),
            at("x", "homes"),
            at("x", "HOME"),
            at("ex", "hom"),
            at("x", space=SPACE + "s"),
            at("x", space=SPACE[:-1]),
            at("x", "conformancehome", ""),
            at("homex", "", SPACE),
        ]
        for key in keys:
            await trial.write(Put(key, b""))
        assert [record.key for record in await trial.scan(over())] == [at("x", "home")]
        assert [record.key for record in await trial.scan(over(reverse=True))] == [at("x", "home")]
        assert [record.key for record in await trial.scan(over(partition="hom"))] == [at("ex", "hom"), at("x", "hom")]

    @pytest.mark.promise(8)
    @pytest.mark.parametrize("reverse", [False, True])
    @pytest.mark.parametrize("size", [1, 3, 7, 100])
    async def test_pages_of_a_span_join_without_a_seam(self, trial: Trial, size: int, *, reverse: bool) -> None:
        """Resumed behind the last record seen, the pages are the whole, each record once, none larger than asked."""
        items = [f"{number:02}" for number in range(21)]
        await trial.write(*(Put(at(item), b"") for item in items))
        span, found = over(limit=size, reverse=reverse), list[str]()
        while page := await trial.items(span):
            assert len(page) <= size
            found += page
            assert len(found) <= len(items)
            bound = {"stop": page[-1]} if reverse else {"start": following(page[-1])}
            span = msgspec.structs.replace(span, **bound)
        assert found == sorted(items, reverse=reverse)

    @pytest.mark.promise(8)
    async def test_the_largest_page(self, trial: Trial) -> None:
        """A page holds as many records as `limits` allows, and no more than it was asked for by default."""
        items = [f"{number:04}" for number in range(limits.PAGE_MAX + 5)]
        await trial.write(*(Put(at(item), b"") for item in items))
        assert await trial.items(over(limit=limits.PAGE_MAX)) == items[: limits.PAGE_MAX]
        assert await trial.items(over()) == items[: limits.PAGE]
        assert await trial.items(over(reverse=True, limit=2)) == items[:-3:-1]

    @pytest.mark.promise(8, 3)
    async def test_several_spans_are_one_snapshot(self, trial: Trial) -> None:
        """All spans and keys of one read are of one instant, over several partitions too."""
        reads = Reads(keys=(at("n"),), spans=tuple(over(partition=f"p{number}") for number in range(4)))
        with trial.needs(Capability.CROSS_PARTITION):
            for number in range(10):
                value = b"%d" % number
                await trial.write(Put(at("n"), value), *(Put(at("n", f"p{place}"), value) for place in range(4)))
                records = (await trial.engine.read(reads)).records
                values = {record.value for span in records.spans for record in span}
                assert values == {value}
                assert records.keys[0] is not None
                assert records.keys[0].value == value


class RankListings(Conformance):
    """The ranked records of a space over all partitions, in the order of (rank, partition, item)."""

    @pytest.mark.promise(8)
    async def test_order_is_by_rank_partition_item(self, trial: Trial) -> None:
        """Ranks order as numbers, from the least negative one to the greatest; equal ranks by their keys."""
        ranks = (-limits.RANK_MAX, -1_000, -16, -2, -1, 0, 1, 2, 10, 16, 255, 256, 1_000_000_000_000, limits.RANK_MAX)
        places = [(rank, at(f"{rank}", partition)) for rank in ranks for partition in ("p", "\U00010000")]
        places += [(3, at("x", partition)) for partition in _ORDERED]
        for rank, key in reversed(places):
            await trial.write(Put(key, b"", rank=rank))
        expected = sorted(places)
        whole = RankSpan(SPACE, limit=1_000)
        forward = (await trial.engine.rank(whole)).records
        assert [(record.rank, record.key) for record in forward] == expected
        backward = (await trial.engine.rank(msgspec.structs.replace(whole, reverse=True))).records
        assert backward == forward[::-1]

    @pytest.mark.promise(8)
    async def test_both_bounds_are_included(self, trial: Trial) -> None:
        """From the low rank to the high one, and nothing of other spaces or without a rank."""
        await trial.write(*(Put(at(f"{rank}"), b"", rank=rank) for rank in range(-3, 4)))
        await trial.write(Put(at("none"), b""), Put(at("other", space=SPACE + "s"), b"", rank=0))
        await trial.write(Put(at("other", space=SPACE[:-1]), b"", rank=0))
        assert await trial.ranked(-1, 1) == ["-1", "0", "1"]
        assert await trial.ranked(2, 2) == ["2"]
        assert await trial.ranked(3, -3) == []
        assert await trial.ranked(4, 9) == []
        assert len(await trial.ranked()) == 7

    @pytest.mark.promise(8)
    @pytest.mark.parametrize("reverse", [False, True])
    @pytest.mark.parametrize("size", [1, 4, 5, 100])
    async def test_pages_by_rank_join_without_a_seam(self, trial: Trial, size: int, *, reverse: bool) -> None:
        """Cursors, also after their way through text, lead through equal ranks exactly; without one nothing follows."""
        keys = [at(item, partition) for partition in ("", "p", "\U0001f600") for item in ("", "a", "\U0001f600")]
        ranks = {key: number // 4 for number, key in enumerate(keys * 1)}
        for key, rank in ranks.items():
            await trial.write(Put(key, b"", rank=rank))
        expected = sorted(((rank, *key[1:]) for key, rank in ranks.items()), reverse=reverse)
        found = [_place(record) for record in await _walk(trial, RankSpan(SPACE, 0, 9, None, size, reverse))]
        assert found == expected

    @pytest.mark.promise(8)
    @pytest.mark.parametrize("reverse", [False, True])
    async def test_a_cursor_outside_the_bounds(self, trial: Trial, *, reverse: bool) -> None:
        """A cursor from before the bounds starts at them, one from behind them ends the listing."""
        await trial.write(*(Put(at(f"{rank}", "x"), b"", rank=rank) for rank in range(5)))
        await trial.write(Put(at("", ""), b"", rank=3 if reverse else 1))  # the least place of its rank
        span = RankSpan(SPACE, 1, 3, reverse=reverse)
        whole = (await trial.engine.rank(span)).records
        assert len(whole) == 4
        early, late = Cursor(0, "x", "0"), Cursor(4, "x", "4")
        before, behind = (late, early) if reverse else (early, late)
        assert (await trial.engine.rank(msgspec.structs.replace(span, after=before))).records == whole
        assert (await trial.engine.rank(msgspec.structs.replace(span, after=behind))).records == ()

    @pytest.mark.promise(8)
    async def test_the_record_of_the_cursor_may_be_gone(self, trial: Trial) -> None:
        """A listing resumes at its place even if the record it stopped at was deleted, or has moved."""
        await trial.write(*(Put(at(item), b"", rank=number) for number, item in enumerate("abcdef")))
        page = await trial.engine.rank(RankSpan(SPACE, limit=2))
        await trial.write(Delete(at("b")), Touch(at("a"), rank=9))
        rest = await trial.engine.rank(RankSpan(SPACE, after=page.cursor))
        assert [record.key.item for record in rest.records] == ["c", "d", "e", "f", "a"]

    @pytest.mark.promise(8)
    async def test_growing_ranks_are_never_missed(self, trial: Trial) -> None:
        """Ascending, a record that moves forward all the while is seen, perhaps twice; the still ones exactly once."""
        movers = [at(f"mover{number}") for number in range(5)]
        still = [at(f"still{number:02}") for number in range(20)]
        await trial.write(*(Put(key, b"", rank=number) for number, key in enumerate(movers)))
        await trial.write(*(Put(key, b"", rank=2 * number) for number, key in enumerate(still)))
        seen = list[Record]()
        span, step = RankSpan(SPACE, 0, 200, limit=3), 0
        while True:
            page = await trial.engine.rank(span)
            seen += page.records
            assert step < 100
            if page.cursor is None:
                break
            span, step = msgspec.structs.replace(span, after=page.cursor), step + 1
            if step < 12:  # for ever, and they would run ahead of the reader for ever
                await trial.write(*(Touch(key, rank=number + 5 * step) for number, key in enumerate(movers)))
        keys = [record.key for record in seen]
        assert set(movers) <= set(keys)
        assert sorted(key for key in keys if key in still) == still
        assert all(_place(earlier) < _place(later) for earlier, later in pairwise(seen))

    @pytest.mark.promise(8, 4)
    async def test_every_write_moves_the_record(self, trial: Trial) -> None:
        """A record stands in the listing once, at its present rank, and leaves it with its rank or its life."""
        await trial.write(Put(at(), b"", rank=1), Put(at("b"), b"", rank=5))
        assert await trial.ranked() == ["a", "b"]
        await trial.write(Touch(at(), rank=9))
        assert await trial.ranked() == ["b", "a"]
        assert await trial.ranked(1, 1) == []
        await trial.write(Touch(at(), rank=None))
        assert await trial.ranked() == ["b"]
        await trial.write(Put(at(), b"", rank=3))
        assert await trial.ranked() == ["a", "b"]
        await trial.write(Put(at(), b""), Delete(at("b")))
        assert await trial.ranked() == []


async def _walk(trial: Trial, span: RankSpan) -> list[Record]:
    found = list[Record]()
    while True:
        page = await trial.engine.rank(span)
        assert len(page.records) <= span.limit
        found += page.records
        assert len(found) == len(set(found)), "nothing moves, so nothing shows twice"
        if page.cursor is None:
            break
        assert page.records, "a page that others follow is not empty"
        after = Cursor.decode(page.cursor.encode(SPACE), SPACE)
        assert after == page.cursor == _place(page.records[-1])
        span = msgspec.structs.replace(span, after=after)
    rest = await trial.engine.rank(msgspec.structs.replace(span, after=Cursor(*_place(found[-1]))))
    assert rest.records == ()
    return found


def _place(record: Record) -> tuple[int, str, str]:
    assert record.rank is not None
    return record.rank, record.key.partition, record.key.item
