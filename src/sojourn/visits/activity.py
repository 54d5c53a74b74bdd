"""Who is here: the listing of the active, their number, and who comes and goes."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import timedelta

import msgspec

from sojourn import limits
from sojourn.errors import InvalidError
from sojourn.kernel import Cursor, Key, Now, RankSpan, Reads, Record, Space, Store
from sojourn.visits import layout
from sojourn.visits.following import Crowd, follow
from sojourn.visits.listing import Listing, checked_limit
from sojourn.visits.model import ActiveChange, Count, Page, Terms, Visitor
from sojourn.visits.visitor import visitor_from

__all__ = ["Activity"]


class Activity:
    """Who is here in one store. The records of `visit.active` are the answer; nothing is counted beside them."""

    def __init__(self, store: Store, terms: Terms) -> None:
        self._store = store
        self._terms = terms

    def listing(self, minutes: float | None, limit: int, after: str | None) -> Listing[Visitor]:
        """List who is here, or was active within so many minutes: those active last first.

        Raises:
            InvalidError: the minutes are not above 0 or beyond `limits.TTL_MAX`, the limit is below 1, or the cursor is
                none of this listing.
            LimitError: the limit is above `limits.PAGE_MAX`.
        """
        span = _span(minutes, checked_limit(limit))
        _behind(span, after)

        async def read(after: str | None) -> Page[Visitor]:
            page = await self._store.rank(_behind(span, after))
            visitors = page.records if span.space == layout.VISIT else await self._visitors(page.records)
            items = tuple(visitor_from(record, page.now) for record in visitors)
            return Page(items, None if page.cursor is None else page.cursor.encode(span.space))

        return Listing(read, after)

    async def count(self) -> Count:
        """Count who is here, up to `limits.ACTIVE_COUNT_MAX`.

        Raises:
            UnavailableError: the store could not be reached.
        """
        seen = set[Key]()  # who is active while the pages are read may stand on two of them
        async for record in self._everybody():
            seen.add(record.key)
            if len(seen) > limits.ACTIVE_COUNT_MAX:
                return Count(limits.ACTIVE_COUNT_MAX, more=True)
        return Count(len(seen))

    def watch(self) -> AsyncGenerator[ActiveChange, None]:
        """Follow who comes and goes, until closed. A revision is a stay: a heartbeat changes none.

        Raises:
            ClosedError: the store is not open, or was closed.
        """
        crowd = Crowd(Space(layout.ACTIVE), self._everybody, lambda key: key.partition, lambda record: record.revision)
        return follow(self._store, crowd)

    async def _visitors(self, marks: tuple[Record, ...]) -> tuple[Record, ...]:
        """Return the visitors' own records; of one who has just been erased only the mark may be left."""
        keys = tuple(layout.visitor(mark.key.partition) for mark in marks)
        records = (await self._store.read(Reads(keys))).records.keys if keys else ()
        return tuple(record for record in records if record is not None)

    def _everybody(self) -> AsyncIterator[Record]:
        """Go through all who are here, ascending: so nobody is missed whose activity is noted meanwhile."""
        return self._store.ranked(RankSpan(layout.ACTIVE, limit=limits.PAGE_MAX))


def _span(minutes: float | None, limit: int) -> RankSpan:
    if minutes is None:
        return RankSpan(layout.ACTIVE, limit=limit, reverse=True)
    most = limits.TTL_MAX / timedelta(minutes=1)
    if not 0 < minutes <= most:
        raise InvalidError("minutes_active", f"it is above 0, and at most {most:.0f}")
    # Strictly later than the cutoff: who was active at that very instant no longer counts.
    cutoff = Now(1 - math.ceil(minutes * 60_000))
    return RankSpan(layout.VISIT, low=cutoff, limit=limit, reverse=True)


def _behind(span: RankSpan, after: str | None) -> RankSpan:
    return span if after is None else msgspec.structs.replace(span, after=Cursor.decode(after, span.space))
