"""A page by rank over all buckets: each is asked for a few records, and those that run out first for more."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

import msgspec

from sojourn.kernel.engine import RankPage
from sojourn.kernel.keys import Cursor, RankSpan
from sojourn.kernel.transaction import Record

__all__ = ["Ask", "merged_page"]

Ask: TypeAlias = Callable[[Mapping[int, RankSpan]], Awaitable[tuple[int, Mapping[int, tuple[Record, ...]]]]]
"""Reads one page of each of these buckets; returns the time, and the records in order."""

# What each of many buckets is asked for at first, beyond its even share: most pages then need no second trip.
_SPARE = 4


async def merged_page(ask: Ask, span: RankSpan, buckets: int) -> RankPage:
    """Return the first records of the span over all buckets, and the cursor to go on from."""
    share = span.limit if buckets == 1 else min(span.limit, span.limit // buckets + _SPARE)
    open_spans = dict.fromkeys(range(buckets), msgspec.structs.replace(span, limit=share))
    found: list[tuple[Cursor, Record]] = []
    seen = 0
    while True:
        now, pages = await ask(open_spans)
        seen = max(seen, now)
        for bucket, records in pages.items():
            listed = [(_place(record), record) for record in records]
            found += listed
            asked = open_spans.pop(bucket)
            if len(records) == asked.limit:
                more = min(2 * asked.limit, span.limit)
                open_spans[bucket] = msgspec.structs.replace(asked, after=listed[-1][0], limit=more)
        found.sort(key=_by_place, reverse=span.reverse)
        del found[span.limit :]
        # A bucket that has been read to behind the last record of the page has nothing to add to it.
        if len(found) == span.limit:
            end = found[-1][0]
            open_spans = {bucket: rest for bucket, rest in open_spans.items() if _is_before(rest, end)}
        if not open_spans:
            cursor = found[-1][0] if len(found) == span.limit else None
            return RankPage(tuple(record for _, record in found), cursor, seen)


def _place(record: Record) -> Cursor:
    assert record.rank is not None
    return Cursor(record.rank, record.key.partition, record.key.item)


def _by_place(listed: tuple[Cursor, Record]) -> Cursor:
    return listed[0]


def _is_before(rest: RankSpan, end: Cursor) -> bool:
    assert rest.after is not None
    return rest.after > end if rest.reverse else rest.after < end
